//! From the PKCS#15 application to the bytes of the Bootstrap Message.

use crate::apdu::StatusWord;
use crate::error::{CardError, CardErrorKind, Place};
use crate::file::fcp::Fcp;
use crate::pkcs15::dir::Application;
use crate::pkcs15::dodf::DataObject;
use crate::pkcs15::odf::Odf;
use crate::pkcs15::path::Path;
use crate::pkcs15::{AID, ODF, USUAL_DF};
use crate::read::content::{self, MAX_MESSAGE};
use crate::read::session::{Refusal, Session};
use crate::read::{CardReading, ReadRequest, identity, pin};

/// The most bytes of a directory file that are read.
const MAX_DIRECTORY: usize = 8_192;

/// The PKCS#15 application once it is selected.
pub(super) struct Pkcs15 {
    /// Path of its DF without the MF.
    pub(super) df: Vec<u8>,
    /// None where a link opened the application: then it is asked for where it is needed.
    pub(super) fcp: Option<Fcp>,
    pub(super) odf: Odf,
}

/// Reads the message; what becomes known about PINs is put into `reading`. `selected` is the path of the application's DF
/// where the application is selected already.
pub(super) fn read(
    session: &mut Session<'_, '_>,
    selected: Option<&[u8]>,
    request: &ReadRequest<'_>,
    reading: &mut CardReading,
) -> Result<Vec<u8>, CardError> {
    let pkcs15 = open(session, selected)?;
    let mut damage = pkcs15.odf.damage.clone().map(|error| CardError::malformed(Place::Odf, error.to_string()));
    let mut held_dm1x = None;
    for dodf in &pkcs15.odf.dodfs {
        let place = Place::Dodf(dodf.file_id());
        let content = match directory(session, place, dodf, &pkcs15.df) {
            Ok(content) => content,
            Err(error) if error.place == Place::Link => return Err(error),
            Err(error) => {
                damage.get_or_insert(error);
                continue;
            }
        };
        for object in DataObject::parse_all(&content) {
            let object = match object {
                Ok(object) => object,
                Err(error) => {
                    damage.get_or_insert(CardError::malformed(place, error.to_string()));
                    continue;
                }
            };
            if !object.is_dm_bootstrap() {
                continue;
            }
            match read_object(session, &pkcs15, &object, request, reading) {
                // A card may hold both generations, each in its object.
                Err(error) if error.kind == CardErrorKind::HoldsDm1x => held_dm1x = held_dm1x.or(Some(error)),
                result => return result,
            }
        }
    }
    Err(held_dm1x.or(damage).unwrap_or_else(|| {
        CardError::new(CardErrorKind::NoDmObject, Place::Odf, "no directory lists an OMA DM bootstrap object")
    }))
}

/// Selects the application, where it is not selected yet, and reads its EF(ODF).
fn open(session: &mut Session<'_, '_>, selected: Option<&[u8]>) -> Result<Pkcs15, CardError> {
    let (df, fcp) = match selected {
        Some(df) => (df.to_vec(), None),
        None => {
            let (df, fcp) = match session.select_aid(&AID)? {
                Ok(fcp) => (USUAL_DF.to_be_bytes().to_vec(), fcp),
                Err(refusal) => find_by_dir(session, refusal)?,
            };
            (df, Some(fcp))
        }
    };
    let content = match session.select_path(&[&[0x7F, 0xFF], &ODF.to_be_bytes()[..]].concat())? {
        Ok(fcp) => session.read_binary(Place::Odf, &fcp, 0, MAX_DIRECTORY)?,
        Err(refusal) => Err(refusal),
    };
    match content {
        Ok(content) => Ok(Pkcs15 { df, fcp, odf: Odf::parse(&content) }),
        Err(Refusal(StatusWord::NOT_FOUND)) => Err(CardError::new(
            CardErrorKind::NoDmObject,
            Place::Odf,
            "the PKCS#15 application has no object directory file",
        )),
        Err(Refusal(status)) => Err(CardError::status(Place::Odf, "reading the file", status)),
    }
}

/// The application under a longer AID or by the path of its DF, both from EF(DIR).
fn find_by_dir(session: &mut Session<'_, '_>, refusal: Refusal) -> Result<(Vec<u8>, Fcp), CardError> {
    for application in identity::applications(session)?.into_iter().filter(Application::is_pkcs15) {
        if let Ok(fcp) = session.select_aid(&application.aid)? {
            return Ok((application.df, fcp));
        }
        if !application.df.is_empty()
            && let Ok(fcp) = session.select_path(&application.df)?
        {
            return Ok((application.df, fcp));
        }
    }
    let detail = format!("the card has no PKCS#15 application (SELECT was answered {})", refusal.0);
    if refusal.0.says_no_application() {
        Err(CardError::new(CardErrorKind::NoPkcs15, Place::Pkcs15, detail))
    } else {
        Err(CardError::status(Place::Pkcs15, "SELECT", refusal.0))
    }
}

/// Reads a whole directory file.
pub(super) fn directory(
    session: &mut Session<'_, '_>,
    place: Place,
    path: &Path,
    df: &[u8],
) -> Result<Vec<u8>, CardError> {
    let content = match session.select_first(&path.selections(df))? {
        Ok(fcp) => {
            session.read_binary(place, &fcp, path.index, path.length.unwrap_or(MAX_DIRECTORY).min(MAX_DIRECTORY))?
        }
        Err(refusal) => Err(refusal),
    };
    content.map_err(|refusal| unreadable(place, refusal))
}

/// A file that a directory names but that cannot be read; one that is not there means a damaged directory.
fn unreadable(place: Place, Refusal(status): Refusal) -> CardError {
    match status {
        StatusWord::NOT_FOUND => CardError::malformed(place, "a directory names this file, but it is not there"),
        _ => CardError::status(place, "reading the file", status),
    }
}

fn read_object(
    session: &mut Session<'_, '_>,
    pkcs15: &Pkcs15,
    object: &DataObject,
    request: &ReadRequest<'_>,
    reading: &mut CardReading,
) -> Result<Vec<u8>, CardError> {
    let place = Place::Message(object.path.file_id());
    reading.behind_pin = object.private;
    let mut lock = pin::Lock {
        pkcs15,
        object,
        request,
        iccid: reading.iccid.as_ref(),
        refused: &mut reading.refused_pin,
        accepted: &mut reading.accepted_pin,
    };
    if object.private {
        lock.open(session, None)?;
    }
    let mut content = select_and_read(session, pkcs15, object)?;
    if let Err((Refusal(StatusWord::NOT_ALLOWED), fcp)) = &content
        && !object.private
    {
        reading.behind_pin = true;
        lock.open(session, fcp.as_ref())?;
        content = select_and_read(session, pkcs15, object)?;
    }
    match content {
        Ok(content) => content::check(content, place),
        Err((refusal, _)) => Err(unreadable(place, refusal)),
    }
}

type Content = Result<Vec<u8>, (Refusal, Option<Fcp>)>;

fn select_and_read(session: &mut Session<'_, '_>, pkcs15: &Pkcs15, object: &DataObject) -> Result<Content, CardError> {
    let fcp = match session.select_first(&object.path.selections(&pkcs15.df))? {
        Ok(fcp) => fcp,
        Err(refusal) => return Ok(Err((refusal, None))),
    };
    let place = Place::Message(object.path.file_id());
    let length = object.path.length.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE);
    let content = session.read_binary(place, &fcp, object.path.index, length)?;
    Ok(content.map_err(|refusal| (refusal, Some(fcp))))
}
