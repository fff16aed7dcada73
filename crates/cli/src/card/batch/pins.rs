//! PINs that are made up: each durable in their file before a card with it is.

use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use rustix::fs::{FlockOperation, flock};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What the header begins with. The name of a third column, which stays empty, is the identity of the file; files of
/// older versions have none.
const COLUMNS: &str = "iccid,pin";
const ID: &str = "file_";
/// The most bytes of a line: an ICCID, a PIN and what is between.
const MAX_LINE: u64 = 64;
/// Digits of a PIN.
const DIGITS: usize = 8;

/// The file of PINs.
pub(super) struct Pins {
    file: File,
    path: PathBuf,
    /// What tells this file from another; none in those of older versions.
    pub(super) id: Option<String>,
    /// Those of cards that an interrupted run did not come to make.
    left_over: HashMap<Iccid, Secret>,
}

impl Pins {
    /// Opens the file and keeps others from it. Begins one where it may; else there is none.
    pub(super) fn open(path: &Path, may_begin: bool) -> Result<Option<Self>, Failure> {
        let failed = |error| Failure::unwritable(path, &error);
        let options = OpenOptions::new().read(true).append(true).create(may_begin).mode(0o600).clone();
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !may_begin => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            let name = path.display();
            return Err(Failure::usage(format!("{name} is to hold PINs and others may read it"))
                .advise(format!("chmod 600 {name}, or name another file")));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Failure::failed(format!("{}: another omadm is adding PINs to this file", path.display())))?;
        let mut header = String::new();
        BufReader::new(&file).take(MAX_LINE).read_line(&mut header).map_err(failed)?;
        let is_new = is_beginning(&header);
        if is_new && !may_begin {
            return Ok(None);
        }
        let mut pins = Self { file, path: path.to_owned(), id: None, left_over: HashMap::new() };
        if is_new {
            // What was cut off goes.
            pins.file.set_len(0).map_err(failed)?;
            let id = new_id()?;
            pins.write(&format!("{COLUMNS},{id}\n"))?;
            pins.id = Some(id);
        } else {
            let id = header.trim_end().strip_prefix(COLUMNS).ok_or_else(|| pins.damaged(1))?;
            pins.id = match id.strip_prefix(',') {
                Some(id) if id.starts_with(ID) => Some(id.to_owned()),
                None if id.is_empty() => None,
                Some(_) | None => return Err(pins.damaged(1)),
            };
        }
        Ok(Some(pins))
    }

    /// Reads the PINs of an interrupted run. `is_made` tells whether a card is made, `made` lists those that are.
    ///
    /// # Errors
    /// If a card that is made has no PIN here: it would be lost.
    pub(super) fn take_up(&mut self, is_made: impl Fn(&Iccid) -> bool, made: Vec<Iccid>) -> Result<(), Failure> {
        let path = &self.path;
        let failed = |error| Failure::unwritable(path, &error);
        let mut without: HashMap<Iccid, usize> = made.into_iter().enumerate().map(|(at, iccid)| (iccid, at)).collect();
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::new(&self.file);
        let (mut whole, mut line) = (0, String::new());
        for number in 1_u64.. {
            line.clear();
            let count = reader.by_ref().take(MAX_LINE).read_line(&mut line).map_err(failed)?;
            if !line.ends_with('\n') && count as u64 != MAX_LINE {
                break;
            }
            whole += count as u64;
            if number == 1 {
                continue;
            }
            let fields = line.trim_end();
            let fields = fields.strip_suffix(',').unwrap_or(fields);
            let pair = fields.split_once(',').and_then(|(iccid, pin)| Some((iccid.parse::<Iccid>().ok()?, pin)));
            let (iccid, pin) = pair.ok_or_else(|| self.damaged(number))?;
            if is_made(&iccid) {
                without.remove(&iccid);
            } else {
                self.left_over.insert(iccid, Secret::from(pin));
            }
        }
        drop(reader);
        if let Some((first, _)) = without.iter().min_by_key(|(_, at)| **at) {
            let (name, count) = (path.display(), without.len());
            return Err(Failure::usage(format!(
                "{name} lacks the PINs of {count} cards that are made already, the first of them {first}"
            ))
            .advise("name the file of PINs of this batch, or make the cards anew in another folder"));
        }
        // What was cut off at the end goes.
        self.file.set_len(whole).map_err(failed)?;
        self.file.seek(SeekFrom::End(0)).map(drop).map_err(failed)
    }

    fn damaged(&self, line: u64) -> Failure {
        Failure::usage(format!("{} line {line} is no line of {COLUMNS}", self.path.display()))
            .advise("name another file")
    }

    /// A PIN for this card: that of an interrupted run, or a new one, which is not durable yet.
    pub(super) fn choose(&self, iccid: &Iccid) -> Result<Secret, Failure> {
        self.left_over.get(iccid).map_or_else(made_up, |pin| Ok(pin.clone()))
    }

    /// Makes the PINs that were chosen for these cards durable.
    pub(super) fn keep<'a>(&mut self, cards: impl Iterator<Item = (&'a Iccid, &'a Secret)>) -> Result<(), Failure> {
        let end = if self.id.is_some() { "," } else { "" };
        let mut lines = String::new();
        for (iccid, pin) in cards {
            if self.left_over.remove(iccid).is_none() {
                lines.push_str(&format!("{iccid},{}{end}\n", String::from_utf8_lossy(pin.expose())));
            }
        }
        if lines.is_empty() { Ok(()) } else { self.write(&lines) }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| Failure::unwritable(&self.path, &error))
    }
}

/// Whether it is nothing, or what a cut left of a header.
fn is_beginning(header: &str) -> bool {
    let whole = format!("{COLUMNS},{ID}");
    let id = header.strip_prefix(&whole);
    whole.starts_with(header) || id.is_some_and(|id| id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Tells one file of PINs from another.
fn new_id() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Failure::failed(format!("no random bytes: {error}")))?;
    Ok(format!("{ID}{}", omadm_card::hex::encode(&bytes).to_lowercase()))
}

/// Digits of which each is as likely as the others.
fn made_up() -> Result<Secret, Failure> {
    let mut digits = Vec::new();
    while digits.len() < DIGITS {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| Failure::failed(format!("no random bytes: {error}")))?;
        // 250 is the largest multiple of ten that a byte reaches.
        digits.extend(bytes.iter().filter(|byte| **byte < 250).map(|byte| b'0' + byte % 10));
    }
    digits.truncate(DIGITS);
    Ok(Secret::new(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, is_made: impl Fn(&Iccid) -> bool) -> Result<Pins, Failure> {
        let mut pins = Pins::open(path, true)?.unwrap();
        pins.take_up(is_made, Vec::new())?;
        Ok(pins)
    }

    #[test]
    fn a_file_of_an_older_version_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.csv");
        crate::private::write(&path, b"iccid,pin\n8901000000000000001,12345678\n").unwrap();
        let mut pins = open(&path, |_| false).unwrap();
        let iccid = "8901000000000000001".parse().unwrap();
        assert_eq!((pins.choose(&iccid).unwrap(), &pins.id), (Secret::from("12345678"), &None));
        let other = "8901000000000000002".parse().unwrap();
        pins.keep([(&other, &Secret::from("87654321"))].into_iter()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\n8901000000000000002,87654321\n"), "{text}");
    }

    #[test]
    fn pins_of_cards_that_were_not_made_are_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.csv");
        let cards: Vec<Iccid> =
            ["8901000000000000001", "8901000000000000002"].map(|text| text.parse().unwrap()).to_vec();
        let made = |pins: &mut Pins, cards: &[Iccid]| {
            let chosen: Vec<Secret> = cards.iter().map(|iccid| pins.choose(iccid).unwrap()).collect();
            pins.keep(cards.iter().zip(&chosen)).unwrap();
            chosen
        };
        let first = made(&mut open(&path, |_| false).unwrap(), &cards);
        assert!(first.iter().all(|pin| pin.expose().len() == 8 && pin.expose().iter().all(u8::is_ascii_digit)));
        assert_ne!(first[0], first[1]);
        let text = std::fs::read(&path).unwrap();
        // The first card was made; the second was not, and its line may be cut off anywhere.
        let line = text.len() - 28;
        for cut in line..=text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let mut pins = open(&path, |iccid| *iccid == cards[0]).unwrap();
            let again = made(&mut pins, &cards[1..]);
            assert_eq!(again[0] == first[1], cut == text.len());
            let lines = std::fs::read_to_string(&path).unwrap();
            assert_eq!(lines.lines().filter(|line| line.starts_with(cards[1].as_str())).count(), 1, "cut at {cut}");
        }
    }

    #[test]
    fn a_header_that_was_cut_off_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.csv");
        drop(Pins::open(&path, true).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(Pins::open(&path, false).unwrap().is_none(), "cut at {cut}");
            assert!(Pins::open(&path, true).unwrap().unwrap().id.is_some(), "cut at {cut}");
        }
        let first = Pins::open(&path, false).unwrap().unwrap();
        let error = Pins::open(&path, true).err().unwrap();
        assert!(error.message.contains("another omadm"), "{error}");
        drop(first);
        std::fs::remove_file(&path).unwrap();
        assert!(Pins::open(&path, false).unwrap().is_none() && !path.exists());
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.csv");
        crate::private::write(&path, b"name,number\nsomebody,1\n").unwrap();
        assert!(open(&path, |_| false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"name,number\nsomebody,1\n");
        crate::private::write(&path, b"4711").unwrap();
        assert!(open(&path, |_| false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"4711");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "iccid,pin\n").unwrap();
        assert!(open(&path, |_| false).is_err_and(|error| error.message.contains("others may read")));
    }
}
