//! Profiles: when one matches, to whom it is released, and the template of its message.

mod format;
mod matching;

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{Store, StoreError};

pub(crate) use format::{Match, Profile, Release, Scheme};
pub(crate) use matching::{Matched, overlap, select};

/// All profiles by name.
pub(crate) type List = Arc<[Arc<Profile>]>;

/// All profiles that can be read, read again when one of them changed, by whichever node. One that cannot, such as one of
/// another version, is left out and keeps no device from the others.
#[derive(Default)]
pub(crate) struct Profiles {
    cache: RwLock<Option<(i64, List)>>,
}

impl Profiles {
    /// All profiles that can be read, by name.
    pub(crate) async fn all(&self, store: &dyn Store) -> Result<List, StoreError> {
        let version = store.profiles_version().await?;
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((cached_version, profiles)) = cached
            && cached_version == version
        {
            return Ok(profiles);
        }
        let rows = store.profiles().await?;
        let profiles = rows
            .iter()
            .filter_map(|row| match Profile::parse(row.content.as_bytes()) {
                Ok(profile) => Some(Arc::new(profile)),
                Err(error) => {
                    tracing::error!("the profile {} is left out, since it cannot be read: {error}", row.name);
                    None
                }
            })
            .collect::<List>();
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = Some((version, Arc::clone(&profiles)));
        Ok(profiles)
    }
}
