//! The virtual UICC in a real PC/SC service, read by OpenSC and by our own reader.
#![cfg(all(feature = "pcsc", feature = "vpcd"))]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use omadm_card::apdu::Protocol;
use omadm_card::link::pcsc::{PcscLink, Presence, Watch, readers};
use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard};
use omadm_card::link::{LinkError, Patience};
use omadm_card::make::{CardPlan, Listing, make};
use omadm_card::{ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes())
}

struct Bench {
    _card: ServedCard,
    card: SharedCard,
    service: PrivatePcscd,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(plan: &CardPlan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = PrivatePcscd::start(&folder.path().join("pcscd"), 1).unwrap();
        let card = SharedCard::new(VirtualUicc::new(&make(plan).unwrap()));
        let served = service.insert(0, card.clone()).unwrap();
        fs::write(
            folder.path().join("opensc.conf"),
            "app default { enable_default_driver = true; card_drivers = default; framework pkcs15 { use_file_caching = no; } }",
        )
        .unwrap();
        Self { _card: served, card, service, folder }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let (name, socket) = self.service.environment();
        Command::new(program)
            .args(arguments)
            .env(name, socket)
            .env("OPENSC_CONF", self.folder.path().join("opensc.conf"))
            .output()
            .unwrap()
    }

    /// Runs an ignored test of this file in a process that uses the private service: the PC/SC library looks at its
    /// environment once.
    fn run_test(&self, name: &str) {
        let program = std::env::current_exe().unwrap();
        let output = self.run(program.to_str().unwrap(), &["--exact", name, "--ignored", "--nocapture"]);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What OpenSC reads of the bootstrap object; the card is noticed after a moment.
fn opensc_reads(bench: &Bench, more: &[&str]) -> Vec<u8> {
    wait_until(|| String::from_utf8_lossy(&bench.run("opensc-tool", &["--list-readers"]).stdout).contains(" Yes "));
    let arguments = [&["--read-data-object", "2.23.43.7.1", "--raw"], more].concat();
    let output = bench.run("pkcs15-tool", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn opensc_reads_an_open_object_byte_for_byte() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let bench = Bench::new(&CardPlan { protocol, ..plan() });
        assert_eq!(String::from_utf8_lossy(&opensc_reads(&bench, &[])), MESSAGE, "{protocol}");
    }
}

#[test]
fn opensc_reads_a_private_object_with_its_pin() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let pin = Some(Secret::from("1234"));
        let bench = Bench::new(&CardPlan { protocol, pin, listing: Listing::Both, file_size: Some(300), ..plan() });
        let content = opensc_reads(&bench, &["--verify-pin", "--pin", "1234"]);
        let (message, padding) = content.split_at(MESSAGE.len());
        assert_eq!(String::from_utf8_lossy(message), MESSAGE, "{protocol}");
        assert!(padding.len() == 300 - MESSAGE.len() && padding.iter().all(|byte| *byte == 0xFF));
        assert_eq!(bench.card.lock().tries_left(1), Some(3));
    }
}

#[test]
fn opensc_lists_dumps_and_explores_the_card() {
    let bench = Bench::new(&CardPlan { pin: Some(Secret::from("1234")), ..plan() });
    opensc_reads(&bench, &["--verify-pin", "--pin", "1234"]);
    let text = |program, arguments: &[&str]| {
        let output = bench.run(program, arguments);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let list = text("pkcs15-tool", &["--list-data-objects"]);
    assert!(list.contains("DM Bootstrap") && list.contains("2.23.43.7.1"), "{list}");
    let dump = text("pkcs15-tool", &["--dump"]);
    assert!(["DM UICC", "needs-padding", "981010325476981032f4"].iter().all(|part| dump.contains(part)), "{dump}");

    let script = bench.folder.path().join("script");
    fs::write(&script, "cd 7F50\ncat 5031\ncat 5032\ncd ..\ninfo 2FE2\n").unwrap();
    let explored = text("opensc-explorer", &[script.to_str().unwrap()]);
    for part in ["A7 06 30 04 04 02 64 30", "55 49 43 43", "3F00/2FE2", "10 bytes"] {
        assert!(explored.contains(part), "{part} in {explored}");
    }
}

#[test]
fn our_reader_reads_through_pcsc() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let bench = Bench::new(&CardPlan { protocol, pin: Some(Secret::from("1234")), ..plan() });
        assert_eq!(bench.service.reader(0), Some("omadm card 0 00 00"));
        bench.run_test("inner_read_with_pin");
    }
}

#[test]
#[ignore = "run by our_reader_reads_through_pcsc with a private service"]
fn inner_read_with_pin() {
    let mut link = PcscLink::open("omadm card 0", &Patience::default()).unwrap();
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

#[test]
fn an_empty_reader_is_no_card_after_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd"), 2).unwrap();
    let (name, socket) = service.environment();
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "inner_no_card", "--ignored", "--nocapture"];
    let output = Command::new(program).args(arguments).env(name, socket).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by an_empty_reader_is_no_card_after_a_moment with a private service"]
fn inner_no_card() {
    let names: Vec<String> = readers().unwrap().into_iter().map(|reader| reader.name).collect();
    assert!(["omadm card 0 00 00", "omadm card 1 00 00"].iter().all(|name| names.contains(&(*name).to_owned())));
    let patience = Patience { empty: Duration::from_millis(300), ..Patience::default() };
    let start = Instant::now();
    assert!(matches!(PcscLink::open("", &patience), Err(LinkError::NoCard(_))));
    assert!(start.elapsed() < Duration::from_secs(3));
    let none = Patience { wait: Duration::from_millis(300), ..patience };
    assert!(matches!(PcscLink::open("no such reader", &none), Err(LinkError::NoCard(_))));
}

#[test]
fn the_service_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd"), 1).unwrap();
    assert!(service.environment().1.exists());
    drop(service);
    assert!(nothing_left(folder.path()));
}

#[test]
fn the_service_leaves_nothing_behind_if_its_program_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inner_hold_service", "--ignored", "--nocapture"])
        .env("FOLDER", folder.path())
        .spawn()
        .unwrap();
    wait_until(|| folder.path().join("ready").exists());
    fs::remove_file(folder.path().join("ready")).unwrap();
    assert!(processes_with(folder.path()));
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until(|| nothing_left(folder.path()));
}

#[test]
#[ignore = "run and killed by the_service_leaves_nothing_behind_if_its_program_is_killed"]
fn inner_hold_service() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let service = PrivatePcscd::start(&folder.join("pcscd"), 1).unwrap();
    let _card = service.insert(0, SharedCard::new(VirtualUicc::new(&make(&plan()).unwrap()))).unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(30));
}

#[test]
fn a_card_that_comes_and_goes_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd"), 1).unwrap();
    let (name, socket) = service.environment();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inner_watch", "--ignored", "--nocapture"])
        .env(name, socket)
        .env("FOLDER", folder.path())
        .spawn()
        .unwrap();
    let seen = |what: &str| wait_until(|| folder.path().join(what).exists());
    seen("empty");
    let card = service.insert(0, SharedCard::new(VirtualUicc::new(&make(&plan()).unwrap()))).unwrap();
    seen("card");
    drop(card);
    seen("empty-again");
    assert!(program.wait().unwrap().success());
}

#[test]
#[ignore = "run by a_card_that_comes_and_goes_is_seen with a private service"]
fn inner_watch() {
    let folder = std::path::PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let mut watch = Watch::new("omadm card 0");
    let mut next = |file: &str| {
        let presence = watch.changed(Duration::from_secs(10)).unwrap();
        fs::write(folder.join(file), "").unwrap();
        presence
    };
    assert_eq!(next("empty"), Presence::Empty);
    assert!(matches!(next("card"), Presence::Card(_)));
    assert_eq!(next("empty-again"), Presence::Empty);
}

fn nothing_left(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().count() == 0 && !processes_with(folder)
}

fn processes_with(folder: &Path) -> bool {
    let wanted = folder.to_str().unwrap().as_bytes().to_vec();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        entry.file_name() != *std::process::id().to_string() && line.windows(wanted.len()).any(|part| part == wanted)
    })
}
