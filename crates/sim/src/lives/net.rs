//! The network between the client's HTTP and the models of servers: names, TLS, and who is sent what.

use super::broken::Invariant;
use super::plan::{DAY, Ill};
use super::servers::{Arrival, Reply, ill_reply};
use super::truth::{self, BOOTSTRAP_HOST, FOREIGN_HOST, NOWHERE_HOST, OWN_SECRET, OWN_USER, PUBLIC, Server};
use super::world::{Fault, Inner, ModelWorld};
use omadm_client::transport::{Answer, Carrier, Headers, HttpError, HttpSetup, Limits, Outgoing};
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use omadm_tls::Anchors;
use std::cell::Cell;

/// How long certificates have been valid, and how long they still are.
const CERTIFICATE: (u64, u64) = (60 * DAY, 30 * DAY);

/// The same of a certificate that lasts for years.
const LASTING: (u64, u64) = (1000 * DAY, 6000 * DAY);

/// Carries exchanges to the models.
pub struct ModelCarrier {
    world: ModelWorld,
    authorities: Vec<u8>,
    floor: u64,
    limits: Limits,
    proved: Cell<Option<u64>>,
}

/// Who has this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Bootstrap,
    Dm(usize),
    Foreign,
    Nowhere,
    Nobody,
}

impl ModelCarrier {
    /// With these anchors and limits.
    pub fn new(world: &ModelWorld, setup: &HttpSetup) -> Self {
        let authorities = match &setup.anchors {
            Anchors::System => vec![PUBLIC],
            Anchors::Pem(pem) => truth::authorities(pem),
        };
        Self { world: world.clone(), authorities, floor: setup.floor.0, limits: setup.limits, proved: Cell::new(None) }
    }

    fn connect(&self, inner: &mut Inner, peer: Peer, ill: Option<Ill>, request: &Outgoing) -> Result<(), HttpError> {
        let host = request.url.host();
        let no = |why: &str| Err(HttpError::Connect(format!("{host}: {why}")));
        let authority = match peer {
            Peer::Nobody | Peer::Nowhere => return no("not known to the name service"),
            Peer::Dm(number) if !inner.servers[number].alive => return no("connection refused"),
            Peer::Dm(number) => inner.servers[number].authority,
            Peer::Bootstrap | Peer::Foreign => PUBLIC,
        };
        let now = inner.true_time();
        let which = if let Peer::Dm(number) = peer { 1 + number % 63 } else { 0 };
        let (past, future) = if inner.lasting >> which & 1 != 0 { LASTING } else { CERTIFICATE };
        let (mut from, mut until) = (now - past, now + future);
        match ill {
            Some(Ill::Down) => return no("connection refused"),
            Some(Ill::NoName) => return no("not known to the name service"),
            Some(Ill::Silent) => {
                inner.pass(self.limits.total.as_millis() as u64);
                return Err(HttpError::Timeout(format!("{host} did not answer in time")));
            }
            Some(Ill::ForeignCertificate) => return Err(HttpError::Tls(format!("{host}: a foreign certificate"))),
            Some(Ill::Expired) => until = now - DAY,
            Some(Ill::NotYetValid) => from = now + 20 * DAY,
            _ => {}
        }
        let trusted = if request.trusted { self.authorities.contains(&authority) } else { authority == PUBLIC };
        if !trusted {
            return Err(HttpError::Tls(format!("{host}: the certificate is of another authority")));
        }
        let time = inner.system_time().max(self.floor);
        if time < from || time > until {
            return Err(HttpError::Clock(format!("{host}: the certificate is not valid at this time")));
        }
        if request.trusted {
            self.proved.set(self.proved.get().max(Some(from)));
        }
        Ok(())
    }
}

impl Carrier for ModelCarrier {
    fn carry(&self, mut request: Outgoing) -> Result<Answer, HttpError> {
        let mut inner = self.world.inner();
        let inner = &mut *inner;
        let time = 50 + inner.model.below(500);
        inner.exchange(time).map_err(|_| HttpError::Stopped)?;
        inner.counts.requests += 1;
        if inner.fault == Fault::Leaks && request.private.0.is_empty() {
            request.private.0.push(("Authorization", truth::basic(OWN_USER, OWN_SECRET)));
        }
        let peer = peer(inner, request.url.host());
        check(inner, peer, &request);
        if !request.trusted && request.url.host() == "127.0.0.1" {
            return Err(HttpError::Refused("127.0.0.1 is outside the trusted origins".to_owned()));
        }
        let newest = inner.servers.len() - 1;
        let ill = match peer {
            Peer::Bootstrap => inner.bootstrap_ill,
            Peer::Dm(number) if number == newest => inner.dm_ill,
            Peer::Dm(_) | Peer::Foreign | Peer::Nowhere | Peer::Nobody => None,
        };
        let connected = self.connect(inner, peer, ill, &request);
        if let Err(error) = connected {
            inner.tell(|| format!("{} {} -> {error}", request.method, request.url.without_query()));
            return Err(error);
        }
        let reply = reply(inner, peer, ill, &request);
        inner.tell(|| format!("{} {} -> {}", request.method, request.url.without_query(), reply.status));
        if ill == Some(Ill::Huge) {
            return Err(HttpError::TooLarge(format!("the answer has more than {} bytes", self.limits.body)));
        }
        if reply.ended {
            inner.counts.sessions += 1;
            inner.last_end = Some(inner.now);
        }
        let time = 20 + inner.model.below(200);
        inner.exchange(time).map_err(|_| HttpError::Stopped)?;
        let mut headers = Headers::default();
        for (name, value) in reply.headers {
            headers.add(name, value);
        }
        Ok(Answer { status: reply.status, headers, body: reply.body })
    }

    fn proved(&self) -> Option<Timestamp> {
        self.proved.get().map(Timestamp)
    }
}

fn peer(inner: &Inner, host: &str) -> Peer {
    match host {
        BOOTSTRAP_HOST => Peer::Bootstrap,
        FOREIGN_HOST => Peer::Foreign,
        NOWHERE_HOST => Peer::Nowhere,
        _ => inner.servers.iter().position(|server| server.host == host).map_or(Peer::Nobody, Peer::Dm),
    }
}

/// What goes out must be for the one to whom it goes.
fn check(inner: &mut Inner, peer: Peer, request: &Outgoing) {
    let mut leaks = Vec::new();
    for (name, value) in request.private.0.iter().chain(&request.headers) {
        let is_good = match name.to_ascii_lowercase().as_str() {
            "accept" | "content-type" => true,
            "omadm-devid" => matches!(peer, Peer::Bootstrap | Peer::Dm(_) | Peer::Nowhere),
            "authorization" => match peer {
                Peer::Bootstrap => *value == truth::basic(OWN_USER, OWN_SECRET),
                Peer::Dm(number) => inner.servers[number].is_for_it(value),
                Peer::Nowhere => Server::nowhere().is_for_it(value),
                Peer::Foreign | Peer::Nobody => false,
            },
            "cookie" => match peer {
                Peer::Dm(number) => value.starts_with(&format!("sid={}-", inner.servers[number].host)),
                Peer::Bootstrap | Peer::Foreign | Peer::Nowhere | Peer::Nobody => false,
            },
            _ => false,
        };
        if !is_good {
            leaks.push(*name);
        }
    }
    if !leaks.is_empty() {
        let why = format!("{} went to {}", leaks.join(", "), request.url.origin());
        inner.break_with(Invariant::NoLeak, why);
    }
}

fn reply(inner: &mut Inner, peer: Peer, ill: Option<Ill>, request: &Outgoing) -> Reply {
    if let Some(reply) = ill.and_then(ill_reply) {
        return reply;
    }
    let header = |wanted: &str| {
        let all = request.private.0.iter().chain(&request.headers);
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value.as_str())
    };
    let method = request.method.to_string();
    let arrival = Arrival {
        method: &method,
        path: request.url.path_and_query(),
        content_type: header("Content-Type"),
        authorization: header("Authorization"),
        cookie: header("Cookie"),
        body: request.body.as_deref().unwrap_or_default(),
    };
    match peer {
        Peer::Dm(number) => {
            let mut random = inner.model.fork();
            inner.desks[number].answer(&inner.servers[number], &arrival, ill, &mut random)
        }
        Peer::Bootstrap if arrival.authorization != truth::basic(OWN_USER, OWN_SECRET) => Reply::status(401),
        Peer::Bootstrap if ill == Some(Ill::Odd) => Reply::of(media::BOOTSTRAP, Server::nowhere().message().to_vec()),
        Peer::Bootstrap if inner.offered.is_empty() => Reply::status(204),
        Peer::Bootstrap => Reply::of(media::BOOTSTRAP, inner.offered.to_vec()),
        Peer::Foreign | Peer::Nowhere | Peer::Nobody => Reply::of(media::MO, b"[]".to_vec()),
    }
}
