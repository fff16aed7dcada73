//! The log: what happens, as lines on standard error.

use omadm_client::host::system_micros;
use omadm_core::time::Timestamp;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::str::FromStr;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What is logged: a level for everything, or levels for targets and what is below them, such as `omadm_client=debug,warn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The beginning of a target and how much of it is logged, the longest beginning first.
    targets: Vec<(String, LevelFilter)>,
}

impl Filter {
    fn level(&self, target: &str) -> LevelFilter {
        let found = self.targets.iter().find(|(start, _)| target.starts_with(start.as_str()));
        found.map_or(LevelFilter::OFF, |(_, level)| *level)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self { targets: vec![(String::new(), LevelFilter::INFO)] }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut targets: Vec<(String, LevelFilter)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match (part.split_once('='), part.parse()) {
                (Some((target, level)), _) => {
                    let wrong = |_| format!("\"{level}\": off, error, warn, info, debug or trace is expected");
                    (target.to_owned(), level.parse().map_err(wrong)?)
                }
                (None, Ok(level)) => (String::new(), level),
                (None, Err(_)) => (part.to_owned(), LevelFilter::TRACE),
            };
            if target.contains(['[', '{', ' ']) {
                return Err(format!("\"{target}\": a target such as omadm_client is expected"));
            }
            let place = targets.partition_point(|(other, _)| other.len() >= target.len());
            targets.insert(place, (target, level));
        }
        Ok(Self { targets })
    }
}

/// Begins to log. Called once.
pub(crate) fn start(filter: Filter) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // It fails where logging began before, and then that goes on.
    let _ = tracing::subscriber::set_global_default(Log { filter, colour });
}

/// Writes events as they come. This program has no spans.
struct Log {
    filter: Filter,
    colour: bool,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.filter.level(metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.filter.targets.iter().map(|(_, level)| *level).max()
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        let line = line(system_micros(), *metadata.level(), metadata.target(), &message.0, self.colour);
        // Who reads may have gone.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line of the log; `micros` since 1970.
fn line(micros: u128, level: Level, target: &str, message: &str, colour: bool) -> String {
    let seconds = Timestamp(u64::try_from(micros / 1_000_000).unwrap_or(u64::MAX)).to_string();
    let time = format!("{}.{:06}Z", seconds.trim_end_matches('Z'), micros % 1_000_000);
    let hue = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    let mut line = if colour {
        format!("\x1b[2m{time}\x1b[0m \x1b[{hue}m{level:>5}\x1b[0m \x1b[2m{target}:\x1b[0m")
    } else {
        format!("{time} {level:>5} {target}:")
    };
    for one in message.chars() {
        // Text from outside must neither end the line nor move the cursor.
        if one.is_control() {
            line.extend(one.escape_default());
        } else {
            line.push(one);
        }
    }
    line.push('\n');
    line
}

/// The text of an event: its message, then its fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_time_level_place_and_message() {
        let plain = line(1_700_000_000_000_042, Level::WARN, "omadm_client::card", " no \x1b[2J card\n", false);
        assert_eq!(plain, "2023-11-14T22:13:20.000042Z  WARN omadm_client::card: no \\u{1b}[2J card\\n\n");
        assert!(line(0, Level::INFO, "x", " y", true).contains("\x1b[32m INFO\x1b[0m"));
    }

    #[test]
    fn the_longest_target_decides() {
        let filter: Filter = "omadm_client=debug, omadm_client::card=off,warn".parse().unwrap();
        assert_eq!(filter.level("omadm_client::session"), LevelFilter::DEBUG);
        assert_eq!(filter.level("omadm_client::card"), LevelFilter::OFF);
        assert_eq!(filter.level("else"), LevelFilter::WARN);
        assert_eq!("omadm_client".parse::<Filter>().unwrap().level("omadm_client"), LevelFilter::TRACE);
        assert_eq!("x=info".parse::<Filter>().unwrap().level("y"), LevelFilter::OFF);
        assert!("omadm_client=loud".parse::<Filter>().unwrap_err().contains("\"loud\""));
        assert!("a[b]=info".parse::<Filter>().is_err());
    }
}
