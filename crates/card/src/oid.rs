//! Object identifiers, as people write them and as directory files hold them.

use std::fmt;
use std::str::FromStr;

/// The most bytes of an identifier's content; real ones have fewer than ten.
const MAX_BYTES: usize = 32;

/// An object identifier: the content bytes of its DER form, without tag and length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Oid(Vec<u8>);

/// Text that is no object identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an object identifier: numbers with dots between are expected, such as 2.23.43.9.1")]
pub struct InvalidOid;

impl Oid {
    /// The OMA DM bootstrap object, 2.23.43.7.1.
    pub fn dm_bootstrap() -> Self {
        Self(crate::pkcs15::DM_BOOTSTRAP_OID.to_vec())
    }

    /// The LwM2M bootstrap object, 2.23.43.9.1.
    pub fn lwm2m_bootstrap() -> Self {
        Self(vec![0x67, 0x2B, 0x09, 0x01])
    }

    /// The bytes as a directory file holds them.
    pub fn content(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Oid {
    type Err = InvalidOid;

    fn from_str(text: &str) -> Result<Self, InvalidOid> {
        let number = |text: &str| match text.bytes().all(|digit| digit.is_ascii_digit()) {
            true => text.parse::<u32>().map_err(|_| InvalidOid),
            false => Err(InvalidOid),
        };
        let mut numbers = text.split('.').map(number);
        let mut next = || numbers.next().ok_or(InvalidOid)?;
        let (top, second) = (next()?, next()?);
        if top > 2 || (top < 2 && second > 39) {
            return Err(InvalidOid);
        }
        let first = second.checked_add(top * 40).ok_or(InvalidOid)?;
        let mut content = Vec::new();
        for number in std::iter::once(Ok(first)).chain(numbers) {
            let number = number?;
            let groups = (1..5).rev().map(|group| number >> (7 * group)).skip_while(|rest| *rest == 0);
            content.extend(groups.map(|rest| low(rest) | 0x80));
            content.push(low(number));
        }
        if content.len() > MAX_BYTES { Err(InvalidOid) } else { Ok(Self(content)) }
    }
}

fn low(number: u32) -> u8 {
    number.to_le_bytes()[0] & 0x7F
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut is_first) = (0_u64, true);
        for byte in &self.0 {
            number = number << 7 | u64::from(byte & 0x7F);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let top = (number / 40).min(2);
                write!(f, "{top}.{}", number - top * 40)?;
            } else {
                write!(f, ".{number}")?;
            }
            (number, is_first) = (0, false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_identifiers_of_the_bootstrap_objects() {
        assert_eq!("2.23.43.7.1".parse(), Ok(Oid::dm_bootstrap()));
        assert_eq!("2.23.43.9.1".parse(), Ok(Oid::lwm2m_bootstrap()));
        assert_eq!(Oid::lwm2m_bootstrap().to_string(), "2.23.43.9.1");
        assert_eq!("1.2.840.113549".parse::<Oid>().unwrap().content(), [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "2", "2.", "3.1", "1.40", "2.23.x", "2.23.+1", "2..1", "2.23.4294967296", "2.4294967290"] {
            assert_eq!(text.parse::<Oid>(), Err(InvalidOid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_again(second in 0_u32..40, rest in proptest::collection::vec(any::<u32>(), 0..6)) {
            let text = rest.iter().fold(format!("2.{second}"), |text, number| format!("{text}.{number}"));
            prop_assert_eq!(text.parse::<Oid>().unwrap().to_string(), text);
        }
    }
}
