//! DM Accounts: what a DMAcc says as a typed value, and the book of those that are installed.

mod book;
mod credential;
mod dmacc;
mod place;
mod removal;

pub use book::{AccountBook, Change, InstalledAccount, Judgement, Offered, Refusals, Source, SrvIdTaken, Standing};
pub use credential::{Credential, CredentialError};
pub use dmacc::{Bootstrap, DmAccount, Notification, SecMode};
pub use place::NodeError;
pub(crate) use place::Place;
pub use removal::NothingToAllow;

/// The MOID of the DM Account MO.
pub const DMACC_MOID: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
