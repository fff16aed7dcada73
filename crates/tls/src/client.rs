//! The client's end: blocking, over any stream, the server always verified.

use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{ContextError, TlsError, version};
use crate::suites::{self, TLS13_CLIENT};

/// Whom the client trusts to sign a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchors {
    /// The device's trust store.
    System,
    /// These certificates in PEM, one after the other, and nobody else. A server's own certificate may be one.
    Pem(String),
}

/// What connections to servers have in common. Cheap to clone.
#[derive(Clone)]
pub struct ClientContext {
    context: SslContext,
    floor: u64,
}

impl ClientContext {
    /// A context with these anchors.
    ///
    /// # Errors
    /// If the anchors cannot be read, or there is none.
    pub fn new(anchors: &Anchors) -> Result<Self, ContextError> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        suites::restrict(&mut context, TLS13_CLIENT)?;
        // Also when pre-shared keys come: in TLS 1.3 an unknown identity falls back to certificates.
        context.set_verify(SslVerifyMode::PEER);
        match anchors {
            Anchors::System => context.set_default_verify_paths()?,
            Anchors::Pem(pem) => {
                let mut store = X509StoreBuilder::new()?;
                // An anchor need not be self-signed: an intermediate or the server's certificate will do.
                store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
                for certificate in certificates(pem)? {
                    store.add_cert(certificate)?;
                }
                context.set_cert_store(store.build());
            }
        }
        Ok(Self { context: context.build(), floor: 0 })
    }

    /// Verifies certificates as if it were at least this time (seconds since 1970), for a device whose clock may be
    /// wrong (Profile P-27).
    #[must_use]
    pub fn not_before(mut self, floor: u64) -> Self {
        self.floor = floor;
        self
    }

    /// Makes a TLS connection to `host` over `stream`. The certificate has to be for `host`, a name or an IP address
    /// (an IPv6 one with or without brackets). Time limits are those of the stream.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn connect<S: Read + Write>(&self, host: &str, stream: S) -> Result<TlsStream<S>, TlsError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let ssl = self
            .session(bare)
            .map_err(|error| TlsError::Handshake { host: host.to_owned(), why: error.to_string() })?;
        let stream = ssl.connect(stream).map_err(|error| TlsError::from_handshake(host, error))?;
        Ok(TlsStream(stream))
    }

    fn session(&self, host: &str) -> Result<Ssl, ContextError> {
        let mut ssl = Ssl::new(&self.context)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match host.parse::<IpAddr>() {
            Ok(address) => ssl.param_mut().set_ip(address)?,
            Err(_) if host.is_empty() => return Err(ContextError::Certificate("the host has no name".into())),
            Err(_) => {
                ssl.set_hostname(host)?;
                ssl.param_mut().set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                ssl.param_mut().set_host(host)?;
            }
        }
        if now < self.floor {
            ssl.param_mut().set_time(i64::try_from(self.floor).unwrap_or(i64::MAX));
        }
        Ok(ssl)
    }
}

/// An established connection to a verified server.
pub struct TlsStream<S>(SslStream<S>);

impl<S> TlsStream<S> {
    /// The protocol version, such as `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        version(self.0.ssl())
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        self.0.get_ref()
    }

    /// The stream below, to set its time limits. Reading or writing it breaks the connection.
    pub fn inner_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// Bytes that are decrypted and can be read without touching the stream below.
    pub fn buffered(&self) -> usize {
        self.0.ssl().pending()
    }
}

impl<S: Read + Write> TlsStream<S> {
    /// Tells the peer that nothing more will be sent; failures do not matter any more.
    pub fn close(&mut self) {
        let _ = self.0.shutdown();
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S> std::fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsStream({})", self.version())
    }
}

/// The certificates of a PEM text, at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<X509>, ContextError> {
    let found = X509::stack_from_pem(pem.as_bytes()).map_err(|error| ContextError::Certificate(error.to_string()))?;
    if found.is_empty() { Err(ContextError::NoCertificate) } else { Ok(found) }
}
