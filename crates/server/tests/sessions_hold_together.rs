//! `POST /dm`: what a session is held together by (Profile P-5), and what is refused.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Device, Fleet, IMEI, OTHER, commands};
use omadm_core::web::media;
use omadm_tls::ClientIdentity;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

const RESULTS: &str = r#"{"Status":[{"sc":404},{"sc":404}]}"#;

#[test]
fn the_cookie_is_bound_and_protected() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    let answer = device.first(BOOTSTRAP_COMPLETE).expect(200);
    let cookie = answer.header("set-cookie").unwrap();
    for attribute in ["; Secure", "; HttpOnly", "; Path=/dm"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(device.cookie.as_ref().unwrap().len() >= 2 + 22, "at least 128 bits");

    let cookie = device.cookie.clone();
    fleet.add_device(OTHER);
    let mut other = fleet.account(OTHER);
    other.cookie.clone_from(&cookie);
    other.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    device.cookie = Some("s=unknown".into());
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    device.cookie = cookie;
    assert_eq!(commands(&device.post(media::RESPONSE, RESULTS.as_bytes())), [json!(["END"])]);
    // Dead after END.
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
}

#[test]
fn a_client_without_cookies_is_matched_by_its_identity() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.further(&json!([])).problem(403);
    device.first(BOOTSTRAP_COMPLETE).expect(200);
    device.cookie = None;
    assert_eq!(commands(&device.post(media::RESPONSE, RESULTS.as_bytes())), [json!(["END"])]);
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
}

#[test]
fn a_cont_carries_a_token_that_is_good_once_and_for_its_device() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.become_managed();
    let node = format!("{}/dm", fleet.server().public_url);
    let job = json!({"commands": [["CONT", node], ["GET", "urn:oma:mo:oma-dm-devinfo:1.2//"]]});
    fleet.api("POST", &format!("/devices/{}/jobs", kit::user(IMEI)), &job).expect(201);
    fleet.add_device(OTHER);
    let mut other = fleet.account(OTHER);
    other.first(BOOTSTRAP_COMPLETE).expect(200);

    let sent = commands(&device.first(CLIENT_INITIATED).expect(200));
    let old = device.cookie.take();
    let uri = sent[0][1].as_str().unwrap();
    let token = uri.strip_prefix(&format!("{node}?t=")).unwrap();
    assert!(token.len() >= 22, "at least 128 bits");
    let headers = [("Content-Type", media::RESPONSE), ("Accept", media::REQUEST)];
    let results = br#"{"Status":[{"sc":200},{"sc":404}]}"#;
    // Another device's, an unknown one, then its own: once.
    other.send("POST", kit::path_of(uri), &headers, results).problem(403);
    device.send("POST", "/dm?t=unknown", &headers, results).problem(403);
    let more = json!({"commands": [["GET", "urn:oma:mo:oma-dm-devinfo:1.2//"]]});
    fleet.api("POST", &format!("/devices/{}/jobs", kit::user(IMEI)), &more).expect(201);
    let moved = device.send("POST", kit::path_of(uri), &headers, results).expect(200);
    assert_eq!(commands(&moved)[0][0], "GET", "the session goes on");
    device.send("POST", kit::path_of(uri), &headers, RESULTS.as_bytes()).problem(403);
    assert!(fleet.why(IMEI)[0]["detail"].as_str().unwrap().contains("used already"));
    // The answer brought a cookie that took the place of the old one.
    device.cookie = old;
    device.post(media::RESPONSE, br#"{"Status":[{"sc":404}]}"#).problem(403);
    device.cookie = Some(moved.cookie());
    let end = device.post(media::RESPONSE, br#"{"Status":[{"sc":404}]}"#);
    assert_eq!(commands(&end), [json!(["END"])]);
}

#[test]
fn a_new_package1_ends_the_older_session_and_its_jobs_go_out_again() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    let first = commands(&device.first(BOOTSTRAP_COMPLETE));
    let old = device.cookie.clone();
    let second = commands(&device.first(BOOTSTRAP_COMPLETE));
    assert_eq!(first[1], second[1]);
    assert_ne!(first[0][1], second[0][1], "a token is good once");
    let new = std::mem::replace(&mut device.cookie, old);
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    device.put(first[0][1].as_str().unwrap(), &device.devinfo()).problem(404);
    device.cookie = new;
    device.put(second[0][1].as_str().unwrap(), &device.devinfo()).expect(204);
    device.further(&json!([{"sc": 200}, {"sc": 200, "Data": device.devinfo()}])).expect(200);
    let shown = fleet.shown(IMEI);
    assert_eq!(shown["state"], "managed");
    assert_eq!(shown["sessions"][1]["outcome"], "a newer session of the account took its place");
}

#[test]
fn a_cookie_on_a_package1_is_ignored() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.cookie = Some("s=whatever".into());
    let body = json!({"Alert": [{"AlertType": CLIENT_INITIATED}]}).to_string();
    device.post(media::INITIATION, body.as_bytes()).expect(200);
}

#[test]
fn a_malformed_package_ends_the_session_and_says_where() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    for body in
        ["", "{", "[]", "{}", r#"{"Alert":[]}"#, r#"{"Alert":[{"AlertType":"x"}]}"#, r#"{"Alert":[],"Alert":[]}"#]
    {
        assert!(device.post(media::INITIATION, body.as_bytes()).problem(400).starts_with("Package#1"), "{body}");
    }
    for body in ["", "{}", r#"{"Status":[]}"#, r#"{"Status":[{}]}"#, r#"{"Status":[{"sc":200}]}"#] {
        device.first(BOOTSTRAP_COMPLETE).expect(200);
        assert!(device.post(media::RESPONSE, body.as_bytes()).problem(400).starts_with("Package#3"), "{body}");
        device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    device.post(media::INITIATION, deep.as_bytes()).problem(400);
}

#[test]
fn a_job_that_always_breaks_its_session_is_given_up() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.become_managed();
    let job = json!({"commands": [["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Man"]]});
    let path = format!("/devices/{}/jobs", kit::user(IMEI));
    fleet.api("POST", &path, &job).expect(201);
    for _ in 0..5 {
        assert_eq!(commands(&device.first(CLIENT_INITIATED))[0][0], "GET");
        device.post(media::RESPONSE, b"{").problem(400);
    }
    assert_eq!(commands(&device.first(CLIENT_INITIATED)), [json!(["END"])]);
    assert_eq!(fleet.api("GET", &path, &Value::Null).json()["jobs"][0]["state"], "failed");
}

#[test]
fn a_session_dies_after_ten_idle_minutes() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.first(BOOTSTRAP_COMPLETE).expect(200);
    fleet.change("update session set touched_at = touched_at - 601");
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    device.cookie = None;
    device.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
}

#[test]
fn after_half_an_hour_nothing_more_goes_out() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.first(BOOTSTRAP_COMPLETE).expect(200);
    let job = json!({"commands": [["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Man"]]});
    fleet.api("POST", &format!("/devices/{}/jobs", kit::user(IMEI)), &job).expect(201);
    fleet.change("update session set started_at = started_at - 1801");
    assert_eq!(commands(&device.post(media::RESPONSE, RESULTS.as_bytes())), [json!(["END"])]);
    assert_eq!(commands(&device.first(CLIENT_INITIATED))[0][0], "GET");
}

#[test]
fn types_are_negotiated_before_anything_else() {
    let fleet = Fleet::start();
    let device = fleet.bootstrapped(IMEI);
    for content_type in ["application/json", "text/plain", media::REQUEST] {
        let answer = device.post(content_type, b"{}");
        answer.problem(415);
        assert!(answer.header("omadm-accept").unwrap().contains(media::INITIATION));
    }
    let headers = [("Content-Type", media::INITIATION), ("Accept", "application/xml")];
    device.send("POST", "/dm", &headers, b"{}").problem(406);
    device.send("GET", "/dm", &[], b"").problem(405);
}

#[test]
fn who_sends_is_proven_each_time() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.first(BOOTSTRAP_COMPLETE).expect(200);
    let stranger = Device {
        identity: ClientIdentity::nobody(),
        fleet: &fleet,
        dev_id: IMEI.into(),
        authorization: kit::basic("nobody", "x"),
        cookie: device.cookie.clone(),
    };
    let answer = stranger.post(media::RESPONSE, RESULTS.as_bytes());
    answer.problem(401);
    assert!(answer.header("www-authenticate").is_some());
    let claiming = Device { dev_id: OTHER.into(), authorization: device.authorization.clone(), ..stranger };
    claiming.post(media::RESPONSE, RESULTS.as_bytes()).problem(403);
    let headers = [("Content-Type", media::INITIATION), ("Authorization", &*device.authorization)];
    assert!(fleet.device("POST", "/dm", &headers, b"{}").problem(400).contains("OMADM-DevID is missing"));
    let headers = [("Content-Type", media::INITIATION), ("OMADM-DevID", IMEI)];
    fleet.device("POST", "/dm", &headers, b"{}").problem(401);
    assert_eq!(commands(&device.post(media::RESPONSE, RESULTS.as_bytes())), [json!(["END"])]);
}

#[test]
fn a_body_over_its_limit_is_413() {
    let fleet = Fleet::with(|config| config.limits.max_body = 2048);
    let device = fleet.bootstrapped(IMEI);
    let answer = device.post(media::INITIATION, &vec![b' '; 2049]);
    assert!(answer.problem(413).contains("2048"));
    device.post(media::INITIATION, &vec![b' '; 2048]).problem(400);
    device.post(media::INITIATION, &vec![b' '; 900_000]).problem(413);
    let codes: Vec<Value> = fleet.why(IMEI).iter().map(|record| record["code"].clone()).collect();
    assert_eq!(codes[..3], [json!("too-large"), json!("malformed"), json!("too-large")]);
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let fleet = Fleet::with(|config| {
        config.limits.header = Duration::from_secs(1);
        config.limits.body = Duration::from_secs(1);
    });
    let device = fleet.bootstrapped(IMEI);
    let start = Instant::now();
    let mut slow_head = fleet.connect();
    slow_head.write_all(b"GET /bootstrap HTTP/1.1\r\nHost: lo").unwrap();
    let mut slow_body = fleet.connect();
    let head = format!(
        "POST /dm HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nOMADM-DevID: {IMEI}\r\nAuthorization: {}\r\n\
         Content-Length: 100\r\n\r\n{{",
        media::INITIATION,
        device.authorization
    );
    slow_body.write_all(head.as_bytes()).unwrap();
    kit::answer(slow_body).problem(408);
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut slow_head, &mut rest);
    assert!(start.elapsed() < Duration::from_secs(6));
    fleet.codes_become(|codes| codes.iter().filter(|code| *code == "timeout").count() == 2);
}

#[test]
fn who_asks_and_never_reads_is_cut_off() {
    let fleet = Fleet::with(|config| {
        config.limits.body = Duration::from_secs(1);
        config.bootstrap.anonymous = true;
    });
    let mut profile = kit::profile();
    profile["release"] = json!("anyone");
    profile["credentials"] = json!("none");
    let ballast = json!({"ClientURI": "urn:x:ballast:1.0/1/", "MOData": {"Ballast": {"x": "x".repeat(900_000)}}});
    profile["message"].as_array_mut().unwrap().push(ballast);
    fleet.add_profile(&profile).expect(201);

    let mut deaf = fleet.connect();
    let request = b"GET /bootstrap HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let start = Instant::now();
    while deaf.write_all(request).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "the connection is held");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn half_a_handshake_does_not_hold_up_a_shutdown() {
    let mut fleet = Fleet::start();
    let _silent = std::net::TcpStream::connect(fleet.server().device_addr).unwrap();
    fleet.bootstrap("", None).problem(401);
    let start = Instant::now();
    fleet.restart();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_http_and_no_tls_is_recorded_too() {
    let fleet = Fleet::start();
    let mut stream = fleet.connect();
    stream.write_all(b"\x01\x02\x03 nonsense\r\n\r\n").unwrap();
    let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    let mut plain = std::net::TcpStream::connect(fleet.server().device_addr).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = std::io::Read::read_to_end(&mut plain, &mut Vec::new());
    fleet.codes_become(|codes| ["malformed", "tls"].iter().all(|code| codes.iter().any(|other| other == code)));
}

#[test]
fn each_refusal_is_recorded() {
    let fleet = Fleet::with(|config| config.limits.max_body = 2048);
    let device = fleet.bootstrapped(IMEI);
    let authorization = &*device.authorization;
    let devid = ("OMADM-DevID", IMEI);
    let signed = ("Authorization", authorization);
    let initiation = ("Content-Type", media::INITIATION);
    let large = vec![b' '; 2049];
    let wrong = kit::basic("nobody", "x");
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);
    let cases: [Case<'_>; 10] = [
        ("POST", "/dm", &[devid, signed, initiation], b"{", 400),
        ("POST", "/dm", &[devid, initiation], b"{}", 401),
        ("POST", "/dm", &[devid, ("Authorization", &wrong), initiation], b"{}", 401),
        ("POST", "/dm", &[devid, signed, ("Content-Type", media::RESPONSE)], RESULTS.as_bytes(), 403),
        ("PUT", "/data/none/x", &[devid, signed, ("Content-Type", media::MO)], b"[]", 404),
        ("GET", "/dm", &[devid, signed], b"", 405),
        ("POST", "/dm", &[devid, signed, initiation, ("Accept", "application/xml")], b"{}", 406),
        ("POST", "/dm", &[devid, signed, initiation], &large, 413),
        ("POST", "/dm", &[devid, signed, ("Content-Type", "text/plain")], b"{}", 415),
        ("GET", "/bootstrap", &[devid, ("Accept", "application/xml")], b"", 406),
    ];
    for (method, path, headers, body, status) in &cases {
        fleet.device(method, path, headers, body).problem(*status);
    }
    let records = fleet.why(IMEI);
    let statuses = records.iter().map(|one| one["status"].as_u64().unwrap());
    // Known devices and strangers are kept apart, so within a second the order may differ.
    let mut recorded: Vec<_> = statuses.filter(|status| *status >= 400).collect();
    let mut expected: Vec<_> = cases.iter().map(|case| u64::from(case.4)).collect();
    recorded.sort_unstable();
    expected.sort_unstable();
    assert_eq!(recorded, expected);
    assert!(records.iter().all(|one| one["detail"].as_str().is_some_and(|why| !why.is_empty())), "{records:?}");
    let text = format!("{records:?}");
    assert!(!text.contains(authorization) && !text.contains(wrong.trim_start_matches("Basic ")));
}
