//! A device whose clock is wrong: behind, time goes on from the last moment that is known for sure (Profile P-27), so a
//! good certificate is good; ahead, a certificate has expired, which is told by its own reason and tried again. A time
//! ahead that a certificate confirmed by lasting for years is given up as soon as one disagrees.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use omadm_tests::{Answer, Authority, Device, HostileServer};
use serde_json::{Value, json};

const BOOTSTRAP: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.bootstrap+json");
const REQUEST: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.request+json");
const MESSAGE: &[u8] = br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"x","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

/// A device that asks a good server whose certificate is valid between these days from now, its clock set so.
fn bootstrap_at(clock: &str, days: (i64, i64)) -> (HostileServer, Device, Value) {
    let authority = Authority::new();
    let certificate = authority.certificate(&["127.0.0.1"], days);
    let server = HostileServer::tls(&certificate, |_| Answer::new(200, &[BOOTSTRAP], MESSAGE));
    let mut device =
        Device::asking("IMEI:490154203237742", &server.url("/"), authority.pem(), "[card]\nlink = \"off\"\n");
    device.set_clock(&library(), clock);
    let (_, told) = device.json(&["bootstrap"]);
    (server, device, told)
}

/// The library that tells a program another time.
fn library() -> std::path::PathBuf {
    let listed = Command::new("dpkg").args(["-L", "libfaketime"]).output().expect("dpkg runs");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let found = text.lines().find(|line| line.ends_with("/libfaketime.so.1"));
    let path = found.unwrap_or_else(|| panic!("faketime is missing: scripts/setup.sh installs it"));
    assert!(Path::new(path).exists(), "{path}");
    path.into()
}

#[test]
fn behind_since_1970_a_good_certificate_is_good() {
    let (_server, device, told) = bootstrap_at("1970-01-02 00:00:00", (-400, 400));
    assert_eq!(told["result"], "bootstrapped", "{told}");
    let at = told["attempts"][2]["at"].as_str().expect("a time").to_owned();
    assert!(at.as_str() > "2026", "the moment that the program was built is known: {at}");
    assert_eq!(device.status().map(|status| status["state"].clone()), Some("bootstrapped".into()));
}

#[test]
fn behind_it_does_not_revive_what_has_expired() {
    // It expired long before this program was built.
    let (_, _, told) = bootstrap_at("1970-01-02 00:00:00", (-3000, -2500));
    clock_is_the_reason(&told);
}

#[test]
fn ahead_a_certificate_has_expired_and_is_tried_again() {
    let (_server, mut device, told) = bootstrap_at("2046-01-01 00:00:00", (-400, 400));
    clock_is_the_reason(&told);
    // What was written then does not count as known: the clock may go back.
    device.set_clock_right();
    let (_, told) = device.json(&["bootstrap"]);
    assert_eq!(told["result"], "bootstrapped", "{told}");
}

#[test]
fn behind_a_certificate_of_the_future_is_not_valid_yet() {
    let (_, _, told) = bootstrap_at("1970-01-02 00:00:00", (30, 400));
    clock_is_the_reason(&told);
}

#[test]
fn ahead_a_certificate_that_lasts_for_years_is_good_and_keeps_no_later_one_out() {
    let (short, lasting) = ((-400, 400), (-400, 3000));
    for (bootstrap, later) in [(short, "right"), (lasting, "right"), (short, "1970"), (lasting, "1970")] {
        let authority = Authority::new();
        let server = |days| {
            let end = |_: &_| Answer::new(200, &[REQUEST], br#"{"CMD":[["END"]]}"#);
            HostileServer::tls(&authority.certificate(&["127.0.0.1"], days), end)
        };
        let (first, second) = (server(lasting), server(short));
        let port = Arc::new(AtomicU16::new(first.port()));
        let (place, ca) = (port.clone(), authority.pem().to_owned());
        let boot = HostileServer::tls(&authority.certificate(&["127.0.0.1"], bootstrap), move |_| {
            Answer::new(200, &[BOOTSTRAP], message(place.load(Ordering::Relaxed), &ca).as_bytes())
        });
        let more = "[card]\nlink = \"off\"\n";
        let mut device = Device::asking("IMEI:490154203237742", &boot.url("/"), authority.pem(), more);
        assert_eq!(device.json(&["bootstrap"]).0, 0);
        device.set_clock(&library(), "+4y");
        session_ends(&device);
        let ahead = last_session(&device);
        assert!(ahead.as_str() > "2030", "{ahead}");

        port.store(second.port(), Ordering::Relaxed);
        assert!(device.once(&["account", "remove", "acme"]).status.success());
        if later == "1970" {
            // Nothing says that it is earlier than it was, and what may have expired is refused.
            device.set_clock(&library(), "1970-01-02 00:00:00");
            let (_, told) = device.json(&["bootstrap"]);
            if bootstrap == short {
                clock_is_the_reason(&told);
            } else {
                assert_eq!(device.json(&["session", "acme"]).1["sessions"][0]["reason"], "clock");
                assert!(device.once(&["account", "remove", "acme"]).status.success());
            }
        }
        device.set_clock_right();
        let (code, told) = device.json(&["bootstrap"]);
        assert_eq!((code, &told["result"]), (0, &"bootstrapped".into()), "{later}: {told}");
        session_ends(&device);
        let now = last_session(&device);
        assert!(now < ahead, "{later}: {now}");
        // It is kept, and nothing has to be found out again.
        let connections = second.connections();
        session_ends(&device);
        assert_eq!(second.connections(), connections + 1, "{later}");
    }
}

fn message(port: u16, ca: &str) -> String {
    json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
        "SrvID": "acme", "SrvURI": format!("https://127.0.0.1:{port}/dm"), "Name": "Acme",
        "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}},
        "Auth": {"Trsp": {"Data": "YmFzaWM6YWNtZS0wMDAx", "Secret": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}},
        "Ext": {"omadm": {"ServerCA": ca}},
    }}}])
    .to_string()
}

fn session_ends(device: &Device) {
    let (code, told) = device.json(&["session", "acme"]);
    assert_eq!((code, &told["sessions"][0]["ended"]), (0, &true.into()), "{told}");
}

fn last_session(device: &Device) -> String {
    let status = device.status().expect("a status");
    status["accounts"][0]["last_session"].as_str().unwrap_or_else(|| panic!("no session: {status}")).to_owned()
}

fn clock_is_the_reason(told: &Value) {
    let attempt = &told["attempts"][2];
    assert_eq!((&attempt["outcome"], &attempt["reason"]), (&"failed".into(), &"clock".into()), "{told}");
    assert!(attempt["message"].as_str().is_some_and(|text| text.contains("check the clock")), "{told}");
    assert!(told["next"]["at"].is_string(), "{told}");
}
