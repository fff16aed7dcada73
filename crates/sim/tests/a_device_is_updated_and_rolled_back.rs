//! State files go from the previous version to this one and back, and nothing is lost but what the previous version does
//! not know.

#![allow(clippy::unwrap_used, reason = "in tests")]

use omadm_card::RefusedPin;
use omadm_client::card::SimStatus;
use omadm_client::state::{Busy, LastRun, Memory, Notes, SessionNote, State, Storage};
use omadm_core::account::{Change, Judgement, Source};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::bootstrap::sequence::Next;
use omadm_core::reason::{Attempt, Method, Outcome, Reason};
use omadm_core::time::Timestamp;
use omadm_sim::cuts::disk::TestDisk;
use omadm_sim::previous::{Refused, rewritten};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Files that the previous version wrote: accounts of every scheme of credentials and a tree, a busy bootstrap server, and
/// a card with a refused PIN, a suspended account and one that stands in for it.
const SAMPLES: [(&str, &[u8]); 3] = [
    ("factory", include_bytes!("../../client/tests/samples/state-1/factory.state")),
    ("server", include_bytes!("../../client/tests/samples/state-1/server.state")),
    ("card", include_bytes!("../../client/tests/samples/state-1/card.state")),
];

const NOW: Timestamp = Timestamp(1_800_000_000);

/// What this version reads from the file.
fn read(file: &[u8]) -> State {
    let disk = TestDisk::with([("state".to_owned(), file.to_vec())]);
    let (memory, news) = Memory::open(Box::new(disk), "state", NOW);
    assert_eq!((news.as_deref(), memory.trouble()), (None, None));
    memory.state().clone()
}

/// The file as this version writes it.
fn write(state: &State) -> Vec<u8> {
    let disk = TestDisk::default();
    let (mut memory, _) = Memory::open(Box::new(disk.clone()), "state", NOW);
    memory.change(state.notes.written, |present| *present = state.clone()).unwrap();
    disk.read("state", u64::MAX).unwrap().unwrap()
}

fn json(file: &[u8]) -> Value {
    let end = file.iter().position(|byte| *byte == b'\n').unwrap();
    serde_json::from_slice(&file[end + 1..]).unwrap()
}

/// Whether `all` holds every member of `part`; an absent member is a null one.
fn holds(all: &Value, part: &Value, at: &str) -> Result<(), String> {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            let nothing = Value::Null;
            part.iter()
                .try_for_each(|(name, value)| holds(all.get(name).unwrap_or(&nothing), value, &format!("{at}/{name}")))
        }
        (Value::Array(all), Value::Array(part)) if all.len() == part.len() => {
            let pairs = all.iter().zip(part).enumerate();
            pairs.into_iter().try_for_each(|(number, (all, part))| holds(all, part, &format!("{at}/{number}")))
        }
        _ if all == part => Ok(()),
        _ => Err(format!("{at}: {part} became {all}")),
    }
}

/// A state in which every member has a value. It names each, so that a new one is thought of here.
fn rich() -> State {
    let [mut state, other] = [SAMPLES[0].1, SAMPLES[2].1].map(read);
    let reasons = Reason::FIXED.iter().copied().chain([Reason::Http(204), Reason::Http(503)]).map(Some).chain([None]);
    let outcomes = [Outcome::Installed, Outcome::Unchanged, Outcome::None, Outcome::Failed, Outcome::Skipped];
    let attempt = |(number, reason): (usize, Option<Reason>)| Attempt {
        method: Method::ORDER[number % 3],
        outcome: outcomes[number % 5],
        reason,
        message: format!("reason {number}, \"ä\"\u{1}"),
        at: Timestamp(NOW.0 + number as u64),
    };
    let note = SessionNote {
        at: NOW,
        ended: false,
        reason: Some(Reason::Tls),
        message: "the certificate is not trusted".to_owned(),
        alerts: vec!["urn:oma:at:dm:2.0:ClientInitiatedMgmt".to_owned()],
        commands: 3,
    };
    let mut pin: RefusedPin = other.refused_pins[0].clone();
    pin.unanswered = Some(3);
    state.set_attempts(reasons.enumerate().map(attempt));
    let notes_of = |reason| SimStatus {
        present: true,
        ready: true,
        iccid: Some("8988000000000000016".parse().unwrap()),
        mcc: Some("001".parse().unwrap()),
        mnc: Some("01".parse().unwrap()),
        reason: Some(reason),
    };
    State {
        profile: omadm_core::PROFILE.to_owned(),
        accounts: state.accounts,
        tree: state.tree,
        attempts: state.attempts,
        refused_pins: vec![other.refused_pins[0].clone(), pin],
        bootstrap_busy: Some(Busy { origin: "https://localhost:443".to_owned(), status: 503, until: NOW }),
        session_not_before: BTreeMap::from([("acme".parse().unwrap(), NOW)]),
        kept_time: NOW,
        notes: Notes {
            written: NOW,
            proved: Timestamp(1_800_000_000),
            sim: notes_of(Reason::SimNotReady),
            last_run: LastRun { apdus: 1, round_trips: 2, bytes: 3, ms: 4 },
            sessions: BTreeMap::from([("acme".parse().unwrap(), note)]),
            next: Some(Next { at: NOW, why: "a session".to_owned() }),
        },
    }
}

#[test]
fn this_version_reads_all_that_the_previous_one_wrote() {
    for (name, file) in SAMPLES {
        holds(&json(&write(&read(file))), &json(file), name).unwrap();
    }
}

#[test]
fn the_frozen_reader_is_that_of_the_previous_version() {
    for (name, file) in SAMPLES {
        assert_eq!(String::from_utf8(rewritten(file).unwrap()), String::from_utf8(file.to_vec()), "{name}");
    }
}

#[test]
fn the_previous_version_reads_all_that_it_knows_of_what_this_one_writes() {
    for (name, state) in SAMPLES.map(|(name, file)| (name, read(file))).into_iter().chain([("rich", rich())]) {
        let file = write(&state);
        let back = rewritten(&file).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        holds(&json(&file), &json(&back), name).unwrap();
        let again = read(&back);
        assert_eq!(again.accounts, state.accounts, "{name}");
        assert_eq!((&again.attempts, &again.refused_pins), (&state.attempts, &state.refused_pins), "{name}");
        assert_eq!(again.tree, state.tree, "{name}");
    }
}

#[test]
fn what_a_person_decided_and_what_a_message_added_is_all_that_a_rollback_costs() {
    let mut state = rich();
    let by = Judgement { now: NOW, stale_after: 7 * 24 * 3600 };
    let account = |srv_id: &str| {
        let text = format!(
            r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2//","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","Name":"x",
            "SrvURI":"https://dm.example/dm","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}},
            {{"ClientURI":"urn:oma:mo:oma-dm-dacmo:1.0//","MOData":{{"DACMO":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2",
            "MIID":"1","ACL":{{"1":{{"SrvID":"{srv_id}","Rights":2}}}}}}}}}}]"#
        );
        BootstrapMessage::parse(text.as_bytes(), Limit::Card).unwrap().accounts().to_vec()
    };
    for (srv_id, method, origin) in
        [("removed", Method::Smartcard, "8988000000000000099"), ("more", Method::Factory, "/another.json")]
    {
        let source = Source { method, origin: origin.to_owned() };
        match state.accounts.install(&account(srv_id), &source, by) {
            Ok(Change::Installed(book)) => state.accounts = book,
            other => panic!("{other:?}"),
        }
    }
    assert!(state.accounts.remove(&"removed".parse().unwrap()));
    state.accounts.allow(&"more".parse().unwrap()).unwrap();
    let file = write(&state);
    assert_eq!(read(&file).accounts, state.accounts, "this version keeps all");
    let again = read(&rewritten(&file).unwrap());
    assert!(!again.accounts.awaits_another_source());
    let known = |state: &State| {
        let mut value = serde_json::to_value(&state.accounts).unwrap();
        value.as_object_mut().unwrap().remove("removed");
        for one in value["accounts"].as_array_mut().unwrap() {
            one.as_object_mut().unwrap().remove("may_be_replaced");
            one["account"].as_object_mut().unwrap().remove("given");
        }
        value
    };
    assert_eq!(known(&again), known(&state));
    assert!(
        serde_json::to_string(&state.accounts).unwrap().contains(r#""given":["2 urn:oma:mo:oma-dm-devinfo:1.2 1"]"#)
    );
    // The message says more than what is left of it, and so brings it again.
    let source = Source { method: Method::Factory, origin: "/another.json".to_owned() };
    assert!(matches!(again.accounts.install(&account("more"), &source, by), Ok(Change::Installed(_))));
}

#[test]
fn the_previous_version_leaves_a_later_one_alone_and_knows_damage() {
    let file = write(&rich());
    let body = &file[file.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let with = |version: u32, body: &[u8]| {
        let digest = Sha256::new().chain_update(format!("omadm-state {version}\n")).chain_update(body).finalize();
        let sum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        [format!("omadm-state {version} {sum}\n").as_bytes(), body].concat()
    };
    assert_eq!(rewritten(&with(2, body)), Err(Refused::Newer(2)));
    let unknown_word = String::from_utf8(body.to_vec()).unwrap().replace("\"no-card\"", "\"no-such-word\"");
    assert!(matches!(rewritten(&with(1, unknown_word.as_bytes())), Err(Refused::Damaged(_))));
    assert!(matches!(rewritten(&file[..file.len() - 1]), Err(Refused::Damaged(_))));
    let more = String::from_utf8(body.to_vec()).unwrap().replacen('{', "{\"of_a_later_version\":[1,2],", 1);
    assert_eq!(rewritten(&with(1, more.as_bytes())), rewritten(&file), "a member that is not known is dropped");
}

#[test]
fn a_word_of_a_later_version_costs_an_attempt_and_no_account() {
    let state = rich();
    let mut value = json(&write(&state));
    value["attempts"][0]["reason"] = "a-later-word".into();
    value["notes"]["sim"]["reason"] = "a-later-word".into();
    let body = serde_json::to_vec(&value).unwrap();
    let digest = Sha256::new().chain_update("omadm-state 1\n").chain_update(&body).finalize();
    let sum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let read = read(&[format!("omadm-state 1 {sum}\n").as_bytes(), &body].concat());
    assert_eq!(read.accounts, state.accounts);
    assert_eq!(read.attempts[..], state.attempts[1..]);
    assert_eq!(read.notes, Notes::default());
}
