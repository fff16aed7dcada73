//! What a card tells of a file (FCP), what kind of object it holds, and how a command went: within bounds, in plain words,
//! and each place that is named is within the bytes (ETSI TS 102 221, ISO/IEC 7816-4).

use omadm_card::apdu::StatusWord;
use omadm_card::file::dm1x;
use omadm_card::file::fcp::Fcp;
use omadm_card::file::tlv::{Objects, find, first_damage, object};
use omadm_card::pkcs15::odf::Odf;
use omadm_card::pkcs15::oid::ObjectId;

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(fcp) = Fcp::parse(bytes) {
        assert!(fcp.sfi.is_none_or(|sfi| (1..=30).contains(&sfi)));
        assert!(fcp.size.is_none_or(|size| size <= u32::MAX as usize));
        assert!(fcp.pins.len() <= bytes.len() && fcp.aid.is_none_or(|aid| aid.len() <= bytes.len()));
    }
    // What ISO readers are given is the same in another template.
    if find(bytes, 0x62) == Ok(None) {
        assert_eq!(Fcp::parse(&object(0x62, bytes)), Fcp::parse(&object(0x6F, &object(0x62, bytes))));
    }
    damage(bytes);
    identifier(bytes);
    if let Some(kind) = dm1x::describe(bytes) {
        assert!(kind.len() < 200 && !kind.chars().any(char::is_control), "{kind:?}");
    }
    let parts: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0xFF).map(<[u8]>::to_vec).collect();
    let odf = Odf::parse_parts(&parts);
    assert!(odf.dodfs.len() <= 8 && odf.aodfs.len() <= 8);
    for status in bytes.as_chunks::<2>().0 {
        let status = StatusWord(u16::from_be_bytes(*status));
        let meaning = status.explained();
        assert!(!status.meaning().is_empty() && meaning.first <= meaning.last);
        assert!(status.to_string().contains(status.meaning()));
    }
}

/// Damage is found where reading the objects meets it, or deeper.
fn damage(bytes: &[u8]) {
    let flat = Objects::new(bytes).any(|one| one.is_err());
    match first_damage(bytes) {
        Some((at, error)) => assert!(at < bytes.len() && !error.to_string().is_empty()),
        None => assert!(!flat),
    }
}

/// An identifier is read from its own text again, unless a number in it is too large to be shown.
fn identifier(bytes: &[u8]) {
    let Some(id) = ObjectId::from_content(bytes) else { return };
    let text = id.to_string();
    assert!(text.len() < 700);
    if let Ok(again) = text.parse::<ObjectId>() {
        assert_eq!(again.to_string(), text);
    }
}
