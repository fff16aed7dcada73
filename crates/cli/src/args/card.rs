//! `omadm card`.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Listing;
use super::making::{BatchCards, CreateCard, ScriptCard, WriteCard};

/// The commands of `omadm card`.
#[derive(Debug, Subcommand)]
pub(crate) enum CardCommand {
    /// Make a virtual card that holds a Bootstrap Message
    #[command(after_help = "\
Examples:
  omadm card create --message message.json --pin pin.txt -o card.json
  omadm card create --profile meters --pin pin.txt -o card.json
  omadm card create --message message.json --lwm2m lwm2m.bin -o card.json    one card for both kinds of devices

A message with secrets belongs behind a PIN (Profile P-36). The card file holds PIN and message and gets mode 0600.")]
    Create(CreateCard),
    /// Write a message, or other objects, to a card that is there already, with the key of its administrator
    #[command(after_help = "\
Examples:
  omadm card write --message message.json --adm-file adm.txt --dry-run    every command, and nothing written
  omadm card write --profile meters --behind-pin --pin-file pin.txt --adm-file adm.txt
  omadm card write card.json --lwm2m lwm2m.bin --adm-file adm.txt

The key is sent once, and never as the last try. What is written is read back.")]
    Write(WriteCard),
    /// Write a script that makes such a card, for a bureau of your own
    #[command(after_help = "\
Examples:
  omadm card script --message message.json --as apdu -o card.apdu
  omadm card script --profile meters --pin pin.txt --as pysim --create-files -o card.pysim")]
    Script(ScriptCard),
    /// Make a card file or script for each row of a CSV file
    #[command(after_help = "\
Examples:
  omadm card batch cards.csv --profile meters --make-pins pins.csv --out cards
  omadm card batch cards.csv --message template.json --as apdu --out cards

The column iccid is needed; imsi, mnc_length, pin and adm are known; any other fills in its {name} in the message.
A batch that was interrupted goes on where it was when the same command is given again.")]
    Batch(BatchCards),
    /// Print the Bootstrap Message on a card
    #[command(after_help = "\
Example:
  omadm card read card.json --pin-file pin.txt")]
    Read(ReadCard),
    /// Show the files of a card, what they mean, and what a DM Client would do with it
    #[command(after_help = "\
Example:
  omadm card inspect --reader 'Virtual PCD 00 00'")]
    Inspect(ReadCard),
    /// Put a virtual card into a virtual reader, until Ctrl-C
    #[command(after_help = "\
Examples:
  omadm card run card.json --vpcd 127.0.0.1:35963      into the reader of a running pcscd
  omadm card run card.json --socket card.sock          for omadm-client with link = \"socket:card.sock\"
  omadm card run card.json --pcscd pcscd.sock          with a private pcscd; point PCSCLITE_CSOCK_NAME to it")]
    Run(RunCard),
    /// List the PC/SC readers and the cards in them
    #[command(after_help = "\
Example:
  omadm card readers --json")]
    Readers {
        #[command(flatten)]
        listing: Listing,
    },
}

/// Which card is meant, for reading; without any the first PC/SC reader with a card in it.
#[derive(Debug, Args)]
pub(crate) struct ReadCard {
    #[command(flatten)]
    pub(crate) card: Ask,
    /// The file with the PIN; it is tried once, and only if the card has more than one try left
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// A card in a file, a reader or behind a socket.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Ask {
    /// The card file of a virtual card
    pub(crate) file: Option<PathBuf>,
    /// A PC/SC reader: its name or a part of it
    #[arg(long, value_name = "NAME")]
    pub(crate) reader: Option<String>,
    /// A socket on which a virtual card runs
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

/// Options of `omadm card run`.
#[derive(Debug, Args)]
pub(crate) struct RunCard {
    /// The card file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Where the virtual card is put.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Place {
    /// The vpcd reader that listens there
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) vpcd: Option<SocketAddr>,
    /// A unix socket to listen on, with the framing of vpcd
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Start a private pcscd that listens on this unix socket, with one reader
    #[arg(long, value_name = "SOCKET")]
    pub(crate) pcscd: Option<PathBuf>,
}
