//! The files of the PKCS#15 application and the data objects that they list.

use super::look::{Look, Seen, SeenObject, SeenPin};
use super::view::FileView;
use crate::apdu::{Command, StatusWord, VERIFY};
use crate::error::CardError;
use crate::file::dm1x;
use crate::hex;
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::odf::Odf;
use crate::pkcs15::token_info::TokenInfo;
use crate::pkcs15::{self, LWM2M_BOOTSTRAP_OID};
use crate::read::{FileSession, MAX_DIRECTORY, MAX_MESSAGE, Part, Refusal, is_user_pin};

/// The most data objects whose files are looked at.
const MAX_OBJECTS: usize = 8;
/// The most PINs that are asked about.
const MAX_PINS: usize = 8;

/// Looks at the application that is selected; `df` is the path of its DF without the MF.
pub(super) fn look_at_pkcs15(session: &mut FileSession<'_, '_>, df: &[u8], seen: &mut Seen) -> Result<(), CardError> {
    let odf = look_at_odf(session, seen)?;
    let here = |id: u16| vec![[[0x7F, 0xFF], id.to_be_bytes()].concat()];
    let id = pkcs15::TOKEN_INFO;
    let mut look = Look::new(session, "PKCS#15", id, "EF(TokenInfo)", &here(id), MAX_DIRECTORY)?;
    look.explain(|content| {
        let info = TokenInfo::parse(content)?;
        let names = [info.manufacturer, info.label].into_iter().flatten().collect::<Vec<_>>().join(", ");
        Ok(vec![format!("{names}, serial {}", hex::encode(info.serial.get(..20).unwrap_or(&info.serial)))])
    });
    seen.has_token_info = look.parts.is_ok() && look.view.problem.is_none();
    seen.files.push(look.view);

    seen.has_aodf = !odf.aodfs.is_empty();
    for path in &odf.aodfs {
        let part = Part { index: path.index, length: path.length, limit: MAX_DIRECTORY };
        let mut look = Look::at(session, "PKCS#15", path.file_id(), "EF(AODF)", &path.selections(df), part)?;
        let pins: Vec<PinObject> = entries(&look, |part| PinObject::parse_all(part).filter_map(Result::ok).collect());
        let mut lines = Vec::new();
        for pin in pins.into_iter().take(MAX_PINS) {
            let state = ask(session, pin.reference)?;
            let label = pin.label.as_deref().unwrap_or_default();
            let id = hex::encode(pin.auth_id.get(..16).unwrap_or(&pin.auth_id));
            let tries = state.map(|state| format!(", {}", said(state))).unwrap_or_default();
            lines.push(format!("PIN {:02X} \"{label}\", authId {id}{tries}", pin.reference));
            seen.pins.push(SeenPin { pin, place: look.view.path.clone(), state });
        }
        look.say(lines);
        look.find_damage();
        seen.files.push(look.view);
    }
    for path in &odf.dodfs {
        look_at_dodf(session, path, df, seen)?;
    }
    Ok(())
}

fn look_at_odf(session: &mut FileSession<'_, '_>, seen: &mut Seen) -> Result<Odf, CardError> {
    let path = [[0x7F, 0xFF], pkcs15::ODF.to_be_bytes()].concat();
    let mut look = Look::new(session, "PKCS#15", pkcs15::ODF, "EF(ODF)", &[path], MAX_DIRECTORY)?;
    let odf = look.parts.as_ref().map(|parts| Odf::parse_parts(parts)).unwrap_or_default();
    let data = odf.dodfs.iter().map(|path| format!("data objects in {path}"));
    let pins = odf.aodfs.iter().map(|path| format!("PINs in {path}"));
    look.say(data.chain(pins).collect());
    if let Some(damage) = &odf.damage {
        look.view.problem = Some(damage.to_string());
    }
    look.find_damage();
    seen.has_dodf = !odf.dodfs.is_empty();
    seen.files.push(look.view);
    Ok(odf)
}

fn look_at_dodf(
    session: &mut FileSession<'_, '_>,
    path: &pkcs15::path::Path,
    df: &[u8],
    seen: &mut Seen,
) -> Result<(), CardError> {
    let part = Part { index: path.index, length: path.length, limit: MAX_DIRECTORY };
    let mut look = Look::at(session, "PKCS#15", path.file_id(), "EF(DODF)", &path.selections(df), part)?;
    let mut damage = None;
    let objects: Vec<DataObject> = entries(&look, |part| {
        let sound = |entry: Result<DataObject, _>| entry.map_err(|error| damage = Some(error)).ok();
        DataObject::parse_all(part).filter_map(sound).collect()
    });
    look.say(objects.iter().map(describe).collect());
    look.view.problem = look.view.problem.take().or(damage.map(|damage| damage.to_string()));
    look.find_damage();
    let doubled = look
        .parts
        .as_ref()
        .is_ok_and(|parts| parts.iter().any(|part| part.windows(4).any(|bytes| bytes == [0x06, 0x06, 0x06, 0x04])));
    seen.files.push(look.view);
    for object in objects {
        let listed = seen.objects.iter_mut().find(|one| one.object.path.is_same_place(&object.path, df));
        if let Some(listed) = listed {
            // As opaqueDO other readers see it.
            if object.form == Form::Opaque {
                listed.object.form = Form::Opaque;
            }
            listed.object.private |= object.private;
            continue;
        }
        if seen.objects.len() < MAX_OBJECTS {
            look_at_object(session, object, doubled, df, seen)?;
        }
    }
    Ok(())
}

fn look_at_object(
    session: &mut FileSession<'_, '_>,
    object: DataObject,
    doubled: bool,
    df: &[u8],
    seen: &mut Seen,
) -> Result<(), CardError> {
    let path = &object.path;
    let part = Part { index: path.index, length: path.length, limit: MAX_MESSAGE };
    let name = match object.id() {
        _ if object.is_dm_bootstrap() => "EF(DM_Bootstrap)".to_owned(),
        Some(id) if id.content() == LWM2M_BOOTSTRAP_OID => "EF(LwM2M_Bootstrap)".to_owned(),
        Some(id) => format!("data object {id}"),
        None => "data object".to_owned(),
    };
    let mut look = Look::at(session, "PKCS#15", path.file_id(), &name, &path.selections(df), part)?;
    let content = look.parts.as_ref().map(|parts| parts.concat()).map_err(|refusal| *refusal);
    if let Ok(content) = &content {
        look.say(vec![kind_of(content, &object)]);
    }
    let place = look.view.path.clone();
    let size = look.view.size;
    // It may hold secrets.
    seen.files.push(FileView { content: None, ..look.view });
    seen.objects.push(SeenObject { object, is_doubled: doubled, place, size, content });
    Ok(())
}

/// The entries of all records of a file.
fn entries<T>(look: &Look, parse: impl FnMut(&Vec<u8>) -> Vec<T>) -> Vec<T> {
    look.parts.as_deref().unwrap_or_default().iter().flat_map(parse).collect()
}

/// One line about a data object.
fn describe(object: &DataObject) -> String {
    let what = match object.id() {
        _ if object.is_dm_bootstrap() => "OMA DM bootstrap object".to_owned(),
        Some(id) if id.content() == LWM2M_BOOTSTRAP_OID => format!("LwM2M bootstrap object {id}"),
        Some(id) => format!("data object {id}"),
        None => "data object without an identifier".to_owned(),
    };
    let form = match object.form {
        Form::Opaque => "opaqueDO",
        Form::Oid => "oidDO",
    };
    let label = object.label.as_deref().unwrap_or_default();
    let protection = if object.private { "behind a PIN" } else { "readable by everybody" };
    let path = &object.path;
    let part = match (path.index, path.length) {
        (0, None) => String::new(),
        (index, None) => format!(" from {index} on"),
        (index, Some(length)) => format!(" from {index} on, length {length}"),
    };
    format!("{what} \"{label}\" ({form}) in {path}{part}, {protection}")
}

/// What the bytes of an object are, without any of them: they may hold keys.
fn kind_of(content: &[u8], object: &DataObject) -> String {
    let used = content.iter().rposition(|byte| !matches!(byte, 0x00 | 0xFF)).map_or(0, |last| last + 1);
    let padding = match content.len() - used {
        0 => String::new(),
        count => format!(", then {count} of padding"),
    };
    let what = match content.first() {
        None | Some(0x00 | 0xFF) if object.is_dm_bootstrap() => return "blank at its first byte".to_owned(),
        _ if used == 0 => return "blank".to_owned(),
        Some(b'[' | b'{') => "JSON".to_owned(),
        _ => dm1x::describe(content).filter(|_| object.is_dm_bootstrap()).unwrap_or_else(|| "data".to_owned()),
    };
    let how = match object.id() {
        Some(id) if !object.is_dm_bootstrap() => format!("; omadm card read --object {id} gives it"),
        Some(_) | None => String::new(),
    };
    format!("{what}, {used} bytes{padding}{how}")
}

/// What the card says of a PIN; asking spends no try. PINs of a modem and keys of the administrator are not asked about.
fn ask(session: &mut FileSession<'_, '_>, reference: u8) -> Result<Option<StatusWord>, CardError> {
    let is_ours = session.card().is_exclusive() || !matches!(reference, 0x01 | 0x11);
    if !is_ours || !is_user_pin(reference) {
        return Ok(None);
    }
    Ok(Some(session.send(&Command::case1(VERIFY, 0, reference))?.status))
}

/// What the answer to an empty VERIFY says.
fn said(state: StatusWord) -> String {
    match state.tries() {
        _ if state.is_ok() => "open now".to_owned(),
        Some(1) => "1 try left".to_owned(),
        Some(tries) => format!("{tries} tries left"),
        None => Refusal(state).0.to_string(),
    }
}
