//! Bytes as hexadecimal text, for card images, messages and tests.

use std::fmt::Write as _;

/// Upper case, without spaces.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Text that is not an even number of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not hexadecimal: pairs of 0-9 A-F are expected, spaces between pairs are allowed")]
pub struct NotHex;

/// Reads pairs of digits in either case; white space between pairs is skipped.
pub fn decode(text: &str) -> Result<Vec<u8>, NotHex> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut digits = text.bytes();
    while let Some(high) = digits.next() {
        if high.is_ascii_whitespace() {
            continue;
        }
        let low = digits.next().ok_or(NotHex)?;
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Ok(bytes)
}

fn digit(character: u8) -> Result<u8, NotHex> {
    char::from(character).to_digit(16).and_then(|value| u8::try_from(value).ok()).ok_or(NotHex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_and_written() {
        assert_eq!(decode("00 a4\n04fF"), Ok(vec![0, 0xA4, 4, 0xFF]));
        assert_eq!(encode(&[0, 0xA4, 0xFF]), "00A4FF");
        for bad in ["0", "0g", "00 0", "\u{e9}"] {
            assert_eq!(decode(bad), Err(NotHex), "{bad}");
        }
    }
}
