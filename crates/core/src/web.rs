//! What the protocol needs of HTTP: URLs and origins, media types, the Accept header, Basic, Retry-After.

mod accept;
mod basic;
mod url;

pub use accept::{media_type, negotiate};
pub use basic::{Basic, BasicError, default_user};
pub use url::{MAX_URL, Origin, Url, UrlError, is_public};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::time::Timestamp;

/// What stays as it is when text is percent-encoded here: RFC 3986 unreserved.
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The header that carries the DevID in every request of a DM Client (spec 3).
pub const DEV_ID_HEADER: &str = "OMADM-DevID";

/// Media types of packages, messages and data.
pub mod media {
    /// The Bootstrap Message (Profile P-2).
    pub const BOOTSTRAP: &str = "application/vnd.oma.dm.bootstrap+json";
    /// Package#1.
    pub const INITIATION: &str = "application/vnd.oma.dm.initiation+json";
    /// Package#2.
    pub const REQUEST: &str = "application/vnd.oma.dm.request+json";
    /// Package#3.
    pub const RESPONSE: &str = "application/vnd.oma.dm.response+json";
    /// Serialized MOs (Profile P-16).
    pub const MO: &str = "application/vnd.oma.dm.mo+json";
    /// Plain JSON, accepted wherever data or a Bootstrap Message is.
    pub const JSON: &str = "application/json";
    /// A problem document (RFC 9457).
    pub const PROBLEM: &str = "application/problem+json";

    /// The types in which serialized MOs are read (Profile P-16).
    pub const MO_READ: [&str; 3] = [MO, JSON, "application/dmmo+json"];
}

/// The longest wait that a Retry-After can ask for: 24 h.
pub const RETRY_AFTER_CAP: u64 = 24 * 3600;

/// The seconds that a Retry-After header asks for, given as seconds or as an HTTP date, capped at
/// [`RETRY_AFTER_CAP`] (spec 2.4).
pub fn retry_after(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(u64::MAX)
    } else {
        http_date(text)?.since(now)
    };
    Some(seconds.min(RETRY_AFTER_CAP))
}

/// An HTTP date in the form that senders must use, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let rest = text.strip_suffix(" GMT")?;
    let (_, rest) = rest.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year, clock) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    format!("{year}-{month:02}-{day}T{clock}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let now = Timestamp(784_111_777 - 90);
        assert_eq!(retry_after("120", now), Some(120));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(90));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now.plus(1000)), Some(0));
        assert_eq!(retry_after("99999999999999999999999", now), Some(RETRY_AFTER_CAP));
        for bad in ["", "soon", "-1", "Sun, 06 Nov 1994", "Sun, 06 Nox 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(bad, now), None, "{bad}");
        }
    }
}
