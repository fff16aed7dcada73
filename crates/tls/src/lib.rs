//! TLS for both ends of omadm: contexts, handshakes with stable error kinds, who the peer is, and the certificates of
//! an own CA.
//!
//! The only crate that names OpenSSL. The client's side blocks and works over any stream; the server's side (feature
//! `server`) is asynchronous. Both speak TLS 1.2 or newer, with forward secrecy and without CBC (Profile P-7), and prove
//! themselves by certificates or pre-shared keys.

pub mod ca;
mod certificates;
mod client;
pub mod cms;
mod error;
mod identity;
mod key;
#[cfg(feature = "server")]
mod peer;
pub mod psk;
#[cfg(feature = "server")]
mod resumable;
mod resume;
#[cfg(feature = "server")]
mod server;
mod suites;

pub use client::{Anchors, ClientContext, Proof, TlsStream};
pub use error::{ContextError, Fault, TlsError, tls_reason};
pub use identity::ClientIdentity;
#[cfg(feature = "server")]
pub use peer::{DeviceAuthorities, Peer, PeerCertificate};
#[cfg(feature = "server")]
pub use resumable::Resumptions;
pub use resume::Sessions;
#[cfg(feature = "server")]
pub use server::{PskKeys, ServerContext, ServerOptions, ServerStream};
