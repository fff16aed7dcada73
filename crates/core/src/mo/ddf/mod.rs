//! Definitions: which nodes a kind of MO may have, and what may be done with them (spec 10).
//!
//! The definitions that everybody has come from `ddf/*.xml`. A device does not read XML for them: they are compiled in
//! as flat constant tables ([`Row`]), which a test generates anew and compares. A maker's own MO is a table too
//! ([`Definition::from_rows`]) or, with the feature `ddf-xml`, a DDF file.

mod tables;
#[cfg(feature = "ddf-xml")]
mod xml;

use super::value::Format;
use crate::ids::Moid;
use std::collections::BTreeMap;
use std::ops::BitOr;

#[cfg(feature = "ddf-xml")]
pub use xml::{DdfError, MAX_DDF_BYTES, MAX_DDF_ELEMENTS};

/// Device Information 1.2.
pub const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
/// DM Account 1.2.
pub const DMACC: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
/// Session Information 1.0.
pub const SESSIONINFO: &str = "urn:oma:mo:oma-sessioninfomo:1.0";
/// Firmware Update 1.0.
pub const FUMO: &str = "urn:oma:mo:oma-fumo:1.0";
/// Software Component Management 1.0.
pub const SCOMO: &str = "urn:oma:mo:oma-scomo:1.0";
/// Delegation Access Control 1.0.
pub const DACMO: &str = "urn:oma:mo:oma-dm-dacmo:1.0";
/// The example MO of a maker, of which servers can make and delete instances.
pub const EXAMPLE: &str = "urn:omadm:mo:example:1.0";

/// How deeply the nodes of a definition may be nested, the root counted: serialized, they stay within the depth of
/// JSON ([`crate::json::MAX_DEPTH`]).
pub const MAX_NODE_DEPTH: usize = 24;

/// A set of access types (spec 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Access(u8);

impl Access {
    /// Nothing may be done.
    pub const NONE: Self = Self(0);
    /// May be made.
    pub const ADD: Self = Self(1);
    /// May be deleted.
    pub const DELETE: Self = Self(2);
    /// May be executed.
    pub const EXEC: Self = Self(4);
    /// May be read.
    pub const GET: Self = Self(8);
    /// May get another value.
    pub const REPLACE: Self = Self(16);

    /// This set and `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Access {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// How many nodes of this definition may stand side by side (spec 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occurrence {
    /// Exactly one.
    One,
    /// None or one.
    ZeroOrOne,
    /// Any number.
    ZeroOrMore,
    /// At least one.
    OneOrMore,
    /// At most this many.
    ZeroOrN(u32),
    /// At least one, at most this many.
    OneOrN(u32),
}

impl Occurrence {
    /// How many there are at least.
    pub const fn min(self) -> usize {
        match self {
            Self::One | Self::OneOrMore | Self::OneOrN(_) => 1,
            Self::ZeroOrOne | Self::ZeroOrMore | Self::ZeroOrN(_) => 0,
        }
    }

    /// How many there are at most.
    pub const fn max(self) -> usize {
        match self {
            Self::One | Self::ZeroOrOne => 1,
            Self::ZeroOrMore | Self::OneOrMore => usize::MAX,
            Self::ZeroOrN(n) | Self::OneOrN(n) => n as usize,
        }
    }
}

/// Whether a node can come and go (spec 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Never made, deleted or renamed by a server.
    Permanent,
    /// As its access types say.
    Dynamic,
}

/// A node of a constant table. The rows stand in the order of the tree, each child behind its parent.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// 0 for the root, one more for each level.
    pub depth: u8,
    /// The name; `<x>` where names are given at creation.
    pub name: &'static str,
    /// The format.
    pub format: Format,
    /// The access types.
    pub access: Access,
    /// The occurrence.
    pub occurrence: Occurrence,
    /// The scope.
    pub scope: Scope,
}

/// The definition of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDef {
    name: Option<String>,
    format: Format,
    access: Access,
    occurrence: Occurrence,
    scope: Scope,
    children: Vec<NodeDef>,
}

impl NodeDef {
    /// The name; `None` for `<x>`, a name given at creation.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The access types.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether it has this access type.
    pub fn allows(&self, access: Access) -> bool {
        self.access.contains(access)
    }

    /// Whether a server may make it: it is not permanent and has Add.
    pub fn can_be_made(&self) -> bool {
        self.scope == Scope::Dynamic && self.allows(Access::ADD)
    }

    /// Whether a server may delete it: it is not permanent and has Delete.
    pub fn can_be_deleted(&self) -> bool {
        self.scope == Scope::Dynamic && self.allows(Access::DELETE)
    }

    /// The occurrence.
    pub fn occurrence(&self) -> Occurrence {
        self.occurrence
    }

    /// The scope.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The nodes below it, in the order of the definition.
    pub fn children(&self) -> &[NodeDef] {
        &self.children
    }

    /// The definition of the child of this name: that of the name, else the one for given names.
    pub fn child(&self, name: &str) -> Option<&NodeDef> {
        let named = self.children.iter().find(|child| child.name() == Some(name));
        named.or_else(|| self.children.iter().find(|child| child.name.is_none()))
    }

    /// Whether children that the definition does not know are a maker's business: below a node named `Ext`.
    pub(super) fn is_extension(&self) -> bool {
        self.name() == Some("Ext")
    }
}

/// The definition of a kind of MO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    moid: Moid,
    ddf: Option<String>,
    root_name: String,
    root: NodeDef,
    cacheable: bool,
}

impl Definition {
    /// Makes a definition from a constant table. `None` if the rows are not one tree of at most [`MAX_NODE_DEPTH`]
    /// levels whose root is an interior node with a name.
    pub fn from_rows(moid: Moid, rows: &[Row]) -> Option<Self> {
        let depth_is_fine = rows.iter().all(|row| usize::from(row.depth) < MAX_NODE_DEPTH);
        let (root, rest) = build(rows)?;
        let root_name = root.name.clone()?;
        if !depth_is_fine || !rest.is_empty() || root.format != Format::Node {
            return None;
        }
        Some(Self { moid, ddf: None, root_name, root, cacheable: true })
    }

    /// The same with the URI of a DDF, which serialized MOs will then name.
    pub fn with_ddf(self, uri: String) -> Self {
        Self { ddf: Some(uri), ..self }
    }

    /// The same with or without cache validators for its instances (spec 8). Made definitions have them.
    pub fn with_cache(self, cacheable: bool) -> Self {
        Self { cacheable, ..self }
    }

    /// The kind of MO.
    pub fn moid(&self) -> &Moid {
        &self.moid
    }

    /// The URI of its DDF.
    pub fn ddf(&self) -> Option<&str> {
        self.ddf.as_deref()
    }

    /// The key under which the root stands in MOData (Profile P-28).
    pub fn root_name(&self) -> &str {
        &self.root_name
    }

    /// The definition of the root.
    pub fn root(&self) -> &NodeDef {
        &self.root
    }

    /// Whether instances have cache validators (spec 8).
    pub fn is_cacheable(&self) -> bool {
        self.cacheable
    }
}

/// The definitions that a client, server or tool knows.
#[derive(Debug, Clone, Default)]
pub struct Definitions(BTreeMap<Moid, Definition>);

impl Definitions {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The registered MOs that this project knows, and the example MO of a maker.
    ///
    /// The registered ones are not cacheable: most of their values are the device's own and live, and the worked
    /// examples show them without a validator.
    pub fn standard() -> Self {
        let made = tables::TABLES.iter().filter_map(|(moid, rows)| Definition::from_rows(moid.parse().ok()?, rows));
        let mut definitions = Self::new();
        for definition in made {
            let registered = definition.moid.as_str().starts_with("urn:oma:mo:");
            definitions.insert(definition.with_cache(!registered));
        }
        definitions
    }

    /// Adds a definition; one of the same MOID is replaced.
    pub fn insert(&mut self, definition: Definition) {
        self.0.insert(definition.moid.clone(), definition);
    }

    /// The definition of a kind of MO.
    pub fn get(&self, moid: &Moid) -> Option<&Definition> {
        self.0.get(moid)
    }

    /// All of them, ordered by MOID.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.0.values()
    }
}

impl Extend<Definition> for Definitions {
    fn extend<T: IntoIterator<Item = Definition>>(&mut self, definitions: T) {
        for definition in definitions {
            self.insert(definition);
        }
    }
}

/// The first row with all that is deeper than it, and the rows behind these.
fn build(rows: &[Row]) -> Option<(NodeDef, &[Row])> {
    let (row, mut rest) = rows.split_first()?;
    let mut children = Vec::new();
    while rest.first().is_some_and(|next| next.depth > row.depth) {
        let (child, behind) = build(rest)?;
        children.push(child);
        rest = behind;
    }
    let node = NodeDef {
        name: (row.name != "<x>").then(|| row.name.to_owned()),
        format: row.format,
        access: row.access,
        occurrence: row.occurrence,
        scope: row.scope,
        children,
    };
    Some((node, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(moid: &str) -> Definition {
        Definitions::standard().get(&moid.parse().unwrap()).unwrap().clone()
    }

    #[test]
    fn all_seven_are_there() {
        let definitions = Definitions::standard();
        for moid in [DEVINFO, DMACC, SESSIONINFO, FUMO, SCOMO, DACMO, EXAMPLE] {
            assert!(definitions.get(&moid.parse().unwrap()).is_some(), "{moid}");
        }
        assert_eq!(definitions.iter().count(), 7);
        let roots: Vec<_> = definitions.iter().map(Definition::root_name).collect();
        assert_eq!(roots, ["DACMO", "DevInfo", "DMAcc", "FUMO", "SCOMO", "SessionInfo", "Example"]);
    }

    #[test]
    fn a_name_is_looked_up_before_the_given_names() {
        let dmacc = of(DMACC);
        let perm = dmacc.root().child("Perm").unwrap();
        assert_eq!(perm.child("1"), perm.child("another"));
        assert_eq!(perm.child("1").unwrap().name(), None);
        assert_eq!(dmacc.root().child("Nothing"), None);
    }

    #[test]
    fn secrets_of_an_account_cannot_be_read() {
        let dmacc = of(DMACC);
        for path in [
            ["Perm", "1", "MOID"],
            ["Auth", "Trsp", "Secret"],
            ["Auth", "Noti", "Secret"],
            ["Auth", "Bootstrap", "ClientSecretKey"],
            ["Auth", "Bootstrap", "ClientPubKey"],
            ["Auth", "Bootstrap", "ServerPubKey"],
        ] {
            let node = path.iter().fold(dmacc.root(), |node, name| node.child(name).unwrap());
            assert_eq!(node.access(), Access::NONE, "{path:?}");
        }
    }

    #[test]
    fn rows_that_are_no_tree_are_refused() {
        const LEAF: Row = Row {
            depth: 1,
            name: "A",
            format: Format::Chr,
            access: Access::GET,
            occurrence: Occurrence::One,
            scope: Scope::Dynamic,
        };
        const ROOT: Row = Row { depth: 0, format: Format::Node, ..LEAF };
        let of = |rows: &[Row]| Definition::from_rows("urn:x:1".parse().unwrap(), rows);
        assert!(of(&[ROOT, LEAF]).is_some());
        assert!(of(&[]).is_none() && of(&[LEAF]).is_none() && of(&[ROOT, ROOT]).is_none());
        assert!(of(&[Row { name: "<x>", ..ROOT }]).is_none());
        assert!(of(&[ROOT, Row { depth: 24, ..LEAF }]).is_none());
    }
}
