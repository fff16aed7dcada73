//! `omadm demo`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

use super::Listing;

/// Options of `omadm demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  omadm demo                 four devices, the story and what to try next; Ctrl-C ends it
  omadm demo --once --json   the same as a check: exit code 0 only if all four are managed

Nothing is left behind: all processes end with the demo, and its temporary folder is removed.")]
pub(crate) struct Demo {
    /// End when all four devices are managed, or one cannot be
    #[arg(long)]
    pub(crate) once: bool,
    /// Keep everything in this folder, which has to be empty or not there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// The program omadm-client; without it $OMADM_CLIENT, the folder of omadm, then PATH
    #[arg(long, value_name = "PATH")]
    pub(crate) client: Option<PathBuf>,
    /// Do not use pcscd even where it can be had: cards speak over local sockets
    #[arg(long)]
    pub(crate) no_pcscd: bool,
    /// For tests: break what this device needs, so that it cannot become managed
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) sabotage: Option<Cast>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// The four devices of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum Cast {
    /// Its card holds the message, behind a PIN.
    Sim,
    /// No card; the maker put a factory file into it.
    Factory,
    /// A card without a message and no factory file; it asks the DM Bootstrap Server.
    Network,
    /// The message on its card is damaged; there is a factory file.
    MixedUp,
}

impl Cast {
    /// All four, in the order in which they are shown.
    pub(crate) const ALL: [Self; 4] = [Self::Sim, Self::Factory, Self::Network, Self::MixedUp];

    /// The device's name in the demo.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Factory => "factory",
            Self::Network => "network",
            Self::MixedUp => "mixed-up",
        }
    }
}
