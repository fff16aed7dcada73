//! A PC/SC service of our own with vpcd readers, apart from any other on the machine.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{ServedCard, SharedCard, Stream, Sweeper, serve};

/// Where the driver of the virtual reader may be.
const DRIVERS: [&str; 3] = [
    "/usr/lib/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/local/lib/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/lib64/pcsc/drivers/serial/libifdvpcd.so",
];
/// The first port in a network namespace of our own.
const FIRST_PORT: u16 = 0x8C7B;
/// How long the service may take to open its readers.
const START: Duration = Duration::from_secs(10);
/// The most readers of one service.
const MAX_READERS: usize = 8;

/// What the child runs: standard input is the listening socket, which the service expects as descriptor 3 by the
/// protocol of systemd. Printing `up` tells that the network namespace, if there is one, is ready.
const SCRIPT: &str = r#"
[ "$1" = shared ] || ip link set lo up || exit 1
exec 3<&0 </dev/null
echo up
exec >"$4" 2>&1
LISTEN_FDS=1 LISTEN_PID=$$
export LISTEN_FDS LISTEN_PID
exec "$2" --foreground --config "$3"
"#;

/// Why there is no private PC/SC service.
#[derive(Debug, thiserror::Error)]
pub enum PcscdError {
    /// A program or driver is not installed.
    #[error("{what} is not there; install the package {package}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// The Debian package that holds it.
        package: &'static str,
    },
    /// More readers than one service can have, or none.
    #[error("{0} readers are asked for; 1 to {MAX_READERS} are possible")]
    Readers(usize),
    /// The folder could not be made, or a process not started.
    #[error("cannot start a private PC/SC service at {socket}: {source}")]
    Io {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The service did not open its readers.
    #[error("the private PC/SC service did not open its readers; its last words: {0}")]
    NotReady(String),
}

/// A running pcscd with empty vpcd readers.
///
/// Where allowed it has a network namespace of its own, since vpcd listens on all interfaces; else free ports are used.
/// It dies with this value and with this program, however that ends, and leaves no file. Programs find it by
/// [`PrivatePcscd::environment`].
#[derive(Debug)]
pub struct PrivatePcscd {
    socket: PathBuf,
    readers: Vec<String>,
    isolated: bool,
    /// To the thread that lives in the namespace; none once the service is to end.
    connect: Option<Sender<(usize, Sender<io::Result<TcpStream>>)>>,
    keeper: Option<JoinHandle<()>>,
    _sweeper: Sweeper,
}

impl PrivatePcscd {
    /// Whether it can be had on this machine; if not, what is missing.
    pub fn available() -> Result<(), PcscdError> {
        programs().map(|_| ())
    }

    /// Starts the service at this socket with this many empty readers (1 to 8). Neither the socket nor a folder of the
    /// same name with `.d` behind it may exist; both are made, for this user only, and removed later.
    pub fn start(socket: &Path, readers: usize) -> Result<Self, PcscdError> {
        let isolated = runs("unshare", &["-n", "sh", "-c", "ip link set lo up"]);
        Self::start_with(socket, readers, isolated)
    }

    fn start_with(socket: &Path, readers: usize, isolated: bool) -> Result<Self, PcscdError> {
        if !(1..=MAX_READERS).contains(&readers) {
            return Err(PcscdError::Readers(readers));
        }
        let (pcscd, driver) = programs()?;
        let failed = |source| PcscdError::Io { socket: socket.to_owned(), source };
        let files = Files::new(socket);
        fs::DirBuilder::new().mode(0o700).create(&files.folder).map_err(failed)?;
        let listener = UnixListener::bind(socket).map_err(|source| {
            let _ = fs::remove_dir(&files.folder);
            failed(source)
        })?;
        // From here on everything is ours, and is removed.
        let sweeper = Sweeper::new(&files.all()).map_err(failed)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let ports =
            if isolated { (0..).map(|n| FIRST_PORT + 2 * n).take(readers).collect() } else { free_ports(readers) };
        let names: Vec<String> = (0..readers).map(|n| format!("omadm card {n}")).collect();
        fs::create_dir(&files.config).map_err(failed)?;
        fs::write(&files.readers, configuration(&names, &ports, driver)).map_err(failed)?;

        let (connect, orders) = channel();
        let (report, started) = channel();
        let log = files.log.clone();
        let keeper = thread::Builder::new()
            .name("pcscd-keeper".to_owned())
            .spawn(move || keep(&files, pcscd, isolated, listener.into(), &ports, &report, &orders))
            .map_err(failed)?;
        let mut service = Self {
            socket: socket.to_owned(),
            readers: names.into_iter().map(|name| format!("{name} 00 00")).collect(),
            isolated,
            connect: Some(connect),
            keeper: Some(keeper),
            _sweeper: sweeper,
        };
        match started.recv() {
            Ok(Ok(())) => Ok(service),
            Ok(Err(source)) => {
                service.end();
                let words = fs::read_to_string(log).unwrap_or_default();
                let last = words.lines().rev().take(3).collect::<Vec<_>>().join("; ");
                Err(if last.is_empty() { failed(source) } else { PcscdError::NotReady(last) })
            }
            Err(_) => Err(PcscdError::NotReady("its thread ended".to_owned())),
        }
    }

    /// What programs need in their environment to use this service.
    pub fn environment(&self) -> (&'static str, &Path) {
        ("PCSCLITE_CSOCK_NAME", &self.socket)
    }

    /// The name of a reader, counted from 0.
    pub fn reader(&self, number: usize) -> Option<&str> {
        self.readers.get(number).map(String::as_str)
    }

    /// Whether it has a network namespace of its own.
    pub fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// Puts a card into a reader, counted from 0. The service notices it after about half a second.
    pub fn insert(&self, number: usize, card: SharedCard) -> io::Result<ServedCard> {
        let ended = || io::Error::other("the private PC/SC service has ended");
        let (answer, stream) = channel();
        self.connect.as_ref().ok_or_else(ended)?.send((number, answer)).map_err(|_| ended())?;
        let stream = stream.recv().map_err(|_| ended())??;
        stream.set_nodelay(true)?;
        serve(Stream::Tcp(stream), card)
    }

    fn end(&mut self) {
        self.connect = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for PrivatePcscd {
    fn drop(&mut self) {
        self.end();
    }
}

/// Everything that a service has in the file system.
#[derive(Debug)]
struct Files {
    socket: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    readers: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new(socket: &Path) -> Self {
        let mut folder = socket.as_os_str().to_owned();
        folder.push(".d");
        let folder = PathBuf::from(folder);
        let config = folder.join("readers");
        Self { socket: socket.to_owned(), readers: config.join("vpcd"), config, log: folder.join("log"), folder }
    }

    /// In the order of removal.
    fn all(&self) -> [&Path; 5] {
        [&self.socket, &self.readers, &self.config, &self.log, &self.folder]
    }
}

/// The thread that starts the service and lives as long: the service is killed when this thread ends, since a
/// parent-death signal follows the thread. It enters the service's network namespace, so that the sockets that it makes
/// for cards reach the readers there.
fn keep(
    files: &Files,
    pcscd: &str,
    isolated: bool,
    socket: OwnedFd,
    ports: &[u16],
    report: &Sender<io::Result<()>>,
    orders: &Receiver<(usize, Sender<io::Result<TcpStream>>)>,
) {
    let mut child = match spawn(files, pcscd, isolated, socket) {
        Ok(child) => child,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    let ready = enter(&mut child, isolated).and_then(|()| {
        let deadline = Instant::now() + START;
        ports.iter().try_for_each(|port| wait_for_port(&mut child, *port, deadline))
    });
    let is_ready = ready.is_ok();
    if report.send(ready).is_ok() && is_ready {
        for (number, answer) in orders {
            let port =
                ports.get(number).copied().ok_or_else(|| io::Error::other(format!("there is no reader {number}")));
            let _ = answer.send(port.and_then(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port))));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(files: &Files, pcscd: &str, isolated: bool, socket: OwnedFd) -> io::Result<Child> {
    let mut command = if isolated {
        let mut command = Command::new("unshare");
        command.args(["-n", "setpriv"]);
        command
    } else {
        Command::new("setpriv")
    };
    command
        .args(["--pdeathsig", "KILL", "sh", "-c", SCRIPT, "pcscd"])
        .args([if isolated { "isolated" } else { "shared" }, pcscd])
        .args([&files.config, &files.log])
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(File::create(&files.log)?))
        .spawn()
}

/// Waits for the child's namespace and enters it.
fn enter(child: &mut Child, isolated: bool) -> io::Result<()> {
    let output = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line.trim_end() != "up" {
        return Err(io::Error::other("the service did not come up"));
    }
    if isolated {
        let namespace = File::open(format!("/proc/{}/ns/net", child.id()))?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
    }
    Ok(())
}

/// Waits until a reader listens. A connection would be a card and a bind would be in the reader's way, so the kernel's
/// list is looked at.
fn wait_for_port(child: &mut Child, port: u16, deadline: Instant) -> io::Result<()> {
    while !is_listening(child.id(), port) {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the service ended with {status}")));
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether someone listens on this port, in the network namespace of that process.
fn is_listening(process: u32, port: u16) -> bool {
    let (local, listening) = (format!(":{port:04X}"), "0A");
    ["tcp", "tcp6"].into_iter().any(|table| {
        fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default().lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next().is_some_and(|address| address.ends_with(&local)) && columns.nth(1) == Some(listening)
        })
    })
}

/// One entry per reader, for pcscd.
fn configuration(names: &[String], ports: &[u16], driver: &str) -> String {
    let mut text = String::new();
    for (name, port) in names.iter().zip(ports) {
        text += &format!(
            "FRIENDLYNAME \"{name}\"\nDEVICENAME /dev/null:0x{port:04X}\nLIBPATH {driver}\nCHANNELID 0x{port:04X}\n\n"
        );
    }
    text
}

/// Ports with a free neighbour above, since each reader takes two.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..200 {
        if ports.len() == count {
            break;
        }
        let Ok(first) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)) else { continue };
        let Some(port) = first.local_addr().ok().map(|address| address.port()).filter(|port| *port < u16::MAX) else {
            continue;
        };
        if let Ok(second) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port + 1)) {
            ports.push(port);
            held.extend([first, second]);
        }
    }
    ports
}

fn programs() -> Result<(&'static str, &'static str), PcscdError> {
    let missing = |what, package| PcscdError::Missing { what, package };
    let pcscd = ["/usr/sbin/pcscd", "/usr/local/sbin/pcscd", "/usr/bin/pcscd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or(missing("pcscd", "pcscd"))?;
    let driver = DRIVERS
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or(missing("the virtual reader libifdvpcd.so", "vsmartcard-vpcd"))?;
    if !runs("setpriv", &["--version"]) {
        return Err(missing("setpriv", "util-linux"));
    }
    Ok((pcscd, driver))
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_namespace_free_ports_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let service = PrivatePcscd::start_with(&folder.path().join("s"), 2, false).unwrap();
        assert!(!service.is_isolated());
        drop(service);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_used_is_named() {
        let error = PrivatePcscd::start(Path::new("/no/such/folder/s"), 1).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/s"), "{error}");
        assert!(matches!(PrivatePcscd::start(Path::new("/tmp/s"), 0), Err(PcscdError::Readers(0))));
    }
}
