//! What SELECT tells about a file, ETSI TS 102 221 11.1.1.3.

use super::files::{Kind, MF, Tree};
use super::quirks::{Quirk, Quirks};
use super::rules::ARR;
use crate::file::tlv::object;

/// The characteristics of the UICC, which the MF has to tell: the clock may be stopped, at any level; all voltages.
const CHARACTERISTICS: [u8; 3] = [0x80, 0x01, 0x71];

impl Tree {
    /// The parameters of a file as the content of the template 62 or 6F.
    pub(super) fn parameters(&self, number: usize, quirks: &Quirks) -> Vec<u8> {
        let Some(node) = self.nodes.get(number) else { return Vec::new() };
        let object = |tag: u8, value: &[u8]| if is_left_out(tag, quirks) { Vec::new() } else { object(tag, value) };
        let id = node.id.map_or_else(Vec::new, |id| object(0x83, &id.to_be_bytes()));
        let rule = |record: u8| object(0x8B, &[ARR.to_be_bytes()[0], ARR.to_be_bytes()[1], record]);
        let activated = object(0x8A, &[0x05]);
        match &node.kind {
            Kind::Mf | Kind::Application(_) => {
                let name = node.kind.aid().map_or(id, |aid| object(0x84, aid));
                let proprietary = if number == MF { object(0xA5, &CHARACTERISTICS) } else { Vec::new() };
                let rule = rule(self.rule_of_directories());
                let pins = object(0xC6, &self.pin_status());
                [object(0x82, &[0x78, 0x21]), name, proprietary, activated, rule, pins].concat()
            }
            Kind::File { file, .. } => {
                let content = &file.content.0;
                let descriptor = match file.record_length {
                    None => vec![0x41, 0x21],
                    Some(length) => {
                        let records = content.len().checked_div(usize::from(length)).unwrap_or(0);
                        vec![0x42, 0x21, 0x00, length, u8::try_from(records).unwrap_or(u8::MAX)]
                    }
                };
                let size = u16::try_from(content.len()).unwrap_or(u16::MAX);
                let sfi = file.sfi.map_or_else(Vec::new, |sfi| vec![sfi << 3]);
                let parts = [
                    object(0x82, &descriptor),
                    id,
                    object(0x80, &size.to_be_bytes()),
                    activated,
                    rule(self.rule_of(file)),
                    object(0x88, &sfi),
                ];
                parts.concat()
            }
            Kind::Deleted => Vec::new(),
        }
    }

    /// PIN status template: a bit for each PIN that is enabled, then the references. A card without PINs shows PIN 01
    /// as disabled.
    fn pin_status(&self) -> Vec<u8> {
        let pins = &self.rules.pins;
        if pins.is_empty() {
            return vec![0x90, 0x01, 0x40, 0x83, 0x01, 0x01];
        }
        let enabled = (0..pins.len().min(8)).fold(0_u8, |bits, n| bits | 0x80 >> n);
        let references = pins.iter().flat_map(|pin| [0x83, 0x01, *pin]);
        [0x90, 0x01, enabled].into_iter().chain(references).collect()
    }
}

fn is_left_out(tag: u8, quirks: &Quirks) -> bool {
    match tag {
        0x80 => quirks.has(Quirk::NoSize),
        0x88 => quirks.has(Quirk::NoSfi),
        0x8B => quirks.has(Quirk::NoAccessRule),
        0xC6 => quirks.has(Quirk::NoPinStatus),
        _ => false,
    }
}
