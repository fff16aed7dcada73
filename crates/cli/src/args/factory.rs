//! `omadm factory`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::{Listing, Reach};

/// The commands of `omadm factory`.
#[derive(Debug, Subcommand)]
pub(crate) enum FactoryCommand {
    /// Make a key that signs bundles, or one that devices of a line decrypt them by
    #[command(after_help = "\
Examples:
  omadm factory key factory        factory.pem goes into each device: factory.signer
  omadm factory key line7 --line   line7.key goes into each device of the line: factory.key

The files that end with .key have mode 0600.")]
    Key(FactoryKey),
    /// Make a signed bundle for each device of a list: its Bootstrap Message, with credentials of its own
    #[command(after_help = "\
Examples:
  omadm factory make devices.csv --profile meters --sign-key factory.key --sign-cert factory.pem --out run7
  omadm factory make devices.csv --profile meters --sign-key factory.key --sign-cert factory.pem --out run7 \\
    --encrypt-to line7.pem --enrol

The list has a header with a column dev_id; other columns are left alone. Rows that cannot be used are listed in
DIR/rejects.csv, and the others are made. A run that was interrupted goes on when the same command is given again.")]
    Make(FactoryMake),
    /// Tell the server whose a credential is, so that no other device can use it
    #[command(after_help = "\
Example:
  omadm factory import run7/manifest.jsonl

Importing it again changes nothing, so an import that was interrupted is simply begun again.")]
    Import(FactoryImport),
}

/// Options of `omadm factory key`.
#[derive(Debug, Args)]
pub(crate) struct FactoryKey {
    /// The files to make, without .key and .pem; none of them is ever replaced
    pub(crate) name: PathBuf,
    /// The key of a device line, which bundles are encrypted to
    #[arg(long)]
    pub(crate) line: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Options of `omadm factory make`.
#[derive(Debug, Args)]
pub(crate) struct FactoryMake {
    /// The list of devices (CSV)
    pub(crate) devices: PathBuf,
    /// The profile that the messages are made from
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: String,
    /// The folder for bundles and manifest: a new one, or that of a run to go on with
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The key that signs the bundles (PEM, mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: PathBuf,
    /// Its certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_cert: PathBuf,
    /// Encrypt the bundles to the device line with this certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_to: Option<PathBuf>,
    /// Make each device known too, and put what it enrols by into its bundle
    #[arg(long)]
    pub(crate) enrol: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Options of `omadm factory import`.
#[derive(Debug, Args)]
pub(crate) struct FactoryImport {
    /// The manifest that `omadm factory make` wrote
    pub(crate) manifest: PathBuf,
    /// List the lines that were refused in this file (CSV), where there is no file yet
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Replace a file of --rejects that is there, if lines are refused
    #[arg(long, requires = "rejects")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
