//! The folder in which the demo plays, and the program that it needs.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The longest folder in which unix sockets of the demo have room (107 bytes in all).
const MAX_FOLDER: usize = 70;

/// Where a folder for this time only has its place.
pub(super) fn place_for_folders() -> PathBuf {
    let temp = Some(std::env::temp_dir()).filter(|temp| temp.as_os_str().len() + 14 <= MAX_FOLDER);
    temp.unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Makes the demo's folder that stays (0700).
pub(super) fn folder_to_keep(keep: &Path) -> Result<PathBuf, Failure> {
    match fs::read_dir(keep).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::usage(format!("{} is not empty", keep.display()))
                .advise("the demo starts with new devices; name another folder"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).create(keep).map_err(|error| Failure::unwritable(keep, &error))?;
        }
        Err(error) => return Err(Failure::unreadable(keep, &error)),
    }
    let folder = fs::canonicalize(keep).map_err(|error| Failure::unreadable(keep, &error))?;
    if folder.as_os_str().len() > MAX_FOLDER {
        return Err(Failure::usage(format!("{} is too long a path for unix sockets", folder.display()))
            .advise(format!("name a folder with at most {MAX_FOLDER} characters")));
    }
    Ok(folder)
}

/// Makes a folder that only we enter.
pub(super) fn private_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| Failure::unwritable(path, &error))
}

/// Writes a file that only we read.
pub(super) fn private_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).map_err(|error| Failure::unwritable(path, &error))?;
    io::Write::write_all(&mut file, content).map_err(|error| Failure::unwritable(path, &error))
}

/// Finds the program omadm-client.
pub(super) fn client_program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let from_environment = std::env::var_os("OMADM_CLIENT").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or(from_environment) {
        let path = fs::canonicalize(&path).map_err(|error| Failure::unreadable(&path, &error))?;
        return if is_program(&path) {
            Ok(path)
        } else {
            Err(Failure::usage(format!("{} is no program", path.display())))
        };
    }
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("omadm-client")));
    let search = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&search).map(|folder| folder.join("omadm-client"));
    beside.into_iter().chain(in_path).find(|path| is_program(path)).ok_or_else(|| {
        Failure::usage("the program omadm-client is not there")
            .advise("build it with `cargo build --bin omadm-client`, or say --client PATH")
    })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_folder_to_keep_has_to_be_empty() {
        let temp = tempfile::tempdir().unwrap();
        let fresh = temp.path().join("fresh");
        folder_to_keep(&fresh).unwrap();
        private_file(&fresh.join("x"), b"x").unwrap();
        assert_eq!(folder_to_keep(&fresh).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_client_that_is_named_has_to_be_a_program() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("omadm-client");
        private_file(&file, b"x").unwrap();
        assert_eq!(client_program(Some(&file)).unwrap_err().exit, Exit::Usage);
        assert!(client_program(Some(Path::new("/bin/sh"))).is_ok());
    }
}
