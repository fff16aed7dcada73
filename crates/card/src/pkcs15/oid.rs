//! Object identifiers, as text with dots and as the content of a DER object.

use std::fmt;
use std::str::FromStr;

use super::{DM_BOOTSTRAP_OID, LWM2M_BOOTSTRAP_OID};

/// The most bytes of an identifier's content.
const MAX_LENGTH: usize = 32;

/// An object identifier: the content of its DER object, without tag and length; at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId(Vec<u8>);

/// Why text is no object identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an object identifier such as 2.23.43.7.1 is expected: numbers with dots, the first 0 to 2, the second below 40 behind 0 or 1"
)]
pub struct NoObjectId;

impl ObjectId {
    /// The OMA DM bootstrap object, 2.23.43.7.1.
    pub fn dm_bootstrap() -> Self {
        Self(DM_BOOTSTRAP_OID.to_vec())
    }

    /// The LwM2M bootstrap object, 2.23.43.9.1.
    pub fn lwm2m_bootstrap() -> Self {
        Self(LWM2M_BOOTSTRAP_OID.to_vec())
    }

    /// Takes the content of a DER object; none where it is empty, too long, or ends within a number.
    pub fn from_content(content: &[u8]) -> Option<Self> {
        let is_whole = content.last().is_some_and(|byte| byte & 0x80 == 0) && content.len() <= MAX_LENGTH;
        is_whole.then(|| Self(content.to_vec()))
    }

    /// The content of its DER object.
    pub fn content(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for ObjectId {
    type Err = NoObjectId;

    fn from_str(text: &str) -> Result<Self, NoObjectId> {
        let is_number = |text: &&str| text.bytes().all(|digit| digit.is_ascii_digit());
        let numbers: Option<Vec<u64>> =
            text.split('.').map(|number| Some(number).filter(is_number)?.parse().ok()).collect();
        let numbers = numbers.ok_or(NoObjectId)?;
        let [root @ 0..=2, second, rest @ ..] = numbers.as_slice() else { return Err(NoObjectId) };
        if *root < 2 && *second >= 40 {
            return Err(NoObjectId);
        }
        let first = second.checked_add(root * 40).ok_or(NoObjectId)?;
        let mut content = Vec::new();
        for number in [first].iter().chain(rest) {
            let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
            for group in (0..groups).rev() {
                let bits = u8::try_from(number >> (group * 7) & 0x7F).unwrap_or(0);
                content.push(if group == 0 { bits } else { bits | 0x80 });
            }
        }
        Self::from_content(&content).ok_or(NoObjectId)
    }
}

impl fmt::Display for ObjectId {
    /// With dots; a number beyond 64 bits is shown as `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = Some(0_u64);
        let mut is_first = true;
        for byte in &self.0 {
            let shifted = number.filter(|number| number.leading_zeros() >= 7).map(|number| number << 7);
            number = shifted.map(|number| number | u64::from(byte & 0x7F));
            if byte & 0x80 != 0 {
                continue;
            }
            match (is_first, number) {
                (true, Some(number)) => {
                    let root = (number / 40).min(2);
                    write!(f, "{root}.{}", number - root * 40)?;
                }
                (true, None) => f.write_str("2.?")?,
                (false, Some(number)) => write!(f, ".{number}")?,
                (false, None) => f.write_str(".?")?,
            }
            number = Some(0);
            is_first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_content_are_the_same_identifier() {
        for (text, content) in [
            ("2.23.43.7.1", &DM_BOOTSTRAP_OID[..]),
            ("2.23.43.9.1", &LWM2M_BOOTSTRAP_OID),
            ("1.2.840.113549.1.15.3.1", &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x0F, 0x03, 0x01]),
            ("2.999.0", &[0x88, 0x37, 0x00]),
            ("0.39", &[39]),
        ] {
            let id: ObjectId = text.parse().unwrap();
            assert_eq!((id.content(), id.to_string().as_str()), (content, text));
            assert_eq!(ObjectId::from_content(content), Some(id));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "2", "3.1", "1.40", "2.23.", "2.-1", "2.+1", "2.18446744073709551615.1", "a.b", "2..1"] {
            assert_eq!(text.parse::<ObjectId>(), Err(NoObjectId), "{text}");
        }
        assert_eq!(format!("2.1{}", ".1".repeat(40)).parse::<ObjectId>(), Err(NoObjectId));
        assert!(ObjectId::from_content(&[]).is_none() && ObjectId::from_content(&[0x67, 0x80]).is_none());
        assert_eq!(ObjectId::from_content(&[&[0xFF; 12][..], &[0x7F, 5]].concat()).unwrap().to_string(), "2.?.5");
    }
}
