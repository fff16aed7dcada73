//! Devices that prove themselves by pre-shared keys and certificates: at bootstrap, in sessions, on cards.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Answer, BOOTSTRAP_COMPLETE, Device, Fleet, IMEI, OTHER, profile};
use omadm_core::web::media;
use omadm_tls::ca::{self, Validity};
use omadm_tls::{ClientIdentity, Proof, Sessions, TlsError};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

const KEY: &[u8; 16] = b"0123456789abcdef";
const KEY_HEX: &str = "30313233343536373839616263646566";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn psk(identity: &str, key: &[u8]) -> ClientIdentity {
    ClientIdentity::psk(identity, key).unwrap()
}

fn certificate_of(ca: &ca::Identity, dev_id: &str) -> (ca::Identity, ClientIdentity) {
    let issued = ca::issue_device(ca, dev_id, Validity::of_device(now())).unwrap();
    let identity = ClientIdentity::from_pem(&issued.certificate, &issued.key).unwrap();
    (issued, identity)
}

fn authority() -> ca::Identity {
    ca::make("Factory", Validity::of_ca(now())).unwrap()
}

/// A fleet whose profile gives out credentials of this scheme.
fn giving(scheme: &str) -> Fleet {
    let fleet = Fleet::start();
    let mut profile = profile();
    profile["credentials"] = json!(scheme);
    fleet.add_profile(&profile).expect(201);
    fleet
}

fn add(fleet: &Fleet, body: &Value) -> Answer {
    let answer = fleet.api("POST", "/devices", body);
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
    answer
}

fn add_psk(fleet: &Fleet, dev_id: &str, key: &str) {
    let answer = add(fleet, &json!({"dev_id": dev_id, "psk": {"key": key}}));
    assert!(answer.json().get("secret").is_none(), "no secret is made up beside another way in");
    assert!(!answer.text().contains(key));
}

#[test]
fn from_enrolment_to_managed_by_pre_shared_keys_alone() {
    let fleet = giving("psk");
    add_psk(&fleet, IMEI, KEY_HEX);
    let answer = fleet.bootstrap_as(&psk(&kit::user(IMEI), KEY), "").expect(200);
    let mut device = Device::of_message(&fleet, IMEI, &answer.body);
    assert!(format!("{:?}", device.identity).starts_with("ClientIdentity(psk:"));
    assert_eq!(fleet.connect_as(&device.identity).unwrap().proved(), Proof::Psk);
    device.become_managed();
    assert_eq!(fleet.shown(IMEI)["state"], "managed");
}

#[test]
fn from_enrolment_to_managed_by_certificates_alone() {
    let fleet = giving("x509");
    let (pem, identity) = certificate_of(&authority(), "whatever it says");
    add(&fleet, &json!({"dev_id": IMEI, "cert": pem.certificate}));
    let answer = fleet.bootstrap_as(&identity, &format!("?DevID={IMEI}")).expect(200);
    let mut device = Device::of_message(&fleet, IMEI, &answer.body);
    assert_eq!(format!("{:?}", device.identity), "ClientIdentity(x509)");
    device.become_managed();
    assert_eq!(fleet.shown(IMEI)["state"], "managed");
    // The key of an account is not the server's to keep.
    let stored = std::fs::read(fleet.folder.path().join("data/omadm.db")).unwrap();
    assert!(!stored.windows(7).any(|seven| seven == b"PRIVATE"));
}

#[test]
fn what_tls_proves_is_good_for_its_own_dev_id_only() {
    let fleet = giving("basic");
    let (pem, certificate) = certificate_of(&authority(), IMEI);
    add(&fleet, &json!({"dev_id": IMEI, "psk": {"identity": "mine", "key": KEY_HEX}, "cert": pem.certificate}));
    fleet.add_device(OTHER);
    for identity in [psk("mine", KEY), certificate] {
        fleet.bootstrap_as(&identity, "").expect(200);
        fleet.bootstrap_as(&identity, &format!("?DevID={OTHER}")).problem(403);
        let thief =
            Device { fleet: &fleet, dev_id: OTHER.into(), identity, authorization: String::new(), cookie: None };
        thief.post(media::INITIATION, b"{}").problem(403);
    }
    let why = fleet.why(OTHER);
    assert!(why.iter().all(|one| one["status"] == 403), "{why:?}");
}

#[test]
fn certificates_that_nobody_knows_look_like_none() {
    let fleet = giving("basic");
    fleet.add_device(IMEI);
    let (_, stranger) = certificate_of(&authority(), IMEI);
    let unknown = fleet.bootstrap_as(&stranger, "");
    assert_eq!(unknown.problem(401), fleet.bootstrap("", None).problem(401));
    assert!(unknown.header("www-authenticate").unwrap().starts_with("Basic"));
}

#[test]
fn unknown_identities_and_wrong_keys_get_no_connection_at_all() {
    let fleet = giving("psk");
    add_psk(&fleet, IMEI, KEY_HEX);
    for identity in [psk(&kit::user(IMEI), b"another key, 16+"), psk("stranger", KEY)] {
        let error = fleet.connect_as(&identity).unwrap_err();
        assert!(matches!(error, TlsError::Psk { .. }), "{error}");
    }
    fleet.codes_become(|codes| codes.iter().filter(|code| *code == "tls").count() == 2);
}

#[test]
fn a_key_that_was_changed_ends_on_open_connections_too() {
    let fleet = giving("psk");
    add_psk(&fleet, IMEI, KEY_HEX);
    let identity = psk(&kit::user(IMEI), KEY);
    let open = fleet.connect_as(&identity).unwrap();
    add_psk(&fleet, IMEI, &"ab".repeat(32));
    kit::exchange(open, "GET", "/bootstrap", &[("Accept", media::BOOTSTRAP)], b"").problem(401);
    assert!(fleet.connect_as(&identity).is_err());
    fleet.bootstrap_as(&psk(&kit::user(IMEI), &[0xab; 32]), "").expect(200);
}

#[test]
fn a_device_ca_vouches_for_devices_that_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let factory = authority();
    let path = folder.path().join("factory.pem");
    std::fs::write(&path, &factory.certificate).unwrap();
    let fleet = Fleet::with(|config| config.device_ca = Some(path));
    fleet.add_profile(&profile()).expect(201);
    let (_, mine) = certificate_of(&factory, IMEI);
    fleet.bootstrap_as(&mine, "").problem(401);
    add(&fleet, &json!({"dev_id": IMEI, "device_ca": true}));
    fleet.bootstrap_as(&mine, "").expect(200);
    fleet.bootstrap_as(&mine, &format!("?DevID={OTHER}")).problem(403);
    let (_, foreign) = certificate_of(&authority(), IMEI);
    fleet.bootstrap_as(&foreign, "").problem(401);
    // What the server itself gives out is no word of a device CA.
    let own = std::fs::read_to_string(fleet.folder.path().join("data/device-ca.pem")).unwrap();
    assert!(!ca::signed_by(&own, &factory.certificate).unwrap());
}

#[test]
fn valid_are_the_set_last_used_and_the_four_newest_unused() {
    for scheme in ["psk", "x509"] {
        let fleet = giving(scheme);
        add_psk(&fleet, IMEI, KEY_HEX);
        let enrolment = psk(&kit::user(IMEI), KEY);
        let ask = || Device::of_message(&fleet, IMEI, &fleet.bootstrap_as(&enrolment, "").expect(200).body);
        let accepted = |device: &Device<'_>| match fleet.connect_as(&device.identity) {
            Ok(stream) => {
                let headers = [("Content-Type", media::INITIATION), ("Accept", media::REQUEST)];
                let body = json!({"Alert": [{"AlertType": BOOTSTRAP_COMPLETE}]}).to_string();
                device.send_over(stream, "POST", "/dm", &headers, body.as_bytes()).status == 200
            }
            Err(_) => false,
        };
        let used = ask();
        assert!(accepted(&used), "{scheme}");
        let unused: Vec<Device<'_>> = (0..5).map(|_| ask()).collect();
        assert!(accepted(&used) && !accepted(&unused[0]) && accepted(&unused[1]), "{scheme}");
        assert!(!accepted(&used), "{scheme}: the newer set was used");
        assert!(unused[2..].iter().all(accepted), "{scheme}");
    }
}

#[test]
fn a_card_or_file_is_bound_to_the_first_device_that_uses_it() {
    for scheme in ["psk", "x509"] {
        let fleet = giving(scheme);
        for carrier in ["card", "factory"] {
            let body = json!({"profile": "meters", "for": carrier, "label": "one"});
            let message = fleet.api("POST", "/messages", &body).expect(200).body;
            let (first, second) = (format!("{IMEI}-{carrier}"), format!("{OTHER}-{carrier}"));
            Device::of_message(&fleet, &first, &message).become_managed();
            let mut late = Device::of_message(&fleet, &second, &message);
            late.first(BOOTSTRAP_COMPLETE).problem(403);
            assert_eq!(fleet.shown(&first)["state"], "managed");
        }
        let listed = fleet.api("GET", "/messages", &Value::Null).expect(200).json();
        assert!(listed["messages"].as_array().unwrap().iter().all(|one| one["scheme"] == scheme), "{listed}");
    }
}

#[test]
fn a_session_is_bound_to_what_opened_it() {
    let fleet = giving("basic");
    add(&fleet, &json!({"dev_id": IMEI, "secret": kit::SECRET, "psk": {"key": KEY_HEX}}));
    let mut by_key = Device {
        fleet: &fleet,
        dev_id: IMEI.into(),
        identity: psk(&kit::user(IMEI), KEY),
        authorization: String::new(),
        cookie: None,
    };
    by_key.first(BOOTSTRAP_COMPLETE).expect(200);
    // The same device, and a user of the same name as the key's; but not what opened the session.
    let mut by_secret = Device {
        fleet: &fleet,
        dev_id: IMEI.into(),
        identity: ClientIdentity::nobody(),
        authorization: kit::basic(&kit::user(IMEI), kit::SECRET),
        cookie: by_key.cookie.clone(),
    };
    by_secret.further(&json!([{"sc": 404}, {"sc": 404}])).problem(403);
    by_secret.cookie = None;
    by_secret.further(&json!([{"sc": 404}, {"sc": 404}])).problem(403);
    by_key.further(&json!([{"sc": 404}, {"sc": 404}])).expect(200);
}

#[test]
fn resumption_keeps_the_identity_and_ends_with_it() {
    let fleet = giving("x509");
    let (pem, identity) = certificate_of(&authority(), IMEI);
    add(&fleet, &json!({"dev_id": IMEI, "cert": pem.certificate}));
    let sessions = Sessions::new();
    let context = fleet.client(&identity).resuming(&sessions);
    let ask = |resumed: bool| {
        let stream = fleet.connect_with(&context).unwrap();
        assert_eq!(stream.resumed(), resumed);
        kit::exchange(stream, "GET", "/bootstrap", &[("Accept", media::BOOTSTRAP)], b"")
    };
    ask(false).expect(200);
    ask(true).expect(200);
    // Another client with the same memory does not get in by it.
    let other = fleet.client(&certificate_of(&authority(), IMEI).1).resuming(&sessions);
    assert!(!fleet.connect_with(&other).unwrap().resumed());
    // Taken away: the resumed connection proves a key that is nobody's any more.
    add(&fleet, &json!({"dev_id": IMEI, "secret": kit::SECRET}));
    ask(true).problem(401);
}

/// Has something happen in the middle of a handshake: before the client's second flight.
struct Meanwhile<F>(TcpStream, usize, F);

impl<F> Read for Meanwhile<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<F: FnMut()> Write for Meanwhile<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1 += 1;
        if self.1 == 2 {
            self.2();
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn the_word_of_a_device_ca_that_was_replaced_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (authority(), authority());
    let path = folder.path().join("factory.pem");
    std::fs::write(&path, &old.certificate).unwrap();
    let fleet = Fleet::with(|config| config.device_ca = Some(path.clone()));
    fleet.add_profile(&profile()).expect(201);
    add(&fleet, &json!({"dev_id": IMEI, "device_ca": true}));
    let context = fleet.client(&certificate_of(&old, IMEI).1).resuming(&Sessions::new());
    // The handshake began under the old CA and ends under the new one.
    let replace = || {
        std::fs::write(&path, &new.certificate).unwrap();
        fleet.reload();
    };
    let stream = Meanwhile(TcpStream::connect(fleet.server().device_addr).unwrap(), 0, replace);
    let stream = context.connect("localhost", 0, stream).unwrap();
    kit::exchange(stream, "GET", "/nowhere", &[], b"").problem(404);
    let next = fleet.connect_with(&context).unwrap();
    assert!(!next.resumed());
    kit::exchange(next, "GET", "/bootstrap", &[("Accept", media::BOOTSTRAP)], b"").problem(401);
}

#[test]
fn bad_ways_in_are_named() {
    let fleet = giving("psk");
    for (body, expected) in [
        (json!({"dev_id": IMEI, "psk": {"key": "abc"}}), "psk.key: hexadecimal digits"),
        (json!({"dev_id": IMEI, "psk": {"key": "xy".repeat(16)}}), "psk.key: hexadecimal digits"),
        (json!({"dev_id": IMEI, "psk": {"key": "ab".repeat(15)}}), "16 to 256 bytes"),
        (json!({"dev_id": IMEI, "psk": {"key": KEY_HEX, "identity": ""}}), "1 to 128 bytes"),
        (json!({"dev_id": IMEI, "psk": {"key": KEY_HEX, "identity": "omadm-resumption:1"}}), "may not begin"),
        (json!({"dev_id": IMEI, "cert": "nonsense"}), "cert: no certificate found"),
        (json!({"dev_id": IMEI, "device_ca": true}), "names no device CA"),
    ] {
        let detail = fleet.api("POST", "/devices", &body).problem(400);
        assert!(detail.contains(expected), "{detail}");
    }
    add_psk(&fleet, IMEI, KEY_HEX);
    let taken = json!({"dev_id": OTHER, "psk": {"identity": kit::user(IMEI), "key": KEY_HEX}});
    fleet.api("POST", "/devices", &taken).problem(409);
}
