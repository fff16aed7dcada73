//! From what is on a card and what is wanted to the commands that lead there.
//!
//! The order is such that a card which loses power after any of them is read as before, as afterwards, or as blank:
//! first the objects' files, which nothing lists yet or whose first byte is blank meanwhile; then the directories, to
//! which entries are appended tag last. What others have on the card is never written over.

use omadm_core::ids::Iccid;

use crate::error::{CardErrorKind, Place};
use crate::hex;
use crate::make::{Listing, NewObject, forms};
use crate::personalise::directory::Growing;
use crate::personalise::error::PersonaliseError;
use crate::personalise::files::{FileState, Present, Readers};
use crate::personalise::region::{self, BLANK};
use crate::personalise::step::{Action, NewFile, RuleRef, Step};
use crate::personalise::survey::{DIRECTORY_FILES, Survey};
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::oid::ObjectId;
use crate::pkcs15::path::Path;
use crate::read::{MAX_MESSAGE, check_content};
use crate::secrets;

mod place;

use place::is_left_over;

/// What a card is to hold.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The objects: the Bootstrap Message, others, or both. One that is there already gets this content.
    pub objects: Vec<NewObject>,
    /// How new objects are listed.
    pub listing: Listing,
    /// New objects are made behind the user's PIN; those that are there already must be.
    pub behind_pin: bool,
    /// Size of the files of new objects; none for exactly as large as their content (Profile P-22).
    pub file_size: Option<usize>,
    /// Reference of the key that opens the card for writing: P2 of VERIFY, 0A for the first administrator.
    pub adm: u8,
    /// Access rule of the files of new objects; none for the first of the card's own that fits.
    pub rule: Option<RuleRef>,
    /// Write secrets that everybody can read (Profile P-36).
    pub allow_public_secret: bool,
    /// Write over an object behind a PIN although what it holds could not be seen, which may be of DM 1.x.
    pub replace_unseen: bool,
}

impl Wanted {
    /// These objects, open, as OpenSC reads them, written by the first administrator.
    pub fn new(objects: Vec<NewObject>) -> Self {
        Self {
            objects,
            listing: Listing::Opaque,
            behind_pin: false,
            file_size: None,
            adm: 0x0A,
            rule: None,
            allow_public_secret: false,
            replace_unseen: false,
        }
    }
}

/// What is to be done to one card. Without steps it holds already what is wanted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The commands in their order.
    pub steps: Vec<Step>,
    /// What a person may want to know about it.
    pub notes: Vec<String>,
    pub(crate) iccid: Option<Iccid>,
    /// What the files hold at the end.
    pub(crate) checks: Vec<Check>,
    /// Whether the PIN of the user is verified already, so that the card hides nothing behind it.
    pub(crate) is_opened: bool,
}

/// What a part of a file holds at the end.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) file: u16,
    pub(crate) path: Vec<u8>,
    pub(crate) offset: usize,
    pub(crate) expected: Vec<u8>,
    /// Whether its access rule lets nobody read it but who knows the PIN.
    pub(crate) is_closed: bool,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {} of {:04X}", self.expected.len(), self.offset, self.file)
    }
}

/// Plans how this card comes to hold what is wanted.
///
/// # Errors
/// If it cannot: no room, no rule, a secret that everybody could read, a directory that is damaged.
pub fn plan(survey: &Survey, wanted: &Wanted) -> Result<Plan, PersonaliseError> {
    let mut planner = Planner::new(survey, wanted);
    for object in &wanted.objects {
        planner.add(object)?;
    }
    // OpenSC reads a directory up to the first oidDO, so they come last.
    for entry in std::mem::take(&mut planner.oid_entries) {
        planner.list(&entry)?;
    }
    Ok(planner.finish())
}

/// A file to be written.
struct Target<'a> {
    /// What selects it.
    path: &'a [u8],
    id: u16,
    name: &'a str,
    rule: Option<RuleRef>,
}

/// The steps by the order in which they are taken.
struct Planner<'a> {
    survey: &'a Survey,
    wanted: &'a Wanted,
    odf: Growing,
    dodfs: Vec<Growing>,
    aodfs: Vec<Growing>,
    /// Auth identifier of the PIN of new objects.
    auth_id: Option<Vec<u8>>,
    taken: Vec<u16>,
    files: Vec<Step>,
    /// EF(AODF) and its place in EF(ODF): a private object must find its PIN from the moment on that it is listed.
    pins: Vec<Step>,
    /// Files that have become too small, when their successors are written.
    blanks: Vec<Step>,
    lists: Vec<Step>,
    /// Entries of the form oidDO, which come last.
    oid_entries: Vec<Vec<u8>>,
    /// New directories become known last.
    listed: Vec<Step>,
    checks: Vec<Check>,
    notes: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(survey: &'a Survey, wanted: &'a Wanted) -> Self {
        Self {
            survey,
            wanted,
            odf: Growing::of(&survey.odf),
            dodfs: survey.dodfs.iter().map(Growing::of).collect(),
            aodfs: survey.aodfs.iter().map(Growing::of).collect(),
            auth_id: None,
            taken: Vec::new(),
            files: Vec::new(),
            pins: Vec::new(),
            blanks: Vec::new(),
            lists: Vec::new(),
            oid_entries: Vec::new(),
            listed: Vec::new(),
            checks: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add(&mut self, object: &NewObject) -> Result<(), PersonaliseError> {
        let content = content(object)?;
        match self.existing(object)? {
            Some((listed, file)) => self.replace(object, &content, &listed, file),
            None => self.create(object, &content),
        }
    }

    /// The first entry for this object whose file is there and holds nothing of another generation.
    fn existing(&mut self, object: &NewObject) -> Result<Option<(DataObject, &'a Present)>, PersonaliseError> {
        let survey = self.survey;
        for (_, listed) in survey.objects() {
            if !listed.is(&object.oid) {
                continue;
            }
            let FileState::Present(file) = survey.file(&listed.path) else { continue };
            if let Some(trouble) = &file.trouble {
                return Err(trouble.clone().into());
            }
            let id = listed.path.file_id();
            if file.is_unseen() && !self.wanted.replace_unseen {
                return Err(PersonaliseError::Unseen { place: name(object, id) });
            }
            let bytes = file.content.as_ref().and_then(|content| content.get(listed.path.index..));
            let holds = check_content(bytes.unwrap_or_default().to_vec(), Place::Message(id));
            let is_dm = object.oid == ObjectId::dm_bootstrap();
            if is_dm && holds.is_err_and(|error| error.kind == CardErrorKind::HoldsDm1x) {
                self.notes
                    .push(format!("the message of DM 1.x in file {id:04X} stays; the new one is listed behind it"));
                continue;
            }
            return Ok(Some((listed, file)));
        }
        Ok(None)
    }

    /// Gives new content to an object that is listed.
    fn replace(
        &mut self,
        object: &NewObject,
        content: &[u8],
        listed: &DataObject,
        file: &'a Present,
    ) -> Result<(), PersonaliseError> {
        let id = listed.path.file_id();
        let name = name(object, id);
        let refused = |why: String| Err(PersonaliseError::Place { place: name.clone(), why });
        let Some(size) = file.size else {
            return refused("it has records, or does not tell its size, and nobody may read it".to_owned());
        };
        let secret = secrets::refuse_public(content).err().filter(|_| !self.wanted.allow_public_secret);
        match (file.readers, secret) {
            (Readers::Everybody, _) if self.wanted.behind_pin => {
                return refused(
                    "everybody may read this file; only the card's maker can put it behind a PIN".to_owned(),
                );
            }
            (Readers::Everybody, Some(secret)) => return Err(PersonaliseError::PublicSecret(secret)),
            (Readers::Unknown, secret) if self.wanted.behind_pin || secret.is_some() => {
                let why = "in a modem, which may have verified the PIN itself, the card does not tell whether everybody \
                           may read this file; write the card in a reader";
                return refused(why.to_owned());
            }
            (Readers::Everybody | Readers::NotEverybody | Readers::Unknown, _) => {}
        }
        let index = listed.path.index;
        let left = size.saturating_sub(index);
        let room = listed.path.length.unwrap_or(left).min(left);
        if content.len() <= room {
            let new = padded(content, room);
            let old = file.content.as_ref().and_then(|old| old.get(index..index + room));
            self.write(Target { path: &file.path, id, name: &name, rule: file.rule }, index, old, new);
            return self.rename(object, listed, id, |_| false);
        }
        if index != 0 || listed.path.length.is_some() {
            let why = format!("the directory gives {room} bytes to the object, and {} are wanted", content.len());
            return refused(why);
        }
        self.move_to_larger(object, content, listed, file)
    }

    /// A new, larger file; the old one is blanked; then the directories name the new one instead, by one byte each.
    fn move_to_larger(
        &mut self,
        object: &NewObject,
        content: &[u8],
        listed: &DataObject,
        file: &'a Present,
    ) -> Result<(), PersonaliseError> {
        let old_id = listed.path.file_id();
        let old_name = name(object, old_id);
        let is_private = file.readers == Readers::NotEverybody;
        let rule = match (self.wanted.rule, file.rule) {
            (Some(named), _) => {
                let pin = self.named_pin(named, is_private)?;
                if pin.is_some_and(|pin| self.survey.pin_of(file, listed).is_some_and(|old| old != pin)) {
                    let why = format!("by rule {named} another PIN would open it than now");
                    return Err(PersonaliseError::Place { place: old_name, why });
                }
                named
            }
            (None, Some(rule)) => rule,
            (None, None) => {
                let why = format!(
                    "it is too small for {} bytes, and tells no rule for a larger one; name one by --access-rule",
                    content.len()
                );
                return Err(PersonaliseError::Place { place: old_name, why });
            }
        };
        let new_id =
            self.free_file(content, rule, is_private)?.filter(|(id, _)| id.to_be_bytes()[0] == old_id.to_be_bytes()[0]);
        let Some((new_id, state)) = new_id else {
            let why = format!("it is too small for {} bytes, and no other file is free", content.len());
            return Err(PersonaliseError::Place { place: old_name, why });
        };
        self.write_new(object, content, new_id, state, rule);
        // What the old file holds may be secret. As long as a directory names it, a run that comes after one that was cut
        // off knows that it is ours and goes on blanking it.
        let size = file.size.unwrap_or(0);
        let blank = vec![BLANK; size];
        let steps = region::rewrite(&old_name, 0, file.content.as_deref(), &blank);
        if !steps.is_empty() {
            self.blanks.push(select(&file.path, &old_name));
            self.blanks.extend(steps);
        }
        let is_closed = self.survey.rule_pin(file.rule).is_some();
        self.checks.push(Check { file: old_id, path: file.path.clone(), offset: 0, expected: blank, is_closed });
        self.rename(object, listed, new_id, |state| state == file)?;
        self.notes.push(format!("{old_name} is too small and is left blank; the object moves to file {new_id:04X}"));
        Ok(())
    }

    /// Makes the entries of an object that name such files name another one, by one byte each. An object that is listed in
    /// both forms may have been cut off between its two entries: the other form of it, if it names a blank file, follows.
    fn rename(
        &mut self,
        object: &NewObject,
        listed: &DataObject,
        new_id: u16,
        is_old: impl Fn(&Present) -> bool,
    ) -> Result<(), PersonaliseError> {
        let survey = self.survey;
        for dodf in &mut self.dodfs {
            let renamed = |one: &DataObject| match survey.file(&one.path) {
                FileState::Present(file) => {
                    let is_blank = file.content.as_ref().is_some_and(|all| all.iter().all(|byte| *byte == BLANK));
                    let is_same = one.path.file_id().to_be_bytes()[0] == new_id.to_be_bytes()[0];
                    is_old(file) || one.form != listed.form && is_blank && is_same && one.path.file_id() != new_id
                }
                FileState::Absent => false,
            };
            let steps = dodf.rename(object.oid.content(), renamed, new_id)?;
            self.lists.extend(steps);
        }
        Ok(())
    }

    /// A new object: its file, then its entries.
    fn create(&mut self, object: &NewObject, content: &[u8]) -> Result<(), PersonaliseError> {
        let is_private = self.wanted.behind_pin;
        if !is_private && !self.wanted.allow_public_secret {
            secrets::refuse_public(content).map_err(PersonaliseError::PublicSecret)?;
        }
        let (rule, pin) = self.rule_of_new(is_private)?;
        let Some((id, state)) = self.free_file(content, rule, is_private)? else {
            let why = "none of the files 6434 to 643F is free".to_owned();
            return Err(PersonaliseError::Place { place: format!("object {}", object.oid), why });
        };
        self.write_new(object, content, id, state, rule);
        let auth_id = pin.map(|reference| self.pin(reference)).transpose()?;
        for form in forms(self.wanted.listing) {
            let entry = object.listed(id, auth_id.as_deref(), *form).encode();
            match form {
                Form::Opaque => self.list_opaque(&entry, object)?,
                Form::Oid => self.oid_entries.push(entry),
            }
        }
        Ok(())
    }

    fn write_new(&mut self, object: &NewObject, content: &[u8], id: u16, state: &FileState, rule: RuleRef) {
        self.taken.push(id);
        let name = &name(object, id);
        match state {
            FileState::Present(file) => {
                let new = padded(content, file.size.unwrap_or(content.len()));
                let rule = file.rule.or(Some(rule));
                self.write(Target { path: &file.path, id, name, rule }, 0, file.content.as_deref(), new);
            }
            FileState::Absent => {
                let size = self.wanted.file_size.unwrap_or(content.len()).max(content.len());
                let new = padded(content, size);
                self.files.push(create(id, size, rule, name));
                self.write(Target { path: &bare(id), id, name, rule: Some(rule) }, 0, None, new);
            }
        }
    }

    fn write(&mut self, target: Target<'_>, offset: usize, old: Option<&[u8]>, new: Vec<u8>) {
        let Target { path, id, name, rule } = target;
        let steps = region::rewrite(name, offset, old, &new);
        if !steps.is_empty() {
            self.files.push(select(path, name));
            self.files.extend(steps);
            if !path.starts_with(&[0x7F, 0xFF]) {
                // The next file may have to be created in the application.
                self.files.push(self.application());
            }
        }
        let is_closed = self.survey.rule_pin(rule).is_some();
        self.checks.push(Check { file: id, path: path.to_vec(), offset, expected: new, is_closed });
    }

    /// Lists an object where OpenSC finds it, if that can be had.
    fn list_opaque(&mut self, entry: &[u8], object: &NewObject) -> Result<(), PersonaliseError> {
        let is_seen = |dodf: &&mut Growing| dodf.is_open_to_all() && dodf.has_room(entry.len());
        if let Some(dodf) = self.dodfs.iter_mut().find(is_seen) {
            self.lists.extend(dodf.append(entry));
            return Ok(());
        }
        let has_room = self.dodfs.iter().any(|dodf| dodf.has_room(entry.len()));
        match self.list_in_new_directory(entry) {
            Err(_) if has_room => {
                self.notes.push(format!("OpenSC does not see the object {}: it is listed behind an oidDO", object.oid));
                self.list(entry)
            }
            listed => listed,
        }
    }

    /// Lists an object in the first directory with room, or in a new one.
    fn list(&mut self, entry: &[u8]) -> Result<(), PersonaliseError> {
        match self.dodfs.iter_mut().find(|dodf| dodf.has_room(entry.len())) {
            Some(dodf) => {
                self.lists.extend(dodf.append(entry));
                Ok(())
            }
            None => self.list_in_new_directory(entry),
        }
    }

    fn list_in_new_directory(&mut self, entry: &[u8]) -> Result<(), PersonaliseError> {
        let (new, mut steps) = self.new_directory("EF(DODF)", entry)?;
        self.listed.extend(self.odf.try_append(&Growing::entry(0xA7, new.id))?);
        self.files.append(&mut steps);
        self.dodfs.push(new);
        Ok(())
    }

    /// What objects behind this PIN call it; it is listed where it is not yet.
    fn pin(&mut self, reference: u8) -> Result<Vec<u8>, PersonaliseError> {
        if let Some(auth_id) = &self.auth_id {
            return Ok(auth_id.clone());
        }
        let known = self.survey.pins().find(|pin| pin.reference == reference);
        let auth_id = match known {
            Some(pin) => pin.auth_id,
            None => self.new_pin(reference)?,
        };
        self.auth_id = Some(auth_id.clone());
        Ok(auth_id)
    }

    fn new_pin(&mut self, reference: u8) -> Result<Vec<u8>, PersonaliseError> {
        let used: Vec<Vec<u8>> = self.survey.pins().map(|pin| pin.auth_id).collect();
        let auth_id = (1..=u8::MAX).map(|id| vec![id]).find(|id| !used.contains(id)).unwrap_or_default();
        let entry = crate::pkcs15::aodf::PinObject {
            label: Some("PIN".to_owned()),
            auth_id: auth_id.clone(),
            reference,
            needs_padding: true,
        }
        .encode();
        if let Some(aodf) = self.aodfs.iter_mut().find(|aodf| aodf.has_room(entry.len())) {
            self.pins.extend(aodf.append(&entry));
            return Ok(auth_id);
        }
        let (new, mut steps) = self.new_directory("EF(AODF)", &entry)?;
        self.pins.append(&mut steps);
        self.pins.extend(self.odf.try_append(&Growing::entry(0xA8, new.id))?);
        self.aodfs.push(new);
        Ok(auth_id)
    }

    /// A directory with these entries, in a file of its own that nothing names yet.
    fn new_directory(&mut self, kind: &str, entries: &[u8]) -> Result<(Growing, Vec<Step>), PersonaliseError> {
        let open = self.survey.rules.iter().find(|rule| rule.is_open(self.wanted.adm)).map(|rule| rule.at);
        let rule = self.survey.dodfs.iter().find_map(|dodf| dodf.rule).or(self.survey.odf.rule).or(open);
        let rule = rule.ok_or_else(|| self.no_rule(false))?;
        let is_free = |id: &u16| {
            let path = Path::bare(*id);
            let is_unused = match self.survey.file(&path) {
                FileState::Absent => true,
                // Left over from a run that was cut off.
                FileState::Present(Present {
                    size: Some(there),
                    content: Some(old),
                    readers: Readers::Everybody,
                    ..
                }) => is_left_over(old, entries) && *there >= entries.len(),
                FileState::Present(_) => false,
            };
            is_unused && !self.taken.contains(id) && !self.survey.is_named(&path)
        };
        // The usual file of each kind first.
        let order = if kind == "EF(AODF)" { [1, 3, 2, 0] } else { [0, 2, 3, 1] };
        let id = order.iter().filter_map(|place| DIRECTORY_FILES.get(*place)).copied().find(is_free);
        let Some(id) = id else {
            let why = "the directories are full, and none of the files 6430 to 6433 is free".to_owned();
            return Err(PersonaliseError::Place { place: kind.to_owned(), why });
        };
        self.taken.push(id);
        let name = format!("{kind} {id:04X}");
        // With room for the entries of further objects.
        let to_come = if kind == "EF(DODF)" { self.entries_wanted() } else { 0 };
        let size = entries.len().max(to_come).next_multiple_of(32).max(128);
        let state = self.survey.file(&Path::bare(id));
        let (path, size, mut steps) = match state {
            FileState::Present(Present { path, size: Some(there), .. }) if *there >= entries.len() => {
                (path.clone(), *there, Vec::new())
            }
            FileState::Present(_) => {
                let why = "a file of this name is there, and is too small".to_owned();
                return Err(PersonaliseError::Place { place: name, why });
            }
            FileState::Absent => (bare(id), size, vec![create(id, size, rule, &name)]),
        };
        let content = padded(entries, size);
        steps.push(select(&path, &name));
        let old = match state {
            FileState::Present(file) => file.content.as_deref(),
            FileState::Absent => None,
        };
        steps.extend(region::rewrite(&name, 0, old, &content));
        Ok((Growing::new(id, name, path, content, entries.len()), steps))
    }

    /// How many bytes the entries of all objects that are wanted have.
    fn entries_wanted(&self) -> usize {
        let forms = forms(self.wanted.listing);
        let entries = self.wanted.objects.iter().flat_map(|object| {
            forms.iter().map(|form| object.listed(0, self.auth_id.as_deref(), *form).encode().len())
        });
        entries.sum()
    }

    fn application(&self) -> Step {
        Step { action: self.survey.application.clone(), about: "select the PKCS#15 application".to_owned() }
    }

    fn finish(mut self) -> Plan {
        let application = self.application();
        let mut steps: Vec<Step> = [self.files, self.pins, self.blanks, self.lists, self.listed].concat();
        if !steps.is_empty() {
            let reference = self.wanted.adm;
            let open =
                [application, Step { action: Action::VerifyKey { reference }, about: "verify the ADM key".to_owned() }];
            steps.splice(0..0, open);
        }
        let directories = self.dodfs.iter().chain(&self.aodfs).chain([&self.odf]);
        self.checks.extend(directories.filter_map(Growing::check));
        let is_opened = self.survey.opened.is_some();
        Plan { steps, notes: self.notes, iccid: self.survey.iccid.clone(), checks: self.checks, is_opened }
    }
}

/// The bytes to be written: those of a Bootstrap Message checked and without padding.
fn content(object: &NewObject) -> Result<Vec<u8>, PersonaliseError> {
    let size = object.content.len();
    if !(1..=MAX_MESSAGE).contains(&size) {
        return Err(PersonaliseError::Size { oid: object.oid.clone(), size, limit: MAX_MESSAGE });
    }
    if object.oid == ObjectId::dm_bootstrap() {
        let place = "the message".to_owned();
        return check_content(object.content.clone(), Place::Link)
            .map_err(|error| PersonaliseError::Place { place, why: error.detail });
    }
    Ok(object.content.clone())
}

pub(crate) fn name(object: &NewObject, id: u16) -> String {
    if object.oid == ObjectId::dm_bootstrap() {
        format!("EF(DM_Bootstrap) {id:04X}")
    } else {
        format!("EF({}) {id:04X}", object.label)
    }
}

pub(crate) fn bare(id: u16) -> Vec<u8> {
    [&[0x7F, 0xFF], &id.to_be_bytes()[..]].concat()
}

pub(crate) fn select(path: &[u8], name: &str) -> Step {
    Step { action: Action::SelectFile { path: path.to_vec() }, about: format!("select {name}, {}", hex::encode(path)) }
}

pub(crate) fn create(id: u16, size: usize, rule: RuleRef, name: &str) -> Step {
    let size = u16::try_from(size).unwrap_or(u16::MAX);
    let about = format!("create {name} with {size} bytes, access by rule {rule}");
    Step { action: Action::CreateFile { file: NewFile { id, size, rule } }, about }
}

pub(crate) fn padded(content: &[u8], size: usize) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(size.max(content.len()), BLANK);
    content
}
