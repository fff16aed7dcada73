//! What a factory hands over: to each device a bundle, to the server a manifest of them.

pub mod bundle;
pub mod manifest;
