//! Commands to a card and its responses, ISO 7816-4, short lengths only.

mod meaning;

use std::fmt;

pub use meaning::{MEANINGS, StatusMeaning};

/// INS of SELECT.
pub const SELECT: u8 = 0xA4;
/// INS of READ BINARY.
pub const READ_BINARY: u8 = 0xB0;
/// INS of READ RECORD.
pub const READ_RECORD: u8 = 0xB2;
/// INS of GET RESPONSE.
pub const GET_RESPONSE: u8 = 0xC0;
/// INS of MANAGE CHANNEL.
pub const MANAGE_CHANNEL: u8 = 0x70;
/// INS of VERIFY PIN.
pub const VERIFY: u8 = 0x20;
/// INS of STATUS, ETSI TS 102 221.
pub const STATUS: u8 = 0xF2;
/// INS of CHANGE PIN.
pub const CHANGE_PIN: u8 = 0x24;
/// INS of UNBLOCK PIN.
pub const UNBLOCK_PIN: u8 = 0x2C;
/// INS of UPDATE BINARY.
pub const UPDATE_BINARY: u8 = 0xD6;
/// INS of UPDATE RECORD.
pub const UPDATE_RECORD: u8 = 0xDC;
/// INS of CREATE FILE, ETSI TS 102 222.
pub const CREATE_FILE: u8 = 0xE0;
/// INS of DELETE FILE, ETSI TS 102 222.
pub const DELETE_FILE: u8 = 0xE4;

/// The highest logical channel, ETSI TS 102 221.
pub const MAX_CHANNEL: u8 = 19;

/// How commands travel between terminal and card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Protocol {
    /// Byte-wise: a command carries data one way only, the answer to data is fetched by GET RESPONSE.
    #[serde(rename = "T=0")]
    T0,
    /// Block-wise: data both ways.
    #[serde(rename = "T=1")]
    T1,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::T0 => "T=0",
            Self::T1 => "T=1",
        })
    }
}

/// A command on the basic channel, cases 1 to 4 by whether `data` and `le` are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// INS.
    pub ins: u8,
    /// P1.
    pub p1: u8,
    /// P2.
    pub p2: u8,
    /// Data, at most 255 bytes; empty where the command has none.
    pub data: Vec<u8>,
    /// How many bytes are expected: 1 to 255, or 0 for as many as there are (256 at most); none where none are.
    pub le: Option<u8>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // PINs and keys go to the card, and so do messages with their secrets.
        let data = match self.ins {
            VERIFY | CHANGE_PIN | UNBLOCK_PIN | UPDATE_BINARY | UPDATE_RECORD => "hidden".to_owned(),
            _ => crate::hex::encode(&self.data),
        };
        write!(f, "{:02X} {:02X} {:02X} [{data}] Le {:?}", self.ins, self.p1, self.p2, self.le)
    }
}

impl Command {
    /// Case 1: no data either way.
    pub fn case1(ins: u8, p1: u8, p2: u8) -> Self {
        Self { ins, p1, p2, data: Vec::new(), le: None }
    }

    /// Case 2: data from the card.
    pub fn case2(ins: u8, p1: u8, p2: u8, le: u8) -> Self {
        Self { ins, p1, p2, data: Vec::new(), le: Some(le) }
    }

    /// Case 3: data to the card. What is beyond 255 bytes is left out.
    pub fn case3(ins: u8, p1: u8, p2: u8, data: &[u8]) -> Self {
        Self { ins, p1, p2, data: data.iter().take(255).copied().collect(), le: None }
    }

    /// Case 4: data both ways; as many bytes as there are.
    pub fn case4(ins: u8, p1: u8, p2: u8, data: &[u8]) -> Self {
        Self { le: Some(0), ..Self::case3(ins, p1, p2, data) }
    }

    /// The bytes for this channel (0 to 19) and protocol: on T=0 case 1 has five bytes and case 4 goes without Le.
    pub fn encode(&self, channel: u8, protocol: Protocol) -> Vec<u8> {
        let mut bytes = vec![class(channel), self.ins, self.p1, self.p2];
        if let Ok(lc @ 1..) = u8::try_from(self.data.len()) {
            bytes.push(lc);
            bytes.extend_from_slice(&self.data);
        }
        match (self.le, protocol) {
            (Some(le), Protocol::T1) => bytes.push(le),
            (Some(le), Protocol::T0) if self.data.is_empty() => bytes.push(le),
            (None, Protocol::T0) if self.data.is_empty() => bytes.push(0),
            (Some(_), Protocol::T0) | (None, Protocol::T0 | Protocol::T1) => {}
        }
        bytes
    }
}

/// CLA of an interindustry command on this logical channel.
pub fn class(channel: u8) -> u8 {
    match channel {
        0..=3 => channel,
        4.. => 0x40 | (channel - 4) & 0x0F,
    }
}

/// The logical channel that a CLA names; none where it is no plain interindustry or ETSI class.
pub fn channel_of(cla: u8) -> Option<u8> {
    match cla {
        0x00..=0x03 | 0x80..=0x83 => Some(cla & 0x03),
        0x40..=0x4F | 0xC0..=0xCF => Some((cla & 0x0F) + 4),
        _ => None,
    }
}

/// SW1 SW2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Done.
    pub const OK: Self = Self(0x9000);
    /// The end of the file came before Le bytes.
    pub const END_OF_FILE: Self = Self(0x6282);
    /// Wrong length.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// The logical channel is not open, or the card has none.
    pub const NO_CHANNEL: Self = Self(0x6881);
    /// Security status not satisfied: a PIN is missing.
    pub const NOT_ALLOWED: Self = Self(0x6982);
    /// The PIN is blocked.
    pub const BLOCKED: Self = Self(0x6983);
    /// The PIN is disabled or otherwise cannot be used.
    pub const UNUSABLE: Self = Self(0x6984);
    /// No file is selected, or it is of another kind.
    pub const NO_FILE_SELECTED: Self = Self(0x6986);
    /// The application cannot be selected: what Java cards say where there is none.
    pub const NO_SUCH_APPLICATION: Self = Self(0x6999);
    /// The function is not supported.
    pub const NOT_SUPPORTED: Self = Self(0x6A81);
    /// No such file or application.
    pub const NOT_FOUND: Self = Self(0x6A82);
    /// No such record.
    pub const NO_RECORD: Self = Self(0x6A83);
    /// P1 or P2 is not supported.
    pub const WRONG_P1_P2: Self = Self(0x6A86);
    /// The offset lies behind the end of the file; also: P1 or P2 is wrong.
    pub const WRONG_OFFSET: Self = Self(0x6B00);
    /// INS is not supported.
    pub const WRONG_INS: Self = Self(0x6D00);
    /// CLA is not supported.
    pub const WRONG_CLA: Self = Self(0x6E00);

    /// SW1.
    pub fn sw1(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// SW2.
    pub fn sw2(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Whether the command was carried out: 9000, or 91xx of a card that has a proactive command waiting.
    pub fn is_ok(self) -> bool {
        self.sw1() == 0x90 && self.sw2() == 0 || self.sw1() == 0x91
    }

    /// The tries that are left for a PIN, of 63Cx.
    pub fn tries(self) -> Option<u8> {
        (self.0 & 0xFFF0 == 0x63C0).then_some(self.sw2() & 0x0F)
    }

    /// Whether it says that something is not there, or that the card does not know what is asked, as opposed to trouble.
    /// What READ RECORD is answered behind the last record is among it.
    pub fn says_absent(self) -> bool {
        self.says_no_application()
            || matches!(
                self,
                Self::NO_RECORD | Self::WRONG_OFFSET | Self::NO_FILE_SELECTED | Self(0x6981 | 0x6A88 | 0x9402 | 0x9404)
            )
    }

    /// Whether it answers SELECT by AID with: there is no such application. Anything else tells of trouble, and trouble
    /// proves nothing about what is on the card.
    pub fn says_no_application(self) -> bool {
        matches!(
            self,
            Self::NOT_FOUND
                | Self::NO_SUCH_APPLICATION
                | Self::NOT_SUPPORTED
                | Self::WRONG_P1_P2
                | Self::WRONG_INS
                | Self::WRONG_CLA
        )
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}, {}", self.0, self.meaning())
    }
}

/// What a card answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The data, without the status word.
    pub data: Vec<u8>,
    /// How it went.
    pub status: StatusWord,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {}", self.data.len(), self.status)
    }
}

impl Response {
    /// Splits the status word off; none where there is no room for one.
    pub fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let status = StatusWord(u16::from_be_bytes(*bytes.last_chunk::<2>()?));
        bytes.truncate(bytes.len() - 2);
        Some(Self { data: bytes, status })
    }

    /// The bytes as a card sends them.
    pub fn encode(mut self) -> Vec<u8> {
        self.data.extend_from_slice(&self.status.0.to_be_bytes());
        self.data
    }
}

impl From<StatusWord> for Response {
    fn from(status: StatusWord) -> Self {
        Self { data: Vec::new(), status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_cases_have_their_form_in_both_protocols() {
        let cases = [
            (Command::case1(VERIFY, 0, 1), "01200001", "0120000100"),
            (Command::case2(READ_BINARY, 0, 0, 0x20), "01B0000020", "01B0000020"),
            (Command::case3(SELECT, 0, 0x0C, &[0x2F, 0]), "01A4000C022F00", "01A4000C022F00"),
            (Command::case4(SELECT, 8, 4, &[0x2F, 0]), "01A40804022F0000", "01A40804022F00"),
        ];
        for (command, t1, t0) in cases {
            assert_eq!(crate::hex::encode(&command.encode(1, Protocol::T1)), t1);
            assert_eq!(crate::hex::encode(&command.encode(1, Protocol::T0)), t0);
        }
    }

    #[test]
    fn the_class_carries_the_channel() {
        for channel in 0..=MAX_CHANNEL {
            assert_eq!(channel_of(class(channel)), Some(channel));
        }
        assert_eq!((class(3), class(4), class(19)), (0x03, 0x40, 0x4F));
        assert_eq!(channel_of(0x0C), None, "secure messaging");
    }

    #[test]
    fn a_pin_is_not_shown() {
        assert!(!format!("{:?}", Command::case3(VERIFY, 0, 1, b"1234")).contains("31"));
    }
}
