//! Why a card was not written.

use crate::apdu::StatusWord;
use crate::error::CardError;
use crate::pkcs15::oid::ObjectId;

/// Why a card was not written, or not wholly: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonaliseError {
    /// It cannot be reached or read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// There is nothing to write into.
    #[error(
        "the card has no PKCS#15 application to write into: {0}; its maker has to create a DF with the AID \
         A000000063504B43532D3135 and an EF(ODF) 5031"
    )]
    NoApplication(String),
    /// Another card than the one that was looked at.
    #[error("another card is in the reader than the one that was looked at; nothing was written")]
    OtherCard,
    /// A secret that everybody could read (Profile P-36).
    #[error(
        "the content holds a secret ({0}) and everybody may read its file; put it behind a PIN, use `aka:`, or allow it \
         with --allow-public-secret"
    )]
    PublicSecret(String),
    /// A directory or an object's file that cannot take what is wanted.
    #[error("{place}: {why}")]
    Place {
        /// The file.
        place: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// An object behind a PIN, of which nobody knows what would be lost.
    #[error(
        "{place}: it lies behind a PIN, and what it holds cannot be seen, perhaps a message of DM 1.x; name the PIN by \
         --pin-file, or write over it by --replace-unseen"
    )]
    Unseen {
        /// The file.
        place: String,
    },
    /// A file that was to lie behind a PIN and does not (Profile P-36).
    #[error(
        "file {file:04X} is to lie behind a PIN, but the card lets it be read without one: the PIN is verified or \
         switched off, or the card does not keep to its access rule{what}"
    )]
    Open {
        /// The file.
        file: u16,
        /// What that means for the content, with what to do.
        what: &'static str,
    },
    /// An object of a size that is not possible.
    #[error("the object {oid} has {size} bytes; 1 to {limit} are possible")]
    Size {
        /// Which object.
        oid: ObjectId,
        /// How many bytes.
        size: usize,
        /// How many are possible.
        limit: usize,
    },
    /// No access rule for a file that has to be created.
    #[error(
        "no access rule of the card lets {readers} read a new file and the administrator {adm:02X} write it; {advice}"
    )]
    NoRule {
        /// Who is to read it.
        readers: &'static str,
        /// Who is to write it: P2 of VERIFY.
        adm: u8,
        /// What to do: another administrator that a rule names, or the rule that is missing.
        advice: String,
    },
    /// A key is needed and none was given.
    #[error("writing needs the ADM key {0:02X}; name its file by --adm-file")]
    KeyNeeded(u8),
    /// The key may not be tried.
    #[error("the ADM key {reference:02X} was not sent: {why}")]
    KeyNotTried {
        /// P2 of VERIFY.
        reference: u8,
        /// Why not.
        why: String,
    },
    /// The key is wrong. It is remembered nowhere.
    #[error(
        "the card refused the ADM key {reference:02X} ({status}); nothing was written. The key was sent once and is \
         remembered nowhere: make sure of the right one before the next run, a card without tries is lost for writing"
    )]
    KeyRefused {
        /// P2 of VERIFY.
        reference: u8,
        /// What the card answered.
        status: StatusWord,
    },
    /// The card refused to do something.
    #[error("{about}: the card answered {status}; {advice}")]
    Refused {
        /// What was to be done.
        about: String,
        /// What the card answered.
        status: StatusWord,
        /// What to do.
        advice: &'static str,
    },
    /// What was read back is not what was written.
    #[error("file {file:04X} was written, but byte {at} reads differently; write the card again, or use another card")]
    Differs {
        /// The file.
        file: u16,
        /// The first byte that differs, from 0.
        at: usize,
    },
}

/// What to do about a command that was refused.
pub(crate) fn advice(status: StatusWord, creates: bool) -> &'static str {
    match (status.sw1(), status.sw2()) {
        (0x69, 0x82) => "the key of another administrator is asked for; name its reference by --adm-ref",
        (0x6A, 0x84) => "the card has no room for it",
        (0x6D | 0x6E, _) | (0x6A, 0x81) if creates => {
            "this card creates no files; have its maker create them, then write again"
        }
        (0x6A, 0x80) if creates => "this card wants other parameters; have its maker create the file, then write again",
        (0x65, 0x81) => "the card's memory fails; use another card",
        (0x67, _) | (0x6B, _) => "the file is smaller than it says",
        _ => "see what the code means in docs/card-files.md",
    }
}
