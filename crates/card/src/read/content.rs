//! Whether the bytes of the bootstrap object are a message of DM 2.0, and where it ends.

use serde::de::IgnoredAny;

use crate::error::{CardError, CardErrorKind, Place};
use crate::file::dm1x;

/// The most bytes of a Bootstrap Message on a card (Profile P-22).
pub const MAX_MESSAGE: usize = 32_767;

/// Takes the one JSON value at the start of the file; behind it only FF and 00 may follow (Profile P-22).
pub(crate) fn check(mut content: Vec<u8>, place: Place) -> Result<Vec<u8>, CardError> {
    match (content.first(), dm1x::describe(&content)) {
        (None | Some(0x00 | 0xFF), _) => {
            return Err(CardError::malformed(
                place,
                "the file is blank at its first byte: never written, or being written now; personalise the card",
            ));
        }
        (Some(_), Some(kind)) => {
            return Err(CardError::new(
                CardErrorKind::HoldsDm1x,
                place,
                format!(
                    "the object holds a message of OMA DM 1.x ({kind}); \
                     personalise the card for DM 2.0, or use another method"
                ),
            ));
        }
        (Some(_), None) => {}
    }
    let mut values = serde_json::Deserializer::from_slice(&content).into_iter::<IgnoredAny>();
    let value = values.next();
    let end = values.byte_offset();
    match value {
        Some(Ok(IgnoredAny)) => {}
        Some(Err(error)) if error.is_eof() => {
            return Err(CardError::malformed(place, format!("the JSON text is cut off after {} bytes", content.len())));
        }
        Some(Err(error)) => {
            return Err(CardError::malformed(place, format!("the content is no JSON text: {error}")));
        }
        None => return Err(CardError::malformed(place, "the content is no JSON text")),
    }
    let rest = content.get(end..).unwrap_or_default();
    let padding = rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
    if let Some(extra) = rest.iter().skip(padding).position(|byte| !matches!(byte, 0x00 | 0xFF)) {
        let at = end + padding + extra;
        return Err(CardError::malformed(
            place,
            format!("the JSON text ends at byte {end}, but something other than padding follows at byte {at}"),
        ));
    }
    content.truncate(end);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content: &[u8]) -> Result<Vec<u8>, CardErrorKind> {
        check(content.to_vec(), Place::Message(0x6434)).map_err(|error| error.kind)
    }

    #[test]
    fn padding_behind_the_value_is_left_out() {
        for content in [&b"[{}]"[..], b"[{}]\xFF\xFF", b"[{}]\x00", b"[{}] \n\xFF"] {
            assert_eq!(kind(content), Ok(b"[{}]".to_vec()));
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for content in [&b""[..], b"\xFF\xFF", b"[{}]x", b"[{}]\xFF[", b"[{}", b"[{]", b"   ", b"[\xFF]", b"abc"] {
            assert_eq!(kind(content), Err(CardErrorKind::Malformed), "{content:?}");
        }
        assert_eq!(kind("[".repeat(30_000).as_bytes()), Err(CardErrorKind::Malformed));
    }

    #[test]
    fn messages_of_dm_1x_are_told_apart() {
        for content in [&b"\x03\x0B\x6A\x00"[..], b"\x02\xA4", b"<?xml version", b"\xEF\xBB\xBF <wap"] {
            assert_eq!(kind(content), Err(CardErrorKind::HoldsDm1x), "{content:?}");
        }
    }
}
