//! Cards written, scripted and made in batches by the program.

#![allow(clippy::unwrap_used)]

use omadm_card::image::CardImage;
use omadm_card::{ReadRequest, VirtualUicc};
use omadm_core::secret::Secret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const OPEN: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const NAMED: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Meter {name}","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const SECRET: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"Auth":{"Trsp":{"Data":"YmFzaWM6YWNtZQ==","Secret":"aHVzaGh1c2g="}}}}}]"#;
const KEY: &str = "3132333435363738";

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir_in("/tmp").unwrap());
        for (name, content) in [("open.json", OPEN), ("named.json", NAMED), ("secret.json", SECRET)] {
            fs::write(desk.path(name), content).unwrap();
        }
        fs::write(desk.path("lwm2m.bin"), [0xC8; 300]).unwrap();
        desk.private("pin", "4711\n");
        desk.private("adm", KEY);
        desk.private("wrong", "99999999");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn private(&self, name: &str, content: &str) {
        use std::io::Write;
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.path(name)).unwrap().write_all(content.as_bytes()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omadm"));
        command.current_dir(self.0.path()).arg("card").args(arguments);
        command
    }

    fn omadm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Exit code and standard error.
    fn outcome(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.omadm(arguments);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.omadm(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {error}"))
    }

    fn read(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.omadm(&[&["read"], arguments].concat()).stdout).unwrap().trim_end().to_owned()
    }

    /// The lines of a batch's manifest, without its head.
    fn manifest(&self, folder: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(folder).join("manifest.jsonl")).unwrap_or_default();
        text.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn rejects(&self, folder: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(folder).join("rejects.csv")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_card_is_written_with_the_key_of_its_administrator() {
    let desk = Desk::new();
    assert_eq!(desk.outcome(&["create", "--empty", "--adm-file", "adm", "-o", "card.json"]).0, 0);
    let write = ["write", "card.json", "--message", "open.json", "--lwm2m", "lwm2m.bin", "--adm-file", "adm"];
    let before = fs::read(desk.path("card.json")).unwrap();
    let dry = desk.json(&[&write[..], &["--dry-run", "--json"]].concat());
    let steps = dry["steps"].as_array().unwrap();
    assert_eq!(steps[0]["apdu"], "00A4040C0CA000000063504B43532D3135");
    assert_eq!(steps[1]["apdu"], "0020000A08****************", "the key is hidden");
    assert!(steps.iter().all(|step| !step["about"].as_str().unwrap().is_empty()));
    assert_eq!(fs::read(desk.path("card.json")).unwrap(), before, "a dry run writes nothing");

    let report = desk.json(&[&write[..], &["--json"]].concat());
    assert_eq!((&report["written"], &report["unchecked"]), (&Value::Bool(true), &Value::Array(vec![])));
    assert!(report["apdus"].as_u64() > report["writing"].as_u64(), "looking counts too: {report}");
    assert_eq!(desk.read(&["card.json"]), OPEN);
    let mode = fs::metadata(desk.path("card.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let report = desk.json(&[&write[..], &["--json"]].concat());
    assert_eq!(report["written"], Value::Bool(false), "it is there already");
    let steps = desk.json(&[&write[..], &["--dry-run", "--json"]].concat())["steps"].clone();
    assert_eq!(steps, Value::Array(vec![]));
}

#[test]
fn a_wrong_key_costs_one_try_and_is_said_clearly() {
    let desk = Desk::new();
    desk.outcome(&["create", "--empty", "--adm-file", "adm", "-o", "card.json"]);
    let (code, error) = desk.outcome(&["write", "card.json", "--message", "open.json", "--adm-file", "wrong"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("ADM key 0A") && error.contains("remembered nowhere") && !error.contains("9999"), "{error}");
    let card = CardImage::from_json(&fs::read(desk.path("card.json")).unwrap()).unwrap();
    assert_eq!(card.parts().adm.as_ref().unwrap().tries_left, 9, "the card in the file remembers");
    let (code, error) = desk.outcome(&["write", "card.json", "--message", "open.json"]);
    assert_eq!((code, error.contains("--adm-file")), (2, true), "{error}");
    fs::set_permissions(desk.path("adm"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, error) = desk.outcome(&["write", "card.json", "--message", "open.json", "--adm-file", "adm"]);
    assert_eq!((code, error.contains("chmod 600")), (2, true), "{error}");
}

#[test]
fn where_no_access_rule_fits_it_says_whose_key_would_do() {
    let desk = Desk::new();
    desk.outcome(&["create", "--empty", "--adm-file", "adm", "-o", "card.json"]);
    let write = ["write", "card.json", "--message", "open.json", "--adm-file", "adm", "--dry-run"];
    let (code, error) = desk.outcome(&[&write[..], &["--adm-ref", "0B"]].concat());
    assert!(code == 2 && error.contains("the administrator 0B") && error.contains("--adm-ref 0A"), "{error}");
    let (code, error) = desk.outcome(&[&write[..], &["--behind-pin"]].concat());
    assert!(code == 2 && error.contains("add one to EF(ARR) 2F06"), "{error}");
}

#[test]
fn a_secret_is_written_behind_the_pin_and_read_back_with_it() {
    let desk = Desk::new();
    desk.outcome(&["create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"]);
    let write = ["write", "card.json", "--message", "secret.json", "--adm-file", "adm"];
    let (code, error) = desk.outcome(&write);
    assert_eq!((code, error.contains("--allow-public-secret")), (2, true), "{error}");
    let report = desk.json(&[&write[..], &["--behind-pin", "--pin-file", "pin", "--json"]].concat());
    assert_eq!((&report["written"], &report["unchecked"]), (&Value::Bool(true), &Value::Array(vec![])));
    assert_eq!(desk.read(&["card.json", "--pin-file", "pin"]), SECRET);
    assert_eq!(desk.read(&["card.json"]), "", "and not without it");
}

#[test]
fn a_message_file_that_ends_in_a_newline_is_read_back_as_good() {
    let desk = Desk::new();
    fs::write(desk.path("newline.json"), format!("{SECRET}\n")).unwrap();
    desk.outcome(&["create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"]);
    let write = ["write", "card.json", "--message", "newline.json", "--adm-file", "adm", "--behind-pin"];
    let (code, error) = desk.outcome(&[&write[..], &["--lwm2m", "lwm2m.bin", "--pin-file", "pin"]].concat());
    assert_eq!(code, 0, "{error}");
    assert_eq!(desk.read(&["card.json", "--pin-file", "pin"]), SECRET);
}

#[test]
fn a_rule_by_which_everybody_reads_is_refused_for_a_secret() {
    let desk = Desk::new();
    desk.outcome(&["create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "empty.json"]);
    desk.outcome(&["create", "--message", "secret.json", "--pin", "pin", "--adm-file", "adm", "-o", "full.json"]);
    fs::write(desk.path("longer.json"), SECRET.replace("Acme", &"Acme ".repeat(60))).unwrap();
    for arguments in [
        &["write", "empty.json", "--message", "secret.json", "--behind-pin"][..],
        &["write", "full.json", "--message", "longer.json"],
    ] {
        let before = fs::read(desk.path(arguments[1])).unwrap();
        let rule = ["--access-rule", "2F06:1", "--adm-file", "adm", "--pin-file", "pin"];
        let (code, error) = desk.outcome(&[arguments, &rule].concat());
        assert!(code == 1 && error.contains("everybody reads the file"), "{arguments:?}: {error}");
        assert_eq!(fs::read(desk.path(arguments[1])).unwrap(), before, "{arguments:?}");
    }
}

#[test]
fn what_lies_behind_the_pin_is_seen_with_the_pin() {
    let desk = Desk::new();
    desk.outcome(&["create", "--message", "secret.json", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"]);
    let write = ["write", "card.json", "--message", "secret.json", "--adm-file", "adm"];
    let (code, error) = desk.outcome(&write);
    assert!(code == 4 && error.contains("--pin-file") && error.contains("--replace-unseen"), "{error}");
    let report = desk.json(&[&write[..], &["--pin-file", "pin", "--json"]].concat());
    assert_eq!(report["written"], Value::Bool(false), "it is there already: {report}");
    let report = desk.json(&[&write[..], &["--replace-unseen", "--json"]].concat());
    assert_eq!(report["written"], Value::Bool(true), "{report}");
    let (code, error) = desk.outcome(&[&write[..], &["--pin-file", "wrong"]].concat());
    assert_eq!(code, 4, "{error}");
    let card = CardImage::from_json(&fs::read(desk.path("card.json")).unwrap()).unwrap();
    assert_eq!(card.parts().pins[0].tries_left, 2, "the card in the file remembers");
}

#[test]
fn a_dry_run_shows_what_is_written_on_demand_only() {
    let desk = Desk::new();
    desk.outcome(&["create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"]);
    let dry = ["write", "card.json", "--message", "secret.json", "--behind-pin", "--dry-run"];
    let written = omadm_card::hex::encode(&SECRET.as_bytes()[1..40]);
    for form in [&[][..], &["--json"]] {
        let told = |more: &[&str]| String::from_utf8(desk.omadm(&[&dry[..], form, more].concat()).stdout).unwrap();
        let hidden = told(&[]);
        assert!(!hidden.contains(&written) && hidden.contains("bytes hidden)"), "{hidden}");
        assert!(!hidden.contains(&omadm_card::hex::encode(b"aHVzaGh1c2g=")), "{hidden}");
        assert!(told(&["--show-data"]).contains(&written), "{form:?}");
    }
    assert_eq!(desk.outcome(&["write", "card.json", "--message", "open.json", "--show-data"]).0, 2, "not in earnest");
}

#[test]
fn a_pin_that_others_may_read_is_not_taken() {
    let desk = Desk::new();
    desk.outcome(&["create", "--message", "secret.json", "--pin", "pin", "-o", "card.json"]);
    fs::set_permissions(desk.path("pin"), fs::Permissions::from_mode(0o640)).unwrap();
    for arguments in [
        &["create", "--message", "secret.json", "-o", "other.json", "--pin", "pin"][..],
        &["script", "--message", "secret.json", "-o", "x", "--as", "apdu", "--pin", "pin"],
        &["read", "card.json", "--pin-file", "pin"],
        &["inspect", "card.json", "--pin-file", "pin"],
        &["write", "card.json", "--message", "secret.json", "--pin-file", "pin"],
    ] {
        let (code, error) = desk.outcome(arguments);
        assert!(code == 2 && error.contains("chmod 600 pin") && !error.contains("4711"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_file_that_is_there_is_replaced_on_demand_only() {
    let desk = Desk::new();
    for command in [&["create"][..], &["script", "--as", "apdu"]] {
        fs::write(desk.path("made"), "precious").unwrap();
        let make = [command, &["--message", "open.json", "-o", "made"]].concat();
        let (code, error) = desk.outcome(&make);
        assert!(code == 2 && error.contains("made is there already") && error.contains("--force"), "{error}");
        assert_eq!(fs::read(desk.path("made")).unwrap(), b"precious");
        // It is looked at before a server is asked, which would spend a credential.
        let (code, error) = desk.outcome(&[command, &["--profile", "none", "-o", "made"]].concat());
        assert!(code == 2 && error.contains("made is there already"), "{error}");
        fs::set_permissions(desk.path("made"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(desk.outcome(&[&make[..], &["--force"]].concat()).0, 0);
        assert_ne!(fs::read(desk.path("made")).unwrap(), b"precious");
        assert_eq!(fs::metadata(desk.path("made")).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(desk.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
    }
}

/// Sends each command of an APDU script to a card and looks at what it answers.
fn replay(script: &str, card: &mut VirtualUicc) {
    for (number, line) in script.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let (command, rest) = line.split_once(' ').unwrap();
        let expected = rest.split(' ').next().unwrap();
        let answer = card.answer(&omadm_card::hex::decode(&command.replace("{adm}", KEY)).unwrap());
        let status = omadm_card::hex::encode(answer.last_chunk::<2>().unwrap());
        let is_expected = expected.split('|').any(|pattern| {
            pattern.len() == 4
                && pattern.chars().zip(status.chars()).all(|(wanted, got)| wanted == 'X' || wanted == got)
        });
        assert!(is_expected, "line {}: {status} for {line}", number + 1);
    }
}

/// A card with the application, its key and nothing else in it, as a bureau gets it.
fn blank(desk: &Desk, pin: &[&str]) -> VirtualUicc {
    let create = [&["create", "--empty", "--adm-file", "adm", "--force", "-o", "blank.json"], pin].concat();
    assert_eq!(desk.outcome(&create).0, 0);
    let mut parts = CardImage::from_json(&fs::read(desk.path("blank.json")).unwrap()).unwrap().into_parts();
    parts.applications[0].files.clear();
    VirtualUicc::new(&CardImage::try_from(parts).unwrap())
}

#[test]
fn an_apdu_script_makes_a_card_that_is_read() {
    let desk = Desk::new();
    for key in [&["--adm-file", "adm"][..], &[]] {
        for form in ["opaque", "oid", "both"] {
            let script = [
                &["script", "--message", "secret.json", "--lwm2m", "lwm2m.bin", "--pin", "pin", "--form", form][..],
                &["--as", "apdu", "--create-files", "--force", "-o", "card.apdu"],
                key,
            ];
            let (code, error) = desk.outcome(&script.concat());
            assert_eq!(code, 0, "{error}");
            let mut card = blank(&desk, &["--pin", "pin"]);
            let script = fs::read_to_string(desk.path("card.apdu")).unwrap();
            assert_eq!(script.contains("{adm}"), key.is_empty());
            replay(&script, &mut card);
            card.reset();
            let pin = Secret::from("4711");
            let request = ReadRequest { pin: Some(&pin), ..ReadRequest::default() };
            let reading = omadm_card::read(&mut card, &request, &|| Duration::ZERO);
            assert_eq!(reading.message.unwrap(), SECRET.as_bytes(), "{form}");
            // Once the files are there, a script that creates none writes the next message into them.
            let next = ["script", "--message", "secret.json", "--lwm2m", "lwm2m.bin", "--pin", "pin", "--form", form];
            desk.outcome(&[&next[..], &["--as", "apdu", "--force", "-o", "next.apdu"]].concat());
            replay(&fs::read_to_string(desk.path("next.apdu")).unwrap(), &mut card);
        }
    }
    let mode = fs::metadata(desk.path("card.apdu")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, error) = desk.outcome(&["script", "--message", "secret.json", "--as", "pysim", "-o", "x.pysim"]);
    assert_eq!((code, error.contains("PIN")), (2, true), "P-36 holds for scripts: {error}");
}

/// So many rows, each with a name of its own.
fn csv(count: u64) -> String {
    let mut text = "iccid,imsi,mnc_length,name\n".to_owned();
    for number in 0..count {
        text.push_str(&format!("8988{number:015},00101{number:010},2,\"no. {number}, \"\"x\"\"\"\n"));
    }
    text
}

#[test]
fn a_batch_makes_a_card_for_each_row_and_lists_the_others() {
    let desk = Desk::new();
    let more = "898800000000000000x,,,bad\n8988000000000000001,,2,twice\n8988000000000000077,,5,mnc\n";
    fs::write(desk.path("cards.csv"), csv(3) + more + "8988000000000000099,,,last\n").unwrap();
    let batch = ["batch", "cards.csv", "--message", "named.json", "--out", "made", "--json"];
    let output = desk.omadm(&batch);
    assert_eq!(output.status.code(), Some(1), "some rows were refused");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["made"].as_u64(), report["refused"].as_u64()), (Some(4), Some(3)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("rejects.csv"));
    for folder in ["made", "made/cards"] {
        assert_eq!(fs::metadata(desk.path(folder)).unwrap().permissions().mode() & 0o777, 0o700, "{folder}");
    }
    let rejects = desk.rejects("made");
    assert_eq!(rejects[0], "line,reason,iccid,imsi,mnc_length,name");
    assert!(rejects[1].starts_with("5,iccid: ") && rejects[1].ends_with(",898800000000000000x,,,bad"), "{rejects:?}");
    assert!(rejects[2].starts_with("6,") && rejects[2].contains("line 3"), "{rejects:?}");
    assert!(rejects[3].starts_with("7,mnc_length"), "{rejects:?}");

    let manifest = desk.manifest("made");
    assert_eq!(manifest.len(), 4);
    for entry in &manifest {
        let file = entry["file"].as_str().unwrap();
        let content = fs::read(desk.path("made").join(file)).unwrap();
        assert_eq!(entry["sha256"], omadm_card::hex::encode(&Sha256::digest(content)).to_lowercase());
        let message = desk.read(&[&format!("made/{file}")]);
        assert_eq!(entry["message_sha256"], omadm_card::hex::encode(&Sha256::digest(&message)).to_lowercase());
    }
    let second = desk.read(&["made/cards/8988000000000000001.json"]);
    let message: Value = serde_json::from_str(&second).unwrap();
    assert_eq!(message[0]["MOData"]["DMAcc"]["Name"], "Meter no. 1, \"x\"");

    // The corrected rejects are a batch themselves, into the same folder.
    let corrected = "line,reason,iccid,imsi,mnc_length,name\n7,,8988000000000000077,,2,mnc\n";
    fs::write(desk.path("again.csv"), corrected).unwrap();
    let report = desk.json(&["batch", "again.csv", "--message", "named.json", "--out", "made", "--json"]);
    assert_eq!(report["made"], 1);
    assert_eq!(desk.manifest("made").len(), 5);
    let (code, error) = desk.outcome(&["batch", "again.csv", "--message", "open.json", "--out", "made"]);
    assert_eq!((code, error.contains("other settings")), (2, true), "{error}");
}

#[test]
fn a_batch_that_is_wrong_as_a_whole_is_2() {
    let desk = Desk::new();
    fs::write(desk.path("cards.csv"), csv(3)).unwrap();
    fs::write(desk.path("semicolons.csv"), "iccid;name\n").unwrap();
    fs::write(desk.path("pins.csv"), "iccid,pin,name\n8988000000000000001,4711,x\n").unwrap();
    fs::write(desk.path("unknown.json"), NAMED.replace("{name}", "{nmae}")).unwrap();
    for (arguments, told) in [
        (&["batch", "none.csv", "--message", "named.json"][..], "none.csv"),
        (&["batch", "semicolons.csv", "--message", "open.json"], "commas"),
        (&["batch", "cards.csv", "--message", "unknown.json"], "{nmae} names no column"),
        (&["batch", "pins.csv", "--message", "named.json", "--make-pins", "new.csv"], "PINs already"),
        (&["batch", "cards.csv"], "--message"),
    ] {
        let (code, error) = desk.outcome(&[arguments, &["--out", "made"]].concat());
        assert!(code == 2 && error.contains(told), "{arguments:?}: {code} {error}");
        assert!(!desk.path("made").exists(), "{arguments:?}");
    }
    fs::write(desk.path("empty.csv"), csv(0)).unwrap();
    let (code, error) = desk.outcome(&["batch", "empty.csv", "--message", "named.json", "--out", "empty"]);
    assert!(code == 3 && error.contains("empty.csv has no rows"), "{code} {error}");
    // Without a PIN nobody's secret goes on a card: every row is refused, with the reason.
    assert_eq!(desk.outcome(&["batch", "cards.csv", "--message", "secret.json", "--out", "open"]).0, 1);
    assert!(desk.manifest("open").is_empty() && desk.rejects("open")[1].contains("PIN"), "{:?}", desk.rejects("open"));
}

#[test]
fn a_batch_of_scripts_has_each_card_with_its_own_key() {
    let desk = Desk::new();
    let rows = format!("iccid,pin,adm\n8988000000000000001,4711,{KEY}\n8988000000000000002,4712,\n");
    fs::write(desk.path("cards.csv"), rows).unwrap();
    let batch = ["batch", "cards.csv", "--message", "secret.json", "--create-files", "--as"];
    for kind in ["apdu", "pysim"] {
        let (code, error) = desk.outcome(&[&batch[..], &[kind, "--out", kind]].concat());
        assert_eq!(code, 0, "{error}");
    }
    let script = fs::read_to_string(desk.path("apdu/cards/8988000000000000001.apdu")).unwrap();
    let mut card = blank(&desk, &["--pin", "pin"]);
    replay(&script, &mut card);
    assert!(script.contains(KEY));
    assert!(fs::read_to_string(desk.path("apdu/cards/8988000000000000002.apdu")).unwrap().contains("{adm}"));
    let pysim = fs::read_to_string(desk.path("pysim/cards/8988000000000000001.pysim")).unwrap();
    assert!(pysim.contains(&format!("verify_adm --adm-type ADM1 --pin-is-hex {KEY}\n")));
    let manifest = fs::read_to_string(desk.path("apdu/manifest.jsonl")).unwrap();
    assert!(!manifest.contains(KEY) && !manifest.contains("4711") && manifest.contains(r#""users":["acme"]"#));
}

#[test]
fn a_batch_goes_on_with_its_own_pins_only() {
    let desk = Desk::new();
    fs::write(desk.path("cards.csv"), csv(2)).unwrap();
    let batch = ["batch", "cards.csv", "--message", "secret.json", "--out", "made", "--make-pins"];
    assert_eq!(desk.outcome(&[&batch[..], &["pins.csv"]].concat()).0, 0);
    fs::write(desk.path("cards.csv"), csv(4)).unwrap();
    let before = desk.manifest("made");
    // Another file, and one that is gone: neither has the PINs of the cards that are made.
    let (code, error) = desk.outcome(&[&batch[..], &["other.csv"]].concat());
    assert!(code == 2 && error.contains("another file of PINs") && !desk.path("other.csv").exists(), "{error}");
    // The cards that are made have another PIN.
    let (code, error) = desk.outcome(&[&batch[..], &["pins.csv", "--pin-ref", "81"]].concat());
    assert!(code == 2 && desk.manifest("made") == before, "{error}");
    // A line is lost.
    let whole = fs::read_to_string(desk.path("pins.csv")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines[0].starts_with("iccid,pin,file_") && lines.len() == 3, "{whole}");
    fs::write(desk.path("pins.csv"), format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    let (code, error) = desk.outcome(&[&batch[..], &["pins.csv"]].concat());
    assert!(code == 2 && error.contains("lacks the PINs of 1 cards"), "{error}");
    assert!(error.contains(lines[1].split(',').next().unwrap()), "{error}");
    assert_eq!(desk.manifest("made"), before, "nothing was made");
    fs::write(desk.path("pins.csv"), &whole).unwrap();
    assert_eq!(desk.outcome(&[&batch[..], &["pins.csv"]].concat()).0, 0);
    assert_eq!(desk.manifest("made").len(), 4);
}

#[test]
fn a_batch_that_is_killed_goes_on_and_makes_each_card_once() {
    const COUNT: u64 = 2_000;
    let desk = Desk::new();
    fs::write(desk.path("cards.csv"), csv(COUNT)).unwrap();
    let batch = ["batch", "cards.csv", "--message", "named.json", "--make-pins", "pins.csv", "--out", "made", "--json"];
    let mut kills = 0;
    for after in [200, 700, 1_300] {
        let mut running = desk.command(&batch).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while desk.manifest("made").len() < after && running.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{after} cards take too long");
            std::thread::sleep(Duration::from_millis(5));
        }
        kills += usize::from(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        running.wait().unwrap();
    }
    assert!(kills > 0, "no run was killed in the middle");
    let made_before = desk.manifest("made").len() as u64;
    let report = desk.json(&batch);
    assert_eq!(
        (report["made"].as_u64(), report["made_before"].as_u64()),
        (Some(COUNT - made_before), Some(made_before))
    );

    let manifest = desk.manifest("made");
    let listed: BTreeSet<&str> = manifest.iter().map(|entry| entry["iccid"].as_str().unwrap()).collect();
    assert_eq!((manifest.len() as u64, listed.len() as u64), (COUNT, COUNT), "each of them, once");
    let pins = fs::read_to_string(desk.path("pins.csv")).unwrap();
    let pins: BTreeMap<&str, &str> =
        pins.lines().skip(1).map(|line| line.trim_end_matches(',').split_once(',').unwrap()).collect();
    let lines = fs::read_to_string(desk.path("pins.csv")).unwrap().lines().count() as u64;
    assert_eq!((pins.len() as u64, lines), (COUNT, COUNT + 1));
    for entry in &manifest {
        let content = fs::read(desk.path("made").join(entry["file"].as_str().unwrap())).unwrap();
        assert_eq!(entry["sha256"], omadm_card::hex::encode(&Sha256::digest(&content)).to_lowercase());
        let image = CardImage::from_json(&content).unwrap();
        let pin = pins[entry["iccid"].as_str().unwrap()];
        assert_eq!(image.parts().pins[0].value, Secret::from(pin), "the PIN in the file is that of the card");
    }
    let files = fs::read_dir(desk.path("made/cards")).unwrap().count() as u64;
    assert_eq!(files, COUNT, "nothing is left behind");
    for (name, mode) in [("pins.csv", 0o600), ("made/manifest.jsonl", 0o600)] {
        assert_eq!(fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    let report = desk.json(&batch);
    assert_eq!((report["made"].as_u64(), report["made_before"].as_u64()), (Some(0), Some(COUNT)));
}

#[test]
fn rejects_are_corrected_in_place_again_and_again() {
    let desk = Desk::new();
    let header = "iccid,imsi,mnc_length,name\n";
    let rows = "8988000000000000001,,5,one\n8988000000000000002,,7,\"two, 2\"\n8988000000000000003,,2,three\n";
    fs::write(desk.path("cards.csv"), format!("{header}{rows}")).unwrap();
    let batch =
        |file: &str| desk.json(&["batch", file, "--message", "named.json", "--out", "made", "--json"]).to_string();
    let report = |made: u8, before: u8, refused: u8, rejects: &str| {
        serde_json::json!({
            "made": made, "made_before": before, "refused": refused, "manifest": "made/manifest.jsonl",
            "rejects": (!rejects.is_empty()).then(|| format!("made/{rejects}")), "pins": null,
        })
        .to_string()
    };
    assert_eq!(batch("cards.csv"), report(1, 0, 2, "rejects.csv"));
    let mode = fs::metadata(desk.path("made/rejects.csv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(batch("cards.csv"), report(0, 1, 2, "rejects.csv"), "the same rows are the same file");
    // One of two is corrected: the file stays, and what is still wrong is in the next one.
    let corrected = desk.rejects("made").join("\n").replace(",,5,one", ",,2,one") + "\n";
    fs::write(desk.path("made/rejects.csv"), &corrected).unwrap();
    assert_eq!(batch("made/rejects.csv"), report(1, 0, 1, "rejects-2.csv"));
    assert_eq!(fs::read_to_string(desk.path("made/rejects.csv")).unwrap(), corrected, "it is nobody else's");
    assert_eq!(batch("cards.csv"), report(0, 1, 2, "rejects-3.csv"), "the first list was corrected meanwhile");
    assert_eq!(fs::read_to_string(desk.path("made/rejects.csv")).unwrap(), corrected);
    let second = fs::read_to_string(desk.path("made/rejects-2.csv")).unwrap();
    let lines: Vec<&str> = second.lines().collect();
    assert_eq!(lines[0], "line,reason,iccid,imsi,mnc_length,name");
    assert!(
        lines[1].starts_with("3,mnc_length") && lines[1].ends_with(",8988000000000000002,,7,\"two, 2\""),
        "{second}"
    );
    fs::write(desk.path("made/rejects-2.csv"), second.replace(",,7,", ",,3,")).unwrap();
    assert_eq!(batch("made/rejects-2.csv"), report(1, 0, 0, ""));
    assert!(!desk.path("made/rejects.csv.new").exists());
}

#[test]
fn a_batch_that_is_broken_off_leaves_the_rejects_that_it_reads() {
    let desk = Desk::new();
    fs::create_dir(desk.path("made")).unwrap();
    let rows = "line,reason,".to_owned() + &csv(3_000).replace("\n8988", "\n1,wrong,8988");
    fs::write(desk.path("made/rejects.csv"), &rows).unwrap();
    let batch = ["batch", "made/rejects.csv", "--message", "named.json", "--out", "made", "--json"];
    let mut running = desk.command(&batch).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while desk.manifest("made").len() < 64 && running.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let interrupt = Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && !running.wait().unwrap().success(), "it was interrupted");
    assert_eq!(fs::read_to_string(desk.path("made/rejects.csv")).unwrap(), rows);
    let report = desk.json(&batch);
    assert_eq!(report["made"].as_u64().unwrap() + report["made_before"].as_u64().unwrap(), 3_000, "{report}");
}

#[test]
fn batches_that_are_started_together_lose_no_pin() {
    for _ in 0..8 {
        let desk = Desk::new();
        fs::write(desk.path("cards.csv"), csv(40)).unwrap();
        let batch = ["batch", "cards.csv", "--message", "secret.json", "--make-pins", "pins.csv", "--out"];
        let start = |folder: &str| {
            let mut command = desk.command(&[&batch[..], &[folder]].concat());
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let running = [start("made"), start("made"), start("other")];
        let outcomes = running.map(|one| one.wait_with_output().unwrap());
        let failed = outcomes.iter().filter(|one| !one.status.success());
        for one in failed {
            let error = String::from_utf8_lossy(&one.stderr);
            assert!(error.contains("another omadm"), "{error}");
        }
        let pins = fs::read_to_string(desk.path("pins.csv")).unwrap();
        for folder in ["made", "other"] {
            for entry in desk.manifest(folder) {
                let content = fs::read(desk.path(folder).join(entry["file"].as_str().unwrap())).unwrap();
                let pin = CardImage::from_json(&content).unwrap().parts().pins[0].value.clone();
                let line = format!("{},{}", entry["iccid"].as_str().unwrap(), String::from_utf8_lossy(pin.expose()));
                assert!(pins.contains(&line), "a card has a PIN that is listed nowhere");
            }
        }
        assert!(outcomes.iter().any(|one| one.status.success()));
    }
}
