//! The cookie that holds a session together (Profile P-5).

use http::HeaderMap;
use http::header::COOKIE;
use sha2::{Digest, Sha256};

/// Its name.
const NAME: &str = "s";

/// The value of a Set-Cookie header for this token.
pub(super) fn set(token: &str) -> String {
    format!("{NAME}={token}; Path=/dm; Secure; HttpOnly; SameSite=Strict")
}

/// What the store knows a token by.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token in a request's Cookie header.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), None);
        headers.append(COOKIE, "ss=1; t=2".parse().unwrap());
        assert_eq!(of(&headers), None);
        headers.append(COOKIE, "a=b;s=token".parse().unwrap());
        assert_eq!(of(&headers), Some("token"));
    }
}
