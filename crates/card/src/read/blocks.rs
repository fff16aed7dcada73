//! Reading the file that is selected, in blocks or records, and files by their short identifier.

use crate::apdu::{Command, READ_BINARY, READ_RECORD, Response, StatusWord};
use crate::error::{CardError, CardErrorKind, Place};
use crate::file::fcp::Fcp;
use crate::file::tlv::Objects;
use crate::read::session::{Refusal, Session};

/// The most bytes of one READ.
const BLOCK: u8 = 255;
/// What is tried after 255 bytes, for cards and modems that carry less.
const SMALLER: [u8; 2] = [128, 64];
/// The highest offset of READ BINARY; a higher P1 means a short file identifier.
const MAX_OFFSET: usize = 0x7FFF;
/// The most records of a file.
const MAX_RECORDS: u8 = 254;
/// The command is for a file of the other kind: with records, or without.
const OTHER_KIND: StatusWord = StatusWord(0x6981);

/// How READ BINARY is asked on this channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// The most bytes of one READ that were not refused yet.
    most: u8,
    /// Whether Le = 00 was taken where the length itself was refused.
    open: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self { most: BLOCK, open: false }
    }
}

impl Block {
    fn le(self, left: usize) -> u8 {
        if self.open { 0 } else { u8::try_from(left).unwrap_or(u8::MAX).min(self.most) }
    }

    /// The next smaller block; none where this one is the smallest.
    fn smaller(self) -> Option<Self> {
        SMALLER.into_iter().find(|most| *most < self.most).map(|most| Self { most, open: false })
    }
}

/// Which part of a file is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Of a transparent file the byte to begin with; of one with records the number of the record, 0 for all.
    pub(crate) index: usize,
    /// How long it is; to the end if not said.
    pub(crate) length: Option<usize>,
    /// The most bytes that are taken.
    pub(crate) limit: usize,
}

impl Part {
    /// The whole file, up to this many bytes.
    pub(crate) fn whole(limit: usize) -> Self {
        Self { index: 0, length: None, limit }
    }
}

/// The content of a file, in its records where it has some; or why not, with its parameters where it was selected.
pub(crate) type Content = Result<Vec<Vec<u8>>, (Refusal, Option<Fcp>)>;

impl Session<'_, '_> {
    /// Selects the first of these paths that is there and reads this part of it. `Refusal` with the parameters of the file
    /// where it could be selected but not read.
    pub(crate) fn read_file(&mut self, place: Place, paths: &[Vec<u8>], part: Part) -> Result<Content, CardError> {
        if let Some(content) = self.read_by_shortcut(place, paths, part)? {
            return Ok(Ok(vec![content]));
        }
        let fcp = match self.select_first(paths)? {
            Ok(fcp) => fcp,
            Err(refusal) => return Ok(Err((refusal, None))),
        };
        let parts = self.read_parts(place, &fcp, part)?;
        Ok(parts.map_err(|refusal| (refusal, Some(fcp))))
    }

    /// Reads this part of the selected file: its bytes, or its records one by one.
    pub(crate) fn read_parts(
        &mut self,
        place: Place,
        fcp: &Fcp,
        part: Part,
    ) -> Result<Result<Vec<Vec<u8>>, Refusal>, CardError> {
        if fcp.record_length.is_none() {
            let length = part.length.unwrap_or(usize::MAX).min(part.limit);
            match self.read_binary(place, fcp, part.index, length)? {
                Err(Refusal(OTHER_KIND)) => {}
                content => return Ok(content.map(|content| vec![content])),
            }
        }
        self.read_records(place, fcp, part)
    }

    fn read_records(
        &mut self,
        place: Place,
        fcp: &Fcp,
        part: Part,
    ) -> Result<Result<Vec<Vec<u8>>, Refusal>, CardError> {
        let numbers = match u8::try_from(part.index) {
            Ok(0) => 1..=fcp.records.unwrap_or(MAX_RECORDS).min(MAX_RECORDS),
            Ok(number) => number..=number,
            Err(_) => return Ok(Err(Refusal(StatusWord::NO_RECORD))),
        };
        let mut records = Vec::new();
        let mut left = part.limit;
        for number in numbers {
            let mut record = match self.read_record(fcp, number)? {
                Ok(record) => record,
                Err(Refusal(StatusWord::NO_RECORD | StatusWord::NOT_FOUND)) if !records.is_empty() => break,
                Err(refusal) if records.is_empty() => return Ok(Err(refusal)),
                Err(Refusal(status)) => {
                    return Err(CardError::status(place, &format!("READ RECORD {number}"), status));
                }
            };
            // A length of 0 stands for the whole record (PKCS#15 6.1.5).
            if let Some(length @ 1..) = part.length {
                record.truncate(length);
            }
            record.truncate(left);
            left -= record.len();
            records.push(record);
            if left == 0 {
                break;
            }
        }
        Ok(Ok(records))
    }

    /// Reads a part of the selected transparent file, at most `limit` bytes from `offset` on, fewer where the file
    /// ends. `Refusal` where the card refuses the first block.
    pub(crate) fn read_binary(
        &mut self,
        place: Place,
        fcp: &Fcp,
        offset: usize,
        limit: usize,
    ) -> Result<Result<Vec<u8>, Refusal>, CardError> {
        self.read_blocks(place, fcp.size, offset, limit, None)
    }

    /// Reads the directory file with this short identifier in the current DF; none where anything is not as expected.
    pub(crate) fn read_directory_by_sfi(
        &mut self,
        place: Place,
        sfi: u8,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, CardError> {
        let first = self.send(&Command::case2(READ_BINARY, 0x80 | sfi, 0, BLOCK))?;
        let ended = first.status == StatusWord::END_OF_FILE;
        if !(first.status.is_ok() || ended) || first.data.is_empty() {
            return Ok(None);
        }
        let mut content = first.data;
        if !ended && !is_whole(&content) {
            let rest = self.read_blocks(place, None, content.len(), limit.saturating_sub(content.len()), None)?;
            content.extend(rest.unwrap_or_default());
        }
        content.truncate(limit);
        Ok(Some(content))
    }

    /// Reads at most 255 bytes of the file with this short identifier in the current DF; none where it is not there.
    pub(crate) fn read_short(&mut self, sfi: u8, size: u8) -> Result<Option<Vec<u8>>, CardError> {
        let mut response = self.send(&Command::case2(READ_BINARY, 0x80 | sfi, 0, size))?;
        response.data.truncate(size.into());
        let done = response.status.is_ok() || response.status == StatusWord::END_OF_FILE;
        Ok(Some(response.data).filter(|data| done && !data.is_empty()))
    }

    /// The content of a file whose short identifier this card told before; none where that does not work.
    fn read_by_shortcut(&mut self, place: Place, paths: &[Vec<u8>], part: Part) -> Result<Option<Vec<u8>>, CardError> {
        let Some((sfi, size)) = self.shortcut(paths).filter(|_| part.index == 0) else { return Ok(None) };
        let length = part.length.unwrap_or(usize::MAX).min(part.limit);
        let content = self.read_blocks(place, Some(size), 0, length, Some(sfi))?;
        // A file of another size is another file.
        Ok(content.ok().filter(|content| content.len() == size.min(length)))
    }

    /// Reads blocks from `offset` on, the first by the short identifier where one is given.
    fn read_blocks(
        &mut self,
        place: Place,
        size: Option<usize>,
        offset: usize,
        limit: usize,
        sfi: Option<u8>,
    ) -> Result<Result<Vec<u8>, Refusal>, CardError> {
        let end = offset.saturating_add(limit).min(size.unwrap_or(usize::MAX)).min(MAX_OFFSET + usize::from(BLOCK));
        let mut content = Vec::new();
        loop {
            let at = offset.saturating_add(content.len());
            let left = end.saturating_sub(at);
            let Some(mut place_in_file) =
                u16::try_from(at).ok().filter(|at| usize::from(*at) <= MAX_OFFSET).map(u16::to_be_bytes)
            else {
                break;
            };
            if let Some(sfi) = sfi.filter(|_| at == 0) {
                place_in_file = [0x80 | sfi, 0];
            }
            if left == 0 {
                break;
            }
            let mut response = self.read_block(place_in_file, left)?;
            let done = response.status == StatusWord::END_OF_FILE || response.data.is_empty();
            match response.status {
                status if status.is_ok() || status == StatusWord::END_OF_FILE => {
                    response.data.truncate(left);
                    content.append(&mut response.data);
                }
                StatusWord::WRONG_OFFSET if sfi.is_none() || !content.is_empty() => break,
                StatusWord::WRONG_P1_P2 if !content.is_empty() => break,
                status if content.is_empty() => return Ok(Err(Refusal(status))),
                status => return Err(CardError::status(place, &format!("READ BINARY at byte {at}"), status)),
            }
            if done {
                break;
            }
        }
        Ok(Ok(content))
    }

    /// One block. A length that is refused is asked as "all that there is", and in smaller blocks, which are then kept to.
    fn read_block(&mut self, [p1, p2]: [u8; 2], left: usize) -> Result<Response, CardError> {
        loop {
            let le = self.block.le(left);
            let answer = self.send(&Command::case2(READ_BINARY, p1, p2, le));
            let smaller = self.block.smaller().filter(|_| le == 0 || le > SMALLER[1]);
            match (answer, smaller) {
                (Ok(refused), smaller) if refused.status == StatusWord::WRONG_LENGTH => {
                    if le != 0 {
                        let response = self.send(&Command::case2(READ_BINARY, p1, p2, 0))?;
                        let is_nothing = response.status.is_ok() && response.data.is_empty();
                        if response.status != StatusWord::WRONG_LENGTH && !is_nothing {
                            self.block.open = response.status.is_ok();
                            return Ok(response);
                        }
                    }
                    let Some(smaller) = smaller else { return Ok(refused) };
                    self.block = smaller;
                }
                // A modem drops a long command and goes on; a reader that fails has lost its card.
                (Err(error), Some(smaller)) if error.kind == CardErrorKind::Io && !self.card().is_exclusive() => {
                    self.block = smaller;
                }
                (answer, _) => return answer,
            }
        }
    }

    /// Reads one record of the selected file, counted from 1.
    pub(crate) fn read_record(&mut self, fcp: &Fcp, number: u8) -> Result<Result<Vec<u8>, Refusal>, CardError> {
        let ask = |le| Command::case2(READ_RECORD, number, 0x04, le);
        let le = fcp.record_length.unwrap_or(0);
        let mut response = self.send(&ask(le))?;
        // Some terminals take Le = 00 for nothing.
        if le == 0
            && response.data.is_empty()
            && (response.status.is_ok() || response.status == StatusWord::WRONG_LENGTH)
        {
            response = self.send(&ask(BLOCK))?;
        }
        Ok(if response.status.is_ok() || response.status == StatusWord::END_OF_FILE {
            Ok(response.data)
        } else {
            Err(Refusal(response.status))
        })
    }
}

/// Whether the objects of a directory end before its bytes do, so that nothing more belongs to it.
fn is_whole(content: &[u8]) -> bool {
    let mut objects = Objects::new(content);
    let sound = objects.by_ref().all(|object| object.is_ok());
    sound && objects.offset() < content.len()
}
