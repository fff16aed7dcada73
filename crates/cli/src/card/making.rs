//! What the commands that make cards have in common: where their content comes from, and how files with secrets are
//! written.

use omadm_card::CardImage;
use omadm_card::make::{CardPlan, Content, Listing, NewObject};
use omadm_card::personalise::script::{Writing, apdu_script, pysim_script, steps};
use omadm_card::personalise::{AdmKey, PersonaliseError};
use omadm_card::read::MAX_MESSAGE;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::source;
use crate::admin::{Admin, Carrier, first_line};
use crate::args::{Form, NewCard, Objects, Reach, ScriptKind, Scripting};
use crate::failure::{Exit, Failure};

/// The card that is asked for.
pub(super) fn plan(card: &NewCard, reach: &Reach) -> Result<CardPlan, Failure> {
    let iccid = card.iccid.parse().map_err(|error| Failure::usage(format!("--iccid {}: {error}", card.iccid)))?;
    let content = match (&card.content.message, &card.content.profile) {
        (Some(path), _) => Content::Message(message_of(path)?),
        (None, Some(profile)) => Content::Message(issued(&Admin::find(reach)?, profile, &card.iccid)?),
        (None, None) => Content::None,
    };
    Ok(CardPlan {
        imsi: Some(card.imsi.clone()),
        mnc_length: card.mnc_length,
        content,
        others: objects(&card.objects)?,
        listing: listing(card.form),
        pin: source::pin(card.pin.as_deref())?,
        pin_reference: card.pin_ref,
        file_size: card.file_size.map(usize::from),
        allow_public_secret: card.allow_public_secret,
        ..CardPlan::new(iccid, b"")
    })
}

pub(super) fn listing(form: Form) -> Listing {
    match form {
        Form::Opaque => Listing::Opaque,
        Form::Oid => Listing::Oid,
        Form::Both => Listing::Both,
    }
}

/// A message that the server issues for the card with this ICCID, checked.
pub(super) fn issued(admin: &Admin, profile: &str, iccid: &str) -> Result<Vec<u8>, Failure> {
    let message = admin.issue_message(profile, Carrier::Card(iccid)).map_err(Failure::or_usage)?;
    check(&message)?;
    Ok(message)
}

/// The message in a file, checked.
pub(super) fn message_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let message = bounded(path, MAX_MESSAGE)?;
    check(&message)?;
    Ok(message)
}

fn check(message: &[u8]) -> Result<(), Failure> {
    BootstrapMessage::parse(message, Limit::Card)
        .map(drop)
        .map_err(|error| Failure::usage(format!("the message is refused: {error}")))
}

/// The objects beside the message.
pub(super) fn objects(objects: &Objects) -> Result<Vec<NewObject>, Failure> {
    let lwm2m = objects.lwm2m.iter().map(|path| Ok(NewObject::lwm2m(bounded(path, MAX_MESSAGE)?)));
    let others = objects.object.iter().map(|(oid, path)| Ok(NewObject::new(oid.clone(), bounded(path, MAX_MESSAGE)?)));
    lwm2m.chain(others).collect()
}

/// The bytes of a file of at most `limit` bytes.
pub(super) fn bounded(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut content));
    read.map_err(|error| Failure::unreadable(path, &error))?;
    if content.len() > limit {
        return Err(Failure::usage(format!("{} has more than {limit} bytes", path.display())));
    }
    Ok(content)
}

/// The key of an administrator in a file that nobody else may read.
pub(super) fn adm_key(path: Option<&Path>) -> Result<Option<AdmKey>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let mode = fs::metadata(path).map_err(|error| Failure::unreadable(path, &error))?.mode();
    let name = path.display();
    if mode & 0o077 != 0 {
        return Err(
            Failure::usage(format!("{name} holds a key and others may read it")).advise(format!("chmod 600 {name}"))
        );
    }
    AdmKey::parse(&first_line(path)?).map(Some).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

/// Writes a file that holds secrets: 0600, also where there was one before.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::unwritable(path, &error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = create_private(path).map_err(failed)?;
    file.write_all(content).map_err(failed)
}

/// Replaces a file that holds secrets in one step, so that the old one or the new one is there whatever happens.
pub(super) fn replace_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let failed = |error| Failure::unwritable(path, &error);
    write_private(&fresh, content)?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)
}

/// A new file that nobody else may read.
pub(super) fn create_private(path: &Path) -> std::io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// How scripts are to write.
pub(super) fn writing(scripting: &Scripting) -> Writing {
    Writing {
        creates: scripting.create_files,
        adm: scripting.adm_ref,
        open_rule: scripting.open_rule,
        pin_rule: scripting.pin_rule,
    }
}

/// The script that writes what this image holds.
pub(super) fn script(
    image: &CardImage,
    iccid: &str,
    kind: ScriptKind,
    scripting: &Scripting,
    key: Option<&AdmKey>,
) -> Result<String, Failure> {
    let writing = writing(scripting);
    let steps = steps(image, &writing).map_err(|error| failure(&error))?;
    let title = format!("card {iccid}");
    match kind {
        ScriptKind::Apdu => Ok(apdu_script(&title, &steps, key)),
        ScriptKind::Pysim => pysim_script(&title, &steps, key).map_err(|error| failure(&error)),
    }
}

/// A card that was not written.
pub(super) fn failure(error: &PersonaliseError) -> Failure {
    let exit = match error {
        PersonaliseError::Card(error) => return source::card_failure(error),
        PersonaliseError::NoApplication(_) => Exit::Nothing,
        PersonaliseError::KeyNotTried { .. } | PersonaliseError::KeyRefused { .. } => Exit::Denied,
        PersonaliseError::PublicSecret(_)
        | PersonaliseError::Size { .. }
        | PersonaliseError::NoRule(_)
        | PersonaliseError::KeyNeeded(_) => Exit::Usage,
        PersonaliseError::OtherCard
        | PersonaliseError::Place { .. }
        | PersonaliseError::Refused { .. }
        | PersonaliseError::Differs { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
