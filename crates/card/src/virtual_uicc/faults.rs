//! Faults of a card and its reader, at the command that is named: the same each time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use omadm_core::reason::Reason;

use super::VirtualUicc;
use crate::apdu::{StatusWord, UPDATE_BINARY};
use crate::hex;
use crate::image::{CardImage, FileId};
use crate::link::LinkError;

/// How long a reader waits for the answer to one command.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest that a card may be slow.
const MAX_SLOW: Duration = Duration::from_secs(60);
/// The last command at which a fault may be.
const MAX_AT: u32 = 1_000_000;

/// Something that goes wrong at one command. As text `KIND@N` or `KIND@N:WHAT`, see [`FaultKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// At which command since the card was inserted, counted from 1.
    pub at: u32,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `removal@7`: the card is taken out before it sees the command, for good.
    Removal,
    /// `mute@3`: the card answers nothing more until it is reset.
    Mute,
    /// `slow@4:2500`: the answer takes so many milliseconds, 60,000 at most.
    Slow(Duration),
    /// `status@5:6F00`: the card does nothing and answers with this status word.
    Status(StatusWord),
    /// `flip@5:12`: this bit of the answer is the other one. Bit 0 is the top bit of the first byte; behind the last bit
    /// of the answer it goes on with the first.
    Flip(u16),
    /// `torn@9:16`: UPDATE BINARY writes the first bytes of its data only, so many, then the power is gone for good.
    /// Any other command is not carried out.
    Torn(u8),
    /// `reset@6`: the card is reset before it sees the command, by somebody else. The link tells.
    Reset,
    /// `exchange@8`: another card is there from this command on, and nothing tells of it: the one that was given to
    /// [`VirtualUicc::exchange_for`], else one that is the same but for its ICCID.
    Exchange,
}

impl FaultKind {
    /// One of each kind.
    pub const EACH: [Self; 8] = [
        Self::Removal,
        Self::Mute,
        Self::Slow(Duration::from_secs(3)),
        Self::Status(StatusWord(0x6F00)),
        Self::Flip(9),
        Self::Torn(1),
        Self::Reset,
        Self::Exchange,
    ];

    /// Whether a correct reader that meets this on a good card may end so: none where it reads the message, in time or
    /// because it had it already.
    pub fn may_end_as(self, reason: Option<Reason>) -> bool {
        let Some(reason) = reason else { return true };
        match self {
            Self::Removal | Self::Torn(_) | Self::Reset => reason == Reason::CardRemoved,
            Self::Mute | Self::Slow(_) => reason == Reason::Timeout,
            // Whatever it answers, it is no proof that there is no message, unless it says just that.
            Self::Status(StatusWord(0x6A82 | 0x6999)) => true,
            Self::Status(_) => !matches!(reason, Reason::NoPkcs15 | Reason::NoDmObject | Reason::CardHoldsDm1x),
            // A bit may turn one thing into any other; what it does not do is to cost the PIN.
            Self::Flip(_) => reason != Reason::NoCard,
            // A PIN that was on its way to the first card is refused by the other one.
            Self::Exchange => matches!(reason, Reason::CardRemoved | Reason::CardIo | Reason::PinRefused),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.kind {
            FaultKind::Removal => write!(f, "removal@{at}"),
            FaultKind::Mute => write!(f, "mute@{at}"),
            FaultKind::Slow(time) => write!(f, "slow@{at}:{}", time.as_millis()),
            FaultKind::Status(status) => write!(f, "status@{at}:{:04X}", status.0),
            FaultKind::Flip(bit) => write!(f, "flip@{at}:{bit}"),
            FaultKind::Torn(bytes) => write!(f, "torn@{at}:{bytes}"),
            FaultKind::Reset => write!(f, "reset@{at}"),
            FaultKind::Exchange => write!(f, "exchange@{at}"),
        }
    }
}

/// Text that describes no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} describes no fault: removal@N, mute@N, reset@N, exchange@N, slow@N:MILLISECONDS, status@N:HEX, flip@N:BIT or \
     torn@N:BYTES is expected, N being the number of a command, counted from 1"
)]
pub struct NoFault(String);

impl FromStr for Fault {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        parse(text).ok_or_else(|| NoFault(text.chars().take(40).collect()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    let (name, place) = text.split_once('@')?;
    let (at, what) = place.split_once(':').map_or((place, None), |(at, what)| (at, Some(what)));
    let at = at.parse().ok().filter(|at| (1..=MAX_AT).contains(at))?;
    let kind = match (name, what) {
        ("removal", None) => FaultKind::Removal,
        ("mute", None) => FaultKind::Mute,
        ("reset", None) => FaultKind::Reset,
        ("exchange", None) => FaultKind::Exchange,
        ("slow", Some(what)) => {
            let time = what.parse().ok().map(Duration::from_millis);
            FaultKind::Slow(time.filter(|time| *time <= MAX_SLOW)?)
        }
        ("status", Some(what)) => match hex::decode(what).ok()?.as_slice() {
            [high, low] => FaultKind::Status(StatusWord(u16::from_be_bytes([*high, *low]))),
            _ => return None,
        },
        ("flip", Some(what)) => FaultKind::Flip(what.parse().ok()?),
        ("torn", Some(what)) => FaultKind::Torn(what.parse().ok()?),
        _ => return None,
    };
    Some(Fault { at, kind })
}

/// What comes back from a card when a command is sent to it, faults included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// This answer, after this time.
    Answer(Vec<u8>, Duration),
    /// Nothing, however long one waits.
    Silence,
    /// The card was reset by somebody else; the command did not reach it.
    WasReset,
    /// The card is not there any more.
    Gone,
}

/// The time that the exchanges with a card took so far; it passes in memory only. All clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Elapsed(Arc<AtomicU64>);

impl Elapsed {
    /// How long.
    pub fn so_far(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn add(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

/// What is planned for a card, and what came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    faults: Vec<Fault>,
    other: Option<Box<CardImage>>,
    /// The card that was inserted, once another one is in its place.
    pub(super) inserted: Option<Box<VirtualUicc>>,
    pub(super) is_mute: bool,
    pub(super) is_gone: bool,
    elapsed: Elapsed,
}

impl VirtualUicc {
    /// Plans faults, beside those that are planned already.
    pub fn plan_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.faults.extend(faults);
    }

    /// Which card is there after [`FaultKind::Exchange`].
    pub fn exchange_for(&mut self, image: CardImage) {
        self.plan.other = Some(Box::new(image));
    }

    /// The time that its answers took so far, for the clock of a reading in memory.
    pub fn elapsed(&self) -> Elapsed {
        self.plan.elapsed.clone()
    }

    /// Sends a command to the card as it is with its faults. [`VirtualUicc::answer`] is the card without them.
    pub fn react(&mut self, command: &[u8]) -> Reaction {
        if self.plan.is_gone {
            return Reaction::Gone;
        }
        let at = self.commands.saturating_add(1);
        if self.plan.is_mute {
            self.commands = at;
            return Reaction::Silence;
        }
        let due: Vec<FaultKind> =
            self.plan.faults.iter().filter(|fault| fault.at == at).map(|fault| fault.kind).collect();
        let (mut status, mut after, mut flips) = (None, Duration::ZERO, Vec::new());
        for kind in due {
            match kind {
                FaultKind::Removal => return self.lose_power(),
                FaultKind::Torn(bytes) => {
                    self.tear(command, bytes);
                    return self.lose_power();
                }
                FaultKind::Mute => {
                    self.commands = at;
                    self.plan.is_mute = true;
                    return Reaction::Silence;
                }
                FaultKind::Reset => {
                    self.commands = at;
                    self.reset();
                    return Reaction::WasReset;
                }
                FaultKind::Exchange => self.exchange(),
                FaultKind::Slow(time) => after += time,
                FaultKind::Status(word) => status = Some(word),
                FaultKind::Flip(bit) => flips.push(usize::from(bit)),
            }
        }
        let mut answer = match status {
            Some(StatusWord(word)) => {
                self.commands = at;
                word.to_be_bytes().to_vec()
            }
            None => self.answer(command),
        };
        for bit in flips {
            let bit = bit % (answer.len() * 8).max(1);
            answer.iter_mut().skip(bit / 8).take(1).for_each(|byte| *byte ^= 0x80 >> (bit % 8));
        }
        Reaction::Answer(answer, after)
    }

    /// The same over a link in memory, where no real time passes.
    pub(super) fn exchange_in_memory(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let elapsed = self.elapsed();
        let late = || {
            elapsed.add(LIMIT);
            Err(LinkError::Timeout("the virtual card keeps silent".to_owned()))
        };
        match self.react(command) {
            Reaction::Answer(_, after) if after >= LIMIT => late(),
            Reaction::Answer(answer, after) => {
                elapsed.add(after);
                Ok(answer)
            }
            Reaction::Silence => late(),
            Reaction::WasReset => Err(LinkError::Removed("the virtual card was reset".to_owned())),
            Reaction::Gone => Err(LinkError::Removed("the virtual card is gone".to_owned())),
        }
    }

    fn lose_power(&mut self) -> Reaction {
        self.reset();
        self.plan.is_gone = true;
        Reaction::Gone
    }

    /// Writes the first bytes of what UPDATE BINARY brings.
    fn tear(&mut self, command: &[u8], bytes: u8) {
        let [cla, ins @ UPDATE_BINARY, p1, p2, lc, data @ ..] = command else { return };
        let count = bytes.min(*lc);
        if let Some(part @ [_, ..]) = data.get(..usize::from(count)) {
            self.answer(&[&[*cla, *ins, *p1, *p2, count], part].concat());
        }
    }

    fn exchange(&mut self) {
        let other = self.plan.other.take().map(|image| *image);
        let Some(image) = other.or_else(|| self.image().ok().and_then(with_other_iccid)) else { return };
        let mut other = Self::new(&image);
        other.commands = self.commands;
        other.plan = std::mem::take(&mut self.plan);
        let before = std::mem::replace(self, other);
        self.plan.inserted.get_or_insert_with(|| Box::new(before));
    }
}

/// The same card, but for the seventh digit of its ICCID.
fn with_other_iccid(image: CardImage) -> Option<CardImage> {
    let mut parts = image.into_parts();
    let iccid = parts.files.iter_mut().find(|file| file.id == FileId(0x2FE2))?;
    let byte = iccid.content.0.get_mut(3)?;
    let digit = (*byte & 0x0F).wrapping_add(1) % 10;
    *byte = *byte & 0xF0 | digit;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_written() {
        for kind in FaultKind::EACH {
            let fault = Fault { at: 12, kind };
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert_eq!("status@5:6f00".parse(), Ok(Fault { at: 5, kind: FaultKind::Status(StatusWord(0x6F00)) }));
        for text in [
            "",
            "removal",
            "removal@",
            "removal@0",
            "removal@-1",
            "removal@1000001",
            "removal@1:2",
            "mute@x",
            "slow@1",
            "slow@1:60001",
            "slow@1:x",
            "status@1:6F",
            "status@1:6F0000",
            "flip@1:70000",
            "torn@1:256",
            "melt@1",
            "@1",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
