//! All of the world that the client touches beside its storage, as one trait, so that whole device lives can be lived on
//! a virtual clock. What decides stands on this side of it; [`Host`](crate::host::Host) is the real world.

use crate::config::CardConfig;
use crate::secret_file::SecretFileError;
use crate::transport::{Carrier, HttpError, HttpSetup};
use crate::wait::{ApartError, Stopped};
use omadm_card::link::{Link, LinkError, Patience};
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the client asks of the world. Whoever waits here is woken when the program is to end.
pub trait World: Send + Sync {
    /// The system's clock, however wrong it is.
    fn system_time(&self) -> Timestamp;

    /// The time since some moment in the past; it never goes back and is never set.
    fn monotonic(&self) -> Duration;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// Pauses for `time`, or until the program is to end.
    fn sleep(&self, time: Duration) -> Result<(), Stopped>;

    /// Whether the program is to end.
    fn is_stopped(&self) -> bool;

    /// Does work that cannot be interrupted, such as exchanges with a card, and waits for it at most `limit`. When the
    /// program is to end, `grace` more is waited. [`apart`] does the same with a result.
    fn work_apart(
        &self,
        name: &str,
        limit: Duration,
        grace: Duration,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<(), ApartError>;

    /// Opens the configured link to the card. Called within [`World::work_apart`].
    fn open_card(&self, config: &CardConfig, patience: &Patience) -> Result<Box<dyn Link>, LinkError>;

    /// Whether the configured link is there and says that its slot is empty. Called within [`World::work_apart`].
    fn slot_is_empty(&self, config: &CardConfig) -> bool;

    /// What carries the HTTP exchanges of one account or bootstrap request.
    ///
    /// # Errors
    /// If the anchors or the credentials cannot be used.
    fn carrier(&self, setup: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError>;

    /// The content of a regular file, at most its first `limit` bytes.
    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// A secret from its file, which must be for its owner only.
    fn read_secret(&self, path: &Path) -> Result<Secret, SecretFileError>;
}

/// Does work by [`World::work_apart`] and gives its result.
pub(crate) fn apart<T: Send + 'static>(
    world: &dyn World,
    name: &str,
    limit: Duration,
    grace: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApartError> {
    let result = Arc::new(Mutex::new(None));
    let place = result.clone();
    let work = move || *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(work());
    world.work_apart(name, limit, grace, Box::new(work))?;
    let given = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    given.ok_or_else(|| ApartError::Failed(format!("the thread {name} broke")))
}
