//! The card's end: a virtual UICC in a vpcd reader, or behind a unix socket of its own.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Address, POWER_OFF, POWER_ON, RESET, SEND_ATR, Stream};
use crate::virtual_uicc::{Reaction, VirtualUicc};

/// Between two looks whether a slow card is still wanted.
const PAUSE: Duration = Duration::from_millis(20);

/// A virtual UICC that several places look at: the thread that serves it, and who wants to know what happened.
#[derive(Debug, Clone)]
pub struct SharedCard(Arc<Mutex<VirtualUicc>>);

impl SharedCard {
    /// Shares this card.
    pub fn new(card: VirtualUicc) -> Self {
        Self(Arc::new(Mutex::new(card)))
    }

    /// The card itself, for the moment.
    pub fn lock(&self) -> MutexGuard<'_, VirtualUicc> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A card that is being served by a thread of its own, until the value is dropped: that takes the card out.
#[derive(Debug)]
pub struct ServedCard {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    now: AtomicBool,
    /// The connection of the moment.
    stream: Mutex<Option<Stream>>,
    /// What to connect to so that the listener looks at `now`.
    listener: Option<Address>,
}

impl Stop {
    fn is_now(&self) -> bool {
        self.now.load(Ordering::SeqCst)
    }

    /// Waits so long, or until the end; whether it was not the end.
    fn wait(&self, time: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < time && !self.is_now() {
            thread::sleep(PAUSE.min(time.saturating_sub(start.elapsed())));
        }
        !self.is_now()
    }

    fn set_stream(&self, stream: Option<Stream>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
        if self.is_now() {
            self.end_connection();
        }
    }

    fn end_connection(&self) {
        if let Some(stream) = self.stream.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            stream.shutdown();
        }
    }
}

impl ServedCard {
    /// Waits until the reader ends the connection. A card behind a socket of its own is served for ever.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Whether the card is still in the reader.
    pub fn is_inserted(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for ServedCard {
    fn drop(&mut self) {
        self.stop.now.store(true, Ordering::SeqCst);
        self.stop.end_connection();
        if let Some(listener) = &self.stop.listener {
            let _ = listener.connect();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Puts a card into the vpcd reader at the other end of this connection.
pub fn serve(stream: Stream, card: SharedCard) -> io::Result<ServedCard> {
    let stop = Arc::new(Stop { stream: Mutex::new(Some(stream.try_clone()?)), ..Stop::default() });
    let thread = thread::Builder::new().name("virtual-card".to_owned()).spawn({
        let told = Arc::clone(&stop);
        move || answer(stream, &card, &told)
    })?;
    Ok(ServedCard { stop, thread: Some(thread) })
}

/// Serves a card behind a unix socket (0600), to one reader after the other. The socket must not exist yet; it is
/// removed with the value.
pub fn listen(path: &Path, card: SharedCard) -> io::Result<ServedCard> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let stop = Arc::new(Stop { listener: Some(Address::from(path)), ..Stop::default() });
    let (path, told) = (path.to_owned(), Arc::clone(&stop));
    let thread = thread::Builder::new().name("virtual-card".to_owned()).spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if told.is_now() {
                break;
            }
            told.set_stream(stream.try_clone().ok().map(Stream::Unix));
            answer(Stream::Unix(stream), &card, &told);
            told.set_stream(None);
        }
        let _ = fs::remove_file(path);
    })?;
    Ok(ServedCard { stop, thread: Some(thread) })
}

/// Answers one reader until it ends the connection, or the card is gone or was reset by somebody else: a reader that
/// only has this connection can be told so by its end only.
fn answer(mut stream: Stream, card: &SharedCard, stop: &Stop) {
    while let Ok(message) = stream.receive(None) {
        let reply = match message.as_slice() {
            [POWER_OFF | POWER_ON | RESET] => {
                card.lock().reset();
                continue;
            }
            [SEND_ATR] => card.lock().atr(),
            [] | [_] => continue,
            command => {
                let reaction = card.lock().react(command);
                match reaction {
                    Reaction::Answer(answer, after) if stop.wait(after) => answer,
                    Reaction::Silence => continue,
                    Reaction::Answer(..) | Reaction::WasReset | Reaction::Gone => break,
                }
            }
        };
        if stream.send(&reply).is_err() {
            break;
        }
    }
    stream.shutdown();
    card.lock().reset();
}
