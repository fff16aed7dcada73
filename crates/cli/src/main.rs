//! The program `omadm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    omadm_cli::run(std::env::args_os())
}
