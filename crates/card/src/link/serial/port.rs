//! A serial port as a [`Port`]: ours alone, raw, and never waited for without a limit.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::{Errno, read, write};
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, ioctl_tiocexcl, ioctl_tiocnxcl, isatty, tcflush, tcgetattr, tcsetattr,
};

use crate::link::LinkError;
use crate::link::at::{Port, PortError};

/// Bits a second, where the port is a real one.
const SPEED: u32 = 115_200;
/// Between two looks for a port.
const PAUSE: Duration = Duration::from_millis(50);

/// An open port, closed with the value.
#[derive(Debug)]
pub struct SerialPort {
    file: OwnedFd,
    began: Instant,
}

impl SerialPort {
    /// Waits at most `wait` for the port to be there, and `held` where another program has it; says how much of `wait` is
    /// left.
    pub(super) fn open(path: &Path, wait: Duration, held: Duration) -> Result<(Self, Duration), LinkError> {
        let began = Instant::now();
        loop {
            let (error, limit) = match Self::try_open(path) {
                Ok(port) => return Ok((port, wait.saturating_sub(began.elapsed()))),
                Err(Errno::AGAIN | Errno::BUSY) => {
                    let text = format!("{} is held by another program; stop that one", path.display());
                    (LinkError::Io(text), wait.max(held))
                }
                Err(Errno::NOTTY) => return Err(LinkError::Io(format!("{} is no serial port", path.display()))),
                Err(Errno::ACCESS | Errno::PERM) => {
                    let text = format!("{} may not be opened by this user; add it to the port's group", path.display());
                    return Err(LinkError::Io(text));
                }
                Err(error) => (LinkError::NoCard(format!("{} cannot be opened: {error}", path.display())), wait),
            };
            if began.elapsed() >= limit {
                return Err(error);
            }
            thread::sleep(PAUSE);
        }
    }

    fn try_open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(path, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::CharacterDevice {
            return Err(Errno::NOTTY);
        }
        // The lock holds against programs of our kind also where the other one is root; the ioctl against all others.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        if isatty(&file) {
            ioctl_tiocexcl(&file)?;
            let mut settings = tcgetattr(&file)?;
            settings.make_raw();
            settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
            settings.control_modes -= ControlModes::HUPCL;
            settings.set_speed(SPEED)?;
            tcsetattr(&file, OptionalActions::Now, &settings)?;
            tcflush(&file, QueueSelector::IFlush)?;
        }
        Ok(Self { file, began: Instant::now() })
    }

    /// Waits until there is something to do; false where the time is over.
    fn wait(&self, what: PollFlags, end: Instant) -> Result<bool, PortError> {
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.file, what)], left.as_ref()) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(PortError::Io(error.to_string())),
            }
        }
    }
}

impl Drop for SerialPort {
    fn drop(&mut self) {
        // A pseudo-terminal outlives who used it.
        let _ = ioctl_tiocnxcl(&self.file);
    }
}

impl Port for SerialPort {
    fn write(&mut self, mut bytes: &[u8], limit: Duration) -> Result<(), PortError> {
        let end = Instant::now() + limit;
        while !bytes.is_empty() {
            match write(&self.file, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.wait(PollFlags::OUT, end)? {
                        return Err(PortError::TimedOut);
                    }
                }
                Err(error) => return Err(port_error(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError> {
        let end = Instant::now() + limit;
        loop {
            if !self.wait(PollFlags::IN, end)? {
                return Ok(0);
            }
            match read(&self.file, &mut *room) {
                Ok(0) => return Err(PortError::Gone),
                Ok(count) => return Ok(count),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(port_error(error)),
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

fn port_error(error: Errno) -> PortError {
    match error {
        Errno::IO | Errno::NXIO | Errno::NODEV | Errno::PIPE => PortError::Gone,
        error => PortError::Io(error.to_string()),
    }
}
