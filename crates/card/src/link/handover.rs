//! Handing things to the one thread that waits for them: what `std::sync::mpsc` does, in a tenth of its code.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A new way from any number of givers to one taker.
pub fn handover<T>() -> (Giver<T>, Taker<T>) {
    let way = Arc::new(Way {
        inside: Mutex::new(Inside { things: VecDeque::new(), givers: 1, taken: true }),
        news: Condvar::new(),
    });
    (Giver(way.clone()), Taker(way))
}

/// Gives things; each clone does.
#[derive(Debug)]
pub struct Giver<T>(Arc<Way<T>>);

/// Takes what was given, in that order.
#[derive(Debug)]
pub struct Taker<T>(Arc<Way<T>>);

/// Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// Nothing came in time.
    Yet,
    /// Nothing comes any more: nobody is left who gives.
    Ever,
}

#[derive(Debug)]
struct Way<T> {
    inside: Mutex<Inside<T>>,
    news: Condvar,
}

#[derive(Debug)]
struct Inside<T> {
    things: VecDeque<T>,
    givers: usize,
    /// Whether somebody is left who takes.
    taken: bool,
}

impl<T> Way<T> {
    fn inside(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Giver<T> {
    /// Gives a thing, which waits until it is taken. Where nobody is left who takes, it is dropped, and the answer is no.
    pub fn give(&self, thing: T) -> bool {
        let mut inside = self.0.inside();
        let taken = inside.taken;
        if taken {
            inside.things.push_back(thing);
        }
        drop(inside);
        self.0.news.notify_one();
        taken
    }
}

impl<T> Clone for Giver<T> {
    fn clone(&self) -> Self {
        self.0.inside().givers += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.inside().givers -= 1;
        self.0.news.notify_one();
    }
}

impl<T> Taker<T> {
    /// Takes the next thing, and waits for it at most `limit`.
    pub fn take(&self, limit: Duration) -> Result<T, Nothing> {
        let end = Instant::now().checked_add(limit);
        let mut inside = self.0.inside();
        loop {
            if let Some(thing) = inside.things.pop_front() {
                return Ok(thing);
            }
            if inside.givers == 0 {
                return Err(Nothing::Ever);
            }
            // A limit beyond all clocks is none.
            let left = end.map_or(limit, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Nothing::Yet);
            }
            inside = self.0.news.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let mut inside = self.0.inside();
        inside.taken = false;
        let left = std::mem::take(&mut inside.things);
        drop(inside);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn things_are_taken_in_order_until_nobody_gives_any_more() {
        let (giver, taker) = handover();
        assert_eq!(taker.take(Duration::ZERO), Err(Nothing::Yet));
        assert_eq!(taker.take(Duration::from_millis(5)), Err(Nothing::Yet));
        let other = giver.clone();
        let thread = thread::spawn(move || (0..100).for_each(|number| assert!(other.give(number))));
        assert!((0..100).all(|number| taker.take(Duration::from_secs(10)) == Ok(number)));
        thread.join().unwrap();
        giver.give(7);
        drop(giver);
        assert_eq!((taker.take(Duration::MAX), taker.take(Duration::MAX)), (Ok(7), Err(Nothing::Ever)));
    }

    #[test]
    fn what_nobody_takes_is_dropped() {
        let (giver, taker) = handover();
        let (inner, inner_taker) = handover::<u8>();
        giver.give(inner.clone());
        drop(taker);
        assert!(!giver.give(inner));
        assert_eq!(inner_taker.take(Duration::MAX), Err(Nothing::Ever));
    }
}
