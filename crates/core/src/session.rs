//! Both ends of a management session as state machines (spec 3): no socket, no clock.

pub mod client;
pub mod server;

/// The most packages that each side sends in one session (Profile P-30).
pub const MAX_PACKAGES: u32 = 64;
/// The longest session, in seconds (Profile P-30).
pub const MAX_SECONDS: u64 = 30 * 60;
