//! HGET and DELETE (spec 5, Profile P-29).

use super::conform::{Location, check_complete, to_node};
use super::ddf::{DMACC, Definition, Definitions, NodeDef};
use super::resolve::{Place, Viewer, definition, resolve};
use super::serialized::{Raw, SerializedMo, parse_items};
use super::tree::{Instance, Node, Tree};
use super::{Access, Format};
use crate::access::{Owner, Principal, Rights};
use crate::ids::{Miid, Moid};
use crate::json::{self, JsonError};
use crate::status::StatusCode;
use crate::uri::{ClientUri, InstanceSegment, parse_lenient};
use std::collections::BTreeMap;

/// The size of the body of HGET in bytes, at most (Profile P-32).
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// The size of the whole tree, names and an overhead for each node counted, beyond which a server can add nothing.
pub const MAX_TREE_BYTES: usize = 4 << 20;

/// The changed roots of instances.
type Changes = BTreeMap<(Moid, Miid), Node>;

impl Tree {
    /// Whether an HGET with these targets can succeed, as far as this can be known before anything is fetched.
    pub fn check_hget(
        &self,
        definitions: &Definitions,
        who: &Principal<'_>,
        targets: &[ClientUri],
    ) -> Result<(), StatusCode> {
        let mut earlier: Vec<Place<'_>> = Vec::new();
        for target in targets {
            let place = self.target(definitions, who, target)?;
            let within = |outer: &Place<'_>| outer.instance_is(&place) && place.path.starts_with(&outer.path);
            // An item for a node above may make the parent.
            if place.node.is_none() && !earlier.iter().any(within) {
                let parent = place.path.split_last().and_then(|(_, parent)| walk(place.instance.root(), parent));
                parent.ok_or(StatusCode::NOT_ALLOWED)?;
            }
            earlier.push(place);
        }
        Ok(())
    }

    /// Puts in what HGET fetched. With targets, item by item: each replaces the node and all below it. Without, each
    /// item makes an instance that belongs to the server, and the URIs of these are returned in order.
    ///
    /// All or nothing: on `Err`, which is the command's status, the tree is as it was.
    pub fn hget(
        &mut self,
        definitions: &Definitions,
        who: &Principal<'_>,
        targets: &[ClientUri],
        body: &[u8],
    ) -> Result<Vec<String>, StatusCode> {
        let items = read_body(body)?;
        if targets.is_empty() {
            return self.make_instances(definitions, who, &items);
        }
        if items.len() != targets.len() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let mut changes = Changes::new();
        for (target, item) in targets.iter().zip(&items) {
            let place = self.target(definitions, who, target)?;
            self.check_item_uri(definitions, who, item, &place)?;
            let key = (target.moid().clone(), place.miid.clone());
            let root = changes.entry(key).or_insert_with(|| place.instance.root().clone());
            replace(place.definition.root(), root, &place.path, &item.data.1)?;
        }
        self.apply(definitions, changes)?;
        Ok(Vec::new())
    }

    /// Deletes the nodes that `uri` means, all or none.
    pub fn delete(
        &mut self,
        definitions: &Definitions,
        who: &Principal<'_>,
        uri: &ClientUri,
    ) -> Result<(), StatusCode> {
        refuse_accounts(uri.moid())?;
        let places = resolve(self, definitions, Viewer::Server(who), uri, Rights::WRITE)?;
        if uri.is_root() {
            return self.delete_instances(definitions, uri.moid(), &places_to_miids(&places)?);
        }
        let mut changes = Changes::new();
        for place in &places {
            place.node.ok_or(StatusCode::NOT_FOUND)?;
            let key = (uri.moid().clone(), place.miid.clone());
            let root = changes.entry(key).or_insert_with(|| place.instance.root().clone());
            cut(place.definition.root(), root, &place.path)?;
        }
        // Only now, since with `*` several nodes of one kind may go.
        for place in &places {
            let root = changes.get(&(uri.moid().clone(), place.miid.clone())).ok_or(StatusCode::CLIENT_FAILURE)?;
            check_enough_left(place.definition.root(), root, &place.path)?;
        }
        self.apply(definitions, changes)
    }

    /// Where an item for this target goes, with what the definition says about it checked.
    fn target<'a>(
        &'a self,
        definitions: &'a Definitions,
        who: &Principal<'_>,
        target: &ClientUri,
    ) -> Result<Place<'a>, StatusCode> {
        if target.has_wildcard() {
            return Err(StatusCode::BAD_REQUEST);
        }
        refuse_accounts(target.moid())?;
        let place = resolve(self, definitions, Viewer::Server(who), target, Rights::WRITE)?.pop();
        let place = place.ok_or(StatusCode::NOT_FOUND)?;
        let defined = place.path.iter().try_fold(place.definition.root(), |node, name| node.child(name));
        let defined = defined.ok_or(StatusCode::NOT_ALLOWED)?;
        let allowed = match place.node {
            None => defined.can_be_made(),
            Some(_) => defined.format() == Format::Node || defined.allows(Access::REPLACE),
        };
        if allowed { Ok(place) } else { Err(StatusCode::NOT_ALLOWED) }
    }

    /// An item's own ClientURI, if it has one, must lead to the place that the command names.
    fn check_item_uri(
        &self,
        definitions: &Definitions,
        who: &Principal<'_>,
        item: &SerializedMo,
        place: &Place<'_>,
    ) -> Result<(), StatusCode> {
        let Some(text) = &item.client_uri else { return Ok(()) };
        let uri = parse_lenient(text).map_err(|_| StatusCode::BAD_REQUEST)?;
        match resolve(self, definitions, Viewer::Server(who), &uri, Rights::WRITE).as_deref() {
            Ok([named]) if !uri.has_wildcard() && named.instance_is(place) && named.path == place.path => Ok(()),
            Ok(_) | Err(_) => Err(StatusCode::BAD_REQUEST),
        }
    }

    fn make_instances(
        &mut self,
        definitions: &Definitions,
        who: &Principal<'_>,
        items: &[SerializedMo],
    ) -> Result<Vec<String>, StatusCode> {
        let mut made: Vec<(&Definition, Option<Miid>, Node)> = Vec::with_capacity(items.len());
        for item in items {
            let uri = item.client_uri.as_deref().and_then(|text| parse_lenient(text).ok());
            let uri = uri.filter(ClientUri::is_root).ok_or(StatusCode::BAD_REQUEST)?;
            let wish = match uri.instance() {
                InstanceSegment::Only => None,
                InstanceSegment::Miid(miid) => Some(miid.clone()),
                InstanceSegment::XName(_) | InstanceSegment::All => return Err(StatusCode::BAD_REQUEST),
            };
            refuse_accounts(uri.moid())?;
            let definition = definition(definitions, Viewer::Server(who), uri.moid())?;
            if !definition.root().can_be_made() {
                return Err(StatusCode::NOT_ALLOWED);
            }
            let root = item.to_node(definition).map_err(|_| StatusCode::BAD_REQUEST)?;
            check_can_be_made(definition.root(), &root)?;
            made.push((definition, wish, root));
            let of_this_kind = made.iter().filter(|(other, _, _)| other.moid() == definition.moid()).count();
            if self.instances(definition.moid()).count() + of_this_kind > definition.root().occurrence().max() {
                return Err(StatusCode::NOT_ALLOWED);
            }
        }
        self.check_room(made.iter().map(|(_, _, root)| root.weight()).sum(), 0)?;
        let mut uris = Vec::with_capacity(made.len());
        for (definition, wish, root) in made {
            let miid = self.assign_miid(definition.moid(), wish.as_ref());
            uris.push(ClientUri::of_root(definition.moid(), &miid).to_string());
            self.store(definition, miid, root, Owner::Server(who.srv_id.clone()));
        }
        Ok(uris)
    }

    fn delete_instances(&mut self, definitions: &Definitions, moid: &Moid, miids: &[Miid]) -> Result<(), StatusCode> {
        let root = definitions.get(moid).ok_or(StatusCode::NOT_FOUND)?.root();
        let left = self.instances(moid).count().saturating_sub(miids.len());
        if !root.can_be_deleted() || left < root.occurrence().min() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        for miid in miids {
            self.remove(moid, miid);
        }
        Ok(())
    }

    /// Puts the changed roots in. An instance whose content is the same keeps its validator.
    fn apply(&mut self, definitions: &Definitions, mut changes: Changes) -> Result<(), StatusCode> {
        let before = |(moid, miid): &(Moid, Miid)| self.instance(moid, miid).map(Instance::root);
        changes.retain(|key, root| before(key) != Some(root));
        let added = changes.values().map(Node::weight).sum();
        let removed = changes.keys().filter_map(before).map(Node::weight).sum();
        self.check_room(added, removed)?;
        for ((moid, miid), root) in changes {
            if let Some(definition) = definitions.get(&moid) {
                self.store(definition, miid, root, Owner::Local);
            }
        }
        Ok(())
    }

    /// Refuses to let the tree grow beyond its bound.
    fn check_room(&self, added: usize, removed: usize) -> Result<(), StatusCode> {
        let grows = added > removed;
        if grows && self.weight() + added - removed > MAX_TREE_BYTES { Err(StatusCode::NO_ROOM) } else { Ok(()) }
    }
}

impl Place<'_> {
    fn instance_is(&self, other: &Self) -> bool {
        self.definition.moid() == other.definition.moid() && self.miid == other.miid
    }
}

/// Accounts are changed by bootstrap alone (spec 9).
fn refuse_accounts(moid: &Moid) -> Result<(), StatusCode> {
    if moid.as_str() == DMACC { Err(StatusCode::NOT_ALLOWED) } else { Ok(()) }
}

fn read_body(body: &[u8]) -> Result<Vec<SerializedMo>, StatusCode> {
    let json = json::parse(body, MAX_BODY_BYTES).map_err(|error| match error {
        JsonError::TooLarge { .. } | JsonError::TooMany => StatusCode::TOO_LARGE,
        JsonError::TooDeep | JsonError::Syntax(_) => StatusCode::BAD_REQUEST,
    })?;
    let items = parse_items(&json).map_err(|_| StatusCode::BAD_REQUEST)?;
    if items.is_empty() { Err(StatusCode::BAD_REQUEST) } else { Ok(items) }
}

fn walk<'a>(root: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(root, |node, name| node.child(name))
}

/// Replaces the node at `path` by the one that `raw`, beginning at the root too, has there.
fn replace(definition: &NodeDef, node: &mut Node, path: &[String], raw: &Raw) -> Result<(), StatusCode> {
    let Some((name, rest)) = path.split_first() else {
        let new = typed(definition, raw)?;
        check_exchange(definition, node, &new)?;
        check_whole(definition, &new)?;
        *node = new;
        return Ok(());
    };
    let raw = match raw {
        Raw::Interior(children) if children.len() == 1 => raw.child(name),
        Raw::Interior(_) | Raw::Leaf(_) => None,
    };
    let raw = raw.ok_or(StatusCode::BAD_REQUEST)?;
    let child_definition = definition.child(name).ok_or(StatusCode::NOT_ALLOWED)?;
    if let Some(child) = node.children_mut().and_then(|children| children.get_mut(name)) {
        return replace(child_definition, child, rest, raw);
    }
    if !rest.is_empty() {
        return Err(StatusCode::NOT_ALLOWED);
    }
    let new = typed(child_definition, raw)?;
    check_can_be_made(child_definition, &new)?;
    check_whole(child_definition, &new)?;
    if node.count_of(definition, child_definition) >= child_definition.occurrence().max() {
        return Err(StatusCode::NOT_ALLOWED);
    }
    node.children_mut().ok_or(StatusCode::NOT_ALLOWED)?.insert(name.clone(), new);
    Ok(())
}

fn typed(definition: &NodeDef, raw: &Raw) -> Result<Node, StatusCode> {
    to_node(definition, raw, &mut Location::new(String::new())).map_err(|_| StatusCode::BAD_REQUEST)
}

fn check_whole(definition: &NodeDef, node: &Node) -> Result<(), StatusCode> {
    check_complete(definition, node, &mut Location::new(String::new())).map_err(|_| StatusCode::BAD_REQUEST)
}

/// Whether a server may make this node and all below it.
fn check_can_be_made(definition: &NodeDef, node: &Node) -> Result<(), StatusCode> {
    if !definition.can_be_made() {
        return Err(StatusCode::NOT_ALLOWED);
    }
    node.children().into_iter().flatten().try_for_each(|(name, child)| {
        let definition = definition.child(name).ok_or(StatusCode::NOT_ALLOWED)?;
        check_can_be_made(definition, child)
    })
}

/// Whether a server may put `new` in the place of `old`.
fn check_exchange(definition: &NodeDef, old: &Node, new: &Node) -> Result<(), StatusCode> {
    let (Some(old), Some(new)) = (old.children(), new.children()) else {
        return if definition.allows(Access::REPLACE) { Ok(()) } else { Err(StatusCode::NOT_ALLOWED) };
    };
    let omitted = old.keys().filter(|name| !new.contains_key(*name)).filter_map(|name| definition.child(name));
    if !omitted.into_iter().all(NodeDef::can_be_deleted) {
        return Err(StatusCode::NOT_ALLOWED);
    }
    new.iter().try_for_each(|(name, new)| {
        let definition = definition.child(name).ok_or(StatusCode::NOT_ALLOWED)?;
        match old.get(name) {
            Some(old) => check_exchange(definition, old, new),
            None => check_can_be_made(definition, new),
        }
    })
}

fn places_to_miids(places: &[Place<'_>]) -> Result<Vec<Miid>, StatusCode> {
    places.iter().map(|place| place.node.map(|_| place.miid.clone()).ok_or(StatusCode::NOT_FOUND)).collect()
}

/// Takes the node at `path` away, if a server may delete it.
fn cut(definition: &NodeDef, node: &mut Node, path: &[String]) -> Result<(), StatusCode> {
    let (name, rest) = path.split_first().ok_or(StatusCode::NOT_ALLOWED)?;
    let child_definition = definition.child(name).ok_or(StatusCode::NOT_FOUND)?;
    let children = node.children_mut().ok_or(StatusCode::NOT_FOUND)?;
    if !rest.is_empty() {
        return cut(child_definition, children.get_mut(name).ok_or(StatusCode::NOT_FOUND)?, rest);
    }
    if !child_definition.can_be_deleted() {
        return Err(StatusCode::NOT_ALLOWED);
    }
    children.remove(name);
    Ok(())
}

/// Whether as many nodes of the kind that stood at `path` are left as there must be.
fn check_enough_left(definition: &NodeDef, root: &Node, path: &[String]) -> Result<(), StatusCode> {
    let (name, parent) = path.split_last().ok_or(StatusCode::NOT_ALLOWED)?;
    let parent_definition = parent.iter().try_fold(definition, |node, name| node.child(name));
    let (Some(definition), Some(parent)) = (parent_definition, walk(root, parent)) else { return Ok(()) };
    let Some(child) = definition.child(name) else { return Ok(()) };
    if parent.count_of(definition, child) < child.occurrence().min() { Err(StatusCode::NOT_ALLOWED) } else { Ok(()) }
}
