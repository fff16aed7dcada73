//! Bootstrap and sessions by pre-shared key and by certificate, in TLS 1.3 and 1.2, with the real programs: what they cost
//! in round trips and bytes, what is taken up again, and what is told where the other end does not agree.

use omadm_tests::{Device, Fleet, Process, private_file, until};
use omadm_tls::ca::{self, Validity};
use serde_json::{Value, json};
use std::time::SystemTime;

const DEV_ID: &str = "IMEI:490154203237625";
const KEY: &str = "30313233343536373839616263646566";

/// How a device proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Psk,
    X509,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Psk, Self::X509];

    fn name(self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::X509 => "x509",
        }
    }

    /// What the client's log says of a full handshake.
    fn logged(self) -> &'static str {
        match self {
            Self::Psk => "by pre-shared key",
            Self::X509 => "by certificate",
        }
    }

    /// The most bytes of a cold bootstrap with a session, in one connection or two, and of a repeated session.
    fn bytes(self) -> (u64, u64) {
        match self {
            Self::Psk => (6 * 1024, 3 * 1024),
            Self::X509 => (10 * 1024, 3 * 1024),
        }
    }
}

/// A device that this server knows by its key or certificate.
fn device(fleet: &Fleet, way: Way) -> Device {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let authority = ca::make("Factory", Validity::of_ca(now)).expect("a CA");
    let issued = ca::issue_device(&authority, DEV_ID, Validity::of_device(now)).expect("a certificate");
    let (enrolment, means) = match way {
        Way::Psk => (json!({"dev_id": DEV_ID, "psk": {"key": KEY}}), "secret_file = \"$HOME/key\""),
        Way::X509 => (
            json!({"dev_id": DEV_ID, "cert": issued.certificate}),
            "cert = \"$HOME/cert.pem\"\nkey = \"$HOME/key.pem\"",
        ),
    };
    fleet.post("/api/v1/devices", &enrolment);
    let (url, ca, auth) = (fleet.bootstrap_url(), fleet.ca(), way.name());
    let section = format!("[bootstrap]\nurl = \"{url}\"\nca = \"{}\"\nauth = \"{auth}\"\n{means}\n", ca.display());
    let mut device = Device::new(DEV_ID, &format!("[card]\nlink = \"off\"\n{section}"));
    private_file(&device.join("key"), KEY.as_bytes());
    private_file(&device.join("cert.pem"), issued.certificate.as_bytes());
    private_file(&device.join("key.pem"), issued.key.as_bytes());
    device.set_environment("RUST_LOG", "debug");
    device
}

/// Lets OpenSSL in the client speak TLS 1.2 at most.
fn only_tls12(device: &mut Device) {
    let file = device.join("openssl.cnf");
    let text = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nMaxProtocol = TLSv1.2\n";
    private_file(&file, text.as_bytes());
    device.set_environment("OPENSSL_CONF", file);
}

fn managed(device: &mut Device) -> (Process, Value) {
    let client = device.run();
    let status = device.managed(30);
    (client, status)
}

fn connections(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once("TLS with localhost: ")).map(|(_, how)| how).collect()
}

fn cost(status: &Value) -> (u64, u64) {
    let count = |name: &str| status["last_run"][name].as_u64().expect("a number");
    (count("round_trips"), count("bytes"))
}

/// Round trips and bytes of the last session.
fn last_session(log: &str) -> (u64, u64) {
    let told = log.lines().rev().find_map(|line| line.split_once("the session with acme took "));
    let numbers: Vec<u64> =
        told.expect("a session").1.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn with_their_own_identity_one_connection_is_enough() {
    for way in Way::BOTH {
        let fleet = Fleet::start();
        fleet.add_profile_giving("none");
        let mut device = device(&fleet, way);
        let (client, status) = managed(&mut device);
        assert_eq!(status["accounts"][0]["source"], "bootstrap-server");
        let (round_trips, bytes) = cost(&status);
        println!("{way:?}: cold bootstrap and session: {round_trips} round trips, {bytes} bytes");
        assert!(round_trips <= 6 && bytes <= way.bytes().0, "{way:?}: {round_trips} round trips, {bytes} bytes");
        assert_eq!(connections(&client.log()), [format!("TLSv1.3, {}", way.logged())]);
        assert!(client.stop().success());
        assert_eq!(fleet.device(DEV_ID)["state"], "managed");
    }
}

#[test]
fn a_certificate_says_what_time_it_is_and_a_key_does_not() {
    for way in Way::BOTH {
        let fleet = Fleet::start();
        fleet.add_profile_giving("none");
        let mut device = device(&fleet, way);
        let (client, status) = managed(&mut device);
        assert!(client.stop().success());
        let file = String::from_utf8(device.state().0).expect("text");
        let state: Value = serde_json::from_str(file.split_once('\n').expect("a first line").1).expect("JSON");
        let since = state["notes"]["proved"].as_str().expect("a time");
        let session = status["accounts"][0]["last_session"].as_str().expect("a time");
        match way {
            Way::Psk => assert_eq!(since, "1970-01-01T00:00:00Z"),
            Way::X509 => assert!(since > "2026" && since < session, "{since} {session}"),
        }
    }
}

#[test]
fn with_what_the_server_gives_out_sessions_are_cheap_in_each_version() {
    for (way, tls12) in [(Way::Psk, false), (Way::Psk, true), (Way::X509, false), (Way::X509, true)] {
        let fleet = Fleet::start();
        fleet.add_profile_giving(way.name());
        let mut device = device(&fleet, way);
        let version = if tls12 { "TLSv1.2" } else { "TLSv1.3" };
        if tls12 {
            only_tls12(&mut device);
        }
        let (client, status) = managed(&mut device);
        let full = format!("{version}, {}", way.logged());
        assert_eq!(connections(&client.log()), [full.as_str(), &full], "another identity is another connection");
        let (round_trips, bytes) = cost(&status);
        println!("{way:?}, {version}: cold bootstrap and session: {round_trips} round trips, {bytes} bytes");
        assert!(tls12 || round_trips <= 8, "{way:?}: {round_trips} round trips");

        let told = device.json(&["session"]);
        assert_eq!((told.0, &told.1["sessions"][0]["ended"]), (0, &true.into()), "{told:?}");
        let again = match (way, tls12) {
            (Way::X509, false) => "TLSv1.3, resumed",
            (Way::Psk, _) | (Way::X509, true) => &full,
        };
        assert_eq!(connections(&client.log()).last(), Some(&again), "{way:?} {version}");
        let (round_trips, bytes) = last_session(&client.log());
        println!("{way:?}, {version}: repeated session: {round_trips} round trips, {bytes} bytes");
        assert!(tls12 || (round_trips <= 4 && bytes <= way.bytes().1), "{way:?}: {round_trips}, {bytes}");
        assert!(client.stop().success());
        assert_eq!(fleet.device(DEV_ID)["state"], "managed");
    }
}

/// What the device says of its last attempt: reason and sentence.
fn refusal(device: &mut Device) -> (String, String) {
    let mut client = device.run();
    let told = until("an attempt was made", 30, || {
        assert!(client.runs(), "{}", client.log());
        let status = device.status()?;
        let attempt = status["attempts"].as_array()?.iter().find(|one| one["method"] == "bootstrap-server")?.clone();
        Some((attempt["reason"].as_str()?.to_owned(), attempt["message"].as_str()?.to_owned()))
    });
    assert!(client.stop().success());
    told
}

#[test]
fn a_key_that_the_server_does_not_share_is_told_as_that() {
    let fleet = Fleet::start();
    fleet.add_profile_giving("none");
    for key in ["000102030405060708090a0b0c0d0e0f", "00010203"] {
        let mut device = device(&fleet, Way::Psk);
        private_file(&device.join("key"), key.as_bytes());
        let (reason, message) = refusal(&mut device);
        let expected = match key.len() {
            32 => ("tls", "do not share the pre-shared key"),
            _ => ("not-configured", "16 to 256 bytes"),
        };
        assert_eq!(reason, expected.0, "{message}");
        assert!(message.contains(expected.1) && !message.contains(key), "{message}");
    }
}

#[test]
fn a_certificate_without_its_key_never_leaves_the_device() {
    let fleet = Fleet::start();
    let mut device = device(&fleet, Way::X509);
    private_file(
        &device.join("key.pem"),
        ca::make("Other", Validity { from: 0, until: 1 }).expect("a CA").key.as_bytes(),
    );
    let (reason, message) = refusal(&mut device);
    assert_eq!(reason, "not-configured", "{message}");
    assert!(message.contains("cert.pem") && message.contains("does not belong"), "{message}");
}

#[test]
fn a_certificate_that_the_server_does_not_know_is_refused_as_unknown() {
    let fleet = Fleet::start();
    let mut known = device(&fleet, Way::X509);
    let stranger = device(&Fleet::start(), Way::X509);
    for file in ["cert.pem", "key.pem"] {
        private_file(&known.join(file), &std::fs::read(stranger.join(file)).expect("a file"));
    }
    assert_eq!(refusal(&mut known).0, "http-401");
}
