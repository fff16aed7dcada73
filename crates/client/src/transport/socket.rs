//! A TCP connection whose every wait has an end: a deadline, or the wish that the program ends.

use super::failure::HttpError;
use super::meter::Meter;
use crate::wait::{For, Stop, Waited};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connected TCP socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    deadline: Instant,
    stop: Stop,
    meter: Meter,
    /// Whether the last thing was sending, so that the next byte read ends a round trip.
    sent: bool,
}

impl Socket {
    /// Connects to the first of these addresses that accepts, each with its share of the time that is left.
    pub(super) fn connect(
        host: &str,
        addresses: &[SocketAddr],
        deadline: Instant,
        stop: &Stop,
        meter: &Meter,
    ) -> Result<Self, HttpError> {
        let mut failure = HttpError::Connect(format!("{host} has no address"));
        for (index, address) in addresses.iter().enumerate() {
            let waiting = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / waiting;
            match dial(*address, share, stop) {
                Ok(stream) => {
                    meter.add_round_trip();
                    let (stop, meter) = (stop.clone(), meter.clone());
                    return Ok(Self { stream, deadline, stop, meter, sent: false });
                }
                Err(_) if stop.is_raised() => return Err(HttpError::Stopped),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    failure = HttpError::Timeout(format!("{host} ({address}) did not accept a connection in time"));
                }
                Err(error) => {
                    failure = HttpError::Connect(format!("cannot connect to {host} ({address}): {error}"));
                }
            }
        }
        Err(failure)
    }

    /// Until when reading and writing may take.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Counts from now on with this meter.
    pub(super) fn set_meter(&mut self, meter: &Meter) {
        self.meter = meter.clone();
    }

    /// Whether the connection is open and the peer has sent nothing that was not asked for.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn wait(&self, what: For) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.stop.wait_for(&self.stream, what, left) {
            Waited::Ready => Ok(()),
            Waited::TimedOut => Err(io::ErrorKind::TimedOut.into()),
            Waited::Stopped => Err(io::Error::other("the program is to end")),
        }
    }
}

fn dial(address: SocketAddr, limit: Duration, stop: &Stop) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => match stop.wait_for(&socket, For::Output, limit) {
            Waited::Ready => sockopt::socket_error(&socket)??,
            Waited::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
            Waited::Stopped => return Err(io::ErrorKind::Interrupted.into()),
        },
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Ok(count) => {
                    self.meter.add_bytes(count);
                    if self.sent && count > 0 {
                        self.sent = false;
                        self.meter.add_round_trip();
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(For::Input)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stream.write(bytes) {
                Ok(count) => {
                    self.meter.add_bytes(count);
                    self.sent |= count > 0;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(For::Output)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
