//! A PC/SC service of our own with a vpcd reader, apart from any other on the machine.
//!
//! One service has one reader: the driver as Debian ships it keeps its state per process, so that the cards in several
//! readers would get mixed up.

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
/// The reader's port in a network namespace of our own.
const PORT: u16 = 0x8C7B;
/// What the reader is called in the service's configuration.
const NAME: &str = "omadm card";
/// The same as programs see it: pcscd adds the numbers of reader and slot.
const READER: &str = "omadm card 00 00";
/// How long the service may take to open its reader.
const START: Duration = Duration::from_secs(10);

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
    /// The folder could not be made, or a process not started.
    #[error("cannot start a private PC/SC service at {socket}: {source}")]
    Io {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The service did not open its reader.
    #[error("the private PC/SC service did not open its reader; its last words: {0}")]
    NotReady(String),
}

/// A running pcscd with a vpcd reader, empty at first.
///
/// Where allowed it has a network namespace of its own, since vpcd listens on all interfaces; else a free port is used.
/// It dies with this value and with this program, however that ends, and leaves no file. Programs find it by
/// [`PrivatePcscd::environment`].
#[derive(Debug)]
pub struct PrivatePcscd {
    socket: PathBuf,
    isolated: bool,
    /// To the thread that lives in the namespace; none once the service is to end.
    connect: Option<Sender<Sender<io::Result<TcpStream>>>>,
    keeper: Option<JoinHandle<()>>,
    _sweeper: Sweeper,
}

impl PrivatePcscd {
    /// Whether it can be had on this machine; if not, what is missing.
    pub fn available() -> Result<(), PcscdError> {
        programs().map(|_| ())
    }

    /// Starts the service at this socket. Neither the socket nor a folder of the same name with `.d` behind it may
    /// exist; both are made, for this user only, and removed later.
    pub fn start(socket: &Path) -> Result<Self, PcscdError> {
        let isolated = runs("unshare", &["-n", "sh", "-c", "ip link set lo up"]);
        Self::start_with(socket, isolated)
    }

    fn start_with(socket: &Path, isolated: bool) -> Result<Self, PcscdError> {
        let (pcscd, driver) = programs()?;
        let failed = |source| PcscdError::Io { socket: socket.to_owned(), source };
        // The service and the sweeper work elsewhere, and so may the programs that look for the socket.
        let socket = &std::path::absolute(socket).map_err(failed)?;
        let files = Files::new(socket);
        fs::DirBuilder::new().mode(0o700).create(&files.folder).map_err(failed)?;
        let listener = UnixListener::bind(socket).map_err(|source| {
            let _ = fs::remove_dir(&files.folder);
            failed(source)
        })?;
        // From here on everything is ours, and is removed.
        let sweeper = Sweeper::new(&files.all()).map_err(failed)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let port = if isolated { PORT } else { free_port().map_err(failed)? };
        fs::create_dir(&files.config).map_err(failed)?;
        fs::write(&files.reader, configuration(port, driver)).map_err(failed)?;

        let (connect, orders) = channel();
        let (report, started) = channel();
        let log = files.log.clone();
        let keeper = thread::Builder::new()
            .name("pcscd-keeper".to_owned())
            .spawn(move || keep(&files, pcscd, isolated, listener.into(), port, &report, &orders))
            .map_err(failed)?;
        let mut service = Self {
            socket: socket.to_owned(),
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

    /// The name of its reader. The driver shows a second slot beside it, which stays empty.
    pub fn reader(&self) -> &str {
        READER
    }

    /// Whether it has a network namespace of its own.
    pub fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// Puts a card into the reader, once the one before was taken out. The service notices it after about half a
    /// second.
    pub fn insert(&self, card: SharedCard) -> io::Result<ServedCard> {
        let ended = || io::Error::other("the private PC/SC service has ended");
        let (answer, stream) = channel();
        self.connect.as_ref().ok_or_else(ended)?.send(answer).map_err(|_| ended())?;
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
    reader: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new(socket: &Path) -> Self {
        let mut folder = socket.as_os_str().to_owned();
        folder.push(".d");
        let folder = PathBuf::from(folder);
        let config = folder.join("readers");
        Self { socket: socket.to_owned(), reader: config.join("vpcd"), config, log: folder.join("log"), folder }
    }

    /// In the order of removal.
    fn all(&self) -> [&Path; 5] {
        [&self.socket, &self.reader, &self.config, &self.log, &self.folder]
    }
}

/// The thread that starts the service and lives as long: the service is killed when this thread ends, since a
/// parent-death signal follows the thread. It enters the service's network namespace, so that the sockets that it makes
/// for cards reach the reader there.
fn keep(
    files: &Files,
    pcscd: &str,
    isolated: bool,
    socket: OwnedFd,
    port: u16,
    report: &Sender<io::Result<()>>,
    orders: &Receiver<Sender<io::Result<TcpStream>>>,
) {
    let mut child = match spawn(files, pcscd, isolated, socket) {
        Ok(child) => child,
        Err(error) => {
            let _ = report.send(Err(error));
            return;
        }
    };
    let ready = enter(&mut child, isolated).and_then(|()| wait_for_port(&mut child, port, Instant::now() + START));
    let is_ready = ready.is_ok();
    if report.send(ready).is_ok() && is_ready {
        for answer in orders {
            let _ = answer.send(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
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

/// Waits until the reader listens. A connection would be a card and a bind would be in the reader's way, so the kernel's
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

/// The reader's entry, for pcscd.
fn configuration(port: u16, driver: &str) -> String {
    format!("FRIENDLYNAME \"{NAME}\"\nDEVICENAME /dev/null:0x{port:04X}\nLIBPATH {driver}\nCHANNELID 0x{port:04X}\n")
}

/// A port with a free neighbour above, since the reader takes two.
fn free_port() -> io::Result<u16> {
    for _ in 0..200 {
        let first = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = first.local_addr()?.port();
        if port.checked_add(1).is_some_and(|above| TcpListener::bind((Ipv4Addr::UNSPECIFIED, above)).is_ok()) {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
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
    fn without_a_namespace_a_free_port_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let service = PrivatePcscd::start_with(&folder.path().join("s"), false).unwrap();
        assert!(!service.is_isolated());
        drop(service);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_used_is_named() {
        let error = PrivatePcscd::start(Path::new("/no/such/folder/s")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/s"), "{error}");
    }
}
