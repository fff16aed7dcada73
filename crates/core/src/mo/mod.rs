//! Management Objects: definitions, the tree of instances, and what a server may do with it.
//!
//! A device's data are *instances* of *kinds of MO*. The kind (MOID) has a [`ddf::Definition`], which says which nodes
//! there may be, of which format, and what may be done with them. An instance (MIID) is a tree of nodes with an owner
//! and a cache validator; the [`Tree`] holds them all.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`ddf`] | definitions: constant tables, and DDF files with the feature `ddf-xml` |
//! | `value`, `tree` | formats, values, nodes, instances, the tree; validators |
//! | `miid` | which MIID is given next (Profile P-17) |
//! | `serialized` | the JSON form of parts of the tree (spec 6.5) |
//! | `conform` | whether data are what a definition says |
//! | `resolve` | which nodes a ClientURI means for a given server (spec 7) |
//! | `read`, `write` | GET, HPUT, HPOST; HGET, DELETE (spec 5) |
//!
//! # How it is done, and why
//!
//! **A tree without rules, and operations with all of them.** The device itself changes instances freely with
//! [`Tree::put_local`], bound only by names and formats. A server comes in through [`Tree::get`], [`Tree::upload`],
//! [`Tree::hget`] and [`Tree::delete`], each of which takes the [`Principal`](crate::access::Principal) and decides
//! anew: rights are looked at when the command runs, not when the session began. There is no other way in, so there is
//! no place where a check can be forgotten.
//!
//! **All or nothing.** A command that changes the tree first works out all changes on copies of the instances that it
//! touches, then puts them in. On `Err` the tree is as it was.
//!
//! **What is asked first.** 400 for what is malformed; 405 for DMAcc, which no server changes; 403 for a MOID that is
//! not listed, before 404 for one that is not supported, so that a server learns nothing about MOs that are not its
//! business; then the instance, the right on it, and the node.
//!
//! **Instances without any right are invisible.** They are not counted for the empty mo-inst, not matched by x-names or
//! `*`, and 404 if named: a server cannot find out what others have. With some right but not the one that the command
//! needs it is 403, except that `*` of a reading command leaves such an instance out. A letter for the instance
//! looks at leaves, so it finds only instances that the server may read.
//!
//! **What may be read.** A node without Get is left out with all that is below it, and 405 if addressed itself. A
//! node below it that has Get can still be addressed. `nv` sees exactly the leaves that GET would give. A leaf without
//! a value now is left out, and 204 if addressed itself.
//!
//! **HGET.** Its targets are resolved against the tree as it was when the command began; the items are then put in in
//! their order. So a later item may add below what an earlier one made, and a letter means what it meant when the
//! server asked. `*` is refused (400): one item cannot be the content of several nodes. `cv` means nothing there and is
//! ignored. A node that neither exists nor can be made is 405, whatever the cause: undefined, no Add, permanent, no
//! parent, or no room for one more of its kind. Making an instance takes Add on the root and on every node in it.
//! Replacing takes Replace on every leaf that was there, even if its value stays, since otherwise a server could guess
//! values that it may not read. Data beside the path to the target is refused (400), not silently dropped.
//!
//! **DELETE** takes Delete on the addressed node alone; what is below goes with it. A node that must be there is not
//! deleted (405).
//!
//! **Sizes.** What servers put in is bounded by [`MAX_TREE_BYTES`] (507 beyond), a body by [`MAX_BODY_BYTES`].

pub mod ddf;

mod conform;
pub(crate) mod miid;
mod read;
mod resolve;
mod serialized;
mod tree;
mod value;
mod write;

use crate::ids::Moid;

pub use ddf::{Access, Definition, Definitions, NodeDef, Occurrence, Scope};
pub use miid::MAX_WISHES;
pub use read::{Read, Upload};
pub use serialized::{ACCEPTED_MEDIA_TYPES, MEDIA_TYPE, Raw, Scalar, SerializedMo, parse_items, to_json_bytes};
pub use tree::{Instance, MAX_CHOSEN, Node, Tree};
pub use value::{Format, Value};
pub use write::{MAX_BODY_BYTES, MAX_TREE_BYTES};

/// Why data are no MO, or not the one that the definition describes. Messages name the place and never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoError {
    /// An item of the array is not a serialized MO.
    #[error("item {index}: {expected} is expected")]
    Item {
        /// Which item, from 0.
        index: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// There is no definition for the MOID.
    #[error("{moid} is not supported here")]
    Unsupported {
        /// The MOID.
        moid: Moid,
    },
    /// A node has a name that no node may have.
    #[error("{place}: not a node name")]
    Name {
        /// Its ClientURI.
        place: String,
    },
    /// The definition has no such node.
    #[error("{place}: the definition has no such node")]
    UnknownNode {
        /// Its ClientURI.
        place: String,
    },
    /// A node is not of its format.
    #[error("{place}: the format {expected} is expected")]
    WrongFormat {
        /// Its ClientURI.
        place: String,
        /// The format.
        expected: Format,
    },
    /// A node that must be there is missing.
    #[error("{place} is missing")]
    Missing {
        /// Its ClientURI.
        place: String,
    },
    /// There are more nodes than may stand side by side.
    #[error("{place}: more nodes than the definition allows")]
    TooMany {
        /// Their ClientURI.
        place: String,
    },
    /// The device chose too many MIIDs itself.
    #[error("more than {MAX_CHOSEN} MIIDs were chosen; let the counter assign them")]
    TooManyNames,
}

#[cfg(test)]
mod tests;
