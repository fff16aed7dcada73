//! What the sequence makes of a card: which may configure the device, and which accounts it suspends (spec 2.2).

use super::Sequence;
use crate::account::{AccountBook, Judgement};
use crate::ids::Iccid;
use crate::reason::{Outcome, Reason};

/// Which cards may configure the device: `card.allow`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CardAllow {
    /// Any card while no account is usable, afterwards only those that accounts came from.
    #[default]
    Unset,
    /// No card.
    None,
    /// Any card.
    Any,
    /// Cards whose ICCID begins with one of these.
    Prefixes(Vec<String>),
}

impl CardAllow {
    /// Whether the card with this ICCID may configure the device that has these accounts.
    pub fn allows(&self, iccid: &str, book: &AccountBook, by: Judgement) -> bool {
        match self {
            Self::Unset => !book.has_usable(by) || book.came_from_card(iccid),
            Self::None => false,
            Self::Any => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| iccid.starts_with(prefix)),
        }
    }
}

/// What reading the card gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardReport {
    /// The card's identifier, where it could be read.
    pub iccid: Option<Iccid>,
    /// It is proven that no card is there, not merely that none answered.
    pub absent: bool,
    /// Whether the message lies behind a PIN; otherwise everybody who holds the card can read it (Profile P-36).
    pub behind_pin: bool,
    /// The Bootstrap Message, or why there is none.
    pub message: Result<Vec<u8>, (Reason, String)>,
}

/// How an attempt that gave no message ended: the card has nothing for us, or something went wrong.
pub(super) fn outcome_of(reason: Reason) -> Outcome {
    match reason {
        Reason::NoCard
        | Reason::CardNotAllowed
        | Reason::NoPkcs15
        | Reason::NoDmObject
        | Reason::CardHoldsDm1x
        | Reason::NotConfigured => Outcome::None,
        Reason::NoLogicalChannel
        | Reason::CardIo
        | Reason::CardRemoved
        | Reason::PinNeeded
        | Reason::PinRefused
        | Reason::MalformedMessage
        | Reason::InvalidMessage
        | Reason::SrvIdTaken
        | Reason::NoFactoryFile
        | Reason::NotNeeded
        | Reason::SimNotReady
        | Reason::Timeout
        | Reason::Connect
        | Reason::Tls
        | Reason::Clock
        | Reason::Storage
        | Reason::Http(_) => Outcome::Failed,
    }
}

impl Sequence {
    /// Suspends the accounts of cards that are proven gone: no card, another ICCID, or the object gone from the card; a
    /// card that may not configure the device counts as absent. A card that could not be read changes nothing.
    pub(super) fn note_absent_cards(&mut self, report: &CardReport, by: Judgement) {
        let object_gone =
            matches!(report.message, Err((Reason::NoPkcs15 | Reason::NoDmObject | Reason::CardHoldsDm1x, _)));
        match &report.iccid {
            Some(iccid) => {
                let rejected = !self.config.card_allow.allows(iccid.as_str(), &self.book, by);
                self.book.suspend(|origin| origin != iccid.as_str() || object_gone || rejected)
            }
            None => self.book.suspend(|_| report.absent),
        };
    }
}
