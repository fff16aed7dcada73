//! A directory that gets entries, or whose entries come to name another file.

use crate::file::tlv::{Objects, object};
use crate::hex;
use crate::personalise::error::PersonaliseError;
use crate::personalise::plan::{Check, select};
use crate::personalise::region::{self, is_blank};
use crate::personalise::step::Step;
use crate::personalise::survey::Directory;
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::path::Path;

/// A directory as it will be once the steps so far are taken.
pub(crate) struct Growing {
    pub(crate) id: u16,
    name: String,
    path: Vec<u8>,
    content: Vec<u8>,
    end: usize,
    damage: Option<String>,
    is_changed: bool,
}

impl Growing {
    /// As it is on the card.
    pub(crate) fn of(directory: &Directory) -> Self {
        Self {
            id: directory.id,
            name: directory.name.clone(),
            path: directory.path.clone(),
            content: directory.content.clone(),
            end: directory.end,
            damage: directory.damage.clone(),
            is_changed: false,
        }
    }

    /// A new one, with entries up to `end`.
    pub(crate) fn new(id: u16, name: String, path: Vec<u8>, content: Vec<u8>, end: usize) -> Self {
        Self { id, name, path, content, end, damage: None, is_changed: true }
    }

    /// An entry of EF(ODF) for a directory in this file.
    pub(crate) fn entry(tag: u8, id: u16) -> Vec<u8> {
        object(tag, &Path::bare(id).encode())
    }

    /// Whether so many bytes of entries fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.damage.is_none() && self.content.len().saturating_sub(self.end) >= bytes
    }

    /// Whether OpenSC comes to the end of it: it reads up to the first oidDO.
    pub(crate) fn is_open_to_all(&self) -> bool {
        let content = self.content.get(..self.end).unwrap_or_default();
        DataObject::parse_all(content).filter_map(Result::ok).all(|object| object.form == Form::Opaque)
    }

    /// Appends an entry for which there is room.
    pub(crate) fn append(&mut self, entry: &[u8]) -> Vec<Step> {
        let room = self.content.get(self.end..).unwrap_or_default();
        let mut steps = vec![select(&self.path, &self.name)];
        steps.extend(region::append(&self.name, self.end, room, entry));
        let end = self.end + entry.len();
        if let Some(place) = self.content.get_mut(self.end..end) {
            place.copy_from_slice(entry);
        }
        if let Some(next) = self.content.get_mut(end).filter(|next| !is_blank(**next)) {
            *next = region::BLANK;
        }
        self.end = end;
        self.is_changed = true;
        steps
    }

    /// Appends an entry, if there is room.
    pub(crate) fn try_append(&mut self, entry: &[u8]) -> Result<Vec<Step>, PersonaliseError> {
        if self.has_room(entry.len()) {
            return Ok(self.append(entry));
        }
        let free = self.content.len().saturating_sub(self.end);
        let why =
            self.damage.clone().unwrap_or_else(|| format!("{} bytes more do not fit, {free} are free", entry.len()));
        Err(PersonaliseError::Place { place: self.name.clone(), why })
    }

    /// Makes the entries of an object whose file `is_old` name another file, which differs in the last byte only: one
    /// byte, so that there is nothing between before and after.
    pub(crate) fn rename(
        &mut self,
        oid: &[u8],
        is_old: impl Fn(&DataObject) -> bool,
        new_id: u16,
    ) -> Result<Vec<Step>, PersonaliseError> {
        let [_, low] = new_id.to_be_bytes();
        let mut places = Vec::new();
        let mut objects = Objects::new(&self.content);
        let mut start = 0;
        while let Some(Ok(_)) = objects.next() {
            let entry = self.content.get(start..objects.offset()).unwrap_or_default();
            let begins = std::mem::replace(&mut start, objects.offset());
            let Some(Ok(listed)) = DataObject::parse_all(entry).next() else { continue };
            if listed.oids.iter().any(|one| one == oid) && is_old(&listed) {
                let ids = hex::decode(&listed.path.to_string()).unwrap_or_default();
                let wanted = object(0x04, &ids);
                let found: Vec<usize> = entry
                    .windows(wanted.len())
                    .enumerate()
                    .filter(|(_, part)| *part == wanted)
                    .map(|(at, _)| at)
                    .collect();
                let [at] = found.as_slice() else {
                    let why = format!("its entry at byte {begins} is of a form that cannot be changed in one byte");
                    return Err(PersonaliseError::Place { place: self.name.clone(), why });
                };
                places.push(begins + at + wanted.len() - 1);
            }
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut steps = vec![select(&self.path, &self.name)];
        for place in places {
            let about = format!("{}: its entry names file {new_id:04X} now, by its last byte", self.name);
            steps.extend(region::update(place, &[low], about));
            if let Some(byte) = self.content.get_mut(place) {
                *byte = low;
            }
        }
        self.is_changed = true;
        Ok(steps)
    }

    /// What it holds at the end, if something was changed.
    pub(crate) fn check(&self) -> Option<Check> {
        let whole = self.content.get(..self.end).unwrap_or_default().to_vec();
        let check = || Check { file: self.id, path: self.path.clone(), offset: 0, expected: whole, is_closed: false };
        self.is_changed.then(check)
    }
}
