//! A running `omadm serve` and its admin API.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Folder, Process, omadm, private_file};

/// A server with a folder of its own.
#[derive(Debug)]
pub struct Fleet {
    folder: Folder,
    process: Option<Process>,
    ready: Value,
}

impl Fleet {
    /// Starts a server on free ports of loopback.
    pub fn start() -> Self {
        let mut fleet = Self { folder: Folder::new(), process: None, ready: Value::Null };
        fleet.restart();
        fleet
    }

    /// Starts the server again, on the same data and, from the second time on, the same ports.
    pub fn restart(&mut self) {
        self.stop();
        let address = |name: &str| self.ready[name].as_str().map_or("127.0.0.1:0".to_owned(), str::to_owned);
        let mut command = omadm();
        command.args(["serve", "--json", "--data"]).arg(self.data());
        command.args(["--device", &address("device"), "--admin", &address("admin")]);
        let process = Process::start(&mut command, &self.folder.join("serve.log"));
        self.ready = serde_json::from_str(&process.line(20)).expect("one JSON line");
        self.process = Some(process);
    }

    /// Ends the server; its data stay.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A file in the fleet's folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The device port, as `127.0.0.1:port`.
    pub fn device_address(&self) -> &str {
        self.ready["device"].as_str().expect("an address")
    }

    /// The URL at which devices ask for their Bootstrap Message.
    pub fn bootstrap_url(&self) -> String {
        let port = self.device_address().rsplit_once(':').expect("a port").1;
        format!("https://localhost:{port}/bootstrap")
    }

    /// The file with the certificate of the server's own CA.
    pub fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// The lines that a device's configuration needs to ask this server for its Bootstrap Message.
    pub fn bootstrap_section(&self, user: &str, secret_file: &str) -> String {
        let (url, ca) = (self.bootstrap_url(), self.ca());
        let ca = ca.display();
        format!(
            "[bootstrap]\nurl = \"{url}\"\nca = \"{ca}\"\nauth = \"basic\"\nuser = \"{user}\"\nsecret_file = \"{secret_file}\"\n"
        )
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Runs `omadm` against this server; says its exit code and what it printed.
    pub fn omadm(&self, arguments: &[&str]) -> (i32, String) {
        let output = omadm().args(arguments).env("OMADM_DATA", self.data()).output().expect("omadm runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), if text.is_empty() { errors } else { text })
    }

    /// Runs `omadm … --json` against this server.
    ///
    /// # Panics
    /// If it fails.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        let (code, text) = self.omadm(&arguments);
        assert_eq!(code, 0, "omadm {arguments:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("omadm {arguments:?} printed {text}"))
    }

    /// Adds a device with this enrolment secret.
    pub fn add_device(&self, dev_id: &str, secret: &str) {
        let file = self.join("secret");
        private_file(&file, secret.as_bytes());
        let path = file.to_str().expect("UTF-8");
        let (code, text) = self.omadm(&["device", "add", dev_id, "--secret-file", path]);
        assert_eq!(code, 0, "{text}");
    }

    /// Adds a profile from its JSON.
    pub fn add_profile(&self, profile: &Value) {
        let file = self.join("profile.json");
        private_file(&file, profile.to_string().as_bytes());
        let (code, text) = self.omadm(&["profile", "add", file.to_str().expect("UTF-8")]);
        assert_eq!(code, 0, "{text}");
    }

    /// Adds the profile of the documentation for all devices, which gives them credentials of this scheme.
    pub fn add_profile_giving(&self, credentials: &str) {
        let mut profile = example_profile();
        profile["credentials"] = credentials.into();
        self.add_profile(&profile);
    }

    /// Adds the profile of the documentation, `meters`, for all devices: one account, DevInfo and the example MO listed.
    pub fn add_default_profile(&self) {
        self.add_profile(&example_profile());
    }

    /// Adds the same for the devices that match, under another name and with another account.
    pub fn add_profile_for(&self, name: &str, srv_id: &str, matches: &Value) {
        let mut profile = example_profile();
        profile["name"] = name.into();
        profile["match"] = matches.clone();
        profile["message"][0]["ClientURI"] = format!("urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/").into();
        profile["message"][0]["MOData"]["DMAcc"]["SrvID"] = srv_id.into();
        self.add_profile(&profile);
    }

    /// Has the server issue a message of a profile, for a card or a factory file.
    pub fn issue_message(&self, profile: &str, place: &str, label: &str) -> Vec<u8> {
        let body = json!({"profile": profile, "for": place, "label": label});
        self.post("/api/v1/messages", &body)
    }

    fn admin(&self, path: &str) -> (String, String) {
        let admin = self.ready["admin"].as_str().expect("an address");
        let token = std::fs::read_to_string(self.data().join("admin-token")).expect("a token");
        (format!("http://{admin}{path}"), format!("Bearer {}", token.trim()))
    }

    /// GETs from the admin API.
    ///
    /// # Panics
    /// If the answer is no success.
    pub fn get(&self, path: &str) -> Value {
        let (url, authorization) = self.admin(path);
        let answer = ureq::get(url).header("Authorization", authorization).call();
        let mut answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        answer.body_mut().read_json().expect("JSON")
    }

    /// POSTs to the admin API.
    ///
    /// # Panics
    /// If the answer is no success.
    pub fn post(&self, path: &str, body: &Value) -> Vec<u8> {
        let (url, authorization) = self.admin(path);
        let answer = ureq::post(url).header("Authorization", authorization).send_json(body);
        let mut answer = answer.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        answer.body_mut().read_to_vec().expect("a body")
    }

    /// What the server knows of a device.
    pub fn device(&self, dev_id: &str) -> Value {
        self.json(&["device", "show", dev_id])
    }
}

/// The profile of the documentation.
fn example_profile() -> Value {
    serde_json::from_str(include_str!("../../docs/examples/meters.json")).expect("JSON")
}
