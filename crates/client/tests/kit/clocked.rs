//! A world whose time is the test's.

use omadm_card::link::{Link, LinkError, Patience};
use omadm_client::config::CardConfig;
use omadm_client::host::Host;
use omadm_client::secret_file::SecretFileError;
use omadm_client::transport::{Carrier, HttpError, HttpSetup};
use omadm_client::wait::{ApartError, Stop, Stopped};
use omadm_client::world::World;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// This machine, with a clock that the test sets, and a card that may be out for a while.
pub struct Clocked {
    host: Host,
    system: AtomicU64,
    passed: AtomicU64,
    /// The card is not in its slot before so many seconds have passed.
    out_until: AtomicU64,
}

impl Clocked {
    pub fn new(system: u64) -> Arc<Self> {
        let host = Host::new(&Stop::new().unwrap());
        Arc::new(Self { host, system: AtomicU64::new(system), passed: AtomicU64::new(0), out_until: AtomicU64::new(0) })
    }

    pub fn set(&self, system: u64) {
        self.system.store(system, Ordering::Relaxed);
    }

    pub fn pass(&self, seconds: u64) {
        self.system.fetch_add(seconds, Ordering::Relaxed);
        self.passed.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The card is out for so many seconds from now on.
    pub fn take_card_out(&self, seconds: u64) {
        self.out_until.store(self.passed.load(Ordering::Relaxed) + seconds, Ordering::Relaxed);
    }

    fn is_card_out(&self) -> bool {
        self.passed.load(Ordering::Relaxed) < self.out_until.load(Ordering::Relaxed)
    }
}

impl World for Clocked {
    fn system_time(&self) -> Timestamp {
        Timestamp(self.system.load(Ordering::Relaxed))
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.passed.load(Ordering::Relaxed))
    }
    fn random(&self) -> u64 {
        u64::MAX
    }
    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        self.pass(time.as_secs());
        Ok(())
    }
    fn is_stopped(&self) -> bool {
        false
    }
    fn work_apart(
        &self,
        name: &str,
        limit: Duration,
        grace: Duration,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<(), ApartError> {
        self.host.work_apart(name, limit, grace, work)
    }
    fn open_card(&self, config: &CardConfig, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
        if self.is_card_out() {
            return Err(LinkError::NoCard("the slot is empty".to_owned()));
        }
        self.host.open_card(config, patience)
    }
    fn slot_is_empty(&self, config: &CardConfig) -> bool {
        self.is_card_out() || self.host.slot_is_empty(config)
    }
    fn carrier(&self, setup: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        self.host.carrier(setup)
    }
    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.host.read_file(path, limit)
    }
    fn read_secret(&self, path: &Path) -> Result<Secret, SecretFileError> {
        self.host.read_secret(path)
    }
}
