//! The state file: one line that says what it is, then JSON; replaced as a whole.
//!
//! ```text
//! omadm-state 1 <SHA-256 of "omadm-state 1\n" and the JSON, hex>
//! {...}
//! ```
//!
//! Later versions keep this first line, so that an older program knows a newer state from a damaged one.
//!
//! A device may be rolled back to its previous program at any time and must not lose its accounts by that. Hence the rules
//! for every change of what is written:
//!
//! - A new member has a default, so that an older file is read. An older program ignores it, and drops it when it writes.
//! - No member is removed, renamed or given another meaning, and no new word is written where the previous version reads
//!   one of a list (a reason, an outcome, a scheme of credentials): it would take the whole file for damaged.
//! - A version that breaks one of these gets the next number in the first line, and only after a version that reads that
//!   number was in the field.
//! - Files that each version wrote are kept in `tests/samples` of this crate; `omadm_sim::previous` reads as the previous
//!   version does.

use super::storage::Storage;
use omadm_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::io;
use zeroize::Zeroizing;

/// The version that is written, and the only one so far that is read.
pub const VERSION: u32 = 1;

/// The largest state file, in bytes.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// How many damaged files are kept beside the state file, the newest ones.
const DAMAGED_KEPT: usize = 3;

/// The state file of one client.
pub struct StateFile {
    storage: Box<dyn Storage>,
    name: String,
    replaced: u64,
}

/// What was found in place of the state.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// No file: a device that never had a state.
    Fresh,
    /// The JSON.
    Body(Zeroizing<Vec<u8>>),
    /// The file is damaged.
    Damaged(Damage),
}

/// How a state file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// No state file is so large.
    #[error("it is larger than {MAX_SIZE} bytes")]
    Size,
    /// The first line is not that of a state file.
    #[error("its first line is not that of a state file")]
    Header,
    /// The checksum does not fit.
    #[error("its checksum does not fit its content")]
    Checksum,
    /// The JSON is not that of a state.
    #[error("its content is not a state")]
    Content,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Storage failed.
    #[error("cannot {action} the state file: {source}")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A newer program wrote it. It is left as it is.
    #[error(
        "the state file has version {found}; this program knows version {VERSION}: use the newer program, or `reset`"
    )]
    Newer {
        /// The version in the file.
        found: u32,
    },
    /// It belongs to another profile than the one of this program. It is left as it is.
    #[error(
        "the state file is of the profile {found}; this program knows {}: use another program, or `reset`",
        omadm_core::PROFILE
    )]
    OtherProfile {
        /// The profile in the file.
        found: String,
    },
    /// The state cannot be written as JSON.
    #[error("the state cannot be written as JSON: {0}")]
    Encode(String),
    /// Something else stands in the file's place and is left as it is.
    #[error("{0}")]
    Kept(String),
    /// The state is too large to be written.
    #[error("the state would have {size} bytes; at most {MAX_SIZE} are written")]
    TooLarge {
        /// How many bytes it would have.
        size: usize,
    },
}

impl StateFile {
    /// The file of that name in this storage.
    pub fn new(storage: Box<dyn Storage>, name: &str) -> Self {
        Self { storage, name: name.to_owned(), replaced: 0 }
    }

    /// Reads it.
    pub fn load(&self) -> Result<Loaded, StateError> {
        let content = match self.storage.read(&self.name, MAX_SIZE + 256) {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(Loaded::Fresh),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(Loaded::Damaged(Damage::Size)),
            Err(source) => return Err(StateError::Storage { action: "read", source }),
        };
        let content = Zeroizing::new(content);
        let Some((version, checksum, body)) = split(&content) else { return Ok(Loaded::Damaged(Damage::Header)) };
        if checksum != hex(version, body) {
            return Ok(Loaded::Damaged(Damage::Checksum));
        }
        match version {
            VERSION => Ok(Loaded::Body(Zeroizing::new(body.to_vec()))),
            0 => Ok(Loaded::Damaged(Damage::Header)),
            found => Err(StateError::Newer { found }),
        }
    }

    /// Replaces it: after an error or a power cut the old content or the new one is there, and nothing else.
    pub fn replace(&mut self, body: &[u8]) -> Result<(), StateError> {
        if body.len() as u64 > MAX_SIZE {
            return Err(StateError::TooLarge { size: body.len() });
        }
        let mut content = Zeroizing::new(format!("omadm-state {VERSION} {}\n", hex(VERSION, body)).into_bytes());
        content.extend_from_slice(body);
        let new = format!("{}.new", self.name);
        let storage = &mut self.storage;
        storage.write(&new, &content).map_err(|source| StateError::Storage { action: "write", source })?;
        storage.sync(&new).map_err(|source| StateError::Storage { action: "sync", source })?;
        storage.rename(&new, &self.name).map_err(|source| StateError::Storage { action: "replace", source })?;
        storage.sync_folder().map_err(|source| StateError::Storage { action: "sync the folder of", source })?;
        self.replaced += 1;
        Ok(())
    }

    /// Puts the file aside as `<name>.damaged-<seconds>`, durably, and returns that name.
    pub fn set_aside(&mut self, now: Timestamp) -> Result<String, StateError> {
        let fail = |source| StateError::Storage { action: "set aside", source };
        let prefix = format!("{}.damaged-", self.name);
        let mut kept = self.storage.list().map_err(fail)?;
        kept.retain(|name| name.starts_with(&prefix));
        let newest = kept.last().and_then(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
        // After the others also where the clock went back.
        let number = newest.map_or(now.0, |newest| now.0.max(newest.saturating_add(1)));
        let aside = format!("{prefix}{number:012}");
        self.storage.rename(&self.name, &aside).map_err(fail)?;
        self.storage.sync_folder().map_err(fail)?;
        for old in kept.iter().rev().skip(DAMAGED_KEPT - 1) {
            // What cannot be removed is only one too many.
            let _ = self.storage.remove(old);
        }
        Ok(aside)
    }

    /// Makes sure that what was put aside stays there, also if the program that did it came no further.
    pub fn settle_what_was_set_aside(&mut self) -> Result<(), StateError> {
        let fail = |source| StateError::Storage { action: "sync the folder of", source };
        let prefix = format!("{}.damaged-", self.name);
        if self.storage.list().map_err(fail)?.iter().any(|name| name.starts_with(&prefix)) {
            self.storage.sync_folder().map_err(fail)?;
        }
        Ok(())
    }

    /// Removes what was put aside, and what a write that was cut short left, durably.
    pub fn forget_what_was_set_aside(&mut self) -> Result<(), StateError> {
        let fail = |source| StateError::Storage { action: "remove what was put aside of", source };
        let (prefix, new) = (format!("{}.damaged-", self.name), format!("{}.new", self.name));
        let names = match self.storage.list() {
            // Where there is no folder nothing was put aside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(fail)?,
        };
        let mut removed = false;
        for name in names.iter().filter(|name| name.starts_with(&prefix) || **name == new) {
            self.storage.remove(name).map_err(fail)?;
            removed = true;
        }
        if removed { self.storage.sync_folder().map_err(fail) } else { Ok(()) }
    }

    /// How often it was replaced since the program started.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }
}

/// Version, checksum and body of a state file.
fn split(content: &[u8]) -> Option<(u32, &str, &[u8])> {
    let end = content.iter().take(256).position(|byte| *byte == b'\n')?;
    let (line, rest) = content.split_at(end);
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    if words.next()? != "omadm-state" {
        return None;
    }
    let version = words.next()?;
    let checksum = words.next()?;
    let plain = !version.starts_with(['0', '+']) && words.next().is_none();
    plain.then_some((version.parse().ok()?, checksum, rest.get(1..)?))
}

/// The checksum covers the version, so that a damaged version is not taken for a newer one.
fn hex(version: u32, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(format!("omadm-state {version}\n")).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
