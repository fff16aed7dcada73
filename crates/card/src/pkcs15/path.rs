//! Where an object lies: file identifiers from some DF on, and a part of the file.

use crate::file::tlv::{Objects, object};
use crate::hex;
use crate::pkcs15::StructureError;

const MF: [u8; 2] = [0x3F, 0x00];
/// Stands for the application that is selected.
const CURRENT_ADF: [u8; 2] = [0x7F, 0xFF];

/// A path as in `30{04 path, 02 index, 80 length}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    ids: Vec<u8>,
    /// Where in the file the object begins; 0 if not said.
    pub index: usize,
    /// How long the object is; to the end of the file if not said.
    pub length: Option<usize>,
}

impl Path {
    /// The bare id of a file in the application.
    pub fn bare(id: u16) -> Self {
        Self { ids: id.to_be_bytes().to_vec(), index: 0, length: None }
    }

    /// Reads the content of the SEQUENCE.
    pub fn parse(bytes: &[u8]) -> Result<Self, StructureError> {
        let mut path = None;
        let (mut index, mut length) = (0, None);
        for object in Objects::new(bytes) {
            let object = object?;
            match object.tag {
                0x04 if path.is_none() => path = Some(object.value),
                0x02 => index = number(object.value).ok_or(StructureError::Missing("a usable index"))?,
                0x80 => length = Some(number(object.value).ok_or(StructureError::Missing("a usable length"))?),
                _ => {}
            }
        }
        let ids = path.ok_or(StructureError::Missing("the path"))?;
        // FFFF is no identifier but padding where a path was cut.
        if ids.is_empty() || ids.len() % 2 != 0 || ids.len() > 16 || ids.as_chunks::<2>().0.contains(&[0xFF; 2]) {
            return Err(StructureError::Path(hex::encode(ids.get(..20).unwrap_or(ids))));
        }
        Ok(Self { ids: ids.to_vec(), index, length })
    }

    /// The SEQUENCE as we write it.
    pub fn encode(&self) -> Vec<u8> {
        object(0x30, &object(0x04, &self.ids))
    }

    /// The identifier of the file itself.
    pub fn file_id(&self) -> u16 {
        self.ids.last_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id))
    }

    /// Whether both name the same part of the same file of the application whose DF has this path.
    pub fn is_same_place(&self, other: &Self, df: &[u8]) -> bool {
        (self.index, self.length) == (other.index, other.length)
            && self.selections(df).first() == other.selections(df).first()
    }

    /// What to send with SELECT by path from the MF (P1 = 08), in the order to try; `df` is the path of the
    /// application's DF without the MF.
    pub fn selections(&self, df: &[u8]) -> Vec<Vec<u8>> {
        let below_adf = |rest: &[u8]| [&CURRENT_ADF[..], rest].concat();
        match self.ids.strip_prefix(&MF) {
            // ISO: the identifier of the MF is not sent.
            Some(rest) => match rest.strip_prefix(df).filter(|rest| !df.is_empty() && !rest.is_empty()) {
                Some(below) => vec![below_adf(below), rest.to_vec()],
                None => vec![rest.to_vec()],
            },
            None if self.ids.starts_with(&CURRENT_ADF) => vec![self.ids.clone()],
            None => match self.ids.strip_prefix(df).filter(|rest| !df.is_empty() && !rest.is_empty()) {
                Some(below) => vec![below_adf(below), self.ids.clone()],
                None => vec![below_adf(&self.ids)],
            },
        }
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.ids))
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    let significant =
        bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |first| bytes.get(first..).unwrap_or(&[]));
    (significant.len() <= 2).then(|| significant.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selections(path: &str, df: &str) -> Vec<String> {
        let encoded = object(0x04, &hex::decode(path).unwrap());
        let path = Path::parse(&encoded).unwrap();
        path.selections(&hex::decode(df).unwrap()).iter().map(|data| hex::encode(data)).collect()
    }

    #[test]
    fn every_form_of_a_path() {
        assert_eq!(selections("6434", "7F50"), ["7FFF6434"]);
        assert_eq!(selections("7FFF6434", "7F50"), ["7FFF6434"]);
        assert_eq!(selections("3F007F506434", "7F50"), ["7FFF6434", "7F506434"]);
        assert_eq!(selections("3F007F106434", "7F50"), ["7F106434"]);
        assert_eq!(selections("3F006434", "7F50"), ["6434"]);
        assert_eq!(selections("7F506434", "7F50"), ["7FFF6434", "7F506434"]);
        assert_eq!(selections("3F007F506434", ""), ["7F506434"]);
    }

    #[test]
    fn index_and_length_are_read_and_bounded() {
        let path = Path::parse(&hex::decode("04 02 64 34 02 01 10 80 02 01 00").unwrap()).unwrap();
        assert_eq!((path.index, path.length, path.file_id()), (16, Some(256), 0x6434));
        for bad in [
            "",
            "0400",
            "0401AA",
            "04026434 0203010000",
            "0412 3F003F003F003F003F003F003F003F003F00",
            "0403",
            "0402FFFF",
        ] {
            assert!(Path::parse(&hex::decode(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
