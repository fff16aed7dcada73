//! The admin port: the token, the pages, and what they show.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Fleet, IMEI, OTHER, SECRET, account, profile};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_api_needs_the_token_and_health_does_not() {
    let fleet = Fleet::start();
    fleet.admin("GET", "/health", &[], b"").expect(200);
    let token = fleet.token();
    for headers in [vec![], vec![("Authorization", "Bearer wrong")], vec![("Authorization", "Basic eDp5")]] {
        for path in ["/api/v1/devices", "/api/v1/profiles/x", "/api/v1/messages"] {
            let answer = fleet.admin("GET", path, &headers, b"");
            answer.problem(401);
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    let right = format!("Bearer {token}");
    fleet.admin("GET", "/api/v1/devices", &[("Authorization", &right)], b"").expect(200);
    let mode = std::fs::metadata(&fleet.server().admin_token_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = std::fs::metadata(fleet.folder.path().join("data")).unwrap().permissions().mode();
    assert_eq!(folder & 0o777, 0o700);
}

#[test]
fn the_server_says_what_others_need() {
    let fleet = Fleet::start();
    let server = fleet.api("GET", "/server", &Value::Null).expect(200).json();
    assert_eq!(server["profile"], "omadm-1");
    assert_eq!(server["bootstrap_url"], format!("{}/bootstrap", fleet.server().public_url));
    let ca = fleet.api("GET", "/ca", &Value::Null).expect(200);
    assert_eq!(ca.text(), std::fs::read_to_string(fleet.server().ca_file.as_ref().unwrap()).unwrap());
    let url = std::fs::read_to_string(fleet.folder.path().join("data/admin-url")).unwrap();
    assert_eq!(url.trim(), fleet.server().admin_url);
    fleet.api("GET", "/nowhere", &Value::Null).problem(404);
    fleet.api("PUT", "/server", &Value::Null).problem(405);
}

#[test]
fn profiles_are_checked_when_stored() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_profile(&profile()).expect(200);
    let mut no_name = account("acme");
    no_name["MOData"]["DMAcc"].as_object_mut().unwrap().remove("Name");
    let with = |member: &str, value: Value| {
        let mut document = profile();
        document[member] = value;
        document
    };
    for (document, detail) in [
        (with("surprise", json!(1)), "unknown field `surprise`"),
        (with("name", json!("a/b")), "name: "),
        (with("match", json!({})), "match: one of"),
        (with("match", json!({"dev_id": ["a b"]})), "DevID"),
        (with("match", json!({"network": [{"mcc": "1", "mnc": "01"}]})), "MCC"),
        (with("release", json!("all")), "unknown variant `all`"),
        (with("credentials", json!("digest")), "unknown variant `digest`"),
        (with("message", json!([no_name])), "urn:oma:mo:oma-dm-dmacc:1.2/acme/Name"),
        (with("message", json!([])), "no DM Account"),
        (json!({"name": "x"}), "missing field"),
    ] {
        let problem = fleet.add_profile(&document).problem(400);
        assert!(problem.contains(detail), "{document}: {problem}");
    }
    let bearer = format!("Bearer {}", fleet.token());
    let twice = br#"{"name":"x",
"name":"y"}"#;
    let problem = fleet.admin("POST", "/api/v1/profiles", &[("Authorization", &bearer)], twice).problem(400);
    assert!(problem.contains("line 2"), "{problem}");
    let problem = fleet.add_profile(&with("name", json!("other"))).problem(409);
    assert!(problem.contains("profile meters is for every other device"), "{problem}");

    assert_eq!(fleet.api("GET", "/profiles/meters", &Value::Null).json(), profile());
    fleet.api("DELETE", "/profiles/meters", &Value::Null).expect(204);
    fleet.api("DELETE", "/profiles/meters", &Value::Null).problem(404);
    fleet.api("GET", "/profiles/meters", &Value::Null).problem(404);
}

#[test]
fn a_preview_shows_the_message_and_who_gets_it() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    let tac = json!({"name": "tac", "match": {"dev_id_prefix": ["IMEI:4930"]}, "message": [account("tac")]});
    fleet.add_profile(&tac).expect(201);
    let chosen = fleet.api("POST", "/preview", &json!({"dev_id": IMEI})).expect(200).json();
    assert_eq!(chosen["profile"], "tac");
    assert_eq!(chosen["message"][0]["MOData"]["DMAcc"]["SrvURI"], format!("{}/dm", fleet.server().public_url));
    let named = fleet.api("POST", "/profiles/meters/preview", &json!({"dev_id": IMEI})).expect(200).json();
    assert_eq!(named["profile"], "meters");
    assert!(named["why"].as_str().unwrap().contains("profile tac instead"));
    fleet.api("POST", "/profiles/none/preview", &json!({})).problem(404);
    fleet.api("POST", "/preview", &json!({"mnc": "1"})).problem(400);
}

#[test]
fn devices_are_added_listed_and_never_confused() {
    let fleet = Fleet::start();
    let added = fleet.api("POST", "/devices", &json!({"dev_id": IMEI})).expect(201).json();
    assert_eq!(added["user"], kit::user(IMEI));
    assert!(added["secret"].as_str().unwrap().len() >= 22, "a secret that was made up is shown this once");
    assert!(fleet.shown(IMEI).get("secret").is_none());
    let added = fleet.api("POST", "/devices", &json!({"dev_id": OTHER, "user": "u", "secret": SECRET})).expect(201);
    assert!(added.json().get("secret").is_none());
    for (body, status) in [
        (json!({"dev_id": "X:1", "user": "u", "secret": SECRET}), 409),
        (json!({"dev_id": "X:1", "user": "a:b", "secret": SECRET}), 400),
        (json!({"dev_id": "X:1", "secret": "short"}), 400),
        (json!({"dev_id": "X 1", "secret": SECRET}), 400),
        (json!({"dev_id": "X:1", "secret": SECRET, "surprise": 1}), 400),
    ] {
        fleet.api("POST", "/devices", &body).problem(status);
    }
    let page = fleet.api("GET", "/devices?limit=1", &Value::Null).expect(200);
    assert_eq!(page.json().as_array().unwrap().len(), 1);
    let link = page.header("link").unwrap();
    let next = link.split_once('<').unwrap().1.split_once('>').unwrap().0;
    let second = fleet.api("GET", next.strip_prefix("/api/v1").unwrap(), &Value::Null).json();
    assert_eq!(second[0]["dev_id"], OTHER);
    fleet.api("GET", "/devices?limit=0", &Value::Null).problem(400);
    fleet.api("GET", "/devices/IMEI%3A0", &Value::Null).problem(404);
    assert_eq!(fleet.why("IMEI:0"), Vec::<Value>::new());
}

#[test]
fn pages_need_a_login_and_escape_what_devices_say() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.become_managed();
    let page = |path: &str, cookie: &str| fleet.admin("GET", path, &[("Cookie", cookie)], b"");
    assert_eq!(page("/", "omadm_admin=x").expect(303).header("location"), Some("/login"));
    let form = page("/login", "x=y").expect(200);
    assert!(form.text().contains("<form method=\"post\" action=\"/login\">"));
    // With `no-referrer` a browser sends `Origin: null` even from our own form, and nobody could log in.
    assert_eq!(form.header("referrer-policy"), Some("same-origin"));
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"] {
        assert!(form.header(name).is_some(), "{name}");
    }
    page("/style.css", "x=y").expect(200);
    fleet.admin("POST", "/login", &[], b"token=wrong").expect(401);

    let body = format!("token={}", fleet.token());
    let foreign = [("Origin", "https://evil.example")];
    fleet.admin("POST", "/login", &foreign, body.as_bytes()).problem(403);
    let login = fleet.admin("POST", "/login", &[("Origin", "http://localhost")], body.as_bytes()).expect(303);
    let set = login.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"));
    let cookie = login.cookie();
    let overview = page("/", &cookie).expect(200).text();
    for expected in [IMEI, "bootstrap-server", "managed", "meters", "every other device"] {
        assert!(overview.contains(expected), "{expected}");
    }
    assert!(!overview.contains("Acme <b>") && overview.contains("Acme &#60;b&#62;"));
    let detail = page(&format!("/devices/{}", kit::user(IMEI)), &cookie).expect(200).text();
    assert!(detail.contains("HPUT 200, GET 200") && !detail.contains("Acme <b>"));
    // The cookie opens pages, never the API.
    fleet.admin("GET", "/api/v1/devices", &[("Cookie", &cookie)], b"").problem(401);
    fleet.admin("POST", "/logout", &[("Cookie", &cookie)], b"").expect(303);
    page("/", &cookie).expect(303);
}
