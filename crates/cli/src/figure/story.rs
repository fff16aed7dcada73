//! What the steps tell: parts of the run, and arrows, with repeated reading told once.

use super::trace::{Actor, Step, Trace};

/// A part of the run.
pub(super) struct Phase<'t> {
    /// Its name.
    pub(super) name: String,
    /// Whom the client deals with in it; the client itself where it deals with nobody.
    pub(super) with: Actor,
    /// Its arrows; at least one.
    pub(super) rows: Vec<Row<'t>>,
    /// When it begins and ends, in milliseconds.
    pub(super) span: (u64, u64),
}

/// One arrow.
pub(super) struct Row<'t> {
    /// The step, or the first of those that the arrow stands for.
    pub(super) first: &'t Step,
    /// The last of them.
    pub(super) last: &'t Step,
    /// How many they are.
    pub(super) count: usize,
}

/// The parts of a run, in order.
pub(super) fn phases(trace: &Trace) -> Vec<Phase<'_>> {
    let mut phases: Vec<Phase<'_>> = Vec::new();
    for step in trace.steps() {
        match phases.last_mut() {
            Some(phase) if phase.takes(step) => phase.push(step),
            _ => phases.push(Phase::begin(step)),
        }
    }
    phases
}

impl<'t> Phase<'t> {
    fn begin(step: &'t Step) -> Self {
        let with = peer(step);
        let name = step.phase.clone().unwrap_or_else(|| usual_name(with).to_owned());
        Self { name, with, rows: vec![Row { first: step, last: step, count: 1 }], span: (step.ms, step.ms) }
    }

    /// Whether the step still belongs to this part. What a client does by itself does, and so does looking at the card
    /// while a server is being talked to.
    fn takes(&self, step: &Step) -> bool {
        if let Some(name) = &step.phase {
            return *name == self.name;
        }
        match (self.with, peer(step)) {
            (Actor::DmClient, _) | (_, Actor::DmClient | Actor::Smartcard) => true,
            (Actor::DmServer | Actor::Repository, Actor::DmServer | Actor::Repository) => true,
            (Actor::BootstrapServer, Actor::BootstrapServer) => true,
            (
                Actor::Smartcard | Actor::DmServer | Actor::Repository,
                Actor::BootstrapServer | Actor::DmServer | Actor::Repository,
            )
            | (Actor::BootstrapServer, Actor::DmServer | Actor::Repository) => false,
        }
    }

    fn push(&mut self, step: &'t Step) {
        if self.with == Actor::DmClient {
            self.with = peer(step);
            if self.rows.iter().all(|row| row.first.phase.is_none()) {
                self.name = usual_name(self.with).to_owned();
            }
        }
        self.span = (self.span.0.min(step.ms), self.span.1.max(step.ms));
        match self.rows.last_mut() {
            Some(row) if row.repeats(step) => {
                row.last = step;
                row.count += 1;
            }
            _ => self.rows.push(Row { first: step, last: step, count: 1 }),
        }
    }
}

const READING: &str = "READ BINARY";

impl Row<'_> {
    fn repeats(&self, step: &Step) -> bool {
        let last = self.last;
        (last.from, last.to) == (step.from, step.to)
            && last.label.starts_with(READING)
            && step.label.starts_with(READING)
    }

    /// What stands on the arrow: for several steps what they have in common, and their number.
    pub(super) fn label(&self) -> String {
        let label = &self.first.label;
        match self.count {
            1 => label.clone(),
            count if *label == self.last.label => format!("{label} ×{count}"),
            count => format!("{READING} ×{count}"),
        }
    }

    /// What stands below it: of several steps the first and the last.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<_> = self.first.note.lines().map(str::to_owned).collect();
        if self.count > 1 && self.last.note != self.first.note {
            notes.push(format!("… {}", self.last.note.replace('\n', " ")));
        }
        notes
    }

    /// Whether it shows a command and its answer.
    pub(super) fn is_exchange(&self) -> bool {
        self.first.note.contains(" -> ")
    }
}

/// The other actor of a step of the client.
fn peer(step: &Step) -> Actor {
    if step.from == Actor::DmClient { step.to } else { step.from }
}

fn usual_name(with: Actor) -> &'static str {
    match with {
        Actor::Smartcard => "Smartcard bootstrap",
        Actor::DmClient => "In the device",
        Actor::BootstrapServer => "Client-initiated bootstrap",
        Actor::DmServer | Actor::Repository => "Management session",
    }
}
