//! PINs that are made up: each durable in their file before a card with it is.

use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const HEADER: &str = "iccid,pin\n";
/// The most bytes of a line: an ICCID, a PIN and what is between.
const MAX_LINE: u64 = 64;
/// Digits of a PIN.
const DIGITS: usize = 8;

/// The file of PINs.
pub(super) struct Pins {
    file: File,
    path: PathBuf,
    /// Those of cards that an interrupted run did not come to make.
    left_over: HashMap<Iccid, Secret>,
}

impl Pins {
    /// Opens the file, or begins one. `is_made` tells of the cards that are made.
    pub(super) fn open(path: &Path, is_made: impl Fn(&Iccid) -> bool) -> Result<Self, Failure> {
        let failed = |error| Failure::unwritable(path, &error);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            let name = path.display();
            return Err(Failure::usage(format!("{name} is to hold PINs and others may read it"))
                .advise(format!("chmod 600 {name}, or name another file")));
        }
        let mut reader = BufReader::new(&file);
        let (mut whole, mut line, mut left_over) = (0, String::new(), HashMap::new());
        for number in 1_u64.. {
            line.clear();
            let count = reader.by_ref().take(MAX_LINE).read_line(&mut line).map_err(failed)?;
            if !line.ends_with('\n') && count as u64 != MAX_LINE {
                break;
            }
            whole += count as u64;
            if number == 1 && line == HEADER {
                continue;
            }
            let pair = line.trim_end().split_once(',').and_then(|(iccid, pin)| Some((iccid.parse().ok()?, pin)));
            let Some((iccid, pin)) = pair.filter(|_| number > 1) else {
                let why = format!("{} line {number} is no line of iccid,pin", path.display());
                return Err(Failure::usage(why).advise("name another file"));
            };
            if !is_made(&iccid) {
                left_over.insert(iccid, Secret::from(pin));
            }
        }
        drop(reader);
        // What was cut off at the end goes.
        file.set_len(whole).map_err(failed)?;
        let mut pins = Self { file, path: path.to_owned(), left_over };
        pins.file.seek(SeekFrom::End(0)).map_err(failed)?;
        if whole == 0 {
            pins.write(HEADER)?;
        }
        Ok(pins)
    }

    /// A PIN for this card: that of an interrupted run, or a new one, which is not durable yet.
    pub(super) fn choose(&self, iccid: &Iccid) -> Result<Secret, Failure> {
        self.left_over.get(iccid).map_or_else(made_up, |pin| Ok(pin.clone()))
    }

    /// Makes the PINs that were chosen for these cards durable.
    pub(super) fn keep<'a>(&mut self, cards: impl Iterator<Item = (&'a Iccid, &'a Secret)>) -> Result<(), Failure> {
        let mut lines = String::new();
        for (iccid, pin) in cards {
            if self.left_over.remove(iccid).is_none() {
                lines.push_str(&format!("{iccid},{}\n", String::from_utf8_lossy(pin.expose())));
            }
        }
        if lines.is_empty() { Ok(()) } else { self.write(&lines) }
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| Failure::unwritable(&self.path, &error))
    }
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
        let first = made(&mut Pins::open(&path, |_| false).unwrap(), &cards);
        assert!(first.iter().all(|pin| pin.expose().len() == 8 && pin.expose().iter().all(u8::is_ascii_digit)));
        assert_ne!(first[0], first[1]);
        let text = std::fs::read(&path).unwrap();
        // The first card was made; the second was not, and its line may be cut off anywhere.
        let line = text.len() - 28;
        for cut in line..=text.len() {
            std::fs::write(&path, &text[..cut]).unwrap();
            let mut pins = Pins::open(&path, |iccid| *iccid == cards[0]).unwrap();
            let again = made(&mut pins, &cards[1..]);
            assert_eq!(again[0] == first[1], cut == text.len());
            let lines = std::fs::read_to_string(&path).unwrap();
            assert_eq!(lines.lines().filter(|line| line.starts_with(cards[1].as_str())).count(), 1, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pins.csv");
        crate::private::write(&path, b"name,number\nsomebody,1\n").unwrap();
        assert!(Pins::open(&path, |_| false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"name,number\nsomebody,1\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "iccid,pin\n").unwrap();
        assert!(Pins::open(&path, |_| false).is_err_and(|error| error.message.contains("others may read")));
    }
}
