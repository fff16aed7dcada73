//! The time, never before what is known for sure (Profile P-27).

use omadm_core::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// When this program was built, seconds since 1970.
const BUILT: &str = env!("OMADM_BUILD_TIME");

/// Tells the time. A system clock that is behind the floor (first boot, empty battery) counts as not set: time then goes
/// on from the floor.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    floor: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock whose floor is the later of the build time and `known`, the last time in the state file.
    pub fn new(known: Timestamp) -> Self {
        let built = BUILT.parse().map(Timestamp).unwrap_or_default();
        Self { floor: built.max(known), since: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.at(system_time())
    }

    fn at(&self, system: Timestamp) -> Timestamp {
        system.max(self.floor.plus(self.since.elapsed().as_secs()))
    }
}

fn system_time() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())).min(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_not_set_goes_on_from_the_floor() {
        let clock = Clock::new(Timestamp(4_000_000_000));
        assert!(clock.at(Timestamp(0)) >= Timestamp(4_000_000_000));
        assert_eq!(clock.at(Timestamp(5_000_000_000)), Timestamp(5_000_000_000));
        assert!(Clock::new(Timestamp(0)).floor > Timestamp(1_700_000_000), "the build time is a floor");
    }
}
