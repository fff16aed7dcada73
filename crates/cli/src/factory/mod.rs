//! `omadm factory`: bundles for devices that are made in large numbers, and the manifest by which the server learns whose
//! is whose.

mod folder;
mod import;
mod key;
mod make;
mod progress;
mod rejects;
mod rows;

use crate::args::FactoryCommand;
use crate::failure::Failure;

/// Carries out a command of `omadm factory`.
///
/// # Errors
/// If it fails; see [`Failure`].
pub(crate) fn run(command: &FactoryCommand) -> Result<(), Failure> {
    match command {
        FactoryCommand::Key(args) => key::key(args),
        FactoryCommand::Make(args) => make::make(args),
        FactoryCommand::Import(args) => import::import(args),
    }
}
