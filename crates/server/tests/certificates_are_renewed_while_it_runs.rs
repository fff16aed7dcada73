//! The server's certificate changes under running connections, and a bad one changes nothing.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Device, Fleet, IMEI, SECRET, basic, exchange, profile, user};
use omadm_core::web::media;
use omadm_server::TlsFiles;
use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{Anchors, ClientContext, ClientIdentity, TlsStream};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const DAY: u64 = 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn put(folder: &Path, ca: &Identity, until: u64) {
    let validity = Validity { from: now() - DAY, until };
    let server = ca::issue_server(ca, &["localhost".to_owned()], validity).unwrap();
    for (name, text) in [("key.pem", &*server.key), ("cert.pem", &server.certificate), ("ca.pem", &ca.certificate)] {
        // As certbot and its like do it: a new file takes the place of the old one.
        let new = folder.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, folder.join(name)).unwrap();
    }
}

fn fleet(folder: &Path) -> Fleet {
    Fleet::with(|config| {
        let file = |name: &str| folder.join(name);
        config.tls = Some(TlsFiles { cert: file("cert.pem"), key: file("key.pem"), ca: Some(file("ca.pem")) });
    })
}

fn connect(fleet: &Fleet, ca: &Identity) -> Option<TlsStream<TcpStream>> {
    let context = ClientContext::new(&Anchors::Pem(ca.certificate.clone()), &ClientIdentity::nobody()).unwrap();
    fleet.connect_with(&context).ok()
}

fn notices(fleet: &Fleet) -> String {
    fleet.api("GET", "/server", &Value::Null).expect(200).json()["notices"].to_string()
}

fn ca_of(fleet: &Fleet) -> String {
    fleet.api("GET", "/ca", &Value::Null).expect(200).text()
}

fn new_ca() -> Identity {
    ca::make("CA", Validity::of_ca(now())).unwrap()
}

#[test]
fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (new_ca(), new_ca());
    put(folder.path(), &first, now() + 365 * DAY);
    let fleet = fleet(folder.path());
    let under_way = connect(&fleet, &first).unwrap();
    assert_eq!((notices(&fleet).as_str(), ca_of(&fleet)), ("[]", first.certificate.clone()));

    put(folder.path(), &second, now() + 365 * DAY);
    fleet.reload();
    assert!(connect(&fleet, &first).is_none());
    assert!(connect(&fleet, &second).is_some());
    // Messages from now on carry the new CA.
    assert_eq!(ca_of(&fleet), second.certificate);
    exchange(under_way, "GET", "/bootstrap", &[], b"").problem(401);
}

#[test]
fn a_change_is_noticed_without_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (new_ca(), new_ca());
    put(folder.path(), &first, now() + 365 * DAY);
    let fleet = fleet(folder.path());
    put(folder.path(), &second, now() + 365 * DAY);
    let start = Instant::now();
    while connect(&fleet, &second).is_none() {
        assert!(start.elapsed() < Duration::from_secs(30), "it was not noticed");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_broken_file_changes_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ca = new_ca();
    put(folder.path(), &ca, now() + 365 * DAY);
    let fleet = fleet(folder.path());
    for break_it in [
        |folder: &Path| std::fs::write(folder.join("cert.pem"), "half a certi").unwrap(),
        |folder: &Path| std::fs::remove_file(folder.join("key.pem")).unwrap(),
        |folder: &Path| {
            let other = new_ca();
            std::fs::write(folder.join("key.pem"), &*other.key).unwrap();
        },
    ] {
        break_it(folder.path());
        fleet.reload();
        assert!(connect(&fleet, &ca).is_some(), "the old one is in use");
        assert!(notices(&fleet).contains("the old ones are"), "{}", notices(&fleet));
        let page = fleet.admin("GET", "/health", &[], b"").expect(200).json();
        assert_eq!(page["status"], "attention");
        put(folder.path(), &ca, now() + 365 * DAY);
        fleet.reload();
        assert_eq!(notices(&fleet), "[]");
    }
}

#[test]
fn messages_that_cannot_be_made_take_no_credential_away() {
    let folder = tempfile::tempdir().unwrap();
    let ca = new_ca();
    put(folder.path(), &ca, now() + 365 * DAY);
    let fleet = fleet(folder.path());
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let ask = || {
        let headers = [("Accept", media::BOOTSTRAP), ("Authorization", &basic(&user(IMEI), SECRET))];
        exchange(connect(&fleet, &ca).unwrap(), "GET", "/bootstrap", &headers, b"")
    };
    let device = Device::of_message(&fleet, IMEI, &ask().expect(200).body);
    // With so many CAs the message is too large.
    let many = (1 << 20) / ca.certificate.len();
    std::fs::write(folder.path().join("ca.pem"), ca.certificate.repeat(many)).unwrap();
    fleet.reload();
    for _ in 0..5 {
        ask().problem(500);
    }
    let headers = [("Content-Type", media::INITIATION), ("Accept", media::REQUEST)];
    let body = json!({"Alert": [{"AlertType": CLIENT_INITIATED}]}).to_string();
    device.send_over(connect(&fleet, &ca).unwrap(), "POST", "/dm", &headers, body.as_bytes()).expect(200);
}

#[test]
fn what_nears_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ending = ca::make("CA", Validity { from: now() - DAY, until: now() + 100 * DAY }).unwrap();
    put(folder.path(), &ending, now() + 20 * DAY);
    let fleet = fleet(folder.path());
    let told = notices(&fleet);
    assert!(told.contains("the server's certificate ends on"), "{told}");
    assert!(told.contains("the CA of the server's certificate ends on"), "{told}");
    let login = format!("token={}", fleet.token());
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let cookie = fleet.admin("POST", "/login", &[form], login.as_bytes()).expect(303).cookie();
    let page = fleet.admin("GET", "/", &[("Cookie", &cookie)], b"").expect(200).text();
    assert!(page.contains("ends on"), "{page}");
}
