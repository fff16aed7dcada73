//! What can be typed: the tree of commands, their options, and the examples in their help.

mod card;
mod demo;
mod device;
mod factory;
mod figure;
mod making;
mod message;
mod profile;
mod reach;
mod serve;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

pub(crate) use card::{Ask, CardCommand, InspectCard, Link, Place, ReadCard, RunCard};
pub(crate) use demo::{Cast, Demo};
pub(crate) use device::{AddDevice, DeviceCommand, EnrolBy};
pub(crate) use factory::{FactoryCommand, FactoryImport, FactoryKey, FactoryMake};
pub(crate) use figure::Figure;
pub(crate) use making::{
    BatchCards, CreateCard, Form, Laid, MadeAs, NewCard, Objects, ScriptCard, ScriptKind, Scripting, WriteCard,
};
pub(crate) use message::{ListMessages, MessageCommand};
pub(crate) use profile::{Preview, ProfileCommand};
pub(crate) use reach::Reach;
pub(crate) use serve::Serve;

/// OMA Device Management 2.0: servers, devices and the smartcards in between
#[derive(Debug, Parser)]
#[command(
    name = "omadm",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  omadm demo                        see four devices come to life on this machine
  omadm serve --data /var/lib/omadm start the servers
  omadm device list                 see what the devices do

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 nothing to do, 4 no right or not authenticated."
)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The first word after `omadm`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the DM Bootstrap Server, the DM Server and the data repository
    Serve(Serve),
    /// Bring up four devices, from nothing to managed, on this machine
    Demo(Demo),
    /// What devices are told at bootstrap
    #[command(
        subcommand,
        after_help = "\
Example:
  omadm profile add meters.json"
    )]
    Profile(ProfileCommand),
    /// The devices, and what became of them
    #[command(
        subcommand,
        after_help = "\
Example:
  omadm device why IMEI:493005100592800"
    )]
    Device(DeviceCommand),
    /// Smartcards that hold a Bootstrap Message, real and virtual ones
    #[command(
        subcommand,
        after_help = "\
Example:
  omadm card create --message message.json -o card.json && omadm card inspect card.json"
    )]
    Card(CardCommand),
    /// Bundles for devices that are made in a factory, and the manifest of them
    #[command(
        subcommand,
        after_help = "\
Example:
  omadm factory import run7/manifest.jsonl"
    )]
    Factory(FactoryCommand),
    /// The messages of cards and factory files: whose their credentials are, and how one is withdrawn
    #[command(
        subcommand,
        after_help = "\
Example:
  omadm message withdraw c7Hk2p"
    )]
    Message(MessageCommand),
    /// Draw a sequence diagram from a trace of omadm-client
    Figure(Figure),
    /// Print the completion script of a shell
    #[command(after_help = "\
Example:
  omadm completion bash > /etc/bash_completion.d/omadm")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Become another program that ends with its parent
    #[command(hide = true)]
    Guarded(Guarded),
    /// Wait for standard input to end, then clean up
    #[command(hide = true)]
    Janitor(Janitor),
}

/// `omadm guarded`, used by omadm itself.
#[derive(Debug, Args)]
pub(crate) struct Guarded {
    /// The process that has to be the parent
    #[arg(long)]
    pub(crate) parent: u32,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<std::ffi::OsString>,
}

/// `omadm janitor`, used by omadm itself.
#[derive(Debug, Args)]
pub(crate) struct Janitor {
    /// The folder to make, and to remove at the end
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Listing {
    /// Print JSON, for programs; nothing else goes to standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn look(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.contains("Example"), "{path}");
                assert!(example.contains(&path.split(' ').take(2).collect::<Vec<_>>().join(" ")), "{path}");
                look(sub, &path);
            }
        }
        look(&Cli::command(), "omadm");
    }
}
