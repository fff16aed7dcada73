//! The state file on a disk whose power can be cut.

use super::*;
use crate::state::Disk;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

/// Files in memory: what is in the page cache, and what is durable.
#[derive(Default)]
struct Memory {
    cached: BTreeMap<String, Vec<u8>>,
    durable: BTreeMap<String, Vec<u8>>,
    /// Steps that still succeed.
    steps: usize,
}

/// A disk that fails at a chosen step and can then lose everything that was not synced.
#[derive(Clone, Default)]
struct TestDisk(Arc<Mutex<Memory>>);

impl TestDisk {
    fn with(content: &[u8], steps: usize) -> Self {
        let files = BTreeMap::from([("state".to_owned(), content.to_vec())]);
        Self(Arc::new(Mutex::new(Memory { cached: files.clone(), durable: files, steps })))
    }

    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, Memory>> {
        let mut memory = self.0.lock().unwrap();
        if memory.steps == 0 {
            return Err(io::Error::other("the power is cut"));
        }
        memory.steps -= 1;
        Ok(memory)
    }

    /// What the disk holds after the power came back: all of the cache, or only what is durable.
    fn after_cut(&self, keep_cache: bool) -> Self {
        let memory = self.0.lock().unwrap();
        let files = if keep_cache { memory.cached.clone() } else { memory.durable.clone() };
        Self(Arc::new(Mutex::new(Memory { cached: files.clone(), durable: files, steps: 100 })))
    }
}

impl Storage for TestDisk {
    fn read(&self, name: &str, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().cached.get(name).cloned())
    }
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.step()?.cached.insert(name.to_owned(), content.to_vec());
        Ok(())
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut memory = self.step()?;
        let content = memory.cached[name].clone();
        memory.durable.insert(name.to_owned(), content);
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut memory = self.step()?;
        let content = memory.cached.remove(from).ok_or(io::ErrorKind::NotFound)?;
        memory.cached.insert(to.to_owned(), content);
        Ok(())
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        let mut memory = self.step()?;
        // Names become durable; content that was never synced is lost.
        let known: Vec<_> = memory.durable.values().cloned().collect();
        memory.durable = memory
            .cached
            .iter()
            .map(|(name, content)| (name.clone(), if known.contains(content) { content.clone() } else { vec![] }))
            .collect();
        Ok(())
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step()?.cached.remove(name);
        Ok(())
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().cached.keys().cloned().collect())
    }
}

fn whole(body: &[u8]) -> Vec<u8> {
    [format!("omadm-state {VERSION} {}\n", hex(VERSION, body)).as_bytes(), body].concat()
}

fn on(disk: &TestDisk) -> StateFile {
    StateFile::new(Box::new(disk.clone()), "state")
}

fn body(loaded: &Loaded) -> &[u8] {
    match loaded {
        Loaded::Body(body) => body,
        Loaded::Fresh | Loaded::Damaged(_) => panic!("{loaded:?}"),
    }
}

#[test]
fn a_cut_between_any_two_steps_leaves_the_old_or_the_new_state() {
    for steps in 0..=4 {
        let disk = TestDisk::with(&whole(b"{\"old\":1}"), steps);
        let done = on(&disk).replace(b"{\"new\":1}");
        assert_eq!(done.is_ok(), steps == 4, "replacing takes four steps");
        for keep_cache in [false, true] {
            let loaded = on(&disk.after_cut(keep_cache)).load().unwrap();
            let expected: &[u8] =
                if steps == 4 || (steps == 3 && keep_cache) { b"{\"new\":1}" } else { b"{\"old\":1}" };
            assert_eq!(body(&loaded), expected, "{steps} steps, cache kept: {keep_cache}");
        }
    }
}

#[test]
fn damage_at_any_byte_is_seen() {
    let good = whole(b"{\"accounts\":[]}");
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[index] ^= 1 << bit;
            let loaded = on(&TestDisk::with(&bad, 0)).load();
            assert!(matches!(loaded, Ok(Loaded::Damaged(_))), "byte {index}, bit {bit}: {loaded:?}");
        }
    }
    for length in 0..good.len() {
        let loaded = on(&TestDisk::with(&good[..length], 0)).load();
        assert!(matches!(loaded, Ok(Loaded::Damaged(_))), "cut at {length}: {loaded:?}");
    }
    assert_eq!(body(&on(&TestDisk::with(&good, 0)).load().unwrap()), b"{\"accounts\":[]}");
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let newer = [format!("omadm-state 7 {}\n", hex(7, b"{}")).as_bytes(), b"{}"].concat();
    let disk = TestDisk::with(&newer, 100);
    let error = on(&disk).load().unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 7 }), "{error}");
    assert_eq!(disk.read("state", 1000).unwrap().unwrap(), newer);
}

#[test]
fn damaged_files_are_set_aside_and_only_the_newest_kept() {
    let disk = TestDisk::with(b"?", 100);
    let mut file = on(&disk);
    for time in 1..=5 {
        assert_eq!(file.set_aside(Timestamp(time)).unwrap(), format!("state.damaged-{time:012}"));
        disk.0.lock().unwrap().cached.insert("state".to_owned(), b"?".to_vec());
    }
    let damaged = ["state", "state.damaged-000000000003", "state.damaged-000000000004", "state.damaged-000000000005"];
    assert_eq!(disk.list().unwrap(), damaged);
}

#[test]
fn a_real_state_file_is_for_its_owner_only_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/state");
    let disk = Disk::open(path.parent().unwrap()).unwrap();
    let mut file = StateFile::new(Box::new(disk), "state");
    assert_eq!(file.load().unwrap(), Loaded::Fresh);
    file.replace(b"{}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    file.replace(b"{\"a\":1}").unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(body(&file.load().unwrap()), b"{\"a\":1}");
    assert_eq!(file.replaced(), 2);
    assert_eq!(std::fs::read_dir(folder.path().join("below")).unwrap().count(), 1, "no other file is left");
}

#[test]
fn too_large_a_state_is_not_written() {
    let mut file = on(&TestDisk::with(b"", 100));
    let error = file.replace(&vec![b' '; MAX_SIZE as usize + 1]).unwrap_err();
    assert!(matches!(error, StateError::TooLarge { .. }), "{error}");
}
