//! The program as people and scripts use it.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::{Device, Server, answer, message, program};
use omadm_card::VirtualUicc;
use omadm_card::link::vpcd::{SharedCard, listen};
use omadm_card::make::{CardPlan, make};
use serde_json::Value;
use std::io::Write;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

const REQUEST: &str = "application/vnd.oma.dm.request+json";

fn end_server() -> Server {
    Server::start(|_, _| answer(200, REQUEST, r#"{"CMD":[["GET","urn:oma:mo:oma-dm-devinfo:1.2//Man"],["END"]]}"#))
}

fn factory_device(server: &Server) -> Device {
    let device = Device::new();
    device.write("factory.json", &message("acme", &format!("{}/dm", server.base)));
    device.configure("[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    device
}

fn call(device: &Device, arguments: &[&str]) -> Output {
    program(&device.path("client.toml")).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Ends the program also where a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(device: &Device) -> Running {
    let mut command = program(&device.path("client.toml"));
    Running(command.arg("run").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

/// Waits until the status says so.
fn await_state(device: &Device, state: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let output = call(device, &["status", "--json"]);
        if !output.stdout.is_empty() {
            let status = json(&output);
            if status["state"] == state {
                return status;
            }
        }
        assert!(Instant::now() < end, "{output:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end_by(running: &mut Running, signal: rustix::process::Signal) -> Option<i32> {
    let id = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(id, signal).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not end");
}

#[test]
fn run_brings_the_device_under_management_and_takes_orders() {
    let server = end_server();
    let device = factory_device(&server);
    let mut running = start(&device);
    let status = await_state(&device, "managed");
    assert_eq!(status["profile"], "omadm-1");
    assert_eq!(status["accounts"][0]["source"], "factory");
    assert_eq!(status["accounts"][0]["session"]["alerts"][0], "urn:oma:at:dm:2.0:BootstrapComplete");
    assert_eq!(status["last_run"]["round_trips"], 2);
    assert!(status["next"]["why"].as_str().unwrap().contains("every 24 h"), "{status}");
    let attempts: Vec<_> = status["attempts"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(attempts, ["skipped", "installed"]);

    let sessions = call(&device, &["session", "acme", "--json"]);
    assert_eq!(sessions.status.code(), Some(0), "{sessions:?}");
    assert_eq!(json(&sessions)["sessions"][0]["log"][0], serde_json::json!(["GET", 200]));
    assert_eq!(call(&device, &["session", "nobody"]).status.code(), Some(3));
    assert_eq!(json(&call(&device, &["bootstrap", "--json"]))["result"], "unchanged");

    let before = server.lines().len();
    assert_eq!(call(&device, &["reset", "--yes"]).status.code(), Some(0));
    await_state(&device, "managed");
    assert_eq!(server.lines().len(), before + 1, "it began anew");

    let second = call(&device, &["run"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another omadm-client works with") && !said.contains("control socket"), "{said}");

    assert!(device.path("state.sock").exists());
    assert_eq!(end_by(&mut running, rustix::process::Signal::TERM), Some(0));
    assert!(!device.path("state.sock").exists());
    assert_eq!(call(&device, &["status"]).status.code(), Some(0), "the file tells");
}

#[test]
fn each_signal_ends_it_whatever_it_waits_for() {
    use rustix::process::Signal;
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        // A server that never answers, and one that is not there, with a card that is waited for.
        let silent = Server::start(|_, _| {
            std::thread::sleep(Duration::from_secs(10));
            answer(500, "text/plain", "")
        });
        let device = Device::new();
        device.write("secret", "x");
        device.configure(&format!(
            "[card]\nlink = \"{}\"\n[bootstrap]\nurl = \"{}/b\"\nsecret_file = \"secret\"\n",
            if signal == Signal::INT { "socket:none" } else { "off" },
            silent.base
        ));
        let mut running = start(&device);
        let end = Instant::now() + Duration::from_secs(10);
        while !device.path("state.sock").exists() {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        assert_eq!(end_by(&mut running, signal), Some(0));
        assert!(began.elapsed() < Duration::from_secs(4), "{signal:?}: {:?}", began.elapsed());
        assert!(!device.path("state.sock").exists());
    }
}

#[cfg(feature = "pcsc")]
#[test]
fn a_pcsc_service_that_hangs_is_a_failed_attempt_and_holds_nothing_up() {
    let device = Device::new();
    device.write("secret", "x");
    device.configure(
        "[card]\nlink = \"pcsc\"\nwait = \"100ms\"\ntimeout = \"300ms\"\n\
         [bootstrap]\nurl = \"http://127.0.0.1:9/b\"\nsecret_file = \"secret\"\n",
    );
    let _deaf = std::os::unix::net::UnixListener::bind(device.path("pcscd")).unwrap();
    let mut command = program(&device.path("client.toml"));
    command.arg("run").env("PCSCLITE_CSOCK_NAME", device.path("pcscd")).stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let output = call(&device, &["status", "--json"]);
        if !output.stdout.is_empty() && json(&output)["attempts"][0]["reason"] == "timeout" {
            break;
        }
        assert!(Instant::now() < end, "{output:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Now the slot is looked at, which hangs as well.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(end_by(&mut running, rustix::process::Signal::TERM), Some(0));
}

#[test]
fn a_state_that_is_too_large_is_damaged_and_a_reset_replaces_any() {
    let device = factory_device(&end_server());
    device.write("state", &"x".repeat(17 << 20));
    assert_eq!(call(&device, &["bootstrap"]).status.code(), Some(0));
    let aside = std::fs::read_dir(device.folder.path()).unwrap().flatten();
    assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("state.damaged-")).count(), 1);
    for other in ["omadm-state 1 0\n", &profile_of_another_program()] {
        device.write("state", other);
        assert_eq!(call(&device, &["reset", "--yes"]).status.code(), Some(0), "{other}");
        assert_eq!(call(&device, &["status"]).status.code(), Some(3));
    }
}

fn profile_of_another_program() -> String {
    use sha2::{Digest, Sha256};
    let body = r#"{"profile":"omadm-9"}"#;
    let digest = Sha256::digest(format!("omadm-state 1\n{body}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("omadm-state 1 {digest}\n{body}")
}

#[test]
fn an_account_that_takes_anothers_place_does_not_wait_for_what_the_other_met() {
    let server = Server::start(|request, _| match request.line.as_str() {
        "POST /old" => answer(404, "text/plain", ""),
        _ => answer(200, REQUEST, r#"{"CMD":[["END"]]}"#),
    });
    let device = Device::new();
    device.configure("[card]\nlink = \"socket:card.sock\"\n");
    let insert = |path: &str| {
        let message = message("acme", &format!("{}{path}", server.base));
        let plan = CardPlan {
            allow_public_secret: true,
            ..CardPlan::new("8988211000000000017".parse().unwrap(), message.as_bytes())
        };
        let card = SharedCard::new(VirtualUicc::new(&make(&plan).unwrap()));
        listen(&device.path("card.sock"), card).unwrap()
    };
    let card = insert("/old");
    let _running = start(&device);
    let end = Instant::now() + Duration::from_secs(20);
    while !json_or_null(&call(&device, &["status", "--json"]))["next"]["why"].to_string().contains("broke off") {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(card);
    let _card = insert("/new");
    // The client may have noticed the card before it was ordered to look.
    let result = json(&call(&device, &["bootstrap", "--json"]))["result"].clone();
    assert!(["bootstrapped", "unchanged"].iter().any(|one| result == *one), "{result}");
    await_state(&device, "managed");
}

fn json_or_null(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn killed_at_any_moment_it_ends_managed() {
    let server = end_server();
    let device = factory_device(&server);
    for pause in (0..10).map(|step| Duration::from_millis(step * 4)) {
        let mut running = start(&device);
        std::thread::sleep(pause);
        running.0.kill().unwrap();
        running.0.wait().unwrap();
    }
    let _running = start(&device);
    let status = await_state(&device, "managed");
    assert_eq!(status["accounts"].as_array().unwrap().len(), 1);
}

#[test]
fn exit_codes_are_those_that_scripts_rely_on() {
    let server = Server::start(|_, _| answer(403, "text/plain", ""));
    let device = factory_device(&server);
    assert_eq!(call(&device, &["status"]).status.code(), Some(3), "not bootstrapped");
    assert_eq!(call(&device, &["session"]).status.code(), Some(3), "nothing to do");
    assert_eq!(call(&device, &["bootstrap"]).status.code(), Some(0));
    assert_eq!(call(&device, &["session"]).status.code(), Some(4), "refused");
    assert_eq!(call(&device, &["dance"]).status.code(), Some(2));
    assert_eq!(call(&device, &["reset"]).status.code(), Some(2));
    assert_eq!(call(&device, &["tree", "nonsense"]).status.code(), Some(2));
    assert_eq!(call(&device, &["tree", "urn:x:y//"]).status.code(), Some(3));
    device.write("client.toml", "state = 1\n");
    let wrong = call(&device, &["status"]);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("client.toml:1: "), "{wrong:?}");
}

#[test]
fn how_a_session_broke_off_is_known_to_a_later_status_and_written_once() {
    let server = Server::start(|_, _| answer(500, "text/plain", ""));
    let device = factory_device(&server);
    assert_eq!(call(&device, &["bootstrap"]).status.code(), Some(0));
    assert_eq!(call(&device, &["session"]).status.code(), Some(1));
    let status = json(&call(&device, &["status", "--json"]));
    let session = &status["accounts"][0]["session"];
    assert_eq!((&session["ended"], &session["reason"]), (&false.into(), &"http-500".into()), "{status}");
    let before = device.state();
    assert_eq!(call(&device, &["session"]).status.code(), Some(1));
    assert_eq!(device.state(), before, "it broke off as before");
}

#[test]
fn the_tree_is_shown_without_secrets() {
    let device = factory_device(&end_server());
    call(&device, &["bootstrap"]);
    let text = String::from_utf8(call(&device, &["tree"]).stdout).unwrap();
    assert!(text.contains("DevID = \"IMEI:493005100592800\"") && text.contains("SrvID = \"acme\""), "{text}");
    assert!(kit::is_secret_free(&text) && !text.contains("Secret"), "{text}");
    let items = json(&call(&device, &["tree", "--json", "urn:oma:mo:oma-dm-devinfo:1.2//Man"]));
    assert_eq!(items[0]["MOData"]["DevInfo"]["Man"], "Example Devices");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let device = factory_device(&end_server());
    let mut child = program(&device.path("client.toml"))
        .arg("status")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let _ = std::io::stderr().write_all(&output.stderr);
}

#[test]
fn a_server_that_asks_to_be_left_alone_is_left_alone_also_after_a_restart() {
    let server = Server::start(|_, _| (503, vec!["Retry-After: 3000".to_owned()], String::new()));
    let device = factory_device(&server);
    for start_number in 1..=2 {
        let mut running = start(&device);
        let end = Instant::now() + Duration::from_secs(20);
        let next = loop {
            let status = json(&call(&device, &["status", "--json"]));
            let why = status["next"]["why"].as_str().unwrap_or_default().to_owned();
            if !why.contains("starts") && !why.contains("first session") && !why.is_empty() {
                break status["next"].clone();
            }
            assert!(Instant::now() < end, "{status}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(server.lines().len(), 1, "start {start_number}: {next}");
        assert_eq!(end_by(&mut running, rustix::process::Signal::TERM), Some(0));
    }
    // A person may insist.
    assert_eq!(call(&device, &["session", "acme"]).status.code(), Some(1));
    assert_eq!(server.lines().len(), 2);
}
