//! What is due when: bootstrap at the start and whenever no account can be relied on, sessions at their times, and
//! carrying it out. Without threads, so that a simulator can drive it.
//!
//! ```text
//! let mut schedule = Schedule::new();
//! loop { match schedule.step(&mut client)? { None => continue, Some(pause) => wait(pause) } }
//! ```

use crate::client::Client;
use crate::config::CardLink;
use crate::control::{Order, Reply};
use crate::orders;
use crate::report::in_words;
use crate::session::SessionError;
use crate::wait::Stopped;
use crate::watch::Sign;
use omadm_core::account::InstalledAccount;
use omadm_core::backoff;
use omadm_core::bootstrap::sequence::{Next, RunResult};
use omadm_core::ids::SrvId;
use omadm_core::session::client::{Report, Retry};
use omadm_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long to wait before storage that failed is tried again.
const STORAGE_PAUSE: Duration = Duration::from_secs(60);

/// After so many seconds without a sign the next one counts as the first.
const CALM: u64 = 3600;

/// What a running client does when.
#[derive(Debug)]
pub struct Schedule {
    /// When to go through the methods of bootstrap.
    bootstrap: Option<Next>,
    /// When the card is read again, if nothing else has it read before.
    reading: Timestamp,
    /// What is to be heeded before the next session with a server whose last one broke off.
    troubles: BTreeMap<SrvId, Trouble>,
    noticed: Noticed,
    /// What was logged as coming next.
    told: Option<Next>,
    /// Not before this time is storage tried again that failed.
    mend_at: Timestamp,
}

/// The signs of late.
#[derive(Debug, Default)]
struct Noticed {
    /// When the methods were last gone through for a sign, or will be.
    at: Timestamp,
    /// How many came before it, each soon after the other.
    signs: u32,
}

/// A session that broke off.
#[derive(Debug)]
struct Trouble {
    /// How often in a row.
    failures: u32,
    /// When to try again.
    next: Next,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Go through the methods of bootstrap.
    Bootstrap,
    /// Open a session with this server.
    Session(SrvId),
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

impl Schedule {
    /// The schedule of a client that starts.
    pub fn new() -> Self {
        let bootstrap = Some(Next { at: Timestamp::default(), why: "the client starts".to_owned() });
        Self {
            bootstrap,
            reading: Timestamp::default(),
            troubles: BTreeMap::new(),
            noticed: Noticed::default(),
            told: None,
            mend_at: Timestamp::default(),
        }
    }

    /// Carries out what is due first. Where nothing is due: how long to wait, unless an order comes or the clock is set.
    pub fn step(&mut self, client: &mut Client) -> Result<Option<Duration>, Stopped> {
        self.heed_clock(client);
        let now = client.clock.now();
        if now >= self.mend_at {
            self.mend_storage(client);
        }
        let next = self.next(client, now);
        client.memory.state_mut().notes.next = next.as_ref().map(|(next, _)| next.clone());
        client.publish();
        let longest = if client.storage_trouble().is_some() { STORAGE_PAUSE } else { Duration::MAX };
        match next {
            Some((next, task)) if next.at <= now => {
                self.carry_out(client, &task)?;
                Ok(None)
            }
            Some((next, _)) => {
                self.tell(&next);
                Ok(Some(Duration::from_secs(next.at.since(now)).min(longest)))
            }
            None => Ok(Some(longest)),
        }
    }

    /// Tries storage again that failed; then accounts may be there that could not be read before.
    fn mend_storage(&mut self, client: &mut Client) {
        if client.storage_trouble().is_none() {
            return;
        }
        self.mend_at = client.clock.now().plus(STORAGE_PAUSE.as_secs());
        if client.mend_storage() {
            self.bootstrap = Some(Next { at: Timestamp::default(), why: "the state can be read again".to_owned() });
            self.troubles.clear();
        }
    }

    /// Has the methods gone through at once for a sign that one may give what it did not give before; the more signs come
    /// in an hour, the later, since a card with a bad contact gives many.
    pub fn notice(&mut self, sign: Sign, now: Timestamp) {
        let Noticed { at: last, signs } = self.noticed;
        if last <= now {
            let signs = if now.since(last) < CALM { signs.saturating_add(1) } else { 0 };
            let wait = if signs == 0 { 0 } else { (1 << signs.min(12)).min(CALM) };
            self.noticed = Noticed { at: last.plus(wait).max(now), signs };
        }
        self.bootstrap = Some(Next { at: self.noticed.at, why: sign.to_string() });
    }

    /// What is due first.
    pub fn next(&self, client: &Client, now: Timestamp) -> Option<(Next, Task)> {
        let unasked = || doubt(client, now).into_iter().chain(self.next_reading(client)).min_by_key(|next| next.at);
        let bootstrap = self.bootstrap.clone().or_else(unasked).map(|next| (next, Task::Bootstrap));
        let accounts = client.state().accounts.iter().filter(|installed| !installed.suspended);
        let sessions = accounts.map(|installed| {
            (self.next_session(client, installed, now), Task::Session(installed.account.srv_id.clone()))
        });
        // Of what is due at the same time the first stands first: bootstrap, then the accounts in their order.
        bootstrap.into_iter().chain(sessions).min_by_key(|(next, _)| next.at)
    }

    /// After the clock was set back, what is to come is as far away as before.
    fn heed_clock(&mut self, client: &mut Client) {
        let back = client.heed_clock();
        let nexts = self.bootstrap.iter_mut().chain(self.troubles.values_mut().map(|trouble| &mut trouble.next));
        let times = nexts.map(|next| &mut next.at).chain([&mut self.mend_at, &mut self.noticed.at, &mut self.reading]);
        times.for_each(|at| *at = Timestamp(at.0.saturating_sub(back)));
    }

    /// A card whose files are changed in its place, as by REFRESH, gives no sign.
    fn next_reading(&self, client: &Client) -> Option<Next> {
        let card = &client.config.card;
        let why = || format!("the card is read every {}", in_words(card.every.as_secs()));
        (card.link != CardLink::Off).then(|| Next { at: self.reading, why: why() })
    }

    fn note_reading(&mut self, client: &Client) {
        self.reading = client.clock.now().plus(client.config.card.every.as_secs().max(1));
    }

    /// Logs what comes next, once.
    fn tell(&mut self, next: &Next) {
        if self.told.as_ref() != Some(next) {
            tracing::info!("next, at {}: {}", next.at, next.why);
            self.told = Some(next.clone());
        }
    }

    fn next_session(&self, client: &Client, installed: &InstalledAccount, now: Timestamp) -> Next {
        let srv_id = &installed.account.srv_id;
        let every = client.config.session.every.as_secs().max(1);
        let due = match installed.last_session {
            Some(last) if !installed.bootstrap_complete_due => {
                Next { at: last.plus(every), why: format!("a session with {srv_id} every {}", in_words(every)) }
            }
            Some(_) | None => Next { at: now, why: format!("the first session with {srv_id}") },
        };
        let kept = client.state().session_not_before.get(srv_id);
        let asked = kept.map(|at| Next { at: *at, why: format!("{srv_id} asked to come back later") });
        let trouble = self.troubles.get(srv_id).map(|trouble| trouble.next.clone());
        [Some(due), asked, trouble]
            .into_iter()
            .flatten()
            .max_by_key(|next| next.at)
            .unwrap_or(Next { at: now, why: String::new() })
    }

    fn carry_out(&mut self, client: &mut Client, task: &Task) -> Result<(), Stopped> {
        match task {
            Task::Bootstrap => {
                let run = client.bootstrap()?;
                self.bootstrap = run.next;
                // A certificate may have set it back at the end of the run.
                self.heed_clock(client);
                self.note_reading(client);
                if let RunResult::Bootstrapped { srv_ids, .. } = &run.result {
                    self.troubles.retain(|srv_id, _| !srv_ids.contains(srv_id));
                }
                self.troubles.retain(|srv_id, _| run.book.account(srv_id).is_some());
            }
            Task::Session(srv_id) => {
                let told = client.session(srv_id);
                self.heed_clock(client);
                match told {
                    Ok(report) => self.heed(client, srv_id, &report),
                    Err(SessionError::Stopped(stopped)) => return Err(stopped),
                    Err(error) => {
                        tracing::error!("{error}");
                        self.postpone(client, srv_id, Retry::Slow, &error.to_string());
                    }
                }
            }
        }
        Ok(())
    }

    /// Carries out a person's order, and what follows from it for the times.
    pub fn order(&mut self, client: &mut Client, order: &Order) -> Result<Reply, Stopped> {
        self.heed_clock(client);
        self.mend_storage(client);
        let before = client.clock.now();
        let accounts = client.state().accounts.clone();
        let reply = orders::carry_out(client, order)?;
        if let Order::Bootstrap {} = order {
            self.bootstrap = client.state().notes.next.clone();
        }
        self.heed_clock(client);
        let before = before.min(client.clock.now());
        match order {
            Order::Status {} => {}
            Order::Session { .. } => self.heed_ordered(client, before),
            Order::Bootstrap {} => {
                self.note_reading(client);
                if client.state().accounts.has_usable(client.judgement()) {
                    self.bootstrap = None;
                }
                // What happened with an account counts for that account, not for one that took its place.
                let same = |srv_id: &SrvId| accounts.account(srv_id).map(|one| (&one.account, &one.source));
                let present = &client.state().accounts;
                self.troubles.retain(|srv_id, _| {
                    present.account(srv_id).is_some_and(|one| same(srv_id) == Some((&one.account, &one.source)))
                });
            }
            Order::AccountRemove { srv_id } => {
                if client.state().accounts.account(srv_id).is_none() {
                    self.troubles.remove(srv_id);
                }
                if client.state().accounts != accounts && !client.state().accounts.has_usable(client.judgement()) {
                    let why = "a person removed an account, and no other can be relied on".to_owned();
                    self.bootstrap = Some(Next { at: Timestamp::default(), why });
                }
            }
            Order::AccountAllow { .. } => {}
            Order::Reset {} => {
                self.bootstrap = Some(Next { at: Timestamp::default(), why: "a person began anew".to_owned() });
                self.troubles.clear();
            }
        }
        Ok(reply)
    }

    /// Sessions that a person ordered: those that ended clear away what was to be heeded, the others are tried again
    /// after a while like any other.
    fn heed_ordered(&mut self, client: &mut Client, since: Timestamp) {
        let notes = client.state().notes.sessions.clone();
        for (srv_id, note) in notes.iter().filter(|(_, note)| note.at >= since) {
            if note.ended {
                self.troubles.remove(srv_id);
            } else {
                self.postpone(client, srv_id, Retry::None, &note.message);
            }
        }
    }

    fn heed(&mut self, client: &mut Client, srv_id: &SrvId, report: &Report) {
        match report.retry {
            Retry::None if report.ended => {
                self.troubles.remove(srv_id);
            }
            retry => self.postpone(client, srv_id, retry, &report.message),
        }
    }

    fn postpone(&mut self, client: &mut Client, srv_id: &SrvId, retry: Retry, why: &str) {
        let now = client.now();
        let failures = self.troubles.get(srv_id).map_or(0, |trouble| trouble.failures).saturating_add(1);
        let wait = match retry {
            Retry::Slow | Retry::Refused => backoff::slow(now),
            Retry::None => backoff::exponential(failures, None, now),
            Retry::Backoff { retry_after } => {
                if let Some(seconds) = retry_after {
                    // Kept over restarts (spec 2.2).
                    let until = now.time.plus(seconds);
                    client.memory.state_mut().session_not_before.insert(srv_id.clone(), until);
                    client.save();
                }
                backoff::exponential(failures, retry_after, now)
            }
        };
        let why = format!("the last session with {srv_id} broke off: {why}");
        tracing::info!("the next session with {srv_id} is tried in {}", in_words(wait));
        self.troubles.insert(srv_id.clone(), Trouble { failures, next: Next { at: now.time.plus(wait), why } });
        client.keep_time();
    }
}

/// When the accounts can no longer be relied on, so that the methods of bootstrap are gone through again while their
/// sessions go on being tried (Profile P-25).
fn doubt(client: &Client, now: Timestamp) -> Option<Next> {
    let by = client.judgement();
    match client.state().accounts.stale_at(by) {
        Some(at) => {
            let age = in_words(by.stale_after);
            Some(Next { at, why: format!("other accounts are looked for, if no session succeeds for {age}") })
        }
        None => Some(Next { at: now, why: "no account can be relied on".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sign_counts_at_once_and_many_signs_cost_little() {
        let mut schedule = Schedule::new();
        let due = |schedule: &Schedule| schedule.bootstrap.as_ref().map(|next| next.at.0);
        let start = 1_000_000;
        schedule.notice(Sign::Card, Timestamp(start));
        assert_eq!(due(&schedule), Some(start));
        schedule.notice(Sign::Card, Timestamp(start + 1));
        assert_eq!(due(&schedule), Some(start + 2), "a card is exchanged");
        let mut runs = std::collections::BTreeSet::new();
        for second in 2..24 * 3600 {
            schedule.notice(Sign::Card, Timestamp(start + second));
            runs.extend(due(&schedule));
        }
        assert!(runs.len() < 40, "{} runs on a day of bad contact", runs.len());
        schedule.notice(Sign::FactoryFile, Timestamp(start + 48 * 3600));
        assert_eq!(due(&schedule), Some(start + 48 * 3600));
    }
}
