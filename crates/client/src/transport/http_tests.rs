//! The client's HTTP against servers that behave and misbehave, over real sockets.

use super::*;
use crate::transport::{Carriers, Count};
use crate::wait::Stop;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Instant;

/// Runs `answer` for each connection, with its number; returns the server's base URI.
fn serve(answer: impl Fn(usize, &mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            answer(number, &mut stream.unwrap());
        }
    });
    base
}

/// Reads a request with its header and the body that Content-Length announces; `None` at the end of the stream.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let header = String::from_utf8(text).unwrap();
    let length = header
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(header + &String::from_utf8(body).unwrap())
}

const LIMITS: Limits = Limits { connect: Duration::from_millis(400), total: Duration::from_millis(600), body: 1000 };

fn http(trusted: &str, meter: &Meter, stop: &Stop) -> Http {
    within(LIMITS, trusted, meter, stop)
}

fn within(limits: Limits, trusted: &str, meter: &Meter, stop: &Stop) -> Http {
    let setup = setup(limits, meter, false);
    Http::new(Trust::new([url(trusted).origin()]), Carriers::new(stop).carrier(&setup).unwrap(), Timestamp(0), None)
}

fn setup(limits: Limits, meter: &Meter, leave_open: bool) -> HttpSetup {
    let (anchors, identity) = (Anchors::System, ClientIdentity::nobody());
    HttpSetup { anchors, identity, floor: Timestamp(0), limits, meter: meter.clone(), leave_open }
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn get(text: &str) -> Request {
    Request {
        method: Method::Get,
        url: url(text),
        headers: vec![("accept", "text/plain".to_owned())],
        private: PrivateHeaders(vec![("authorization", "Basic eDp5".to_owned())]),
        body: None,
    }
}

/// What comes of a GET of a server that writes these bytes and then closes.
fn answer_to(bytes: impl Into<Vec<u8>>) -> Result<Answer, HttpError> {
    let bytes = bytes.into();
    let base = serve(move |_, stream| {
        request(stream);
        let _ = stream.write_all(&bytes);
    });
    http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base))
}

#[test]
fn an_exchange_is_counted_at_the_socket_and_the_connection_is_kept() {
    let base = serve(|_, stream| {
        while let Some(request) = request(stream) {
            assert!(request.contains("authorization: Basic eDp5") && request.contains("user-agent: omadm-client/"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        }
    });
    let meter = Meter::default();
    let mut http = http(&base, &meter, &Stop::new().unwrap());
    let answer = http.exchange(get(&base)).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    let first = meter.count();
    assert_eq!(first.round_trips, 2, "one to connect, one to ask");
    let post = Request { method: Method::Post, body: Some(b"{}".to_vec()), ..get(&base) };
    http.exchange(post).unwrap();
    let second = meter.count();
    assert_eq!(second.round_trips, 3, "the connection was kept");
    assert!(first.bytes > 100 && second.bytes > first.bytes + 100, "{first:?} {second:?}");
    assert_eq!(Meter::default().count(), Count { bytes: 0, round_trips: 0 });
}

#[test]
fn a_connection_that_was_left_serves_the_next_of_the_same_kind_only() {
    let base = serve(|number, stream| {
        while request(stream).is_some() {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}").unwrap();
        }
    });
    let (carriers, meter) = (Carriers::new(&Stop::new().unwrap()), Meter::default());
    let ask = |setup: &HttpSetup| {
        let mut http =
            Http::new(Trust::new([url(&base).origin()]), carriers.carrier(setup).unwrap(), Timestamp(0), None);
        let answer = http.exchange(get(&base)).unwrap();
        (String::from_utf8(answer.body).unwrap(), setup.meter.count().round_trips)
    };
    assert_eq!(ask(&setup(LIMITS, &meter, true)), ("0".to_owned(), 2));
    let other = Meter::default();
    assert_eq!(ask(&setup(LIMITS, &other, false)), ("0".to_owned(), 1), "counted by who uses it");
    assert_eq!(ask(&setup(LIMITS, &meter, true)), ("1".to_owned(), 4), "that one was not left");
    let identity = ClientIdentity::psk("me", &[7; 16]).unwrap();
    assert_eq!(ask(&HttpSetup { identity, ..setup(LIMITS, &meter, false) }).0, "2", "another identity");
    assert_eq!(ask(&setup(LIMITS, &meter, false)).0, "3", "nothing is left of the first");
}

#[test]
fn what_may_be_repeated_is_when_a_kept_connection_turns_out_to_be_closed() {
    let base = serve(|number, stream| {
        // Every other connection takes a second request and gives no answer to it.
        while request(stream).is_some() {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}").unwrap();
            if number % 2 == 0 {
                request(stream);
                return;
            }
        }
    });
    let post = |media: &str| Request {
        method: Method::Post,
        headers: vec![("Content-Type", media.to_owned())],
        body: Some(b"{}".to_vec()),
        ..get(&base)
    };
    let ask = |second: Request| {
        let mut http = http(&base, &Meter::default(), &Stop::new().unwrap());
        http.exchange(get(&base)).unwrap();
        http.exchange(second).map(|answer| answer.body)
    };
    assert_eq!(ask(get(&base)), Ok(b"1".to_vec()));
    assert_eq!(ask(post("application/vnd.oma.dm.initiation+json")), Ok(b"3".to_vec()), "a session begins anew");
    assert!(matches!(ask(post("application/vnd.oma.dm.response+json")), Err(HttpError::Connect(_))));
}

#[test]
fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    let sized = |size: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    assert_eq!(answer_to(sized(1000)).unwrap().body.len(), 1000);
    assert!(matches!(answer_to(sized(1001)), Err(HttpError::TooLarge(_))));
    let until_close = |size: usize| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(size));
    assert_eq!(answer_to(until_close(1000)).unwrap().body.len(), 1000);
    assert!(matches!(answer_to(until_close(1001)), Err(HttpError::TooLarge(_))));
    let chunked = |size: usize| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size))
    };
    assert_eq!(answer_to(chunked(1000)).unwrap().body.len(), 1000);
    assert!(matches!(answer_to(chunked(1001)), Err(HttpError::TooLarge(_))));
    let claim = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(matches!(answer_to(claim), Err(HttpError::TooLarge(_))));
}

#[test]
fn endless_answers_end_in_time() {
    let endless: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ];
    let filling: [&[u8]; 5] = [b"1\r\nx\r\n", b"xxxxxxxx", b"yyyyyyyy", b"A: b\r\n", b"A: b\r\n"];
    for (start, rest) in endless.into_iter().zip(filling) {
        let base = serve(move |_, stream| {
            request(stream);
            stream.write_all(start).unwrap();
            while stream.write_all(&rest.repeat(100)).is_ok() {}
        });
        let began = Instant::now();
        let error = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(3), "{start:?}");
        assert!(matches!(error, HttpError::TooLarge(_) | HttpError::Protocol(_)), "{error:?}");
    }
}

#[test]
fn a_slow_or_silent_peer_is_a_timeout() {
    let starts: [(&[u8], &[u8]); 4] = [
        (b"", b""),
        (b"HTTP/1.1 200 ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab", b"x"),
    ];
    for (start, rest) in starts {
        let base = serve(move |_, stream| {
            request(stream);
            stream.write_all(start).unwrap();
            // Slowly, so that each single read succeeds.
            for _ in 0..40 {
                let _ = stream.write_all(rest);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let began = Instant::now();
        let error = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base)).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(3));
        assert_eq!(error.reason(), omadm_core::reason::Reason::Timeout, "{error:?} after {start:?}");
    }
}

#[test]
fn what_is_no_http_is_told() {
    for bytes in ["", "\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 999999 X\r\n\r\n", "HTTP/2 200\r\n\r\n", "\u{0}\u{0}\u{0}"]
    {
        let error = answer_to(bytes).unwrap_err();
        assert!(matches!(error, HttpError::Protocol(_) | HttpError::Connect(_)), "{bytes:?}: {error:?}");
    }
    let cut = answer_to("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").unwrap_err();
    assert!(matches!(cut, HttpError::Connect(_)), "{cut:?}");
}

#[test]
fn refused_and_reset_connections_are_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{free}");
    let error = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base)).unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error:?}");
    let base = serve(|_, _| {});
    let error = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base)).unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error:?}");
}

#[test]
fn no_tls_where_tls_is_expected_is_a_tls_error() {
    let base = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let base = base.replace("http://", "https://");
    let error = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(get(&base)).unwrap_err();
    assert!(matches!(error, HttpError::Tls(_)), "{error:?}");
    let silent = serve(|_, stream| {
        let _ = stream.read(&mut [0; 4096]);
        thread::sleep(Duration::from_secs(2));
    });
    let silent = silent.replace("http://", "https://");
    let error = http(&silent, &Meter::default(), &Stop::new().unwrap()).exchange(get(&silent)).unwrap_err();
    assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
}

#[test]
fn raising_stop_ends_an_exchange_at_once() {
    let base = serve(|_, stream| {
        request(stream);
        thread::sleep(Duration::from_secs(5));
    });
    let stop = Stop::new().unwrap();
    let limits = Limits { total: Duration::from_secs(60), ..LIMITS };
    let mut http = within(limits, &base, &Meter::default(), &stop);
    let raise = stop.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        raise.raise();
    });
    let began = Instant::now();
    assert_eq!(http.exchange(get(&base)).unwrap_err(), HttpError::Stopped);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_post_follows_no_redirect() {
    let base = serve(|number, stream| {
        assert_eq!(number, 0);
        request(stream);
        stream.write_all(b"HTTP/1.1 307 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let post = Request { method: Method::Post, body: Some(b"{}".to_vec()), ..get(&base) };
    let answer = http(&base, &Meter::default(), &Stop::new().unwrap()).exchange(post).unwrap();
    assert_eq!(answer.status, 307);
}

#[test]
fn a_get_follows_redirects_from_https_to_https_only() {
    let base = serve(|_, stream| {
        request(stream);
        stream.write_all(b"HTTP/1.1 302 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let error = http(&base, &Meter::default(), &Stop::new().unwrap()).fetch(get(&base)).unwrap_err();
    assert!(matches!(error, HttpError::Refused(_)), "{error:?}");
}

#[test]
fn redirects_are_counted_and_what_is_private_stays_with_the_first_origin() {
    let redirected = |locations: &[&str]| {
        let (mut left, mut seen) = (locations.iter(), Vec::new());
        let end = follow(get("https://a.example/1"), |request| {
            seen.push((request.url.to_string(), !request.private.0.is_empty()));
            let mut headers = Headers::default();
            let status = left.next().map_or(200, |location| {
                headers.add("Location", *location);
                302
            });
            Ok(Answer { status, headers, body: Vec::new() })
        });
        (end.map(|answer| answer.status), seen)
    };
    let (end, seen) = redirected(&["/2", "https://b.example/3", "https://a.example/4"]);
    assert_eq!(end, Ok(200));
    assert_eq!(seen.iter().map(|(_, private)| *private).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(seen[3].0, "https://a.example/4");
    let (end, seen) = redirected(&["/2", "/3", "/4", "/5", "/6"]);
    assert!(matches!(end, Err(HttpError::Protocol(_))), "the repository's failure, not a refusal: {end:?}");
    assert_eq!(seen.len(), 4);
    assert!(matches!(redirected(&["http://a.example/2"]).0, Err(HttpError::Refused(_))));
}

#[test]
fn outside_the_trusted_origins_no_private_address_and_no_plain_http() {
    let base = serve(|_, stream| {
        request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let mut http = http("https://dm.example/dm", &Meter::default(), &Stop::new().unwrap());
    for uri in [base.clone(), base.replace("http://", "https://"), "https://10.0.0.1/".to_owned()] {
        let error = http.exchange(get(&uri)).unwrap_err();
        assert!(matches!(error, HttpError::Refused(_)), "{uri}: {error:?}");
    }
    assert!(matches!(http.exchange(get("https://localhost:1/")), Err(HttpError::Refused(_))));
}

#[test]
fn trust_is_by_scheme_host_and_port() {
    let trust = Trust::new([url("https://DM.example/dm?x").origin()]);
    assert!(trust.covers(&url("https://dm.example:443/other")));
    for other in ["http://dm.example/", "https://dm.example:444/", "https://dm.example.org/", "https://example/"] {
        assert!(!trust.covers(&url(other)), "{other}");
    }
}

#[test]
fn a_location_is_taken_relative_to_the_request() {
    let base = url("https://a.example/x/y?z");
    for (location, expected) in [
        ("https://b.example/q", Some("https://b.example/q")),
        ("//b.example/q", Some("https://b.example/q")),
        ("/q?r#s", Some("https://a.example:443/q?r")),
        ("q", Some("https://a.example:443/x/q")),
        ("q?u=http://x", Some("https://a.example:443/x/q?u=http://x")),
        ("https://user@b.example/", None),
        ("ftp://b.example/", None),
        ("https://", None),
        ("ht tp://x", None),
    ] {
        assert_eq!(join(&base, location).as_ref().map(Url::as_str), expected, "{location}");
    }
}

#[test]
fn private_headers_are_not_shown() {
    let shown = format!("{:?}", get("https://dm.example/"));
    assert!(shown.contains("authorization") && !shown.contains("eDp5"), "{shown}");
}

/// Meets servers whose certificates are valid then, and counts how often it is used.
struct Dates {
    at: u64,
    valid: Rc<Cell<(u64, u64)>>,
    proved: Cell<u64>,
    used: Rc<Cell<usize>>,
}

impl Carrier for Dates {
    fn carry(&self, _: Outgoing) -> Result<Answer, HttpError> {
        self.used.set(self.used.get() + 1);
        let (from, until) = self.valid.get();
        if !(from..until).contains(&self.at) {
            return Err(HttpError::Clock(format!("not valid at {}", self.at)));
        }
        self.proved.set(from.max(self.proved.get()));
        Ok(Answer { status: 200, headers: Headers::default(), body: Vec::new() })
    }

    fn proved(&self) -> Option<Timestamp> {
        Some(Timestamp(self.proved.get())).filter(|since| since.0 > 0)
    }
}

/// Exchanges that are thought to be at 100 and perhaps are at 50.
struct Doubtful {
    http: Http,
    valid: Rc<Cell<(u64, u64)>>,
    used: [Rc<Cell<usize>>; 2],
}

impl Doubtful {
    /// With servers whose certificates are valid then.
    fn new(valid: (u64, u64)) -> Self {
        let (valid, used) = (Rc::new(Cell::new(valid)), <[Rc<Cell<usize>>; 2]>::default());
        let carrier = |at, used: &Rc<Cell<usize>>| {
            let (valid, used) = (valid.clone(), used.clone());
            move || Box::new(Dates { at, valid: valid.clone(), proved: Cell::new(0), used: used.clone() })
        };
        let (first, second) = (carrier(100, &used[0]), carrier(50, &used[1]));
        let other = Other { at: Timestamp(50), carrier: Box::new(move || Ok(second())) };
        let trust = Trust::new([url("https://dm.example/").origin()]);
        Self { http: Http::new(trust, first(), Timestamp(100), Some(other)), valid, used }
    }

    fn ask(&mut self, url: &str) -> Result<(), HttpError> {
        self.http.exchange(get(url)).map(drop)
    }

    fn used(&self) -> [usize; 2] {
        self.used.clone().map(|used| used.get())
    }
}

const TRUSTED: &str = "https://dm.example/dm";
const FOREIGN: &str = "https://repository.example/file";

#[test]
fn a_certificate_that_is_good_needs_no_other_time() {
    let mut asked = Doubtful::new((40, 200));
    asked.ask(TRUSTED).unwrap();
    assert_eq!(asked.used(), [1, 0]);
    assert_eq!(asked.http.dated(), Some(Dated { at: Timestamp(100), since: Timestamp(40), anew: false }));
}

#[test]
fn a_certificate_of_a_trusted_origin_decides_which_time_it_is() {
    let mut asked = Doubtful::new((40, 60));
    asked.ask(TRUSTED).unwrap();
    asked.ask(TRUSTED).unwrap();
    assert_eq!(asked.used(), [1, 2], "the other time counts from then on");
    assert_eq!(asked.http.dated(), Some(Dated { at: Timestamp(50), since: Timestamp(40), anew: true }));
}

#[test]
fn a_certificate_of_a_foreign_origin_decides_for_itself_only() {
    let mut asked = Doubtful::new((40, 60));
    asked.ask(FOREIGN).unwrap();
    asked.ask(FOREIGN).unwrap();
    assert_eq!((asked.used(), asked.http.dated()), ([2, 2], None));
}

#[test]
fn a_certificate_that_is_not_valid_at_either_time_is_refused_with_the_first_reason() {
    let mut asked = Doubtful::new((60, 90));
    assert_eq!(asked.ask(TRUSTED), Err(HttpError::Clock("not valid at 100".to_owned())));
    assert_eq!((asked.used(), asked.http.dated()), ([1, 1], None));
}

#[test]
fn it_is_no_earlier_than_the_certificates_of_the_same_session() {
    let mut asked = Doubtful::new((60, 200));
    asked.ask(TRUSTED).unwrap();
    asked.valid.set((40, 55));
    assert_eq!(asked.ask(TRUSTED), Err(HttpError::Clock("not valid at 100".to_owned())));
    assert_eq!(asked.used(), [2, 0]);
}
