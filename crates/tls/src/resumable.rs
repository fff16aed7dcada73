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
/// It says who the client proved to be at its last full handshake. What that is worth has to be looked up again.
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

    /// Forgets all clients, for example because other CAs say now who they are.
    pub fn clear(&self) {
        let mut all = self.locked();
        all.by_name.clear();
        all.order.clear();
    }

    pub(crate) fn find(&self, name: &str) -> Option<Remembered> {
        let all = self.locked();
        all.by_name.get(name).filter(|found| found.since.elapsed() < LIFETIME).cloned()
    }

    /// Keeps what the connection leaves for the next one; `resumed` is what it was made from, which ends here.
    pub(crate) fn put(
        &self,
        ssl: &SslRef,
        peer: &Peer,
        resumed: Option<(&str, &Remembered)>,
    ) -> Result<(), openssl::error::ErrorStack> {
        if self.locked().most == 0 {
            return Ok(());
        }
        let left = derive(ssl)?;
        let since = resumed.map_or_else(Instant::now, |(_, remembered)| remembered.since);
        let mut all = self.locked();
        if let Some((name, _)) = resumed {
            all.by_name.remove(name);
        }
        while all.order.len() >= all.most {
            let Some(oldest) = all.order.pop_front() else { return Ok(()) };
            all.by_name.remove(&oldest);
        }
        all.order.push_back(left.identity.clone());
        all.by_name.insert(left.identity, Remembered { key: left.key, peer: peer.clone(), since });
        Ok(())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
