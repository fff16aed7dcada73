//! What one device may cost at one moment: how many of its requests are under way, and how many large bodies are worked
//! on at all. A body takes up to fifty times its size while it is read as JSON.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests of one device may be under way.
const REQUESTS: u32 = 8;
/// Bodies of more bytes than this are large.
const LARGE: usize = 64 * 1024;

/// What is under way.
pub(crate) struct Load {
    devices: Arc<Mutex<HashMap<i64, u32>>>,
    large: Semaphore,
}

/// One request of a device under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    device: i64,
    devices: Arc<Mutex<HashMap<i64, u32>>>,
}

impl Load {
    pub(crate) fn new() -> Self {
        // One thread stays free for everybody else.
        let large = thread::available_parallelism().map_or(1, |threads| threads.get().saturating_sub(1).max(1));
        Self { devices: Arc::default(), large: Semaphore::new(large) }
    }

    /// A seat for one more request of this device; `None` if too many are under way.
    pub(crate) fn seat(&self, device: i64) -> Option<Seat> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = devices.entry(device).or_insert(0);
        if *taken >= REQUESTS {
            return None;
        }
        *taken += 1;
        Some(Seat { device, devices: Arc::clone(&self.devices) })
    }

    /// Waits until a body of this size may be worked on; to be held as long as it is.
    pub(crate) async fn work(&self, size: usize) -> Option<SemaphorePermit<'_>> {
        if size <= LARGE { None } else { self.large.acquire().await.ok() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        match devices.get_mut(&self.device) {
            Some(taken) if *taken > 1 => *taken -= 1,
            Some(_) | None => {
                devices.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_eight_seats_and_gets_them_back() {
        let load = Load::new();
        let seats: Vec<Seat> = (0..8).map(|_| load.seat(1).unwrap()).collect();
        assert!(load.seat(1).is_none());
        let other = load.seat(2).unwrap();
        drop(seats);
        drop(other);
        assert!(load.devices.lock().unwrap().is_empty());
        assert!(load.seat(1).is_some());
    }

    #[tokio::test]
    async fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
        let load = Load { devices: Arc::default(), large: Semaphore::new(1) };
        let first = load.work(LARGE + 1).await.unwrap();
        assert!(load.large.try_acquire().is_err());
        assert!(load.work(LARGE).await.is_none());
        drop(first);
        assert!(load.work(1 << 20).await.is_some());
    }
}
