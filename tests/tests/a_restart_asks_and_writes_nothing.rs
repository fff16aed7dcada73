//! The four ways to an account, each with the real programs; after a restart nothing is asked again and nothing written.
//! Then another card takes the first one's place.

use omadm_card::make::{CardPlan, Content, make};
use omadm_tests::{CardReader, Device, Fleet, private_file};
use serde_json::Value;

const PIN: &str = "4711";

fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet
}

/// Makes a card with a message of the profile, behind the PIN.
fn card(fleet: &Fleet, device: &Device, name: &str, iccid: &str) -> std::path::PathBuf {
    let (pin, card) = (device.join("pin"), device.join(name));
    private_file(&pin, PIN.as_bytes());
    let (pin, path) = (pin.to_str().expect("UTF-8"), card.to_str().expect("UTF-8"));
    let (code, text) =
        fleet.omadm(&["card", "create", "--profile", "meters", "--pin", pin, "--iccid", iccid, "-o", path]);
    assert_eq!(code, 0, "{text}");
    card
}

const CARD_OVER_SOCKET: &str = "[card]\nlink = \"socket:$HOME/card.sock\"\npin_file = \"$HOME/pin\"\nwait = \"2s\"\n";

/// Runs the device again and shows that no request was made and the state file not touched.
fn restart_changes_nothing(fleet: &Fleet, device: &mut Device, dev_id: &str) {
    let before = device.state();
    let requests = fleet.device(dev_id)["requests"].clone();
    let status = device.run_until_idle(20);
    assert!(status["next"]["at"].is_string(), "{status}");
    assert_eq!(fleet.device(dev_id)["requests"], requests, "nothing was asked again");
    assert_eq!(device.state(), before, "nothing was written");
}

fn source(status: &Value) -> (&str, &str) {
    let account = &status["accounts"][0];
    (account["source"].as_str().expect("a source"), account["srv_id"].as_str().expect("a SrvID"))
}

#[test]
fn from_the_smartcard() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237518";
    let mut device = Device::new(dev_id, CARD_OVER_SOCKET);
    let first = card(&fleet, &device, "first.json", "8988000000000000016");
    let reader = CardReader::with_pcscd(&first, &device.join("pcscd.sock"));
    device.use_pcscd(reader.socket());
    device.configure(dev_id, &CARD_OVER_SOCKET.replace("socket:$HOME/card.sock", "pcsc"));
    let status = device.run_until_idle(30);
    assert_eq!(source(&status), ("smartcard", "acme"));
    assert_eq!(status["accounts"][0]["origin"], "8988000000000000016");
    restart_changes_nothing(&fleet, &mut device, dev_id);
}

#[test]
fn another_card_takes_the_place_of_the_first() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237526";
    let mut device = Device::new(dev_id, CARD_OVER_SOCKET);
    let (first, second) = (
        card(&fleet, &device, "first.json", "8988000000000000016"),
        card(&fleet, &device, "second.json", "8988000000000000024"),
    );
    let reader = CardReader::on_socket(&first, &device.join("card.sock"));
    assert_eq!(device.run_until_idle(30)["accounts"][0]["origin"], "8988000000000000016");
    restart_changes_nothing(&fleet, &mut device, dev_id);
    reader.remove();
    let reader = CardReader::on_socket(&second, &device.join("card.sock"));
    let status = device.run_until_idle(30);
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["accounts"][0]["origin"], "8988000000000000024");
    reader.remove();
}

#[test]
fn from_the_factory() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237534";
    let mut device = Device::new(dev_id, "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n");
    private_file(&device.join("factory.json"), &fleet.issue_message("meters", "factory", "line 1, no 1"));
    let status = device.run_until_idle(30);
    assert_eq!(source(&status), ("factory", "acme"));
    restart_changes_nothing(&fleet, &mut device, dev_id);
}

#[test]
fn from_the_bootstrap_server() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237542";
    fleet.add_device(dev_id, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237542", "$HOME/secret");
    let mut device = Device::new(dev_id, &format!("[card]\nlink = \"off\"\n{section}"));
    private_file(&device.join("secret"), b"enrolment secret");
    let status = device.run_until_idle(30);
    assert_eq!(source(&status), ("bootstrap-server", "acme"));
    restart_changes_nothing(&fleet, &mut device, dev_id);
}

#[test]
fn from_the_bootstrap_server_where_the_card_has_no_dm_object() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237666";
    fleet.add_device(dev_id, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237666", "$HOME/secret");
    let mut device =
        Device::new(dev_id, &format!("{}{section}", CARD_OVER_SOCKET.replace("socket:$HOME/card.sock", "pcsc")));
    private_file(&device.join("secret"), b"enrolment secret");
    private_file(&device.join("pin"), PIN.as_bytes());
    let sim = device.join("sim.json");
    let (code, text) = fleet.omadm(&["card", "create", "--empty", "-o", sim.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    let reader = CardReader::with_pcscd(&sim, &device.join("pcscd.sock"));
    device.use_pcscd(reader.socket());
    let status = device.run_until_idle(30);
    assert_eq!(source(&status), ("bootstrap-server", "acme"));
    assert_eq!(status["attempts"][0]["reason"], "no-dm-object", "{status}");
    assert_eq!((&status["sim"]["mcc"], &status["sim"]["mnc"]), (&"001".into(), &"01".into()), "{status}");
    restart_changes_nothing(&fleet, &mut device, dev_id);
}

#[test]
fn from_the_factory_where_the_card_is_damaged() {
    let fleet = fleet();
    let dev_id = "IMEI:490154203237559";
    let mut device = Device::new(dev_id, &format!("{CARD_OVER_SOCKET}[factory]\nfile = \"$HOME/factory.json\"\n"));
    private_file(&device.join("factory.json"), &fleet.issue_message("meters", "factory", "line 1, no 2"));
    let damaged = b"[{\"ClientURI\":\"urn:oma:mo:oma-dm-dmacc:1.2/acme/\",\"MOData\":{\"DMA";
    let mut plan = CardPlan::new("8988000000000000032".parse().expect("an ICCID"), damaged);
    plan.content = Content::Raw(damaged.to_vec());
    let to = device.join("card.json");
    private_file(&to, make(&plan).expect("a card").to_json().as_bytes());
    let reader = CardReader::on_socket(&to, &device.join("card.sock"));
    let status = device.run_until_idle(30);
    assert_eq!(source(&status), ("factory", "acme"));
    let attempt = &status["attempts"][0];
    assert_eq!(
        (&attempt["method"], &attempt["reason"]),
        (&"smartcard".into(), &"malformed-message".into()),
        "{status}"
    );
    restart_changes_nothing(&fleet, &mut device, dev_id);
    reader.remove();
}
