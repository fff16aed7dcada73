//! Noticing that a card comes or goes, or that the factory file changes, so that the methods of bootstrap are gone through
//! at once and not at the slow rate (spec 2.2).

use crate::config::{CardLink, Config};
use crate::wait::{For, Stop, Waited};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
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

/// How often a link is asked that tells nothing by itself, once it has answered.
#[cfg(any(feature = "exec", feature = "serial", test))]
const ASKED: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(60) };

/// How soon it is asked again that has not answered yet; each time twice as long, up to [`ASKED`].
#[cfg(any(feature = "exec", feature = "serial", test))]
const SOON: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(5) };

/// Room for events of one look, in bytes.
const EVENTS: usize = 4096;

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A card came.
    Card,
    /// The card that was there went; another one may be in its place.
    CardWent,
    /// The factory file was written, replaced or removed.
    FactoryFile,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Card | Self::CardWent => "a card came or went",
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
        CardLink::Auto => {
            #[cfg(feature = "pcsc")]
            watch_reader(&config.card.reader, stop, tell.clone());
            #[cfg(feature = "serial")]
            watch_modems(stop, tell.clone());
        }
        #[cfg(feature = "serial")]
        CardLink::Modem(path) => watch_modem(path, stop, tell.clone()),
        #[cfg(not(feature = "serial"))]
        CardLink::Modem(_) => {}
        #[cfg(feature = "pcsc")]
        CardLink::Pcsc => watch_reader(&config.card.reader, stop, tell.clone()),
        #[cfg(not(feature = "pcsc"))]
        CardLink::Pcsc => {}
        #[cfg(feature = "exec")]
        CardLink::Exec(command) => watch_executable(command.clone(), stop, tell.clone()),
        #[cfg(not(feature = "exec"))]
        CardLink::Exec(_) => {}
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
        let mut seen = watch.changed(Duration::ZERO);
        while !stop.is_raised() {
            if let Some(now) = watch.changed(MISSING) {
                let was_there = matches!(seen, Some(omadm_card::link::pcsc::Presence::Card(_)));
                tell(if was_there { Sign::CardWent } else { Sign::Card });
                seen = Some(now);
            }
        }
    });
}

/// Asks an executable again and again which card there is. One that does not say changes nothing.
#[cfg(feature = "exec")]
fn watch_executable(command: Vec<String>, stop: &Stop, tell: impl Fn(Sign) + Send + 'static) {
    use omadm_card::link::exec::ExecLink;
    /// How long one answer may take.
    const ANSWER: Duration = Duration::from_secs(10);
    let stop = stop.clone();
    spawn(move || {
        let ask = || {
            // A reading goes first.
            let status = ExecLink::status_of(&command, ANSWER, ASKED, crate::host::executable_said);
            status.ok().map(|status| (status.card, status.iccid))
        };
        watch_slot(ask, &stop, &tell);
    });
}

/// Looks at the ports of modems, of which the one that is there is asked which card it has.
#[cfg(feature = "serial")]
fn watch_modems(stop: &Stop, tell: impl Fn(Sign) + Send + 'static) {
    let (stop, mut watch) = (stop.clone(), omadm_card::link::automatic::ModemWatch::default());
    spawn(move || watch_slot(|| watch.look(), &stop, &tell));
}

#[cfg(feature = "serial")]
fn watch_modem(path: &Path, stop: &Stop, tell: impl Fn(Sign) + Send + 'static) {
    /// How long one command may take. While the modem is asked, a reading waits for the port.
    const COMMAND: Duration = Duration::from_secs(2);
    let (path, stop) = (path.to_owned(), stop.clone());
    spawn(move || {
        let ask = || match omadm_card::link::serial::presence(&path, COMMAND) {
            Ok(presence) => presence,
            Err(error) => {
                tracing::debug!("the modem does not say what is in its slot: {error}");
                None
            }
        };
        watch_slot(ask, &stop, &tell);
    });
}

/// Asks again and again what is in the slot, and tells when that is something else than before. No answer changes nothing.
#[cfg(any(feature = "exec", feature = "serial", test))]
fn watch_slot<T: PartialEq>(mut ask: impl FnMut() -> Option<T>, stop: &Stop, tell: &dyn Fn(Sign)) {
    let mut known = None;
    let mut missed = false;
    let mut pause = SOON;
    loop {
        match ask() {
            Some(found) => {
                let sign = match &known {
                    Some(known) => (*known != found).then_some(Sign::CardWent),
                    // What came while there was no answer, the start itself may have missed too.
                    None => missed.then_some(Sign::Card),
                };
                known = Some(found);
                pause = ASKED;
                sign.into_iter().for_each(tell);
            }
            None => {
                missed = true;
                pause = if known.is_none() { (pause * 2).min(ASKED) } else { ASKED };
            }
        }
        if stop.sleep(pause).is_err() {
            return;
        }
    }
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
            Sign::Card | Sign::CardWent => WatchFlags::CREATE,
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
            let (mut ours, mut went) = (false, false);
            loop {
                match reader.next() {
                    Ok(event) => match event.file_name() {
                        Some(name) if name.to_bytes() == self.name.as_bytes() => {
                            ours = true;
                            went |= event.events().intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
                        }
                        Some(_) => {}
                        // About the folder itself.
                        None => return Waited::Ready,
                    },
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => return Waited::Ready,
                }
            }
            if ours {
                tell(if went && self.sign == Sign::Card { Sign::CardWent } else { self.sign });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_card::link::handover::handover;

    #[test]
    fn a_slot_that_is_asked_tells_of_another_card_and_no_answer_changes_nothing() {
        let look = |answers: &[Option<u8>]| {
            let stop = Stop::new().unwrap();
            let mut left = answers.iter();
            let signs = std::cell::RefCell::new(Vec::new());
            let ask = || {
                left.next().copied().unwrap_or_else(|| {
                    stop.raise();
                    None
                })
            };
            watch_slot(ask, &stop, &|sign| signs.borrow_mut().push(sign));
            signs.take()
        };
        assert_eq!(look(&[Some(1), Some(1), None, None, Some(1)]), []);
        assert_eq!(look(&[Some(1), Some(2), None, Some(1), Some(1)]), [Sign::CardWent, Sign::CardWent]);
        assert_eq!(look(&[None, None, Some(1), Some(1)]), [Sign::Card], "the start may have missed it too");
        assert_eq!(look(&[None, None, None]), []);
    }

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
