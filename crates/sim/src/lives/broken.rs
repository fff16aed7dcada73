//! What must hold in every life, and how it is said that it did not.

use super::plan::moment;
use std::fmt;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Once a good server can be reached again, the device is managed within a bounded time.
    NobodyStranded,
    /// There is always a next attempt within a bounded time, with its reason.
    NextAttempt,
    /// A device that is not managed says why.
    ReasonTold,
    /// After a power cut the state is the old one or the new one.
    OldOrNew,
    /// Accounts are whole, and the tree shows exactly those.
    WholeAccounts,
    /// Credentials go to the server that they are for, and nowhere else.
    NoLeak,
    /// A refused PIN is not sent again.
    PinOnce,
    /// The last try of a PIN is never used.
    LastTryKept,
    /// Attempts are few.
    NoRush,
    /// What is remembered is bounded.
    BoundedRecord,
    /// A start that changes nothing writes nothing.
    QuietStart,
    /// The client can begin with its state.
    Starts,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// When, in seconds of the life.
    pub at: u64,
    /// What was found.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:?}: {}", moment(self.at), self.invariant, self.why)
    }
}
