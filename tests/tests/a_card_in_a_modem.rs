//! A device whose card is in a modem: it is bootstrapped by AT commands, and notices a modem that comes later.

use omadm_tests::{CardReader, Device, Fleet, until};
use std::path::PathBuf;

const DEV_ID: &str = "IMEI:490154203237518";

/// A card with a message of the fleet's profile. Its secrets lie open: the PIN of the SIM is the modem's alone.
fn card(fleet: &Fleet, name: &str, iccid: &str) -> PathBuf {
    let file = fleet.join(name);
    let path = file.to_str().expect("UTF-8");
    let create = ["card", "create", "--profile", "meters", "--iccid", iccid, "--allow-public-secret", "-o", path];
    let (code, text) = fleet.omadm(&create);
    assert_eq!(code, 0, "{text}");
    file
}

fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet
}

#[test]
fn it_is_read_by_at_commands() {
    let fleet = fleet();
    let file = card(&fleet, "card.json", "8988211000000000017");
    let mut device = Device::new(DEV_ID, "[card]\nlink = \"at:$HOME/modem\"\n");
    let _reader = CardReader::in_modem(&file, &device.join("modem"));
    let status = device.run_until_idle(30);
    assert_eq!(status["accounts"][0]["source"], "smartcard", "{status}");
    assert_eq!(status["accounts"][0]["origin"], "8988211000000000017", "{status}");
    let sim = &status["sim"];
    assert_eq!((&sim["ready"], &sim["mcc"], &sim["mnc"]), (&true.into(), &"001".into(), &"01".into()), "{sim}");
    // CCHO, three SELECTs, CCHC, a READ for each directory, and one for each 255 bytes of the message.
    let apdus = status["last_run"]["apdus"].as_u64().expect("a number");
    assert!((8..=16).contains(&apdus), "{status}");
}

#[test]
fn a_modem_that_comes_later_is_noticed() {
    let fleet = fleet();
    let file = card(&fleet, "card.json", "8988211000000000017");
    let mut device = Device::new(DEV_ID, "[card]\nlink = \"at:$HOME/modem\"\nwait = \"1s\"\n");
    let client = device.run();
    until("the client waits", 60, || client.log().contains("next, at").then_some(()));
    assert_eq!(device.status().expect("a status")["state"], "waiting");
    let _reader = CardReader::in_modem(&file, &device.join("modem"));
    device.managed(60);
}

#[test]
fn another_program_at_the_port_is_named() {
    let fleet = fleet();
    let file = card(&fleet, "card.json", "8988211000000000017");
    let device = Device::new(DEV_ID, "[card]\nlink = \"at:$HOME/modem\"\nwait = \"1s\"\n");
    let reader = CardReader::in_modem(&file, &device.join("modem"));
    let other = std::fs::File::open(reader.socket()).expect("a port");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let (_, report) = device.json(&["bootstrap"]);
    let attempt = &report["attempts"][0];
    assert_eq!(attempt["reason"], "card-io", "{report}");
    assert!(attempt["message"].as_str().expect("a sentence").contains("held by another program"), "{report}");
    drop(other);
    let (code, report) = device.json(&["bootstrap"]);
    assert_eq!(code, 0, "{report}");
}
