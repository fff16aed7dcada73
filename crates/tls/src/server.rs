//! The server's end: asynchronous, asks for a client's certificate and does not demand it.

use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode};
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::client::certificates;
use crate::error::{ContextError, TlsError};
use crate::suites::{self, TLS13_SERVER};

/// An established connection of a client.
pub type ServerStream = SslStream<TcpStream>;

/// Who is at the other end, as far as TLS can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Showed no certificate.
    Anonymous,
    /// Showed a certificate and has its key, but nobody was asked whether it is to be trusted: no identity.
    UnverifiedCertificate {
        /// The certificate in DER.
        leaf: Vec<u8>,
    },
}

/// What connections of clients have in common. Cheap to clone.
#[derive(Clone)]
pub struct ServerContext {
    context: SslContext,
}

impl ServerContext {
    /// A context with this certificate chain (leaf first) and the leaf's private key, both in PEM.
    ///
    /// # Errors
    /// If one of them cannot be read, or they do not belong together.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, ContextError> {
        let mut certificates = certificates(chain)?.into_iter();
        let leaf = certificates.next().ok_or(ContextError::NoCertificate)?;
        let key = PKey::private_key_from_pem(key.as_bytes()).map_err(|error| ContextError::Key(error.to_string()))?;
        if !leaf.public_key()?.public_eq(&key) {
            return Err(ContextError::Mismatch);
        }
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        suites::restrict(&mut context, TLS13_SERVER)?;
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::NO_TICKET);
        // No resumption: a resumed session would carry an identity that nobody looked up again.
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_num_tickets(0)?;
        context.set_session_id_context(b"omadm-device")?;
        // Asked for, taken as it is: whom to trust is decided where the device is known.
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        context.set_certificate(&leaf)?;
        for certificate in certificates {
            context.add_extra_chain_cert(certificate)?;
        }
        context.set_private_key(&key)?;
        Ok(Self { context: context.build() })
    }

    /// Does the handshake on an accepted connection within `limit`.
    ///
    /// # Errors
    /// See [`TlsError`]; the host named there is the client's address.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> Result<(ServerStream, Peer), TlsError> {
        let host = stream.peer_addr().map_or_else(|_| "a client".to_owned(), |address| address.ip().to_string());
        let setup =
            |error: openssl::error::ErrorStack| TlsError::Handshake { host: host.clone(), why: error.to_string() };
        let ssl = Ssl::new(&self.context).map_err(setup)?;
        let mut stream = SslStream::new(ssl, stream).map_err(setup)?;
        match tokio::time::timeout(limit, Pin::new(&mut stream).accept()).await {
            Err(_) => Err(TlsError::Timeout { host }),
            // What the client's certificate is worth is not decided here, so it is never the reason.
            Ok(Err(error)) => Err(TlsError::from_ssl(&host, openssl::x509::X509VerifyResult::OK, error)),
            Ok(Ok(())) => {
                let peer = match stream.ssl().peer_certificate() {
                    None => Peer::Anonymous,
                    Some(leaf) => Peer::UnverifiedCertificate { leaf: leaf.to_der().map_err(setup)? },
                };
                Ok((stream, peer))
            }
        }
    }
}
