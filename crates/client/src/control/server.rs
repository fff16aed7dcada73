//! The answering end. Status is told from a board at once; other orders go to the one who does the work.

use super::client::read_line;
use super::{MAX_ORDER, Order, Reply};
use crate::exit::Exit;
use crate::wait::{For, Stop, Waited};
use omadm_card::link::handover::{Giver, Nothing, handover};
use rustix::fs::Mode;
use serde_json::Value;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How many connections are served at a time; further ones are closed.
const MAX_CONNECTIONS: usize = 8;

/// How long a connection may take to give its order.
const ORDER_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked whether the work on an order has ended; the look ends at once when it has.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the status hangs for all to see, kept up to date by the one who does the work.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Value>>);

impl Board {
    /// Whether anybody else has it, who may look.
    pub(crate) fn is_public(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Hangs up a new status.
    pub fn show(&self, status: Value) {
        if let Ok(mut shown) = self.0.lock() {
            *shown = status;
        }
    }

    /// The status.
    pub fn shown(&self) -> Value {
        self.0.lock().map(|shown| shown.clone()).unwrap_or_default()
    }
}

/// An order on its way to the one who does the work, with the place where the reply goes.
#[derive(Debug)]
pub struct Ticket {
    /// The order; never [`Order::Status`].
    pub order: Order,
    reply: Giver<Reply>,
}

impl Ticket {
    /// Replies. Who asked may have gone.
    pub fn reply(&self, reply: Reply) {
        self.reply.give(reply);
    }
}

/// The listening socket; removed when dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens, for this user only. Whoever calls holds the state lock, so an old socket is a leftover.
    ///
    /// # Errors
    /// If the socket cannot be made, such as when its path is longer than the system allows (107 bytes).
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // The mode has to be right from the start: between bind and chmod anybody could connect.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until the program is to end; then whoever receives the tickets sees that no more come.
    pub fn serve<W: From<Ticket> + Send + 'static>(&self, stop: &Stop, board: &Board, work: Giver<W>) {
        let busy = Arc::new(AtomicUsize::new(0));
        while stop.wait_for(&self.listener, For::Input, Duration::from_secs(3600)) != Waited::Stopped {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    tracing::warn!("the control socket failed: {error}");
                    // Such as too many open files: that passes, and must not keep the processor busy.
                    let _ = stop.sleep(Duration::from_secs(1));
                    continue;
                }
            };
            if busy.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                busy.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (stop, board, work, busy) = (stop.clone(), board.clone(), work.clone(), busy.clone());
            let spawned = thread::Builder::new().name("control".to_owned()).spawn({
                let busy = busy.clone();
                move || {
                    serve_one(stream, &stop, &board, work);
                    busy.fetch_sub(1, Ordering::Relaxed);
                }
            });
            if spawned.is_err() {
                busy.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve_one<W: From<Ticket>>(mut stream: UnixStream, stop: &Stop, board: &Board, work: Giver<W>) {
    let reply = match read_line(&mut stream, MAX_ORDER, ORDER_LIMIT, stop) {
        Err(_) => return,
        Ok(line) => match serde_json::from_slice(&line).and_then(serde_json::from_value) {
            Ok(Order::Status {}) => Reply { exit: Exit::Done, result: board.shown() },
            Ok(order) => carry_out(order, stop, work),
            Err(error) => Reply::failure(Exit::Usage, format!("not an order: {error}")),
        },
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else { return };
    line.push(b'\n');
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(ORDER_LIMIT)));
    // Who asked may have gone.
    let _ = ready.and_then(|()| stream.write_all(&line));
}

fn carry_out<W: From<Ticket>>(order: Order, stop: &Stop, work: Giver<W>) -> Reply {
    let (reply, replied) = handover();
    work.give(Ticket { order, reply }.into());
    drop(work);
    loop {
        match replied.take(PATIENCE) {
            Ok(reply) => return reply,
            Err(Nothing::Yet) if !stop.is_raised() => {}
            Err(Nothing::Yet | Nothing::Ever) => return Reply::failure(Exit::Failed, "the client is about to end"),
        }
    }
}
