//! Waiting that a signal ends: every pause and every read in this program goes through a [`Stop`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The wish that the program ends, raised once by a signal or by [`Stop::raise`] and never taken back.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    /// Readable from the moment that the wish is there; never read from.
    wished: UnixStream,
    wish: UnixStream,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for is there.
    Ready,
    /// The time is over.
    TimedOut,
    /// The program is to end.
    Stopped,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Bytes to read, a connection to accept, or the end of the stream.
    Input,
    /// Room to write, or the end of connecting.
    Output,
}

/// The program is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted, because the program is to end")]
pub struct Stopped;

/// Why work in a thread of its own gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// Not within the limit. The thread goes on, and what it gives is thrown away.
    #[error("it did not end in time")]
    TimedOut,
    /// The program is to end. The thread ends with it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// There is no thread, or it broke.
    #[error("{0}")]
    Failed(String),
}

impl Stop {
    /// A wish that nobody has yet.
    pub fn new() -> io::Result<Self> {
        let (wished, wish) = UnixStream::pair()?;
        wish.set_nonblocking(true)?;
        Ok(Self(Arc::new(Pipe { wished, wish })))
    }

    /// From now on SIGTERM, SIGINT and SIGHUP raise it.
    pub fn on_signals(&self) -> io::Result<()> {
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, self.0.wish.try_clone()?)?;
        }
        Ok(())
    }

    /// Raises it.
    pub fn raise(&self) {
        // A full pipe holds the wish already.
        let _ = (&self.0.wish).write(&[1]);
    }

    /// Whether the program is to end.
    pub fn is_raised(&self) -> bool {
        self.wait(None, Duration::ZERO) == Waited::Stopped
    }

    /// Pauses for `time`, or until the program is to end.
    pub fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        match self.wait(None, time) {
            Waited::Stopped => Err(Stopped),
            Waited::Ready | Waited::TimedOut => Ok(()),
        }
    }

    /// Waits at most `limit` for something to happen at `fd`.
    pub fn wait_for(&self, fd: impl AsFd, what: For, limit: Duration) -> Waited {
        let flags = match what {
            For::Input => PollFlags::IN,
            For::Output => PollFlags::OUT,
        };
        self.wait(Some((fd.as_fd(), flags)), limit)
    }

    /// Does work that cannot be interrupted in a thread of its own, and waits for it at most `limit`. When the program is
    /// to end, `grace` more is waited.
    pub fn apart<T: Send + 'static>(
        &self,
        name: &str,
        limit: Duration,
        grace: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApartError> {
        let failed = |error: io::Error| ApartError::Failed(error.to_string());
        // Closed by the thread's end, however that comes: then its end of the pair is readable.
        let (ended, running) = UnixStream::pair().map_err(failed)?;
        let thread = move || {
            let _running = running;
            work()
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(thread).map_err(failed)?;
        let result = || thread.join().map_err(|_| ApartError::Failed(format!("the thread {name} broke")));
        match self.wait_for(&ended, For::Input, limit) {
            Waited::Ready => result(),
            Waited::TimedOut => Err(ApartError::TimedOut),
            Waited::Stopped if is_readable(&ended, grace) => result(),
            Waited::Stopped => Err(ApartError::Stopped(Stopped)),
        }
    }

    fn wait(&self, other: Option<(BorrowedFd<'_>, PollFlags)>, limit: Duration) -> Waited {
        let end = Instant::now().checked_add(limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(&self.0.wished, PollFlags::IN)];
            fds.extend(other.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
            match poll(&mut fds, left.and_then(|left| Timespec::try_from(left).ok()).as_ref()) {
                Ok(0) => return Waited::TimedOut,
                Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => return Waited::Stopped,
                Ok(_) => return Waited::Ready,
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Poll refuses nothing that is passed here; without it waiting is impossible, so the program ends.
                Err(_) => return Waited::Stopped,
            }
        }
    }
}

/// Whether there is something to read within `limit`, also while the program is about to end.
fn is_readable(fd: &UnixStream, limit: Duration) -> bool {
    fd.set_read_timeout(Some(limit.max(Duration::from_millis(1)))).is_ok() && (&*fd).read(&mut [0]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_stop_ends_every_wait_and_stays_raised() {
        let stop = Stop::new().unwrap();
        assert!(!stop.is_raised());
        assert_eq!(stop.sleep(Duration::from_millis(1)), Ok(()));
        let other = stop.clone();
        let thread = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        stop.raise();
        assert_eq!(thread.join().unwrap(), Err(Stopped));
        assert!(stop.is_raised() && stop.is_raised());
    }

    #[test]
    fn work_apart_is_waited_for_within_its_limit() {
        let stop = Stop::new().unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(stop.apart("ok", second, second, || 7).unwrap(), 7);
        let slow = || thread::sleep(Duration::from_millis(300));
        let broken = stop.apart("broken", second, second, || panic!("as expected by this test"));
        assert!(matches!(broken, Err::<(), _>(ApartError::Failed(_))));
        let short = Duration::from_millis(10);
        assert!(matches!(stop.apart("slow", short, second, slow), Err(ApartError::TimedOut)));
        stop.raise();
        assert!(stop.apart("grace", second, second, slow).is_ok());
        assert!(matches!(stop.apart("none", second, short, slow), Err(ApartError::Stopped(_))));
    }

    #[test]
    fn input_and_time_limit_are_told_apart() {
        let stop = Stop::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        assert_eq!(stop.wait_for(&far, For::Input, Duration::from_millis(1)), Waited::TimedOut);
        near.write_all(b"x").unwrap();
        assert_eq!(stop.wait_for(&far, For::Input, Duration::from_secs(5)), Waited::Ready);
        assert_eq!(stop.wait_for(&far, For::Output, Duration::from_secs(5)), Waited::Ready);
    }
}
