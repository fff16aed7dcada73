//! `omadm card`: cards that hold a Bootstrap Message, made, written, read, looked into and run.

mod batch;
mod create;
mod inspect;
mod making;
mod read;
mod readers;
mod run;
mod source;
mod write;

use crate::args::CardCommand;
use crate::failure::Failure;

/// Carries out a command of `omadm card`.
///
/// # Errors
/// If it fails; see [`Failure`].
pub(crate) fn run(command: &CardCommand) -> Result<(), Failure> {
    match command {
        CardCommand::Create(args) => create::create(args),
        CardCommand::Write(args) => write::write(args),
        CardCommand::Script(args) => create::script(args),
        CardCommand::Batch(args) => batch::run(args),
        CardCommand::Read(args) => read::read(args),
        CardCommand::Inspect(args) => inspect::inspect(args),
        CardCommand::Run(args) => run::run(args),
        CardCommand::Readers { link, listing } => readers::list(link, *listing),
    }
}
