//! What the program `omadm` does, command by command.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`output`], [`failure`] | what is printed, and how it ends |
//! | [`admin`] | the server's admin API, as its client sees it |
//! | [`serve`] | runs the servers |
//! | [`profile`], [`device`] | speak to the admin API |
//! | [`card`] | cards: made, read, looked into, run |
//! | [`demo`] | four devices, from nothing to managed |
//! | [`supervise`] | processes that never outlive us |

mod admin;
mod args;
mod card;
mod demo;
mod device;
mod failure;
mod output;
mod profile;
mod serve;
mod signals;
mod supervise;

use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;

use args::{Cli, Command};
use failure::Failure;

/// Parses a command line, carries it out, and says how the program is to exit.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match carry_out(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn carry_out(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Profile(command) => profile::run(command),
        Command::Device(command) => device::run(command),
        Command::Card(command) => card::run(command),
        Command::Completion { shell } => complete(*shell),
        Command::Guarded(args) => supervise::become_program(args),
        Command::Janitor(args) => supervise::clean_up(args),
    }
}

fn complete(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "omadm", &mut script);
    output::write(&script)
}

/// The tree of commands, for tests and documents.
pub fn command() -> clap::Command {
    Cli::command()
}
