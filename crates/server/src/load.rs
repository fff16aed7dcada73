//! What one device may cost at one moment: how many of its requests are under way, and how many large bodies are worked
//! on at all. A body takes up to fifty times its size while it is read as JSON.

use std::thread;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::seats::{Seat, Seats};

/// How many requests of one device may be under way.
const REQUESTS: u32 = 8;
/// Bodies of more bytes than this are large.
const LARGE: usize = 64 * 1024;

/// What is under way.
pub(crate) struct Load {
    devices: Seats<i64>,
    large: Semaphore,
}

impl Load {
    pub(crate) fn new() -> Self {
        // One thread stays free for everybody else.
        let large = thread::available_parallelism().map_or(1, |threads| threads.get().saturating_sub(1).max(1));
        Self { devices: Seats::new(REQUESTS), large: Semaphore::new(large) }
    }

    /// A seat for one more request of this device; `None` if too many are under way.
    pub(crate) fn seat(&self, device: i64) -> Option<Seat<i64>> {
        self.devices.take(device)
    }

    /// Waits until a body of this size may be worked on; to be held as long as it is.
    pub(crate) async fn work(&self, size: usize) -> Option<SemaphorePermit<'_>> {
        if size <= LARGE { None } else { self.large.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
        let load = Load { devices: Seats::new(1), large: Semaphore::new(1) };
        let first = load.work(LARGE + 1).await.unwrap();
        assert!(load.large.try_acquire().is_err());
        assert!(load.work(LARGE).await.is_none());
        drop(first);
        assert!(load.work(1 << 20).await.is_some());
    }
}
