//! Answer to reset, ISO 7816-3: which protocol the card offers first.

use crate::apdu::Protocol;

/// The first protocol that an ATR offers; T=0 where it says none.
pub fn protocol(atr: &[u8]) -> Protocol {
    let Some(format) = atr.get(1).copied() else { return Protocol::T0 };
    // TA1, TB1 and TC1 stand before TD1, each if its bit is set.
    let before = usize::try_from((format >> 4 & 0x07).count_ones()).unwrap_or(0);
    match atr.get(2 + before) {
        Some(td1) if format & 0x80 != 0 && td1 & 0x0F == 1 => Protocol::T1,
        Some(_) | None => Protocol::T0,
    }
}

/// The ATR of a card that offers this protocol only, with `omadm` as historical bytes.
pub fn of(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::T0 => [&[0x3B, 0x05], &b"omadm"[..]].concat(),
        Protocol::T1 => {
            let mut atr = [&[0x3B, 0x85, 0x01], &b"omadm"[..]].concat();
            // The check byte makes the exclusive or of all but TS zero.
            atr.push(atr.iter().skip(1).fold(0, |sum, byte| sum ^ byte));
            atr
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_found_behind_the_other_interface_bytes() {
        for known in [Protocol::T0, Protocol::T1] {
            assert_eq!(protocol(&of(known)), known);
        }
        assert_eq!(
            protocol(&crate::hex::decode("3B9F96801FC78031A073BE211367432007180000 01A5").unwrap()),
            Protocol::T0
        );
        assert_eq!(protocol(&[0x3B, 0xF0, 1, 2, 3, 0x81]), Protocol::T1);
        assert_eq!(protocol(&[]), Protocol::T0);
        assert_eq!(protocol(&[0x3B, 0xF0]), Protocol::T0);
    }
}
