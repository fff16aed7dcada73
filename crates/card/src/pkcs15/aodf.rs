//! EF(AODF): PIN objects.

use crate::file::tlv::{Objects, Tlv, find, object};
use crate::pkcs15::{StructureError, text};

/// A PIN object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinObject {
    /// Its name for people.
    pub label: Option<String>,
    /// What data objects call it.
    pub auth_id: Vec<u8>,
    /// P2 of VERIFY.
    pub reference: u8,
    /// Whether readers have to pad the PIN to its stored length.
    pub needs_padding: bool,
}

impl PinObject {
    /// The PIN objects of the file in order. Other authentication objects are passed over.
    pub fn parse_all(bytes: &[u8]) -> impl Iterator<Item = Result<Self, StructureError>> {
        Objects::new(bytes).filter_map(|entry| match entry {
            Ok(Tlv { tag: 0x30, value }) => Some(Self::parse(value)),
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    fn parse(entry: &[u8]) -> Result<Self, StructureError> {
        let mut sequences = Objects::new(entry).filter(|part| !matches!(part, Ok(Tlv { tag, .. }) if *tag != 0x30));
        let common = sequences.next().transpose()?.ok_or(StructureError::Missing("the label of a PIN"))?.value;
        let class = sequences.next().transpose()?.ok_or(StructureError::Missing("the authId of a PIN"))?.value;
        let kind = find(entry, 0xA1)?.ok_or(StructureError::Missing("the attributes of a PIN"))?;
        let attributes = find(kind, 0x30)?.ok_or(StructureError::Missing("the attributes of a PIN"))?;
        let flags = find(attributes, 0x03)?.unwrap_or_default();
        Ok(Self {
            label: find(common, 0x0C)?.map(text),
            auth_id: find(class, 0x04)?.ok_or(StructureError::Missing("the authId of a PIN"))?.to_vec(),
            reference: find(attributes, 0x80)?.and_then(|value| value.last().copied()).unwrap_or(0),
            needs_padding: flags.get(1).is_some_and(|bits| bits & 0x04 != 0),
        })
    }

    /// The entry as we write it: initialized, needs padding, ASCII digits, at least 4, stored as 8, FF behind them.
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.needs_padding { 0x0C } else { 0x08 };
        let attributes = [
            &[0x03, 0x02, 0x02, flags][..],
            &[0x0A, 0x01, 0x01, 0x02, 0x01, 0x04, 0x02, 0x01, 0x08],
            &[0x80, 0x01, self.reference, 0x04, 0x01, 0xFF],
        ]
        .concat();
        let label = self.label.iter().flat_map(|label| object(0x0C, label.as_bytes())).collect::<Vec<_>>();
        let parts = [
            object(0x30, &label),
            object(0x30, &object(0x04, &self.auth_id)),
            object(0xA1, &object(0x30, &attributes)),
        ];
        object(0x30, &parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    const EXAMPLE: &str = "302330050C0350494E3003040101A11530130302020C0A0101020104020108800101040 1FF";

    #[test]
    fn the_file_of_the_examples() {
        let bytes = decode(&EXAMPLE.replace(' ', "")).unwrap();
        let pin = PinObject::parse_all(&bytes).next().unwrap().unwrap();
        assert_eq!((pin.auth_id.as_slice(), pin.reference, pin.needs_padding), (&[1][..], 1, true));
        assert_eq!(pin.encode(), bytes);
        for cut in 1..bytes.len() {
            assert!(matches!(PinObject::parse_all(&bytes[..cut]).next(), Some(Err(_))), "{cut}");
        }
    }
}
