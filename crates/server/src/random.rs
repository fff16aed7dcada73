//! Random bytes and the tokens made of them: the only place that draws them.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The system has no random bytes to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// So many random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A token of 192 random bits, in characters that stand in a URL, a cookie or a header as they are.
pub(crate) fn token() -> Result<String, NoRandomness> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes::<24>()?))
}

/// A name of 96 random bits, in lower-case hexadecimal digits.
pub(crate) fn name() -> Result<String, NoRandomness> {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS[usize::from(value & 15)];
    Ok(bytes::<12>()?.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect())
}
