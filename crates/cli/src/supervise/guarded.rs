//! `omadm guarded`: asks for its own death with its parent's, then becomes the program that is wanted.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::args::Guarded;
use crate::failure::Failure;

/// Becomes the program. Comes back only if that fails.
///
/// # Errors
/// If the parent is gone already, or the program cannot be started.
pub(crate) fn become_program(args: &Guarded) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::failed(format!("cannot ask for a parent-death signal: {error}")))?;
    // The parent may have died before the kernel was asked.
    let parent = i32::try_from(args.parent).ok().and_then(Pid::from_raw);
    if getppid() != parent {
        return Err(Failure::failed("the parent is gone"));
    }
    let Some((program, arguments)) = args.program.split_first() else {
        return Err(Failure::usage("no program is named"));
    };
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::failed(format!("cannot start {}: {error}", program.display())))
}
