//! Which profile a real client gets: the one of its exact DevID, of its DevID's prefix, of the home network that its SIM
//! tells, or the default, in that order; and why is told.

use omadm_tests::{CardReader, Device, Fleet, private_file};
use serde_json::json;

const EXACT: &str = "IMEI:490154203237617";
const BY_PREFIX: &str = "IMEI:490154203237625";
const BY_NETWORK: &str = "IMEI:350154203237633";
const BY_DEFAULT: &str = "IMEI:350154203237641";

/// Bootstraps a device with a SIM of this network, and says the SrvID that it got.
fn srv_id(fleet: &Fleet, dev_id: &str, imsi: &str) -> String {
    let section = fleet.bootstrap_section(&dev_id.replace(':', "%3A"), "$HOME/secret");
    let card = "[card]\nlink = \"socket:$HOME/card.sock\"\nwait = \"2s\"\n";
    let mut device = Device::new(dev_id, &format!("{card}{section}"));
    private_file(&device.join("secret"), b"enrolment secret");
    fleet.add_device(dev_id, "enrolment secret");
    let sim = device.join("sim.json");
    let (code, text) = fleet.omadm(&["card", "create", "--empty", "--imsi", imsi, "-o", sim.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    let _reader = CardReader::on_socket(&sim, &device.join("card.sock"));
    let status = device.run_until_idle(30);
    assert_eq!(status["attempts"][0]["reason"], "no-dm-object", "{status}");
    assert_eq!(status["accounts"][0]["source"], "bootstrap-server", "{status}");
    status["accounts"][0]["srv_id"].as_str().expect("a SrvID").to_owned()
}

#[test]
fn exact_then_prefix_then_network_then_default() {
    let fleet = Fleet::start();
    fleet.add_profile_for("exact", "exact", &json!({"dev_id": [EXACT]}));
    fleet.add_profile_for("prefix", "prefix", &json!({"dev_id_prefix": ["IMEI:49015420"]}));
    fleet.add_profile_for("network", "network", &json!({"network": [{"mcc": "001", "mnc": "01"}]}));
    fleet.add_profile_for("default", "default", &json!({"default": true}));
    for (dev_id, imsi, profile, why) in [
        (EXACT, "001010123456789", "exact", "DevID"),
        (BY_PREFIX, "001010123456789", "prefix", "IMEI:49015420"),
        (BY_NETWORK, "001010123456789", "network", "001"),
        (BY_DEFAULT, "001020123456789", "default", "default"),
    ] {
        assert_eq!(srv_id(&fleet, dev_id, imsi), profile, "{dev_id}");
        let told = fleet.json(&["device", "why", dev_id]);
        let requests = told["requests"].as_array().expect("requests");
        let bootstrap = requests.iter().find(|one| one["endpoint"] == "bootstrap").expect("a bootstrap request");
        let detail = bootstrap["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with(&format!("profile {profile}, ")) && detail.contains(why), "{detail}");
    }
}
