//! Which of the credentials that were given out are valid, and whom those of cards and factory files belong to.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Device, Fleet, IMEI, OTHER, SECRET, account, basic, profile, user};
use omadm_core::web::media;
use serde_json::{Value, json};

fn works(device: &mut Device<'_>) -> bool {
    match device.first(CLIENT_INITIATED).status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

#[test]
fn earlier_credentials_live_until_new_ones_were_used() {
    let fleet = Fleet::start();
    let mut first = fleet.bootstrapped(IMEI);
    let mut second = fleet.account(IMEI);
    assert_ne!(first.authorization, second.authorization);
    // A power cut after the 200 of the second: the first still works, and then again the second.
    assert!(works(&mut first) && works(&mut second));
    assert!(!works(&mut first), "the second was used in a session");
    assert!(works(&mut second));
}

#[test]
fn valid_are_the_last_used_and_the_four_newest_unused() {
    let fleet = Fleet::with(|config| config.limits.failures_per_minute = 100);
    let mut used = fleet.bootstrapped(IMEI);
    assert!(works(&mut used));
    let mut unused: Vec<Device<'_>> = (0..6).map(|_| fleet.account(IMEI)).collect();
    assert!(works(&mut used));
    assert!(!works(&mut unused[0]) && !works(&mut unused[1]));
    assert!(works(&mut unused[2]));
    assert!(!works(&mut used));
    for newer in &mut unused[3..] {
        assert!(works(newer));
    }
    assert!(!works(&mut unused[2]) && works(&mut unused[5]));
}

#[test]
fn the_enrolment_secret_opens_sessions_of_accounts_without_credentials() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let authorization = basic(&user(IMEI), SECRET);
    let mut device = Device {
        fleet: &fleet,
        dev_id: IMEI.into(),
        identity: omadm_tls::ClientIdentity::nobody(),
        authorization,
        cookie: None,
    };
    device.become_managed();
    assert_eq!(fleet.shown(IMEI)["state"], "managed");
}

fn issue(fleet: &Fleet, carrier: &str, label: &str) -> Vec<u8> {
    let body = json!({"profile": "meters", "for": carrier, "label": label});
    let answer = fleet.api("POST", "/messages", &body).expect(200);
    assert_eq!(answer.header("content-type"), Some(media::BOOTSTRAP));
    answer.body
}

#[test]
fn a_cards_credential_belongs_to_the_first_device_that_uses_it() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let message = issue(&fleet, "card", "8901012345678901234");
    assert_ne!(message, issue(&fleet, "card", "8901012345678901235"), "each card has its own");
    let listed = fleet.api("GET", "/messages", &Value::Null).json();
    assert_eq!(listed["messages"][1]["dev_id"], Value::Null);

    // The device is not known before: the card vouches for it.
    let mut device = Device::of_message(&fleet, IMEI, &message);
    device.become_managed();
    let shown = fleet.shown(IMEI);
    assert_eq!((&shown["source"], &shown["state"]), (&json!("smartcard"), &json!("managed")));
    let listed = fleet.api("GET", "/messages", &Value::Null).json();
    assert_eq!(
        (&listed["messages"][1]["dev_id"], &listed["messages"][1]["label"]),
        (&json!(IMEI), &json!("8901012345678901234"))
    );

    let mut thief = Device::of_message(&fleet, OTHER, &message);
    thief.first(CLIENT_INITIATED).problem(403);
    for dev_id in [IMEI, OTHER] {
        let record = fleet.why(dev_id)[0].clone();
        assert_eq!(record["code"], "other-device", "{dev_id}");
        let detail = record["detail"].as_str().unwrap();
        assert_eq!(
            detail,
            format!("the credential of card 8901012345678901234 belongs to {IMEI}, but {OTHER} used it")
        );
    }
    assert!(works(&mut device));
}

#[test]
fn a_factory_files_credential_too_and_one_device_may_have_several() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let file = issue(&fleet, "factory", "line 7");
    let card = issue(&fleet, "card", "card");
    let mut by_file = Device::of_message(&fleet, IMEI, &file);
    assert!(works(&mut by_file));
    assert_eq!(fleet.shown(IMEI)["source"], "factory");
    let mut by_card = Device::of_message(&fleet, IMEI, &card);
    assert!(works(&mut by_card));
    assert!(works(&mut by_file), "a card does not end what the factory file gave");
    assert_eq!(fleet.shown(IMEI)["source"], "factory");
}

#[test]
fn messages_without_a_secret_and_wrong_requests_for_messages() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let body = json!({"profile": "meters", "for": "card", "credentials": "none"});
    let answer = fleet.api("POST", "/messages", &body).expect(200);
    assert!(!answer.text().contains("Secret"));
    let none = fleet.api("GET", "/messages", &Value::Null).json();
    assert_eq!(none["messages"], json!([]));
    for (body, status) in [
        (json!({"profile": "other", "for": "card"}), 404),
        (json!({"profile": "meters", "for": "paper"}), 400),
        (json!({"profile": "meters"}), 400),
        (json!({"profile": "meters", "for": "card", "iccid": "x"}), 400),
        (json!({"profile": "meters", "for": "card", "surprise": 1}), 400),
    ] {
        fleet.api("POST", "/messages", &body).problem(status);
    }
    let mut big = account("big");
    big["MOData"]["DMAcc"]["Name"] = "x".repeat(40_000).into();
    let document = json!({"name": "big", "match": {"dev_id": ["X:1"]}, "message": [big]});
    let stored = fleet.add_profile(&document);
    if stored.status == 201 {
        assert!(
            fleet.api("POST", "/messages", &json!({"profile": "big", "for": "card"})).problem(409).contains("32767")
        );
    }
}

#[test]
fn no_secret_stands_in_the_database_or_the_api() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.become_managed();
    let message = issue(&fleet, "card", "1");
    let card = Device::of_message(&fleet, OTHER, &message);
    let secret = |authorization: &str| {
        let basic = omadm_core::web::Basic::parse(authorization).unwrap();
        String::from_utf8(basic.password().expose().to_vec()).unwrap()
    };
    let secrets = [secret(&device.authorization), secret(&card.authorization), SECRET.to_owned()];
    let mut seen = Vec::new();
    for path in ["/devices", "/messages", "/profiles", "/server", "/requests"] {
        seen.extend(fleet.api("GET", path, &Value::Null).expect(200).body);
    }
    seen.extend(fleet.shown(IMEI).to_string().into_bytes());
    for file in ["omadm.db", "omadm.db-wal"] {
        seen.extend(std::fs::read(fleet.folder.path().join("data").join(file)).unwrap());
    }
    let text = String::from_utf8_lossy(&seen);
    for secret in secrets {
        assert!(!text.contains(&secret));
    }
}
