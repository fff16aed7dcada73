//! What an inspection shows, for people and for programs.

use omadm_core::ids::Iccid;
use omadm_core::reason::Reason;
use serde::Serialize;

use super::Problem;
use crate::apdu::Protocol;

/// A card explained. Holds no secret: those of the message are replaced. Text from the card has no characters that do
/// something to a terminal, but for the message itself.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// How it talks.
    pub protocol: Protocol,
    /// Which card it is.
    pub iccid: Option<Iccid>,
    /// Its files, in the order in which a reader comes to them.
    pub files: Vec<FileView>,
    /// The message, or why there is none.
    pub message: MessageView,
    /// Home network as `MCC-MNC`.
    pub network: Option<String>,
    /// What is wrong, the worst first, at most 64.
    pub problems: Vec<Problem>,
}

/// A file of the card.
#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    /// Where it is: `MF`, `PKCS#15` or `USIM`, a slash, and its identifier.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its size in bytes, where the card tells it.
    pub size: Option<usize>,
    /// Its content as hexadecimal text; left out for data objects and the IMSI.
    pub content: Option<String>,
    /// What it says, a line each.
    pub meaning: Vec<String>,
    /// Why it cannot be read or understood.
    pub problem: Option<String>,
}

/// The Bootstrap Message of a card.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageView {
    /// It was read.
    Found {
        /// Its length.
        bytes: usize,
        /// Whether it lies behind a PIN.
        behind_pin: bool,
        /// The message with its secrets replaced; none where it is no JSON within the bounds.
        json: Option<serde_json::Value>,
        /// Where secrets are that everybody can read (Profile P-36).
        public_secrets: Vec<String>,
    },
    /// There is none, or it cannot be read.
    Missing {
        /// The stable code.
        reason: Reason,
        /// A sentence.
        message: String,
    },
}
