//! The card of this device: choosing the link, waiting for it, reading, and what the bootstrap sequence is told.

use crate::config::CardConfig;
use crate::trace::Trace;
use crate::wait::{ApartError, Stopped};
use crate::world::{World, apart};
use omadm_card::link::{LinkError, Patience};
use omadm_card::{CardError, CardErrorKind, CardReading, Cause, ReadRequest, RefusedPin, Shortcuts};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::bootstrap::sequence::{Admitted, CardReport, SimFacts};
use omadm_core::ids::{Iccid, Mcc, Mnc};
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How often a card is read again that was exchanged while it was read.
const EXCHANGED: usize = 3;

/// How long to wait before a damaged message on a card in use is read again: somebody may be writing it.
const WRITING: Duration = Duration::from_secs(5);

/// An empty slot is proven by three looks over 30 seconds (spec 2.2).
const PROOF: [Duration; 2] = [Duration::from_secs(14), Duration::from_secs(14)];

/// Between two looks for a SIM that is not ready.
const SIM_PAUSE: Duration = Duration::from_secs(2);

/// How long a link may take to say whether its slot is empty.
const SLOT: Duration = Duration::from_secs(5);

/// How long the end of a reading is waited for when the program is to end: its result may be a refused PIN.
const GRACE: Duration = Duration::from_secs(2);

/// The SIM, as people and scripts are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SimStatus {
    /// There is a card.
    pub present: bool,
    /// It is ready (Profile P-24).
    pub ready: bool,
    /// Which card.
    pub iccid: Option<Iccid>,
    /// Country of the home network.
    pub mcc: Option<Mcc>,
    /// Home network in that country.
    pub mnc: Option<Mnc>,
    /// Why it is not ready.
    pub reason: Option<Reason>,
}

/// What looking at the card gave.
#[derive(Debug)]
pub struct Look {
    /// For the bootstrap sequence.
    pub report: CardReport,
    /// For people.
    pub sim: SimStatus,
    /// The commands that it took.
    pub apdus: u64,
    /// What the card told of short file identifiers, for the next look.
    pub shortcuts: Shortcuts,
}

/// What reading told about PINs. It has to be made durable before anything else is done, another reading included.
#[derive(Debug)]
pub enum PinNews {
    /// The card refused it, or its answer was lost.
    Refused(RefusedPin),
    /// It is right, and what was remembered of it is out of date.
    Accepted(RefusedPin),
}

impl Look {
    /// What the sequence wants to know of the SIM.
    pub fn sim_facts(&self) -> SimFacts {
        SimFacts {
            present: self.sim.present,
            ready: self.sim.ready,
            mcc: self.sim.mcc.clone(),
            mnc: self.sim.mnc.clone(),
        }
    }
}

/// What is known before a card is looked at.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Where exchanges are recorded.
    pub trace: &'a Trace,
    /// Cards that accounts came from.
    pub in_use: &'a [String],
    /// Cards whose message is wanted.
    pub admitted: Admitted,
    /// What the card told of short file identifiers; used with `card.fast`.
    pub shortcuts: Shortcuts,
}

/// Waits for the card and reads it. `refused_pins` are those that are remembered; `note` is told news of them, before
/// anything else is done, and gives them anew.
pub fn look(
    config: &CardConfig,
    known: Known<'_>,
    refused_pins: Vec<RefusedPin>,
    mut note: impl FnMut(PinNews) -> Vec<RefusedPin>,
    world: &Arc<dyn World>,
) -> Result<Look, Stopped> {
    let (pin, pin_problem) = match config.pin_file.as_deref().map(|path| world.read_secret(path)) {
        None => (None, None),
        Some(Ok(pin)) => (Some(pin), None),
        Some(Err(error)) => {
            tracing::warn!("the card's PIN is not used: {error}");
            (None, Some(error.to_string()))
        }
    };
    let mut apdus = 0;
    let Known { trace, in_use, admitted, shortcuts } = known;
    let mut reader = Reader { config, pin, refused_pins, admitted, shortcuts, trace, world };
    let mut read = |wait, apdus: &mut u64| {
        let mut reading = reader.read(wait, apdus)?;
        let refused = reading.refused_pin.take().map(PinNews::Refused);
        for news in refused.into_iter().chain(reading.accepted_pin.take().map(PinNews::Accepted)) {
            reader.refused_pins = note(news);
        }
        reader.shortcuts = reading.shortcuts.clone();
        Ok::<_, Stopped>(reading)
    };
    let mut reading = read(config.wait, &mut apdus)?;
    let mut removed = None;
    for _ in 0..EXCHANGED {
        match &reading.message {
            Err(error) if error.kind == CardErrorKind::Removed => removed = Some(error.clone()),
            Ok(_) | Err(_) => break,
        }
        reading = read(config.wait, &mut apdus)?;
    }
    let is_in_use = reading.iccid.as_ref().is_some_and(|iccid| in_use.iter().any(|one| one == iccid.as_str()));
    if is_in_use && is_damaged(&reading) {
        world.sleep(WRITING)?;
        reading = read(config.wait, &mut apdus)?;
    }
    let no_card = |reading: &CardReading| matches!(&reading.message, Err(error) if error.kind == CardErrorKind::NoCard);
    let mut absent = !in_use.is_empty() && no_card(&reading) && slot_is_empty(config, world)?;
    for pause in PROOF {
        if !absent {
            break;
        }
        world.sleep(pause)?;
        reading = read(Duration::ZERO, &mut apdus)?;
        absent = no_card(&reading) && slot_is_empty(config, world)?;
    }
    if no_card(&reading)
        && let Some(error) = removed
    {
        // That it was there, and taken out while it was read, tells more.
        reading.message = Err(error);
    }
    Ok(to_look(reading, absent, apdus, pin_problem))
}

/// Looks again until the SIM is ready, at most `limit`. A slot that stays empty for 30 seconds proves that there is none
/// (Profile P-24).
pub fn await_sim(
    config: &CardConfig,
    first: Look,
    limit: Duration,
    trace: &Trace,
    world: &Arc<dyn World>,
) -> Result<Look, Stopped> {
    const NO_SIM: Duration = Duration::from_secs(30);
    let began = world.monotonic();
    let mut look = first;
    let mut empty_since = None;
    loop {
        let left = limit.saturating_sub(passed(&**world, began));
        if look.sim.ready || left.is_zero() {
            return Ok(look);
        }
        if look.sim.present || !slot_is_empty(config, world)? {
            empty_since = None;
        } else if passed(&**world, *empty_since.get_or_insert_with(|| world.monotonic())) >= NO_SIM {
            return Ok(look);
        }
        world.sleep(SIM_PAUSE.min(left))?;
        let mut apdus = look.apdus;
        // It is the SIM's state that matters here.
        let admitted = Admitted::Exactly(Vec::new());
        let shortcuts = Shortcuts::default();
        let reader = Reader { config, pin: None, refused_pins: Vec::new(), admitted, shortcuts, trace, world };
        let reading = reader.read(Duration::ZERO, &mut apdus)?;
        let next = to_look(reading, false, apdus, None);
        look = Look { sim: next.sim, apdus, ..look };
    }
}

/// One way to one card.
struct Reader<'a> {
    config: &'a CardConfig,
    pin: Option<Secret>,
    refused_pins: Vec<RefusedPin>,
    admitted: Admitted,
    shortcuts: Shortcuts,
    trace: &'a Trace,
    world: &'a Arc<dyn World>,
}

impl Reader<'_> {
    /// Opens the link and reads, in a thread of its own, since neither can be interrupted.
    fn read(&self, wait: Duration, apdus: &mut u64) -> Result<CardReading, Stopped> {
        let (config, pin, refused) = (self.config.clone(), self.pin.clone(), self.refused_pins.clone());
        let (admitted, trace, world) = (self.admitted.clone(), self.trace.clone(), self.world.clone());
        let shortcuts = self.shortcuts.clone();
        let work = move || {
            let whole = Patience::default();
            let patience = Patience { wait, command: whole.command.min(config.timeout), ..whole };
            let mut link = match world.open_card(&config, &patience) {
                Ok(link) => trace.link(link),
                Err(error) => return CardReading::unreachable(error.into()),
            };
            let began = world.monotonic();
            let request = ReadRequest {
                pin: pin.as_ref(),
                refused: &refused,
                admitted: &admitted,
                fast: config.fast.then_some(&shortcuts),
                limit: config.timeout,
                ..ReadRequest::default()
            };
            omadm_card::read(&mut *link, &request, &|| passed(&*world, began))
        };
        // What link and reading may take by their own limits, and as much again as one command.
        let limit = wait + self.config.timeout + Patience::default().command * 2;
        let failed = |why: String| Ok(CardReading::unreachable(CardError::from(LinkError::Io(why))));
        let reading = match apart(&**self.world, "card", limit, GRACE, work) {
            Ok(reading) => reading,
            Err(ApartError::Stopped(stopped)) => return Err(stopped),
            Err(ApartError::TimedOut) => return failed("the link to the card hangs".to_owned()),
            Err(ApartError::Failed(why)) => return failed(why),
        };
        *apdus += u64::from(reading.counts.total());
        Ok(reading)
    }
}

/// The time since this [`World::monotonic`] time.
fn passed(world: &dyn World, since: Duration) -> Duration {
    world.monotonic().saturating_sub(since)
}

/// Whether the link is there and says that its slot is empty. A service that hangs says nothing.
fn slot_is_empty(config: &CardConfig, world: &Arc<dyn World>) -> Result<bool, Stopped> {
    let (config, within) = (config.clone(), world.clone());
    match apart(&**world, "slot", SLOT, Duration::ZERO, move || within.slot_is_empty(&config)) {
        Ok(empty) => Ok(empty),
        Err(ApartError::Stopped(stopped)) => Err(stopped),
        Err(ApartError::TimedOut | ApartError::Failed(_)) => Ok(false),
    }
}

fn is_damaged(reading: &CardReading) -> bool {
    if reading.passed_over.iter().any(|one| one.cause == Cause::Damaged) {
        return true;
    }
    match &reading.message {
        Ok(bytes) => BootstrapMessage::parse(bytes, Limit::WholeCard)
            .is_err_and(|error| error.reason() == Reason::MalformedMessage),
        Err(error) => error.kind == CardErrorKind::Malformed,
    }
}

fn to_look(reading: CardReading, absent: bool, apdus: u64, pin_problem: Option<String>) -> Look {
    let partial = reading.is_partial();
    let passed_over = reading.passed_over.iter().map(ToString::to_string).collect();
    let message = reading.message.map_err(|error| {
        let sentence = match pin_problem {
            Some(problem) if error.kind == CardErrorKind::PinNeeded => problem,
            Some(_) | None => error.to_string(),
        };
        (error.reason(), sentence)
    });
    let sim = SimStatus {
        present: reading.sim.present,
        ready: reading.sim.ready,
        iccid: reading.iccid.clone(),
        mcc: reading.sim.mcc,
        mnc: reading.sim.mnc,
        reason: reading.sim.reason,
    };
    let behind_pin = reading.behind_pin;
    let report = CardReport { iccid: reading.iccid, absent, behind_pin, message, passed_over, partial };
    Look { report, sim, apdus, shortcuts: reading.shortcuts }
}
