//! The client of one device: its configuration, its state, and what is going on.

use crate::card::Look;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::control::Board;
use crate::device;
use crate::host::Host;
use crate::state::{Disk, LastRun, Lock, LockError, Memory, State, StateError, Storage};
use crate::status::Status;
use crate::trace::Trace;
use crate::transport::{Dated, Meter};
use crate::wait::Stop;
use crate::watch::Sign;
use crate::world::World;
use omadm_core::access::DeviceRights;
use omadm_core::account::{Judgement, NothingToAllow};
use omadm_core::backoff::Now;
use omadm_core::ids::SrvId;
use omadm_core::mo::{Definitions, MoError};
use omadm_core::reason::Attempt;
use omadm_core::time::Timestamp;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the time is kept while the clock is not set, in seconds.
const KEPT_EVERY: u64 = 3600;

/// Failed to begin with a device's state.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another program works with it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The folder of the state file cannot be used.
    #[error("cannot use {path} for the state file: {source}")]
    Folder {
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tree does not fit its definitions.
    #[error("the device's own data do not fit their definitions: {0}")]
    Tree(#[from] MoError),
}

/// Failed to do with an account what a person wants; it is as before.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is nothing to allow.
    #[error(transparent)]
    Unknown(#[from] NothingToAllow),
    /// The change cannot be made durable.
    #[error(transparent)]
    State(#[from] StateError),
    /// The tree does not fit its definitions.
    #[error("the device's own data do not fit their definitions: {0}")]
    Tree(#[from] MoError),
}

/// The client of one device.
pub struct Client {
    pub(crate) config: Config,
    pub(crate) world: Arc<dyn World>,
    pub(crate) clock: Clock,
    /// What a certificate said of the time while the methods are gone through; heeded at the end, so that one run has one
    /// clock.
    pub(crate) corrected: Option<Dated>,
    pub(crate) memory: Memory,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) rights: DeviceRights,
    pub(crate) tally: Tally,
    /// Where exchanges are recorded.
    pub(crate) trace: Trace,
    /// The time and the [`World::monotonic`] time when the clock was last looked at.
    seen: Option<(Timestamp, Duration)>,
    /// The [`World::monotonic`] time when a card was last read.
    pub(crate) card_read: Option<Duration>,
    /// The last look at the card in this run.
    pub(crate) look: Option<Look>,
    /// What the card told of short file identifiers in any run.
    pub(crate) shortcuts: omadm_card::Shortcuts,
    /// All attempts that are known, those that are not worth a durable record included.
    pub(crate) attempts: Vec<Attempt>,
    /// How many attempts of the present run are in the log.
    pub(crate) told: usize,
    /// Failures of the bootstrap server in a row.
    pub(crate) bootstrap_failures: u32,
    board: Board,
    /// Held as long as the client works with files of this machine.
    _lock: Option<Lock>,
}

/// What is being counted: a bootstrap and the session after it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) meter: Meter,
    pub(crate) apdus: u64,
    spent: Duration,
    since: Option<Duration>,
    /// Whether the counting goes on until a session succeeded.
    pub(crate) open: bool,
}

impl Tally {
    /// Begins to count anew at this [`World::monotonic`] time, like those below.
    pub(crate) fn restart(&mut self, now: Duration) {
        *self = Self { since: Some(now), open: true, ..Self::default() };
    }

    /// Time passes again.
    pub(crate) fn resume(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// Time that passes from now on does not count.
    pub(crate) fn pause(&mut self, now: Duration) {
        self.spent += self.since.take().map(|since| now.saturating_sub(since)).unwrap_or_default();
    }

    /// What was counted so far.
    pub(crate) fn count(&self, now: Duration) -> LastRun {
        let count = self.meter.count();
        let spent = self.spent + self.since.map(|since| now.saturating_sub(since)).unwrap_or_default();
        LastRun {
            apdus: self.apdus,
            round_trips: count.round_trips,
            bytes: count.bytes,
            ms: u64::try_from(spent.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Client {
    /// Takes the lock and reads the state. What there is to say about it goes to the log. Where storage fails the client
    /// works without it, and [`storage_trouble`](Self::storage_trouble) says so.
    pub fn open(config: Config, stop: &Stop) -> Result<Self, OpenError> {
        let (folder, _) = place(&config.state)?;
        let storage = Box::new(Disk::open(folder));
        let lock = Lock::take(&config.state)?;
        let client = Self::new(config, Arc::new(Host::new(stop)), storage)?;
        Ok(Self { _lock: Some(lock), ..client })
    }

    /// The client of a device in this world, with its state in this storage, which nobody else writes to.
    pub fn new(config: Config, world: Arc<dyn World>, storage: Box<dyn Storage>) -> Result<Self, OpenError> {
        let (_, name) = place(&config.state)?;
        let now = clock::built().max(world.system_time());
        let (memory, news) = Memory::open(storage, &name, now);
        news.iter().map(String::as_str).chain(memory.trouble()).for_each(|sentence| tracing::error!("{sentence}"));
        Self::with(config, world, memory)
    }

    fn with(config: Config, world: Arc<dyn World>, memory: Memory) -> Result<Self, OpenError> {
        let definitions = Arc::new(device::definitions(&config));
        let mut client = Self {
            rights: device::rights(&config),
            clock: Clock::new(world.clone(), memory.state().known_time()),
            corrected: None,
            seen: None,
            card_read: None,
            world,
            attempts: memory.state().attempts.clone(),
            config,
            memory,
            definitions,
            tally: Tally::default(),
            trace: Trace::default(),
            look: None,
            shortcuts: omadm_card::Shortcuts::default(),
            told: 0,
            bootstrap_failures: 0,
            board: Board::default(),
            _lock: None,
        };
        client.refresh_tree()?;
        client.publish();
        Ok(client)
    }

    /// Records what goes over links and sockets from now on.
    pub fn record(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// Reads the state of a client that may be running, without touching anything. `Err` in the value: how it is damaged.
    pub fn peek(config: &Config) -> Result<Result<State, crate::state::Damage>, OpenError> {
        let (folder, name) = place(&config.state)?;
        if !folder.is_dir() {
            return Ok(Ok(State::default()));
        }
        Ok(Memory::peek(Box::new(Disk::open(folder)), &name)?)
    }

    /// Forgets everything but refused PINs, and begins anew. The floor of the clock is the build time again.
    pub fn reset(&mut self) -> Result<(), StateError> {
        self.memory.begin_anew(clock::built())?;
        self.clock = Clock::new(self.world.clone(), Timestamp::default());
        self.attempts.clear();
        self.look = None;
        self.tally = Tally::default();
        if let Err(error) = self.refresh_tree() {
            tracing::error!("{error}");
        }
        self.publish();
        Ok(())
    }

    /// Removes the account of this server, durably, and all that belongs to it; what the server made in the tree belongs to
    /// the device from then on (spec 2.2). False if there is no such account.
    pub fn remove_account(&mut self, srv_id: &SrvId) -> Result<bool, AccountError> {
        let mut state = self.state().clone();
        if !state.accounts.remove(srv_id) {
            return Ok(false);
        }
        state.session_not_before.remove(srv_id);
        state.notes.sessions.remove(srv_id);
        device::refresh(&mut state.tree, &self.definitions, &self.config.device, &state.accounts)?;
        self.settle(state)?;
        tracing::info!("the account of {srv_id} was removed by a person");
        Ok(true)
    }

    /// Lets the next message from another source replace the account of this server, durably (Profile P-3).
    pub fn allow_account(&mut self, srv_id: &SrvId) -> Result<(), AccountError> {
        let mut state = self.state().clone();
        state.accounts.allow(srv_id)?;
        self.settle(state)
    }

    fn settle(&mut self, state: State) -> Result<(), AccountError> {
        self.memory.change(self.known_time(), |present| *present = state)?;
        self.publish();
        Ok(())
    }

    /// Where the status hangs from now on, for other threads to tell.
    pub fn board(&self) -> Board {
        let board = self.board.clone();
        self.publish();
        board
    }

    /// The status.
    pub fn status(&self) -> Status {
        let mut status = Status::of(&self.config, self.memory.state());
        status.attempts = self.attempts.clone();
        status.storage = self.memory.trouble().map(str::to_owned);
        if self.tally.open {
            status.last_run = self.count();
        }
        status
    }

    /// What was counted so far of the bootstrap, and of the session after it.
    pub(crate) fn count(&self) -> LastRun {
        self.tally.count(self.world.monotonic())
    }

    /// The state, for reading.
    pub fn state(&self) -> &State {
        self.memory.state()
    }

    /// How often the state file was replaced since the program started.
    pub fn replaced(&self) -> u64 {
        self.memory.replaced()
    }

    /// Hangs up the present status.
    pub(crate) fn publish(&self) {
        if !self.board.is_public() {
            return;
        }
        match serde_json::to_value(self.status()) {
            Ok(status) => self.board.show(status),
            Err(error) => tracing::error!("the status cannot be told: {error}"),
        }
    }

    /// Whether the card was read after what this sign of this time tells of. A sign that a card came takes a moment, in
    /// which it may be read already; one that it went is news whenever it comes after the reading.
    pub(crate) fn has_read_card_since(&self, sign: Sign, at: Duration) -> bool {
        let moment = match sign {
            Sign::Card => Duration::from_secs(1),
            Sign::CardWent => Duration::ZERO,
            Sign::FactoryFile => return false,
        };
        self.card_read.is_some_and(|read| at < read + moment)
    }

    /// Brings the tree in line with configuration and accounts.
    pub(crate) fn refresh_tree(&mut self) -> Result<(), MoError> {
        let state = self.memory.state_mut();
        device::refresh(&mut state.tree, &self.definitions, &self.config.device, &state.accounts)
    }

    /// Writes what changed and is worth it; a failure is told once and tried again with the next change.
    pub(crate) fn save(&mut self) {
        let known = self.memory.trouble().map(str::to_owned);
        if let Err(error) = self.memory.save(self.known_time())
            && (known.is_none() || known.as_deref() != self.memory.trouble())
        {
            tracing::error!("{error}");
        }
    }

    /// What keeps the state from being durable, as a sentence.
    pub fn storage_trouble(&self) -> Option<&str> {
        self.memory.trouble()
    }

    /// Tries again where storage failed. Says whether the accounts are others now, since the state could be read at last.
    pub(crate) fn mend_storage(&mut self) -> bool {
        let before = self.state().accounts.clone();
        let Some(news) = self.memory.retry(self.known_time()) else { return false };
        tracing::info!("{news}");
        let others = self.state().accounts != before;
        if others {
            if self.state().known_time() > self.clock.now() {
                self.clock = Clock::new(self.world.clone(), self.state().known_time());
            }
            self.attempts = self.state().attempts.clone();
            if let Err(error) = self.refresh_tree() {
                tracing::error!("{error}");
            }
        }
        others
    }

    /// Makes durable how the last sessions ended, if they ended in another way than was known: for a program that ends
    /// then, so that a later `status` can tell.
    pub fn keep_session_notes(&mut self) {
        if let Err(error) = self.memory.save_session_notes(self.known_time()) {
            tracing::error!("{error}");
        }
    }

    /// The last time that is known (Profile P-27): a server's certificate was good then; and while the clock is not set,
    /// how far time went on. A clock that is merely ahead is never taken for the truth.
    pub(crate) fn known_time(&self) -> Timestamp {
        let known = self.clock.floor().max(self.state().known_time());
        if self.clock.is_set() { known } else { known.max(self.clock.now()) }
    }

    /// Notes what a server's certificate said of the time. It counts also if it is before what was noted: then that was
    /// noted by a clock that was ahead. If the certificate agrees with the second opinion only, time goes on from that.
    pub(crate) fn note_certificate(&mut self, dated: &Dated) {
        let state = self.memory.state_mut();
        state.notes.proved = state.notes.proved.max(dated.since);
        state.notes.written = dated.at;
        state.kept_time = state.kept_time.min(dated.at);
        if dated.anew {
            tracing::info!("the clock goes on from {}, which a certificate agrees with", dated.at);
            self.clock.go_on_from(dated.at);
        }
    }

    /// Looks whether the clock was set meanwhile, and sets what was noted right. Gives the seconds that it was set back.
    pub(crate) fn heed_clock(&mut self) -> u64 {
        let (now, passed) = (self.clock.now(), self.world.monotonic());
        let expected = self.seen.map_or(now, |(seen, then)| seen.plus(passed.saturating_sub(then).as_secs()));
        self.seen = Some((now, passed));
        let is_set = self.clock.is_set();
        let newest = self.state().newest_session();
        self.memory.state_mut().heed_clock(now, is_set);
        if is_set && self.state().newest_session() < newest {
            // Or with each start it would look as if a session had just been, and none would ever be due.
            self.save();
        }
        expected.since(now)
    }

    /// Keeps how far time went on, hourly, while the clock is not set: or an account would never become stale in a device
    /// that begins in the same year whenever it starts.
    pub(crate) fn keep_time(&mut self) {
        let now = self.clock.now();
        if !self.clock.is_set() && now.since(self.state().known_time()) >= KEPT_EVERY {
            self.memory.state_mut().kept_time = now;
            self.save();
        }
    }

    /// By what accounts are judged now.
    pub(crate) fn judgement(&self) -> Judgement {
        Judgement { now: self.clock.now(), stale_after: self.config.session.stale_after.as_secs() }
    }

    /// Time and random number for one decision.
    pub(crate) fn now(&self) -> Now {
        Now { time: self.clock.now(), random: self.world.random() }
    }
}

fn place(state: &Path) -> Result<(&Path, String), OpenError> {
    let fail = || OpenError::Folder {
        path: state.to_owned(),
        source: io::Error::other("the path of a file is expected, with a name in UTF-8"),
    };
    let name = state.file_name().and_then(OsStr::to_str).ok_or_else(fail)?;
    let folder = state.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder, name.to_owned()))
}
