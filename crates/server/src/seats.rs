//! How much of something each key may have at one moment, such as requests of a device or connections of an address.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

type Taken<K> = Arc<Mutex<HashMap<K, u32>>>;

/// So many seats for each key. Keys without a taken seat cost nothing.
#[derive(Debug, Clone)]
pub(crate) struct Seats<K> {
    most: u32,
    taken: Taken<K>,
}

/// A taken seat, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat<K: Hash + Eq> {
    key: K,
    taken: Taken<K>,
}

impl<K: Hash + Eq + Clone> Seats<K> {
    /// `most` seats for each key.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A seat for this key; `None` if all are taken.
    pub(crate) fn take(&self, key: K) -> Option<Seat<K>> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(key.clone()).or_insert(0);
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Seat { key, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Hash + Eq> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.key) {
            Some(taken) if *taken > 1 => *taken -= 1,
            Some(_) | None => {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_seats_and_gets_them_back() {
        let all = Seats::new(8);
        let seats: Vec<Seat<i64>> = (0..8).map(|_| all.take(1).unwrap()).collect();
        assert!(all.take(1).is_none());
        let other = all.take(2).unwrap();
        drop(seats);
        drop(other);
        assert!(all.taken.lock().unwrap().is_empty());
        assert!(all.take(1).is_some());
    }
}
