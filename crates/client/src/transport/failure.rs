//! Why an HTTP exchange failed, told apart as far as callers need it.

use omadm_core::reason::Reason;
use omadm_tls::TlsError;
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
            Self::Connect(_) | Self::TooLarge(_) | Self::Refused(_) | Self::Protocol(_) | Self::Stopped => {
                Reason::Connect
            }
        }
    }

    /// From an error of ureq, which may carry one of ours through several layers.
    pub(super) fn from_ureq(error: ureq::Error, host: &str) -> Self {
        let text = error.to_string();
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(_) => Self::Protocol(format!("{host}: {text}")),
            },
            ureq::Error::Timeout(_) => Self::Timeout(format!("{host} did not answer in time")),
            ureq::Error::Io(error) => Self::from_io(error, host),
            ureq::Error::HostNotFound => Self::Connect(format!("{host} is not known to the name service")),
            ureq::Error::BodyExceedsLimit(limit) => {
                Self::TooLarge(format!("the answer of {host} has more than {limit} bytes"))
            }
            ureq::Error::LargeResponseHeader(..) => {
                Self::TooLarge(format!("the header of the answer of {host} is too large"))
            }
            _ => Self::Protocol(format!("{host} does not answer as HTTP demands: {text}")),
        }
    }

    /// From an I/O error, which may carry one of the above.
    pub(super) fn from_io(error: io::Error, host: &str) -> Self {
        match error.downcast::<ureq::Error>() {
            Ok(inner) => Self::from_ureq(inner, host),
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    Self::Timeout(format!("{host} did not answer in time"))
                }
                io::ErrorKind::UnexpectedEof => Self::Connect(format!("{host} closed the connection")),
                _ => Self::Connect(format!("the connection to {host} failed: {error}")),
            },
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

    pub(super) fn into_ureq(self) -> ureq::Error {
        ureq::Error::Other(Box::new(self))
    }
}
