//! `omadm demo`: four devices, each a real `omadm-client` process, from nothing to managed over HTTPS.

mod cards;
mod cast;
mod facts;
mod next;
mod outcome;
mod play;
mod props;
mod stage;
mod story;
mod table;
mod watch;

use crate::args;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::signals::Ending;
use outcome::Report;
use play::Play;
use story::Story;

/// Carries out `omadm demo`.
///
/// # Errors
/// If a device does not become managed, or the demo cannot be set up.
pub(crate) fn run(args: &args::Demo) -> Result<(), Failure> {
    let ending = Ending::on_signals()?;
    let story = Story::new(!args.listing.json);
    let mut play = Play::set_up(args, story, &ending)?;
    play.until_settled(&ending)?;
    let report = Report::new(play.outcomes());
    if args.listing.json {
        output::json(&report)?;
    } else {
        play.story().aside(|paint| format!("\n{}\n", table::table(report.devices(), paint).trim_fmt()))?;
    }
    if args.once {
        return verdict(&report);
    }
    if !args.listing.json {
        if let Err(failure) = verdict(&report) {
            output::complain(&failure);
        }
        output::say(play.what_next(Output::stdout()))?;
    }
    play.go_on(&ending)
}

/// Fails if one of the devices is not managed, with every reason.
fn verdict(report: &Report) -> Result<(), Failure> {
    let failed: Vec<_> = report.devices().iter().filter(|outcome| !outcome.is_managed()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let reasons = failed.iter().map(|outcome| format!("{}: {}", outcome.name, outcome.objections.join("; ")));
    let reasons: Vec<_> = reasons.collect();
    Err(Failure::failed(format!("{} of 4 devices are not managed\n  {}", failed.len(), reasons.join("\n  ")))
        .advise("`omadm demo --keep DIR` keeps all logs: DIR/serve.log and DIR/<device>/client.log"))
}
