//! Bounds by address: connections, and messages for anyone.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Fleet, profile};
use omadm_tls::ClientIdentity;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn one_address_has_so_many_connections() {
    let fleet = Fleet::with(|config| config.limits.connections_per_address = 3);
    let mut open: Vec<_> = (0..3).map(|_| fleet.connect()).collect();
    assert!(fleet.connect_as(&ClientIdentity::nobody()).is_err());
    // The admin port is not meant.
    fleet.admin("GET", "/health", &[], b"").expect(200);
    drop(open.pop());
    let start = Instant::now();
    while fleet.connect_as(&ClientIdentity::nobody()).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "a seat that was left is free again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn messages_for_anyone_are_not_for_the_asking_without_end() {
    let fleet = Fleet::with(|config| {
        config.bootstrap.anonymous = true;
        config.limits.anonymous_per_minute = 3;
    });
    let mut open = profile();
    open["release"] = json!("anyone");
    open["credentials"] = json!("none");
    fleet.add_profile(&open).expect(201);
    for _ in 0..3 {
        fleet.bootstrap("", None).expect(200);
    }
    let refused = fleet.bootstrap("", None).expect(429);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Devices that prove who they are do not wait for strangers.
    fleet.add_device(kit::IMEI);
    fleet.bootstrap("", Some(&kit::basic(&kit::user(kit::IMEI), kit::SECRET))).expect(200);
}
