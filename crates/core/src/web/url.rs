//! Absolute http and https URLs, and the origins that credentials belong to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest URL that is accepted, in bytes.
pub const MAX_URL: usize = 2048;

/// Why text is no URL that can be used here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute URL, or too long.
    #[error("not an absolute URL of at most {MAX_URL} bytes")]
    Malformed,
    /// Neither http nor https.
    #[error("the scheme must be https")]
    Scheme,
    /// A user name or password stands in it.
    #[error("a URL with a user name is refused")]
    UserInfo,
    /// http to a host that is not this device itself.
    #[error("http is allowed to loopback only; use https")]
    Insecure,
}

/// An absolute http or https URL without user name and fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    text: String,
    origin: Origin,
    path_start: usize,
}

impl Url {
    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The host, lower case, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// Host and port as they stand in the URL, the port only if it is named.
    pub fn authority(&self) -> &str {
        let start = if self.origin.https { "https://".len() } else { "http://".len() };
        self.text.get(start..self.path_start).unwrap_or_default()
    }

    /// The port, the scheme's own if none is named.
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.origin.https
    }

    /// Path and query as they go into a request line.
    pub fn path_and_query(&self) -> &str {
        let rest = &self.text[self.path_start..];
        if rest.is_empty() { "/" } else { rest }
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// This URL if it is https, or http to loopback (Profile P-2); else [`UrlError::Insecure`].
    pub fn require_secure(self) -> Result<Self, UrlError> {
        if self.is_https() || self.origin.is_loopback() { Ok(self) } else { Err(UrlError::Insecure) }
    }

    /// The URL without its query, for records that people see: a query may hold an identity or a token.
    pub fn without_query(&self) -> &str {
        self.text.split_once('?').map_or(&*self.text, |(before, _)| before)
    }

    /// The same URL with more query parameters behind those that it has; `pairs` are percent-encoded already.
    pub fn with_query(&self, pairs: &str) -> Result<Self, UrlError> {
        if pairs.is_empty() {
            return Ok(self.clone());
        }
        let separator = match self.text.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        format!("{}{separator}{pairs}", self.text).parse()
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL || !text.bytes().all(is_of_url) {
            return Err(UrlError::Malformed);
        }
        let (scheme, behind) = text.split_once("://").ok_or(UrlError::Malformed)?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => return Err(UrlError::Scheme),
            _ => return Err(UrlError::Malformed),
        };
        let (authority, rest) = behind.split_at(behind.find(['/', '?']).unwrap_or(behind.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        // The colons of an IPv6 address stand in brackets.
        let end = authority.find(']').map_or(0, |bracket| bracket + 1);
        let colon = authority.get(end..).and_then(|behind| behind.find(':')).map(|place| end + place);
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        let host = bare_host(host).ok_or(UrlError::Malformed)?;
        let port = match (port.strip_prefix(':'), https) {
            (Some(digits), _) => port_of(digits).ok_or(UrlError::Malformed)?,
            (None, true) => 443,
            (None, false) => 80,
        };
        let path_start = if https { "https://".len() } else { "http://".len() } + authority.len();
        let slash = if rest.is_empty() || rest.starts_with('?') { "/" } else { "" };
        let text = format!("{}{}{slash}{rest}", if https { "https://" } else { "http://" }, authority);
        Ok(Self { text, origin: Origin { https, host, port }, path_start })
    }
}

/// Whether a byte may stand in a URL without a fragment (RFC 3986).
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte)
}

/// A port that can be connected to.
fn port_of(digits: &str) -> Option<u16> {
    let port = digits.parse().ok().filter(|port| *port != 0)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

/// A host in lower case: a name, an IPv4 address, or an IPv6 address, which stands in brackets and is given without
/// them. Whatever else a URL may hold there means something else to each reader.
fn bare_host(text: &str) -> Option<String> {
    let (text, is_host) = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => (address, address.parse::<Ipv6Addr>().is_ok()),
        None => (text, text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))),
    };
    (is_host && !text.is_empty()).then(|| text.to_ascii_lowercase())
}

impl TryFrom<String> for Url {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> String {
        url.text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Scheme, host and port: what credentials are tied to (Profile P-31).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Whether this is the device itself: `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Origin {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url: Url = text.parse()?;
        if url.path_and_query() == "/" { Ok(url.origin) } else { Err(UrlError::Malformed) }
    }
}

impl TryFrom<String> for Origin {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Whether a server may send the client to this address from outside the trusted origins: only to public ones, never to
/// the device itself or into the network it stands in (Profile P-32).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

/// Networks that are not public, as IANA's registry of special-purpose addresses lists them: address and prefix length.
const SPECIAL_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let within = |(network, length): &([u8; 4], u32)| {
        let mask = u32::MAX << (32 - length);
        v4.to_bits() & mask == u32::from_be_bytes(*network)
    };
    !SPECIAL_V4.iter().any(within)
}

/// Only global unicast (2000::/3) is public; of it not what is for documentation, benchmarks or tunnels, which may lead
/// to any IPv4 address.
fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.segments();
    let special = matches!((first, second), (0x2001, 0..=0x01ff | 0x0db8) | (0x2002, _) | (0x3fff, 0..=0x0fff));
    first & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_knows_its_origin() {
        assert_eq!(url("https://DM.example/dm?x=1").origin().to_string(), "https://dm.example:443");
        assert_eq!(url("http://127.0.0.1:8080").path_and_query(), "/");
        assert_eq!(url("https://[::1]:8443/a").origin().to_string(), "https://[::1]:8443");
        assert_eq!(url("https://[::1]/a").port(), 443);
        assert_eq!(url("https://a.example?x=1").as_str(), "https://a.example/?x=1");
        assert_eq!(url("https://a.example").origin(), url("https://A.example:443/b").origin());
        assert_ne!(url("https://a.example").origin(), url("http://a.example:443").origin());
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for bad in [
            "",
            "/dm",
            "dm.example",
            "https://",
            "https://:1/",
            "https://a:0/",
            "https://a:99999/",
            "https://a b/",
            "https://s[fe80::1]/",
            "https://[fe80::1/",
            "https://[a.example]/",
            "https://a%2eexample/",
            "https://a*b/",
            "https://a/\u{e9}",
            "https://a/\u{93}",
            "https://a:/",
            "https://a:+1/",
            "https://a:1:2/",
            "https://[::1]x/",
            "https://a/\u{e4}",
            "https://a/<b>",
            "/x?u=https://a",
            "https:/a",
            "://a",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
        assert_eq!("https://u:p@a.example/".parse::<Url>(), Err(UrlError::UserInfo));
        assert_eq!("ftp://a.example/".parse::<Url>(), Err(UrlError::Scheme));
        assert_eq!("https://a.example/#x".parse::<Url>(), Err(UrlError::Malformed));
        assert_eq!(url("http://a.example/").require_secure(), Err(UrlError::Insecure));
        for good in ["http://127.0.0.2/", "http://[::1]/", "http://localhost:1/", "https://a.example/"] {
            assert!(url(good).require_secure().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_query_is_added_behind_the_one_that_stands() {
        assert_eq!(url("https://a/b").with_query("x=1").unwrap().as_str(), "https://a/b?x=1");
        assert_eq!(url("https://a/b?").with_query("x=1").unwrap().as_str(), "https://a/b?x=1");
        assert_eq!(url("https://a/b?y=2").with_query("x=1").unwrap().as_str(), "https://a/b?y=2&x=1");
        assert_eq!(url("https://a/b?y=2").without_query(), "https://a/b");
    }

    #[test]
    fn private_addresses_are_not_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "198.18.0.1",
            "192.0.2.1",
            "203.0.113.9",
            "240.0.0.1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
