//! A world in memory: a card in a slot of its own or in that of a modem, a factory file and a DM Bootstrap Server. No real
//! time passes in it.

use omadm_card::apdu::{Protocol, StatusWord, VERIFY};
use omadm_card::link::at::{AtLink, Port, PortError};
use omadm_card::link::{Link, LinkError, Patience};
use omadm_card::virtual_modem::{ModemQuirk, VirtualModem};
use omadm_card::virtual_uicc::{Fault, FaultKind, Reaction};
use omadm_card::{CardImage, VirtualUicc};
use omadm_client::config::CardConfig;
use omadm_client::secret_file::SecretFileError;
use omadm_client::state::Storage;
use omadm_client::transport::{Answer, Carrier, Headers, HttpError, HttpSetup, Outgoing};
use omadm_client::wait::{ApartError, Stopped};
use omadm_client::world::World;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A time at which the clock counts as set.
const NOW: u64 = 2_000_000_000;

/// How the card is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Alone with it, as in a reader.
    Itself,
    /// A modem that opens applications.
    Modem,
    /// A modem that passes commands on and no more.
    PlainModem,
}

/// What goes wrong at one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The card is taken out before it sees the command.
    Removed,
    /// The card is taken out when it has carried the command out, before its answer is there.
    RemovedAfter,
    /// The card carries the command out, and the answer comes when nobody waits for it any more.
    Late,
    /// The card keeps silent until it is reset.
    Mute,
    /// The card does nothing and answers 6F00.
    Refused,
}

impl Trouble {
    pub const EACH: [Self; 5] = [Self::Removed, Self::RemovedAfter, Self::Late, Self::Mute, Self::Refused];

    /// Whether the card is out afterwards.
    pub fn removes(self) -> bool {
        matches!(self, Self::Removed | Self::RemovedAfter)
    }
}

/// Where the card is.
enum Place {
    Reader(Option<VirtualUicc>),
    Modem(VirtualModem),
}

impl Place {
    fn card(&self) -> Option<&VirtualUicc> {
        match self {
            Self::Reader(card) => card.as_ref(),
            Self::Modem(modem) => modem.card(),
        }
        .filter(|card| !card.atr().is_empty())
    }

    fn commands(&self) -> u32 {
        self.card().map_or(0, VirtualUicc::commands)
    }

    fn take_out(&mut self) {
        match self {
            Self::Reader(card) => *card = None,
            Self::Modem(modem) => modem.set_card(None),
        }
    }
}

/// The world of one device.
pub struct Slot {
    inside: Mutex<Inside>,
    /// What the factory file holds.
    pub factory: Option<String>,
    /// What the DM Bootstrap Server gives.
    pub server: Option<String>,
}

struct Inside {
    place: Place,
    passed: Duration,
    /// What comes at a command, and is not the card's own doing.
    trouble: Option<(u32, Trouble)>,
    /// The card that is put in again when the link is opened the next time.
    returns: Option<CardImage>,
    /// Whether anybody can tell that the slot is empty.
    tells_empty: bool,
    asked: u32,
    /// Whether a card that is ours alone got a PIN.
    verified: bool,
}

impl Slot {
    /// A device with this card.
    pub fn new(by: By, card: &CardImage) -> Self {
        let card = VirtualUicc::new(card);
        let place = match by {
            By::Itself => Place::Reader(Some(card)),
            By::Modem => Place::Modem(VirtualModem::new(card, &[])),
            By::PlainModem => Place::Modem(VirtualModem::new(card, &[ModemQuirk::NoCcho])),
        };
        let inside = Inside {
            place,
            passed: Duration::ZERO,
            trouble: None,
            returns: None,
            tells_empty: true,
            asked: 0,
            verified: false,
        };
        Self { inside: Mutex::new(inside), factory: None, server: None }
    }

    /// The same, with a modem that differs.
    pub fn with_modem(card: &CardImage, quirks: &[ModemQuirk]) -> Self {
        let slot = Self::new(By::Modem, card);
        slot.inside().place = Place::Modem(VirtualModem::new(VirtualUicc::new(card), quirks));
        slot
    }

    /// Something goes wrong at a command, counted from 1.
    pub fn plan(self, at: u32, trouble: Trouble) -> Self {
        let mut inside = self.inside();
        let kind = match trouble {
            Trouble::Removed => Some(FaultKind::Removal),
            Trouble::Mute => Some(FaultKind::Mute),
            Trouble::Refused => Some(FaultKind::Status(StatusWord(0x6F00))),
            Trouble::RemovedAfter | Trouble::Late => None,
        };
        match kind {
            Some(kind) => inside.plan_fault(Fault { at, kind }),
            None => inside.trouble = Some((at, trouble)),
        }
        drop(inside);
        self
    }

    /// The card is in again when the client looks the next time.
    pub fn and_returns(self, card: &CardImage) -> Self {
        self.inside().returns = Some(card.clone());
        self
    }

    /// Nobody can tell that the slot is empty.
    pub fn and_nobody_tells(self) -> Self {
        self.inside().tells_empty = false;
        self
    }

    /// Puts a card in.
    pub fn insert(&self, card: &CardImage) {
        self.inside().insert(card);
    }

    /// Takes the card out.
    pub fn take_out(&self) {
        self.inside().place.take_out();
    }

    /// How many commands reached the card.
    pub fn commands(&self) -> u32 {
        self.inside().place.commands()
    }

    /// How many channels of the card are open, or are by what the modem knows.
    pub fn open_channels(&self) -> usize {
        let inside = self.inside();
        let known = match &inside.place {
            Place::Reader(_) => 0,
            Place::Modem(modem) => modem.open_channels(),
        };
        inside.place.card().map_or(0, VirtualUicc::open_channels).max(known)
    }

    /// How often the DM Bootstrap Server was asked.
    pub fn asked(&self) -> u32 {
        self.inside().asked
    }

    /// Counts anew how often it was asked.
    pub fn forget_asked(&self) {
        self.inside().asked = 0;
    }

    /// Whether a PIN with its value was sent to a card that is ours alone.
    pub fn verified(&self) -> bool {
        self.inside().verified
    }

    /// How many tries a PIN of the card has left.
    pub fn tries_left(&self, reference: u8) -> Option<u8> {
        self.inside().place.card().and_then(|card| card.tries_left(reference))
    }

    /// The seconds that passed.
    pub fn passed(&self) -> u64 {
        self.inside().passed.as_secs()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
}

impl Inside {
    fn plan_fault(&mut self, fault: Fault) {
        let plan = |mut card: VirtualUicc| {
            card.plan_faults([fault]);
            card
        };
        match &mut self.place {
            Place::Reader(card) => *card = card.take().map(plan),
            Place::Modem(modem) => {
                let card = modem.card().cloned().map(plan);
                modem.set_card(card);
            }
        }
    }

    fn insert(&mut self, card: &CardImage) {
        let card = Some(VirtualUicc::new(card));
        match &mut self.place {
            Place::Reader(place) => *place = card,
            Place::Modem(modem) => modem.set_card(card),
        }
    }

    /// What comes now that the card has seen so many commands, of which `before` were known.
    fn trouble_since(&mut self, before: u32) -> Option<Trouble> {
        let now = self.place.commands();
        let (_, trouble) = self.trouble.take_if(|(at, _)| before < *at && *at <= now)?;
        if trouble == Trouble::RemovedAfter {
            self.place.take_out();
        }
        Some(trouble)
    }
}

/// The card in a slot of its own. A command that was not answered in time ends it, as with the service of a reader.
struct Alone {
    slot: Arc<Slot>,
    protocol: Protocol,
    limit: Duration,
    broken: bool,
    reset: bool,
}

impl Alone {
    fn late<T>(&mut self) -> Result<T, LinkError> {
        self.broken = true;
        Err(LinkError::Timeout("the card keeps silent".to_owned()))
    }
}

impl Link for Alone {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        if self.broken {
            return self.late();
        }
        let slot = self.slot.clone();
        let mut inside = slot.inside();
        let gone = || Err(LinkError::Removed("the card is gone".to_owned()));
        inside.verified |= matches!(command, [_, VERIFY, _, _, _, _, ..]);
        let before = inside.place.commands();
        let Place::Reader(Some(card)) = &mut inside.place else { return gone() };
        let reaction = card.react(command);
        if let Some(trouble) = inside.trouble_since(before) {
            if trouble.removes() {
                return gone();
            }
            inside.passed += self.limit;
            return self.late();
        }
        match reaction {
            Reaction::Answer(answer, after) => {
                inside.passed += after;
                Ok(answer)
            }
            Reaction::Silence => {
                inside.passed += self.limit;
                self.late()
            }
            Reaction::WasReset => Err(LinkError::Removed("the card was reset".to_owned())),
            Reaction::Gone => gone(),
        }
    }

    fn reset_when_released(&mut self) {
        self.reset = true;
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let (true, Place::Reader(Some(card))) = (self.reset, &mut self.slot.inside().place) {
            card.reset();
        }
    }
}

/// The wire to the modem.
struct Wire {
    slot: Arc<Slot>,
    waiting: Vec<u8>,
    /// What comes at a time.
    late: Option<(Duration, Vec<u8>)>,
}

impl Port for Wire {
    fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), PortError> {
        let mut inside = self.slot.inside();
        let before = inside.place.commands();
        let Place::Modem(modem) = &mut inside.place else { return Err(PortError::Gone) };
        let answer = modem.answer(bytes);
        let delay = modem.take_delay();
        match inside.trouble_since(before) {
            Some(Trouble::RemovedAfter) => self.waiting.extend(b"\r\n+CME ERROR: 10\r\n"),
            Some(_) => self.late = Some((inside.passed + limit + Duration::from_secs(1), answer)),
            None => self.waiting.extend(answer),
        }
        inside.passed += delay;
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError> {
        let mut inside = self.slot.inside();
        if self.waiting.is_empty() {
            let end = inside.passed + limit;
            match self.late.take_if(|(at, _)| *at <= end) {
                Some((at, bytes)) => {
                    inside.passed = inside.passed.max(at);
                    self.waiting = bytes;
                }
                None => inside.passed = end,
            }
        }
        let count = self.waiting.len().min(room.len());
        for (place, byte) in room.iter_mut().zip(self.waiting.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn now(&self) -> Duration {
        self.slot.inside().passed
    }
}

/// A device's world; clones are the same.
#[derive(Clone)]
pub struct InMemory(pub Arc<Slot>);

impl World for InMemory {
    fn system_time(&self) -> Timestamp {
        Timestamp(NOW + self.monotonic().as_secs())
    }
    fn monotonic(&self) -> Duration {
        self.0.inside().passed
    }
    fn random(&self) -> u64 {
        u64::MAX
    }
    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        self.0.inside().passed += time;
        Ok(())
    }
    fn is_stopped(&self) -> bool {
        false
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
        if self.monotonic() - began <= limit { Ok(()) } else { Err(ApartError::TimedOut) }
    }
    fn open_card(&self, _: &CardConfig, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
        let mut inside = self.0.inside();
        if inside.place.card().is_none()
            && let Some(card) = inside.returns.take()
        {
            inside.insert(&card);
        }
        let protocol = match (&inside.place, inside.place.card()) {
            (Place::Reader(_), Some(card)) => card.protocol(),
            (Place::Reader(_), None) => {
                inside.passed += patience.empty.min(patience.wait);
                return Err(LinkError::NoCard("the slot is empty".to_owned()));
            }
            (Place::Modem(_), _) => {
                drop(inside);
                let wire = Wire { slot: self.0.clone(), waiting: Vec::new(), late: None };
                return Ok(Box::new(AtLink::open(wire, patience)?));
            }
        };
        let (slot, limit) = (self.0.clone(), patience.command);
        Ok(Box::new(Alone { slot, protocol, limit, broken: false, reset: false }))
    }
    fn slot_is_empty(&self, _: &CardConfig) -> bool {
        let inside = self.0.inside();
        inside.tells_empty && inside.place.card().is_none()
    }
    fn carrier(&self, _: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        Ok(Box::new(self.clone()))
    }
    fn read_file(&self, _: &Path, _: usize) -> io::Result<Vec<u8>> {
        let content = self.0.factory.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(content.clone().into_bytes())
    }
    fn read_secret(&self, _: &Path) -> Result<Secret, SecretFileError> {
        Ok(Secret::from("1234"))
    }
}

impl Carrier for InMemory {
    fn carry(&self, _: Outgoing) -> Result<Answer, HttpError> {
        self.0.inside().asked += 1;
        let mut headers = Headers::default();
        headers.add("Content-Type", media::BOOTSTRAP);
        Ok(match &self.0.server {
            Some(message) => Answer { status: 200, headers, body: message.clone().into_bytes() },
            None => Answer { status: 204, headers, body: Vec::new() },
        })
    }
}

/// A folder in memory; clones are the same.
#[derive(Clone, Default)]
pub struct Folder(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Folder {
    /// What is in it.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    /// Another one with the same in it.
    pub fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.files())))
    }
}

impl Storage for Folder {
    fn read(&self, name: &str, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().insert(name.to_owned(), content.to_vec());
        Ok(())
    }
    fn sync(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }
}
