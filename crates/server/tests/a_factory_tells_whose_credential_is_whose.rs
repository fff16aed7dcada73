//! A factory run has messages made for many devices at once; its manifest binds what is in them before they come.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Device, Fleet, IMEI, OTHER, SECRET, basic, profile, user};
use serde_json::{Value, json};

fn order(fleet: &Fleet, more: Value) -> Vec<Value> {
    let mut body = json!({"profile": "meters", "run": "run1", "devices": [IMEI, OTHER]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = fleet.api("POST", "/factory/messages", &body).expect(200).json();
    answer["devices"].as_array().unwrap().clone()
}

/// What the manifest says of it.
fn line(given: &Value) -> Value {
    json!({"dev_id": given["dev_id"], "profile": "meters", "credential": given["credential"]})
}

fn import(fleet: &Fleet, lines: &[Value]) -> Vec<Value> {
    let answer = fleet.api("POST", "/factory/devices", &json!({"devices": lines})).expect(200).json();
    answer["devices"].as_array().unwrap().clone()
}

fn device<'a>(fleet: &'a Fleet, dev_id: &str, given: &Value) -> Device<'a> {
    Device::of_message(fleet, dev_id, given["message"].to_string().as_bytes())
}

fn fleet_giving(scheme: &str) -> Fleet {
    let fleet = Fleet::start();
    let mut profile = profile();
    profile["credentials"] = scheme.into();
    fleet.add_profile(&profile).expect(201);
    fleet
}

#[test]
fn each_device_gets_the_same_again_in_the_same_run() {
    for scheme in ["basic", "psk"] {
        let fleet = fleet_giving(scheme);
        let given = order(&fleet, json!({}));
        assert_eq!(given[0]["credential"]["scheme"], scheme);
        assert_ne!(given[0]["message"], given[1]["message"]);
        let again = order(&fleet, json!({}));
        assert_eq!((&given[0]["message"], &given[0]["credential"]), (&again[0]["message"], &again[0]["credential"]));
        assert_ne!(given[0]["message"], order(&fleet, json!({"run": "run2"}))[0]["message"]);
        let listed = fleet.api("GET", "/messages", &Value::Null).json();
        assert_eq!(listed["messages"].as_array().unwrap().len(), 4, "two devices in two runs");
        device(&fleet, IMEI, &again[0]).become_managed();
        let used = order(&fleet, json!({}));
        assert!(used[0]["problem"].as_str().unwrap().contains("in use"), "{used:?}");
        assert!(used[1]["message"].is_array());
    }
}

#[test]
fn a_certificate_that_is_made_anew_ends_the_one_before() {
    let fleet = fleet_giving("x509");
    let first = order(&fleet, json!({}));
    let again = order(&fleet, json!({}));
    assert_ne!(first[0]["credential"], again[0]["credential"]);
    assert_eq!(device(&fleet, IMEI, &first[0]).first(CLIENT_INITIATED).status, 401);
    assert_eq!(import(&fleet, &[line(&again[0])])[0]["outcome"], "added");
    device(&fleet, IMEI, &again[0]).become_managed();
}

#[test]
fn a_credential_that_was_imported_serves_its_own_device_only() {
    for scheme in ["basic", "psk", "x509"] {
        let fleet = fleet_giving(scheme);
        let given = order(&fleet, json!({}));
        let lines: Vec<Value> = given.iter().map(line).collect();
        assert!(import(&fleet, &lines).iter().all(|one| one["outcome"] == "added"));
        let shown = fleet.shown(IMEI);
        assert_eq!(
            (&shown["state"], &shown["source"], &shown["srv_id"]),
            (&json!("known"), &json!("factory"), &json!("acme"))
        );
        assert_eq!(shown["credentials"][0]["used_at"], Value::Null);
        assert_eq!(shown["credentials"][0]["profile"], "meters");
        // Whoever stole the bundle comes first, and gets nothing by it.
        let mut thief = device(&fleet, "IMEI:1", &given[0]);
        thief.first(CLIENT_INITIATED).problem(403);
        assert_eq!(fleet.api("GET", "/devices/IMEI%3A1", &Value::Null).status, 404);
        let expected = format!("the credential of factory file {IMEI} belongs to {IMEI}, but IMEI:1 used it");
        assert!(fleet.why(IMEI).iter().any(|record| record["detail"] == expected), "{:?}", fleet.why(IMEI));
        device(&fleet, IMEI, &given[0]).become_managed();
        let shown = fleet.shown(IMEI);
        assert_eq!((&shown["state"], shown["credentials"][0]["used_at"].is_string()), (&json!("managed"), true));

        let again = import(&fleet, &lines);
        assert!(again.iter().all(|one| one["outcome"] == "unchanged"), "{again:?}");
        assert_eq!(fleet.shown(IMEI)["state"], "managed");
    }
}

#[test]
fn a_line_that_cannot_be_right_is_refused_and_the_others_are_not() {
    let fleet = fleet_giving("basic");
    let given = order(&fleet, json!({}));
    let good = line(&given[0]);
    let wrong = |pointer: &str, value: Value| {
        let mut line = line(&given[1]);
        *line.pointer_mut(pointer).unwrap() = value;
        line
    };
    let lines = [
        wrong("/credential/user", "nobody".into()),
        wrong("/credential/fingerprint", "00".repeat(32).into()),
        wrong("/credential/scheme", "psk".into()),
        wrong("/profile", "others".into()),
        json!({"dev_id": OTHER, "profile": "others", "credential": null}),
        good,
    ];
    let told = import(&fleet, &lines);
    let problems: Vec<&str> = told.iter().filter_map(|one| one["problem"].as_str()).collect();
    let expected = ["not made here", "another one than", "another one than", "the profile meters", "no profile others"];
    assert_eq!(problems.len(), expected.len(), "{told:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
    assert_eq!(told[5]["outcome"], "added");
    assert_eq!(fleet.api("GET", &format!("/devices/{}", user(OTHER)), &Value::Null).status, 404);
}

#[test]
fn lines_that_are_swapped_strand_nobody() {
    let fleet = fleet_giving("basic");
    let given = order(&fleet, json!({}));
    let lines: Vec<Value> = given.iter().map(line).collect();
    let mut swapped = lines.clone();
    swapped[0]["dev_id"] = lines[1]["dev_id"].clone();
    swapped[1]["dev_id"] = lines[0]["dev_id"].clone();
    let told = import(&fleet, &swapped);
    for (told, made_for) in told.iter().zip([IMEI, OTHER]) {
        assert_eq!(told["problem"], format!("its credential was made for {made_for}"));
    }
    let listed = fleet.api("GET", "/messages", &Value::Null).json();
    assert!(listed["messages"].as_array().unwrap().iter().all(|one| one["dev_id"].is_null()), "{listed}");
    assert_eq!(fleet.api("GET", "/devices", &Value::Null).expect(200).json(), json!([]));
    assert!(import(&fleet, &lines).iter().all(|one| one["outcome"] == "added"));
    device(&fleet, IMEI, &given[0]).become_managed();
}

#[test]
fn a_bundle_serves_no_other_device_before_its_import_either() {
    for scheme in ["basic", "psk", "x509"] {
        let fleet = fleet_giving(scheme);
        let given = order(&fleet, json!({}));
        device(&fleet, "IMEI:1", &given[0]).first(CLIENT_INITIATED).problem(403);
        assert_eq!(fleet.api("GET", "/devices/IMEI%3A1", &Value::Null).status, 404);
        let expected = format!("the credential of factory file {IMEI} was made for {IMEI}, but IMEI:1 used it");
        assert_eq!(
            (&fleet.why("IMEI:1")[0]["detail"], &fleet.why("IMEI:1")[0]["code"]),
            (&json!(expected), &json!("other-device"))
        );
        fleet.add_device(IMEI);
        device(&fleet, "IMEI:1", &given[0]).first(CLIENT_INITIATED).problem(403);
        assert!(fleet.why(IMEI).iter().any(|record| record["detail"] == expected), "{:?}", fleet.why(IMEI));
        device(&fleet, IMEI, &given[0]).become_managed();
    }
}

#[test]
fn a_run_may_make_what_the_devices_enrol_by() {
    let fleet = fleet_giving("basic");
    fleet.add_device(OTHER);
    let given = order(&fleet, json!({"enrol": true}));
    assert!(given[1]["problem"].as_str().unwrap().contains("what it enrols by"), "{given:?}");
    let enrolment = &given[0]["enrolment"];
    assert_eq!(enrolment, &order(&fleet, json!({"enrol": true}))[0]["enrolment"]);
    let authorization = basic(enrolment["user"].as_str().unwrap(), enrolment["secret"].as_str().unwrap());
    fleet.bootstrap("", Some(&authorization)).expect(200);
    fleet.bootstrap("", Some(&basic(&user(OTHER), SECRET))).expect(200);
    assert!(!fleet.shown(IMEI).to_string().contains(enrolment["secret"].as_str().unwrap()));
}

#[test]
fn nothing_is_issued_by_an_order_whose_answer_would_be_too_large() {
    let fleet = Fleet::start();
    let mut large = profile();
    let ballast = json!({"ClientURI": "urn:x:mo:x:1.0//", "MOData": {"X": {"Ballast": "b".repeat(40_000)}}});
    large["message"].as_array_mut().unwrap().push(ballast);
    fleet.add_profile(&large).expect(201);
    let devices = |count: u32| (0..count).map(|number| format!("IMEI:{number}")).collect::<Vec<_>>();
    let order = |count: u32| {
        let body = json!({"profile": "meters", "run": "run1", "devices": devices(count), "enrol": true});
        fleet.api("POST", "/factory/messages", &body)
    };
    assert!(order(500).problem(400).contains("name fewer"));
    assert_eq!(fleet.api("GET", "/messages", &Value::Null).json()["messages"], json!([]));
    assert_eq!(fleet.api("GET", "/devices", &Value::Null).json(), json!([]));
    assert!(order(350).expect(200).body.len() < 16 << 20);
}

#[test]
fn requests_are_bounded_and_named_in_their_errors() {
    let fleet = fleet_giving("basic");
    let many: Vec<String> = (0..501).map(|number| format!("IMEI:{number}")).collect();
    for (path, body, expected) in [
        ("messages", json!({"profile": "meters", "run": "r", "devices": many}), "1 to 500"),
        ("messages", json!({"profile": "meters", "run": "r", "devices": []}), "1 to 500"),
        ("messages", json!({"profile": "meters", "run": "a b", "devices": [IMEI]}), "run:"),
        ("messages", json!({"profile": "meters", "run": "r", "devices": ["a b"]}), "DevID"),
        ("devices", json!({"devices": []}), "1 to 500"),
        ("devices", json!({"devices": [{"dev_id": IMEI}]}), "profile"),
    ] {
        let problem = fleet.api("POST", &format!("/factory/{path}"), &body).problem(400);
        assert!(problem.contains(expected), "{problem}");
    }
    let body = json!({"profile": "others", "run": "r", "devices": [IMEI]});
    fleet.api("POST", "/factory/messages", &body).problem(404);
    assert_eq!(fleet.admin("POST", "/api/v1/factory/devices", &[], b"{}").status, 401);
}
