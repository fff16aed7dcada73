//! Why a context cannot be made, and why a connection did not come up.

use openssl::error::ErrorStack;
use openssl::ssl::{Error as SslError, HandshakeError, SslRef};
use openssl::x509::X509VerifyResult;
use std::io;

/// Failed to make a TLS context from certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// No certificate in the PEM text.
    #[error("no certificate found; PEM text with at least one `BEGIN CERTIFICATE` block is expected")]
    NoCertificate,
    /// PEM text that cannot be read.
    #[error("a certificate cannot be read: {0}")]
    Certificate(String),
    /// A private key that cannot be read.
    #[error("the private key cannot be read: {0}; an unencrypted key in PEM is expected")]
    Key(String),
    /// A private key behind a pass phrase, which there is nobody to ask for.
    #[error(
        "the private key is encrypted; decrypt it (`openssl pkey -in FILE` prints it) and protect the file instead"
    )]
    EncryptedKey,
    /// The private key is not that of the first certificate.
    #[error("the private key does not belong to the first certificate of the chain")]
    Mismatch,
    /// A pre-shared key that cannot be used.
    #[error("the pre-shared key cannot be used: {0}")]
    Psk(&'static str),
    /// OpenSSL refused for another reason.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// Failed to bring up a TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer's certificate is not yet valid or has expired; otherwise it is good. The clock may be wrong.
    #[error("the certificate of {host} is refused because of its dates: {why}; check the clock")]
    Clock {
        /// Who was to be reached.
        host: String,
        /// What is wrong with it: [`Fault::Expired`] or [`Fault::NotYetValid`].
        fault: Fault,
        /// What OpenSSL says.
        why: String,
    },
    /// The peer's certificate is refused: not signed by an anchor, for another host, broken.
    #[error("the certificate of {host} is refused: {why}")]
    Certificate {
        /// Who was to be reached.
        host: String,
        /// What is wrong with it.
        fault: Fault,
        /// What OpenSSL says.
        why: String,
    },
    /// The client has a pre-shared key, and the connection would not rest on it. The key is wrong, the server does not
    /// know the identity, or it is not the right server; none of them can be told from the others.
    #[error("{host} and this device do not share the pre-shared key: {why}")]
    Psk {
        /// Who was to be reached.
        host: String,
        /// How it showed.
        why: String,
    },
    /// The two ends did not agree, or the peer does not speak TLS.
    #[error("the TLS handshake with {host} failed: {why}")]
    Handshake {
        /// Who was to be reached.
        host: String,
        /// What OpenSSL says.
        why: String,
    },
    /// The time limit passed during the handshake.
    #[error("the TLS handshake with {host} did not end in time")]
    Timeout {
        /// Who was to be reached.
        host: String,
    },
    /// The stream below failed.
    #[error("the connection to {host} broke during the TLS handshake: {source}")]
    Io {
        /// Who was to be reached.
        host: String,
        /// What the stream said.
        source: io::Error,
    },
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is good later.
    NotYetValid,
    /// It was good earlier.
    Expired,
    /// No anchor signed it, however indirectly.
    Foreign,
    /// It is for other hosts.
    OtherHost,
    /// Anything else: a broken signature, a wrong purpose, a weak key.
    Broken,
}

impl Fault {
    /// OpenSSL's code of a verification.
    fn of(code: i32) -> Self {
        match code {
            9 => Self::NotYetValid,
            10 => Self::Expired,
            // No issuer found; self-signed, alone or in the chain; chain not complete.
            2 | 18 | 19 | 20 | 21 | 27 => Self::Foreign,
            62 | 64 => Self::OtherHost,
            _ => Self::Broken,
        }
    }
}

/// OpenSSL's reasons when the peer's alert says handshake_failure, bad_record_mac, illegal_parameter, decrypt_error or
/// unknown_psk_identity: how servers answer to a pre-shared key that they do not know, or know otherwise.
const PSK_ALERTS: [i32; 5] = [1040, 1020, 1047, 1051, 1115];

impl TlsError {
    pub(crate) fn from_handshake<S>(host: &str, error: HandshakeError<S>) -> Self {
        match error {
            HandshakeError::SetupFailure(stack) => Self::Handshake { host: host.to_owned(), why: first(&stack) },
            // A blocking socket with a time limit reports the limit so.
            HandshakeError::WouldBlock(_) => Self::Timeout { host: host.to_owned() },
            HandshakeError::Failure(stream) => {
                let verified = stream.ssl().verify_result();
                Self::from_ssl(host, verified, stream.into_error())
            }
        }
    }

    /// For a client with a pre-shared key, which talks to nobody else: a server that shows a certificate instead, or
    /// refuses the key, does not share it.
    pub(crate) fn from_psk_handshake<S>(host: &str, error: HandshakeError<S>) -> Self {
        if let HandshakeError::Failure(stream) = &error {
            let alert = |stack: &ErrorStack| stack.errors().iter().any(|one| PSK_ALERTS.contains(&one.reason_code()));
            let refused = stream.error().ssl_error().is_some_and(alert);
            if refused || stream.ssl().verify_result() != X509VerifyResult::OK {
                let why = if refused { "the server refused it" } else { "the server showed a certificate instead" };
                return Self::Psk { host: host.to_owned(), why: why.to_owned() };
            }
        }
        Self::from_handshake(host, error)
    }

    pub(crate) fn from_ssl(host: &str, verified: X509VerifyResult, error: SslError) -> Self {
        let host = host.to_owned();
        if verified != X509VerifyResult::OK {
            let why = verified.error_string().to_owned();
            let fault = Fault::of(verified.as_raw());
            return match fault {
                Fault::NotYetValid | Fault::Expired => Self::Clock { host, fault, why },
                Fault::Foreign | Fault::OtherHost | Fault::Broken => Self::Certificate { host, fault, why },
            };
        }
        match error.into_io_error() {
            Ok(source) if matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                Self::Timeout { host }
            }
            Ok(source) => Self::Io { host, source },
            Err(error) => match error.ssl_error() {
                Some(stack) => Self::Handshake { host, why: first(stack) },
                None => Self::Io { host, source: io::ErrorKind::UnexpectedEof.into() },
            },
        }
    }
}

/// What OpenSSL says, where a failure to read or write is one of TLS itself and not of the stream below: an alert of the
/// peer, which may come as late as this (TLS 1.3 refuses a client's certificate so), or a broken record.
pub fn tls_reason(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<SslError>()?.ssl_error().map(first)
}

/// The first reason of OpenSSL's stack, without its file names and lines.
fn first(stack: &ErrorStack) -> String {
    stack.errors().iter().find_map(|error| error.reason()).unwrap_or("OpenSSL gives no reason").to_owned()
}

/// The protocol version of an established session, such as `TLSv1.3`.
pub(crate) fn version(ssl: &SslRef) -> &'static str {
    ssl.version_str()
}
