//! A credential on a card or in a factory file belongs to the first device that uses it; another one is refused and
//! shown, with two real clients.

use std::path::Path;

use omadm_tests::{CardReader, Device, Fleet, private_file, until};
use serde_json::Value;

const FIRST: &str = "IMEI:490154203237583";
const SECOND: &str = "IMEI:490154203237591";

/// The second device has the message of the first: the server refuses it, and both ends show that.
fn is_refused(fleet: &Fleet, second: &mut Device, label: &str) {
    let mut client = second.run();
    let status = until("the session is refused", 20, || {
        assert!(client.runs(), "it tries on: {}", client.log());
        second.status().filter(|status| status["accounts"][0]["session"].is_object())
    });
    assert_eq!((&status["state"], &status["accounts"][0]["suspended"]), (&"bootstrapped".into(), &false.into()));
    assert_eq!(status["accounts"][0]["session"]["reason"], "http-403", "{status}");
    until("the next attempt is known", 5, || second.status().filter(|status| status["next"]["at"].is_string()));
    assert!(client.stop().success());
    assert_eq!(second.once(&["session"]).status.code(), Some(4), "no right");

    // The operator sees both, with each of them, and the first goes on.
    let expected = format!("{label} belongs to {FIRST}, but {SECOND} used it");
    for dev_id in [FIRST, SECOND] {
        let why = fleet.json(&["device", "why", dev_id]);
        let records = why["requests"].as_array().expect("requests");
        let is_told = |one: &Value| one["detail"].as_str().is_some_and(|detail| detail.contains(&expected));
        assert!(records.iter().any(|one| one["status"] == 403 && is_told(one)), "{dev_id}: {why}");
        let (_, text) = fleet.omadm(&["device", "why", dev_id]);
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&expected), "{dev_id}: {text}");
    }
    assert_eq!(fleet.device(FIRST)["state"], "managed");
}

#[test]
fn of_a_factory_file() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let configuration = "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n";
    let message = fleet.issue_message("meters", "factory", "line 1, no 4");
    let with_the_file = |dev_id: &str| {
        let device = Device::new(dev_id, configuration);
        private_file(&device.join("factory.json"), &message);
        device
    };
    let (mut first, mut second) = (with_the_file(FIRST), with_the_file(SECOND));
    assert_eq!(first.run_until_idle(30)["accounts"][0]["source"], "factory");
    is_refused(&fleet, &mut second, "the credential of factory file line 1, no 4");
    assert_eq!(first.once(&["session"]).status.code(), Some(0));
}

#[test]
fn of_a_card() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let configuration = "[card]\nlink = \"socket:$HOME/card.sock\"\npin_file = \"$HOME/pin\"\nwait = \"2s\"\n";
    let (mut first, mut second) = (Device::new(FIRST, configuration), Device::new(SECOND, configuration));
    for device in [&first, &second] {
        private_file(&device.join("pin"), b"4711");
    }
    let card = fleet.join("card.json");
    let (pin, to) = (first.join("pin"), card.to_str().expect("UTF-8"));
    let create = ["card", "create", "--profile", "meters", "--pin", pin.to_str().expect("UTF-8")];
    let (code, text) = fleet.omadm(&[&create[..], &["--iccid", "8988000000000000040", "-o", to]].concat());
    assert_eq!(code, 0, "{text}");

    let put_into = |device: &Device| CardReader::on_socket(Path::new(to), &device.join("card.sock"));
    let reader = put_into(&first);
    assert_eq!(first.run_until_idle(30)["accounts"][0]["origin"], "8988000000000000040");
    reader.remove();
    let _reader = put_into(&second);
    is_refused(&fleet, &mut second, "the credential of card 8988000000000000040");
}
