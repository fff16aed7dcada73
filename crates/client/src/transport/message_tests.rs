//! Requests as bytes, and answers cut anywhere.

use super::*;
use crate::transport::{Method, PrivateHeaders};

/// A peer whose bytes come one by one.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (Some((first, rest)), Some(room)) = (self.0.split_first(), buffer.first_mut()) else { return Ok(0) };
        *room = *first;
        self.0 = rest;
        Ok(1)
    }
}

fn read(bytes: &str) -> Result<(Answer, bool), HttpError> {
    let whole = answer(&mut bytes.as_bytes(), "h", 1000);
    assert_eq!(whole.as_ref().ok(), answer(&mut Drops(bytes.as_bytes()), "h", 1000).as_ref().ok(), "{bytes:?}");
    whole
}

fn body(bytes: &str) -> String {
    String::from_utf8(read(bytes).unwrap().0.body).unwrap()
}

fn outgoing(value: &str) -> Outgoing {
    Outgoing {
        method: Method::Post,
        url: "https://dm.example:8443/dm?x=1".parse().unwrap(),
        trusted: true,
        headers: vec![("Content-Type", "text/plain".to_owned())],
        private: PrivateHeaders(vec![("Authorization", value.to_owned())]),
        body: Some(b"hi".to_vec()),
    }
}

#[test]
fn a_request_is_one_piece() {
    let agent = concat!("omadm-client/", env!("CARGO_PKG_VERSION"));
    let expected = format!(
        "POST /dm?x=1 HTTP/1.1\r\nhost: dm.example:8443\r\nuser-agent: {agent}\r\ncontent-length: 2\r\n\
         Content-Type: text/plain\r\nAuthorization: Basic eA==\r\n\r\nhi"
    );
    assert_eq!(String::from_utf8(request(&outgoing("Basic eA==")).unwrap().to_vec()).unwrap(), expected);
    let get = Outgoing { method: Method::Get, body: None, ..outgoing("x") };
    assert!(!String::from_utf8(request(&get).unwrap().to_vec()).unwrap().contains("content-length"));
}

#[test]
fn a_trailer_is_bounded_wherever_its_lines_are_cut() {
    let trailer =
        |lines: usize| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n", "A\n".repeat(lines));
    assert!(read(&trailer(8000)).is_ok());
    assert!(matches!(read(&trailer(20_000)), Err(HttpError::Protocol(_))));
}

#[test]
fn no_header_can_be_smuggled_into_a_request() {
    let error = request(&outgoing("x\r\nEvil: y")).unwrap_err();
    assert!(matches!(&error, HttpError::Protocol(why) if why.contains("Authorization") && !why.contains("Evil")));
}

#[test]
fn a_body_ends_where_its_framing_says() {
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"), "hello");
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), "");
    assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nup to the end"), "up to the end");
    assert_eq!(
        body(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
        ),
        "hello!"
    );
    assert_eq!(body("HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), "x");
    let (answer, _) = read("HTTP/1.1 401 No\r\nA: 1\r\na:  2 \r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!((answer.status, answer.headers.get_all("A").collect::<Vec<_>>()), (401, vec!["1", "2"]));
}

#[test]
fn a_connection_is_used_again_only_where_nothing_is_unclear() {
    for (bytes, reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\nx", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false),
        ("HTTP/1.1 200 OK\r\n\r\nx", false),
    ] {
        assert_eq!(read(bytes).unwrap().1, reusable, "{bytes:?}");
    }
    let mut more = &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"[..];
    assert!(!answer(&mut more, "h", 1000).unwrap().1, "what was not asked for");
}

#[test]
fn what_cannot_be_trusted_is_refused_with_its_reason() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9);
    for (bytes, expected) in [
        ("HTTP/1.1 007 OK\r\n\r\n", "007 is no status"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "encoded as gzip"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "other than chunked"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "both"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "twice"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", "no number"),
        ("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nx", "no number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n", "no number"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", "longer than its size"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "interim answer 101"),
        (&interim, "interim answer 100"),
        ("HTTP/2 200\r\n\r\n", "does not answer as HTTP demands"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", "more than 1000 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "more than 1000 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "before its answer was complete"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell", "before its answer was complete"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "before its answer was complete"),
        ("", "before its answer was complete"),
    ] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

#[test]
fn headers_trailers_and_chunk_lines_are_bounded() {
    let endless = [
        ("HTTP/1.1 200 OK\r\nX: ", "y"),
        ("HTTP/1.1 200 OK\r\n", "A: b\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    for (start, rest) in endless {
        let mut peer = start.as_bytes().chain(Endless(rest.as_bytes(), 0));
        let error = answer(&mut peer, "h", 1000).unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(_) | HttpError::Protocol(_)), "{start:?}: {error:?}");
        let (_, endless) = peer.into_inner();
        assert!(endless.1 < 64 * 1024, "{start:?}: {} bytes were read", endless.1);
    }
}

/// The same bytes again and again, and how many were read.
struct Endless<'a>(&'a [u8], usize);

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for place in buffer.iter_mut() {
            *place = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

/// Trailer fields without end, each read ending with a whole one.
struct Fields(usize);

impl Read for Fields {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0 += 1;
        assert!(self.0 < 10_000, "read on and on");
        let said: &[u8] =
            if self.0 == 1 { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" } else { b"a: b\r\n" };
        buffer[..said.len()].copy_from_slice(said);
        Ok(said.len())
    }
}

#[test]
fn a_trailer_of_small_fields_is_bounded_too() {
    assert!(matches!(answer(&mut Fields(0), "dm.example", 100), Err(HttpError::Protocol(_))));
}
