//! Which nodes a ClientURI means, for a given server, in a given tree (spec 7).

use super::ddf::{Definition, Definitions, NodeDef};
use super::tree::{Instance, Node, Tree};
use super::value::Value;
use super::{Access, Format};
use crate::access::{Owner, Principal, Rights};
use crate::ids::{Miid, Moid};
use crate::status::StatusCode;
use crate::uri::{ClientUri, InstanceSegment, Segment, XName};

/// On whose behalf the tree is looked at.
#[derive(Clone, Copy)]
pub(super) enum Viewer<'a> {
    /// A server.
    Server(&'a Principal<'a>),
    /// A person or application in the device, who may see every instance.
    Local,
}

impl Viewer<'_> {
    fn may_manage(self, moid: &Moid) -> bool {
        match self {
            Self::Server(who) => who.listed.contains(moid),
            Self::Local => true,
        }
    }

    fn rights_on(self, moid: &Moid, miid: &Miid, owner: &Owner) -> Rights {
        match self {
            Self::Server(who) => who.rights_on(moid, miid, owner),
            Self::Local => Rights::ALL,
        }
    }
}

/// What a ClientURI led to.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) definition: &'a Definition,
    pub(super) miid: &'a Miid,
    pub(super) instance: &'a Instance,
    /// Real names from below the root.
    pub(super) path: Vec<String>,
    /// The node; `None` if it does not exist and only real names led to where it would be.
    pub(super) node: Option<Found<'a>>,
}

/// A node and its definition.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) node: &'a Node,
    pub(super) definition: &'a NodeDef,
}

/// The definition of a kind of MO that the viewer may deal with: 403 if it is not listed, 404 if not supported.
pub(super) fn definition<'a>(
    definitions: &'a Definitions,
    viewer: Viewer<'_>,
    moid: &Moid,
) -> Result<&'a Definition, StatusCode> {
    if !viewer.may_manage(moid) {
        return Err(StatusCode::FORBIDDEN);
    }
    definitions.get(moid).ok_or(StatusCode::NOT_FOUND)
}

/// The places that `uri` means, at least one, in instances on which the viewer has the right `need`.
///
/// Without `*` there is exactly one, of which the node may be missing. With `*` all nodes exist; where the way does not
/// lead on, or `need` is to read and cannot be had, the expansion is left out.
pub(super) fn resolve<'a>(
    tree: &'a Tree,
    definitions: &'a Definitions,
    viewer: Viewer<'_>,
    uri: &ClientUri,
    need: Rights,
) -> Result<Vec<Place<'a>>, StatusCode> {
    let definition = definition(definitions, viewer, uri.moid())?;
    let mut walk = Walk { uri, viewer, readable: false, places: Vec::new() };
    let starred = *uri.instance() == InstanceSegment::All;
    for (miid, instance) in walk.instances(tree, definition, need)? {
        let rights = viewer.rights_on(uri.moid(), miid, instance.owner());
        walk.readable = rights.contains(Rights::READ);
        let root = Found { node: instance.root(), definition: definition.root() };
        let place = Place { definition, miid, instance, path: Vec::new(), node: Some(root) };
        walk.descend(place, uri.path(), starred)?;
    }
    if walk.places.is_empty() { Err(StatusCode::NOT_FOUND) } else { Ok(walk.places) }
}

impl<'a> Found<'a> {
    /// The child of this name, if it exists and is defined.
    fn child(self, name: &str) -> Option<Self> {
        Some(Self { node: self.node.child(name)?, definition: self.definition.child(name)? })
    }

    /// All children that are defined, with their names.
    fn children(self) -> impl Iterator<Item = (&'a String, Self)> {
        let children = self.node.children().into_iter().flatten();
        children.filter_map(move |(name, node)| Some((name, Self { node, definition: self.definition.child(name)? })))
    }

    /// Whether all conditions for this letter hold at this node.
    fn fulfils(self, uri: &ClientUri, x_name: XName) -> bool {
        uri.conditions().iter().filter(|condition| condition.x_name == x_name).all(|condition| {
            let leaf = condition.path.iter().try_fold(self, |node, name| node.child(name));
            leaf.is_some_and(|leaf| leaf.reads_as(&condition.value))
        })
    }

    /// Whether a reader would be given this value for this leaf, written in whichever way.
    fn reads_as(self, text: &str) -> bool {
        let Node::Leaf(value) = self.node else { return false };
        self.definition.allows(Access::GET)
            && self.definition.format() != Format::Null
            && Value::from_text(self.definition.format(), text).as_ref() == Some(value)
    }
}

struct Walk<'u, 'a> {
    uri: &'u ClientUri,
    viewer: Viewer<'u>,
    /// Whether the instance that is walked through may be read.
    readable: bool,
    places: Vec<Place<'a>>,
}

impl<'a> Walk<'_, 'a> {
    fn instances(
        &self,
        tree: &'a Tree,
        definition: &'a Definition,
        need: Rights,
    ) -> Result<Vec<(&'a Miid, &'a Instance)>, StatusCode> {
        let moid = self.uri.moid();
        let rights = |&(miid, instance): &(&Miid, &Instance)| self.viewer.rights_on(moid, miid, instance.owner());
        let visible = tree.instances(moid).filter(|candidate| !rights(candidate).is_empty());
        let meant: Vec<_> = match self.uri.instance() {
            InstanceSegment::Miid(miid) => visible.filter(|(candidate, _)| *candidate == miid).collect(),
            InstanceSegment::Only => visible.collect(),
            InstanceSegment::XName(x_name) => visible
                .filter(|candidate| rights(candidate).contains(Rights::READ))
                .filter(|(_, instance)| {
                    let root = Found { node: instance.root(), definition: definition.root() };
                    root.fulfils(self.uri, *x_name)
                })
                .collect(),
            InstanceSegment::All if need == Rights::READ => {
                visible.filter(|candidate| rights(candidate).contains(need)).collect()
            }
            InstanceSegment::All => visible.collect(),
        };
        if meant.is_empty() {
            return Err(StatusCode::NOT_FOUND);
        }
        if meant.len() > 1 && *self.uri.instance() != InstanceSegment::All {
            return Err(StatusCode::CONFLICT);
        }
        if meant.iter().all(|candidate| rights(candidate).contains(need)) {
            Ok(meant)
        } else {
            Err(StatusCode::FORBIDDEN)
        }
    }

    fn descend(&mut self, place: Place<'a>, segments: &[Segment], starred: bool) -> Result<(), StatusCode> {
        let Some((segment, rest)) = segments.split_first() else {
            self.places.push(place);
            return Ok(());
        };
        let Some(found) = place.node else {
            // Behind a missing node only real names lead on: to where a node could be.
            let Segment::Name(name) = segment else { return Err(StatusCode::NOT_FOUND) };
            return self.descend(step(place, name, None), rest, starred);
        };
        match segment {
            Segment::Name(name) => match found.child(name) {
                None if starred => Ok(()),
                child => self.descend(step(place, name, child), rest, starred),
            },
            Segment::XName(x_name) => {
                // What GET would not show fulfils nothing.
                let (uri, readable) = (self.uri, self.readable);
                let mut fulfilling = found.children().filter(|(_, child)| readable && child.fulfils(uri, *x_name));
                match (fulfilling.next(), fulfilling.next()) {
                    (Some(_), Some(_)) => Err(StatusCode::CONFLICT),
                    (Some((name, child)), None) => self.descend(step(place, name, Some(child)), rest, starred),
                    (None, _) if starred => Ok(()),
                    (None, _) => Err(StatusCode::NOT_FOUND),
                }
            }
            Segment::All => {
                for (name, child) in found.children() {
                    self.descend(step(place.clone(), name, Some(child)), rest, true)?;
                }
                Ok(())
            }
        }
    }
}

fn step<'a>(place: Place<'a>, name: &str, node: Option<Found<'a>>) -> Place<'a> {
    let mut path = place.path;
    path.push(name.to_owned());
    Place { path, node, ..place }
}
