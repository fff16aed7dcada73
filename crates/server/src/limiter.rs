//! How often a peer may try: token buckets in memory, bounded in number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many buckets there are at most; those that are full again make room first.
const MAX: usize = 10_000;

/// Buckets of `per_minute` tokens each, filled again within a minute.
pub(crate) struct Limiter<K> {
    per_minute: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Hash + Eq> Limiter<K> {
    /// So many tokens for each key and minute, at least one.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute.max(1)), buckets: Mutex::new(HashMap::new()) }
    }

    /// Whether there is a token for this key; else the seconds until there is one.
    pub(crate) fn check(&self, key: &K, now: Instant) -> Result<(), u64> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait(self.left(&buckets, key, now))
    }

    /// Takes a token for this key; if there is none, the seconds until there is one. Looking and taking are one step:
    /// many attempts at the same moment get no more than those one after the other.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.left(&buckets, &key, now);
        self.wait(tokens)?;
        if buckets.len() >= MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.tokens(bucket, now) < self.per_minute);
            if buckets.len() >= MAX {
                buckets.clear();
            }
        }
        buckets.insert(key, Bucket { tokens: tokens - 1.0, at: now });
        Ok(())
    }

    /// Gives a token back that was not needed.
    pub(crate) fn give_back(&self, key: &K, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = self.left(&buckets, key, now) + 1.0;
        if tokens >= self.per_minute {
            buckets.remove(key);
        } else if let Some(bucket) = buckets.get_mut(key) {
            *bucket = Bucket { tokens, at: now };
        }
    }

    fn left(&self, buckets: &HashMap<K, Bucket>, key: &K, now: Instant) -> f64 {
        buckets.get(key).map_or(self.per_minute, |bucket| self.tokens(bucket, now))
    }

    fn wait(&self, tokens: f64) -> Result<(), u64> {
        if tokens >= 1.0 {
            return Ok(());
        }
        let seconds = ((1.0 - tokens) * 60.0 / self.per_minute).ceil();
        Err(if seconds < 1.0 { 1 } else { seconds as u64 })
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_minute / 60.0;
        (bucket.tokens + filled).min(self.per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_spent_bucket_fills_again_and_says_when() {
        let limiter = Limiter::new(6);
        let start = Instant::now();
        for _ in 0..6 {
            assert_eq!(limiter.check(&1, start), Ok(()));
            assert_eq!(limiter.take(1, start), Ok(()));
        }
        assert_eq!(limiter.take(1, start), Err(10));
        assert_eq!(limiter.check(&1, start), Err(10));
        assert_eq!(limiter.check(&2, start), Ok(()));
        assert_eq!(limiter.check(&1, start + Duration::from_secs(4)), Err(6));
        assert_eq!(limiter.check(&1, start + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn what_is_given_back_leaves_no_trace() {
        let limiter = Limiter::new(2);
        let start = Instant::now();
        for _ in 0..10 {
            limiter.take(1, start).unwrap();
            limiter.take(1, start).unwrap();
            assert!(limiter.take(1, start).is_err());
            limiter.give_back(&1, start);
            limiter.give_back(&1, start);
        }
        assert!(limiter.buckets.lock().unwrap().is_empty());
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let limiter = Limiter::new(1);
        let start = Instant::now();
        for key in 0..25_000 {
            limiter.take(key, start).unwrap();
        }
        assert!(limiter.buckets.lock().unwrap().len() <= MAX);
    }
}
