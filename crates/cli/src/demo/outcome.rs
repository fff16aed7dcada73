//! What became of a device, and whether that is what the demo promises.

use omadm_core::reason::{Attempt, Outcome as Ending};
use serde::Serialize;

use super::facts::{LastRun, Seen, ServerDevice};
use crate::args::Cast;

/// The alert that a device sends in its first session.
const BOOTSTRAP_COMPLETE: &str = "urn:oma:at:dm:2.0:BootstrapComplete";
/// The profile that all four have to speak.
pub(super) const PROFILE: &str = "omadm-1";

/// `omadm demo --once --json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    profile: &'static str,
    devices: Vec<Outcome>,
}

impl Report {
    pub(super) fn new(devices: Vec<Outcome>) -> Self {
        Self { profile: PROFILE, devices }
    }

    pub(super) fn devices(&self) -> &[Outcome] {
        &self.devices
    }
}

/// What became of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) dev_id: &'static str,
    /// The method that its account came by.
    pub(super) source: Option<String>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) srv_id: Option<String>,
    pub(super) session: FirstSession,
    pub(super) apdus: u64,
    pub(super) round_trips: u64,
    pub(super) bytes: u64,
    pub(super) ms: u64,
    /// Why it does not count as managed; empty if it does.
    #[serde(skip)]
    pub(super) objections: Vec<String>,
}

/// The session in which it reported that bootstrap is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct FirstSession {
    pub(super) alerts: Vec<String>,
    pub(super) ended: bool,
}

impl Outcome {
    pub(super) fn of(cast: Cast, seen: &Seen) -> Self {
        let client = seen.client.clone().unwrap_or_default();
        let account = client.accounts.iter().find(|account| !account.suspended);
        let run = client.last_run.unwrap_or_default();
        let LastRun { apdus, round_trips, bytes, ms } = run;
        Self {
            name: cast.name(),
            dev_id: cast.facts().dev_id,
            source: account.map(|account| account.source.clone()),
            attempts: client.attempts.clone(),
            srv_id: account.map(|account| account.srv_id.clone()),
            session: seen.server.as_ref().map(first_session).unwrap_or_default(),
            apdus,
            round_trips,
            bytes,
            ms,
            objections: objections(cast, seen),
        }
    }

    pub(super) fn is_managed(&self) -> bool {
        self.objections.is_empty()
    }
}

fn first_session(device: &ServerDevice) -> FirstSession {
    let complete =
        device.sessions.iter().find(|session| session.alerts.iter().any(|alert| alert == BOOTSTRAP_COMPLETE));
    complete.map_or_else(FirstSession::default, |session| FirstSession {
        alerts: session.alerts.clone(),
        ended: session.ended,
    })
}

/// Why a device does not count as managed, by what client and server say, each for itself.
fn objections(cast: Cast, seen: &Seen) -> Vec<String> {
    let facts = cast.facts();
    let mut list = Vec::new();
    let mut expect = |met: bool, objection: String| {
        if !met {
            list.push(objection);
        }
    };
    match &seen.client {
        None => expect(false, "omadm-client tells no status".to_owned()),
        Some(client) => {
            expect(client.profile == PROFILE, format!("its profile is {:?}, not {PROFILE}", client.profile));
            expect(client.dev_id == facts.dev_id, format!("it calls itself {:?}, not {}", client.dev_id, facts.dev_id));
            expect(
                client.state == "managed",
                format!("it says that it is {}{}", client.state, failures(&client.attempts)),
            );
            if client.state == "managed" {
                let source = client.accounts.iter().find(|account| !account.suspended).map(|one| one.source.as_str());
                let expected = cast.expected_source();
                expect(source == Some(expected), format!("its account came from {source:?}, not {expected}"));
            }
        }
    }
    match &seen.server {
        None => expect(false, "the server does not know it".to_owned()),
        Some(device) => {
            expect(device.state == "managed", format!("the server shows it as {}", device.state));
            expect(device.devinfo.is_some(), "the server has not read its DevInfo".to_owned());
            for (leaf, value) in facts.dev_info().into_iter().filter(|_| device.devinfo.is_some()) {
                let found = device.devinfo.as_ref().and_then(|info| info.get(&leaf));
                expect(
                    found == Some(&value),
                    format!("the server read {} as DevInfo/{leaf}, not {value}", found.cloned().unwrap_or_default()),
                );
            }
            let session = first_session(device);
            expect(!session.alerts.is_empty(), "the server got no BootstrapComplete".to_owned());
            expect(session.ended, "its first session did not end".to_owned());
        }
    }
    list
}

/// What was tried in vain, each with its reason.
fn failures(attempts: &[Attempt]) -> String {
    let tried = attempts.iter().filter(|attempt| matches!(attempt.outcome, Ending::Failed | Ending::None));
    let told = tried.map(|attempt| {
        let reason = attempt.reason.map(|reason| format!(" [{reason}]")).unwrap_or_default();
        format!("; {}: {}{reason}", attempt.method, attempt.message)
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Account, ClientStatus, Session};
    use super::*;

    fn managed(cast: Cast) -> Seen {
        let facts = cast.facts();
        Seen {
            client: Some(ClientStatus {
                profile: PROFILE.to_owned(),
                dev_id: facts.dev_id.to_owned(),
                state: "managed".to_owned(),
                accounts: vec![Account {
                    srv_id: "demo".to_owned(),
                    source: cast.expected_source().to_owned(),
                    ..Account::default()
                }],
                last_run: Some(LastRun { apdus: 17, round_trips: 8, bytes: 9000, ms: 120 }),
                ..ClientStatus::default()
            }),
            server: Some(ServerDevice {
                dev_id: facts.dev_id.to_owned(),
                state: "managed".to_owned(),
                devinfo: Some(facts.dev_info()),
                requests: Vec::new(),
                sessions: vec![Session {
                    alerts: vec![BOOTSTRAP_COMPLETE.to_owned()],
                    ended: true,
                    ..Session::default()
                }],
            }),
        }
    }

    #[test]
    fn managed_is_what_both_say() {
        for cast in Cast::ALL {
            assert_eq!(Outcome::of(cast, &managed(cast)).objections, Vec::<String>::new());
        }
        let mut seen = managed(Cast::Sim);
        seen.server.as_mut().unwrap().state = "bootstrapped".to_owned();
        assert_eq!(Outcome::of(Cast::Sim, &seen).objections, ["the server shows it as bootstrapped"]);
        seen = managed(Cast::Sim);
        seen.client.as_mut().unwrap().state = "waiting".to_owned();
        assert_eq!(Outcome::of(Cast::Sim, &seen).objections, ["it says that it is waiting"]);
        assert_eq!(Outcome::of(Cast::Sim, &Seen::default()).objections.len(), 2);
    }

    #[test]
    fn each_value_of_dev_info_is_compared() {
        let mut seen = managed(Cast::Factory);
        seen.server.as_mut().unwrap().devinfo.as_mut().unwrap().insert("FwV".to_owned(), "9".into());
        let outcome = Outcome::of(Cast::Factory, &seen);
        assert_eq!(outcome.objections, ["the server read \"9\" as DevInfo/FwV, not \"1.0.4\""]);
        assert!(!outcome.is_managed());
    }

    #[test]
    fn an_account_from_another_source_is_no_success() {
        let mut seen = managed(Cast::MixedUp);
        seen.client.as_mut().unwrap().accounts[0].source = "smartcard".to_owned();
        assert_eq!(Outcome::of(Cast::MixedUp, &seen).objections.len(), 1);
    }

    #[test]
    fn the_report_has_the_promised_members() {
        let report = Report::new(vec![Outcome::of(Cast::Sim, &managed(Cast::Sim))]);
        insta::assert_json_snapshot!(report);
    }
}
