//! A virtual modem on a pseudo-terminal, for programs that want a serial port.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::{Errno, read, write};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};

use crate::virtual_modem::VirtualModem;

/// The longest that a slow card holds up its modem.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// How much is read at a time, in bytes.
const ROOM: usize = 1_024;
/// How often a port is made free that a killed program left as its own.
const FREEING: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A virtual modem that several places look at: the thread that serves it, and who wants to know what happened.
#[derive(Debug, Clone)]
pub struct SharedModem(Arc<Mutex<VirtualModem>>);

impl SharedModem {
    /// Shares this modem.
    pub fn new(modem: VirtualModem) -> Self {
        Self(Arc::new(Mutex::new(modem)))
    }

    /// The modem itself, for the moment.
    pub fn lock(&self) -> MutexGuard<'_, VirtualModem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A modem that is being served by a thread of its own, until the value is dropped: that takes the port away.
#[derive(Debug)]
pub struct ServedModem {
    port: PathBuf,
    link: Option<PathBuf>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl ServedModem {
    /// The port: the path that was asked for, else that of the pseudo-terminal.
    pub fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.port)
    }

    /// Whether the port is still there.
    pub fn is_served(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for ServedModem {
    fn drop(&mut self) {
        if let Some(link) = &self.link
            && std::fs::read_link(link).is_ok_and(|port| port == self.port)
        {
            let _ = std::fs::remove_file(link);
        }
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves a modem on a new pseudo-terminal; `link` is a symbolic link to make to it, which must not be there yet.
pub fn serve_modem(modem: SharedModem, link: Option<&Path>) -> io::Result<ServedModem> {
    let respond = move |bytes: &[u8]| {
        let mut modem = modem.lock();
        let answer = modem.answer(bytes);
        let delay = modem.take_delay();
        drop(modem);
        thread::sleep(delay.min(MAX_DELAY));
        answer
    };
    serve(respond, link)
}

/// The same for anything that takes bytes and gives bytes.
pub fn serve(respond: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static, link: Option<&Path>) -> io::Result<ServedModem> {
    let modem = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&modem)?;
    unlockpt(&modem)?;
    let port = PathBuf::from(OsString::from_vec(ptsname(&modem, Vec::new())?.into_bytes()));
    // Held open, so that the terminal stays as it is when one program closes it and before another opens it.
    let terminal = open(&port, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let mut settings = tcgetattr(&terminal)?;
    settings.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &settings)?;
    fcntl_setfl(&modem, OFlags::NONBLOCK)?;
    let (stop, stopped) = UnixStream::pair()?;
    if let Some(link) = link {
        symlink(&port, link)?;
    }
    let thread = thread::Builder::new()
        .name("virtual-modem".to_owned())
        .spawn(move || answer(&modem, &terminal, &stopped, respond))?;
    Ok(ServedModem { port, link: link.map(Path::to_owned), stop: Some(stop), thread: Some(thread) })
}

fn answer(modem: &OwnedFd, terminal: &OwnedFd, stopped: &UnixStream, mut respond: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut room = [0; ROOM];
    while is_ready(modem, terminal, stopped, PollFlags::IN) {
        let count = match read(modem, &mut room) {
            Ok(0) => return,
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => return,
        };
        let answer = respond(room.get(..count).unwrap_or_default());
        let mut left = answer.as_slice();
        while !left.is_empty() {
            match write(modem, left) {
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !is_ready(modem, terminal, stopped, PollFlags::OUT) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

/// Waits until the modem's end is ready; false where the modem is to end.
fn is_ready(modem: &OwnedFd, terminal: &OwnedFd, stopped: &UnixStream, what: PollFlags) -> bool {
    loop {
        let mut fds = [PollFd::new(stopped, PollFlags::IN), PollFd::new(modem, what)];
        match poll(&mut fds, Some(&FREEING)) {
            Ok(0) => {
                let _ = ioctl_tiocnxcl(terminal);
            }
            Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => return false,
            Ok(_) => return true,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
}
