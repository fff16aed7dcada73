//! However the demo ends, no process and no file of it stays behind. The clients here only wait, so that the demo is
//! caught while everything runs.

#![allow(clippy::unwrap_used)]

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A demo in a group of its own, as a shell starts it, and the folder that all its processes know as TMPDIR.
struct Running {
    demo: Child,
    folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("od").tempdir_in("/tmp").unwrap();
        let temp = folder.path().join("tmp");
        fs::create_dir(&temp).unwrap();
        let client = folder.path().join("omadm-client");
        fs::write(&client, "#!/bin/sh\ncase \"$*\" in *status*) exit 3;; esac\nexec sleep 100\n").unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
        let demo = Command::new(env!("CARGO_BIN_EXE_omadm"))
            .args(["demo", "--client"])
            .arg(&client)
            .env("TMPDIR", &temp)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { demo, folder };
        running.until("four clients run", || running.named("sleep") == 4);
        running
    }

    fn temp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.demo)
    }

    fn until(&self, what: &str, look: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !look() {
            assert!(Instant::now() < deadline, "not in time: {what}; {:?}", descendants(&self.temp()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many processes of the demo have this name.
    fn named(&self, name: &str) -> usize {
        descendants(&self.temp()).iter().filter(|process| process.as_str() == name).count()
    }

    fn nothing_stays(&mut self) {
        self.demo.wait().unwrap();
        self.until("all processes are gone", || descendants(&self.temp()).is_empty());
        self.until("the folder is gone", || fs::read_dir(self.temp()).unwrap().next().is_none());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

/// The names of the living processes that were started with this folder as TMPDIR.
fn descendants(temp: &Path) -> Vec<String> {
    let mark = format!("TMPDIR={}", temp.display());
    let mut names = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            names.push(fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim_end().to_owned());
        }
    }
    names
}

#[test]
fn after_ctrl_c() {
    let mut running = Running::start();
    assert!(running.named("omadm") >= 3, "demo, server and janitor");
    // A terminal sends it to the whole group.
    kill_process_group(running.pid(), Signal::INT).unwrap();
    running.nothing_stays();
}

#[test]
fn after_a_polite_request() {
    let mut running = Running::start();
    kill_process(running.pid(), Signal::TERM).unwrap();
    running.nothing_stays();
}

#[test]
fn after_it_was_killed() {
    let mut running = Running::start();
    kill_process_group(running.pid(), Signal::KILL).unwrap();
    running.nothing_stays();
}

#[test]
fn after_it_was_killed_while_starting() {
    for delay in [5, 10, 15, 20, 30, 40, 60, 100, 150, 200, 300] {
        let folder = tempfile::Builder::new().prefix("od").tempdir_in("/tmp").unwrap();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_omadm"))
            .args(["demo", "--client", "/bin/true"])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        demo.kill().unwrap();
        demo.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !descendants(folder.path()).is_empty() || fs::read_dir(folder.path()).unwrap().next().is_some() {
            assert!(Instant::now() < deadline, "after {delay} ms: {:?}", descendants(folder.path()));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
