//! `omadm card create`, `write`, `script` and `batch`: what makes cards.

use clap::{ArgGroup, Args, ValueEnum};
use omadm_card::personalise::RuleRef;
use omadm_card::pkcs15::oid::ObjectId;
use std::path::PathBuf;

use super::card::Ask;
use super::{Listing, Reach};

/// In which form the card's directory tells of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// opaqueDO, which OpenSC reads too
    Opaque,
    /// oidDO
    Oid,
    /// Both
    Both,
}

/// Options of `omadm card create`.
#[derive(Debug, Args)]
pub(crate) struct CreateCard {
    #[command(flatten)]
    pub(crate) card: NewCard,
    /// Let the card be written later by the ADM key in this file: 16 hexadecimal or 4 to 8 decimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) adm_file: Option<PathBuf>,
    /// The card file to write, where there is no file yet
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// A card that does not exist yet.
#[derive(Debug, Args)]
pub(crate) struct NewCard {
    #[command(flatten)]
    pub(crate) content: Content,
    #[command(flatten)]
    pub(crate) objects: Objects,
    /// Put the message behind the PIN in this file: 4 to 8 digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) pin: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) laid: Laid,
    /// The card's ICCID: 10 to 20 digits
    #[arg(long, value_name = "DIGITS", default_value = "8988000000000000016")]
    pub(crate) iccid: String,
    /// The IMSI in the USIM: 6 to 15 digits
    #[arg(long, value_name = "DIGITS", default_value = "001010123456789")]
    pub(crate) imsi: String,
    /// How many digits of the IMSI are the network code: 2 or 3
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub(crate) mnc_length: u8,
}

/// How the message is laid on a new card.
#[derive(Debug, Args)]
pub(crate) struct Laid {
    /// Which PIN the message lies behind, if it does: 01, which a modem verifies itself when it starts, to 08, or 81 to 88
    /// for one that the client sends in a modem too
    #[arg(long, value_name = "HEX", default_value = "01", value_parser = pin_reference)]
    pub(crate) pin_ref: u8,
    /// How the card's directory tells of the message
    #[arg(long, value_enum, default_value_t = Form::Opaque)]
    pub(crate) form: Form,
    /// Bytes of the message's file, for a later message that is longer; without it as many as the message has
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=32_767))]
    pub(crate) file_size: Option<u16>,
    /// Accept a message with secrets that everybody can read off the card
    #[arg(long)]
    pub(crate) allow_public_secret: bool,
}

/// What the card holds.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Content {
    /// The file with the Bootstrap Message
    #[arg(long, value_name = "FILE")]
    pub(crate) message: Option<PathBuf>,
    /// Have the server issue a message of this profile, with credentials of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// No message: a SIM as operators sell it
    #[arg(long)]
    pub(crate) empty: bool,
}

/// Objects beside the message.
#[derive(Debug, Args)]
pub(crate) struct Objects {
    /// The content of an LwM2M bootstrap object (2.23.43.9.1), for devices of that kind
    #[arg(long, value_name = "FILE")]
    pub(crate) lwm2m: Option<PathBuf>,
    /// The content of any other object, with its identifier; can be repeated
    #[arg(long, value_name = "OID=FILE", value_parser = object)]
    pub(crate) object: Vec<(ObjectId, PathBuf)>,
}

fn object(text: &str) -> Result<(ObjectId, PathBuf), String> {
    let (oid, file) = text.split_once('=').ok_or("an object identifier, = and a file are expected")?;
    Ok((oid.parse().map_err(|error: omadm_card::pkcs15::oid::NoObjectId| error.to_string())?, PathBuf::from(file)))
}

/// Options of `omadm card write`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["message", "profile", "lwm2m", "object"]).required(true).multiple(true))]
pub(crate) struct WriteCard {
    #[command(flatten)]
    pub(crate) card: Ask,
    /// The file with the Bootstrap Message
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub(crate) message: Option<PathBuf>,
    /// Have the server issue a message of this profile, with credentials of its own; not in a dry run, which would leave
    /// them unused
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) objects: Objects,
    /// The file with the administrator's key: 16 hexadecimal or 4 to 8 decimal digits, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) adm_file: Option<PathBuf>,
    /// Which administrator's key it is: the reference in VERIFY, in hexadecimal digits
    #[arg(long, value_name = "HEX", default_value = "0A", value_parser = reference)]
    pub(crate) adm_ref: u8,
    /// Print every command and what it is for, and write nothing; the key and the bytes to be written are hidden
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the bytes to be written too, with the secrets in them
    #[arg(long, requires = "dry_run")]
    pub(crate) show_data: bool,
    /// How the card's directory tells of new objects
    #[arg(long, value_enum, default_value_t = Form::Opaque)]
    pub(crate) form: Form,
    /// Put new objects behind the card's PIN
    #[arg(long)]
    pub(crate) behind_pin: bool,
    /// The file with the card's PIN, to see what lies behind it and to read it back
    #[arg(long, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Write over an object behind the PIN without that PIN, whatever it holds
    #[arg(long)]
    pub(crate) replace_unseen: bool,
    /// The access rule of new objects: an EF(ARR) and a record; without it the first of the card's that fits
    #[arg(long, value_name = "FILE:RECORD")]
    pub(crate) access_rule: Option<RuleRef>,
    /// Bytes of the files of new objects; without it as many as they need
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=32_767))]
    pub(crate) file_size: Option<u16>,
    /// Accept a message with secrets that everybody can read off the card
    #[arg(long)]
    pub(crate) allow_public_secret: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

fn reference(text: &str) -> Result<u8, String> {
    let is_byte = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(text, 16)
        .ok()
        .filter(|_| is_byte)
        .ok_or_else(|| "two hexadecimal digits are expected".to_owned())
}

fn pin_reference(text: &str) -> Result<u8, String> {
    let is_pin = |reference: &u8| matches!(reference, 0x01..=0x08 | 0x81..=0x88);
    reference(text).ok().filter(is_pin).ok_or_else(|| "01 to 08 or 81 to 88 is expected".to_owned())
}

/// How a script writes a card.
#[derive(Debug, Args)]
pub(crate) struct Scripting {
    /// Let scripts create the files, by ETSI TS 102 222; without it they are there already and large enough
    #[arg(long)]
    pub(crate) create_files: bool,
    /// Which administrator's key scripts verify: the reference in VERIFY, in hexadecimal digits
    #[arg(long, value_name = "HEX", default_value = "0A", value_parser = reference)]
    pub(crate) adm_ref: u8,
    /// The card's access rule of created files that everybody may read: an EF(ARR) and a record
    #[arg(long, value_name = "FILE:RECORD", default_value = "2F06:1")]
    pub(crate) open_rule: RuleRef,
    /// The card's access rule of created files behind the PIN
    #[arg(long, value_name = "FILE:RECORD", default_value = "2F06:3")]
    pub(crate) pin_rule: RuleRef,
}

/// In which language a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScriptKind {
    /// Commands to the card, one in a line with the status words that are expected
    Apdu,
    /// Commands of pySim-shell
    Pysim,
}

/// Options of `omadm card script`.
#[derive(Debug, Args)]
pub(crate) struct ScriptCard {
    #[command(flatten)]
    pub(crate) card: NewCard,
    /// In which language
    #[arg(long = "as", value_enum)]
    pub(crate) kind: ScriptKind,
    /// Put the administrator's key in this file into the script; without it the bureau fills it in
    #[arg(long, value_name = "FILE")]
    pub(crate) adm_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) scripting: Scripting,
    /// The script to write, where there is no file yet
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What a batch makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MadeAs {
    /// Card files
    Image,
    /// Scripts of commands to the card
    Apdu,
    /// Scripts for pySim-shell
    Pysim,
}

/// Options of `omadm card batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchCards {
    /// The CSV file, with a header
    pub(crate) csv: PathBuf,
    /// The file with the Bootstrap Message; {name} in its texts stands for that column
    #[arg(long, value_name = "FILE", required_unless_present = "profile", conflicts_with = "profile")]
    pub(crate) message: Option<PathBuf>,
    /// Have the server issue a message of this profile for each card, with credentials of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    #[command(flatten)]
    pub(crate) objects: Objects,
    /// The folder for cards, manifest and rejects; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// What is made
    #[arg(long = "as", value_enum, default_value_t = MadeAs::Image)]
    pub(crate) kind: MadeAs,
    /// Make up a PIN for each card and list them in this file, mode 0600
    #[arg(long, value_name = "FILE")]
    pub(crate) make_pins: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) laid: Laid,
    #[command(flatten)]
    pub(crate) scripting: Scripting,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
