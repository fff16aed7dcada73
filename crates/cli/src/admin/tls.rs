//! TLS for the admin API's client.

use omadm_tls::{Anchors, ClientContext, ClientIdentity, TlsStream};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::failure::Failure;

/// Puts TLS around a connection where the address says https.
#[derive(Debug)]
pub(super) struct TlsConnector {
    context: Context,
}

struct Context(ClientContext);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl TlsConnector {
    /// Trusts the certificates in `ca` and nobody else; without it whom the system trusts.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, Failure> {
        let anchors = match ca {
            Some(path) => Anchors::Pem(fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?),
            None => Anchors::System,
        };
        let context = ClientContext::new(&anchors, &ClientIdentity::nobody()).map_err(|error| {
            let whose = ca.map_or_else(|| "the system's certificates".to_owned(), |path| path.display().to_string());
            Failure::usage(format!("{whose}: {error}"))
        })?;
        Ok(Self { context: Context(context) })
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, below: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(below) = below else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(below)));
        }
        let mut adapter = TransportAdapter::new(below.boxed(), details.current_time.clone());
        adapter.set_timeout(details.timeout);
        let host = details.uri.host().unwrap_or_default();
        let port = details.uri.port_u16().unwrap_or(443);
        let stream = self.context.0.connect(host, port, adapter).map_err(|error| Error::Io(io::Error::other(error)))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection inside TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: TlsStream<TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.inner_mut().set_timeout(timeout);
        let output = self.buffers.output();
        self.stream.write_all(output.get(..amount).unwrap_or(output))?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.inner_mut().set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.inner_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}
