//! Package#1, #2 and #3, and alerts (spec 6). Each is parsed once, from bounded bytes, into a value that is complete.

mod alert;
mod command;
mod status;

pub use alert::{Alert, BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Mark, SERVER_INITIATED};
pub use command::Command;
pub use status::Status;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{Miid, Moid};
use crate::json::{self, JsonError};

/// The largest package, in bytes (Profile P-30).
pub const MAX_PACKAGE: usize = 1 << 20;
/// The most commands in a package (Profile P-30).
pub const MAX_COMMANDS: usize = 256;
/// The most alerts and MOS items that are read from a package.
const MAX_ITEMS: usize = 1024;

/// Why bytes are no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Not JSON, too large, too deep, or a member stands twice.
    #[error("not readable as JSON: {0}")]
    Json(#[from] JsonError),
    /// JSON of another form.
    #[error("{at}: {expected}")]
    Form {
        /// Where, as in `CMD[2]`.
        at: String,
        /// What was expected there.
        expected: &'static str,
    },
}

impl PackageError {
    fn form(at: impl Into<String>, expected: &'static str) -> Self {
        Self::Form { at: at.into(), expected }
    }
}

/// An MO that the client supports, and its instances (spec 6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MosItem {
    /// Where its DDF is to be found.
    #[serde(rename = "DDF", skip_serializing_if = "Option::is_none")]
    pub ddf: Option<String>,
    /// The MO's identifier.
    #[serde(rename = "MOID")]
    pub moid: Moid,
    /// Its instances on which the server has a right; none is an empty list.
    #[serde(rename = "MIID")]
    pub miids: Vec<Miid>,
}

/// Package#1, from the client: it opens a session (spec 6.1).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Package1 {
    /// The MOs, where they are due (Profile P-13).
    #[serde(rename = "MOS", skip_serializing_if = "Option::is_none")]
    pub mos: Option<Vec<MosItem>>,
    /// The alerts, exactly one of which says why the session is opened.
    #[serde(rename = "Alert", skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

impl Package1 {
    /// Reads a Package#1.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut members = object(bytes)?;
        let mos = match members.remove("MOS") {
            None => None,
            Some(Value::Array(items)) if items.len() <= MAX_ITEMS => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    serde_json::from_value(item).map_err(|_| {
                        PackageError::form(format!("MOS[{index}]"), "a MOID and a list of MIIDs are expected")
                    })
                });
                Some(items.collect::<Result<_, _>>()?)
            }
            Some(_) => return Err(PackageError::form("MOS", "an array of at most 1024 items is expected")),
        };
        let alerts = alerts(&mut members)?;
        let openings = alerts.iter().filter(|alert| alert.opens_session()).count();
        if openings != 1 {
            let expected = "exactly one of ServerInitiatedMgmt, ClientInitiatedMgmt and BootstrapComplete is expected in Package#1";
            return Err(PackageError::form("Alert", expected));
        }
        Ok(Self { mos, alerts })
    }

    /// The bytes of it, without spaces.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }
}

/// Package#2, from the server: commands (spec 6.2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Package2 {
    /// The commands, in the order in which they are to be carried out.
    #[serde(rename = "CMD")]
    pub commands: Vec<Command>,
}

impl Package2 {
    /// Reads a Package#2. A command that is malformed becomes [`Command::Malformed`], so that those beside it can run
    /// and its own status says so.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut members = object(bytes)?;
        let Some(Value::Array(items)) = members.remove("CMD") else {
            return Err(PackageError::form("CMD", "an array of commands is expected"));
        };
        if items.len() > MAX_COMMANDS {
            return Err(PackageError::form("CMD", "at most 256 commands are allowed"));
        }
        Ok(Self { commands: items.into_iter().map(Command::from_json).collect() })
    }

    /// The bytes of it, without spaces.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Whether it holds END, the end of the session.
    pub fn ends_session(&self) -> bool {
        self.commands.contains(&Command::End)
    }
}

/// Package#3, from the client: the status of each command (spec 6.3).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Package3 {
    /// One for each command, in their order.
    #[serde(rename = "Status")]
    pub statuses: Vec<Status>,
    /// Alerts.
    #[serde(rename = "Alert", skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

impl Package3 {
    /// Reads a Package#3.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut members = object(bytes)?;
        let Some(Value::Array(items)) = members.remove("Status") else {
            return Err(PackageError::form("Status", "an array is expected"));
        };
        if items.len() > MAX_COMMANDS {
            return Err(PackageError::form("Status", "at most 256 statuses are allowed"));
        }
        let statuses = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                Status::from_json(item).map_err(|what| PackageError::form(format!("Status[{index}]"), what))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { statuses, alerts: alerts(&mut members)? })
    }

    /// The bytes of it, without spaces.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, PackageError> {
    match json::parse(bytes, MAX_PACKAGE)? {
        Value::Object(members) => Ok(members),
        _ => Err(PackageError::form("package", "a JSON object is expected")),
    }
}

fn alerts(members: &mut Map<String, Value>) -> Result<Vec<Alert>, PackageError> {
    match members.remove("Alert") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_ITEMS => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                serde_json::from_value(item)
                    .map_err(|_| PackageError::form(format!("Alert[{index}]"), "an alert with AlertType is expected"))
            })
            .collect(),
        Some(_) => Err(PackageError::form("Alert", "an array of at most 1024 alerts is expected")),
    }
}

/// Serializing these types to memory cannot fail: their keys are text and their numbers finite.
fn to_bytes<T: Serialize>(package: &T) -> Vec<u8> {
    serde_json::to_vec(package).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected<T: std::fmt::Debug>(result: Result<T, PackageError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn a_package1_says_once_why_it_comes() {
        let both = br#"{"Alert":[{"AlertType":"urn:oma:at:dm:2.0:BootstrapComplete"},{"AlertType":"urn:oma:at:dm:2.0:ClientInitiatedMgmt"}]}"#;
        assert!(rejected(Package1::parse(both)).starts_with("Alert: exactly one"));
        assert!(rejected(Package1::parse(b"{}")).starts_with("Alert: exactly one"));
        assert!(rejected(Package1::parse(br#"{"Alert":[{}]}"#)).starts_with("Alert[0]"));
        assert!(rejected(Package1::parse(br#"{"MOS":[{"MOID":"urn:x:y"}]}"#)).starts_with("MOS[0]"));
        assert!(rejected(Package1::parse(b"[]")).starts_with("package"));
        assert!(rejected(Package1::parse(br#"{"Alert":[],"Alert":[]}"#)).contains("stands twice"));
    }

    #[test]
    fn cmd_and_status_are_required() {
        assert!(rejected(Package2::parse(b"{}")).starts_with("CMD"));
        assert!(rejected(Package3::parse(b"{}")).starts_with("Status"));
        assert!(rejected(Package3::parse(br#"{"Status":[{"sc":"x"}]}"#)).starts_with("Status[0]"));
        let many = format!(r#"{{"CMD":[{}["END"]]}}"#, r#"["END"],"#.repeat(256));
        assert!(rejected(Package2::parse(many.as_bytes())).contains("256"));
    }

    #[test]
    fn unknown_members_are_ignored() {
        assert!(Package2::parse(br#"{"CMD":[["END"]],"New":1}"#).unwrap().ends_session());
    }
}
