//! The client's end of a session against a server that says anything: it ends, and nothing that is meant for trusted
//! origins goes elsewhere (spec 3; Profile P-30, P-31).
//!
//! The input is what the world answers, a line each. Its first character says what: `R` a Package#2, `M` data for HGET,
//! `S` a status of three digits and perhaps a body, `F` a failure, `D` a disk that cannot be written; other lines are no
//! answer. After the last line the server says END.

use std::sync::Arc;

use omadm_core::mo::Tree;
use omadm_core::package::{Alert, CLIENT_INITIATED, MAX_PACKAGE};
use omadm_core::session::MAX_PACKAGES;
use omadm_core::session::client::{ClientSession, HttpAnswer, HttpFailure, Input, Output, SessionSetup};
use omadm_core::web::media;

use crate::device::{DMACC, Device, moid};

/// Every command of every package may make a request and a durable tree.
const MOST_STEPS: u32 = MAX_PACKAGES * (2 * 256 + 1);

pub(crate) fn run(bytes: &[u8]) {
    let device = Device::shared();
    let mut session = ClientSession::new(SessionSetup {
        account: device.account.clone(),
        alerts: vec![Alert::of_type(CLIENT_INITIATED)],
        mos_asked: true,
        definitions: Arc::new(device.definitions.clone()),
        rights: device.rights.clone(),
        tree: device.tree.clone(),
    });
    let mut world = World { device, lines: bytes.split(|byte| *byte == b'\n'), disk: device.tree.clone() };
    let mut output = session.start();
    for _ in 0..MOST_STEPS {
        let Some(input) = world.answer(&output) else { return };
        output = session.handle(input);
    }
    panic!("the session does not end");
}

struct World<'a, L> {
    device: &'a Device,
    lines: L,
    disk: Tree,
}

impl<'a, L: Iterator<Item = &'a [u8]>> World<'_, L> {
    /// What comes of an output; nothing once the session has ended.
    fn answer(&mut self, output: &Output) -> Option<Input> {
        let account = &self.device.account.account;
        match output {
            Output::Send { url, body, content_type } => {
                assert!(account.trusts(url.origin()), "a package goes to {url}");
                assert!(body.len() <= 2 * MAX_PACKAGE && !content_type.is_empty());
                assert!(!holds(body, b"hunter2") && !holds(body, b"aHVudGVyMi1ub2JvZHkta25vd3M"), "a secret is sent");
            }
            Output::Fetch { url, trusted, .. } => assert_eq!(*trusted, account.trusts(url.origin())),
            Output::Upload { url, body, trusted, .. } => {
                assert_eq!(*trusted, account.trusts(url.origin()));
                assert!(!holds(body, b"aHVudGVyMi1ub2JvZHkta25vd3M"), "a secret is uploaded");
            }
            Output::Persist(tree) => return Some(self.persist(tree)),
            Output::Finished(report) => {
                assert!(report.message.chars().count() <= 501 && !report.message.chars().any(char::is_control));
                assert!(report.packages <= MAX_PACKAGES);
                assert_eq!(report.ended, report.reason.is_none());
                return None;
            }
        }
        Some(match self.lines.next() {
            Some([b'R', body @ ..]) => answered(200, media::REQUEST, body),
            Some([b'M', body @ ..]) => answered(200, media::MO, body),
            Some([b'S', status @ ..]) => {
                let (digits, body) = status.split_at(status.len().min(3));
                let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(500);
                answered(status, media::REQUEST, body)
            }
            Some([b'F', kind, ..]) => Input::Failed(failure(*kind)),
            Some(_) => Input::Failed(HttpFailure::Timeout),
            None => answered(200, media::REQUEST, br#"{"CMD":[["END"]]}"#),
        })
    }

    fn persist(&mut self, tree: &Tree) -> Input {
        let accounts =
            |tree: &Tree| tree.instances(&moid(DMACC)).map(|(_, one)| one.root().clone()).collect::<Vec<_>>();
        assert_eq!(accounts(tree), accounts(&self.device.tree), "a server changed accounts");
        assert!(*tree != self.disk, "nothing changed, and it is written");
        match self.lines.next() {
            Some([b'D', ..]) => Input::Persisted(Err("the disk is full".to_owned())),
            Some(_) | None => {
                self.disk = tree.clone();
                Input::Persisted(Ok(()))
            }
        }
    }
}

fn answered(status: u16, content_type: &str, body: &[u8]) -> Input {
    Input::Answer(HttpAnswer {
        status,
        content_type: Some(content_type.to_owned()),
        body: body.to_vec(),
        ..HttpAnswer::default()
    })
}

fn failure(kind: u8) -> HttpFailure {
    let why = || "so it was".to_owned();
    match kind {
        b'c' => HttpFailure::Connect(why()),
        b't' => HttpFailure::Tls(why()),
        b'k' => HttpFailure::Clock(why()),
        b'l' => HttpFailure::TooLarge,
        b'o' => HttpFailure::OriginRefused(why()),
        _ => HttpFailure::Timeout,
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
