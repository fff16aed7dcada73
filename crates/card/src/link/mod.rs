//! Ways to a card. The trait is all that the rest of the crate knows; each feature adds one way.
//!
//! | feature | module | way |
//! | --- | --- | --- |
//! | - | [`crate::virtual_uicc`] | a card in memory |
//! | `pcsc` | `pcsc` | a reader behind the PC/SC service |
//! | `vpcd` | `vpcd` | a socket with the framing of the vpcd virtual reader, both ends of it; a private PC/SC service |

use std::time::Duration;

use crate::apdu::Protocol;

pub mod atr;
pub mod handover;
#[cfg(feature = "pcsc")]
pub mod pcsc;
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

    /// Told once a PIN was verified: the card has to be reset when the link is given up.
    fn reset_when_released(&mut self) {}
}

impl<L: Link + ?Sized> Link for &mut L {
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
}

impl<L: Link + ?Sized> Link for Box<L> {
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
}

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
