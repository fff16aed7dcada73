//! The serial port of a modem, and a virtual modem on a pseudo-terminal.

mod port;
mod pty;

use std::path::Path;
use std::time::Duration;

use crate::link::at::{AtLink, Presence};
use crate::link::{LinkError, Patience};

pub use port::SerialPort;
pub use pty::{ServedModem, SharedModem, serve, serve_modem};

/// How long a port is waited for that another program holds: somebody may just be looking at it.
const HELD: Duration = Duration::from_secs(3);

/// Waits for the port, for a modem behind it, and for a SIM in that, `patience.wait` in all.
pub fn open(path: &Path, patience: &Patience) -> Result<AtLink<SerialPort>, LinkError> {
    let (port, left) = SerialPort::open(path, patience.wait, HELD)?;
    AtLink::open(port, &Patience { wait: left, ..*patience }).map_err(|error| at(path, error))
}

/// What the modem at this port says of its slot, at once; none where it says nothing clear. `command` is how long one
/// command may take. A port that another program holds is an error.
pub fn presence(path: &Path, command: Duration) -> Result<Option<Presence>, LinkError> {
    let (port, _) = SerialPort::open(path, Duration::ZERO, Duration::ZERO)?;
    AtLink::presence(port, command).map_err(|error| at(path, error))
}

fn at(path: &Path, error: LinkError) -> LinkError {
    let place = |text: String| format!("{}: {text}", path.display());
    match error {
        LinkError::NoCard(text) => LinkError::NoCard(place(text)),
        LinkError::Removed(text) => LinkError::Removed(place(text)),
        LinkError::Timeout(text) => LinkError::Timeout(place(text)),
        LinkError::Io(text) => LinkError::Io(place(text)),
    }
}
