//! The real client under strace, killed at each call that touches its state file or its folder, and with each of these
//! calls failing: what is left is the old state or the new one, and the next run ends managed.

use std::os::unix::process::ExitStatusExt;

use omadm_tests::{CardReader, Device, Fleet, private_file};
use serde_json::{Value, json};

const DEV_ID: &str = "IMEI:490154203237708";
const FACTORY: &str = "example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n";

fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet
}

/// A new device of this configuration with these files.
fn device(configuration: &str, files: &[(&str, Vec<u8>)]) -> Device {
    let device = Device::new(DEV_ID, configuration);
    files.iter().for_each(|(name, content)| private_file(&device.join(name), content));
    device
}

/// The calls of a command that is left alone.
fn calls(device: &Device, arguments: &[&str]) -> Vec<(&'static str, usize)> {
    let output = device.traced(None, arguments).output().expect("strace runs");
    assert!(output.status.success(), "{output:?}");
    let calls = device.storage_calls();
    assert!(calls.len() >= 7 && calls.iter().any(|(name, _)| *name == "fsync"), "{calls:?}");
    calls
}

/// No account, or the whole one; which.
fn accounts(device: &Device) -> usize {
    let (code, status) = device.json(&["status"]);
    let accounts = status["accounts"].as_array().expect("accounts");
    match accounts.as_slice() {
        [] => assert_eq!(code, 3, "{status}"),
        [account] => {
            let whole = (&account["srv_id"], &account["name"]);
            assert_eq!((code, whole), (0, (&"acme".into(), &"Acme device management".into())), "{status}");
        }
        _ => panic!("{status}"),
    }
    accounts.len()
}

/// Kills `bootstrap` at each of its calls, on a new device each time.
fn kill_each_call_of_bootstrap(new: impl Fn() -> Device) {
    let calls = calls(&new(), &["bootstrap"]);
    let mut found = Vec::new();
    for (name, number) in &calls {
        let mut device = new();
        let inject = format!("{name}:signal=KILL:when={number}");
        let killed = device.traced(Some(&inject), &["bootstrap"]).output().expect("strace runs");
        assert_eq!(killed.status.signal(), Some(9), "{inject}: {killed:?}");
        found.push(accounts(&device));
        let status = device.run_until_idle(30);
        assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1), "{inject}: {status}");
    }
    println!("killed at each of {calls:?}; accounts found: {found:?}");
    assert!(found.is_sorted() && found.contains(&0) && found.contains(&1), "{found:?}");
}

#[test]
fn bootstrap_from_the_factory() {
    let fleet = fleet();
    let message = fleet.issue_message("meters", "factory", "line 1, no 8");
    kill_each_call_of_bootstrap(|| device(FACTORY, &[("factory.json", message.clone())]));
}

#[test]
fn bootstrap_over_what_a_killed_program_and_a_broken_flash_left() {
    let fleet = fleet();
    let message = fleet.issue_message("meters", "factory", "line 1, no 12");
    let new = || {
        let left = [("state.new", b"omadm-state 1 torn".to_vec()), ("state", b"damaged".to_vec())];
        device(FACTORY, &[&left[..], &[("factory.json", message.clone())]].concat())
    };
    let calls = calls(&new(), &["bootstrap"]);
    assert!(calls.contains(&("unlink", 1)) && calls.contains(&("rename", 2)), "{calls:?}");
    for (name, number) in &calls {
        let mut device = new();
        let inject = format!("{name}:signal=KILL:when={number}");
        let killed = device.traced(Some(&inject), &["bootstrap"]).output().expect("strace runs");
        assert_eq!(killed.status.signal(), Some(9), "{inject}: {killed:?}");
        device.run_until_idle(30);
        let files = std::fs::read_dir(device.join("")).expect("a folder").flatten();
        let aside = files.filter(|file| file.file_name().to_string_lossy().starts_with("state.damaged-"));
        let aside: Vec<_> = aside.map(|file| std::fs::read(file.path()).expect("a file")).collect();
        assert_eq!(aside, [b"damaged"], "{inject}: kept, and nothing else was taken for damaged");
    }
}

#[test]
fn bootstrap_from_the_server() {
    let fleet = fleet();
    fleet.add_device(DEV_ID, "enrolment secret");
    let section = fleet.bootstrap_section("IMEI%3A490154203237708", "$HOME/secret");
    let configuration = format!("[card]\nlink = \"off\"\n{section}");
    kill_each_call_of_bootstrap(|| device(&configuration, &[("secret", b"enrolment secret".to_vec())]));
}

#[test]
fn bootstrap_from_the_card() {
    let fleet = fleet();
    let place = device("", &[("pin", b"4711".to_vec())]);
    let (pin, card) = (place.join("pin"), place.join("card.json"));
    let (pin, card) = (pin.to_str().expect("UTF-8"), card.to_str().expect("UTF-8"));
    let (code, text) = fleet.omadm(&["card", "create", "--profile", "meters", "--pin", pin, "-o", card]);
    assert_eq!(code, 0, "{text}");
    let reader = CardReader::on_socket(card.as_ref(), &place.join("card.sock"));
    let socket = reader.socket().display();
    let configuration = format!("[card]\nlink = \"socket:{socket}\"\npin_file = \"$HOME/pin\"\nwait = \"2s\"\n");
    kill_each_call_of_bootstrap(|| device(&configuration, &[("pin", b"4711".to_vec())]));
    reader.remove();
}

/// The factory file of a device and the state that it has as soon as it is managed.
fn managed(fleet: &Fleet) -> Vec<(&'static str, Vec<u8>)> {
    let message = fleet.issue_message("meters", "factory", "line 1, no 9");
    let mut first = device(FACTORY, &[("factory.json", message.clone())]);
    first.run_until_idle(30);
    vec![("factory.json", message), ("state", first.state().0)]
}

/// A job that makes an instance and deletes it again.
fn queue_job(fleet: &Fleet) {
    let made = json!([{"ClientURI": "urn:omadm:mo:example:1.0/hall/", "MOData": {"Example": {
        "Name": "hall", "Target": 21.5, "Enabled": true, "Count": 3
    }}}]);
    let job = json!({
        "commands": [["HGET", "data:hall"], ["DELETE", "urn:omadm:mo:example:1.0/*/"]],
        "data": {"hall": made},
    });
    fleet.post(&format!("/api/v1/devices/{DEV_ID}/jobs"), &job);
}

/// How many instances of the example there are: each is whole or not there.
fn instances(device: &Device) -> usize {
    let output = device.once(&["tree", "--json", "urn:omadm:mo:example:1.0/*/"]);
    match output.status.code() {
        Some(3) => 0,
        _ => {
            let items: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let items = items.as_array().expect("a list");
            assert!(items.iter().all(|item| item["MOData"]["Example"]["Count"] == 3), "{items:?}");
            items.len()
        }
    }
}

#[test]
fn session_with_commands_that_change_the_tree() {
    let fleet = fleet();
    let files = managed(&fleet);
    queue_job(&fleet);
    let calls = calls(&device(FACTORY, &files), &["session"]);
    assert!(calls.iter().filter(|(name, _)| *name == "rename").count() >= 2, "{calls:?}");
    let mut found = Vec::new();
    for (name, number) in &calls {
        let mut device = device(FACTORY, &files);
        queue_job(&fleet);
        let inject = format!("{name}:signal=KILL:when={number}");
        let killed = device.traced(Some(&inject), &["session"]).output().expect("strace runs");
        assert_eq!(killed.status.signal(), Some(9), "{inject}: {killed:?}");
        assert_eq!(accounts(&device), 1, "{inject}");
        found.push(instances(&device));
        device.run_until_idle(30);
        let next = device.once(&["session"]);
        assert!(next.status.success(), "{inject}: {next:?}");
    }
    println!("killed at each of {calls:?}; instances found: {found:?}");
    assert!(found.contains(&0) && found.contains(&1), "{found:?}");
}

const ERRORS: [(&str, &str); 3] =
    [("EIO", "Input/output error"), ("ENOSPC", "No space left on device"), ("EROFS", "Read-only file system")];

#[test]
fn bootstrap_with_each_call_failing_says_so_and_the_next_run_is_well() {
    let fleet = fleet();
    let message = fleet.issue_message("meters", "factory", "line 1, no 10");
    let new = || device(FACTORY, &[("factory.json", message.clone())]);
    for (index, (name, number)) in calls(&new(), &["bootstrap"]).into_iter().enumerate() {
        let (error, words) = ERRORS[index % ERRORS.len()];
        // Once, which is tried again within the same run; and from then on.
        for often in ["", "+"] {
            let mut device = new();
            let inject = format!("{name}:error={error}:when={number}{often}");
            let output = device.traced(Some(&inject), &["bootstrap"]).output().expect("strace runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => assert_eq!(accounts(&device), 1, "{inject}: {said}"),
                Some(1) => assert!(said.contains("the state file: ") && said.contains(words), "{inject}: {said}"),
                _ => panic!("{inject}: {output:?}"),
            }
            accounts(&device);
            device.run_until_idle(30);
        }
    }
}

#[test]
fn session_with_each_call_failing_loses_nothing() {
    let fleet = fleet();
    let files = managed(&fleet);
    queue_job(&fleet);
    for (index, (name, number)) in calls(&device(FACTORY, &files), &["session"]).into_iter().enumerate() {
        let (error, words) = ERRORS[index % ERRORS.len()];
        let mut device = device(FACTORY, &files);
        queue_job(&fleet);
        let inject = format!("{name}:error={error}:when={number}+");
        let output = device.traced(Some(&inject), &["session"]).output().expect("strace runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{inject}: {said}");
            assert!(said.contains("the state file: ") && said.contains(words), "{inject}: {said}");
        }
        assert_eq!(accounts(&device), 1, "{inject}");
        instances(&device);
        device.run_until_idle(30);
        assert!(device.once(&["session"]).status.success(), "{inject}");
    }
}
