//! One command, one answer, within bounds of time and bytes.

use std::time::Duration;

use super::lines::{Line, Lines, Question, Refusal, classify};
use super::{Port, PortError};
use crate::link::LinkError;

/// The most bytes that a modem may send before it has answered one command.
const MAX_BYTES: usize = 64 * 1024;
/// The most lines that one answer has; more are left out.
const MAX_VALUES: usize = 16;
/// How much is read at a time, in bytes.
const ROOM: usize = 1_024;
/// How long the end of a late answer is waited for before another command is sent.
const LATE: Duration = Duration::from_secs(2);
/// How long a modem has to be quiet before it is asked the first time.
const QUIET: Duration = Duration::from_millis(30);
/// How long the answer to one AT is waited for.
const GREETING: Duration = Duration::from_secs(1);

/// The lines of an answer, without their names.
pub(super) type Values = Vec<String>;

/// A modem that is asked one thing at a time.
#[derive(Debug)]
pub(super) struct Dialogue<P> {
    port: P,
    lines: Lines,
    /// How long one answer may take.
    limit: Duration,
    /// An answer did not come in time: the next one to come may answer the wrong command.
    is_late: bool,
}

impl<P: Port> Dialogue<P> {
    pub(super) fn new(port: P, limit: Duration) -> Self {
        Self { port, lines: Lines::default(), limit, is_late: false }
    }

    pub(super) fn now(&self) -> Duration {
        self.port.now()
    }

    /// Lets this time pass; what comes meanwhile is left out.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), LinkError> {
        let end = self.port.now().saturating_add(time);
        self.drain(end, time, "a pause")
    }

    /// Waits until a modem answers AT with OK, at least once and at most for `wait`; false where none does. What it sent
    /// before is left out.
    pub(super) fn greet(&mut self, wait: Duration) -> Result<bool, LinkError> {
        let end = self.port.now().saturating_add(wait);
        let at = Question { command: "AT", names: &[], bare: |_| false };
        loop {
            let quiet_by = self.port.now().saturating_add(GREETING);
            self.drain(quiet_by, QUIET, "the greeting")?;
            self.is_late = false;
            match self.exchange(&at, GREETING.min(self.limit)) {
                Ok(Ok(_)) => {
                    let quiet_by = self.port.now().saturating_add(GREETING);
                    self.drain(quiet_by, QUIET, "the greeting")?;
                    self.is_late = false;
                    return Ok(true);
                }
                // A late ERROR to what somebody else asked.
                Ok(Err(_)) | Err(LinkError::Timeout(_)) => {}
                Err(error) => return Err(error),
            }
            if self.port.now() >= end {
                return Ok(false);
            }
        }
    }

    /// Asks. The inner error is the modem's refusal.
    pub(super) fn ask(&mut self, question: &Question<'_>) -> Result<Result<Values, Refusal>, LinkError> {
        if self.is_late {
            return Err(LinkError::Timeout("the modem did not answer an earlier command".to_owned()));
        }
        self.drain(self.port.now(), Duration::ZERO, name(question))?;
        self.exchange(question, self.limit)
    }

    /// Waits a little longer for the answer that did not come in time; none where it does not come, or none is late.
    pub(super) fn late_answer(&mut self, question: &Question<'_>) -> Option<Values> {
        if !self.is_late {
            return None;
        }
        let answer = self.await_answer(question, self.port.now().saturating_add(LATE));
        self.is_late = answer.is_err();
        answer.ok()?.ok()
    }

    /// Asks although an earlier answer may be late: for what has to be put back in any case.
    pub(super) fn ask_in_the_end(&mut self, question: &Question<'_>) -> Result<Result<Values, Refusal>, LinkError> {
        if self.is_late {
            let earlier = Question { command: "", names: &[], bare: |_| false };
            let _ = self.await_answer(&earlier, self.port.now().saturating_add(LATE));
            self.is_late = false;
            self.exchange(question, LATE.min(self.limit))
        } else {
            self.ask(question)
        }
    }

    fn exchange(&mut self, question: &Question<'_>, limit: Duration) -> Result<Result<Values, Refusal>, LinkError> {
        let end = self.port.now().saturating_add(limit);
        let line = format!("{}\r", question.command);
        let written = self.port.write(line.as_bytes(), limit).map_err(|error| failed(error, question));
        let answer = written.and_then(|()| self.await_answer(question, end));
        self.is_late = answer.is_err();
        answer
    }

    fn await_answer(&mut self, question: &Question<'_>, end: Duration) -> Result<Result<Values, Refusal>, LinkError> {
        let mut values = Vec::new();
        let mut bytes = 0;
        loop {
            while let Some(line) = self.lines.take() {
                match classify(&line, question) {
                    Line::Value(value) if values.len() < MAX_VALUES => values.push(value),
                    Line::Value(_) | Line::Other => {}
                    Line::Ok => return Ok(Ok(values)),
                    Line::Refused(refusal) => return Ok(Err(refusal)),
                }
            }
            let left = end.saturating_sub(self.port.now());
            let count = self.read(left).map_err(|error| failed(error, question))?;
            if count == 0 && self.port.now() >= end {
                return Err(failed(PortError::TimedOut, question));
            }
            bytes += count;
            if bytes > MAX_BYTES {
                return Err(endless(name(question)));
            }
        }
    }

    /// Leaves out what comes until it is quiet for `quiet`, or the end has come.
    fn drain(&mut self, end: Duration, quiet: Duration, what: &str) -> Result<(), LinkError> {
        let mut bytes = 0;
        loop {
            let now = self.port.now();
            let limit = quiet.min(end.saturating_sub(now));
            match self.read(limit) {
                Ok(0) => break,
                Ok(count) => bytes += count,
                Err(error) => return Err(failed_at(error, what)),
            }
            if bytes > MAX_BYTES {
                return Err(endless(what));
            }
            if self.port.now() >= end && quiet > Duration::ZERO {
                break;
            }
        }
        self.lines.clear();
        Ok(())
    }

    fn read(&mut self, limit: Duration) -> Result<usize, PortError> {
        let mut room = [0; ROOM];
        let count = self.port.read(&mut room, limit)?.min(ROOM);
        self.lines.push(room.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The command without its parameters, which may hold what is nobody's business.
fn name<'a>(question: &Question<'a>) -> &'a str {
    question.command.split(['=', '?']).next().unwrap_or_default()
}

fn endless(what: &str) -> LinkError {
    LinkError::Io(format!("{what}: the modem sent more than {MAX_BYTES} bytes and no answer"))
}

fn failed(error: PortError, question: &Question<'_>) -> LinkError {
    failed_at(error, name(question))
}

fn failed_at(error: PortError, what: &str) -> LinkError {
    match error {
        PortError::TimedOut => LinkError::Timeout(format!("{what} was not answered by the modem")),
        PortError::Gone => LinkError::Removed(format!("the modem went away during {what}")),
        PortError::Io(detail) => LinkError::Io(format!("the modem's port failed during {what}: {detail}")),
    }
}
