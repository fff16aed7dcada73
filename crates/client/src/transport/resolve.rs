//! Looking up names without getting stuck in it.

use super::failure::HttpError;
use crate::wait::{ApartError, Stop};
use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// How many addresses of a name are tried.
const MAX_ADDRESSES: usize = 16;

/// Looks each name up once and remembers the answer as long as it lives, which is one session.
pub(super) struct Names {
    stop: Stop,
    known: RefCell<Vec<Known>>,
}

/// Host, port, and the addresses of both.
type Known = (String, u16, Vec<SocketAddr>);

impl Names {
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, known: RefCell::default() }
    }

    /// The addresses of a host, which may be an address itself, with brackets or without.
    pub(super) fn addresses(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, HttpError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if let Some((_, _, known)) = self.known.borrow().iter().find(|one| one.0 == bare && one.1 == port) {
            return Ok(known.clone());
        }
        let addresses = self.ask(bare, port, limit)?;
        self.known.borrow_mut().push((bare.to_owned(), port, addresses.clone()));
        Ok(addresses)
    }

    /// The system's look-up cannot be interrupted, so it has a thread of its own that may outlive the waiting.
    fn ask(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, HttpError> {
        let target = (host.to_owned(), port);
        let look_up = move || {
            let found = (target.0.as_str(), target.1).to_socket_addrs()?;
            Ok::<_, io::Error>(found.take(MAX_ADDRESSES).collect::<Vec<_>>())
        };
        let failed = |why: &dyn Display| HttpError::Connect(format!("cannot look up {host}: {why}"));
        match self.stop.apart("look-up", limit, Duration::ZERO, look_up) {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(failed(&"it has no address")),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(failed(&error)),
            Err(ApartError::TimedOut) => {
                Err(HttpError::Timeout(format!("the name service did not find {host} in time")))
            }
            Err(ApartError::Stopped(_)) => Err(HttpError::Stopped),
            Err(ApartError::Failed(why)) => Err(failed(&why)),
        }
    }
}
