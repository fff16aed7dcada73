//! The framing of the vpcd virtual reader over a socket, both ends of it, and a private PC/SC service around a vpcd.
//!
//! Each message is two bytes of length, big endian, and a body. A body of one byte is a control: 0 power off, 1 power
//! on, 2 reset, 4 send the ATR; only the last one is answered. Any other body is a command, answered by a response.
//!
//! | wanted | use |
//! | --- | --- |
//! | read a card behind a socket | [`SocketLink`] |
//! | a virtual card behind a unix socket | [`listen`] |
//! | a virtual card in a reader of a real PC/SC service | [`PrivatePcscd::start`], then [`PrivatePcscd::insert`] |
//! | a virtual card in a vpcd reader that runs already | [`Address::connect`], then [`serve`] |
//!
//! A service of ours listens in a network namespace of its own, where only sockets made in that namespace reach it. A
//! namespace belongs to a thread, not to a process, and a socket stays in the namespace in which it was made: so one
//! thread enters the namespace and makes the sockets, and any thread serves the cards over them. Programs that read
//! the cards reach the service by its unix socket, from any namespace.

mod pcscd;
mod serve;
mod sweeper;
mod terminal;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use pcscd::{PcscdError, PrivatePcscd};
pub use serve::{ServedCard, SharedCard, listen, serve};
pub use sweeper::Sweeper;
pub use terminal::SocketLink;

const POWER_OFF: u8 = 0;
const POWER_ON: u8 = 1;
const RESET: u8 = 2;
const SEND_ATR: u8 = 4;

/// Where the other end listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`.
    Tcp(String),
}

impl From<&str> for Address {
    /// `tcp:HOST:PORT`, else the path of a unix socket.
    fn from(text: &str) -> Self {
        text.strip_prefix("tcp:").map_or_else(|| Self::Unix(PathBuf::from(text)), |host| Self::Tcp(host.to_owned()))
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

impl Address {
    /// Connects.
    pub fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Self::Tcp(host) => {
                let stream = TcpStream::connect(host)?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Stream {
    /// A unix socket.
    Unix(UnixStream),
    /// A TCP connection.
    Tcp(TcpStream),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    fn shutdown(&self) {
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn limit(&self, limit: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
            Self::Tcp(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
        }
    }

    /// Sends one message whole.
    fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u16::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let message = [&length.to_be_bytes(), body].concat();
        match self {
            Self::Unix(stream) => stream.write_all(&message),
            Self::Tcp(stream) => stream.write_all(&message),
        }
    }

    /// Receives one message, all of it before `deadline` if there is one.
    fn receive(&mut self, deadline: Option<Instant>) -> io::Result<Vec<u8>> {
        self.acknowledge_at_once();
        let mut length = [0; 2];
        self.fill(&mut length, deadline)?;
        self.acknowledge_at_once();
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut body, deadline)?;
        Ok(body)
    }

    /// vpcd writes length and body apart, and TCP holds the second back until the first is acknowledged: 40 ms a
    /// command without this. The kernel forgets it again and again.
    fn acknowledge_at_once(&self) {
        if let Self::Tcp(stream) = self {
            let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
        }
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<()> {
        while !buffer.is_empty() {
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.limit(Some(left))?;
            }
            let read = match self {
                Self::Unix(stream) => stream.read(buffer),
                Self::Tcp(stream) => stream.read(buffer),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
