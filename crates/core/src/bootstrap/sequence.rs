//! The order of methods as a state machine (spec 2.1, 2.2; Profile P-1): it is told what happened and says what to do.
//!
//! [`Sequence::start`] gives the first [`Step`]; each step is carried out and answered by the one [`Event`] that its doc
//! names, until [`Step::Done`]. The sequence has no clock: each call brings the time and a random number along.
//!
//! ```text
//! ReadCard -> ReadFactory -> AwaitSim -> Ask -> Done
//!     \___________\______________________\__ Install -> Done
//! ```
//!
//! A method that is not configured is passed over, and so are factory and server while an account is usable, except for
//! what a person lets another source take over: then those are asked that it did not come from, for it alone. Whatever happens, [`Run::next`] says when something is tried again, unless the
//! device is managed.

mod answer;
mod card;

pub use answer::ServerAnswer;
pub use card::{Admitted, CardAllow, CardReport, UNKNOWN_CARD};

use crate::account::{AccountBook, Change, Judgement, Source};
use crate::backoff::{self, Now};
use crate::bootstrap::message::{BootstrapMessage, Limit};
use crate::bootstrap::request::BootstrapQuery;
use crate::ids::{DevId, Iccid, Mcc, Mnc, SrvId};
use crate::reason::{Attempt, Method, Outcome, Reason, sentence};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::web::Url;

/// What the device has and allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceConfig {
    /// Who the device is.
    pub dev_id: DevId,
    /// Whether there is a link to a card.
    pub card: bool,
    /// Which cards may configure the device.
    pub card_allow: CardAllow,
    /// The factory file, if one is configured.
    pub factory: Option<String>,
    /// The DM Bootstrap Server, if one is known.
    pub server: Option<Url>,
    /// What is asked of the SIM before a server is.
    pub sim: SimPolicy,
    /// `session.stale_after`, in seconds (Profile P-25).
    pub stale_after: u64,
    /// Failures of the bootstrap server in a row before this run, for the backoff.
    pub failures: u32,
}

/// What is asked of the SIM before a DM Bootstrap Server is (Profile P-24).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimPolicy {
    /// Without a SIM that is ready the server is not asked.
    pub required: bool,
    /// How long to wait for it, in seconds.
    pub wait_secs: u64,
    /// MCC where the card does not tell (Profile P-26).
    pub mcc: Option<Mcc>,
    /// MNC where the card does not tell (Profile P-26).
    pub mnc: Option<Mnc>,
}

/// What is known of the SIM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimFacts {
    /// A SIM is there.
    pub present: bool,
    /// It can be used: USIM selectable, no PIN pending (Profile P-24).
    pub ready: bool,
    /// MCC of the home network.
    pub mcc: Option<Mcc>,
    /// MNC of the home network.
    pub mnc: Option<Mnc>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read the Bootstrap Message from the card; answered by [`Event::Card`].
    ReadCard {
        /// The cards whose message is wanted.
        admitted: Admitted,
    },
    /// Read the factory file; answered by [`Event::Factory`].
    ReadFactory,
    /// Wait until the SIM is ready, at most so many seconds; answered by [`Event::Sim`].
    AwaitSim {
        /// The limit in seconds.
        limit_secs: u64,
    },
    /// Send a bootstrap request; answered by [`Event::Answer`].
    Ask {
        /// What to GET.
        url: Url,
        /// The value of OMADM-DevID.
        dev_id: DevId,
    },
    /// Make this durable in one atomic step, with [`Sequence::record`]; answered by [`Event::Installed`].
    Install {
        /// The accounts from now on.
        book: Box<AccountBook>,
        /// The message; its other MOs belong into the tree. Absent where accounts are only resumed, or go.
        message: Option<Box<BootstrapMessage>>,
    },
    /// The run is over.
    Done(Box<Run>),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The card was read, or why not.
    Card(CardReport),
    /// The message in the factory file; `None` where there is no file; a reason and a sentence where it gives none.
    Factory(Result<Option<Secret>, (Reason, String)>),
    /// The SIM as it is after waiting.
    Sim(SimFacts),
    /// The server's answer; or `timeout`, `connect`, `tls` or `clock`, or `invalid-message` for one that is too large, and a
    /// sentence.
    Answer(Result<ServerAnswer, (Reason, String)>),
    /// The book is durable, or a sentence why not.
    Installed(Result<(), String>),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
    /// The accounts from now on. They differ from what is durable only by suspended accounts.
    pub book: AccountBook,
    /// What came of it.
    pub result: RunResult,
    /// When something is tried next and why; `None` where an account is usable, which sessions then see to.
    pub next: Option<Next>,
    /// Failures of the bootstrap server in a row, for the next run.
    pub failures: u32,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunResult {
    /// A message was installed: these accounts owe a session.
    Bootstrapped {
        /// The servers.
        srv_ids: Vec<SrvId>,
        /// Where the message came from.
        source: Source,
    },
    /// An account is usable, and nothing new was installed.
    Unchanged,
    /// No account is usable.
    Nothing,
}

/// The next attempt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Next {
    /// When.
    pub at: Timestamp,
    /// Why then: a sentence.
    pub why: String,
}

impl Run {
    /// The attempts that are worth a durable record (spec 2.2): all of a run that installed something or left the device
    /// without an account; of another, only those that failed in a new way, so that a start that changes nothing writes
    /// nothing. `recorded` is the durable record so far.
    pub fn worth_recording(&self, recorded: &[Attempt]) -> Vec<Attempt> {
        let all = match self.result {
            RunResult::Bootstrapped { .. } | RunResult::Nothing => true,
            RunResult::Unchanged => false,
        };
        let is_news = |attempt: &Attempt| match attempt.outcome {
            Outcome::Installed => true,
            Outcome::Unchanged | Outcome::Skipped => false,
            Outcome::None | Outcome::Failed => {
                !recorded.iter().rev().find(|old| old.method == attempt.method).is_some_and(|old| {
                    (old.outcome, old.reason, &old.message) == (attempt.outcome, attempt.reason, &attempt.message)
                })
            }
        };
        self.attempts.iter().filter(|attempt| all || is_news(attempt)).cloned().collect()
    }
}

/// The run of the sequence.
#[derive(Debug)]
pub struct Sequence {
    config: SequenceConfig,
    book: AccountBook,
    attempts: Vec<Attempt>,
    awaiting: Awaiting,
    retry: Retry,
    result: RunResult,
    /// The server is asked without a SIM that is ready (Profile P-24).
    without_sim: bool,
}

#[derive(Debug)]
enum Awaiting {
    Card,
    Factory,
    Sim,
    Answer,
    Installed(Box<Pending>),
    Nothing,
}

/// What is being made durable.
#[derive(Debug)]
struct Pending {
    book: Box<AccountBook>,
    source: Source,
    srv_ids: Vec<SrvId>,
    /// Whether accounts are new, and not only resumed or gone.
    brings: bool,
}

/// How soon to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// At the slow rate.
    Slow,
    /// By exponential backoff, a Retry-After first.
    Backoff { retry_after: Option<u64> },
}

/// Why a source is not asked for what another one may bring.
const NOT_FROM_ITSELF: &str = "what another source may replace came from here";

impl Sequence {
    /// Begins a run.
    pub fn start(config: SequenceConfig, book: AccountBook, now: Now) -> (Self, Step) {
        let mut sequence = Self {
            config,
            book,
            attempts: Vec::new(),
            awaiting: Awaiting::Nothing,
            retry: Retry::Slow,
            result: RunResult::Nothing,
            without_sim: false,
        };
        let step = if sequence.config.card {
            sequence.awaiting = Awaiting::Card;
            Step::ReadCard { admitted: sequence.admitted(now) }
        } else {
            // The configuration proves that no card is there (spec 2.2).
            sequence.book.suspend(|_| true);
            sequence.skip(Method::Smartcard, Reason::NotConfigured, "no link to a card is configured", now);
            sequence.after_card(now)
        };
        (sequence, step)
    }

    /// What was tried so far.
    pub fn record(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Takes what happened and says what to do next. An event that was not asked for ends the run.
    pub fn handle(&mut self, event: Event, now: Now) -> Step {
        match (std::mem::replace(&mut self.awaiting, Awaiting::Nothing), event) {
            (Awaiting::Card, Event::Card(report)) => self.card_was_read(report, now),
            (Awaiting::Factory, Event::Factory(read)) => self.factory_was_read(read, now),
            (Awaiting::Sim, Event::Sim(facts)) => self.sim_is_known(facts, now),
            (Awaiting::Answer, Event::Answer(answer)) => self.server_answered(answer, now),
            (Awaiting::Installed(pending), Event::Installed(result)) => self.was_installed(*pending, result, now),
            (_, _) => self.done(now),
        }
    }

    fn card_was_read(&mut self, report: CardReport, now: Now) -> Step {
        let admitted = self.admitted(now);
        self.note_absent_cards(&report, &admitted);
        // Without an ICCID a card is still a card: it is then known as the one without a number.
        let origin = report.iccid.as_ref().map_or(UNKNOWN_CARD, Iccid::as_str).to_owned();
        let rejected = match &report.message {
            Err((reason, _)) => *reason == Reason::CardNotAllowed,
            Ok(_) => !admitted.covers(report.iccid.as_ref()),
        };
        if rejected {
            let sentence = format!("the card {origin} may not configure this device (card.allow)");
            self.skip(Method::Smartcard, Reason::CardNotAllowed, &sentence, now);
            return self.after_card(now);
        }
        let message = match report.message {
            Err((reason, message)) => {
                let outcome = card::outcome_of(reason);
                self.attempt(Method::Smartcard, outcome, Some(reason), message, now);
                self.tell_passed_over(&report.passed_over);
                return self.after_card(now);
            }
            Ok(message) => message,
        };
        let source = Source { method: Method::Smartcard, origin };
        let step = self.offer(&message, Limit::WholeCard, source, report.partial, now);
        self.tell_passed_over(&report.passed_over);
        if !report.behind_pin
            && BootstrapMessage::parse(&message, Limit::WholeCard).is_ok_and(|message| message.holds_secret())
            && let Some(attempt) = self.attempts.last_mut()
        {
            // Profile P-36
            attempt.message.push_str("; everybody who holds the card can read the secrets in it");
        }
        step.unwrap_or_else(|| self.after_card(now))
    }

    fn after_card(&mut self, now: Now) -> Step {
        if self.book.has_usable(self.judgement(now)) && !self.book.awaits_another_source() {
            let sentence = "a usable account is installed";
            self.skip(Method::Factory, Reason::NotNeeded, sentence, now);
            self.skip(Method::BootstrapServer, Reason::NotNeeded, sentence, now);
            return self.done(now);
        }
        match &self.config.factory {
            None => self.skip(Method::Factory, Reason::NotConfigured, "no factory file is configured", now),
            Some(file) if self.is_needless(&Source { method: Method::Factory, origin: file.clone() }, now) => {
                self.skip(Method::Factory, Reason::NotNeeded, NOT_FROM_ITSELF, now);
            }
            Some(_) => {
                self.awaiting = Awaiting::Factory;
                return Step::ReadFactory;
            }
        }
        self.after_factory(now)
    }

    fn factory_was_read(&mut self, read: Result<Option<Secret>, (Reason, String)>, now: Now) -> Step {
        let file = self.config.factory.clone().unwrap_or_default();
        let step = match read {
            Ok(Some(message)) => {
                let source = Source { method: Method::Factory, origin: file };
                self.offer(message.expose(), Limit::Elsewhere, source, false, now)
            }
            Ok(None) => {
                let sentence = format!("there is no file {file}");
                self.attempt(Method::Factory, Outcome::None, Some(Reason::NoFactoryFile), sentence, now);
                None
            }
            Err((reason, why)) => {
                let sentence = format!("{file}: {why}");
                self.attempt(Method::Factory, Outcome::Failed, Some(reason), sentence, now);
                None
            }
        };
        step.unwrap_or_else(|| self.after_factory(now))
    }

    fn after_factory(&mut self, now: Now) -> Step {
        if self.config.server.is_none() {
            self.skip(Method::BootstrapServer, Reason::NotConfigured, "no DM Bootstrap Server is configured", now);
            return self.done(now);
        }
        // It would be asked in vain, and its credentials are fresh each time.
        if self.is_needless(&self.server_source(), now) {
            self.skip(Method::BootstrapServer, Reason::NotNeeded, NOT_FROM_ITSELF, now);
            return self.done(now);
        }
        if self.config.card {
            self.awaiting = Awaiting::Sim;
            return Step::AwaitSim { limit_secs: self.config.sim.wait_secs };
        }
        self.sim_is_known(SimFacts::default(), now)
    }

    fn sim_is_known(&mut self, facts: SimFacts, now: Now) -> Step {
        if self.config.sim.required && !facts.ready {
            let sentence = "the SIM was not ready in time, and sim.required is set".to_owned();
            self.retry = Retry::Backoff { retry_after: None };
            self.attempt(Method::BootstrapServer, Outcome::Failed, Some(Reason::SimNotReady), sentence, now);
            return self.done(now);
        }
        self.without_sim = self.config.card && !facts.ready;
        // MCC and MNC belong together: both from the card, else both from the configuration (Profile P-26).
        let (mcc, mnc) = match (facts.mcc, facts.mnc) {
            (Some(mcc), Some(mnc)) => (Some(mcc), Some(mnc)),
            (mcc, mnc) => (self.config.sim.mcc.clone().or(mcc), self.config.sim.mnc.clone().or(mnc)),
        };
        let dev_id = self.config.dev_id.clone();
        let query = BootstrapQuery { mnc, mcc, dev_id: Some(dev_id.clone()) };
        let url = self.config.server.as_ref().map(|base| query.url(base));
        match url {
            Some(Ok(url)) => {
                self.awaiting = Awaiting::Answer;
                Step::Ask { url, dev_id }
            }
            Some(Err(error)) => {
                let sentence = format!("bootstrap.url with its query is no URL: {error}");
                self.attempt(Method::BootstrapServer, Outcome::Failed, Some(Reason::NotConfigured), sentence, now);
                self.done(now)
            }
            None => self.done(now),
        }
    }

    fn server_answered(&mut self, answer: Result<ServerAnswer, (Reason, String)>, now: Now) -> Step {
        let verdict = answer::judge(answer, now.time);
        self.retry = verdict.retry;
        let message = match verdict.message {
            Ok(message) => message,
            Err((outcome, reason, sentence)) => {
                self.attempt(Method::BootstrapServer, outcome, Some(reason), sentence, now);
                return self.done(now);
            }
        };
        match self.offer(&message, Limit::Elsewhere, self.server_source(), false, now) {
            Some(step) => step,
            None => self.done(now),
        }
    }

    fn server_source(&self) -> Source {
        let origin = self.config.server.as_ref().map(|url| url.without_query().to_owned()).unwrap_or_default();
        Source { method: Method::BootstrapServer, origin }
    }

    /// Whether this source cannot give what the run goes on for: an account can be relied on, and all that another source
    /// may take over came from here.
    fn is_needless(&self, source: &Source, now: Now) -> bool {
        self.book.has_usable(self.judgement(now)) && !self.book.awaits_other_than(source)
    }

    /// Takes a method's bytes as far as they go: to a step, or to a recorded attempt and `None`. Where they are a part of
    /// what the source has, the accounts that it gave before stay.
    fn offer(&mut self, bytes: &[u8], limit: Limit, source: Source, partial: bool, now: Now) -> Option<Step> {
        let method = source.method;
        let message = match BootstrapMessage::parse(bytes, limit) {
            Ok(message) => message,
            Err(error) => {
                // A person can open the file; what a card or a server gave is named by its method.
                let sentence = match method {
                    Method::Factory => format!("{}: {error}", source.origin),
                    Method::Smartcard | Method::BootstrapServer => error.to_string(),
                };
                self.attempt(method, Outcome::Failed, Some(error.reason()), sentence, now);
                return None;
            }
        };
        let srv_ids: Vec<_> = message.accounts().iter().map(|(account, _)| account.srv_id.clone()).collect();
        let by = self.judgement(now);
        // The card is looked at in any case; the others, while an account can be relied on, for what is awaited alone.
        let is_awaited_alone = method != Method::Smartcard && self.book.has_usable(by);
        let accounts = match message.accounts().to_vec() {
            accounts if partial => Ok(self.book.in_part(&source, accounts, by)),
            accounts if is_awaited_alone => self.book.awaited(&accounts, &source, by),
            accounts => Ok(accounts),
        };
        if accounts.as_ref().is_ok_and(Vec::is_empty) {
            let sentence = format!("{} is not what a person lets another source bring", names(&srv_ids));
            self.attempt(method, Outcome::Unchanged, None, sentence, now);
            return None;
        }
        let change = accounts.and_then(|accounts| self.book.install(&accounts, &source, by));
        let (book, srv_ids, message) = match change {
            Err(taken) => {
                self.attempt(method, Outcome::Failed, Some(Reason::SrvIdTaken), taken.to_string(), now);
                return None;
            }
            Ok(Change::Unchanged) => {
                let sentence = format!("{} is installed already", names(&srv_ids));
                self.attempt(method, Outcome::Unchanged, None, sentence, now);
                return None;
            }
            Ok(Change::Removed) => {
                let sentence = format!("{} was removed by a person, and stays so", names(&srv_ids));
                self.attempt(method, Outcome::Unchanged, None, sentence, now);
                return None;
            }
            Ok(Change::Withdrawn(book)) => {
                let sentence =
                    format!("{} was removed by a person, and stays so; what else came from here goes", names(&srv_ids));
                self.attempt(method, Outcome::Unchanged, None, sentence, now);
                (Box::new(book), Vec::new(), None)
            }
            Ok(Change::Resumed(book)) => {
                let srv_ids = brought(&book, &source, srv_ids);
                self.attempt(method, Outcome::Unchanged, None, format!("{} is in use again", names(&srv_ids)), now);
                (Box::new(book), srv_ids, None)
            }
            Ok(Change::Installed(book)) => {
                let srv_ids = brought(&book, &source, srv_ids);
                let sentence = format!("{} installed from {}", names(&srv_ids), source.origin);
                self.attempt(method, Outcome::Installed, None, sentence, now);
                (Box::new(book), srv_ids, Some(Box::new(message)))
            }
        };
        let brings = message.is_some();
        self.awaiting = Awaiting::Installed(Box::new(Pending { book: book.clone(), source, srv_ids, brings }));
        Some(Step::Install { book, message })
    }

    fn was_installed(&mut self, pending: Pending, result: Result<(), String>, now: Now) -> Step {
        let method = pending.source.method;
        if let Err(why) = result {
            self.attempts.pop();
            let sentence = format!("the message is good, but the state could not be written: {why}");
            self.attempt(method, Outcome::Failed, Some(Reason::Storage), sentence, now);
            if method == Method::BootstrapServer {
                self.retry = Retry::Backoff { retry_after: None };
            }
            return self.after(method, now);
        }
        self.book = *pending.book;
        if !pending.brings {
            return self.after_card(now);
        }
        let mut srv_ids = match std::mem::replace(&mut self.result, RunResult::Nothing) {
            RunResult::Bootstrapped { srv_ids, .. } => srv_ids,
            RunResult::Unchanged | RunResult::Nothing => Vec::new(),
        };
        srv_ids.retain(|srv_id| !pending.srv_ids.contains(srv_id));
        srv_ids.extend(pending.srv_ids);
        self.result = RunResult::Bootstrapped { srv_ids, source: pending.source };
        if self.book.has_usable(self.judgement(now)) {
            return self.done(now);
        }
        // Its credentials are of a scheme that this client does not have: it is kept, and the others get their turn.
        self.after(method, now)
    }

    fn after(&mut self, method: Method, now: Now) -> Step {
        match method {
            Method::Smartcard => self.after_card(now),
            Method::Factory => self.after_factory(now),
            Method::BootstrapServer => self.done(now),
        }
    }

    fn admitted(&self, now: Now) -> Admitted {
        self.config.card_allow.admitted(&self.book, self.judgement(now))
    }

    fn judgement(&self, now: Now) -> Judgement {
        Judgement { now: now.time, stale_after: self.config.stale_after }
    }

    fn done(&mut self, now: Now) -> Step {
        let usable = self.book.has_usable(self.judgement(now));
        let asked =
            self.attempts.iter().any(|one| one.method == Method::BootstrapServer && one.outcome != Outcome::Skipped);
        let (wait, why, failures) = match self.retry {
            Retry::Backoff { retry_after } if asked => {
                let failures = self.config.failures.saturating_add(1);
                let why = match retry_after {
                    Some(_) => "the bootstrap server asked to come back later",
                    None => "the bootstrap server could not be asked; the wait grows with each failure",
                };
                (backoff::exponential(failures, retry_after, now), why, failures)
            }
            Retry::Backoff { .. } | Retry::Slow => {
                (backoff::slow(now), "no method gave an account; all are tried again at the slow rate", 0)
            }
        };
        let result = match std::mem::replace(&mut self.result, RunResult::Nothing) {
            RunResult::Nothing if usable => RunResult::Unchanged,
            result => result,
        };
        Step::Done(Box::new(Run {
            attempts: std::mem::take(&mut self.attempts),
            book: self.book.clone(),
            result,
            next: (!usable).then(|| Next { at: now.time.plus(wait), why: why.to_owned() }),
            failures: if usable { 0 } else { failures },
        }))
    }

    fn skip(&mut self, method: Method, reason: Reason, sentence: &str, now: Now) {
        self.attempt(method, Outcome::Skipped, Some(reason), sentence.to_owned(), now);
    }

    fn attempt(&mut self, method: Method, outcome: Outcome, reason: Option<Reason>, message: String, now: Now) {
        let mut message = sentence(&message);
        if self.without_sim && method == Method::BootstrapServer {
            message.push_str("; asked without a SIM that is ready");
        }
        self.attempts.push(Attempt { method, outcome, reason, message, at: now.time });
    }
}

/// Those of the servers whose account came from the source: what a person removed, for one, is left out.
fn brought(book: &AccountBook, source: &Source, mut srv_ids: Vec<SrvId>) -> Vec<SrvId> {
    srv_ids.retain(|srv_id| book.account(srv_id).is_some_and(|one| one.source == *source));
    srv_ids
}

fn names(srv_ids: &[SrvId]) -> String {
    srv_ids.iter().map(SrvId::as_str).collect::<Vec<_>>().join(", ")
}
