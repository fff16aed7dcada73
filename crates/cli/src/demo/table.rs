//! What became of the four, at a glance.

use comfy_table::{Cell, CellAlignment, Table};
use omadm_core::reason::{Attempt, Outcome as Ending};

use super::outcome::Outcome;
use crate::output::{Output, Style};

const HEADER: [&str; 7] = ["device", "source", "attempts", "APDUs", "round trips", "bytes", "ms"];

/// The table of all devices.
pub(super) fn table(outcomes: &[Outcome], paint: Output) -> Table {
    let mut table = paint.table(&HEADER);
    for outcome in outcomes {
        let style = if outcome.is_managed() { Style::Good } else { Style::Bad };
        let attempts: Vec<_> = outcome.attempts.iter().map(attempt).collect();
        table.add_row([
            paint.cell(Style::Bold, outcome.name),
            paint.cell(style, outcome.source.as_deref().unwrap_or("none")),
            Cell::new(attempts.join("\n")),
            Cell::new(outcome.apdus),
            Cell::new(outcome.round_trips),
            Cell::new(outcome.bytes),
            Cell::new(outcome.ms),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn attempt(attempt: &Attempt) -> String {
    let mark = match attempt.outcome {
        Ending::Installed | Ending::Unchanged => '✔',
        Ending::None => '○',
        Ending::Failed => '✘',
        Ending::Skipped => '·',
    };
    let method = attempt.method;
    match attempt.reason {
        Some(reason) => format!("{mark} {method} {reason}"),
        None => format!("{mark} {method} {}", attempt.outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Account, ClientStatus, LastRun, Seen};
    use super::*;
    use crate::args::Cast;
    use omadm_core::reason::{Method, Reason};
    use omadm_core::time::Timestamp;

    #[test]
    fn each_attempt_stands_with_its_reason() {
        let attempt = |method, outcome, reason| Attempt {
            method,
            outcome,
            reason,
            message: String::new(),
            at: Timestamp(1_800_000_000),
        };
        let client = ClientStatus {
            accounts: vec![Account { source: "factory".to_owned(), ..Account::default() }],
            attempts: vec![
                attempt(Method::Smartcard, Ending::Failed, Some(Reason::MalformedMessage)),
                attempt(Method::Factory, Ending::Installed, None),
            ],
            last_run: Some(LastRun { apdus: 17, round_trips: 9, bytes: 12_345, ms: 78 }),
            ..ClientStatus::default()
        };
        let seen = Seen { client: Some(client), server: None };
        let table = table(&[Outcome::of(Cast::MixedUp, &seen)], Output::plain());
        insta::assert_snapshot!(table.trim_fmt());
    }
}
