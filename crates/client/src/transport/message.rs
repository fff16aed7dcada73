//! HTTP/1.1 as this client speaks it (RFC 9112): one request goes out, one answer comes in, and everything is bounded.

use super::failure::HttpError;
use super::http::{Answer, Headers, Outgoing};
use httparse::{EMPTY_HEADER, Error, Response, Status};
use std::io::Read;
use zeroize::Zeroizing;

/// The largest header of an answer, and the largest trailer, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// How many header fields an answer may have.
const MAX_FIELDS: usize = 64;

/// How many interim answers (1xx) may come before the answer.
const MAX_INTERIM: usize = 8;

/// The longest line with the size of a chunk, in bytes.
const MAX_CHUNK_LINE: usize = 256;

/// The request as it goes over the wire, head and body in one piece, so that it is one TLS record if it fits.
pub(super) fn request(outgoing: &Outgoing) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    let url = &outgoing.url;
    // An own port is named, a scheme's port is not.
    let host = url.authority();
    let agent = concat!("omadm-client/", env!("CARGO_PKG_VERSION"));
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + outgoing.body.as_ref().map_or(0, Vec::len)));
    bytes.extend_from_slice(format!("{} {} HTTP/1.1\r\n", outgoing.method, url.path_and_query()).as_bytes());
    let length = outgoing.body.as_ref().map(|body| body.len().to_string());
    let own = [("host", Some(host)), ("user-agent", Some(agent)), ("content-length", length.as_deref())];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = outgoing.headers.iter().chain(&outgoing.private.0).map(|(name, value)| (*name, value.as_str()));
    for (name, value) in own.chain(given) {
        if value.chars().any(char::is_control) {
            return Err(HttpError::Protocol(format!(
                "the value of {name} holds a control character; nothing was sent"
            )));
        }
        for part in [name, ": ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(outgoing.body.as_deref().unwrap_or_default());
    Ok(bytes)
}

/// Reads the answer of `host`, whose body may have `limit` bytes. With it comes whether the connection can be used again.
pub fn answer(stream: &mut dyn Read, host: &str, limit: usize) -> Result<(Answer, bool), HttpError> {
    let mut input = Input { stream, host, buffer: Vec::new() };
    let mut head = input.head()?;
    let mut interim = 0;
    while (100..200).contains(&head.status) {
        interim += 1;
        if interim > MAX_INTERIM || head.status == 101 {
            return Err(input.wrong(&format!("an interim answer {} too many", head.status)));
        }
        head = input.head()?;
    }
    if let Some(coding) = head.headers.get("content-encoding").filter(|one| !one.eq_ignore_ascii_case("identity")) {
        return Err(input.wrong(&format!("the body is encoded as {coding}, which was not asked for")));
    }
    let framing = framing(&head).map_err(|why| input.wrong(why))?;
    let body = match framing {
        Framing::Length(length) if length > limit as u64 => Err(input.too_large(limit)),
        Framing::Length(length) => input.exactly(usize::try_from(length).unwrap_or(limit)),
        Framing::Chunked => input.chunks(limit),
        Framing::UntilClose => input.rest(limit),
    }?;
    let reusable = head.keeps && framing != Framing::UntilClose && input.buffer.is_empty();
    Ok((Answer { status: head.status, headers: head.headers, body }, reusable))
}

struct Head {
    status: u16,
    headers: Headers,
    /// Whether the peer keeps the connection open.
    keeps: bool,
}

fn closes(headers: &Headers) -> bool {
    let mut wishes = headers.get_all("connection").flat_map(|value| value.split(','));
    wishes.any(|wish| wish.trim().eq_ignore_ascii_case("close"))
}

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

fn framing(head: &Head) -> Result<Framing, &'static str> {
    if matches!(head.status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    let mut lengths = head.headers.get_all("content-length");
    let mut codings = head.headers.get_all("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::UntilClose),
        (Some(_), Some(_)) => Err("both Content-Length and Transfer-Encoding are given"),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() => {
            Ok(Framing::Chunked)
        }
        (None, Some(_)) => Err("a Transfer-Encoding other than chunked is given"),
        (Some(length), None) if lengths.any(|other| other != length) => Err("Content-Length is given twice"),
        (Some(length), None) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("Content-Length is no number")
        }
        (Some(length), None) => Ok(Framing::Length(length.parse().unwrap_or(u64::MAX))),
    }
}

/// What comes from the peer, and what of it is not used up yet.
struct Input<'a> {
    stream: &'a mut dyn Read,
    host: &'a str,
    buffer: Vec<u8>,
}

impl Input<'_> {
    fn head(&mut self) -> Result<Head, HttpError> {
        loop {
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut response = Response::new(&mut fields);
            match response.parse(&self.buffer) {
                Ok(Status::Complete(length)) if length <= MAX_HEADER => {
                    let (status, version) = (response.code.unwrap_or_default(), response.version);
                    if status < 100 {
                        return Err(self.wrong(&format!("{status:03} is no status")));
                    }
                    let headers = Headers::from_fields(response.headers);
                    self.buffer.drain(..length);
                    return Ok(Head { keeps: version == Some(1) && !closes(&headers), status, headers });
                }
                Ok(Status::Partial) if self.buffer.len() < MAX_HEADER => {}
                Ok(_) | Err(Error::TooManyHeaders) => {
                    return Err(HttpError::TooLarge(format!("the header of the answer of {} is too large", self.host)));
                }
                Err(error) => return Err(self.wrong(&error.to_string())),
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, HttpError> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn chunks(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        loop {
            let line = self.line(MAX_CHUNK_LINE)?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let size = size.filter(|_| digits.first() != Some(&b'+'));
            let size = size.ok_or_else(|| self.wrong("the size of a chunk is no number"))?;
            match usize::try_from(size) {
                Ok(0) => break,
                Ok(size) if size <= limit - body.len() => body.append(&mut self.exactly(size)?),
                _ => return Err(self.too_large(limit)),
            }
            if !self.line(MAX_CHUNK_LINE)?.is_empty() {
                return Err(self.wrong("a chunk is longer than its size"));
            }
        }
        let mut left = MAX_HEADER;
        loop {
            let field = self.line(left)?;
            if field.is_empty() {
                return Ok(body);
            }
            left = left.checked_sub(field.len() + 1).ok_or_else(|| self.wrong("the trailer is too large"))?;
        }
    }

    fn rest(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        loop {
            if self.buffer.len() > limit {
                return Err(self.too_large(limit));
            }
            if self.fill()? == 0 {
                return Ok(std::mem::take(&mut self.buffer));
            }
        }
    }

    /// A line of at most `limit` bytes, without its end.
    fn line(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut seen = 0;
        loop {
            let fresh = self.buffer.get(seen..).unwrap_or_default();
            let end = fresh.iter().position(|byte| *byte == b'\n').map(|end| seen + end);
            if let Some(end) = end.filter(|end| *end <= limit) {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            seen = self.buffer.len();
            if end.is_some() || seen > limit {
                return Err(self.wrong("a line between chunks is too long"));
            }
            self.more()?;
        }
    }

    /// Reads on; the end of the stream is a failure.
    fn more(&mut self) -> Result<(), HttpError> {
        match self.fill()? {
            0 => Err(HttpError::Connect(format!("{} closed the connection before its answer was complete", self.host))),
            _ => Ok(()),
        }
    }

    fn fill(&mut self) -> Result<usize, HttpError> {
        let mut part = [0; 8192];
        let count = self.stream.read(&mut part).map_err(|error| HttpError::from_io(&error, self.host))?;
        self.buffer.extend_from_slice(part.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn wrong(&self, why: &str) -> HttpError {
        HttpError::Protocol(format!("{} does not answer as HTTP demands: {why}", self.host))
    }

    fn too_large(&self, limit: usize) -> HttpError {
        HttpError::TooLarge(format!("the answer of {} has more than {limit} bytes", self.host))
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
