//! The manifest of a batch: a line for each card that is made, written when its file is durable. It is what an
//! interrupted batch goes on from.

use omadm_core::ids::Iccid;
use omadm_core::time::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::args::MadeAs;
use crate::failure::Failure;

/// The version of the format.
const FORMAT: &str = "omadm-cards-1";
/// The most bytes of a line.
const MAX_LINE: u64 = 64 * 1024;

/// The first line: what the batch is. Another one cannot go on where this one stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: String,
    #[serde(rename = "as")]
    kind: MadeAs,
    /// The server's profile, where there is one.
    profile: Option<String>,
    /// SHA-256 of all that makes the cards beside the rows: message, other objects, options.
    settings_sha256: String,
    /// Which file of PINs belongs to it, where PINs are made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pins: Option<String>,
}

/// A line for a card. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) iccid: Iccid,
    /// The file, from the folder of the batch on.
    pub(super) file: String,
    /// SHA-256 of the file.
    pub(super) sha256: String,
    /// SHA-256 of the Bootstrap Message.
    pub(super) message_sha256: String,
    pub(super) profile: Option<String>,
    /// Whom the credentials in the message name: a user, or the identity of a pre-shared key.
    pub(super) users: Vec<String>,
    /// Whether the message lies behind a PIN.
    pub(super) pin: bool,
    /// The line in the CSV file.
    pub(super) line: u64,
    pub(super) at: Timestamp,
}

/// The file of a manifest, which this process alone has.
pub(super) struct Locked {
    file: File,
    path: PathBuf,
}

/// A manifest that this process alone writes.
pub(super) struct Manifest {
    file: File,
    path: PathBuf,
}

impl Head {
    pub(super) fn new(kind: MadeAs, profile: Option<String>, settings_sha256: String, pins: Option<String>) -> Self {
        Self { format: FORMAT.to_owned(), kind, profile, settings_sha256, pins }
    }
}

impl Locked {
    /// Takes the file, or makes it.
    ///
    /// # Errors
    /// If another process has it.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).clone();
        let file = options.open(&path).map_err(|error| Failure::unwritable(&path, &error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Failure::failed(format!("{}: another omadm is working on this batch", path.display())))?;
        Ok(Self { file, path })
    }

    /// Whether the batch was begun: a part of its first line does not count.
    pub(super) fn is_begun(&self) -> Result<bool, Failure> {
        let failed = |error| Failure::unwritable(&self.path, &error);
        let mut line = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        BufReader::new(file.take(MAX_LINE)).read_until(b'\n', &mut line).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(line.last() == Some(&b'\n') || line.len() as u64 == MAX_LINE)
    }
}

impl Manifest {
    /// Goes through the manifest of this batch and tells of the cards that it lists; a new one begins with the head. What was
    /// cut off at its end is removed.
    pub(super) fn open(locked: Locked, head: &Head, mut told: impl FnMut(&Iccid)) -> Result<Self, Failure> {
        let Locked { file, path } = locked;
        let failed = |error| Failure::unwritable(&path, &error);
        let mut reader = BufReader::new(&file);
        let mut whole = 0;
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let count = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).map_err(failed)?;
            if line.last() != Some(&b'\n') {
                if count as u64 == MAX_LINE {
                    return Err(Self::damaged(&path, number, "the line is too long"));
                }
                break;
            }
            let wrong = |error: serde_json::Error| Self::damaged(&path, number, &error.to_string());
            if number == 1 {
                let found: Head = serde_json::from_slice(&line).map_err(wrong)?;
                if (Head { pins: head.pins.clone(), ..found.clone() }) == *head && found.pins != head.pins {
                    return Err(Failure::usage(format!("{} is of a batch with another file of PINs", path.display()))
                        .advise(
                            "name that file by --make-pins; if it is lost, make the cards anew in another folder",
                        ));
                }
                if found != *head {
                    return Err(Failure::usage(format!("{} is of a batch with other settings", path.display()))
                        .advise("give the same message or profile and options to go on with it, or another folder"));
                }
            } else {
                let entry: Entry = serde_json::from_slice(&line).map_err(wrong)?;
                told(&entry.iccid);
            }
            whole += count as u64;
        }
        drop(reader);
        file.set_len(whole).map_err(failed)?;
        let mut manifest = Self { file, path: path.clone() };
        manifest.file.seek(SeekFrom::End(0)).map_err(|error| Failure::unwritable(&path, &error))?;
        if whole == 0 {
            manifest.append(std::slice::from_ref(head))?;
        }
        Ok(manifest)
    }

    /// Adds lines and makes them durable, all of them or none that counts.
    pub(super) fn append<T: Serialize>(&mut self, lines: &[T]) -> Result<(), Failure> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)
                .map_err(|error| Failure::failed(format!("{}: {error}", self.path.display())))?;
            text.push(b'\n');
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|error| Failure::unwritable(&self.path, &error))
    }

    fn damaged(path: &Path, line: u64, why: &str) -> Failure {
        Failure::usage(format!("{} line {line} is no line of a manifest: {why}", path.display()))
            .advise("use another folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        Entry {
            iccid: format!("8901{number:015}").parse().unwrap(),
            file: format!("cards/8901{number:015}.json"),
            sha256: "00".repeat(32),
            message_sha256: "11".repeat(32),
            profile: None,
            users: vec!["meter".to_owned()],
            pin: true,
            line: number,
            at: Timestamp(1_800_000_000),
        }
    }

    fn head(settings: &str) -> Head {
        Head::new(MadeAs::Image, None, settings.to_owned(), None)
    }

    fn listed(path: &Path) -> Vec<String> {
        let mut cards = Vec::new();
        Manifest::open(Locked::open(path.to_owned()).unwrap(), &head("a"), |iccid| cards.push(iccid.to_string()))
            .unwrap();
        cards
    }

    #[test]
    fn a_manifest_that_was_cut_off_anywhere_loses_the_cut_line_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.jsonl");
        let mut manifest = Manifest::open(Locked::open(path.clone()).unwrap(), &head("a"), |_| {}).unwrap();
        manifest.append(&[entry(1), entry(2)]).unwrap();
        drop(manifest);
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (1..=whole.len()).filter(|end| whole[end - 1] == b'\n').collect();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let left = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            assert_eq!(listed(&path).len(), left, "cut at {cut}");
            let mut manifest = Manifest::open(Locked::open(path.clone()).unwrap(), &head("a"), |_| {}).unwrap();
            manifest.append(&[entry(9)]).unwrap();
            drop(manifest);
            assert_eq!(listed(&path).len(), left + 1, "and goes on, cut at {cut}");
        }
    }

    #[test]
    fn another_batch_and_another_process_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.jsonl");
        let first = Manifest::open(Locked::open(path.clone()).unwrap(), &head("a"), |_| {}).unwrap();
        let busy = Locked::open(path.clone()).err().unwrap();
        assert!(busy.message.contains("another omadm"), "{busy}");
        drop(first);
        let other = Manifest::open(Locked::open(path.clone()).unwrap(), &head("b"), |_| {}).err().unwrap();
        assert!(other.message.contains("other settings"), "{other}");
        std::fs::write(&path, "no json\n").unwrap();
        let damaged = Manifest::open(Locked::open(path).unwrap(), &head("a"), |_| {}).err().unwrap();
        assert!(damaged.message.contains("line 1"), "{damaged}");
    }
}
