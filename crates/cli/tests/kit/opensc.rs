//! OpenSC and a card in a reader that exists for one test only.

use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard};
use omadm_card::{CardImage, VirtualUicc};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Makes OpenSC try cards that it does not know, and keep nothing.
const CONFIGURATION: &str = "app default { enable_default_driver = true; card_drivers = default; \
     framework pkcs15 { use_file_caching = no; } }";

/// A program that finds the reader behind `socket`, in `folder`. Nobody is there to answer what it asks.
pub(crate) fn program(name: &str, folder: &Path, socket: &Path) -> Command {
    let configuration = folder.join("opensc.conf");
    if !configuration.exists() {
        fs::write(&configuration, CONFIGURATION).unwrap();
    }
    let mut command = Command::new(name);
    command.current_dir(folder).stdin(Stdio::null());
    command.env("PCSCLITE_CSOCK_NAME", socket).env("OPENSC_CONF", configuration);
    command
}

/// Waits until the service has noticed the card.
pub(crate) fn wait_for_card(folder: &Path, socket: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let sees = || program("opensc-tool", folder, socket).arg("--list-readers").output().unwrap().stdout;
    while !String::from_utf8_lossy(&sees()).contains(" Yes ") {
        assert!(Instant::now() < deadline, "the card is not seen within 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A card in a reader, and a folder for files.
pub(crate) struct Bench {
    _served: ServedCard,
    pub(crate) card: SharedCard,
    pub(crate) service: PrivatePcscd,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(image: &CardImage) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
        let card = SharedCard::new(VirtualUicc::new(image));
        let served = service.insert(card.clone()).unwrap();
        let bench = Self { _served: served, card, service, folder };
        wait_for_card(bench.folder.path(), bench.service.environment().1);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Output {
        program(name, self.folder.path(), self.service.environment().1).args(arguments).output().unwrap()
    }
}
