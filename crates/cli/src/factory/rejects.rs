//! The rows that could not be used, listed in a CSV file: line, reason, and the row as it came, which may be secret.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::private;

/// The longest piece of a row that is shown, in characters.
const SHOWN: usize = 1000;

/// The list. Its file is there once it is finished, and only if there is something in it.
pub(super) struct Rejects {
    path: PathBuf,
    list: Option<csv::Writer<BufWriter<File>>>,
    count: u64,
}

impl Rejects {
    /// A list that becomes this file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, list: None, count: 0 }
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

    /// Puts the list into its place; without rows there is none afterwards.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let finished = match self.list.take() {
            Some(mut list) => list.flush().and_then(|()| fs::rename(unfinished(&self.path), &self.path)),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
        };
        finished.map_err(|error| Failure::unwritable(&self.path, &error))
    }

    fn list(&mut self) -> io::Result<&mut csv::Writer<BufWriter<File>>> {
        if self.list.is_none() {
            let mut list = csv::Writer::from_writer(BufWriter::new(private::replace(&unfinished(&self.path))?));
            list.write_record(["line", "reason", "row"])?;
            self.list = Some(list);
        }
        self.list.as_mut().ok_or_else(|| io::Error::other("the list is closed"))
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".new");
    path.into()
}
