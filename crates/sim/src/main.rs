//! `omadm-sim`: lives and benchmarks, for `make lives` and `make bench`.

mod lives_command;

use mimalloc::MiMalloc;
use std::process::ExitCode;

// Lives allocate much and keep little.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("lives") => return lives_command::main(arguments),
        Some("bench") => omadm_sim::bench::run(arguments),
        Some(_) | None => Err(anyhow::anyhow!("usage: omadm-sim bench ... | lives ...")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("omadm-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}
