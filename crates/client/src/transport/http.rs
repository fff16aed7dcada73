//! HTTP exchanges of one account or bootstrap request: who may be asked what, and within which limits (Profile P-32).

use super::failure::HttpError;
use super::meter::Meter;
use omadm_core::time::Timestamp;
use omadm_core::web::{Origin, Url};
use omadm_tls::{Anchors, ClientIdentity};
use std::time::Duration;
use zeroize::Zeroize;

/// How many redirects a GET follows (Profile P-32).
const MAX_REDIRECTS: usize = 3;

/// Limits of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the look-up of the name, and again for connecting with TLS.
    pub connect: Duration,
    /// For the whole exchange.
    pub total: Duration,
    /// The largest body of an answer, in bytes.
    pub body: usize,
}

/// The origins that an account trusts (Profile P-31).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust(Vec<Origin>);

impl Trust {
    /// Trust in these origins.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Self {
        Self(origins.into_iter().cloned().collect())
    }

    /// Whether this URL is within a trusted origin.
    pub fn covers(&self, url: &Url) -> bool {
        self.0.contains(url.origin())
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To be given something.
    Get,
    /// To take something in.
    Post,
    /// To keep something.
    Put,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        })
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Headers that go along in any case.
    pub headers: Vec<(&'static str, String)>,
    /// Headers that go to trusted origins only: credentials, DevID, cookies. Never printed.
    pub private: PrivateHeaders,
    /// The body; `None` for GET.
    pub body: Option<Vec<u8>>,
}

/// Headers whose values `Debug` hides, and which are wiped when dropped.
#[derive(Clone, Default)]
pub struct PrivateHeaders(pub Vec<(&'static str, String)>);

impl Drop for PrivateHeaders {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl std::fmt::Debug for PrivateHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// The headers of an answer: names, whose case does not matter, and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The fields as they came. Bytes that are no text are replaced by U+FFFD.
    pub(super) fn from_fields(fields: &[httparse::Header<'_>]) -> Self {
        let value = |field: &httparse::Header<'_>| String::from_utf8_lossy(field.value).trim().to_owned();
        Self(fields.iter().map(|field| (field.name.to_owned(), value(field))).collect())
    }

    /// Adds a header behind the others.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// All values of that name, in their order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the exchanges of one account or bootstrap request have in common.
#[derive(Debug, Clone)]
pub struct HttpSetup {
    /// What signs the servers of the trusted origins; for all others it is the device's trust store.
    pub anchors: Anchors,
    /// What the device proves in TLS to the servers of the trusted origins, and to nobody else.
    pub identity: ClientIdentity,
    /// The earliest time at which certificates are verified (Profile P-27).
    pub floor: Timestamp,
    /// Limits of each exchange.
    pub limits: Limits,
    /// Counts what goes through the sockets.
    pub meter: Meter,
    /// Whether a connection that is still good at the end is left for whoever comes next, soon, with the same anchors
    /// and identity.
    pub leave_open: bool,
}

/// Carries single exchanges, as they are, to servers and back. Connections are kept between them and closed with it, unless
/// [`HttpSetup::leave_open`] says otherwise.
pub trait Carrier {
    /// One exchange. A redirect is an answer like any other.
    fn carry(&self, request: Outgoing) -> Result<Answer, HttpError>;

    /// Since when the certificates are valid that servers of trusted origins showed to it, the latest; `None` if none had to.
    fn proved(&self) -> Option<Timestamp> {
        None
    }
}

/// Another time that it may be (Profile P-27).
pub struct Other {
    /// The time.
    pub at: Timestamp,
    /// Makes what verifies certificates at it.
    pub carrier: Box<dyn Fn() -> Result<Box<dyn Carrier>, HttpError>>,
}

/// What the certificates of servers say of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// When they were verified.
    pub at: Timestamp,
    /// Since when they are valid, the latest.
    pub since: Timestamp,
    /// Whether that was the other time, and a certificate was not valid at the one that was thought.
    pub anew: bool,
}

/// A request as it goes out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What is asked for.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Whether that is a trusted origin, where the account's anchors and credentials count. Elsewhere it is the device's
    /// trust store and nothing that is ours (Profile P-32).
    pub trusted: bool,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its headers whose values are nobody's business; none outside the trusted origins.
    pub private: PrivateHeaders,
    /// The body; `None` for GET.
    pub body: Option<Vec<u8>>,
}

/// Makes exchanges, and keeps what is private within the trusted origins.
pub struct Http {
    trust: Trust,
    carrier: Box<dyn Carrier>,
    at: Timestamp,
    other: Option<Other>,
    anew: bool,
}

impl Http {
    /// Exchanges that `carrier` carries, which verifies certificates at the time `at`. One that is not valid then is verified
    /// once more at the `other` time. If it is that of a trusted origin, that time counts from then on.
    pub fn new(trust: Trust, carrier: Box<dyn Carrier>, at: Timestamp, other: Option<Other>) -> Self {
        Self { trust, carrier, at, other, anew: false }
    }

    /// One exchange. A redirect is an answer like any other.
    pub fn exchange(&mut self, request: Request) -> Result<Answer, HttpError> {
        let trusted = self.trust.covers(&request.url);
        let Request { method, url, headers, private, body } = request;
        let private = if trusted { private } else { PrivateHeaders::default() };
        let request = Outgoing { method, url, trusted, headers, private, body };
        // It is no earlier than what servers have shown meanwhile.
        let Some(other) =
            self.other.as_ref().filter(|other| self.carrier.proved().is_none_or(|since| since <= other.at))
        else {
            return self.carrier.carry(request);
        };
        let refused = match self.carrier.carry(request.clone()) {
            Err(HttpError::Clock(why)) => why,
            told => return told,
        };
        tracing::info!("{refused}; once more, in case that it is {} only", other.at);
        let carrier = (other.carrier)()?;
        let told = carrier.carry(request);
        if matches!(told, Err(HttpError::Clock(_))) {
            return Err(HttpError::Clock(refused));
        }
        if trusted && told.is_ok() {
            (self.carrier, self.at, self.anew) = (carrier, other.at, true);
            self.other = None;
        }
        told
    }

    /// What the certificates say of the time that servers of trusted origins showed; `None` if none had to.
    pub fn dated(&self) -> Option<Dated> {
        Some(Dated { at: self.at, since: self.carrier.proved()?, anew: self.anew })
    }

    /// A GET that follows up to three redirects, https to https, each checked anew. Private headers never go to another
    /// origin than the first.
    pub fn fetch(&mut self, request: Request) -> Result<Answer, HttpError> {
        follow(request, |request| self.exchange(request))
    }
}

fn follow(
    mut request: Request,
    mut exchange: impl FnMut(Request) -> Result<Answer, HttpError>,
) -> Result<Answer, HttpError> {
    let first = request.url.origin().clone();
    for _ in 0..MAX_REDIRECTS {
        let answer = exchange(request.clone())?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let Some(next) = answer.header("location").and_then(|location| join(&request.url, location)) else {
            return Ok(answer);
        };
        if !request.url.is_https() || !next.is_https() {
            return Err(HttpError::Refused(format!("a redirect from {first} does not go from https to https")));
        }
        if *next.origin() != first {
            request.private = PrivateHeaders::default();
        }
        request.url = next;
    }
    let answer = exchange(request)?;
    match answer.status {
        301 | 302 | 303 | 307 | 308 => {
            Err(HttpError::Protocol(format!("{first} redirects more than {MAX_REDIRECTS} times")))
        }
        _ => Ok(answer),
    }
}

/// The URL that a Location header names, relative to that of the request.
fn join(base: &Url, location: &str) -> Option<Url> {
    let location = location.split('#').next().unwrap_or_default();
    let origin = base.origin();
    let text = if location.starts_with("//") {
        let scheme = if base.is_https() { "https" } else { "http" };
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else if location.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?'])) {
        location.to_owned()
    } else {
        let path = base.path_and_query().split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{origin}{folder}/{location}")
    };
    text.parse().ok()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
