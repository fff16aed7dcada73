//! A device that an operator removes or blocks: what it holds ends at once, whatever it proves itself by, and whoever asks
//! why is told. And a profile that cannot be read, which ends nothing but itself.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Device, Fleet, IMEI, OTHER, SECRET, basic, profile, user};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::web::media;
use omadm_tls::ClientIdentity;
use omadm_tls::ca::{self, Validity};
use serde_json::{Value, json};
use std::time::SystemTime;

fn path(dev_id: &str) -> String {
    format!("/devices/{}", user(dev_id))
}

fn why(fleet: &Fleet, dev_id: &str) -> Value {
    fleet.api("GET", &format!("{}/why", path(dev_id)), &Value::Null).expect(200).json()
}

fn set_blocked(fleet: &Fleet, method: &str) -> Value {
    fleet.api(method, &format!("{}/block", path(IMEI)), &Value::Null).expect(200).json()
}

#[test]
fn what_a_removed_device_was_given_is_worth_nothing() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    fleet.add_device(OTHER);
    let mut other = fleet.account(OTHER);
    let card = json!({"profile": "meters", "for": "card", "label": "8901012345678901234"});
    let on_card = fleet.api("POST", "/messages", &card).expect(200).body;
    let mut card = Device::of_message(&fleet, IMEI, &on_card);
    card.first(CLIENT_INITIATED).expect(200);
    let job = json!({"commands": [["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Man"]]});
    fleet.api("POST", &format!("{}/jobs", path(IMEI)), &job).expect(201);
    device.first(CLIENT_INITIATED).expect(200);

    fleet.api("DELETE", &path(IMEI), &Value::Null).expect(204);
    device.further(&json!([])).problem(401);
    device.first(CLIENT_INITIATED).problem(401);
    card.first(CLIENT_INITIATED).problem(401);
    fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).problem(401);
    other.first(CLIENT_INITIATED).expect(200);

    fleet.api("GET", &path(IMEI), &Value::Null).problem(404);
    fleet.api("DELETE", &path(IMEI), &Value::Null).problem(404);
    let told = why(&fleet, IMEI);
    assert!(told["state"].is_null() && told["removed_at"].is_string(), "{told}");
    assert!(why(&fleet, OTHER).get("removed_at").is_none());
    let again = fleet.bootstrapped(IMEI);
    assert!(again.authorization != device.authorization && fleet.shown(IMEI)["jobs"] == json!([]), "it begins anew");
    assert!(why(&fleet, IMEI)["removed_at"].is_string(), "that is remembered");
}

#[test]
fn a_blocked_device_gets_403_once_it_proved_who_it_is() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    let enrolment = basic(&user(IMEI), SECRET);
    device.first(CLIENT_INITIATED).expect(200);
    let since = set_blocked(&fleet, "POST")["blocked_at"].clone();
    assert!(since.is_string());
    assert_eq!(set_blocked(&fleet, "POST")["blocked_at"], since, "once is enough");

    fleet.bootstrap("", Some(&enrolment)).problem(403);
    device.further(&json!([])).problem(403);
    device.first(CLIENT_INITIATED).problem(403);
    let headers = [("Authorization", device.authorization.as_str()), ("OMADM-DevID", IMEI)];
    fleet.device("GET", "/data/token/name", &headers, b"").problem(403);
    fleet.bootstrap("", Some(&basic(&user(IMEI), "wrong"))).problem(401);
    let told = why(&fleet, IMEI);
    assert_eq!(told["blocked_at"], since);
    let blocked = |one: &&Value| one["code"] == "blocked" && one["status"] == 403;
    let requests = told["requests"].as_array().unwrap();
    let blocked: Vec<_> = requests.iter().filter(blocked).collect();
    assert_eq!(blocked.len(), 4, "{told}");
    assert!(blocked[0]["detail"].as_str().unwrap().starts_with("an operator blocked this device at"), "{told}");

    assert!(set_blocked(&fleet, "DELETE").get("blocked_at").is_none());
    device.first(CLIENT_INITIATED).expect(200);
    fleet.bootstrap("", Some(&enrolment)).expect(200);
    fleet.api("POST", &format!("{}/block", path(OTHER)), &Value::Null).problem(404);
}

#[test]
fn a_factory_credential_ends_with_its_device_before_its_first_use() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let order = json!({"profile": "meters", "run": "run1", "devices": [IMEI, OTHER]});
    let given = fleet.api("POST", "/factory/messages", &order).expect(200).json();
    let device = |place: usize, dev_id: &str| {
        Device::of_message(&fleet, dev_id, given["devices"][place]["message"].to_string().as_bytes())
    };
    fleet.add_device(IMEI);
    // One is known and has not come, the other one is not known at all.
    for (place, dev_id) in [(0, IMEI), (1, OTHER)] {
        fleet.api("DELETE", &path(dev_id), &Value::Null).expect(204);
        device(place, dev_id).first(CLIENT_INITIATED).problem(401);
        fleet.api("GET", &path(dev_id), &Value::Null).problem(404);
        assert!(why(&fleet, dev_id)["removed_at"].is_string());
        fleet.api("DELETE", &path(dev_id), &Value::Null).problem(404);
    }
}

#[test]
fn the_credential_of_a_card_or_file_is_withdrawn_alone() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let message = || fleet.api("POST", "/messages", &json!({"profile": "meters", "for": "card"})).expect(200).body;
    let withdraw = |user: &str| fleet.api("DELETE", &format!("/messages/{user}"), &Value::Null);
    let newest = || {
        let listed = fleet.api("GET", "/messages?limit=1", &Value::Null).expect(200).json();
        listed["messages"][0]["user"].as_str().unwrap().to_owned()
    };
    let mut unused = Device::of_message(&fleet, IMEI, &message());
    withdraw(&newest()).expect(204);
    unused.first(CLIENT_INITIATED).problem(401);
    let mut used = Device::of_message(&fleet, IMEI, &message());
    used.first(CLIENT_INITIATED).expect(200);
    let user = newest();
    withdraw(&user).expect(204);
    used.further(&json!([])).problem(401);
    withdraw(&user).problem(404);
    assert_eq!(fleet.shown(IMEI)["dev_id"], IMEI, "the device stays");
}

#[test]
fn a_blocked_device_binds_nothing_by_a_request_that_is_refused() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let card = json!({"profile": "meters", "for": "card"});
    let on_card = fleet.api("POST", "/messages", &card).expect(200).body;
    set_blocked(&fleet, "POST");
    Device::of_message(&fleet, IMEI, &on_card).first(CLIENT_INITIATED).problem(403);
    assert_eq!(why(&fleet, IMEI)["requests"][0]["code"], "blocked");
    let shown = fleet.shown(IMEI);
    assert_eq!((&shown["state"], &shown["source"], &shown["credentials"]), (&json!("known"), &Value::Null, &json!([])));
    Device::of_message(&fleet, OTHER, &on_card).first(CLIENT_INITIATED).expect(200);
}

#[test]
fn a_block_outlives_a_restart_and_another_way_in() {
    let mut fleet = Fleet::start();
    fleet.bootstrapped(IMEI);
    set_blocked(&fleet, "POST");
    fleet.restart();
    fleet.add_device(IMEI);
    fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).problem(403);
}

#[test]
fn the_word_of_a_device_ca_is_withdrawn_for_one_device() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let factory = ca::make("Factory", Validity::of_ca(now)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &factory.certificate).unwrap();
    let fleet = Fleet::with(|config| config.device_ca = Some(file.path().to_owned()));
    fleet.add_profile(&profile()).expect(201);
    let certificate = |dev_id: &str| {
        fleet.api("POST", "/devices", &json!({"dev_id": dev_id, "device_ca": true})).expect(201);
        let issued = ca::issue_device(&factory, dev_id, Validity::of_device(now)).unwrap();
        ClientIdentity::from_pem(&issued.certificate, &issued.key).unwrap()
    };
    let (mine, others) = (certificate(IMEI), certificate(OTHER));
    fleet.bootstrap_as(&mine, "").expect(200);
    set_blocked(&fleet, "POST");
    fleet.bootstrap_as(&mine, "").problem(403);
    let device =
        Device { fleet: &fleet, dev_id: IMEI.into(), identity: mine, authorization: String::new(), cookie: None };
    device.post(media::INITIATION, b"{}").problem(403);
    fleet.bootstrap_as(&others, "").expect(200);
}

#[test]
fn devices_of_a_profile_that_cannot_be_read_get_no_other_one() {
    let fleet = Fleet::start();
    fleet.bootstrapped(IMEI);
    let own = json!({"name": "own", "match": {"dev_id": [OTHER]}, "message": [kit::account("own")]});
    fleet.add_profile(&own).expect(201);
    fleet.add_device(OTHER);
    fleet.change(
        r#"update profile set content = '{"name": "own", "match": {"dev_id": ["IMEI:493005100592801"]}, "later": 1}'
        where name = 'own'"#,
    );
    // What runs now had read it before; any change has it read anew.
    fleet.add_profile(&profile()).expect(200);
    let ask = |dev_id: &str| fleet.bootstrap("", Some(&basic(&user(dev_id), SECRET)));
    let answer = ask(OTHER);
    let public = answer.problem(503);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 0));
    assert!(!public.contains("own"), "{public}");
    let record = &fleet.why(OTHER)[0];
    assert_eq!(record["code"], "profile-unreadable");
    assert!(record["detail"].as_str().unwrap().contains("profile own is for it"), "{record}");
    ask(IMEI).expect(200);
    let facts = json!({"dev_id": OTHER});
    let shown = fleet.api("POST", "/preview", &facts).expect(200).json();
    assert!(shown["message"].is_null() && shown["why"].as_str().unwrap().contains("cannot be read"), "{shown}");
    let mut rival = own.clone();
    rival["name"] = "rival".into();
    assert!(fleet.add_profile(&rival).problem(409).contains("profile own is for the DevID"));
    fleet.add_profile(&own).expect(200);
    ask(OTHER).expect(200);
}

#[test]
fn a_profile_that_does_not_even_say_whose_it_is_is_left_out_and_shown_with_its_problem() {
    let mut fleet = Fleet::start();
    fleet.bootstrapped(IMEI);
    let own = json!({"name": "own", "match": {"dev_id": [OTHER]}, "message": [kit::account("own")]});
    fleet.add_profile(&own).expect(201);
    fleet.add_device(OTHER);
    fleet.change("update profile set content = '{\"name\": \"own\", \"of_a_later_version\": 1}' where name = 'own'");
    fleet.restart();
    fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).expect(200);
    let answer = fleet.bootstrap("", Some(&basic(&user(OTHER), SECRET))).expect(200);
    let message = BootstrapMessage::parse(&answer.body, Limit::Elsewhere).unwrap();
    assert_eq!(message.accounts()[0].0.srv_id.as_str(), "acme", "the next one that matches");
    let listed = fleet.api("GET", "/profiles", &Value::Null).expect(200).json();
    let problem = |name: &str| {
        let found = listed.as_array().unwrap().iter().find(|one| one["name"] == name);
        found.unwrap().get("problem").map(|problem| problem.as_str().unwrap().to_owned())
    };
    assert_eq!(problem("meters"), None);
    assert!(problem("own").unwrap().contains("of_a_later_version"), "{listed}");
    fleet.change("update profile set content = 'nonsense' where name = 'own'");
    let listed = fleet.api("GET", "/profiles", &Value::Null).expect(200).json();
    assert!(
        listed.as_array().unwrap().iter().any(|one| one["name"] == "own" && one["problem"].is_string()),
        "{listed}"
    );
    fleet.add_profile(&own).expect(200);
    let answer = fleet.bootstrap("", Some(&basic(&user(OTHER), SECRET))).expect(200);
    assert!(String::from_utf8_lossy(&answer.body).contains("\"own\""), "it is mended by replacing it");
}
