//! The state in memory and in its file, and when the one is written to the other.

use super::file::{Damage, Loaded, StateError, StateFile};
use super::record::{SessionNote, State};
use super::storage::Storage;
use omadm_core::time::Timestamp;
use zeroize::Zeroizing;

/// The time of the last session alone is written at most this often, in seconds (spec 2.2).
const SESSION_TIME_WRITTEN: u64 = 24 * 3600;

/// The state of a client that may change it.
///
/// Storage may fail at any time. The state then goes on in memory, [`trouble`](Self::trouble) says what is wrong, and
/// [`retry`](Self::retry) makes it good as soon as that can be done. What stands in the file's place is never replaced
/// before it was read or put aside.
pub struct Memory {
    file: StateFile,
    state: State,
    /// What the file holds; `None` where that is not known for sure.
    durable: Option<State>,
    /// Whether the file was read or put aside, so that it may be replaced.
    ours: bool,
    trouble: Option<String>,
}

impl Memory {
    /// Reads the state. A damaged file is put aside, which the second value says in a sentence. A file that cannot be
    /// read, or is another program's, is left as it is, and a fresh state lives in memory.
    pub fn open(storage: Box<dyn Storage>, name: &str, now: Timestamp) -> (Self, Option<String>) {
        let file = StateFile::new(storage, name);
        let mut memory = Self { file, state: State::default(), durable: None, ours: false, trouble: None };
        let news = match memory.read(now) {
            Ok(found) => {
                let news = found.news();
                memory.own(found.state());
                memory.state = memory.durable.clone().unwrap_or_default();
                news
            }
            Err(error) => {
                memory.fails(&error);
                None
            }
        };
        (memory, news)
    }

    /// Reads the state without changing anything; `Err` in the value says how the file is damaged.
    pub fn peek(storage: Box<dyn Storage>, name: &str) -> Result<Result<State, Damage>, StateError> {
        decode(StateFile::new(storage, name).load()?)
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to be changed; [`save`](Self::save) makes it durable.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// What keeps the state from being durable, as a sentence.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes the state if it changed in a way that is worth it (spec 2.2); says whether it was written. What could not be
    /// written is tried again with the next change, and by [`retry`](Self::retry).
    pub fn save(&mut self, now: Timestamp) -> Result<bool, StateError> {
        let newest = self.state.newest_session();
        if let Some(durable) = &self.durable
            // In the file it may also lie ahead, from a clock that was wrong then.
            && newest.0.abs_diff(durable.newest_session().0) < SESSION_TIME_WRITTEN
            && durable.notes.written.since(self.state.notes.written) < SESSION_TIME_WRITTEN
            && self.state.weighs_the_same(durable)
        {
            return Ok(false);
        }
        self.write(now)?;
        Ok(true)
    }

    /// Writes the state if sessions ended in another way than the file says.
    pub fn save_session_notes(&mut self, now: Timestamp) -> Result<(), StateError> {
        let endings = |state: &State| {
            let ending = |note: &SessionNote| (note.ended, note.reason, note.message.clone());
            state.notes.sessions.iter().map(|(srv_id, note)| (srv_id.clone(), ending(note))).collect::<Vec<_>>()
        };
        if self.durable.as_ref().is_some_and(|durable| endings(durable) == endings(&self.state)) {
            return Ok(());
        }
        self.write(now)
    }

    fn write(&mut self, now: Timestamp) -> Result<(), StateError> {
        if !self.ours {
            return Err(StateError::Kept(self.trouble.clone().unwrap_or_default()));
        }
        self.state.notes.written = now;
        match encode(&self.state).and_then(|body| self.file.replace(&body)) {
            Ok(()) => {
                self.durable = Some(self.state.clone());
                self.trouble = None;
                Ok(())
            }
            Err(error) => {
                // The file may hold the old state or the new one.
                self.durable = None;
                self.fails(&error);
                Err(error)
            }
        }
    }

    /// Changes the state and makes the change durable; if that fails, the state is as before.
    pub fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        let before = self.state.clone();
        change(&mut self.state);
        self.save_or_restore(before, now)
    }

    fn save_or_restore(&mut self, before: State, now: Timestamp) -> Result<(), StateError> {
        match self.save(now) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.state = before;
                Err(error)
            }
        }
    }

    /// Changes the state, and makes the change durable if storage lets that happen; else it lives in memory until it does.
    ///
    /// # Errors
    /// If the changed state could not be written by any storage; then the state is as before.
    pub fn change_or_hold(&mut self, now: Timestamp, change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        let before = self.state.clone();
        change(&mut self.state);
        match self.save(now) {
            Err(error @ (StateError::Encode(_) | StateError::TooLarge { .. })) => {
                self.state = before;
                Err(error)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Replaces the state by a fresh one, which knows of no later time than `now`, and whatever is in the file, readable or
    /// not; what was put aside goes too, since it may hold secrets of old accounts. Refused PINs are kept where they can be
    /// read, since sending one again would cost a try. After a power cut the old state is there or the fresh one.
    pub fn begin_anew(&mut self, now: Timestamp) -> Result<(), StateError> {
        if !self.ours {
            match self.file.load() {
                // A person wants it so.
                Ok(_) | Err(StateError::Newer { .. }) => self.ours = true,
                Err(error) => return Err(error),
            }
        }
        // First, so that a reset that is over has left nothing.
        self.file.forget_what_was_set_aside()?;
        let refused_pins = self.state.refused_pins.clone();
        let before = std::mem::replace(&mut self.state, State { refused_pins, ..State::default() });
        // Written in any case: also where only notes change, among them the floor of the clock.
        let written = self.write(now);
        if written.is_err() {
            self.state = before;
        }
        written
    }

    /// Where there is [`trouble`](Self::trouble): tries to make it good, and says so in a sentence if it is.
    ///
    /// A file that could not be read at the start and can be now is taken up again, unless a session succeeded meanwhile:
    /// then it is put aside, and the state in memory takes its place.
    pub fn retry(&mut self, now: Timestamp) -> Option<String> {
        self.trouble.as_ref()?;
        match self.try_again(now) {
            Ok(news) => {
                self.trouble = None;
                Some(news)
            }
            Err(error) => {
                self.fails(&error);
                None
            }
        }
    }

    /// How often the file was replaced since the program started.
    pub fn replaced(&self) -> u64 {
        self.file.replaced()
    }

    fn try_again(&mut self, now: Timestamp) -> Result<String, StateError> {
        let mut news = "the state file can be used again".to_owned();
        if !self.ours {
            let found = self.read(now)?;
            news = found.news().unwrap_or(news);
            let works = self.state.newest_session() > Timestamp::default();
            match found {
                Found::State(found) => {
                    let refused = [found.refused_pins.clone(), self.state.refused_pins.clone()].concat();
                    if works {
                        let aside = self.file.set_aside(now)?;
                        news = format!(
                            "the state file can be read again; it is kept as {aside}, since an account works that was \
                             installed meanwhile"
                        );
                        self.own(State::default());
                    } else {
                        news = "the state file can be read again, and is taken up".to_owned();
                        let attempts = [found.attempts.clone(), self.state.attempts.clone()].concat();
                        self.state = (*found).clone();
                        self.state.set_attempts(attempts);
                        self.own(*found);
                    }
                    refused.into_iter().for_each(|pin| self.state.remember_refused_pin(pin));
                }
                found @ (Found::Nothing | Found::Aside(_)) => self.own(found.state()),
            }
        }
        self.save(now)?;
        Ok(news)
    }

    /// The file holds this, and may be replaced.
    fn own(&mut self, durable: State) {
        self.durable = Some(durable);
        self.ours = true;
    }

    fn fails(&mut self, error: &StateError) {
        match error {
            StateError::Storage { .. } | StateError::Newer { .. } | StateError::OtherProfile { .. } => {
                self.trouble = Some(format!("{error}; until that is mended, what changes is kept in memory only"));
            }
            StateError::Kept(_) | StateError::Encode(_) | StateError::TooLarge { .. } => {}
        }
    }

    fn read(&mut self, now: Timestamp) -> Result<Found, StateError> {
        match self.file.load()? {
            Loaded::Fresh => {
                // A program that was killed may have put it aside, which must not come undone when a new one is written.
                self.file.settle_what_was_set_aside()?;
                Ok(Found::Nothing)
            }
            loaded => match decode(loaded)? {
                Ok(state) => Ok(Found::State(Box::new(state))),
                Err(damage) => {
                    let aside = self.file.set_aside(now)?;
                    let news =
                        format!("the state file was damaged ({damage}); it is kept as {aside}, and all begins anew");
                    Ok(Found::Aside(news))
                }
            },
        }
    }
}

/// What stood in the file's place.
enum Found {
    /// No file.
    Nothing,
    /// A state.
    State(Box<State>),
    /// Something that was put aside, which this sentence says.
    Aside(String),
}

impl Found {
    fn state(self) -> State {
        match self {
            Self::Nothing | Self::Aside(_) => State::default(),
            Self::State(state) => *state,
        }
    }

    fn news(&self) -> Option<String> {
        match self {
            Self::Nothing | Self::State(_) => None,
            Self::Aside(news) => Some(news.clone()),
        }
    }
}

fn encode(state: &State) -> Result<Zeroizing<Vec<u8>>, StateError> {
    serde_json::to_vec(state).map(Zeroizing::new).map_err(|error| StateError::Encode(error.to_string()))
}

fn decode(loaded: Loaded) -> Result<Result<State, Damage>, StateError> {
    match loaded {
        Loaded::Fresh => Ok(Ok(State::default())),
        Loaded::Damaged(damage) => Ok(Err(damage)),
        Loaded::Body(body) => match serde_json::from_slice(&body).and_then(serde_json::from_value::<State>) {
            Ok(state) if state.profile == omadm_core::PROFILE => Ok(Ok(state)),
            Ok(state) => Err(StateError::OtherProfile { found: state.profile }),
            Err(_) => Ok(Err(Damage::Content)),
        },
    }
}
