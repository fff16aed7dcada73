//! The story: one line per event, as it happens.

use omadm_core::reason::{Attempt, Method, Outcome as Ending};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use super::facts::{Seen, ServerDevice};
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
    /// There was nothing.
    Nothing,
    /// Something did not work, and something else follows.
    Bad,
    /// A device is managed.
    Star,
}

impl Mark {
    fn painted(self, paint: Output) -> String {
        match self {
            Self::Step => paint.paint(Style::Dim, "·"),
            Self::Nothing => paint.paint(Style::Dim, "○"),
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
    /// What is left out of paths.
    folder: String,
}

impl Story {
    /// Aloud on standard output, or not at all.
    pub(super) fn new(aloud: bool) -> Self {
        Self { began: Instant::now(), paint: aloud.then(Output::stdout), told: HashMap::new(), folder: String::new() }
    }

    /// From now on paths in this folder are told without it.
    pub(super) fn shorten(&mut self, folder: &Path) {
        self.folder = format!("{}/", folder.display());
    }

    /// Tells one event.
    pub(super) fn tell(&self, who: &str, mark: Mark, text: &str) -> Result<(), Failure> {
        let Some(paint) = self.paint else { return Ok(()) };
        let time = paint.paint(Style::Dim, format!("{:6.2} s", self.began.elapsed().as_secs_f64()));
        let who = paint.paint(Style::Bold, format!("{who:NAME_WIDTH$}"));
        let text = if self.folder.is_empty() { text.to_owned() } else { text.replace(&self.folder, "") };
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
    let (old_client, client) = (before.client.clone().unwrap_or_default(), now.client.clone().unwrap_or_default());
    let (old_server, server) = (before.server.clone().unwrap_or_default(), now.server.clone().unwrap_or_default());
    // The record is bounded, so its beginning may be gone; what was told before is found by its content.
    let fresh = client.attempts.iter().filter(|attempt| !old_client.attempts.contains(attempt));
    let (asked, own): (Vec<_>, Vec<_>) = fresh.partition(|attempt| attempt.method == Method::BootstrapServer);
    lines.extend(own.into_iter().map(attempt));
    lines.extend(decisions(&old_server, &server));
    lines.extend(asked.into_iter().map(attempt));
    lines.extend(sessions(&old_server, &server));
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

fn attempt(attempt: &Attempt) -> (Mark, String) {
    let mark = match attempt.outcome {
        Ending::Installed | Ending::Unchanged => Mark::Good,
        Ending::Failed => Mark::Bad,
        Ending::None => Mark::Nothing,
        Ending::Skipped => Mark::Step,
    };
    let reason = attempt.reason.map(|reason| format!(" [{reason}]")).unwrap_or_default();
    (mark, format!("{}: {}{reason}", attempt.method, attempt.message))
}

/// What the server decided about requests for a message.
fn decisions(before: &ServerDevice, now: &ServerDevice) -> Vec<(Mark, String)> {
    let new = count_new(&before.requests, &now.requests, |request| &request.at);
    let new = now.requests.iter().take(new).rev().filter(|request| request.endpoint == "bootstrap");
    new.map(|request| {
        let mark = if request.status == Some(200) { Mark::Good } else { Mark::Bad };
        let why = request.detail.split("; ").next().unwrap_or_default();
        (mark, format!("the server decides: {why}"))
    })
    .collect()
}

fn sessions(before: &ServerDevice, now: &ServerDevice) -> Vec<(Mark, String)> {
    let mut lines = Vec::new();
    let new = count_new(&before.sessions, &now.sessions, |session| &session.started_at);
    for session in now.sessions.iter().take(new).rev() {
        let alerts: Vec<_> = session.alerts.iter().filter_map(|alert| alert.rsplit(':').next()).collect();
        lines.push((Mark::Good, format!("opens a session and reports {}", alerts.join(", "))));
    }
    if let (Some(info), None) = (&now.devinfo, &before.devinfo) {
        let value = |leaf: &str| info.get(leaf).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
        let text = format!("is read by HPUT and GET: {} {}, firmware {}", value("Man"), value("Mod"), value("FwV"));
        lines.push((Mark::Good, text));
    }
    lines
}

/// How many entries at the beginning of a list, newest first and bounded, were not there before.
fn count_new<T, K: PartialEq>(before: &[T], now: &[T], key: impl Fn(&T) -> &K) -> usize {
    let longer = now.len().saturating_sub(before.len());
    let last_known = before.first().and_then(|known| now.iter().position(|entry| key(entry) == key(known)));
    last_known.unwrap_or(now.len()).max(longer)
}

#[cfg(test)]
mod tests {
    use super::super::facts::{ClientStatus, LastRun, Request, Session};
    use super::*;
    use omadm_core::reason::Reason;
    use omadm_core::time::Timestamp;

    fn attempt(method: Method, outcome: Ending, reason: Option<Reason>) -> Attempt {
        Attempt { method, outcome, reason, message: "told in words".to_owned(), at: Timestamp(1_800_000_000) }
    }

    fn session(started_at: &str, alert: &str) -> Session {
        Session { started_at: started_at.to_owned(), alerts: vec![alert.to_owned()], ended: true }
    }

    #[test]
    fn a_decision_is_told_before_what_it_led_to() {
        let client = ClientStatus {
            attempts: vec![
                attempt(Method::Factory, Ending::None, Some(Reason::NoFactoryFile)),
                attempt(Method::BootstrapServer, Ending::Installed, None),
            ],
            ..ClientStatus::default()
        };
        let request = Request {
            endpoint: "bootstrap".to_owned(),
            status: Some(200),
            detail: "profile x".to_owned(),
            ..Request::default()
        };
        let server = ServerDevice { requests: vec![request], ..ServerDevice::default() };
        let lines = news(&Seen::default(), &Seen { client: Some(client), server: Some(server) });
        let marks: Vec<_> = lines.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(marks, [Mark::Nothing, Mark::Good, Mark::Good]);
        assert_eq!(lines[1].1, "the server decides: profile x");
    }

    #[test]
    fn sessions_are_told_once_also_in_a_full_list() {
        let device = |sessions: Vec<Session>| ServerDevice { sessions, ..ServerDevice::default() };
        let first = session("2026-01-01T00:00:00Z", "a:one");
        let second = session("2026-01-01T00:00:05Z", "a:two");
        let open = Session { ended: false, ..second.clone() };
        assert_eq!(sessions(&device(vec![first.clone()]), &device(vec![open.clone(), first.clone()])).len(), 1);
        assert_eq!(sessions(&device(vec![first.clone()]), &device(vec![open.clone()])).len(), 1);
        assert_eq!(sessions(&device(vec![open, first.clone()]), &device(vec![second, first])).len(), 0);
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
            sessions: vec![session("2026-01-01T00:00:00Z", "urn:oma:at:dm:2.0:BootstrapComplete")],
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
