//! HTTPS with server verification: a bootstrap server with a certificate of another CA is told by its reason, and gets
//! neither the DevID nor the enrolment secret.

use omadm_tests::{Device, Fleet, private_file};

const DEV_ID: &str = "IMEI:490154203237690";

#[test]
fn of_another_ca() {
    let (fleet, other) = (Fleet::start(), Fleet::start());
    fleet.add_default_profile();
    fleet.add_device(DEV_ID, "enrolment secret");
    let right = fleet.bootstrap_section("IMEI%3A490154203237690", "$HOME/secret");
    let wrong = right.replace(fleet.ca().to_str().expect("UTF-8"), other.ca().to_str().expect("UTF-8"));
    assert_ne!(right, wrong);
    let mut device = Device::new(DEV_ID, &format!("[card]\nlink = \"off\"\n{wrong}"));
    private_file(&device.join("secret"), b"enrolment secret");
    let (code, told) = device.json(&["bootstrap"]);
    assert_eq!(code, 3, "{told}");
    let attempt = &told["attempts"][2];
    assert_eq!((&attempt["method"], &attempt["reason"]), (&"bootstrap-server".into(), &"tls".into()), "{told}");
    assert!(told["next"]["at"].is_string(), "{told}");
    let requests = fleet.get("/api/v1/requests")["requests"].clone();
    assert!(requests.as_array().expect("requests").iter().all(|one| one["dev_id"].is_null()), "{requests}");

    device.configure(DEV_ID, &format!("[card]\nlink = \"off\"\n{right}"));
    assert_eq!(device.run_until_idle(30)["state"], "managed");
}
