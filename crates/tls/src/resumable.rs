//! The server's end of resumption: what it remembers of clients.

use openssl::ssl::SslRef;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use zeroize::Zeroizing;

use crate::peer::Peer;
use crate::resume::{LIFETIME, derive};

/// What a server remembers of clients, so that they can come back without certificates. In memory only and bounded, the
/// oldest forgotten first; cheap to clone, all clones share it. It outlives a [`crate::ServerContext`].
///
/// It says who the client proved to be at its last full handshake. What that is worth has to be looked up again; and where
/// other CAs say from now on who clients are, the next context gets a new one, since handshakes with the old may end later.
#[derive(Clone)]
pub struct Resumptions(Arc<Mutex<All>>);

struct All {
    most: usize,
    by_name: HashMap<String, Remembered>,
    /// Names in the order in which they came; used ones stay until they are the oldest.
    order: VecDeque<String>,
}

#[derive(Clone)]
pub(crate) struct Remembered {
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) peer: Peer,
    since: Instant,
}

impl Resumptions {
    /// Room for so many clients, each up to half a KiB.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(All { most, by_name: HashMap::new(), order: VecDeque::new() })))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Remembered> {
        let all = self.locked();
        all.by_name.get(name).filter(|found| found.since.elapsed() < LIFETIME).cloned()
    }

    /// Keeps what the connection leaves for the next one; `resumed` is what it was made from, which ends here. False if
    /// it had ended before: another connection that went on from the same was faster.
    pub(crate) fn put(
        &self,
        ssl: &SslRef,
        peer: &Peer,
        resumed: Option<(&str, &Remembered)>,
    ) -> Result<bool, openssl::error::ErrorStack> {
        if self.locked().most == 0 {
            return Ok(true);
        }
        let left = derive(ssl)?;
        let since = resumed.map_or_else(Instant::now, |(_, remembered)| remembered.since);
        let mut all = self.locked();
        if resumed.is_some_and(|(name, _)| all.by_name.remove(name).is_none()) {
            return Ok(false);
        }
        while all.order.len() >= all.most {
            let Some(oldest) = all.order.pop_front() else { return Ok(true) };
            all.by_name.remove(&oldest);
        }
        all.order.push_back(left.identity.clone());
        all.by_name.insert(left.identity, Remembered { key: left.key, peer: peer.clone(), since });
        Ok(true)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
