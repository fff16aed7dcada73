//! The one table: what was measured, its reference, and what must hold.

use std::fmt::Write;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes; shown as KiB.
    KiB,
    /// Bytes; shown as MB of 1,000,000.
    Megabytes,
    /// Round trips, or anything else that is whole.
    Count,
    /// Seconds.
    Seconds,
    /// Answers in a second.
    PerSecond,
    /// Microseconds.
    Micros,
}

/// What must hold of a measurement. Ratios are those of the means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// At most so much, in the unit's base.
    AtMost(f64),
    /// At most so many times the reference.
    TimesAtMost(f64),
    /// At least so many times the reference.
    TimesAtLeast(f64),
}

/// A measurement.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) ours: Vec<f64>,
    /// Empty if there is none.
    pub(super) reference: Vec<f64>,
    pub(super) limits: Vec<Limit>,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::KiB => format!("{:.2} KiB", value / 1024.0),
            Self::Megabytes => format!("{:.2} MB", value / 1e6),
            Self::Count => format!("{value:.0}"),
            Self::Seconds => format!("{value:.2} s"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Micros => format!("{value:.1} µs"),
        }
    }

    fn list(self, values: &[f64]) -> String {
        let mut shown: Vec<String> = values.iter().map(|value| self.show(*value)).collect();
        shown.dedup();
        shown.join(", ")
    }
}

impl Row {
    /// A row without any value yet.
    pub(super) fn new(what: impl Into<String>, unit: Unit) -> Self {
        Self { what: what.into(), unit, ours: Vec::new(), reference: Vec::new(), limits: Vec::new() }
    }

    /// How many times the reference it is.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(mean(&self.ours)? / mean(&self.reference)?)
    }

    /// Whether everything holds that must.
    pub(super) fn holds(&self) -> bool {
        self.limits.iter().all(|limit| match limit {
            Limit::AtMost(most) => self.ours.iter().all(|value| value <= most),
            Limit::TimesAtMost(most) => self.ratio().is_some_and(|ratio| ratio <= *most),
            Limit::TimesAtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= *least),
        })
    }

    fn cells(&self) -> [String; 6] {
        let limit = |limit: &Limit| match limit {
            Limit::AtMost(most) => format!("at most {}", self.unit.show(*most)),
            Limit::TimesAtMost(most) => format!("at most {most} times"),
            Limit::TimesAtLeast(least) => format!("at least {least} times"),
        };
        [
            self.what.clone(),
            self.unit.list(&self.ours),
            self.unit.list(&self.reference),
            self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.limits.iter().map(limit).collect::<Vec<_>>().join(", "),
            match (self.limits.is_empty(), self.holds()) {
                (true, _) => String::new(),
                (false, true) => "yes".to_owned(),
                (false, false) => "**no**".to_owned(),
            },
        ]
    }
}

/// The table in Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let head = ["what", "ours", "reference", "ratio", "must hold", "holds"].map(str::to_owned);
    let all: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in all.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(text, "| {} ", "-".repeat((*width).max(3)));
            }
            text.push_str("|\n");
        }
    }
    text
}

fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], reference: &[f64], limits: &[Limit]) -> Row {
        Row {
            what: "x".into(),
            unit: Unit::Count,
            ours: ours.to_vec(),
            reference: reference.to_vec(),
            limits: limits.to_vec(),
        }
    }

    #[test]
    fn a_limit_holds_for_each_value_and_a_ratio_for_the_means() {
        for (ours, reference, limit, holds) in [
            (&[8.0, 8.0][..], &[][..], Limit::AtMost(8.0), true),
            (&[7.0, 9.0], &[], Limit::AtMost(8.0), false),
            (&[3.0, 5.0], &[1.0, 1.0], Limit::TimesAtMost(4.0), true),
            (&[4.0, 5.0], &[1.0, 1.0], Limit::TimesAtMost(4.0), false),
            (&[1.0], &[2.0], Limit::TimesAtLeast(0.5), true),
            (&[1.0], &[2.1], Limit::TimesAtLeast(0.5), false),
            (&[1.0], &[], Limit::TimesAtLeast(0.5), false),
        ] {
            assert_eq!(row(ours, reference, &[limit]).holds(), holds, "{ours:?} {reference:?} {limit:?}");
        }
    }

    #[test]
    fn what_does_not_hold_is_seen() {
        let text = markdown(&[row(&[9.0, 9.0], &[], &[Limit::AtMost(8.0)]), row(&[1.0, 2.0], &[2.0], &[])]);
        assert!(text.contains("| 9 ") && text.contains("| at most 8 ") && text.contains("| **no** |"), "{text}");
        assert!(text.contains("| 1, 2 ") && text.contains("| 0.75 "), "{text}");
    }
}
