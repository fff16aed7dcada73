//! A card behind an executable that speaks one JSON object per line on its standard input and output: modems that speak
//! QMI or MBIM, libraries of vendors, secure elements (docs/card-links.md, "Executables").
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`lines`] | what is said, without any process |
//! | [`served`] | the other end of it, with a virtual UICC |
//! | `process` | the child process, its pipes and its end |
//! | `words` | a command taken apart without a shell |
//!
//! The executable runs in a process group of its own. It is killed with its group when the link is given up, and as soon as
//! it is late or breaks the protocol; what it writes to its standard error is told line by line. No thread is started.

pub mod lines;
mod process;
pub mod served;
mod words;

use std::thread;
use std::time::{Duration, Instant};

use omadm_core::ids::Iccid;

use crate::apdu::Protocol;
use crate::link::{Handle, Link, LinkError, Opening, Patience, ToldSim};
use lines::{Answer, Code, Request, Status};

pub use process::{Process, Tell, end_running};
pub use words::{NotACommand, words};

/// Between two looks for a card.
const PAUSE: Duration = Duration::from_millis(500);

/// Said where an executable does not say why there is no card.
const EMPTY: &str = "the executable says that the slot is empty";

/// How lines travel. An error ends the conversation.
pub trait Pipe {
    /// Sends a line, which has its end, and waits for the answer, without its end.
    ///
    /// # Errors
    /// If there is none in time, or none of at most [`lines::MAX_LINE`] bytes.
    fn ask(&mut self, line: &str) -> Result<Vec<u8>, LinkError>;
}

/// A link to a card behind an executable.
pub type ExecLink = Executable<Process>;

/// A card behind an executable, whose lines travel over `P`.
#[derive(Debug)]
pub struct Executable<P> {
    pipe: P,
    status: Status,
    /// Whether nobody was told of the status yet.
    fresh: bool,
    /// What was opened, by the number of its handle here; none once it is closed.
    opened: Vec<Option<String>>,
    /// After a break of the protocol nothing that follows can be trusted.
    broken: Option<LinkError>,
}

impl ExecLink {
    /// Starts the executable and waits for a card, at most `patience.wait`; a slot that it says is empty is believed after
    /// `patience.empty`. `tell` is told what it writes to its standard error.
    ///
    /// # Errors
    /// If it cannot be started, breaks the protocol, or has no card.
    pub fn open(command: &[String], patience: &Patience, tell: Tell) -> Result<Self, LinkError> {
        let began = Instant::now();
        // One that hangs must not keep the next one away for ever.
        let turn = process::turn(patience.command);
        let mut link = Self::begin(Process::start(command, patience.command, tell, turn)?)?;
        let mut empty_since = None;
        loop {
            let now = Instant::now();
            let (sentence, waited) = match link.look().cloned() {
                Ok(Status { card: true, .. }) => return Ok(link),
                Ok(status) => {
                    let empty = now.duration_since(*empty_since.get_or_insert(now)) >= patience.empty;
                    (status.why.unwrap_or_else(|| EMPTY.to_owned()), empty)
                }
                Err(LinkError::NoCard(sentence)) if link.broken.is_none() => {
                    empty_since = None;
                    (sentence, false)
                }
                Err(error) => return Err(error),
            };
            let left = patience.wait.saturating_sub(began.elapsed());
            if waited || left.is_zero() {
                return Err(LinkError::NoCard(sentence));
            }
            thread::sleep(PAUSE.min(left));
        }
    }

    /// Starts the executable for one look at its card, and ends it; `limit` is for each of its answers. While a link is open
    /// it waits, at most `wait`.
    ///
    /// # Errors
    /// If it cannot be started, breaks the protocol, or does not know, or if a link stays open.
    pub fn status_of(command: &[String], limit: Duration, wait: Duration, tell: Tell) -> Result<Status, LinkError> {
        let turn = process::turn(wait);
        if turn.is_none() {
            return Err(LinkError::Timeout("the executable is in use".to_owned()));
        }
        let mut link = Self::begin(Process::start(command, limit, tell, turn)?)?;
        link.look().cloned()
    }
}

impl<P: Pipe> Executable<P> {
    /// Says hello. Whether there is a card is told by [`Self::look`].
    ///
    /// # Errors
    /// If another version of the protocol is spoken, or none.
    pub fn begin(pipe: P) -> Result<Self, LinkError> {
        let status =
            Status { card: false, why: None, iccid: None, exclusive: false, protocol: Protocol::T1, sim: None };
        let mut link = Self { pipe, status, fresh: false, opened: Vec::new(), broken: None };
        link.expect(Request::Hello, lines::hello)?;
        Ok(link)
    }

    /// What carries the lines.
    pub fn pipe(&self) -> &P {
        &self.pipe
    }

    /// Asks which card there is.
    ///
    /// # Errors
    /// If that is not told.
    pub fn look(&mut self) -> Result<&Status, LinkError> {
        self.status = self.expect(Request::Status, lines::status)?;
        self.fresh = true;
        Ok(&self.status)
    }

    /// Asks, and takes a refusal for an error.
    fn expect<T>(
        &mut self,
        request: Request<'_>,
        read: impl Fn(&serde_json::Map<String, serde_json::Value>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let members = self.ask(request)?.map_err(lines::Refusal::link_error)?;
        let value = read(&members);
        self.keep(&value);
        value
    }

    fn ask(&mut self, request: Request<'_>) -> Result<Answer, LinkError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let answer = self.pipe.ask(&request.line()).and_then(|line| lines::answer(&line));
        self.keep(&answer);
        answer
    }

    /// Remembers that the conversation broke.
    fn keep<T>(&mut self, result: &Result<T, LinkError>) {
        if let Err(error) = result {
            self.broken = Some(error.clone());
        }
    }

    fn handle(&self, application: Handle) -> Result<String, LinkError> {
        let number = usize::try_from(application.0).ok();
        let handle = number.and_then(|number| self.opened.get(number)).cloned().flatten();
        handle.ok_or_else(|| LinkError::Io("this application is not open".to_owned()))
    }
}

impl<P: Pipe> Link for Executable<P> {
    fn protocol(&self) -> Protocol {
        self.status.protocol
    }

    fn is_exclusive(&self) -> bool {
        self.status.exclusive
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.expect(Request::Apdu { command, on: None }, lines::response)
    }

    fn open_application(&mut self, aid: &[u8]) -> Result<Opening, LinkError> {
        let members = match self.ask(Request::Open(aid))? {
            Ok(members) => members,
            Err(refusal) => {
                return match refusal.code {
                    Code::Unsupported => Ok(Opening::NotOffered),
                    Code::Other => Ok(Opening::Refused { status: refusal.status, detail: refusal.sentence }),
                    Code::NoCard | Code::NoLink | Code::Removed | Code::Timeout => Err(refusal.link_error()),
                };
            }
        };
        let handle = lines::opened(&members);
        self.keep(&handle);
        let number = u32::try_from(self.opened.len()).map_err(|error| LinkError::Io(error.to_string()))?;
        self.opened.push(Some(handle?));
        Ok(Opening::Opened(Handle(number)))
    }

    fn transmit_to(&mut self, application: Handle, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let handle = self.handle(application)?;
        self.expect(Request::Apdu { command, on: Some(&handle) }, lines::response)
    }

    fn close_application(&mut self, application: Handle) {
        let Ok(handle) = self.handle(application) else { return };
        if let Some(place) = usize::try_from(application.0).ok().and_then(|number| self.opened.get_mut(number)) {
            *place = None;
        }
        // What cannot be closed ends with the executable.
        let _ = self.ask(Request::Close(&handle));
    }

    fn tell_iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
        if !std::mem::take(&mut self.fresh) {
            self.look()?;
            self.fresh = false;
        }
        if !self.status.card {
            return Err(LinkError::Removed(self.status.why.clone().unwrap_or_else(|| EMPTY.to_owned())));
        }
        Ok(self.status.iccid.clone())
    }

    fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
        Ok(self.status.sim.clone())
    }

    fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        match self.ask(Request::Dir)? {
            Ok(members) => {
                let records = lines::dir(&members);
                self.keep(&records);
                records
            }
            // Many cannot read it; that is no failure.
            Err(_) => Ok(Vec::new()),
        }
    }
}
