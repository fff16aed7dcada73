//! GET, and the data of HPUT and HPOST (spec 5, 8).

use super::Access;
use super::ddf::{Definitions, NodeDef};
use super::resolve::{Found, Place, Viewer, resolve};
use super::serialized::{Raw, SerializedMo, to_json_bytes, to_raw};
use super::tree::Tree;
use crate::access::{Principal, Rights};
use crate::ids::{Miid, Moid};
use crate::status::StatusCode;
use crate::uri::ClientUri;

/// What GET gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// One item for each node that is meant, may be read, and has changed since the validator was given.
    pub items: Vec<SerializedMo>,
    /// The validator is still good for all of them, so there are no items: the status is 304.
    pub not_modified: bool,
}

impl Read {
    /// The status of the command.
    pub fn status(&self) -> StatusCode {
        if self.not_modified { StatusCode::NOT_MODIFIED } else { StatusCode::OK }
    }
}

/// What HPUT and HPOST send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// All validators are still good: nothing is sent, the status is 304.
    NotModified,
    /// The bytes of one array of serialized MOs.
    Body(Vec<u8>),
}

impl Tree {
    /// Reads the nodes that `uri` means. Needs the right Read. The error is the command's status; 204, if the node has
    /// no value now, is one of these.
    pub fn get(&self, definitions: &Definitions, who: &Principal<'_>, uri: &ClientUri) -> Result<Read, StatusCode> {
        self.read(definitions, Viewer::Server(who), uri)
    }

    /// Reads for a person at the device: every instance, but no node without Get, so no secrets.
    pub fn get_local(&self, definitions: &Definitions, uri: &ClientUri) -> Result<Read, StatusCode> {
        self.read(definitions, Viewer::Local, uri)
    }

    /// What HPUT or HPOST of these nodes sends (Profile P-29). The first that fails gives the status of the command;
    /// of nodes whose validators are still good nothing is sent.
    pub fn upload(
        &self,
        definitions: &Definitions,
        who: &Principal<'_>,
        uris: &[ClientUri],
    ) -> Result<Upload, StatusCode> {
        if uris.is_empty() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let reads = uris.iter().map(|uri| self.get(definitions, who, uri)).collect::<Result<Vec<_>, _>>()?;
        if reads.iter().all(|read| read.not_modified) {
            return Ok(Upload::NotModified);
        }
        let items: Vec<_> = reads.into_iter().flat_map(|read| read.items).collect();
        Ok(Upload::Body(to_json_bytes(&items)))
    }

    /// The MOIDs and MIIDs to be reported to a server (spec 6.1): listed and supported MOs, of each the instances on
    /// which the server has a right, perhaps none.
    pub fn listed_instances(&self, definitions: &Definitions, who: &Principal<'_>) -> Vec<(Moid, Vec<Miid>)> {
        let supported = who.listed.iter().filter(|moid| definitions.get(moid).is_some());
        let instances = |moid: &Moid| {
            let visible = self.instances(moid).filter(|(miid, i)| !who.rights_on(moid, miid, i.owner()).is_empty());
            visible.map(|(miid, _)| miid.clone()).collect()
        };
        supported.map(|moid| (moid.clone(), instances(moid))).collect()
    }

    fn read(&self, definitions: &Definitions, viewer: Viewer<'_>, uri: &ClientUri) -> Result<Read, StatusCode> {
        let starred = uri.has_wildcard();
        let (mut items, mut unchanged) = (Vec::new(), false);
        for place in resolve(self, definitions, viewer, uri, Rights::READ)? {
            match readable(&place) {
                Err(_) if starred => {}
                Err(status) => return Err(status),
                Ok(_) if is_still_good(uri, &place) => unchanged = true,
                Ok(found) => items.push(item(&place, found)),
            }
        }
        match (items.is_empty(), unchanged) {
            (true, false) => Err(StatusCode::NOT_FOUND),
            (not_modified, _) => Ok(Read { items, not_modified }),
        }
    }
}

/// The node there, if it may be read and there is something to read.
fn readable<'a>(place: &Place<'a>) -> Result<Found<'a>, StatusCode> {
    let found = place.node.ok_or(StatusCode::NOT_FOUND)?;
    if !can_be_read(found.definition) {
        return Err(StatusCode::NOT_ALLOWED);
    }
    if found.node.has_value(found.definition) { Ok(found) } else { Err(StatusCode::NO_VALUE) }
}

fn can_be_read(definition: &NodeDef) -> bool {
    definition.allows(Access::GET)
}

fn is_still_good(uri: &ClientUri, place: &Place<'_>) -> bool {
    place.definition.is_cacheable() && uri.cv() == Some(&place.instance.cv())
}

/// The item for a node: the way from the root to it, and what may be read below it.
fn item(place: &Place<'_>, found: Found<'_>) -> SerializedMo {
    let definition = place.definition;
    let data = to_raw(found.definition, found.node, &can_be_read);
    let wrap = |data, name: &String| Raw::Interior(vec![(name.clone(), data)]);
    let has_validator = place.path.is_empty() && definition.is_cacheable();
    SerializedMo {
        ddf: definition.ddf().map(str::to_owned),
        client_uri: Some(ClientUri::of_node(definition.moid(), place.miid, &place.path).to_string()),
        cv: has_validator.then(|| place.instance.cv()),
        data: (definition.root_name().to_owned(), place.path.iter().rev().fold(data, wrap)),
    }
}
