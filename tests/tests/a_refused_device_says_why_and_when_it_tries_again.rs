//! A device with a wrong enrolment secret: 401 is shown with the next attempt, by the client and by the server; with the
//! right secret it is managed.

use omadm_tests::{Device, Fleet, private_file, until};

const DEV_ID: &str = "IMEI:490154203237609";

#[test]
fn with_a_wrong_enrolment_secret() {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet.add_device(DEV_ID, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237609", "$HOME/secret");
    let mut device = Device::new(DEV_ID, &format!("[card]\nlink = \"off\"\n{section}"));
    private_file(&device.join("secret"), b"not the secret");

    let mut client = device.run();
    let status = until("the client was refused", 20, || {
        assert!(client.runs(), "it never gives up: {}", client.log());
        device.status().filter(|status| status["attempts"].as_array().is_some_and(|list| !list.is_empty()))
    });
    assert_eq!((&status["state"], &status["accounts"]), (&"waiting".into(), &serde_json::json!([])), "{status}");
    let attempt = status["attempts"].as_array().and_then(|list| list.last()).expect("an attempt");
    assert_eq!(
        (&attempt["method"], &attempt["outcome"], &attempt["reason"]),
        (&"bootstrap-server".into(), &"failed".into(), &"http-401".into())
    );
    assert!(!attempt["message"].as_str().unwrap_or_default().is_empty(), "{attempt}");
    let at = until("the next attempt is known", 5, || {
        let next = device.status()?["next"].clone();
        assert!(next["why"].is_string(), "{next}");
        next["at"].as_str().filter(|at| *at > attempt["at"].as_str().unwrap_or_default()).map(str::to_owned)
    });
    let text = String::from_utf8(device.once(&["status"]).stdout).expect("UTF-8");
    assert!(text.contains("http-401") && text.contains("Next      in "), "{text} ({at})");
    assert!(!text.contains("not the secret") && !client.log().contains("not the secret"));
    assert!(client.stop().success());
    assert_eq!(device.once(&["status"]).status.code(), Some(3), "not bootstrapped");
    assert_eq!(device.once(&["bootstrap"]).status.code(), Some(4), "not authenticated");

    // The server knows it too, and says no more to a device that it knows than to any other.
    let why = fleet.json(&["device", "why", DEV_ID]);
    assert_eq!(why["requests"][0]["status"], 401, "{why}");
    assert_eq!(why["requests"][0]["authenticated"], false, "{why}");

    private_file(&device.join("secret"), b"enrolment secret");
    assert_eq!(device.run_until_idle(30)["state"], "managed");
}
