//! Where everything stands, in pixels: wide enough for every text, and no wider.

use super::story::{self, Phase, Row};
use super::text::{self, Face};
use super::trace::{Actor, Trace};

/// Around the figure.
pub(super) const MARGIN: i32 = 28;
/// The height of an actor's box.
pub(super) const HEAD: i32 = 44;
/// The room for the name of a part.
pub(super) const BAND_HEAD: i32 = 38;
/// The room for the times, left of the lifelines.
const GUTTER: i32 = 74;
/// The widest text on or below an arrow, and its most lines.
const TEXT: i32 = 340;
const LABEL_LINES: usize = 3;
const NOTE_LINES: usize = 5;
/// Between a text and the lifelines at its sides.
const CLEAR: i32 = 20;
/// Between the boxes of neighbours.
const APART: i32 = 30;
/// Between a command's arrow and that of its answer.
pub(super) const ANSWER: i32 = 6;

/// The whole figure.
pub(super) struct Layout<'t> {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) title: Vec<String>,
    pub(super) columns: Vec<Column>,
    /// The upper edge of the actors' boxes.
    pub(super) heads: i32,
    pub(super) bands: Vec<Band<'t>>,
    /// The lower end of the lifelines.
    pub(super) foot: i32,
    /// The base line of the caption.
    pub(super) caption: i32,
}

/// An actor and its lifeline.
pub(super) struct Column {
    pub(super) actor: Actor,
    /// The lifeline.
    pub(super) x: i32,
    /// The width of the actor's box.
    pub(super) width: i32,
}

/// A part of the run.
pub(super) struct Band<'t> {
    pub(super) phase: Phase<'t>,
    pub(super) y: i32,
    pub(super) height: i32,
    pub(super) rows: Vec<Placed>,
}

/// An arrow, or a box on one lifeline where both ends are the same.
pub(super) struct Placed {
    pub(super) from: i32,
    pub(super) to: i32,
    /// The base line of the first line of the label.
    pub(super) y: i32,
    pub(super) label: Vec<String>,
    /// The line of the arrow; for a box its upper edge.
    pub(super) arrow: i32,
    pub(super) exchange: bool,
    /// The base line of the first line of the notes.
    pub(super) notes_y: i32,
    pub(super) notes: Vec<String>,
    pub(super) ms: u64,
    /// The width of the widest of its texts.
    pub(super) width: i32,
    /// The lower edge of it all.
    pub(super) end: i32,
}

/// Lays the figure out. `caption` is the width that the caption takes.
pub(super) fn lay_out<'t>(trace: &'t Trace, title: &str, caption: i32) -> Layout<'t> {
    let phases = story::phases(trace);
    let mut actors: Vec<_> = trace.steps().iter().flat_map(|step| [step.from, step.to]).collect();
    actors.sort();
    actors.dedup();
    let columns = columns(&actors, &phases);
    let right = columns.last().map_or(0, |column| column.x + column.width / 2);
    let names = phases.iter().map(|phase| text::width(&phase.name, Face::Name) + 190).max().unwrap_or(0);
    let inner = (right + 24 - MARGIN).max(names).max(caption).max(560);
    let title = text::wrap(title, Face::Title, inner, 2);

    let heads = MARGIN + Face::Title.line() * title.len() as i32 + Face::Small.line() + 22;
    let mut y = heads + HEAD + 18;
    let mut bands = Vec::new();
    for phase in phases {
        let mut at = y + BAND_HEAD;
        let mut rows = Vec::new();
        for row in &phase.rows {
            let placed = place(row, &columns, at);
            at = placed.end + 12;
            rows.push(placed);
        }
        bands.push(Band { phase, y, height: at - y, rows });
        y = at + 14;
    }
    let foot = y + 4;
    let caption = foot + HEAD + 40;
    Layout { width: inner + 2 * MARGIN, height: caption + MARGIN, title, columns, heads, bands, foot, caption }
}

/// The name of an actor as it stands in its box.
pub(super) fn name(actor: Actor) -> &'static str {
    match actor {
        Actor::Smartcard => "Smartcard",
        Actor::DmClient => "DM Client",
        Actor::BootstrapServer => "Bootstrap Server",
        Actor::DmServer => "DM Server",
        Actor::Repository => "Data Repository",
    }
}

fn columns(actors: &[Actor], phases: &[Phase<'_>]) -> Vec<Column> {
    let head = |actor: Actor| text::width(name(actor), Face::Name) + 54;
    let mut gaps: Vec<i32> =
        actors.windows(2).map(|pair| pair.iter().map(|actor| head(*actor) / 2).sum::<i32>() + APART).collect();
    let at = |actor: Actor| actors.iter().position(|one| *one == actor).unwrap_or_default();
    let mut first = actors.first().map_or(0, |actor| head(*actor) / 2);
    let mut last = actors.last().map_or(0, |actor| head(*actor) / 2);
    let mut arrows = Vec::new();
    for row in phases.iter().flat_map(|phase| &phase.rows) {
        let (from, to) = (at(row.first.from), at(row.first.to));
        let wide = texts(row).2 + 2 * CLEAR;
        if from == to {
            // A box stands on its lifeline and leaves the neighbours' free.
            for side in [from.checked_sub(1), Some(from)] {
                match side.and_then(|side| gaps.get_mut(side)) {
                    Some(gap) => *gap = (*gap).max(wide / 2 + CLEAR),
                    None if side.is_none() => first = first.max(wide / 2),
                    None => last = last.max(wide / 2),
                }
            }
        } else {
            arrows.push((from.min(to), from.max(to), wide));
        }
    }
    // Short arrows first: what they need is there for the long ones too.
    arrows.sort_by_key(|(from, to, _)| to - from);
    for (from, to, wide) in arrows {
        let Some(crossed) = gaps.get_mut(from..to) else { continue };
        let missing = wide - crossed.iter().sum::<i32>();
        if missing > 0 {
            let share = missing / crossed.len().max(1) as i32 + 1;
            crossed.iter_mut().for_each(|gap| *gap += share);
        }
    }
    let mut x = MARGIN + GUTTER + first;
    let mut columns = Vec::new();
    for (place, actor) in actors.iter().enumerate() {
        columns.push(Column { actor: *actor, x, width: head(*actor) });
        x += gaps.get(place).copied().unwrap_or(last);
    }
    columns
}

/// The lines of the label, those of the notes, and the width of the widest.
fn texts(row: &Row<'_>) -> (Vec<String>, Vec<String>, i32) {
    let label = text::wrap(&row.label(), Face::Label, TEXT, LABEL_LINES);
    let mut notes: Vec<String> = row.notes().iter().flat_map(|line| note(line)).collect();
    if notes.len() > NOTE_LINES {
        notes.truncate(NOTE_LINES - 1);
        notes.push("…".to_owned());
    }
    let widths = label.iter().map(|line| text::width(line, Face::Label));
    let width = widths.chain(notes.iter().map(|line| text::width(line, Face::Note))).max().unwrap_or(0);
    (label, notes, width)
}

/// One line of a note, broken; first of all between a command and its answer.
fn note(line: &str) -> Vec<String> {
    match line.split_once(" -> ") {
        Some((command, answer)) if text::width(line, Face::Note) > TEXT => {
            let mut lines = text::wrap(command, Face::Note, TEXT, 2);
            lines.extend(text::wrap(&format!("→ {answer}"), Face::Note, TEXT, 2));
            lines
        }
        _ => text::wrap(line, Face::Note, TEXT, 3),
    }
}

fn place(row: &Row<'_>, columns: &[Column], top: i32) -> Placed {
    let x = |actor: Actor| columns.iter().find(|column| column.actor == actor).map_or(0, |column| column.x);
    let (from, to) = (x(row.first.from), x(row.first.to));
    let (label, notes, width) = texts(row);
    let label_height = Face::Label.line() * label.len() as i32;
    let notes_height = Face::Note.line() * notes.len() as i32;
    let exchange = row.is_exchange() && from != to;
    let (y, arrow, notes_y, end) = if from == to {
        let notes_y = top + 8 + label_height + 11;
        (top + 19, top, notes_y, top + 8 + label_height + notes_height + 7)
    } else {
        let arrow = top + label_height + 4;
        let below = arrow + if exchange { ANSWER } else { 0 };
        (top + 12, arrow, below + 15, below + 6 + notes_height)
    };
    Placed { from, to, y, label, arrow, exchange, notes_y, notes, ms: row.first.ms, width, end }
}
