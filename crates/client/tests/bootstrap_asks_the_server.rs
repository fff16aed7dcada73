//! A device without card and factory file asks a DM Bootstrap Server.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::{Device, Server, answer, message};
use omadm_core::bootstrap::sequence::RunResult;
use omadm_core::reason::{Method, Outcome, Reason};

const BOOTSTRAP: &str = "application/vnd.oma.dm.bootstrap+json";

fn device(server: &Server) -> Device {
    let device = Device::new();
    device.write("secret", "enrolment secret\n");
    device.configure(&format!(
        "[card]\nlink = \"off\"\n[bootstrap]\nurl = \"{}/bootstrap?tenant=7\"\nuser = \"493005100592800\"\nsecret_file = \"secret\"\n\
         [http]\nconnect_timeout = \"1s\"\ntimeout = \"1s\"\n[sim]\nmcc = \"001\"\nmnc = \"01\"\n",
        server.base
    ));
    device
}

#[test]
fn the_request_is_that_of_the_worked_example() {
    let server = Server::start(|_, base| answer(200, BOOTSTRAP, &message("acme", &format!("{base}/dm"))));
    let device = device(&server);
    let mut client = device.open();
    let run = client.bootstrap().unwrap();
    assert!(matches!(run.result, RunResult::Bootstrapped { .. }), "{run:?}");
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "GET /bootstrap?tenant=7&MNC=01&MCC=001&DevID=IMEI%3A493005100592800");
    assert_eq!(seen[0].header("accept"), Some(BOOTSTRAP));
    assert_eq!(seen[0].header("omadm-devid"), Some("IMEI:493005100592800"));
    assert_eq!(seen[0].header("authorization"), Some("Basic NDkzMDA1MTAwNTkyODAwOmVucm9sbWVudCBzZWNyZXQ="));
    let account = &client.status().accounts[0];
    assert_eq!(
        (account.source, account.origin.as_str()),
        (Method::BootstrapServer, &*format!("{}/bootstrap", server.base))
    );
}

#[test]
fn whatever_the_server_does_has_its_reason_and_a_next_time() {
    let cases: [(u16, &str, &str, Reason); 7] = [
        (204, BOOTSTRAP, "", Reason::Http(204)),
        (401, "text/plain", "", Reason::Http(401)),
        (302, "text/plain", "", Reason::Http(302)),
        (500, "text/plain", "", Reason::Http(500)),
        (200, "text/html", "<html>", Reason::Http(200)),
        (200, BOOTSTRAP, "[{", Reason::MalformedMessage),
        (200, BOOTSTRAP, "[]", Reason::InvalidMessage),
    ];
    for (status, content_type, body, reason) in cases {
        let server = Server::start(move |_, _| answer(status, content_type, body));
        let device = device(&server);
        let mut client = device.open();
        let run = client.bootstrap().unwrap();
        assert_eq!(run.result, RunResult::Nothing);
        let attempt = run.attempts.last().unwrap();
        assert_eq!((attempt.method, attempt.reason), (Method::BootstrapServer, Some(reason)), "{attempt:?}");
        assert!(run.next.is_some() && server.lines().len() == 1);
        assert_eq!(client.status().attempts.last(), Some(attempt));
    }
}

#[test]
fn a_server_that_is_silent_or_gone_or_talks_without_end_is_told() {
    let silent = Server::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_secs(3));
        answer(200, BOOTSTRAP, "")
    });
    let huge = Server::start(|_, _| answer(200, BOOTSTRAP, &" ".repeat((1 << 20) + 1)));
    for (server, reason) in [(silent, Reason::Timeout), (huge, Reason::InvalidMessage)] {
        let device = device(&server);
        let mut client = device.open();
        let run = client.bootstrap().unwrap();
        assert_eq!(run.attempts.last().unwrap().reason, Some(reason), "{run:?}");
    }
}

#[test]
fn a_retry_after_outlives_a_restart() {
    let server = Server::start(|_, _| (503, vec!["Retry-After: 7200".to_owned()], String::new()));
    let device = device(&server);
    let mut client = device.open();
    let now = client.bootstrap().unwrap().attempts.last().unwrap().at;
    drop(client);
    let run = device.open().bootstrap().unwrap();
    assert_eq!(server.lines().len(), 1, "it was not asked again");
    assert_eq!(run.attempts.last().unwrap().reason, Some(Reason::Http(503)));
    assert!(run.next.unwrap().at.since(now) >= 7190);
}

#[test]
fn a_retry_after_is_that_of_the_server_that_asked_for_it() {
    let busy = Server::start(|_, _| (503, vec!["Retry-After: 7200".to_owned()], String::new()));
    let device = device(&busy);
    device.open().bootstrap().unwrap();
    let other = Server::start(|_, _| (204, vec![], String::new()));
    let config = std::fs::read_to_string(device.path("client.toml")).unwrap().replace(&busy.base, &other.base);
    device.write("client.toml", &config);
    device.open().bootstrap().unwrap();
    assert_eq!((busy.lines().len(), other.lines().len()), (1, 1));
}

#[test]
fn a_secret_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(|_, _| panic!("nothing is sent"));
    let device = device(&server);
    std::fs::set_permissions(device.path("secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = device.open().bootstrap().unwrap();
    let attempt = run.attempts.last().unwrap();
    assert_eq!((attempt.outcome, attempt.reason), (Outcome::Failed, Some(Reason::NotConfigured)));
    assert!(attempt.message.contains("0600") && kit::is_secret_free(&attempt.message), "{}", attempt.message);
}

#[test]
fn a_damaged_state_is_put_aside_and_the_device_begins_anew() {
    let server = Server::start(|_, base| answer(200, BOOTSTRAP, &message("acme", &format!("{base}/dm"))));
    let device = device(&server);
    device.open().bootstrap().unwrap();
    let mut state = device.state().into_bytes();
    state[100] ^= 1;
    std::fs::write(device.path("state"), &state).unwrap();
    let mut client = device.open();
    assert!(client.state().accounts.is_empty());
    assert!(matches!(client.bootstrap().unwrap().result, RunResult::Bootstrapped { .. }));
    let aside = std::fs::read_dir(device.folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    assert_eq!(aside.filter(|name| name.starts_with("state.damaged-")).count(), 1);
}
