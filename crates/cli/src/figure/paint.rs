//! Colours, icons and the few shapes that the figure is made of.

use std::fmt::Write;

use super::text::{self, Face};
use super::trace::Actor;

pub(super) const INK: &str = "#16202e";
pub(super) const MUTED: &str = "#56657a";
pub(super) const PANEL: &str = "#fdfdfe";
pub(super) const EDGE: &str = "#cfd8e3";
pub(super) const LIFELINE: &str = "#a9b6c6";

/// The colours of an actor: lines and name, and a tint.
pub(super) fn colours(actor: Actor) -> (&'static str, &'static str) {
    match actor {
        Actor::Smartcard => ("#a15c07", "#fdf5e6"),
        Actor::DmClient => ("#2355b8", "#eef3fc"),
        Actor::BootstrapServer => ("#6a3cbc", "#f5f1fd"),
        Actor::DmServer => ("#0b6e63", "#ecf8f5"),
        Actor::Repository => ("#a02c5b", "#fdf0f5"),
    }
}

/// The style sheet: fonts that every reader has, and how text stands out.
pub(super) fn style() -> String {
    let sans = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";
    let mono = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
    let size = |face: Face| face.class().1;
    format!(
        "<style>text{{font-family:{sans};fill:{INK}}}\
         .t{{font-size:{}px;font-weight:700}}.n{{font-size:{}px;font-weight:600}}\
         .l{{font-size:{}px;font-weight:500}}.m{{font-size:{}px;font-family:{mono};fill:{MUTED}}}\
         .s{{font-size:{}px;fill:{MUTED}}}.b{{paint-order:stroke;stroke-width:5px;stroke-linejoin:round}}</style>\n",
        size(Face::Title),
        size(Face::Name),
        size(Face::Label),
        size(Face::Note),
        size(Face::Small),
    )
}

/// An SVG as it is written.
#[derive(Default)]
pub(super) struct Canvas {
    text: String,
}

impl Canvas {
    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Markup as it is.
    pub(super) fn raw(&mut self, markup: &str) {
        self.text.push_str(markup);
    }

    pub(super) fn text(&mut self, x: i32, y: i32, face: Face, attributes: &str, content: &str) {
        self.write(format_args!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{}\"{attributes}>{}</text>\n",
            face.class().0,
            text::escape(content),
        ));
    }

    /// Text in the middle of `x`, in front of lines, on a ground of this colour.
    pub(super) fn text_on(&mut self, x: i32, y: i32, face: Face, ground: &str, content: &str) {
        self.write(format_args!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{} b\" text-anchor=\"middle\" stroke=\"{ground}\">{}</text>\n",
            face.class().0,
            text::escape(content),
        ));
    }

    pub(super) fn rect(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), radius: i32, paint: &str) {
        self.write(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\" {paint}/>\n"
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (i32, i32), (x2, y2): (i32, i32), paint: &str) {
        self.write(format_args!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" {paint}/>\n"));
    }

    pub(super) fn path(&mut self, data: &str, paint: &str) {
        self.write(format_args!("<path d=\"{data}\" {paint}/>\n"));
    }

    /// An arrow from lifeline to lifeline: with a full head, or dashed with an open one for an answer.
    pub(super) fn arrow(&mut self, from: i32, to: i32, y: i32, colour: &str, answer: bool) {
        let ahead = (to - from).signum();
        let (start, tip) = (from + 2 * ahead, to - 2 * ahead);
        if answer {
            let paint = format!("stroke=\"{colour}\" stroke-width=\"1.1\" stroke-dasharray=\"4 3\" opacity=\".8\"");
            self.line((start, y), (tip, y), &paint);
            let data = format!("M{},{} L{tip},{y} L{},{}", tip - 6 * ahead, y - 3, tip - 6 * ahead, y + 3);
            self.path(&data, &format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.1\" opacity=\".8\""));
        } else {
            self.line((start, y), (tip - 7 * ahead, y), &format!("stroke=\"{colour}\" stroke-width=\"1.7\""));
            let data = format!("M{tip},{y} L{},{} L{},{}Z", tip - 10 * ahead, y - 5, tip - 10 * ahead, y + 5);
            self.path(&data, &format!("fill=\"{colour}\""));
        }
    }

    /// The sign of an actor, 20 pixels wide and high.
    pub(super) fn icon(&mut self, actor: Actor, x: i32, y: i32) {
        let (colour, _) = colours(actor);
        let shapes = match actor {
            Actor::Smartcard => "M3,1h9l5,5v13h-14z M6,10h8v6h-8z M6,13h8 M10,10v6",
            Actor::DmClient => "M5,1h10v18h-10z M5,4h10 M5,15h10 M9,17h2",
            Actor::BootstrapServer => "M2,3h16v6h-16z M2,11h16v6h-16z M5,6h3 M5,14h3 M15,6h.1 M15,14h.1",
            Actor::DmServer => "M2,2h16v11h-16z M10,13v4 M6,17.5h8 M5,7.5l2.5,2.5l3,-5l2,2.5h3",
            Actor::Repository => {
                "M3,4a7,2.6 0 0 1 14,0a7,2.6 0 0 1 -14,0 M3,4v12a7,2.6 0 0 0 14,0v-12 M3,10a7,2.6 0 0 0 14,0"
            }
        };
        self.write(format_args!(
            "<path transform=\"translate({x},{y})\" d=\"{shapes}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.5\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n"
        ));
    }

    fn write(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(markup);
    }
}
