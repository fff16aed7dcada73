//! The ClientURI: how a server names nodes of the device's tree (spec 7).
//!
//! ```text
//! MOID "/" mo-inst "/" path [ "?" field "=" value *( "&" field "=" value ) ]
//! urn:x:1.0/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2
//! ```
//!
//! A server seldom knows the MIIDs and node names that a device made up. So each place in the URI can be a real name,
//! an *x-name* (a letter in parentheses that stands for the one node which fulfils the conditions given for it), or `*`
//! for all. This module is the grammar alone: a [`ClientUri`] that exists is well formed, with no letter used twice or
//! without a condition. What it means in a given tree is the business of [`crate::mo`].
//!
//! Decisions, where the grammar leaves a choice:
//! - The text is split at `/`, `?`, `&`, `=` and `:` first and decoded afterwards, so an encoded delimiter is part of a
//!   name. `(x)` and `*` mean something only if they stand there unencoded; `(xy)` or `(1)` is an ordinary name.
//! - Only characters that RFC 3986 allows in a path or query are taken unencoded. `+` is a plus sign.
//! - A name is 1 to 255 bytes of UTF-8 without control characters, not `.` or `..` (RFC 3986 would remove these).
//!   There are no empty segments: a URI with a path does not end in `/`.
//! - `Display` writes the canonical text: two URIs are equal if and only if their canonical texts are. Both the given
//!   text and the canonical one are at most [`MAX_LENGTH`] bytes long, so what was read can be written and read again.

mod parse;
mod text;

use crate::ids::{Miid, Moid};
use std::fmt;

pub use parse::{UriError, parse_lenient};
pub(crate) use text::{MAX_NAME, is_node_name};

/// The length of a ClientURI in bytes, at most (spec 7).
pub const MAX_LENGTH: usize = 2048;

/// The number of `nv` fields in one ClientURI, at most (spec 7).
pub const MAX_CONDITIONS: usize = 16;

/// A well-formed ClientURI (spec 7, Profile P-17).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientUri {
    moid: Moid,
    instance: InstanceSegment,
    path: Vec<Segment>,
    conditions: Vec<Condition>,
    cv: Option<String>,
}

/// The place in a ClientURI that says which instances are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceSegment {
    /// The instance of this MIID.
    Miid(Miid),
    /// The one instance that fulfils the conditions for this letter.
    XName(XName),
    /// Empty: the only instance.
    Only,
    /// `*`: all instances.
    All,
}

/// A place in the path of a ClientURI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// The node of this name.
    Name(String),
    /// The one node here that fulfils the conditions for this letter.
    XName(XName),
    /// `*`: all nodes here.
    All,
}

/// A letter, A-Z or a-z, that stands for a name: `(x)`. Case counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XName(pub(super) char);

/// An `nv` field: below the node that the letter stands for, the leaf at `path` has the value `value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The letter that this is a condition for.
    pub x_name: XName,
    /// Real names from there to the leaf, at least one.
    pub path: Vec<String>,
    /// The value as text; numbers and booleans as JSON writes them, bytes in base64.
    pub value: String,
}

impl ClientUri {
    /// The URI of an instance's root.
    pub fn of_root(moid: &Moid, miid: &Miid) -> Self {
        Self::of_node(moid, miid, &[])
    }

    /// The resolved URI of a node: real names only, from below the instance's root.
    pub(crate) fn of_node(moid: &Moid, miid: &Miid, path: &[String]) -> Self {
        Self {
            moid: moid.clone(),
            instance: InstanceSegment::Miid(miid.clone()),
            path: path.iter().cloned().map(Segment::Name).collect(),
            conditions: Vec::new(),
            cv: None,
        }
    }

    /// The kind of MO.
    pub fn moid(&self) -> &Moid {
        &self.moid
    }

    /// Which instances.
    pub fn instance(&self) -> &InstanceSegment {
        &self.instance
    }

    /// The MIID, if the URI gives it literally.
    pub fn miid(&self) -> Option<&Miid> {
        match &self.instance {
            InstanceSegment::Miid(miid) => Some(miid),
            InstanceSegment::XName(_) | InstanceSegment::Only | InstanceSegment::All => None,
        }
    }

    /// The way from the instance's root to the nodes; empty for the root itself.
    pub fn path(&self) -> &[Segment] {
        &self.path
    }

    /// Whether the root of instances is meant.
    pub fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// Whether there is a `*` in it, so that it may mean several nodes.
    pub fn has_wildcard(&self) -> bool {
        self.instance == InstanceSegment::All || self.path.contains(&Segment::All)
    }

    /// The `nv` fields in their order.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The cache validator given with `cv` (spec 8).
    pub fn cv(&self) -> Option<&str> {
        self.cv.as_deref()
    }
}

impl XName {
    /// The letter.
    pub fn letter(self) -> char {
        self.0
    }
}

impl fmt::Display for XName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({})", self.0)
    }
}

impl fmt::Display for InstanceSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miid(miid) => miid.fmt(f),
            Self::XName(x_name) => x_name.fmt(f),
            Self::Only => Ok(()),
            Self::All => f.write_str("*"),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => text::encode_name(name).fmt(f),
            Self::XName(x_name) => x_name.fmt(f),
            Self::All => f.write_str("*"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.x_name.fmt(f)?;
        for name in &self.path {
            write!(f, "/{}", text::encode_condition_name(name))?;
        }
        write!(f, ":{}", text::encode_value(&self.value))
    }
}

impl fmt::Display for ClientUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.moid, self.instance)?;
        for (i, segment) in self.path.iter().enumerate() {
            let slash = if i == 0 { "" } else { "/" };
            write!(f, "{slash}{segment}")?;
        }
        let mut mark = '?';
        for condition in &self.conditions {
            write!(f, "{mark}nv={condition}")?;
            mark = '&';
        }
        if let Some(cv) = &self.cv {
            write!(f, "{mark}cv={}", text::encode_value(cv))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
