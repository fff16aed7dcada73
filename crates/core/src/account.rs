//! DM Accounts: what a DMAcc says as a typed value, and the book of those that are installed.

mod book;
mod credential;
mod dmacc;

pub use book::{AccountBook, Change, InstalledAccount, Judgement, Refusals, Source, SrvIdTaken, Standing};
pub use credential::{Credential, CredentialError};
pub use dmacc::{Bootstrap, DmAccError, DmAccount, Notification, SecMode};

/// The MOID of the DM Account MO.
pub const DMACC_MOID: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
