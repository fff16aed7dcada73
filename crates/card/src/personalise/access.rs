//! Who may read and write a file, as records of EF(ARR) say it, ETSI TS 102 221 9.2.7 and 9.5.

use crate::file::tlv::{Objects, Tlv, find};
use crate::personalise::step::RuleRef;

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Everybody.
    Always,
    /// Who verified the PIN or key with this reference.
    Key(u8),
    /// Nobody, or under a condition that is not understood here.
    Other,
}

/// A record of EF(ARR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Where it stands.
    pub(crate) at: RuleRef,
    /// Who may read.
    pub(crate) read: Right,
    /// Who may update.
    pub(crate) update: Right,
}

impl Rule {
    /// Reads a record. What it does not say is not allowed.
    pub(crate) fn parse(at: RuleRef, record: &[u8]) -> Self {
        let mut rule = Self { at, read: Right::Other, update: Right::Other };
        let (mut read_done, mut update_done) = (false, false);
        let mut access = 0;
        for object in Objects::new(record) {
            let Ok(Tlv { tag, value }) = object else { break };
            match tag {
                0x80 => access = value.first().copied().unwrap_or(0),
                // Access by instruction or in another form.
                0x81..=0x8F => access = 0,
                _ => {
                    let right = condition(tag, value);
                    if access & 0x01 != 0 && !std::mem::replace(&mut read_done, true) {
                        rule.read = right;
                    }
                    if access & 0x02 != 0 && !std::mem::replace(&mut update_done, true) {
                        rule.update = right;
                    }
                    access = 0;
                }
            }
        }
        rule
    }

    /// Whether the holder of this key may write, and who is to read may: whoever knows a PIN, or everybody.
    pub(crate) fn fits(&self, adm: u8, is_private: bool) -> bool {
        if is_private { self.pin(adm).is_some() } else { self.is_open(adm) }
    }

    /// The administrator who may write.
    pub(crate) fn writer(&self) -> Option<u8> {
        match self.update {
            Right::Key(adm @ (0x0A..=0x0E | 0x8A..=0x8E)) => Some(adm),
            Right::Key(_) | Right::Always | Right::Other => None,
        }
    }

    /// Whether the holder of this key may write, and everybody may read.
    pub(crate) fn is_open(&self, adm: u8) -> bool {
        self.read == Right::Always && self.update == Right::Key(adm)
    }

    /// The PIN of the user behind which it can be read, if the holder of this key may write.
    pub(crate) fn pin(&self, adm: u8) -> Option<u8> {
        match self.read {
            Right::Key(pin @ (0x01..=0x08 | 0x11 | 0x81..=0x88)) if self.update == Right::Key(adm) => Some(pin),
            Right::Key(_) | Right::Always | Right::Other => None,
        }
    }
}

fn condition(tag: u32, value: &[u8]) -> Right {
    match tag {
        0x90 => Right::Always,
        0xA4 => match find(value, 0x83) {
            Ok(Some([reference])) => Right::Key(*reference),
            Ok(Some(_) | None) | Err(_) => Right::Other,
        },
        _ => Right::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn rules_as_cards_hold_them() {
        let at = RuleRef { file: 0x2F06, record: 1 };
        let rule = |text: &str| Rule::parse(at, &decode(text).unwrap());
        let open = rule("800101 9000 800102 A40683010A950108 FFFF");
        assert!(open.is_open(0x0A) && !open.is_open(0x0B) && open.pin(0x0A).is_none());
        let private = rule("800101 A406830101950108 800102 A40683010A950108");
        assert_eq!((private.pin(0x0A), private.is_open(0x0A)), (Some(1), false));
        let both = rule("800103 A40683010A950108");
        assert!(both.read == Right::Key(0x0A) && both.update == Right::Key(0x0A) && both.pin(0x0A).is_none());
        let never = rule("800101 9000 80015A 9700");
        assert!(never.update == Right::Other && !never.is_open(0x0A));
        let several = rule("800101 A010 A406830102950108 A40683010A950108 800102 A40683010A950108");
        assert_eq!((several.read, several.pin(0x0A)), (Right::Other, None));
        assert_eq!(rule("").read, Right::Other);
        assert_eq!(rule("8401D6 9000").update, Right::Other, "by instruction");
    }
}
