//! The folder of a factory run: what was agreed at its beginning, the bundles, and the manifest, which tells what is done.
//!
//! A device is done when its line is in the manifest. Its bundle is durable before: so a run that was killed, or whose
//! power was cut, is gone on with, and what it left half done is done again.

use omadm_core::factory::manifest::{MAX_LINE, ManifestLine};
use omadm_core::ids::DevId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::{FlockOperation, flock, syncfs};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The manifest's file.
const MANIFEST: &str = "manifest.jsonl";
/// The file with what was agreed.
const TERMS: &str = "run.json";
/// The folder with the bundles.
const BUNDLES: &str = "bundles";
/// What stands at the end of a file that is not durable yet.
const NEW: &str = ".new";
/// What stands in a file's name as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// A longer name of a file is not for every file system.
const LONGEST_NAME: usize = 200;

/// What is agreed for all bundles of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    /// The profile.
    pub(super) profile: String,
    /// SHA-256 of the signer's public key.
    pub(super) signer: String,
    /// SHA-256 of the certificates that bundles are encrypted to.
    pub(super) encrypted_to: Option<String>,
    /// Whether bundles hold what their devices enrol by.
    pub(super) enrol: bool,
}

/// What stands in the file with the terms.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    /// The run's name for the server, which gives it the same for a device whenever it asks.
    run: String,
    #[serde(flatten)]
    terms: Terms,
}

/// What is known of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// It was not met.
    Never,
    /// Its bundle is made.
    Made,
    /// It stood in this line of the list.
    InLine(u64),
}

/// The first half of a SHA-256 of a DevID: less to remember, and never the same for two that anybody could find.
type Mark = [u8; 12];

/// The folder, which nobody else works in as long as it is open.
pub(super) struct Folder {
    path: PathBuf,
    run: String,
    manifest: File,
    bundles: File,
    /// The devices, with the line in which they were met; 0: in the manifest.
    met: HashMap<Mark, u32>,
    made_before: u64,
    _lock: File,
}

impl Folder {
    /// Opens the folder, made if need be, and finds out what is done. `name` names a run that begins.
    ///
    /// # Errors
    /// If it is another run's, in use, something else's, or damaged.
    pub(super) fn open(
        path: &Path,
        terms: &Terms,
        name: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<Self, Failure> {
        let unwritable = |error| Failure::unwritable(path, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unwritable)?;
        // The folder itself is the lock: it is there in any case.
        let lock = File::open(path).map_err(|error| Failure::unreadable(path, &error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Failure::failed(format!("another omadm makes bundles in {}", path.display())));
        }
        let begun = match fs::read(path.join(TERMS)) {
            Ok(text) => Self::begun(path, &text, terms)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::begin(path, terms, name()?)?,
            Err(error) => return Err(Failure::unreadable(&path.join(TERMS), &error)),
        };
        let bundles = path.join(BUNDLES);
        match DirBuilder::new().mode(0o700).create(&bundles) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(error)),
            Ok(()) | Err(_) => {}
        }
        clear(&bundles).map_err(|error| Failure::unwritable(&bundles, &error))?;
        let bundles = File::open(&bundles).map_err(|error| Failure::unreadable(&bundles, &error))?;
        let manifest = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path.join(MANIFEST));
        let manifest = manifest.map_err(unwritable)?;
        lock.sync_all().map_err(unwritable)?;
        let (path, run) = (path.to_owned(), begun.run);
        let mut folder = Self { path, run, manifest, bundles, met: HashMap::new(), made_before: 0, _lock: lock };
        folder.read_manifest()?;
        Ok(folder)
    }

    fn begin(path: &Path, terms: &Terms, run: String) -> Result<Begun, Failure> {
        let new = format!("{TERMS}{NEW}");
        let unwritable = |error| Failure::unwritable(&path.join(TERMS), &error);
        let others = fs::read_dir(path).map_err(unwritable)?.flatten().any(|entry| entry.file_name() != *new);
        if others {
            return Err(Failure::usage(format!(
                "{} is not empty, and not the folder of a factory run",
                path.display()
            ))
            .advise("name a new folder"));
        }
        let begun = Begun { run, terms: terms.clone() };
        let text = serde_json::to_vec_pretty(&begun).map_err(|error| unwritable(error.into()))?;
        let file = path.join(new);
        let written = File::create(&file).and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&file, path.join(TERMS))).map_err(unwritable)?;
        Ok(begun)
    }

    fn begun(path: &Path, text: &[u8], terms: &Terms) -> Result<Begun, Failure> {
        let file = path.join(TERMS);
        let begun: Begun = serde_json::from_slice(text)
            .map_err(|error| Failure::usage(format!("{} is damaged: {error}", file.display())))?;
        let differs = [
            ("--profile", begun.terms.profile != terms.profile),
            ("--sign-key", begun.terms.signer != terms.signer),
            ("--encrypt-to", begun.terms.encrypted_to != terms.encrypted_to),
            ("--enrol", begun.terms.enrol != terms.enrol),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            None => Ok(begun),
            Some((option, _)) => Err(Failure::usage(format!("{} holds a run with another {option}", path.display()))
                .advise("go on with it as it was begun, or name another folder")),
        }
    }

    /// Reads what is done. A line that a kill cut short is taken away: its device is not done.
    fn read_manifest(&mut self) -> Result<(), Failure> {
        let path = self.manifest_path();
        let unreadable = |error| Failure::unreadable(&path, &error);
        let mut reader = BufReader::new(self.manifest.try_clone().map_err(unreadable)?);
        let (mut good, mut number, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(unreadable)?;
            if !line.ends_with(b"\n") {
                if read > MAX_LINE {
                    return Err(Failure::usage(format!("{}:{}: too long", path.display(), number + 1)));
                }
                break;
            }
            number += 1;
            let entry = ManifestLine::parse(line.trim_ascii_end())
                .map_err(|error| Failure::usage(format!("{}:{number}: {error}", path.display())))?;
            self.met.insert(mark(&entry.dev_id), 0);
            good += read as u64;
        }
        self.made_before = number;
        let cut = self.manifest.set_len(good).and_then(|()| self.manifest.seek(SeekFrom::End(0)));
        cut.map_err(|error| Failure::unwritable(&path, &error))?;
        Ok(())
    }

    /// The run's name for the server.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// A file of the folder.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The manifest.
    pub(super) fn manifest_path(&self) -> PathBuf {
        self.join(MANIFEST)
    }

    /// How many were made when the folder was opened.
    pub(super) fn made_before(&self) -> u64 {
        self.made_before
    }

    /// Meets a device in a line of the list; says what was known of it.
    pub(super) fn meet(&mut self, dev_id: &DevId, line: u64) -> Met {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        match self.met.insert(mark(dev_id), line) {
            None => Met::Never,
            Some(0) => Met::Made,
            Some(first) => {
                self.met.insert(mark(dev_id), first);
                Met::InLine(first.into())
            }
        }
    }

    /// The name of a device's bundle, relative to the folder.
    pub(super) fn file_of(dev_id: &DevId) -> String {
        let name = utf8_percent_encode(dev_id.as_str(), PLAIN).to_string();
        let name = if name.len() > LONGEST_NAME { format!("sha256-{}", hex(&digest(dev_id.as_str()))) } else { name };
        format!("{BUNDLES}/{name}.cms")
    }

    /// Keeps bundles, and then their lines: when this returns they outlive a power cut.
    pub(super) fn keep(&mut self, made: &[(ManifestLine, Vec<u8>)]) -> Result<(), Failure> {
        let unfinished = |line: &ManifestLine| self.join(&format!("{}{NEW}", line.file));
        for (line, bundle) in made {
            let path = unfinished(line);
            let mut new = OpenOptions::new();
            let file = new.write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(bundle)).map_err(|error| Failure::unwritable(&path, &error))?;
        }
        // One wait for the disk instead of one for each file.
        let failed = |error: io::Error| Failure::unwritable(&self.join(BUNDLES), &error);
        syncfs(&self.bundles).map_err(|error| failed(error.into()))?;
        let mut lines = String::new();
        for (line, _) in made {
            fs::rename(unfinished(line), self.join(&line.file)).map_err(failed)?;
            let text = line.to_line().map_err(|error| Failure::failed(format!("{}: {error}", line.dev_id)))?;
            lines.push_str(&text);
            lines.push('\n');
        }
        self.bundles.sync_all().map_err(failed)?;
        let written = self.manifest.write_all(lines.as_bytes()).and_then(|()| self.manifest.sync_data());
        written.map_err(|error| Failure::unwritable(&self.manifest_path(), &error))
    }
}

/// SHA-256.
pub(super) fn digest(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mark(dev_id: &DevId) -> Mark {
    let [mark @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest(dev_id.as_str());
    mark
}

/// Removes what a run that was cut short left: bundles that nobody was told of.
fn clear(bundles: &Path) -> io::Result<()> {
    for entry in fs::read_dir(bundles)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(NEW.as_bytes()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::time::Timestamp;

    fn terms() -> Terms {
        Terms { profile: "meters".into(), signer: "s".into(), encrypted_to: None, enrol: false }
    }

    fn open(path: &Path) -> Result<Folder, Failure> {
        Folder::open(path, &terms(), || Ok("run".to_owned()))
    }

    fn made(number: u32) -> (ManifestLine, Vec<u8>) {
        let dev_id: DevId = format!("IMEI:{number}").parse().unwrap();
        let line = ManifestLine {
            file: Folder::file_of(&dev_id),
            dev_id,
            sha256: [0; 32].into(),
            profile: "meters".into(),
            credential: None,
            enrolment: false,
            at: Timestamp(1_800_000_000),
        };
        (line, vec![1, 2, 3])
    }

    fn dev_id(number: u32) -> DevId {
        made(number).0.dev_id
    }

    #[test]
    fn what_is_in_the_manifest_is_done_and_a_line_that_was_cut_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let mut folder = open(&path).unwrap();
        folder.keep(&[made(1), made(2)]).unwrap();
        drop(folder);
        let whole = fs::read(path.join(MANIFEST)).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in first..whole.len() {
            fs::write(path.join(MANIFEST), &whole[..length]).unwrap();
            fs::write(path.join("bundles/IMEI%3A2.cms.new"), "half").unwrap();
            let mut folder = open(&path).unwrap();
            assert_eq!((folder.run(), folder.made_before()), ("run", 1));
            assert_eq!((folder.meet(&dev_id(1), 2), folder.meet(&dev_id(2), 3)), (Met::Made, Met::Never));
            assert!(!path.join("bundles/IMEI%3A2.cms.new").exists());
            folder.keep(&[made(2)]).unwrap();
            assert_eq!(fs::read(path.join(MANIFEST)).unwrap(), whole, "cut at {length}");
        }
    }

    #[test]
    fn a_device_that_comes_twice_is_told_with_its_first_line() {
        let parent = tempfile::tempdir().unwrap();
        let mut folder = open(&parent.path().join("run")).unwrap();
        folder.keep(&[made(1)]).unwrap();
        drop(folder);
        let mut folder = open(&parent.path().join("run")).unwrap();
        for (number, line, expected) in [
            (1, 2, Met::Made),
            (1, 3, Met::InLine(2)),
            (2, 4, Met::Never),
            (2, 5, Met::InLine(4)),
            (2, 6, Met::InLine(4)),
        ] {
            assert_eq!(folder.meet(&dev_id(number), line), expected, "line {line}");
        }
    }

    #[test]
    fn a_folder_is_one_runs_and_one_programs() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let folder = open(&path).unwrap();
        assert!(open(&path).err().unwrap().message.contains("another omadm"));
        drop(folder);
        for (other, option) in [
            (Terms { profile: "x".into(), ..terms() }, "--profile"),
            (Terms { signer: "x".into(), ..terms() }, "--sign-key"),
            (Terms { encrypted_to: Some("x".into()), ..terms() }, "--encrypt-to"),
            (Terms { enrol: true, ..terms() }, "--enrol"),
        ] {
            let error = Folder::open(&path, &other, || panic!("it was begun")).err().unwrap();
            assert!(error.message.contains(option), "{error}");
        }
        fs::write(parent.path().join("letter"), "").unwrap();
        assert!(open(parent.path()).err().unwrap().message.contains("not empty"));
        fs::write(path.join(MANIFEST), "nonsense\n").unwrap();
        assert!(open(&path).err().unwrap().message.contains("manifest.jsonl:1: "));
    }

    #[test]
    fn every_device_has_a_file_name_of_its_own() {
        let file = |text: &str| Folder::file_of(&text.parse().unwrap());
        assert_eq!(file("IMEI:1"), "bundles/IMEI%3A1.cms");
        assert_eq!(file("../x"), "bundles/%2E%2E%2Fx.cms");
        let (one, other) = (file(&":".repeat(128)), file(&":".repeat(127)));
        assert!(one != other && one.len() < 255 && one.starts_with("bundles/sha256-"), "{one}");
    }
}
