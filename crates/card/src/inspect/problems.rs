//! What is wrong with a card, for DM Clients and for other readers, and what to do.

use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use serde::Serialize;

use super::look::{Seen, SeenObject, SeenPin};
use crate::apdu::StatusWord;
use crate::error::{CardErrorKind, Place};
use crate::file::dm1x;
use crate::pkcs15::dodf::Form;
use crate::read::{CardReading, Cause, MAX_MESSAGE, Refusal, check_content, is_user_pin};
use crate::secrets;

/// The most problems that are told.
const MAX_PROBLEMS: usize = 64;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The card does not do what it is for, or lets everybody read a secret.
    Error,
    /// It works here, but not with every reader, or not for long.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something that is wrong with a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a file as in [`FileView::path`](super::FileView::path), or the whole card.
    pub place: String,
    /// What is wrong. Holds no secret.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

/// Problems as they are found.
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, severity: Severity, place: &str, problem: impl Into<String>, advice: &str) {
        let (place, problem, advice) = (place.to_owned(), problem.into(), advice.to_owned());
        self.0.push(Problem { severity, place, problem, advice });
    }
}

/// What is wrong with a card that was looked at and read.
pub(super) fn find(seen: &Seen, reading: &CardReading) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    of_the_card(seen, reading, &mut problems);
    of_directories(seen, &mut problems);
    for pin in &seen.pins {
        of_a_pin(pin, &mut problems);
    }
    for one in seen.objects.iter().filter(|one| one.object.is_dm_bootstrap()) {
        of_listing(one, seen, &mut problems);
        of_content(one, &mut problems);
    }
    for other in seen.objects.iter().filter(|one| !one.object.is_dm_bootstrap()) {
        if let Err(Refusal(StatusWord::NOT_FOUND)) = other.content {
            problems.add(Severity::Warning, &other.place, LISTED, PERSONALISE);
        }
    }
    // What only comes to light beside other objects.
    for one in reading.passed_over.iter().filter(|one| one.cause == Cause::Unused) {
        let is_told = problems.0.iter().any(|problem| problem.problem == one.detail);
        if !is_told && !one.detail.contains("DM 1.x") {
            problems.add(Severity::Note, &place_of(one.place), one.detail.clone(), "remove what is not used");
        }
    }
    let mut found = problems.0;
    found.sort_by_key(|problem| problem.severity);
    found.truncate(MAX_PROBLEMS);
    found
}

const PERSONALISE: &str = "personalise the card again";
const LISTED: &str = "a directory lists an object in this file, but the file is not there";

fn place_of(place: Place) -> String {
    match place {
        Place::Message(id) | Place::Dodf(id) | Place::Aodf(id) => format!("PKCS#15/{id:04X}"),
        Place::Odf => "PKCS#15/5031".to_owned(),
        Place::Link | Place::Channel | Place::Iccid | Place::Dir | Place::Pkcs15 | Place::Pin(_) | Place::Usim => {
            place.to_string()
        }
    }
}

fn of_the_card(seen: &Seen, reading: &CardReading, problems: &mut Problems) {
    if reading.iccid.is_none() {
        let advice = "write EF(ICCID): without it no PIN is tried, and accounts cannot be tied to the card";
        problems.add(Severity::Warning, "MF/2FE2", "the card does not tell its ICCID", advice);
    }
    if let Err(error) = &reading.message
        && matches!(error.kind, CardErrorKind::NoLogicalChannel | CardErrorKind::Removed | CardErrorKind::Timeout)
    {
        problems.add(Severity::Error, "the card", error.to_string(), "look again");
    }
    if seen.files.is_empty() {
        return;
    }
    if !seen.has_pkcs15 {
        let advice = "nothing, where it is a SIM as operators sell it; else personalise the card";
        problems.add(Severity::Note, "the card", "there is no PKCS#15 application", advice);
        return;
    }
    if !seen.has_dir {
        let advice = "add EF(DIR) with the application: some readers look there only";
        problems.add(Severity::Note, "MF/2F00", "there is no EF(DIR)", advice);
    } else if !seen.is_in_dir {
        let advice = "add the application to EF(DIR): some readers look there only";
        problems.add(Severity::Warning, "MF/2F00", "EF(DIR) does not list the PKCS#15 application", advice);
    }
    if !seen.has_token_info {
        let advice = "write it: OpenSC refuses a card without it";
        problems.add(Severity::Warning, "PKCS#15/5032", "EF(TokenInfo) is missing or damaged", advice);
    }
    if !seen.has_dodf {
        let advice = "let EF(ODF) name a directory of data objects (A7)";
        problems.add(Severity::Warning, "PKCS#15/5031", "EF(ODF) names no data objects", advice);
    } else if !seen.objects.iter().any(|one| one.object.is_dm_bootstrap()) {
        let advice = "list an object with the identifier 2.23.43.7.1, if the card is to carry a Bootstrap Message";
        problems.add(Severity::Note, "PKCS#15", "no OMA DM bootstrap object is listed", advice);
    }
}

/// What was met in directory files while they were looked at.
fn of_directories(seen: &Seen, problems: &mut Problems) {
    for file in &seen.files {
        let is_directory = matches!(file.name.as_str(), "EF(ODF)" | "EF(DODF)" | "EF(AODF)");
        if let Some(problem) = file.problem.as_ref().filter(|_| is_directory) {
            problems.add(Severity::Error, &file.path, format!("{}: {problem}", file.name), PERSONALISE);
        }
    }
}

fn of_a_pin(seen: &SeenPin, problems: &mut Problems) {
    let SeenPin { pin, place, state } = seen;
    let name = format!("PIN {:02X}", pin.reference);
    let mut add = |severity, problem: &str, advice| problems.add(severity, place, format!("{name}: {problem}"), advice);
    if !is_user_pin(pin.reference) {
        let advice = "let the directory name the reference of a PIN, 01 to 08, 11 or 81 to 88";
        add(Severity::Error, "its reference is none of a user's PIN; no PIN is sent to it", advice);
    }
    if !pin.needs_padding {
        let advice = "set needs-padding in its flags: else readers send a short PIN, which is wrong and costs a try";
        add(Severity::Warning, "the directory does not say that it is padded to 8 bytes", advice);
    }
    match state.map(|state| (state, state.tries())) {
        Some((StatusWord::BLOCKED, _) | (_, Some(0))) => {
            add(Severity::Error, "it is blocked", "unblock it with the PUK");
        }
        Some((_, Some(1))) => {
            let advice = "verify the right PIN with another tool; the last try is never used here";
            add(Severity::Warning, "one try is left", advice);
        }
        Some((StatusWord::UNUSABLE, _)) => {
            add(Severity::Warning, "it is disabled or cannot be used", "enable it, or open what is behind it");
        }
        Some((StatusWord(0x6A88), _)) => {
            add(Severity::Error, "the card has no PIN of this reference", PERSONALISE);
        }
        Some(_) | None => {}
    }
}

fn of_listing(one: &SeenObject, seen: &Seen, problems: &mut Problems) {
    let SeenObject { object, place, .. } = one;
    let mut add = |severity, problem: &str, advice| problems.add(severity, place, problem, advice);
    if object.form == Form::Oid {
        let advice = "list it as opaqueDO too (`--form both`)";
        add(
            Severity::Note,
            "the object is listed as oidDO only: OpenSC reads neither it nor what is listed behind it",
            advice,
        );
    }
    if one.is_doubled {
        let advice = "write the identifier once: 06 04 67 2B 07 01";
        add(Severity::Note, "an object identifier stands with its header twice; some readers do not find it", advice);
    }
    match &one.content {
        Err(Refusal(StatusWord::NOT_FOUND)) => add(Severity::Error, LISTED, PERSONALISE),
        Err(Refusal(StatusWord::NOT_ALLOWED)) if !object.private => {
            let advice = "set the flag private and the authId in its entry: other readers do not ask for a PIN";
            add(Severity::Warning, "the directory calls the object open, but not everybody may read it", advice);
        }
        Err(Refusal(StatusWord::NOT_ALLOWED)) => {
            add(Severity::Note, "the object was not looked at: it is behind a PIN", "give --pin-file to see it");
        }
        Err(Refusal(status)) => {
            let advice = status.advice().unwrap_or(PERSONALISE);
            add(Severity::Error, &format!("the file cannot be read: {status}"), advice);
        }
        Ok(_) if object.private && !seen.pin_was_given && !seen.pins.iter().any(SeenPin::is_open) => {
            let advice = "protect the file by the PIN that its entry names";
            add(Severity::Warning, "the directory calls the object private, but everybody can read it", advice);
        }
        Ok(_) => {}
    }
    if !object.private {
        return;
    }
    if !seen.has_aodf {
        let advice = "let EF(ODF) name a directory of PINs (A8)";
        add(Severity::Warning, "the object is private, but no directory of PINs is there", advice);
    }
    match &object.auth_id {
        None => {
            let advice = "write the authId of its PIN into the entry";
            add(Severity::Warning, "the object is private, but its entry names no PIN", advice);
        }
        Some(id) if seen.has_aodf && !seen.pins.iter().any(|one| one.pin.auth_id == *id) => {
            let advice = "list a PIN of that authId, or name the one that is listed";
            add(Severity::Warning, "the entry names a PIN that the directory of PINs does not list", advice);
        }
        Some(_) => {}
    }
}

impl SeenPin {
    fn is_open(&self) -> bool {
        self.state.is_some_and(StatusWord::is_ok)
    }
}

fn of_content(one: &SeenObject, problems: &mut Problems) {
    let place = one.place.as_str();
    let Ok(content) = &one.content else { return };
    let mut add = |severity, problem: String, advice: &str| problems.add(severity, place, problem, advice);
    if let Some(size) = one.size.filter(|size| *size > MAX_MESSAGE) {
        let problem = format!("the file has {size} bytes, more than the {MAX_MESSAGE} that a message may have");
        add(Severity::Warning, problem, "make the file smaller");
    }
    // Never behind a PIN that is open just now: only what the directory calls open, and what was read so.
    if !one.object.private {
        for secret in secrets::in_message(content) {
            let advice = "put it behind a PIN, or use `aka:`, or public data and a bootstrap that follows (P-36)";
            add(Severity::Error, format!("everybody can read the secret {secret}"), advice);
        }
    }
    if content.first().is_none_or(|byte| matches!(byte, 0x00 | 0xFF)) {
        let problem = "the first byte is blank: never written, or the writing was cut off".to_owned();
        add(Severity::Error, problem, "write the message again, its first byte last");
        return;
    }
    if let Some(kind) = dm1x::describe(content) {
        let problem = format!("the object holds a message of OMA DM 1.x: {kind}");
        add(Severity::Warning, problem, "personalise the card for DM 2.0, or bootstrap in another way");
        return;
    }
    let message = match check_content(content.clone(), Place::Message(one.object.path.file_id())) {
        Ok(message) => message,
        Err(error) => {
            let fits = one.size.is_none_or(|size| size > content.len() || content.len() < MAX_MESSAGE);
            let advice =
                if fits { "write the message again, whole; see that file and length fit it" } else { PERSONALISE };
            add(Severity::Error, error.detail, advice);
            return;
        }
    };
    if let Err(error) = BootstrapMessage::parse(&message, Limit::Card) {
        add(Severity::Error, error.to_string(), "correct the message and write it again");
    }
    match content.len() - message.len() {
        0 => {}
        padding => {
            let problem = format!("the file is {padding} bytes larger than the message");
            add(Severity::Note, problem, "nothing, if it is to grow; each 255 bytes cost a command at every reading");
        }
    }
}
