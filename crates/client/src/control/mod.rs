//! The unix socket beside the state file, over which other commands reach `omadm-client run`: one JSON object per line,
//! one order and one reply per connection.

mod client;
mod server;

use crate::exit::Exit;
use omadm_core::ids::SrvId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub use client::{AskError, ask};
pub use server::{Board, Control, Ticket};

/// The longest order, in bytes.
const MAX_ORDER: usize = 4 * 1024;

/// The longest reply, in bytes.
const MAX_REPLY: usize = 4 * 1024 * 1024;

/// What another command asks of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub enum Order {
    /// Tell the status, at once, whatever is going on.
    Status {},
    /// Open a session now, with this server or with each.
    Session {
        /// Which server.
        srv_id: Option<SrvId>,
    },
    /// Go through the methods of bootstrap now.
    Bootstrap {},
    /// Remove the account of this server.
    AccountRemove {
        /// Which server.
        srv_id: SrvId,
    },
    /// Let the next message from another source replace the account of this server, once.
    AccountAllow {
        /// Which server.
        srv_id: SrvId,
    },
    /// Forget everything and begin anew.
    Reset {},
}

/// An order as it is sent: flat, which takes a quarter of the code that reads an enum with fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "do")]
    what: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    srv_id: Option<SrvId>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Status,
    Session,
    Bootstrap,
    AccountRemove,
    AccountAllow,
    Reset,
}

impl From<Order> for Line {
    fn from(order: Order) -> Self {
        let (what, srv_id) = match order {
            Order::Status {} => (What::Status, None),
            Order::Session { srv_id } => (What::Session, srv_id),
            Order::Bootstrap {} => (What::Bootstrap, None),
            Order::AccountRemove { srv_id } => (What::AccountRemove, Some(srv_id)),
            Order::AccountAllow { srv_id } => (What::AccountAllow, Some(srv_id)),
            Order::Reset {} => (What::Reset, None),
        };
        Self { what, srv_id }
    }
}

impl TryFrom<Line> for Order {
    type Error = &'static str;

    fn try_from(line: Line) -> Result<Self, &'static str> {
        match (line.what, line.srv_id) {
            (What::Status, None) => Ok(Self::Status {}),
            (What::Session, srv_id) => Ok(Self::Session { srv_id }),
            (What::Bootstrap, None) => Ok(Self::Bootstrap {}),
            (What::AccountRemove, Some(srv_id)) => Ok(Self::AccountRemove { srv_id }),
            (What::AccountAllow, Some(srv_id)) => Ok(Self::AccountAllow { srv_id }),
            (What::Reset, None) => Ok(Self::Reset {}),
            (What::AccountRemove | What::AccountAllow, None) => Err("srv_id is missing"),
            (What::Status | What::Bootstrap | What::Reset, Some(_)) => Err("srv_id is not expected"),
        }
    }
}

/// What `run` replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// How it ended.
    pub exit: Exit,
    /// What came of it; for a failure a sentence.
    pub result: Value,
}

impl Reply {
    /// A failure with its sentence.
    pub fn failure(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, result: Value::String(sentence.into()) }
    }
}

/// The path of the socket beside a state file.
pub fn socket_path(state: &Path) -> PathBuf {
    crate::state::beside(state, ".sock")
}

#[cfg(test)]
mod tests;
