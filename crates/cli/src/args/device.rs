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
  omadm device add IMEI:493005100592800 --psk-file key.hex
  omadm device add IMEI:493005100592800 --cert device.pem

Without any of them an enrolment secret is made up and shown this once.
Adding a device anew takes away what it enrolled by before.")]
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
    /// Forget a device: what it was given ends at once, its jobs are gone
    #[command(after_help = "\
Example:
  omadm device remove IMEI:493005100592800

What it enrolled by and the credentials that it was given are worth nothing from now on, those of
its card or factory file too. `omadm device why` goes on telling when it was removed. It may be
added anew.")]
    Remove {
        /// The device's DevID, with its prefix
        dev_id: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Refuse a device from now on, whatever it proves itself by
    #[command(after_help = "\
Example:
  omadm device block IMEI:493005100592800

It gets 403 once it has proved who it is, at bootstrap and in sessions, also by a certificate of a
device CA. What is known of it stays, and its jobs wait. `omadm device unblock` ends that.")]
    Block {
        /// The device's DevID, with its prefix
        dev_id: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Answer a device again that is blocked
    #[command(after_help = "\
Example:
  omadm device unblock IMEI:493005100592800")]
    Unblock {
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
    #[command(flatten)]
    pub(crate) by: EnrolBy,
    /// The identity of the pre-shared key; the DevID percent-encoded if it is not given
    #[arg(long, value_name = "NAME", requires = "psk_file")]
    pub(crate) psk_identity: Option<String>,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What a device proves itself by when it asks for its Bootstrap Message.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct EnrolBy {
    /// The file with the enrolment secret: its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Read the enrolment secret from standard input: its first line
    #[arg(long)]
    pub(crate) secret_stdin: bool,
    /// The file with a pre-shared key of TLS, in hexadecimal digits: its first line
    #[arg(long, value_name = "FILE")]
    pub(crate) psk_file: Option<PathBuf>,
    /// The device's certificate (PEM): it enrols by the key of it
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// It enrols by a certificate of the server's device CA that names this DevID
    #[arg(long)]
    pub(crate) device_ca: bool,
}
