//! Whether nodes are what a definition says.

use super::ddf::NodeDef;
use super::serialized::Raw;
use super::value::Value;
use super::{MoError, Node};
use crate::uri::is_node_name;
use std::collections::BTreeMap;
use std::fmt;

/// Where in an instance a check is, for error messages.
pub(super) struct Location {
    base: String,
    path: Vec<String>,
}

impl Location {
    /// Begins at the root, whose ClientURI is `base`.
    pub(super) fn new(base: String) -> Self {
        Self { base, path: Vec::new() }
    }

    /// Does something one level further down.
    fn below<T>(&mut self, name: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.to_owned());
        let result = step(self);
        self.path.pop();
        result
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.base, self.path.join("/"))
    }
}

/// Types a node of a serialized MO: names and formats are checked, not whether anything is missing.
pub(super) fn to_node(definition: &NodeDef, raw: &Raw, location: &mut Location) -> Result<Node, MoError> {
    let members = match (definition.format().is_leaf(), raw) {
        (true, Raw::Leaf(scalar)) => {
            let value = Value::from_scalar(definition.format(), scalar);
            return value.map(Node::Leaf).ok_or_else(|| wrong_format(definition, location));
        }
        (false, Raw::Interior(members)) => members,
        (true, Raw::Interior(_)) | (false, Raw::Leaf(_)) => return Err(wrong_format(definition, location)),
    };
    let mut children = BTreeMap::new();
    for (name, raw) in members {
        let child = location.below(name, |location| match definition.child(name) {
            _ if !is_node_name(name) => Err(MoError::Name { place: location.to_string() }),
            Some(child) => to_node(child, raw, location).map(Some),
            None if definition.is_extension() => Ok(None),
            None => Err(MoError::UnknownNode { place: location.to_string() }),
        })?;
        if let Some(child) = child {
            children.insert(name.clone(), child);
        }
    }
    Ok(Node::Interior(children))
}

/// Checks names and formats of a node that the device made, not whether anything is missing.
pub(super) fn check_shape(definition: &NodeDef, node: &Node, location: &mut Location) -> Result<(), MoError> {
    let children = match (definition.format().is_leaf(), node) {
        (true, Node::Leaf(value)) if value.fits(definition.format()) => return Ok(()),
        (false, Node::Interior(children)) => children,
        (true, Node::Leaf(_) | Node::Interior(_)) | (false, Node::Leaf(_)) => {
            return Err(wrong_format(definition, location));
        }
    };
    for (name, node) in children {
        location.below(name, |location| match definition.child(name) {
            _ if !is_node_name(name) => Err(MoError::Name { place: location.to_string() }),
            Some(child) => check_shape(child, node, location),
            None => Err(MoError::UnknownNode { place: location.to_string() }),
        })?;
    }
    Ok(())
}

/// Checks that no node is missing or there too often.
pub(super) fn check_complete(definition: &NodeDef, node: &Node, location: &mut Location) -> Result<(), MoError> {
    let Node::Interior(children) = node else { return Ok(()) };
    for child in definition.children() {
        let count = node.count_of(definition, child);
        let name = child.name().unwrap_or("<x>");
        if count < child.occurrence().min() {
            return Err(location.below(name, |location| MoError::Missing { place: location.to_string() }));
        }
        if count > child.occurrence().max() {
            return Err(location.below(name, |location| MoError::TooMany { place: location.to_string() }));
        }
    }
    for (name, node) in children {
        if let Some(child) = definition.child(name) {
            location.below(name, |location| check_complete(child, node, location))?;
        }
    }
    Ok(())
}

fn wrong_format(definition: &NodeDef, location: &Location) -> MoError {
    MoError::WrongFormat { place: location.to_string(), expected: definition.format() }
}
