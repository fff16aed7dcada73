//! Looking at one file, and what was seen so far.

use super::view::FileView;
use crate::apdu::StatusWord;
use crate::error::{CardError, Place};
use crate::file::tlv::{TlvError, first_damage};
use crate::hex;
use crate::pkcs15::StructureError;
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dodf::DataObject;
use crate::read::{FileSession, Part, Refusal};

/// The most lines that one file says.
const MAX_LINES: usize = 16;

/// What was seen of a card.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) files: Vec<FileView>,
    pub(super) pin_was_given: bool,
    pub(super) has_dir: bool,
    pub(super) is_in_dir: bool,
    pub(super) has_pkcs15: bool,
    /// Whether EF(ODF) names a directory of data objects.
    pub(super) has_dodf: bool,
    pub(super) has_token_info: bool,
    pub(super) has_aodf: bool,
    pub(super) pins: Vec<SeenPin>,
    pub(super) objects: Vec<SeenObject>,
}

/// A PIN object, and what the card says of the PIN where it may be asked.
pub(super) struct SeenPin {
    pub(super) pin: PinObject,
    pub(super) place: String,
    pub(super) state: Option<StatusWord>,
}

/// A data object and its file.
pub(super) struct SeenObject {
    pub(super) object: DataObject,
    /// Whether its identifier stands with its header twice.
    pub(super) is_doubled: bool,
    pub(super) place: String,
    pub(super) size: Option<usize>,
    pub(super) content: Result<Vec<u8>, Refusal>,
}

/// A file as it was read.
pub(super) struct Look {
    pub(super) view: FileView,
    /// Its bytes, in its records where it has some.
    pub(super) parts: Result<Vec<Vec<u8>>, Refusal>,
}

impl Look {
    /// Reads a whole file.
    pub(super) fn new(
        session: &mut FileSession<'_, '_>,
        application: &str,
        id: u16,
        name: &str,
        paths: &[Vec<u8>],
        limit: usize,
    ) -> Result<Self, CardError> {
        Self::at(session, application, id, name, paths, Part::whole(limit))
    }

    /// Reads a part of a file.
    pub(super) fn at(
        session: &mut FileSession<'_, '_>,
        application: &str,
        id: u16,
        name: &str,
        paths: &[Vec<u8>],
        part: Part,
    ) -> Result<Self, CardError> {
        let selected = session.select_first(paths)?;
        let size = selected.as_ref().ok().and_then(|fcp| fcp.size);
        let parts = match selected {
            Ok(fcp) => match session.read_parts(Place::Usim, &fcp, part) {
                // One file that cannot be read through is no reason not to look at the next.
                Err(error) if error.place != Place::Link => Err(Refusal(StatusWord(0x6F00))),
                parts => parts?,
            },
            Err(refusal) => Err(refusal),
        };
        let view = FileView {
            path: format!("{application}/{id:04X}"),
            name: name.to_owned(),
            size,
            content: parts.as_ref().ok().map(|parts| hex::encode(&parts.concat())),
            meaning: Vec::new(),
            problem: parts.as_ref().err().map(|Refusal(status)| explained(*status)),
        };
        Ok(Self { view, parts })
    }

    /// Adds what the bytes mean, all of it as far as it can be understood.
    pub(super) fn explain(&mut self, meaning: impl FnOnce(&[u8]) -> Result<Vec<String>, StructureError>) {
        let Ok(parts) = &self.parts else { return };
        match meaning(&parts.concat()) {
            Ok(lines) => self.say(lines),
            Err(error) => self.view.problem = Some(error.to_string()),
        }
    }

    /// Adds lines, and what is damaged in its bytes.
    pub(super) fn say(&mut self, mut lines: Vec<String>) {
        let count = lines.len();
        if count > MAX_LINES {
            lines.truncate(MAX_LINES);
            lines.push(format!("and {} more", count - MAX_LINES));
        }
        self.view.meaning = lines;
    }

    /// Notes the first damage in the structure of its bytes.
    pub(super) fn find_damage(&mut self) {
        let Ok(parts) = &self.parts else { return };
        let several = parts.len() > 1;
        let damage = parts.iter().enumerate().find_map(|(number, part)| Some((number + 1, first_damage(part)?)));
        if let Some((record, (at, error))) = damage {
            let what = match error {
                TlvError::Header(_) => "a header is cut off".to_owned(),
                TlvError::Length { tag, .. } => format!("the object {tag:02X} has a length of an unknown form"),
                TlvError::Truncated { tag, length, left, .. } => {
                    format!("the object {tag:02X} should have {length} bytes, {left} are there")
                }
            };
            let record = if several { format!(" of record {record}") } else { String::new() };
            self.view.problem = Some(format!("damaged at byte {at}{record}: {what}"));
        }
    }
}

/// A status word with its advice.
fn explained(status: StatusWord) -> String {
    match status.advice() {
        Some(advice) => format!("{status}; {advice}"),
        None => status.to_string(),
    }
}
