//! A UICC in memory: MF, EF(DIR), ICCID, a USIM and a PKCS#15 application, as telecom readers and OpenSC like them.
//!
//! It answers any bytes and never panics. Its world is the image that it was made from; what changes is which files are
//! selected, which PINs were verified, how many tries they have left, and what is written to it. The card as it is now
//! can be taken out as an image again.
//!
//! | command | source |
//! | --- | --- |
//! | SELECT, STATUS, READ BINARY, READ RECORD, GET RESPONSE, MANAGE CHANNEL | ISO 7816-4, ETSI TS 102 221 |
//! | VERIFY of PINs and of the key of the administrator, CHANGE PIN, UNBLOCK PIN | ETSI TS 102 221 |
//! | UPDATE BINARY, UPDATE RECORD | ETSI TS 102 221 |
//! | CREATE FILE, DELETE FILE for elementary files, by the administrator | ETSI TS 102 222 |

mod command;
mod faults;
mod files;
mod keys;
mod parameters;
mod presets;
mod quirks;
mod rules;
mod select;
mod write;

use std::collections::VecDeque;

use crate::apdu::{self, MAX_CHANNEL, Protocol, Response, StatusWord};
use crate::image::{CardImage, CardParts, ImageError};
use crate::link::{Link, LinkError, atr};
use faults::Plan;
use files::Tree;
use keys::Keys;

pub use faults::{Elapsed, Fault, FaultKind, NoFault, Reaction};
pub use presets::Preset;
pub use quirks::{ChannelRefusal, Channels, Quirk, Quirks, UnknownQuirk};

/// 91xx: done, and a proactive command of 11 bytes waits.
const TOOLKIT_WAITING: StatusWord = StatusWord(0x910B);

/// A card that is being used.
#[derive(Debug, Clone)]
pub struct VirtualUicc {
    tree: Tree,
    protocol: Protocol,
    limits: Channels,
    quirks: Quirks,
    keys: Keys,
    channels: [Option<Channel>; MAX_CHANNEL as usize + 1],
    commands: u32,
    plan: Plan,
}

/// What is selected on a logical channel; numbers are those of the tree.
#[derive(Debug, Clone, Default)]
struct Channel {
    df: usize,
    adf: Option<usize>,
    ef: Option<usize>,
    record: u8,
    /// What GET RESPONSE gives.
    pending: VecDeque<u8>,
}

impl VirtualUicc {
    /// Inserts this card, powered and reset.
    pub fn new(image: &CardImage) -> Self {
        let parts = image.parts();
        let mut card = Self {
            tree: Tree::new(parts),
            protocol: parts.protocol,
            limits: parts.channels,
            quirks: parts.quirks.clone(),
            keys: Keys::new(parts),
            channels: std::array::from_fn(|_| None),
            commands: 0,
            plan: Plan::default(),
        };
        card.reset();
        card
    }

    /// Its answer to reset; empty once the card is gone ([`FaultKind::Removal`]).
    pub fn atr(&self) -> Vec<u8> {
        if self.plan.is_gone { Vec::new() } else { atr::of(self.protocol) }
    }

    /// Forgets what was selected and verified. The tries of PINs stay as they are. A mute card speaks again.
    pub fn reset(&mut self) {
        self.plan.is_mute = false;
        self.channels = std::array::from_fn(|number| (number == 0).then(Channel::default));
        self.keys.reset();
    }

    /// Verifies a PIN without its value, as a modem does whose user entered it. A blocked one stays so.
    pub fn unlock(&mut self, reference: u8) {
        self.keys.unlock(reference);
    }

    /// How many logical channels are open, the basic one aside.
    pub fn open_channels(&self) -> usize {
        self.channels.iter().skip(1).flatten().count()
    }

    /// How many commands it answered since it was inserted.
    pub fn commands(&self) -> u32 {
        self.commands
    }

    /// How many tries a PIN or the key of the administrator has left; none where the card has no such reference.
    pub fn tries_left(&self, reference: u8) -> Option<u8> {
        self.keys.tries_left(reference)
    }

    /// How many tries the PUK of a PIN has left; none where the card has no such PIN, or no PUK for it.
    pub fn puk_tries_left(&self, reference: u8) -> Option<u8> {
        self.keys.puk_tries_left(reference)
    }

    /// The card as it is now: what was written, and the tries that are left. A new card of it answers alike after its
    /// reset. Of a card that was exchanged for another one it is the one that was inserted first.
    ///
    /// # Errors
    /// If what was written makes no possible image. CREATE FILE takes nothing that would.
    pub fn image(&self) -> Result<CardImage, ImageError> {
        if let Some(inserted) = &self.plan.inserted {
            return inserted.image();
        }
        let (channels, quirks) = (self.limits, self.quirks.clone());
        let mut parts = CardParts { channels, quirks, ..CardParts::new(self.protocol) };
        self.keys.save(&mut parts);
        self.tree.save(parts)
    }

    /// Answers a command; what is planned to go wrong is left out ([`VirtualUicc::react`]).
    pub fn answer(&mut self, command: &[u8]) -> Vec<u8> {
        self.commands = self.commands.saturating_add(1);
        let [cla, ins, p1, p2, body @ ..] = command else {
            return Response::from(StatusWord::WRONG_LENGTH).encode();
        };
        let Some(number) = apdu::channel_of(*cla).filter(|_| cla & 0x80 == 0 || *ins == apdu::STATUS) else {
            return Response::from(StatusWord::WRONG_CLA).encode();
        };
        let Some((data, le)) = split(body).filter(|_| !self.is_other_case_1(*ins, *p1, body)) else {
            return Response::from(StatusWord::WRONG_LENGTH).encode();
        };
        let request = Request { number, ins: *ins, p1: *p1, p2: *p2, data, le };
        let mut response = self.carry_out(&request);
        if let Some(le) = le
            && self.quirks.has(Quirk::WrongLeOnT1)
            && self.protocol == Protocol::T1
            && !data.is_empty()
            && !response.data.is_empty()
            && response.data.len() != usize::from(le)
        {
            let right = u16::try_from(response.data.len()).unwrap_or(0) & 0xFF;
            response = StatusWord(0x6C00 | right).into();
        }
        // T=0 carries data one way only: the answer to data waits for GET RESPONSE.
        let waits = match *ins {
            apdu::READ_BINARY | apdu::READ_RECORD => self.quirks.has(Quirk::FetchOnRead),
            _ => !data.is_empty() && (self.protocol == Protocol::T0 || self.quirks.has(Quirk::FetchOnT1)),
        };
        if waits
            && !response.data.is_empty()
            && let Some(channel) = self.channel(number)
        {
            channel.pending = std::mem::take(&mut response.data).into();
            response.status = more(channel.pending.len());
        }
        if response.status == StatusWord::OK && self.quirks.has(Quirk::ToolkitWaiting) {
            response.status = TOOLKIT_WAITING;
        }
        response.encode()
    }

    /// Whether a command without data has not the form that a strict card wants.
    fn is_other_case_1(&self, ins: u8, p1: u8, body: &[u8]) -> bool {
        let is_case_1 = match ins {
            apdu::VERIFY | apdu::UNBLOCK_PIN => true,
            apdu::MANAGE_CHANNEL => p1 == 0x80,
            _ => false,
        };
        self.quirks.has(Quirk::StrictCase1)
            && match self.protocol {
                Protocol::T0 => body.is_empty(),
                Protocol::T1 => is_case_1 && body.len() == 1,
            }
    }

    fn channel(&mut self, number: u8) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number)).and_then(Option::as_mut)
    }
}

impl Link for VirtualUicc {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.exchange_in_memory(command)
    }

    fn reset_when_released(&mut self) {
        // Who holds the card itself decides when it is reset.
    }
}

/// A command taken apart.
struct Request<'a> {
    number: u8,
    ins: u8,
    p1: u8,
    p2: u8,
    data: &'a [u8],
    /// As it was sent; none in cases 1 and 3, and on T=0 in case 4.
    le: Option<u8>,
}

/// Data and Le of what follows P2; none where the lengths do not agree or are extended.
fn split(body: &[u8]) -> Option<(&[u8], Option<u8>)> {
    let [first, rest @ ..] = body else { return Some((&[], None)) };
    if rest.is_empty() {
        return Some((&[], Some(*first)));
    }
    let lc = usize::from(*first);
    match rest.split_at_checked(lc)? {
        (data, []) if lc > 0 => Some((data, None)),
        (data, [le]) if lc > 0 => Some((data, Some(*le))),
        _ => None,
    }
}

/// 61xx for this many bytes; 6100 means 256 or more.
fn more(count: usize) -> StatusWord {
    StatusWord(0x6100 | u16::from(u8::try_from(count).unwrap_or(0)))
}
