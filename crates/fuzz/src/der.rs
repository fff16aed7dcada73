//! What the files of a card hold: TLV, FCP, the directories of PKCS#15, EF(DIR), ICCID and IMSI (ETSI TS 102 221,
//! PKCS#15). Whatever is understood and written by us is understood as the same.

use omadm_card::file::digits;
use omadm_card::file::fcp::Fcp;
use omadm_card::file::tlv::{Objects, Tlv, find, object};
use omadm_card::pkcs15::DM_BOOTSTRAP_OID;
use omadm_card::pkcs15::aodf::PinObject;
use omadm_card::pkcs15::dir::Application;
use omadm_card::pkcs15::dodf::DataObject;
use omadm_card::pkcs15::odf::Odf;
use omadm_card::pkcs15::path::Path;
use omadm_card::pkcs15::token_info::TokenInfo;

pub(crate) fn run(bytes: &[u8]) {
    objects(bytes, 0);
    let _ = format!("{:?}", Fcp::parse(bytes));
    if let Ok(info) = TokenInfo::parse(bytes) {
        assert_eq!(TokenInfo::parse(&info.encode()), Ok(info));
    }
    if let Ok(path) = Path::parse(bytes) {
        selections(&path);
    }
    let odf = Odf::parse(bytes);
    let again = Odf::parse(&odf.encode());
    let ids = |paths: &[Path]| paths.iter().map(Path::to_string).collect::<Vec<_>>();
    assert_eq!((ids(&again.dodfs), ids(&again.aodfs), &again.damage), (ids(&odf.dodfs), ids(&odf.aodfs), &None));
    all(DataObject::parse_all(bytes), bytes, |one| {
        selections(&one.path);
        // Only the object's place and one identifier are written.
        if one.oids == [DM_BOOTSTRAP_OID] && one.path.index == 0 && one.path.length.is_none() {
            assert!(one.is_dm_bootstrap());
            assert_eq!(DataObject::parse_all(&one.encode()).next(), Some(Ok(one)));
        }
    });
    all(PinObject::parse_all(bytes), bytes, |one| {
        assert_eq!(PinObject::parse_all(&one.encode()).next(), Some(Ok(one)));
    });
    all(Application::parse_all(bytes), bytes, |one| {
        let _ = one.to_string();
        assert_eq!(Application::parse(&one.encode()), Ok(Some(one)));
    });
    numbers(bytes);
}

/// Each object lies within the bytes, and is found and written as it stands.
fn objects(bytes: &[u8], depth: usize) {
    let mut total = 0;
    for one in Objects::new(bytes) {
        let Ok(Tlv { tag, value }) = one else { break };
        total += value.len() + 2;
        assert!(total <= bytes.len());
        if let Ok(tag) = u8::try_from(tag) {
            let written = object(tag, value);
            assert_eq!(find(&written, tag.into()), Ok(Some(value)));
        }
        if depth < 8 {
            objects(value, depth + 1);
        }
    }
}

/// Takes all entries, of which there are fewer than bytes and none behind an error of the outer structure.
fn all<T, E: std::fmt::Display>(entries: impl Iterator<Item = Result<T, E>>, bytes: &[u8], mut check: impl FnMut(T)) {
    let mut count = 0;
    for entry in entries {
        count += 1;
        match entry {
            Ok(entry) => check(entry),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(count <= bytes.len());
}

/// What is sent to select a file fits into a command and consists of file identifiers.
fn selections(path: &Path) {
    for df in [&[][..], &[0x7F, 0x50], &[0x7F]] {
        let ways = path.selections(df);
        assert!((1..=2).contains(&ways.len()));
        assert!(ways.iter().all(|way| way.len() <= 18), "{path}: {ways:02X?}");
    }
}

fn numbers(bytes: &[u8]) {
    if let Some(iccid) = digits::iccid(bytes) {
        assert_eq!(digits::iccid(&digits::encode_iccid(&iccid)), Some(iccid));
    }
    let (imsi, ad) = bytes.split_at(bytes.len().min(9));
    if let Some((mcc, mnc)) = digits::home_network(imsi, Some(ad)) {
        assert!(mcc.as_str().len() == 3 && (2..=3).contains(&mnc.as_str().len()));
    }
    let _ = digits::home_network(imsi, None);
}
