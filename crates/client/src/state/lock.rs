//! One program at a time: the lock beside the state file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The right to write the state file, held until it is dropped. The system takes it back when the program ends in any
/// way.
#[derive(Debug)]
pub struct Lock {
    /// None where there is no folder that can be opened, and so nothing that another program could write.
    _file: Option<File>,
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another program holds it.
    #[error("another omadm-client works with {0}")]
    Held(PathBuf),
    /// The system cannot lock files there.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock of this state file, without waiting.
    pub fn take(state: &Path) -> Result<Self, LockError> {
        // A file of its own, since the state file is replaced by renaming.
        let path = beside(state, ".lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let folder = state.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Where nothing can be written: the lock file as it is, else the folder.
        let Ok(file) = open.or_else(|_| File::open(&path)).or_else(|_| File::open(folder)) else {
            return Ok(Self { _file: None });
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(state.to_owned())),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

/// The path of a file beside the state file, such as its lock or its socket.
pub fn beside(state: &Path, suffix: &str) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_lock_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let lock = Lock::take(&state).unwrap();
        assert!(matches!(Lock::take(&state), Err(LockError::Held(_))));
        drop(lock);
        Lock::take(&state).unwrap();
    }
}
