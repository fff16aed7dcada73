//! `GET /bootstrap`: what is refused, how, and that it is recorded.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Fleet, IMEI, OTHER, SECRET, account, basic, profile, user};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::web::media;
use serde_json::{Value, json};

#[test]
fn malformed_requests_are_400_and_say_why() {
    let fleet = Fleet::start();
    for (query, detail) in [
        ("?MNC=01&MNC=01", "MNC is given twice"),
        ("?MCC=001&MCC=002", "MCC is given twice"),
        ("?DevID=IMEI:1&DevID=IMEI:1", "DevID is given twice"),
        ("?MNC=1", "MNC is malformed"),
        ("?MCC=01", "MCC is malformed"),
        ("?MNC=", "MNC is malformed"),
        ("?DevID=a%20b", "DevID is malformed"),
        ("?DevID=%ff", "DevID is malformed"),
    ] {
        let problem = fleet.bootstrap(query, None).problem(400);
        assert!(problem.starts_with(detail), "{query}: {problem}");
    }
    let headers = [("OMADM-DevID", "IMEI:2")];
    let problem = fleet.device("GET", "/bootstrap?DevID=IMEI:1", &headers, b"").problem(400);
    assert!(problem.contains("differ"), "{problem}");
    let headers = [("OMADM-DevID", "IMEI:1"), ("OMADM-DevID", "IMEI:1")];
    assert!(fleet.device("GET", "/bootstrap", &headers, b"").problem(400).contains("twice"));
    let all = fleet.api("GET", "/requests", &Value::Null).json();
    let records = all["requests"].as_array().unwrap();
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| record["status"] == 400 && record["authenticated"] == false));
}

#[test]
fn without_or_with_wrong_credentials_known_and_unknown_look_the_same() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let mut seen = Vec::new();
    for dev_id in [IMEI, OTHER] {
        let query = format!("?DevID={}", user(dev_id));
        let wrong = basic(&user(dev_id), "wrong");
        for authorization in [None, Some(&*wrong), Some("Basic ???"), Some("Bearer x"), Some("")] {
            let mut answer = fleet.bootstrap(&query, authorization);
            assert!(answer.problem(401).contains("credentials"));
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm=\"omadm\""));
            answer.headers.retain(|(name, _)| name != "date");
            seen.push((dev_id, format!("{:?} {}", answer.headers, answer.text())));
        }
    }
    let (known, unknown): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(dev_id, _)| *dev_id == IMEI);
    let texts = |list: Vec<(&str, String)>| list.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(known), texts(unknown));
    let codes: Vec<String> = fleet.why(IMEI).iter().map(|r| r["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.iter().filter(|code| *code == "no-credentials").count(), 1);
    assert_eq!(codes.iter().filter(|code| *code == "wrong-credentials").count(), 4);
    assert_eq!(fleet.why(OTHER).len(), 5);
}

#[test]
fn another_devices_message_is_403_only_after_authentication() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let query = format!("?DevID={}", user(OTHER));
    fleet.bootstrap(&query, Some(&basic(&user(IMEI), "wrong"))).problem(401);
    fleet.bootstrap(&query, Some(&basic(&user(IMEI), SECRET))).problem(403);
    // It is shown with either of them.
    for dev_id in [IMEI, OTHER] {
        let shown = fleet.why(dev_id);
        assert!(shown.iter().any(|record| record["code"] == "other-device" && record["status"] == 403), "{dev_id}");
    }
    // A DevID missing in query or header alone is no error.
    fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).expect(200);
}

#[test]
fn accept_method_and_path() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let authorization = basic(&user(IMEI), SECRET);
    let get =
        |accept: &str| fleet.device("GET", "/bootstrap", &[("Accept", accept), ("Authorization", &authorization)], b"");
    assert!(get("application/xml").problem(406).contains(media::BOOTSTRAP));
    get("application/vnd.oma.dm.bootstrap+json;q=0").problem(406);
    for accept in ["*/*", "application/*", media::BOOTSTRAP] {
        get(accept).expect(200);
    }
    let answer = fleet.device("POST", "/bootstrap", &[], b"");
    answer.problem(405);
    assert_eq!(answer.header("allow"), Some("GET"));
    fleet.device("GET", "/", &[], b"").problem(404);
}

#[test]
fn a_device_that_no_profile_is_for_gets_nothing() {
    let fleet = Fleet::start();
    fleet.add_device(IMEI);
    let answer = fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).expect(204);
    assert!(answer.body.is_empty());
    let record = &fleet.why(IMEI)[0];
    assert_eq!((&record["code"], &record["detail"]), (&json!("nothing"), &json!("no profile is for this device")));
}

#[test]
fn a_user_and_profiles_by_prefix_and_network() {
    let fleet = Fleet::start();
    for (name, matches) in
        [("tac", json!({"dev_id_prefix": ["IMEI:4930"]})), ("home", json!({"network": [{"mcc": "001", "mnc": "01"}]}))]
    {
        let document = json!({"name": name, "match": matches, "message": [account(name)]});
        fleet.add_profile(&document).expect(201);
    }
    let digits = json!({"dev_id": IMEI, "user": "493005100592800", "secret": SECRET});
    fleet.api("POST", "/devices", &digits).expect(201);
    fleet.api("POST", "/devices", &json!({"dev_id": "X:1", "user": "x", "secret": SECRET})).expect(201);
    let srv_id = |query: &str, user: &str| {
        let answer = fleet.bootstrap(query, Some(&basic(user, SECRET))).expect(200);
        BootstrapMessage::parse(&answer.body, Limit::Card).unwrap().accounts()[0].0.srv_id.to_string()
    };
    assert_eq!(srv_id("?MCC=001&MNC=01", "493005100592800"), "tac");
    assert_eq!(srv_id("?MCC=001&MNC=01", "x"), "home");
    fleet.bootstrap("?MCC=001&MNC=1", Some(&basic("x", SECRET))).problem(400);
    fleet.bootstrap("?MCC=001&MNC=001", Some(&basic("x", SECRET))).expect(204);
}

#[test]
fn anyone_gets_only_what_holds_no_secret_and_only_where_it_is_switched_on() {
    let open = json!({"name": "open", "match": {"default": true}, "release": "anyone", "credentials": "none",
        "message": [account("acme")]});
    let closed = Fleet::start();
    closed.add_profile(&open).expect(201);
    closed.bootstrap("", None).problem(401);

    let fleet = Fleet::with(|config| config.bootstrap.anonymous = true);
    fleet.add_profile(&open).expect(201);
    fleet.add_profile(&json!({"name": "own", "match": {"dev_id": [IMEI]}, "message": [account("own")]})).expect(201);
    let answer = fleet.bootstrap(&format!("?DevID={}", user(OTHER)), None).expect(200);
    let message = BootstrapMessage::parse(&answer.body, Limit::Card).unwrap();
    assert_eq!(message.accounts()[0].0.trsp, None);
    // What the device's own profile demands is not weakened, and wrong credentials are never as good as none.
    fleet.bootstrap(&format!("?DevID={}", user(IMEI)), None).problem(401);
    fleet.bootstrap(&format!("?DevID={}", user(OTHER)), Some(&basic("x", "y"))).problem(401);

    let with_secret =
        json!({"name": "bad", "match": {"dev_id": ["X:1"]}, "release": "anyone", "message": [account("a")]});
    assert!(fleet.add_profile(&with_secret).problem(400).contains("no secrets"));
}

#[test]
fn guessing_is_slowed_down_and_says_for_how_long() {
    let fleet = Fleet::with(|config| config.limits.failures_per_minute = 3);
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    for _ in 0..3 {
        fleet.bootstrap("", Some(&basic(&user(IMEI), "guess"))).problem(401);
    }
    let answer = fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET)));
    answer.problem(429);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    // Another user from the same address is not held up.
    fleet.add_device(OTHER);
    fleet.bootstrap("", Some(&basic(&user(OTHER), SECRET))).expect(200);
}

#[test]
fn a_device_cannot_ask_without_end() {
    let fleet = Fleet::with(|config| config.limits.messages_per_minute = 2);
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    for _ in 0..2 {
        fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET))).expect(200);
    }
    let answer = fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET)));
    answer.problem(429);
    assert!(answer.header("retry-after").is_some());
}
