//! What `inspect` tells about a card.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::inspect::inspect;
use omadm_card::make::{CardPlan, Content, Listing, make};
use omadm_card::{ReadRequest, VirtualUicc};
use omadm_core::secret::Secret;
use serde_json::Value;

const MESSAGE: &str =
    r#"[{"ClientURI":"urn:x:1.0/a/","MOData":{"DMAcc":{"SrvID":"acme","Auth":{"Trsp":{"Secret":"c2VjcmV0"}}}}}]"#;

fn explain(plan: &CardPlan, pin: Option<&str>) -> (String, Value) {
    let pin = pin.map(Secret::from);
    let request = ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() };
    let mut card = VirtualUicc::new(&make(plan).unwrap());
    let (inspection, _) = inspect(&mut card, &request, &|| Duration::ZERO);
    (inspection.to_string(), serde_json::to_value(&inspection).unwrap())
}

fn plan() -> CardPlan {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes());
    CardPlan { pin: Some(Secret::from("1234")), listing: Listing::Both, ..plan }
}

#[test]
fn a_private_card_is_explained_without_its_secrets() {
    let (text, json) = explain(&plan(), Some("1234"));
    for line in [
        "card 8901012345678901234, T=1, home network 001-01",
        "application A0000000635",
        "OMA DM bootstrap object \"DM Bootstrap\" (opaqueDO) in 6434, behind a PIN",
        "(oidDO) in 6434",
        "PIN 01 \"PIN\", authId 01",
        "behind a PIN",
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
    assert!(text.contains("warning: everybody can read the secret urn:x:1.0/a/DMAcc/Auth/Trsp/Secret"), "{text}");
    assert_eq!(json["message"]["found"]["behind_pin"], false);
}

#[test]
fn why_there_is_no_message_is_told_beside_what_was_found() {
    let (text, json) = explain(&plan(), None);
    assert!(text.contains("no message: pin-needed") && text.contains("EF(AODF)"), "{text}");
    assert_eq!(json["message"]["missing"]["reason"], "pin-needed");
    let damaged = CardPlan { content: Content::Raw(b"[{\"ClientURI\"".to_vec()), ..plan() };
    assert_eq!(explain(&damaged, Some("1234")).1["message"]["missing"]["reason"], "malformed-message");
}
