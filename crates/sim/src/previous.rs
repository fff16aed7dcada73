//! The state file as the previous version of the client reads and writes it: for rolling a device back in tests.
//!
//! These are that version's structs, frozen: members that it does not know are dropped, and words that it does not know
//! make it take the whole file for damaged. Text that it checks further, such as a URL, is text here.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Why the previous version does not read a state file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It leaves the file as it is and says that a newer program is needed.
    #[error("the previous version takes it for a newer one: version {0}")]
    Newer(u32),
    /// It puts the file aside and begins anew: all accounts are lost.
    #[error("the previous version takes it for damaged: {0}")]
    Damaged(String),
    /// It leaves the file as it is.
    #[error("the previous version takes it for one of the profile {0}")]
    OtherProfile(String),
}

/// The file as the previous version writes it after it read this one and changed nothing.
pub fn rewritten(file: &[u8]) -> Result<Vec<u8>, Refused> {
    let damaged = |why: &str| Refused::Damaged(why.to_owned());
    let end = file.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged("no first line"))?;
    let (line, body) = (&file[..end], &file[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|error| damaged(&error.to_string()))?;
    let [program, version, sum] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(damaged("its first line has not three words"));
    };
    let version: u32 = version.parse().map_err(|_| damaged("its version is no number"))?;
    if program != "omadm-state" || sum != checksum(version, body) {
        return Err(damaged("its checksum does not fit"));
    }
    if version != 1 {
        return Err(Refused::Newer(version));
    }
    let body = serde_json::from_slice(body).map_err(|error| damaged(&error.to_string())).and_then(checked)?;
    let body = serde_json::to_vec(&body).map_err(|error| damaged(&error.to_string()))?;
    Ok([format!("omadm-state 1 {}\n", checksum(1, &body)).as_bytes(), &body].concat())
}

/// The same of the JSON in the file.
pub fn rewritten_state(state: serde_json::Value) -> Result<serde_json::Value, Refused> {
    let damaged = |error: serde_json::Error| Refused::Damaged(error.to_string());
    let state = serde_json::from_value(state).map_err(damaged).and_then(checked)?;
    serde_json::to_value(&state).map_err(damaged)
}

fn checked(state: State) -> Result<State, Refused> {
    if state.profile == "omadm-1" { Ok(state) } else { Err(Refused::OtherProfile(state.profile)) }
}

fn checksum(version: u32, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(format!("omadm-state {version}\n")).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize, Deserialize)]
struct State {
    profile: String,
    #[serde(default)]
    accounts: Book,
    #[serde(default)]
    tree: Tree,
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default)]
    refused_pins: Vec<RefusedPin>,
    #[serde(default)]
    bootstrap_busy: Option<Busy>,
    #[serde(default)]
    session_not_before: BTreeMap<String, String>,
    #[serde(default)]
    notes: Notes,
}

#[derive(Default, Serialize, Deserialize)]
struct Book {
    accounts: Vec<Installed>,
    #[serde(default)]
    fallbacks: Vec<Installed>,
    #[serde(default)]
    last_number: u32,
    #[serde(default)]
    granted: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Installed {
    account: Account,
    source: Source,
    miid: String,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    bootstrap_complete_due: bool,
    #[serde(default = "epoch")]
    installed_at: String,
    #[serde(default)]
    last_session: Option<String>,
    #[serde(default)]
    refusals: Option<Refusals>,
    #[serde(default)]
    mos_answered: Option<Vec<MosItem>>,
}

#[derive(Serialize, Deserialize)]
struct Account {
    srv_id: String,
    srv_uri: String,
    name: String,
    perm: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trsp: Option<Credential>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noti: Option<Notification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bootstrap: Option<Bootstrap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_ca: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "lowercase")]
enum Credential {
    Basic { user: String, password: String },
    Digest { user: String, password: String },
    Psk { identity: String, key: String },
    X509 { chain: String, key: String },
    Aka { user: String },
}

#[derive(Serialize, Deserialize)]
struct Notification {
    data: String,
    secret: String,
}

#[derive(Serialize, Deserialize)]
struct Bootstrap {
    server_uri: String,
    mode: SecMode,
    client_pub_key: String,
    server_pub_key: String,
    client_secret_key: String,
}

#[derive(Serialize, Deserialize)]
enum SecMode {
    Configured,
    Psk,
    X509,
    Aka,
}

#[derive(Serialize, Deserialize)]
struct Source {
    method: Method,
    origin: String,
}

#[derive(Serialize, Deserialize)]
struct Refusals {
    first: String,
    last: String,
    count: u32,
}

#[derive(Serialize, Deserialize)]
struct MosItem {
    #[serde(rename = "DDF", skip_serializing_if = "Option::is_none")]
    ddf: Option<String>,
    #[serde(rename = "MOID")]
    moid: String,
    #[serde(rename = "MIID")]
    miids: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Tree {
    instances: BTreeMap<String, BTreeMap<String, Instance>>,
    assigned: u64,
    chosen: BTreeMap<String, BTreeSet<String>>,
    changes: u64,
}

#[derive(Serialize, Deserialize)]
struct Instance {
    root: Node,
    owner: Owner,
    cv: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Owner {
    Local,
    Server(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Node {
    Leaf(Value),
    Interior(BTreeMap<String, Node>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    Null,
    Bool(bool),
    Int(i32),
    Float(f32),
    Chr(String),
    Xml(String),
    Date(String),
    Time(String),
    Bin(String),
    B64(String),
}

#[derive(Serialize, Deserialize)]
struct Attempt {
    method: Method,
    outcome: Outcome,
    reason: Option<Reason>,
    message: String,
    at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Method {
    Smartcard,
    Factory,
    BootstrapServer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Installed,
    Unchanged,
    None,
    Failed,
    Skipped,
}

struct Reason(String);

/// Every reason that the previous version knows, beside `http-` and three digits.
const REASONS: [&str; 22] = [
    "no-card",
    "card-not-allowed",
    "no-pkcs15",
    "no-dm-object",
    "card-holds-dm1x",
    "no-logical-channel",
    "card-io",
    "card-removed",
    "pin-needed",
    "pin-refused",
    "malformed-message",
    "invalid-message",
    "srv-id-taken",
    "no-factory-file",
    "not-configured",
    "not-needed",
    "sim-not-ready",
    "timeout",
    "connect",
    "tls",
    "clock",
    "storage",
];

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let status = word.strip_prefix("http-").is_some_and(|rest| rest.len() == 3 && rest.parse::<u16>().is_ok());
        if status || REASONS.contains(&word.as_str()) {
            Ok(Self(word))
        } else {
            Err(serde::de::Error::custom(format!("{word} is not a reason code")))
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RefusedPin {
    iccid: String,
    reference: u8,
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unanswered: Option<u8>,
}

#[derive(Serialize, Deserialize)]
struct Busy {
    #[serde(default)]
    origin: String,
    status: u16,
    until: String,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct Notes {
    written: String,
    sim: Sim,
    last_run: LastRun,
    sessions: BTreeMap<String, SessionNote>,
    next: Option<Next>,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            written: epoch(),
            sim: Sim::default(),
            last_run: LastRun::default(),
            sessions: BTreeMap::new(),
            next: None,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Sim {
    present: bool,
    ready: bool,
    iccid: Option<String>,
    mcc: Option<String>,
    mnc: Option<String>,
    reason: Option<Reason>,
}

#[derive(Default, Serialize, Deserialize)]
struct LastRun {
    apdus: u64,
    round_trips: u64,
    bytes: u64,
    ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SessionNote {
    at: String,
    ended: bool,
    reason: Option<Reason>,
    message: String,
    alerts: Vec<String>,
    commands: usize,
}

#[derive(Serialize, Deserialize)]
struct Next {
    at: String,
    why: String,
}

fn epoch() -> String {
    "1970-01-01T00:00:00Z".to_owned()
}
