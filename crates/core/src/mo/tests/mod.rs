//! What the tests of the tree share: definitions, a tree, servers.

mod deleting;
mod flows;
mod hget;
mod making;
mod model;
mod reading;
mod rights;
mod serializing;
mod trees;

use super::ddf::{Access, Definition, Definitions, Occurrence, Row, Scope};
use super::*;
use crate::access::{DeviceRights, GivenRights, Owner, Principal};
use crate::ids::{Miid, Moid, SrvId};
use crate::status::StatusCode;
use crate::uri::ClientUri;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) const X: &str = "urn:x:1.0";
pub(super) const SETPOINT: &str = "urn:example:mo:setpoint:1.0";

pub(super) const NODE: Row = Row {
    depth: 0,
    name: "X",
    format: Format::Node,
    access: Access::ADD.with(Access::DELETE).with(Access::GET),
    occurrence: Occurrence::ZeroOrMore,
    scope: Scope::Dynamic,
};

/// A leaf with Add, Delete, Get, Replace.
pub(super) const LEAF: Row = Row {
    depth: 1,
    name: "Leaf",
    format: Format::Chr,
    access: NODE.access.with(Access::REPLACE),
    occurrence: Occurrence::ZeroOrOne,
    scope: Scope::Dynamic,
};

/// The MO of the examples in spec 7, and a place for whatever a test needs.
pub(super) const X_ROWS: &[Row] = &[
    NODE,
    Row {
        name: "ID",
        occurrence: Occurrence::One,
        access: Access::ADD.with(Access::GET).with(Access::REPLACE),
        ..LEAF
    },
    Row { name: "Setting", ..LEAF },
    Row { depth: 1, name: "Data", occurrence: Occurrence::ZeroOrOne, ..NODE },
    Row { depth: 2, name: "<x>", ..NODE },
    Row { depth: 3, name: "Date", ..LEAF },
    Row { depth: 3, name: "Value", ..LEAF },
    Row { name: "Number", format: Format::Int, ..LEAF },
    Row { name: "Ratio", format: Format::Float, ..LEAF },
    Row { name: "Flag", format: Format::Bool, ..LEAF },
    Row { name: "Bytes", format: Format::Bin, ..LEAF },
    Row { name: "Nothing", format: Format::Null, ..LEAF },
    Row { name: "Hidden", access: Access::ADD.with(Access::DELETE).with(Access::REPLACE), ..LEAF },
    Row { name: "Fixed", access: Access::GET, scope: Scope::Permanent, ..LEAF },
    Row { depth: 1, name: "Dark", access: Access::ADD.with(Access::DELETE), occurrence: Occurrence::ZeroOrOne, ..NODE },
    Row { depth: 2, name: "Seen", ..LEAF },
    Row { depth: 1, name: "Few", occurrence: Occurrence::ZeroOrOne, ..NODE },
    Row { depth: 2, name: "<x>", occurrence: Occurrence::OneOrN(2), ..LEAF },
];

pub(super) const SETPOINT_ROWS: &[Row] = &[
    Row { name: "Setpoint", ..NODE },
    Row {
        name: "Name",
        occurrence: Occurrence::One,
        access: Access::ADD.with(Access::GET).with(Access::REPLACE),
        ..LEAF
    },
    Row {
        name: "Target",
        format: Format::Float,
        occurrence: Occurrence::One,
        access: Access::ADD.with(Access::GET).with(Access::REPLACE),
        ..LEAF
    },
];

pub(super) fn moid(text: &str) -> Moid {
    text.parse().unwrap()
}

pub(super) fn miid(text: &str) -> Miid {
    text.parse().unwrap()
}

pub(super) fn uri(text: &str) -> ClientUri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The standard definitions, `urn:x:1.0` and the maker's MO of the worked examples.
pub(super) fn definitions() -> Definitions {
    let mut definitions = Definitions::standard();
    definitions.insert(Definition::from_rows(moid(X), X_ROWS).unwrap());
    definitions.insert(Definition::from_rows(moid(SETPOINT), SETPOINT_ROWS).unwrap());
    definitions
}

/// A server: its name, what is listed for it, and the device's table.
pub(super) struct Server {
    pub(super) srv_id: SrvId,
    pub(super) listed: BTreeSet<Moid>,
    pub(super) rights: DeviceRights,
    pub(super) given: GivenRights,
    pub(super) account: Option<Miid>,
}

impl Server {
    pub(super) fn new(srv_id: &str, listed: &[&str]) -> Self {
        Self {
            srv_id: srv_id.parse().unwrap(),
            listed: listed.iter().map(|text| moid(text)).collect(),
            rights: DeviceRights::default(),
            given: GivenRights::default(),
            account: Some(miid(srv_id)),
        }
    }

    pub(super) fn who(&self) -> Principal<'_> {
        Principal {
            srv_id: &self.srv_id,
            listed: &self.listed,
            rights: &self.rights,
            given: &self.given,
            account: self.account.as_ref(),
        }
    }
}

/// A device's tree with its definitions.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) definitions: Definitions,
    pub(super) tree: Tree,
}

impl Device {
    pub(super) fn new() -> Self {
        Self { definitions: definitions(), tree: Tree::new() }
    }

    /// `left` and `right` of spec 7, made by `acme`.
    pub(super) fn of_the_examples() -> (Self, Server) {
        let (mut device, acme) = (Self::new(), Server::new("acme", &[X]));
        for (name, id, setting) in [("left", "GPS", "0xA1"), ("right", "Temperature", "0xB2")] {
            let entry = |date: &str| json!({"Date": date, "Value": format!("{name} at {date}")});
            let data = json!({"1": entry("12.1"), "2": entry("12.2")});
            device.make(&acme, X, name, json!({"X": {"ID": id, "Setting": setting, "Data": data}}));
        }
        (device, acme)
    }

    /// Has a server make an instance with this wish.
    pub(super) fn make(&mut self, server: &Server, moid: &str, wish: &str, data: serde_json::Value) -> String {
        let body = json!([{"ClientURI": format!("{moid}/{wish}/"), "MOData": data}]).to_string();
        let made = self.hget(server, &[], &body).unwrap_or_else(|status| panic!("{status} for {body}"));
        made.into_iter().next().unwrap()
    }

    pub(super) fn get(&self, server: &Server, text: &str) -> Result<Read, StatusCode> {
        self.tree.get(&self.definitions, &server.who(), &uri(text))
    }

    /// The URIs of what GET gives.
    pub(super) fn uris(&self, server: &Server, text: &str) -> Result<Vec<String>, StatusCode> {
        let items = self.get(server, text)?.items;
        Ok(items.into_iter().filter_map(|item| item.client_uri).collect())
    }

    /// What GET gives, as JSON.
    pub(super) fn json(&self, server: &Server, text: &str) -> Result<String, StatusCode> {
        Ok(String::from_utf8(to_json_bytes(&self.get(server, text)?.items)).unwrap())
    }

    /// HGET, and that a failure changes nothing.
    pub(super) fn hget(&mut self, server: &Server, targets: &[&str], body: &str) -> Result<Vec<String>, StatusCode> {
        let before = self.tree.clone();
        let targets: Vec<_> = targets.iter().map(|text| uri(text)).collect();
        let known_before = self.tree.check_hget(&self.definitions, &server.who(), &targets);
        let result = self.tree.hget(&self.definitions, &server.who(), &targets, body.as_bytes());
        if result.is_err() {
            assert!(self.tree == before, "a failed HGET changed the tree");
        } else {
            assert_eq!(known_before, Ok(()), "HGET was refused beforehand, wrongly");
        }
        result
    }

    /// DELETE, and that a failure changes nothing.
    pub(super) fn delete(&mut self, server: &Server, text: &str) -> Result<(), StatusCode> {
        let before = self.tree.clone();
        let result = self.tree.delete(&self.definitions, &server.who(), &uri(text));
        assert!(result.is_ok() || self.tree == before, "a failed DELETE changed the tree");
        result
    }

    pub(super) fn put_local(&mut self, moid_text: &str, miid_text: &str, root: Node) -> Result<bool, MoError> {
        self.tree.put_local(&self.definitions, &moid(moid_text), miid(miid_text), root)
    }

    pub(super) fn owner(&self, moid_text: &str, miid_text: &str) -> Option<&Owner> {
        self.tree.instance(&moid(moid_text), &miid(miid_text)).map(Instance::owner)
    }
}

/// The DevInfo of the worked examples.
pub(super) fn devinfo() -> Node {
    let leaves = [
        ("DevID", "IMEI:493005100592800"),
        ("Man", "Example Devices"),
        ("Mod", "Meter 3"),
        ("DmV", "2.0"),
        ("Lang", "en"),
        ("DevType", "meter"),
        ("OEM", "Example Devices"),
        ("FwV", "3.1.0"),
        ("SwV", "7.2"),
        ("HwV", "B"),
    ];
    Node::interior(leaves.map(|(name, text)| (name, Node::chr(text))))
}
