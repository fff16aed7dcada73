//! All that goes to standard output: text and tables for people, JSON for programs; and failures to standard error.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// A line below the header, none between rows.
const LINES: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .content_lines(ContentLineStyle::none());

/// Below so many columns a table is not made to fit.
const NARROW: u16 = 60;

/// How a piece of text stands out, on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Headings and names.
    Bold,
    /// What may be overlooked.
    Dim,
    /// What went well.
    Good,
    /// What went wrong.
    Bad,
    /// What is worth a look.
    Note,
    /// What can be copied and used: commands and addresses.
    Use,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Note => "33",
            Self::Use => "36",
        }
    }
}

/// Where a stream's text ends up, and so whether it may hold colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    colour: bool,
}

impl Output {
    /// Standard output as it is: coloured on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn stdout() -> Self {
        Self { colour: io::stdout().is_terminal() && colours_wanted() }
    }

    /// Standard error as it is.
    pub(crate) fn stderr() -> Self {
        Self { colour: io::stderr().is_terminal() && colours_wanted() }
    }

    /// Without colours, wherever it goes.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false }
    }

    /// Whether colours are on.
    pub(crate) fn is_coloured(self) -> bool {
        self.colour
    }

    /// `text` in a style, if colours are on.
    pub(crate) fn paint(self, style: Style, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    /// A table for people, with this header, as wide as its content, at most as wide as the terminal.
    pub(crate) fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        // What is no terminal, or a very narrow one, gets lines as long as they are.
        if table.width().is_none_or(|width| width < NARROW) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        table.set_header(header.iter().map(|title| self.cell(Style::Dim, title)));
        table
    }

    /// A cell of a table in a style.
    pub(crate) fn cell(self, style: Style, text: impl AsRef<str>) -> Cell {
        let cell = Cell::new(text.as_ref());
        match style {
            _ if !self.colour => cell,
            Style::Bold => cell.add_attribute(Attribute::Bold),
            Style::Dim => cell.add_attribute(Attribute::Dim),
            Style::Good => cell.fg(Color::DarkGreen),
            Style::Bad => cell.fg(Color::DarkRed),
            Style::Note => cell.fg(Color::DarkYellow),
            Style::Use => cell.fg(Color::DarkCyan),
        }
    }
}

fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Text that came from elsewhere, as it may stand on a terminal: control characters and those that turn the direction of
/// writing are spelled out, so that nobody steers the terminal or forges a line.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        let steers = matches!(letter,
            '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{061C}' | '\u{FEFF}');
        if steers || letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Writes text for people, and a line end.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn say(text: impl AsRef<str>) -> Result<(), Failure> {
    write(format!("{}\n", text.as_ref()).as_bytes())
}

/// Writes bytes as they are.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))
}

/// Writes one JSON value for programs, on one line.
///
/// # Errors
/// If standard output is closed or full.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::failed(format!("cannot write the result as JSON: {error}")))?;
    bytes.push(b'\n');
    write(&bytes)
}

/// Tells a person something beside the result, on standard error.
pub(crate) fn remark(text: &str) {
    let paint = Output::stderr();
    let _ = io::stderr().write_all(format!("{} {text}\n", paint.paint(Style::Note, "note:")).as_bytes());
}

/// Tells a person what an executable says aside.
pub(crate) fn aside(line: &str) {
    let line = harmless(line);
    let _ = io::stderr().write_all(format!("{} {line}\n", Output::stderr().paint(Style::Dim, "says:")).as_bytes());
}

/// Tells a person why the command failed, and what to do about it. Standard error may be gone; then nobody is told.
pub(crate) fn complain(failure: &Failure) {
    let paint = Output::stderr();
    // What failed may be quoted.
    let lines = |text: &str| text.lines().map(harmless).collect::<Vec<_>>().join("\n");
    let mut text = format!("{} {}\n", paint.paint(Style::Bad, "error:"), lines(&failure.message));
    if let Some(advice) = failure.advice.as_deref().map(lines) {
        text.push_str(&format!("{} {advice}\n", paint.paint(Style::Use, " help:")));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_steers_no_terminal() {
        assert_eq!(harmless("Zähler 3, \"ok\" \\ 日本"), "Zähler 3, \"ok\" \\ 日本");
        assert_eq!(harmless("Acme\u{1b}]0;owned\u{7}\nforged"), "Acme\\u{1b}]0;owned\\u{7}\\nforged");
        assert_eq!(harmless("\u{9b}2J\u{202e}x\u{2028}"), "\\u{9b}2J\\u{202e}x\\u{2028}");
    }
}
