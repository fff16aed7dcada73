//! A disk in memory with a page cache: what was not synced may be lost or kept in any combination when the power goes,
//! content and names each on its own, and a write may end in the middle.

use crate::random::Random;
use omadm_client::state::Storage;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk(Arc<Mutex<Inner>>);

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
struct Inner {
    files: Vec<File>,
    /// The folder as programs see it, and as it is on the disk.
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    changes: Vec<Change>,
    health: Health,
    planted: Planted,
    operations: u64,
    /// After so many more operations the power goes, in the middle of the last one.
    fuse: Option<u32>,
    dead: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    dirty: bool,
}

/// A change of the folder that may not be on the disk yet.
#[derive(Debug, Clone)]
enum Change {
    Name(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl ModelDisk {
    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.inner().dead
    }

    /// The power goes.
    pub fn cut(&self) {
        self.inner().dead = true;
    }

    /// The power goes in the middle of the operation after so many others.
    pub fn cut_after(&self, operations: u32) {
        self.inner().fuse = Some(operations);
    }

    /// The power goes at no operation any more.
    pub fn keep_power(&self) {
        self.inner().fuse = None;
    }

    /// From now on it misbehaves so.
    pub fn set_health(&self, health: Health) {
        self.inner().health = health;
    }

    /// From now on it has this fault.
    pub fn plant(&self, planted: Planted) {
        self.inner().planted = planted;
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// What programs see in this file now.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        inner.names.get(name).map(|file| inner.files[*file].content.clone())
    }

    /// Writes a file as if it had been there for long.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut inner = self.inner();
        inner.files.push(File { content: content.clone(), durable: content, dirty: false });
        let file = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), file);
        inner.durable.insert(name.to_owned(), file);
    }

    /// The power comes back: what was not synced is lost or kept as the random numbers say.
    pub fn power_on(&self, random: &mut Random) {
        let mut inner = self.inner();
        if !inner.dead {
            return;
        }
        inner.dead = false;
        inner.fuse = None;
        for file in &mut inner.files {
            if !file.dirty {
                continue;
            }
            let length = file.content.len() as u64;
            match random.below(4) {
                0 => file.content.clone_from(&file.durable),
                1 => {}
                2 => file.content.truncate(random.below(length + 1) as usize),
                // The length was kept and a part of the blocks was not.
                _ => {
                    let from = random.below(length + 1) as usize;
                    file.content[from..].fill(0);
                }
            }
            file.durable.clone_from(&file.content);
            file.dirty = false;
        }
        let changes = std::mem::take(&mut inner.changes);
        let mut names = std::mem::take(&mut inner.durable);
        for change in changes {
            match (random.below(4), change) {
                (0 | 1, _) => {}
                // Both names mean the file.
                (2, Change::Rename(_, to, file)) => Change::Name(to, file).apply(&mut names),
                (_, change) => change.apply(&mut names),
            }
        }
        inner.names.clone_from(&names);
        inner.durable = names;
        inner.forget_files_without_a_name();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Name(name, file) => {
                names.insert(name, file);
            }
            Self::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Inner {
    /// Counts an operation; whether it is the one in whose middle the power goes.
    fn begin(&mut self) -> io::Result<bool> {
        if self.dead {
            return Err(io::Error::other("the power is gone"));
        }
        self.operations += 1;
        match &mut self.fuse {
            Some(0) => Ok(true),
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn end(&mut self, cut: bool) -> io::Result<()> {
        if cut {
            self.dead = true;
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    fn writable(&self) -> io::Result<()> {
        if self.health == Health::ReadOnly { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.changes.push(change);
    }

    fn forget_files_without_a_name(&mut self) {
        if self.files.len() < 8 {
            return;
        }
        let mut kept = BTreeMap::new();
        let mut files = Vec::new();
        for number in self.names.values_mut().chain(self.durable.values_mut()) {
            *number = *kept.entry(*number).or_insert_with(|| {
                files.push(std::mem::take(&mut self.files[*number]));
                files.len() - 1
            });
        }
        self.files = files;
    }
}

impl Storage for ModelDisk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.end(cut)?;
        match inner.names.get(name).map(|file| &inner.files[*file].content) {
            Some(content) if content.len() as u64 > limit => Err(io::ErrorKind::FileTooLarge.into()),
            found => Ok(found.cloned()),
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.writable()?;
        // Never in place: what had the name loses it.
        if inner.names.contains_key(name) {
            inner.change(Change::Remove(name.to_owned()));
        }
        inner.files.push(File::default());
        let file = inner.files.len() - 1;
        inner.change(Change::Name(name.to_owned(), file));
        let full = inner.health == Health::Full;
        let written = if full { &content[..content.len() / 2] } else { content };
        let entry = &mut inner.files[file];
        entry.content.clear();
        entry.content.extend_from_slice(written);
        entry.dirty = true;
        inner.end(cut)?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.end(cut)?;
        if inner.health == Health::SyncFails {
            return Err(io::Error::other("the disk failed to write"));
        }
        let file = inner.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        if inner.planted != Planted::ForgetsContent {
            let entry = &mut inner.files[file];
            entry.dirty = false;
            entry.durable.clone_from(&entry.content);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.writable()?;
        let file = inner.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        inner.change(Change::Rename(from.to_owned(), to.to_owned(), file));
        inner.end(cut)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.end(cut)?;
        if inner.health == Health::SyncFails {
            return Err(io::Error::other("the disk failed to write"));
        }
        if inner.planted != Planted::ForgetsNames {
            inner.durable = inner.names.clone();
            inner.changes.clear();
            inner.forget_files_without_a_name();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.writable()?;
        if inner.names.contains_key(name) {
            inner.change(Change::Remove(name.to_owned()));
        }
        inner.end(cut)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.inner();
        let cut = inner.begin()?;
        inner.end(cut)?;
        Ok(inner.names.keys().cloned().collect())
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
