//! What the tests share: a server in this process, on real sockets, with real TLS and a real database.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "each test uses a part of it")]

use omadm_core::account::Credential;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::secret::Secret;
use omadm_core::web::{Basic, media};
use omadm_server::{Config, RunningServer, ServeOptions, Server};
use omadm_tls::{Anchors, ClientContext, ClientIdentity, TlsError, TlsStream};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const BOOTSTRAP_COMPLETE: &str = "urn:oma:at:dm:2.0:BootstrapComplete";
pub const CLIENT_INITIATED: &str = "urn:oma:at:dm:2.0:ClientInitiatedMgmt";
pub const SECRET: &str = "enrolment secret";
pub const IMEI: &str = "IMEI:493005100592800";
pub const OTHER: &str = "IMEI:493005100592801";

/// A server and its folder.
pub struct Fleet {
    pub folder: TempDir,
    pub config: Config,
    runtime: Runtime,
    server: Option<RunningServer>,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The detail of a problem document with this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(media::PROBLEM));
        assert_eq!(self.json()["status"], status);
        self.json()["detail"].as_str().unwrap().to_owned()
    }

    pub fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Fleet {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut fleet = Self { folder: tempfile::tempdir().unwrap(), config, runtime, server: None };
        fleet.run();
        fleet
    }

    fn run(&mut self) {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let options = ServeOptions {
            data: self.folder.path().join("data"),
            config: self.config.clone(),
            device: Some(local),
            admin: Some(local),
        };
        self.server = Some(self.runtime.block_on(Server::start(options)).unwrap());
    }

    /// Stops the server and starts it again on the same data, at other ports.
    pub fn restart(&mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.shutdown());
        self.run();
    }

    pub fn server(&self) -> &RunningServer {
        self.server.as_ref().unwrap()
    }

    pub fn token(&self) -> String {
        std::fs::read_to_string(&self.server().admin_token_file).unwrap().trim().to_owned()
    }

    /// A call of the admin API; a body of null is none.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token());
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.admin(method, &format!("/api/v1{path}"), &[("Authorization", &bearer)], &bytes)
    }

    pub fn admin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let stream = TcpStream::connect(self.server().admin_addr).unwrap();
        exchange(stream, method, path, headers, body)
    }

    pub fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&ClientIdentity::nobody()).unwrap()
    }

    pub fn connect_as(&self, identity: &ClientIdentity) -> Result<TlsStream<TcpStream>, TlsError> {
        self.connect_with(&self.client(identity))
    }

    /// A client that trusts the server's own CA.
    pub fn client(&self, identity: &ClientIdentity) -> ClientContext {
        let pem = std::fs::read_to_string(self.server().ca_file.as_ref().unwrap()).unwrap();
        ClientContext::new(&Anchors::Pem(pem), identity).unwrap()
    }

    pub fn connect_with(&self, context: &ClientContext) -> Result<TlsStream<TcpStream>, TlsError> {
        let stream = TcpStream::connect(self.server().device_addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        context.connect("localhost", 0, stream)
    }

    /// Has the server read its certificates anew.
    pub fn reload(&self) {
        self.runtime.block_on(self.server().reload());
    }

    /// A request at the device port.
    pub fn device(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        exchange(self.connect(), method, path, headers, body)
    }

    pub fn bootstrap(&self, query: &str, authorization: Option<&str>) -> Answer {
        let mut headers = vec![("Accept", media::BOOTSTRAP)];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        self.device("GET", &format!("/bootstrap{query}"), &headers, b"")
    }

    /// A bootstrap request of a client that TLS knows.
    pub fn bootstrap_as(&self, identity: &ClientIdentity, query: &str) -> Answer {
        let path = format!("/bootstrap{query}");
        exchange(self.connect_as(identity).unwrap(), "GET", &path, &[("Accept", media::BOOTSTRAP)], b"")
    }

    pub fn add_profile(&self, profile: &Value) -> Answer {
        self.api("POST", "/profiles", profile)
    }

    pub fn add_device(&self, dev_id: &str) {
        let answer = self.api("POST", "/devices", &json!({"dev_id": dev_id, "secret": SECRET}));
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
    }

    /// Profile and device, and the device's account by the bootstrap server.
    pub fn bootstrapped(&self, dev_id: &str) -> Device<'_> {
        self.add_profile(&profile());
        self.add_device(dev_id);
        self.account(dev_id)
    }

    /// Another account for a known device.
    pub fn account(&self, dev_id: &str) -> Device<'_> {
        let answer = self.bootstrap("", Some(&basic(&user(dev_id), SECRET))).expect(200);
        Device::of_message(self, dev_id, &answer.body)
    }

    pub fn shown(&self, dev_id: &str) -> Value {
        self.api("GET", &format!("/devices/{}", user(dev_id)), &Value::Null).expect(200).json()
    }

    /// Changes the database behind the server's back: time passes no faster in tests.
    pub fn change(&self, sql: &'static str) {
        assert!(self.run_sql(sql) > 0);
    }

    /// Runs a statement behind the server's back; gives how many rows it changed.
    pub fn run_sql(&self, sql: &'static str) -> u64 {
        let path = self.folder.path().join("data/omadm.db");
        self.runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected()
        })
    }

    /// The codes of the last requests of all, once they are as expected: a broken connection is recorded after its end.
    pub fn codes_become(&self, expected: impl Fn(&[String]) -> bool) {
        let start = Instant::now();
        loop {
            let all = self.api("GET", "/requests", &Value::Null).expect(200).json();
            let codes: Vec<String> =
                all["requests"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect();
            if expected(&codes) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{codes:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The records about a DevID, newest first, as endpoint, status and code.
    pub fn why(&self, dev_id: &str) -> Vec<Value> {
        let answer = self.api("GET", &format!("/devices/{}/why", user(dev_id)), &Value::Null).expect(200).json();
        answer["requests"].as_array().unwrap().clone()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

/// A device with an account.
pub struct Device<'a> {
    pub fleet: &'a Fleet,
    pub dev_id: String,
    /// What TLS proves.
    pub identity: ClientIdentity,
    /// The header, or empty.
    pub authorization: String,
    pub cookie: Option<String>,
}

impl<'a> Device<'a> {
    pub fn of_message(fleet: &'a Fleet, dev_id: &str, message: &[u8]) -> Self {
        let message = BootstrapMessage::parse(message, Limit::Elsewhere).unwrap();
        let account = &message.accounts()[0].0;
        let (identity, authorization) = match account.trsp.as_ref().unwrap() {
            Credential::Basic { user, password } => {
                let value = Basic::new(user.clone(), password.clone()).unwrap().header_value();
                (ClientIdentity::nobody(), String::from_utf8(value.expose().to_vec()).unwrap())
            }
            Credential::Psk { identity, key } => (ClientIdentity::psk(identity, key.expose()).unwrap(), String::new()),
            Credential::X509 { chain, key } => {
                (ClientIdentity::x509(chain.expose(), key.expose()).unwrap(), String::new())
            }
            Credential::Digest { .. } | Credential::Aka { .. } => panic!("not given out"),
        };
        Self { fleet, dev_id: dev_id.to_owned(), identity, authorization, cookie: None }
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send_over(self.fleet.connect_as(&self.identity).unwrap(), method, path, headers, body)
    }

    pub fn send_over(
        &self,
        stream: TlsStream<TcpStream>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut all = vec![("OMADM-DevID", &*self.dev_id)];
        if !self.authorization.is_empty() {
            all.push(("Authorization", &*self.authorization));
        }
        all.extend(headers);
        exchange(stream, method, path, &all, body)
    }

    pub fn post(&self, content_type: &str, body: &[u8]) -> Answer {
        let mut headers = vec![("Content-Type", content_type), ("Accept", media::REQUEST)];
        headers.extend(self.cookie.as_deref().map(|cookie| ("Cookie", cookie)));
        self.send("POST", "/dm", &headers, body)
    }

    /// Package#1; keeps the cookie.
    pub fn first(&mut self, alert: &str) -> Answer {
        self.cookie = None;
        let answer = self.post(media::INITIATION, json!({"Alert": [{"AlertType": alert}]}).to_string().as_bytes());
        if answer.status == 200 {
            self.cookie = Some(answer.cookie());
        }
        answer
    }

    /// Package#3.
    pub fn further(&self, statuses: &Value) -> Answer {
        self.post(media::RESPONSE, json!({"Status": statuses}).to_string().as_bytes())
    }

    pub fn devinfo(&self) -> Value {
        json!([{"ClientURI": "urn:oma:mo:oma-dm-devinfo:1.2/1/", "MOData": {"DevInfo": {
            "DevID": self.dev_id, "Man": "Acme <b>", "Mod": "Meter 3", "DmV": "2.0", "FwV": "1.0"}}}])
    }

    pub fn put(&self, url: &str, body: &Value) -> Answer {
        self.send("PUT", path_of(url), &[("Content-Type", media::MO)], body.to_string().as_bytes())
    }

    /// The session that makes a device managed.
    pub fn become_managed(&mut self) {
        let commands = commands(&self.first(BOOTSTRAP_COMPLETE).expect(200));
        assert_eq!(commands[0][0], "HPUT");
        assert_eq!(commands[1][0], "GET");
        self.put(commands[0][1].as_str().unwrap(), &self.devinfo()).expect(204);
        let end = self.further(&json!([{"sc": 200}, {"sc": 200, "Data": self.devinfo()}])).expect(200);
        assert_eq!(end.json(), json!({"CMD": [["END"]]}));
    }
}

/// The profile of most tests.
pub fn profile() -> Value {
    json!({
        "name": "meters",
        "match": {"default": true},
        "message": [account("acme")],
    })
}

/// An account that the server fills in.
pub fn account(srv_id: &str) -> Value {
    json!({"ClientURI": format!("urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/"), "MOData": {"DMAcc": {
        "SrvID": srv_id, "Name": "Acme", "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}}}}})
}

pub fn commands(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some(media::REQUEST));
    answer.json()["CMD"].as_array().unwrap().clone()
}

pub fn user(dev_id: &str) -> String {
    dev_id.replace(':', "%3A")
}

pub fn basic(user: &str, password: &str) -> String {
    let value = Basic::new(user, Secret::from(password)).unwrap().header_value();
    String::from_utf8(value.expose().to_vec()).unwrap()
}

pub fn path_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap();
    &rest[rest.find('/').unwrap()..]
}

/// One request on its own connection.
pub fn exchange<S: Read + Write>(
    mut stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    answer(stream)
}

/// Reads an answer to its end.
pub fn answer<S: Read>(mut stream: S) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}
