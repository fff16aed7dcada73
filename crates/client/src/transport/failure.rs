//! Why an HTTP exchange failed, told apart as far as callers need it.

use omadm_core::reason::Reason;
use omadm_tls::{TlsError, tls_reason};
use std::io;

/// Failed to exchange an HTTP request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A time limit passed.
    #[error("{0}")]
    Timeout(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Connect(String),
    /// The certificate or the TLS handshake was refused.
    #[error("{0}")]
    Tls(String),
    /// A certificate was refused because of its dates.
    #[error("{0}")]
    Clock(String),
    /// The answer is larger than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The client does not connect there (Profile P-32).
    #[error("{0}")]
    Refused(String),
    /// The peer does not speak HTTP as it should.
    #[error("{0}")]
    Protocol(String),
    /// The program is to end.
    #[error("interrupted, because the program is to end")]
    Stopped,
}

impl HttpError {
    /// The reason code for an attempt.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout(_) => Reason::Timeout,
            Self::Tls(_) => Reason::Tls,
            Self::Clock(_) => Reason::Clock,
            Self::TooLarge(_) => Reason::InvalidMessage,
            Self::Connect(_) | Self::Refused(_) | Self::Protocol(_) | Self::Stopped => Reason::Connect,
        }
    }

    /// From a failure to send or to receive.
    pub(super) fn from_io(error: &io::Error, host: &str) -> Self {
        match tls_reason(error) {
            // The peer is gone without TLS's good-bye.
            Some(why) if why.contains("unexpected eof") => {
                return Self::Connect(format!("{host} cut the connection off"));
            }
            Some(why) => return Self::Tls(format!("{host} ended TLS, as if it refused this device: {why}")),
            None => {}
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Self::Timeout(format!("{host} did not answer in time"))
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Connect(format!("{host} reset the connection"))
            }
            _ => Self::Connect(format!("the connection to {host} failed: {error}")),
        }
    }

    pub(super) fn from_tls(error: TlsError) -> Self {
        let text = error.to_string();
        match error {
            TlsError::Clock { .. } => Self::Clock(text),
            TlsError::Certificate { .. } | TlsError::Psk { .. } | TlsError::Handshake { .. } => Self::Tls(text),
            TlsError::Timeout { .. } => Self::Timeout(text),
            TlsError::Io { .. } => Self::Connect(text),
        }
    }
}
