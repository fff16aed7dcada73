//! One connection to a server: our socket, with or without TLS.

use super::failure::HttpError;
use super::meter::Meter;
use super::socket::Socket;
use crate::wait::Stop;
use omadm_core::web::{Url, is_public};
use omadm_tls::{ClientContext, Proof, TlsStream};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long saying good-bye to a TLS peer may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// What a connection is made with.
pub(super) struct Dialer<'a> {
    pub(super) tls: &'a ClientContext,
    /// Whether only public addresses are connected to, and only with TLS (Profile P-32).
    pub(super) public_only: bool,
    pub(super) deadline: Instant,
    pub(super) stop: &'a Stop,
    pub(super) meter: &'a Meter,
}

impl Dialer<'_> {
    /// Connects to the server of `url`, which has these addresses. They were looked up just now and are the ones that
    /// are used.
    pub(super) fn dial(&self, url: &Url, addresses: Vec<SocketAddr>) -> Result<Connection, HttpError> {
        let host = url.host();
        let addresses = self.allowed(url, addresses)?;
        let socket = Socket::connect(host, &addresses, self.deadline, self.stop, self.meter)?;
        if !url.is_https() {
            return Ok(Connection::Plain(socket));
        }
        match self.tls.connect(host, url.port(), socket) {
            Ok(stream) => {
                let how = match (stream.proved(), stream.resumed()) {
                    (Proof::Psk, _) => "by pre-shared key",
                    (Proof::Certificate { .. }, false) => "by certificate",
                    (Proof::Certificate { .. }, true) => "resumed",
                };
                tracing::debug!("TLS with {host}: {}, {how}", stream.version());
                Ok(Connection::Tls(Box::new(stream)))
            }
            Err(_) if self.stop.is_raised() => Err(HttpError::Stopped),
            Err(error) => Err(HttpError::from_tls(error)),
        }
    }

    fn allowed(&self, url: &Url, mut addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, HttpError> {
        if !self.public_only {
            return Ok(addresses);
        }
        let host = url.host();
        if !url.is_https() {
            return Err(HttpError::Refused(format!("{host} is outside the trusted origins and not https")));
        }
        addresses.retain(|address| is_public(address.ip()));
        if addresses.is_empty() {
            let why = format!("{host} is outside the trusted origins and has no public address");
            return Err(HttpError::Refused(why));
        }
        Ok(addresses)
    }
}

/// An open connection. Dropping it says good-bye.
pub(super) enum Connection {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Connection {
    /// Until when reading and writing may take.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.socket_mut().set_deadline(deadline);
    }

    /// Counts from now on with this meter.
    pub(super) fn set_meter(&mut self, meter: &Meter) {
        self.socket_mut().set_meter(meter);
    }

    /// Since when the certificates are valid that the server showed.
    pub(super) fn proved(&self) -> Option<u64> {
        match self {
            Self::Tls(stream) => match stream.proved() {
                Proof::Certificate { since } => Some(since),
                Proof::Psk => None,
            },
            Self::Plain(_) => None,
        }
    }

    /// Whether it is open and the peer has sent nothing that was not asked for.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_idle(),
            Self::Tls(stream) => stream.buffered() == 0 && stream.inner().is_idle(),
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.inner_mut(),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.set_deadline(Instant::now() + GOODBYE);
        if let Self::Tls(stream) = self {
            stream.close();
        }
    }
}
