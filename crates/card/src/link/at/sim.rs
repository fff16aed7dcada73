//! What a modem tells of its SIM by itself.

use super::lines::{PinState, Question, Refusal, is_digits, is_hex, is_registered, registration, unquoted};
use super::{AtLink, Port};
use crate::apdu::StatusWord;
use crate::file::digits;
use crate::file::fcp::Fcp;
use crate::hex;
use crate::link::{LinkError, ToldSim};
use omadm_core::ids::{Iccid, Mcc, Mnc};

/// EF(ICCID), 2FE2, 10 bytes.
const READ_ICCID: &str = "AT+CRSM=176,12258,0,0,10";
/// EF(AD), 6FAD, 4 bytes.
const READ_AD: &str = "AT+CRSM=176,28589,0,0,4";
/// GET RESPONSE for EF(DIR), 2F00: its parameters.
const DIR_PARAMETERS: &str = "AT+CRSM=192,12032,0,0,0";
/// At most this many records of EF(DIR) are read.
const MAX_RECORDS: u8 = 16;
/// What a modem may be registered by, 3GPP TS 27.007 and 24.501: LTE, 5G, packets, circuits.
const REGISTRATIONS: [&str; 4] = ["+CEREG", "+C5GREG", "+CGREG", "+CREG"];

impl<P: Port> AtLink<P> {
    /// What CPIN says.
    pub(super) fn pin_state(&mut self) -> Result<Result<PinState, Refusal>, LinkError> {
        let question = Question { command: "AT+CPIN?", names: &["+CPIN"], bare: |_| false };
        Ok(match self.modem.ask(&question)? {
            Ok(values) => values.first().map(|value| PinState::parse(value)).ok_or(Refusal::Plain),
            Err(Refusal::NoSim) => Ok(PinState::NoSim),
            Err(Refusal::PinPending) => Ok(PinState::Waiting("SIM PIN".to_owned())),
            Err(refusal) => Err(refusal),
        })
    }

    pub(super) fn iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
        if let Some((content, StatusWord::OK)) = self.read_file(READ_ICCID)?
            && let Some(iccid) = digits::iccid(&content)
        {
            return Ok(Some(iccid));
        }
        let question = Question { command: "AT+CCID", names: &["+CCID", "+ICCID"], bare: is_iccid };
        let values = self.answered(&question)?;
        let number = values.iter().find_map(|value| {
            let number = unquoted(value).trim_end_matches(['F', 'f']);
            is_iccid(number).then(|| number.parse().ok()).flatten()
        });
        Ok(number)
    }

    pub(super) fn sim(&mut self) -> Result<ToldSim, LinkError> {
        let not_ready = match self.pin_state()? {
            Ok(PinState::Ready) => None,
            Ok(PinState::NoSim) => return Err(LinkError::Removed("the modem has no SIM any more".to_owned())),
            Ok(PinState::Starting) => Some("the modem is still starting its SIM".to_owned()),
            Ok(PinState::Waiting(what)) => Some(format!("the modem says of its SIM: {what}")),
            Err(refusal) => Some(format!("the modem does not say whether its SIM is ready: {refusal}")),
        };
        if not_ready.is_some() {
            return Ok(ToldSim { network: None, not_ready });
        }
        Ok(ToldSim { network: self.home_network()?, not_ready: self.not_registered()? })
    }

    /// MCC and MNC of the home network. The rest of the IMSI is not looked at (Profile P-26).
    fn home_network(&mut self) -> Result<Option<(Mcc, Mnc)>, LinkError> {
        let question = Question { command: "AT+CIMI", names: &["+CIMI"], bare: is_imsi };
        let values = self.answered(&question)?;
        let Some(imsi) = values.iter().map(|value| unquoted(value)).find(|value| is_imsi(value)) else {
            return Ok(None);
        };
        let imsi = digits::encode_imsi(imsi);
        let ad = self.read_file(READ_AD)?.map(|(content, _)| content);
        Ok(digits::home_network(&imsi, ad.as_deref()))
    }

    /// Why the modem counts as not registered; none where any of its networks says that it is.
    fn not_registered(&mut self) -> Result<Option<String>, LinkError> {
        let mut said = Vec::new();
        for name in REGISTRATIONS {
            let command = format!("AT{name}?");
            let question = Question { command: &command, names: &[name], bare: |_| false };
            for state in self.answered(&question)?.iter().filter_map(|value| registration(value)) {
                if is_registered(state) {
                    return Ok(None);
                }
                said.push(format!("{name}: {state}"));
            }
        }
        let said = if said.is_empty() { "it does not tell of any network".to_owned() } else { said.join(", ") };
        Ok(Some(format!("the modem is not registered in a network yet ({said})")))
    }

    /// The records of EF(DIR), all of them or none: a list that is not whole proves nothing.
    pub(super) fn dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        let mut records = Vec::new();
        let mut length = None;
        for number in 1..=MAX_RECORDS {
            match self.read_record(number, &mut length)? {
                Some((record, status)) if status.is_ok() => records.push(record),
                Some((_, status)) if status.says_absent() => break,
                Some(_) | None => return Ok(Vec::new()),
            }
        }
        Ok(records)
    }

    /// One record of EF(DIR), counted from 1, and the status of the card. `length` is that of a record, once it is known.
    fn read_record(&mut self, number: u8, length: &mut Option<u8>) -> Result<Option<(Vec<u8>, StatusWord)>, LinkError> {
        let read = |length: u8| format!("AT+CRSM=178,12032,{number},4,{length}");
        let mut answer = self.read_file(&read(length.unwrap_or(0)))?;
        if length.is_none() {
            let right = match &answer {
                Some((content, StatusWord::OK)) if !content.is_empty() => return Ok(answer),
                Some((_, status)) if status.says_absent() => return Ok(answer),
                Some((_, status)) if status.sw1() == 0x6C => Some(status.sw2()),
                Some(_) | None => {
                    let parameters = self.read_file(DIR_PARAMETERS)?;
                    parameters.and_then(|(content, _)| Fcp::parse(&content).ok()).and_then(|fcp| fcp.record_length)
                }
            };
            let Some(right) = right.filter(|right| *right > 0) else { return Ok(None) };
            *length = Some(right);
            answer = self.read_file(&read(right))?;
        }
        Ok(answer.filter(|(content, status)| !(status.is_ok() && content.is_empty())))
    }

    /// Has the modem read a file, and gives what it read and the status of the card; none where it refuses.
    fn read_file(&mut self, command: &str) -> Result<Option<(Vec<u8>, StatusWord)>, LinkError> {
        let question = Question { command, names: &["+CRSM"], bare: |_| false };
        let values = self.answered(&question)?;
        Ok(values.iter().find_map(|value| {
            let mut fields = value.splitn(3, ',').map(str::trim);
            let (sw1, sw2) = (fields.next()?.parse::<u8>().ok()?, fields.next()?.parse::<u8>().ok()?);
            let content = fields.next().map(unquoted).filter(|content| is_hex(content));
            let content = content.and_then(|content| hex::decode(content).ok()).unwrap_or_default();
            Some((content, StatusWord(u16::from_be_bytes([sw1, sw2]))))
        }))
    }

    /// The lines of an answer; none where the modem refuses.
    fn answered(&mut self, question: &Question<'_>) -> Result<Vec<String>, LinkError> {
        match self.modem.ask(question)? {
            Ok(values) => Ok(values),
            Err(Refusal::NoSim) => Err(LinkError::Removed("the modem has no SIM any more".to_owned())),
            Err(Refusal::Plain | Refusal::PinPending | Refusal::Number(_)) => Ok(Vec::new()),
        }
    }
}

/// Whether it can be an ICCID, with or without its padding.
fn is_iccid(text: &str) -> bool {
    let number = unquoted(text).trim_end_matches(['F', 'f']);
    (18..=20).contains(&number.len()) && is_digits(number)
}

fn is_imsi(text: &str) -> bool {
    let number = unquoted(text);
    (6..=15).contains(&number.len()) && is_digits(number)
}
