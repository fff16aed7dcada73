//! A device: a configuration, a state file, and the real `omadm-client`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::{Folder, Process, omadm_client, private_file, until};

/// Lets faketime leave the clock alone that only ever goes on.
const REAL_WAITS: &str = "FAKETIME_DONT_FAKE_MONOTONIC";

/// What is looked at where storage is concerned.
const STORAGE_CALLS: [&str; 12] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "fchmod",
    "ftruncate",
];

/// A device with a folder of its own.
#[derive(Debug)]
pub struct Device {
    folder: Folder,
    environment: Vec<(String, PathBuf)>,
    log: usize,
}

impl Device {
    /// A device with this DevID; `configuration` is the rest of its TOML, in which `$HOME` is the device's folder.
    pub fn new(dev_id: &str, configuration: &str) -> Self {
        let device = Self { folder: Folder::new(), environment: Vec::new(), log: 0 };
        device.configure(dev_id, configuration);
        device
    }

    /// A device that asks a bootstrap server at `url`, whose certificate `ca` signs (PEM), with a secret that nobody
    /// checks; `more` is the rest of its TOML.
    pub fn asking(dev_id: &str, url: &str, ca: &str, more: &str) -> Self {
        let bootstrap = format!(
            "[bootstrap]\nurl = \"{url}\"\nca = \"$HOME/ca.pem\"\nuser = \"device\"\nsecret_file = \"$HOME/secret\"\n"
        );
        let device = Self::new(dev_id, &format!("{bootstrap}[sim]\nwait = \"0s\"\n{more}"));
        private_file(&device.join("ca.pem"), ca.as_bytes());
        private_file(&device.join("secret"), b"enrolment secret");
        device
    }

    /// Gives it another configuration.
    pub fn configure(&self, dev_id: &str, configuration: &str) {
        let home = self.folder.path().to_str().expect("UTF-8");
        let text = format!("state = \"{home}/state\"\ndev_id = \"{dev_id}\"\n{}", configuration.replace("$HOME", home));
        private_file(&self.join("client.toml"), text.as_bytes());
    }

    /// Lets it use the private pcscd on this socket.
    pub fn use_pcscd(&mut self, socket: &Path) {
        self.set_environment("PCSCLITE_CSOCK_NAME", socket);
    }

    /// Sets its clock, as in `1970-01-02 00:00:00`, by this library of faketime.
    pub fn set_clock(&mut self, library: &Path, time: &str) {
        self.set_environment("LD_PRELOAD", library);
        self.set_environment("FAKETIME", time);
        // Time limits are to be as ever.
        self.set_environment(REAL_WAITS, "1");
    }

    /// Lets its clock be right again.
    pub fn set_clock_right(&mut self) {
        self.environment.retain(|(name, _)| !["LD_PRELOAD", "FAKETIME", REAL_WAITS].contains(&name.as_str()));
    }

    /// Runs its program with this variable.
    pub fn set_environment(&mut self, name: &str, value: impl Into<PathBuf>) {
        self.environment.retain(|(old, _)| old != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    /// A file in its folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self) -> Command {
        let mut command = omadm_client();
        command.arg("--config").arg(self.join("client.toml")).envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Starts `omadm-client run`.
    pub fn run(&mut self) -> Process {
        self.log += 1;
        let log = self.join(&format!("run{}.log", self.log));
        Process::start(self.command().arg("run"), &log)
    }

    /// The same command under strace, which looks at what is done to the state file and its folder, and interferes there
    /// as `inject` says, such as `fsync:error=EIO:when=2`.
    pub fn traced(&self, inject: Option<&str>, arguments: &[&str]) -> Command {
        let client = self.command();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={}", STORAGE_CALLS.join(",")), "-o"]);
        command.arg(self.join("strace.log"));
        for path in [self.folder.path().to_owned(), self.join("state"), self.join("state.new")] {
            command.arg("-P").arg(path);
        }
        command.args(inject.into_iter().flat_map(|inject| ["-e".to_owned(), format!("inject={inject}")]));
        command.arg("--").arg(client.get_program()).args(client.get_args()).args(arguments);
        command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// The storage calls that strace saw last, in order, each with its number among those of its name, from 1.
    pub fn storage_calls(&self) -> Vec<(&'static str, usize)> {
        let log = std::fs::read_to_string(self.join("strace.log")).expect("a log of strace");
        let mut seen = vec![0; STORAGE_CALLS.len()];
        let call = |line: &str| {
            let name = line.split_whitespace().nth(1)?.split_once('(')?.0;
            let place = STORAGE_CALLS.iter().position(|call| *call == name)?;
            seen[place] += 1;
            Some((STORAGE_CALLS[place], seen[place]))
        };
        log.lines().filter_map(call).collect()
    }

    /// Starts `omadm-client run` with this program and its arguments before it.
    pub fn run_under(&mut self, program: &[&str]) -> Process {
        self.log += 1;
        let log = self.join(&format!("run{}.log", self.log));
        let client = self.command();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(client.get_program()).args(client.get_args()).arg("run");
        command.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Process::start(&mut command, &log)
    }

    /// Starts `omadm-client run` under strace, see [`traced`](Self::traced).
    pub fn run_traced(&mut self, inject: &str) -> Process {
        self.log += 1;
        let log = self.join(&format!("run{}.log", self.log));
        Process::start(&mut self.traced(Some(inject), &["run"]), &log)
    }

    /// Runs one command to its end.
    pub fn once(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().expect("omadm-client runs")
    }

    /// Runs one command with `--json` to its end; says its exit code and what it printed.
    ///
    /// # Panics
    /// If that is not one JSON value.
    pub fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.once(&[arguments, &["--json"]].concat());
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"));
        (output.status.code().unwrap_or(-1), value)
    }

    /// What `omadm-client status --json` says.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_slice(&self.once(&["status", "--json"]).stdout).ok()
    }

    /// Waits until it is managed.
    pub fn managed(&self, seconds: u64) -> Value {
        let mut last = None;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        until("the device is managed", seconds + 1, || {
            last = self.status();
            if let Some(status) = &last
                && status["state"] == "managed"
            {
                return Some(status.clone());
            }
            let log = || std::fs::read_to_string(self.join(&format!("run{}.log", self.log))).unwrap_or_default();
            assert!(std::time::Instant::now() < deadline, "not managed: {last:?}\n{}", log());
            None
        })
    }

    /// Runs it until it is managed and has nothing to do, and ends it; says its status.
    pub fn run_until_idle(&mut self, seconds: u64) -> Value {
        let mut client = self.run();
        until("the client has nothing to do", seconds, || {
            assert!(client.runs(), "{}", client.log());
            client.log().contains("next, at").then_some(())
        });
        let status = self.managed(1);
        let log = client.log();
        assert!(client.stop().success(), "{log}");
        status
    }

    /// The bytes and the time of its state file.
    pub fn state(&self) -> (Vec<u8>, std::time::SystemTime) {
        let path = self.join("state");
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified()).expect("a state file");
        (std::fs::read(&path).expect("a readable state file"), modified)
    }
}
