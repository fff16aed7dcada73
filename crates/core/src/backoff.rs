//! When to try again: exponential backoff and the slow rate (spec 2.2, 2.4), with the random number handed in.

use crate::time::Timestamp;

/// The first ceiling of the exponential backoff, in seconds.
pub const FIRST: u64 = 30;
/// The last ceiling of the exponential backoff, in seconds: 24 h.
pub const LAST: u64 = 24 * 3600;
/// The slow rate, in seconds: 6 h, drawn between 3 and 9 h.
pub const SLOW: u64 = 6 * 3600;

/// The time, and a random number drawn just now, for one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The time.
    pub time: Timestamp,
    /// 64 random bits.
    pub random: u64,
}

impl Now {
    /// A whole number between 0 and `bound`, both included.
    fn up_to(self, bound: u64) -> u64 {
        // The product's upper half is uniform enough: bounds here are far below 2^32.
        ((u128::from(self.random) * (u128::from(bound) + 1)) >> 64) as u64
    }
}

/// Seconds until the next attempt after `failures` failures in a row: full jitter below a ceiling that doubles from
/// 30 s to 24 h, but never less than 1 s. A Retry-After comes first, with jitter on top of it: up to a quarter, and up to
/// that ceiling, so that a server which says "at once" again and again is not asked without end.
pub fn exponential(failures: u32, retry_after: Option<u64>, now: Now) -> u64 {
    let ceiling = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST);
    if let Some(asked) = retry_after {
        let asked = asked.clamp(1, LAST);
        return asked + now.up_to((asked / 4).max(ceiling.saturating_sub(asked)));
    }
    1 + now.up_to(ceiling - 1)
}

/// Seconds until the next attempt at the slow rate: between 3 and 9 h.
pub fn slow(now: Now) -> u64 {
    SLOW / 2 + now.up_to(SLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(random: u64) -> Now {
        Now { time: Timestamp(0), random }
    }

    #[test]
    fn the_ceiling_doubles_up_to_a_day() {
        assert_eq!(exponential(1, None, now(u64::MAX)), 30);
        assert_eq!(exponential(2, None, now(u64::MAX)), 60);
        assert_eq!(exponential(5, None, now(u64::MAX)), 480);
        assert_eq!(exponential(100, None, now(u64::MAX)), LAST);
        assert_eq!(exponential(100, None, now(0)), 1);
    }

    #[test]
    fn retry_after_is_never_undercut() {
        assert_eq!(exponential(1, Some(120), now(0)), 120);
        assert_eq!(exponential(1, Some(120), now(u64::MAX)), 150);
        assert_eq!(exponential(9, Some(0), now(0)), 1);
    }

    #[test]
    fn a_server_that_asks_to_come_back_at_once_is_asked_less_and_less() {
        let most = |failures| exponential(failures, Some(1), now(u64::MAX));
        assert_eq!([most(1), most(2), most(12), most(99)], [30, 60, 61_440, LAST]);
    }

    #[test]
    fn the_slow_rate_lies_between_3_and_9_hours() {
        assert_eq!(slow(now(0)), 3 * 3600);
        assert_eq!(slow(now(u64::MAX)), 9 * 3600);
    }
}
