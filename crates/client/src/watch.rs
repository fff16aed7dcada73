//! Noticing that a card comes or goes, or that the factory file changes, so that the methods of bootstrap are gone through
//! at once and not at the slow rate (spec 2.2).

use crate::config::{CardLink, Config};
use crate::wait::{For, Stop, Waited};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How long to wait before a folder that is not there is looked for again.
const MISSING: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(60) };

/// Room for events of one look, in bytes.
const EVENTS: usize = 4096;

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A card came, went, or was exchanged.
    Card,
    /// The factory file was written, replaced or removed.
    FactoryFile,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Card => "a card came or went",
            Self::FactoryFile => "the factory file changed",
        })
    }
}

/// Begins to watch what is configured, in threads of its own, and tells each sign until the program is to end.
pub fn start(config: &Config, stop: &Stop, tell: impl Fn(Sign) + Send + Clone + 'static) {
    let mut files = Vec::new();
    files.extend(config.factory.as_ref().map(|factory| (factory.file.clone(), Sign::FactoryFile)));
    match &config.card.link {
        CardLink::Socket(path) => files.push((path.clone(), Sign::Card)),
        #[cfg(feature = "pcsc")]
        CardLink::Auto | CardLink::Pcsc => watch_reader(&config.card.reader, stop, tell.clone()),
        #[cfg(not(feature = "pcsc"))]
        CardLink::Auto | CardLink::Pcsc => {}
        CardLink::Off => {}
    }
    for (path, sign) in files {
        let (stop, tell) = (stop.clone(), tell.clone());
        spawn(move || watch_file(&path, sign, &stop, &tell));
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name("watch".to_owned()).spawn(work) {
        tracing::warn!("cards and the factory file are looked at only at the slow rate: {error}");
    }
}

/// The thread of a reader blocks in the PC/SC library: it ends with the program.
#[cfg(feature = "pcsc")]
fn watch_reader(reader: &str, stop: &Stop, tell: impl Fn(Sign) + Send + 'static) {
    let (mut watch, stop) = (omadm_card::link::pcsc::Watch::new(reader), stop.clone());
    spawn(move || {
        // What is there at the beginning is read by the start itself.
        let _ = watch.changed(Duration::ZERO);
        while !stop.is_raised() {
            if watch.changed(MISSING).is_some() {
                tell(Sign::Card);
            }
        }
    });
}

fn watch_file(path: &Path, sign: Sign, stop: &Stop, tell: &dyn Fn(Sign)) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(OsString::from).unwrap_or_default();
    let folder = Folder { path: folder.to_owned(), name, sign };
    let mut missed = false;
    loop {
        match folder.watch() {
            Ok(events) => {
                if missed {
                    // What came while nobody watched.
                    tell(sign);
                }
                if folder.tell(&events, stop, tell) == Waited::Stopped {
                    return;
                }
                // The folder itself went.
                tell(sign);
            }
            Err(error) => tracing::debug!("{} cannot be watched: {error}", folder.path.display()),
        }
        missed = true;
        if stop.sleep(MISSING).is_err() {
            return;
        }
    }
}

/// A folder and the file in it that matters.
struct Folder {
    path: PathBuf,
    name: OsString,
    sign: Sign,
}

impl Folder {
    fn watch(&self) -> io::Result<OwnedFd> {
        let events = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let there = match self.sign {
            // A socket is there once it is created, a file once it is written.
            Sign::Card => WatchFlags::CREATE,
            Sign::FactoryFile => WatchFlags::CLOSE_WRITE,
        };
        let gone = WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        add_watch(&events, &self.path, there | WatchFlags::MOVE | gone)?;
        Ok(events)
    }

    /// Tells of the file until the program is to end, or the folder goes.
    fn tell(&self, events: &OwnedFd, stop: &Stop, tell: &dyn Fn(Sign)) -> Waited {
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let mut reader = Reader::new(events, &mut room);
        loop {
            if stop.wait_for(events, For::Input, Duration::MAX) == Waited::Stopped {
                return Waited::Stopped;
            }
            let mut ours = false;
            loop {
                match reader.next() {
                    Ok(event) => match event.file_name() {
                        Some(name) => ours |= name.to_bytes() == self.name.as_bytes(),
                        // About the folder itself.
                        None => return Waited::Ready,
                    },
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => return Waited::Ready,
                }
            }
            if ours {
                tell(self.sign);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_card::link::handover::handover;

    #[test]
    fn a_file_that_came_with_its_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mounted").join("factory.json");
        let stop = Stop::new().unwrap();
        let (give, told) = handover();
        thread::scope(|scope| {
            scope.spawn(|| {
                watch_file(&path, Sign::FactoryFile, &stop, &move |sign| {
                    give.give(sign);
                })
            });
            assert!(told.take(3 * MISSING).is_err(), "nothing is there");
            // Folder and file are there at the same time, as with a file system that is mounted.
            let hidden = folder.path().join("hidden");
            std::fs::create_dir(&hidden).unwrap();
            std::fs::write(hidden.join("factory.json"), "[]").unwrap();
            std::fs::rename(hidden, folder.path().join("mounted")).unwrap();
            let sign = told.take(Duration::from_secs(20));
            stop.raise();
            assert_eq!(sign, Ok(Sign::FactoryFile));
        });
    }
}
