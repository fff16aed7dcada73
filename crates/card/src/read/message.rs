//! From the PKCS#15 application to the bytes of the Bootstrap Message, or of any other data object.

use omadm_core::bootstrap::message::{LeftOut, MessageError, merge};
use omadm_core::order::put_in_order;

use crate::apdu::StatusWord;
use crate::error::{CardError, CardErrorKind, Place};
use crate::file::fcp::Fcp;
use crate::pkcs15::dir::Application;
use crate::pkcs15::dodf::DataObject;
use crate::pkcs15::odf::Odf;
use crate::pkcs15::path::Path;
use crate::pkcs15::{AID, ODF, ODF_SFI, USUAL_DF};
use crate::read::blocks::Part;
use crate::read::content::{self, MAX_MESSAGE};
use crate::read::passed_over::{Cause, PassedOver};
use crate::read::session::{Refusal, Session};
use crate::read::way::Selected;
use crate::read::{CardReading, ReadRequest, identity, pin};
use crate::secrets;

/// The most bytes of a directory file that are read.
pub(crate) const MAX_DIRECTORY: usize = 8_192;
/// The most objects of one kind that are read.
const MAX_OBJECTS: usize = 8;

/// The PKCS#15 application once it is selected.
pub(super) struct Pkcs15 {
    /// Path of its DF without the MF.
    pub(super) df: Vec<u8>,
    /// The AID by which it was selected; none where it was by the path of its DF, or by the link.
    pub(super) aid: Option<Vec<u8>>,
    /// Its parameters; none where they were not asked for.
    pub(super) fcp: Option<Fcp>,
    pub(super) odf: Odf,
}

/// An object that was read.
struct Found {
    /// Which one, in the order of the directories.
    number: usize,
    behind_pin: bool,
    content: Vec<u8>,
}

/// What is known of the objects so far.
#[derive(Default)]
struct Yield {
    found: Vec<Found>,
    /// By the number of the object.
    failed: Vec<(usize, CardError)>,
    /// What is wrong with the directories.
    damage: Vec<CardError>,
}

impl Yield {
    /// Keeps a failure that ends no reading; the card is gone for any other.
    fn note(&mut self, number: usize, error: CardError) -> Result<(), CardError> {
        if error.place == Place::Link {
            return Err(error);
        }
        self.failed.push((number, error));
        Ok(())
    }
}

/// Reads the message; what becomes known about PINs and other objects is put into `reading`. `selected` is the application
/// where a link has selected it already.
pub(super) fn read(
    session: &mut Session<'_, '_>,
    selected: Option<&Selected>,
    request: &ReadRequest<'_>,
    reading: &mut CardReading,
) -> Result<Vec<u8>, CardError> {
    if let Some(selected) = selected {
        session.was_opened_in(&selected.aid);
    }
    let result = read_once(session, selected, request, reading);
    if !session.card().is_fast() || reading.refused_pin.is_some() {
        return result;
    }
    let is_sure = match &result {
        Ok(_) => reading.passed_over.is_empty(),
        Err(error) => {
            error.place == Place::Link
                || matches!(error.kind, CardErrorKind::PinNeeded | CardErrorKind::PinRefused | CardErrorKind::HoldsDm1x)
        }
    };
    if is_sure {
        return result;
    }
    // Whatever surprises on the short way is looked at on the plain one.
    session.card().set_fast(false);
    session.shortcuts.clear();
    reading.passed_over.clear();
    read_once(session, selected, request, reading)
}

fn read_once(
    session: &mut Session<'_, '_>,
    selected: Option<&Selected>,
    request: &ReadRequest<'_>,
    reading: &mut CardReading,
) -> Result<Vec<u8>, CardError> {
    let pkcs15 = open(session, selected)?;
    let mut seen = Yield::default();
    seen.damage.extend(pkcs15.odf.damage.clone().map(|error| CardError::malformed(Place::Odf, error.to_string())));
    let wanted = |object: &DataObject| match request.object {
        None => object.is_dm_bootstrap(),
        Some(id) => object.is(id),
    };
    let objects = list(session, &pkcs15, wanted, &mut seen)?;
    read_objects(session, &pkcs15, &objects, request, reading, &mut seen)?;
    put_in_order(&mut seen.found, |one, other| one.number < other.number);
    put_in_order(&mut seen.failed, |(one, _), (other, _)| one < other);
    if request.object.is_some() {
        return take_raw(seen, reading);
    }
    take_messages(&objects, seen, reading)
}

/// Selects the application, where it is not selected yet, and reads its EF(ODF).
fn open(session: &mut Session<'_, '_>, selected: Option<&Selected>) -> Result<Pkcs15, CardError> {
    let selected = match selected {
        Some(selected) => Pkcs15 { df: selected.df.clone(), aid: None, fcp: None, odf: Odf::default() },
        None => match session.select_aid_briefly(&AID)? {
            Ok(fcp) => {
                Pkcs15 { df: USUAL_DF.to_be_bytes().to_vec(), aid: Some(AID.to_vec()), fcp, odf: Odf::default() }
            }
            Err(refusal) => find_by_dir(session, refusal)?,
        },
    };
    let path = [[0x7F, 0xFF], ODF.to_be_bytes()].concat();
    let short = if session.card().is_fast() {
        session.read_directory_by_sfi(Place::Odf, ODF_SFI, MAX_DIRECTORY)?
    } else {
        None
    };
    let content = match short.filter(|content| Odf::parse(content).is_sound()) {
        Some(content) => Ok(vec![content]),
        None => session.read_file(Place::Odf, &[path], Part::whole(MAX_DIRECTORY))?,
    };
    match content {
        Ok(parts) => Ok(Pkcs15 { odf: Odf::parse_parts(&parts), ..selected }),
        Err((Refusal(StatusWord::NOT_FOUND), None)) => Err(CardError::new(
            CardErrorKind::NoDmObject,
            Place::Odf,
            "the PKCS#15 application has no object directory file; personalise the card",
        )),
        Err((Refusal(status), _)) => Err(CardError::status(Place::Odf, "reading the file", status)),
    }
}

/// The application under a longer AID or by the path of its DF, both from EF(DIR). Its EF(ODF) is still to be read.
fn find_by_dir(session: &mut Session<'_, '_>, refusal: Refusal) -> Result<Pkcs15, CardError> {
    let odf = Odf::default();
    let listed = match identity::applications(session)? {
        Ok(listed) => listed,
        Err(Refusal(status)) => return Err(CardError::status(Place::Dir, "reading the file", status)),
    };
    let mut trouble = None;
    for application in listed.into_iter().filter(Application::is_pkcs15) {
        match session.select_aid(&application.aid)? {
            Ok(fcp) => return Ok(Pkcs15 { df: application.df, aid: Some(application.aid), fcp: Some(fcp), odf }),
            Err(Refusal(status)) => trouble = trouble.or(Some(status).filter(|status| !status.says_absent())),
        }
        if !application.df.is_empty() {
            match session.select_df(&application.df)? {
                Ok(fcp) => return Ok(Pkcs15 { df: application.df, aid: None, fcp: Some(fcp), odf }),
                Err(Refusal(status)) => trouble = trouble.or(Some(status).filter(|status| !status.says_absent())),
            }
        }
    }
    // Trouble with an application that is listed is no proof that it is not there.
    if let Some(status) = trouble {
        return Err(CardError::status(Place::Pkcs15, "SELECT", status));
    }
    let detail = format!("the card has no PKCS#15 application (SELECT was answered {})", refusal.0);
    if refusal.0.says_no_application() {
        Err(CardError::new(CardErrorKind::NoPkcs15, Place::Pkcs15, detail))
    } else {
        Err(CardError::status(Place::Pkcs15, "SELECT", refusal.0))
    }
}

/// The objects that are wanted, of all directories in order, each once although it may be listed twice.
fn list(
    session: &mut Session<'_, '_>,
    pkcs15: &Pkcs15,
    wanted: impl Fn(&DataObject) -> bool,
    seen: &mut Yield,
) -> Result<Vec<DataObject>, CardError> {
    let mut objects: Vec<DataObject> = Vec::new();
    for dodf in &pkcs15.odf.dodfs {
        let place = Place::Dodf(dodf.file_id());
        let parts = match directory(session, place, dodf, &pkcs15.df) {
            Ok(parts) => parts,
            Err(error) if error.place == Place::Link => return Err(error),
            Err(error) => {
                seen.damage.push(error);
                continue;
            }
        };
        for object in parts.iter().flat_map(|part| DataObject::parse_all(part)) {
            let object = match object {
                Ok(object) if wanted(&object) => object,
                Ok(_) => continue,
                Err(error) => {
                    seen.damage.push(CardError::malformed(place, error.to_string()));
                    continue;
                }
            };
            let known = |one: &DataObject| one.path.is_same_place(&object.path, &pkcs15.df);
            if let Some(known) = objects.iter_mut().find(|one| known(one)) {
                // Listed in both forms, of which only one may say that it is private.
                known.private |= object.private;
                known.auth_id = known.auth_id.take().or(object.auth_id);
            } else if objects.len() < MAX_OBJECTS {
                objects.push(object);
            } else {
                let sentence =
                    format!("more than {MAX_OBJECTS} objects of this kind are listed; the others are not read");
                seen.damage.push(CardError::malformed(place, sentence));
                return Ok(objects);
            }
        }
    }
    Ok(objects)
}

/// Reads a whole directory file, in its records where it has some.
pub(super) fn directory(
    session: &mut Session<'_, '_>,
    place: Place,
    path: &Path,
    df: &[u8],
) -> Result<Vec<Vec<u8>>, CardError> {
    let part = Part { index: path.index, length: path.length, limit: MAX_DIRECTORY };
    let content = session.read_file(place, &path.selections(df), part)?;
    content.map_err(|(refusal, _)| unreadable(place, refusal))
}

/// A file that a directory names but that cannot be read; one that is not there means a damaged directory.
fn unreadable(place: Place, Refusal(status): Refusal) -> CardError {
    match status {
        StatusWord::NOT_FOUND => {
            CardError::malformed(place, "a directory names this file, but it is not there; personalise the card again")
        }
        _ => CardError::status(place, "reading the file", status),
    }
}

/// Reads the objects: first those that everybody may read, so that a PIN that fails costs none of them.
fn read_objects(
    session: &mut Session<'_, '_>,
    pkcs15: &Pkcs15,
    objects: &[DataObject],
    request: &ReadRequest<'_>,
    reading: &mut CardReading,
    seen: &mut Yield,
) -> Result<(), CardError> {
    let mut locked: Vec<(usize, &DataObject, Option<Fcp>)> = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        if object.private {
            locked.push((number, object, None));
            continue;
        }
        let place = Place::Message(object.path.file_id());
        match read_object(session, pkcs15, object) {
            Ok(Ok(content)) => seen.found.push(Found { number, behind_pin: false, content }),
            Ok(Err((Refusal(StatusWord::NOT_ALLOWED), fcp))) => locked.push((number, object, fcp)),
            Ok(Err((refusal, _))) => seen.note(number, unreadable(place, refusal))?,
            Err(error) => seen.note(number, error)?,
        }
        if request.object.is_some() && !seen.found.is_empty() {
            return Ok(());
        }
    }
    for (number, object, fcp) in locked {
        let place = Place::Message(object.path.file_id());
        let mut lock = pin::Lock {
            pkcs15,
            object,
            request,
            iccid: reading.iccid.as_ref(),
            refused: &mut reading.refused_pin,
            accepted: &mut reading.accepted_pin,
        };
        let opened = lock.open(session, fcp.as_ref());
        match opened.and_then(|closed| Ok((closed, read_object(session, pkcs15, object)?))) {
            Ok((_, Ok(content))) => seen.found.push(Found { number, behind_pin: true, content }),
            Ok((Some(needed), Err((Refusal(StatusWord::NOT_ALLOWED), _)))) => seen.note(number, needed)?,
            Ok((_, Err((refusal, _)))) => seen.note(number, unreadable(place, refusal))?,
            Err(error) => {
                if let Err(gone) = seen.note(number, error) {
                    reading.behind_pin = true;
                    return Err(gone);
                }
            }
        }
        // A refused PIN has to be made durable before anything else takes time.
        if reading.refused_pin.is_some() || (request.object.is_some() && !seen.found.is_empty()) {
            break;
        }
    }
    // Of what could not be read it counts where it lies.
    reading.behind_pin = seen.found.is_empty() && objects.iter().any(|object| object.private);
    Ok(())
}

type Content = Result<Vec<u8>, (Refusal, Option<Fcp>)>;

fn read_object(session: &mut Session<'_, '_>, pkcs15: &Pkcs15, object: &DataObject) -> Result<Content, CardError> {
    let place = Place::Message(object.path.file_id());
    let part = Part { index: object.path.index, length: object.path.length, limit: MAX_MESSAGE };
    let content = session.read_file(place, &object.path.selections(&pkcs15.df), part)?;
    Ok(content.map(|parts| parts.concat()))
}

/// The first object that could be read, as it is.
fn take_raw(seen: Yield, reading: &mut CardReading) -> Result<Vec<u8>, CardError> {
    if let Some(found) = seen.found.into_iter().next() {
        reading.behind_pin = found.behind_pin;
        return Ok(found.content);
    }
    let failed = seen.failed.into_iter().map(|(_, error)| error).chain(seen.damage).next();
    Err(failed.unwrap_or_else(|| {
        let sentence = "no directory lists an object of this identifier; `omadm card inspect` lists what is there";
        CardError::new(CardErrorKind::NoDmObject, Place::Odf, sentence)
    }))
}

/// What was passed over, each thing once and a few of them: a card may be damaged in a thousand places.
fn told(errors: impl Iterator<Item = CardError>) -> Vec<PassedOver> {
    let mut once: Vec<CardError> = Vec::new();
    for error in errors {
        if once.len() == MAX_OBJECTS {
            break;
        }
        if !once.contains(&error) {
            once.push(error);
        }
    }
    once.into_iter().map(PassedOver::from).collect()
}

/// One message of all objects that hold one. Without any the reason that says most.
fn take_messages(objects: &[DataObject], seen: Yield, reading: &mut CardReading) -> Result<Vec<u8>, CardError> {
    let place = |number: usize| Place::Message(objects.get(number).map_or(0, |object| object.path.file_id()));
    let mut failed = seen.failed;
    let mut messages: Vec<Found> = Vec::new();
    for found in seen.found {
        match content::check(found.content, place(found.number)) {
            Ok(content) => messages.push(Found { content, ..found }),
            Err(error) => failed.push((found.number, error)),
        }
    }
    put_in_order(&mut failed, |(one, _), (other, _)| one < other);
    let (held_dm1x, failed): (Vec<_>, Vec<_>) =
        failed.into_iter().map(|(_, error)| error).partition(|error| error.kind == CardErrorKind::HoldsDm1x);
    // What could not be read may hold a message: only where all was read it is proven that there is none.
    let mut others = failed.into_iter().chain(seen.damage).chain(held_dm1x);
    let Some((first, rest)) = messages.split_first() else {
        let error = others.next().unwrap_or_else(|| {
            let sentence = "no directory lists an OMA DM bootstrap object";
            CardError::new(CardErrorKind::NoDmObject, Place::Odf, sentence)
        });
        reading.passed_over = told(others.filter(|other| *other != error));
        return Err(error);
    };
    reading.passed_over = told(others);
    reading.behind_pin = messages
        .iter()
        .all(|found| found.behind_pin || (!rest.is_empty() && secrets::in_message(&found.content).is_empty()));
    if rest.is_empty() {
        return Ok(first.content.clone());
    }
    let contents: Vec<Vec<u8>> = messages.iter().map(|found| found.content.clone()).collect();
    let merged = merge(&contents);
    // Where none is valid, the first one tells why.
    let is_told = |number: usize| merged.message.is_some() || number > 0;
    for (number, why) in merged.left_out.iter().filter(|(number, _)| is_told(*number)) {
        let place = place(messages.get(*number).map_or(0, |found| found.number));
        let cause = match why {
            LeftOut::Refused(MessageError::Malformed(_)) => Cause::Damaged,
            // It was read whole, so that what it says no more is gone from the card.
            LeftOut::Refused(_) | LeftOut::SrvIdTwice(_) | LeftOut::NoRoom(_) => Cause::Unused,
        };
        reading.passed_over.push(PassedOver { place, detail: why.to_string(), cause });
    }
    Ok(merged.message.unwrap_or_else(|| first.content.clone()))
}
