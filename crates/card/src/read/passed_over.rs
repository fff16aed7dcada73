//! What a card holds beside the message that is taken.

use std::fmt;

use crate::error::{CardError, CardErrorKind, Place};

/// An object or a directory of the card that did not add to the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Where it is.
    pub place: Place,
    /// Why it was passed over and what to do about it. Holds no secret.
    pub detail: String,
    /// What kind of reason it was.
    pub cause: Cause,
}

/// Why something was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is damaged, or being written just now.
    Damaged,
    /// It could not be read: it may have held more.
    Unread,
    /// It was read, and there is nothing in it to be used: of DM 1.x, refused since it breaks a rule, or named before.
    Unused,
}

impl From<CardError> for PassedOver {
    fn from(error: CardError) -> Self {
        let cause = match error.kind {
            CardErrorKind::Malformed => Cause::Damaged,
            CardErrorKind::HoldsDm1x => Cause::Unused,
            CardErrorKind::NoCard
            | CardErrorKind::NoPkcs15
            | CardErrorKind::NotAllowed
            | CardErrorKind::NoDmObject
            | CardErrorKind::NoLogicalChannel
            | CardErrorKind::Io
            | CardErrorKind::Removed
            | CardErrorKind::PinNeeded
            | CardErrorKind::PinRefused
            | CardErrorKind::Timeout => Cause::Unread,
        };
        Self { place: error.place, detail: error.detail, cause }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}
