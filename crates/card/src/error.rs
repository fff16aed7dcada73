//! Why the Bootstrap Message could not be read: what, where, and what to do.

use omadm_core::reason::Reason;
use std::fmt;

use crate::apdu::StatusWord;
use crate::link::LinkError;

/// What kind of failure it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CardErrorKind {
    /// No card, or no way to one.
    NoCard,
    /// The card has no PKCS#15 application.
    NoPkcs15,
    /// The card may not configure the device; beyond its identity it was not read.
    NotAllowed,
    /// There is no bootstrap object, or its file is not there.
    NoDmObject,
    /// The object holds a message of DM 1.x.
    HoldsDm1x,
    /// No logical channel on a link whose basic channel is not ours.
    NoLogicalChannel,
    /// The card did not answer as it should.
    Io,
    /// The card was removed, reset or replaced while it was read.
    Removed,
    /// The object is behind a PIN that is not known here, or that cannot be tried without risk.
    PinNeeded,
    /// The PIN was refused, now or earlier, or is blocked.
    PinRefused,
    /// A structure or the message is damaged.
    Malformed,
    /// The whole reading took too long.
    Timeout,
}

/// Where on the card it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The reader, modem or socket.
    Link,
    /// Opening or closing a logical channel.
    Channel,
    /// EF(ICCID).
    Iccid,
    /// EF(DIR).
    Dir,
    /// The PKCS#15 application itself.
    Pkcs15,
    /// EF(ODF).
    Odf,
    /// A data object directory file, with its file id.
    Dodf(u16),
    /// A PIN directory file, with its file id.
    Aodf(u16),
    /// VERIFY PIN, with its reference.
    Pin(u8),
    /// The file of the Bootstrap Message, with its file id.
    Message(u16),
    /// The USIM application or a file in it.
    Usim,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("the link to the card"),
            Self::Channel => f.write_str("the logical channel"),
            Self::Iccid => f.write_str("EF(ICCID)"),
            Self::Dir => f.write_str("EF(DIR)"),
            Self::Pkcs15 => f.write_str("the PKCS#15 application"),
            Self::Odf => f.write_str("EF(ODF) 5031"),
            Self::Dodf(id) => write!(f, "EF(DODF) {id:04X}"),
            Self::Aodf(id) => write!(f, "EF(AODF) {id:04X}"),
            Self::Pin(reference) => write!(f, "PIN {reference:02X}"),
            Self::Message(id) => write!(f, "EF(DM_Bootstrap) {id:04X}"),
            Self::Usim => f.write_str("the USIM"),
        }
    }
}

/// Why a card gave no Bootstrap Message. Displayed as one sentence for people, with advice where there is some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}")]
pub struct CardError {
    /// What kind of failure.
    pub kind: CardErrorKind,
    /// Where.
    pub place: Place,
    /// What was found there and what to do about it. Holds no secret and nothing of the message.
    pub detail: String,
}

impl CardError {
    pub(crate) fn new(kind: CardErrorKind, place: Place, detail: impl Into<String>) -> Self {
        Self { kind, place, detail: detail.into() }
    }

    pub(crate) fn malformed(place: Place, detail: impl Into<String>) -> Self {
        Self::new(CardErrorKind::Malformed, place, detail)
    }

    pub(crate) fn status(place: Place, what: &str, status: StatusWord) -> Self {
        let advice = status.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        Self::new(CardErrorKind::Io, place, format!("{what} was answered {status}{advice}"))
    }

    /// The stable code that is recorded with the attempt.
    pub fn reason(&self) -> Reason {
        match self.kind {
            CardErrorKind::NoCard => Reason::NoCard,
            CardErrorKind::NoPkcs15 => Reason::NoPkcs15,
            CardErrorKind::NotAllowed => Reason::CardNotAllowed,
            CardErrorKind::NoDmObject => Reason::NoDmObject,
            CardErrorKind::HoldsDm1x => Reason::CardHoldsDm1x,
            CardErrorKind::NoLogicalChannel => Reason::NoLogicalChannel,
            CardErrorKind::Io => Reason::CardIo,
            CardErrorKind::Removed => Reason::CardRemoved,
            CardErrorKind::PinNeeded => Reason::PinNeeded,
            CardErrorKind::PinRefused => Reason::PinRefused,
            CardErrorKind::Malformed => Reason::MalformedMessage,
            CardErrorKind::Timeout => Reason::Timeout,
        }
    }

    /// Whether the card itself says that it has no message, as opposed to one that could not be read (spec 2.2).
    pub fn proves_absence(&self) -> bool {
        match self.kind {
            CardErrorKind::NoPkcs15 | CardErrorKind::NoDmObject | CardErrorKind::HoldsDm1x => true,
            CardErrorKind::NoCard
            | CardErrorKind::NoLogicalChannel
            | CardErrorKind::Io
            | CardErrorKind::Removed
            | CardErrorKind::PinNeeded
            | CardErrorKind::PinRefused
            | CardErrorKind::Malformed
            | CardErrorKind::NotAllowed
            | CardErrorKind::Timeout => false,
        }
    }
}

impl From<LinkError> for CardError {
    fn from(error: LinkError) -> Self {
        let kind = match error {
            LinkError::NoCard(_) => CardErrorKind::NoCard,
            LinkError::Removed(_) => CardErrorKind::Removed,
            LinkError::Timeout(_) => CardErrorKind::Timeout,
            LinkError::Io(_) => CardErrorKind::Io,
        };
        Self::new(kind, Place::Link, error.to_string())
    }
}
