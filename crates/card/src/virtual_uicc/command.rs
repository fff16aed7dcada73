//! What the virtual UICC does for each instruction but SELECT.

use super::files::Kind;
use super::{Channel, Request, VirtualUicc, more};
use crate::apdu::{
    GET_RESPONSE, MANAGE_CHANNEL, Protocol, READ_BINARY, READ_RECORD, Response, SELECT, STATUS, StatusWord, VERIFY,
};
use crate::file::tlv::object;
use crate::image::{Access, Byte};

const BLOCKED: StatusWord = StatusWord::BLOCKED;

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
            MANAGE_CHANNEL => self.manage_channel(request),
            STATUS => self.status(request),
            _ => StatusWord::WRONG_INS.into(),
        }
    }

    fn read_binary(&mut self, request: &Request<'_>) -> Response {
        let (file, offset) = if request.p1 & 0x80 == 0 {
            (self.selected(request), usize::from(u16::from_be_bytes([request.p1, request.p2])))
        } else {
            (self.select_by_sfi(request, request.p1 & 0x1F), usize::from(request.p2))
        };
        let content = match file.and_then(|number| self.readable(number)) {
            Ok((content, None)) => content,
            // A file with records is no transparent one.
            Ok((_, Some(_))) => return StatusWord(0x6981).into(),
            Err(status) => return status.into(),
        };
        let Some(rest) = content.get(offset..).filter(|rest| !rest.is_empty()) else {
            return StatusWord::WRONG_OFFSET.into();
        };
        deliver(rest, request.le, self.protocol, true)
    }

    fn read_record(&mut self, request: &Request<'_>) -> Response {
        let file = match request.p2 >> 3 {
            0 => self.selected(request),
            sfi => self.select_by_sfi(request, sfi),
        };
        let current = self.channel(request.number).map_or(0, |channel| channel.record);
        let (content, length) = match file.and_then(|number| self.readable(number)) {
            Ok((content, Some(length))) => (content, length),
            Ok((_, None)) => return StatusWord(0x6981).into(),
            Err(status) => return status.into(),
        };
        let number = match (request.p2 & 0x07, request.p1) {
            (0x02, 0) => current.saturating_add(1),
            (0x03, 0) => current.saturating_sub(1),
            (0x04, 0) => current,
            (0x04, number) => number,
            _ => return StatusWord::WRONG_P1_P2.into(),
        };
        let Some(record) = usize::from(number).checked_sub(1).and_then(|n| content.chunks(usize::from(length)).nth(n))
        else {
            return StatusWord::NO_RECORD.into();
        };
        let response = deliver(record, request.le, self.protocol, false);
        if request.p2 & 0x07 != 0x04
            && let Some(channel) = self.channel(request.number)
        {
            channel.record = number;
        }
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

    fn verify(&mut self, request: &Request<'_>) -> Response {
        if request.p1 != 0 {
            return StatusWord::WRONG_P1_P2.into();
        }
        let Some(state) = self.pins.iter_mut().find(|state| state.pin.reference.0 == request.p2) else {
            return StatusWord(0x6A88).into();
        };
        let tries = |left: u8| StatusWord(0x63C0 | u16::from(left & 0x0F)).into();
        if state.pin.tries_left == 0 {
            return BLOCKED.into();
        }
        if request.data.is_empty() {
            return if state.verified { StatusWord::OK.into() } else { tries(state.pin.tries_left) };
        }
        let digits = state.pin.value.expose();
        let padded = digits.iter().copied().chain(std::iter::repeat(0xFF)).take(8);
        // A PIN that is not padded is a wrong PIN, as on cards in the field.
        if request.data.iter().copied().eq(padded) {
            state.verified = true;
            state.pin.tries_left = state.pin.tries;
            return StatusWord::OK.into();
        }
        state.verified = false;
        state.pin.tries_left -= 1;
        tries(state.pin.tries_left)
    }

    fn manage_channel(&mut self, request: &Request<'_>) -> Response {
        match (request.p1, request.p2) {
            (0x00, 0x00) => {
                let free = self.channels.iter_mut().enumerate().find(|(_, channel)| channel.is_none());
                let Some((number, channel)) = free else {
                    return StatusWord(0x6A81).into();
                };
                *channel = Some(Channel::default());
                Response { data: u8::try_from(number).into_iter().collect(), status: StatusWord::OK }
            }
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
            0x00 => deliver(&object(0x62, &self.tree.parameters(df)), request.le, self.protocol, false),
            0x0C => StatusWord::OK.into(),
            _ => StatusWord::WRONG_P1_P2.into(),
        }
    }

    fn selected(&mut self, request: &Request<'_>) -> Result<usize, StatusWord> {
        self.channel(request.number).and_then(|channel| channel.ef).ok_or(StatusWord::NO_FILE_SELECTED)
    }

    fn select_by_sfi(&mut self, request: &Request<'_>, sfi: u8) -> Result<usize, StatusWord> {
        let df = self.channel(request.number).map_or(0, |channel| channel.df);
        let number = self.tree.by_sfi(df, sfi).ok_or(StatusWord::NOT_FOUND)?;
        if let Some(channel) = self.channel(request.number) {
            channel.ef = Some(number);
            channel.record = 0;
        }
        Ok(number)
    }

    /// Content and record length of a file, if it may be read now.
    fn readable(&self, number: usize) -> Result<(&[u8], Option<u8>), StatusWord> {
        match self.tree.nodes.get(number).map(|node| &node.kind) {
            Some(Kind::File { content, record_length, read, .. }) => {
                let allowed = match read {
                    Access::Always => true,
                    Access::Never => false,
                    Access::Pin(Byte(reference)) => {
                        self.pins.iter().any(|state| state.pin.reference.0 == *reference && state.verified)
                    }
                };
                if allowed { Ok((content, *record_length)) } else { Err(StatusWord::NOT_ALLOWED) }
            }
            Some(Kind::Directory { .. }) | None => Err(StatusWord::NO_FILE_SELECTED),
        }
    }
}

/// Data for a command that sends none. T=0 wants the exact length; T=1 takes what there is.
fn deliver(data: &[u8], le: Option<u8>, protocol: Protocol, is_part: bool) -> Response {
    let wanted = match le {
        None => return StatusWord::WRONG_LENGTH.into(),
        Some(0) => 256,
        Some(le) => usize::from(le),
    };
    let enough = data.get(..wanted);
    match (enough, protocol) {
        (Some(part), _) if is_part || part.len() == data.len() => {
            Response { data: part.to_vec(), status: StatusWord::OK }
        }
        (Some(_), _) | (None, Protocol::T0) => wrong_le(data.len()).into(),
        (None, Protocol::T1) => {
            let status = if le == Some(0) || !is_part { StatusWord::OK } else { StatusWord::END_OF_FILE };
            Response { data: data.to_vec(), status }
        }
    }
}

fn wrong_le(right: usize) -> StatusWord {
    StatusWord(0x6C00 | u16::from(u8::try_from(right).unwrap_or(0)))
}
