//! The asking end.

use super::{MAX_REPLY, Order, Reply};
use crate::wait::{For, Stop, Waited};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Failed to ask the running client.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No client runs.
    #[error("no omadm-client runs with this state file")]
    NotRunning,
    /// It runs, but gave no reply.
    #[error("the running omadm-client did not reply: {0}")]
    NoReply(String),
}

/// Gives an order to the client that listens at `socket` and waits at most `limit` for its reply.
pub fn ask(socket: &Path, order: &Order, limit: Duration, stop: &Stop) -> Result<Reply, AskError> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NotRunning);
        }
        Err(error) => return Err(AskError::NoReply(error.to_string())),
    };
    let mut line = serde_json::to_vec(order).map_err(|error| AskError::NoReply(error.to_string()))?;
    line.push(b'\n');
    let reply = exchange(&mut stream, &line, limit, stop).map_err(|error| AskError::NoReply(error.to_string()))?;
    serde_json::from_slice(&reply)
        .and_then(serde_json::from_value)
        .map_err(|error| AskError::NoReply(format!("its reply is not readable: {error}")))
}

fn exchange(stream: &mut UnixStream, line: &[u8], limit: Duration, stop: &Stop) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(line)?;
    read_line(stream, MAX_REPLY, limit, stop)
}

/// Reads up to a line's end, which is left out, within these limits.
pub(super) fn read_line(stream: &mut UnixStream, size: usize, limit: Duration, stop: &Stop) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(true)?;
    let began = Instant::now();
    let mut line = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stop.wait_for(&*stream, For::Input, limit.saturating_sub(began.elapsed())) {
            Waited::Ready => {}
            Waited::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
            Waited::Stopped => return Err(io::Error::other("interrupted")),
        }
        let count = match stream.read(&mut room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        };
        let part = room.get(..count).unwrap_or_default();
        if let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            line.extend(part.iter().take(end));
            return Ok(line);
        }
        line.extend_from_slice(part);
        if line.len() > size {
            return Err(io::Error::other(format!("more than {size} bytes")));
        }
    }
}
