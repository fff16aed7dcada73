//! `omadm demo --once --json`: all four devices end up managed; with one of them sabotaged the demo says so.

use std::time::{Duration, Instant};

use omadm_tests::{omadm, omadm_client};
use serde_json::Value;

fn demo(arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let client = omadm_client().get_program().to_owned();
    let output =
        omadm().args(["demo", "--once"]).args(arguments).env("OMADM_CLIENT", client).output().expect("it runs");
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn all_four_are_managed() {
    let started = Instant::now();
    let (code, stdout, stderr) = demo(&["--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let report: Value = serde_json::from_slice(&stdout).expect("one JSON object on standard output");
    assert_eq!(report["profile"], "omadm-1");
    let devices = report["devices"].as_array().expect("devices");
    let sources: Vec<_> = devices.iter().map(|one| (one["name"].as_str(), one["source"].as_str())).collect();
    let expected =
        [("sim", "smartcard"), ("factory", "factory"), ("network", "bootstrap-server"), ("mixed-up", "factory")];
    assert_eq!(sources, expected.map(|(name, source)| (Some(name), Some(source))));
    for device in devices {
        let alerts = device["session"]["alerts"].as_array().expect("alerts");
        assert!(alerts.contains(&Value::from("urn:oma:at:dm:2.0:BootstrapComplete")), "{device}");
        assert_eq!(device["session"]["ended"], true, "{device}");
        for count in ["round_trips", "bytes", "ms"] {
            assert!(device[count].as_u64().is_some_and(|number| number > 0), "{count} of {device}");
        }
        assert_eq!(
            members(device),
            ["name", "dev_id", "source", "attempts", "srv_id", "session", "apdus", "round_trips", "bytes", "ms"]
        );
        for attempt in device["attempts"].as_array().expect("attempts") {
            assert_eq!(members(attempt), ["method", "outcome", "reason", "message", "at"]);
        }
        assert_eq!(device["apdus"].as_u64().expect("a number") > 0, device["name"] != "factory", "{device}");
    }
    let attempts = |index: usize| -> Vec<_> {
        let list = devices[index]["attempts"].as_array().expect("attempts");
        list.iter().map(|one| [&one["method"], &one["outcome"], &one["reason"]].map(|word| word.as_str())).collect()
    };
    assert_eq!(attempts(0), [[Some("smartcard"), Some("installed"), None]]);
    assert_eq!(attempts(1).last(), Some(&[Some("factory"), Some("installed"), None]));
    assert_eq!(attempts(2)[0], [Some("smartcard"), Some("none"), Some("no-dm-object")]);
    assert_eq!(attempts(2).last(), Some(&[Some("bootstrap-server"), Some("installed"), None]));
    assert_eq!(attempts(3)[0], [Some("smartcard"), Some("failed"), Some("malformed-message")]);
    assert_eq!(attempts(3)[1], [Some("factory"), Some("installed"), None]);
}

#[test]
fn without_pcscd_the_cards_are_behind_sockets_and_it_says_so() {
    let (code, stdout, stderr) = demo(&["--no-pcscd"]);
    let story = String::from_utf8(stdout).expect("UTF-8");
    assert_eq!(code, Some(0), "{story}{stderr}");
    assert!(story.contains("3 virtual cards are behind local sockets, without PC/SC"), "{story}");
    for name in ["sim", "factory", "network", "mixed-up"] {
        assert!(story.lines().any(|line| line.contains(name) && line.contains("is managed after")), "{name}: {story}");
    }
}

#[test]
fn a_sabotaged_device_is_found_out() {
    for name in ["sim", "factory", "network", "mixed-up"] {
        let (code, stdout, stderr) = demo(&["--json", "--sabotage", name]);
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert!(serde_json::from_slice::<Value>(&stdout).is_ok(), "{name}: the report comes all the same");
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}
