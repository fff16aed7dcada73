//! The files of objects, those that are there and those that may be made: what is in them, and who may read them.

use crate::apdu::StatusWord;
use crate::error::{CardError, Place};
use crate::file::fcp::Fcp;
use crate::personalise::access::{Right, Rule};
use crate::personalise::step::{MAX_OFFSET, RuleRef};
use crate::personalise::survey::is_missing;
use crate::pkcs15::path::Path;
use crate::read::{FileSession, Refusal, is_user_pin};

/// The command is for a file of the other kind: with records, or without.
const OTHER_KIND: StatusWord = StatusWord(0x6981);

/// A file that may hold an object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum FileState {
    /// There is none.
    Absent,
    /// There is one.
    Present(Present),
}

/// A file that is there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Present {
    /// What selects it.
    pub(crate) path: Vec<u8>,
    /// Its bytes, where it tells or could be read; none where it has records.
    pub(crate) size: Option<usize>,
    /// All its bytes, where they could be read, with the PIN or without.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) rule: Option<RuleRef>,
    pub(crate) readers: Readers,
    /// Why it could not be read, where that was no matter of a PIN. A file in trouble is not written.
    pub(crate) trouble: Option<CardError>,
}

/// Who may read a file (Profile P-36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Everybody who holds the card.
    Everybody,
    /// Not without a PIN.
    NotEverybody,
    /// It cannot be seen: a modem may have verified the PIN, or there was trouble.
    Unknown,
}

impl std::fmt::Debug for FileState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Present(file) => write!(f, "{:?} bytes, read by {:?}", file.size, file.readers),
        }
    }
}

impl FileState {
    /// Selects the file and reads it, without a PIN.
    pub(crate) fn look(session: &mut FileSession<'_, '_>, path: &Path, df: &[u8]) -> Result<Self, CardError> {
        let place = Place::Message(path.file_id());
        for selection in path.selections(df) {
            match session.select_path(&selection)? {
                Ok(fcp) => return Ok(Self::Present(Present::look(session, place, selection, &fcp)?)),
                Err(Refusal(status)) if is_missing(status) => {}
                Err(Refusal(status)) => return Err(CardError::status(place, "SELECT", status)),
            }
        }
        Ok(Self::Absent)
    }
}

impl Present {
    fn look(session: &mut FileSession<'_, '_>, place: Place, path: Vec<u8>, fcp: &Fcp) -> Result<Self, CardError> {
        let rule = fcp.access_rule.map(|(file, record)| RuleRef { file, record });
        let readers = Readers::Unknown;
        let mut file = Self { path, size: fcp.size, content: None, rule, readers, trouble: None };
        if fcp.record_length.is_some() {
            file.size = None;
            return Ok(file);
        }
        match session.read_binary(place, fcp, 0, MAX_OFFSET)? {
            Ok(content) => {
                file.size = fcp.size.or(Some(content.len()));
                file.readers = Readers::Everybody;
                file.content = Some(content);
            }
            Err(Refusal(StatusWord::NOT_ALLOWED)) => file.readers = Readers::NotEverybody,
            // It has records and does not tell.
            Err(Refusal(OTHER_KIND)) if fcp.size.is_none() => {}
            // Anything else says nothing about who may read it.
            Err(Refusal(status)) => file.trouble = Some(CardError::status(place, "reading the file", status)),
        }
        Ok(file)
    }

    /// Judges who may read it, by its access rule too. `is_exclusive` tells whether nobody else can have verified a PIN.
    pub(crate) fn judge(
        &mut self,
        session: &mut FileSession<'_, '_>,
        place: Place,
        rule: Option<&Rule>,
    ) -> Result<(), CardError> {
        let right = rule.map(|rule| rule.read);
        let is_pin = matches!(right, Some(Right::Key(pin)) if is_user_pin(pin));
        match self.readers {
            // A modem verifies the PIN when it starts, so that reading proves nothing there.
            Readers::Everybody if !session.card().is_exclusive() && right != Some(Right::Always) => {
                self.readers = if is_pin { Readers::NotEverybody } else { Readers::Unknown };
            }
            Readers::NotEverybody if right == Some(Right::Always) => {
                let sentence = "the card refuses to read the file (6982), although by its access rule everybody may; \
                                look at the card with `omadm card inspect`, then write again";
                self.readers = Readers::Unknown;
                self.trouble = Some(CardError::malformed(place, sentence));
            }
            // Without a rule that says so too one answer could be a slip of the card.
            Readers::NotEverybody if !is_pin => {
                let again = match session.select_path(&self.path)? {
                    Ok(fcp) => session.read_binary(place, &fcp, 0, 1)?.map(drop),
                    Err(refusal) => Err(refusal),
                };
                let told = match again {
                    Err(Refusal(StatusWord::NOT_ALLOWED)) => return Ok(()),
                    Err(Refusal(status)) => CardError::status(place, "reading the file once more", status),
                    Ok(()) => {
                        CardError::malformed(place, "the card let the file be read once and once not; write again")
                    }
                };
                self.readers = Readers::Unknown;
                self.trouble = Some(told);
            }
            Readers::Everybody | Readers::NotEverybody | Readers::Unknown => {}
        }
        Ok(())
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> Place {
        Place::Message(self.path.last_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id)))
    }

    /// Whether it lies behind a PIN and was not read.
    pub(crate) fn is_unseen(&self) -> bool {
        self.readers == Readers::NotEverybody && self.content.is_none()
    }

    /// Reads what was unseen, now that a PIN is verified. What that PIN does not open stays unseen.
    pub(crate) fn look_again(&mut self, session: &mut FileSession<'_, '_>, place: Place) -> Result<(), CardError> {
        let fcp = match session.select_path(&self.path)? {
            Ok(fcp) => fcp,
            Err(Refusal(status)) => return Err(CardError::status(place, "SELECT", status)),
        };
        match session.read_binary(place, &fcp, 0, MAX_OFFSET)? {
            Ok(content) => {
                self.size = self.size.or(Some(content.len()));
                self.content = Some(content);
            }
            Err(Refusal(StatusWord::NOT_ALLOWED)) => {}
            Err(Refusal(status)) => self.trouble = Some(CardError::status(place, "reading the file", status)),
        }
        Ok(())
    }
}
