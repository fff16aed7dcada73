//! Reports for people.

use crate::orders::{BootstrapResult, BootstrapTold, SessionTold, SessionsTold};
use crate::status::{AccountStatus, Stage, Status};
use omadm_core::reason::{Attempt, Outcome};
use omadm_core::time::Timestamp;
use serde_json::Value;
use std::fmt::Write;

/// How a report looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether the reader sees colours.
    pub colour: bool,
    /// The present time, for "3 min ago".
    pub now: Timestamp,
}

impl Look {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn ago(self, time: Timestamp) -> String {
        if time > self.now { self.due(time) } else { format!("{} ago", in_words(self.now.since(time))) }
    }

    /// When something is to be done.
    fn due(self, time: Timestamp) -> String {
        if time > self.now { format!("in {}", in_words(time.since(self.now))) } else { "due".to_owned() }
    }
}

/// Seconds in words, as exactly as people care.
pub fn in_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The report of `status`.
pub fn status(status: &Status, look: Look) -> String {
    let mut text = String::new();
    let stage = match status.state {
        Stage::Managed => look.good("managed"),
        Stage::Bootstrapped => look.good("bootstrapped, no session yet"),
        Stage::Waiting => look.bad("waiting, no account that can be used"),
        Stage::Unconfigured => "unconfigured, nothing was tried yet".to_owned(),
    };
    line(&mut text, &format!("{}  {stage}", look.bold(status.dev_id.as_str())));
    if !status.accounts.is_empty() {
        heading(&mut text, look, "Accounts");
        status.accounts.iter().for_each(|one| account(&mut text, look, one));
    }
    if !status.attempts.is_empty() {
        heading(&mut text, look, "Attempts");
        attempts(&mut text, look, &status.attempts);
    }
    text.push('\n');
    if let Some(next) = &status.next {
        line(&mut text, &format!("{}  {}: {}", look.bold("Next    "), look.due(next.at), next.why));
    }
    line(&mut text, &format!("{}  {}", look.bold("SIM     "), sim(status)));
    let run = status.last_run;
    let cost = format!("{} APDUs, {} round trips, {} bytes, {} ms", run.apdus, run.round_trips, run.bytes, run.ms);
    line(&mut text, &format!("{}  {cost}", look.bold("Last run")));
    if let Some(storage) = &status.storage {
        line(&mut text, &format!("{}  {}", look.bold("Storage "), look.bad(&plain(storage))));
    }
    text
}

/// The report of `bootstrap`.
pub fn bootstrap(told: &BootstrapTold, look: Look) -> String {
    let mut text = String::new();
    attempts(&mut text, look, &told.attempts);
    let names: Vec<_> = told.srv_ids.iter().map(|srv_id| srv_id.as_str()).collect();
    let result = match told.result {
        BootstrapResult::Bootstrapped => look.good(&format!("bootstrapped: {}", names.join(", "))),
        BootstrapResult::Unchanged => "nothing to do: a usable account is installed".to_owned(),
        BootstrapResult::Nothing => look.bad("not bootstrapped: no method gave an account"),
    };
    line(&mut text, &result);
    text
}

/// The report of `session`.
pub fn sessions(told: &SessionsTold, look: Look) -> String {
    let mut text = String::new();
    told.sessions.iter().for_each(|one| session(&mut text, look, one));
    text
}

/// The report of `tree`: serialized MOs as they stand in JSON.
pub fn tree(items: &[Value], look: Look) -> String {
    let mut text = String::new();
    for item in items {
        let uri = item.get("ClientURI").and_then(Value::as_str).unwrap_or_default();
        line(&mut text, &look.bold(uri));
        if let Some(data) = item.get("MOData") {
            nodes(&mut text, data, 1);
        }
    }
    text
}

fn nodes(text: &mut String, node: &Value, depth: usize) {
    let Value::Object(children) = node else { return };
    for (name, child) in children {
        let indent = "  ".repeat(depth);
        match child {
            Value::Object(_) => {
                line(text, &format!("{indent}{name}"));
                nodes(text, child, depth + 1);
            }
            // As in JSON, so that line ends and control characters in values cannot disturb the picture.
            leaf => line(text, &format!("{indent}{name} = {leaf}")),
        }
    }
}

fn account(text: &mut String, look: Look, account: &AccountStatus) {
    let suspended = if account.suspended { look.bad("  suspended: its card is gone") } else { String::new() };
    line(text, &format!("  {}  {}{suspended}", look.bold(account.srv_id.as_str()), plain(&account.name)));
    line(text, &format!("    {}", account.srv_uri.without_query()));
    line(text, &format!("    from the {}: {}", account.source, account.origin));
    let last = account
        .last_session
        .map_or("no session yet".to_owned(), |at| format!("last session {} ({})", moment(at), look.ago(at)));
    line(text, &format!("    {last}"));
    if account.may_be_replaced {
        line(text, "    the next message from another source may replace it");
    }
    if let Some(note) = account.session.as_ref().filter(|note| !note.ended) {
        let reason = note.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        line(text, &format!("    {}{reason}: {}", look.bad("the last attempt broke off"), plain(&note.message)));
    }
}

fn attempts(text: &mut String, look: Look, attempts: &[Attempt]) {
    for attempt in attempts {
        let outcome = format!("{:<9}", attempt.outcome.to_string());
        let outcome = match attempt.outcome {
            Outcome::Installed | Outcome::Unchanged => look.good(&outcome),
            Outcome::Failed => look.bad(&outcome),
            Outcome::None | Outcome::Skipped => look.faint(&outcome),
        };
        let reason = attempt.reason.map(|reason| reason.to_string()).unwrap_or_default();
        let method = attempt.method.to_string();
        let when = look.faint(&moment(attempt.at));
        line(text, &format!("  {when}  {method:<16}  {outcome}  {reason:<17}  {}", plain(&attempt.message)));
    }
}

fn session(text: &mut String, look: Look, session: &SessionTold) {
    let ending = if session.note.ended { look.good("ended") } else { look.bad("broke off") };
    let reason = session.note.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let srv_id = look.bold(session.srv_id.as_str());
    line(text, &format!("{srv_id}  {ending}{reason}: {}", plain(&session.note.message)));
    for alert in &session.note.alerts {
        line(text, &format!("  alert   {alert}"));
    }
    for (name, status) in &session.log {
        line(text, &format!("  {:<7} {status}", plain(name)));
    }
}

fn sim(status: &Status) -> String {
    let sim = &status.sim;
    let card = sim.iccid.as_ref().map(|iccid| format!(", card {iccid}")).unwrap_or_default();
    let network = match (&sim.mcc, &sim.mnc) {
        (Some(mcc), Some(mnc)) => format!(", network {mcc}-{mnc}"),
        _ => String::new(),
    };
    let ready = match (sim.present, sim.ready) {
        (_, true) => "ready",
        (true, false) => "not ready",
        (false, false) => "none",
    };
    let reason = sim.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{ready}{reason}{network}{card}")
}

fn moment(time: Timestamp) -> String {
    time.to_string().replace('T', " ").replace('Z', "")
}

/// Text from outside without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn heading(text: &mut String, look: Look, title: &str) {
    let _ = write!(text, "\n{}\n", look.bold(title));
}

fn line(text: &mut String, content: &str) {
    let _ = writeln!(text, "{}", content.trim_end());
}
