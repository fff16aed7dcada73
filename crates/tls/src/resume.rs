//! Resumption: the next connection to a server without certificates.
//!
//! After a TLS 1.3 handshake both ends derive the same name and key from it (RFC 8446 section 7.5) and keep them in
//! memory; the client offers them as the pre-shared key of its next connection, whose ephemeral keys are fresh. Each is
//! good for one connection, which gives the next. Tickets of OpenSSL are not used: they last two hours at most while
//! sessions are a day apart, carry the client's certificate over the wire twice, and cannot be looked up and withdrawn.
//! A server that knows nothing of this, or forgot, does a full handshake (Profile P-39).

use openssl::error::ErrorStack;
use openssl::ssl::SslRef;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

use crate::ca::Validity;
use crate::identity::PreShared;
use crate::psk::RESUMPTION;

/// So long after the full handshake certificates have to be shown again.
pub(crate) const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// So many servers are remembered.
const SERVERS: usize = 16;

const LABEL: &str = "EXPORTER-omadm-resumption";

/// What a client remembers of servers in order to reach them again with less. In memory only, at most 16 servers, the
/// oldest forgotten first; cheap to clone, all clones share it.
///
/// What was learnt with one identity, set of anchors, host and port is used with exactly these again.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<VecDeque<(Key, Resumable)>>>);

/// With whom it was made: host, port, and a digest of anchors and identity.
pub(crate) type Key = (String, u16, [u8; 32]);

/// What one connection left for the next.
#[derive(Clone)]
pub(crate) struct Resumable {
    pub(crate) shared: PreShared,
    /// When the full handshake was.
    pub(crate) since: Instant,
    /// When each of the server's certificates is valid.
    pub(crate) validity: Validity,
}

impl Sessions {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.locked().clear();
    }

    /// Takes what there is for this server: it is good for one attempt.
    pub(crate) fn take(&self, key: &Key, now: u64) -> Option<Resumable> {
        let mut all = self.locked();
        let place = all.iter().position(|(of, _)| of == key)?;
        let (_, found) = all.remove(place)?;
        let valid = (found.validity.from..=found.validity.until).contains(&now);
        (valid && found.since.elapsed() < LIFETIME).then_some(found)
    }

    pub(crate) fn put(&self, key: Key, resumable: Resumable) {
        let mut all = self.locked();
        all.retain(|(of, _)| *of != key);
        if all.len() >= SERVERS {
            all.pop_front();
        }
        all.push_back((key, resumable));
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<(Key, Resumable)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sessions({})", self.locked().len())
    }
}

/// The name and key for the connection after this one, the same at both ends.
pub(crate) fn derive(ssl: &SslRef) -> Result<PreShared, ErrorStack> {
    let mut name = [0_u8; 16];
    ssl.export_keying_material(&mut name, LABEL, Some(b"identity"))?;
    let mut key = Zeroizing::new(vec![0_u8; 32]);
    ssl.export_keying_material(&mut key, LABEL, Some(b"key"))?;
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(PreShared { identity: format!("{RESUMPTION}{hex}"), key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumable(until: u64) -> Resumable {
        let shared = PreShared { identity: "x".into(), key: Zeroizing::new(vec![1; 32]) };
        Resumable { shared, since: Instant::now(), validity: Validity { from: 0, until } }
    }

    fn key(host: &str, port: u16, who: u8) -> Key {
        (host.to_owned(), port, [who; 32])
    }

    #[test]
    fn it_is_for_one_connection_of_one_identity_to_one_origin() {
        let sessions = Sessions::new();
        sessions.put(key("a", 1, 1), resumable(100));
        for other in [key("b", 1, 1), key("a", 2, 1), key("a", 1, 2)] {
            assert!(sessions.take(&other, 50).is_none());
        }
        assert!(sessions.clone().take(&key("a", 1, 1), 50).is_some());
        assert!(sessions.take(&key("a", 1, 1), 50).is_none());
    }

    #[test]
    fn it_ends_with_the_servers_certificate() {
        let sessions = Sessions::new();
        sessions.put(key("a", 1, 1), resumable(100));
        assert!(sessions.take(&key("a", 1, 1), 101).is_none());
    }

    #[test]
    fn the_oldest_of_many_servers_is_forgotten() {
        let sessions = Sessions::new();
        for port in 0..=16 {
            sessions.put(key("a", port, 1), resumable(100));
        }
        assert_eq!(sessions.locked().len(), SERVERS);
        assert!(sessions.take(&key("a", 0, 1), 50).is_none());
        assert!(sessions.take(&key("a", 16, 1), 50).is_some());
        sessions.clear();
        assert!(sessions.take(&key("a", 15, 1), 50).is_none());
    }
}
