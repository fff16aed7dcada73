//! `omadm card`: cards that hold a Bootstrap Message, made, written, read, looked into and run.

mod batch;
mod create;
mod inspect;
mod making;
mod read;
mod run;
mod source;
mod write;

use serde_json::json;

use crate::args::{CardCommand, Listing};
use crate::failure::Failure;
use crate::output::{self, Output};

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
        CardCommand::Readers { listing } => readers(*listing),
    }
}

fn readers(listing: Listing) -> Result<(), Failure> {
    let readers = source::readers()?;
    if listing.json {
        let list: Vec<_> = readers.iter().map(|(name, card)| json!({"name": name, "card": card})).collect();
        return output::json(&list);
    }
    if readers.is_empty() {
        return output::say("There is no PC/SC reader.");
    }
    let mut table = Output::stdout().table(&["reader", "card"]);
    for (name, card) in readers {
        table.add_row([name, if card { "yes" } else { "no" }.to_owned()]);
    }
    output::say(table.trim_fmt())
}
