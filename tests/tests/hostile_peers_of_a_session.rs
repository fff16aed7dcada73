//! A DM Server, its data repository, or whatever stands between, that stalls, breaks off, lies about who it is, talks
//! without end or sends the client elsewhere: the session ends in bounded time and memory with its own reason, and
//! afterwards a good server is as welcome as before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use omadm_tests::{
    Answer, Asked, Authority, Device, HostileServer, Random, Relay, Then, in_parallel, peak_memory, private_file, seed,
    until,
};
use serde_json::{Value, json};

const REQUEST: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.request+json");
const MO: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.mo+json");
const END: &[u8] = br#"{"CMD":[["END"]]}"#;
const EXAMPLE: &str = "urn:omadm:mo:example:1.0";
/// What a signature's length may differ by from one handshake to the next.
const JITTER: u64 = 16;

/// A device with an account from the factory for a DM Server at this port.
fn device(port: u16, authority: &Authority, limit: &str) -> Device {
    let more = format!(
        "example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n\
         [http]\nconnect_timeout = \"{limit}\"\ntimeout = \"{limit}\"\n[sim]\nwait = \"0s\"\n"
    );
    let device = Device::new("IMEI:490154203237734", &more);
    let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
        "SrvID": "acme", "SrvURI": format!("https://127.0.0.1:{port}/dm"), "Name": "Acme",
        "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}, "2": {"MOID": EXAMPLE}},
        "Auth": {"Trsp": {"Data": "YmFzaWM6YWNtZS0wMDAx", "Secret": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}},
        "Ext": {"omadm": {"ServerCA": authority.pem()}},
    }}}]);
    private_file(&device.join("factory.json"), message.to_string().as_bytes());
    let (code, told) = device.json(&["bootstrap"]);
    assert_eq!(code, 0, "{told}");
    device
}

/// Opens a session; says its exit code and how it went.
fn session(device: &Device) -> (i32, Value) {
    let (code, told) = device.json(&["session", "acme"]);
    (code, told["sessions"][0].clone())
}

fn good(authority: &Authority) -> HostileServer {
    HostileServer::tls(&authority.good(), |_| Answer::new(200, &[REQUEST], END))
}

#[test]
fn that_stall_at_any_byte() {
    cut("700ms", &Then::Stall, "timeout", 32);
}

#[test]
fn that_close_at_any_byte() {
    cut("20s", &Then::Close, "connect", 24);
}

#[test]
fn that_reset_at_any_byte() {
    cut("20s", &Then::Reset, "connect", 24);
}

fn cut(limit: &str, then: &Then, reason: &str, count: u64) {
    let mut random = Random::new(seed());
    let authority = Authority::new();
    let server = good(&authority);
    let relay = Relay::start(server.port(), None);
    let (code, told) = session(&device(relay.port(), &authority, "20s"));
    assert_eq!((code, &told["ended"]), (0, &true.into()), "{told}");
    let stretch = (relay.passed() - JITTER) / count;
    let positions: Vec<u64> =
        std::iter::once(0).chain((0..count).map(|number| number * stretch + random.below(stretch))).collect();
    in_parallel(&positions, 8, |after| {
        let relay = Relay::start(server.port(), Some((*after, then.clone())));
        let device = device(relay.port(), &authority, limit);
        let began = Instant::now();
        let (code, told) = session(&device);
        assert!(began.elapsed() < Duration::from_secs(10), "after {after} bytes: {:?}", began.elapsed());
        assert_ne!(code, 0, "{after}: {told}");
        assert_eq!((&told["ended"], &told["reason"]), (&false.into(), &reason.into()), "{after}: {told}");
        let status = device.status().unwrap_or_else(|| panic!("{after}: no status"));
        assert_eq!(status["state"], "bootstrapped", "{after}: {status}");
        assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1), "{after}: {status}");
    });
}

#[test]
fn are_forgotten_once_a_good_one_answers() {
    let authority = Authority::new();
    let sessions = AtomicUsize::new(0);
    let server = HostileServer::tls(&authority.good(), move |_| match sessions.fetch_add(1, Ordering::Relaxed) {
        0 => Answer::raw("", Then::Reset),
        1 => Answer::new(500, &[], b""),
        2 => Answer::new(200, &[REQUEST], b"{"),
        _ => Answer::new(200, &[REQUEST], END),
    });
    let device = device(server.port(), &authority, "20s");
    for reason in ["connect", "http-500", "malformed-message"] {
        assert_eq!(session(&device).1["reason"], reason);
    }
    let (code, told) = session(&device);
    assert_eq!((code, &told["ended"]), (0, &true.into()), "{told}");
    assert_eq!(told["alerts"], json!(["urn:oma:at:dm:2.0:BootstrapComplete"]), "it was due until it was answered");
    assert_eq!(device.status().map(|status| status["state"].clone()), Some("managed".into()));
}

#[test]
fn that_answer_wrongly() {
    let authority = Authority::new();
    let for_ever = |head: &str, more: &str| {
        Answer::raw(head.as_bytes(), Then::ForEver(more.repeat(1000).into_bytes(), Duration::ZERO))
    };
    let raw = |text: &str| Answer::raw(text.as_bytes(), Then::Close);
    let nested = format!("{{\"CMD\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let many = format!("{{\"CMD\":[{}[\"END\"]]}}", "[\"END\"],".repeat(300));
    let cases = [
        ("204", Answer::new(204, &[], b""), "http-204"),
        ("301", Answer::new(301, &[("Location", "/other")], b""), "http-301"),
        ("307", Answer::new(307, &[("Location", "https://127.0.0.1:1/")], b""), "http-307"),
        ("401", Answer::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""), "http-401"),
        ("403", Answer::new(403, &[], b""), "http-403"),
        ("404", Answer::new(404, &[], b""), "http-404"),
        ("429", Answer::new(429, &[("Retry-After", "100")], b""), "http-429"),
        ("500", Answer::new(500, &[], b""), "http-500"),
        ("503", Answer::new(503, &[("Retry-After", "100")], b""), "http-503"),
        ("another type", Answer::new(200, &[("Content-Type", "text/html")], END), "http-200"),
        ("garbage", Answer::new(200, &[REQUEST], b"\xff\x00garbage"), "malformed-message"),
        ("deep", Answer::new(200, &[REQUEST], nested.as_bytes()), "malformed-message"),
        ("many commands", Answer::new(200, &[REQUEST], many.as_bytes()), "malformed-message"),
        ("twice", Answer::new(200, &[REQUEST], br#"{"CMD":[],"CMD":[["END"]]}"#), "malformed-message"),
        ("compressed", Answer::new(200, &[REQUEST, ("Content-Encoding", "gzip")], &[0x1f, 0x8b, 8, 0]), "connect"),
        ("large", Answer::new(200, &[REQUEST], " ".repeat((1 << 20) + 1).as_bytes()), "invalid-message"),
        ("endless headers", for_ever("HTTP/1.1 200 OK\r\n", "X-Filler: yyyyyyyyyyyyyyyyyy\r\n"), "invalid-message"),
        ("an endless header", for_ever("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyyyyyyyyyyyy"), "invalid-message"),
        ("endless body", for_ever("HTTP/1.1 200 OK\r\n\r\n", "[[[[[[[[[[[[[[[[["), "invalid-message"),
        ("half", raw("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"), "connect"),
        ("no HTTP", raw("hello"), "connect"),
        ("nothing", raw(""), "connect"),
        ("a reset", Answer::raw("", Then::Reset), "connect"),
    ];
    in_parallel(&cases, 4, |(name, answer, reason)| {
        let answer = answer.clone();
        let server = HostileServer::tls(&authority.good(), move |_| answer.clone());
        ends_with(name, server.port(), &authority, reason);
        assert_eq!(server.asked().len(), 1, "{name}: asked once");
    });
}

#[test]
fn that_are_not_who_they_should_be() {
    let (authority, other) = (Authority::new(), Authority::new());
    let serve = |identity| HostileServer::tls(&identity, |_| Answer::new(200, &[REQUEST], END));
    let names = ["localhost", "127.0.0.1"];
    let servers = [
        ("wrong host", serve(authority.certificate(&["dm.example"], (-1, 1))), "tls"),
        ("foreign", serve(other.good()), "tls"),
        ("expired", serve(authority.certificate(&names, (-20, -10))), "clock"),
        ("not yet valid", serve(authority.certificate(&names, (10, 20))), "clock"),
        ("plain HTTP", HostileServer::tcp(Answer::raw("HTTP/1.1 400 No\r\n\r\n", Then::Close)), "tls"),
    ];
    in_parallel(&servers, 4, |(name, server, reason)| {
        ends_with(name, server.port(), &authority, reason);
        assert!(server.asked().is_empty(), "{name}: something was said to it");
    });
}

fn ends_with(name: &str, port: u16, authority: &Authority, reason: &str) {
    let device = device(port, authority, "20s");
    let began = Instant::now();
    let (code, told) = session(&device);
    assert!(began.elapsed() < Duration::from_secs(15), "{name}: {:?}", began.elapsed());
    assert_ne!(code, 0, "{name}: {told}");
    assert_eq!((&told["ended"], &told["reason"]), (&false.into(), &reason.into()), "{name}: {told}");
    let sentence = told["message"].as_str().unwrap_or("");
    assert!(!sentence.is_empty() && sentence.chars().count() <= 501, "{name}: {sentence}");
    let status = device.status().unwrap_or_else(|| panic!("{name}: no status"));
    assert_eq!(status["accounts"].as_array().map(Vec::len), Some(1), "{name}: {status}");
}

/// A DM Server that lets the client fetch something, and says END to the status.
fn fetching(
    authority: &Authority,
    path: &'static str,
    data: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> HostileServer {
    HostileServer::tls(&authority.good(), move |asked| {
        if asked.line().starts_with("GET ") {
            return data(asked);
        }
        let host =
            asked.head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
        let url = format!("https://{}{path}", host.unwrap_or_default());
        let opening = asked.head.to_ascii_lowercase().contains("initiation+json");
        let package = if opening { json!({"CMD": [["HGET", url]]}) } else { json!({"CMD": [["END"]]}) };
        Answer::new(200, &[REQUEST], package.to_string().as_bytes())
    })
}

#[test]
fn whose_data_are_elsewhere_or_never_come() {
    let authority = Authority::new();
    let elsewhere = good(&authority);
    let instance =
        json!({"ClientURI": "urn:omadm:mo:example:1.0/new/", "MOData": {"Example": {"Name": "n"}}}).to_string();
    let to = |location: String| move |_: &Asked| Answer::new(302, &[("Location", &location)], b"");
    let endless = Answer::raw("HTTP/1.1 200 OK\r\n\r\n", Then::ForEver(vec![b' '; 10_000], Duration::ZERO));
    type Data = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;
    let cases: Vec<(&str, Data, u64)> = vec![
        ("good", Box::new(move |_| Answer::new(200, &[MO], instance.as_bytes())), 200),
        ("a loop", Box::new(to("/data".into())), 502),
        ("to http", Box::new(to(format!("http://127.0.0.1:{}/", elsewhere.port()))), 403),
        ("to a private address", Box::new(to(elsewhere.url("/"))), 403),
        ("to another name of this device", Box::new(to(format!("https://localhost:{}/", elsewhere.port()))), 403),
        ("nowhere", Box::new(to("https://no-such-host.invalid/".into())), 502),
        ("endless", Box::new(move |_| endless.clone()), 413),
        ("silence", Box::new(|_| Answer::raw("HTTP/1.1 2", Then::Stall)), 504),
        ("a reset", Box::new(|_| Answer::raw("", Then::Reset)), 502),
        ("an error", Box::new(|_| Answer::new(500, &[], b"")), 502),
        ("another type", Box::new(|_| Answer::new(200, &[("Content-Type", "text/html")], b"<html>")), 406),
        ("garbage", Box::new(|_| Answer::new(200, &[MO], b"garbage")), 400),
        ("compressed", Box::new(|_| Answer::new(200, &[MO, ("Content-Encoding", "gzip")], &[0x1f, 0x8b])), 502),
    ];
    std::thread::scope(|scope| {
        for (name, data, status) in cases {
            let (authority, elsewhere) = (&authority, &elsewhere);
            scope.spawn(move || {
                let server = fetching(authority, "/data", data);
                let device = device(server.port(), authority, "2s");
                let (code, told) = session(&device);
                assert_eq!((code, &told["ended"]), (0, &true.into()), "{name}: the session goes on: {told}");
                assert_eq!(told["log"], json!([["HGET", status]]), "{name}: {told}");
                assert_eq!(elsewhere.connections(), 0, "{name}: it went elsewhere");
                let gets = server.asked().iter().filter(|asked| asked.line().starts_with("GET ")).count();
                let expected = match name {
                    "a loop" => 4,
                    // The connection was kept from the package before, so the GET is made once more on a new one.
                    "a reset" => 2,
                    _ => 1,
                };
                assert_eq!(gets, expected, "{name}");
            });
        }
    });
}

#[test]
fn that_never_end_take_bounded_memory() {
    let authority = Authority::new();
    let usual = peak(&good(&authority), &authority, true);
    let commands =
        format!("{{\"CMD\":[{}]}}", "[\"GET\",\"urn:oma:mo:oma-dm-devinfo:1.2//\"],".repeat(255) + "[\"END\",1]");
    let wide = format!("{{\"CMD\":[[{}1]]}}", "1,".repeat((1 << 19) - 20));
    let answers = [
        ("commands without end", Answer::new(200, &[REQUEST], commands.as_bytes())),
        ("wide", Answer::new(200, &[REQUEST], wide.as_bytes())),
        ("a body", Answer::raw("HTTP/1.1 200 OK\r\n\r\n", Then::ForEver(vec![b'['; 10_000], Duration::ZERO))),
    ];
    in_parallel(&answers, 3, |(name, answer)| {
        let answer = answer.clone();
        let server = HostileServer::tls(&authority.good(), move |_| answer.clone());
        let hostile = peak(&server, &authority, false);
        println!("{name}: {hostile} KiB, usually {usual} KiB, {} packages", server.asked().len());
        assert!(hostile < usual + 16 * 1024, "{name}: {hostile} KiB, usually {usual} KiB");
        assert!(server.asked().len() <= 64, "{name}: {} packages", server.asked().len());
    });
}

/// The most memory that a client took until its first session was over, in KiB.
fn peak(server: &HostileServer, authority: &Authority, ends: bool) -> u64 {
    let mut device = device(server.port(), authority, "20s");
    let client = device.run();
    until("the session is over", 60, || {
        let log = client.log();
        (log.contains("the session with acme ended") || log.contains("the session with acme broke off")).then_some(())
    });
    assert_eq!(client.log().contains("the session with acme ended"), ends, "{}", client.log());
    let peak = peak_memory(client.id());
    assert!(client.stop().success());
    peak
}
