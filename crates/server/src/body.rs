//! Bodies of requests, bounded in size and time.

use axum::body::{Body, HttpBody};
use http::header::CONNECTION;
use http::{HeaderMap, StatusCode};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use crate::problem::Refusal;

/// So much more than the limit is read and dropped, so that the sender gets to read the refusal.
const DRAINED: usize = 1 << 20;

/// Reads a body of at most `limit` bytes within `time`.
pub(crate) async fn read(mut body: Body, limit: usize, time: Duration) -> Result<Vec<u8>, Refusal> {
    match tokio::time::timeout(time, collect(&mut body, limit)).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!("the body did not arrive within {} seconds", time.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).with(CONNECTION, "close"))
        }
    }
}

/// One header's value; more than one, or one that is no text, is malformed.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::bad(format!("the header {name} is given twice")));
    }
    value.to_str().map(Some).map_err(|_| Refusal::bad(format!("the header {name} is not ASCII text")))
}

/// The Accept header, its lines joined.
pub(crate) fn accept(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(http::header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    if lines.is_empty() { None } else { Some(lines.join(",")) }
}

async fn collect(body: &mut Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut dropped = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Refusal::bad("the body broke off").with(CONNECTION, "close"))?;
        let Ok(data) = frame.into_data() else { continue };
        if dropped == 0 && bytes.len() + data.len() <= limit {
            bytes.extend_from_slice(&data);
            continue;
        }
        dropped += data.len();
        if dropped > DRAINED {
            break;
        }
    }
    if dropped > 0 {
        let detail = format!("the body is larger than {limit} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).with(CONNECTION, "close"));
    }
    Ok(bytes)
}
