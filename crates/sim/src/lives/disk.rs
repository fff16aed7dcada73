//! The disk of a life: [`TestDisk`] with random numbers in place of enumerating, and with days on which it is not well.

use crate::cuts::disk::TestDisk;
use crate::random::Random;
use omadm_client::state::Storage;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk {
    disk: TestDisk,
    ways: Arc<Mutex<Ways>>,
}

/// How the disk misbehaves at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It does not.
    #[default]
    Good,
    /// No room: what is written is cut.
    Full,
    /// Nothing can be changed.
    ReadOnly,
    /// Whatever is synced fails.
    SyncFails,
}

/// A fault of the model that a test plants, to show that what checks it finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// The disk says that content is durable when it is not.
    ForgetsContent,
    /// The disk says that names are durable when they are not.
    ForgetsNames,
}

#[derive(Debug, Default)]
struct Ways {
    health: Health,
    planted: Planted,
    operations: u64,
    /// After so many more operations the power goes, in the middle of the last one.
    fuse: Option<u32>,
    dead: bool,
}

impl ModelDisk {
    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.ways().dead
    }

    /// The power goes.
    pub fn cut(&self) {
        self.ways().dead = true;
    }

    /// The power goes in the middle of the operation after so many others.
    pub fn cut_after(&self, operations: u32) {
        self.ways().fuse = Some(operations);
    }

    /// The power goes at no operation any more.
    pub fn keep_power(&self) {
        self.ways().fuse = None;
    }

    /// From now on it misbehaves so.
    pub fn set_health(&self, health: Health) {
        self.ways().health = health;
    }

    /// From now on it has this fault.
    pub fn plant(&self, planted: Planted) {
        self.ways().planted = planted;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.ways().operations
    }

    /// What programs see in this file now.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.disk.read(name, u64::MAX).ok().flatten()
    }

    /// Writes a file as if it had been there for long.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        self.disk.put(name, content);
    }

    /// The power comes back: what was not synced is lost or kept as the random numbers say.
    pub fn power_on(&self, random: &mut Random) {
        let mut ways = self.ways();
        if ways.dead {
            ways.dead = false;
            ways.fuse = None;
            self.disk.lose_power(|count| random.below(count as u64) as usize);
        }
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation, which `carry_out` does unless the power is gone, told whether it goes in the middle of this one.
    fn operation<T>(&self, carry_out: impl FnOnce(&Ways, TestDisk, bool) -> io::Result<T>) -> io::Result<T> {
        let gone = || io::Error::other("the power is gone");
        let mut ways = self.ways();
        if ways.dead {
            return Err(gone());
        }
        ways.operations += 1;
        let cut = ways.fuse == Some(0);
        ways.fuse = ways.fuse.map(|left| left.saturating_sub(1));
        let done = carry_out(&ways, self.disk.clone(), cut);
        ways.dead |= cut;
        if cut { Err(gone()) } else { done }
    }

    /// A change: in its middle it may have come as far as if it were whole, since all of it is in doubt.
    fn change(&self, carry_out: impl FnOnce(&Ways, TestDisk) -> io::Result<()>) -> io::Result<()> {
        self.operation(|ways, disk, _| match ways.health {
            Health::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Health::Good | Health::Full | Health::SyncFails => carry_out(ways, disk),
        })
    }

    /// A sync: in its middle all that was in doubt is in doubt still.
    fn make_durable(&self, forgets: Planted, carry_out: impl FnOnce(TestDisk) -> io::Result<()>) -> io::Result<()> {
        self.operation(|ways, disk, cut| match ways.health {
            Health::SyncFails => Err(io::Error::other("the disk failed to write")),
            Health::Good | Health::Full | Health::ReadOnly if cut || ways.planted == forgets => Ok(()),
            Health::Good | Health::Full | Health::ReadOnly => carry_out(disk),
        })
    }
}

impl Storage for ModelDisk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.operation(|_, disk, _| disk.read(name, limit))
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.change(|ways, mut disk| match ways.health {
            Health::Full => {
                disk.write(name, &content[..content.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Health::Good | Health::ReadOnly | Health::SyncFails => disk.write(name, content),
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.make_durable(Planted::ForgetsContent, |mut disk| disk.sync(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(|_, mut disk| disk.rename(from, to))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.make_durable(Planted::ForgetsNames, |mut disk| disk.sync_folder())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.change(|_, mut disk| disk.remove(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.operation(|_, disk, _| disk.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_lost_or_kept_in_any_combination() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut disk = ModelDisk::default();
            disk.put("a", b"old".to_vec());
            disk.write("a.new", b"new").unwrap();
            disk.rename("a.new", "a").unwrap();
            disk.cut();
            assert!(disk.read("a", 9).is_err());
            disk.power_on(&mut Random::new(seed));
            seen.insert(disk.read("a", 9).unwrap());
        }
        let content = |text: &[u8]| Some(text.to_vec());
        for one in [content(b"old"), content(b"new"), content(b""), content(b"ne"), content(b"n\0\0")] {
            assert!(seen.contains(&one), "{one:?}");
        }
    }

    #[test]
    fn what_was_synced_stays() {
        for seed in 0..100 {
            let mut disk = ModelDisk::default();
            disk.put("a", b"old".to_vec());
            disk.write("a.new", b"new").unwrap();
            disk.sync("a.new").unwrap();
            disk.rename("a.new", "a").unwrap();
            disk.sync_folder().unwrap();
            disk.write("b.new", b"more").unwrap();
            disk.cut();
            disk.power_on(&mut Random::new(seed));
            assert_eq!(disk.read("a", 9).unwrap().unwrap(), b"new");
        }
    }
}
