//! How a session went.

use crate::package::MosItem;
use crate::reason::Reason;
use crate::status::StatusCode;

/// How a session went.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The server ended it properly.
    pub ended: bool,
    /// A Package#2 came back, so BootstrapComplete is delivered.
    pub answered: bool,
    /// Why it broke off.
    pub reason: Option<Reason>,
    /// The same for people: a sentence.
    pub message: String,
    /// When to try again.
    pub retry: Retry,
    /// The types of the alerts in Package#1.
    pub alerts: Vec<String>,
    /// The instances that this server now knows of (Profile P-13); `None` where no Package#2 came back.
    pub mos_answered: Option<Vec<MosItem>>,
    /// The commands that were carried out, and how each went.
    pub commands: Vec<(String, StatusCode)>,
    /// How many packages were sent.
    pub packages: u32,
}

/// When a session that broke off is tried again (Profile P-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It did not break off.
    None,
    /// By exponential backoff, a Retry-After in seconds first.
    Backoff {
        /// What the server asked for.
        retry_after: Option<u64>,
    },
    /// At the slow rate.
    Slow,
    /// The server refused the credentials: at the slow rate, and counted (spec 2.2).
    Refused,
}
