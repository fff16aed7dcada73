//! Percent-encoding and the characters of a ClientURI (RFC 3986).

use super::UriError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

/// The length of a node's name in bytes, at most.
pub(crate) const MAX_NAME: usize = 255;

/// Encoded in the canonical text of a value: all that a query may not hold, and `&`.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/')
    .remove(b'?');

/// Encoded in a name of the path, so that it is never taken for an x-name or `*`.
const NAME: &AsciiSet = &VALUE.remove(b'&').add(b'(').add(b')').add(b'*').add(b'/').add(b'?');

/// Encoded in a name within `nv`, where `&` and `:` are delimiters too.
const CONDITION_NAME: &AsciiSet = &NAME.add(b'&').add(b':');

/// A name as it stands in the path.
pub(super) fn encode_name(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, NAME)
}

/// A name as it stands in the path of an `nv` field.
pub(super) fn encode_condition_name(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, CONDITION_NAME)
}

/// The value of a field.
pub(super) fn encode_value(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, VALUE)
}

/// Refuses whatever RFC 3986 does not allow in a path or query, and a `%` that is not followed by two hex digits.
pub(super) fn check_characters(text: &str) -> Result<(), UriError> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|(_, digit)| digit.is_ascii_hexdigit());
                if !hex() || !hex() {
                    return Err(UriError::Percent { at });
                }
            }
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            | b':' | b'@' | b'/' | b'?' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return Err(UriError::Character { at }),
        }
    }
    Ok(())
}

/// Decodes what [`check_characters`] has let pass.
pub(super) fn decode(text: &str) -> Result<String, UriError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(UriError::Utf8 { text: text.to_owned() }),
    }
}

/// Decodes a node's name.
pub(super) fn decode_name(text: &str) -> Result<String, UriError> {
    let name = decode(text)?;
    if is_node_name(&name) { Ok(name) } else { Err(UriError::Name { text: text.to_owned() }) }
}

/// Whether a node may have this name.
pub(crate) fn is_node_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && !name.chars().any(char::is_control)
}
