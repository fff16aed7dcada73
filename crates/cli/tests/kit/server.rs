//! A real server for the commands that speak to one.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A running `omadm serve` with a folder of its own, killed with the value.
pub(crate) struct Server {
    pub(crate) process: Child,
    /// What it said when it was ready.
    pub(crate) ready: Value,
    pub(crate) folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("oa").tempdir_in("/tmp").unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_omadm"))
            .args(["serve", "--json", "--device", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).unwrap(), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `omadm` in the folder, for this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omadm"));
        command.args(arguments).current_dir(self.folder.path()).env("OMADM_DATA", self.path("data"));
        command.env_remove("OMADM_SERVER").env_remove("OMADM_TOKEN_FILE");
        command
    }

    pub(crate) fn omadm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
