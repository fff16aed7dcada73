//! The executable's end of the conversation, with a virtual UICC behind it: what `omadm card run --stdio` runs, and an
//! example of how an executable answers.

use serde_json::{Map, Value, json};

use super::lines::{MAX_LINE, VERSION};
use crate::apdu::{
    self, Command, MANAGE_CHANNEL, MAX_CHANNEL, Protocol, READ_BINARY, READ_RECORD, Response, SELECT, StatusWord,
};
use crate::file::digits;
use crate::hex;
use crate::link::{Link, LinkError};
use crate::virtual_uicc::VirtualUicc;

/// EF(ICCID) under the MF.
const ICCID: [u8; 2] = [0x2F, 0xE2];
/// EF(DIR) under the MF.
const DIR: [u8; 2] = [0x2F, 0x00];
/// What SELECT is tried with, P2: nothing, FCP, FCI.
const ANSWERS: [u8; 3] = [0x0C, 0x04, 0x00];

/// A virtual UICC that answers lines.
#[derive(Debug, Clone)]
pub struct Served {
    card: VirtualUicc,
    exclusive: bool,
    /// Commands other than MANAGE CHANNEL that came for the basic channel, and were refused, since it is not theirs.
    strayed: u32,
}

/// Why a line is not answered as it asks: a code and a sentence.
struct No(&'static str, &'static str, Option<StatusWord>);

impl Served {
    /// Puts a card behind lines. One that is not exclusive keeps its basic channel to itself, and has verified
    /// PIN 01, as a modem does.
    pub fn new(mut card: VirtualUicc, exclusive: bool) -> Self {
        if !exclusive {
            card.unlock(0x01);
        }
        Self { card, exclusive, strayed: 0 }
    }

    /// The card.
    pub fn card(&self) -> &VirtualUicc {
        &self.card
    }

    /// How many commands came for a basic channel that is not theirs, MANAGE CHANNEL aside.
    pub fn strayed(&self) -> u32 {
        self.strayed
    }

    /// Answers one line; the answer has no end of line.
    pub fn answer(&mut self, line: &[u8]) -> String {
        let asked = match serde_json::from_slice(line) {
            Ok(Value::Object(asked)) if line.len() <= MAX_LINE => asked,
            Ok(_) | Err(_) => Map::new(),
        };
        let answer = match self.carry_out(&asked) {
            Ok(answer) => answer,
            Err(No(code, sentence, None)) => json!({"error": sentence, "code": code}),
            Err(No(code, sentence, Some(StatusWord(sw)))) => {
                json!({"error": sentence, "code": code, "sw": format!("{sw:04X}")})
            }
        };
        answer.to_string()
    }

    fn carry_out(&mut self, asked: &Map<String, Value>) -> Result<Value, No> {
        let text = |name: &str| asked.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).map(hex::decode);
        if asked.contains_key("hello") {
            return Ok(json!({"hello": VERSION, "name": "omadm virtual card"}));
        }
        if asked.contains_key("status") {
            return self.status();
        }
        if asked.contains_key("dir") {
            return Ok(json!({"dir": self.dir()?}));
        }
        if let Some(aid) = bytes("open") {
            let aid = aid.map_err(|_| No("refused", "the AID is not hexadecimal", None))?;
            return self.open(&aid).map(|channel| json!({"open": handle(channel)}));
        }
        if let Some(closed) = text("close") {
            let channel = channel(closed)?;
            self.exchange(&[0x00, MANAGE_CHANNEL, 0x80, channel])?;
            return Ok(json!({"close": closed}));
        }
        match bytes("apdu") {
            Some(Ok(command)) => self.command(command, text("on")).map(|answer| json!({"apdu": hex::encode(&answer)})),
            Some(Err(_)) => Err(No("refused", "the command is not hexadecimal", None)),
            None => Err(No("unsupported", "hello, status, dir, open, close or apdu is expected", None)),
        }
    }

    fn status(&mut self) -> Result<Value, No> {
        let content = self.file(&ICCID, &Command::case2(READ_BINARY, 0, 0, 10))?;
        let iccid = content.and_then(|content| digits::iccid(&content)).map(|iccid| iccid.to_string());
        Ok(json!({"card": true, "iccid": iccid, "exclusive": self.exclusive, "protocol": self.protocol()}))
    }

    /// The records of EF(DIR), up to the first that is not there.
    fn dir(&mut self) -> Result<Vec<String>, No> {
        let mut records = Vec::new();
        match self.select(0, 0x00, &DIR)? {
            Ok(()) => {}
            Err(Some(StatusWord::NOT_FOUND)) => return Ok(records),
            Err(status) => return Err(No("refused", "EF(DIR) cannot be selected", status)),
        }
        for number in 1..=16 {
            match self.file(&DIR, &Command::case2(READ_RECORD, number, 0x04, 0))? {
                Some(record) => records.push(hex::encode(&record)),
                None => break,
            }
        }
        Ok(records)
    }

    /// What is read from a file under the MF, on the basic channel, as a modem does by itself.
    fn file(&mut self, id: &[u8], read: &Command) -> Result<Option<Vec<u8>>, No> {
        let protocol = self.protocol();
        if self.select(0, 0x00, id)?.is_err() {
            return Ok(None);
        }
        let mut response = Response::parse(self.exchange(&read.encode(0, protocol))?);
        if let Some(wrong) = response.as_ref().map(|response| response.status).filter(|status| status.sw1() == 0x6C) {
            let read = Command { le: Some(wrong.sw2()), ..read.clone() };
            response = Response::parse(self.exchange(&read.encode(0, protocol))?);
        }
        Ok(response.filter(|response| response.status.is_ok()).map(|response| response.data))
    }

    /// Selects, in a form that the card takes; else gives how it refuses.
    fn select(&mut self, channel: u8, p1: u8, data: &[u8]) -> Result<Result<(), Option<StatusWord>>, No> {
        let mut refused = None;
        for p2 in ANSWERS {
            let select = Command::case3(SELECT, p1, p2, data).encode(channel, self.protocol());
            match Response::parse(self.exchange(&select)?) {
                Some(response) if response.status.is_ok() || response.status.sw1() == 0x61 => return Ok(Ok(())),
                other => refused = other.map(|one| one.status),
            }
        }
        Ok(Err(refused))
    }

    /// What the card makes of a command, faults included.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, No> {
        self.card.transmit(command).map_err(|error| match error {
            LinkError::NoCard(_) => No("no-card", "the slot is empty", None),
            LinkError::Removed(_) => No("removed", "so the executable says", None),
            LinkError::Timeout(_) => No("timeout", "the card does not answer", None),
            LinkError::Io(_) => No("refused", "the card failed", None),
        })
    }

    fn protocol(&self) -> Protocol {
        crate::link::atr::protocol(&self.card.atr())
    }

    fn open(&mut self, aid: &[u8]) -> Result<u8, No> {
        let protocol = self.protocol();
        let opened = self.exchange(&Command::case2(MANAGE_CHANNEL, 0, 0, 1).encode(0, protocol))?;
        let channel = match Response::parse(opened) {
            Some(Response { data, status }) if status.is_ok() && matches!(data.as_slice(), [1..=MAX_CHANNEL]) => {
                data.first().copied().unwrap_or(0)
            }
            other => return Err(No("no-channel", "the card gives no logical channel", other.map(|one| one.status))),
        };
        match self.select(channel, 0x04, aid)? {
            Ok(()) => Ok(channel),
            Err(status) => {
                self.exchange(&[0x00, MANAGE_CHANNEL, 0x80, channel])?;
                Err(No("refused", "the application cannot be selected", status))
            }
        }
    }

    fn command(&mut self, mut command: Vec<u8>, on: Option<&str>) -> Result<Vec<u8>, No> {
        let class = command.first().copied().unwrap_or(0);
        let instruction = command.get(1).copied();
        if let Some(on) = on {
            if let Some(first) = command.first_mut() {
                *first = class & 0x80 | apdu::class(channel(on)?);
            }
        } else if !self.exclusive && apdu::channel_of(class) == Some(0) && instruction != Some(MANAGE_CHANNEL) {
            self.strayed = self.strayed.saturating_add(1);
            return Err(No("refused", "the basic channel belongs to the modem", None));
        }
        self.exchange(&command)
    }
}

fn handle(channel: u8) -> String {
    format!("#{channel}")
}

fn channel(handle: &str) -> Result<u8, No> {
    let number = handle.strip_prefix('#').and_then(|number| number.parse().ok());
    number.filter(|number| (1..=MAX_CHANNEL).contains(number)).ok_or(No("refused", "no such handle was given", None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Opening;
    use crate::link::exec::{Executable, Pipe};
    use crate::make::{CardPlan, make};
    use crate::pkcs15;

    impl Pipe for Served {
        fn ask(&mut self, line: &str) -> Result<Vec<u8>, LinkError> {
            Ok(self.answer(line.trim_end().as_bytes()).into_bytes())
        }
    }

    fn behind(exclusive: bool) -> Executable<Served> {
        let plan = CardPlan::new("8901012345678901234".parse().unwrap(), b"[]");
        Executable::begin(Served::new(VirtualUicc::new(&make(&plan).unwrap()), exclusive)).unwrap()
    }

    #[test]
    fn an_application_is_opened_used_and_closed_by_its_handle() {
        let mut link = behind(false);
        assert!(link.look().unwrap().card && !link.is_exclusive());
        assert_eq!(link.tell_iccid().unwrap().unwrap().as_str(), "8901012345678901234");
        let Opening::Opened(application) = link.open_application(&pkcs15::AID).unwrap() else { panic!("not opened") };
        let select = Command::case3(SELECT, 0x08, 0x0C, &[0x7F, 0xFF, 0x50, 0x31]).encode(0, Protocol::T1);
        assert_eq!(link.transmit_to(application, &select).unwrap(), [0x90, 0x00]);
        link.close_application(application);
        assert!(matches!(link.transmit_to(application, &select), Err(LinkError::Io(_))), "it is closed");
        assert_eq!(link.transmit(&[0, MANAGE_CHANNEL, 0, 0, 1]).unwrap(), [1, 0x90, 0], "its channel is free again");
    }

    #[test]
    fn an_application_that_is_not_there_leaves_no_channel_open() {
        let mut link = behind(false);
        let refused = link.open_application(&[0xA0, 0, 0, 0, 1, 2]).unwrap();
        assert!(matches!(refused, Opening::Refused { status: Some(StatusWord::NOT_FOUND), .. }), "{refused:?}");
        assert_eq!(link.transmit(&[0, MANAGE_CHANNEL, 0, 0, 1]).unwrap(), [1, 0x90, 0]);
    }

    #[test]
    fn a_card_that_is_not_ours_alone_keeps_its_basic_channel() {
        let select = [0x00, SELECT, 0x00, 0x0C, 0x02, 0x2F, 0xE2];
        let mut link = behind(false);
        let error = link.transmit(&select).unwrap_err();
        assert_eq!(error, LinkError::Io("the basic channel belongs to the modem".to_owned()));
        let mut link = behind(true);
        assert!(link.look().unwrap().exclusive);
        assert_eq!(link.transmit(&select).unwrap(), [0x90, 0x00]);
    }

    #[test]
    fn lines_that_ask_for_nothing_known_are_unsupported() {
        let mut served = behind(false).pipe;
        for line in ["", "[]", "{}", "{\"reset\":true}", "{\"apdu\":7}", "\u{1}"] {
            assert!(served.answer(line.as_bytes()).contains("unsupported"), "{line}");
        }
        for line in [r#"{"close":"1"}"#, r##"{"close":"#0"}"##, r##"{"apdu":"00","on":"#20"}"##, r#"{"open":"A"}"#] {
            assert!(served.answer(line.as_bytes()).contains("refused"), "{line}");
        }
    }
}
