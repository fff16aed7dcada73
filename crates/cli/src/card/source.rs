//! Where a card is: in a file, in a reader, behind a socket.

use omadm_card::image::CardImage;
use omadm_card::link::exec::ExecLink;
use omadm_card::link::vpcd::{Address, SocketLink};
use omadm_card::link::{Link, LinkError, Patience};
use omadm_card::{CardError, CardErrorKind, VirtualUicc};
use omadm_core::secret::Secret;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::args::{self, Ask};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::private;

/// A person waits: a card that is there answers at once.
const PATIENCE: Patience =
    Patience { wait: Duration::from_secs(3), empty: Duration::from_secs(1), command: Duration::from_secs(10) };

/// Opens the card that is meant.
pub(super) fn open(ask: &Ask) -> Result<Box<dyn Link>, Failure> {
    if let Some(path) = &ask.file {
        return Ok(Box::new(VirtualUicc::new(&image(path)?)));
    }
    if let Some(path) = &ask.socket {
        return socket(path);
    }
    match &ask.link {
        Some(link) => open_link(link),
        None => reader(ask.reader.as_deref().unwrap_or_default()),
    }
}

/// Opens this link.
fn open_link(link: &args::Link) -> Result<Box<dyn Link>, Failure> {
    match link {
        args::Link::Auto => automatic(),
        args::Link::Pcsc => reader(""),
        args::Link::At(path) => modem(path),
        args::Link::Exec(command) => match ExecLink::open(command, &PATIENCE, output::aside) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) => Err(link_failure(error)),
        },
        args::Link::Socket(path) => socket(path),
        args::Link::File(path) => Ok(Box::new(VirtualUicc::new(&image(path)?))),
    }
}

fn socket(path: &Path) -> Result<Box<dyn Link>, Failure> {
    match SocketLink::open(&Address::from(path), &PATIENCE) {
        Ok(link) => Ok(Box::new(link)),
        Err(error) => Err(link_failure(error)),
    }
}

#[cfg(any(feature = "pcsc", feature = "serial"))]
fn automatic() -> Result<Box<dyn Link>, Failure> {
    let link = omadm_card::link::automatic::open("", &PATIENCE);
    link.map_err(|error| link_failure(error).advise("`omadm card readers` lists what there is"))
}

#[cfg(not(any(feature = "pcsc", feature = "serial")))]
fn automatic() -> Result<Box<dyn Link>, Failure> {
    Err(lacks("pcsc"))
}

#[cfg(feature = "serial")]
fn modem(path: &Path) -> Result<Box<dyn Link>, Failure> {
    match omadm_card::link::serial::open(path, &PATIENCE) {
        Ok(link) => Ok(Box::new(link)),
        Err(error) => Err(link_failure(error)),
    }
}

#[cfg(not(feature = "serial"))]
fn modem(_: &Path) -> Result<Box<dyn Link>, Failure> {
    Err(lacks("serial"))
}

#[cfg(feature = "pcsc")]
fn reader(name: &str) -> Result<Box<dyn Link>, Failure> {
    match omadm_card::link::pcsc::PcscLink::open(name, &PATIENCE) {
        Ok(link) => Ok(Box::new(link)),
        Err(error) => Err(link_failure(error).advise("`omadm card readers` lists the readers; pcscd has to run")),
    }
}

#[cfg(not(feature = "pcsc"))]
fn reader(_: &str) -> Result<Box<dyn Link>, Failure> {
    Err(lacks("pcsc"))
}

#[cfg(any(not(feature = "pcsc"), not(feature = "serial")))]
fn lacks(feature: &str) -> Failure {
    Failure::usage(format!("this omadm was built without the feature `{feature}`"))
        .advise("name a card file, or use --socket or --link")
}

/// Reads a card file.
pub(super) fn image(path: &Path) -> Result<CardImage, Failure> {
    let mut text = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(omadm_card::image::MAX_JSON as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| Failure::unreadable(path, &error))?;
    CardImage::from_json(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The PIN in a file that nobody else may read.
pub(super) fn pin(path: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let digits = private::line(path, "a PIN")?;
    if !(4..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Failure::usage(format!("{} holds no PIN: 4 to 8 digits are expected", path.display())));
    }
    Ok(Some(Secret::from(digits.as_str())))
}

/// A link that cannot be had.
pub(super) fn link_failure(error: LinkError) -> Failure {
    let exit = match error {
        LinkError::NoCard(_) => Exit::Nothing,
        LinkError::Removed(_) | LinkError::Timeout(_) | LinkError::Io(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// A card that gave no message.
pub(super) fn card_failure(error: &CardError) -> Failure {
    let exit = match error.kind {
        CardErrorKind::NoCard | CardErrorKind::NoPkcs15 | CardErrorKind::NoDmObject => Exit::Nothing,
        CardErrorKind::NotAllowed | CardErrorKind::PinNeeded | CardErrorKind::PinRefused => Exit::Denied,
        CardErrorKind::HoldsDm1x
        | CardErrorKind::NoLogicalChannel
        | CardErrorKind::Io
        | CardErrorKind::Removed
        | CardErrorKind::Malformed
        | CardErrorKind::Timeout => Exit::Failed,
    };
    Failure::new(exit, format!("{error} [{}]", error.reason()))
}
