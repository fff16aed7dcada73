//! What is remembered, as one value.

use crate::card::SimStatus;
use omadm_card::RefusedPin;
use omadm_core::account::AccountBook;
use omadm_core::backoff;
use omadm_core::bootstrap::sequence::Next;
use omadm_core::ids::SrvId;
use omadm_core::mo::Tree;
use omadm_core::reason::{Attempt, Reason};
use omadm_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many attempts are remembered, the newest ones.
pub const MAX_ATTEMPTS: usize = 64;

/// How many refused PINs are remembered, the newest ones.
const MAX_REFUSED_PINS: usize = 64;

/// Everything that the device remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The profile that this state belongs to.
    pub profile: String,
    /// The accounts, secrets included.
    #[serde(default)]
    pub accounts: AccountBook,
    /// The MO tree; of an account it holds only what a server may read.
    #[serde(default)]
    pub tree: Tree,
    /// What was tried, oldest first.
    #[serde(default, deserialize_with = "readable")]
    pub attempts: Vec<Attempt>,
    /// PINs that cards refused; they are never sent again.
    #[serde(default, deserialize_with = "readable")]
    pub refused_pins: Vec<RefusedPin>,
    /// A Retry-After of the bootstrap server that still holds.
    #[serde(default)]
    pub bootstrap_busy: Option<Busy>,
    /// Retry-Afters of DM Servers that still hold.
    #[serde(default)]
    pub session_not_before: BTreeMap<SrvId, Timestamp>,
    /// How far time went on while the clock was not set and sessions broke off: a floor of the clock, too.
    #[serde(default)]
    pub kept_time: Timestamp,
    /// What alone is no reason to write.
    #[serde(default, deserialize_with = "if_readable")]
    pub notes: Notes,
}

/// A server that asked not to be asked for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// Scheme, host and port of the server.
    #[serde(default)]
    pub origin: String,
    /// The status that it said so with.
    pub status: u16,
    /// Until when.
    pub until: Timestamp,
}

/// What is written along with any other change, and not alone (spec 2.2), but where time goes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The last time that was known when the file was written: a floor of the clock (Profile P-27).
    pub written: Timestamp,
    /// Since when certificates are valid that servers showed: it is later than that, however wrong clocks are.
    pub proved: Timestamp,
    /// The SIM as it was last seen.
    pub sim: SimStatus,
    /// What the last bootstrap and the session after it took.
    pub last_run: LastRun,
    /// How the last session with each server went.
    pub sessions: BTreeMap<SrvId, SessionNote>,
    /// When something is done next.
    pub next: Option<Next>,
}

/// What a bootstrap and the session after it took, counted at links and sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastRun {
    /// Commands to the card.
    pub apdus: u64,
    /// Round trips, those of TCP and TLS handshakes included.
    pub round_trips: u64,
    /// Bytes both ways, TLS included.
    pub bytes: u64,
    /// Milliseconds, pauses between bootstrap and session not included.
    pub ms: u64,
}

/// How a session went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNote {
    /// When it ended.
    pub at: Timestamp,
    /// Whether the server ended it properly.
    pub ended: bool,
    /// Why not, for programs.
    pub reason: Option<Reason>,
    /// How it ended, for people.
    pub message: String,
    /// The types of the alerts that were delivered.
    pub alerts: Vec<String>,
    /// How many commands were carried out.
    pub commands: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            profile: omadm_core::PROFILE.to_owned(),
            accounts: AccountBook::default(),
            tree: Tree::default(),
            attempts: Vec::new(),
            refused_pins: Vec::new(),
            bootstrap_busy: None,
            session_not_before: BTreeMap::new(),
            kept_time: Timestamp::default(),
            notes: Notes::default(),
        }
    }
}

impl State {
    /// Sets the record of attempts to these, the newest [`MAX_ATTEMPTS`] of them.
    pub fn set_attempts(&mut self, attempts: impl IntoIterator<Item = Attempt>) {
        self.attempts = attempts.into_iter().collect();
        keep_last(&mut self.attempts, MAX_ATTEMPTS);
    }

    /// Remembers a PIN that a card refused, in place of what was remembered of it.
    pub fn remember_refused_pin(&mut self, pin: RefusedPin) {
        self.forget_refused_pin(&pin);
        self.refused_pins.push(pin);
        keep_last(&mut self.refused_pins, MAX_REFUSED_PINS);
    }

    /// Forgets what was remembered of a PIN.
    pub fn forget_refused_pin(&mut self, pin: &RefusedPin) {
        self.refused_pins.retain(|one| !one.is_same_pin(pin));
    }

    /// The last time that is known.
    pub fn known_time(&self) -> Timestamp {
        self.notes.written.max(self.kept_time).max(self.notes.proved)
    }

    /// Sets times right by a clock that is set or not: what lies further ahead than it can was noted by a wrong clock.
    pub fn heed_clock(&mut self, now: Timestamp, is_set: bool) {
        self.accounts.heed_clock(now, is_set);
        self.notes.sessions.values_mut().for_each(|note| note.at = now.min(note.at));
        let latest = now.plus(backoff::LAST);
        self.session_not_before.values_mut().for_each(|at| *at = latest.min(*at));
        if let Some(busy) = &mut self.bootstrap_busy {
            busy.until = busy.until.min(latest);
        }
    }

    /// The time of the newest session.
    pub(crate) fn newest_session(&self) -> Timestamp {
        self.accounts.iter().filter_map(|installed| installed.last_session).max().unwrap_or_default()
    }

    /// Whether this state is another one only in what alone is no reason to write.
    pub(super) fn weighs_the_same(&self, other: &Self) -> bool {
        let Self {
            profile,
            accounts,
            tree,
            attempts,
            refused_pins,
            bootstrap_busy,
            session_not_before,
            kept_time,
            notes: _,
        } = self;
        *profile == other.profile
            && *kept_time == other.kept_time
            && *bootstrap_busy == other.bootstrap_busy
            && *session_not_before == other.session_not_before
            && *refused_pins == other.refused_pins
            && *attempts == other.attempts
            && (*accounts == other.accounts || without_sessions(accounts) == without_sessions(&other.accounts))
            && *tree == other.tree
    }
}

fn without_sessions(accounts: &AccountBook) -> AccountBook {
    let mut book = accounts.clone();
    for installed in accounts.iter() {
        if let Some(installed) = book.account_mut(&installed.account.srv_id) {
            installed.last_session = None;
        }
    }
    book
}

/// Those of a list that this version can read: a word of a later version costs one of them, not the accounts.
fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}

/// The value if this version can read it, else the default.
fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::reason::{Method, Outcome};

    #[test]
    fn of_the_attempts_the_newest_64_are_remembered() {
        let attempt = |number: u64| Attempt {
            method: Method::Factory,
            outcome: Outcome::Failed,
            reason: Some(Reason::MalformedMessage),
            message: String::new(),
            at: Timestamp(number),
        };
        let mut state = State::default();
        state.set_attempts((0..100).map(attempt));
        assert_eq!(state.attempts, (36..100).map(attempt).collect::<Vec<_>>());
    }
}
