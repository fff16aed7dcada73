//! A card in a modem, by AT commands (3GPP TS 27.007). No port is opened here: what carries the bytes is a [`Port`], such
//! as the one of the feature `serial`.
//!
//! | wanted | commands, in this order |
//! | --- | --- |
//! | an application on a channel of its own | CCHO, CGLA, CCHC |
//! | a channel of ours | CSIM with MANAGE CHANNEL; the channel in CLA is ours |
//! | ICCID | CRSM, else CCID |
//! | EF(DIR) | CRSM |
//! | the home network, and whether the SIM is ready | CPIN, CIMI, CRSM; CEREG, C5GREG, CGREG, CREG |
//!
//! Channel 0 is the modem's. Nothing but MANAGE CHANNEL is ever sent there: [`AtLink`] refuses it itself. Commands are tried,
//! never asked for by `=?`, which fails on modems where the command works.

mod dialogue;
pub mod lines;
mod sim;

use std::time::Duration;

use crate::apdu::{
    Command, GET_RESPONSE, MANAGE_CHANNEL, MAX_CHANNEL, Protocol, READ_BINARY, StatusWord, VERIFY, channel_of,
};
use crate::hex;
use crate::link::{Handle, Link, LinkError, Opening, Patience, ToldSim};
use dialogue::{Dialogue, Values};
use lines::{PinState, Question, Refusal, is_hex, unquoted};
use omadm_core::ids::Iccid;

/// What carries bytes to a modem and back.
pub trait Port {
    /// Writes all of it, within `limit`.
    fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), PortError>;

    /// Waits at most `limit` for bytes and takes what is there; 0 where none came in time.
    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError>;

    /// The time since some fixed moment.
    fn now(&self) -> Duration;
}

/// Why bytes cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortError {
    /// Not within the limit.
    TimedOut,
    /// The modem is not there any more.
    Gone,
    /// Anything else; what the system said.
    Io(String),
}

/// The most bytes of a response, status word included.
const MAX_RESPONSE: usize = 258;
/// The longest name of a channel that a modem gives, in characters.
const MAX_HANDLE: usize = 64;
/// The most bytes that are asked for at a time, once a modem has refused to pass on more.
const SMALLER: [u8; 2] = [128, 64];
/// Between two questions for a SIM that is not there yet.
const PAUSE: Duration = Duration::from_millis(200);

/// A card in a modem. Channels that were opened on it are to be closed by who opened them.
#[derive(Debug)]
pub struct AtLink<P> {
    modem: Dialogue<P>,
    protocol: Protocol,
    /// The most bytes that READ BINARY and GET RESPONSE may ask for; none where the modem passes on all.
    block: Option<u8>,
    /// The modem wants the AID without quotation marks.
    bare_aid: bool,
    /// What the modem calls the channels that it opened, by [`Handle`].
    handles: Vec<String>,
}

/// Whether a modem says that it has a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It has this card.
    Card(Iccid),
    /// It says that its slot is empty.
    Empty,
}

impl<P: Port> AtLink<P> {
    /// Waits for an answer and for a SIM, and puts the modem into a known state: no echo, errors with their numbers.
    pub fn open(port: P, patience: &Patience) -> Result<Self, LinkError> {
        let mut link = Self::greet(port, patience.wait, patience.command)?;
        let began = link.modem.now();
        let mut empty_since = None;
        loop {
            let state = link.pin_state()?;
            let now = link.modem.now();
            let (enough, why) = match state {
                Ok(PinState::Ready | PinState::Waiting(_)) => return Ok(link),
                // What it starts for so long is a card.
                Ok(PinState::Starting) if now.saturating_sub(began) >= patience.wait => return Ok(link),
                Ok(PinState::Starting) => {
                    empty_since = None;
                    (false, Refusal::Plain)
                }
                Ok(PinState::NoSim) => {
                    (now.saturating_sub(*empty_since.get_or_insert(now)) >= patience.empty, Refusal::NoSim)
                }
                Err(refusal) => {
                    empty_since = None;
                    // A modem that does not know the command may have a card all the same.
                    if link.tell_iccid().is_ok_and(|iccid| iccid.is_some()) {
                        return Ok(link);
                    }
                    (false, refusal)
                }
            };
            if enough || now.saturating_sub(began) >= patience.wait {
                return Err(LinkError::NoCard(format!("the modem has no SIM: AT+CPIN? was answered with: {why}")));
            }
            link.modem.pause(PAUSE)?;
        }
    }

    /// What a modem says of its slot, at once; none where it says nothing clear.
    pub fn presence(port: P, command: Duration) -> Result<Option<Presence>, LinkError> {
        let mut link = Self::greet(port, Duration::ZERO, command)?;
        match link.pin_state()? {
            Ok(PinState::NoSim) => Ok(Some(Presence::Empty)),
            Ok(PinState::Ready | PinState::Starting | PinState::Waiting(_)) | Err(_) => {
                Ok(link.tell_iccid()?.map(Presence::Card))
            }
        }
    }

    fn greet(port: P, wait: Duration, command: Duration) -> Result<Self, LinkError> {
        let mut modem = Dialogue::new(port, command);
        if !modem.greet(wait)? {
            return Err(LinkError::NoCard("no modem answers AT at this port".to_owned()));
        }
        // A modem that does not know these is none the worse.
        for setting in ["ATE0", "AT+CMEE=1"] {
            let _ = modem.ask(&Question { command: setting, names: &[], bare: |_| false })?;
        }
        Ok(Self { modem, protocol: Protocol::T1, block: None, bare_aid: false, handles: Vec::new() })
    }

    /// Passes a command on in the form that `line` gives it, and takes the response out of the answer.
    fn pass(&mut self, command: &[u8], name: &str, line: &dyn Fn(&[u8]) -> String) -> Result<Vec<u8>, LinkError> {
        refuse_the_modems_own(command)?;
        let block = self.block.unwrap_or(u8::MAX);
        let mut smaller = SMALLER.into_iter().filter(|size| *size < block);
        loop {
            let sent = within(command, self.block);
            match self.exchange(&line(&sent), name)? {
                Ok(response) => return self.settle_protocol(&sent, response, name, line),
                Err(Refusal::NoSim) => return Err(LinkError::Removed("the modem has no SIM any more".to_owned())),
                Err(refusal) => match smaller.find(|size| within(command, Some(*size)) != sent) {
                    Some(size) => self.block = Some(size),
                    None => return Err(LinkError::Io(format!("the modem refused {name}: {refusal}"))),
                },
            }
        }
    }

    /// A modem that passes bytes on as they are shows by 61xx or 6700 that its card talks T=0.
    fn settle_protocol(
        &mut self,
        sent: &[u8],
        response: Vec<u8>,
        name: &str,
        line: &dyn Fn(&[u8]) -> String,
    ) -> Result<Vec<u8>, LinkError> {
        let Some(without_le) = without_le_of_case_4(sent) else { return Ok(response) };
        match status(&response) {
            Some(status) if status.sw1() == 0x61 => self.protocol = Protocol::T0,
            Some(StatusWord::WRONG_LENGTH) => {
                if let Ok(again) = self.exchange(&line(without_le), name)?
                    && status(&again) != Some(StatusWord::WRONG_LENGTH)
                {
                    self.protocol = Protocol::T0;
                    return Ok(again);
                }
            }
            Some(_) | None => {}
        }
        Ok(response)
    }

    fn exchange(&mut self, line: &str, name: &str) -> Result<Result<Vec<u8>, Refusal>, LinkError> {
        let answer = self.modem.ask(&Question { command: line, names: &[name], bare: is_hex });
        taken(answer, name)
    }

    fn open_by(&mut self, aid: &str) -> Result<Result<Values, Refusal>, LinkError> {
        let command = format!("AT+CCHO={aid}");
        let question = Question { command: &command, names: &["+CCHO"], bare: is_hex_digits };
        let answer = self.modem.ask(&question);
        // What was opened too late is of no use to anybody.
        if matches!(answer, Err(LinkError::Timeout(_)))
            && let Some(name) =
                self.modem.late_answer(&question).and_then(|values| values.into_iter().find(|value| is_handle(value)))
        {
            self.close_by(&name);
        }
        answer
    }

    fn close_by(&mut self, name: &str) {
        // The channel that MANAGE CHANNEL comes on is closed by it, ISO 7816-4; and a card may be disturbed once.
        if !self.cchc(name) && !self.is_closed_by(&format!("AT+CGLA={name},8,\"00708000\"")) {
            self.cchc(name);
        }
    }

    /// Whether the modem closed the channel. Some lack the command.
    fn cchc(&mut self, name: &str) -> bool {
        let question = Question { command: &format!("AT+CCHC={name}"), names: &["+CCHC"], bare: |_| false };
        matches!(self.modem.ask_in_the_end(&question), Ok(Ok(_)))
    }

    /// Whether the card says that it carried out a command by CGLA.
    fn is_closed_by(&mut self, command: &str) -> bool {
        let question = Question { command, names: &["+CGLA"], bare: is_hex };
        let response = taken(self.modem.ask_in_the_end(&question), "+CGLA");
        matches!(response, Ok(Ok(response)) if status(&response).is_some_and(StatusWord::is_ok))
    }

    /// Has the card close a channel that MANAGE CHANNEL opened, although an earlier answer may be late.
    fn close_by_csim(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let question = Question { command: &csim(command), names: &["+CSIM"], bare: is_hex };
        taken(self.modem.ask_in_the_end(&question), "+CSIM")?.map_err(|refusal| match refusal {
            Refusal::NoSim => LinkError::Removed("the modem has no SIM any more".to_owned()),
            Refusal::Plain | Refusal::PinPending | Refusal::Number(_) => {
                LinkError::Io(format!("the modem refused +CSIM: {refusal}"))
            }
        })
    }

    /// Closes the channel that MANAGE CHANNEL opened too late.
    fn close_late(&mut self) {
        let question = Question { command: "AT+CSIM", names: &["+CSIM"], bare: is_hex };
        let opened = self.modem.late_answer(&question);
        let opened = opened.and_then(|values| values.iter().find_map(|value| response(value)));
        if let Some([number @ 1..=MAX_CHANNEL, 0x90 | 0x91, _]) = opened.as_deref() {
            let close = Command::case1(MANAGE_CHANNEL, 0x80, *number).encode(0, self.protocol);
            // It may be busy for a moment.
            let mut attempts = (0..2).map(|_| self.close_by_csim(&close));
            let _ = attempts
                .find(|answer| answer.as_deref().is_ok_and(|bytes| status(bytes).is_some_and(StatusWord::is_ok)));
        }
    }
}

impl<P: Port> Link for AtLink<P> {
    /// As on T=1, until the card shows that the modem passes T=0 on as it is.
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let is_own = match command {
            [cla, ins, ..] => channel_of(*cla).is_some_and(|channel| channel != 0 || *ins == MANAGE_CHANNEL),
            _ => false,
        };
        if !is_own {
            return Err(LinkError::Io("channel 0 is the modem's: nothing but MANAGE CHANNEL is sent there".to_owned()));
        }
        if let [_, MANAGE_CHANNEL, 0x80, ..] = command {
            return self.close_by_csim(command);
        }
        let answer = self.pass(command, "+CSIM", &csim);
        if matches!((command, &answer), ([_, MANAGE_CHANNEL, 0x00, ..], Err(LinkError::Timeout(_)))) {
            self.close_late();
        }
        answer
    }

    fn open_application(&mut self, aid: &[u8]) -> Result<Opening, LinkError> {
        let aid = hex::encode(aid);
        let quoted = format!("\"{aid}\"");
        let forms = if self.bare_aid { vec![aid] } else { vec![quoted, aid] };
        let mut refused = Refusal::Plain;
        for (number, form) in forms.iter().enumerate() {
            match self.open_by(form)? {
                Ok(values) => {
                    let Some(text) = values.into_iter().find(|text| is_handle(text)) else {
                        return Err(LinkError::Io("+CCHO was answered without a channel".to_owned()));
                    };
                    self.bare_aid |= number == 1;
                    let handle = u32::try_from(self.handles.len()).unwrap_or(u32::MAX);
                    self.handles.push(text);
                    return Ok(Opening::Opened(Handle(handle)));
                }
                Err(Refusal::NoSim) => return Err(LinkError::Removed("the modem has no SIM any more".to_owned())),
                Err(refusal) => refused = refusal,
            }
        }
        Ok(Opening::Refused { status: None, detail: format!("AT+CCHO was answered with {refused}") })
    }

    fn transmit_to(&mut self, application: Handle, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let handle = self.handle(application)?;
        self.pass(command, "+CGLA", &|bytes| format!("AT+CGLA={handle},{},\"{}\"", bytes.len() * 2, hex::encode(bytes)))
    }

    fn close_application(&mut self, application: Handle) {
        if let Ok(name) = self.handle(application) {
            self.close_by(&name);
        }
    }

    fn tell_iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
        self.iccid()
    }

    fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
        self.sim().map(Some)
    }

    fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        self.dir()
    }
}

impl<P> AtLink<P> {
    fn handle(&self, application: Handle) -> Result<String, LinkError> {
        let number = usize::try_from(application.0).ok();
        let handle = number.and_then(|number| self.handles.get(number));
        handle.cloned().ok_or_else(|| LinkError::Io("the modem opened no such channel".to_owned()))
    }
}

/// The response of the card in an answer to a command of this name.
fn taken(
    answer: Result<Result<Values, Refusal>, LinkError>,
    name: &str,
) -> Result<Result<Vec<u8>, Refusal>, LinkError> {
    let values = match answer? {
        Ok(values) => values,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let response = values.iter().find_map(|value| response(value));
    response.map(Ok).ok_or_else(|| LinkError::Io(format!("{name} was answered without a response of the card")))
}

/// The AT command that passes a command on as it is.
fn csim(command: &[u8]) -> String {
    format!("AT+CSIM={},\"{}\"", command.len() * 2, hex::encode(command))
}

/// The PINs of the SIM and of the user belong to the modem, which alone may verify them.
fn refuse_the_modems_own(command: &[u8]) -> Result<(), LinkError> {
    match command {
        [_, VERIFY, _, 0x01 | 0x11, ..] => {
            Err(LinkError::Io("this PIN belongs to the modem, which alone may verify it".to_owned()))
        }
        _ => Ok(()),
    }
}

/// The command with no more than `block` bytes asked for. A card gives the rest when it is asked again.
fn within(command: &[u8], block: Option<u8>) -> Vec<u8> {
    let mut command = command.to_vec();
    if let (Some(block), [_, READ_BINARY | GET_RESPONSE, _, _, le]) = (block, command.as_mut_slice())
        && (*le == 0 || *le > block)
    {
        *le = block;
    }
    command
}

/// A command with data both ways, without its Le; none for any other.
fn without_le_of_case_4(command: &[u8]) -> Option<&[u8]> {
    let lc = usize::from(*command.get(4)?);
    (lc > 0 && command.len() == lc + 6).then(|| command.get(..lc + 5)).flatten()
}

fn status(response: &[u8]) -> Option<StatusWord> {
    response.last_chunk::<2>().map(|status| StatusWord(u16::from_be_bytes(*status)))
}

/// The response in `<length>,"<hex>"`, in the same without quotation marks, or in digits alone.
fn response(value: &str) -> Option<Vec<u8>> {
    let digits = unquoted(value.split_once(',').map_or(value, |(_, digits)| digits));
    let bytes = is_hex(digits).then(|| hex::decode(digits).ok()).flatten()?;
    (2..=MAX_RESPONSE).contains(&bytes.len()).then_some(bytes)
}

fn is_hex_digits(text: &str) -> bool {
    is_handle(text) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_handle(text: &str) -> bool {
    (1..=MAX_HANDLE).contains(&text.len())
}
