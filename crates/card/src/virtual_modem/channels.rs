//! CCHO, CGLA, CCHC and CSIM.

use super::{Answer, Cme, MAX_KEPT, ModemQuirk, VirtualModem};
use crate::apdu::{Command, MANAGE_CHANNEL, Protocol, SELECT, channel_of, class};
use crate::hex;
use crate::link::Link;

/// What SELECT by AID is tried with, P2: nothing, FCP, FCI.
const ANSWERS: [u8; 3] = [0x0C, 0x04, 0x00];

impl VirtualModem {
    /// Opens a channel with an application selected.
    pub(super) fn ccho(&mut self, parameters: &str) -> Answer {
        let quoted = parameters.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let aid = match quoted {
            Some(_) if self.has(ModemQuirk::AidUnquotedOnly) => return Err(Cme::WrongParameters),
            Some(aid) => aid,
            None if self.has(ModemQuirk::AidUnquotedOnly) => parameters,
            None => return Err(Cme::WrongParameters),
        };
        let aid = hex::decode(aid).map_err(|_| Cme::WrongParameters)?;
        let length = u8::try_from(aid.len()).ok().filter(|length| (1..=16).contains(length));
        let length = length.ok_or(Cme::WrongParameters)?;
        let number = match self.pass(&[0, MANAGE_CHANNEL, 0, 0, 1])?.as_slice() {
            [number, 0x90 | 0x91, _] => *number,
            _ => return Err(Cme::MemoryFull),
        };
        for p2 in ANSWERS {
            let select = [&[class(number), SELECT, 0x04, p2, length], aid.as_slice()].concat();
            // Opening is one thing to the other end, whatever it takes.
            let answer = match self.ask_card(&select) {
                Ok(answer) => answer,
                Err(error) => {
                    self.give_up(number);
                    return Err(error);
                }
            };
            if matches!(answer.as_slice(), [.., 0x90 | 0x61 | 0x91, _]) {
                let name = match self.has(ModemQuirk::TextHandle) {
                    true => format!("uicc:{number}/a"),
                    false => (32 + u32::from(number)).to_string(),
                };
                self.opened.push((name.clone(), number));
                // A word alone could be anything.
                let is_bare = self.has(ModemQuirk::Bare) && !self.has(ModemQuirk::TextHandle);
                return Ok(vec![if is_bare { name } else { format!("+CCHO: {name}") }]);
            }
        }
        self.give_up(number);
        Err(Cme::NotFound)
    }

    /// Passes a command on to a channel that [`Self::ccho`] opened.
    pub(super) fn cgla(&mut self, parameters: &str) -> Answer {
        let (name, rest) = parameters.split_once(',').ok_or(Cme::WrongParameters)?;
        let (_, number) = *self.opened.iter().find(|(opened, _)| opened == name).ok_or(Cme::NotFound)?;
        let mut command = command(rest)?;
        if let Some(cla) = command.first_mut() {
            if channel_of(*cla) != Some(0) {
                return Err(Cme::WrongParameters);
            }
            *cla = *cla & 0x80 | class(number);
        }
        let response = self.pass_on(&command)?;
        if matches!((command.as_slice(), response.as_slice()), ([_, MANAGE_CHANNEL, 0x80, ..], [.., 0x90 | 0x91, _])) {
            self.opened.retain(|(opened, _)| opened != name);
        }
        Ok(vec![self.response("+CGLA", &response)])
    }

    /// Closes what [`Self::ccho`] opened.
    pub(super) fn cchc(&mut self, parameters: &str) -> Answer {
        let place = self.opened.iter().position(|(name, _)| name == parameters).ok_or(Cme::NotFound)?;
        let number = self.opened.get(place).map(|(_, number)| *number).ok_or(Cme::NotFound)?;
        self.passed = self.passed.saturating_add(1);
        if !self.close(number) {
            return Err(Cme::NotAllowed);
        }
        self.opened.remove(place);
        Ok(Vec::new())
    }

    /// Passes a command on as it is.
    pub(super) fn csim(&mut self, parameters: &str) -> Answer {
        let command = command(parameters)?;
        let channel = command.first().and_then(|cla| channel_of(*cla));
        if channel.is_none_or(|channel| channel == 0) {
            if self.basic.len() < MAX_KEPT {
                self.basic.push(command.clone());
            }
        } else if self.has(ModemQuirk::CsimFailsOnOpened) {
            return Err(Cme::NotAllowed);
        }
        let response = self.pass_on(&command)?;
        Ok(vec![self.response("+CSIM", &response)])
    }

    /// Closes a channel of the card; whether it is closed.
    fn close(&mut self, number: u8) -> bool {
        let protocol = self.card.as_ref().map_or(Protocol::T1, |card| card.protocol());
        let answer = self.ask_card(&Command::case1(MANAGE_CHANNEL, 0x80, number).encode(0, protocol));
        // 6881: it is not open.
        matches!(answer.as_deref(), Ok([.., 0x90 | 0x91, _] | [0x68, 0x81]))
    }

    /// Closes a channel that nobody is told of. A card may be disturbed once.
    fn give_up(&mut self, number: u8) {
        if !self.close(number) {
            self.close(number);
        }
    }

    /// Passes on what the other end sent, with what modems make of it.
    fn pass_on(&mut self, command: &[u8]) -> Result<Vec<u8>, Cme> {
        let lc = command.get(4).copied().map_or(0, usize::from);
        let is_case_4 = lc > 0 && command.len() == lc + 6;
        let is_t0 = self.card.as_ref().is_some_and(|card| card.protocol() == Protocol::T0);
        if self.has(ModemQuirk::StrictT0) && is_t0 && is_case_4 {
            return Ok(vec![0x67, 0x00]);
        }
        let mut response = self.pass(command)?;
        if self.has(ModemQuirk::FetchesResponses)
            && let ([0x61, le], [cla, ..]) = (response.as_slice(), command)
        {
            response = self.ask_card(&[*cla, 0xC0, 0, 0, *le])?;
        }
        let most = match () {
            () if self.has(ModemQuirk::Blocks64) => 64,
            () if self.has(ModemQuirk::Blocks128) => 128,
            () => 256,
        };
        if response.len() > most + 2 { Err(Cme::NotAllowed) } else { Ok(response) }
    }

    fn pass(&mut self, command: &[u8]) -> Result<Vec<u8>, Cme> {
        if self.card.is_some() {
            self.passed = self.passed.saturating_add(1);
        }
        self.ask_card(command)
    }

    fn response(&self, name: &str, response: &[u8]) -> String {
        let digits = hex::encode(response);
        let length = digits.len();
        if self.has(ModemQuirk::Bare) {
            format!("{name}: {length},{digits}")
        } else {
            format!("{name}: {length},\"{digits}\"")
        }
    }
}

/// The command in `<length>,"<hex>"`.
fn command(parameters: &str) -> Result<Vec<u8>, Cme> {
    let (length, digits) = parameters.split_once(',').ok_or(Cme::WrongParameters)?;
    let digits = digits.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(Cme::WrongParameters)?;
    if length.parse() != Ok(digits.len()) {
        return Err(Cme::WrongParameters);
    }
    hex::decode(digits).map_err(|_| Cme::WrongParameters)
}
