//! UPDATE BINARY and UPDATE RECORD, ETSI TS 102 221 11.1.4 and 11.1.6; CREATE FILE and DELETE FILE of elementary
//! files, ETSI TS 102 222 6.3 and 6.4.

use super::rules::ARR;
use super::{Request, VirtualUicc};
use crate::apdu::{Response, StatusWord};
use crate::file::tlv::{Objects, find};
use crate::image::{Access, CardFile, MAX_FILE};

/// The data are none that the command takes.
const WRONG_DATA: StatusWord = StatusWord(0x6A80);
/// Not enough memory.
const NO_ROOM: StatusWord = StatusWord(0x6A84);
/// A file with this identifier is there already.
const FILE_EXISTS: StatusWord = StatusWord(0x6A89);
/// The file has no records, or it has some: the command is not for it.
const OTHER_STRUCTURE: StatusWord = StatusWord(0x6981);

impl VirtualUicc {
    pub(super) fn update_binary(&mut self, request: &Request<'_>) -> Response {
        let (file, offset) = self.binary_place(request);
        match file.and_then(|number| self.writable(number)) {
            Ok((number, None)) => self.write(number, offset, request.data).into(),
            Ok((_, Some(_))) => OTHER_STRUCTURE.into(),
            Err(status) => status.into(),
        }
    }

    fn write(&mut self, number: usize, offset: usize, data: &[u8]) -> StatusWord {
        let Some(content) = self.tree.content_to_write(number) else { return StatusWord::NO_FILE_SELECTED };
        if offset >= content.len() {
            return StatusWord::WRONG_OFFSET;
        }
        match content.get_mut(offset..offset.saturating_add(data.len())) {
            Some(place) if !data.is_empty() => {
                place.copy_from_slice(data);
                StatusWord::OK
            }
            Some(_) | None => StatusWord::WRONG_LENGTH,
        }
    }

    pub(super) fn update_record(&mut self, request: &Request<'_>) -> Response {
        let file = self.record_place(request);
        let (file, length) = match file.and_then(|number| self.writable(number)) {
            Ok((file, Some(length))) => (file, usize::from(length)),
            Ok((_, None)) => return OTHER_STRUCTURE.into(),
            Err(status) => return status.into(),
        };
        let Some(number) = self.record_number(request) else {
            return StatusWord::WRONG_P1_P2.into();
        };
        if request.data.len() != length {
            return StatusWord::WRONG_LENGTH.into();
        }
        let content = self.tree.content_to_write(file);
        let record = content.zip(usize::from(number).checked_sub(1));
        let Some(record) = record.and_then(|(content, number)| content.chunks_mut(length).nth(number)) else {
            return StatusWord::NO_RECORD.into();
        };
        record.copy_from_slice(request.data);
        self.remember_record(request, number);
        StatusWord::OK.into()
    }

    /// Number and record length of a file, if it may be written now.
    fn writable(&self, number: usize) -> Result<(usize, Option<u8>), StatusWord> {
        let file = self.tree.file(number).ok_or(StatusWord::NO_FILE_SELECTED)?;
        if self.keys.allow(file.update) { Ok((number, file.record_length)) } else { Err(StatusWord::NOT_ALLOWED) }
    }

    /// Makes an elementary file in the current directory, filled with FF, and selects it.
    pub(super) fn create_file(&mut self, request: &Request<'_>) -> Response {
        if (request.p1, request.p2) != (0, 0) {
            return StatusWord::WRONG_P1_P2.into();
        }
        if request.data.is_empty() {
            return StatusWord::WRONG_LENGTH.into();
        }
        if !self.keys.allow(Access::Adm) {
            return StatusWord::NOT_ALLOWED.into();
        }
        let df = self.channel(request.number).map_or(0, |channel| channel.df);
        let file = match self.described(df, request.data) {
            Ok(file) => file,
            Err(status) => return status.into(),
        };
        if self.tree.child(df, file.id.0).is_some() {
            return FILE_EXISTS.into();
        }
        if !self.tree.has_room(df, file.content.0.len()) {
            return NO_ROOM.into();
        }
        let number = self.tree.add(df, file);
        if let Some(channel) = self.channel(request.number) {
            channel.ef = Some(number);
            channel.record = 0;
        }
        StatusWord::OK.into()
    }

    /// The file that a template describes.
    fn described(&self, df: usize, data: &[u8]) -> Result<CardFile, StatusWord> {
        let template = find(data, 0x62).ok().flatten().ok_or(WRONG_DATA)?;
        let (mut descriptor, mut id, mut size, mut rule, mut sfi) = (None, None, None, None, None);
        for object in Objects::new(template) {
            let object = object.map_err(|_| WRONG_DATA)?;
            match (object.tag, object.value) {
                (0x82, value) => descriptor = Some(value),
                (0x83, [high, low]) => id = Some(u16::from_be_bytes([*high, *low])),
                (0x80, [high, low]) => size = Some(usize::from(u16::from_be_bytes([*high, *low]))),
                (0x8B, [high, low, record]) if u16::from_be_bytes([*high, *low]) == ARR => rule = Some(*record),
                (0x88, value) => sfi = Some(value),
                // The life cycle status of a new file is "activated" here whatever is asked for.
                (0x8A, [_]) | (0xA5, _) => {}
                _ => return Err(WRONG_DATA),
            }
        }
        let record_length = match descriptor {
            Some([0x41 | 0x01, _]) => None,
            Some([0x42 | 0x02, _, 0, length @ 1..=u8::MAX]) => Some(*length),
            Some(_) | None => return Err(WRONG_DATA),
        };
        let id = id.filter(|id| !matches!(id, 0x3F00 | 0x3FFF | 0x7FFF)).ok_or(WRONG_DATA)?;
        let size = size.ok_or(WRONG_DATA)?;
        if size > MAX_FILE {
            return Err(NO_ROOM);
        }
        let fits = record_length.map(usize::from).is_none_or(|length| size % length == 0 && size / length <= 254);
        if !fits {
            return Err(WRONG_DATA);
        }
        let (read, update) = rule.and_then(|record| self.tree.rules.pair(record)).ok_or(WRONG_DATA)?;
        let sfi = match sfi {
            Some([]) => None,
            Some([wanted]) if wanted & 0x07 == 0 && self.is_free(df, wanted >> 3) => Some(wanted >> 3),
            Some(_) => return Err(WRONG_DATA),
            // Without the tag it is the lower five bits of the identifier.
            None => Some(id.to_be_bytes()[1] & 0x1F).filter(|sfi| self.is_free(df, *sfi)),
        };
        Ok(CardFile { read, update, sfi, record_length, ..CardFile::new(id, "", vec![0xFF; size]) })
    }

    fn is_free(&self, df: usize, sfi: u8) -> bool {
        (1..=30).contains(&sfi) && self.tree.by_sfi(df, sfi).is_none()
    }

    /// Deletes an elementary file of the current directory.
    pub(super) fn delete_file(&mut self, request: &Request<'_>) -> Response {
        if (request.p1, request.p2) != (0, 0) {
            return StatusWord::WRONG_P1_P2.into();
        }
        let [high, low] = request.data else {
            return StatusWord::WRONG_LENGTH.into();
        };
        if !self.keys.allow(Access::Adm) {
            return StatusWord::NOT_ALLOWED.into();
        }
        let df = self.channel(request.number).map_or(0, |channel| channel.df);
        let file = self.tree.child(df, u16::from_be_bytes([*high, *low]));
        let Some(number) = file.filter(|number| self.tree.file(*number).is_some()) else {
            return StatusWord::NOT_FOUND.into();
        };
        self.tree.delete(number);
        for channel in self.channels.iter_mut().flatten().filter(|channel| channel.ef == Some(number)) {
            channel.ef = None;
        }
        StatusWord::OK.into()
    }
}
