//! HTTP over TCP and TLS, every byte counted and every wait bounded.

mod agents;
mod cookies;
mod failure;
mod http;
mod meter;
mod resolve;
mod socket;
mod wire;

pub use self::http::{Answer, Carrier, Http, HttpSetup, Limits, Outgoing, PrivateHeaders, Request, Trust};
pub use agents::carrier;
pub use cookies::CookieJar;
pub use failure::HttpError;
pub use meter::{Count, Meter};
