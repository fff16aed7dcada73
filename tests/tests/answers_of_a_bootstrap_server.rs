//! Whatever a bootstrap server answers, and however it fails to: the attempt has its own reason and a sentence, the next
//! one is scheduled as the answer demands (spec 2.4), and all of that takes bounded time.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use omadm_core::time::Timestamp;
use omadm_tests::{Answer, Authority, Device, HostileServer, Then, in_parallel};
use serde_json::Value;

const BOOTSTRAP: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.bootstrap+json");
const MESSAGE: &[u8] = br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"x","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
/// What an attempt takes at most, its time limits of a second or two included, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon the device has to ask again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Again {
    /// An account was installed.
    Never,
    /// By backoff.
    Soon,
    /// By the slow rate.
    Slowly,
    /// Not before so many seconds, and not much later.
    After(u64),
}

struct Case {
    name: &'static str,
    url: String,
    outcome: &'static str,
    reason: Option<&'static str>,
    /// A part of the sentence.
    says: &'static str,
    again: Again,
    /// The time limit of the exchange.
    limit: &'static str,
}

impl Case {
    fn new(name: &'static str, url: String, reason: &'static str, says: &'static str, again: Again) -> Self {
        let outcome = if matches!(reason, "http-204" | "http-404") { "none" } else { "failed" };
        Self { name, url, outcome, reason: Some(reason), says, again, limit: "20s" }
    }

    fn installed(name: &'static str, url: String) -> Self {
        Self { name, url, outcome: "installed", reason: None, says: "", again: Again::Never, limit: "20s" }
    }

    /// The same with an answer that the client must not wait for long.
    fn impatient(self) -> Self {
        Self { limit: "1s", ..self }
    }

    fn check(&self, ca: &str) {
        let limits =
            format!("[card]\nlink = \"off\"\n[http]\nconnect_timeout = \"{0}\"\ntimeout = \"{0}\"\n", self.limit);
        let device = Device::asking("IMEI:490154203237700", &self.url, ca, &limits);
        let began = Instant::now();
        let (_, told) = device.json(&["bootstrap"]);
        assert!(began.elapsed() < PATIENCE, "{}: {:?}", self.name, began.elapsed());
        let attempt = &told["attempts"][2];
        let got = (attempt["outcome"].as_str().unwrap_or(""), attempt["reason"].as_str());
        assert_eq!(got, (self.outcome, self.reason), "{}: {told}", self.name);
        let sentence = attempt["message"].as_str().unwrap_or("");
        assert!(!sentence.is_empty() && sentence.contains(self.says), "{}: {sentence}", self.name);
        assert!(sentence.chars().count() <= 501 && !sentence.contains("enrolment secret"), "{}: {sentence}", self.name);
        let status = device.status().unwrap_or_else(|| panic!("{}: no status", self.name));
        if self.again == Again::Never {
            return assert_eq!(status["state"], "bootstrapped", "{}: {status}", self.name);
        }
        assert_eq!(status["state"], "waiting", "{}: {status}", self.name);
        assert_eq!(status["next"], told["next"], "{}", self.name);
        let seconds = seconds_until(&status["next"]);
        let expected = match self.again {
            Again::Never => 0..=0,
            Again::Soon => 0..=30,
            Again::Slowly => 3 * 3600 - 60..=9 * 3600,
            Again::After(seconds) => seconds - 60..=seconds + seconds / 4 + 30,
        };
        assert!(expected.contains(&seconds), "{}: {seconds} s, not {expected:?}: {told}", self.name);
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(since.as_secs())
}

fn seconds_until(next: &Value) -> u64 {
    let at: Timestamp = next["at"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{next}"));
    at.since(now())
}

/// The time as HTTP writes it.
fn http_date(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, clock) = text.trim_end_matches('Z').split_once('T').expect("RFC 3339");
    let parts: Vec<&str> = date.split('-').collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = parts[1].parse::<usize>().ok().and_then(|month| months.get(month - 1)).expect("a month");
    // No day of the week is looked at.
    format!("Mon, {} {month} {} {clock} GMT", parts[2], parts[0])
}

/// A server that gives one of these answers, each at its own path.
fn server(authority: &Authority, answers: Vec<(&'static str, Answer)>) -> HostileServer {
    HostileServer::tls(&authority.good(), move |asked| {
        let line = asked.line();
        let path = line.trim_start_matches("GET ").split('?').next().unwrap_or_default();
        let found = answers.iter().find(|(name, _)| *name == path);
        found.map_or_else(|| Answer::new(418, &[], b""), |(_, answer)| answer.clone())
    })
}

#[test]
fn with_a_status() {
    let authority = Authority::new();
    let date = http_date(now().plus(5000));
    let challenge = [("WWW-Authenticate", "Basic realm=\"x\"")];
    let server = server(
        &authority,
        vec![
            ("/204", Answer::new(204, &[], b"")),
            ("/401", Answer::new(401, &[], b"")),
            ("/401c", Answer::new(401, &challenge, b"{}")),
            ("/403", Answer::new(403, &[("Content-Type", "application/problem+json")], b"{\"title\":\"no\"}")),
            ("/404", Answer::new(404, &[("Content-Type", "text/html")], b"<html>")),
            ("/408", Answer::new(408, &[("Retry-After", "600")], b"")),
            ("/425", Answer::new(425, &[], b"")),
            ("/429", Answer::new(429, &[("Retry-After", &date)], b"")),
            ("/500", Answer::new(500, &[], b"")),
            ("/503", Answer::new(503, &[("Retry-After", "3600")], b"")),
            ("/503x", Answer::new(503, &[("Retry-After", "soon")], b"")),
            ("/503cap", Answer::new(503, &[("Retry-After", "99999999999")], b"")),
            ("/599", Answer::new(599, &[], b"")),
            ("/410", Answer::new(410, &[], b"")),
            ("/301", Answer::new(301, &[("Location", "/good")], b"")),
            ("/302", Answer::new(302, &[("Location", "https://127.0.0.1:1/")], b"")),
            ("/307", Answer::new(307, &[("Location", "http://127.0.0.1/")], b"")),
            ("/308", Answer::new(308, &[], b"")),
            ("/good", Answer::new(200, &[BOOTSTRAP], MESSAGE)),
        ],
    );
    let case = |name: &'static str, reason, again| Case::new(name, server.url(name), reason, "", again);
    let cases = [
        case("/204", "http-204", Again::Slowly),
        case("/401", "http-401", Again::Slowly),
        case("/401c", "http-401", Again::Slowly),
        case("/403", "http-403", Again::Slowly),
        case("/404", "http-404", Again::Slowly),
        case("/408", "http-408", Again::After(600)),
        case("/425", "http-425", Again::Soon),
        case("/429", "http-429", Again::After(5000)),
        case("/500", "http-500", Again::Soon),
        case("/503", "http-503", Again::After(3600)),
        case("/503x", "http-503", Again::Soon),
        case("/503cap", "http-503", Again::After(24 * 3600)),
        case("/599", "http-599", Again::Soon),
        case("/410", "http-410", Again::Slowly),
        case("/teapot", "http-418", Again::Slowly),
        case("/301", "http-301", Again::Slowly),
        case("/302", "http-302", Again::Slowly),
        case("/307", "http-307", Again::Slowly),
        case("/308", "http-308", Again::Slowly),
    ];
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
    assert!(server.asked().iter().all(|asked| !asked.line().contains("/good")), "a redirect was followed");
    assert_eq!(server.asked().len(), cases.len(), "each was asked once");
    Case::installed("/good", server.url("/good")).check(authority.pem());
}

#[test]
fn with_200_and_something_else_than_a_message() {
    let authority = Authority::new();
    let bomb = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(), &[0xAB; 100_000]].concat();
    let chunked = |body: &[u8]| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks: Vec<u8> = body
            .chunks(7)
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect();
        Answer::raw([head.as_bytes(), &chunks, b"0\r\n\r\n"].concat(), Then::Next)
    };
    let old = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let huge = format!("[{}1]", "1,".repeat(600_000));
    let server = server(
        &authority,
        vec![
            ("/html", Answer::new(200, &[("Content-Type", "text/html")], MESSAGE)),
            ("/no-type", Answer::new(200, &[], MESSAGE)),
            ("/garbage", Answer::new(200, &[BOOTSTRAP], b"\x00\xff\xfe garbage")),
            ("/empty", Answer::new(200, &[BOOTSTRAP], b"")),
            ("/no-account", Answer::new(200, &[BOOTSTRAP], b"[]")),
            ("/plain-http", Answer::new(200, &[BOOTSTRAP], &plain_http())),
            ("/gzip", Answer::new(200, &[BOOTSTRAP, ("Content-Encoding", "gzip")], &bomb)),
            ("/large", Answer::new(200, &[BOOTSTRAP], huge.as_bytes())),
            ("/chunked", chunked(MESSAGE)),
            ("/chunked-garbage", chunked(b"garbage")),
            ("/old", Answer::raw([old.as_bytes(), MESSAGE].concat(), Then::Close)),
        ],
    );
    let case = |name: &'static str, reason, says| Case::new(name, server.url(name), reason, says, Again::Slowly);
    let cases = [
        case("/html", "http-200", "no Bootstrap Message"),
        case("/no-type", "http-200", "no Bootstrap Message"),
        case("/garbage", "malformed-message", "not readable"),
        case("/empty", "malformed-message", "not readable"),
        case("/no-account", "invalid-message", "no DM Account"),
        case("/plain-http", "invalid-message", "SrvURI"),
        Case::new("/gzip", server.url("/gzip"), "connect", "encoded as gzip", Again::Soon),
        Case::new("/large", server.url("/large"), "invalid-message", "more than", Again::Slowly),
        case("/chunked-garbage", "malformed-message", "not readable"),
        Case::installed("/chunked", server.url("/chunked")),
        Case::installed("/old", server.url("/old")),
    ];
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
    let accepts = server.asked().iter().any(|asked| asked.head.to_ascii_lowercase().contains("accept-encoding"));
    assert!(!accepts, "nothing compressed is asked for");
}

/// A message whose account is reached without TLS.
fn plain_http() -> Vec<u8> {
    String::from_utf8_lossy(MESSAGE).replace("https://dm.example", "http://dm.example").into_bytes()
}

#[test]
fn with_what_is_no_http() {
    let authority = Authority::new();
    let raw = |text: &str| Answer::raw(text.as_bytes(), Then::Close);
    let server = server(
        &authority,
        vec![
            ("/nothing", raw("")),
            ("/word", raw("hello\r\n\r\n")),
            ("/status", raw("HTTP/1.1 2x0 OK\r\n\r\n")),
            ("/zero", raw("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n")),
            ("/seven", raw("HTTP/1.1 007 OK\r\nContent-Length: 0\r\n\r\n")),
            ("/version", raw("HTTP/9.9 200 OK\r\n\r\n")),
            ("/header", raw("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")),
            ("/binary", Answer::raw([0xFF, 0x00, 0x0D, 0x0A].repeat(10), Then::Close)),
            ("/lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd")),
            ("/length", raw("HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nabcd")),
            ("/short", raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n[{")),
            (
                "/chunk",
                raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            ),
            (
                "/half-chunk",
                raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nab"),
            ),
            ("/head", raw("HTTP/1.1 200 OK\r\nContent-Ty")),
            ("/reset", Answer::raw("", Then::Reset)),
            ("/reset-body", Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n[{", Then::Reset)),
        ],
    );
    let names = [
        "/nothing",
        "/word",
        "/status",
        "/zero",
        "/seven",
        "/version",
        "/header",
        "/binary",
        "/lengths",
        "/length",
        "/short",
        "/chunk",
        "/half-chunk",
        "/head",
        "/reset",
        "/reset-body",
    ];
    let cases = names.map(|name| Case::new(name, server.url(name), "connect", "127.0.0.1", Again::Soon));
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
}

#[test]
fn with_silence() {
    let authority = Authority::new();
    let stall = |text: &str| Answer::raw(text.as_bytes(), Then::Stall);
    let body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n[{";
    let slowly = |head: &str, more: &[u8]| {
        Answer::raw(head.as_bytes(), Then::ForEver(more.to_vec(), Duration::from_millis(100)))
    };
    let server = server(
        &authority,
        vec![
            ("/at-once", stall("")),
            ("/in-the-head", stall("HTTP/1.1 200 O")),
            ("/in-a-header", stall("HTTP/1.1 200 OK\r\nContent-Type: applic")),
            ("/in-the-body", stall(body)),
            ("/byte-by-byte", slowly(body, b" ")),
            ("/header-by-header", slowly("HTTP/1.1 200 OK\r\n", b"X: y\r\n")),
            ("/continue", slowly("", b"HTTP/1.1 100 Continue\r\n\r\n")),
        ],
    );
    let deaf = HostileServer::tcp(Answer::raw("", Then::Stall));
    let record = HostileServer::tcp(Answer::raw([0x16, 3, 3, 0x40, 0], Then::Stall));
    let paths = ["/at-once", "/in-the-head", "/in-a-header", "/in-the-body", "/byte-by-byte", "/header-by-header"];
    let mut cases: Vec<Case> = paths
        .map(|name| Case::new(name, server.url(name), "timeout", "in time", Again::Soon).impatient())
        .into_iter()
        .collect();
    let again = Case::new("/continue", server.url("/continue"), "connect", "interim", Again::Soon);
    cases.push(again);
    for (name, server) in [("deaf", &deaf), ("half a record", &record)] {
        cases.push(Case::new(name, server.url("/"), "timeout", "in time", Again::Soon).impatient());
    }
    in_parallel(&cases, 8, |case| case.check(authority.pem()));
}

#[test]
fn with_endless_words() {
    let authority = Authority::new();
    let for_ever = |head: &str, more: &str| {
        Answer::raw(head.as_bytes(), Then::ForEver(more.repeat(1000).into_bytes(), Duration::ZERO))
    };
    let server = server(
        &authority,
        vec![
            ("/headers", for_ever("HTTP/1.1 200 OK\r\n", "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")),
            ("/header", for_ever("HTTP/1.1 200 OK\r\nX-Filler: ", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")),
            ("/status", for_ever("HTTP/1.1 200 ", "OKOKOKOKOKOKOKOKOKOKOKOKOKOKOKOKOK")),
            ("/body", for_ever("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "[[[[[[[[[[[[[[[[[[[[[[")),
            ("/told", for_ever("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "xxxxxxxxxxxxxxxxxxxxxxxx")),
            (
                "/chunks",
                for_ever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\nxxxxxxxxxxxxxxxx\r\n"),
            ),
            (
                "/chunk",
                for_ever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", "xxxxxxxxxxxxxxxx"),
            ),
            (
                "/extension",
                for_ever("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "xxxxxxxxxxxxxxxxxxxxxx"),
            ),
        ],
    );
    let names = ["/headers", "/header", "/status", "/body", "/told", "/chunks", "/chunk", "/extension"];
    let cases = names.map(|name| match name {
        "/extension" => Case::new(name, server.url(name), "connect", "127.0.0.1", Again::Soon),
        _ => Case::new(name, server.url(name), "invalid-message", "127.0.0.1", Again::Slowly),
    });
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
}

#[test]
fn without_a_connection() {
    let authority = Authority::new();
    let refused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let resets = HostileServer::tcp(Answer::raw("", Then::Reset));
    let closes = HostileServer::tcp(Answer::raw("", Then::Close));
    let cases = [
        Case::new("refused", format!("https://127.0.0.1:{}/", refused.port()), "connect", "refused", Again::Soon),
        Case::new("unknown", "https://no-such-host.invalid/".into(), "connect", "no-such-host.invalid", Again::Soon),
        Case::new("reset", resets.url("/"), "connect", "127.0.0.1", Again::Soon),
        Case::new("closed", closes.url("/"), "connect", "127.0.0.1", Again::Soon),
    ];
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
}

#[test]
fn with_a_wrong_certificate_or_no_tls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let serve = |identity| HostileServer::tls(&identity, |_| Answer::new(200, &[BOOTSTRAP], MESSAGE));
    let names = ["localhost", "127.0.0.1"];
    let wrong_host = serve(authority.certificate(&["dm.example", "127.0.0.2"], (-1, 1)));
    let foreign = serve(other.good());
    let expired = serve(authority.certificate(&names, (-20, -10)));
    let not_yet = serve(authority.certificate(&names, (10, 20)));
    let foreign_and_expired = serve(other.certificate(&names, (-20, -10)));
    let http = HostileServer::tcp(Answer::raw("HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close));
    let alert = HostileServer::tcp(Answer::raw([0x15, 3, 3, 0, 2, 2, 70], Then::Close));
    // ServerHello of TLS 1.1: version, 32 random bytes, no session, a suite, no compression.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0xC0, 0x13, 0]].concat();
    let tls11 = [&[0x16, 3, 2, 0, 42, 2, 0, 0, 38][..], &hello].concat();
    let tls11 = HostileServer::tcp(Answer::raw(tls11, Then::Stall));
    let case = |name, server: &HostileServer, reason, says| Case::new(name, server.url("/"), reason, says, Again::Soon);
    let cases = [
        case("wrong host", &wrong_host, "tls", "certificate"),
        case("foreign", &foreign, "tls", "certificate"),
        case("expired", &expired, "clock", "expired"),
        case("not yet valid", &not_yet, "clock", "not yet valid"),
        case("foreign and expired", &foreign_and_expired, "tls", "certificate"),
        case("plain HTTP", &http, "tls", "handshake"),
        case("an alert", &alert, "tls", "handshake"),
        case("TLS 1.1", &tls11, "tls", "handshake"),
    ];
    in_parallel(&cases, 4, |case| case.check(authority.pem()));
    for server in [&wrong_host, &foreign, &expired, &not_yet, &foreign_and_expired] {
        assert!(server.asked().is_empty(), "something was said to a server that did not prove itself");
    }
}

#[test]
fn a_retry_after_outlives_the_program() {
    let authority = Authority::new();
    let server = server(&authority, vec![("/busy", Answer::new(503, &[("Retry-After", "7200")], b""))]);
    let device =
        Device::asking("IMEI:490154203237718", &server.url("/busy"), authority.pem(), "[card]\nlink = \"off\"\n");
    let (_, first) = device.json(&["bootstrap"]);
    assert_eq!(first["attempts"][2]["reason"], "http-503", "{first}");
    let (_, second) = device.json(&["bootstrap"]);
    assert_eq!(second["attempts"][2]["reason"], "http-503", "{second}");
    assert_eq!(server.connections(), 1, "the server asked not to be asked");
    let (first, second) = (seconds_until(&first["next"]), seconds_until(&second["next"]));
    assert!(first >= 7100 && second >= 7100, "{first} {second}");
}
