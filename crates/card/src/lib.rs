//! The Bootstrap Message on a smartcard: reading it, making cards that hold one, and a UICC in memory.
//!
//! Without features nothing here opens a file or a socket, reads a clock or starts a thread; time comes in as a
//! function. Each feature owns one module under [`link`], the only places that touch the world.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`apdu`] | commands, responses, status words |
//! | [`link`] | the ways to a card |
//! | [`mod@file`], [`pkcs15`] | what the files of a card hold |
//! | [`mod@read`] | reading the Bootstrap Message from a card |
//! | [`inspect`] | explaining a card to people |
//! | [`image`] | a card as a value and as a JSON file |
//! | [`make`], [`secrets`] | making a card from a message, and what must not be readable on it |
//! | [`personalise`] | writing a message to a card that is there already, and scripts that do |
//! | [`virtual_uicc`] | a card in memory that answers commands |
//! | [`virtual_modem`] | a modem in memory around such a card |
//!
//! What is built: spec 2.1 (the first method), 2.2, 2.3, and docs/card-files.md but for AUTHENTICATE.

pub mod apdu;
mod channel;
mod error;
pub mod file;
pub mod hex;
pub mod image;
pub mod inspect;
pub mod link;
pub mod make;
pub mod personalise;
pub mod pkcs15;
pub mod read;
pub mod secrets;
pub mod virtual_modem;
pub mod virtual_uicc;

pub use channel::{Card, Channel, Counts, Purpose};
pub use error::{CardError, CardErrorKind, Place};
pub use image::CardImage;
pub use link::{Link, LinkError};
pub use read::{CardReading, Cause, PassedOver, ReadRequest, RefusedPin, Shortcuts, SimFacts, read, which_card};
pub use virtual_modem::VirtualModem;
pub use virtual_uicc::VirtualUicc;
