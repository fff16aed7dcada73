//! What `inspect` tells about a card.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol;
use omadm_card::image::{Access, CardFile, CardParts, FileId};
use omadm_card::inspect::{Problem, inspect};
use omadm_card::make::{CardPlan, Content, Listing, make};
use omadm_card::{Link, LinkError, ReadRequest, VirtualUicc};
use omadm_core::secret::Secret;
use serde_json::Value;

const MESSAGE: &str =
    r#"[{"ClientURI":"urn:x:1.0/a/","MOData":{"DMAcc":{"SrvID":"acme","Auth":{"Trsp":{"Secret":"c2VjcmV0"}}}}}]"#;
/// A message without secrets that breaks no rule.
const GOOD: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

fn explain_link(link: &mut dyn Link, pin: Option<&str>) -> (String, Value, Vec<Problem>) {
    let pin = pin.map(Secret::from);
    let request = ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() };
    let (inspection, _) = inspect(link, &request, &|| Duration::ZERO);
    (inspection.to_string(), serde_json::to_value(&inspection).unwrap(), inspection.problems)
}

fn explain(plan: &CardPlan, pin: Option<&str>) -> (String, Value) {
    let (text, json, _) = explain_link(&mut VirtualUicc::new(&make(plan).unwrap()), pin);
    (text, json)
}

fn plan() -> CardPlan {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes());
    CardPlan { pin: Some(Secret::from("1234")), listing: Listing::Both, ..plan }
}

fn good() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), GOOD.as_bytes())
}

/// The problems of a card that is changed before it is looked at, as `severity place: problem`.
fn problems(plan: &CardPlan, pin: Option<&str>, change: impl FnOnce(&mut CardParts)) -> Vec<String> {
    let mut parts = make(plan).unwrap().into_parts();
    change(&mut parts);
    let (_, _, problems) = explain_link(&mut VirtualUicc::new(&parts.try_into().unwrap()), pin);
    assert!(problems.iter().all(|one| !one.advice.is_empty()));
    assert!(problems.is_sorted_by_key(|one| one.severity));
    problems.iter().map(|one| format!("{:?} {}: {}", one.severity, one.place, one.problem)).collect()
}

fn file(parts: &mut CardParts, id: u16) -> &mut CardFile {
    parts.applications[0].files.iter_mut().find(|file| file.id == FileId(id)).unwrap()
}

#[test]
fn a_private_card_is_explained_without_its_secrets() {
    let (text, json) = explain(&plan(), Some("1234"));
    for line in [
        "Card 8901012345678901234, T=1, home network 001-01",
        "├── MF",
        "│   ├── 5031 EF(ODF), 32 bytes",
        "│   └── 6434 EF(DM_Bootstrap), 104 bytes",
        "└── USIM",
        "    └── 6FAD EF(AD), 4 bytes",
        "application A0000000635",
        "OMA DM bootstrap object \"DM Bootstrap\" (opaqueDO) in 6434, behind a PIN",
        "(oidDO) in 6434",
        "PIN 01 \"PIN\", authId 01, open now",
        "JSON, 104 bytes",
        "Message of 104 bytes, behind a PIN",
        "\"Secret\": \"(hidden)\"",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    let (hidden, digits) = ("c2VjcmV0", "001010123456789");
    assert!(!text.contains(hidden) && !json.to_string().contains(hidden));
    assert!(!json.to_string().contains(digits), "the IMSI");
    assert_eq!(json["message"]["found"]["bytes"], MESSAGE.len());
    assert_eq!(json["message"]["found"]["public_secrets"], Value::Array(vec![]));
}

#[test]
fn public_secrets_are_pointed_out() {
    let (text, json) = explain(&CardPlan { pin: None, allow_public_secret: true, ..plan() }, None);
    let error = "error: PKCS#15/6434: everybody can read the secret urn:x:1.0/a/DMAcc/Auth/Trsp/Secret";
    assert!(text.contains(error), "{text}");
    assert_eq!(json["message"]["found"]["behind_pin"], false);
    assert_eq!(json["problems"][0]["severity"], "error");
}

#[test]
fn why_there_is_no_message_is_told_beside_what_was_found() {
    let (text, json) = explain(&plan(), None);
    assert!(text.contains("No message: pin-needed") && text.contains("EF(AODF)"), "{text}");
    assert!(text.contains("authId 01, 3 tries left"), "{text}");
    assert_eq!(json["message"]["missing"]["reason"], "pin-needed");
    let damaged = CardPlan { content: Content::Raw(b"[{\"ClientURI\"".to_vec()), ..plan() };
    assert_eq!(explain(&damaged, Some("1234")).1["message"]["missing"]["reason"], "malformed-message");
}

#[test]
fn nothing_is_wrong_with_the_cards_that_we_make() {
    assert_eq!(problems(&good(), None, |_| {}).join("\n"), "");
    let private = CardPlan { pin: Some(Secret::from("1234")), ..good() };
    assert_eq!(problems(&private, Some("1234"), |_| {}).join("\n"), "");
}

#[test]
fn each_thing_that_is_wrong_is_named_with_its_place() {
    let private = || CardPlan { pin: Some(Secret::from("1234")), ..good() };
    let raw = |content: &[u8]| CardPlan { content: Content::Raw(content.to_vec()), ..good() };
    type Change = fn(&mut CardParts);
    let none: Change = |_| {};
    let cases: Vec<(CardPlan, Option<&str>, Change, &str)> = vec![
        (good(), None, |card| card.files.retain(|file| file.id.0 != 0x2FE2), "Warning MF/2FE2: the card does not tell"),
        (good(), None, |card| card.files.retain(|file| file.id.0 != 0x2F00), "Note MF/2F00: there is no EF(DIR)"),
        (good(), None, |card| card.files[0].content.0[..38].fill(0xFF), "Warning MF/2F00: EF(DIR) does not list"),
        (good(), None, |card| drop(card.applications.remove(0)), "Note the card: there is no PKCS#15"),
        (
            good(),
            None,
            |card| card.applications[0].files.retain(|file| file.id.0 != 0x5032),
            "Warning PKCS#15/5032: EF(TokenInfo)",
        ),
        (good(), None, |card| file(card, 0x5031).content.0.fill(0xFF), "Warning PKCS#15/5031: EF(ODF) names no data"),
        (
            good(),
            None,
            |card| file(card, 0x5031).content.0[5] = 9,
            "Error PKCS#15/5031: EF(ODF): damaged at byte 4: the object 04 should have 9 bytes, 2 are there",
        ),
        (
            good(),
            None,
            |card| file(card, 0x6430).content.0[3] = 0x7F,
            "Error PKCS#15/6430: EF(DODF): damaged at byte 2: the object 30 should have 127",
        ),
        (
            good(),
            None,
            |card| card.applications[0].files.retain(|file| file.id.0 != 0x6430),
            "Error PKCS#15/6430: EF(DODF): 6A82",
        ),
        (good(), None, |card| file(card, 0x6430).content.0.fill(0xFF), "Note PKCS#15: no OMA DM bootstrap object"),
        (
            good(),
            None,
            |card| card.applications[0].files.retain(|file| file.id.0 != 0x6434),
            "Error PKCS#15/6434: a directory lists an object",
        ),
        (
            CardPlan { listing: Listing::Oid, ..good() },
            None,
            none,
            "Note PKCS#15/6434: the object is listed as oidDO only",
        ),
        (good(), None, |card| file(card, 0x6434).content.0[0] = 0xFF, "Error PKCS#15/6434: the first byte is blank"),
        (
            good(),
            None,
            |card| file(card, 0x6434).content.0.truncate(90),
            "Error PKCS#15/6434: the JSON text is cut off after 90 bytes",
        ),
        (CardPlan { file_size: Some(400), ..good() }, None, none, "bytes larger than the message"),
        (raw(b"[5]"), None, none, "Error PKCS#15/6434: item 1 of the message"),
        (
            raw(b"\x03\x0B\x6A\x00\x45"),
            None,
            none,
            "Warning PKCS#15/6434: the object holds a message of OMA DM 1.x: WBXML 1.3",
        ),
        (private(), None, none, "Note PKCS#15/6434: the object was not looked at"),
        (private(), None, |card| card.pins[0].tries_left = 1, "Warning PKCS#15/6431: PIN 01: one try is left"),
        (private(), None, |card| card.pins[0].tries_left = 0, "Error PKCS#15/6431: PIN 01: it is blocked"),
        (
            private(),
            None,
            |card| file(card, 0x6431).content.0[21] = 0x08,
            "Warning PKCS#15/6431: PIN 01: the directory does not say that it is padded",
        ),
        (
            private(),
            None,
            |card| file(card, 0x6431).content.0[33] = 0x0A,
            "Error PKCS#15/6431: PIN 0A: its reference is none",
        ),
        (
            private(),
            None,
            |card| file(card, 0x6431).content.0[33] = 0x03,
            "Error PKCS#15/6431: PIN 03: the card has no PIN",
        ),
        (
            private(),
            None,
            |card| file(card, 0x6434).read = Access::Always,
            "Warning PKCS#15/6434: the directory calls the object private, but",
        ),
        (
            private(),
            None,
            |card| file(card, 0x6430).content.0[21] = 0x00,
            "Warning PKCS#15/6434: the directory calls the object open, but",
        ),
        (
            private(),
            None,
            |card| file(card, 0x5031).content.0[8..].fill(0xFF),
            "Warning PKCS#15/6434: the object is private, but no directory of PINs",
        ),
        (
            private(),
            None,
            |card| file(card, 0x6430).content.0[24] = 0x07,
            "Warning PKCS#15/6434: the entry names a PIN that the directory",
        ),
        (
            good(),
            None,
            |card| file(card, 0x6434).read = Access::Never,
            "Warning PKCS#15/6434: the directory calls the object open",
        ),
    ];
    for (plan, pin, change, expected) in cases {
        let found = problems(&plan, pin, change);
        assert!(found.iter().any(|one| one.contains(expected)), "{expected} in\n{}", found.join("\n"));
    }
}

#[test]
fn an_identifier_with_its_header_twice_is_noted() {
    let found = problems(&good(), None, |card| {
        let entry = "302A 300E0C0C444D20426F6F747374726170 3010 0C064F4D4120444D 0606 0604672B0701 A106300404026434";
        let bytes = omadm_card::hex::decode(entry).unwrap();
        file(card, 0x6430).content.0[..bytes.len()].copy_from_slice(&bytes);
    });
    assert!(found.iter().any(|one| one.contains("stands with its header twice")), "{found:?}");
}

#[test]
fn an_object_of_lwm2m_is_listed_and_none_of_its_bytes_are_shown() {
    let mut parts = make(&good()).unwrap().into_parts();
    let entry =
        omadm_card::hex::decode("301F 3005 0C034C574D 300E0C064F4D4120444D 0604672B0901 A106300404026435").unwrap();
    let dodf = file(&mut parts, 0x6430);
    let used = dodf.content.0.iter().rposition(|byte| *byte != 0xFF).unwrap() + 1;
    dodf.content.0.truncate(used);
    dodf.content.0.extend(entry);
    let lwm2m = CardFile { id: FileId(0x6435), ..file(&mut parts, 0x6434).clone() };
    parts.applications[0].files.push(lwm2m);
    file(&mut parts, 0x6435).content.0 = b"key-of-lwm2m\xFF\xFF".to_vec();
    let (text, json, problems) = explain_link(&mut VirtualUicc::new(&parts.try_into().unwrap()), None);
    for line in [
        "LwM2M bootstrap object 2.23.43.9.1 \"LWM\" (opaqueDO) in 6435, readable by everybody",
        "6435 EF(LwM2M_Bootstrap), 14 bytes",
        "data, 12 bytes, then 2 of padding; omadm card read --object 2.23.43.9.1 gives it",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(problems.is_empty(), "{problems:?}");
    assert!(!text.contains("key-of") && !json.to_string().contains(&omadm_card::hex::encode(b"key-of")));
}

#[test]
fn what_a_card_says_neither_steers_nor_floods_a_terminal() {
    let name = "\u{9b}31m\u{202e}evil\u{7f}".to_owned() + &"x".repeat(2_000);
    let many = "[".to_owned() + &"1,".repeat(3_000) + "1]";
    let named = GOOD.replace("Acme", &name);
    let hostile = CardPlan { content: Content::Message(named.clone().into_bytes()), ..good() };
    let flood = CardPlan { content: Content::Message(many.into_bytes()), ..good() };
    let mut labels = make(&hostile).unwrap().into_parts();
    let label = b"\x1b[2J\x07\xC2\x9Bx";
    file(&mut labels, 0x6430).content.0[6..6 + label.len()].copy_from_slice(label);
    let (labelled, _, _) = explain_link(&mut VirtualUicc::new(&labels.try_into().unwrap()), None);
    for text in [explain(&hostile, None).0, explain(&flood, None).0, labelled] {
        let steers = |sign: char| sign.is_control() && sign != '\n' || matches!(sign, '\u{202a}'..='\u{202e}');
        assert!(!text.contains(steers), "{text:?}");
        assert!(text.lines().count() < 220 && text.lines().all(|line| line.chars().count() < 3_000));
    }
    assert!(explain(&hostile, None).0.contains("\\u009b31m\\u202eevil\\u007f"));
    assert!(explain(&flood, None).0.contains("more lines; `omadm card read` prints them"));
    let entry = omadm_card::hex::decode("301D 3003 0C0141 300E0C064F4D4120444D 0604672B0801 A106300404026435").unwrap();
    let mut crowd = make(&good()).unwrap().into_parts();
    file(&mut crowd, 0x6430).content.0 = entry.repeat(200);
    let (text, _, problems) = explain_link(&mut VirtualUicc::new(&crowd.try_into().unwrap()), None);
    assert!(text.contains("and 184 more") && text.lines().count() < 120 && problems.len() <= 64, "{text}");
}

#[test]
fn looking_costs_no_try_and_a_modems_pin_is_not_asked_about() {
    struct Shared(VirtualUicc, Vec<Vec<u8>>);
    impl Link for Shared {
        fn protocol(&self) -> Protocol {
            Protocol::T1
        }
        fn is_exclusive(&self) -> bool {
            false
        }
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
            self.1.push(command.to_vec());
            self.0.transmit(command)
        }
    }
    let mut card = VirtualUicc::new(&make(&plan()).unwrap());
    explain_link(&mut card, None);
    assert_eq!(card.tries_left(1), Some(3));
    let mut shared = Shared(card, Vec::new());
    explain_link(&mut shared, Some("1234"));
    assert!(shared.1.iter().all(|command| command[1] != 0x20), "PIN 01 is the modem's");
}
