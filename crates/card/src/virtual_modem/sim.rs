//! CPIN, CIMI, CCID, CRSM and registration: what the modem does on channel 0 itself.

use super::{Answer, Cme, ModemQuirk, VirtualModem};
use crate::apdu::{GET_RESPONSE, READ_BINARY, READ_RECORD, SELECT};
use crate::file::digits;
use crate::hex;
use crate::pkcs15::dir::USIM;

/// So often a modem that registers late says that it is searching.
const SEARCHES: u32 = 6;

impl VirtualModem {
    pub(super) fn cpin(&self) -> Answer {
        match self.card {
            None => Err(Cme::NoSim),
            Some(_) if self.has(ModemQuirk::PinPending) => Ok(vec!["+CPIN: SIM PIN".to_owned()]),
            Some(_) => Ok(vec!["+CPIN: READY".to_owned()]),
        }
    }

    pub(super) fn cimi(&mut self) -> Answer {
        if self.has(ModemQuirk::PinPending) {
            return Err(Cme::PinNeeded);
        }
        self.select_own(0x6F07)?;
        let response = self.own(&[0, READ_BINARY, 0, 0, 9])?;
        let [content @ .., 0x90, 0x00] = response.as_slice() else { return Err(Cme::NotFound) };
        let [length, digits @ ..] = content else { return Err(Cme::NotFound) };
        let halves = digits.iter().take(usize::from(*length)).flat_map(|byte| [byte & 0x0F, byte >> 4]).skip(1);
        Ok(vec![halves.take_while(|half| *half <= 9).filter_map(|half| char::from_digit(half.into(), 10)).collect()])
    }

    pub(super) fn ccid(&mut self) -> Answer {
        self.select_own(0x2FE2)?;
        let response = self.own(&[0, READ_BINARY, 0, 0, 10])?;
        let iccid = digits::iccid(response.get(..10).unwrap_or_default()).ok_or(Cme::NotFound)?;
        Ok(vec![if self.has(ModemQuirk::Bare) { format!("{iccid}F") } else { format!("+CCID: \"{iccid}\"") }])
    }

    pub(super) fn registration(&mut self, name: &str) -> String {
        self.registration_asked = self.registration_asked.saturating_add(1);
        let is_late = self.has(ModemQuirk::RegistrationLate) && self.registration_asked <= SEARCHES;
        let state = if is_late || self.has(ModemQuirk::NotRegistered) || self.card.is_none() { 2 } else { 1 };
        format!("{name}: 0,{state}")
    }

    /// Reads a file: what to do, the file, P1, P2, P3.
    pub(super) fn crsm(&mut self, parameters: &str) -> Answer {
        let numbers: Vec<u16> = parameters.split(',').map_while(|field| field.trim().parse().ok()).collect();
        let [ins, file, p1, p2, p3] = numbers.as_slice() else { return Err(Cme::WrongParameters) };
        let byte = |number: &u16| u8::try_from(*number).map_err(|_| Cme::WrongParameters);
        let (ins, p1, p2, p3) = (byte(ins)?, byte(p1)?, byte(p2)?, byte(p3)?);
        let parameters = self.select_own(*file)?;
        let response = match ins {
            READ_BINARY | READ_RECORD => self.own(&[0, ins, p1, p2, p3])?,
            GET_RESPONSE => parameters,
            _ => return Err(Cme::NotSupported),
        };
        let Some((content, [sw1, sw2])) = response.split_last_chunk::<2>() else { return Err(Cme::NotFound) };
        let digits = hex::encode(content);
        Ok(vec![match digits.as_str() {
            "" => format!("+CRSM: {sw1},{sw2}"),
            _ if self.has(ModemQuirk::Bare) => format!("+CRSM: {sw1},{sw2},{digits}"),
            _ => format!("+CRSM: {sw1},{sw2},\"{digits}\""),
        }])
    }

    /// Selects a file under the MF, or in the USIM, and gives its parameters with the status.
    fn select_own(&mut self, file: u16) -> Result<Vec<u8>, Cme> {
        let [high, low] = file.to_be_bytes();
        if high == 0x2F {
            return self.select_own_by(0x08, &[high, low]);
        }
        self.select_own_by(0x04, &USIM)?;
        self.select_own_by(0x08, &[0x7F, 0xFF, high, low])
    }

    fn select_own_by(&mut self, p1: u8, data: &[u8]) -> Result<Vec<u8>, Cme> {
        let length = u8::try_from(data.len()).map_err(|_| Cme::WrongParameters)?;
        let response = self.own(&[&[0, SELECT, p1, 0x04, length], data].concat())?;
        match response.as_slice() {
            [0x61, le] => self.own(&[0, GET_RESPONSE, 0, 0, *le]),
            [.., 0x90 | 0x91, _] => Ok(response),
            _ => Err(Cme::NotFound),
        }
    }

    /// A command of the modem itself, on channel 0.
    fn own(&mut self, command: &[u8]) -> Result<Vec<u8>, Cme> {
        self.ask_card(command)
    }
}
