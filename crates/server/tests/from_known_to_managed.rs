//! The walk of one device: known, bootstrapped, managed.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Fleet, IMEI, SECRET, basic, commands, profile, user};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::web::media;
use serde_json::{Value, json};

#[test]
fn a_device_goes_all_the_way() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    assert_eq!(fleet.shown(IMEI)["state"], "known");

    let query = format!("?MNC=01&MCC=001&DevID={}", user(IMEI));
    let message = fleet.bootstrap(&query, Some(&basic(&user(IMEI), SECRET))).expect(200);
    assert_eq!(message.header("content-type"), Some(media::BOOTSTRAP));
    assert_eq!(message.header("cache-control"), Some("no-store"));
    let parsed = BootstrapMessage::parse(&message.body, Limit::Card).unwrap();
    let account = &parsed.accounts()[0].0;
    assert_eq!(account.srv_uri.as_str(), format!("{}/dm", fleet.server().public_url));
    assert!(account.server_ca.as_ref().unwrap().contains("BEGIN CERTIFICATE"));
    let shown = fleet.shown(IMEI);
    assert_eq!((&shown["state"], &shown["source"]), (&json!("bootstrapped"), &json!("bootstrap-server")));

    let mut device = kit::Device::of_message(&fleet, IMEI, &message.body);
    device.become_managed();
    let shown = fleet.shown(IMEI);
    assert_eq!(shown["state"], "managed");
    assert_eq!(shown["srv_id"], "acme");
    assert_eq!(shown["devinfo"]["Mod"], "Meter 3");
    let session = &shown["last_session"];
    assert_eq!(session["alerts"], json!([BOOTSTRAP_COMPLETE]));
    assert_eq!((&session["ended"], &session["agreed"]), (&json!(true), &json!(true)));
    assert_eq!(session["commands"], json!([["HPUT", 200], ["GET", 200]]));
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);

    let why = fleet.why(IMEI);
    let doors: Vec<&str> = why.iter().rev().map(|record| record["endpoint"].as_str().unwrap()).collect();
    assert_eq!(doors, ["bootstrap", "session", "data", "session"]);
    let decision = why.last().unwrap()["detail"].as_str().unwrap();
    assert_eq!(
        decision,
        "profile meters, since it is the default; released to a device that proved who it is, with a fresh user and password"
    );
    // Nothing is queued for a managed device: its next session ends at once.
    assert_eq!(commands(&device.first(CLIENT_INITIATED)), [json!(["END"])]);
}

#[test]
fn readings_that_differ_do_not_make_a_device_managed() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    for _ in 0..2 {
        let sent = commands(&device.first(BOOTSTRAP_COMPLETE));
        device.put(sent[0][1].as_str().unwrap(), &device.devinfo()).expect(204);
        let mut other = device.devinfo();
        other[0]["MOData"]["DevInfo"]["FwV"] = "2.0".into();
        device.further(&json!([{"sc": 200}, {"sc": 200, "Data": other}])).expect(200);
        let shown = fleet.shown(IMEI);
        assert_eq!((&shown["state"], &shown["last_session"]["ended"]), (&json!("bootstrapped"), &json!(true)));
    }
    // It is read again in each session until both agree.
    device.become_managed();
    assert_eq!(fleet.shown(IMEI)["state"], "managed");
}

#[test]
fn another_devices_devinfo_does_not_count() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    let sent = commands(&device.first(BOOTSTRAP_COMPLETE));
    let mut foreign = device.devinfo();
    foreign[0]["MOData"]["DevInfo"]["DevID"] = "IMEI:1".into();
    device.put(sent[0][1].as_str().unwrap(), &foreign).expect(204);
    device.further(&json!([{"sc": 200}, {"sc": 200, "Data": foreign}])).expect(200);
    assert_eq!(fleet.shown(IMEI)["state"], "bootstrapped");
}

#[test]
fn everything_outlives_a_restart_between_two_packages() {
    let mut fleet = Fleet::with(|config| config.public_url = Some("https://localhost".parse().unwrap()));
    let mut device = fleet.bootstrapped(IMEI);
    let sent = commands(&device.first(BOOTSTRAP_COMPLETE));
    let (authorization, cookie) = (device.authorization.clone(), device.cookie.clone());
    fleet.restart();
    let device = kit::Device {
        fleet: &fleet,
        dev_id: IMEI.into(),
        identity: omadm_tls::ClientIdentity::nobody(),
        authorization,
        cookie,
    };
    device.put(sent[0][1].as_str().unwrap(), &device.devinfo()).expect(204);
    device.further(&json!([{"sc": 200}, {"sc": 200, "Data": device.devinfo()}])).expect(200);
    assert_eq!(fleet.shown(IMEI)["state"], "managed");
    assert_eq!(fleet.api("GET", "/profiles", &Value::Null).json()[0]["name"], "meters");
}
