//! `omadm card`.

use clap::{Args, Subcommand};
use omadm_card::virtual_modem::ModemQuirk;
use omadm_card::virtual_uicc::Fault;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

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
    /// Print the Bootstrap Message on a card, or another object as it is
    #[command(after_help = "\
Examples:
  omadm card read card.json --pin-file pin.txt
  omadm card read card.json --object 2.23.43.9.1 --out lwm2m.bin     the object of LwM2M")]
    Read(ReadCard),
    /// Show the files of a card, what they mean, what is wrong, and what a DM Client would do with it
    #[command(after_help = "\
Examples:
  omadm card inspect --reader 'Virtual PCD'
  omadm card inspect card.json --pin-file pin.txt --check

Without --check the exit code says whether the card could be looked at, not what was found.")]
    Inspect(InspectCard),
    /// Put a virtual card into a virtual reader, until Ctrl-C
    #[command(after_help = "\
Examples:
  omadm card run card.json --vpcd 127.0.0.1:35963      into the reader of a running pcscd
  omadm card run card.json --socket card.sock          for omadm-client with link = \"socket:card.sock\"
  omadm card run card.json --pcscd pcscd.sock          with a private pcscd; point PCSCLITE_CSOCK_NAME to it
  omadm card run card.json --modem modem               in an AT modem, for omadm-client with link = \"at:modem\"
  omadm card run card.json --socket card.sock --preset old-sim --fault mute@7
  omadm card read --link 'exec:omadm card run card.json --stdio'")]
    Run(RunCard),
    /// List the ways to a card: PC/SC readers, ports of modems, and why there is nothing where there is nothing
    #[command(after_help = "\
Examples:
  omadm card readers
  omadm card readers --link 'exec:omadm-card-modem qmi /dev/cdc-wdm0'
  omadm card readers --json")]
    Readers {
        /// Look at this link too: exec:COMMAND, socket:PATH, or a modem's port as at:PATH
        #[arg(long, value_name = "LINK")]
        link: Vec<Link>,
        #[command(flatten)]
        listing: Listing,
    },
}

/// Options of `omadm card inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectCard {
    #[command(flatten)]
    pub(crate) what: Asked,
    /// Exit with 1 where the card has an error or its message cannot be used, with 3 where there is no message, with 4 where
    /// it lies behind a PIN that is not given or is refused
    #[arg(long)]
    pub(crate) check: bool,
}

/// Which card is meant, for reading; without any the first PC/SC reader with a card in it.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    pub(crate) card: Ask,
    /// The file with the PIN; it is tried once, and only if the card has more than one try left
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Read the message on the short way, as `card.fast` does: with fewer commands
    #[arg(long)]
    pub(crate) fast: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Options of `omadm card read`.
#[derive(Debug, Args)]
pub(crate) struct ReadCard {
    #[command(flatten)]
    pub(crate) what: Asked,
    /// Read the data object with this identifier, as it is, such as 2.23.43.9.1 of LwM2M
    #[arg(long, value_name = "OID")]
    pub(crate) object: Option<omadm_card::pkcs15::oid::ObjectId>,
    /// Write it to this file, mode 0600, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A card in a file, a reader or behind a socket.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Ask {
    /// The card file of a virtual card
    pub(crate) file: Option<PathBuf>,
    /// A PC/SC reader: how its name begins, as `omadm card readers` lists it
    #[arg(long, value_name = "NAME")]
    pub(crate) reader: Option<String>,
    /// A socket on which a virtual card runs
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Any link, as in the configuration of omadm-client: auto, pcsc, at:PATH, exec:COMMAND, socket:PATH, or a card file
    #[arg(long, value_name = "LINK")]
    pub(crate) link: Option<Link>,
}

/// A way to a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// What is found first.
    Auto,
    /// The first reader with a card.
    Pcsc,
    /// A modem at this port.
    At(PathBuf),
    /// An executable that speaks JSON lines.
    Exec(Vec<String>),
    /// A socket with the framing of vpcd.
    Socket(PathBuf),
    /// The card file of a virtual card.
    File(PathBuf),
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            _ if text.is_empty() => Err("a link is expected".to_owned()),
            None if text == "auto" => Ok(Self::Auto),
            None if text == "pcsc" => Ok(Self::Pcsc),
            Some(("at", path)) if !path.is_empty() => Ok(Self::At(path.into())),
            Some(("exec", command)) => {
                omadm_card::link::exec::words(command).map(Self::Exec).map_err(|error| error.to_string())
            }
            Some(("socket", path)) if !path.is_empty() => Ok(Self::Socket(path.into())),
            Some(("at" | "socket", _)) => Err("a path is expected after the colon".to_owned()),
            Some(_) | None => Ok(Self::File(text.into())),
        }
    }
}

/// Options of `omadm card run`.
#[derive(Debug, Args)]
pub(crate) struct RunCard {
    /// The card file
    #[arg(required_unless_present = "list_presets")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// A way in which the modem differs from one that behaves; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) modem_quirk: Vec<ModemQuirk>,
    /// Run it as a card of this kind, with the quirks of cards in the field
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// What goes wrong, and at which command: removal@7, mute@3, slow@4:2500 (milliseconds), status@5:6F00, flip@5:12
    /// (a bit of the answer), torn@9:16 (bytes of an update that are written), reset@6, exchange@8; may stand several
    /// times
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Vec<Fault>,
    /// At the end write the card back to its file as it is then: what was written to it, and the tries that are left
    #[arg(long)]
    pub(crate) save: bool,
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
    /// Speak JSON lines on standard input and output, as the executable of a link does, until the input ends
    #[arg(long)]
    pub(crate) stdio: bool,
    /// Put it into a virtual AT modem on a pseudo-terminal; at PATH a symbolic link to that is made
    #[arg(long, value_name = "PATH")]
    pub(crate) modem: Option<Option<PathBuf>>,
    /// List the kinds of cards that --preset knows, and run nothing
    #[arg(long)]
    pub(crate) list_presets: bool,
}
