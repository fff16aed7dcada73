//! A bootstrap server, or whatever stands between, that stalls, closes or resets at any byte: bounded time, a reason, a
//! next attempt, and the device is as it was. Endless words take bounded memory.

use std::time::{Duration, Instant};

use omadm_tests::{
    Answer, Authority, Device, HostileServer, Random, Relay, Then, in_parallel, peak_memory, seed, until,
};

const BOOTSTRAP: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.bootstrap+json");
const MESSAGE: &[u8] = br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"x","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

/// What a signature's length may differ by from one handshake to the next.
const JITTER: u64 = 16;

fn good(authority: &Authority) -> HostileServer {
    HostileServer::tls(&authority.good(), |_| Answer::new(200, &[BOOTSTRAP], MESSAGE))
}

fn device(port: u16, authority: &Authority, limit: &str) -> Device {
    let url = format!("https://127.0.0.1:{port}/bootstrap");
    let more = format!("[card]\nlink = \"off\"\n[http]\nconnect_timeout = \"{limit}\"\ntimeout = \"{limit}\"\n");
    Device::asking("IMEI:490154203237726", &url, authority.pem(), &more)
}

/// How many bytes a good server says.
fn length_of_a_good_answer(server: &HostileServer, authority: &Authority) -> u64 {
    let relay = Relay::start(server.port(), None);
    let (code, told) = device(relay.port(), authority, "20s").json(&["bootstrap"]);
    assert_eq!(code, 0, "{told}");
    relay.passed()
}

/// The first byte, and others at random, spread over all of them.
fn positions(length: u64, count: u64, random: &mut Random) -> Vec<u64> {
    let stretch = (length - JITTER) / count;
    std::iter::once(0).chain((0..count).map(|number| number * stretch + random.below(stretch))).collect()
}

#[test]
fn that_stall_at_any_byte() {
    cut("700ms", &Then::Stall, "timeout", 40);
}

#[test]
fn that_close_at_any_byte() {
    cut("20s", &Then::Close, "connect", 30);
}

#[test]
fn that_reset_at_any_byte() {
    cut("20s", &Then::Reset, "connect", 30);
}

fn cut(limit: &str, then: &Then, reason: &str, count: u64) {
    let mut random = Random::new(seed());
    let authority = Authority::new();
    let server = good(&authority);
    let length = length_of_a_good_answer(&server, &authority);
    assert!(length > 800, "{length} bytes are no TLS handshake and no message");
    in_parallel(&positions(length, count, &mut random), 8, |after| {
        let relay = Relay::start(server.port(), Some((*after, then.clone())));
        let device = device(relay.port(), &authority, limit);
        let began = Instant::now();
        let (_, told) = device.json(&["bootstrap"]);
        assert!(began.elapsed() < Duration::from_secs(10), "after {after} bytes: {:?}", began.elapsed());
        let attempt = &told["attempts"][2];
        assert_eq!((&attempt["outcome"], &attempt["reason"]), (&"failed".into(), &reason.into()), "{after}: {told}");
        assert!(attempt["message"].as_str().is_some_and(|text| text.contains("127.0.0.1")), "{after}: {told}");
        let status = device.status().unwrap_or_else(|| panic!("{after}: no status"));
        assert_eq!((&status["state"], &status["accounts"]), (&"waiting".into(), &serde_json::json!([])), "{after}");
        assert!(status["next"]["at"].is_string(), "{after}: {status}");
    });
}

#[test]
fn that_talk_without_end_take_bounded_memory() {
    let authority = Authority::new();
    let usual = peak(good(&authority), &authority, "bootstrapped");
    let for_ever =
        |head: &str, more: &str| Answer::raw(head, Then::ForEver(more.repeat(1000).into_bytes(), Duration::ZERO));
    let answers = [
        ("headers", for_ever("HTTP/1.1 200 OK\r\n", "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")),
        ("a header", for_ever("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")),
        ("a body", for_ever("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "[[[[[[[[[[[[[[[[[[")),
        ("chunks", for_ever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\nxxxxxxxxxxxxxxxx\r\n")),
        ("deep", Answer::new(200, &[BOOTSTRAP], "[".repeat(1 << 20).as_bytes())),
        ("wide", Answer::new(200, &[BOOTSTRAP], format!("[{}1]", "1,".repeat((1 << 19) - 2)).as_bytes())),
        ("names", Answer::new(200, &[BOOTSTRAP], names().as_bytes())),
    ];
    in_parallel(&answers, 4, |(name, answer)| {
        let answer = answer.clone();
        let server = HostileServer::tls(&authority.good(), move |_| answer.clone());
        let hostile = peak(server, &authority, "waiting");
        println!("{name}: {hostile} KiB, usually {usual} KiB");
        assert!(hostile < usual + MOST_MORE, "{name}: {hostile} KiB, usually {usual} KiB");
    });
}

/// What a hostile answer may take more than a good one, in KiB: the largest body, and what JSON makes of it.
const MOST_MORE: u64 = 16 * 1024;

/// A message of 1 MiB with as many members as go into it.
fn names() -> String {
    let members: Vec<String> = (0..).map(|number| format!("\"{number}\":0")).take(90_000).collect();
    format!("{{{}}}", members.join(","))
}

/// The most memory that a client took that came so far, in KiB.
fn peak(server: HostileServer, authority: &Authority, state: &str) -> u64 {
    let mut device = device(server.port(), authority, "20s");
    let client = device.run();
    until("an attempt was made", 30, || {
        let status = device.status()?;
        (status["state"] == state && status["attempts"].as_array().is_some_and(|list| !list.is_empty())).then_some(())
    });
    let peak = peak_memory(client.id());
    assert!(client.stop().success());
    peak
}
