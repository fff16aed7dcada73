//! What ureq sends its bytes through: our sockets, with or without TLS.

use super::failure::HttpError;
use super::meter::Meter;
use super::socket::Socket;
use crate::wait::Stop;
use omadm_core::web::is_public;
use omadm_tls::{ClientContext, TlsStream};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// How long saying good-bye to a TLS peer may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// A day: as good as no limit.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// Makes connections, all with the same anchors and the same rule where they may go.
pub(super) struct Dialer {
    pub(super) tls: ClientContext,
    /// Whether only public addresses are connected to, and only with TLS (Profile P-32).
    pub(super) public_only: bool,
    pub(super) stop: Stop,
    pub(super) meter: Meter,
}

impl Connector<()> for Dialer {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Wire>, ureq::Error> {
        self.dial(details).map(Some).map_err(HttpError::into_ureq)
    }
}

impl Dialer {
    fn dial(&self, details: &ConnectionDetails<'_>) -> Result<Wire, HttpError> {
        let host = details.uri.host().unwrap_or_default();
        let deadline = deadline(details.timeout);
        let addresses = self.allowed(host, details)?;
        let socket = Socket::connect(host, &addresses, deadline, &self.stop, &self.meter)?;
        let end = if details.needs_tls() {
            let port = details.uri.port_u16().unwrap_or(443);
            let stream = self.tls.connect(host, port, socket).map_err(|error| match HttpError::from_tls(error) {
                HttpError::Connect(_) if self.stop.is_raised() => HttpError::Stopped,
                error => error,
            })?;
            End::Tls(stream)
        } else {
            End::Plain(socket)
        };
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Wire { end, buffers, stop: self.stop.clone(), host: host.to_owned() })
    }

    /// The addresses that may be connected to. They were looked up just now and are the ones that are used.
    fn allowed(&self, host: &str, details: &ConnectionDetails<'_>) -> Result<Vec<SocketAddr>, HttpError> {
        let found = details.addrs.iter().copied();
        if !self.public_only {
            return Ok(found.collect());
        }
        if !details.needs_tls() {
            return Err(HttpError::Refused(format!("{host} is outside the trusted origins and not https")));
        }
        let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
        if public.is_empty() {
            let why = format!("{host} is outside the trusted origins and has no public address");
            return Err(HttpError::Refused(why));
        }
        Ok(public)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("public_only", &self.public_only).finish_non_exhaustive()
    }
}

/// One connection with ureq's buffers.
pub(super) struct Wire {
    end: End,
    buffers: LazyBuffers,
    stop: Stop,
    host: String,
}

enum End {
    Plain(Socket),
    Tls(TlsStream<Socket>),
}

impl End {
    fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(socket) => socket.set_deadline(deadline),
            Self::Tls(stream) => stream.inner_mut().set_deadline(deadline),
        }
    }
}

impl Wire {
    fn failure(&self, error: io::Error, timeout: NextTimeout) -> ureq::Error {
        if self.stop.is_raised() {
            return HttpError::Stopped.into_ureq();
        }
        match error.kind() {
            io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
            _ => ureq::Error::Io(error),
        }
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.end.set_deadline(deadline(timeout));
        let output = self.buffers.output();
        let bytes = output.get(..amount).unwrap_or(output);
        let written = match &mut self.end {
            End::Plain(socket) => socket.write_all(bytes),
            End::Tls(stream) => stream.write_all(bytes),
        };
        written.map_err(|error| self.failure(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.end.set_deadline(deadline(timeout));
        let room = self.buffers.input_append_buf();
        let read = match &mut self.end {
            End::Plain(socket) => socket.read(room),
            End::Tls(stream) => stream.read(room),
        };
        let count = read.map_err(|error| self.failure(error, timeout))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        match &self.end {
            End::Plain(socket) => socket.is_idle(),
            End::Tls(stream) => stream.buffered() == 0 && stream.inner().is_idle(),
        }
    }

    fn is_tls(&self) -> bool {
        match self.end {
            End::Plain(_) => false,
            End::Tls(_) => true,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end.set_deadline(Instant::now() + GOODBYE);
        if let End::Tls(stream) = &mut self.end {
            stream.close();
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("host", &self.host).finish_non_exhaustive()
    }
}

fn deadline(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    now.checked_add((*timeout.after).min(FAR)).unwrap_or(now)
}
