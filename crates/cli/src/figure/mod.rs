//! SVG sequence diagrams, drawn from a recorded run.
//!
//! A trace is text: one JSON object on each line, one line for each step of the run, in the order in which they happened:
//!
//! ```json
//! {"ms":12,"from":"dm-client","to":"smartcard","label":"SELECT EF(ODF)","note":"00 A4 08 04 .. -> 62 17 .. 90 00"}
//! {"meta":{"apdus":9,"round_trips":4,"bytes":5120,"ms":140}}
//! ```
//!
//! - `ms`: milliseconds since the run began. `from`, `to`: `smartcard`, `dm-client`, `bootstrap-server`, `dm-server`,
//!   `repository`; `card` and `client` are accepted. The same actor twice: something that it does by itself.
//! - `label` stands on the arrow. `note`, optional, stands below it, line by line; one that holds ` -> ` tells of a
//!   command and its answer, which is drawn as a second, dashed arrow.
//! - `phase`, optional, begins a part of the run with a name of its own. Without it the actors tell the part.
//! - `meta`, on one line at most and with any of its members, gives the totals for the caption.
//!
//! Whoever records leaves out what is secret: the figure shows what the trace says.

mod draw;
mod layout;
mod paint;
mod story;
mod text;
mod trace;

#[cfg(test)]
mod tests;

pub use draw::svg;
pub use trace::{Actor, MAX_STEPS, MAX_TEXT, MAX_TRACE, Step, Totals, Trace, TraceError, parse};
