//! Carrying out orders, whether a person gives them to this program or over the control socket.

use crate::client::{AccountError, Client};
use crate::control::{Order, Reply};
use crate::exit::Exit;
use crate::session::SessionError;
use crate::state::SessionNote;
use crate::wait::Stopped;
use omadm_core::bootstrap::sequence::{Next, Run, RunResult};
use omadm_core::ids::SrvId;
use omadm_core::reason::{Attempt, Reason};
use omadm_core::session::client::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What `bootstrap` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootstrapTold {
    /// What came of it.
    pub result: BootstrapResult,
    /// The servers whose accounts were installed.
    pub srv_ids: Vec<SrvId>,
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
    /// When something is tried next.
    pub next: Option<Next>,
}

/// What came of going through the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootstrapResult {
    /// A message was installed.
    Bootstrapped,
    /// A usable account was there already.
    Unchanged,
    /// There is no usable account.
    Nothing,
}

/// What `session` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionsTold {
    /// One for each session.
    pub sessions: Vec<SessionTold>,
}

/// How a session went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionTold {
    /// With whom.
    pub srv_id: SrvId,
    /// How it went.
    #[serde(flatten)]
    pub note: SessionNote,
    /// The commands and their status codes, in order.
    pub log: Vec<(String, u16)>,
}

/// Carries out an order. A reset leaves it to the caller to begin the schedule anew.
pub fn carry_out(client: &mut Client, order: &Order) -> Result<Reply, Stopped> {
    match order {
        Order::Status {} => Ok(reply(Exit::Done, &client.status())),
        Order::Session { srv_id } => sessions(client, srv_id.as_ref()),
        Order::Bootstrap {} => client.bootstrap().map(|run| tell_run(&run)),
        Order::AccountRemove { srv_id } => Ok(account(client, srv_id, true)),
        Order::AccountAllow { srv_id } => Ok(account(client, srv_id, false)),
        Order::Reset {} => Ok(match client.reset() {
            Ok(()) => reply(Exit::Done, &json!({ "state": client.status().state })),
            Err(error) => Reply::failure(Exit::Failed, error.to_string()),
        }),
    }
}

/// What `account` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountTold {
    /// Whose account it is or was.
    pub srv_id: SrvId,
    /// No other account can be relied on: all methods of bootstrap are gone through again.
    pub begins_anew: bool,
}

fn account(client: &mut Client, srv_id: &SrvId, removes: bool) -> Reply {
    let done = if removes { client.remove_account(srv_id) } else { client.allow_account(srv_id).map(|()| true) };
    match done {
        Ok(true) => {
            let begins_anew = removes && !client.state().accounts.has_usable(client.judgement());
            reply(Exit::Done, &AccountTold { srv_id: srv_id.clone(), begins_anew })
        }
        Ok(false) => Reply::failure(Exit::Nothing, SessionError::NoAccount(srv_id.clone()).to_string()),
        Err(error @ AccountError::Unknown(_)) => Reply::failure(Exit::Nothing, error.to_string()),
        Err(error @ (AccountError::State(_) | AccountError::Tree(_))) => {
            Reply::failure(Exit::Failed, error.to_string())
        }
    }
}

fn tell_run(run: &Run) -> Reply {
    let (result, srv_ids) = match &run.result {
        RunResult::Bootstrapped { srv_ids, .. } => (BootstrapResult::Bootstrapped, srv_ids.clone()),
        RunResult::Unchanged => (BootstrapResult::Unchanged, Vec::new()),
        RunResult::Nothing => (BootstrapResult::Nothing, Vec::new()),
    };
    let refused = |attempt: &Attempt| matches!(attempt.reason, Some(Reason::Http(401 | 403)));
    let exit = match result {
        BootstrapResult::Bootstrapped | BootstrapResult::Unchanged => Exit::Done,
        BootstrapResult::Nothing if run.attempts.iter().any(refused) => Exit::NoRight,
        BootstrapResult::Nothing => Exit::Nothing,
    };
    let told = BootstrapTold { result, srv_ids, attempts: run.attempts.clone(), next: run.next.clone() };
    reply(exit, &told)
}

/// A session with one server, or with each whose account is not suspended, whatever becomes of the others.
fn sessions(client: &mut Client, named: Option<&SrvId>) -> Result<Reply, Stopped> {
    let srv_ids: Vec<_> = match named {
        Some(srv_id) => vec![srv_id.clone()],
        None => client
            .state()
            .accounts
            .iter()
            .filter(|installed| !installed.suspended)
            .map(|installed| installed.account.srv_id.clone())
            .collect(),
    };
    if srv_ids.is_empty() {
        return Ok(Reply::failure(Exit::Nothing, "there is no usable account; see `omadm-client status`"));
    }
    let mut told = SessionsTold { sessions: Vec::new() };
    let mut exit = Exit::Done;
    for srv_id in srv_ids {
        let (ending, log) = match client.session(&srv_id) {
            Ok(report) => {
                let log = report.commands.iter().map(|(name, status)| (name.clone(), status.0)).collect();
                (exit_of(&report), log)
            }
            Err(SessionError::Stopped(stopped)) => return Err(stopped),
            // One of several may have gone with the first success of another.
            Err(SessionError::NoAccount(_) | SessionError::Suspended(_)) if named.is_none() => continue,
            Err(error @ (SessionError::NoAccount(_) | SessionError::Suspended(_))) => {
                return Ok(Reply::failure(Exit::Nothing, error.to_string()));
            }
            // Why stands in its note; the others get their turn.
            Err(SessionError::Credentials { .. } | SessionError::Anchors { .. }) => (Exit::Failed, Vec::new()),
        };
        exit = worse(exit, ending);
        if let Some(note) = client.state().notes.sessions.get(&srv_id).cloned() {
            told.sessions.push(SessionTold { srv_id, note, log });
        }
    }
    Ok(reply(exit, &told))
}

fn exit_of(report: &Report) -> Exit {
    match report.reason {
        None => Exit::Done,
        Some(Reason::Http(401 | 403)) => Exit::NoRight,
        Some(_) => Exit::Failed,
    }
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Done { other } else { one }
}

fn reply(exit: Exit, result: &impl Serialize) -> Reply {
    match serde_json::to_value(result) {
        Ok(result) => Reply { exit, result },
        Err(error) => Reply { exit: Exit::Failed, result: Value::String(error.to_string()) },
    }
}
