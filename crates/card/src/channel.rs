//! Commands on a logical channel, on top of a link: what T=0 and real cards make of an exchange is settled here.

use std::time::Duration;

use crate::apdu::{Command, GET_RESPONSE, MANAGE_CHANNEL, MAX_CHANNEL, Protocol, Response};
use crate::error::{CardError, CardErrorKind, Place};
use crate::link::{Handle, Link, LinkError, Opening, ToldSim};
use omadm_core::ids::Iccid;

/// The most commands that one reading sends, repeats and GET RESPONSE included.
const MAX_COMMANDS: u32 = 1_000;
/// The most bytes that one reading takes from a card.
const MAX_BYTES: usize = 256 * 1024;
/// The most that one command may return, over all GET RESPONSEs.
const MAX_RESPONSE: usize = 4096;

/// What commands are counted for (docs/card-files.md, "How it is read").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Finding and reading the Bootstrap Message.
    Bootstrap,
    /// ICCID, IMSI and AD.
    Identity,
}

/// Where commands go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A logical channel that is named in the class, 0 to 19.
    Logical(u8),
    /// One that the link opened.
    Opened(Handle),
}

impl Channel {
    /// The one that is always open.
    pub const BASIC: Self = Self::Logical(0);
}

/// How many commands went to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// For the Bootstrap Message, opening and closing the channel included.
    pub bootstrap: u32,
    /// For ICCID, IMSI and AD.
    pub identity: u32,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u32 {
        self.bootstrap.saturating_add(self.identity)
    }
}

/// A card with the limits of one reading: commands, bytes, time.
pub struct Card<'a> {
    link: &'a mut dyn Link,
    now: &'a dyn Fn() -> Duration,
    deadline: Duration,
    bytes: usize,
    counts: Counts,
    purpose: Purpose,
    fast: bool,
}

impl<'a> Card<'a> {
    /// `now` tells the time since some fixed moment; from it on the reading may last for `limit`.
    pub fn new(link: &'a mut dyn Link, now: &'a dyn Fn() -> Duration, limit: Duration) -> Self {
        let deadline = now().saturating_add(limit);
        Self { link, now, deadline, bytes: 0, counts: Counts::default(), purpose: Purpose::Bootstrap, fast: false }
    }

    /// The commands so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How commands travel on the link.
    pub fn protocol(&self) -> Protocol {
        self.link.protocol()
    }

    /// Whether files are read on the short way: by short identifiers, and without parameters that nobody needs.
    pub fn is_fast(&self) -> bool {
        self.fast
    }

    /// Chooses the short way or the plain one, which is that of a new value; says which it was before.
    pub fn set_fast(&mut self, fast: bool) -> bool {
        std::mem::replace(&mut self.fast, fast)
    }

    /// Whether the basic channel is ours too.
    pub fn is_exclusive(&self) -> bool {
        self.link.is_exclusive()
    }

    /// What the commands from now on are counted for; gives back what it was before.
    pub fn count_for(&mut self, purpose: Purpose) -> Purpose {
        std::mem::replace(&mut self.purpose, purpose)
    }

    /// See [`Link::reset_when_released`].
    pub fn reset_when_released(&mut self) {
        self.link.reset_when_released();
    }

    /// Sends a command on a channel and gives the whole response: 61xx is fetched, 6Cxx repeated with that Le.
    /// Any other status word is for the caller to judge.
    pub fn send(&mut self, channel: Channel, command: &Command) -> Result<Response, CardError> {
        let mut response = self.exchange(channel, command)?;
        if response.status.sw1() == 0x6C && command.le.is_some() {
            let le = response.status.sw2();
            // On T=0 a case 4 command has no Le to correct; its answer is fetched.
            let again = match (self.link.protocol(), command.data.is_empty()) {
                (Protocol::T0, false) => Command::case2(GET_RESPONSE, 0, 0, le),
                (Protocol::T0, true) | (Protocol::T1, _) => Command { le: Some(le), ..command.clone() },
            };
            response = self.exchange(channel, &again)?;
        }
        // On a basic channel that is not ours nothing is fetched: what is waiting there may be another's.
        let may_fetch = channel != Channel::BASIC || self.link.is_exclusive();
        let mut data = Vec::new();
        while may_fetch && response.status.sw1() == 0x61 {
            data.append(&mut response.data);
            if data.len() > MAX_RESPONSE {
                return Err(CardError::new(
                    CardErrorKind::Io,
                    Place::Link,
                    format!("the answer to one command has more than {MAX_RESPONSE} bytes"),
                ));
            }
            let le = response.status.sw2();
            response = self.exchange(channel, &Command::case2(GET_RESPONSE, 0, 0, le))?;
            if response.status.sw1() == 0x6C {
                let le = response.status.sw2();
                response = self.exchange(channel, &Command::case2(GET_RESPONSE, 0, 0, le))?;
            }
        }
        data.append(&mut response.data);
        Ok(Response { data, status: response.status })
    }

    /// Opens a logical channel and gives its number; none where the card refuses. Where nobody can tell whether one was
    /// opened, and which, the card is reset when the link is given up.
    pub fn open_channel(&mut self) -> Result<Option<Channel>, CardError> {
        let response = match self.send(Channel::BASIC, &Command::case2(MANAGE_CHANNEL, 0, 0, 1)) {
            Ok(response) => response,
            Err(error) => {
                // A channel is gone with its card.
                if !matches!(error.kind, CardErrorKind::Removed | CardErrorKind::NoCard) {
                    self.link.reset_when_released();
                }
                return Err(error);
            }
        };
        match response.data.as_slice() {
            [channel @ 1..=MAX_CHANNEL] if response.status.is_ok() => Ok(Some(Channel::Logical(*channel))),
            [] if !response.status.is_ok() => Ok(None),
            _ => {
                self.link.reset_when_released();
                Ok(None)
            }
        }
    }

    /// Opens a channel with an application selected, where the link does that itself.
    pub fn open_application(&mut self, aid: &[u8]) -> Result<Opening, CardError> {
        self.is_in_time()?;
        let opening = self.link.open_application(aid)?;
        if opening != Opening::NotOffered {
            self.count();
        }
        Ok(opening)
    }

    /// See [`Link::tell_iccid`].
    pub fn tell_iccid(&mut self) -> Result<Option<Iccid>, CardError> {
        self.is_in_time()?;
        Ok(self.link.tell_iccid()?)
    }

    /// See [`Link::tell_sim`].
    pub fn tell_sim(&mut self) -> Result<Option<ToldSim>, CardError> {
        self.is_in_time()?;
        Ok(self.link.tell_sim()?)
    }

    /// See [`Link::tell_dir`].
    pub fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, CardError> {
        self.is_in_time()?;
        Ok(self.link.tell_dir()?)
    }

    /// Closes a channel. That it cannot be closed is no reason to throw away what was read: the card is reset then when the
    /// link is given up.
    pub fn close_channel(&mut self, channel: Channel) {
        // Beyond any limit: a channel left open is missing to the next reading.
        match channel {
            Channel::BASIC => {}
            Channel::Logical(number) => {
                let close = Command::case1(MANAGE_CHANNEL, 0x80, number).encode(0, self.link.protocol());
                // A card may be disturbed once.
                for _ in 0..2 {
                    self.count();
                    match self.link.transmit(&close).map(Response::parse) {
                        Ok(Some(response)) if response.status.is_ok() => return,
                        Ok(Some(_) | None) => {}
                        Err(LinkError::Removed(_) | LinkError::NoCard(_)) => return,
                        // A modem may be busy for a moment.
                        Err(LinkError::Io(_)) if !self.link.is_exclusive() => {}
                        Err(LinkError::Timeout(_) | LinkError::Io(_)) => break,
                    }
                }
                self.link.reset_when_released();
            }
            Channel::Opened(application) => {
                self.count();
                self.link.close_application(application);
            }
        }
    }

    fn is_in_time(&self) -> Result<(), CardError> {
        if (self.now)() < self.deadline {
            return Ok(());
        }
        Err(CardError::new(
            CardErrorKind::Timeout,
            Place::Link,
            "the card took longer than the time limit of a reading; see [card] timeout",
        ))
    }

    fn exchange(&mut self, channel: Channel, command: &Command) -> Result<Response, CardError> {
        self.is_in_time()?;
        if self.counts.total() >= MAX_COMMANDS || self.bytes >= MAX_BYTES {
            return Err(CardError::new(
                CardErrorKind::Io,
                Place::Link,
                format!(
                    "stopped after {} commands and {} bytes; the card answers without end",
                    MAX_COMMANDS, self.bytes
                ),
            ));
        }
        self.count();
        let protocol = self.link.protocol();
        let answer = match channel {
            Channel::Logical(number) => self.link.transmit(&command.encode(number, protocol)),
            Channel::Opened(application) => self.link.transmit_to(application, &command.encode(0, protocol)),
        };
        if let Err(LinkError::Timeout(_)) = &answer {
            // A card that keeps silent may do so until its reset.
            self.link.reset_when_released();
        }
        let answer = answer?;
        self.bytes = self.bytes.saturating_add(answer.len());
        Response::parse(answer).ok_or_else(|| {
            CardError::new(
                CardErrorKind::Io,
                Place::Link,
                "the card answered with fewer than the two bytes of a status",
            )
        })
    }

    fn count(&mut self) {
        match self.purpose {
            Purpose::Bootstrap => self.counts.bootstrap += 1,
            Purpose::Identity => self.counts.identity += 1,
        }
    }
}
