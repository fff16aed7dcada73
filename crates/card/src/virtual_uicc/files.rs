//! The file tree of the virtual UICC and the parameters that it shows for a file.

use crate::file::tlv::object;
use crate::image::{Access, Byte, CardFile, CardParts};

/// Number of the MF in the tree.
pub(super) const MF: usize = 0;
/// EF(ARR) under the MF, which the card makes itself.
const ARR: u16 = 0x2F06;
const ARR_RECORD: u8 = 24;

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// References of the PINs.
    pins: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    /// None where it is reached by its AID only.
    pub(super) id: Option<u16>,
    pub(super) parent: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Directory { aid: Option<Vec<u8>> },
    File { content: Vec<u8>, record_length: Option<u8>, sfi: Option<u8>, read: Access },
}

impl Tree {
    pub(super) fn new(parts: &CardParts) -> Self {
        let pins: Vec<u8> = parts.pins.iter().map(|pin| pin.reference.0).collect();
        let mut tree = Self { nodes: Vec::new(), pins };
        tree.nodes.push(Node { id: Some(0x3F00), parent: MF, kind: Kind::Directory { aid: None } });
        tree.add_files(MF, &parts.files);
        if tree.child(MF, ARR).is_none() {
            let content = tree.access_rules();
            let kind = Kind::File { content, record_length: Some(ARR_RECORD), sfi: Some(6), read: Access::Always };
            tree.nodes.push(Node { id: Some(ARR), parent: MF, kind });
        }
        for application in &parts.applications {
            let number = tree.nodes.len();
            let kind = Kind::Directory { aid: Some(application.aid.0.clone()) };
            tree.nodes.push(Node { id: application.df.map(|df| df.0), parent: MF, kind });
            tree.add_files(number, &application.files);
        }
        tree
    }

    fn add_files(&mut self, parent: usize, files: &[CardFile]) {
        self.nodes.extend(files.iter().map(|file| Node {
            id: Some(file.id.0),
            parent,
            kind: Kind::File {
                content: file.content.0.clone(),
                record_length: file.record_length,
                sfi: file.sfi,
                read: file.read,
            },
        }));
    }

    pub(super) fn child(&self, parent: usize, id: u16) -> Option<usize> {
        self.nodes
            .iter()
            .enumerate()
            .skip(1)
            .find(|(_, node)| node.parent == parent && node.id == Some(id))
            .map(|(n, _)| n)
    }

    pub(super) fn by_sfi(&self, parent: usize, wanted: u8) -> Option<usize> {
        self.nodes.iter().position(|node| {
            node.parent == parent && matches!(node.kind, Kind::File { sfi: Some(sfi), .. } if sfi == wanted)
        })
    }

    /// The first application whose AID begins so.
    pub(super) fn by_aid(&self, start: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| {
            matches!(&node.kind, Kind::Directory { aid: Some(aid) } if start.len() >= 5 && aid.starts_with(start))
        })
    }

    pub(super) fn is_directory(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| matches!(node.kind, Kind::Directory { .. }))
    }

    /// The parameters of a file as the content of the template 62 or 6F, ETSI TS 102 221 11.1.1.3.
    pub(super) fn parameters(&self, number: usize) -> Vec<u8> {
        let Some(node) = self.nodes.get(number) else { return Vec::new() };
        let id = node.id.map_or_else(Vec::new, |id| object(0x83, &id.to_be_bytes()));
        let rule = |record: u8| object(0x8B, &[ARR.to_be_bytes()[0], ARR.to_be_bytes()[1], record]);
        let activated = object(0x8A, &[0x05]);
        match &node.kind {
            Kind::Directory { aid } => {
                let name = aid.as_ref().map_or(id, |aid| object(0x84, aid));
                [object(0x82, &[0x78, 0x21]), name, activated, rule(1), object(0xC6, &self.pin_status())].concat()
            }
            Kind::File { content, record_length, sfi, read } => {
                let descriptor = match record_length {
                    None => vec![0x41, 0x21],
                    Some(length) => {
                        let records = content.len().checked_div(usize::from(*length)).unwrap_or(0);
                        vec![0x42, 0x21, 0x00, *length, u8::try_from(records).unwrap_or(u8::MAX)]
                    }
                };
                let size = u16::try_from(content.len()).unwrap_or(u16::MAX);
                let sfi = sfi.map_or_else(Vec::new, |sfi| vec![sfi << 3]);
                let parts = [
                    object(0x82, &descriptor),
                    id,
                    object(0x80, &size.to_be_bytes()),
                    activated,
                    rule(self.rule_of(*read)),
                    object(0x88, &sfi),
                ];
                parts.concat()
            }
        }
    }

    /// PIN status template: a bit for each PIN that is enabled, then the references. A card without PINs shows PIN 01
    /// as disabled.
    fn pin_status(&self) -> Vec<u8> {
        if self.pins.is_empty() {
            return vec![0x90, 0x01, 0x40, 0x83, 0x01, 0x01];
        }
        let enabled = (0..self.pins.len().min(8)).fold(0_u8, |bits, n| bits | 0x80 >> n);
        let references = self.pins.iter().flat_map(|pin| [0x83, 0x01, *pin]);
        [0x90, 0x01, enabled].into_iter().chain(references).collect()
    }

    /// Number of the record in EF(ARR) that says who may read.
    fn rule_of(&self, read: Access) -> u8 {
        let position = match read {
            Access::Always => 0,
            Access::Never => 1,
            Access::Pin(Byte(reference)) => 2 + self.pins.iter().position(|pin| *pin == reference).unwrap_or(0),
        };
        u8::try_from(position + 1).unwrap_or(1)
    }

    /// EF(ARR): reading always, never, or with a PIN; writing by the administrator (0A).
    fn access_rules(&self) -> Vec<u8> {
        let write = [0x80, 0x01, 0x02, 0xA4, 0x06, 0x83, 0x01, 0x0A, 0x95, 0x01, 0x08];
        let always = vec![0x80, 0x01, 0x01, 0x90, 0x00];
        let never = vec![0x80, 0x01, 0x01, 0x97, 0x00];
        let pins = self.pins.iter().map(|pin| vec![0x80, 0x01, 0x01, 0xA4, 0x06, 0x83, 0x01, *pin, 0x95, 0x01, 0x08]);
        let mut content = Vec::new();
        for mut rule in [always, never].into_iter().chain(pins) {
            rule.extend(write);
            rule.resize(usize::from(ARR_RECORD), 0xFF);
            content.extend(rule);
        }
        content
    }
}
