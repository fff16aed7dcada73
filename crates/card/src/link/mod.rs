//! Ways to a card. The trait is all that the rest of the crate knows; each feature adds one way.
//!
//! | feature | module | way |
//! | --- | --- | --- |
//! | - | [`crate::virtual_uicc`] | a card in memory |
//! | - | [`at`] | a modem, over anything that carries bytes |
//! | `pcsc` | `pcsc` | a reader behind the PC/SC service |
//! | `exec` | `exec` | an executable that speaks JSON lines on its standard input and output |
//! | `pcsc` or `serial` | `automatic` | the first reader or modem with a card |
//! | `serial` | `ports` | which ports look like those of modems |
//! | `serial` | `serial` | a serial port for [`at`], and a virtual modem on a pseudo-terminal |
//! | `vpcd` | `vpcd` | a socket with the framing of the vpcd virtual reader, both ends of it; a private PC/SC service |

use std::time::Duration;

use omadm_core::ids::{Iccid, Mcc, Mnc};

use crate::apdu::{Protocol, StatusWord};

pub mod at;
pub mod atr;
#[cfg(any(feature = "pcsc", feature = "serial"))]
pub mod automatic;
#[cfg(feature = "exec")]
pub mod exec;
pub mod handover;
#[cfg(feature = "pcsc")]
pub mod pcsc;
#[cfg(feature = "serial")]
pub mod ports;
#[cfg(feature = "serial")]
pub mod serial;
#[cfg(feature = "vpcd")]
pub mod vpcd;

/// One card, powered, and a way to it that is held until the value is dropped.
pub trait Link {
    /// How commands travel on this link.
    fn protocol(&self) -> Protocol;

    /// Whether nobody else uses the card while this link is held, so that the basic channel is ours too.
    fn is_exclusive(&self) -> bool;

    /// Sends one command as it is and waits for its response, status word included.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError>;

    /// The card has to be reset when the link is given up: told once a PIN was verified, when the card kept silent, and when a
    /// channel may have stayed open. For links that are ours alone.
    fn reset_when_released(&mut self) {}

    /// Opens a logical channel on which the application with this AID is selected, where the link does both in one step.
    /// What was opened is to be closed with [`Link::close_application`].
    fn open_application(&mut self, _aid: &[u8]) -> Result<Opening, LinkError> {
        Ok(Opening::NotOffered)
    }

    /// Sends one command on a channel that [`Link::open_application`] gave. The channel bits of its CLA are zero; the link
    /// sets them.
    fn transmit_to(&mut self, _application: Handle, _command: &[u8]) -> Result<Vec<u8>, LinkError> {
        Err(LinkError::Io("this link opens no applications".to_owned()))
    }

    /// Closes what [`Link::open_application`] gave. That it cannot be closed is logged only.
    fn close_application(&mut self, _application: Handle) {}

    /// Which card it is, where the link tells that without a channel of ours; `None` where the card has to be asked.
    fn tell_iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
        Ok(None)
    }

    /// What the link tells of the SIM without a channel of ours; `None` where the card has to be asked.
    fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
        Ok(None)
    }

    /// The records of EF(DIR), where the link reads them without a channel of ours; else none. Asked only where an
    /// application cannot be opened by the AID that everybody uses.
    fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        Ok(Vec::new())
    }
}

/// A channel that a link opened; only that link knows what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub u32);

/// What came of opening an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The link does no such thing: MANAGE CHANNEL and SELECT are for the caller.
    NotOffered,
    /// It is selected, on this channel.
    Opened(Handle),
    /// The link does such things, but not this one, now: the status word of the card where the link tells it, and a
    /// sentence. The caller may try MANAGE CHANNEL.
    Refused {
        /// The status word, if it is known.
        status: Option<StatusWord>,
        /// What the link said.
        detail: String,
    },
}

/// What a link tells of the SIM itself: a modem by CPIN, CIMI and CREG, an executable by `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToldSim {
    /// Home network, where it is known (Profile P-26).
    pub network: Option<(Mcc, Mnc)>,
    /// Why the SIM is not ready, a sentence; none where it is (Profile P-24).
    pub not_ready: Option<String>,
}

/// What leads to a link is one.
macro_rules! forward {
    ($to:ty) => {
        impl<L: Link + ?Sized> Link for $to {
            fn protocol(&self) -> Protocol {
                (**self).protocol()
            }
            fn is_exclusive(&self) -> bool {
                (**self).is_exclusive()
            }
            fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
                (**self).transmit(command)
            }
            fn reset_when_released(&mut self) {
                (**self).reset_when_released();
            }
            fn open_application(&mut self, aid: &[u8]) -> Result<Opening, LinkError> {
                (**self).open_application(aid)
            }
            fn transmit_to(&mut self, application: Handle, command: &[u8]) -> Result<Vec<u8>, LinkError> {
                (**self).transmit_to(application, command)
            }
            fn close_application(&mut self, application: Handle) {
                (**self).close_application(application);
            }
            fn tell_iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
                (**self).tell_iccid()
            }
            fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
                (**self).tell_sim()
            }
            fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
                (**self).tell_dir()
            }
        }
    };
}

forward!(&mut L);
forward!(Box<L>);

/// Why a link cannot be had, or why an exchange over it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No reader, or no card in it.
    #[error("no card: {0}")]
    NoCard(String),
    /// The card was taken out or reset while the link was held.
    #[error("the card was removed or reset: {0}")]
    Removed(String),
    /// No answer in time.
    #[error("no answer in time: {0}")]
    Timeout(String),
    /// Reader or service failed.
    #[error("reader or card failed: {0}")]
    Io(String),
}

/// How long a link waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For reader, service or socket, and for a card (`card.wait`).
    pub wait: Duration,
    /// How long an empty slot has to stay empty before it is believed (spec 2.1).
    pub empty: Duration,
    /// For the answer to one command.
    pub command: Duration,
}

impl Default for Patience {
    /// 30 seconds, 2 seconds, 10 seconds.
    fn default() -> Self {
        Self { wait: Duration::from_secs(30), empty: Duration::from_secs(2), command: Duration::from_secs(10) }
    }
}
