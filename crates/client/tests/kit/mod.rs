//! A scripted HTTP server on loopback, and a device with its files in a folder of its own.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a part of each test file, which uses a part of it")]

pub mod clocked;
pub mod slot;

use omadm_client::client::Client;
use omadm_client::config::Config;
use omadm_client::state::Disk;
use omadm_client::wait::Stop;
use omadm_client::world::World;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /dm`.
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer: status, further header lines, body.
pub type Answer = (u16, Vec<String>, String);

/// An answer of this media type.
pub fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    (status, vec![format!("Content-Type: {content_type}")], body.to_owned())
}

/// A server that answers each request with what `script` says, and keeps them.
#[derive(Clone)]
pub struct Server {
    pub base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `script` gets the server's base URL too, so that it can name it.
    pub fn start(script: impl Fn(&Request, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { base: format!("http://{}", listener.local_addr().unwrap()), seen: Arc::default() };
        let (served, script) = (server.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, script) = (served.clone(), script.clone());
                thread::spawn(move || served.serve(stream.unwrap(), &*script));
            }
        });
        server
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests' first lines.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.line).collect()
    }

    fn serve(&self, mut stream: TcpStream, script: &dyn Fn(&Request, &str) -> Answer) {
        while let Some(request) = read_request(&mut stream) {
            self.seen.lock().unwrap().push(request.clone());
            let (status, headers, body) = script(&request, &self.base);
            let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
            if stream.write_all((head + &body).as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(": ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let mut request = Request { line, headers, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

/// A device whose files are in a folder that goes with it.
pub struct Device {
    pub folder: tempfile::TempDir,
}

impl Device {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that is for its owner only.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration with these lines beside the usual ones.
    pub fn configure(&self, more: &str) -> PathBuf {
        let usual = "state = \"state\"\ndev_id = \"IMEI:493005100592800\"\nman = \"Example Devices\"\n";
        self.write("client.toml", &format!("{usual}{more}"));
        self.path("client.toml")
    }

    pub fn open(&self) -> Client {
        let config = Config::load(&self.path("client.toml")).unwrap();
        Client::open(config, &Stop::new().unwrap()).unwrap()
    }

    /// A client in another world than this machine.
    pub fn open_in(&self, world: Arc<dyn World>) -> Client {
        let config = Config::load(&self.path("client.toml")).unwrap();
        Client::new(config, world, Box::new(Disk::open(self.folder.path()))).unwrap()
    }

    /// What is in the state file.
    pub fn state(&self) -> String {
        fs::read_to_string(self.path("state")).unwrap_or_default()
    }
}

/// A Bootstrap Message with one account that may manage DevInfo and the example MO.
pub fn message(srv_id: &str, srv_uri: &str) -> String {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"{srv_uri}","Name":"{srv_id}","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"2":{{"MOID":"urn:omadm:mo:example:1.0"}}}},"Auth":{{"Trsp":{{"Data":"YmFzaWM6YWNtZS0wMDAx","Secret":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}}}}}}}}}}]"#
    )
}

pub fn is_secret_free(text: &str) -> bool {
    !text.contains("correct horse") && !text.contains("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5")
}

/// The program.
pub fn program(config: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omadm-client"));
    command.arg("--config").arg(config);
    command
}
