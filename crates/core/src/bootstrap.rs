//! From nothing to an account: the Bootstrap Message, the order of methods, the request to a DM Bootstrap Server
//! (spec 2).

mod delegation;
pub mod message;
pub mod request;
pub mod sequence;
