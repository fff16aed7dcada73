//! The story: one line per event, as it happens.

use omadm_core::reason::Outcome as Ending;
use std::collections::HashMap;
use std::time::Instant;

use super::facts::{ClientStatus, Seen, ServerDevice};
use crate::args::Cast;
use crate::failure::Failure;
use crate::output::{self, Output, Style};

/// The widest name of anybody in the story.
const NAME_WIDTH: usize = 8;

/// How an event is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Something is there or begins.
    Step,
    /// Something went well.
    Good,
    /// Something did not work, and something else follows.
    Bad,
    /// A device is managed.
    Star,
}

impl Mark {
    fn painted(self, paint: Output) -> String {
        match self {
            Self::Step => paint.paint(Style::Dim, "·"),
            Self::Good => paint.paint(Style::Good, "✔"),
            Self::Bad => paint.paint(Style::Note, "✘"),
            Self::Star => paint.paint(Style::Good, "★"),
        }
    }
}

/// Tells what happens, unless nobody listens.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    paint: Option<Output>,
    told: HashMap<Cast, Seen>,
}

impl Story {
    /// Aloud on standard output, or not at all.
    pub(super) fn new(aloud: bool) -> Self {
        Self { began: Instant::now(), paint: aloud.then(Output::stdout), told: HashMap::new() }
    }

    /// Tells one event.
    pub(super) fn tell(&self, who: &str, mark: Mark, text: &str) -> Result<(), Failure> {
        let Some(paint) = self.paint else { return Ok(()) };
        let time = paint.paint(Style::Dim, format!("{:6.2} s", self.began.elapsed().as_secs_f64()));
        let who = paint.paint(Style::Bold, format!("{who:NAME_WIDTH$}"));
        output::say(format!("{time}  {} {who}  {text}", mark.painted(paint)))
    }

    /// Tells text that is no event.
    pub(super) fn aside(&self, text: impl FnOnce(Output) -> String) -> Result<(), Failure> {
        self.paint.map_or(Ok(()), |paint| output::say(text(paint)))
    }

    /// Tells what is new about a device since the last time.
    pub(super) fn look(&mut self, cast: Cast, seen: &Seen) -> Result<(), Failure> {
        let before = self.told.insert(cast, seen.clone()).unwrap_or_default();
        for (mark, text) in news(&before, seen) {
            self.tell(cast.name(), mark, &text)?;
        }
        Ok(())
    }
}

/// What happened between two looks at a device.
fn news(before: &Seen, now: &Seen) -> Vec<(Mark, String)> {
    let mut lines = Vec::new();
    if let Some(client) = &now.client {
        let earlier = before.client.clone().unwrap_or_default();
        attempts(&earlier, client, &mut lines);
    }
    if let Some(device) = &now.server {
        let earlier = before.server.clone().unwrap_or_default();
        sessions(&earlier, device, &mut lines);
    }
    let is_managed = |seen: &Seen| {
        seen.client.as_ref().is_some_and(|client| client.state == "managed")
            && seen.server.as_ref().is_some_and(|device| device.state == "managed")
    };
    if is_managed(now) && !is_managed(before) {
        let took = now.client.as_ref().and_then(|client| client.last_run).map(|run| format!(" after {} ms", run.ms));
        lines.push((Mark::Star, format!("is managed{}", took.unwrap_or_default())));
    }
    lines
}

fn attempts(earlier: &ClientStatus, client: &ClientStatus, lines: &mut Vec<(Mark, String)>) {
    // The record is bounded, so its beginning may be gone; what was told before is found by its content.
    let known = |attempt| earlier.attempts.contains(attempt);
    for attempt in client.attempts.iter().filter(|attempt| !known(attempt)) {
        let mark = match attempt.outcome {
            Ending::Installed | Ending::Unchanged => Mark::Good,
            Ending::Failed => Mark::Bad,
            Ending::None | Ending::Skipped => Mark::Step,
        };
        let reason = attempt.reason.map(|reason| format!(" [{reason}]")).unwrap_or_default();
        lines.push((mark, format!("{}: {}{reason}", attempt.method, attempt.message)));
    }
}

fn sessions(earlier: &ServerDevice, device: &ServerDevice, lines: &mut Vec<(Mark, String)>) {
    let new = device.sessions.len().saturating_sub(earlier.sessions.len());
    // Newest first.
    for session in device.sessions.iter().take(new).rev() {
        let alerts: Vec<_> = session.alerts.iter().filter_map(|alert| alert.rsplit(':').next()).collect();
        lines.push((Mark::Good, format!("opens a session and reports {}", alerts.join(", "))));
    }
    if let (Some(info), None) = (&device.devinfo, &earlier.devinfo) {
        let value = |leaf: &str| info.get(leaf).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
        let text = format!("is read by HPUT and GET: {} {}, firmware {}", value("Man"), value("Mod"), value("FwV"));
        lines.push((Mark::Good, text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{LastRun, Session};
    use super::*;
    use omadm_core::reason::{Attempt, Method, Reason};
    use omadm_core::time::Timestamp;

    fn attempt(method: Method, outcome: Ending, reason: Option<Reason>) -> Attempt {
        Attempt { method, outcome, reason, message: "told in words".to_owned(), at: Timestamp(1_800_000_000) }
    }

    #[test]
    fn each_event_is_told_once() {
        let mut seen = Seen::default();
        let mut client = ClientStatus { state: "waiting".to_owned(), ..ClientStatus::default() };
        client.attempts.push(attempt(Method::Smartcard, Ending::Failed, Some(Reason::MalformedMessage)));
        seen.client = Some(client.clone());
        let lines = news(&Seen::default(), &seen);
        assert_eq!(lines, [(Mark::Bad, "smartcard: told in words [malformed-message]".to_owned())]);
        assert_eq!(news(&seen, &seen), []);

        let mut later = seen.clone();
        client.attempts.push(attempt(Method::Factory, Ending::Installed, None));
        client.state = "managed".to_owned();
        client.last_run = Some(LastRun { ms: 70, ..LastRun::default() });
        later.client = Some(client);
        later.server = Some(ServerDevice {
            state: "managed".to_owned(),
            devinfo: Some(Cast::Sim.facts().dev_info()),
            sessions: vec![Session { alerts: vec!["urn:oma:at:dm:2.0:BootstrapComplete".to_owned()], ended: true }],
            ..ServerDevice::default()
        });
        let texts: Vec<_> = news(&seen, &later).into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            texts,
            [
                "factory: told in words",
                "opens a session and reports BootstrapComplete",
                "is read by HPUT and GET: Example Devices Meter 3, firmware 3.1.0",
                "is managed after 70 ms",
            ]
        );
    }
}
