//! The server under test: the real program, with profiles and devices, reached as operators reach it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::programs::{Programs, Running};

/// The enrolment secret of every device.
pub(super) const SECRET: &str = "an enrolment secret of a device";

/// A running `omadm serve`.
#[derive(Debug)]
pub(super) struct Fleet {
    running: Running,
    folder: PathBuf,
    ready: Value,
}

impl Fleet {
    /// Starts a server in this folder. Devices reach it at `public`, if it is behind a relay.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn start(programs: &Programs, folder: &Path, public: Option<SocketAddr>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = folder.join("omadm.toml");
        // What protects a server from one device must not be what is measured.
        let mut text = "plain = \"127.0.0.1:0\"\n".to_owned();
        if let Some(address) = public {
            text = format!("{text}public_url = \"https://localhost:{}\"\n", address.port());
        }
        text.push_str(
            "[limits]\nmessages_per_minute = 100000\nfailures_per_minute = 1000\nconnections_per_address = 4096\n",
        );
        fs::write(&config, text)?;
        let mut command = Command::new(&programs.omadm);
        command.args(["serve", "--json", "--device", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
        command.arg(&config).arg("--data").arg(folder.join("data")).env("RUST_LOG", "info");
        let running = Running::start(&mut command, &folder.join("serve.log"))?;
        let ready = serde_json::from_str(&running.line()?).context("the server says where it is")?;
        Ok(Self { running, folder: folder.to_owned(), ready })
    }

    /// The process.
    pub(super) fn process(&self) -> &Running {
        &self.running
    }

    /// Where devices come in with TLS.
    pub(super) fn device_port(&self) -> Result<SocketAddr> {
        self.address("device")
    }

    /// Where devices come in without TLS.
    pub(super) fn plain_port(&self) -> Result<SocketAddr> {
        self.address("plain")
    }

    /// A file of its data folder.
    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.folder.join("data").join(name)
    }

    /// Makes a device known, by its DevID as user and [`SECRET`].
    pub(super) fn add_device(&self, dev_id: &str) -> Result<()> {
        self.enrol(&json!({"dev_id": dev_id, "secret": SECRET}))
    }

    /// Makes a device known by what it proves itself with.
    pub(super) fn enrol(&self, device: &Value) -> Result<()> {
        self.post("/api/v1/devices", device).map(|_| ())
    }

    /// Adds a profile.
    pub(super) fn add_profile(&self, profile: &Value) -> Result<()> {
        self.post("/api/v1/profiles", profile).map(|_| ())
    }

    /// A message with credentials, as for a factory file.
    pub(super) fn issue(&self, profile: &str, label: &str) -> Result<Value> {
        let body = json!({"profile": profile, "for": "factory", "label": label});
        Ok(serde_json::from_slice(&self.post("/api/v1/messages", &body)?)?)
    }

    /// What is known about a device.
    pub(super) fn device(&self, dev_id: &str) -> Result<Value> {
        let (url, authorization) = self.admin(&format!("/api/v1/devices/{}", dev_id.replace(':', "%3A")))?;
        let mut answer = ureq::get(url).header("Authorization", authorization).call()?;
        Ok(answer.body_mut().read_json()?)
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it does not end well.
    pub(super) fn stop(self) -> Result<()> {
        self.running.stop()
    }

    fn address(&self, name: &str) -> Result<SocketAddr> {
        self.ready[name].as_str().and_then(|text| text.parse().ok()).with_context(|| format!("no address of {name}"))
    }

    fn admin(&self, path: &str) -> Result<(String, String)> {
        let token = fs::read_to_string(self.data("admin-token"))?;
        Ok((format!("http://{}{path}", self.address("admin")?), format!("Bearer {}", token.trim())))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Vec<u8>> {
        let (url, authorization) = self.admin(path)?;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut answer = agent.post(&url).header("Authorization", authorization).send_json(body)?;
        let bytes = answer.body_mut().read_to_vec()?;
        anyhow::ensure!(answer.status().is_success(), "POST {path}: {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }
}

/// The profile that is measured: one account, with these credentials, two MOs listed.
pub(super) fn profile(credentials: &str) -> Value {
    json!({"name": "meters", "match": {"default": true}, "credentials": credentials, "message": [account()]})
}

fn account() -> Value {
    json!({"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
        "SrvID": "acme", "Name": "Acme device management", "Perm": {
            "1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}, "2": {"MOID": "urn:omadm:mo:example:1.0"}}}}})
}

/// Writes a file that only we read.
pub(super) fn private_file(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content)?;
    Ok(())
}
