//! `omadm card inspect`: the files of a card, and what a DM Client would make of them.

use omadm_card::inspect::{Ink, Inspection, Line, MessageView, Severity, inspect as look_into};
use omadm_card::{CardError, ReadRequest, Shortcuts};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::reason::{Reason, sentence};
use serde::Serialize;
use std::time::Instant;

use super::source;
use crate::args::InspectCard;
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, Style};

/// What `omadm card inspect --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    card: Inspection,
    /// What the message would install.
    accounts: Vec<Account>,
    /// Why a DM Client would go on to the next method; absent where it would install the message.
    reason: Option<Reason>,
    verdict: String,
    /// What lies in the place of a message and is not used.
    passed_over: Vec<String>,
    /// Commands that a DM Client needs to read it.
    apdus: u32,
}

#[derive(Debug, Serialize)]
struct Account {
    srv_id: String,
    name: String,
    srv_uri: String,
    may_manage: Vec<String>,
}

/// Shows what is on the card.
pub(super) fn inspect(InspectCard { what: args, check }: &InspectCard) -> Result<(), Failure> {
    let mut link = source::open(&args.card)?;
    let pin = source::pin(args.pin_file.as_deref())?;
    let began = Instant::now();
    let shortcuts = Shortcuts::default();
    let fast = args.fast.then_some(&shortcuts);
    let request = ReadRequest { pin: pin.as_ref(), fast, ..ReadRequest::default() };
    let (card, reading) = look_into(&mut *link, &request, &|| began.elapsed());
    let apdus = reading.counts.total();
    let passed_over: Vec<String> = reading.passed_over.iter().map(|one| sentence(&one.to_string())).collect();
    let judgement = match &reading.message {
        Ok(message) => {
            BootstrapMessage::parse(message, Limit::WholeCard).map_err(|error| (error.reason(), error.to_string()))
        }
        Err(error) => Err((error.reason(), error.to_string())),
    };
    let report = match judgement {
        Ok(message) => {
            let accounts: Vec<Account> = message.accounts().iter().map(|(account, _)| Account::from(account)).collect();
            let names: Vec<_> = accounts.iter().map(|one| format!("{} at {}", one.srv_id, one.srv_uri)).collect();
            let verdict = format!("A DM Client installs the account {} and opens a session.", names.join(" and "));
            Report { card, accounts, reason: None, verdict, passed_over, apdus }
        }
        Err((reason, why)) => {
            let verdict = format!("{} {}.", goes_on(reason), sentence(&why));
            Report { card, accounts: Vec::new(), reason: Some(reason), verdict, passed_over, apdus }
        }
    };
    if args.listing.json {
        output::json(&report)?
    } else {
        show(&report)?
    }
    if *check { checked(&report, reading.message.as_ref().err()) } else { Ok(()) }
}

/// Whether the card is good: nothing on it is an error, and a DM Client installs its message.
fn checked(report: &Report, unread: Option<&CardError>) -> Result<(), Failure> {
    if let Some(failure) = unread.map(source::card_failure).filter(|failure| failure.exit != Exit::Failed) {
        return Err(failure);
    }
    let errors = report.card.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let what = match (errors, report.reason) {
        (0, None) => return Ok(()),
        (0, Some(_)) => report.verdict.trim_end_matches('.').to_owned(),
        (1, _) => "the card has an error".to_owned(),
        (count, _) => format!("the card has {count} errors"),
    };
    Err(Failure::failed(what).advise("the report says what is wrong and what to do"))
}

impl From<&omadm_core::account::DmAccount> for Account {
    fn from(account: &omadm_core::account::DmAccount) -> Self {
        Self {
            srv_id: account.srv_id.to_string(),
            name: account.name.clone(),
            srv_uri: account.srv_uri.to_string(),
            may_manage: account.perm.iter().map(ToString::to_string).collect(),
        }
    }
}

fn goes_on(reason: Reason) -> String {
    format!("A DM Client notes {reason} and goes on to its factory file.")
}

fn show(report: &Report) -> Result<(), Failure> {
    let paint = Output::stdout();
    for Line { ink, text } in report.card.drawing() {
        output::say(match ink {
            Ink::Heading => paint.paint(Style::Bold, text),
            Ink::Plain => text,
            Ink::Bad => paint.paint(Style::Bad, text),
            Ink::Note => paint.paint(Style::Note, text),
        })?;
    }
    let style = if report.reason.is_some() { Style::Note } else { Style::Good };
    let verdict = match (report.reason, &report.card.message) {
        // Why there is no message stands above.
        (Some(reason), MessageView::Missing { .. }) => goes_on(reason),
        (_, MessageView::Missing { .. } | MessageView::Found { .. }) => report.verdict.clone(),
    };
    output::say(format!("\n{}", paint.paint(style, verdict)))?;
    for one in &report.passed_over {
        output::say(format!("Passed over: {one}."))?;
    }
    output::say(format!("Reading it takes {} commands.", report.apdus))
}
