//! The link that is chosen where none is named: a PC/SC reader with a card in it, else a modem with a SIM.
//!
//! What is looked at is told where nothing is found. Where there is neither a PC/SC service nor a port of a modem a look
//! costs no more than a failed connect and the listing of /dev.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::link::{Link, LinkError, Patience};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a port may take to answer AT before it counts as no modem's.
#[cfg(feature = "serial")]
const PROBE: Duration = Duration::from_secs(2);
/// The most ports that are tried.
#[cfg(feature = "serial")]
const MAX_TRIED: usize = 8;

/// Where ports of modems are looked for.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "serial"), allow(dead_code, reason = "without the feature no port is looked for"))]
struct Places<'a> {
    dev: &'a Path,
    sys: &'a Path,
}

impl Places<'static> {
    fn of_this_machine() -> Self {
        Self { dev: Path::new("/dev"), sys: Path::new("/sys") }
    }
}

/// What a look gave that found no card.
#[derive(Debug, Default)]
struct Looked {
    sentences: Vec<String>,
    /// A reader or modem says that it is empty.
    empty: bool,
}

/// Waits for a card, at most `patience.wait`; what says that it is empty is believed after `patience.empty`. `reader` is how
/// the names of the PC/SC readers begin that are meant.
///
/// # Errors
/// [`LinkError::NoCard`] with what was looked at; others where there is a card that cannot be used.
pub fn open(reader: &str, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
    open_in(Places::of_this_machine(), reader, patience)
}

fn open_in(places: Places<'_>, reader: &str, patience: &Patience) -> Result<Box<dyn Link>, LinkError> {
    let began = Instant::now();
    let mut empty_since = None;
    loop {
        let mut looked = Looked::default();
        if let Some(link) = in_reader(reader, patience, &mut looked)? {
            return Ok(link);
        }
        if let Some(link) = in_modem(places, patience, &mut looked) {
            return Ok(link);
        }
        let now = Instant::now();
        if !looked.empty {
            empty_since = None;
        }
        let believed = looked.empty && now.duration_since(*empty_since.get_or_insert(now)) >= patience.empty;
        let left = patience.wait.saturating_sub(began.elapsed());
        if believed || left.is_zero() {
            return Err(LinkError::NoCard(looked.sentences.join("; ")));
        }
        thread::sleep(PAUSE.min(left));
    }
}

/// Whether there is a reader or a modem, and none of them has a card.
pub fn is_empty(reader: &str) -> bool {
    let mut looked = Looked::default();
    !has_card_in_reader(reader, &mut looked)
        && !has_card_in_modem(Places::of_this_machine(), &mut looked)
        && looked.empty
}

#[cfg(feature = "pcsc")]
fn has_card_in_reader(reader: &str, looked: &mut Looked) -> bool {
    let sentence = match crate::link::pcsc::readers() {
        Ok(readers) => {
            let ours = readers.iter().filter(|one| one.name.starts_with(reader)).collect::<Vec<_>>();
            if ours.iter().any(|one| one.card) {
                return true;
            }
            looked.empty |= !ours.is_empty();
            match (ours.first(), reader) {
                (Some(first), _) => format!("the PC/SC reader {} is empty", first.name),
                (None, "") => "PC/SC has no reader".to_owned(),
                (None, _) => format!("PC/SC has no reader whose name begins with {reader:?}"),
            }
        }
        Err(LinkError::NoCard(why)) => format!("{why}; is pcscd running?"),
        Err(error) => error.to_string(),
    };
    looked.sentences.push(sentence);
    false
}

#[cfg(not(feature = "pcsc"))]
fn has_card_in_reader(_: &str, looked: &mut Looked) -> bool {
    looked.sentences.push("this program is built without the feature `pcsc`".to_owned());
    false
}

#[cfg(feature = "pcsc")]
fn in_reader(reader: &str, patience: &Patience, looked: &mut Looked) -> Result<Option<Box<dyn Link>>, LinkError> {
    if !has_card_in_reader(reader, looked) {
        return Ok(None);
    }
    match crate::link::pcsc::PcscLink::open(reader, &Patience { wait: Duration::ZERO, ..*patience }) {
        Ok(link) => Ok(Some(Box::new(link))),
        // It went in this moment.
        Err(LinkError::NoCard(why)) => {
            looked.sentences.push(why);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(feature = "pcsc"))]
fn in_reader(reader: &str, _: &Patience, looked: &mut Looked) -> Result<Option<Box<dyn Link>>, LinkError> {
    has_card_in_reader(reader, looked);
    Ok(None)
}

#[cfg(feature = "serial")]
pub use modem::{ModemSeen, ModemWatch};
#[cfg(feature = "serial")]
use modem::{has_card_in_modem, in_modem};

#[cfg(not(feature = "serial"))]
fn has_card_in_modem(_: Places<'_>, looked: &mut Looked) -> bool {
    looked.sentences.push("this program is built without the feature `serial`".to_owned());
    false
}

#[cfg(not(feature = "serial"))]
fn in_modem(places: Places<'_>, _: &Patience, looked: &mut Looked) -> Option<Box<dyn Link>> {
    has_card_in_modem(places, looked);
    None
}

#[cfg(feature = "serial")]
mod modem {
    use std::path::{Path, PathBuf};

    use super::{Looked, MAX_TRIED, PROBE, Places};
    use crate::link::at::Presence;
    use crate::link::ports::ports_in;
    use crate::link::{Link, LinkError, Patience, serial};
    use std::time::Duration;

    /// The ports that are tried.
    fn tried(places: Places<'_>) -> Vec<PathBuf> {
        let ports = ports_in(places.dev, places.sys).into_iter().filter(|port| port.why_not.is_none());
        ports.take(MAX_TRIED).map(|port| port.path).collect()
    }

    fn presence(path: &Path) -> Result<Option<Presence>, LinkError> {
        serial::presence(path, PROBE)
    }

    /// The first port whose modem does not say that it is empty.
    fn find(places: Places<'_>, looked: &mut Looked) -> Option<PathBuf> {
        let ports = tried(places);
        if ports.is_empty() {
            looked.sentences.push("there is no port of a modem: no ttyUSB, ttyACM or wwan that knows AT".to_owned());
        }
        for path in ports {
            match presence(&path) {
                Ok(Some(Presence::Card(_)) | None) => return Some(path),
                Ok(Some(Presence::Empty)) => {
                    looked.empty = true;
                    looked.sentences.push(format!("the modem at {} has no SIM", path.display()));
                }
                Err(error) => looked.sentences.push(error.to_string()),
            }
        }
        None
    }

    pub(super) fn has_card_in_modem(places: Places<'_>, looked: &mut Looked) -> bool {
        find(places, looked).is_some()
    }

    pub(super) fn in_modem(places: Places<'_>, patience: &Patience, looked: &mut Looked) -> Option<Box<dyn Link>> {
        let path = find(places, looked)?;
        match serial::open(&path, &Patience { wait: Duration::ZERO, ..*patience }) {
            Ok(link) => Some(Box::new(link)),
            Err(error) => {
                looked.sentences.push(error.to_string());
                None
            }
        }
    }

    /// What a [`ModemWatch`] sees.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum ModemSeen {
        /// No port answers as a modem does.
        NoModem,
        /// What the modem says.
        Modem(Presence),
    }

    /// Looks for a modem again and again, and asks none that has been found to be none while the ports stay the same.
    #[derive(Debug, Default)]
    pub struct ModemWatch {
        ports: Vec<PathBuf>,
        modem: Option<PathBuf>,
    }

    impl ModemWatch {
        /// Looks; none where nothing clear is told.
        pub fn look(&mut self) -> Option<ModemSeen> {
            self.look_in(Places::of_this_machine())
        }

        pub(super) fn look_in(&mut self, places: Places<'_>) -> Option<ModemSeen> {
            let ports = tried(places);
            if ports != self.ports {
                let mut unclear = false;
                self.modem = None;
                for path in &ports {
                    match presence(path) {
                        Ok(_) => {
                            self.modem = Some(path.clone());
                            break;
                        }
                        Err(LinkError::NoCard(_) | LinkError::Timeout(_)) => {}
                        // Whoever holds the port may be reading the card through it.
                        Err(LinkError::Io(_) | LinkError::Removed(_)) => unclear = true,
                    }
                }
                if self.modem.is_none() && unclear {
                    return None;
                }
                self.ports = ports;
            }
            match &self.modem {
                Some(path) => presence(path).ok().flatten().map(ModemSeen::Modem),
                None => Some(ModemSeen::NoModem),
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "serial")]
mod tests {
    use super::*;
    use crate::VirtualUicc;
    use crate::link::serial::{ServedModem, SharedModem, serve, serve_modem};
    use crate::make::{CardPlan, make};
    use crate::virtual_modem::VirtualModem;
    use std::fs;
    use std::path::PathBuf;

    /// So begins the name of no reader.
    const NO_READER: &str = "no reader of this name";

    /// A machine with ports of its own.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs::create_dir(machine.dev()).unwrap();
            machine
        }

        fn dev(&self) -> PathBuf {
            self.0.path().join("dev")
        }

        fn modem(&self, port: &str, iccid: Option<&str>) -> (SharedModem, ServedModem) {
            let plan = CardPlan::new(iccid.unwrap_or("8901012345678901234").parse().unwrap(), b"[]");
            let mut modem = VirtualModem::new(VirtualUicc::new(&make(&plan).unwrap()), &[]);
            if iccid.is_none() {
                modem.set_card(None);
            }
            let modem = SharedModem::new(modem);
            (modem.clone(), serve_modem(modem, Some(&self.dev().join(port))).unwrap())
        }

        fn open(&self, patience: Patience) -> Result<Box<dyn Link>, LinkError> {
            open_in(Places { dev: &self.dev(), sys: self.0.path() }, NO_READER, &patience)
        }

        fn look(&self, watch: &mut ModemWatch) -> Option<ModemSeen> {
            watch.look_in(Places { dev: &self.dev(), sys: self.0.path() })
        }
    }

    fn patience(wait: Duration) -> Patience {
        Patience { wait, empty: Duration::ZERO, command: Duration::from_secs(10) }
    }

    fn sentence(opened: Result<Box<dyn Link>, LinkError>) -> String {
        match opened.map(|_| ()) {
            Err(LinkError::NoCard(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_there_is_nothing_it_says_what_was_looked_at() {
        let machine = Machine::new();
        let began = Instant::now();
        let said = sentence(machine.open(patience(Duration::ZERO)));
        assert!(said.contains("PC/SC") && said.contains("no port of a modem"), "{said}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_modem_is_taken_and_what_is_none_is_passed_over() {
        let machine = Machine::new();
        // Nobody answers there.
        let _silent = serve(|_| Vec::new(), Some(&machine.dev().join("ttyACM0"))).unwrap();
        let _empty = machine.modem("ttyUSB0", None);
        let _modem = machine.modem("ttyUSB1", Some("8988000000000000016"));
        let mut link = machine.open(patience(Duration::ZERO)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(link.tell_iccid().unwrap().unwrap().as_str(), "8988000000000000016");
        assert!(!link.is_exclusive());
    }

    #[test]
    fn a_modem_without_a_sim_is_believed_to_be_empty() {
        let machine = Machine::new();
        let _modem = machine.modem("ttyUSB0", None);
        let began = Instant::now();
        let said = sentence(machine.open(patience(Duration::from_secs(60))));
        assert!(said.contains("ttyUSB0 has no SIM") && began.elapsed() < Duration::from_secs(30), "{said}");
    }

    #[test]
    fn another_sim_or_modem_is_seen() {
        use crate::link::at::Presence;
        let (machine, mut watch) = (Machine::new(), ModemWatch::default());
        assert_eq!(machine.look(&mut watch), Some(ModemSeen::NoModem));
        let (modem, served) = machine.modem("ttyUSB0", Some("8988000000000000016"));
        let with = |iccid: &str| Some(ModemSeen::Modem(Presence::Card(iccid.parse().unwrap())));
        assert_eq!(machine.look(&mut watch), with("8988000000000000016"));
        modem.lock().set_card(None);
        assert_eq!(machine.look(&mut watch), Some(ModemSeen::Modem(Presence::Empty)));
        drop(served);
        let _ = fs::remove_file(machine.dev().join("ttyUSB0"));
        assert_eq!(machine.look(&mut watch), Some(ModemSeen::NoModem));
    }
}
