//! The file tree of the virtual UICC.

use super::quirks::{Quirk, Quirks};
use super::rules::{ARR, ARR_RECORD, Rules};
use crate::image::{Access, CardApplication, CardFile, CardImage, CardParts, ImageError, MAX_FILES};
use crate::pkcs15;

/// Number of the MF in the tree.
pub(super) const MF: usize = 0;
/// The most bytes of all files together, so that a card that was written still fits into an image.
const MAX_MEMORY: usize = 320 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) rules: Rules,
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
    Mf,
    /// An application, without its files.
    Application(CardApplication),
    File {
        file: CardFile,
        /// The card made it itself, so that it stands in no image.
        own: bool,
    },
    /// What was deleted; its number is not used again.
    Deleted,
}

impl Kind {
    /// The AID of an application.
    pub(super) fn aid(&self) -> Option<&[u8]> {
        match self {
            Self::Application(application) => Some(&application.aid.0),
            Self::Mf | Self::File { .. } | Self::Deleted => None,
        }
    }
}

impl Tree {
    pub(super) fn new(parts: &CardParts) -> Self {
        let mut tree = Self { nodes: Vec::new(), rules: Rules::new(parts) };
        tree.nodes.push(Node { id: Some(0x3F00), parent: MF, kind: Kind::Mf });
        tree.add_files(MF, &parts.files);
        if tree.child(MF, ARR).is_none() {
            let arr = CardFile::new(ARR, "EF(ARR)", tree.rules.encode());
            let file = CardFile { sfi: Some(6), record_length: Some(ARR_RECORD), ..arr };
            tree.nodes.push(Node { id: Some(ARR), parent: MF, kind: Kind::File { file, own: true } });
        }
        for application in &parts.applications {
            let number = tree.nodes.len();
            let itself = CardApplication { files: Vec::new(), ..application.clone() };
            let id = application.df.map(|df| df.0);
            tree.nodes.push(Node { id, parent: MF, kind: Kind::Application(itself) });
            tree.add_files(number, &application.files);
        }
        tree
    }

    fn add_files(&mut self, parent: usize, files: &[CardFile]) {
        let file_in =
            |file: &CardFile| Node { id: Some(file.id.0), parent, kind: Kind::File { file: file.clone(), own: false } };
        self.nodes.extend(files.iter().map(file_in));
    }

    /// The files and applications as they are now, put into `parts` in place of those that were there.
    pub(super) fn save(&self, mut parts: CardParts) -> Result<CardImage, ImageError> {
        parts.files = self.saved_files(MF);
        let applications = self.nodes.iter().enumerate().filter_map(|(number, node)| match &node.kind {
            Kind::Application(application) => {
                Some(CardApplication { files: self.saved_files(number), ..application.clone() })
            }
            Kind::Mf | Kind::File { .. } | Kind::Deleted => None,
        });
        parts.applications = applications.collect();
        parts.try_into()
    }

    fn saved_files(&self, parent: usize) -> Vec<CardFile> {
        let files = self.nodes.iter().filter(|node| node.parent == parent).filter_map(|node| match &node.kind {
            Kind::File { file, own: false } => Some(file.clone()),
            Kind::Mf | Kind::Application(_) | Kind::File { .. } | Kind::Deleted => None,
        });
        files.collect()
    }

    pub(super) fn child(&self, parent: usize, id: u16) -> Option<usize> {
        let mut nodes = self.nodes.iter().enumerate().skip(1);
        nodes.find(|(_, node)| node.parent == parent && node.id == Some(id)).map(|(number, _)| number)
    }

    pub(super) fn file(&self, number: usize) -> Option<&CardFile> {
        match &self.nodes.get(number)?.kind {
            Kind::File { file, .. } => Some(file),
            Kind::Mf | Kind::Application(_) | Kind::Deleted => None,
        }
    }

    /// The content of a file, to be written; what people were told about it is true no more.
    pub(super) fn content_to_write(&mut self, number: usize) -> Option<&mut Vec<u8>> {
        match &mut self.nodes.get_mut(number)?.kind {
            Kind::File { file, own } => {
                *own = false;
                file.about.clear();
                Some(&mut file.content.0)
            }
            Kind::Mf | Kind::Application(_) | Kind::Deleted => None,
        }
    }

    pub(super) fn by_sfi(&self, parent: usize, wanted: u8) -> Option<usize> {
        (0..self.nodes.len()).find(|number| {
            self.nodes.get(*number).is_some_and(|node| node.parent == parent)
                && self.file(*number).is_some_and(|file| file.sfi == Some(wanted))
        })
    }

    /// The first application whose AID begins so.
    pub(super) fn by_aid(&self, start: &[u8], quirks: &Quirks) -> Option<usize> {
        let is_meant = |aid: &[u8]| {
            let begins = start.len() >= 5 && aid.starts_with(start);
            let whole = aid == start || !quirks.has(Quirk::FullAidOnly);
            let reached = !aid.starts_with(&pkcs15::AID) || !quirks.has(Quirk::Pkcs15ByPath);
            begins && whole && reached
        };
        self.nodes.iter().position(|node| node.kind.aid().is_some_and(is_meant))
    }

    pub(super) fn is_directory(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| matches!(node.kind, Kind::Mf | Kind::Application(_)))
    }

    /// Whether a file of this size still fits into this directory and into the card.
    pub(super) fn has_room(&self, parent: usize, size: usize) -> bool {
        let files = || (0..self.nodes.len()).filter_map(|number| self.file(number).zip(self.nodes.get(number)));
        let used: usize = files().map(|(file, _)| file.content.0.len()).sum();
        files().filter(|(_, node)| node.parent == parent).count() < MAX_FILES && used.saturating_add(size) <= MAX_MEMORY
    }

    /// Adds a file to a directory and gives its number.
    pub(super) fn add(&mut self, parent: usize, file: CardFile) -> usize {
        self.nodes.push(Node { id: Some(file.id.0), parent, kind: Kind::File { file, own: false } });
        self.nodes.len() - 1
    }

    pub(super) fn delete(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            *node = Node { id: None, parent: usize::MAX, kind: Kind::Deleted };
        }
    }

    /// Number of the record in EF(ARR) with the rules of a file.
    pub(super) fn rule_of(&self, file: &CardFile) -> u8 {
        self.rules.number_of(file.read, file.update)
    }

    /// Number of the record in EF(ARR) that directories show.
    pub(super) fn rule_of_directories(&self) -> u8 {
        self.rules.number_of(Access::Always, Access::Adm)
    }
}
