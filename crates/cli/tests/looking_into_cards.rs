//! What `omadm card inspect` draws of cards of every kind, and objects read as they are.

#![allow(clippy::unwrap_used)]

use omadm_card::image::{CardFile, CardImage, FileId};
use omadm_card::make::{CardPlan, Content, make};
use omadm_core::secret::Secret;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
/// An entry of EF(DODF): opaqueDO, 2.23.43.9.1, file 6435.
const LWM2M: &str = "301F30050C034C574D300E0C064F4D4120444D0604672B0901A106300404026435";

fn plan(content: &[u8]) -> CardPlan {
    let plan = CardPlan::new("8988000000000000016".parse().unwrap(), b"");
    CardPlan { content: Content::Raw(content.to_vec()), ..plan }
}

/// A card with an object of LwM2M beside ours.
fn both_kinds() -> CardImage {
    let mut parts = make(&plan(MESSAGE.as_bytes())).unwrap().into_parts();
    let files = &mut parts.applications[0].files;
    let dodf = files.iter_mut().find(|file| file.id.0 == 0x6430).unwrap();
    let used = dodf.content.0.iter().rposition(|byte| *byte != 0xFF).unwrap() + 1;
    dodf.content.0.truncate(used);
    dodf.content.0.extend(omadm_card::hex::decode(LWM2M).unwrap());
    let ours = files.iter().find(|file| file.id.0 == 0x6434).unwrap().clone();
    let mut theirs = CardFile { id: FileId(0x6435), ..ours };
    theirs.content.0 = b"\x00\x01LwM2M\xFF".to_vec();
    files.push(theirs);
    parts.try_into().unwrap()
}

/// A program on a folder that holds a card.
struct Desk(tempfile::TempDir);

impl Desk {
    fn with(image: &CardImage) -> Self {
        let desk = Self(tempfile::tempdir_in("/tmp").unwrap());
        fs::write(desk.0.path().join("card.json"), image.to_json()).unwrap();
        fs::write(desk.0.path().join("pin"), "1234\n").unwrap();
        fs::set_permissions(desk.0.path().join("pin"), fs::Permissions::from_mode(0o600)).unwrap();
        desk
    }

    fn omadm(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omadm"));
        command.current_dir(self.0.path()).arg("card").args(arguments).output().unwrap()
    }

    fn inspected(&self) -> String {
        String::from_utf8(self.omadm(&["inspect", "card.json"]).stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.omadm(arguments).stdout).unwrap()
    }
}

fn drawn(plan: &CardPlan) -> String {
    Desk::with(&make(plan).unwrap()).inspected()
}

#[test]
fn a_good_card() {
    insta::assert_snapshot!(drawn(&plan(MESSAGE.as_bytes())));
}

#[test]
fn a_private_card_without_its_pin() {
    insta::assert_snapshot!(drawn(&CardPlan { pin: Some(Secret::from("1234")), ..plan(MESSAGE.as_bytes()) }));
}

#[test]
fn a_damaged_card() {
    insta::assert_snapshot!(drawn(&plan(&MESSAGE.as_bytes()[..100])));
}

#[test]
fn a_card_of_dm_1x() {
    insta::assert_snapshot!(drawn(&plan(b"\x03\x0B\x6A\x00\x45\xC6\x56\x01\x87\x07")));
}

#[test]
fn a_card_for_both_kinds_of_devices() {
    insta::assert_snapshot!(Desk::with(&both_kinds()).inspected());
}

#[test]
fn an_object_is_read_as_it_is() {
    let desk = Desk::with(&both_kinds());
    let raw = desk.omadm(&["read", "card.json", "--object", "2.23.43.9.1"]);
    assert_eq!(raw.stdout, b"\x00\x01LwM2M\xFF");
    let told = desk.omadm(&["read", "card.json", "--object", "2.23.43.9.1", "--out", "object.bin"]);
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "object.bin: 8 bytes\n");
    let path = desk.0.path().join("object.bin");
    assert_eq!(fs::read(&path).unwrap(), raw.stdout);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "it may hold keys");
    assert_eq!(desk.json(&["read", "card.json", "--object", "2.23.43.9.1", "--json"])["content"], "00014C774D324DFF");
    let again = desk.omadm(&["read", "card.json", "--out", "object.bin"]);
    assert_eq!(again.status.code(), Some(1), "a file that is there stays");
    assert_eq!(desk.omadm(&["read", "card.json", "--object", "2.23.43.8.1"]).status.code(), Some(3));
    assert_eq!(desk.omadm(&["read", "card.json", "--object", "x"]).status.code(), Some(2));
    assert_eq!(desk.omadm(&["read", "card.json"]).stdout, format!("{MESSAGE}\n").into_bytes());
}

#[test]
fn the_short_way_gives_the_same_with_fewer_commands() {
    let desk = Desk::with(&make(&CardPlan { pin: Some(Secret::from("1234")), ..plan(MESSAGE.as_bytes()) }).unwrap());
    let read = |more: &[&str]| desk.json(&[&["read", "card.json", "--pin-file", "pin", "--json"], more].concat());
    let (plain, fast) = (read(&[]), read(&["--fast"]));
    assert_eq!(plain["message"], fast["message"]);
    assert!(fast["apdus"].as_u64() < plain["apdus"].as_u64(), "{plain} {fast}");
    let inspect = desk.json(&["inspect", "card.json", "--pin-file", "pin", "--json", "--fast"]);
    assert_eq!(inspect["apdus"], fast["apdus"]);
}

#[test]
fn a_check_tells_by_its_exit_code_what_was_found() {
    let behind_pin = || CardPlan { pin: Some(Secret::from("1234")), ..plan(MESSAGE.as_bytes()) };
    let secret =
        MESSAGE.replace("\"Name\"", "\"Auth\":{\"Trsp\":{\"Data\":\"YmFzaWM6YQ==\",\"Secret\":\"aHVzaA==\"}},\"Name\"");
    let public = CardPlan { allow_public_secret: true, ..plan(secret.as_bytes()) };
    let padded = CardPlan { file_size: Some(400), ..plan(MESSAGE.as_bytes()) };
    for (what, plan, more, code) in [
        ("a good card", plan(MESSAGE.as_bytes()), &[][..], 0),
        ("a card with a note", padded, &[], 0),
        ("a damaged one", plan(&MESSAGE.as_bytes()[..100]), &[], 1),
        ("one of DM 1.x", plan(b"\x03\x0B\x6A\x00\x45\xC6\x56\x01\x87\x07"), &[], 1),
        ("a secret that everybody can read", public, &[], 1),
        ("one without a message", CardPlan { content: Content::None, ..plan(b"") }, &[], 3),
        ("one behind a PIN", behind_pin(), &[], 4),
        ("the same, with the PIN", behind_pin(), &["--pin-file", "pin"], 0),
    ] {
        let desk = Desk::with(&make(&plan).unwrap());
        for form in [&[][..], &["--json"]] {
            let inspect = [&["inspect", "card.json"], more, form].concat();
            let plain = desk.omadm(&inspect);
            assert_eq!((plain.status.code(), plain.stderr.len()), (Some(0), 0), "{what}: it could be looked at");
            let checked = desk.omadm(&[&inspect[..], &["--check"]].concat());
            let error = String::from_utf8(checked.stderr).unwrap();
            assert_eq!(checked.status.code(), Some(code), "{what}: {error}");
            assert!(checked.stdout == plain.stdout && error.is_empty() == (code == 0), "{what}: {error}");
        }
    }
}
