//! Devices and people read cards behind executables: the one of this project for QMI and MBIM, with stand-ins for the tools
//! that it uses, and a virtual card on standard input and output.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use omadm_card::make::{CardPlan, make};
use omadm_card::{CardImage, VirtualUicc};
use omadm_tests::{Device, Fleet, Folder, ModemTools, Process, Signal, in_parallel, omadm, private_file, until};
use serde_json::Value;

const ICCID: &str = "8988000000000000016";
const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

/// The executable of this project.
fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/card-links/omadm-card-modem")
}

fn plan() -> CardPlan {
    CardPlan {
        imsi: Some("001010123456789".to_owned()),
        mnc_length: 2,
        ..CardPlan::new(ICCID.parse().expect("an ICCID"), MESSAGE.as_bytes())
    }
}

fn image(plan: &CardPlan) -> CardImage {
    make(plan).expect("a card")
}

/// A card with a message of the fleet's profile, and how it is made.
fn card_of(fleet: &Fleet, more: &[&str]) -> PathBuf {
    fleet.add_default_profile();
    let file = fleet.join("card.json");
    let path = file.to_str().expect("UTF-8");
    let (code, text) = fleet.omadm(&[&["card", "create", "--profile", "meters", "-o", path], more].concat());
    assert_eq!(code, 0, "{text}");
    file
}

/// The same card, with a PIN of the PKCS#15 application in place of the SIM's, which is the modem's alone.
fn with_a_pin_of_its_own(image: &CardImage) -> CardImage {
    let text = image.to_json().replace("\"pin\": \"01\"", "\"pin\": \"81\"");
    let text = text.replace("\"reference\": \"01\"", "\"reference\": \"81\"");
    CardImage::from_json(text.as_bytes()).expect("a card")
}

fn read_image(file: &Path) -> CardImage {
    CardImage::from_json(&std::fs::read(file).expect("a card file")).expect("a card")
}

/// `omadm card ...` with the tools on its PATH.
fn omadm_card(tools: &ModemTools, arguments: &[&str]) -> Output {
    omadm().arg("card").args(arguments).env("PATH", tools.path()).output().expect("omadm runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn link(kind: &str) -> String {
    format!("exec:'{}' {kind}", script().display())
}

#[test]
fn a_device_with_a_qmi_modem_is_managed_by_the_message_on_its_card() {
    let fleet = Fleet::start();
    let pin = fleet.join("pin");
    private_file(&pin, b"4711");
    let file = card_of(&fleet, &["--pin", pin.to_str().expect("UTF-8")]);
    let folder = Folder::new();
    let image = with_a_pin_of_its_own(&read_image(&file));
    let tools = ModemTools::new(&folder.join("tools"), Some(&image));
    let link = link("qmi --allow-pin");
    let mut device =
        Device::new("IMEI:490154203237518", &format!("[card]\nlink = \"{link}\"\npin_file = \"$HOME/pin\"\n"));
    private_file(&device.join("pin"), b"4711");
    device.set_environment("PATH", tools.path());
    let status = device.run_until_idle(60);
    assert_eq!(status["accounts"][0]["source"], "smartcard");
    assert_eq!(
        (&status["sim"]["iccid"], &status["sim"]["mcc"], &status["sim"]["mnc"]),
        (&ICCID.into(), &"001".into(), &"01".into())
    );
    assert_eq!(status["sim"]["ready"], true);
    let modem = tools.modem();
    assert!(modem.clients.is_empty() && modem.channels.is_empty(), "{:?} {:?}", modem.clients, modem.channels);
    assert_eq!(modem.strayed, 0, "nothing but MANAGE CHANNEL goes to channel 0");
}

#[test]
fn a_device_with_an_mbim_modem_is_managed_by_the_message_on_its_card() {
    let fleet = Fleet::start();
    let file = card_of(&fleet, &["--allow-public-secret"]);
    let folder = Folder::new();
    let tools = ModemTools::new(&folder.join("tools"), Some(&read_image(&file)));
    tools.modem().registration = "home";
    let mut device = Device::new("IMEI:490154203237518", &format!("[card]\nlink = \"{}\"\n", link("mbim")));
    device.set_environment("PATH", tools.path());
    let status = device.run_until_idle(60);
    assert_eq!(status["accounts"][0]["source"], "smartcard");
    assert_eq!((&status["sim"]["iccid"], &status["sim"]["mnc"]), (&ICCID.into(), &"01".into()));
    let modem = tools.modem();
    assert_eq!((modem.channels.len(), modem.strayed), (0, 0));
}

#[test]
fn a_device_reads_the_virtual_card_on_standard_input_and_output() {
    let fleet = Fleet::start();
    let file = card_of(&fleet, &["--allow-public-secret"]);
    let program = omadm();
    let program = program.get_program().to_str().expect("UTF-8");
    let link = format!("exec:'{program}' card run '{}' --stdio", file.display());
    let mut device = Device::new("IMEI:490154203237518", &format!("[card]\nlink = \"{link}\"\n"));
    let status = device.run_until_idle(60);
    assert_eq!(status["accounts"][0]["source"], "smartcard");
    assert_eq!(status["sim"]["mcc"], "001", "the card itself is asked for its network");
}

/// Bootstraps a device whose executable has this card, with this fault: how the attempt to read it went, and the accounts
/// afterwards.
fn with_a_fault(device: &mut Device, file: &Path, fault: Option<&str>) -> (Value, Value) {
    let program = omadm();
    let program = program.get_program().to_str().expect("UTF-8");
    let fault = fault.map_or(String::new(), |fault| format!(" --fault {fault}"));
    let link = format!("exec:'{program}' card run '{}' --stdio{fault}", file.display());
    let more = "[factory]\nfile = \"$HOME/factory.json\"\n[sim]\nwait = \"0s\"\n";
    device.configure(
        "IMEI:490154203237518",
        &format!("[card]\nlink = \"{link}\"\ntimeout = \"3s\"\nwait = \"100ms\"\n{more}"),
    );
    let (_, told) = device.json(&["bootstrap"]);
    let attempts = told["attempts"].as_array().unwrap_or_else(|| panic!("{told}"));
    let attempt = attempts.iter().find(|one| one["method"] == "smartcard").expect("the card was tried").clone();
    (attempt, device.status().expect("a status")["accounts"].clone())
}

#[test]
fn a_card_that_fails_at_any_command_is_one_failed_attempt() {
    let folder = Folder::new();
    let file = folder.join("card.json");
    std::fs::write(&file, image(&plan()).to_json()).expect("a card file");
    let factory = MESSAGE.replace("acme", "factory");
    let device = || {
        let device = Device::new("IMEI:490154203237518", "");
        private_file(&device.join("factory.json"), factory.as_bytes());
        device
    };
    let bootstrapped = || {
        let mut known = device();
        let (good, accounts) = with_a_fault(&mut known, &file, None);
        assert_eq!((&good["outcome"], &accounts[0]["source"]), (&"installed".into(), &"smartcard".into()));
        (known, accounts)
    };
    let status = bootstrapped().0.status().expect("a status");
    let commands = status["last_run"]["apdus"].as_u64().expect("a number");
    let faults: Vec<_> = [("removal", ""), ("status", ":6F00"), ("mute", "")]
        .iter()
        .flat_map(|(fault, more)| (1..=commands).map(move |at| format!("{fault}@{at}{more}")))
        .collect();
    let failures = AtomicUsize::new(0);
    in_parallel(&faults, 8, |fault| {
        let (attempt, of_new) = with_a_fault(&mut device(), &file, Some(fault));
        if attempt["outcome"] == "installed" {
            // What the client asks for after the message.
            assert_eq!(of_new[0]["source"], "smartcard", "{fault}: {attempt}");
            return;
        }
        failures.fetch_add(1, Ordering::Relaxed);
        let reason = attempt["reason"].as_str().unwrap_or_else(|| panic!("{fault}: {attempt}"));
        assert!(["card-io", "card-removed", "no-card", "timeout"].contains(&reason), "{fault}: {attempt}");
        assert_eq!((of_new.as_array().map(Vec::len), &of_new[0]["source"]), (Some(1), &"factory".into()), "{fault}");
        // A device that has its account from the card keeps it: a card that fails is not proven gone.
        let (mut known, accounts) = bootstrapped();
        let (attempt, of_known) = with_a_fault(&mut known, &file, Some(fault));
        assert_ne!(attempt["outcome"], "installed", "{fault}: {attempt}");
        assert_eq!(of_known, accounts, "{fault}: {attempt}");
    });
    let failures = failures.into_inner();
    assert!(failures > 12, "{failures} of {commands} commands three times");
}

#[test]
fn reading_takes_five_commands_and_one_for_each_255_bytes() {
    let folder = Folder::new();
    let tools = ModemTools::new(&folder.join("tools"), Some(&image(&plan())));
    for (kind, registration) in [("qmi", "registered"), ("mbim", "home")] {
        tools.modem().registration = registration;
        let read = json(&omadm_card(&tools, &["read", "--json", "--link", &link(kind)]));
        assert_eq!(read["message"], serde_json::from_str::<Value>(MESSAGE).expect("JSON"));
        assert_eq!(
            (&read["iccid"], &read["apdus"]),
            (&ICCID.into(), &8.into()),
            "{kind}: open, 3 SELECT, 3 READ, close"
        );
        let modem = tools.modem();
        assert!(modem.clients.is_empty() && modem.channels.is_empty() && modem.strayed == 0);
    }
    let report = omadm_card(&tools, &["inspect", "--link", &link("qmi")]);
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(text.contains("EF(DM_Bootstrap)") && text.contains("A DM Client installs"), "{report:?}");
}

#[test]
fn what_a_modem_lacks_is_said() {
    let folder = Folder::new();
    let tools = ModemTools::new(&folder.join("tools"), Some(&image(&plan())));
    let failure = |kind: &str| {
        let output = omadm_card(&tools, &["read", "--link", &link(kind)]);
        (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let says = |kind: &str, code: i32, words: &[&str]| {
        let (exit, text) = failure(kind);
        assert!(exit == code && words.iter().all(|word| text.contains(word)), "{kind}: {exit}: {text}");
    };
    tools.modem().is_full = true;
    says("qmi", 1, &["no-logical-channel"]);
    says("mbim", 1, &["no-logical-channel"]);
    tools.modem().is_full = false;

    // A SIM as operators sell it has applications, but not this one.
    let text = image(&plan()).to_json().replace("A000000063504B43532D3135", "A000000063504B43532D3136");
    let other = CardImage::from_json(text.as_bytes()).expect("a card");
    tools.modem().card = Some(VirtualUicc::new(&other));
    says("qmi", 3, &["no-pkcs15"]);
    says("mbim", 3, &["no-pkcs15"]);

    tools.modem().card = None;
    says("qmi", 3, &["slot 1 of the modem is empty"]);
    says("mbim", 3, &["the slot of the modem is empty"]);
    says("qmi --slot 2", 3, &["the modem has no slot 2"]);
    assert!(tools.modem().clients.is_empty());

    let nothing =
        omadm().args(["card", "read", "--link", &link("qmi")]).env("PATH", "/nowhere").output().expect("omadm runs");
    let text = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(nothing.status.code() == Some(1) && text.contains("qmicli is not installed"), "{text}");
}

#[test]
fn a_pin_is_not_put_into_arguments_unless_that_is_allowed() {
    let folder = Folder::new();
    let private = with_a_pin_of_its_own(&image(&CardPlan { pin: Some("4711".into()), ..plan() }));
    let tools = ModemTools::new(&folder.join("tools"), None);
    let pin = folder.join("pin");
    private_file(&pin, b"4711");
    let pin = pin.to_str().expect("UTF-8");
    for kind in ["qmi", "mbim"] {
        tools.modem().registration = if kind == "qmi" { "registered" } else { "home" };
        tools.modem().card = Some(VirtualUicc::new(&private));
        tools.modem().asked.clear();
        let refused = omadm_card(&tools, &["read", "--pin-file", pin, "--link", &link(kind)]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--allow-pin"), "{refused:?}");
        assert!(!tools.modem().asked.iter().any(|line| line.contains("34373131")), "the PIN was in an argument");
        let read =
            omadm_card(&tools, &["read", "--json", "--pin-file", pin, "--link", &link(&format!("{kind} --allow-pin"))]);
        assert_eq!(json(&read)["iccid"], ICCID);
    }
}

#[test]
fn a_sim_that_is_not_registered_is_not_ready() {
    let folder = Folder::new();
    let tools = ModemTools::new(&folder.join("tools"), Some(&image(&plan())));
    tools.modem().registration = "not-registered-searching";
    let mut device =
        Device::new("IMEI:490154203237518", &format!("[card]\nlink = \"{}\"\n[sim]\nwait = \"0s\"\n", link("qmi")));
    device.set_environment("PATH", tools.path());
    let client = device.run();
    until("the client waits", 60, || client.log().contains("next, at").then_some(()));
    let status = device.status().expect("a status");
    assert_eq!((&status["sim"]["ready"], &status["sim"]["reason"]), (&false.into(), &"sim-not-ready".into()));
    drop(client);
}

/// A device with an executable that says hello and then goes on like this, and its process once it runs.
fn with_an_executable(folder: &Folder, then: &str) -> (Device, Process, PathBuf) {
    let file = folder.join("id");
    let script = format!("echo $$ >{}; read -r hello; echo '{{\\\"hello\\\":1}}'; {then}", file.display());
    let mut device = Device::new("IMEI:490154203237518", &format!("[card]\nlink = '''exec:sh -c \"{script}\"'''\n"));
    let client = device.run();
    let id = until("the executable runs", 30, || std::fs::read_to_string(&file).ok().filter(|id| id.ends_with('\n')));
    let place = Path::new("/proc").join(id.trim());
    assert!(place.exists());
    (device, client, place)
}

fn ends(place: &Path) {
    until("the executable has ended", 10, || {
        let stat = std::fs::read_to_string(place.join("stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn nothing_is_left_of_an_executable_when_the_client_is_killed() {
    let folder = Folder::new();
    // It tells of no card for as long as somebody listens.
    let (_device, mut client, place) = with_an_executable(
        &folder,
        "while read -r line; do echo '{\\\"error\\\":\\\"starting\\\",\\\"code\\\":\\\"no-link\\\"}'; done",
    );
    client.signal(Signal::KILL);
    client.wait(10);
    ends(&place);
}

#[test]
fn an_executable_that_hangs_does_not_outlive_the_client() {
    let folder = Folder::new();
    let (_device, mut client, place) = with_an_executable(&folder, "trap : TERM; while :; do sleep 1; done");
    client.signal(Signal::TERM);
    assert_eq!(client.wait(20).code(), Some(0));
    ends(&place);
}

#[test]
fn an_executable_in_the_middle_of_something_may_clean_up_before_the_client_ends() {
    let folder = Folder::new();
    let clean = folder.join("clean");
    let script = format!("trap 'echo >{}; exit' TERM; while :; do sleep 0.1; done", clean.display());
    let (_device, mut client, place) = with_an_executable(&folder, &script);
    client.signal(Signal::TERM);
    assert_eq!(client.wait(20).code(), Some(0));
    assert!(clean.exists(), "it was not killed at once");
    ends(&place);
}

#[test]
fn every_way_to_a_card_is_listed_with_what_was_found() {
    let folder = Folder::new();
    let tools = ModemTools::new(&folder.join("tools"), Some(&image(&plan())));
    let list = |tools: &ModemTools| {
        let output = omadm()
            .args(["card", "readers", "--json", "--link", &link("qmi"), "--link", "socket:/no/such/card.sock"])
            .env("PATH", tools.path())
            .env("PCSCLITE_CSOCK_NAME", "/no/such/pcscd")
            .output()
            .expect("omadm runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        json(&output).as_array().expect("a list").clone()
    };
    let of = |list: &[Value], link: &str| list.iter().find(|way| way["link"] == link).cloned().unwrap_or_default();
    let found = list(&tools);
    assert!(found.iter().all(|way| way["name"].is_string() && way["card"].is_boolean()), "{found:?}");
    let modem = of(&found, "exec");
    assert_eq!((&modem["card"], &modem["iccid"], &modem["why"]), (&true.into(), &ICCID.into(), &Value::Null));
    assert!(of(&found, "pcsc")["why"].as_str().is_some_and(|why| why.contains("PC/SC")), "{found:?}");
    assert!(of(&found, "socket")["why"].as_str().is_some_and(|why| why.contains("/no/such/card.sock")), "{found:?}");
    tools.modem().card = None;
    let modem = of(&list(&tools), "exec");
    assert_eq!((&modem["card"], &modem["why"]), (&false.into(), &"slot 1 of the modem is empty".into()));
}
