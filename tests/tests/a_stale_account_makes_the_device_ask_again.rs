//! A factory account whose server is gone for good: once it is stale, the bootstrap server is asked, and its account takes
//! the place of the old one (Profiles P-3, P-25).

use omadm_tests::{Device, Fleet, private_file, until};

#[test]
fn and_the_new_account_takes_its_place() {
    let (mut gone, fleet) = (Fleet::start(), Fleet::start());
    gone.add_default_profile();
    fleet.add_default_profile();
    let dev_id = "IMEI:490154203237609";
    fleet.add_device(dev_id, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237609", "$HOME/secret");
    let mut device = Device::new(
        dev_id,
        &format!(
            "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n[session]\nstale_after = \"2s\"\n{section}"
        ),
    );
    private_file(&device.join("secret"), b"enrolment secret");
    private_file(&device.join("factory.json"), &gone.issue_message("meters", "factory", "line 2, no 1"));
    gone.stop();

    let client = device.run();
    let status = until("the account of the bootstrap server is managed", 30, || {
        device
            .status()
            .filter(|status| status["state"] == "managed" && status["accounts"][0]["source"] == "bootstrap-server")
    });
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1), "{status}");
    let methods: Vec<_> = status["attempts"].as_array().into_iter().flatten().map(|one| &one["method"]).collect();
    assert!(methods.contains(&&"factory".into()) && methods.contains(&&"bootstrap-server".into()), "{status}");
    assert!(client.stop().success());
}
