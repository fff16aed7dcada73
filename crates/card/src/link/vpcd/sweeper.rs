//! Files that must not outlive their program, even if it is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small process that removes some files and empty folders when this program ends, however it ends.
///
/// It waits for the end of a pipe that only this program holds open, so it needs no signal and no polling.
#[derive(Debug)]
pub struct Sweeper {
    child: Child,
    paths: Vec<PathBuf>,
}

impl Sweeper {
    /// Removes these when dropped or when the program dies: files first, then folders that are empty, in this order.
    pub fn new<P: AsRef<Path>>(paths: &[P]) -> io::Result<Self> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_owned()).collect();
        let child = Command::new("sh")
            .args([
                "-c",
                "read -r end; for path; do rm -f -- \"$path\" 2>&- || rmdir -- \"$path\" 2>&-; done",
                "sweeper",
            ])
            .args(&paths)
            // Ctrl-C goes to the whole process group, and this process has to survive it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, paths })
    }

    /// What is removed.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_folder_go_with_the_value() {
        let folder = tempfile::tempdir().unwrap().keep();
        let file = folder.join("a file; with $(odd) 'name'");
        std::fs::write(&file, "x").unwrap();
        let sweeper = Sweeper::new(&[file.clone(), folder.clone()]).unwrap();
        assert!(file.exists());
        drop(sweeper);
        assert!(!folder.exists());
    }
}
