//! A reader behind the PC/SC service, used within one transaction.
//!
//! The PC/SC library knows no time limits and its calls block, so it lives in a thread of its own: a call that hangs
//! costs that thread, not the program.

mod reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pcsc::{Disposition, Error, ShareMode};

use crate::apdu::Protocol;
use crate::link::handover::{Giver, Nothing, Taker, handover};
use crate::link::{Link, LinkError, Patience};

pub use reader::{Presence, Reader, Watch, readers};

/// The most bytes of a short response.
const MAX_RESPONSE: usize = 258;
/// What opening may take beyond the waiting for a card: power up and the transaction of another program.
const OPENING: Duration = Duration::from_secs(10);
/// What giving up the card may take before it is left to the service.
const CLOSING: Duration = Duration::from_secs(2);

/// So many calls may hang at a time; while they do, no other is begun, so that a service that hangs for months does not
/// cost a thread each time that it is tried.
const MAX_HANGING: usize = 8;
/// The calls into the library that have not come back.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// A call into the library, counted until it comes back.
struct Call;

impl Call {
    fn begin() -> Result<Self, LinkError> {
        if CALLS.fetch_add(1, Ordering::Relaxed) < MAX_HANGING {
            return Ok(Self);
        }
        CALLS.fetch_sub(1, Ordering::Relaxed);
        Err(LinkError::Timeout(format!("{MAX_HANGING} earlier calls of the PC/SC service hang; restart pcscd")))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A card in a reader, in a transaction that lasts until the value is dropped.
#[derive(Debug)]
pub struct PcscLink {
    /// To the thread; none once the link is given up.
    orders: Option<Giver<Order>>,
    answers: Taker<Result<Vec<u8>, LinkError>>,
    opened: Opened,
    command: Duration,
    /// A command that was not answered in time: what comes later would answer the wrong command.
    broken: bool,
}

#[derive(Debug, Clone)]
struct Opened {
    reader: String,
    protocol: Protocol,
}

#[derive(Debug)]
enum Order {
    Transmit(Vec<u8>),
    ResetWhenReleased,
}

impl PcscLink {
    /// Waits for a card in the reader of this name, or whose name begins so; an empty name means the first reader
    /// with a card.
    pub fn open(reader: &str, patience: &Patience) -> Result<Self, LinkError> {
        let (orders, incoming) = handover();
        let (outgoing, answers) = handover();
        let (report, opened) = handover();
        let given_up = Arc::new(AtomicBool::new(false));
        let (worker_gave_up, name, limits) = (Arc::clone(&given_up), reader.to_owned(), *patience);
        let call = Call::begin()?;
        thread::Builder::new()
            .name("pcsc".to_owned())
            .spawn(move || {
                let _call = call;
                work(&name, &limits, &worker_gave_up, &report, &incoming, &outgoing);
            })
            .map_err(|error| LinkError::Io(format!("no thread for PC/SC: {error}")))?;
        let opened = opened.take(patience.wait.saturating_add(OPENING)).unwrap_or_else(|error| {
            given_up.store(true, Ordering::Relaxed);
            Err(match error {
                Nothing::Yet => LinkError::Timeout(
                    "the PC/SC service does not answer, or another program holds the card".to_owned(),
                ),
                Nothing::Ever => LinkError::Io("the PC/SC library failed".to_owned()),
            })
        })?;
        Ok(Self { orders: Some(orders), answers, opened, command: patience.command, broken: false })
    }

    /// The full name of the reader.
    pub fn reader(&self) -> &str {
        &self.opened.reader
    }
}

impl Link for PcscLink {
    fn protocol(&self) -> Protocol {
        self.opened.protocol
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let gone = || LinkError::Io("the PC/SC library failed".to_owned());
        let late = || LinkError::Timeout("the reader did not answer a command".to_owned());
        if self.broken {
            return Err(late());
        }
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        if !orders.give(Order::Transmit(command.to_vec())) {
            return Err(gone());
        }
        self.answers.take(self.command).unwrap_or_else(|error| {
            self.broken = true;
            Err(match error {
                Nothing::Yet => late(),
                Nothing::Ever => gone(),
            })
        })
    }

    fn reset_when_released(&mut self) {
        if let Some(orders) = &self.orders {
            orders.give(Order::ResetWhenReleased);
        }
    }
}

impl Drop for PcscLink {
    fn drop(&mut self) {
        self.orders = None;
        // The thread drops its end once the card is given up.
        while !self.broken && self.answers.take(CLOSING).is_ok() {}
    }
}

/// The thread: opens, says so, carries out orders until there are no more, gives up the card.
fn work(
    name: &str,
    patience: &Patience,
    given_up: &AtomicBool,
    report: &Giver<Result<Opened, LinkError>>,
    orders: &Taker<Order>,
    answers: &Giver<Result<Vec<u8>, LinkError>>,
) {
    let (mut card, reader) = match reader::connect(name, patience, given_up) {
        Ok(connected) => connected,
        Err(error) => {
            report.give(Err(error));
            return;
        }
    };
    let mut disposition = Disposition::LeaveCard;
    match begin(&mut card) {
        Ok(transaction) => {
            let protocol = transaction.status2_owned().map(|status| status.protocol2());
            let opened = match protocol {
                Ok(Some(pcsc::Protocol::T1)) => Ok(Opened { reader, protocol: Protocol::T1 }),
                Ok(_) => Ok(Opened { reader, protocol: Protocol::T0 }),
                Err(error) => Err(link_error(error)),
            };
            if report.give(opened) && !given_up.load(Ordering::Relaxed) {
                while let Ok(order) = orders.take(Duration::MAX) {
                    match order {
                        Order::Transmit(command) => {
                            let mut buffer = [0; MAX_RESPONSE];
                            let answer = transaction.transmit(&command, &mut buffer);
                            // Nobody waits for it where it took too long; what else was ordered counts all the same.
                            answers.give(answer.map(<[u8]>::to_vec).map_err(link_error));
                        }
                        Order::ResetWhenReleased => disposition = Disposition::ResetCard,
                    }
                }
            }
            let _ = transaction.end(disposition);
        }
        Err(error) => {
            report.give(Err(link_error(error)));
        }
    }
    let _ = card.disconnect(disposition);
}

/// Begins a transaction; after another program's reset the connection has to be renewed first.
fn begin(card: &mut pcsc::Card) -> Result<pcsc::Transaction<'_>, Error> {
    match card.transaction2() {
        Ok(transaction) => Ok(transaction),
        Err((card, Error::ResetCard)) => {
            card.reconnect(ShareMode::Shared, pcsc::Protocols::ANY, Disposition::LeaveCard)?;
            card.transaction()
        }
        Err((_, error)) => Err(error),
    }
}

/// What an error of the library means for a link.
fn link_error(error: Error) -> LinkError {
    let text = format!("PC/SC: {error}");
    match error {
        Error::RemovedCard | Error::ResetCard | Error::ReaderUnavailable => LinkError::Removed(text),
        Error::NoSmartcard | Error::NoService | Error::NoReadersAvailable | Error::UnknownReader => {
            LinkError::NoCard(text)
        }
        Error::Timeout | Error::WaitedTooLong => LinkError::Timeout(text),
        // The other errors are not ours to enumerate; all mean that the exchange failed.
        _ => LinkError::Io(text),
    }
}
