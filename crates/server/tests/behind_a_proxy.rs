//! A proxy on this machine that does TLS brings devices in over plain HTTP.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Fleet, IMEI, SECRET, basic, exchange, profile, user};
use omadm_core::web::media;
use std::net::TcpStream;

#[test]
fn devices_are_served_as_at_the_device_port() {
    let fleet = Fleet::with(|config| config.plain = Some("127.0.0.1:0".parse().unwrap()));
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let ask = |authorization: &str| {
        let stream = TcpStream::connect(fleet.server().plain_addr.unwrap()).unwrap();
        let headers = [("Accept", media::BOOTSTRAP), ("Authorization", authorization)];
        exchange(stream, "GET", "/bootstrap", &headers, b"")
    };
    let message = ask(&basic(&user(IMEI), SECRET)).expect(200);
    let account = &message.json()[0]["MOData"]["DMAcc"];
    assert!(account["SrvURI"].as_str().unwrap().starts_with("https://"), "devices are still told to use TLS");
    ask(&basic(&user(IMEI), "wrong")).expect(401);
    assert_eq!(fleet.why(IMEI)[0]["status"], 200);
}

#[test]
fn what_one_device_does_shuts_no_other_out() {
    let fleet = Fleet::with(|config| {
        config.plain = Some("127.0.0.1:0".parse().unwrap());
        config.limits.failures_per_minute = 1;
        config.limits.anonymous_per_minute = 1;
        config.bootstrap.anonymous = true;
    });
    let mut open = profile();
    open["release"] = "anyone".into();
    open["credentials"] = "none".into();
    fleet.add_profile(&open).expect(201);
    fleet.add_device(IMEI);
    let ask = |more: &[(&str, &str)]| {
        let stream = TcpStream::connect(fleet.server().plain_addr.unwrap()).unwrap();
        let headers = [&[("Accept", media::BOOTSTRAP)], more].concat();
        exchange(stream, "GET", "/bootstrap", &headers, b"").status
    };
    // More than one address has elsewhere.
    for number in 0..70 {
        assert_eq!(ask(&[("Authorization", &basic(&format!("user{number}"), "wrong"))]), 401);
    }
    assert_eq!(ask(&[("Authorization", &basic(&user(IMEI), SECRET))]), 200);
    assert_eq!([ask(&[]), ask(&[])], [200, 200]);
    // Guessing at one user is limited as ever.
    assert_eq!(ask(&[("Authorization", &basic("user0", "wrong"))]), 429);
}

#[test]
fn there_is_no_plain_port_unless_it_is_asked_for() {
    assert_eq!(Fleet::start().server().plain_addr, None);
}
