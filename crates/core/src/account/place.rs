//! Reading the nodes of an MO out of a Bootstrap Message, so that an error names the node that is wrong.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::str::FromStr;

use crate::ids::InvalidName;
use crate::secret::Secret;
use crate::web::Url;

/// Which node of a serialized MO is wrong, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct NodeError {
    /// The path below the root, such as `Auth/Trsp/Data`; empty: the root.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

impl NodeError {
    pub(crate) fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }
}

/// An interior node while it is read, and where it stands.
pub(crate) struct Place<'a> {
    pub(super) path: String,
    pub(crate) children: &'a Map<String, Value>,
}

impl<'a> Place<'a> {
    pub(crate) fn root(children: &'a Map<String, Value>) -> Self {
        Self { path: String::new(), children }
    }

    pub(crate) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    pub(crate) fn error(&self, name: &str, why: impl Into<String>) -> NodeError {
        NodeError::new(self.at(name), why)
    }

    pub(crate) fn only(&self, known: &[&str]) -> Result<(), NodeError> {
        match self.children.keys().find(|name| !known.contains(&&***name)) {
            None => Ok(()),
            Some(name) => Err(self.error(name, format!("no such node here; known are {}", known.join(", ")))),
        }
    }

    pub(crate) fn child(&self, name: &str) -> Result<Option<Place<'a>>, NodeError> {
        match self.children.get(name) {
            None => Ok(None),
            Some(Value::Object(children)) => Ok(Some(Place { path: self.at(name), children })),
            Some(_) => Err(self.error(name, "a node with children is expected")),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, NodeError> {
        match self.children.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.error(name, "text is expected")),
        }
    }

    pub(crate) fn required_text(&self, name: &str) -> Result<String, NodeError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.error(name, "is required"))
    }

    /// Text that has to be there and to have the form of a name.
    pub(crate) fn name<T: FromStr<Err = InvalidName>>(&self, name: &str) -> Result<T, NodeError> {
        self.required_text(name)?.parse().map_err(|error: InvalidName| self.error(name, error.to_string()))
    }

    pub(crate) fn url(&self, name: &str, text: &str) -> Result<Url, NodeError> {
        text.parse::<Url>().and_then(Url::require_secure).map_err(|error| self.error(name, error.to_string()))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Option<Secret>, NodeError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        BASE64_STANDARD
            .decode(text)
            .map(|bytes| Some(Secret::new(bytes)))
            .map_err(|_| self.error(name, "base64 with padding is expected"))
    }
}
