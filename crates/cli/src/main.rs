//! The program `omadm`.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A server under load takes and gives back memory from several threads.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    omadm_cli::run(std::env::args_os())
}
