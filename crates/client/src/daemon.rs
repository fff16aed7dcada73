//! `omadm-client run`: bootstrap at the start, sessions when they are due, orders at any time, until a signal ends it.

use crate::client::Client;
use crate::control::{Control, Order, Reply, Ticket, socket_path};
use crate::exit::Exit;
use crate::orders;
use crate::report::in_words;
use crate::session::SessionError;
use crate::wait::{Stop, Stopped};
use omadm_core::account::InstalledAccount;
use omadm_core::backoff;
use omadm_core::bootstrap::sequence::{Next, RunResult};
use omadm_core::ids::SrvId;
use omadm_core::session::client::{Report, Retry};
use omadm_core::time::Timestamp;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The longest pause without a look at the clock, which may be set meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Failed to run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The control socket cannot be made.
    #[error("cannot listen at {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs until the program is to end.
pub fn run(client: Client, stop: &Stop) -> Result<(), RunError> {
    let path = socket_path(&client.config.state);
    let control = Control::bind(&path).map_err(|source| RunError::Socket { path, source })?;
    let board = client.board().clone();
    let (work, tickets) = channel();
    thread::scope(|scope| {
        // However the work ends, the other thread has to end too.
        let _end = RaiseAtEnd(stop);
        scope.spawn(|| control.serve(stop, &board, work));
        // The only way out is the wish that the program ends.
        let Err(Stopped) = Daemon::new(client).work(&tickets);
    });
    tracing::info!("ended");
    Ok(())
}

struct RaiseAtEnd<'a>(&'a Stop);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

struct Daemon {
    client: Client,
    /// When to go through the methods of bootstrap.
    bootstrap: Option<Next>,
    /// What is to be heeded before the next session with a server whose last one broke off.
    troubles: BTreeMap<SrvId, Trouble>,
    /// What was logged as coming next.
    told: Option<Next>,
}

/// A session that broke off.
struct Trouble {
    /// How often in a row.
    failures: u32,
    /// When to try again.
    next: Next,
}

enum Task {
    Bootstrap,
    Session(SrvId),
}

impl Daemon {
    fn new(client: Client) -> Self {
        let bootstrap = Some(Next { at: Timestamp::default(), why: "the client starts".to_owned() });
        Self { client, bootstrap, troubles: BTreeMap::new(), told: None }
    }

    fn work(&mut self, tickets: &Receiver<Ticket>) -> Result<Infallible, Stopped> {
        loop {
            if self.client.stop.is_raised() {
                return Err(Stopped);
            }
            let now = self.client.clock.now();
            let next = self.next(now);
            self.client.memory.state_mut().notes.next = next.as_ref().map(|(next, _)| next.clone());
            self.client.publish();
            let pause = match next {
                Some((next, task)) if next.at <= now => {
                    self.carry_out(task)?;
                    continue;
                }
                Some((next, _)) => {
                    self.tell(&next);
                    Duration::from_secs(next.at.since(now)).min(LONGEST_PAUSE)
                }
                None => LONGEST_PAUSE,
            };
            match tickets.recv_timeout(pause) {
                Ok(ticket) => self.serve(&ticket)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped),
            }
        }
    }

    /// Logs what comes next, once.
    fn tell(&mut self, next: &Next) {
        if self.told.as_ref() != Some(next) {
            tracing::info!("next, at {}: {}", next.at, next.why);
            self.told = Some(next.clone());
        }
    }

    /// What is due first.
    fn next(&self, now: Timestamp) -> Option<(Next, Task)> {
        let bootstrap = self.bootstrap.clone().or_else(|| self.doubt(now)).map(|next| (next, Task::Bootstrap));
        let accounts = self.client.state().accounts.iter().filter(|installed| !installed.suspended);
        let sessions = accounts
            .map(|installed| (self.next_session(installed, now), Task::Session(installed.account.srv_id.clone())));
        // Of what is due at the same time the first stands first: bootstrap, then the accounts in their order.
        bootstrap.into_iter().chain(sessions).min_by_key(|(next, _)| next.at)
    }

    /// When the accounts can no longer be relied on, so that the methods of bootstrap are gone through again while their
    /// sessions go on being tried (Profile P-25).
    fn doubt(&self, now: Timestamp) -> Option<Next> {
        let by = self.client.judgement();
        match self.client.state().accounts.stale_at(by) {
            Some(at) => {
                let age = in_words(by.stale_after);
                Some(Next { at, why: format!("other accounts are looked for, if no session succeeds for {age}") })
            }
            None => Some(Next { at: now, why: "no account can be relied on".to_owned() }),
        }
    }

    fn next_session(&self, installed: &InstalledAccount, now: Timestamp) -> Next {
        let srv_id = &installed.account.srv_id;
        let every = self.client.config.session.every.as_secs().max(1);
        let due = match installed.last_session {
            Some(last) if !installed.bootstrap_complete_due => {
                Next { at: last.plus(every), why: format!("a session with {srv_id} every {}", in_words(every)) }
            }
            Some(_) | None => Next { at: now, why: format!("the first session with {srv_id}") },
        };
        let kept = self.client.state().session_not_before.get(srv_id);
        let asked = kept.map(|at| Next { at: *at, why: format!("{srv_id} asked to come back later") });
        let trouble = self.troubles.get(srv_id).map(|trouble| trouble.next.clone());
        [Some(due), asked, trouble]
            .into_iter()
            .flatten()
            .max_by_key(|next| next.at)
            .unwrap_or(Next { at: now, why: String::new() })
    }

    fn carry_out(&mut self, task: Task) -> Result<(), Stopped> {
        match task {
            Task::Bootstrap => {
                let run = self.client.bootstrap()?;
                self.bootstrap = run.next;
                if let RunResult::Bootstrapped { srv_ids, .. } = &run.result {
                    self.troubles.retain(|srv_id, _| !srv_ids.contains(srv_id));
                }
                self.troubles.retain(|srv_id, _| run.book.account(srv_id).is_some());
            }
            Task::Session(srv_id) => match self.client.session(&srv_id) {
                Ok(report) => self.heed(&srv_id, &report),
                Err(SessionError::Stopped(stopped)) => return Err(stopped),
                Err(error) => {
                    tracing::error!("{error}");
                    self.postpone(&srv_id, Retry::Slow, &error.to_string());
                }
            },
        }
        Ok(())
    }

    fn serve(&mut self, ticket: &Ticket) -> Result<(), Stopped> {
        let before = self.client.clock.now();
        let accounts = self.client.state().accounts.clone();
        let reply = match orders::carry_out(&mut self.client, &ticket.order) {
            Ok(reply) => reply,
            Err(stopped) => {
                ticket.reply(Reply::failure(Exit::Failed, stopped.to_string()));
                return Err(stopped);
            }
        };
        match &ticket.order {
            Order::Status {} => {}
            Order::Session { .. } => self.heed_ordered(before),
            Order::Bootstrap {} => {
                let usable = self.client.state().accounts.has_usable(self.client.judgement());
                self.bootstrap = self.client.state().notes.next.clone().filter(|_| !usable);
                // What happened with an account counts for that account, not for one that took its place.
                let same = |srv_id: &SrvId| accounts.account(srv_id).map(|one| (&one.account, &one.source));
                let present = &self.client.state().accounts;
                self.troubles.retain(|srv_id, _| {
                    present.account(srv_id).is_some_and(|one| same(srv_id) == Some((&one.account, &one.source)))
                });
            }
            Order::Reset {} => {
                self.bootstrap = Some(Next { at: Timestamp::default(), why: "a person began anew".to_owned() });
                self.troubles.clear();
            }
        }
        ticket.reply(reply);
        Ok(())
    }

    /// Sessions that a person ordered: those that ended clear away what was to be heeded, the others are tried again
    /// after a while like any other.
    fn heed_ordered(&mut self, since: Timestamp) {
        let notes = self.client.state().notes.sessions.clone();
        for (srv_id, note) in notes.iter().filter(|(_, note)| note.at >= since) {
            if note.ended {
                self.troubles.remove(srv_id);
            } else {
                self.postpone(srv_id, Retry::None, &note.message);
            }
        }
    }

    fn heed(&mut self, srv_id: &SrvId, report: &Report) {
        match report.retry {
            Retry::None if report.ended => {
                self.troubles.remove(srv_id);
            }
            retry => self.postpone(srv_id, retry, &report.message),
        }
    }

    fn postpone(&mut self, srv_id: &SrvId, retry: Retry, why: &str) {
        let now = self.client.now();
        let failures = self.troubles.get(srv_id).map_or(0, |trouble| trouble.failures).saturating_add(1);
        let wait = match retry {
            Retry::Slow | Retry::Refused => backoff::slow(now),
            Retry::None => backoff::exponential(failures, None, now),
            Retry::Backoff { retry_after } => {
                if let Some(seconds) = retry_after {
                    // Kept over restarts (spec 2.2).
                    let until = now.time.plus(seconds);
                    self.client.memory.state_mut().session_not_before.insert(srv_id.clone(), until);
                    self.client.save();
                }
                backoff::exponential(failures, retry_after, now)
            }
        };
        let why = format!("the last session with {srv_id} broke off: {why}");
        tracing::info!("the next session with {srv_id} is tried in {}", in_words(wait));
        self.troubles.insert(srv_id.clone(), Trouble { failures, next: Next { at: now.time.plus(wait), why } });
    }
}
