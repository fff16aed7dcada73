//! What the commands that make cards have in common: where their content comes from, and how they end.

use omadm_card::CardImage;
use omadm_card::make::{CardPlan, Content, Listing, NewObject};
use omadm_card::personalise::script::{Writing, apdu_script, pysim_script, steps};
use omadm_card::personalise::{AdmKey, PersonaliseError};
use omadm_card::read::MAX_MESSAGE;
use omadm_core::account::Credential;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::ids::Iccid;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::source;
use crate::admin::{Admin, Carrier};
use crate::args::{Form, Laid, NewCard, Objects, Reach, ScriptKind, Scripting};
use crate::failure::{Exit, Failure};
use crate::{output, private};

/// The card that is asked for, and the message that was issued for it.
pub(super) fn plan(card: &NewCard, reach: &Reach) -> Result<(CardPlan, Option<Issued>), Failure> {
    let iccid = card.iccid.parse().map_err(|error| Failure::usage(format!("--iccid {}: {error}", card.iccid)))?;
    // What else may be wrong is found before the server is asked.
    let (others, pin) = (objects(&card.objects)?, source::pin(card.pin.as_deref())?);
    let issued = match (&card.content.message, &card.content.profile) {
        (None, Some(profile)) => Some(Issued::new(&Admin::find(reach)?, profile, &card.iccid)?),
        (_, _) => None,
    };
    let content = match (&card.content.message, &issued) {
        (Some(path), _) => Content::Message(message_of(path)?),
        (None, Some(issued)) => Content::Message(issued.message().to_vec()),
        (None, None) => Content::None,
    };
    let plan = CardPlan {
        imsi: Some(card.imsi.clone()),
        mnc_length: card.mnc_length,
        content,
        others,
        pin,
        ..laid(&card.laid, iccid)
    };
    Ok((plan, issued))
}

/// A card that holds its message in this way, and none so far.
pub(super) fn laid(laid: &Laid, iccid: Iccid) -> CardPlan {
    CardPlan {
        content: Content::None,
        listing: listing(laid.form),
        pin_reference: laid.pin_ref,
        file_size: laid.file_size.map(usize::from),
        allow_public_secret: laid.allow_public_secret,
        ..CardPlan::new(iccid, b"")
    }
}

pub(super) fn listing(form: Form) -> Listing {
    match form {
        Form::Opaque => Listing::Opaque,
        Form::Oid => Listing::Oid,
        Form::Both => Listing::Both,
    }
}

/// Whom the credentials in a message name; nothing of their secrets.
pub(super) fn users(message: &BootstrapMessage) -> Vec<String> {
    message.accounts().iter().filter_map(|(account, _)| account.trsp.as_ref()).filter_map(user).collect()
}

fn user(credential: &Credential) -> Option<String> {
    match credential {
        Credential::Basic { user, .. } | Credential::Digest { user, .. } | Credential::Aka { user } => {
            Some(user.clone())
        }
        Credential::Psk { identity, .. } => Some(identity.clone()),
        Credential::X509 { .. } => None,
    }
}

/// A message that the server issued, with a credential that is worth something from now on. Unless it is kept, that is
/// withdrawn: none is to be valid that lies nowhere.
pub(super) struct Issued {
    admin: Admin,
    message: Vec<u8>,
    user: Option<String>,
}

impl Issued {
    /// Has the server issue a message for the card with this ICCID, and checks it.
    pub(super) fn new(admin: &Admin, profile: &str, iccid: &str) -> Result<Self, Failure> {
        let (message, user) = admin.issue_message(profile, Carrier::Card(iccid)).map_err(Failure::or_usage)?;
        let issued = Self { admin: admin.clone(), message, user };
        check(&issued.message)?;
        Ok(issued)
    }

    /// The message.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// The user by whom the credential is withdrawn, where one was made.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// It lies on a card, or in a file, now.
    pub(super) fn keep(mut self) {
        self.user = None;
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        if let Some(user) = &self.user
            && let Err(failure) = self.admin.withdraw(user)
        {
            let why = &failure.message;
            output::remark(&format!("the credential of {user} lies on no card and could not be withdrawn: {why}"));
        }
    }
}

/// The message in a file, checked.
pub(super) fn message_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let message = bounded(path, MAX_MESSAGE)?;
    let in_file = |failure: Failure| Failure { message: format!("{}: {}", path.display(), failure.message), ..failure };
    check(&message).map_err(in_file)?;
    Ok(message)
}

fn check(message: &[u8]) -> Result<BootstrapMessage, Failure> {
    BootstrapMessage::parse(message, Limit::Card)
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
    let key = private::line(path, "a key")?;
    AdmKey::parse(&key).map(Some).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
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
        PersonaliseError::KeyNotTried { .. }
        | PersonaliseError::KeyRefused { .. }
        | PersonaliseError::Unseen { .. } => Exit::Denied,
        PersonaliseError::PublicSecret(_)
        | PersonaliseError::Size { .. }
        | PersonaliseError::NoRule { .. }
        | PersonaliseError::KeyNeeded(_) => Exit::Usage,
        PersonaliseError::OtherCard
        | PersonaliseError::Open { .. }
        | PersonaliseError::Place { .. }
        | PersonaliseError::Refused { .. }
        | PersonaliseError::Differs { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
