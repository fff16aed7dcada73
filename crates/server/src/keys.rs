//! Secrets at rest: sealed with the master key, each bound to its table, row and column.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use omadm_core::secret::Secret;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::random::{self, NoRandomness};
use crate::store::{Store, StoreError};

/// The name of the master key's file in the data folder.
const FILE: &str = "master.key";
/// The first byte of everything sealed: XChaCha20-Poly1305, a nonce of 24 bytes before the text.
const VERSION: u8 = 1;
/// The length of the nonce in bytes.
const NONCE: usize = 24;
/// Where the store keeps the value that tells the right master key from a wrong one.
const PROOF: &str = "master-key-proof";

/// Failed to get the master key, or to use it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database holds secrets, but their key is gone.
    #[error("{}: the master key is missing, and the database holds secrets that only it opens; put it back from a backup", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Not a key.
    #[error("{}: not a master key; base64 of 32 bytes is expected", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// Another database's key.
    #[error("{}: not the master key of this database; put the right one back from a backup", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
    },
    /// What is sealed was changed, or belongs elsewhere.
    #[error("a stored secret does not open: it was changed, or moved from another place")]
    Sealed,
    /// See [`NoRandomness`].
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a sealed secret stands. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
    pub(crate) column: &'static str,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.table, self.row, self.column]
            .iter()
            .flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.bytes()))
            .collect()
    }
}

/// The master key.
pub(crate) struct Keys {
    cipher: XChaCha20Poly1305,
}

impl Keys {
    /// Reads the master key from the data folder and proves that it is this store's; made at the first start.
    pub(crate) async fn open(folder: &Path, store: &dyn Store) -> Result<Self, KeyError> {
        let path = folder.join(FILE);
        let proof = store.meta(PROOF).await?;
        let text = match files::read_secret(&path)? {
            Some(text) => text,
            None if proof.is_some() => return Err(KeyError::Missing { path }),
            None => {
                let key = Zeroizing::new(random::bytes::<32>()?);
                let text = Zeroizing::new(format!("{}\n", BASE64_STANDARD.encode(key.as_slice())));
                files::write(&path, &text, 0o600)?;
                text
            }
        };
        let malformed = |_| KeyError::Malformed { path: path.clone() };
        let key = Zeroizing::new(BASE64_STANDARD.decode(text.trim()).map_err(malformed)?);
        let cipher = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| KeyError::Malformed { path: path.clone() })?;
        let keys = Self { cipher };
        let place = Place { table: "meta", row: PROOF, column: "value" };
        match proof {
            Some(sealed) => {
                keys.open_sealed(place, &sealed).map_err(|_| KeyError::Wrong { path })?;
            }
            None => store.set_meta(PROOF, keys.seal(place, b"omadm")?).await?,
        }
        Ok(keys)
    }

    /// Seals a secret for its place.
    pub(crate) fn seal(&self, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = random::bytes::<NONCE>()?;
        let text = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &place.bytes() })
            .map_err(|_| KeyError::Sealed)?;
        Ok([&[VERSION], nonce.as_slice(), &text].concat())
    }

    /// Opens what was sealed for this place.
    pub(crate) fn open_sealed(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, KeyError> {
        let (nonce, text) = sealed
            .strip_prefix(&[VERSION])
            .and_then(|rest| rest.split_first_chunk::<NONCE>())
            .ok_or(KeyError::Sealed)?;
        self.cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &place.bytes() })
            .map(Secret::new)
            .map_err(|_| KeyError::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Retention;
    use crate::store::sqlite::Sqlite;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const HERE: Place<'static> = Place { table: "device", row: "IMEI:1", column: "enrolment" };

    async fn store(folder: &Path) -> Sqlite {
        Sqlite::open(&folder.join("omadm.db"), Retention::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_secret_opens_in_its_own_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path(), &store(folder.path()).await).await.unwrap();
        let mut sealed = keys.seal(HERE, b"hush").unwrap();
        assert_eq!(keys.open_sealed(HERE, &sealed).unwrap(), Secret::from("hush"));
        assert_ne!(sealed, keys.seal(HERE, b"hush").unwrap());
        for place in [Place { row: "IMEI:2", ..HERE }, Place { column: "user", ..HERE }, Place { table: "x", ..HERE }] {
            assert!(keys.open_sealed(place, &sealed).is_err(), "{place:?}");
        }
        *sealed.last_mut().unwrap() ^= 1;
        assert!(keys.open_sealed(HERE, &sealed).is_err());
        assert!(keys.open_sealed(HERE, &[]).is_err() && keys.open_sealed(HERE, &[1; 20]).is_err());
    }

    #[tokio::test]
    async fn a_missing_wrong_or_too_open_master_key_is_found_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let store = store(folder.path()).await;
        Keys::open(folder.path(), &store).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        Keys::open(folder.path(), &store).await.unwrap();

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::open(folder.path(), &store).await, Err(KeyError::File(FileError::TooOpen { .. }))));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, BASE64_STANDARD.encode([7; 32])).unwrap();
        assert!(matches!(Keys::open(folder.path(), &store).await, Err(KeyError::Wrong { .. })));
        fs::write(&path, "short").unwrap();
        assert!(matches!(Keys::open(folder.path(), &store).await, Err(KeyError::Malformed { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Keys::open(folder.path(), &store).await, Err(KeyError::Missing { .. })));
    }
}
