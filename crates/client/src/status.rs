//! What `omadm-client status` tells, in the words that scripts rely on.

use crate::card::SimStatus;
use crate::config::{CardLink, Config};
use crate::state::{LastRun, SessionNote, State};
use omadm_core::bootstrap::sequence::Next;
use omadm_core::ids::{DevId, SrvId};
use omadm_core::reason::{Attempt, Method, Reason};
use omadm_core::time::Timestamp;
use omadm_core::web::Url;
use serde::{Deserialize, Serialize};

/// The status of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The profile.
    pub profile: String,
    /// Who the device is.
    pub dev_id: DevId,
    /// How far it has come.
    pub state: Stage,
    /// Its accounts.
    pub accounts: Vec<AccountStatus>,
    /// What was tried, oldest first.
    pub attempts: Vec<Attempt>,
    /// What comes next.
    pub next: Option<Next>,
    /// The SIM as it was last seen; MCC and MNC from the configuration where it does not tell both.
    pub sim: SimStatus,
    /// What the last bootstrap and the session after it took.
    pub last_run: LastRun,
    /// What keeps the state from being durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
}

/// How far a device has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It had a session.
    Managed,
    /// It has an account, but had no session yet.
    Bootstrapped,
    /// It has no account that it can use, and tries on.
    Waiting,
    /// Nothing was tried yet.
    Unconfigured,
}

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// The server.
    pub srv_id: SrvId,
    /// Its name for people.
    pub name: String,
    /// Where sessions are opened.
    pub srv_uri: Url,
    /// The method that brought it.
    pub source: Method,
    /// The card's ICCID, the file or the URL that it came from.
    pub origin: String,
    /// Its card is gone.
    pub suspended: bool,
    /// By a person's permission the next message from another source may replace it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_replaced: bool,
    /// When the last successful session ended.
    pub last_session: Option<Timestamp>,
    /// How the last session went, successful or not.
    pub session: Option<SessionNote>,
}

impl Status {
    /// The status that a state tells.
    pub fn of(config: &Config, state: &State) -> Self {
        let account = |installed: &omadm_core::account::InstalledAccount| AccountStatus {
            srv_id: installed.account.srv_id.clone(),
            name: installed.account.name.clone(),
            srv_uri: installed.account.srv_uri.clone(),
            source: installed.source.method,
            origin: installed.source.origin.clone(),
            suspended: installed.suspended,
            may_be_replaced: installed.may_be_replaced,
            last_session: installed.last_session,
            session: state.notes.sessions.get(&installed.account.srv_id).cloned(),
        };
        let accounts: Vec<_> = state.accounts.iter().map(account).collect();
        let stage =
            match state.accounts.iter().filter(|one| one.can_be_used()).map(|one| one.last_session.is_some()).max() {
                Some(true) => Stage::Managed,
                Some(false) => Stage::Bootstrapped,
                None if state.attempts.is_empty() && state.notes.next.is_none() => Stage::Unconfigured,
                None => Stage::Waiting,
            };
        let mut sim = state.notes.sim.clone();
        if config.card.link == CardLink::Off {
            sim = SimStatus { reason: Some(Reason::NotConfigured), ..SimStatus::default() };
        }
        if sim.mcc.is_none() || sim.mnc.is_none() {
            (sim.mcc, sim.mnc) = (config.sim.mcc.clone(), config.sim.mnc.clone());
        }
        Self {
            profile: state.profile.clone(),
            dev_id: config.device.dev_id.clone(),
            state: stage,
            accounts,
            attempts: state.attempts.clone(),
            next: state.notes.next.clone(),
            sim,
            last_run: state.notes.last_run,
            storage: None,
        }
    }
}
