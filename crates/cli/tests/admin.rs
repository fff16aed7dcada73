//! The commands that speak to a server, with a real one.

#![allow(clippy::unwrap_used)]

#[path = "kit/server.rs"]
mod server;

use serde_json::{Value, json};
use server::{Server, text};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

const DEV_ID: &str = "IMEI:493005100592800";

impl Server {
    fn code(&self, arguments: &[&str]) -> i32 {
        self.omadm(arguments).status.code().unwrap()
    }

    /// What goes to standard output under `--json`, all of which has to be one value.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.omadm(&[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn add_profile(&self, name: &str, matches: &Value) -> Output {
        let perm = json!({"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}});
        let account = json!({"SrvID": "acme", "Name": "Acme", "Perm": perm});
        let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2//", "MOData": {"DMAcc": account}}]);
        let profile = json!({"name": name, "match": matches, "message": message});
        fs::write(self.path("profile.json"), profile.to_string()).unwrap();
        self.omadm(&["profile", "add", "profile.json"])
    }
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn profiles_are_added_listed_shown_tried_out_and_removed() {
    let server = Server::start();
    assert_eq!(server.json(&["profile", "list"]), json!([]));
    let added = server.add_profile("meters", &json!({"dev_id_prefix": ["IMEI:4930"]}));
    assert!(added.status.success(), "{}", text(&added.stderr));
    let list = server.json(&["profile", "list"]);
    assert_eq!((list[0]["name"].as_str(), list.as_array().unwrap().len()), (Some("meters"), 1));

    // What is shown can be added again.
    let shown = server.omadm(&["profile", "show", "meters"]).stdout;
    let mut again =
        server.command(&["profile", "add", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    again.stdin.take().unwrap().write_all(&shown).unwrap();
    assert!(again.wait().unwrap().success());

    let preview = server.json(&["profile", "preview", "--dev-id", DEV_ID]);
    assert_eq!(preview["profile"], "meters");
    assert!(preview["message"].is_array() && preview["why"].is_string(), "{preview}");
    assert_eq!(server.code(&["profile", "preview", "--dev-id", "IMEI:1"]), 3);
    assert_eq!(server.code(&["profile", "preview", "trackers", "--dev-id", DEV_ID]), 3);

    assert_eq!(server.code(&["profile", "remove", "meters"]), 0);
    assert_eq!(server.code(&["profile", "remove", "meters"]), 3);
}

#[test]
fn a_bad_profile_is_refused_with_file_and_place() {
    let server = Server::start();
    fs::write(server.path("bad.json"), "{\"name\": \"x\",\n \"colour\": 1}").unwrap();
    let output = server.omadm(&["profile", "add", "bad.json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let error = text(&output.stderr);
    assert!(error.contains("bad.json") && error.contains("line 2") && error.contains("colour"), "{error}");
    assert_eq!(server.code(&["profile", "add", "none.json"]), 2);
}

#[test]
fn devices_are_added_and_explained() {
    let server = Server::start();
    let made_up = server.json(&["device", "add", DEV_ID]);
    assert!(made_up["secret"].as_str().unwrap().len() >= 16, "{made_up}");
    fs::write(server.path("secret"), "enrolment secret\n").unwrap();
    let given = server.json(&["device", "add", "IMEI:1", "--secret-file", "secret"]);
    assert!(given.get("secret").is_none() && given["user"] == "IMEI%3A1", "{given}");
    assert_eq!(server.code(&["device", "add", "not a DevID"]), 2);

    let list = server.json(&["device", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let device = server.json(&["device", "show", DEV_ID]);
    for name in ["dev_id", "state", "source", "srv_id", "devinfo", "sessions", "requests"] {
        assert!(members(&device).contains(&name), "{name}: {device}");
    }
    assert_eq!(server.code(&["device", "show", "IMEI:2"]), 3);
    let why = server.json(&["device", "why", DEV_ID]);
    assert_eq!((&why["state"], &why["requests"]), (&json!("known"), &json!([])));
    let for_people = text(&server.omadm(&["device", "why", "IMEI:2"]).stdout);
    assert!(for_people.contains("not known here"), "{for_people}");
}

#[test]
fn a_card_gets_a_message_that_the_server_issues() {
    let server = Server::start();
    server.add_profile("meters", &json!({"default": true}));
    fs::write(server.path("pin"), "4711\n").unwrap();
    fs::set_permissions(server.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    let create = ["card", "create", "--profile", "meters", "--pin", "pin", "-o", "card.json"];
    assert_eq!(server.code(&create), 0);
    let message = server.json(&["card", "read", "card.json", "--pin-file", "pin"]);
    let account = &message["message"][0]["MOData"]["DMAcc"];
    assert!(account["Auth"]["Trsp"]["Secret"].is_string() && account["SrvID"] == "acme", "{message}");
    assert_eq!(server.code(&["card", "create", "--profile", "none", "-o", "none.json"]), 2);
    // Without a PIN everybody could read the credentials.
    assert_eq!(server.code(&["card", "create", "--profile", "meters", "-o", "open.json"]), 2);
}

#[test]
fn the_message_of_a_lost_card_is_found_and_withdrawn() {
    let server = Server::start();
    assert_eq!(server.json(&["message", "list"]), json!([]));
    assert!(text(&server.omadm(&["message", "list"]).stdout).contains("omadm card create --profile"));
    server.add_profile("meters", &json!({"default": true}));
    fs::write(server.path("pin"), "4711\n").unwrap();
    fs::set_permissions(server.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    for iccid in ["8988000000000000001", "8988000000000000002"] {
        let create =
            ["card", "create", "--profile", "meters", "--pin", "pin", "--iccid", iccid, "--force", "-o", "c.json"];
        assert_eq!(server.code(&create), 0);
    }
    let list = server.json(&["message", "list"]);
    let users: Vec<_> = list.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect();
    assert_eq!(
        (users.len(), &list[0]["label"], &list[0]["source"]),
        (2, &json!("8988000000000000002"), &json!("smartcard"))
    );
    assert_eq!(server.json(&["message", "list", "--limit", "1"]).as_array().unwrap().len(), 1);
    let shown = text(&server.omadm(&["message", "list"]).stdout);
    assert!(shown.contains(users[1]) && shown.contains("8988000000000000001") && shown.contains("not yet"), "{shown}");

    assert_eq!(server.json(&["message", "withdraw", users[0]]), json!({"withdrawn": users[0]}));
    let again = server.omadm(&["message", "withdraw", users[0]]);
    assert_eq!(again.status.code(), Some(3), "there is nothing to withdraw any more");
    assert!(text(&again.stderr).contains("omadm message list"), "{}", text(&again.stderr));
    let said = text(&server.omadm(&["message", "withdraw", users[1]]).stdout);
    assert!(said.contains(users[1]) && said.contains("worth nothing"), "{said}");
    assert_eq!(server.json(&["message", "list"]), json!([]));
    // A name is one segment of a path, whatever it holds.
    assert_eq!(server.code(&["message", "withdraw", "../devices"]), 3);
    assert_eq!(server.code(&["message", "list", "--limit", "0"]), 2);
}

#[test]
fn a_wrong_token_is_4() {
    let server = Server::start();
    fs::write(server.path("token"), "wrong\n").unwrap();
    let url = server.ready["admin_url"].as_str().unwrap();
    assert_eq!(server.code(&["device", "list", "--server", url, "--token-file", "token"]), 4);
    assert_eq!(server.code(&["device", "list", "--server", url]), 0, "the token of the data folder");
}

#[test]
fn serve_says_where_it_is_and_ends_politely() {
    let mut server = Server::start();
    let named = ["device", "plain", "admin", "public_url", "admin_url", "admin_token_file", "ca_file"];
    assert_eq!(members(&server.ready), named);
    let token = fs::metadata(server.path("data/admin-token")).unwrap().permissions().mode();
    assert_eq!(token & 0o777, 0o600);
    let pid = rustix::process::Pid::from_child(&server.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.process.wait().unwrap().success());
    let output = server.omadm(&["device", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no server runs"), "{}", text(&output.stderr));
}

#[test]
fn a_device_is_known_by_a_key_of_tls_too() {
    let server = Server::start();
    let key = "30313233343536373839616263646566";
    fs::write(server.path("key.hex"), format!("{key}\n")).unwrap();
    let added = server.omadm(&["device", "add", DEV_ID, "--psk-file", "key.hex"]);
    let said = String::from_utf8(added.stdout).unwrap();
    assert!(said.contains("its identity is IMEI%3A493005100592800") && !said.contains("secret"), "{said}");
    let added = server.json(&["device", "add", DEV_ID, "--psk-file", "key.hex", "--psk-identity", "meter 7"]);
    assert!(added.get("secret").is_none() && !added.to_string().contains(key), "{added}");
    let ca = server.ready["ca_file"].as_str().unwrap();
    server.json(&["device", "add", DEV_ID, "--cert", ca]);

    fs::write(server.path("short.hex"), "abcd").unwrap();
    for wrong in [
        &["--psk-file", "short.hex"][..],
        &["--psk-file", "none.hex"],
        &["--cert", "key.hex"],
        &["--device-ca"],
        &["--psk-file", "key.hex", "--cert", ca],
        &["--psk-identity", "x"],
    ] {
        assert_eq!(server.code(&[&["device", "add", DEV_ID], wrong].concat()), 2, "{wrong:?}");
    }
}

#[test]
fn a_hangup_is_no_end() {
    let server = Server::start();
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    assert_eq!(server.code(&["device", "list"]), 0);
}

#[test]
fn a_batch_and_a_card_that_is_there_get_messages_that_the_server_issues() {
    let server = Server::start();
    server.add_profile("meters", &json!({"default": true}));
    fs::write(server.path("cards.csv"), "iccid,pin\n8988000000000000001,4711\n8988000000000000002,4712\n").unwrap();
    let batch = ["card", "batch", "cards.csv", "--profile", "meters", "--out", "made"];
    let report = server.json(&batch);
    assert_eq!(report["made"], 2);
    let manifest = fs::read_to_string(server.path("made/manifest.jsonl")).unwrap();
    let entries: Vec<Value> = manifest.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let users: Vec<_> = entries.iter().map(|entry| entry["users"][0].as_str().unwrap()).collect();
    assert!(users.len() == 2 && users[0] != users[1], "credentials of its own for each: {users:?}");
    let url = server.ready["admin_url"].as_str().unwrap();
    assert!(entries.iter().all(|entry| entry["profile"] == "meters"), "{url}: {manifest}");
    assert_eq!(server.json(&batch)["made_before"], 2, "nothing is issued again");
    assert_eq!(server.code(&["card", "batch", "cards.csv", "--profile", "none", "--out", "other"]), 2);

    fs::write(server.path("pin"), "4711\n").unwrap();
    fs::set_permissions(server.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(server.path("adm"), "12345678\n").unwrap();
    fs::set_permissions(server.path("adm"), fs::Permissions::from_mode(0o600)).unwrap();
    let create = ["card", "create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"];
    assert_eq!(server.code(&create), 0);
    let write = ["card", "write", "card.json", "--profile", "meters", "--adm-file", "adm", "--behind-pin"];
    let report = server.json(&[&write[..], &["--pin-file", "pin"]].concat());
    assert_eq!((&report["written"], &report["unchecked"]), (&json!(true), &json!([])));
    let message = server.json(&["card", "read", "card.json", "--pin-file", "pin"]);
    assert!(message["message"][0]["MOData"]["DMAcc"]["Auth"]["Trsp"]["Secret"].is_string(), "{message}");
}

#[test]
fn what_was_issued_for_a_card_that_is_not_made_is_withdrawn() {
    let server = Server::start();
    server.add_profile("meters", &json!({"default": true}));
    for (name, content) in [("pin", "4711\n"), ("adm", "12345678\n"), ("wrong", "87654321\n")] {
        fs::write(server.path(name), content).unwrap();
        fs::set_permissions(server.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    // Everybody could read these (Profile P-36).
    fs::write(server.path("cards.csv"), "iccid\n8988000000000000001\n8988000000000000002\n").unwrap();
    assert_eq!(server.code(&["card", "batch", "cards.csv", "--profile", "meters", "--out", "made"]), 1);
    assert_eq!(server.code(&["card", "create", "--profile", "meters", "-o", "open.json"]), 2);
    assert_eq!(server.code(&["card", "script", "--profile", "meters", "--as", "apdu", "-o", "open.apdu"]), 2);
    let create = ["card", "create", "--empty", "--pin", "pin", "--adm-file", "adm", "-o", "card.json"];
    assert_eq!(server.code(&create), 0);
    let write = ["card", "write", "card.json", "--profile", "meters", "--behind-pin", "--pin-file", "pin"];
    assert_eq!(server.code(&[&write[..], &["--adm-file", "wrong"]].concat()), 4);
    assert_eq!(server.code(&write[..6]), 2, "open");
    // Certificates too; and what a template holds is not ours to withdraw.
    let profile = fs::read_to_string(server.path("profile.json")).unwrap();
    let with = |name: &str, scheme: &str| {
        let mut profile: Value = serde_json::from_str(&profile).unwrap();
        (profile["name"], profile["credentials"]) = (json!(name), json!(scheme));
        profile["match"] = json!({"dev_id_prefix": [name]});
        if scheme == "none" {
            let data = json!({"Data": "YmFzaWM6YWNtZQ==", "Secret": "aHVzaGh1c2g="});
            profile["message"][0]["MOData"]["DMAcc"]["Auth"] = json!({ "Trsp": data });
        }
        fs::write(server.path("other.json"), profile.to_string()).unwrap();
        let added = server.omadm(&["profile", "add", "other.json"]);
        assert!(added.status.success(), "{}", text(&added.stderr));
        let refused = server.omadm(&["card", "create", "--profile", name, "-o", "open.json"]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(!text(&refused.stderr).contains("withdrawn"), "{}", text(&refused.stderr));
    };
    with("certificates", "x509");
    with("shared", "none");
    assert_eq!(server.json(&["message", "list"]), json!([]), "no credential is valid that lies nowhere");
    let batch = ["card", "batch", "cards.csv", "--profile", "certificates", "--make-pins", "pins.csv", "--out", "x509"];
    assert_eq!(server.code(&batch), 0);
    let manifest = fs::read_to_string(server.path("x509/manifest.jsonl")).unwrap();
    let entry: Value = serde_json::from_str(manifest.lines().nth(1).unwrap()).unwrap();
    for line in manifest.lines().skip(1) {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(server.code(&["message", "withdraw", entry["users"][0].as_str().unwrap()]), 0);
    }
    assert!(entry["users"][0].as_str().is_some_and(|user| user.len() == 64), "{entry}");
    assert_eq!(server.code(&[&write[..], &["--adm-file", "adm"]].concat()), 0);
    assert_eq!(server.code(&["card", "create", "--profile", "meters", "--pin", "pin", "-o", "private.json"]), 0);
    assert_eq!(server.json(&["message", "list"]).as_array().unwrap().len(), 2);
}
