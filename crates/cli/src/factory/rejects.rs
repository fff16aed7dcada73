//! The rows that could not be used, listed in a CSV file: line, reason, and the row as it came, which may be secret.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::private;

/// The longest piece of a row that is shown, in characters.
const SHOWN: usize = 1000;

/// The list. Its file is there once it is finished, and only if there is something in it.
pub(super) struct Rejects {
    path: PathBuf,
    belongs: Belongs,
    list: Option<csv::Writer<BufWriter<NamedTempFile>>>,
    count: u64,
}

/// Whose the file is that the list becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    /// The run's: one of an earlier run goes.
    Run,
    /// A person's, who wants it replaced or not.
    Person { replaces: bool },
}

impl Rejects {
    /// A list that becomes this file of a run's folder.
    pub(super) fn of_run(path: PathBuf) -> Self {
        Self { path, belongs: Belongs::Run, list: None, count: 0 }
    }

    /// A list that becomes the file that a person named.
    ///
    /// # Errors
    /// If there is one already that is not to be replaced.
    pub(super) fn named(path: PathBuf, replaces: bool) -> Result<Self, Failure> {
        private::check_free(&path, replaces)?;
        Ok(Self { path, belongs: Belongs::Person { replaces }, list: None, count: 0 })
    }

    /// Lists a row.
    pub(super) fn add(&mut self, line: u64, reason: &str, row: &str) -> Result<(), Failure> {
        let shown: String = row.chars().take(SHOWN).collect();
        let written = self.list().and_then(|list| Ok(list.write_record([&*line.to_string(), reason, &shown])?));
        self.count += 1;
        written.map_err(|error| Failure::unwritable(&self.path, &error))
    }

    /// How many rows are listed.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where the list is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the list into its place; without rows a run has none afterwards, and a person what was there.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::unwritable(&self.path, &error);
        match (self.list.take(), self.belongs) {
            (Some(list), belongs) => {
                let file = list.into_inner().map_err(|error| failed(error.into_error()))?;
                let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
                let placed = match belongs {
                    Belongs::Run | Belongs::Person { replaces: true } => file.persist(&self.path),
                    Belongs::Person { replaces: false } => file.persist_noclobber(&self.path),
                };
                placed.map(drop).map_err(|error| failed(error.error))
            }
            (None, Belongs::Person { .. }) => Ok(()),
            (None, Belongs::Run) => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                Ok(()) | Err(_) => Ok(()),
            },
        }
    }

    fn list(&mut self) -> io::Result<&mut csv::Writer<BufWriter<NamedTempFile>>> {
        if self.list.is_none() {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // Made with mode 0600, and gone if it is not finished.
            let file = tempfile::Builder::new().prefix(".rejects-").tempfile_in(folder)?;
            let mut list = csv::Writer::from_writer(BufWriter::new(file));
            list.write_record(["line", "reason", "row"])?;
            self.list = Some(list);
        }
        self.list.as_mut().ok_or_else(|| io::Error::other("the list is closed"))
    }
}
