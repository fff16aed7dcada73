//! The world of a life: time, what is in the reader, on the network and in files, and how it goes wrong.

use super::broken::{Broken, Invariant};
use super::disk::{Health, ModelDisk};
use super::net::ModelCarrier;
use super::plan::{CardIll, ClockIll, DAY, FileIll, Ill, Plan, Way, What};
use super::servers::Desk;
use super::slot::{self, ModelLink, Slot};
use super::truth::{OWN_SECRET, Server};
use crate::random::Random;
use omadm_card::link::{Link, LinkError, Patience};
use omadm_client::config::CardConfig;
use omadm_client::secret_file::SecretFileError;
use omadm_client::transport::{Carrier, HttpError, HttpSetup};
use omadm_client::wait::{ApartError, Stopped};
use omadm_client::world::World;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When a life begins, in seconds since 1970: 2040, after any program was built.
pub const BEGIN: u64 = 2_208_988_800;

/// A fault of the model that a test plants, to show that what checks it finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// None.
    #[default]
    Nothing,
    /// Credentials go along wherever a request goes.
    Leaks,
    /// There is no chance in the client's waiting: it is always the shortest.
    Hasty,
    /// The client forgets refused PINs.
    ForgetsPins,
    /// It does, and cards always say that all tries are left.
    LyingCard,
    /// Nobody puts anything right in the end.
    NoRemedy,
    /// The client waits for ever.
    Sleeps,
    /// Nobody is told anything.
    Mute,
    /// An account in the state file is not as it was given.
    HalfAccount,
    /// The record of attempts grows.
    Grows,
    /// The card is another one with each of the last starts.
    FickleCard,
    /// The client cannot begin.
    NoPlace,
}

/// The world; clones are the same world.
#[derive(Clone)]
pub struct ModelWorld(Arc<Mutex<Inner>>);

/// All that there is.
pub struct Inner {
    /// Milliseconds of the life.
    pub now: u64,
    /// When the power came last.
    pub booted: u64,
    /// The power is gone.
    dead: bool,
    /// After so many more exchanges it goes.
    fuse: Option<u32>,
    random: Random,
    /// What the models draw.
    pub model: Random,
    plan: Arc<Plan>,
    events: Vec<Event>,
    next_event: usize,
    /// What a person or the power does with the program, to be carried out between two steps.
    pub orders: Vec<What>,
    /// What is wrong with the DM Server.
    pub dm_ill: Option<Ill>,
    /// What is wrong with the bootstrap server.
    pub bootstrap_ill: Option<Ill>,
    clock_ill: Option<ClockIll>,
    factory_ill: Option<FileIll>,
    no_secret: bool,
    /// The PIN file holds a wrong one.
    pub wrong_pin: bool,
    pin: String,
    /// Every DM Server there ever was, the present one last.
    pub servers: Vec<Server>,
    /// What each holds of sessions.
    pub desks: Vec<Desk>,
    /// What the bootstrap server gives.
    pub offered: Arc<Vec<u8>>,
    factory: Option<Arc<Vec<u8>>>,
    /// The reader.
    pub slot: Slot,
    /// The disk.
    pub disk: ModelDisk,
    /// What was broken first.
    pub broken: Option<Broken>,
    /// What happened.
    pub counts: Counts,
    /// Whose certificates last for years, see the plan.
    pub lasting: u64,
    /// When a server last ended a session.
    pub last_end: Option<u64>,
    /// What is planted.
    pub fault: Fault,
    /// PINs that cards refused: which card and PIN, and whether the client could have remembered it durably.
    pub refused: BTreeMap<(String, Vec<u8>), bool>,
    /// What was said, if anybody listens.
    pub story: Option<Vec<(u64, String)>>,
}

/// What happened in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions that ended as they should.
    pub sessions: u64,
    /// Requests over the network.
    pub requests: u64,
    /// Times that the power went.
    pub cuts: u64,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    at: u64,
    trouble: usize,
    begins: bool,
}

impl ModelWorld {
    /// The world of this plan.
    pub fn new(plan: &Arc<Plan>) -> Self {
        let mut random = Random::new(plan.seed ^ 0xD1FE);
        let mut events: Vec<_> = plan
            .troubles
            .iter()
            .enumerate()
            .flat_map(|(trouble, one)| {
                let begins = Event { at: one.at * 1000, trouble, begins: true };
                let ends = Event { at: one.end() * 1000, trouble, begins: false };
                std::iter::once(begins).chain((one.lasts > 0).then_some(ends))
            })
            .collect();
        events.sort_by_key(|event| event.at);
        let server = Server::new(0, "acme", random.below(3) as u8, plan.device.own_login);
        let message = server.message();
        let [card, factory, boot] = plan.device.ready;
        let nothing = Arc::new(Vec::new());
        Self(Arc::new(Mutex::new(Inner {
            now: 0,
            booted: 0,
            dead: false,
            fuse: None,
            random: random.fork(),
            model: random.fork(),
            events,
            next_event: 0,
            orders: Vec::new(),
            dm_ill: None,
            bootstrap_ill: None,
            clock_ill: None,
            factory_ill: None,
            no_secret: false,
            wrong_pin: false,
            pin: slot::pin(0),
            servers: vec![server],
            desks: vec![Desk::default()],
            offered: if boot { message.clone() } else { nothing },
            factory: factory.then(|| message.clone()),
            slot: Slot::new(card.then_some(&message), plan.device.pin),
            disk: ModelDisk::default(),
            broken: None,
            counts: Counts::default(),
            lasting: plan.device.lasting,
            last_end: None,
            fault: Fault::Nothing,
            refused: BTreeMap::new(),
            story: None,
            plan: plan.clone(),
        })))
    }

    /// All that there is.
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Seconds of the life.
    pub fn seconds(&self) -> u64 {
        self.now / 1000
    }

    /// The true time.
    pub fn true_time(&self) -> u64 {
        BEGIN + self.seconds()
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.dead || self.disk.is_dead()
    }

    /// The power comes back.
    pub fn power_on(&mut self) {
        let mut random = self.model.fork();
        self.disk.cut();
        self.disk.power_on(&mut random);
        self.counts.cuts += 1;
        self.dead = false;
        self.fuse = None;
        self.booted = self.now;
    }

    /// The system's clock.
    pub fn system_time(&self) -> u64 {
        match self.clock_ill {
            None => self.true_time(),
            Some(ClockIll::Epoch) => (self.now - self.booted.min(self.now)) / 1000,
            Some(ClockIll::Ahead(seconds)) => self.true_time() + seconds,
            Some(ClockIll::Behind(seconds)) => self.true_time().saturating_sub(seconds),
        }
    }

    /// When something happens next, in milliseconds of the life.
    pub fn next_event(&self) -> Option<u64> {
        self.events.get(self.next_event).map(|event| event.at)
    }

    /// Time passes, and what happens in it.
    pub fn pass(&mut self, milliseconds: u64) {
        let end = self.now.saturating_add(milliseconds);
        while let Some(event) = self.events.get(self.next_event).copied()
            && event.at <= end
        {
            self.now = self.now.max(event.at);
            self.next_event += 1;
            let what = self.plan.troubles[event.trouble].what;
            if event.begins { self.begin(what) } else { self.end(what) }
        }
        self.now = end;
    }

    /// An exchange with network or card: takes time, and the power may go.
    pub fn exchange(&mut self, milliseconds: u64) -> Result<(), Stopped> {
        self.pass(milliseconds);
        match &mut self.fuse {
            Some(0) => self.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.is_dead() { Err(Stopped) } else { Ok(()) }
    }

    /// Says what happened to whoever reads the story of this life.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        let now = self.seconds();
        if let Some(story) = &mut self.story {
            story.push((now, text()));
        }
    }

    /// Notes that an invariant was broken; the first one counts.
    pub fn break_with(&mut self, invariant: Invariant, why: String) {
        let at = self.seconds();
        self.broken.get_or_insert(Broken { invariant, at, why });
    }

    /// The DM Server that is meant to manage the device.
    pub fn server(&self) -> &Server {
        // There is always the first.
        &self.servers[self.servers.len() - 1]
    }

    fn begin(&mut self, what: What) {
        self.tell(|| format!("{what:?}"));
        match what {
            What::CutAtDisk(after) => self.disk.cut_after(after),
            What::CutAtExchange(after) => self.fuse = Some(after),
            What::Restart | What::Rollback | What::Reset => self.orders.push(what),
            What::DmServer(ill) => self.dm_ill = Some(ill),
            What::BootstrapServer(ill) => self.bootstrap_ill = Some(ill),
            What::Moved { told } => {
                let srv_id = self.server().srv_id.clone();
                self.open_server(&srv_id, told);
            }
            What::Operator => self.open_server(&format!("op{}", self.servers.len()), true),
            What::Recertified => {
                let authority = 10 + (self.seconds() / DAY % 200) as u8;
                self.change_server(|server| server.authority = authority);
            }
            What::NewPassword => self.change_server(|server| {
                let password = format!("password {} of {}", server.passwords.len(), server.host);
                server.passwords.push(password);
            }),
            What::Card(ill) => self.slot.set_ill(Some(ill)),
            What::NewCard { other } => {
                let message = self.server().message();
                self.slot.insert(&message, other);
            }
            What::NewPin => {
                self.pin = self.slot.change_pin();
            }
            What::WrongPinFile => self.wrong_pin = true,
            What::Clock(ill) => self.clock_ill = Some(ill),
            What::Disk(health) => self.disk.set_health(health),
            What::NewFactoryFile => self.factory = Some(self.server().message()),
            What::Factory(ill) => self.factory_ill = Some(ill),
            What::NoSecretFile => self.no_secret = true,
            What::Remedy => self.remedy(),
        }
    }

    fn end(&mut self, what: What) {
        self.tell(|| format!("over: {what:?}"));
        match what {
            What::CutAtDisk(_) | What::CutAtExchange(_) => {
                if self.fuse.take().is_some() {
                    self.dead = true;
                }
            }
            What::DmServer(_) => self.dm_ill = None,
            What::BootstrapServer(_) => self.bootstrap_ill = None,
            What::Card(_) => self.slot.set_ill(None),
            What::WrongPinFile => self.wrong_pin = false,
            What::Clock(_) => self.clock_ill = None,
            What::Disk(_) => self.disk.set_health(Health::Good),
            What::Factory(_) => self.factory_ill = None,
            What::NoSecretFile => self.no_secret = false,
            What::Restart
            | What::Rollback
            | What::Reset
            | What::Moved { .. }
            | What::Operator
            | What::Recertified
            | What::NewPassword
            | What::NewCard { .. }
            | What::NewPin
            | What::NewFactoryFile
            | What::Remedy => {}
        }
    }

    fn open_server(&mut self, srv_id: &str, told: bool) {
        let number = self.servers.len();
        let old = self.servers.last_mut();
        let own_login = old.as_ref().is_some_and(|old| old.own_login);
        if let Some(old) = old {
            old.alive = false;
        }
        self.servers.push(Server::new(number, srv_id, (number % 5) as u8, own_login));
        self.desks.push(Desk::default());
        if told {
            self.offered = self.server().message();
        }
    }

    fn change_server(&mut self, change: impl FnOnce(&mut Server)) {
        if let Some(server) = self.servers.last_mut() {
            change(server);
        }
        self.offered = self.server().message();
    }

    /// Everything is well from now on, and the chosen method leads to the present server.
    pub fn heal(&mut self) {
        self.next_event = self.events.len();
        self.fuse = None;
        (self.dm_ill, self.bootstrap_ill, self.clock_ill, self.factory_ill) = (None, None, None, None);
        (self.no_secret, self.wrong_pin) = (false, false);
        self.disk.set_health(Health::Good);
        self.disk.keep_power();
        self.slot.set_ill(None);
        self.tell(|| "all is well from now on".to_owned());
        if self.fault == Fault::NoRemedy {
            self.servers.iter_mut().for_each(|server| server.alive = false);
        }
        self.remedy();
    }

    /// Brings the method of this life up to date.
    fn remedy(&mut self) {
        let message = self.server().message();
        let way = self.plan.way;
        match way {
            Way::Card => self.slot.insert(&message, false),
            Way::Factory => self.factory = Some(message),
            Way::Server => self.offered = message,
        }
        self.tell(|| format!("the {way:?} leads to the present server"));
    }
}

impl World for ModelWorld {
    fn system_time(&self) -> Timestamp {
        Timestamp(self.inner().system_time())
    }

    fn monotonic(&self) -> Duration {
        let inner = self.inner();
        Duration::from_millis(inner.now - inner.booted.min(inner.now))
    }

    fn random(&self) -> u64 {
        let mut inner = self.inner();
        if inner.fault == Fault::Hasty { 0 } else { inner.random.bits() }
    }

    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let mut inner = self.inner();
        inner.pass(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        if inner.is_dead() { Err(Stopped) } else { Ok(()) }
    }

    fn is_stopped(&self) -> bool {
        self.inner().is_dead()
    }

    fn work_apart(
        &self,
        _: &str,
        limit: Duration,
        _: Duration,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<(), ApartError> {
        let began = self.monotonic();
        work();
        if self.is_stopped() {
            return Err(ApartError::Stopped(Stopped));
        }
        if self.monotonic().saturating_sub(began) > limit { Err(ApartError::TimedOut) } else { Ok(()) }
    }

    fn open_card(&self, _: &CardConfig, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
        ModelLink::open(self, patience).map(|link| Box::new(link) as Box<dyn Link>)
    }

    fn slot_is_empty(&self, _: &CardConfig) -> bool {
        self.inner().slot.ill() == Some(CardIll::Out)
    }

    fn carrier(&self, setup: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        Ok(Box::new(ModelCarrier::new(self, setup)))
    }

    fn read_file(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        let content = inner.factory.as_ref().filter(|_| path.ends_with("factory.json"));
        match (content, inner.factory_ill) {
            (None, _) | (Some(_), Some(FileIll::Gone)) => Err(io::ErrorKind::NotFound.into()),
            (Some(_), Some(FileIll::Unreadable)) => Err(io::Error::other("the disk cannot read it")),
            (Some(content), Some(FileIll::Cut)) => Ok(content[..content.len() / 2].to_vec()),
            (Some(content), None) => Ok(content.to_vec()),
        }
    }

    fn read_secret(&self, path: &Path) -> Result<Secret, SecretFileError> {
        let inner = self.inner();
        let gone = || SecretFileError::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
        if path.ends_with("pin") {
            return Ok(Secret::from(if inner.wrong_pin { "0000" } else { inner.pin.as_str() }));
        }
        if inner.no_secret { Err(gone()) } else { Ok(Secret::from(OWN_SECRET)) }
    }
}
