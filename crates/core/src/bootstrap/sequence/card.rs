//! What the sequence makes of a card: which may configure the device, and which accounts it suspends (spec 2.2).

use super::Sequence;
use crate::account::{AccountBook, Judgement};
use crate::ids::Iccid;
use crate::reason::{Method, Outcome, Reason, sentence};

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

/// What a card without a readable ICCID is known as.
pub const UNKNOWN_CARD: &str = "unknown";

/// The cards that may configure a device as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Admitted {
    /// Every card.
    #[default]
    Any,
    /// Cards whose ICCID begins with one of these.
    Prefixes(Vec<String>),
    /// The cards with these ICCIDs.
    Exactly(Vec<String>),
}

impl Admitted {
    /// Whether the card with this ICCID, or one that does not tell, is among them.
    pub fn covers(&self, iccid: Option<&Iccid>) -> bool {
        let iccid = iccid.map_or(UNKNOWN_CARD, Iccid::as_str);
        match self {
            Self::Any => true,
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| iccid.starts_with(prefix)),
            Self::Exactly(iccids) => iccids.iter().any(|one| one == iccid),
        }
    }
}

impl CardAllow {
    /// The cards that may configure the device that has these accounts.
    pub fn admitted(&self, book: &AccountBook, by: Judgement) -> Admitted {
        match self {
            // Another card in the reader proves that the cards in use are gone: what they brought does not count.
            Self::Unset if !book.has_usable_without_cards(by) => Admitted::Any,
            Self::Unset => Admitted::Exactly(book.cards().map(str::to_owned).collect()),
            Self::None => Admitted::Exactly(Vec::new()),
            Self::Any => Admitted::Any,
            Self::Prefixes(prefixes) => Admitted::Prefixes(prefixes.clone()),
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
    /// What the card holds beside it and could not be used, a sentence each.
    pub passed_over: Vec<String>,
    /// Whether an object of the card could not be read, so that the message is not all that the card has for the device.
    pub partial: bool,
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
    /// Says in the attempt what the card holds beside the message.
    pub(super) fn tell_passed_over(&mut self, passed_over: &[String]) {
        if let Some(attempt) = self.attempts.last_mut().filter(|one| one.method == Method::Smartcard)
            && !passed_over.is_empty()
        {
            attempt.message = sentence(&format!("{}; passed over: {}", attempt.message, passed_over.join("; ")));
        }
    }

    /// Suspends the accounts of cards that are proven gone: no card, another ICCID, or the object gone from the card; a
    /// card that may not configure the device counts as absent. A card that could not be read changes nothing.
    pub(super) fn note_absent_cards(&mut self, report: &CardReport, admitted: &Admitted) {
        let object_gone =
            matches!(report.message, Err((Reason::NoPkcs15 | Reason::NoDmObject | Reason::CardHoldsDm1x, _)));
        match &report.iccid {
            Some(iccid) => {
                let rejected = !admitted.covers(Some(iccid));
                self.book.suspend(|origin| origin != iccid.as_str() || object_gone || rejected)
            }
            None => self.book.suspend(|_| report.absent),
        };
    }
}
