//! File control parameters, ETSI TS 102 221 11.1.1.3: what a card tells about a file that was selected.

use crate::file::tlv::{Objects, TlvError, find};

/// What is of use here of a file's parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fcp {
    /// Number of bytes of a transparent file, or of all records (tag 80).
    pub size: Option<usize>,
    /// Length of a record; none where the file has no records (tag 82).
    pub record_length: Option<u8>,
    /// Number of records (tag 82).
    pub records: Option<u8>,
    /// File id (tag 83).
    pub id: Option<u16>,
    /// Name of an application: its full AID (tag 84).
    pub aid: Option<Vec<u8>>,
    /// Short file identifier, 1 to 30 (tag 88); none where the card tells none.
    pub sfi: Option<u8>,
    /// Security attributes as file id and record number of an EF(ARR) (tag 8B).
    pub access_rule: Option<(u16, u8)>,
    /// References of the PINs (tag C6).
    pub pins: Vec<u8>,
}

impl Fcp {
    /// Reads the template 62, or the 6F that ISO readers ask for. Bytes without a template give none of the values;
    /// some cards answer SELECT with nothing or something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlvError> {
        let mut fcp = Self::default();
        let Some(mut template) = find(bytes, 0x62)?.or(find(bytes, 0x6F)?) else {
            return Ok(fcp);
        };
        // An FCI may hold the FCP as one of its objects.
        if let Some(inner) = find(template, 0x62)? {
            template = inner;
        }
        for object in Objects::new(template) {
            let object = object?;
            match (object.tag, object.value) {
                (0x80, value) if value.len() <= 4 => {
                    fcp.size = Some(value.iter().fold(0, |size, byte| size << 8 | usize::from(*byte)));
                }
                (0x82, [descriptor, _, high, low, rest @ ..]) if matches!(descriptor & 0x07, 2..=6) => {
                    // A record length above 255 cannot be read with short commands.
                    fcp.record_length = u8::try_from(u16::from_be_bytes([*high, *low])).ok();
                    fcp.records = rest.last().copied();
                }
                (0x83, [high, low]) => fcp.id = Some(u16::from_be_bytes([*high, *low])),
                (0x88, [coded]) if coded & 0x07 == 0 => fcp.sfi = Some(coded >> 3).filter(|sfi| (1..=30).contains(sfi)),
                (0x84, aid) => fcp.aid = Some(aid.to_vec()),
                (0x8B, [high, low, record]) => fcp.access_rule = Some((u16::from_be_bytes([*high, *low]), *record)),
                (0xC6, status) => {
                    for key in Objects::new(status) {
                        let key = key?;
                        if let (0x83, [reference]) = (key.tag, key.value) {
                            fcp.pins.push(*reference);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(fcp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn parameters_of_the_examples() {
        let file = decode("6217820241218302 5031 80020020 8A01058B032F0601880188").unwrap();
        let fcp = Fcp::parse(&file).unwrap();
        assert_eq!((fcp.size, fcp.id, fcp.access_rule), (Some(32), Some(0x5031), Some((0x2F06, 1))));
        assert_eq!(fcp.sfi, Some(0x11));
        let none = decode("6216820241218302 6430 80020040 8A01058B032F0601 8800").unwrap();
        assert_eq!(Fcp::parse(&none).unwrap().sfi, None, "a file without a short identifier");
        let application =
            decode("62228202 7821 840C A000000063504B43532D3135 8A0105 8B032F0601 C606900140830101").unwrap();
        let fcp = Fcp::parse(&application).unwrap();
        assert_eq!((fcp.size, fcp.pins, fcp.aid.map(|aid| aid.len())), (None, vec![1], Some(12)));
        let records = decode("621A 8205422100 2603 8302 2F00 8002 0072 8A0105 8B032F0601 8801F0").unwrap();
        let fcp = Fcp::parse(&records).unwrap();
        assert_eq!((fcp.record_length, fcp.records), (Some(0x26), Some(3)));
    }
}
