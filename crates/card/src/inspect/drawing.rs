//! An inspection as lines of text: the tree of files, what is wrong, and the message.

use std::fmt;

use super::view::{FileView, Inspection, MessageView};
use super::{Problem, Severity};
use crate::pkcs15::is_plain;

/// The most lines of the message that are shown.
const MAX_MESSAGE_LINES: usize = 120;
/// The most characters of one line.
const MAX_WIDTH: usize = 400;

/// How a line stands out, where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ink {
    /// A heading.
    Heading,
    /// Text.
    Plain,
    /// An error.
    Bad,
    /// What is worth a look.
    Note,
}

/// A line of the drawing. No character of it does anything to a terminal but showing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it stands out.
    pub ink: Ink,
    /// Its text.
    pub text: String,
}

impl Inspection {
    /// The whole for people.
    pub fn drawing(&self) -> Vec<Line> {
        let mut lines = Lines(Vec::new());
        let iccid = self.iccid.as_ref().map_or("without an ICCID", |iccid| iccid.as_str());
        let network = self.network.as_ref().map(|network| format!(", home network {network}")).unwrap_or_default();
        lines.add(Ink::Heading, &format!("Card {iccid}, {}{network}", self.protocol));
        self.tree(&mut lines);
        self.list_problems(&mut lines);
        self.show_message(&mut lines);
        lines.0
    }

    fn tree(&self, lines: &mut Lines) {
        let mut folders: Vec<(&str, Vec<&FileView>)> = Vec::new();
        for file in &self.files {
            let (folder, _) = split(file);
            match folders.last_mut() {
                Some((last, files)) if *last == folder => files.push(file),
                Some(_) | None => folders.push((folder, vec![file])),
            }
        }
        let last_folder = folders.len().saturating_sub(1);
        for (number, (folder, files)) in folders.iter().enumerate() {
            let (branch, stem) = if number == last_folder { ("└── ", "    ") } else { ("├── ", "│   ") };
            lines.add(Ink::Heading, &format!("{branch}{folder}"));
            let last_file = files.len().saturating_sub(1);
            for (number, file) in files.iter().enumerate() {
                let (branch, below) =
                    if number == last_file { ("└── ", "    ") } else { ("├── ", "│   ") };
                let (_, id) = split(file);
                let size = file.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
                lines.add(Ink::Plain, &format!("{stem}{branch}{id} {}{size}", file.name));
                for meaning in &file.meaning {
                    lines.add(Ink::Plain, &format!("{stem}{below}     {meaning}"));
                }
                if let Some(problem) = &file.problem {
                    lines.add(Ink::Note, &format!("{stem}{below}     {problem}"));
                }
            }
        }
    }

    fn list_problems(&self, lines: &mut Lines) {
        if self.problems.is_empty() {
            return;
        }
        lines.add(Ink::Plain, "");
        lines.add(Ink::Heading, "What is wrong");
        for Problem { severity, place, problem, advice } in &self.problems {
            let (word, ink) = match severity {
                Severity::Error => ("error", Ink::Bad),
                Severity::Warning => ("warning", Ink::Note),
                Severity::Note => ("note", Ink::Plain),
            };
            lines.add(ink, &format!("  {word}: {place}: {problem}"));
            lines.add(Ink::Plain, &format!("      {advice}"));
        }
    }

    fn show_message(&self, lines: &mut Lines) {
        lines.add(Ink::Plain, "");
        let (bytes, behind_pin, json) = match &self.message {
            MessageView::Missing { reason, message } => {
                lines.add(Ink::Note, &format!("No message: {reason}. {message}"));
                return;
            }
            MessageView::Found { bytes, behind_pin, json, public_secrets: _ } => (bytes, behind_pin, json),
        };
        let access = if *behind_pin { "behind a PIN" } else { "readable by everybody" };
        lines.add(Ink::Heading, &format!("Message of {bytes} bytes, {access}, secrets hidden here"));
        let Some(json) = json else { return };
        let text = format!("{json:#}");
        for line in text.lines().take(MAX_MESSAGE_LINES) {
            lines.add(Ink::Plain, line);
        }
        if let more @ 1.. = text.lines().count().saturating_sub(MAX_MESSAGE_LINES) {
            lines.add(Ink::Note, &format!("and {more} more lines; `omadm card read` prints them"));
        }
    }
}

struct Lines(Vec<Line>);

impl Lines {
    /// Adds a line; what would do something to a terminal is written as JSON writes it, and what is too long is cut.
    fn add(&mut self, ink: Ink, text: &str) {
        let mut plain = String::new();
        for (count, character) in text.chars().enumerate() {
            if count == MAX_WIDTH {
                plain.push('…');
                break;
            }
            if is_plain(character) {
                plain.push(character);
            } else {
                plain.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
        }
        self.0.push(Line { ink, text: plain });
    }
}

fn split(file: &FileView) -> (&str, &str) {
    file.path.split_once('/').unwrap_or(("", &file.path))
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.drawing().iter().try_for_each(|line| writeln!(f, "{}", line.text))
    }
}
