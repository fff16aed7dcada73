//! What one sender may cost at one moment, and that others are served meanwhile.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Fleet, IMEI, OTHER, basic, commands, profile, user};
use omadm_core::web::media;
use serde_json::json;
use std::io::Write;
use std::sync::Barrier;

#[test]
fn guesses_at_the_same_moment_are_as_few_as_one_after_the_other() {
    let fleet = Fleet::with(|config| config.limits.failures_per_minute = 3);
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    let start = Barrier::new(24);
    let guess = || {
        let mut stream = fleet.connect();
        let authorization = basic(&user(IMEI), "guess");
        start.wait();
        let head = format!(
            "GET /bootstrap HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {authorization}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        kit::answer(stream).status
    };
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(guess)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 3, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 21, "{answers:?}");
}

#[test]
fn a_device_has_eight_requests_under_way_and_others_are_served_meanwhile() {
    let fleet = Fleet::start();
    let mut device = fleet.bootstrapped(IMEI);
    device.first(CLIENT_INITIATED).expect(200);
    let head = format!(
        "POST /dm HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nOMADM-DevID: {IMEI}\r\nAuthorization: {}\r\n\
         Content-Length: 100\r\n\r\n",
        media::INITIATION,
        device.authorization
    );
    let mut slow = Vec::new();
    // More than eight: which of them get the seats is chance.
    for _ in 0..12 {
        let mut stream = fleet.connect();
        stream.write_all(head.as_bytes()).unwrap();
        slow.push(stream);
    }
    let start = std::time::Instant::now();
    while device.first(CLIENT_INITIATED).status != 429 {
        assert!(start.elapsed().as_secs() < 10, "it may ask without end");
    }
    fleet.add_device(OTHER);
    assert!(!commands(&fleet.account(OTHER).first(BOOTSTRAP_COMPLETE)).is_empty());
    drop(slow);
    while device.first(CLIENT_INITIATED).status == 429 {
        assert!(start.elapsed().as_secs() < 10, "seats do not come back");
    }
}

#[test]
fn who_is_not_logged_in_sends_small_forms_only() {
    let fleet = Fleet::start();
    let form = format!("token={}&x={}", fleet.token(), "x".repeat(5000));
    fleet.admin("POST", "/login", &[], form.as_bytes()).problem(413);
}

#[test]
fn a_user_may_be_long_and_is_refused_like_any_other() {
    let fleet = Fleet::start();
    let answer = fleet.bootstrap("", Some(&basic(&"u".repeat(2500), "x")));
    assert_eq!(answer.problem(401), "valid credentials are needed");
    let package = json!({"Alert": [{"AlertType": BOOTSTRAP_COMPLETE}]}).to_string();
    let authorization = basic(&"u".repeat(2500), "x");
    let headers = [("Content-Type", media::INITIATION), ("OMADM-DevID", IMEI), ("Authorization", &*authorization)];
    assert_eq!(fleet.device("POST", "/dm", &headers, package.as_bytes()).problem(401), "valid credentials are needed");
}
