//! The disk of a life, with an eye on what may be in the state file after a power cut.

use super::disk::ModelDisk;
use super::world::{Fault, ModelWorld};
use omadm_client::state::Storage;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the state file.
pub const STATE: &str = "state";

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct Watched {
    disk: ModelDisk,
    world: ModelWorld,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What is durable, then what replaced it and may be.
    possible: Vec<Option<u64>>,
    written: Option<u64>,
    largest: usize,
}

impl Watched {
    /// An empty disk of this world.
    pub fn new(world: &ModelWorld) -> Self {
        let disk = world.inner().disk.clone();
        let seen = Seen { possible: vec![None], ..Seen::default() };
        Self { disk, world: world.clone(), seen: Arc::new(Mutex::new(seen)) }
    }

    /// Whether the state file holds what it may hold; from then on only that is possible.
    pub fn is_old_or_new(&self) -> bool {
        let now = self.disk.content(STATE).map(|content| hash(&content));
        self.seen(|seen| {
            let is_possible = seen.possible.contains(&now);
            seen.possible = vec![now];
            is_possible
        })
    }

    /// The largest file that was written, in bytes.
    pub fn largest(&self) -> usize {
        self.seen(|seen| seen.largest)
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells contents apart: quick, and nobody tries to cheat it.
fn hash(content: &[u8]) -> u64 {
    let mut hash = content.len() as u64;
    let mut words = content.chunks_exact(8);
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for word in &mut words {
        mix(word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    words.remainder().iter().for_each(|byte| mix(u64::from(*byte)));
    hash
}

impl Storage for Watched {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name, limit)
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.seen(|seen| {
            seen.written = Some(hash(content));
            seen.largest = seen.largest.max(content.len());
        });
        self.disk.write(name, content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        if to == STATE {
            self.seen(|seen| seen.possible.push(seen.written));
        } else if from == STATE {
            self.seen(|seen| seen.possible.push(None));
        }
        self.disk.rename(from, to)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.disk.sync_folder()?;
        self.seen(|seen| {
            let newest = seen.possible.len().saturating_sub(1);
            seen.possible.drain(..newest);
        });
        // A refused PIN that the client knows of is in what was written, since nothing comes before that.
        let mut inner = self.world.inner();
        if inner.fault != Fault::LyingCard {
            inner.refused.values_mut().for_each(|durable| *durable = true);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
}
