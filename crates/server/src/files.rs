//! Files of the data folder: secret ones are readable by their owner only, and none is ever half written.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Failed to use a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read a secret.
    #[error("{}: mode {mode:04o} lets others read a secret; run `chmod 600` on it, and make a new one if it was read", path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than any file that is expected here.
    #[error("{}: larger than {MAX_FILE} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{}: not UTF-8 text", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// Another server uses the folder.
    #[error("{}: another `omadm serve` uses this folder; stop it, or name another folder by --data", path.display())]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
}

/// The data folder, taken for one server. It is free again when this is dropped, or its process ends.
#[derive(Debug)]
pub(crate) struct Folder {
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, for its owner only, and takes it: two servers that start at the same time would
    /// each make keys, and those of one would be lost.
    pub(crate) fn take(path: &Path) -> Result<Self, FileError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let lock = File::open(path).map_err(at(path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FileError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(at(path)(error)),
        }
    }
}

/// Makes an empty file that only its owner reads and writes, unless it is there.
pub(crate) fn make_private(path: &Path) -> Result<(), FileError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(path)(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Reads a text file; `None` if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    match File::open(path) {
        Ok(file) => text(path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Reads a secret text file; `None` if it is not there. One that others may read is an error.
pub(crate) fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let mode = file.metadata().map_err(at(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::TooOpen { path: path.to_owned(), mode });
    }
    text(path, file).map(Some)
}

/// Writes a file in one step: after a power cut the old content stands there, or the new one.
pub(crate) fn write(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&temporary)(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(at(&temporary))?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(at(&temporary))?;
    fs::rename(&temporary, path).map_err(at(path))?;
    match path.parent() {
        Some(folder) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(path)),
        None => Ok(()),
    }
}

fn text(path: &Path, file: File) -> Result<Zeroizing<String>, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(at(path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(FileError::NotText { path: path.to_owned() }),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(read_secret(&path).unwrap().is_none());
        write(&path, "hush", 0o600).unwrap();
        assert_eq!(read_secret(&path).unwrap().unwrap().as_str(), "hush");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_secret(&path).unwrap_err();
        assert!(matches!(error, FileError::TooOpen { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn a_folder_is_taken_once_and_given_back() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let taken = Folder::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Folder::take(&path).unwrap_err().to_string().contains("another `omadm serve`"));
        drop(taken);
        Folder::take(&path).unwrap();
    }

    #[test]
    fn what_a_power_cut_left_behind_does_not_stand_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(path.with_extension("new"), "half").unwrap();
        write(&path, "whole", 0o600).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_str(), "whole");
    }
}
