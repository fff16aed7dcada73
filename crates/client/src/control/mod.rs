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
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Tell the status, at once, whatever is going on.
    Status {},
    /// Open a session now, with this server or with each.
    Session {
        /// Which server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
