//! The key by which an administrator opens a card for writing.

use omadm_core::secret::Secret;

use crate::hex;

/// Bytes of an administrator's key, ETSI TS 102 221 9.5.
const LENGTH: usize = 8;

/// The key of an administrator (ADM) of one card: 8 bytes, never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmKey(Secret);

/// Text that is no key. The text itself is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no ADM key: 8 bytes as 16 hexadecimal digits, or 4 to 8 decimal digits, are expected")]
pub struct InvalidKey;

impl AdmKey {
    /// Reads a key as makers of cards write it: 16 hexadecimal digits, or 4 to 8 decimal digits, which are sent as
    /// they are and padded with FF.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let bytes = match text.len() {
            4..=8 if text.bytes().all(|digit| digit.is_ascii_digit()) => {
                text.bytes().chain(std::iter::repeat(0xFF)).take(LENGTH).collect()
            }
            16 if text.is_ascii() => hex::decode(text).map_err(|_| InvalidKey)?,
            _ => return Err(InvalidKey),
        };
        if bytes.len() == LENGTH { Ok(Self(Secret::new(bytes))) } else { Err(InvalidKey) }
    }

    /// The 8 bytes as VERIFY carries them. Each caller is a place to look at when secrets are reviewed.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_makers_write_them() {
        assert_eq!(
            AdmKey::parse("0123456789abcdef\n").unwrap().expose(),
            [1, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]
        );
        assert_eq!(AdmKey::parse("12345678").unwrap().expose(), b"12345678");
        assert_eq!(AdmKey::parse("4711").unwrap().expose(), b"4711\xFF\xFF\xFF\xFF");
        for text in ["", "123", "123456789", "0123456789abcdeg", "12 34 56 78 9a bc", "\u{e9}1234567890abcd"] {
            assert_eq!(AdmKey::parse(text), Err(InvalidKey), "{text}");
        }
        assert!(!format!("{:?}", AdmKey::parse("12345678")).contains("1234"));
    }
}
