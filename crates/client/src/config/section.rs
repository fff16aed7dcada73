//! A table of the file: its keys are known, and each is taken as the kind of value that it must have.

use super::values;
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where in the file something stands, in bytes.
pub(super) type Span = Range<usize>;

/// What is wrong, and where.
pub(super) type Wrong = (Span, String);

/// How the text of a time is read.
pub(super) type ReadTime = fn(&str) -> Result<Duration, String>;

/// A table whose keys are all known.
pub(super) struct Section<'a> {
    table: DeTable<'a>,
    span: Span,
}

/// Text that is the value of a key.
pub(super) struct Said<'a> {
    text: Cow<'a, str>,
    span: Span,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn file(text: &'a str, known: &[&str]) -> Result<Self, Wrong> {
        let table =
            DeTable::parse(text).map_err(|error| (error.span().unwrap_or_default(), error.message().to_owned()))?;
        // What is missing in the file is missing from its first line on.
        Self::of(table.into_inner(), 0..0, known)
    }

    /// The table of that name; `None` where it is not there.
    pub(super) fn section(&mut self, name: &str, known: &[&str]) -> Result<Option<Self>, Wrong> {
        let Some(value) = self.table.remove(name) else { return Ok(None) };
        let span = value.span();
        Self::of(table(value)?, span, known).map(Some)
    }

    /// The table of that name, or an empty one.
    pub(super) fn section_or_empty(&mut self, name: &str, known: &[&str]) -> Result<Self, Wrong> {
        let empty = Self { table: DeTable::new(), span: 0..0 };
        Ok(self.section(name, known)?.unwrap_or(empty))
    }

    /// The table of that name, whose keys are not known beforehand.
    pub(super) fn open_section(&mut self, name: &str) -> Result<Vec<(Said<'a>, Spanned<DeValue<'a>>)>, Wrong> {
        let Some(value) = self.table.remove(name) else { return Ok(Vec::new()) };
        let entries = table(value)?.into_iter();
        Ok(entries.map(|(key, value)| (Said { span: key.span(), text: key.into_inner() }, value)).collect())
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The value of a key, whatever it is.
    pub(super) fn value(&mut self, key: &str) -> Option<Spanned<DeValue<'a>>> {
        self.table.remove(key)
    }

    /// The text of a key; `None` where there is none.
    pub(super) fn said(&mut self, key: &str) -> Result<Option<Said<'a>>, Wrong> {
        self.value(key).map(Said::of).transpose()
    }

    /// As [`said`](Self::said); `None` also where it is empty.
    pub(super) fn given(&mut self, key: &str) -> Result<Option<Said<'a>>, Wrong> {
        Ok(self.said(key)?.filter(|said| !said.text.is_empty()))
    }

    /// The text of a key that must be there.
    pub(super) fn required(&mut self, key: &str) -> Result<Said<'a>, Wrong> {
        self.said(key)?.ok_or_else(|| (self.span(), format!("missing field `{key}`")))
    }

    /// Text for people; empty where there is none.
    pub(super) fn text(&mut self, key: &str) -> Result<String, Wrong> {
        self.said(key)?.map_or(Ok(String::new()), |said| said.read(values::text))
    }

    /// A time, with how it is read; `default` where there is none.
    pub(super) fn time(&mut self, key: &str, default: Duration, read: ReadTime) -> Result<Duration, Wrong> {
        self.said(key)?.map_or(Ok(default), |said| said.read(read))
    }

    /// Whether; no where it is not said.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, Wrong> {
        let Some(value) = self.value(key) else { return Ok(false) };
        let found = value.get_ref();
        found.as_bool().ok_or_else(|| unexpected(value.span(), found, "true or false"))
    }

    fn of(table: DeTable<'a>, span: Span, known: &[&str]) -> Result<Self, Wrong> {
        let unknown = |key: &&Spanned<Cow<'_, str>>| !known.contains(&key.get_ref().as_ref());
        // The first in the file, not in the alphabet.
        if let Some(key) = table.keys().filter(unknown).min_by_key(|key| key.span().start) {
            let message = format!("unknown field `{}`, expected one of {}", key.get_ref(), known.join(", "));
            return Err((key.span(), message));
        }
        Ok(Self { table, span })
    }
}

impl<'a> Said<'a> {
    /// The text that this value is.
    pub(super) fn of(value: Spanned<DeValue<'a>>) -> Result<Self, Wrong> {
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Ok(Self { text, span }),
            other => Err(unexpected(span, &other, "a string")),
        }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// What the text means; an error is told with the place.
    pub(super) fn read<T, E: Display>(&self, meaning: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Wrong> {
        meaning(&self.text).map_err(|error| self.wrong(error))
    }

    /// That something is wrong with it.
    pub(super) fn wrong(&self, message: impl Display) -> Wrong {
        (self.span.clone(), message.to_string())
    }
}

/// The items of an array of texts.
pub(super) fn items(value: Spanned<DeValue<'_>>) -> Result<Vec<Said<'_>>, Wrong> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => items.into_iter().map(Said::of).collect(),
        other => Err(unexpected(span, &other, "an array")),
    }
}

fn table(value: Spanned<DeValue<'_>>) -> Result<DeTable<'_>, Wrong> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Ok(table),
        other => Err(unexpected(span, &other, "a table")),
    }
}

fn unexpected(span: Span, found: &DeValue<'_>, expected: &str) -> Wrong {
    (span, format!("found: {}, expected {expected}", found.type_str()))
}
