//! The process that cleans up behind us, however we end.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::args;
use crate::failure::Failure;

/// How long the children may take to go, once we are gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether they are gone.
const PAUSE: Duration = Duration::from_millis(10);

/// What it says when it is ready, and when the folder is there already.
const READY: &str = "ready";
const EXISTS: &str = "exists";

/// Our end of the janitor.
#[derive(Debug)]
pub(super) struct Janitor {
    process: Child,
    /// Only we hold this end; what a child inherits is closed when it becomes its program.
    pipe: Option<ChildStdin>,
}

impl Janitor {
    /// Starts it. With a folder, it makes that one, so that there is no moment in which nobody would remove it, and removes
    /// it at the end.
    pub(super) fn start(me: &Path, folder: Option<&Path>) -> io::Result<Self> {
        let mut command = Command::new(me);
        command.arg("janitor");
        if let Some(folder) = folder {
            command.arg("--folder").arg(folder);
        }
        // In a group of its own, so that Ctrl-C ends the others only. It must not hold a pipe that somebody reads until
        // its end.
        let command = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let (pipe, stdout) = (process.stdin.take(), process.stdout.take());
        let janitor = Self { process, pipe };
        let mut said = String::new();
        BufReader::new(stdout.ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut said)?;
        match said.trim_end() {
            READY => Ok(janitor),
            EXISTS => Err(io::ErrorKind::AlreadyExists.into()),
            why => Err(io::Error::other(why.to_owned())),
        }
    }

    /// Tells it of a child to wait for.
    pub(super) fn watch(&mut self, pid: u32) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => writeln!(pipe, "{pid}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.process.wait();
    }
}

/// `omadm janitor`: makes the folder and says so. Then it reads pids until the pipe ends, waits for these processes and
/// removes the folder.
///
/// # Errors
/// If the folder could not be removed.
pub(crate) fn clean_up(args: &args::Janitor) -> Result<(), Failure> {
    let said = match args.folder.as_deref().map(|folder| DirBuilder::new().mode(0o700).create(folder)) {
        None | Some(Ok(())) => READY.to_owned(),
        Some(Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => EXISTS.to_owned(),
        Some(Err(error)) => error.to_string(),
    };
    // Whoever waited for it may be gone: then the pipe of the pids has ended, too.
    let _ = writeln!(io::stdout(), "{said}");
    if said != READY {
        return Ok(());
    }
    let pids: Vec<u32> =
        io::stdin().lock().lines().map_while(Result::ok).filter_map(|line| line.parse().ok()).collect();
    let deadline = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| is_alive(*pid)) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    match &args.folder {
        Some(folder) => remove(folder, deadline),
        None => Ok(()),
    }
}

/// What still runs there may make files while we remove others.
fn remove(folder: &PathBuf, deadline: Instant) -> Result<(), Failure> {
    loop {
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(Failure::unwritable(folder, &error)),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Whether this process runs; one that ended and was not collected does not. Its number may belong to another one by
/// now: then we wait in vain, and not for long.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_collected_or_not() {
        assert!(is_alive(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while is_alive(child.id()) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        assert!(!is_alive(child.id()));
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }
}
