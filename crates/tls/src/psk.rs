//! Pre-shared keys: their limits, and how a handshake is handed one.

use openssl::error::ErrorStack;
use openssl::ssl::{SslRef, SslVersion};

use crate::error::ContextError;

/// Bytes of a pre-shared key (Profile P-20: at least 16).
const KEY: std::ops::RangeInclusive<usize> = 16..=256;
/// Bytes of its name.
const IDENTITY: std::ops::RangeInclusive<usize> = 1..=128;

/// Identities that begin so belong to resumption.
pub(crate) const RESUMPTION: &str = "omadm-resumption:";

/// Whether a pre-shared key can be used: a key of 16 to 256 bytes, a name of 1 to 128 bytes without control characters
/// that does not begin with `omadm-resumption:`.
///
/// # Errors
/// [`ContextError::Psk`], which says what is wrong.
pub fn check(identity: &str, key: &[u8]) -> Result<(), ContextError> {
    if !IDENTITY.contains(&identity.len()) || identity.chars().any(char::is_control) {
        return Err(ContextError::Psk("its identity has to be 1 to 128 bytes of text without control characters"));
    }
    if identity.starts_with(RESUMPTION) {
        return Err(ContextError::Psk("its identity may not begin with `omadm-resumption:`"));
    }
    if !KEY.contains(&key.len()) {
        return Err(ContextError::Psk("it has to be 16 to 256 bytes"));
    }
    Ok(())
}

/// Whether an established connection rests on a pre-shared key; one made by resumption counts.
pub(crate) fn used(ssl: &SslRef) -> bool {
    if is_tls13(ssl) {
        // Tickets and the session cache are off at both ends: nothing else is ever reused.
        return ssl.session_reused();
    }
    ssl.current_cipher().is_some_and(|cipher| cipher.name().contains("PSK"))
}

pub(crate) fn is_tls13(ssl: &SslRef) -> bool {
    ssl.version2() == Some(SslVersion::TLS1_3)
}

/// Writes `bytes` to the beginning of `place`; nothing is used if they do not fit.
pub(crate) fn put(bytes: &[u8], place: &mut [u8]) -> Result<usize, ErrorStack> {
    let Some(place) = place.get_mut(..bytes.len()) else { return Ok(0) };
    place.copy_from_slice(bytes);
    Ok(bytes.len())
}
