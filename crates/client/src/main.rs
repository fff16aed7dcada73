//! `omadm-client`: brings a device under management, and keeps it there.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(cli::Cli::parse()).into()
}
