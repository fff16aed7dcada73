//! Servers that answer as a test says: well, wrongly, half, or not at all.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{Resumptions, ServerContext, ServerOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The longest that anything of a server here goes on.
const LONGEST: Duration = Duration::from_secs(60);

/// A CA of a test.
#[derive(Debug)]
pub struct Authority(Identity);

impl Authority {
    /// A new CA, valid for years around now.
    pub fn new() -> Self {
        let validity = Validity { from: at(-4000), until: at(4000) };
        Self(ca::make("CA of a test", validity).expect("a CA"))
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.0.certificate
    }

    /// A certificate for these names, valid between two days counted from today.
    pub fn certificate(&self, names: &[&str], days: (i64, i64)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        ca::issue_server(&self.0, &names, Validity { from: at(days.0), until: at(days.1) }).expect("a certificate")
    }

    /// A good certificate for this machine.
    pub fn good(&self) -> Identity {
        self.certificate(&["localhost", "127.0.0.1"], (-400, 400))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The time so many days from now, in seconds since 1970.
fn at(days: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    now.saturating_add_signed(days * 86_400)
}

/// A request that a server got.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// Method and path with query, as in `GET /bootstrap?MCC=001`.
    pub fn line(&self) -> &str {
        self.head.split(" HTTP/").next().unwrap_or_default()
    }
}

/// Bytes, and what follows them.
#[derive(Debug, Clone)]
pub struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

/// What a server does once it has answered.
#[derive(Debug, Clone)]
pub enum Then {
    /// It waits for the next request.
    Next,
    /// It closes the connection.
    Close,
    /// It breaks the connection off.
    Reset,
    /// It says nothing more and keeps the connection open.
    Stall,
    /// It says this again and again, with a pause between.
    ForEver(Vec<u8>, Duration),
}

impl Answer {
    /// A whole answer with its length.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if matches!(status, 204 | 304) {
            head = head.replace("Content-Length: 0\r\n", "");
        }
        Self { bytes: [head.as_bytes(), b"\r\n", body].concat(), then: Then::Next }
    }

    /// These bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { bytes: bytes.into(), then }
    }

    /// The same, followed by something else.
    #[must_use]
    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

/// What a server does with a request.
type Respond = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// A server on loopback that ends with the value.
pub struct HostileServer {
    address: SocketAddr,
    seen: Arc<Seen>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Seen {
    connections: Mutex<usize>,
    asked: Mutex<Vec<Asked>>,
}

impl HostileServer {
    /// A server that shows this certificate and answers each request so.
    pub fn tls(identity: &Identity, respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let context = context(identity);
        let respond: Respond = Arc::new(respond);
        Self::start(move |stream, seen| {
            let (context, respond) = (context.clone(), Arc::clone(&respond));
            async move {
                let Ok((mut stream, _)) = context.accept(stream, LONGEST).await else { return };
                while let Some(asked) = ask(&mut stream).await {
                    let answer = respond(&asked);
                    seen.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
                    if matches!(answer.then, Then::Reset) {
                        let _ = stream.write_all(&answer.bytes).await;
                        reset(stream.get_ref());
                        return;
                    }
                    if say(&mut stream, &answer).await.is_none() {
                        return;
                    }
                }
            }
        })
    }

    /// A server that says this to whoever connects, in the clear, without waiting for a word.
    pub fn tcp(answer: Answer) -> Self {
        Self::start(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                if matches!(answer.then, Then::Reset) {
                    let _ = stream.write_all(&answer.bytes).await;
                    return reset(&stream);
                }
                // What the client says is taken, so that closing is no reset.
                let _ = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut [0; 4096])).await;
                say(&mut stream, &answer).await;
            }
        })
    }

    fn start<F, W>(serve: F) -> Self
    where
        F: Fn(TcpStream, Arc<Seen>) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *told.connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&told)));
            }
        });
        Self { address, seen, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// An https URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port())
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        *self.seen.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn context(identity: &Identity) -> ServerContext {
    let options = ServerOptions { resumptions: Resumptions::new(16), ..ServerOptions::plain() };
    ServerContext::from_pem(&identity.certificate, &identity.key, options).expect("a certificate with its key")
}

/// Reads a request; nothing where the connection ends.
async fn ask(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { head, body })
}

/// Says an answer; something where the next request may come.
async fn say(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> Option<()> {
    stream.write_all(&answer.bytes).await.ok()?;
    stream.flush().await.ok()?;
    match &answer.then {
        Then::Next => return Some(()),
        Then::Close | Then::Reset => {}
        Then::Stall => tokio::time::sleep(LONGEST).await,
        Then::ForEver(bytes, pause) => loop {
            stream.write_all(bytes).await.ok()?;
            stream.flush().await.ok()?;
            tokio::time::sleep(*pause).await;
        },
    }
    None
}

/// Lets the end of the connection be a reset.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}

/// A relay to a port of loopback that counts what comes back and can cut it off.
pub struct Relay {
    address: SocketAddr,
    passed: Arc<Mutex<u64>>,
    runtime: Option<Runtime>,
}

impl Relay {
    /// Passes everything on; of what the server says on each connection only the first bytes where a cut is given, and
    /// then does what it says.
    pub fn start(port: u16, cut: Option<(u64, Then)>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let passed = Arc::new(Mutex::new(0));
        let count = Arc::clone(&passed);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, cut.clone(), Arc::clone(&count)));
            }
        });
        Self { address, passed, runtime: Some(runtime) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The bytes that the server said, on all connections.
    pub fn passed(&self) -> u64 {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn pass(client: TcpStream, port: u16, cut: Option<(u64, Then)>, count: Arc<Mutex<u64>>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = [0; 4096];
    let mut left = cut.as_ref().map_or(u64::MAX, |(after, _)| *after);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = from_server.read(&mut buffer[..most]).await?;
        if got == 0 {
            return to_client.shutdown().await;
        }
        *count.lock().unwrap_or_else(PoisonError::into_inner) += got as u64;
        left -= got as u64;
        to_client.write_all(&buffer[..got]).await?;
    }
    match cut.map(|(_, then)| then) {
        Some(Then::Reset) => reset(to_client.as_ref()),
        Some(Then::Stall) => tokio::time::sleep(LONGEST).await,
        Some(Then::Close | Then::Next | Then::ForEver(..)) | None => to_client.shutdown().await?,
    }
    Ok(())
}
