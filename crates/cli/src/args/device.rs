//! `omadm device`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::{Listing, Reach};

/// The commands of `omadm device`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Make a device known, so that it may ask for its Bootstrap Message
    #[command(after_help = "\
Example:
  omadm device add IMEI:493005100592800 --secret-file secret.txt

Without --secret-file and --secret-stdin an enrolment secret is made up and shown this once.")]
    Add(AddDevice),
    /// List the devices
    #[command(after_help = "\
Example:
  omadm device list --json")]
    List {
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show a device: state, DevInfo, sessions
    #[command(after_help = "\
Example:
  omadm device show IMEI:493005100592800")]
    Show {
        /// The device's DevID, with its prefix
        dev_id: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Explain what a device is told and why, and what became of its requests
    #[command(after_help = "\
Example:
  omadm device why IMEI:493005100592800")]
    Why {
        /// The device's DevID, with its prefix
        dev_id: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
}

/// Options of `omadm device add`.
#[derive(Debug, Args)]
pub(crate) struct AddDevice {
    /// The device's DevID, with its prefix, such as IMEI:493005100592800
    pub(crate) dev_id: String,
    /// The file with the enrolment secret: its first line
    #[arg(long, value_name = "FILE", conflicts_with = "secret_stdin")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Read the enrolment secret from standard input: its first line
    #[arg(long)]
    pub(crate) secret_stdin: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
