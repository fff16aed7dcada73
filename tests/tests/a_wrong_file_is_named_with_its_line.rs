//! Configuration, factory file and profile: what is wrong is told with file, place and what was expected.

use omadm_tests::{Device, Fleet, Folder, omadm, private_file};

const DEV_ID: &str = "IMEI:490154203237658";
const FACTORY: &str = "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n";

/// What the device says about its factory file.
fn attempt(content: &str) -> (String, String) {
    let device = Device::new(DEV_ID, FACTORY);
    private_file(&device.join("factory.json"), content.as_bytes());
    let (code, told) = device.json(&["bootstrap"]);
    assert_eq!(code, 3, "{told}");
    let attempt = &told["attempts"][1];
    assert_eq!((&attempt["method"], &attempt["outcome"]), (&"factory".into(), &"failed".into()));
    let message = attempt["message"].as_str().expect("a sentence");
    let home = device.join("");
    let message = message.replace(home.to_str().expect("UTF-8"), "");
    assert_eq!(device.status().expect("a status")["attempts"][1]["message"], attempt["message"], "it is kept");
    (attempt["reason"].as_str().expect("a reason").to_owned(), message)
}

fn account(nodes: &str) -> String {
    format!(
        "[\n{{\"ClientURI\": \"urn:oma:mo:oma-dm-dmacc:1.2/acme/\",\n \"MOData\": {{\"DMAcc\": {{\n{nodes}}}}}}}]\n"
    )
}

#[test]
fn a_factory_file() {
    let perm = "\"Perm\": {\"1\": {\"MOID\": \"urn:oma:mo:oma-dm-devinfo:1.2\"}}";
    for (content, reason, expected) in [
        ("[\n{\"a\": 1,\n \"a\": 2}]", "malformed-message", "line 3"),
        ("[\n{\"ClientURI\":\n]", "malformed-message", "line 3"),
        ("", "malformed-message", "line 1"),
        (&"[".repeat(40), "malformed-message", "nested more than 32 levels deep"),
        ("7\n", "invalid-message", "an array of serialized MOs is expected"),
        ("[]\n", "invalid-message", "factory.json: the message holds no DM Account"),
        (
            &account("\"SrvID\": \"acme\", \"Name\": \"Acme\"\n"),
            "invalid-message",
            "factory.json: urn:oma:mo:oma-dm-dmacc:1.2/acme/SrvURI: is required",
        ),
        (
            &account(&format!("\"SrvID\": \"acme\", \"Name\": \"A\", \"SrvURI\": \"http://dm.example/\", {perm}\n")),
            "invalid-message",
            "factory.json: urn:oma:mo:oma-dm-dmacc:1.2/acme/SrvURI: http is allowed to loopback only",
        ),
        (
            &account(&format!("\"SrvID\": \"acme\", \"SrvUri\": \"https://dm.example/\", {perm}\n")),
            "invalid-message",
            "SrvUri: no such node",
        ),
    ] {
        let (got, message) = attempt(content);
        assert_eq!(got, reason, "{content}: {message}");
        assert!(message.starts_with("factory.json: ") && message.contains(expected), "{content}: {message}");
    }
}

#[test]
fn a_configuration() {
    let device = Device::new(DEV_ID, "[card]\nlink = \"usb\"\n");
    let told = device.once(&["status", "--json"]);
    assert_eq!((told.status.code(), told.stdout.len()), (Some(2), 0), "nothing but the report goes to standard output");
    let error = String::from_utf8(told.stderr).expect("UTF-8");
    assert!(
        error.contains("client.toml:4: ") && error.contains("exec:COMMAND, socket:PATH or off is expected"),
        "{error}"
    );
    device.configure(DEV_ID, "[card]\nlinks = \"off\"\n");
    let error = String::from_utf8(device.once(&["run"]).stderr).expect("UTF-8");
    assert!(error.contains("client.toml:4: ") && error.contains("unknown field `links`, expected one of"), "{error}");
}

#[test]
fn a_profile() {
    let fleet = Fleet::start();
    let file = fleet.join("profile.json");
    let path = file.to_str().expect("UTF-8");
    let account = account("\"SrvID\": \"acme\", \"Nam\": \"Acme\"\n");
    for (content, expected) in [
        ("{\n \"name\": \"x\",\n \"colour\": 1}".to_owned(), ["line 3", "unknown field `colour`, expected one of"]),
        ("{\n \"name\": \"x\"\n \"match\": {}}".to_owned(), ["line 3", "expected `,` or `}`"]),
        (
            format!("{{\"name\": \"x\", \"match\": {{\"default\": true}}, \"message\": {account}}}"),
            ["urn:oma:mo:oma-dm-dmacc:1.2/acme/Nam", "no such node"],
        ),
    ] {
        private_file(&file, content.as_bytes());
        let (code, error) = fleet.omadm(&["profile", "add", path]);
        assert_eq!(code, 2, "{content}: {error}");
        assert!(error.contains(path), "{error}");
        let flat = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(expected.iter().all(|one| flat.contains(one)), "{content}: {error}");
    }
    assert_eq!(fleet.json(&["profile", "list"]), serde_json::json!([]), "none was stored");
}

#[test]
fn a_servers_configuration() {
    let folder = Folder::new();
    let file = folder.join("server.toml");
    for (content, expected) in [
        ("[limits]\nmax_bodies = 1\n", ["line 2", "unknown field `max_bodies`, expected one of"]),
        ("\ndevice = 8443\n", ["line 2", "expected"]),
    ] {
        private_file(&file, content.as_bytes());
        let mut command = omadm();
        command.args(["serve", "--data"]).arg(folder.join("data")).arg("--config").arg(&file);
        let output = command.output().expect("it runs");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        let flat = error.replace("server.toml:2", "line 2");
        assert!(error.contains(file.to_str().expect("UTF-8")), "{error}");
        assert!(expected.iter().all(|one| flat.contains(one)), "{content}: {error}");
    }
}
