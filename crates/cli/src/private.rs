//! Files that hold secrets: nobody else may read them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::admin::first_line;
use crate::failure::Failure;

/// The first line of a file that holds `what`, such as a key.
///
/// # Errors
/// If others may read the file, or it cannot be read or is empty.
pub(crate) fn line(path: &Path, what: &str) -> Result<String, Failure> {
    let mode = fs::metadata(path).map_err(|error| Failure::unreadable(path, &error))?.mode();
    if mode & 0o077 != 0 {
        let name = path.display();
        return Err(
            Failure::usage(format!("{name} holds {what} and others may read it")).advise(format!("chmod 600 {name}"))
        );
    }
    first_line(path)
}

/// A new file that nobody else may read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The same, also where there was a file before.
pub(crate) fn replace(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => create(path),
    }
}

/// Writes a file in one step, so that the old one or the new one is there whatever happens.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let written = replace(&fresh).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&fresh, path)).map_err(|error| Failure::unwritable(path, &error))
}

/// Makes sure that [`write_new`] may write there, before anything is done for it.
///
/// # Errors
/// If there is a file and it is not to be replaced.
pub(crate) fn check_free(path: &Path, replaces: bool) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) if !replaces => Err(is_there(path)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes a file in one step where there is none, or, if so wished, where there is one.
pub(crate) fn write_new(path: &Path, content: &[u8], replaces: bool) -> Result<(), Failure> {
    if replaces {
        return write(path, content);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| Failure::unwritable(path, &error);
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(is_there(path)),
        Err(error) => Err(failed(error.error)),
    }
}

fn is_there(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already", path.display())).advise("name another file, or replace it by --force")
}
