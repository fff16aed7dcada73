//! The figure, drawn from back to front.

use super::layout::{ANSWER, BAND_HEAD, Band, Column, HEAD, Layout, MARGIN, Placed, lay_out, name};
use super::paint::{Canvas, EDGE, LIFELINE, MUTED, PANEL, colours, style};
use super::text::{self, Face};
use super::trace::{Actor, Totals, Trace};

/// What explains the dashed arrows.
const LEGEND: &str = "dashed: the answer within the same exchange";

/// Draws a recorded run as a sequence diagram: a whole SVG document that needs nothing else, with its own light ground,
/// for pages of any colour. The same trace gives the same bytes.
pub fn svg(trace: &Trace, title: &str) -> String {
    let totals = totals(trace.totals());
    let legend = if trace.steps().iter().any(|step| step.note.contains(" -> ")) { LEGEND } else { "" };
    let caption = totals.iter().map(|total| chip_width(total) + 10).sum::<i32>() + text::width(legend, Face::Small);
    let layout = lay_out(trace, title, caption);

    let mut canvas = Canvas::default();
    head(&mut canvas, &layout, title, &totals);
    for (number, band) in (1..).zip(&layout.bands) {
        ground(&mut canvas, &layout, band, number);
    }
    for column in &layout.columns {
        lifeline(&mut canvas, &layout, column);
    }
    for band in &layout.bands {
        for placed in &band.rows {
            row(&mut canvas, &layout, band, placed);
        }
    }
    let mut x = MARGIN;
    for total in &totals {
        x += chip(&mut canvas, x, layout.caption, total) + 10;
    }
    canvas.text(layout.width - MARGIN, layout.caption, Face::Small, " text-anchor=\"end\"", legend);
    canvas.raw("</svg>\n");
    canvas.finish()
}

fn head(canvas: &mut Canvas, layout: &Layout<'_>, title: &str, totals: &[(String, &str)]) {
    let (width, height) = (layout.width, layout.height);
    canvas.raw(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n"
    ));
    let told: Vec<_> = totals.iter().map(|(value, unit)| format!("{value} {unit}")).collect();
    canvas.raw(&format!("<title>{}</title>\n", text::escape(title)));
    let names: Vec<_> = layout.columns.iter().map(|column| name(column.actor)).collect();
    let parts: Vec<_> = layout.bands.iter().map(|band| band.phase.name.as_str()).collect();
    let mut told_all = format!("A sequence diagram of {}: {}.", names.join(", "), parts.join(", then "));
    if !told.is_empty() {
        told_all.push_str(&format!(" In all {}.", told.join(", ")));
    }
    canvas.raw(&format!("<desc>{}</desc>\n", text::escape(&told_all)));
    canvas.raw(&style());
    let paint = format!("fill=\"{PANEL}\" stroke=\"{EDGE}\"");
    canvas.rect((1, 1), (width - 2, height - 2), 14, &paint);
    let mut y = MARGIN + 18;
    for line in &layout.title {
        canvas.text(MARGIN, y, Face::Title, "", line);
        y += Face::Title.line();
    }
    canvas.text(MARGIN, y - 5, Face::Small, "", "Drawn from a recorded run; times in milliseconds since it began");
}

/// The ground of a part of the run, with its bracket, its number, its name and how long it took.
fn ground(canvas: &mut Canvas, layout: &Layout<'_>, band: &Band<'_>, number: usize) {
    let (colour, tint) = colours(band.phase.with);
    let (right, bottom) = (layout.width - MARGIN, band.y + band.height);
    canvas.rect((MARGIN, band.y), (right - MARGIN, band.height), 10, &format!("fill=\"{tint}\""));
    let (left, top) = (MARGIN + 1, band.y + 1);
    canvas.path(
        &format!("M{},{top} H{} a9,9 0 0 0 -9,9 V{} a9,9 0 0 0 9,9 H{}", left + 22, left + 9, bottom - 10, left + 22),
        &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.4\" stroke-linecap=\"round\""),
    );
    let middle = band.y + 20;
    canvas.raw(&format!("<circle cx=\"{}\" cy=\"{middle}\" r=\"10\" fill=\"{colour}\"/>\n", left + 23));
    let white = " text-anchor=\"middle\" style=\"fill:#fff;font-weight:700\"";
    canvas.text(left + 23, middle + 4, Face::Small, white, &number.to_string());
    canvas.text(left + 41, middle + 5, Face::Name, &format!(" style=\"fill:{colour}\""), &band.phase.name);
    let (begin, end) = band.phase.span;
    let span = format!("{} – {} ms", text::number(begin), text::number(end));
    canvas.text(right - 12, middle + 4, Face::Small, " text-anchor=\"end\"", &span);
}

fn lifeline(canvas: &mut Canvas, layout: &Layout<'_>, column: &Column) {
    let (colour, tint) = colours(column.actor);
    let (x, left) = (column.x, column.x - column.width / 2);
    let mut from = layout.heads + HEAD;
    // Where a part is named, the lifeline makes room.
    for band in &layout.bands {
        let paint = format!("stroke=\"{LIFELINE}\" stroke-width=\"1.3\" stroke-dasharray=\"2 4\"");
        canvas.line((x, from), (x, band.y), &paint);
        from = band.y + BAND_HEAD - 6;
    }
    let paint = format!("stroke=\"{LIFELINE}\" stroke-width=\"1.3\" stroke-dasharray=\"2 4\"");
    canvas.line((x, from), (x, layout.foot), &paint);
    for y in [layout.heads, layout.foot] {
        let paint = format!("fill=\"{tint}\" stroke=\"{colour}\" stroke-width=\"1.3\"");
        canvas.rect((left, y), (column.width, HEAD), 9, &paint);
        canvas.icon(column.actor, left + 12, y + 12);
        canvas.text(left + 40, y + 27, Face::Name, &format!(" style=\"fill:{colour}\""), name(column.actor));
    }
}

fn row(canvas: &mut Canvas, layout: &Layout<'_>, band: &Band<'_>, placed: &Placed) {
    let (_, tint) = colours(band.phase.with);
    let with = layout.columns.iter().filter(|column| column.x == placed.from || column.x == placed.to);
    let actor = with.map(|column| column.actor).find(|actor| *actor != Actor::DmClient).unwrap_or(Actor::DmClient);
    let (colour, own_tint) = colours(actor);
    let middle = (placed.from + placed.to) / 2;
    let ground = if placed.from == placed.to { own_tint } else { tint };
    if placed.from == placed.to {
        let wide = placed.width + 28;
        let paint = format!("fill=\"{own_tint}\" stroke=\"{colour}\" stroke-width=\"1.3\"");
        canvas.rect((middle - wide / 2, placed.arrow), (wide, placed.end - placed.arrow), 7, &paint);
    } else {
        canvas.arrow(placed.from, placed.to, placed.arrow, colour, false);
        if placed.exchange {
            canvas.arrow(placed.to, placed.from, placed.arrow + ANSWER, colour, true);
        }
    }
    let time_y = if placed.from == placed.to { placed.y } else { placed.arrow + 4 };
    canvas.text(MARGIN + 66, time_y, Face::Small, " text-anchor=\"end\"", &text::number(placed.ms));
    for (line, y) in placed.label.iter().zip((placed.y..).step_by(Face::Label.line() as usize)) {
        canvas.text_on(middle, y, Face::Label, ground, line);
    }
    for (line, y) in placed.notes.iter().zip((placed.notes_y..).step_by(Face::Note.line() as usize)) {
        canvas.text_on(middle, y, Face::Note, ground, line);
    }
}

/// Each total that is known, with its unit.
fn totals(totals: Totals) -> Vec<(String, &'static str)> {
    let unit = |value: u64, one: &'static str, many: &'static str| if value == 1 { one } else { many };
    [
        totals.apdus.map(|value| (value, unit(value, "APDU", "APDUs"))),
        totals.round_trips.map(|value| (value, unit(value, "round trip", "round trips"))),
        totals.bytes.map(|value| (value, unit(value, "byte", "bytes"))),
        totals.ms.map(|value| (value, "ms")),
    ]
    .into_iter()
    .flatten()
    .map(|(value, unit)| (text::number(value), unit))
    .collect()
}

fn chip_width((value, unit): &(String, &str)) -> i32 {
    text::width(value, Face::Name) + text::width(unit, Face::Small) + 28
}

/// Draws a total at `x` and gives its width.
fn chip(canvas: &mut Canvas, x: i32, y: i32, total: &(String, &str)) -> i32 {
    let width = chip_width(total);
    canvas.rect((x, y - 19), (width, 28), 14, &format!("fill=\"#fff\" stroke=\"{EDGE}\""));
    canvas.raw(&format!(
        "<text x=\"{}\" y=\"{y}\" text-anchor=\"middle\" class=\"n\">{}<tspan class=\"s\" dx=\"5\" \
         style=\"font-weight:400;fill:{MUTED}\">{}</tspan></text>\n",
        x + width / 2,
        text::escape(&total.0),
        text::escape(total.1),
    ));
    width
}
