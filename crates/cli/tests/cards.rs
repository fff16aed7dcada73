//! Cards made, read, looked into and run by the program.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const OPEN: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const SECRET: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"Auth":{"Trsp":{"Data":"YmFzaWM6YWNtZQ==","Secret":"aHVzaGh1c2g="}}}}}]"#;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir_in("/tmp").unwrap());
        fs::write(desk.path("open.json"), OPEN).unwrap();
        fs::write(desk.path("secret.json"), SECRET).unwrap();
        for (name, pin) in [("pin", "4711\n"), ("wrong", "9999\n"), ("adm", "12345678\n")] {
            fs::write(desk.path(name), pin).unwrap();
            fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omadm"));
        command.current_dir(self.0.path()).arg("card").args(arguments);
        command
    }

    fn omadm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        self.omadm(arguments).status.code().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.omadm(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {error}"))
    }
}

#[test]
fn the_message_comes_back_byte_for_byte() {
    let desk = Desk::new();
    for form in ["opaque", "oid", "both"] {
        assert_eq!(desk.code(&["create", "--message", "open.json", "--form", form, "--force", "-o", "card.json"]), 0);
        let output = desk.omadm(&["read", "card.json"]);
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), OPEN, "{form}");
    }
    let mode = fs::metadata(desk.path("card.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_secret_goes_behind_a_pin() {
    let desk = Desk::new();
    let refused = desk.omadm(&["create", "--message", "secret.json", "-o", "card.json"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--allow-public-secret"));
    assert!(!desk.path("card.json").exists());

    assert_eq!(desk.code(&["create", "--message", "secret.json", "--pin", "pin", "-o", "card.json"]), 0);
    assert_eq!(desk.code(&["read", "card.json"]), 4, "no PIN");
    assert_eq!(desk.code(&["read", "card.json", "--pin-file", "wrong"]), 4, "a wrong PIN");
    assert_eq!(desk.code(&["read", "card.json", "--pin-file", "pin"]), 0);

    let open = ["create", "--message", "secret.json", "--allow-public-secret", "--force", "-o", "card.json"];
    assert_eq!(desk.code(&open), 0);
    let inspection = desk.json(&["inspect", "card.json", "--json"]);
    let seen = inspection["message"]["found"]["public_secrets"][0].as_str().unwrap_or_default();
    assert!(seen.contains("Auth/Trsp/Secret"), "{inspection}");
}

#[test]
fn a_card_without_a_message_is_3() {
    let desk = Desk::new();
    assert_eq!(desk.code(&["create", "--empty", "-o", "card.json"]), 0);
    assert_eq!(desk.code(&["read", "card.json"]), 3);
}

#[test]
fn what_is_no_message_or_no_card_is_2() {
    let desk = Desk::new();
    fs::write(desk.path("bad.json"), "[]").unwrap();
    assert_eq!(desk.code(&["create", "--message", "bad.json", "-o", "card.json"]), 2);
    assert_eq!(desk.code(&["create", "--message", "none.json", "-o", "card.json"]), 2);
    assert_eq!(desk.code(&["create", "--message", "open.json", "--iccid", "12", "-o", "card.json"]), 2);
    assert_eq!(desk.code(&["read", "bad.json"]), 2);
}

#[test]
fn the_look_into_a_card_in_json_and_for_people() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "secret.json", "--pin", "pin", "-o", "card.json"]);
    insta::assert_json_snapshot!("inspect_json", desk.json(&["inspect", "card.json", "--pin-file", "pin", "--json"]));
    let text = desk.omadm(&["inspect", "card.json"]).stdout;
    insta::assert_snapshot!("inspect_text", String::from_utf8(text).unwrap());
}

/// A program that is killed with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a card behind `card.sock` and waits until it is there.
fn running(desk: &Desk, arguments: &[&str]) -> Running {
    let mut command = desk.command(&[&["run", "card.json", "--socket", "card.sock", "--json"], arguments].concat());
    let running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !desk.path("card.sock").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    running
}

fn end(mut running: Running) {
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_card_that_runs_behind_a_socket_is_read_through_it() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "open.json", "-o", "card.json"]);
    let before = fs::read(desk.path("card.json")).unwrap();
    let running = running(&desk, &[]);
    let output = desk.omadm(&["read", "--socket", "card.sock"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), OPEN);
    end(running);
    assert!(!desk.path("card.sock").exists());
    assert_eq!(fs::read(desk.path("card.json")).unwrap(), before, "it is saved on demand only");
}

#[test]
fn a_card_that_runs_as_another_kind_is_saved_as_it_is_at_the_end() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "secret.json", "--pin", "pin", "-o", "card.json"]);
    let running = running(&desk, &["--preset", "t0-telecom", "--fault", "slow@2:50", "--save"]);
    assert_eq!(desk.code(&["read", "--socket", "card.sock", "--pin-file", "wrong"]), 4);
    end(running);
    let card: Value = serde_json::from_slice(&fs::read(desk.path("card.json")).unwrap()).unwrap();
    assert_eq!(card["pins"][0]["tries_left"], 2);
    assert_eq!((&card["protocol"], &card["quirks"][0]), (&"T=0".into(), &"refuse-p2-00".into()));
    assert_eq!(fs::metadata(desk.path("card.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.code(&["read", "card.json", "--pin-file", "pin"]), 0);
}

#[test]
fn a_card_that_was_run_does_not_overwrite_what_was_written_meanwhile() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "open.json", "-o", "card.json"]);
    let mut running = running(&desk, &["--save"]);
    desk.code(&["create", "--message", "secret.json", "--pin", "pin", "-o", "card.json", "--force"]);
    let written = fs::read(desk.path("card.json")).unwrap();
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(1));
    assert_eq!(fs::read(desk.path("card.json")).unwrap(), written);
    assert_eq!(desk.code(&["read", "card.json.run"]), 0, "the card as it was run is beside it");
}

#[test]
fn a_card_that_goes_while_it_is_written_is_told_to_be_written_in_part() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "open.json", "--adm-file", "adm", "-o", "card.json"]);
    fs::write(desk.path("other.json"), OPEN.replace("Acme", "Another")).unwrap();
    let write = ["write", "--socket", "card.sock", "--message", "other.json", "--adm-file", "adm", "--json"];
    let steps =
        desk.json(&["write", "card.json", "--message", "other.json", "--adm-file", "adm", "--dry-run", "--json"]);
    let steps = steps["steps"].as_array().unwrap().len();
    let whole = {
        let running = running(&desk, &[]);
        let whole = desk.json(&write);
        end(running);
        whole
    };
    let [all, writing] = ["apdus", "writing"].map(|name| whole[name].as_u64().unwrap());
    // From just before the first command that changes something.
    let told: Vec<_> = (all - writing..=all)
        .filter_map(|at| {
            let running = running(&desk, &["--fault", &format!("removal@{at}")]);
            let output = desk.omadm(&write);
            end(running);
            (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
        })
        .collect();
    assert!(told.len() > steps, "{} of {whole}", told.len());
    let in_part = told.iter().filter(|text| {
        text.contains("is written in part, up to command") && text.contains(&format!(" of {steps}; write it again"))
    });
    assert!((1..told.len()).contains(&in_part.count()), "{told:?}");
}

#[test]
fn a_card_that_is_removed_at_a_command_is_told_as_such() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "open.json", "-o", "card.json"]);
    let running = running(&desk, &["--fault", "removal@5"]);
    let output = desk.omadm(&["read", "--socket", "card.sock"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("card-removed"));
    assert_eq!(desk.code(&["read", "--socket", "card.sock"]), 3, "it stays away");
    end(running);
}

#[test]
fn kinds_of_cards_are_listed_and_unknown_ones_and_faults_refused() {
    let desk = Desk::new();
    desk.code(&["create", "--message", "open.json", "-o", "card.json"]);
    let kinds = desk.json(&["run", "--list-presets", "--json"]);
    let names: Vec<_> = kinds.as_array().unwrap().iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"plain") && names.contains(&"old-sim"), "{names:?}");
    assert!(String::from_utf8(desk.omadm(&["run", "--list-presets"]).stdout).unwrap().contains("java-card"));
    for wrong in [&["--preset", "no-such"][..], &["--fault", "melt@1"], &["--fault", "removal@0"]] {
        let arguments = [&["run", "card.json", "--socket", "card.sock"], wrong].concat();
        assert_eq!(desk.code(&arguments), 2, "{wrong:?}");
    }
    for place in
        [&["--vpcd", "127.0.0.1:1"][..], &["--socket", "x"], &["--pcscd", "x"], &["--stdio"], &["--list-presets"]]
    {
        let output = desk.omadm(&[&["run", "card.json", "--modem-quirk", "no-csim"], place].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains("--modem too"), "{place:?}: {error}");
    }
    assert_eq!(desk.code(&["run", "--socket", "card.sock"]), 2, "no card");
    assert_eq!(desk.code(&["run", "card.json"]), 2, "no place");
}
