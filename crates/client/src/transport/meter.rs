//! Counting what goes through the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes and round trips of all sockets that were given a clone of it.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    round_trips: AtomicU64,
}

/// What a [`Meter`] shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes sent and received, TLS included, TCP's and IP's own headers not.
    pub bytes: u64,
    /// Round trips: one for each TCP connection made, and one each time that the device, having sent, reads.
    pub round_trips: u64,
}

impl Meter {
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_round_trip(&self) {
        self.0.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn count(&self) -> Count {
        Count { bytes: self.0.bytes.load(Ordering::Relaxed), round_trips: self.0.round_trips.load(Ordering::Relaxed) }
    }
}
