//! A disk with a page cache, whose power can be cut.
//!
//! Programs see what they wrote at once. What was not synced may be lost or kept in any combination when the power goes:
//! the content of a file, whole or in part, and each change of a name for itself. [`TestDisk::survivors`] gives every disk
//! that there can be afterwards.
//!
//! | operation | what a cut before the next sync may leave |
//! | --- | --- |
//! | write | the name or none; the content, a part of it, zeros in its place, or nothing |
//! | rename | the old names, the new ones, or both for the same file |
//! | remove | the name or none |
//! | sync | nothing of it is in doubt, but the file's name still is |
//! | sync of the folder | no name is in doubt, but contents that were not synced still are |

use omadm_client::state::Storage;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest number of disks that one cut may leave; more would mean that syncs are missing everywhere.
const MAX_SURVIVORS: usize = 1 << 20;

/// Names and files; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct TestDisk(Arc<Mutex<Disk>>);

/// What goes wrong with a disk. Operations are counted from 0; reading and listing are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The power is cut before this operation, or in the middle of it where it is a write.
    Cut(usize, Portion),
    /// From this operation on, so many fail with this error, without or with a part of their effect.
    Error(usize, usize, io::ErrorKind),
}

/// How far a write had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Portion {
    /// It had not begun.
    Nothing,
    /// What had the name is gone.
    Removed,
    /// The new file is empty.
    Empty,
    /// Half of the content is there.
    Half,
    /// All but the last byte.
    AllButOne,
}

impl Portion {
    /// Every way to cut a write.
    pub const EACH: [Self; 5] = [Self::Nothing, Self::Removed, Self::Empty, Self::Half, Self::AllButOne];

    fn of(self, content: &[u8]) -> &[u8] {
        let length = match self {
            Self::Nothing | Self::Removed | Self::Empty => 0,
            Self::Half => content.len() / 2,
            Self::AllButOne => content.len().saturating_sub(1),
        };
        content.get(..length).unwrap_or_default()
    }
}

/// An operation that may change what is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file was made anew.
    Write(String),
    /// A file's content was synced.
    Sync(String),
    /// A file got another name.
    Rename(String, String),
    /// The folder was synced.
    SyncFolder,
    /// A file was removed.
    Remove(String),
}

impl Operation {
    /// Whether it makes something durable.
    pub fn is_sync(&self) -> bool {
        match self {
            Self::Sync(_) | Self::SyncFolder => true,
            Self::Write(_) | Self::Rename(..) | Self::Remove(_) => false,
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Disk {
    files: Vec<File>,
    /// As programs see them: the number of each name's file.
    names: BTreeMap<String, usize>,
    /// As they are on the disk for sure.
    durable: BTreeMap<String, usize>,
    /// What lies between the two, in its order.
    pending: Vec<Change>,
    done: Vec<Operation>,
    fault: Fault,
    /// The operation that does nothing and says that it did, if it is a sync.
    swallowed: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct File {
    content: Vec<u8>,
    synced: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Set(String, usize),
    Unset(String),
    Move(String, String, usize),
}

/// What became of a change of names.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Lost,
    Kept,
    /// Of a rename only the new name: both names mean the file.
    Doubled,
}

/// The power was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerCut;

/// Runs a program until it ends, or until a [`TestDisk`] has its power cut: then nothing of the program goes on.
pub fn until_cut<T>(program: impl FnOnce() -> T) -> Result<T, PowerCut> {
    catch_unwind(AssertUnwindSafe(program)).map_err(|cause| match cause.downcast::<PowerCut>() {
        Ok(cut) => *cut,
        Err(other) => resume_unwind(other),
    })
}

impl TestDisk {
    /// A disk with these files, all durable.
    pub fn with(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut disk = Disk::default();
        for (name, content) in files {
            disk.names.insert(name, disk.files.len());
            disk.files.push(File { content, synced: true });
        }
        disk.durable = disk.names.clone();
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The same files with the same doubts on a disk of its own, where nothing was done yet and this goes wrong.
    pub fn fork(&self, fault: Fault) -> Self {
        let disk = Disk { done: Vec::new(), fault, swallowed: None, ..self.disk().clone() };
        Self(Arc::new(Mutex::new(disk)))
    }

    /// From now on the operation of this number does nothing, if it is a sync.
    pub fn swallow(&self, operation: usize) {
        self.disk().swallowed = Some(operation);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.disk().fault = Fault::None;
    }

    /// What was done so far, failed operations included.
    pub fn done(&self) -> Vec<Operation> {
        self.disk().done.clone()
    }

    /// The files as programs see them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        disk.names.iter().map(|(name, file)| (name.clone(), disk.files[*file].content.clone())).collect()
    }

    /// Puts a file there that is durable.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut disk = self.disk();
        let file = disk.files.len();
        disk.files.push(File { content, synced: true });
        disk.names.insert(name.to_owned(), file);
        disk.durable.insert(name.to_owned(), file);
    }

    /// The power goes and comes back. For each doubt `pick` gives a number below the one that it gets, which says what
    /// became of it.
    pub fn lose_power(&self, mut pick: impl FnMut(usize) -> usize) {
        let mut disk = self.disk();
        let mut names = std::mem::take(&mut disk.durable);
        for change in std::mem::take(&mut disk.pending) {
            let fates = change.fates();
            if let Some(fate) = fates.get(pick(fates.len())) {
                change.apply(&mut names, *fate);
            }
        }
        for file in names.values().copied().collect::<BTreeSet<_>>() {
            let mut contents = disk.files[file].after_cut();
            let picked = pick(contents.len()).min(contents.len() - 1);
            disk.files[file] = File { content: contents.swap_remove(picked), synced: true };
        }
        disk.names.clone_from(&names);
        disk.durable = names;
        disk.forget_files_without_a_name();
    }

    /// Every disk that there can be when the power comes back, each once.
    ///
    /// # Panics
    /// If there are more than a million.
    pub fn survivors(&self) -> Vec<Self> {
        let disk = self.disk().clone();
        let fates: Vec<_> = disk.pending.iter().map(Change::fates).collect();
        let mut different = BTreeSet::new();
        for choice in choices(&fates) {
            let mut names = disk.durable.clone();
            for (change, fate) in disk.pending.iter().zip(&choice) {
                change.apply(&mut names, *fate);
            }
            // Only files that still have a name count.
            let numbers: Vec<_> = names.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
            let contents: Vec<_> = numbers.iter().map(|number| disk.files[*number].after_cut()).collect();
            for contents in choices(&contents) {
                let renumbered = |file: &usize| numbers.binary_search(file).unwrap_or_default();
                let names: Vec<_> = names.iter().map(|(name, file)| (name.clone(), renumbered(file))).collect();
                different.insert((names, contents));
                assert!(different.len() <= MAX_SURVIVORS, "too much in doubt: {disk:?}");
            }
        }
        let survivor = |(names, contents): (Vec<(String, usize)>, Vec<Vec<u8>>)| {
            let names: BTreeMap<_, _> = names.into_iter().collect();
            let files = contents.into_iter().map(|content| File { content, synced: true }).collect();
            Self(Arc::new(Mutex::new(Disk { files, durable: names.clone(), names, ..Disk::default() })))
        };
        different.into_iter().map(survivor).collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the operation and lets happen what is to go wrong with it; says whether it is to be carried out.
    fn begin(&self, operation: Operation, partly: impl FnOnce(&mut Disk, Portion)) -> io::Result<bool> {
        let mut disk = self.disk();
        let number = disk.done.len();
        let carried_out = !(operation.is_sync() && disk.swallowed == Some(number));
        disk.done.push(operation);
        match disk.fault {
            Fault::Cut(at, portion) if at == number => {
                partly(&mut disk, portion);
                drop(disk);
                resume_unwind(Box::new(PowerCut))
            }
            Fault::Error(from, count, kind) if number >= from && number - from < count => {
                partly(&mut disk, Portion::Half);
                Err(kind.into())
            }
            Fault::None | Fault::Cut(..) | Fault::Error(..) => Ok(carried_out),
        }
    }
}

impl Disk {
    fn forget_files_without_a_name(&mut self) {
        let mut kept = BTreeMap::new();
        let mut files = Vec::new();
        for number in self.names.values_mut().chain(self.durable.values_mut()) {
            let old = *number;
            *number = *kept.entry(old).or_insert(files.len());
            if *number == files.len() {
                files.push(std::mem::take(&mut self.files[old]));
            }
        }
        self.files = files;
    }

    fn remove(&mut self, name: &str) {
        if self.names.remove(name).is_some() {
            self.pending.push(Change::Unset(name.to_owned()));
        }
    }

    fn write(&mut self, name: &str, content: &[u8]) {
        self.remove(name);
        let file = self.files.len();
        self.files.push(File { content: content.to_vec(), synced: false });
        self.names.insert(name.to_owned(), file);
        self.pending.push(Change::Set(name.to_owned(), file));
    }
}

impl File {
    /// What may be in it when the power comes back.
    fn after_cut(&self) -> Vec<Vec<u8>> {
        let content = &self.content;
        if self.synced {
            return vec![content.clone()];
        }
        let length = content.len();
        let half = Portion::Half.of(content);
        let mut all = vec![
            Vec::new(),
            Portion::AllButOne.of(content).to_vec(),
            half.to_vec(),
            // The length reached the disk before the content.
            vec![0; length],
            [half, &vec![0; length - half.len()]].concat(),
            content.clone(),
        ];
        all.sort();
        all.dedup();
        all
    }
}

impl Change {
    fn fates(&self) -> Vec<Fate> {
        match self {
            Self::Set(..) | Self::Unset(_) => vec![Fate::Lost, Fate::Kept],
            Self::Move(..) => vec![Fate::Lost, Fate::Kept, Fate::Doubled],
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>, fate: Fate) {
        match (self, fate) {
            (_, Fate::Lost) => {}
            (Self::Set(name, file), Fate::Kept | Fate::Doubled) => {
                names.insert(name.clone(), *file);
            }
            (Self::Unset(name), Fate::Kept | Fate::Doubled) => {
                names.remove(name);
            }
            (Self::Move(from, to, file), fate) => {
                names.insert(to.clone(), *file);
                if let Fate::Kept = fate {
                    names.remove(from);
                }
            }
        }
    }
}

/// Every way to take one of each.
fn choices<T: Clone>(of: &[Vec<T>]) -> Vec<Vec<T>> {
    of.iter().fold(vec![Vec::new()], |all, options| {
        let longer = |one: &Vec<T>, option: &T| one.iter().chain([option]).cloned().collect();
        all.iter().flat_map(|one| options.iter().map(move |option| longer(one, option))).collect()
    })
}

impl Storage for TestDisk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let disk = self.disk();
        let Some(file) = disk.names.get(name) else { return Ok(None) };
        let content = disk.files[*file].content.clone();
        if content.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(Some(content)) }
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let partly = |disk: &mut Disk, portion| match portion {
            Portion::Nothing => {}
            Portion::Removed => disk.remove(name),
            Portion::Empty | Portion::Half | Portion::AllButOne => disk.write(name, portion.of(content)),
        };
        self.begin(Operation::Write(name.to_owned()), partly)?;
        self.disk().write(name, content);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.begin(Operation::Sync(name.to_owned()), |_, _| ())? {
            let mut disk = self.disk();
            let file = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            disk.files[file].synced = true;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.begin(Operation::Rename(from.to_owned(), to.to_owned()), |_, _| ())?;
        let mut disk = self.disk();
        let file = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), file);
        disk.pending.push(Change::Move(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        if self.begin(Operation::SyncFolder, |_, _| ())? {
            let mut disk = self.disk();
            disk.durable = disk.names.clone();
            disk.pending.clear();
            disk.forget_files_without_a_name();
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.begin(Operation::Remove(name.to_owned()), |_, _| ())?;
        self.disk().remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(disk: &TestDisk) -> BTreeSet<BTreeMap<String, Vec<u8>>> {
        disk.survivors().iter().map(TestDisk::files).collect()
    }

    fn files<const N: usize>(list: [(&str, &str); N]) -> BTreeMap<String, Vec<u8>> {
        list.into_iter().map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec())).collect()
    }

    #[test]
    fn what_was_not_synced_is_kept_or_lost_whole_or_in_part() {
        let mut disk = TestDisk::default();
        disk.write("a", b"1234").unwrap();
        let left = states(&disk);
        for content in ["", "12", "123", "\0\0\0\0", "12\0\0", "1234"] {
            assert!(left.contains(&files([("a", content)])), "{content:?}: {left:?}");
        }
        assert_eq!(left.len(), 7, "and none at all: {left:?}");
        disk.sync("a").unwrap();
        assert_eq!(states(&disk), BTreeSet::from([files([]), files([("a", "1234")])]), "the name is in doubt still");
        disk.sync_folder().unwrap();
        assert_eq!(states(&disk), BTreeSet::from([files([("a", "1234")])]));
    }

    #[test]
    fn a_name_may_become_durable_before_its_content() {
        let mut disk = TestDisk::with(files([("a", "old")]));
        disk.write("b", b"new").unwrap();
        disk.rename("b", "a").unwrap();
        assert!(states(&disk).contains(&files([("a", "")])));
        disk.sync_folder().unwrap();
        assert!(states(&disk).contains(&files([("a", "")])), "syncing the folder syncs no content");
        assert!(!states(&disk).contains(&files([("a", "old")])));
    }

    #[test]
    fn a_rename_is_lost_or_kept_or_leaves_both_names() {
        let mut disk = TestDisk::with(files([("a", "old"), ("b", "new")]));
        disk.rename("b", "a").unwrap();
        let expected =
            [files([("a", "old"), ("b", "new")]), files([("a", "new")]), files([("a", "new"), ("b", "new")])];
        assert_eq!(states(&disk), BTreeSet::from(expected));
    }

    #[test]
    fn later_changes_may_survive_earlier_ones() {
        let mut disk = TestDisk::with(files([("a", "1")]));
        disk.rename("a", "b").unwrap();
        disk.write("c", b"").unwrap();
        assert!(states(&disk).contains(&files([("a", "1"), ("c", "")])));
        assert!(states(&disk).contains(&files([("b", "1")])));
    }

    #[test]
    fn what_is_picked_is_one_of_what_can_be_and_each_of_it_can_be_picked() {
        let begin = TestDisk::with(files([("a", "old"), ("c", "x")]));
        begin.clone().write("b", b"new!").unwrap();
        begin.clone().rename("b", "a").unwrap();
        begin.clone().remove("c").unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..3000_usize {
            let disk = begin.fork(Fault::None);
            let mut number = seed;
            disk.lose_power(|count| {
                let picked = number % count;
                number /= count;
                picked
            });
            assert_eq!(states(&disk).len(), 1, "nothing is in doubt any more");
            seen.insert(disk.files());
        }
        assert_eq!(seen, states(&begin));
    }

    #[test]
    fn a_cut_ends_the_program_and_an_error_does_not() {
        let disk = TestDisk::default().fork(Fault::Cut(1, Portion::Half));
        let ended = until_cut(|| {
            disk.clone().write("a", b"1234").unwrap();
            disk.clone().write("b", b"1234").unwrap();
        });
        assert_eq!(ended, Err(PowerCut));
        assert_eq!(disk.files(), files([("a", "1234"), ("b", "12")]));
        let mut disk = TestDisk::default().fork(Fault::Error(0, 1, io::ErrorKind::StorageFull));
        assert_eq!(disk.write("a", b"1234").unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.write("a", b"1234").unwrap();
        assert_eq!(disk.files(), files([("a", "1234")]));
    }

    #[test]
    fn a_swallowed_sync_says_that_it_did() {
        let mut disk = TestDisk::default();
        disk.swallow(1);
        disk.write("a", b"1").unwrap();
        disk.sync("a").unwrap();
        disk.sync_folder().unwrap();
        assert!(states(&disk).contains(&files([("a", "")])));
    }
}
