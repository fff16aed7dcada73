//! A modem in memory, with a [`VirtualUicc`] in its slot: bytes with AT commands in, bytes with answers out.
//!
//! It behaves as 3GPP TS 27.007 wants it, but for its [`ModemQuirk`]s. It takes any bytes and never panics.

mod channels;
mod quirk;
mod sim;

use std::time::Duration;

use crate::virtual_uicc::{Reaction, VirtualUicc};

pub use quirk::{ModemQuirk, UnknownQuirk};

/// The longest command line that is taken, in bytes.
const MAX_COMMAND: usize = 1_024;
/// So many commands on channel 0 are kept for [`VirtualModem::basic_channel`].
const MAX_KEPT: usize = 1_000;
/// What nobody asked for, one after the other.
const UNSOLICITED: [&str; 4] = ["+CEREG: 2,\"00A1\",\"0000A201\",7", "RING", "^RSSI: 20", "+CPIN: READY"];

/// A modem that is being used.
#[derive(Debug, Clone)]
pub struct VirtualModem {
    card: Option<VirtualUicc>,
    quirks: Vec<ModemQuirk>,
    /// A command that has not ended yet.
    begun: Vec<u8>,
    echo: bool,
    /// How errors are told: 0 by ERROR, 1 by numbers, 2 by words.
    errors: u8,
    /// The channels that CCHO opened: their names, and their numbers on the card.
    opened: Vec<(String, u8)>,
    basic: Vec<Vec<u8>>,
    passed: u32,
    registration_asked: u32,
    unsolicited: usize,
    /// What the card took and nobody waited for yet.
    delay: Duration,
}

/// An error of 3GPP TS 27.007 9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cme {
    NotAllowed,
    NotSupported,
    NoSim,
    SimFailure,
    SimBusy,
    PinNeeded,
    NotFound,
    MemoryFull,
    WrongParameters,
}

impl Cme {
    fn number(self) -> u8 {
        match self {
            Self::NotAllowed => 3,
            Self::NotSupported => 4,
            Self::NoSim => 10,
            Self::SimFailure => 13,
            Self::SimBusy => 14,
            Self::PinNeeded => 11,
            Self::MemoryFull => 20,
            Self::NotFound => 22,
            Self::WrongParameters => 50,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotAllowed => "operation not allowed",
            Self::NotSupported => "operation not supported",
            Self::NoSim => "SIM not inserted",
            Self::SimFailure => "SIM failure",
            Self::SimBusy => "SIM busy",
            Self::PinNeeded => "SIM PIN required",
            Self::MemoryFull => "memory full",
            Self::NotFound => "not found",
            Self::WrongParameters => "Incorrect parameters",
        }
    }
}

/// References of the PINs that a modem verifies itself: PIN 1 and the universal PIN.
const OWN_PINS: [u8; 2] = [0x01, 0x11];

/// What a command gives: lines, then OK; or an error.
type Answer = Result<Vec<String>, Cme>;

impl VirtualModem {
    /// A modem with this card in its slot.
    pub fn new(card: VirtualUicc, quirks: &[ModemQuirk]) -> Self {
        let card = (!quirks.contains(&ModemQuirk::NoSim)).then_some(card);
        let mut modem = Self {
            card,
            quirks: quirks.to_vec(),
            begun: Vec::new(),
            echo: true,
            errors: 0,
            opened: Vec::new(),
            basic: Vec::new(),
            passed: 0,
            registration_asked: 0,
            unsolicited: 0,
            delay: Duration::ZERO,
        };
        modem.enter_pin();
        modem
    }

    /// The modem's user has entered the PINs of the card that are the modem's own.
    fn enter_pin(&mut self) {
        if !self.has(ModemQuirk::PinPending)
            && let Some(card) = &mut self.card
        {
            OWN_PINS.into_iter().for_each(|reference| card.unlock(reference));
        }
    }

    /// Takes the card out, or puts another one in. All channels are closed by that.
    pub fn set_card(&mut self, card: Option<VirtualUicc>) {
        self.card = card;
        self.opened.clear();
        self.enter_pin();
    }

    /// The card in the slot.
    pub fn card(&self) -> Option<&VirtualUicc> {
        self.card.as_ref()
    }

    /// The commands that the other end sent to channel 0 by CSIM or CGLA, in order, at most 1,000. What the modem itself
    /// does there, for CRSM and CIMI, is not among them.
    pub fn basic_channel(&self) -> &[Vec<u8>] {
        &self.basic
    }

    /// How many commands of the other end reached the card, opening and closing of channels included.
    pub fn passed(&self) -> u32 {
        self.passed
    }

    /// How many channels are open that CCHO opened.
    pub fn open_channels(&self) -> usize {
        self.opened.len()
    }

    /// The time that the card took for the answers since this was asked last: whoever serves the modem waits so long
    /// before it passes them on.
    pub fn take_delay(&mut self) -> Duration {
        std::mem::take(&mut self.delay)
    }

    /// What the card makes of a command, faults included. The modem resets a card that stays silent (ISO 7816-3), and the
    /// channels are gone with a card that was reset.
    fn ask_card(&mut self, command: &[u8]) -> Result<Vec<u8>, Cme> {
        let card = self.card.as_mut().ok_or(Cme::NoSim)?;
        match card.react(command) {
            Reaction::Answer(answer, after) => {
                self.delay += after;
                Ok(answer)
            }
            Reaction::Silence => {
                card.reset();
                self.was_reset();
                Err(Cme::SimFailure)
            }
            Reaction::WasReset => {
                self.was_reset();
                Err(Cme::SimBusy)
            }
            Reaction::Gone => {
                self.set_card(None);
                Err(Cme::NoSim)
            }
        }
    }

    fn was_reset(&mut self) {
        self.opened.clear();
        self.enter_pin();
    }

    fn has(&self, quirk: ModemQuirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Takes bytes as they come, and gives what the modem sends.
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            if self.echo {
                out.push(*byte);
            }
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.begun);
                    if !line.is_empty() {
                        self.carry_out(&line, &mut out);
                    }
                }
                _ if self.begun.len() <= MAX_COMMAND => self.begun.push(*byte),
                _ => {}
            }
        }
        out
    }

    fn carry_out(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let command = std::str::from_utf8(line).ok().filter(|_| line.len() <= MAX_COMMAND);
        let answer = command.map_or(Err(Cme::WrongParameters), |command| self.command(command.trim()));
        let end = match answer {
            Ok(lines) => {
                lines.iter().for_each(|line| self.send(line, out));
                "OK".to_owned()
            }
            Err(error) => self.error(error),
        };
        self.send(&end, out);
    }

    fn send(&mut self, line: &str, out: &mut Vec<u8>) {
        if self.has(ModemQuirk::Unsolicited) {
            let words = UNSOLICITED.iter().cycle().nth(self.unsolicited % UNSOLICITED.len()).unwrap_or(&"RING");
            self.unsolicited = self.unsolicited.wrapping_add(1);
            out.extend(format!("\r\n{words}\r\n\r\n").bytes());
        }
        out.extend(format!("\r\n{line}\r\n").bytes());
    }

    fn error(&self, error: Cme) -> String {
        let errors = match self.errors {
            _ if self.has(ModemQuirk::ErrorsPlain) => 0,
            _ if self.has(ModemQuirk::ErrorsInWords) => 2,
            errors => errors,
        };
        match errors {
            0 => "ERROR".to_owned(),
            1 => format!("+CME ERROR: {}", error.number()),
            _ => format!("+CME ERROR: {}", error.words()),
        }
    }

    fn command(&mut self, command: &str) -> Answer {
        let upper = command.to_ascii_uppercase();
        let Some(body) = upper.strip_prefix("AT") else { return Err(Cme::WrongParameters) };
        // Names of channels may have small letters.
        let parameters = command.split_once('=').map_or("", |(_, parameters)| parameters);
        let done = Ok(Vec::new());
        match body.split_once('=').map_or((body, false), |(name, _)| (name, true)) {
            ("", false) => done,
            ("E0", false) => {
                self.echo = self.has(ModemQuirk::Echo);
                done
            }
            ("E1", false) => {
                self.echo = true;
                done
            }
            ("+CMEE", true) => {
                self.errors = parameters.parse().ok().filter(|mode| *mode <= 2).ok_or(Cme::WrongParameters)?;
                done
            }
            ("+CPIN?", false) => self.cpin(),
            ("+CIMI", false) => self.cimi(),
            ("+CCID", false) => self.ccid(),
            ("+CEREG?" | "+CGREG?" | "+CREG?", false) => Ok(vec![self.registration(body.trim_end_matches('?'))]),
            ("+CRSM", true) if !self.has(ModemQuirk::NoCrsm) => self.crsm(parameters),
            ("+CCHO", true) if !self.has(ModemQuirk::NoCcho) => self.ccho(parameters),
            ("+CGLA", true) if !self.has(ModemQuirk::NoCcho) => self.cgla(parameters),
            ("+CCHC", true) if !self.has(ModemQuirk::NoCcho) && !self.has(ModemQuirk::NoCchc) => self.cchc(parameters),
            ("+CSIM", true) if !self.has(ModemQuirk::NoCsim) => self.csim(parameters),
            _ => Err(Cme::NotSupported),
        }
    }
}
