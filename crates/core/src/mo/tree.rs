//! The tree: instances by MOID and MIID, who made them, and the MIIDs that were ever given away.

use super::conform::{self, Location};
use super::ddf::{DMACC, Definition, Definitions, NodeDef};
use super::miid::{self, Given};
use super::serialized::to_raw;
use super::value::{Format, Value};
use super::{Access, MoError};
use crate::access::Owner;
use crate::ids::{Miid, Moid, SrvId};
use crate::uri::ClientUri;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many MIIDs of the device's own choice and granted wishes are remembered at most, in all.
pub const MAX_CHOSEN: usize = 1024;

/// What the MIIDs of the counter begin with.
const COUNTED: &str = "k";

/// What a node counts besides its name and value when the size of the tree is looked at, in bytes.
const NODE_OVERHEAD: usize = 64;

/// A node of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Node {
    /// A leaf with its value.
    Leaf(Value),
    /// An interior node with its children by name.
    Interior(BTreeMap<String, Node>),
}

impl Node {
    /// An interior node with these children.
    pub fn interior<N: Into<String>>(children: impl IntoIterator<Item = (N, Node)>) -> Self {
        let mut interior = BTreeMap::new();
        for (name, node) in children {
            interior.insert(name.into(), node);
        }
        Self::Interior(interior)
    }

    /// A leaf of format chr.
    pub fn chr(text: impl Into<String>) -> Self {
        Self::Leaf(Value::Chr(text.into()))
    }

    /// The child of this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        match self {
            Self::Leaf(_) => None,
            Self::Interior(children) => children.get(name),
        }
    }

    /// The node at this path below this one.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    /// The value of the leaf at this path below this node.
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        match self.at(path)? {
            Self::Leaf(value) => Some(value),
            Self::Interior(_) => None,
        }
    }

    /// The text of the leaf at this path below this node.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.value(path)?.as_text()
    }

    /// The children by name; `None` for a leaf.
    pub fn children(&self) -> Option<&BTreeMap<String, Node>> {
        match self {
            Self::Leaf(_) => None,
            Self::Interior(children) => Some(children),
        }
    }

    /// The children by name, to be changed; `None` for a leaf.
    pub fn children_mut(&mut self) -> Option<&mut BTreeMap<String, Node>> {
        match self {
            Self::Leaf(_) => None,
            Self::Interior(children) => Some(children),
        }
    }

    /// How many children of this node, defined by `definition`, are of the definition `child`.
    pub(super) fn count_of(&self, definition: &NodeDef, child: &NodeDef) -> usize {
        let Self::Interior(children) = self else { return 0 };
        match child.name() {
            Some(name) => usize::from(children.contains_key(name)),
            None => children.keys().filter(|name| definition.child(name).is_some_and(|d| d.name().is_none())).count(),
        }
    }

    /// Whether there is something to be read: a leaf may have no value now.
    pub(super) fn has_value(&self, definition: &NodeDef) -> bool {
        *self != Self::Leaf(Value::Null) || definition.format() == Format::Null
    }

    /// How many bytes this node and all below take, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Leaf(value) => NODE_OVERHEAD + value.weight(),
            Self::Interior(children) => {
                NODE_OVERHEAD + children.iter().map(|(name, node)| name.len() + node.weight()).sum::<usize>()
            }
        }
    }
}

/// An instance of an MO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub(super) root: Node,
    pub(super) owner: Owner,
    pub(super) cv: u64,
}

impl Instance {
    /// Its root.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Who made it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Its cache validator as it is sent; another one after every change (spec 8).
    pub fn cv(&self) -> String {
        format!("{:016x}", self.cv)
    }
}

/// All instances of a device. Its serde form is a part of the device's state file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tree {
    pub(super) instances: BTreeMap<Moid, BTreeMap<Miid, Instance>>,
    /// MIIDs `k1` to `k<assigned>` were given away, in whichever MOID.
    assigned: u64,
    /// MIIDs that others chose.
    chosen: BTreeMap<Moid, BTreeSet<Miid>>,
    /// How often anything changed.
    changes: u64,
}

impl Tree {
    /// A tree without instances.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes or replaces an instance on the device's own behalf, and says whether anything changed. A new one belongs
    /// to the local application; one that is there keeps its owner. Names and formats are checked, not completeness:
    /// a device may lack a value that the definition asks for.
    ///
    /// The MIID is one that [`assign_miid`](Self::assign_miid) gave, or of the device's own choice: the same one always
    /// means the same thing there, such as `1` for the only DevInfo.
    ///
    /// Do not put secrets here that DMAcc says nobody may read: no command needs them.
    pub fn put_local(
        &mut self,
        definitions: &Definitions,
        moid: &Moid,
        miid: Miid,
        root: Node,
    ) -> Result<bool, MoError> {
        let definition = definitions.get(moid).ok_or_else(|| MoError::Unsupported { moid: moid.clone() })?;
        let place = ClientUri::of_root(moid, &miid).to_string();
        conform::check_shape(definition.root(), &root, &mut Location::new(place))?;
        if let Some(present) = self.instance(moid, &miid) {
            if present.root == root {
                return Ok(false);
            }
        } else if moid.as_str() != DMACC && !self.was_used(moid, &miid) {
            // The accounts have a book of their own for theirs.
            if self.chosen_count() >= MAX_CHOSEN {
                return Err(MoError::TooManyNames);
            }
            self.chosen.entry(moid.clone()).or_default().insert(miid.clone());
        }
        self.store(definition, miid, root, Owner::Local);
        Ok(true)
    }

    /// Removes an instance; its MIID stays used. Says whether it was there.
    pub fn remove(&mut self, moid: &Moid, miid: &Miid) -> bool {
        let Some(instances) = self.instances.get_mut(moid) else { return false };
        let was_there = instances.remove(miid).is_some();
        if instances.is_empty() {
            self.instances.remove(moid);
        }
        was_there
    }

    /// The instance of this MIID.
    pub fn instance(&self, moid: &Moid, miid: &Miid) -> Option<&Instance> {
        self.instances.get(moid)?.get(miid)
    }

    /// The instances of a kind of MO, ordered by MIID.
    pub fn instances(&self, moid: &Moid) -> impl Iterator<Item = (&Miid, &Instance)> {
        self.instances.get(moid).into_iter().flatten()
    }

    /// All instances, ordered by MOID and MIID.
    pub fn iter(&self) -> impl Iterator<Item = (&Moid, &Miid, &Instance)> {
        self.instances.iter().flat_map(|(moid, instances)| instances.iter().map(move |(miid, i)| (moid, miid, i)))
    }

    /// Gives away a MIID that was never used in this MOID: the wish, if it can be granted, else the next of the counter
    /// (Profile P-17).
    pub fn assign_miid(&mut self, moid: &Moid, wish: Option<&Miid>) -> Miid {
        // An instance that is there was given its name, by whatever means.
        let wish = wish.filter(|wish| self.instance(moid, wish).is_none());
        let chosen = self.chosen.get(moid);
        let is_chosen = |miid: &Miid| chosen.is_some_and(|miids| miids.contains(miid));
        match miid::give(wish, self.chosen_count(), COUNTED, &mut self.assigned, is_chosen) {
            Given::Wish(miid) => {
                self.chosen.entry(moid.clone()).or_default().insert(miid.clone());
                miid
            }
            Given::Counted(miid) => miid,
        }
    }

    /// Hands the instances of a server, whose account is removed, to the local application (spec 2.2).
    pub fn hand_to_local(&mut self, srv_id: &SrvId) {
        for instance in self.instances.values_mut().flat_map(BTreeMap::values_mut) {
            if instance.owner == Owner::Server(srv_id.clone()) {
                instance.owner = Owner::Local;
            }
        }
    }

    /// Puts an instance in, with a new cache validator. One that is there keeps its owner.
    pub(super) fn store(&mut self, definition: &Definition, miid: Miid, root: Node, owner: Owner) {
        self.changes = self.changes.wrapping_add(1);
        let cv = validator(definition, &root, self.changes);
        let instances = self.instances.entry(definition.moid().clone()).or_default();
        let owner = instances.remove(&miid).map_or(owner, |present| present.owner);
        instances.insert(miid, Instance { root, owner, cv });
    }

    /// How many bytes all instances take, about.
    pub(super) fn weight(&self) -> usize {
        self.iter().map(|(_, _, instance)| instance.root.weight()).sum()
    }

    fn was_used(&self, moid: &Moid, miid: &Miid) -> bool {
        miid::was_counted(miid, COUNTED, self.assigned)
            || self.is_chosen(moid, miid)
            || self.instance(moid, miid).is_some()
    }

    fn is_chosen(&self, moid: &Moid, miid: &Miid) -> bool {
        self.chosen.get(moid).is_some_and(|miids| miids.contains(miid))
    }

    fn chosen_count(&self) -> usize {
        self.chosen.values().map(BTreeSet::len).sum()
    }
}

/// A validator for this content. The count of changes makes it differ from all earlier ones of this tree. The content
/// makes it differ even if the tree was lost and its count began anew; only what may be read goes in, so that it
/// tells nothing about the rest.
fn validator(definition: &Definition, root: &Node, changes: u64) -> u64 {
    let readable = to_raw(definition.root(), root, &|node| node.allows(Access::GET));
    let content = serde_json::to_vec(&readable).unwrap_or_default();
    // FNV-1a, 64 bits.
    let bytes = changes.to_be_bytes().into_iter().chain(content);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
