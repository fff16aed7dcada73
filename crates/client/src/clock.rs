//! The time, never before what is known for sure (Profile P-27).

use crate::host::system_time;
use crate::world::World;
use omadm_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// When this program was built, seconds since 1970.
const BUILT: &str = env!("OMADM_BUILD_TIME");

/// Tells the time. A system clock that is behind the floor (first boot, empty battery) counts as not set: time then goes
/// on from the floor.
#[derive(Clone)]
pub struct Clock {
    world: Arc<dyn World>,
    floor: Timestamp,
    since: Duration,
}

impl Clock {
    /// A clock whose floor is the later of the build time and `known`, the last time that the state file knows.
    pub fn new(world: Arc<dyn World>, known: Timestamp) -> Self {
        let since = world.monotonic();
        Self { world, floor: built().max(known), since }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let passed = self.world.monotonic().saturating_sub(self.since);
        self.world.system_time().max(self.floor.plus(passed.as_secs()))
    }

    /// What time it is if the floor lies ahead, because it came from a clock that was: what the system's clock says, unless
    /// it cannot be so early, since certificates were good that are valid from `proved` on.
    pub fn second_opinion(&self, proved: Timestamp) -> Option<Timestamp> {
        Some(self.world.system_time()).filter(|time| built().max(proved) <= *time && *time < self.now())
    }

    /// Time goes on from here, whatever the floor was.
    pub(crate) fn go_on_from(&mut self, time: Timestamp) {
        (self.floor, self.since) = (time, self.world.monotonic());
    }

    /// Whether the system's clock is set, as far as one can tell: it is not behind the floor.
    pub fn is_set(&self) -> bool {
        self.world.system_time() >= self.floor
    }

    /// The earliest time that it could be when the program started, or when a certificate set it right.
    pub fn floor(&self) -> Timestamp {
        self.floor
    }
}

/// The time at which a program starts that knows of no later one.
pub fn at_start() -> Timestamp {
    system_time().max(built())
}

/// The earliest time that it can be.
pub(crate) fn built() -> Timestamp {
    BUILT.parse().map(Timestamp).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::wait::Stop;

    #[test]
    fn a_clock_that_is_not_set_goes_on_from_the_floor() {
        let clock = |known| Clock::new(Arc::new(Host::new(&Stop::new().unwrap())), known);
        let ahead = clock(Timestamp(4_000_000_000));
        assert!((4_000_000_000..4_000_000_060).contains(&ahead.now().0));
        assert!(ahead.second_opinion(Timestamp(0)).unwrap().since(system_time()) < 60, "the system may be right");
        assert_eq!(ahead.second_opinion(Timestamp(3_900_000_000)), None, "it is proved wrong");
        let set = clock(Timestamp(0));
        assert!(set.now().since(system_time()) < 60, "a clock that is set is believed");
        assert_eq!(set.second_opinion(Timestamp(0)), None);
        assert!(built() > Timestamp(1_700_000_000) && at_start() >= built(), "the build time is a floor");
    }
}
