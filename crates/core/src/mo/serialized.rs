//! Serialized MOs: the JSON form in which parts of the tree travel (spec 6.5, Profile P-28, P-16).
//!
//! Reading takes two steps. [`parse_items`] needs no definition: it takes the envelope apart and keeps the data as it
//! came. [`SerializedMo::to_node`] then types it against a [`Definition`], since only this tells an int from a float
//! or a text from base64. Writing goes the other way and keeps the members in the order of the definition, so equal
//! trees give equal bytes.

use super::conform::{self, Location};
use super::ddf::{Definition, NodeDef};
use super::{MoError, Node};
use crate::ids::Miid;
use crate::uri::{ClientUri, parse_lenient};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};
use std::fmt;

/// The media type under which serialized MOs are sent (Profile P-16).
pub const MEDIA_TYPE: &str = "application/vnd.oma.dm.mo+json";

/// The media types under which they are accepted (Profile P-16).
pub const ACCEPTED_MEDIA_TYPES: [&str; 3] = [MEDIA_TYPE, "application/json", "application/dmmo+json"];

/// One item of the array.
#[derive(Debug, Clone, PartialEq)]
pub struct SerializedMo {
    /// The URI of the DDF.
    pub ddf: Option<String>,
    /// The node meant. Always there on output; input may leave it out, and then the command's is meant.
    pub client_uri: Option<String>,
    /// The cache validator of the instance (spec 8).
    pub cv: Option<String>,
    /// The name of the MO's root, and what is below it on the way to the node and below this.
    pub data: (String, Raw),
}

/// A node as it stands in JSON, not typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// A leaf.
    Leaf(Scalar),
    /// An interior node: names and nodes.
    Interior(Vec<(String, Raw)>),
}

/// A value as it stands in JSON. `Debug` hides text, which may be a secret in base64.
#[derive(Clone, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
}

/// Takes an array of serialized MOs apart; a bare object is an array of one. Members that are not known are ignored.
pub fn parse_items(json: &Json) -> Result<Vec<SerializedMo>, MoError> {
    match json {
        Json::Array(items) => items.iter().enumerate().map(|(index, item)| parse_item(index, item)).collect(),
        item => Ok(vec![parse_item(0, item)?]),
    }
}

/// The bytes of an array of serialized MOs, without spaces.
pub fn to_json_bytes(items: &[SerializedMo]) -> Vec<u8> {
    // Writing strings, numbers and maps with string keys to memory cannot fail.
    serde_json::to_vec(items).unwrap_or_default()
}

impl SerializedMo {
    /// A whole instance with all its nodes, those included that no server may read.
    pub fn of_instance(definition: &Definition, miid: &Miid, root: &Node) -> Self {
        Self {
            ddf: definition.ddf().map(str::to_owned),
            client_uri: Some(ClientUri::of_root(definition.moid(), miid).to_string()),
            cv: None,
            data: (definition.root_name().to_owned(), to_raw(definition.root(), root, &|_| true)),
        }
    }

    /// The whole instance that the data is, typed and checked: names, formats, and that nothing is missing or too
    /// often there. Below a node `Ext` unknown names are left out; elsewhere they are an error.
    pub fn to_node(&self, definition: &Definition) -> Result<Node, MoError> {
        let mut location = self.location(definition);
        let node = conform::to_node(definition.root(), &self.data.1, &mut location)?;
        conform::check_complete(definition.root(), &node, &mut location)?;
        Ok(node)
    }

    /// The scalar at this path below the root.
    pub fn leaf(&self, path: &[&str]) -> Option<&Scalar> {
        let node = path.iter().try_fold(&self.data.1, |node, name| node.child(name))?;
        match node {
            Raw::Leaf(scalar) => Some(scalar),
            Raw::Interior(_) => None,
        }
    }

    /// The root of the instance that this item is about, for error messages.
    fn location(&self, definition: &Definition) -> Location {
        let uri = self.client_uri.as_deref().and_then(|text| parse_lenient(text).ok());
        match uri {
            Some(uri) => Location::new(format!("{}/{}/", uri.moid(), uri.instance())),
            None => Location::new(format!("{}//", definition.moid())),
        }
    }
}

impl Raw {
    /// The node of this name below this one.
    pub fn child(&self, name: &str) -> Option<&Raw> {
        match self {
            Self::Leaf(_) => None,
            Self::Interior(children) => children.iter().find(|(child, _)| child == name).map(|(_, node)| node),
        }
    }
}

impl Scalar {
    /// The text, if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) => None,
        }
    }
}

/// A node as JSON has it, children in the order of the definition. Children that `shown` refuses are left out with all
/// that is below them, and so are those that the definition does not know or that have no value now.
pub(super) fn to_raw(definition: &NodeDef, node: &Node, shown: &dyn Fn(&NodeDef) -> bool) -> Raw {
    let children = match node {
        Node::Leaf(value) => return Raw::Leaf(value.to_scalar()),
        Node::Interior(children) => children,
    };
    let mut members = Vec::with_capacity(children.len());
    for child in definition.children().iter().filter(|child| shown(child)) {
        let of_this = |(name, node): &(&String, &Node)| {
            definition.child(name).is_some_and(|found| std::ptr::eq(found, child)) && node.has_value(child)
        };
        let matching: Vec<_> = match child.name() {
            Some(name) => children.get_key_value(name).into_iter().filter(of_this).collect(),
            None => children.iter().filter(of_this).collect(),
        };
        members.extend(matching.into_iter().map(|(name, node)| (name.clone(), to_raw(child, node, shown))));
    }
    Raw::Interior(members)
}

fn parse_item(index: usize, item: &Json) -> Result<SerializedMo, MoError> {
    let malformed = |expected| MoError::Item { index, expected };
    let Json::Object(members) = item else {
        return Err(malformed("an object"));
    };
    let text = |member: &str, expected| match members.get(member) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(malformed(expected)),
    };
    let Some(Json::Object(data)) = members.get("MOData") else {
        return Err(malformed("MOData as an object"));
    };
    let mut roots = data.iter();
    let (Some((name, root)), None) = (roots.next(), roots.next()) else {
        return Err(malformed("one member in MOData, the root of the MO"));
    };
    Ok(SerializedMo {
        ddf: text("DDF", "DDF as a string")?,
        client_uri: text("ClientURI", "ClientURI as a string")?,
        cv: text("CV", "CV as a string")?,
        data: (name.clone(), parse_raw(root).ok_or(malformed("no arrays in MOData"))?),
    })
}

fn parse_raw(json: &Json) -> Option<Raw> {
    let scalar = match json {
        Json::Array(_) => return None,
        Json::Object(members) => {
            let children = members.iter().map(|(name, node)| Some((name.clone(), parse_raw(node)?)));
            return children.collect::<Option<_>>().map(Raw::Interior);
        }
        Json::Null => Scalar::Null,
        Json::Bool(value) => Scalar::Bool(*value),
        Json::Number(number) => Scalar::Number(number.clone()),
        Json::String(text) => Scalar::Text(text.clone()),
    };
    Some(Raw::Leaf(scalar))
}

impl Serialize for SerializedMo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Data<'a>(&'a (String, Raw));
        impl Serialize for Data<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([(&self.0.0, &self.0.1)])
            }
        }

        let mut members = serializer.serialize_map(None)?;
        for (name, text) in [("DDF", &self.ddf), ("ClientURI", &self.client_uri), ("CV", &self.cv)] {
            if let Some(text) = text {
                members.serialize_entry(name, text)?;
            }
        }
        members.serialize_entry("MOData", &Data(&self.data))?;
        members.end()
    }
}

impl<'de> Deserialize<'de> for SerializedMo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        parse_item(0, &json).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(Scalar::Null) => serializer.serialize_unit(),
            Self::Leaf(Scalar::Bool(value)) => serializer.serialize_bool(*value),
            Self::Leaf(Scalar::Number(number)) => number.serialize(serializer),
            Self::Leaf(Scalar::Text(text)) => serializer.serialize_str(text),
            Self::Interior(children) => serializer.collect_map(children.iter().map(|(name, node)| (name, node))),
        }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Number(number) => write!(f, "Number({number})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}
