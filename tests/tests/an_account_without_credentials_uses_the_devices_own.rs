//! An account that brings no credentials is used with those of the device's configuration; where that names no user it
//! is the DevID, percent-encoded, at bootstrap and in sessions alike.

use omadm_tests::{Device, Fleet, private_file};
use serde_json::json;

const DEV_ID: &str = "IMEI:490154203237674";

#[test]
fn with_the_dev_id_as_user() {
    let fleet = Fleet::start();
    fleet.add_profile(&json!({
        "name": "own",
        "match": {"default": true},
        "credentials": "none",
        "message": [{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
            "SrvID": "acme", "Name": "Acme", "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}},
        }}}],
    }));
    fleet.add_device(DEV_ID, "enrolment secret");
    let (url, ca) = (fleet.bootstrap_url(), fleet.ca());
    let section = format!("url = \"{url}\"\nca = \"{}\"\nsecret_file = \"$HOME/secret\"\n", ca.display());
    let mut device = Device::new(DEV_ID, &format!("[card]\nlink = \"off\"\n[bootstrap]\n{section}"));
    private_file(&device.join("secret"), b"enrolment secret");
    let status = device.run_until_idle(30);
    assert_eq!(status["accounts"][0]["source"], "bootstrap-server", "{status}");
    assert_eq!(fleet.device(DEV_ID)["state"], "managed");
}
