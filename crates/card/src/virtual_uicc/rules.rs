//! EF(ARR): who may read and who may write, ETSI TS 102 221 9.2.7.

use crate::image::{Access, AdmKey, Byte, CardParts};

/// EF(ARR) under the MF, which the card makes itself.
pub(super) const ARR: u16 = 0x2F06;
/// Length of its records: the longest rule and padding.
pub(super) const ARR_RECORD: u8 = 24;
/// ADM1, where the card has no key that says otherwise.
const ADM1: u8 = 0x0A;

/// Pairs of who may read and who may write, in the order of the records.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pairs: Vec<(Access, Access)>,
    /// References of the PINs.
    pub(super) pins: Vec<u8>,
    adm: u8,
}

impl Rules {
    /// First those that every card has: written by the administrator; read always, never, with each PIN. Then what
    /// the files of this card need beside them.
    pub(super) fn new(parts: &CardParts) -> Self {
        let pins: Vec<u8> = parts.pins.iter().map(|pin| pin.reference.0).collect();
        let read = [Access::Always, Access::Never].into_iter().chain(pins.iter().map(|pin| Access::Pin(Byte(*pin))));
        let mut pairs: Vec<_> = read.map(|read| (read, Access::Adm)).collect();
        let applications = parts.applications.iter().flat_map(|application| &application.files);
        for file in parts.files.iter().chain(applications) {
            let pair = (file.read, file.update);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        let adm = parts.adm.as_ref().map_or(ADM1, |AdmKey { reference, .. }| reference.0);
        Self { pairs, pins, adm }
    }

    /// The record that says so, counted from 1.
    pub(super) fn number_of(&self, read: Access, update: Access) -> u8 {
        let position = self.pairs.iter().position(|pair| *pair == (read, update));
        position.and_then(|position| u8::try_from(position + 1).ok()).unwrap_or(1)
    }

    /// What the record says.
    pub(super) fn pair(&self, number: u8) -> Option<(Access, Access)> {
        self.pairs.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The content of EF(ARR).
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for (read, update) in &self.pairs {
            let mut rule = [self.rule(0x01, *read), self.rule(0x02, *update)].concat();
            rule.resize(usize::from(ARR_RECORD), 0xFF);
            content.extend(rule);
        }
        content
    }

    /// An access mode and its condition.
    fn rule(&self, mode: u8, access: Access) -> Vec<u8> {
        let key = |reference: u8| vec![0x80, 0x01, mode, 0xA4, 0x06, 0x83, 0x01, reference, 0x95, 0x01, 0x08];
        match access {
            Access::Always => vec![0x80, 0x01, mode, 0x90, 0x00],
            Access::Never => vec![0x80, 0x01, mode, 0x97, 0x00],
            Access::Pin(Byte(reference)) => key(reference),
            Access::Adm => key(self.adm),
        }
    }
}
