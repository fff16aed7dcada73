//! The test kit: real servers, cards and clients for end-to-end tests, each ended when its value is dropped.
//!
//! A test makes a [`Fleet`] (a running `omadm serve` and its admin API), gives it devices and profiles, makes
//! [`Device`]s with a configuration each, puts cards into their readers with [`CardReader`], and waits with [`until`]
//! for what should come true.

mod card;
mod device;
mod fleet;
mod hostile;
mod modem_tools;
pub mod pairwise;
mod process;

pub use card::CardReader;
pub use device::Device;
pub use fleet::Fleet;
pub use hostile::{Answer, Asked, Authority, HostileServer, Relay, Then};
pub use modem_tools::{ModemTools, ToolModem};
pub use process::{Process, Signal, omadm, omadm_client, peak_memory};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Looks again and again until `look` gives something.
///
/// # Panics
/// If that takes more than `seconds`.
pub fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Does something with each item, several at a time; an item that panics fails the test.
pub fn in_parallel<T: Sync>(items: &[T], at_a_time: usize, act: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    act(item);
                }
            });
        }
    });
}

/// A folder for one test, short enough for unix sockets, removed at its end.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new folder.
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("omadm-t").tempdir_in("/tmp").expect("a folder in /tmp"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes a file that only we read.
pub fn private_file(path: &Path, content: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).and_then(|mut file| file.write_all(content)).expect("a file that can be written");
}

/// A number that differs from run to run; printed by tests that use it, and taken from `OMADM_SEED` to replay one.
pub fn seed() -> u64 {
    let given = std::env::var("OMADM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
    });
    println!("replay with OMADM_SEED={seed}");
    seed
}

/// A small random number generator (xorshift64*), so that a seed replays a test.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }
}
