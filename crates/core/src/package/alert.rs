//! The generic alert (spec 6.4).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Opens a session because a server asked for it.
pub const SERVER_INITIATED: &str = "urn:oma:at:dm:2.0:ServerInitiatedMgmt";
/// Opens a session of the client's own accord.
pub const CLIENT_INITIATED: &str = "urn:oma:at:dm:2.0:ClientInitiatedMgmt";
/// Opens the first session after bootstrap.
pub const BOOTSTRAP_COMPLETE: &str = "urn:oma:at:dm:2.0:BootstrapComplete";

/// How important an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the standard's own words")]
pub enum Mark {
    Fatal,
    Critical,
    Minor,
    Warning,
    Informational,
    Harmless,
    Indeterminate,
}

/// Something that the client tells the server; never answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Alert {
    /// What kind of alert.
    #[serde(rename = "AlertType")]
    pub alert_type: String,
    /// The node that it comes from.
    #[serde(rename = "SourceURI", default, skip_serializing_if = "Option::is_none")]
    pub source_uri: Option<String>,
    /// What it is about.
    #[serde(rename = "TargetURI", default, skip_serializing_if = "Option::is_none")]
    pub target_uri: Option<String>,
    /// How important it is.
    #[serde(rename = "Mark", default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// The type of its data.
    #[serde(rename = "DataType", default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// Its data, an object.
    #[serde(rename = "Data", default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Map<String, Value>>,
}

impl Alert {
    /// An alert of this type and nothing else.
    pub fn of_type(alert_type: &str) -> Self {
        Self { alert_type: alert_type.to_owned(), ..Self::default() }
    }

    /// Whether it is one of the three that say why a session is opened.
    pub fn opens_session(&self) -> bool {
        [SERVER_INITIATED, CLIENT_INITIATED, BOOTSTRAP_COMPLETE].contains(&&*self.alert_type)
    }
}
