//! A TCP relay that adds delay and counts what passes: the network that this machine does not have. It loses nothing.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The length of a TLS 1.3 record that holds an alert, which nobody answers: header, alert, content type, tag.
const ALERT: usize = 5 + 2 + 1 + 16;

/// A relay on a port of loopback, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What passed since the last [`Relay::reset`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Connections that were made.
    pub connections: u64,
    /// Bytes from the side that connected.
    pub up: u64,
    /// Bytes to the side that connected.
    pub down: u64,
    /// One for each connection made, and one each time that bytes come back after some were sent. A TLS 1.3 alert is
    /// sent to end a connection; what comes back after it is waited for by nobody and not counted.
    pub round_trips: u64,
}

impl Passed {
    /// Bytes both ways.
    pub fn bytes(&self) -> u64 {
        self.up + self.down
    }
}

#[derive(Debug)]
struct Shared {
    /// How long bytes travel one way.
    delay: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    target: Option<SocketAddr>,
    passed: Passed,
    open: Vec<TcpStream>,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// A relay whose bytes travel for `delay` each way. Until [`Relay::lead_to`] it closes what connects.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn start(delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { delay, state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.state().ended {
                    return;
                }
                // A connection that cannot be passed on is closed, which its maker sees.
                let _ = pass_on(&accepting, stream);
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the connections that are made from now on lead.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.state().target = Some(target);
    }

    /// What passed since the last reset.
    pub fn passed(&self) -> Passed {
        self.shared.state().passed
    }

    /// Counts from nothing again.
    pub fn reset(&self) {
        self.shared.state().passed = Passed::default();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, seen from both its directions.
#[derive(Debug, Default)]
struct Connection {
    /// Something was sent up that nothing came back for yet.
    asked: bool,
}

fn pass_on(shared: &Arc<Shared>, near: TcpStream) -> io::Result<()> {
    let Some(target) = shared.state().target else { return Ok(()) };
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    {
        let mut state = shared.state();
        state.passed.connections += 1;
        state.passed.round_trips += 1;
        state.open.retain(|stream| stream.peer_addr().is_ok());
        state.open.extend([near.try_clone()?, far.try_clone()?]);
    }
    let connection = Arc::new(Mutex::new(Connection::default()));
    // Here a connection is made at once; elsewhere its maker waits for a round trip before it sends.
    let connecting = shared.delay * 2;
    let (up_shared, up) = (Arc::clone(shared), Arc::clone(&connection));
    carry(near.try_clone()?, far.try_clone()?, shared.delay, connecting, Moment::Taken, move |bytes| {
        up_shared.state().passed.up += bytes.len() as u64;
        if bytes.len() > ALERT {
            up.lock().unwrap_or_else(PoisonError::into_inner).asked = true;
        }
    });
    let down_shared = Arc::clone(shared);
    carry(far, near, shared.delay, Duration::ZERO, Moment::Given, move |bytes| {
        let asked = std::mem::take(&mut connection.lock().unwrap_or_else(PoisonError::into_inner).asked);
        let mut state = down_shared.state();
        state.passed.down += bytes.len() as u64;
        state.passed.round_trips += u64::from(asked);
    });
    Ok(())
}

/// When bytes are counted: both directions as the side that connected sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// When they were taken from the sender.
    Taken,
    /// When they are given to the receiver.
    Given,
}

/// Carries bytes from one stream to the other, each `delay` after it came, the first ones `first` later still.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    delay: Duration,
    mut first: Duration,
    moment: Moment,
    count: impl Fn(&[u8]) + Send + Sync + 'static,
) {
    let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
    let count = Arc::new(count);
    let counted_later = Arc::clone(&count);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut earliest = Instant::now();
        // An end travels as an empty piece.
        while let Ok(length) = from.read(&mut buffer).or(Ok::<_, io::Error>(0)) {
            let bytes = buffer.get(..length).unwrap_or_default();
            if moment == Moment::Taken && length > 0 {
                count(bytes);
            }
            // Bytes never overtake each other.
            earliest = earliest.max(Instant::now() + delay + std::mem::take(&mut first));
            if sender.send((earliest, bytes.to_vec())).is_err() || length == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if bytes.is_empty() {
                break;
            }
            if moment == Moment::Given {
                counted_later(&bytes);
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 1000];
                loop {
                    let length = stream.read(&mut buffer).unwrap();
                    if length == 0 {
                        break;
                    }
                    stream.write_all(&buffer[..length]).unwrap();
                }
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, length: usize) {
        stream.write_all(&vec![7; length]).unwrap();
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, vec![7; length]);
    }

    #[test]
    fn bytes_and_round_trips_are_counted_and_nothing_is_lost() {
        let relay = Relay::start(Duration::ZERO).unwrap();
        relay.lead_to(echo());
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        for _ in 0..3 {
            ask(&mut stream, 100);
        }
        let passed = relay.passed();
        assert_eq!(passed, Passed { connections: 1, up: 300, down: 300, round_trips: 4 });
        relay.reset();
        ask(&mut stream, ALERT);
        assert_eq!(relay.passed(), Passed { up: 24, down: 24, ..Passed::default() }, "an alert asks nothing");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "an end comes through");
    }

    #[test]
    fn each_round_trip_takes_its_time_and_so_does_connecting() {
        let way = Duration::from_millis(50);
        let relay = Relay::start(way).unwrap();
        relay.lead_to(echo());
        let start = Instant::now();
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        for trips in 2..4 {
            ask(&mut stream, 10_000);
            assert!(start.elapsed() >= way * 2 * trips);
        }
    }

    #[test]
    fn without_a_target_and_after_its_end_nothing_gets_through() {
        let relay = Relay::start(Duration::ZERO).unwrap();
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        relay.lead_to(echo());
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        ask(&mut stream, 30);
        drop(relay);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
}
