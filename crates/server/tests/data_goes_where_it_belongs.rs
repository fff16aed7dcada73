//! The data repository and the jobs that use it.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Device, Fleet, IMEI, OTHER, commands, path_of};
use omadm_core::web::media;
use serde_json::{Value, json};

const SETPOINT: &str = "urn:example:mo:setpoint:1.0//";

fn jobs(dev_id: &str) -> String {
    format!("/devices/{}/jobs", kit::user(dev_id))
}

fn managed(fleet: &Fleet) -> Device<'_> {
    let mut device = fleet.bootstrapped(IMEI);
    device.become_managed();
    device
}

#[test]
fn a_job_carries_data_both_ways() {
    let fleet = Fleet::start();
    let mut device = managed(&fleet);
    let content = json!([{"ClientURI": SETPOINT, "MOData": {"Setpoint": {"Name": "hall", "Target": 21.5}}}]);
    let job = json!({
        "commands": [["HGET", "data:new"], ["HPOST", "data:back", SETPOINT], ["GET", SETPOINT]],
        "data": {"new": content},
    });
    let id = fleet.api("POST", &jobs(IMEI), &job).expect(201).json()["id"].clone();
    let sent = commands(&device.first(CLIENT_INITIATED));
    let (new, back) = (sent[0][1].as_str().unwrap(), sent[1][1].as_str().unwrap());
    assert!(new.starts_with(&fleet.server().public_url) && new.ends_with("/new"));

    let answer = device.send("GET", path_of(new), &[("Accept", media::MO)], b"").expect(200);
    assert_eq!((answer.header("content-type"), answer.json()), (Some(media::MO), content.clone()));
    let posted = device.send("POST", path_of(back), &[("Content-Type", media::MO)], content.to_string().as_bytes());
    posted.expect(204);
    let statuses =
        json!([{"sc": 200, "URI": ["urn:example:mo:setpoint:1.0/k3/"]}, {"sc": 200}, {"sc": 200, "Data": content}]);
    assert_eq!(commands(&device.further(&statuses)), [json!(["END"])]);

    let shown = fleet.api("GET", &format!("{}/{id}", jobs(IMEI)), &Value::Null).expect(200).json();
    assert_eq!((&shown["state"], &shown["results"]), (&json!("done"), &statuses));
    assert_eq!(shown["uploads"]["back"], content);
    assert_eq!(fleet.shown(IMEI)["last_session"]["commands"], json!([["HGET", 200], ["HPOST", 200], ["GET", 200]]));
}

#[test]
fn a_token_is_good_once_for_one_device_one_name_and_one_direction() {
    let fleet = Fleet::start();
    let mut device = managed(&fleet);
    let job = json!({"commands": [["HGET", "data:a"], ["HPUT", "data:b", SETPOINT]], "data": {"a": []}});
    fleet.api("POST", &jobs(IMEI), &job).expect(201);
    let sent = commands(&device.first(CLIENT_INITIATED));
    let (get, put) = (path_of(sent[0][1].as_str().unwrap()), path_of(sent[1][1].as_str().unwrap()));

    fleet.add_device(OTHER);
    let other = fleet.account(OTHER);
    other.send("GET", get, &[], b"").problem(404);
    fleet.device("GET", get, &[("OMADM-DevID", IMEI)], b"").problem(401);
    device.send("GET", &format!("{get}x"), &[], b"").problem(404);
    device.send("GET", "/data/unknown/a", &[], b"").problem(404);
    device.send("GET", "/data/unknown", &[], b"").problem(404);
    device.send("PUT", get, &[], b"[]").problem(405);
    device.send("GET", put, &[], b"").problem(405);
    device.send("DELETE", put, &[], b"").problem(405);
    device.send("GET", get, &[("Accept", "text/html")], b"").problem(406);
    // None of that used it up.
    device.send("GET", get, &[("Accept", "application/json")], b"").expect(200);
    device.send("GET", get, &[], b"").problem(404);
    let codes: Vec<Value> = fleet.why(IMEI).iter().take(2).map(|record| record["detail"].clone()).collect();
    assert_eq!(codes[0], "the token was used already");
}

#[test]
fn what_is_sent_is_checked() {
    let fleet = Fleet::with(|config| config.limits.max_body = 4096);
    let mut device = managed(&fleet);
    fleet.api("POST", &jobs(IMEI), &json!({"commands": [["HPUT", "data:b", SETPOINT]]})).expect(201);
    let sent = commands(&device.first(CLIENT_INITIATED));
    let put = path_of(sent[0][1].as_str().unwrap());
    let answer = device.send("PUT", put, &[("Content-Type", "text/plain")], b"[]");
    answer.problem(415);
    assert!(answer.header("omadm-accept").unwrap().contains(media::MO));
    for body in ["", "x", "7", "[7]", r#"[{"MOData":{}}]"#] {
        device.send("PUT", put, &[("Content-Type", media::MO)], body.as_bytes()).problem(400);
    }
    device.send("PUT", put, &[("Content-Type", media::MO)], &vec![b' '; 5000]).problem(413);
    device.put(sent[0][1].as_str().unwrap(), &device.devinfo()).expect(204);
}

#[test]
fn jobs_are_checked_before_they_are_queued() {
    let fleet = Fleet::start();
    let _device = managed(&fleet);
    for (job, detail) in [
        (json!({"commands": []}), "1 to 255"),
        (json!({"commands": [["FLY"]]}), "commands[0]"),
        (json!({"commands": [["GET", "urn:x:1//"], ["END"]]}), "commands[1]"),
        (json!({"commands": [["HGET", "data:none"]]}), "data has no member none"),
        (json!({"commands": [["GET", "urn:x:1//"]], "surprise": 1}), "unknown field"),
    ] {
        let problem = fleet.api("POST", &jobs(IMEI), &job).problem(400);
        assert!(problem.contains(detail), "{job}: {problem}");
    }
    fleet.api("POST", &jobs("IMEI:0"), &json!({"commands": [["GET", "urn:x:1//"]]})).problem(404);
    fleet.api("GET", &format!("{}/999", jobs(IMEI)), &Value::Null).problem(404);
}
