//! The real world: the system's clock, its random numbers, files, readers and sockets.

use crate::config::{CardConfig, CardLink};
use crate::regular_file;
use crate::secret_file::{self, SecretFileError};
use crate::transport::{Carrier, Carriers, HttpError, HttpSetup};
use crate::wait::{ApartError, Stop, Stopped};
use crate::world::World;
#[cfg(feature = "exec")]
use omadm_card::link::exec::ExecLink;
use omadm_card::link::vpcd::{Address, SocketLink};
use omadm_card::link::{Link, LinkError, Patience};
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one command may take of those that ask a modem for its slot.
#[cfg(feature = "serial")]
const SLOT_COMMAND: Duration = Duration::from_secs(2);

/// The machine that the program runs on.
#[derive(Debug)]
pub struct Host {
    stop: Stop,
    began: Instant,
    carriers: Carriers,
}

impl Host {
    /// The machine, whose waits `stop` ends.
    pub fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), began: Instant::now(), carriers: Carriers::new(stop) }
    }
}

/// The microseconds since 1970 that the system's clock says.
pub fn system_micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

/// What the system's clock says.
pub fn system_time() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())).min(Timestamp::MAX)
}

/// What the executable behind the card says aside.
#[cfg(feature = "exec")]
pub(crate) fn executable_said(line: &str) {
    tracing::info!("the card's executable says: {line}");
}

impl World for Host {
    fn system_time(&self) -> Timestamp {
        system_time()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn random(&self) -> u64 {
        // Without random numbers (a kernel without them) there is no jitter.
        getrandom::u64().unwrap_or(u64::MAX / 2)
    }

    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        self.stop.sleep(time)
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }

    fn work_apart(
        &self,
        name: &str,
        limit: Duration,
        grace: Duration,
        work: Box<dyn FnOnce() + Send>,
    ) -> Result<(), ApartError> {
        self.stop.apart(name, limit, grace, work)
    }

    fn open_card(&self, config: &CardConfig, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
        match &config.link {
            CardLink::Socket(path) => Ok(Box::new(SocketLink::open(&Address::Unix(path.clone()), patience)?)),
            #[cfg(any(feature = "pcsc", feature = "serial"))]
            CardLink::Auto => omadm_card::link::automatic::open(&config.reader, patience),
            #[cfg(not(any(feature = "pcsc", feature = "serial")))]
            CardLink::Auto => Err(LinkError::NoCard("this program is built without any link to look for".to_owned())),
            #[cfg(feature = "serial")]
            CardLink::Modem(path) => Ok(Box::new(omadm_card::link::serial::open(path, patience)?)),
            #[cfg(not(feature = "serial"))]
            CardLink::Modem(_) => {
                Err(LinkError::NoCard("this program is built without the feature `serial`".to_owned()))
            }
            #[cfg(feature = "pcsc")]
            CardLink::Pcsc => Ok(Box::new(omadm_card::link::pcsc::PcscLink::open(&config.reader, patience)?)),
            #[cfg(not(feature = "pcsc"))]
            CardLink::Pcsc => Err(LinkError::NoCard("this program is built without the feature `pcsc`".to_owned())),
            #[cfg(feature = "exec")]
            CardLink::Exec(command) => Ok(Box::new(ExecLink::open(command, patience, executable_said)?)),
            #[cfg(not(feature = "exec"))]
            CardLink::Exec(_) => Err(LinkError::NoCard("this program is built without the feature `exec`".to_owned())),
            CardLink::Off => Err(LinkError::NoCard("no link to a card is configured".to_owned())),
        }
    }

    fn slot_is_empty(&self, config: &CardConfig) -> bool {
        match &config.link {
            // Asked only after the card behind the socket was found missing.
            CardLink::Socket(path) => UnixStream::connect(path).is_ok(),
            #[cfg(any(feature = "pcsc", feature = "serial"))]
            CardLink::Auto => omadm_card::link::automatic::is_empty(&config.reader),
            #[cfg(not(any(feature = "pcsc", feature = "serial")))]
            CardLink::Auto => false,
            #[cfg(feature = "serial")]
            CardLink::Modem(path) => {
                use omadm_card::link::{at::Presence, serial};
                matches!(serial::presence(path, SLOT_COMMAND), Ok(Some(Presence::Empty)))
            }
            #[cfg(not(feature = "serial"))]
            CardLink::Modem(_) => false,
            #[cfg(feature = "pcsc")]
            CardLink::Pcsc => {
                let readers = omadm_card::link::pcsc::readers().unwrap_or_default();
                let mut ours = readers.iter().filter(|reader| reader.name.starts_with(&config.reader)).peekable();
                ours.peek().is_some() && ours.all(|reader| !reader.card)
            }
            #[cfg(not(feature = "pcsc"))]
            CardLink::Pcsc => false,
            #[cfg(feature = "exec")]
            CardLink::Exec(command) => {
                let (answer, turn) = (Duration::from_secs(4), Duration::from_secs(1));
                ExecLink::status_of(command, answer, turn, executable_said).is_ok_and(|status| !status.card)
            }
            #[cfg(not(feature = "exec"))]
            CardLink::Exec(_) => false,
            CardLink::Off => true,
        }
    }

    fn carrier(&self, setup: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        self.carriers.carrier(setup)
    }

    fn read_file(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        regular_file::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_secret(&self, path: &Path) -> Result<Secret, SecretFileError> {
        secret_file::read_secret(path)
    }
}
