//! Short file identifiers that a card told, to read its files without SELECT (`card.fast`).

use omadm_core::ids::Iccid;

use crate::file::fcp::Fcp;
use crate::read::session::Session;

/// The most files that are remembered.
const MAX_FILES: usize = 16;

/// What a card told of the short identifiers of its files (tag 88 of the FCP), for the next reading of the same card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shortcuts {
    pub(super) iccid: Option<Iccid>,
    pub(super) files: Vec<Shortcut>,
}

impl Shortcuts {
    /// How many files can be read without SELECT.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// A transparent file of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortcut {
    /// Its path below 7FFF.
    id: [u8; 2],
    sfi: u8,
    size: usize,
}

impl Session<'_, '_> {
    /// Takes what this card told in an earlier reading.
    pub(super) fn take_shortcuts(&mut self, earlier: Option<&Shortcuts>, iccid: Option<&Iccid>) {
        let same_card = earlier.filter(|earlier| iccid.is_some() && earlier.iccid.as_ref() == iccid);
        self.shortcuts = same_card.map(|earlier| earlier.files.clone()).unwrap_or_default();
    }

    /// What the card told, for a later reading.
    pub(super) fn give_shortcuts(&self, iccid: Option<&Iccid>) -> Shortcuts {
        Shortcuts { iccid: iccid.cloned(), files: self.shortcuts.clone() }
    }

    /// Keeps what the card tells of a file that lies directly in the application.
    pub(super) fn learn(&mut self, path: &[u8], fcp: &Fcp) {
        let [0x7F, 0xFF, high, low] = *path else { return };
        let (Some(sfi), Some(size), None) = (fcp.sfi, fcp.size, fcp.record_length) else { return };
        self.shortcuts.retain(|known| known.id != [high, low] && known.sfi != sfi);
        if self.shortcuts.len() < MAX_FILES {
            self.shortcuts.push(Shortcut { id: [high, low], sfi, size });
        }
    }

    /// Short identifier and size of the first of these paths, where the card is read on the short way and told them.
    pub(super) fn shortcut(&mut self, paths: &[Vec<u8>]) -> Option<(u8, usize)> {
        let Some([0x7F, 0xFF, high, low]) = paths.first().map(Vec::as_slice) else { return None };
        let usable = self.card().is_fast() && !self.strayed;
        let known = self.shortcuts.iter().find(|known| known.id == [*high, *low]);
        known.filter(|_| usable).map(|known| (known.sfi, known.size))
    }
}
