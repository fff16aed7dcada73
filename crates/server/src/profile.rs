//! Profiles: when one matches, to whom it is released, and the template of its message.

mod format;
mod listed;
mod matching;

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{Store, StoreError};

pub(crate) use format::{Match, Profile, Release, Scheme};
pub(crate) use listed::{Listed, readable};
pub(crate) use matching::{Matched, overlap, select};

/// All profiles by name.
pub(crate) type List = Arc<[Listed]>;

/// All profiles whose devices are known, read again when one of them changed, by whichever node. One that cannot be read,
/// such as one of another version, keeps its devices from the others as long as it says which they are; else it is left
/// out and keeps no device from the others.
#[derive(Default)]
pub(crate) struct Profiles {
    cache: RwLock<Option<(i64, List)>>,
}

impl Profiles {
    /// All profiles that say for which devices they are, by name.
    pub(crate) async fn all(&self, store: &dyn Store) -> Result<List, StoreError> {
        let version = store.profiles_version().await?;
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((cached_version, profiles)) = cached
            && cached_version == version
        {
            return Ok(profiles);
        }
        let profiles = store.profiles().await?.iter().filter_map(Listed::read).collect::<List>();
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = Some((version, Arc::clone(&profiles)));
        Ok(profiles)
    }
}
