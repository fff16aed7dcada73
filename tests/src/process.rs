//! Programs that end with the test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::until;

fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.unwrap_or_else(|| panic!("{variable} is not set: run the tests with `make test` or `cargo nextest run`"))
}

/// The program `omadm` that was built for the tests.
pub fn omadm() -> Command {
    Command::new(program("OMADM"))
}

/// The program `omadm-client` that was built for the tests.
pub fn omadm_client() -> Command {
    Command::new(program("OMADM_CLIENT"))
}

/// The most memory that a running program has taken so far, in KiB.
///
/// # Panics
/// If it does not run.
pub fn peak_memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a running program");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A running program, killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Mutex<Receiver<String>>,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its standard error goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("a log that can be written");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines: Mutex::new(lines), log: log.to_owned() }
    }

    /// The next line that it prints.
    ///
    /// # Panics
    /// If none comes within `seconds`; the message holds its log.
    pub fn line(&self, seconds: u64) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.recv_timeout(Duration::from_secs(seconds));
        line.unwrap_or_else(|_| panic!("no line within {seconds} s; its log:\n{}", self.log()))
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program that it started, such as the one that strace looks at.
    pub fn signal_child(&self, signal: Signal) {
        let path = format!("/proc/{0}/task/{0}/children", self.id());
        let children = std::fs::read_to_string(path).expect("the list of children");
        for child in children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
            let _ = kill_process(child, signal);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _ = kill_process(pid, signal);
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        until("the program ends", seconds, || self.child.try_wait().ok().flatten())
    }

    /// Asks it to end and waits.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
