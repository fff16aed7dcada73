//! `omadm-client status --json`: the samples that scripts rely on, for a device before, while and after it is brought
//! under management. Times, numbers that differ each time, folders and ports are replaced by words.

use omadm_tests::{CardReader, Device, Fleet, private_file, until};
use serde_json::Value;

const DEV_ID: &str = "IMEI:490154203237682";

/// Replaces what differs from run to run.
fn steady(value: &mut Value, name: &str, device: &Device, fleet: &Fleet) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| steady(item, name, device, fleet)),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| steady(value, name, device, fleet)),
        Value::String(text) if matches!(name, "at" | "last_session") => {
            assert!(text.len() == 20 && text.ends_with('Z') && text.as_bytes()[10] == b'T', "RFC 3339: {text}");
            *text = "TIME".to_owned();
        }
        Value::String(text) => {
            let port = fleet.device_address().rsplit_once(':').expect("a port").1;
            let home = device.join("");
            *text = text.replace(home.to_str().expect("UTF-8"), "HOME/").replace(port, "PORT");
        }
        Value::Number(number) if matches!(name, "apdus" | "round_trips" | "bytes" | "ms") => {
            let word = if number.as_u64() == Some(0) { "ZERO" } else { "NUMBER" };
            *value = Value::from(word);
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

fn compare(mut status: Value, sample: &str, device: &Device, fleet: &Fleet) {
    steady(&mut status, "", device, fleet);
    let text = serde_json::to_string_pretty(&status).expect("JSON");
    assert_eq!(text.trim(), sample.trim(), "\n{text}\n");
}

#[test]
fn of_a_device_on_its_way() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    let section = fleet.bootstrap_section("IMEI%3A490154203237682", "$HOME/secret");
    let card = "[card]\nlink = \"socket:$HOME/card.sock\"\nwait = \"2s\"\nevery = \"2d\"\n[factory]\nfile = \"$HOME/factory.json\"\n";
    let mut device = Device::new(DEV_ID, &format!("{card}{section}"));
    private_file(&device.join("secret"), b"enrolment secret");
    let (code, status) = device.json(&["status"]);
    assert_eq!(code, 3);
    compare(status, include_str!("../samples/status-unconfigured.json"), &device, &fleet);

    let sim = device.join("sim.json");
    let (code, text) = fleet.omadm(&["card", "create", "--empty", "-o", sim.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{text}");
    let _reader = CardReader::on_socket(&sim, &device.join("card.sock"));
    let mut client = device.run();
    let status = until("the device waits", 20, || {
        assert!(client.runs(), "{}", client.log());
        let (code, status) = device.json(&["status"]);
        (code == 3 && status["state"] == "waiting" && status["next"]["why"].as_str()?.contains("slow rate"))
            .then_some(status)
    });
    compare(status, include_str!("../samples/status-waiting.json"), &device, &fleet);
    assert!(client.stop().success());

    fleet.add_device(DEV_ID, "enrolment secret");
    let status = device.run_until_idle(30);
    let attempts = status["attempts"].as_array().expect("attempts").len();
    let mut status = status;
    status["attempts"] = status["attempts"].as_array().expect("attempts")[attempts - 3..].into();
    compare(status, include_str!("../samples/status-managed.json"), &device, &fleet);
    assert_eq!(device.json(&["status"]).0, 0);
}
