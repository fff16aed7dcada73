//! The narrow door to durable storage: named files in one folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Files in one folder, and the steps by which one of them is replaced so that a power cut at any instant leaves the old
/// or the new content. What was not synced may be lost or kept in any combination.
pub trait Storage: Send {
    /// The whole file; `None` if there is none. A file of more than `limit` bytes is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
    /// Makes the file anew with this content, mode 0600. What had the name before is left as it is where it has another
    /// name too. Not durable yet.
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes the file's content durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Gives the file another name, in place of what had that name. Not durable yet.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the folder's names durable.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Removes the file, if it is there. Not durable yet.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// The names in the folder, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
}

/// A folder of the file system.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// The folder, which is made if it is not there (mode 0700). If that fails it is tried again with each write.
    pub fn open(folder: &Path) -> Self {
        let disk = Self { folder: folder.to_owned() };
        // The first write says what is wrong.
        let _ = disk.make_folder();
        disk
    }

    /// Makes the folder with its name durable; says whether there was none.
    fn make_folder(&self) -> io::Result<bool> {
        let there = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
        let Some(parent) = self.folder.ancestors().find(there).filter(|found| *found != self.folder) else {
            return Ok(false);
        };
        fs::create_dir_all(&self.folder)?;
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        for above in self.folder.ancestors().skip(1).take_while(|above| above.starts_with(parent)) {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            File::open(above)?.sync_all()?;
        }
        Ok(true)
    }
}

impl Storage for Disk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(content))
    }

    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        // Never in place: a file of that name has another mode perhaps, or is the old state by another name.
        let mut new = OpenOptions::new();
        new.write(true).create_new(true).mode(0o600);
        let mut file = match new.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path)?;
                new.open(&path)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.make_folder()? => new.open(&path)?,
            opened => opened?,
        };
        file.write_all(content)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        File::open(self.folder.join(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                let place = names.partition_point(|other| *other < name);
                names.insert(place, name);
            }
        }
        Ok(names)
    }
}
