//! `omadm message`.

use clap::{Args, Subcommand};

use super::{Listing, Reach};

/// The commands of `omadm message`.
#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// List the credentials in messages of cards and factory files, the newest first, and whom they belong to
    #[command(after_help = "\
Example:
  omadm message list --limit 20")]
    List(ListMessages),
    /// Withdraw the credential in the message of one card or factory file: it is worth nothing from now on
    #[command(after_help = "\
Example:
  omadm message withdraw c7Hk2p

`omadm message list` shows the users, and so do the manifests of `omadm card batch` and
`omadm factory make`. Whether a device has used it or not, the message is of no use from now on:
the way to end a card that was lost before anybody used it. What else the device has, such as
what it enrols by, stays; `omadm device remove` ends that too.")]
    Withdraw {
        /// The user of the credential
        user: String,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        reach: Reach,
    },
}

/// Options of `omadm message list`.
#[derive(Debug, Args)]
pub(crate) struct ListMessages {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) listing: Listing,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
