//! What the virtual UICC does for each instruction but SELECT.

use super::quirks::{Channels, Quirk};
use super::{Channel, Request, VirtualUicc, more};
use crate::apdu::{
    CHANGE_PIN, CREATE_FILE, DELETE_FILE, GET_RESPONSE, MANAGE_CHANNEL, MAX_CHANNEL, Protocol, READ_BINARY,
    READ_RECORD, Response, SELECT, STATUS, StatusWord, UNBLOCK_PIN, UPDATE_BINARY, UPDATE_RECORD, VERIFY,
};
use crate::file::tlv::object;

/// What READ BINARY gives with [`Quirk::ShortReads`].
const SHORT_READ: usize = 48;

impl VirtualUicc {
    pub(super) fn carry_out(&mut self, request: &Request<'_>) -> Response {
        let Some(channel) = self.channel(request.number) else {
            return StatusWord::NO_CHANNEL.into();
        };
        if request.ins != GET_RESPONSE {
            channel.pending.clear();
        }
        match request.ins {
            SELECT => self.select(request),
            READ_BINARY => self.read_binary(request),
            READ_RECORD => self.read_record(request),
            GET_RESPONSE => self.get_response(request),
            VERIFY => self.verify(request),
            CHANGE_PIN => self.change_pin(request),
            UNBLOCK_PIN => self.unblock_pin(request),
            UPDATE_BINARY => self.update_binary(request),
            UPDATE_RECORD => self.update_record(request),
            CREATE_FILE => self.create_file(request),
            DELETE_FILE => self.delete_file(request),
            MANAGE_CHANNEL => self.manage_channel(request),
            STATUS => self.status(request),
            _ => StatusWord::WRONG_INS.into(),
        }
    }

    /// The file and the offset that READ BINARY and UPDATE BINARY name.
    pub(super) fn binary_place(&mut self, request: &Request<'_>) -> (Result<usize, StatusWord>, usize) {
        if request.p1 & 0x80 == 0 {
            (self.selected(request), usize::from(u16::from_be_bytes([request.p1, request.p2])))
        } else {
            (self.select_by_sfi(request, request.p1 & 0x1F), usize::from(request.p2))
        }
    }

    fn read_binary(&mut self, request: &Request<'_>) -> Response {
        let (file, offset) = self.binary_place(request);
        let content = match file.and_then(|number| self.readable(number)) {
            Ok((content, None)) => content,
            // A file with records is no transparent one.
            Ok((_, Some(_))) => return StatusWord(0x6981).into(),
            Err(status) => return status.into(),
        };
        let rest = content.get(offset..).unwrap_or_default();
        self.part(rest, request.le)
    }

    /// The file that READ RECORD and UPDATE RECORD name.
    pub(super) fn record_place(&mut self, request: &Request<'_>) -> Result<usize, StatusWord> {
        match request.p2 >> 3 {
            0 => self.selected(request),
            sfi => self.select_by_sfi(request, sfi),
        }
    }

    /// The record that they name, counted from 1; none where P2 is wrong.
    pub(super) fn record_number(&mut self, request: &Request<'_>) -> Option<u8> {
        let current = self.channel(request.number).map_or(0, |channel| channel.record);
        match (request.p2 & 0x07, request.p1) {
            (0x02, 0) => Some(current.saturating_add(1)),
            (0x03, 0) => Some(current.saturating_sub(1)),
            (0x04, 0) => Some(current),
            (0x04, number) => Some(number),
            _ => None,
        }
    }

    /// The next or previous record becomes the current one; one that was named does not.
    pub(super) fn remember_record(&mut self, request: &Request<'_>, number: u8) {
        if request.p2 & 0x07 != 0x04
            && let Some(channel) = self.channel(request.number)
        {
            channel.record = number;
        }
    }

    fn read_record(&mut self, request: &Request<'_>) -> Response {
        let file = self.record_place(request);
        let number = self.record_number(request);
        let (content, length) = match file.and_then(|number| self.readable(number)) {
            Ok((content, Some(length))) => (content, length),
            Ok((_, None)) => return StatusWord(0x6981).into(),
            Err(status) => return status.into(),
        };
        let Some(number) = number else {
            return StatusWord::WRONG_P1_P2.into();
        };
        let record = usize::from(number).checked_sub(1).and_then(|n| content.chunks(usize::from(length)).nth(n));
        let Some(record) = record else {
            return StatusWord::NO_RECORD.into();
        };
        let response = self.whole(record, request.le);
        self.remember_record(request, number);
        response
    }

    fn get_response(&mut self, request: &Request<'_>) -> Response {
        let Some(channel) = self.channel(request.number) else {
            return StatusWord::NO_CHANNEL.into();
        };
        let waiting = channel.pending.len();
        let wanted = match request.le {
            _ if waiting == 0 => return StatusWord(0x6985).into(),
            None | Some(0) => 256.min(waiting),
            Some(le) if usize::from(le) > waiting => return wrong_le(waiting).into(),
            Some(le) => usize::from(le),
        };
        let data: Vec<u8> = channel.pending.drain(..wanted).collect();
        let status = if channel.pending.is_empty() { StatusWord::OK } else { more(channel.pending.len()) };
        Response { data, status }
    }

    fn manage_channel(&mut self, request: &Request<'_>) -> Response {
        let Channels { count, refusal } = self.limits;
        if count == 0 {
            return refusal.status().into();
        }
        match (request.p1, request.p2) {
            (0x00, 0x00) if self.quirks.has(Quirk::Channel20) => {
                Response { data: vec![MAX_CHANNEL + 1], status: StatusWord::OK }
            }
            (0x00, 0x00) => {
                let is_free = |number: &u8| self.channels.get(usize::from(*number)).is_some_and(Option::is_none);
                let free = if self.quirks.has(Quirk::HighestChannelFirst) {
                    (1..=count).rev().find(is_free)
                } else {
                    (1..=count).find(is_free)
                };
                let Some(number) = free else {
                    return refusal.status().into();
                };
                if let Some(channel) = self.channels.get_mut(usize::from(number)) {
                    *channel = Some(Channel::default());
                }
                Response { data: vec![number], status: StatusWord::OK }
            }
            (0x80, 1..) if self.quirks.has(Quirk::ChannelsStayOpen) => StatusWord(0x6985).into(),
            (0x80, number @ 1..) => match self.channels.get_mut(usize::from(number)) {
                Some(channel @ Some(_)) => {
                    *channel = None;
                    StatusWord::OK.into()
                }
                Some(None) | None => StatusWord::NO_CHANNEL.into(),
            },
            _ => StatusWord::WRONG_P1_P2.into(),
        }
    }

    fn status(&mut self, request: &Request<'_>) -> Response {
        let df = self.channel(request.number).map_or(0, |channel| channel.df);
        match request.p2 {
            0x00 => self.whole(&object(0x62, &self.tree.parameters(df, &self.quirks)), request.le),
            0x0C => StatusWord::OK.into(),
            _ => StatusWord::WRONG_P1_P2.into(),
        }
    }

    fn selected(&mut self, request: &Request<'_>) -> Result<usize, StatusWord> {
        self.channel(request.number).and_then(|channel| channel.ef).ok_or(StatusWord::NO_FILE_SELECTED)
    }

    fn select_by_sfi(&mut self, request: &Request<'_>, sfi: u8) -> Result<usize, StatusWord> {
        let df = self.channel(request.number).map_or(0, |channel| channel.df);
        let number = self.tree.by_sfi(df, sfi).filter(|_| !self.quirks.has(Quirk::NoSfi));
        let number = number.ok_or(StatusWord::NOT_FOUND)?;
        if let Some(channel) = self.channel(request.number) {
            channel.ef = Some(number);
            channel.record = 0;
        }
        Ok(number)
    }

    /// Content and record length of a file, if it may be read now.
    fn readable(&self, number: usize) -> Result<(&[u8], Option<u8>), StatusWord> {
        let file = self.tree.file(number).ok_or(StatusWord::NO_FILE_SELECTED)?;
        if self.keys.allow(file.read) {
            Ok((&file.content.0, file.record_length))
        } else {
            Err(StatusWord::NOT_ALLOWED)
        }
    }

    /// Part of a transparent file: `rest` is what it holds from the offset on.
    fn part(&self, rest: &[u8], le: Option<u8>) -> Response {
        let wanted = match self.length_of_read(le) {
            Ok(wanted) => wanted,
            Err(response) => return response,
        };
        let has = |quirk| self.quirks.has(quirk);
        if rest.is_empty() {
            let beyond = if has(Quirk::End6A86) { StatusWord::WRONG_P1_P2 } else { StatusWord::WRONG_OFFSET };
            return if has(Quirk::End6282) { StatusWord::END_OF_FILE } else { beyond }.into();
        }
        let wanted = if has(Quirk::ShortReads) { wanted.min(SHORT_READ) } else { wanted };
        if let Some(part) = rest.get(..wanted) {
            return Response { data: part.to_vec(), status: StatusWord::OK };
        }
        let all = |status| Response { data: rest.to_vec(), status };
        match le {
            _ if has(Quirk::End6282) => all(StatusWord::END_OF_FILE),
            _ if has(Quirk::End9000) => all(StatusWord::OK),
            _ if self.wants_exact_le() => wrong_le(rest.len()).into(),
            Some(0) => all(StatusWord::OK),
            Some(_) | None => all(StatusWord::END_OF_FILE),
        }
    }

    /// A record or template. T=0 wants the exact length; T=1 takes what there is.
    fn whole(&self, data: &[u8], le: Option<u8>) -> Response {
        match self.length_of_read(le) {
            Err(response) => response,
            Ok(wanted) if wanted == data.len() => Response { data: data.to_vec(), status: StatusWord::OK },
            Ok(wanted) if wanted < data.len() || self.wants_exact_le() => wrong_le(data.len()).into(),
            Ok(_) => Response { data: data.to_vec(), status: StatusWord::OK },
        }
    }

    fn wants_exact_le(&self) -> bool {
        match self.protocol {
            Protocol::T0 => true,
            Protocol::T1 => self.quirks.has(Quirk::WrongLeOnT1),
        }
    }

    /// How many bytes are asked for; the answer where the card gives none for such a question.
    fn length_of_read(&self, le: Option<u8>) -> Result<usize, Response> {
        let wanted = match le {
            None => return Err(StatusWord::WRONG_LENGTH.into()),
            Some(0) if self.quirks.has(Quirk::Le00Empty) => return Err(StatusWord::OK.into()),
            Some(0) => 256,
            Some(le) => usize::from(le),
        };
        let limits = [(Quirk::BlocksOf128, 128), (Quirk::BlocksOf64, 64)];
        if limits.into_iter().any(|(quirk, limit)| self.quirks.has(quirk) && wanted > limit) {
            return Err(StatusWord::WRONG_LENGTH.into());
        }
        Ok(wanted)
    }
}

fn wrong_le(right: usize) -> StatusWord {
    StatusWord(0x6C00 | u16::from(u8::try_from(right).unwrap_or(0)))
}
