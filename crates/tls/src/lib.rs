//! TLS for both ends of omadm: contexts, handshakes with stable error kinds, and the certificates of an own CA.
//!
//! The only crate that names OpenSSL. The client's side blocks and works over any stream; the server's side (feature
//! `server`) is asynchronous. Both speak TLS 1.2 or newer, with forward secrecy and without CBC (Profile P-7).

pub mod ca;
mod client;
mod error;
#[cfg(feature = "server")]
mod server;
mod suites;

pub use client::{Anchors, ClientContext, TlsStream};
pub use error::{ContextError, TlsError};
#[cfg(feature = "server")]
pub use server::{Peer, ServerContext, ServerStream};
