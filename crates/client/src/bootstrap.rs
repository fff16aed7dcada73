//! Carrying out what the bootstrap sequence says (spec 2).

use crate::card::{self, Known, Look, PinNews};
use crate::client::Client;
use crate::config::{Allow, Auth, BootstrapConfig, CardLink};
use crate::credentials::Credentials;
use crate::factory;
use crate::state::Busy;
use crate::trace::Peer;
use crate::transport::{Dated, Http, HttpError, HttpSetup, Limits, Method, Other, PrivateHeaders, Request, Trust};
use crate::wait::Stopped;
use omadm_core::account::AccountBook;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::bootstrap::sequence::{
    Admitted, CardAllow, Event, Run, RunResult, Sequence, SequenceConfig, ServerAnswer, SimFacts, SimPolicy, Step,
};
use omadm_core::ids::{DevId, SrvId};
use omadm_core::reason::{Attempt, Reason};
use omadm_core::secret::Secret;
use omadm_core::web::{DEV_ID_HEADER, Url, media, retry_after};
use omadm_tls::{Anchors, ClientIdentity};
use std::io;
use std::time::Duration;

/// The largest body of an answer and the largest factory file, in bytes (Profile P-2).
pub(crate) const MAX_BODY: usize = 1 << 20;

/// How much of a file is read: one more than allowed, so that one that is too large is told from one that just fits.
pub(crate) const FILE_READ: usize = MAX_BODY + 1;

impl Client {
    /// Goes through the methods once. What was tried and what came of it is in the state afterwards.
    pub fn bootstrap(&mut self) -> Result<Run, Stopped> {
        let before = std::mem::take(&mut self.tally);
        self.tally.restart(self.world.monotonic());
        let run = self.run_sequence();
        self.tally.pause(self.world.monotonic());
        if before.open && run.as_ref().is_ok_and(|run| run.result == RunResult::Unchanged) {
            // The run that installed something still waits for its session.
            self.tally = before;
        }
        self.publish();
        run
    }

    fn run_sequence(&mut self) -> Result<Run, Stopped> {
        let recorded = self.state().attempts.clone();
        let (mut sequence, mut step) =
            Sequence::start(self.sequence_config(), self.state().accounts.clone(), self.now());
        let mut installed = false;
        self.told = 0;
        self.corrected = None;
        loop {
            let event = match step {
                Step::ReadCard { admitted } => Event::Card(self.look_at_card(admitted)?.report.clone()),
                Step::ReadFactory => Event::Factory(self.read_factory()),
                Step::AwaitSim { limit_secs } => Event::Sim(self.await_sim(Duration::from_secs(limit_secs))?),
                Step::Ask { url, dev_id } => Event::Answer(self.ask(&url, &dev_id)?),
                Step::Install { book, message } => {
                    let attempts = recorded.iter().chain(sequence.record()).cloned().collect();
                    let result = self.install(*book, message.as_deref(), attempts);
                    installed |= result.is_ok();
                    Event::Installed(result)
                }
                Step::Done(run) => {
                    self.show_attempts(&recorded, &run.attempts);
                    if let Some(dated) = self.corrected.take() {
                        self.note_certificate(&dated);
                    }
                    self.finish_run(&run, recorded, installed);
                    return Ok(*run);
                }
            };
            step = sequence.handle(event, self.now());
            if !matches!(step, Step::Done(_)) {
                self.show_attempts(&recorded, sequence.record());
            }
        }
    }

    fn sequence_config(&self) -> SequenceConfig {
        let config = &self.config;
        SequenceConfig {
            dev_id: config.device.dev_id.clone(),
            card: config.card.link != CardLink::Off,
            card_allow: match &config.card.allow {
                None => CardAllow::Unset,
                Some(Allow::None) => CardAllow::None,
                Some(Allow::Any) => CardAllow::Any,
                Some(Allow::Prefixes(prefixes)) => CardAllow::Prefixes(prefixes.clone()),
            },
            factory: config.factory.as_ref().map(|factory| factory.file.display().to_string()),
            server: config.bootstrap.as_ref().map(|bootstrap| bootstrap.url.clone()),
            sim: SimPolicy {
                required: config.sim.required,
                wait_secs: config.sim.wait.as_secs(),
                mcc: config.sim.mcc.clone(),
                mnc: config.sim.mnc.clone(),
            },
            stale_after: config.session.stale_after.as_secs(),
            failures: self.bootstrap_failures,
        }
    }

    fn look_at_card(&mut self, admitted: Admitted) -> Result<&Look, Stopped> {
        let in_use: Vec<_> = self.state().accounts.cards().map(str::to_owned).collect();
        let shortcuts = self.shortcuts.clone();
        let known = Known { trace: &self.trace, in_use: &in_use, admitted, shortcuts };
        let (config, world, known_time) = (self.config.card.clone(), self.world.clone(), self.known_time());
        let refused = self.state().refused_pins.clone();
        let memory = &mut self.memory;
        let note = |news| {
            // Before anything else: after a power cut the PIN must not be sent again.
            match news {
                PinNews::Refused(pin) => memory.state_mut().remember_refused_pin(pin),
                PinNews::Accepted(pin) => memory.state_mut().forget_refused_pin(&pin),
            }
            if let Err(error) = memory.save(known_time) {
                tracing::error!("{error}");
            }
            memory.state().refused_pins.clone()
        };
        let look = card::look(&config, known, refused, note, &world)?;
        self.tally.apdus += look.apdus;
        self.shortcuts = look.shortcuts.clone();
        if look.report.iccid.is_some() {
            self.card_read = Some(self.world.monotonic());
        }
        if let Ok(message) = &look.report.message
            && !look.report.behind_pin
            && BootstrapMessage::parse(message, Limit::WholeCard).is_ok_and(|message| message.holds_secret())
        {
            // Profile P-36
            tracing::warn!("the card lets everyone read its Bootstrap Message, which holds secrets");
        }
        Ok(self.saw(look))
    }

    fn saw(&mut self, look: Look) -> &Look {
        self.memory.state_mut().notes.sim = look.sim.clone();
        self.look.insert(look)
    }

    fn await_sim(&mut self, limit: Duration) -> Result<SimFacts, Stopped> {
        let Some(first) = self.look.take() else { return Ok(SimFacts::default()) };
        let before = first.apdus;
        let look = card::await_sim(&self.config.card, first, limit, &self.trace, &self.world)?;
        self.tally.apdus += look.apdus - before;
        Ok(self.saw(look).sim_facts())
    }

    fn read_factory(&self) -> Result<Option<Secret>, (Reason, String)> {
        let Some(config) = &self.config.factory else { return Ok(None) };
        let read = factory::read(&*self.world, config, &self.config.device.dev_id)?;
        Ok(read.map(|read| read.message))
    }

    /// The bootstrap request (spec 2.4).
    fn ask(&mut self, url: &Url, dev_id: &DevId) -> Result<Result<ServerAnswer, (Reason, String)>, Stopped> {
        let now = self.clock.now();
        if let Some(busy) = &self.state().bootstrap_busy
            && busy.until > now
            && busy.origin == url.origin().to_string()
        {
            // A Retry-After outlives a restart (spec 2.2): the last answer still holds.
            tracing::info!("the bootstrap server asked not to be asked before {}", busy.until);
            return Ok(Ok(ServerAnswer {
                status: busy.status,
                content_type: None,
                retry_after: Some(busy.until.since(now).to_string()),
                body: Vec::new(),
            }));
        }
        let answer = match self.config.bootstrap.as_ref() {
            None => Err((Reason::NotConfigured, "no DM Bootstrap Server is configured".to_owned())),
            Some(bootstrap) => match self.request_bootstrap(bootstrap, url, dev_id) {
                Err((_, HttpError::Stopped)) => return Err(Stopped),
                Err((reason, error)) => Err((reason, error.to_string())),
                Ok((answer, dated)) => {
                    self.corrected = dated.filter(|dated| dated.anew);
                    Ok(answer)
                }
            },
        };
        let now = self.clock.now();
        self.memory.state_mut().bootstrap_busy = answer.as_ref().ok().and_then(|answer| {
            let seconds = retry_after(answer.retry_after.as_deref()?, now)?;
            matches!(answer.status, 408 | 425 | 429 | 500..=599).then(|| Busy {
                origin: url.origin().to_string(),
                status: answer.status,
                until: now.plus(seconds),
            })
        });
        Ok(answer)
    }

    fn request_bootstrap(
        &self,
        bootstrap: &BootstrapConfig,
        url: &Url,
        dev_id: &DevId,
    ) -> Result<(ServerAnswer, Option<Dated>), (Reason, HttpError)> {
        let not_configured = |why: String| (Reason::NotConfigured, HttpError::Protocol(why));
        let mut private = vec![(DEV_ID_HEADER, dev_id.to_string())];
        let credentials = match (bootstrap.auth, &self.config.login) {
            (Auth::None, _) => Credentials::none(),
            (Auth::Basic | Auth::X509 | Auth::Psk, Some(login)) => {
                Credentials::own(&*self.world, login, dev_id).map_err(not_configured)?
            }
            (Auth::Basic | Auth::X509 | Auth::Psk, None) => {
                return Err(not_configured("bootstrap.secret_file is not configured".to_owned()));
            }
        };
        private.extend(credentials.authorization.map(|header| ("Authorization", header.0.to_string())));
        let anchors = match &bootstrap.ca {
            None => Anchors::System,
            Some(path) => {
                let pem = self
                    .world
                    .read_file(path, FILE_READ)
                    .and_then(|pem| String::from_utf8(pem).map_err(io::Error::other));
                let fail = |error| not_configured(format!("bootstrap.ca {}: {error}", path.display()));
                Anchors::Pem(pem.map_err(fail)?)
            }
        };
        let mut http = self
            .http(Trust::new([url.origin()]), anchors, credentials.identity, true)
            .map_err(|error| (error.reason(), error))?;
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers: vec![("Accept", media::BOOTSTRAP.to_owned())],
            private: PrivateHeaders(private),
            body: None,
        };
        // Redirects are not followed (spec 2.4).
        let answer = http.exchange(request).map_err(|error| (error.reason(), error));
        let ending = match &answer {
            Ok(answer) => answer.status.to_string(),
            Err((reason, _)) => reason.to_string(),
        };
        self.trace.exchange(Peer::BootstrapServer, "Bootstrap request", "GET", url, &ending);
        let answer = answer?;
        let answer = ServerAnswer {
            status: answer.status,
            content_type: answer.header("content-type").map(str::to_owned),
            retry_after: answer.header("retry-after").map(str::to_owned),
            body: answer.body,
        };
        Ok((answer, http.dated()))
    }

    pub(crate) fn http(
        &self,
        trust: Trust,
        anchors: Anchors,
        identity: ClientIdentity,
        leave_open: bool,
    ) -> Result<Http, HttpError> {
        let limits =
            Limits { connect: self.config.http.connect_timeout, total: self.config.http.timeout, body: MAX_BODY };
        let proved = self.state().notes.proved;
        let setup = HttpSetup {
            anchors,
            identity,
            floor: self.clock.now().max(proved),
            limits,
            meter: self.tally.meter.clone(),
            leave_open,
        };
        let other = self.clock.second_opinion(proved).map(|at| {
            let (world, setup) = (self.world.clone(), HttpSetup { floor: at, ..setup.clone() });
            Other { at, carrier: Box::new(move || world.carrier(&setup)) }
        });
        Ok(Http::new(trust, self.world.carrier(&setup)?, setup.floor, other))
    }

    /// Makes accounts, tree and attempts durable in one step.
    fn install(
        &mut self,
        book: AccountBook,
        message: Option<&BootstrapMessage>,
        attempts: Vec<Attempt>,
    ) -> Result<(), String> {
        let (definitions, facts) = (self.definitions.clone(), self.config.device.clone());
        let mut state = self.state().clone();
        state.accounts = self.dated(book);
        state.set_attempts(attempts);
        state.bootstrap_busy = None;
        state.notes.last_run = self.count();
        // What a server asked for counts for the account that it was asked of.
        let unchanged = |srv_id: &SrvId| state.accounts.account(srv_id).is_some_and(|one| !one.bootstrap_complete_due);
        state.session_not_before.retain(|srv_id, _| unchanged(srv_id));
        if let Some(message) = message {
            message.install_others(&mut state.tree, &definitions);
        }
        crate::device::refresh(&mut state.tree, &definitions, &facts, &state.accounts)
            .map_err(|error| error.to_string())?;
        let names: Vec<_> = state.accounts.iter().map(|one| one.account.srv_id.to_string()).collect();
        self.memory.change_or_hold(self.known_time(), |present| *present = state).map_err(|error| error.to_string())?;
        if let Some(trouble) = self.memory.trouble() {
            tracing::error!("{trouble}");
        }
        self.trace.did(&format!("Install the account {}", names.join(", ")), "in one atomic step");
        Ok(())
    }

    /// A book out of the sequence, which does not know whether the clock is set.
    fn dated(&self, mut book: AccountBook) -> AccountBook {
        if !self.clock.is_set() {
            book.undate(self.clock.now());
        }
        book
    }

    fn finish_run(&mut self, run: &Run, recorded: Vec<Attempt>, installed: bool) {
        self.bootstrap_failures = run.failures;
        // A start that finds everything in place is no run whose cost anybody asks for.
        self.tally.open = run.result != RunResult::Unchanged;
        let book = self.dated(run.book.clone());
        let worth = if installed { run.attempts.clone() } else { run.worth_recording(&recorded) };
        let cost = self.count();
        let state = self.memory.state_mut();
        state.set_attempts(recorded.into_iter().chain(worth));
        let before = std::mem::replace(&mut state.accounts, book);
        state.notes.next = run.next.clone();
        let shown: Vec<_> = before.iter().map(|one| &one.miid).collect();
        let as_before = state.accounts.iter().map(|one| &one.miid).eq(shown);
        if self.tally.open {
            state.notes.last_run = cost;
        }
        // A fallback may have taken the place of a suspended account.
        if !as_before && let Err(error) = self.refresh_tree() {
            tracing::error!("{error}");
        }
        self.save();
    }

    fn show_attempts(&mut self, recorded: &[Attempt], record: &[Attempt]) {
        for attempt in record.get(self.told..).unwrap_or_default() {
            let (method, outcome) = (attempt.method, attempt.outcome);
            let reason = attempt.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            tracing::info!("{method}: {outcome}{reason}: {}", attempt.message);
        }
        self.told = record.len();
        self.attempts = recorded.iter().chain(record).cloned().collect();
        let surplus = self.attempts.len().saturating_sub(crate::state::MAX_ATTEMPTS);
        self.attempts.drain(..surplus);
        self.publish();
    }
}
