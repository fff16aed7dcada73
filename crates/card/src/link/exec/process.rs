//! The child process behind a link: its pipes with limits of size and time, and its end.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};

use super::Pipe;
use super::lines::{MAX_LINE, sentence};
use crate::link::LinkError;

/// Is told a line of the executable's standard error, cleaned and cut.
pub type Tell = fn(&str);

/// How many lines of standard error are told; the rest is read and thrown away.
const MAX_TOLD: usize = 100;
/// The most bytes of a line of standard error that are looked at.
const MAX_TOLD_LINE: usize = 1024;
/// How long an executable may take to clean up once its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long a killed process is waited for: one that hangs in a driver is left to the system.
const REAPING: Duration = Duration::from_millis(500);
/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// A running executable, killed with its process group when the value is dropped.
pub struct Process {
    name: String,
    child: Child,
    /// None once the executable is to end.
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: Option<ChildStderr>,
    /// How long one answer may take.
    limit: Duration,
    /// Output that is no whole line yet.
    pending: Vec<u8>,
    log: Log,
    /// It broke the protocol or was late: it is not waited for.
    broken: bool,
    _turn: Option<Turn>,
}

/// Executables run one after the other: many modems and readers bear only one program.
static TURN: Mutex<()> = Mutex::new(());
/// The turn of one executable, until the value is dropped.
pub(super) type Turn = MutexGuard<'static, ()>;

/// The process groups of the executables that run.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the executables that still run, with their process groups, and kills those that do not end in time: for the end of
/// a program, which does not wait for the thread that reads through one of them.
pub fn end_running() {
    let signal = |signal| {
        // Under the lock none of them is reaped, so that no number is another's.
        for group in running().iter() {
            let _ = kill_process_group(*group, signal);
        }
    };
    // Who is in the middle of a conversation closes what it opened.
    signal(Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while !running().is_empty() && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    signal(Signal::KILL);
}

/// Waits for the turn, at most `limit`; none where another one does not end in time.
pub(super) fn turn(limit: Duration) -> Option<Turn> {
    let deadline = Instant::now() + limit;
    loop {
        match TURN.try_lock() {
            Ok(turn) => return Some(turn),
            Err(TryLockError::Poisoned(turn)) => return Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in the buffers is nobody's business.
        f.debug_struct("Process").field("name", &self.name).field("id", &self.child.id()).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts this command: a program, which is looked for in PATH, and its arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(
        command: &[String],
        limit: Duration,
        tell: Tell,
        turn: Option<Turn>,
    ) -> Result<Self, LinkError> {
        let [program, arguments @ ..] = command else {
            return Err(LinkError::Io("no executable is named".to_owned()));
        };
        let name = sentence(program.rsplit('/').next().unwrap_or(program));
        let failed = |error: io::Error| {
            LinkError::Io(format!("{} cannot be run: {error}; is it installed and executable?", sentence(program)))
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let process = Self {
            name,
            child,
            input: Some(input),
            output,
            errors: Some(errors),
            limit,
            pending: Vec::new(),
            log: Log { tell, line: Vec::new(), told: 0, last: String::new() },
            broken: false,
            _turn: turn,
        };
        // From here on dropping it ends the child.
        running().extend(process.pid());
        let (input, errors) = (process.input.as_ref().map(AsFd::as_fd), process.errors.as_ref().map(AsFd::as_fd));
        for pipe in [input, Some(process.output.as_fd()), errors].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true).map_err(|error| failed(error.into()))?;
        }
        Ok(process)
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, LinkError> {
        let deadline = Instant::now() + self.limit;
        self.read_output()?;
        if !self.pending.is_empty() {
            return Err(LinkError::Io(format!(
                "{} wrote something that nobody asked for; see docs/card-links.md",
                self.name
            )));
        }
        let mut request = request;
        loop {
            if request.is_empty()
                && let Some(end) = self.pending.iter().position(|byte| *byte == b'\n')
            {
                let mut line: Vec<u8> = self.pending.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.pending.len() > MAX_LINE {
                return Err(LinkError::Io(format!("{} wrote a line of more than {MAX_LINE} bytes", self.name)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seconds = self.limit.as_secs_f32();
                return Err(LinkError::Timeout(format!("{} gave no answer within {seconds} s", self.name)));
            }
            self.wait(left, !request.is_empty());
            self.read_errors();
            if !request.is_empty() {
                request = self.write(request)?;
            }
            self.read_output()?;
        }
    }

    /// Waits for something to read, or for room to write.
    fn wait(&self, limit: Duration, writing: bool) {
        let mut fds = vec![PollFd::new(&self.output, PollFlags::IN)];
        fds.extend(self.errors.as_ref().map(|errors| PollFd::new(errors, PollFlags::IN)));
        fds.extend(self.input.as_ref().filter(|_| writing).map(|input| PollFd::new(input, PollFlags::OUT)));
        // An interrupted wait is one more look.
        let _ = poll(&mut fds, Timespec::try_from(limit).ok().as_ref());
    }

    /// Writes what there is room for; gives the rest.
    fn write<'a>(&mut self, request: &'a [u8]) -> Result<&'a [u8], LinkError> {
        let Some(input) = &mut self.input else { return Ok(request) };
        match input.write(request) {
            Ok(count) => Ok(request.get(count..).unwrap_or_default()),
            Err(error) if is_not_yet(&error) => Ok(request),
            Err(_) => Err(self.ended()),
        }
    }

    /// Takes what the executable has written; the caller looks at how much that is.
    fn read_output(&mut self) -> Result<(), LinkError> {
        let mut chunk = [0; 4096];
        while self.pending.len() <= MAX_LINE {
            match self.output.read(&mut chunk) {
                Ok(0) => return if self.pending.contains(&b'\n') { Ok(()) } else { Err(self.ended()) },
                Ok(count) => self.pending.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(_) => return Err(self.ended()),
            }
        }
        Ok(())
    }

    /// Takes a piece of standard error, a bounded one, so that a flood of it does not keep from the rest.
    fn read_errors(&mut self) {
        let Some(errors) = &mut self.errors else { return };
        let mut chunk = [0; 4096];
        match errors.read(&mut chunk) {
            Ok(0) => self.errors = None,
            Ok(count) => self.log.take(chunk.get(..count).unwrap_or_default()),
            Err(error) if is_not_yet(&error) => {}
            Err(_) => self.errors = None,
        }
    }

    /// The executable has closed its end: says why, as far as that can be told.
    fn ended(&mut self) -> LinkError {
        let deadline = Instant::now() + REAPING;
        while self.end().is_none() && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        for _ in 0..MAX_TOLD {
            self.read_errors();
        }
        self.log.finish();
        let how = match self.end() {
            Some(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("was ended by signal {signal}"),
                (None, None) => "ended".to_owned(),
            },
            None => "closed its output".to_owned(),
        };
        let said = if self.log.last.is_empty() { String::new() } else { format!(": {}", self.log.last) };
        LinkError::Io(format!("{} {how}{said}", self.name))
    }

    /// How the child has ended, if it has. It is not reaped before it is dropped, so that its process group cannot become
    /// another's.
    fn end(&self) -> Option<WaitIdStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()?), options).ok().flatten()
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.pid() {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Pipe for Process {
    fn ask(&mut self, line: &str) -> Result<Vec<u8>, LinkError> {
        let answer = self.exchange(line.as_bytes());
        self.broken |= answer.is_err();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        if self.broken {
            self.signal(Signal::TERM);
        }
        // It may have to say something before it ends, which nobody hears any more.
        let deadline = Instant::now() + GRACE;
        let mut chunk = [0; 4096];
        while self.end().is_none() && Instant::now() < deadline {
            let _ = self.output.read(&mut chunk);
            self.read_errors();
            thread::sleep(PAUSE);
        }
        self.log.finish();
        self.signal(Signal::KILL);
        // Once it is reaped, its number may be another's.
        let group = self.pid();
        running().retain(|one| Some(*one) != group);
        let deadline = Instant::now() + REAPING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
    }
}

/// Whether there is nothing to read, or no room to write, for the moment.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// What the executable writes to its standard error.
struct Log {
    tell: Tell,
    line: Vec<u8>,
    told: usize,
    /// The last line that says something, for the sentence about its end.
    last: String,
}

impl Log {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.finish();
            } else if self.line.len() < MAX_TOLD_LINE {
                self.line.push(*byte);
            }
        }
    }

    /// Ends the line.
    fn finish(&mut self) {
        let text = sentence(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if text.is_empty() {
            return;
        }
        match self.told {
            ..MAX_TOLD => (self.tell)(&text),
            MAX_TOLD => (self.tell)("what it says from here on is left out"),
            _ => {}
        }
        self.told = self.told.saturating_add(1);
        self.last = text;
    }
}
