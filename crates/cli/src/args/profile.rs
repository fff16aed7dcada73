//! `omadm profile`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::{Listing, Reach};

/// The commands of `omadm profile`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Check a profile and store it; one of the same name is replaced
    #[command(after_help = "\
Example:
  omadm profile add meters.json")]
    Add {
        /// The profile (JSON); - reads standard input
        file: PathBuf,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// List the profiles
    #[command(after_help = "\
Example:
  omadm profile list --json")]
    List {
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show a profile as it is stored
    #[command(after_help = "\
Example:
  omadm profile show meters > meters.json")]
    Show {
        /// The profile's name
        name: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Remove a profile; devices keep what they were given
    #[command(after_help = "\
Example:
  omadm profile remove meters")]
    Remove {
        /// The profile's name
        name: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show whether a device gets a profile and why, and the Bootstrap Message, with made-up credentials
    #[command(after_help = "\
Example:
  omadm profile preview meters --dev-id IMEI:493005100592800 --mcc 001 --mnc 01")]
    Preview(Preview),
}

/// Options of `omadm profile preview`.
#[derive(Debug, Args)]
pub(crate) struct Preview {
    /// The profile; without it the one that the device gets
    pub(crate) name: Option<String>,
    /// For which device
    #[arg(long, value_name = "DEVID")]
    pub(crate) dev_id: String,
    /// The country of its home network: 3 digits
    #[arg(long, value_name = "MCC", requires = "mnc")]
    pub(crate) mcc: Option<String>,
    /// Its home network in that country: 2 or 3 digits
    #[arg(long, value_name = "MNC", requires = "mcc")]
    pub(crate) mnc: Option<String>,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
