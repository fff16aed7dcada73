//! Children, started and ended in order.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::marker::PhantomData;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::janitor::Janitor;
use crate::failure::Failure;

/// How long a child may take to end after it was asked to.
const GOODBYE: Duration = Duration::from_secs(3);

/// Children that end when this value does, the last one started first, and at the latest with this process. It stays in
/// the thread that made it.
#[derive(Debug)]
pub(crate) struct Nursery {
    me: PathBuf,
    children: Vec<(String, Child)>,
    // Last, so that the folder goes after the children.
    janitor: Janitor,
    stays_here: PhantomData<*const ()>,
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Started {
    index: usize,
    /// Its standard output.
    stdout: Option<ChildStdout>,
}

impl Nursery {
    /// An empty one.
    ///
    /// # Errors
    /// If the janitor cannot be started.
    pub(crate) fn new() -> Result<Self, Failure> {
        let me = std::env::current_exe().map_err(not_started)?;
        let janitor = Janitor::start(&me, None).map_err(not_started)?;
        Ok(Self { me, children: Vec::new(), janitor, stays_here: PhantomData })
    }

    /// An empty one with a new folder in `place` (0700), which is removed when all is over.
    ///
    /// # Errors
    /// If the janitor cannot be started, or the folder not be made.
    pub(crate) fn with_folder(place: &Path) -> Result<(Self, PathBuf), Failure> {
        let me = std::env::current_exe().map_err(not_started)?;
        let (janitor, folder) = tempfile::Builder::new()
            .prefix("omadm-")
            .make_in(place, |folder| Janitor::start(&me, Some(folder)))
            .map_err(|error| Failure::unwritable(place, &error))?
            .into_parts();
        // The janitor removes it.
        let folder = folder.keep().map_err(|error| Failure::unwritable(place, &error.error))?;
        Ok((Self { me, children: Vec::new(), janitor, stays_here: PhantomData }, folder))
    }

    /// This program itself.
    pub(crate) fn me(&self) -> &Path {
        &self.me
    }

    /// Starts a program under a name for people. Its standard error goes to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start<I, S>(
        &mut self,
        name: &str,
        program: &Path,
        arguments: I,
        environment: &[(&str, &Path)],
        log: &Path,
    ) -> Result<Started, Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let log = File::create(log).map_err(|error| Failure::unwritable(log, &error))?;
        let mut child = Command::new(&self.me)
            .args(["guarded", "--parent", &std::process::id().to_string(), "--"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            // Ctrl-C in a terminal goes to a whole group; the children are ended in order instead.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| Failure::failed(format!("cannot start {name}: {error}")))?;
        let stdout = child.stdout.take();
        let watched = self.janitor.watch(child.id());
        self.children.push((name.to_owned(), child));
        watched.map_err(|error| Failure::failed(format!("the janitor is gone: {error}")))?;
        Ok(Started { index: self.children.len() - 1, stdout })
    }

    /// The first line that a child prints.
    ///
    /// # Errors
    /// If it ends, or takes longer than `limit`.
    pub(crate) fn first_line(&mut self, started: &mut Started, limit: Duration) -> Result<String, Failure> {
        let Some(stdout) = started.stdout.take() else { return Err(Failure::failed("its output was read already")) };
        let (line, first) = channel();
        let reader = move || {
            let mut text = String::new();
            let mut stdout = BufReader::new(stdout);
            let _ = line.send(stdout.read_line(&mut text).map(|_| text));
            // Until the child ends, so that it never writes into a closed pipe.
            let _ = io::copy(&mut stdout, &mut io::sink());
        };
        thread::Builder::new()
            .name("first-line".to_owned())
            .spawn(reader)
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        match first.recv_timeout(limit) {
            Ok(Ok(text)) if !text.is_empty() => Ok(text.trim_end().to_owned()),
            Ok(_) => Err(Failure::failed("it ended before it was ready")),
            Err(_) => Err(Failure::failed(format!("it was not ready after {} s", limit.as_secs()))),
        }
    }

    /// How a child ended, if it did.
    pub(crate) fn ended(&mut self, started: &Started) -> Option<ExitStatus> {
        let (_, child) = self.children.get_mut(started.index)?;
        child.try_wait().ok().flatten()
    }

    /// Ends all children, the last one started first. Each is asked before it is killed.
    pub(crate) fn end(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            ask_to_end(child);
        }
        let deadline = Instant::now() + GOODBYE;
        while let Some((_, mut child)) = self.children.pop() {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn not_started(error: io::Error) -> Failure {
    Failure::failed(format!("cannot start another omadm: {error}"))
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.end();
    }
}

fn ask_to_end(child: &mut Child) {
    // The number of a child that was collected may belong to another process.
    let runs = matches!(child.try_wait(), Ok(None));
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw).filter(|_| runs) {
        let _ = kill_process(pid, Signal::TERM);
    }
}
