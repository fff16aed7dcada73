//! `omadm-client`: brings a device under management, and keeps it there.

mod args;
mod cli;
mod log;
#[cfg(small)]
mod no_backtrace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = cli::main(args::read(lexopt::Parser::from_env()));
    // An executable that hangs keeps the thread that reads through it, which is not waited for.
    #[cfg(feature = "exec")]
    omadm_card::link::exec::end_running();
    exit.into()
}
