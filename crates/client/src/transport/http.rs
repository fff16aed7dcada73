//! HTTP exchanges of one account or bootstrap request: who may be asked what, and within which limits (Profile P-32).

use super::failure::HttpError;
use super::meter::Meter;
use super::resolve::Names;
use super::wire::Dialer;
use crate::wait::Stop;
use omadm_core::time::Timestamp;
use omadm_core::web::{Origin, Url};
use omadm_tls::{Anchors, ClientContext, ClientIdentity};
use std::sync::OnceLock;
use std::time::Duration;
use ureq::Agent;
use ureq::http::header::{CONTENT_LENGTH, LOCATION};
use ureq::http::{self, HeaderMap, Method};
use zeroize::Zeroize;

/// How many redirects a GET follows (Profile P-32).
const MAX_REDIRECTS: usize = 3;

/// The largest header of an answer, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

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

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// GET, PUT or POST.
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

/// Headers whose values `Debug` hides, and which are wiped when dropped (as they are here; the HTTP library keeps copies
/// while it sends them).
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
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Makes exchanges. Connections are kept between them and closed with it.
pub struct Http {
    trust: Trust,
    trusted: Agent,
    outside: OnceLock<Agent>,
    parts: Parts,
}

/// What both kinds of agents are made of.
struct Parts {
    floor: Timestamp,
    limits: Limits,
    stop: Stop,
    meter: Meter,
}

impl Http {
    /// Exchanges where `anchors` sign the servers of the trusted origins, and the device's trust store all others.
    /// `floor` is the earliest time at which certificates are verified (Profile P-27).
    ///
    /// # Errors
    /// If the anchors cannot be used.
    pub fn new(
        trust: Trust,
        anchors: &Anchors,
        floor: Timestamp,
        limits: Limits,
        stop: &Stop,
        meter: &Meter,
    ) -> Result<Self, HttpError> {
        let parts = Parts { floor, limits, stop: stop.clone(), meter: meter.clone() };
        let trusted = parts.agent(anchors, false)?;
        Ok(Self { trust, trusted, outside: OnceLock::new(), parts })
    }

    /// One exchange. A redirect is an answer like any other.
    pub fn exchange(&self, request: Request) -> Result<Answer, HttpError> {
        let host = request.url.host().to_owned();
        let trusted = self.trust.covers(&request.url);
        let agent = if trusted { &self.trusted } else { self.outside()? };
        let mut builder = http::Request::builder().method(request.method).uri(request.url.as_str());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if trusted {
            for (name, value) in &request.private.0 {
                builder = builder.header(*name, value);
            }
        }
        let answer = match request.body {
            Some(body) => builder.body(body).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
            None => builder.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
        };
        let (head, mut body) = answer.map_err(|error| HttpError::from_ureq(error, &host))?.into_parts();
        let limit = self.parts.limits.body;
        let told = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|told| told > limit as u64) {
            return Err(HttpError::TooLarge(format!("the answer of {host} has more than {limit} bytes")));
        }
        // One more, since ureq refuses a body that reaches its limit exactly.
        let body = body.with_config().limit(limit as u64 + 1).read_to_vec();
        let body = body.map_err(|error| match HttpError::from_ureq(error, &host) {
            HttpError::TooLarge(_) => HttpError::TooLarge(format!("the answer of {host} has more than {limit} bytes")),
            error => error,
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// A GET that follows up to three redirects, https to https, each checked anew. Private headers never go to another
    /// origin than the first.
    pub fn fetch(&self, request: Request) -> Result<Answer, HttpError> {
        follow(request, |request| self.exchange(request))
    }

    fn outside(&self) -> Result<&Agent, HttpError> {
        if let Some(agent) = self.outside.get() {
            return Ok(agent);
        }
        let agent = self.parts.agent(&Anchors::System, true)?;
        Ok(self.outside.get_or_init(|| agent))
    }
}

impl Parts {
    fn agent(&self, anchors: &Anchors, public_only: bool) -> Result<Agent, HttpError> {
        let tls = ClientContext::new(anchors, &ClientIdentity::nobody())
            .map_err(|error| HttpError::Tls(error.to_string()))?;
        let dialer = Dialer {
            tls: tls.not_before(self.floor.0),
            public_only,
            stop: self.stop.clone(),
            meter: self.meter.clone(),
        };
        let config = Agent::config_builder()
            // A proxy from the environment would hide from us where the connection goes.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("omadm-client/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .accept_encoding("")
            .max_response_header_size(MAX_HEADER)
            .input_buffer_size(2 * MAX_HEADER)
            .output_buffer_size(MAX_HEADER)
            .max_idle_age(IDLE)
            .timeout_resolve(Some(self.limits.connect))
            .timeout_connect(Some(self.limits.connect))
            .timeout_global(Some(self.limits.total))
            .build();
        Ok(Agent::with_parts(config, dialer, Names::new(self.stop.clone())))
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
        let Some(next) = answer.header(LOCATION.as_str()).and_then(|location| join(&request.url, location)) else {
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
