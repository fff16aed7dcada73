//! `omadm-client`: brings a device under management, and keeps it there.

mod args;
mod cli;
mod log;
#[cfg(small)]
mod no_backtrace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(args::read(lexopt::Parser::from_env())).into()
}
