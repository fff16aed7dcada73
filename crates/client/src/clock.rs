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
///
/// The floor itself may lie ahead, since a clock that was ahead told it. So there is a second opinion, which a server's
/// certificate may confirm.
#[derive(Clone)]
pub struct Clock {
    world: Arc<dyn World>,
    floor: Timestamp,
    proved: Timestamp,
    since: Duration,
}

impl Clock {
    /// A clock whose floor is the latest of the build time, `known`, the last time that the state file knows, and
    /// `proved`, since when certificates are valid that were good.
    pub fn new(world: Arc<dyn World>, known: Timestamp, proved: Timestamp) -> Self {
        let since = world.monotonic();
        let proved = built().max(proved);
        Self { world, floor: proved.max(known), proved, since }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.from(self.floor)
    }

    /// What time it is if the floor lies ahead: it is no earlier than what was proved. `None` while the system's clock is
    /// believed.
    pub fn second_opinion(&self) -> Option<Timestamp> {
        Some(self.from(self.proved)).filter(|time| *time < self.now())
    }

    /// Time goes on from here, whatever the floor was.
    pub(crate) fn go_on_from(&mut self, time: Timestamp) {
        (self.floor, self.since) = (time, self.world.monotonic());
    }

    fn from(&self, floor: Timestamp) -> Timestamp {
        let passed = self.world.monotonic().saturating_sub(self.since);
        self.world.system_time().max(floor.plus(passed.as_secs()))
    }

    /// Whether the system's clock is set, as far as one can tell: it is not behind the floor.
    pub fn is_set(&self) -> bool {
        self.world.system_time() >= self.floor
    }

    /// The time from which it goes on while the system's clock is behind it.
    pub fn floor(&self) -> Timestamp {
        self.floor
    }
}

/// The time at which a program starts that knows of no later one.
pub fn at_start() -> Timestamp {
    system_time().max(built())
}

/// The same in a world.
pub(crate) fn at_start_of(world: &dyn World) -> Timestamp {
    world.system_time().max(built())
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
        let clock = |known, proved| Clock::new(Arc::new(Host::new(&Stop::new().unwrap())), known, Timestamp(proved));
        let ahead = clock(Timestamp(4_000_000_000), 0);
        assert!((4_000_000_000..4_000_000_060).contains(&ahead.now().0));
        assert!(ahead.second_opinion().unwrap().since(system_time()) < 60, "the system may be right all the same");
        let set = clock(Timestamp(0), 0);
        assert!(set.now().since(system_time()) < 60, "a clock that is set is believed");
        assert_eq!(set.second_opinion(), None);
        let unset = clock(Timestamp(4_000_000_000), 3_900_000_000).second_opinion().unwrap();
        assert!((3_900_000_000..3_900_000_060).contains(&unset.0), "never before what was proved");
        assert_eq!(clock(Timestamp(0), 3_900_000_000).second_opinion(), None);
        assert!(built() > Timestamp(1_700_000_000) && at_start() >= built(), "the build time is a floor");
    }
}
