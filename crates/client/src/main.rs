//! `omadm-client`: brings a device under management, and keeps it there.

mod args;
mod cli;
mod log;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(args::read(lexopt::Parser::from_env())).into()
}
