//! Methods, outcomes, reason codes, and the record of an attempt: the words that people and scripts rely on.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::time::Timestamp;

/// A way to obtain the Bootstrap Message (spec 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The message on the connected card.
    Smartcard,
    /// The message that the maker put into the device.
    Factory,
    /// The message asked of a DM Bootstrap Server.
    BootstrapServer,
}

impl Method {
    /// The order in which the methods are tried (spec 2.1).
    pub const ORDER: [Self; 3] = [Self::Smartcard, Self::Factory, Self::BootstrapServer];

    /// The word for this method.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smartcard => "smartcard",
            Self::Factory => "factory",
            Self::BootstrapServer => "bootstrap-server",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The message was installed.
    Installed,
    /// The message holds what is installed already.
    Unchanged,
    /// This method has nothing for the device.
    None,
    /// Something went wrong.
    Failed,
    /// This method was not tried.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Unchanged => "unchanged",
            Self::None => "none",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// Why an attempt ended as it did: a stable code for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
            /// An HTTP answer that is no Bootstrap Message: `http-<status>`.
            Http(u16),
        }

        impl Reason {
            /// Every reason but the HTTP ones.
            pub const FIXED: &'static [Self] = &[$(Self::$name),+];
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($word),)+
                    Self::Http(status) => write!(f, "http-{status:03}"),
                }
            }
        }

        impl std::str::FromStr for Reason {
            type Err = UnknownReason;
            fn from_str(word: &str) -> Result<Self, UnknownReason> {
                match word {
                    $($word => Ok(Self::$name),)+
                    _ => word
                        .strip_prefix("http-")
                        .filter(|digits| digits.len() == 3)
                        .and_then(|digits| digits.parse().ok())
                        .map(Self::Http)
                        .ok_or(UnknownReason),
                }
            }
        }
    };
}

reasons! {
    /// No card in the reader or modem.
    NoCard = "no-card",
    /// The card's ICCID is not among those that may configure this device.
    CardNotAllowed = "card-not-allowed",
    /// The card has no PKCS#15 application.
    NoPkcs15 = "no-pkcs15",
    /// The card has no OMA DM bootstrap object.
    NoDmObject = "no-dm-object",
    /// The bootstrap object holds a message of DM 1.x.
    CardHoldsDm1x = "card-holds-dm1x",
    /// The modem gave no logical channel, and channel 0 is its own.
    NoLogicalChannel = "no-logical-channel",
    /// The card, its reader or its modem did not answer as it should.
    CardIo = "card-io",
    /// The card was taken out, or another one put in, while it was read.
    CardRemoved = "card-removed",
    /// The object is behind a PIN that is not known here.
    PinNeeded = "pin-needed",
    /// The card refused the PIN, now or earlier; it is not sent again.
    PinRefused = "pin-refused",
    /// The bytes are no message: damaged, truncated, not JSON.
    MalformedMessage = "malformed-message",
    /// The message breaks a rule of the Bootstrap Message.
    InvalidMessage = "invalid-message",
    /// The message names a DM Server that another source installed.
    SrvIdTaken = "srv-id-taken",
    /// The factory file is not there.
    NoFactoryFile = "no-factory-file",
    /// This method is not configured.
    NotConfigured = "not-configured",
    /// A usable account is installed.
    NotNeeded = "not-needed",
    /// The SIM was not ready in time.
    SimNotReady = "sim-not-ready",
    /// No answer within the time limit.
    Timeout = "timeout",
    /// No connection.
    Connect = "connect",
    /// The peer's certificate or the TLS handshake was refused.
    Tls = "tls",
    /// A certificate is refused because of its dates; the device's clock may be wrong.
    Clock = "clock",
    /// The state could not be read or written.
    Storage = "storage",
}

/// A word that is no reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reason code")]
pub struct UnknownReason;

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

/// What was tried, when, how it ended and why (spec 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The method that was tried.
    pub method: Method,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for programs; absent where the message was installed.
    pub reason: Option<Reason>,
    /// Why, for people: one sentence.
    pub message: String,
    /// When it ended.
    pub at: Timestamp,
}

/// The longest sentence that is recorded, in characters.
const MAX_SENTENCE: usize = 500;

/// A sentence for a record that people read. It may quote what a peer, a card or a file says, so it is cut where it is
/// too long, and control characters become spaces.
pub fn sentence(text: &str) -> String {
    let plain = |one: char| if one.is_control() { ' ' } else { one };
    let mut sentence: String = text.chars().take(MAX_SENTENCE).map(plain).collect();
    if text.chars().nth(MAX_SENTENCE).is_some() {
        sentence.push('…');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_short_and_plain() {
        assert_eq!(sentence("all is well, é"), "all is well, é");
        assert_eq!(sentence("one\ntwo\x1b[31m"), "one two [31m");
        assert_eq!(sentence("\u{85}"), " ");
        assert_eq!(sentence(&"x".repeat(1 << 20)).chars().count(), MAX_SENTENCE + 1);
    }

    #[test]
    fn every_reason_is_read_back_from_its_word() {
        for reason in Reason::FIXED.iter().copied().chain([Reason::Http(204), Reason::Http(7)]) {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        for word in ["", "http-", "http-20", "http-2040", "http-abc", "No-Card"] {
            assert_eq!(word.parse::<Reason>(), Err(UnknownReason), "{word}");
        }
    }
}
