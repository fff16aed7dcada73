//! A state file that is damaged, of a newer version, of another profile or unreadable, and a disk that is read-only or
//! full: it is said plainly, the factory file and the card still work, nothing is overwritten that could be saved, and all
//! is well as soon as the disk is.

use std::fs;

use omadm_tests::{CardReader, Device, Fleet, Process, Signal, private_file, until};
use serde_json::Value;

const DEV_ID: &str = "IMEI:490154203237716";
const FACTORY: &str = "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n";
const NEWER: &[u8] = b"omadm-state 7 48e1ec210b86c08ed8ec6467658d7f00d829ff66c0ed524e2581f7dab3920587\n{}";
const OTHER_PROFILE: &[u8] =
    b"omadm-state 1 4ae3bc8baea5bace116b393561f8ea0bbb51486a96a2a85d1496864d23e35262\n{\"profile\":\"omadm-9\"}";

fn fleet() -> Fleet {
    let fleet = Fleet::start();
    fleet.add_default_profile();
    fleet
}

fn factory_device(fleet: &Fleet) -> Device {
    let device = Device::new(DEV_ID, FACTORY);
    private_file(&device.join("factory.json"), &fleet.issue_message("meters", "factory", "line 1, no 11"));
    device
}

/// The device runs and is managed, and its status and its log say this of storage.
fn works_and_says(device: &Device, client: &Process, sentence: &str) -> Value {
    let status = device.managed(30);
    let storage = status["storage"].as_str().unwrap_or_default();
    assert!(storage.contains(sentence) && storage.contains("kept in memory"), "{status}");
    assert!(client.log().contains(sentence), "{}", client.log());
    let text = String::from_utf8(device.once(&["status"]).stdout).expect("UTF-8");
    assert!(text.contains("Storage") && text.contains(sentence), "{text}");
    status
}

/// What commands of their own say where no client runs: nothing is begun that could not be kept.
fn single_commands_fail(device: &Device, sentence: &str) {
    for arguments in [&["status"][..], &["bootstrap"], &["session"], &["tree"]] {
        let output = device.once(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    }
}

#[test]
fn of_a_newer_version_or_another_profile_it_is_left_alone() {
    let fleet = fleet();
    for (file, sentence) in
        [(NEWER, "the state file has version 7"), (OTHER_PROFILE, "the state file is of the profile")]
    {
        let mut device = factory_device(&fleet);
        private_file(&device.join("state"), file);
        single_commands_fail(&device, sentence);
        let client = device.run();
        let status = works_and_says(&device, &client, sentence);
        assert_eq!(status["accounts"][0]["source"], "factory");
        assert!(client.stop().success());
        assert_eq!(fs::read(device.join("state")).expect("the file"), file, "it is as it was");
        // A person may want it gone.
        assert_eq!(device.once(&["reset", "--yes"]).status.code(), Some(0));
        let status = device.run_until_idle(30);
        assert!(status["storage"].is_null(), "{status}");
    }
}

#[test]
fn the_card_works_without_a_state_too() {
    let fleet = fleet();
    let card_section = "[card]\nlink = \"socket:$HOME/card.sock\"\npin_file = \"$HOME/pin\"\nwait = \"2s\"\n";
    let mut device = Device::new(DEV_ID, card_section);
    private_file(&device.join("pin"), b"4711");
    private_file(&device.join("state"), NEWER);
    let (pin, card) = (device.join("pin"), device.join("card.json"));
    let (pin, path) = (pin.to_str().expect("UTF-8"), card.to_str().expect("UTF-8"));
    let (code, text) = fleet.omadm(&["card", "create", "--profile", "meters", "--pin", pin, "-o", path]);
    assert_eq!(code, 0, "{text}");
    let reader = CardReader::on_socket(&card, &device.join("card.sock"));
    let client = device.run();
    let status = works_and_says(&device, &client, "the state file has version 7");
    assert_eq!(status["accounts"][0]["source"], "smartcard");
    assert!(client.stop().success());
    assert_eq!(fs::read(device.join("state")).expect("the file"), NEWER);
    reader.remove();
}

#[test]
fn unreadable_it_is_left_alone_and_used_again_when_it_can_be_read() {
    let fleet = fleet();
    let mut device = factory_device(&fleet);
    fs::create_dir(device.join("state")).expect("a folder in its place");
    fs::write(device.join("state/kept"), b"x").expect("a file");
    single_commands_fail(&device, "cannot read the state file: Is a directory");
    let client = device.run();
    works_and_says(&device, &client, "cannot read the state file: Is a directory");
    assert!(device.join("state/kept").exists());
    // A person clears it away; the next order tries again.
    fs::rename(device.join("state"), device.join("elsewhere")).expect("renamed");
    assert_eq!(device.once(&["session"]).status.code(), Some(0));
    assert!(device.managed(10)["storage"].is_null());
    assert!(client.stop().success());
    assert_eq!(device.status().expect("a status")["state"], "managed", "the file tells");
}

#[test]
fn damaged_it_is_kept_aside_or_where_it_is() {
    let fleet = fleet();
    let mut device = factory_device(&fleet);
    private_file(&device.join("state"), b"omadm-state 1 damaged\n{}");
    let status = device.run_until_idle(30);
    assert!(status["storage"].is_null(), "{status}");
    let names = || fs::read_dir(device.join("")).expect("a folder").flatten().map(|entry| entry.file_name());
    let aside: Vec<_> = names().filter(|name| name.to_string_lossy().starts_with("state.damaged-")).collect();
    assert_eq!(aside.len(), 1);
    let aside = device.join(&aside[0].to_string_lossy());
    assert_eq!(fs::read(aside).expect("the file"), b"omadm-state 1 damaged\n{}");

    let mut device = factory_device(&fleet);
    private_file(&device.join("state"), b"omadm-state 1 damaged\n{}");
    let mut client = device.run_traced("rename:error=EIO");
    works_and_says(&device, &client, "cannot set aside the state file: Input/output error");
    client.signal_child(Signal::TERM);
    client.wait(10);
    assert_eq!(fs::read(device.join("state")).expect("the file"), b"omadm-state 1 damaged\n{}");
    assert!(device.run_until_idle(30)["storage"].is_null());
}

#[test]
fn on_a_disk_that_takes_nothing_it_goes_on_and_is_written_when_the_disk_is_well() {
    let fleet = fleet();
    let cases = [
        ("write:error=ENOSPC:when=1..6", "cannot write the state file: No space left on device"),
        ("rename:error=EROFS:when=1..6", "cannot replace the state file: Read-only file system"),
        ("fsync:error=EIO:when=1..6", "cannot sync the state file: Input/output error"),
    ];
    for (inject, sentence) in cases {
        let mut device = factory_device(&fleet);
        let mut client = device.run_traced(inject);
        works_and_says(&device, &client, sentence);
        until("the disk is well and the state written", 30, || {
            assert_eq!(device.once(&["session"]).status.code(), Some(0), "{inject}: {}", client.log());
            device.status().filter(|status| status["storage"].is_null())
        });
        client.signal_child(Signal::TERM);
        client.wait(10);
        let (code, status) = device.json(&["status"]);
        assert_eq!((code, &status["state"]), (0, &"managed".into()), "{inject}: the file tells: {status}");
    }
}

/// Starts the client where nothing can be written in its folder; none where the system lets nobody mount.
fn run_read_only(device: &mut Device) -> Option<Process> {
    let client = device.run_under(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", MOUNT, "sh"]);
    let log = until("the client starts, or nobody may mount", 10, || {
        Some(client.log()).filter(|log| log.contains("INFO") || log.contains("unshare:") || log.contains("mount:"))
    });
    log.contains("INFO").then_some(client)
}

const MOUNT: &str =
    "home=$(dirname \"$3\"); mount --bind \"$home\" \"$home\"; mount -o remount,bind,ro \"$home\"; exec \"$@\"";

#[test]
fn on_a_read_only_disk_the_factory_file_works_and_the_old_state_stays() {
    let fleet = fleet();
    let mut device = factory_device(&fleet);
    for start in ["without a state", "with one"] {
        let before = fs::read(device.join("state")).ok();
        let Some(mut client) = run_read_only(&mut device) else {
            println!("not tried: a read-only mount is refused here");
            return;
        };
        until("the client has nothing to do", 30, || {
            assert!(client.runs(), "{}", client.log());
            client.log().contains("next, at").then_some(())
        });
        let log = client.log();
        let said = log.contains("cannot write the state file: Read-only file system");
        assert_eq!(said, before.is_none(), "{start}: {log}");
        assert_eq!(log.contains("ended: the DM Server ended the session"), before.is_none(), "{start}: {log}");
        assert!(log.contains("no orders are taken"), "{start}: {log}");
        assert!(client.stop().success());
        assert_eq!(fs::read(device.join("state")).ok(), before, "{start}");
        assert!(device.run_until_idle(30)["storage"].is_null(), "{start}");
    }
}
