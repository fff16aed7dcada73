//! `omadm card inspect`: the files of a card, and what a DM Client would make of them.

use omadm_card::ReadRequest;
use omadm_card::inspect::{FileView, Inspection, MessageView, inspect as look_into};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::reason::Reason;
use serde::Serialize;
use std::time::Instant;

use super::source;
use crate::args::ReadCard;
use crate::failure::Failure;
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
pub(super) fn inspect(args: &ReadCard) -> Result<(), Failure> {
    let mut link = source::open(&args.card)?;
    let pin = source::pin(args.pin_file.as_deref())?;
    let began = Instant::now();
    let request = ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() };
    let (card, reading) = look_into(&mut *link, &request, &|| began.elapsed());
    let apdus = reading.counts.total();
    let judgement = match &reading.message {
        Ok(message) => {
            BootstrapMessage::parse(message, Limit::Card).map_err(|error| (error.reason(), error.to_string()))
        }
        Err(error) => Err((error.reason(), error.to_string())),
    };
    let report = match judgement {
        Ok(message) => {
            let accounts: Vec<Account> = message.accounts().iter().map(|(account, _)| Account::from(account)).collect();
            let names: Vec<_> = accounts.iter().map(|one| format!("{} at {}", one.srv_id, one.srv_uri)).collect();
            let verdict = format!("A DM Client installs the account {} and opens a session.", names.join(" and "));
            Report { card, accounts, reason: None, verdict, apdus }
        }
        Err((reason, sentence)) => {
            let verdict = format!("A DM Client notes {reason} and goes on to its factory file. {sentence}.");
            Report { card, accounts: Vec::new(), reason: Some(reason), verdict, apdus }
        }
    };
    if args.listing.json { output::json(&report) } else { show(&report) }
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

fn show(report: &Report) -> Result<(), Failure> {
    let paint = Output::stdout();
    let card = &report.card;
    let iccid = card.iccid.as_ref().map_or_else(|| "without an ICCID".to_owned(), ToString::to_string);
    let network = card.network.as_ref().map(|network| format!(", home network {network}")).unwrap_or_default();
    output::say(format!("{} {iccid}, {}{network}\n", paint.paint(Style::Bold, "Card"), card.protocol))?;
    let mut place = "";
    for file in &card.files {
        let (folder, id) = file.path.split_once('/').unwrap_or(("", &file.path));
        if folder != place {
            output::say(format!("  {}", paint.paint(Style::Bold, folder)))?;
            place = folder;
        }
        output::say(line(file, id, paint))?;
        for meaning in &file.meaning {
            output::say(format!("        {meaning}"))?;
        }
    }
    if let MessageView::Found { bytes, behind_pin, json, public_secrets } = &card.message {
        let access = if *behind_pin { "behind a PIN" } else { "readable by everybody" };
        let title = paint.paint(Style::Bold, "Message");
        output::say(format!("\n{title} {bytes} bytes, {access}, secrets hidden here"))?;
        if let Some(json) = json {
            output::say(serde_json::to_string_pretty(json).unwrap_or_default())?;
        }
        for secret in public_secrets {
            let warning = paint.paint(Style::Bad, "warning:");
            output::say(format!(
                "{warning} everybody who holds the card can read {secret}; put it behind a PIN (P-36)"
            ))?;
        }
    }
    let style = if report.reason.is_some() { Style::Note } else { Style::Good };
    output::say(format!("\n{}", paint.paint(style, &report.verdict)))?;
    output::say(format!("Reading it takes {} commands.", report.apdus))
}

fn line(file: &FileView, id: &str, paint: Output) -> String {
    let size = file.size.map(|size| format!("  {size} bytes")).unwrap_or_default();
    let problem = file.problem.as_ref().map(|why| format!("  {}", paint.paint(Style::Note, why))).unwrap_or_default();
    format!("    {} {}{size}{problem}", paint.paint(Style::Dim, id), file.name)
}
