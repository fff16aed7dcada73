//! `omadm-client account` beside a client that runs, with a real card and a factory file; `omadm device block` and
//! `remove`, and what the device makes of them.

use omadm_tests::{CardReader, Device, Fleet, private_file, until};
use serde_json::{Value, json};
use std::path::PathBuf;

const DEV_ID: &str = "IMEI:490154203237518";
const PIN: &str = "4711";

/// A fleet with a profile for the account `acme` and one for `other`.
fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet.add_profile_for("second", "other", &json!({"dev_id": ["IMEI:000000000000000"]}));
    fleet
}

/// A device with a factory file of this profile, and a slot for any card.
fn device(fleet: &Fleet, profile: &str) -> Device {
    let link = "[card]\nlink = \"socket:$HOME/card.sock\"\npin_file = \"$HOME/pin\"\nwait = \"1s\"\nallow = \"any\"\n";
    let device = Device::new(DEV_ID, &format!("{link}[factory]\nfile = \"$HOME/factory.json\"\n"));
    private_file(&device.join("pin"), PIN.as_bytes());
    private_file(&device.join("factory.json"), &fleet.issue_message(profile, "factory", "line 1, no 1"));
    device
}

/// A card with the account `acme`.
fn card(fleet: &Fleet, device: &Device) -> PathBuf {
    let (pin, card) = (device.join("pin"), device.join("card.json"));
    let (pin, path) = (pin.to_str().expect("UTF-8"), card.to_str().expect("UTF-8"));
    let (code, text) = fleet.omadm(&["card", "create", "--profile", "meters", "--pin", pin, "-o", path]);
    assert_eq!(code, 0, "{text}");
    card
}

fn accounts(status: &Value) -> Vec<(String, String)> {
    let text = |one: &Value, name: &str| one[name].as_str().expect("text").to_owned();
    let list = status["accounts"].as_array().expect("accounts");
    list.iter().map(|one| (text(one, "srv_id"), text(one, "source"))).collect()
}

/// Waits until these are the accounts, and each had a session.
fn accounts_become(device: &Device, expected: &[(&str, &str)]) {
    until(&format!("the accounts are {expected:?}"), 30, || {
        let status = device.status()?;
        let are = accounts(&status);
        let same = are.iter().map(|(srv_id, source)| (&**srv_id, &**source)).eq(expected.iter().copied());
        let managed = status["accounts"].as_array()?.iter().all(|one| one["last_session"].is_string());
        (same && managed).then_some(())
    });
}

#[test]
fn an_account_that_a_person_removed_stays_away_until_it_is_allowed_again() {
    let fleet = fleet();
    let mut device = device(&fleet, "second");
    let client = device.run();
    accounts_become(&device, &[("other", "factory")]);
    let file = card(&fleet, &device);
    let reader = CardReader::on_socket(&file, &device.join("card.sock"));
    accounts_become(&device, &[("other", "factory"), ("acme", "smartcard")]);

    let (code, told) = device.json(&["account", "remove", "acme"]);
    assert_eq!((code, told), (0, json!({"srv_id": "acme", "begins_anew": false})));
    accounts_become(&device, &[("other", "factory")]);
    let (code, told) = device.json(&["bootstrap"]);
    assert_eq!((code, &told["result"]), (0, &json!("unchanged")), "{told}");
    assert!(told["attempts"][0]["message"].as_str().expect("text").contains("removed by a person"), "{told}");
    assert!(client.stop().success());
    let client = device.run();
    until("the card was read", 20, || client.log().contains("removed by a person").then_some(()));
    accounts_become(&device, &[("other", "factory")]);

    assert_eq!(device.json(&["account", "allow", "acme"]).0, 0);
    assert_eq!(device.json(&["bootstrap"]).1["result"], "bootstrapped");
    accounts_become(&device, &[("other", "factory"), ("acme", "smartcard")]);
    reader.remove();
}

#[test]
fn a_device_whose_only_account_is_removed_has_one_again_at_once() {
    let fleet = fleet();
    let mut device = device(&fleet, "meters");
    let client = device.run();
    accounts_become(&device, &[("acme", "factory")]);
    let sessions = || fleet.device(DEV_ID)["sessions"].as_array().expect("sessions").len();
    let before = sessions();
    let (code, told) = device.json(&["account", "remove", "acme"]);
    assert_eq!((code, told), (0, json!({"srv_id": "acme", "begins_anew": true})));
    until("it bootstraps anew", 30, || (sessions() > before).then_some(()));
    accounts_become(&device, &[("acme", "factory")]);
    assert!(client.stop().success());
}

#[test]
fn a_card_takes_an_account_over_once_a_person_allows_it() {
    let fleet = fleet();
    let mut device = device(&fleet, "meters");
    let client = device.run();
    accounts_become(&device, &[("acme", "factory")]);
    let file = card(&fleet, &device);
    let reader = CardReader::on_socket(&file, &device.join("card.sock"));
    until("the card is refused", 20, || client.log().contains("srv-id-taken").then_some(()));
    accounts_become(&device, &[("acme", "factory")]);

    assert_eq!(device.json(&["account", "allow", "acme"]), (0, json!({"srv_id": "acme", "begins_anew": false})));
    assert_eq!(device.status().expect("a status")["accounts"][0]["may_be_replaced"], true);
    assert_eq!(device.json(&["bootstrap"]).1["result"], "bootstrapped");
    accounts_become(&device, &[("acme", "smartcard")]);
    assert!(device.status().expect("a status")["accounts"][0].get("may_be_replaced").is_none());
    reader.remove();
}

#[test]
fn an_operator_blocks_and_removes_a_device() {
    let fleet = fleet();
    fleet.add_device(DEV_ID, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237518", "$HOME/secret");
    let mut device = Device::new(DEV_ID, &format!("[card]\nlink = \"off\"\n{section}"));
    private_file(&device.join("secret"), b"enrolment secret");
    let client = device.run();
    accounts_become(&device, &[("acme", "bootstrap-server")]);

    assert!(fleet.json(&["device", "block", DEV_ID])["blocked_at"].is_string());
    let (code, told) = device.json(&["session"]);
    assert_eq!((code, &told["sessions"][0]["reason"]), (4, &json!("http-403")), "{told}");
    let (_, why) = fleet.omadm(&["device", "why", DEV_ID]);
    assert!(why.contains("blocked at") && why.contains("[blocked]"), "{why}");
    assert!(fleet.json(&["device", "unblock", DEV_ID]).get("blocked_at").is_none());
    assert_eq!(device.json(&["session"]).0, 0);

    assert_eq!(fleet.omadm(&["device", "remove", DEV_ID]).0, 0);
    assert_eq!(device.json(&["session"]).0, 4, "what it was given is worth nothing");
    assert_eq!(device.status().expect("a status")["accounts"][0]["session"]["reason"], "http-401");
    let (_, why) = fleet.omadm(&["device", "why", DEV_ID]);
    assert!(why.contains("not known here") && why.contains("last removed at"), "{why}");
    assert_eq!(fleet.omadm(&["device", "remove", DEV_ID]).0, 3);
    assert!(client.stop().success());
}
