//! What pySim-shell needs of a card for `select`, `read_binary` and `read_record`, through a real PC/SC service. Its
//! commands are in `examples/pysim_reader.rs`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use omadm_card::VirtualUicc;
use omadm_card::apdu::Protocol;
use omadm_card::link::vpcd::{PrivatePcscd, SharedCard};
use omadm_card::make::{CardPlan, make};
use omadm_card::virtual_uicc::Preset;
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"A name that makes this message longer than one block of a card, which has 255 bytes","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

/// The commands of pySim-shell to cards that talk in this way, all in one reader: the next one is in it before anybody
/// powers it.
fn asks(protocol: Protocol, ways: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let plan = CardPlan { protocol, ..CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes()) };
    let open = make(&plan).unwrap();
    let private = make(&CardPlan { pin: Some(Secret::from("4711")), ..plan }).unwrap();
    let telecom = Preset::ALL.iter().find(|preset| preset.name == "t0-telecom").unwrap();
    let mut cards = vec![open.clone(), private];
    if protocol == Protocol::T0 {
        cards.push(telecom.apply(open.clone()).unwrap());
    }
    let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
    let card = SharedCard::new(VirtualUicc::new(&open));
    let _served = service.insert(card.clone()).unwrap();
    let (name, socket) = service.environment();
    let deadline = Instant::now() + Duration::from_secs(10);
    let readers = || Command::new("opensc-tool").arg("--list-readers").env(name, socket).output().unwrap().stdout;
    while !String::from_utf8_lossy(&readers()).contains(" Yes ") {
        assert!(Instant::now() < deadline, "the card is not seen within 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    for image in cards {
        fs::write(folder.path().join("card.json"), image.to_json()).unwrap();
        for way in ways {
            *card.lock() = VirtualUicc::new(&image);
            let me = std::env::current_exe().unwrap();
            let program = me.parent().and_then(Path::parent).unwrap().join("examples/pysim_reader");
            let protocol = if protocol == Protocol::T0 { "t0" } else { "t1" };
            let mut command = Command::new(program);
            command.arg(folder.path().join("card.json")).args([protocol, way]).env(name, socket);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{protocol} {way}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_card_on_t0_has_what_pysim_shell_asks_for() {
    asks(Protocol::T0, &["none", "le"]);
}

#[test]
fn a_card_on_t1_has_what_pysim_shell_asks_for() {
    asks(Protocol::T1, &["le"]);
}
