//! What client and server tell about a device, as far as the demo looks at it.

use omadm_core::reason::Attempt;
use omadm_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

/// `omadm-client status --json`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct ClientStatus {
    pub(super) profile: String,
    pub(super) dev_id: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) accounts: Vec<Account>,
    #[serde(default)]
    pub(super) attempts: Vec<Attempt>,
    #[serde(default)]
    pub(super) next: Option<Next>,
    #[serde(default)]
    pub(super) last_run: Option<LastRun>,
}

/// An account in a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Account {
    pub(super) srv_id: String,
    pub(super) source: String,
    #[serde(default)]
    pub(super) suspended: bool,
    #[serde(default)]
    pub(super) last_session: Option<String>,
}

/// What a client does next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    pub(super) at: Option<Timestamp>,
    #[serde(default)]
    pub(super) why: String,
}

/// What bootstrap and first session took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct LastRun {
    pub(super) apdus: u64,
    pub(super) round_trips: u64,
    pub(super) bytes: u64,
    pub(super) ms: u64,
}

/// A device in the server's admin API.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct ServerDevice {
    pub(super) dev_id: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) devinfo: Option<Map<String, Value>>,
    /// Newest first.
    #[serde(default)]
    pub(super) sessions: Vec<Session>,
    /// Newest first.
    #[serde(default)]
    pub(super) requests: Vec<Request>,
}

/// A request as the server saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Request {
    #[serde(default)]
    pub(super) at: String,
    pub(super) endpoint: String,
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) detail: String,
}

/// A session as the server saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Session {
    #[serde(default)]
    pub(super) started_at: String,
    #[serde(default)]
    pub(super) alerts: Vec<String>,
    #[serde(default)]
    pub(super) ended: bool,
}

/// Everything known of a device at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) client: Option<ClientStatus>,
    pub(super) server: Option<ServerDevice>,
}
