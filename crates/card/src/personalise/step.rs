//! What is done to a card, one command at a time.

use crate::apdu::{Command, SELECT, VERIFY};
use crate::file::tlv::object;
use crate::hex;
use crate::personalise::key::AdmKey;

/// INS of UPDATE BINARY.
pub(crate) const UPDATE_BINARY: u8 = 0xD6;
/// INS of CREATE FILE, ETSI TS 102 222 6.3.
pub(crate) const CREATE_FILE: u8 = 0xE0;
/// The most bytes of one UPDATE BINARY.
pub(crate) const BLOCK: usize = 255;
/// The highest offset that UPDATE BINARY reaches.
pub(crate) const MAX_OFFSET: usize = 0x7FFF;

/// One command, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the card is told to do.
    pub action: Action,
    /// What that is for, in words; holds nothing of what is written.
    pub about: String,
}

/// What a card is told to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// SELECT an application by its AID.
    SelectApplication {
        /// The AID, 5 to 16 bytes.
        aid: Vec<u8>,
    },
    /// SELECT the DF of an application by its path from the MF, where its AID does not select it.
    SelectDf {
        /// Identifiers of two bytes each, without that of the MF.
        path: Vec<u8>,
    },
    /// SELECT a file by its path from the MF; 7FFF stands for the application that is selected.
    SelectFile {
        /// Identifiers of two bytes each.
        path: Vec<u8>,
    },
    /// VERIFY the key of the administrator.
    VerifyKey {
        /// P2 of VERIFY.
        reference: u8,
    },
    /// CREATE FILE in the application that is selected.
    CreateFile {
        /// Which file.
        file: NewFile,
    },
    /// UPDATE BINARY in the file that is selected.
    UpdateBinary {
        /// Where, 0 to 32,767.
        offset: u16,
        /// The bytes, 1 to 255.
        data: Vec<u8>,
    },
}

/// A transparent file to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFile {
    /// Its identifier.
    pub id: u16,
    /// Its bytes.
    pub size: u16,
    /// Who may do what with it.
    pub rule: RuleRef,
}

/// A record of an EF(ARR), which says who may do what with a file, ETSI TS 102 221 9.2.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleRef {
    /// Identifier of the EF(ARR).
    pub file: u16,
    /// The record, from 1.
    pub record: u8,
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04X}:{}", self.file, self.record)
    }
}

impl std::str::FromStr for RuleRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a file of four hexadecimal digits, a colon and a record from 1 are expected, such as 2F06:3";
        let (file, record) = text.split_once(':').ok_or(wrong)?;
        let is_file = file.len() == 4 && file.bytes().all(|digit| digit.is_ascii_hexdigit());
        let file = u16::from_str_radix(file, 16).ok().filter(|_| is_file).ok_or(wrong)?;
        let record = record.parse().ok().filter(|record| *record > 0).ok_or(wrong)?;
        Ok(Self { file, record })
    }
}

impl NewFile {
    /// The file's parameters as CREATE FILE wants them, ETSI TS 102 222 6.3.2: shareable working EF, transparent,
    /// activated, without a short identifier.
    pub fn parameters(&self) -> Vec<u8> {
        let [high, low] = self.rule.file.to_be_bytes();
        let parts = [
            object(0x82, &[0x41, 0x21]),
            object(0x83, &self.id.to_be_bytes()),
            object(0x8A, &[0x05]),
            object(0x8B, &[high, low, self.rule.record]),
            object(0x80, &self.size.to_be_bytes()),
            object(0x88, &[]),
        ];
        object(0x62, &parts.concat())
    }
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SelectApplication { aid } => write!(f, "select application {}", hex::encode(aid)),
            Self::SelectDf { path } => write!(f, "select DF {}", hex::encode(path)),
            Self::SelectFile { path } => write!(f, "select {}", hex::encode(path)),
            Self::VerifyKey { reference } => write!(f, "verify {reference:02X}"),
            Self::CreateFile { file } => write!(f, "create {file:?}"),
            // What is written may hold secrets.
            Self::UpdateBinary { offset, data } => write!(f, "update {} bytes at {offset}", data.len()),
        }
    }
}

impl Action {
    /// The command as it is sent. VERIFY without a key asks for the state and spends no try.
    pub(crate) fn command(&self, key: Option<&AdmKey>) -> Command {
        match self {
            Self::SelectApplication { aid } => Command::case3(SELECT, 0x04, 0x0C, aid),
            Self::SelectDf { path } | Self::SelectFile { path } => Command::case3(SELECT, 0x08, 0x0C, path),
            Self::VerifyKey { reference } => match key {
                Some(key) => Command::case3(VERIFY, 0, *reference, key.expose()),
                None => Command::case1(VERIFY, 0, *reference),
            },
            Self::CreateFile { file } => Command::case3(CREATE_FILE, 0, 0, &file.parameters()),
            Self::UpdateBinary { offset, data } => {
                let [high, low] = offset.to_be_bytes();
                Command::case3(UPDATE_BINARY, high, low, data)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_new_file() {
        let file = NewFile { id: 0x6434, size: 300, rule: RuleRef { file: 0x2F06, record: 3 } };
        let wanted = "6216 82024121 83026434 8A0105 8B032F0603 8002012C 8800";
        assert_eq!(file.parameters(), hex::decode(wanted).unwrap());
    }

    #[test]
    fn a_rule_is_named_by_file_and_record() {
        let rule = RuleRef { file: 0x2F06, record: 12 };
        assert_eq!("2F06:12".parse(), Ok(rule));
        assert_eq!(rule.to_string(), "2F06:12");
        for bad in ["2F06", "2F06:0", "2F06:256", "F06:1", "+F06:1", "2F06:", ":1"] {
            assert!(bad.parse::<RuleRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_not_shown() {
        let step = Action::UpdateBinary { offset: 1, data: b"secret".to_vec() };
        assert_eq!(format!("{step:?}"), "update 6 bytes at 1");
    }
}
