//! `omadm-client run`: bootstrap at the start, sessions when they are due, orders at any time, until a signal ends it.

use crate::client::Client;
use crate::control::{Control, Reply, Ticket, socket_path};
use crate::exit::Exit;
use crate::schedule::Schedule;
use crate::wait::{Stop, Stopped};
use crate::watch::{self, Sign};
use omadm_card::link::handover::{Nothing, Taker, handover};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The longest pause without a look at the clock, which may be set meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How long to wait before the control socket is tried again that could not be made.
const SOCKET_PAUSE: Duration = Duration::from_secs(60);

/// Failed to run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There can be no control socket at this path.
    #[error("cannot listen at {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the work is interrupted for.
enum Call {
    /// An order of a person.
    Order(Ticket),
    /// Something that may give what could not be had before, noticed at this [`World::monotonic`] time.
    ///
    /// [`World::monotonic`]: crate::world::World::monotonic
    Sign(Sign, Duration),
    /// The program is to end.
    End,
}

impl From<Ticket> for Call {
    fn from(ticket: Ticket) -> Self {
        Self::Order(ticket)
    }
}

/// Runs until the program is to end.
pub fn run(mut client: Client, stop: &Stop) -> Result<(), RunError> {
    let path = socket_path(&client.config.state);
    let control = match Control::bind(&path) {
        Ok(control) => Some(control),
        // The path is too long, which no waiting mends.
        Err(source) if source.kind() == io::ErrorKind::InvalidInput => return Err(RunError::Socket { path, source }),
        Err(error) => {
            tracing::error!("cannot listen at {}: {error}; until that is mended, no orders are taken", path.display());
            None
        }
    };
    let board = client.board();
    let (work, calls) = handover();
    let (signs, end) = (work.clone(), work.clone());
    let world = client.world.clone();
    watch::start(&client.config, stop, move |sign| {
        signs.give(Call::Sign(sign, world.monotonic()));
    });
    thread::scope(|scope| {
        // However the work ends, the other thread has to end too.
        let _end = RaiseAtEnd(stop);
        scope.spawn(|| {
            if let Ok(control) = control.map_or_else(|| bind_later(&path, stop), Ok) {
                control.serve(stop, &board, work);
            }
            // Whoever watches a reader may be blocked in a library that does not know of the end.
            end.give(Call::End);
        });
        // The only way out is the wish that the program ends.
        let Err(Stopped) = work_on(&mut client, &calls);
    });
    tracing::info!("ended");
    Ok(())
}

fn bind_later(path: &Path, stop: &Stop) -> Result<Control, Stopped> {
    loop {
        stop.sleep(SOCKET_PAUSE)?;
        if let Ok(control) = Control::bind(path) {
            return Ok(control);
        }
    }
}

struct RaiseAtEnd<'a>(&'a Stop);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}

fn work_on(client: &mut Client, calls: &Taker<Call>) -> Result<Infallible, Stopped> {
    let mut schedule = Schedule::new();
    loop {
        if client.world.is_stopped() {
            return Err(Stopped);
        }
        let Some(pause) = schedule.step(client)? else { continue };
        match calls.take(pause.min(LONGEST_PAUSE)) {
            Ok(Call::Order(ticket)) => serve(&mut schedule, client, &ticket)?,
            Ok(Call::Sign(sign, at)) if client.has_read_card_since(sign, at) => {}
            Ok(Call::Sign(sign, _)) => schedule.notice(sign, client.clock.now()),
            Err(Nothing::Yet) => {}
            Ok(Call::End) | Err(Nothing::Ever) => return Err(Stopped),
        }
    }
}

fn serve(schedule: &mut Schedule, client: &mut Client, ticket: &Ticket) -> Result<(), Stopped> {
    match schedule.order(client, &ticket.order) {
        Ok(reply) => {
            ticket.reply(reply);
            Ok(())
        }
        Err(stopped) => {
            ticket.reply(Reply::failure(Exit::Failed, stopped.to_string()));
            Err(stopped)
        }
    }
}
