//! The status of a command in Package#3 (spec 6.3).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::StatusCode;

/// How a command went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The status code.
    pub sc: StatusCode,
    /// The ClientURIs that the client chose, after HGET without ClientURI.
    #[serde(rename = "URI", default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// The result of GET, an array of serialized MOs (Profile P-14).
    #[serde(rename = "Data", default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl From<StatusCode> for Status {
    fn from(sc: StatusCode) -> Self {
        Self { sc, uris: Vec::new(), data: None }
    }
}

impl Status {
    pub(super) fn from_json(item: Value) -> Result<Self, &'static str> {
        let status: Self = serde_json::from_value(item)
            .map_err(|_| "an object with the number sc, perhaps URI and Data, is expected")?;
        if !(100..1000).contains(&status.sc.0) {
            return Err("sc has three digits");
        }
        if status.data.as_ref().is_some_and(|data| !data.is_array()) {
            return Err("Data is an array");
        }
        Ok(status)
    }
}
