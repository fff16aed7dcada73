//! The virtual UICC in a real PC/SC service, read by OpenSC and by our own reader.
#![cfg(all(feature = "pcsc", feature = "vpcd"))]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use omadm_card::VirtualUicc;
use omadm_card::apdu::Protocol;
use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard};
use omadm_card::make::{CardPlan, Listing, make};
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
        let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
        let card = SharedCard::new(VirtualUicc::new(&make(plan).unwrap()));
        let served = service.insert(card.clone()).unwrap();
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

    /// Plays a scene in a process that uses the private service.
    fn play(&self, scene: &str) {
        let output = self.run(scenes().to_str().unwrap(), &[scene]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The program `examples/pcsc_scenes.rs`, built beside this one.
fn scenes() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.parent().and_then(Path::parent).unwrap().join("examples/pcsc_scenes")
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
fn a_channel_that_was_opened_too_late_is_closed_by_a_reset() {
    let bench = Bench::new(&plan());
    bench.card.lock().plan_faults(["slow@1:2500".parse().unwrap()]);
    bench.play("late_channel");
}

#[test]
fn our_reader_reads_through_pcsc() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let bench = Bench::new(&CardPlan { protocol, pin: Some(Secret::from("1234")), ..plan() });
        assert_eq!(bench.service.reader(), "omadm card 00 00");
        bench.play("read_with_pin");
    }
}

#[test]
fn an_empty_reader_is_no_card_after_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
    let (name, socket) = service.environment();
    let output = Command::new(scenes()).arg("no_card").env(name, socket).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_services_socket_may_be_named_relative_to_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(scenes())
        .arg("hold_service")
        .env("FOLDER", ".")
        .current_dir(folder.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| folder.path().join("ready").exists());
    let socket = fs::read_to_string(folder.path().join("ready")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut reading = Command::new(scenes());
    reading.arg("read_open").env("PCSCLITE_CSOCK_NAME", &socket).current_dir(elsewhere.path());
    assert!(reading.status().unwrap().success());
    fs::remove_file(folder.path().join("ready")).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until(|| nothing_left(folder.path()));
}

#[test]
fn the_service_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
    assert!(service.environment().1.exists());
    drop(service);
    assert!(nothing_left(folder.path()));
}

#[test]
fn the_service_leaves_nothing_behind_if_its_program_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(scenes()).arg("hold_service").env("FOLDER", folder.path()).spawn().unwrap();
    wait_until(|| folder.path().join("ready").exists());
    fs::remove_file(folder.path().join("ready")).unwrap();
    assert!(processes_with(folder.path()));
    program.kill().unwrap();
    program.wait().unwrap();
    wait_until(|| nothing_left(folder.path()));
}

#[test]
fn a_card_that_comes_and_goes_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
    let (name, socket) = service.environment();
    let mut program =
        Command::new(scenes()).arg("watch").env(name, socket).env("FOLDER", folder.path()).spawn().unwrap();
    let seen = |what: &str| wait_until(|| folder.path().join(what).exists());
    seen("empty");
    let card = service.insert(SharedCard::new(VirtualUicc::new(&make(&plan()).unwrap()))).unwrap();
    seen("card");
    drop(card);
    seen("empty-again");
    assert!(program.wait().unwrap().success());
}

#[test]
fn a_reader_that_hangs_costs_the_time_of_one_command() {
    let bench = Bench::new(&plan());
    let (name, socket) = bench.service.environment();
    let mut program = Command::new(scenes())
        .arg("hanging_card")
        .env(name, socket)
        .env("FOLDER", bench.folder.path())
        .spawn()
        .unwrap();
    wait_until(|| bench.folder.path().join("open").exists());
    let hanging = bench.card.lock();
    fs::write(bench.folder.path().join("hanging"), "").unwrap();
    assert!(program.wait().unwrap().success());
    drop(hanging);
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
