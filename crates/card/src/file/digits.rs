//! Digits as cards hold them, two in a byte with the first in the low half: ICCID and IMSI.

use omadm_core::ids::{Iccid, Mcc, Mnc};

/// The ICCID of EF(ICCID), padding left out; none where it is no ICCID.
pub fn iccid(content: &[u8]) -> Option<Iccid> {
    let halves = content.iter().take(10).flat_map(|byte| [byte & 0x0F, byte >> 4]);
    let text: String = halves.take_while(|half| *half != 0x0F).filter_map(character).collect();
    text.parse().ok()
}

/// EF(ICCID) with these digits, 10 bytes, padded with F.
pub fn encode_iccid(iccid: &Iccid) -> Vec<u8> {
    pack(iccid.as_str().bytes(), 10)
}

/// MCC and MNC of the home network (Profile P-26). `imsi` is EF(IMSI), `ad` EF(AD) where it could be read. The rest
/// of the IMSI is not looked at.
pub fn home_network(imsi: &[u8], ad: Option<&[u8]>) -> Option<(Mcc, Mnc)> {
    // Length byte; then the low half of the first byte is type and parity, the digits follow.
    let length = usize::from(*imsi.first()?).min(8);
    let halves: Vec<u8> = imsi.get(1..=length)?.iter().flat_map(|byte| [byte & 0x0F, byte >> 4]).skip(1).collect();
    let digits: String = halves.iter().take_while(|half| **half <= 9).filter_map(|half| character(*half)).collect();
    let mcc: Mcc = digits.get(..3)?.parse().ok()?;
    let mnc_length = match ad.and_then(|ad| ad.get(3)).map(|byte| byte & 0x0F) {
        Some(length @ (2 | 3)) => usize::from(length),
        Some(_) | None if THREE_DIGIT_MNC.contains(&mcc.as_str()) => 3,
        Some(_) | None => 2,
    };
    let mnc = digits.get(3..3 + mnc_length)?.parse().ok()?;
    Some((mcc, mnc))
}

/// EF(IMSI) with these digits (6 to 15).
pub fn encode_imsi(digits: &str) -> Vec<u8> {
    let odd = digits.len() % 2 == 1;
    let first = if odd { b'9' } else { b'1' };
    let mut bytes = vec![u8::try_from(digits.len() / 2 + 1).unwrap_or(8)];
    bytes.extend(pack([first].into_iter().chain(digits.bytes()), 8));
    bytes
}

/// Countries whose networks have MNCs of three digits, for cards that do not say it in EF(AD).
const THREE_DIGIT_MNC: [&str; 34] = [
    "302", "310", "311", "312", "313", "314", "315", "316", "330", "334", "338", "342", "344", "346", "348", "350",
    "352", "354", "356", "358", "360", "365", "366", "376", "405", "708", "710", "714", "722", "732", "738", "740",
    "748", "750",
];

fn character(half: u8) -> Option<char> {
    char::from_digit(u32::from(half), 16).map(|digit| digit.to_ascii_uppercase())
}

fn pack(digits: impl Iterator<Item = u8>, size: usize) -> Vec<u8> {
    let mut halves = digits.map(|digit| char::from(digit).to_digit(16).and_then(|half| u8::try_from(half).ok()));
    (0..size)
        .map(|_| {
            let low = halves.next().flatten().unwrap_or(0x0F);
            let high = halves.next().flatten().unwrap_or(0x0F);
            high << 4 | low
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn the_iccid_of_the_examples() {
        let file = decode("98 10 10 32 54 76 98 10 32 F4").unwrap();
        let number: Iccid = "8901012345678901234".parse().unwrap();
        assert_eq!(iccid(&file), Some(number.clone()));
        assert_eq!(encode_iccid(&number), file);
        assert_eq!(iccid(&[0xFF; 10]), None);
        assert_eq!(iccid(&[]), None);
    }

    #[test]
    fn leading_zeros_of_mcc_and_mnc_are_kept() {
        let imsi = encode_imsi("001010123456789");
        assert_eq!(imsi, decode("08 09 10 10 10 32 54 76 98").unwrap());
        let network = |imsi: &[u8], ad: Option<&[u8]>| home_network(imsi, ad).map(|(a, b)| format!("{a}-{b}"));
        assert_eq!(network(&imsi, Some(&[0, 0, 0, 2])), Some("001-01".into()));
        assert_eq!(network(&imsi, Some(&[0, 0, 0, 3])), Some("001-010".into()));
        assert_eq!(network(&imsi, Some(&[0, 0, 0])), Some("001-01".into()), "AD without the fourth byte");
        assert_eq!(network(&imsi, Some(&[0, 0, 0, 0xF])), Some("001-01".into()), "a length that is none");
        assert_eq!(network(&encode_imsi("310410123456789"), None), Some("310-410".into()));
        assert_eq!(network(&encode_imsi("26201123456789"), None), Some("262-01".into()), "an even number of digits");
    }

    #[test]
    fn a_damaged_imsi_gives_nothing() {
        for bytes in [&[][..], &[8], &[0xFF; 9], &[0; 9], &[3, 0x09, 0x10], &[8, 9, 0x1A, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(home_network(bytes, None), None, "{bytes:?}");
        }
    }
}
