//! The reference for the client's memory: a C program that makes the same TLS connection.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fleet::{Fleet, SECRET, profile};
use super::load::basic;
use super::programs::{Programs, Running, output};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/tls.c");

/// The compiled program.
#[derive(Debug)]
pub(super) struct Reference(PathBuf);

impl Reference {
    /// Compiles it.
    ///
    /// # Errors
    /// If there is no compiler, or no OpenSSL to link with.
    pub(super) fn compile(folder: &Path) -> Result<Self> {
        let program = folder.join("tls");
        output(Command::new("cc").args(["-O2", "-s", "-o"]).arg(&program).arg(SOURCE).args(["-lssl", "-lcrypto"]))?;
        Ok(Self(program))
    }

    /// The most memory that it holds while it asks a server for a Bootstrap Message, in bytes.
    ///
    /// # Errors
    /// If it does not get one.
    pub(super) fn peak_memory(&self, programs: &Programs, folder: &Path) -> Result<u64> {
        let fleet = Fleet::start(programs, &folder.join("server"), None)?;
        fleet.add_profile(&profile("basic"))?;
        let dev_id = "IMEI:493005100592800";
        fleet.add_device(dev_id)?;
        let mut command = Command::new(&self.0);
        command.args(["localhost", &fleet.device_port()?.port().to_string()]).arg(fleet.data("ca.pem"));
        command.args(["/bootstrap", &basic(dev_id, SECRET)]);
        let running = Running::start(&mut command, &folder.join("tls.log"))?;
        let bytes: u64 = running.line()?.parse().context("the number of bytes")?;
        anyhow::ensure!(bytes > 500, "{bytes} bytes are no Bootstrap Message");
        let memory = running.peak_memory()?;
        fleet.stop()?;
        Ok(memory)
    }
}
