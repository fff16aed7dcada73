//! What the tests of real readers do in a process of its own, since the PC/SC library looks at its environment once:
//! `pcsc_scenes SCENE`, where PCSCLITE_CSOCK_NAME names a private pcscd.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use omadm_card::link::pcsc::{PcscLink, Presence, Watch, readers};
use omadm_card::link::vpcd::{PrivatePcscd, SharedCard};
use omadm_card::link::{LinkError, Patience};
use omadm_card::make::{CardPlan, make};
use omadm_card::{Card, CardErrorKind, Channel, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const MESSAGE: &str = include_str!("../../core/tests/samples/bootstrap-message-public.json");

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("read_with_pin") => read_with_pin(),
        Some("read_open") => read_open(),
        Some("no_card") => no_card(),
        Some("hold_service") => hold_service(),
        Some("watch") => watch(),
        Some("hanging_card") => hanging_card(),
        Some("late_channel") => late_channel(),
        other => panic!("no such scene: {other:?}"),
    }
}

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes())
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn read_with_pin() {
    let mut link = PcscLink::open("omadm card", &Patience::default()).unwrap();
    let start = Instant::now();
    let pin = Secret::from("1234");
    let request = ReadRequest { pin: Some(&pin), ..ReadRequest::default() };
    let reading = read(&mut link, &request, &|| start.elapsed());
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert_eq!(reading.sim.mcc.unwrap().as_str(), "001");
    assert!(reading.sim.ready);
    drop(link);
    // The card was reset: the PIN is wanted again.
    let mut link = PcscLink::open("", &Patience::default()).unwrap();
    let reading = read(&mut link, &ReadRequest::default(), &|| start.elapsed());
    assert_eq!(reading.message.unwrap_err().reason().to_string(), "pin-needed");
}

/// The card takes longer to open a channel than is waited for.
fn late_channel() {
    let now = || Duration::ZERO;
    let limit = Duration::from_secs(20);
    let mut link = PcscLink::open("", &Patience { command: Duration::from_secs(1), ..Patience::default() }).unwrap();
    let error = Card::new(&mut link, &now, limit).open_channel().unwrap_err();
    assert_eq!(error.kind, CardErrorKind::Timeout);
    drop(link);
    // The first channel is free again.
    let mut link = PcscLink::open("", &Patience::default()).unwrap();
    assert_eq!(Card::new(&mut link, &now, limit).open_channel(), Ok(Some(Channel::Logical(1))));
}

fn read_open() {
    let mut link = PcscLink::open("", &Patience::default()).unwrap();
    let start = Instant::now();
    let reading = read(&mut link, &ReadRequest::default(), &|| start.elapsed());
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
}

fn no_card() {
    let names: Vec<String> = readers().unwrap().into_iter().map(|reader| reader.name).collect();
    assert!(names.contains(&"omadm card 00 00".to_owned()), "{names:?}");
    let patience = Patience { empty: Duration::from_millis(300), ..Patience::default() };
    let start = Instant::now();
    assert!(matches!(PcscLink::open("", &patience), Err(LinkError::NoCard(_))));
    assert!(start.elapsed() < Duration::from_secs(3));
    let none = Patience { wait: Duration::from_millis(300), ..patience };
    assert!(matches!(PcscLink::open("no such reader", &none), Err(LinkError::NoCard(_))));
}

fn hold_service() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let service = PrivatePcscd::start(&folder.join("pcscd")).unwrap();
    let _card = service.insert(SharedCard::new(VirtualUicc::new(&make(&plan()).unwrap()))).unwrap();
    fs::write(folder.join("ready.new"), service.environment().1.to_str().unwrap()).unwrap();
    fs::rename(folder.join("ready.new"), folder.join("ready")).unwrap();
    std::thread::sleep(Duration::from_secs(30));
}

fn watch() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let mut watch = Watch::new("omadm card");
    let mut next = |file: &str| {
        let presence = watch.changed(Duration::from_secs(10)).unwrap();
        fs::write(folder.join(file), "").unwrap();
        presence
    };
    assert_eq!(next("empty"), Presence::Empty);
    assert!(matches!(next("card"), Presence::Card(_)));
    assert_eq!(next("empty-again"), Presence::Empty);
}

fn hanging_card() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let patience = Patience { command: Duration::from_millis(300), ..Patience::default() };
    let mut link = PcscLink::open("", &patience).unwrap();
    fs::write(folder.join("open"), "").unwrap();
    wait_until(|| folder.join("hanging").exists());
    let start = Instant::now();
    let reading = read(&mut link, &ReadRequest::default(), &|| start.elapsed());
    assert_eq!(reading.message.unwrap_err().reason().to_string(), "timeout");
    drop(link);
    assert!(start.elapsed() < Duration::from_secs(2));
}
