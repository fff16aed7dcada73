//! HTTP over TCP and TLS, every byte counted and every wait bounded.

mod carrier;
mod connection;
mod cookies;
mod failure;
mod http;
mod message;
mod meter;
mod resolve;
mod socket;

pub use self::http::{
    Answer, Carrier, Dated, Headers, Http, HttpSetup, Limits, Method, Other, Outgoing, PrivateHeaders, Request, Trust,
};
pub use carrier::Carriers;
pub use cookies::CookieJar;
pub use failure::HttpError;
pub use message::answer as read_answer;
pub use meter::{Count, Meter};
