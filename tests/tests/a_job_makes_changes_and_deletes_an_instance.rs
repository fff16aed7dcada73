//! Every command of this stage through the real server and the real client: an operator's jobs make an instance of a
//! maker's MO, change it, read it three ways, move the session and delete the instance; EXEC is answered by 501.

use omadm_tests::{Device, Fleet, private_file};
use serde_json::{Value, json};

const DEV_ID: &str = "IMEI:490154203237575";
const EXAMPLE: &str = "urn:omadm:mo:example:1.0";

/// A managed device that offers the example MO.
fn managed(fleet: &Fleet) -> Device {
    fleet.add_default_profile();
    let configuration = "example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n";
    let mut device = Device::new(DEV_ID, configuration);
    private_file(&device.join("factory.json"), &fleet.issue_message("meters", "factory", "line 1, no 3"));
    device.run_until_idle(30);
    device
}

/// Queues a job, has the device open a session, and says what came of the job.
fn carry_out(fleet: &Fleet, device: &Device, job: &Value) -> Value {
    let path = format!("/api/v1/devices/{DEV_ID}/jobs");
    let id: Value = serde_json::from_slice(&fleet.post(&path, job)).expect("JSON");
    let (code, told) = device.json(&["session", "acme"]);
    assert_eq!(code, 0, "{told}");
    let done = fleet.get(&format!("{path}/{}", id["id"]));
    assert_eq!(done["state"], "done", "{done}");
    // Both ends say the same of the session.
    assert_eq!(told["sessions"][0]["log"], fleet.device(DEV_ID)["last_session"]["commands"]);
    done
}

fn codes(done: &Value) -> Vec<u64> {
    done["results"].as_array().expect("results").iter().map(|one| one["sc"].as_u64().expect("a number")).collect()
}

#[test]
fn an_instance_lives_from_hget_to_delete() {
    let fleet = Fleet::start();
    let device = managed(&fleet);
    let none = ["tree", "urn:omadm:mo:example:1.0/*/"];
    assert_eq!(device.once(&none).status.code(), Some(3), "there is no instance yet");

    let made = carry_out(
        &fleet,
        &device,
        &json!({
            "commands": [["HGET", "data:hall"]],
            "data": {"hall": [{"ClientURI": format!("{EXAMPLE}//"), "MOData": {"Example": {
                "Name": "hall", "Target": 21.5, "Enabled": true, "Count": 3
            }}}]},
        }),
    );
    assert_eq!(codes(&made), [200]);
    let root = made["results"][0]["URI"][0].as_str().expect("where it is").to_owned();
    assert!(root.starts_with(&format!("{EXAMPLE}/")) && root.ends_with('/') && !root.ends_with("//"), "{root}");

    // Changed, sent by PUT and by POST, read inside the session; the session moves on with CONT meanwhile.
    let dm = format!("{}/dm?part=2", fleet.bootstrap_url().trim_end_matches("/bootstrap"));
    let name = format!("{root}Name");
    let target = format!("{root}Target");
    let changed = carry_out(
        &fleet,
        &device,
        &json!({
            "commands": [
                ["CONT", dm],
                ["HGET", "data:target", target],
                ["HPUT", "data:whole", root],
                ["HPOST", "data:parts", name, target],
                ["GET", target],
                ["GET", format!("{root}Missing")],
                ["EXEC", root],
                ["CONT", "https://elsewhere.example/dm"],
            ],
            "data": {"target": {"MOData": {"Example": {"Target": 19}}}},
        }),
    );
    assert_eq!(codes(&changed), [200, 200, 200, 200, 200, 404, 501, 403], "{changed}");
    assert_eq!(changed["results"][4]["Data"][0]["MOData"]["Example"], json!({"Target": 19.0}), "{changed}");
    let whole = &changed["uploads"]["whole"][0];
    assert_eq!(whole["ClientURI"], root.as_str());
    assert_eq!(
        whole["MOData"]["Example"],
        json!({"Name": "hall", "Target": 19.0, "Enabled": true, "Count": 3}),
        "the leaf alone was replaced"
    );
    let parts = &changed["uploads"]["parts"];
    assert_eq!((&parts[0]["ClientURI"], &parts[1]["ClientURI"]), (&json!(name), &json!(target)));

    // A person at the device sees the same; it outlives the program.
    let (code, shown) = device.json(&["tree", &root]);
    assert_eq!((code, &shown[0]["MOData"]["Example"]["Target"]), (0, &json!(19.0)), "{shown}");

    let deleted = carry_out(&fleet, &device, &json!({"commands": [["DELETE", root], ["GET", name], ["DELETE", root]]}));
    assert_eq!(codes(&deleted), [200, 404, 404]);
    assert_eq!(device.once(&none).status.code(), Some(3), "the instance is gone");
}

#[test]
fn what_the_server_may_not_do_is_refused() {
    let fleet = Fleet::start();
    let device = managed(&fleet);
    let done = carry_out(
        &fleet,
        &device,
        &json!({
            "commands": [
                ["HGET", "data:bad"],
                ["HGET", "data:model", "urn:oma:mo:oma-dm-devinfo:1.2//Mod"],
                ["DELETE", "urn:oma:mo:oma-dm-devinfo:1.2//Mod"],
                ["GET", "urn:oma:mo:oma-dm-dmacc:1.2//SrvURI"],
                ["GET", "urn:omadm:mo:example:1.0"],
            ],
            "data": {
                "bad": [{"ClientURI": format!("{EXAMPLE}//"), "MOData": {"Example": {"Name": "x", "Count": "many"}}}],
                "model": {"MOData": {"DevInfo": {"Mod": "other"}}},
            },
        }),
    );
    assert_eq!(codes(&done), [400, 403, 403, 403, 400], "{done}");
    assert_eq!(device.once(&["tree", "urn:omadm:mo:example:1.0/*/"]).status.code(), Some(3), "nothing was made");
}
