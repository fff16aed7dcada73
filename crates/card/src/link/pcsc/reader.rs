//! Readers: which there are, waiting for a card, and noticing that one comes or goes.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pcsc::{Card, Context, Error, Protocols, ReaderState, Scope, ShareMode, State};

use super::{Call, link_error};
use crate::link::{LinkError, Patience};

/// How long one look at the readers may block; giving up takes as long.
const SLICE: Duration = Duration::from_millis(200);

/// How long to wait before looking for a service that is not there.
const NO_SERVICE: Duration = Duration::from_secs(5);

/// A reader and whether there is a card in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its full name.
    pub name: String,
    /// There is a card in it.
    pub card: bool,
}

/// The readers of the PC/SC service. Waits without limit for a service that does not answer.
pub fn readers() -> Result<Vec<Reader>, LinkError> {
    let _call = Call::begin()?;
    let context = Context::establish(Scope::User).map_err(link_error)?;
    match states(&context, "") {
        Ok(states) => Ok(states.iter().map(|state| Reader { name: name(state), card: holds_card(state) }).collect()),
        Err(Error::NoReadersAvailable) => Ok(Vec::new()),
        Err(error) => Err(link_error(error)),
    }
}

/// What a [`Watch`] sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// No service, or no such reader.
    NoReader,
    /// The reader is empty.
    Empty,
    /// There is a card; the number changes when it is exchanged, where the service counts.
    Card(u32),
}

/// Looks at a reader again and again.
#[derive(Debug)]
pub struct Watch {
    reader: String,
    seen: Option<Presence>,
}

impl Watch {
    /// Watches the reader of this name, or whose name begins so; an empty name means any.
    pub fn new(reader: &str) -> Self {
        Self { reader: reader.to_owned(), seen: None }
    }

    /// Waits until something else is seen than the last time, at first anything, at most `limit`. The service wakes it;
    /// only where there is no service it looks every few seconds.
    pub fn changed(&mut self, limit: Duration) -> Option<Presence> {
        let deadline = Instant::now() + limit;
        loop {
            let (now, waiting) = look(&self.reader);
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now.clone());
                return Some(now);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            match waiting {
                Some((context, mut states)) => {
                    // What ended the wait shows at the next look; a service that ends it at once costs little.
                    let _ = context.get_status_change(left, &mut states);
                    thread::sleep(SLICE);
                }
                None => thread::sleep(left.min(NO_SERVICE)),
            }
        }
    }
}

/// What is there, and what to wait with for something else; nothing to wait with without a service.
fn look(reader: &str) -> (Presence, Option<(Context, Vec<ReaderState>)>) {
    let Ok(context) = Context::establish(Scope::User) else { return (Presence::NoReader, None) };
    let mut states = match states(&context, reader) {
        Ok(states) => states,
        Err(Error::NoReadersAvailable) => Vec::new(),
        Err(_) => return (Presence::NoReader, None),
    };
    let presence = match states.iter().find(|state| holds_card(state)) {
        Some(state) => Presence::Card(state.event_count()),
        None if states.is_empty() => Presence::NoReader,
        None => Presence::Empty,
    };
    states.iter_mut().for_each(ReaderState::sync_current_state);
    // Readers come and go, too.
    states.push(ReaderState::new(pcsc::PNP_NOTIFICATION(), State::UNAWARE));
    (presence, Some((context, states)))
}

/// Waits for a card and connects to it. Gives the card and the full name of its reader.
pub(super) fn connect(wanted: &str, patience: &Patience, given_up: &AtomicBool) -> Result<(Card, String), LinkError> {
    let deadline = Instant::now() + patience.wait;
    let mut empty_since = None;
    loop {
        let failure = match try_connect(wanted) {
            Ok(connected) => return Ok(connected),
            Err(failure) => failure,
        };
        let now = Instant::now();
        let empty = match failure {
            Failure::Empty => now.duration_since(*empty_since.get_or_insert(now)) >= patience.empty,
            Failure::NoReader(_) | Failure::Card(_) => {
                empty_since = None;
                false
            }
        };
        if empty || now >= deadline || given_up.load(Ordering::Relaxed) {
            return Err(match failure {
                Failure::Empty => LinkError::NoCard("the reader is empty".to_owned()),
                Failure::NoReader(error) => LinkError::NoCard(error),
                Failure::Card(error) => link_error(error),
            });
        }
        thread::sleep(SLICE.min(deadline.saturating_duration_since(now)));
    }
}

enum Failure {
    NoReader(String),
    Empty,
    Card(Error),
}

fn try_connect(wanted: &str) -> Result<(Card, String), Failure> {
    let no_reader = |error| Failure::NoReader(format!("PC/SC: {error}; is pcscd running and the reader plugged in?"));
    let context = Context::establish(Scope::User).map_err(no_reader)?;
    let states = states(&context, wanted).map_err(no_reader)?;
    if states.is_empty() {
        return Err(Failure::NoReader(format!("PC/SC has no reader whose name begins with {wanted:?}")));
    }
    let state = states.iter().find(|state| holds_card(state)).ok_or(Failure::Empty)?;
    let card = context.connect(state.name(), ShareMode::Shared, Protocols::ANY).map_err(|error| match error {
        Error::NoSmartcard | Error::RemovedCard => Failure::Empty,
        other => Failure::Card(other),
    })?;
    Ok((card, name(state)))
}

/// The present state of the readers whose name begins with `wanted`; an exact match alone, if there is one.
fn states(context: &Context, wanted: &str) -> Result<Vec<ReaderState>, Error> {
    let mut names: Vec<CString> = context.list_readers_owned()?;
    if names.iter().any(|name| name.to_bytes() == wanted.as_bytes()) {
        names.retain(|name| name.to_bytes() == wanted.as_bytes());
    } else {
        names.retain(|name| name.to_bytes().starts_with(wanted.as_bytes()));
    }
    let mut states: Vec<_> = names.into_iter().map(|name| ReaderState::new(name, State::UNAWARE)).collect();
    if !states.is_empty() {
        context.get_status_change(SLICE, &mut states)?;
    }
    Ok(states)
}

fn holds_card(state: &ReaderState) -> bool {
    state.event_state().contains(State::PRESENT) && !state.event_state().contains(State::MUTE)
}

fn name(state: &ReaderState) -> String {
    state.name().to_string_lossy().into_owned()
}
