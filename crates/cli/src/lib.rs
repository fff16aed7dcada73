//! What the program `omadm` does, command by command.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`output`], [`failure`] | what is printed, and how it ends |
//! | [`admin`] | the server's admin API, as its client sees it |
//! | [`serve`] | runs the servers |
//! | [`profile`], [`device`], [`message`] | speak to the admin API |
//! | [`card`] | cards: made, read, looked into, run |
//! | [`factory`] | bundles for many devices, and the manifest of them |
//! | [`figure`] | sequence diagrams from recorded runs |
//! | [`demo`] | four devices, from nothing to managed |
//! | [`supervise`] | processes that never outlive us |

mod admin;
mod args;
mod card;
mod demo;
mod device;
mod factory;
mod failure;
pub mod figure;
mod message;
mod output;
mod private;
mod profile;
mod serve;
mod signals;
mod supervise;

use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
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
        Command::Factory(command) => factory::run(command),
        Command::Message(command) => message::run(command),
        Command::Figure(args) => draw(args),
        Command::Completion { shell } => complete(*shell),
        Command::Guarded(args) => supervise::become_program(args),
        Command::Janitor(args) => supervise::clean_up(args),
    }
}

fn draw(args: &args::Figure) -> Result<(), Failure> {
    let mut text = String::new();
    let limit = figure::MAX_TRACE as u64 + 1;
    let read = File::open(&args.trace).and_then(|file| file.take(limit).read_to_string(&mut text));
    read.map_err(|error| Failure::unreadable(&args.trace, &error))?;
    let trace = figure::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", args.trace.display())))?;
    let picture = figure::svg(&trace, &args.title);
    match &args.output {
        None => output::write(picture.as_bytes()),
        Some(path) => std::fs::write(path, picture).map_err(|error| Failure::unwritable(path, &error)),
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
