//! Looking up names without getting stuck in it.

use super::failure::HttpError;
use crate::wait::{ApartError, Stop};
use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Mutex;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How many addresses of a name are tried; ureq holds no more.
const MAX_ADDRESSES: usize = 16;

/// Looks each name up once and remembers the answer as long as it lives, which is one session.
#[derive(Debug)]
pub(super) struct Names {
    stop: Stop,
    known: Mutex<HashMap<(String, u16), Vec<SocketAddr>>>,
}

impl Names {
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, known: Mutex::default() }
    }

    fn addresses(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, HttpError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let key = (bare.to_owned(), port);
        if let Ok(known) = self.known.lock()
            && let Some(addresses) = known.get(&key)
        {
            return Ok(addresses.clone());
        }
        let addresses = self.ask(bare, port, limit)?;
        if let Ok(mut known) = self.known.lock() {
            known.insert(key, addresses.clone());
        }
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

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let found = self.addresses(host, port, *timeout.after).map_err(HttpError::into_ureq)?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(MAX_ADDRESSES) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}
