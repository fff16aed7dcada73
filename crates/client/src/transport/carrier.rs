//! Carrying exchanges over real sockets.

use super::connection::{Connection, Dialer};
use super::failure::HttpError;
use super::http::{Answer, Carrier, HttpSetup, Method, Outgoing};
use super::message;
use super::resolve::Names;
use crate::wait::Stop;
use omadm_core::time::Timestamp;
use omadm_core::web::{Origin, Url, media};
use omadm_tls::{Anchors, ClientContext, ClientIdentity, Sessions};
use std::cell::{Cell, OnceCell, RefCell};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// How many connections are open at the same time; the oldest is closed first.
const MAX_OPEN: usize = 4;

/// Makes carriers for this machine, and remembers what makes the next connection cheap: TLS sessions, and the connection
/// that a carrier left on purpose.
#[derive(Clone)]
pub struct Carriers {
    stop: Stop,
    sessions: Sessions,
    left: Arc<Mutex<Option<Left>>>,
}

/// A connection that was left for the next carrier.
struct Left {
    open: Open,
    /// With whom and as whom it was made.
    tls: ClientContext,
}

impl Carriers {
    /// Carriers whose waits `stop` ends.
    pub fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), sessions: Sessions::default(), left: Arc::default() }
    }

    /// What carries exchanges from this machine.
    ///
    /// # Errors
    /// If the anchors or the identity cannot be used.
    pub fn carrier(&self, setup: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        let trusted = context(&setup.anchors, &setup.identity, setup)?.resuming(&self.sessions);
        // Whatever was left is for this carrier or for none.
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let open = left.filter(|left| left.tls.is_like(&trusted)).map(|left| left.open).into_iter().collect();
        Ok(Box::new(Sockets {
            setup: setup.clone(),
            carriers: self.clone(),
            names: Names::new(self.stop.clone()),
            trusted,
            outside: OnceCell::new(),
            open: RefCell::new(open),
            proved: Cell::new(None),
        }))
    }
}

impl std::fmt::Debug for Carriers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carriers").finish_non_exhaustive()
    }
}

struct Sockets {
    setup: HttpSetup,
    carriers: Carriers,
    names: Names,
    trusted: ClientContext,
    outside: OnceCell<ClientContext>,
    open: RefCell<Vec<Open>>,
    proved: Cell<Option<u64>>,
}

/// A connection that waits for the next request to its origin.
struct Open {
    origin: Origin,
    trusted: bool,
    since: Instant,
    connection: Connection,
}

impl Carrier for Sockets {
    fn carry(&self, request: Outgoing) -> Result<Answer, HttpError> {
        let told = self.exchange(&request);
        if self.carriers.stop.is_raised() && told.is_err() { Err(HttpError::Stopped) } else { told }
    }

    fn proved(&self) -> Option<Timestamp> {
        self.proved.get().map(Timestamp)
    }
}

impl Sockets {
    fn exchange(&self, request: &Outgoing) -> Result<Answer, HttpError> {
        let (host, limits) = (request.url.host(), self.setup.limits);
        let bytes = message::request(request)?;
        let deadline = Instant::now() + limits.total;
        let ask = |mut connection: Connection| {
            connection.set_deadline(deadline);
            if request.trusted {
                self.proved.set(self.proved.get().max(connection.proved()));
            }
            connection.write_all(&bytes).map_err(|error| HttpError::from_io(&error, host))?;
            let (answer, reusable) = message::answer(&mut connection, host, limits.body)?;
            Ok((answer, reusable.then_some(connection)))
        };
        let told = match self.kept(request).map(ask) {
            // The server closed it just when it was to be used again.
            Some(Err(HttpError::Connect(_))) if may_be_repeated(request) && !self.carriers.stop.is_raised() => None,
            told => told,
        };
        let (answer, reusable) = match told {
            Some(told) => told,
            None => ask(self.connect(&request.url, request.trusted, deadline)?),
        }?;
        if let Some(connection) = reusable {
            let mut open = self.open.borrow_mut();
            if open.len() >= MAX_OPEN {
                open.remove(0);
            }
            let (origin, since) = (request.url.origin().clone(), Instant::now());
            open.push(Open { origin, trusted: request.trusted, since, connection });
        }
        Ok(answer)
    }

    /// The connection that an earlier exchange with the same server left open.
    fn kept(&self, request: &Outgoing) -> Option<Connection> {
        let mut open = self.open.borrow_mut();
        open.retain(|one| one.since.elapsed() < IDLE && one.connection.is_idle());
        let fits = |one: &Open| one.origin == *request.url.origin() && one.trusted == request.trusted;
        let place = open.iter().position(fits)?;
        let mut connection = open.remove(place).connection;
        connection.set_meter(&self.setup.meter);
        Some(connection)
    }

    fn connect(&self, url: &Url, trusted: bool, deadline: Instant) -> Result<Connection, HttpError> {
        let limit = |now: Instant| deadline.min(now + self.setup.limits.connect);
        let now = Instant::now();
        let addresses = self.names.addresses(url.host(), url.port(), limit(now).saturating_duration_since(now))?;
        let dialer = Dialer {
            tls: if trusted { &self.trusted } else { self.outside()? },
            public_only: !trusted,
            deadline: limit(Instant::now()),
            stop: &self.carriers.stop,
            meter: &self.setup.meter,
        };
        dialer.dial(url, addresses)
    }

    /// Outside the trusted origins the device proves nothing, and its trust store decides.
    fn outside(&self) -> Result<&ClientContext, HttpError> {
        if let Some(tls) = self.outside.get() {
            return Ok(tls);
        }
        let tls = context(&Anchors::System, &ClientIdentity::nobody(), &self.setup)?;
        Ok(self.outside.get_or_init(|| tls))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if !self.setup.leave_open {
            return;
        }
        if let Some(open) = self.open.take().into_iter().find(|open| open.trusted) {
            let left = Left { open, tls: self.trusted.clone() };
            *self.carriers.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
    }
}

/// Whether it does no harm if the server gets it twice: a Package#1 opens its session anew, any other POST may not be
/// repeated (Profile P-29).
fn may_be_repeated(request: &Outgoing) -> bool {
    match request.method {
        Method::Get | Method::Put => true,
        Method::Post => request.headers.iter().any(|(_, value)| value == media::INITIATION),
    }
}

fn context(anchors: &Anchors, identity: &ClientIdentity, setup: &HttpSetup) -> Result<ClientContext, HttpError> {
    let tls = ClientContext::new(anchors, identity).map_err(|error| HttpError::Tls(error.to_string()))?;
    Ok(tls.not_before(setup.floor.0))
}
