//! Secrets that an operator puts into files: the card's PIN, the enrolment secret.

use crate::regular_file;
use omadm_core::secret::Secret;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

/// The longest secret, in bytes.
const MAX_SIZE: u64 = 4096;

/// Failed to read a secret from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{path} has mode {mode:04o}, but holds a secret; make it 0600 (chmod 600)")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{0} belongs to another user; it must belong to the one who runs omadm-client, or to root")]
    Owner(PathBuf),
    /// There is nothing in it, or far too much.
    #[error("{0} must hold one line with the secret, of at most {MAX_SIZE} bytes")]
    Content(PathBuf),
}

/// Reads a secret: the file's content without the line's end. The file must be for its owner only.
pub fn read_secret(path: &Path) -> Result<Secret, SecretFileError> {
    let fail = |source| SecretFileError::Read { path: path.to_owned(), source };
    let file = regular_file::open(path).map_err(fail)?;
    let facts = file.metadata().map_err(fail)?;
    let mode = facts.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.to_owned(), mode });
    }
    if facts.uid() != 0 && facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(SecretFileError::Owner(path.to_owned()));
    }
    // Room for all of it at once, so that no copy is left behind when it grows.
    let mut content = Vec::with_capacity(MAX_SIZE as usize + 1);
    file.take(MAX_SIZE + 1).read_to_end(&mut content).map_err(fail)?;
    while matches!(content.last(), Some(b'\n' | b'\r')) {
        content.pop();
    }
    if content.is_empty() || content.len() as u64 > MAX_SIZE {
        content.zeroize();
        return Err(SecretFileError::Content(path.to_owned()));
    }
    Ok(Secret::new(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn a_secret_is_read_only_from_a_file_that_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert!(matches!(read_secret(&path), Err(SecretFileError::Read { .. })));
        fs::write(&path, "hunter2\n").unwrap();
        for mode in [0o644, 0o640, 0o602, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")) && !error.contains("hunter2"), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read_secret(&path).unwrap(), Secret::from("hunter2"));
    }

    #[test]
    fn an_empty_or_huge_file_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        for content in [String::new(), "\n".to_owned(), "x".repeat(5000)] {
            let path = folder.path().join("secret");
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read_secret(&path), Err(SecretFileError::Content(_))));
        }
    }
}
