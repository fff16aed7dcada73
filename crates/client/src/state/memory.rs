//! The state in memory and in its file, and when the one is written to the other.

use super::file::{Damage, Loaded, StateError, StateFile};
use super::record::State;
use super::storage::Storage;
use omadm_core::time::Timestamp;
use zeroize::Zeroizing;

/// The time of the last session alone is written at most this often, in seconds (spec 2.2).
const SESSION_TIME_WRITTEN: u64 = 24 * 3600;

/// The state of a client that may change it.
pub struct Memory {
    file: StateFile,
    state: State,
    /// What the file holds.
    durable: State,
}

impl Memory {
    /// Reads the state. A damaged file is put aside, which the second value says in a sentence.
    ///
    /// # Errors
    /// If storage fails, or a newer program wrote the state.
    pub fn open(storage: Box<dyn Storage>, name: &str, now: Timestamp) -> Result<(Self, Option<String>), StateError> {
        let mut file = StateFile::new(storage, name);
        let (state, warning) = match decode(file.load()?)? {
            Ok(state) => (state, None),
            Err(damage) => {
                let aside = file.set_aside(now)?;
                let warning =
                    format!("the state file was damaged ({damage}); it is kept as {aside}, and all begins anew");
                (State::default(), Some(warning))
            }
        };
        Ok((Self { file, durable: state.clone(), state }, warning))
    }

    /// Reads the state without changing anything; `Err` in the value says how the file is damaged.
    pub fn peek(storage: Box<dyn Storage>, name: &str) -> Result<Result<State, Damage>, StateError> {
        decode(StateFile::new(storage, name).load()?)
    }

    /// Replaces whatever is in the file, readable or not, by a fresh state; refused PINs are kept where they can be read,
    /// since sending one again would cost a try.
    pub fn begin_anew(storage: Box<dyn Storage>, name: &str, now: Timestamp) -> Result<Self, StateError> {
        let mut file = StateFile::new(storage, name);
        let old = match file.load().and_then(decode) {
            Ok(old) => old.unwrap_or_default(),
            Err(StateError::Newer { .. } | StateError::OtherProfile { .. }) => State::default(),
            Err(error) => return Err(error),
        };
        let mut state = State { refused_pins: old.refused_pins, ..State::default() };
        state.notes.written = now;
        file.replace(&encode(&state)?)?;
        Ok(Self { file, durable: state.clone(), state })
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to be changed; [`save`](Self::save) makes it durable.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Writes the state if it changed in a way that is worth it (spec 2.2); says whether it was written. What could not be
    /// written is tried again with the next change.
    pub fn save(&mut self, now: Timestamp) -> Result<bool, StateError> {
        let session_time_due = self.state.newest_session().since(self.durable.newest_session()) >= SESSION_TIME_WRITTEN;
        if !session_time_due && self.state.weighty() == self.durable.weighty() {
            return Ok(false);
        }
        self.state.notes.written = now;
        self.file.replace(&encode(&self.state)?)?;
        self.durable = self.state.clone();
        Ok(true)
    }

    /// Changes the state and makes the change durable; if that fails, the state is as before.
    pub fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut State)) -> Result<(), StateError> {
        let before = self.state.clone();
        change(&mut self.state);
        match self.save(now) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.state = before;
                Err(error)
            }
        }
    }

    /// How often the file was replaced since the program started.
    pub fn replaced(&self) -> u64 {
        self.file.replaced()
    }
}

fn encode(state: &State) -> Result<Zeroizing<Vec<u8>>, StateError> {
    serde_json::to_vec(state).map(Zeroizing::new).map_err(|error| StateError::Encode(error.to_string()))
}

fn decode(loaded: Loaded) -> Result<Result<State, Damage>, StateError> {
    match loaded {
        Loaded::Fresh => Ok(Ok(State::default())),
        Loaded::Damaged(damage) => Ok(Err(damage)),
        Loaded::Body(body) => match serde_json::from_slice::<State>(&body) {
            Ok(state) if state.profile == omadm_core::PROFILE => Ok(Ok(state)),
            Ok(state) => Err(StateError::OtherProfile { found: state.profile }),
            Err(_) => Ok(Err(Damage::Content)),
        },
    }
}
