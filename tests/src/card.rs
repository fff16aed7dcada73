//! Virtual cards in readers.

use std::path::{Path, PathBuf};

use crate::{Process, omadm, until};

/// A private pcscd, or a plain socket, with a card in it; the card is out when this value is dropped.
#[derive(Debug)]
pub struct CardReader {
    process: Process,
    socket: PathBuf,
}

impl CardReader {
    /// Puts the card of this file into the reader of a private pcscd.
    pub fn with_pcscd(card: &Path, socket: &Path) -> Self {
        Self::start("--pcscd", card, socket)
    }

    /// Puts the card of this file behind a unix socket with the framing of vpcd.
    pub fn on_socket(card: &Path, socket: &Path) -> Self {
        Self::start("--socket", card, socket)
    }

    /// Puts the card of this file into a virtual modem, whose serial port is there under this path.
    pub fn in_modem(card: &Path, port: &Path) -> Self {
        Self::start("--modem", card, port)
    }

    /// The same as [`CardReader::with_pcscd`], with more options of `omadm card run`.
    pub fn with_pcscd_and(card: &Path, socket: &Path, more: &[String]) -> Self {
        Self::start_with("--pcscd", card, socket, more)
    }

    /// The same as [`CardReader::in_modem`], with more options of `omadm card run`.
    pub fn in_modem_and(card: &Path, port: &Path, more: &[String]) -> Self {
        Self::start_with("--modem", card, port, more)
    }

    fn start(place: &str, card: &Path, socket: &Path) -> Self {
        Self::start_with(place, card, socket, &[])
    }

    fn start_with(place: &str, card: &Path, socket: &Path, more: &[String]) -> Self {
        let mut command = omadm();
        command.args(["card", "run", "--json"]).arg(card).arg(place).arg(socket).args(more);
        let process = Process::start(&mut command, &socket.with_extension("log"));
        process.line(15);
        until("the socket is there", 5, || socket.exists().then_some(()));
        Self { process, socket: socket.to_owned() }
    }

    /// The unix socket, or the serial port.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Takes the card out and ends the reader.
    pub fn remove(self) {
        self.process.stop();
        until("the socket is gone", 5, || (!self.socket.exists()).then_some(()));
    }
}
