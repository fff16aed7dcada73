//! Starting programs, and looking at what they cost while they run.

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The programs that are measured.
#[derive(Debug, Clone)]
pub struct Programs {
    pub(super) omadm: PathBuf,
    pub(super) client: PathBuf,
}

impl Programs {
    /// `$OMADM` and `$OMADM_CLIENT`, else what was built beside this program.
    ///
    /// # Errors
    /// If one of them was not built.
    pub fn find() -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let target = own.parent().and_then(Path::parent).context("this program is not in a target folder")?;
        let found = |variable: &str, path: &str| {
            let path = std::env::var_os(variable).map_or_else(|| target.join(path), PathBuf::from);
            if path.is_file() { Ok(path) } else { Err(anyhow!("{} is missing: run `make bench`", path.display())) }
        };
        Ok(Self { omadm: found("OMADM", "release/omadm")?, client: found("OMADM_CLIENT", "client/omadm-client")? })
    }
}

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    /// Kept open: some programs end with it.
    _input: Option<ChildStdin>,
}

impl Running {
    /// Starts a program; its standard error goes to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).context("cannot write a log")?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("its output is not there")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines, log: log.to_owned(), _input: input })
    }

    /// The next line that it prints.
    ///
    /// # Errors
    /// If none comes within 20 s; the message holds its log.
    pub(super) fn line(&self) -> Result<String> {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .map_err(|_| anyhow!("it prints nothing; its log:\n{}", self.log()))
    }

    /// What it wrote to standard error.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log holds this text, and says how long that took.
    ///
    /// # Errors
    /// If it ends before, or that takes more than a minute.
    pub(super) fn until_log_holds(&mut self, text: &str) -> Result<Duration> {
        let start = Instant::now();
        while !self.log().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status}; its log:\n{}", self.log());
            }
            if start.elapsed() > Duration::from_secs(60) {
                bail!("`{text}` is not logged within a minute:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(start.elapsed())
    }

    /// The most memory that it held so far, in bytes.
    ///
    /// # Errors
    /// If the system does not tell.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        let kilobytes: u64 = kilobytes.context("the system does not tell VmHWM")?;
        Ok(kilobytes * 1024)
    }

    /// The processor time that it and its children took so far.
    ///
    /// # Errors
    /// If the system does not tell.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let own = self.child.id();
        let mut sum = Duration::ZERO;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            if let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
                && let Some((parent, time)) = parent_and_time(&stat)
                && (pid == own || parent == own)
            {
                sum += time;
            }
        }
        Ok(sum)
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If it does not end well within 20 s.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("ended with {status}; its log:\n{}", self.log()),
                None if start.elapsed() > Duration::from_secs(20) => bail!("does not end; its log:\n{}", self.log()),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Linux counts processor time for programs in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// The parent and the user and system time of a line of `/proc/PID/stat`.
fn parent_and_time(stat: &str) -> Option<(u32, Duration)> {
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u32 = fields.nth(9)?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((parent, TICK * user.checked_add(system)?))
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// If it cannot be started, or fails.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().with_context(|| format!("cannot start {name}; run `make bench`, which installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{name}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_and_time_are_read_behind_any_name() {
        let stat = "77 (a) b (c) S 12 77 77 0 -1 4194560 100 0 0 0 150 25 9 9 20 0 3 0 500 1000 200 18446744";
        assert_eq!(parent_and_time(stat), Some((12, Duration::from_millis(1750))));
        assert_eq!(parent_and_time("77 (a"), None);
    }

    #[test]
    fn what_a_program_costs_is_read_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read x"]);
        let running = Running::start(&mut command, &folder.path().join("log")).unwrap();
        assert_eq!(running.line().unwrap(), "done");
        assert!(running.cpu().unwrap() >= TICK);
        assert!(running.peak_memory().unwrap() > 100_000);
    }
}
