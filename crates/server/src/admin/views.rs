//! What people and programs get to see, as JSON and in pages. Secrets are never part of it.

use omadm_core::reason::Method;
use omadm_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::store::{
    Credential, CredentialScheme, DevInfo, Device, DeviceState, JobKind, JobRow, JobState, Recorded, SessionRow,
};

/// A device.
#[derive(Debug, Serialize)]
pub(super) struct DeviceView {
    pub(super) dev_id: String,
    pub(super) user: String,
    pub(super) state: DeviceState,
    pub(super) source: Option<Method>,
    pub(super) srv_id: Option<String>,
    pub(super) devinfo: Option<DevInfo>,
    pub(super) added_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blocked_at: Option<Timestamp>,
    pub(super) last_session: Option<SessionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<Vec<CredentialView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sessions: Option<Vec<SessionView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests: Option<Vec<Recorded>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jobs: Option<Vec<JobView>>,
}

/// A session.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SessionView {
    /// The types of its alerts.
    pub(super) alerts: Vec<String>,
    /// END was sent.
    pub(super) ended: bool,
    pub(super) outcome: String,
    /// The commands that were answered, each with its status.
    pub(super) commands: Vec<(String, u16)>,
    /// DevInfo was read twice with the same result.
    pub(super) agreed: bool,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
}

/// A job.
#[derive(Debug, Serialize)]
pub(super) struct JobView {
    pub(super) id: i64,
    pub(super) kind: JobKind,
    pub(super) state: JobState,
    pub(super) commands: Value,
    pub(super) tries: u32,
    pub(super) results: Option<Value>,
    pub(super) made_at: Timestamp,
    pub(super) done_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uploads: Option<serde_json::Map<String, Value>>,
}

/// A credential that was given out.
#[derive(Debug, Serialize)]
pub(super) struct CredentialView {
    pub(super) scheme: CredentialScheme,
    pub(super) user: String,
    pub(super) source: Method,
    pub(super) label: String,
    pub(super) profile: String,
    pub(super) srv_id: String,
    /// The device that it is bound to.
    pub(super) dev_id: Option<String>,
    pub(super) made_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
}

impl DeviceView {
    pub(super) fn new(device: Device, last: Option<SessionRow>) -> Self {
        Self {
            dev_id: device.dev_id.to_string(),
            user: device.user,
            state: device.state,
            source: device.source,
            srv_id: device.srv_id,
            devinfo: device.devinfo,
            added_at: device.added_at,
            blocked_at: device.blocked_at,
            last_session: last.map(SessionView::from),
            credentials: None,
            sessions: None,
            requests: None,
            jobs: None,
        }
    }
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        Self {
            ended: row.outcome == "ended",
            alerts: row.alerts,
            outcome: row.outcome,
            commands: row.commands,
            agreed: row.agreed,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

impl From<JobRow> for JobView {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            state: row.state,
            commands: row.commands,
            tries: row.tries,
            results: row.results,
            made_at: row.made_at,
            done_at: row.done_at,
            uploads: None,
        }
    }
}

impl From<Credential> for CredentialView {
    fn from(credential: Credential) -> Self {
        Self {
            scheme: credential.scheme,
            user: credential.user,
            source: credential.source,
            label: credential.label,
            profile: credential.profile,
            srv_id: credential.srv_id,
            dev_id: credential.device.map(|device| device.dev_id.to_string()),
            made_at: credential.made_at,
            used_at: credential.used_at,
        }
    }
}
