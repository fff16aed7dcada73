//! The reader's end: a card behind a socket.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{Address, POWER_OFF, POWER_ON, RESET, SEND_ATR, Stream};
use crate::apdu::Protocol;
use crate::link::{Link, LinkError, Patience, atr};

/// Between two looks for a socket or a card.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest ATR, ISO 7816-3.
const MAX_ATR: usize = 33;

/// A card behind a socket that speaks the vpcd framing, powered until the value is dropped.
#[derive(Debug)]
pub struct SocketLink {
    stream: Stream,
    protocol: Protocol,
    command: Duration,
    /// A command was not answered in time: what comes later would answer the wrong command.
    broken: bool,
}

impl SocketLink {
    /// Waits for the socket and for a card behind it, and powers the card up.
    pub fn open(address: &Address, patience: &Patience) -> Result<Self, LinkError> {
        let deadline = Instant::now() + patience.wait;
        let mut stream = loop {
            match address.connect() {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= deadline => {
                    return Err(LinkError::NoCard(format!("cannot connect to {address}: {error}")));
                }
                Err(_) => thread::sleep(PAUSE),
            }
        };
        let failed = |error: io::Error| link_error(error, "switching the card on");
        let mut empty_since = None;
        loop {
            stream.limit(Some(patience.command)).map_err(failed)?;
            stream.send(&[POWER_ON]).map_err(failed)?;
            stream.send(&[SEND_ATR]).map_err(failed)?;
            // A socket that serves another reader first answers later.
            let answer = stream.receive(Some(deadline.max(Instant::now() + patience.command))).map_err(failed)?;
            if answer.len() > MAX_ATR {
                return Err(LinkError::Io(format!("{address} answered with an ATR of {} bytes", answer.len())));
            }
            if !answer.is_empty() {
                return Ok(Self { stream, protocol: atr::protocol(&answer), command: patience.command, broken: false });
            }
            let now = Instant::now();
            if now.duration_since(*empty_since.get_or_insert(now)) >= patience.empty || now >= deadline {
                return Err(LinkError::NoCard(format!("there is no card behind {address}")));
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Link for SocketLink {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        if self.broken {
            return Err(LinkError::Timeout("the card did not answer an earlier command".to_owned()));
        }
        let answer = self.stream.send(command).and_then(|()| self.stream.receive(Some(Instant::now() + self.command)));
        answer.map_err(|error| {
            self.broken = true;
            link_error(error, "a command")
        })
    }

    fn reset_when_released(&mut self) {
        // Power is switched off in any case, which resets more than a reset.
    }
}

impl Drop for SocketLink {
    fn drop(&mut self) {
        let _ = self.stream.send(&[RESET]).and_then(|()| self.stream.send(&[POWER_OFF]));
        self.stream.shutdown();
    }
}

fn link_error(error: io::Error, what: &str) -> LinkError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => LinkError::Timeout(format!("{what} was not answered")),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            LinkError::Removed(format!("the other end closed the socket during {what}"))
        }
        _ => LinkError::Io(format!("{what}: {error}")),
    }
}
