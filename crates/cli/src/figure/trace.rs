//! The recorded run as it is read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest trace, in bytes.
pub const MAX_TRACE: usize = 1 << 20;
/// The most steps of a trace.
pub const MAX_STEPS: usize = 2_000;
/// The longest label, note or phase, in characters.
pub const MAX_TEXT: usize = 400;

/// Who takes part, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The card in the device.
    #[serde(alias = "card")]
    Smartcard,
    /// The client in the device.
    #[serde(alias = "client")]
    DmClient,
    /// The server that is asked for the Bootstrap Message.
    BootstrapServer,
    /// The server of the management session.
    DmServer,
    /// The store that HGET, HPUT and HPOST address.
    Repository,
}

/// One exchange, package or deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Milliseconds since the run began.
    pub ms: u64,
    /// Who begins it.
    pub from: Actor,
    /// Whom it is for; the same as `from` where an actor does something by itself.
    pub to: Actor,
    /// What it is.
    pub label: String,
    /// Details, line by line; `command -> answer` for an exchange.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The name of the part of the run that begins here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// What the whole run took, each where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Commands to the card.
    pub apdus: Option<u64>,
    /// Round trips over the network.
    pub round_trips: Option<u64>,
    /// Bytes over the network, both ways.
    pub bytes: Option<u64>,
    /// Milliseconds.
    pub ms: Option<u64>,
}

/// A recorded run: 1 to [`MAX_STEPS`] steps with texts of at most [`MAX_TEXT`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    steps: Vec<Step>,
    totals: Totals,
}

impl Trace {
    /// The steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The totals, as far as the trace gave them.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

/// Why a text is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// More than [`MAX_TRACE`] bytes.
    #[error("the trace has {0} bytes, at most {MAX_TRACE} can be drawn; record a shorter run")]
    TooBig(usize),
    /// More than [`MAX_STEPS`] steps.
    #[error("line {0}: more than {MAX_STEPS} steps; record a shorter run")]
    TooManySteps(usize),
    /// No step at all.
    #[error("the trace holds no step")]
    Empty,
    /// A line that is no JSON object, or not one of a trace.
    #[error("line {line}: {detail}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A text of more than [`MAX_TEXT`] characters.
    #[error("line {line}: {member} has more than {MAX_TEXT} characters; shorten it")]
    TextTooLong {
        /// Counted from 1.
        line: usize,
        /// `label`, `note` or `phase`.
        member: &'static str,
    },
    /// A second line with totals.
    #[error("line {0}: the totals are given twice")]
    SecondMeta(usize),
}

/// Reads a trace; its form is described in the [module](super). Blank lines are passed over.
///
/// # Errors
/// If a limit is exceeded, no step is there, or a line is neither a step nor the totals.
pub fn parse(trace: &str) -> Result<Trace, TraceError> {
    if trace.len() > MAX_TRACE {
        return Err(TraceError::TooBig(trace.len()));
    }
    let mut steps = Vec::new();
    let mut totals = None;
    for (number, text) in (1..).zip(trace.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match parse_line(text).map_err(|error| TraceError::Line { line: number, detail: error.to_string() })? {
            Line::Totals(_) if totals.is_some() => return Err(TraceError::SecondMeta(number)),
            Line::Totals(given) => totals = Some(given),
            Line::Step(_) if steps.len() == MAX_STEPS => return Err(TraceError::TooManySteps(number)),
            Line::Step(step) => {
                let texts = [("label", Some(&step.label)), ("note", Some(&step.note)), ("phase", step.phase.as_ref())];
                for (member, text) in texts {
                    if text.is_some_and(|text| text.chars().nth(MAX_TEXT).is_some()) {
                        return Err(TraceError::TextTooLong { line: number, member });
                    }
                }
                steps.push(step);
            }
        }
    }
    if steps.is_empty() {
        return Err(TraceError::Empty);
    }
    Ok(Trace { steps, totals: totals.unwrap_or_default() })
}

enum Line {
    Step(Step),
    Totals(Totals),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    meta: Totals,
}

fn parse_line(text: &str) -> serde_json::Result<Line> {
    let object: Map<String, Value> = serde_json::from_str(text)?;
    Ok(if object.contains_key("meta") {
        Line::Totals(Meta::deserialize(Value::Object(object))?.meta)
    } else {
        Line::Step(Step::deserialize(Value::Object(object))?)
    })
}
