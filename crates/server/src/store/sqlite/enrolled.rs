//! The devices that enrolled lately, in memory: most requests need no look into the database.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::store::Device;

/// How many devices are remembered; when there are more, all are forgotten.
const MAX: usize = 65_536;

/// A device and its sealed enrolment secret.
type Found = (Device, Vec<u8>);

/// Devices by the user that they enrol by. Every change of a device has to be told by [`EnrolledDevices::forget`] after
/// it was committed and before anybody is told that it was.
#[derive(Default)]
pub(super) struct EnrolledDevices(RwLock<Remembered>);

#[derive(Default)]
struct Remembered {
    by_user: HashMap<String, Found>,
    users: HashMap<i64, String>,
    /// How often something was forgotten.
    changes: u64,
}

/// From before a look into the database: what was read then is not remembered if a device changed meanwhile.
pub(super) struct Before(u64);

impl EnrolledDevices {
    /// The device of this user, if it is remembered.
    pub(super) fn find(&self, user: &str) -> Option<Found> {
        self.read().by_user.get(user).cloned()
    }

    /// To be called before the database is read.
    pub(super) fn before(&self) -> Before {
        Before(self.read().changes)
    }

    /// Remembers what was read.
    pub(super) fn remember(&self, before: &Before, found: &Found) {
        let mut remembered = self.write();
        if remembered.changes != before.0 {
            return;
        }
        if remembered.by_user.len() >= MAX {
            remembered.by_user.clear();
            remembered.users.clear();
        }
        let (device, _) = found;
        remembered.users.insert(device.id, device.user.clone());
        remembered.by_user.insert(device.user.clone(), found.clone());
    }

    /// This device changed.
    pub(super) fn forget(&self, device: i64) {
        let mut remembered = self.write();
        remembered.changes += 1;
        if let Some(user) = remembered.users.remove(&device) {
            remembered.by_user.remove(&user);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Remembered> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Remembered> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DeviceState;
    use omadm_core::time::Timestamp;

    fn found(id: i64, secret: u8) -> Found {
        let device = Device {
            id,
            dev_id: format!("IMEI:{id}").parse().unwrap(),
            user: format!("user{id}"),
            state: DeviceState::Known,
            source: None,
            srv_id: None,
            devinfo: None,
            added_at: Timestamp(0),
            blocked_at: None,
        };
        (device, vec![secret])
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_remembered() {
        let devices = EnrolledDevices::default();
        let before = devices.before();
        devices.forget(1);
        devices.remember(&before, &found(1, 1));
        assert_eq!(devices.find("user1"), None);
        devices.remember(&devices.before(), &found(1, 2));
        assert_eq!(devices.find("user1"), Some(found(1, 2)));
        devices.forget(2);
        assert_eq!(devices.find("user1"), Some(found(1, 2)));
        devices.forget(1);
        assert_eq!(devices.find("user1"), None);
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let devices = EnrolledDevices::default();
        for id in 0..=MAX as i64 {
            devices.remember(&devices.before(), &found(id, 0));
        }
        assert!(devices.read().by_user.len() <= MAX && devices.read().users.len() <= MAX);
        assert!(devices.find(&format!("user{MAX}")).is_some());
    }
}
