//! Messages of OMA DM 1.x, as far as telling which kind it is: WBXML or XML.

/// Document types that a WBXML public identifier stands for (WAP-192, OMNA).
const PUBLIC_IDS: [(u32, &str); 10] = [
    (0x0B, "OMA Client Provisioning 1.0"),
    (0x0FD1, "SyncML 1.0"),
    (0x0FD2, "DevInf 1.0"),
    (0x0FD3, "SyncML 1.1"),
    (0x0FD4, "DevInf 1.1"),
    (0x1201, "SyncML 1.2"),
    (0x1202, "DevInf 1.2"),
    (0x1203, "DM tree description 1.2"),
    (0x1204, "MetInf 1.2"),
    (0x01, "unknown document type"),
];

/// Character sets by their number (IANA MIBenum).
const CHARSETS: [(u32, &str); 5] =
    [(3, "US-ASCII"), (4, "ISO-8859-1"), (106, "UTF-8"), (1000, "UCS-2"), (1015, "UTF-16")];

/// The most bytes of XML in which its first element is looked for.
const MAX_PROLOGUE: usize = 1_024;

/// What kind of message it is, in a few words; none where it is none of DM 1.x.
pub fn describe(content: &[u8]) -> Option<String> {
    match content.first()? {
        // The version of WBXML, 1.1 to 1.3.
        version @ 0x01..=0x03 => Some(wbxml(*version, content.get(1..)?)),
        _ => xml(content),
    }
}

fn wbxml(version: u8, mut rest: &[u8]) -> String {
    let mut text = format!("WBXML 1.{version}");
    let public_id = number(&mut rest);
    match public_id {
        // The name stands in the string table.
        Some(0) => drop(number(&mut rest)),
        Some(id) => {
            let name = PUBLIC_IDS.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
            text.push_str(&format!(", {}", name.unwrap_or("another document type")));
        }
        None => return text,
    }
    if let Some(charset) = number(&mut rest) {
        let name = CHARSETS.iter().find(|(known, _)| *known == charset).map(|(_, name)| *name);
        text.push_str(&format!(", {}", name.unwrap_or("another character set")));
    }
    let Some(table) = number(&mut rest).and_then(|length| usize::try_from(length).ok()) else { return text };
    let root = rest.get(table).map(|tag| tag & 0x3F);
    let name = match (public_id, root) {
        (Some(0x0B), Some(0x05)) => Some("wap-provisioningdoc"),
        (Some(0x0FD1 | 0x0FD3 | 0x1201), Some(0x2D)) => Some("SyncML"),
        (Some(0x1203), Some(0x1D)) => Some("MgmtTree"),
        _ => None,
    };
    if let Some(name) = name {
        text.push_str(&format!(", root element {name}"));
    }
    text
}

/// A number of several bytes, seven bits in each, at most five of them.
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for _ in 0..5 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number = number.checked_mul(128)? | u32::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn xml(content: &[u8]) -> Option<String> {
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content).trim_ascii_start();
    if content.first() != Some(&b'<') {
        return None;
    }
    let prologue = content.get(..MAX_PROLOGUE).unwrap_or(content);
    let root = prologue.windows(2).position(|pair| pair[0] == b'<' && pair[1].is_ascii_alphabetic());
    let name: String = root
        .and_then(|start| prologue.get(start + 1..))
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.'))
        .take(64)
        .map(|byte| char::from(*byte))
        .collect();
    Some(if name.is_empty() { "XML".to_owned() } else { format!("XML, root element {name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(content: &[u8]) -> String {
        describe(content).unwrap_or_default()
    }

    #[test]
    fn wbxml_and_xml_are_told_apart_and_named() {
        assert_eq!(
            told(b"\x03\x0B\x6A\x00\x45\xC6\x56\x01"),
            "WBXML 1.3, OMA Client Provisioning 1.0, UTF-8, root element wap-provisioningdoc"
        );
        assert_eq!(told(b"\x02\xA4\x01\x6A\x02ab\x6D"), "WBXML 1.2, SyncML 1.2, UTF-8, root element SyncML");
        assert_eq!(
            told(b"\x02\xA4\x03\x6A\x00\x5D"),
            "WBXML 1.2, DM tree description 1.2, UTF-8, root element MgmtTree"
        );
        assert_eq!(told(b"\x01\x00\x00\x04"), "WBXML 1.1, ISO-8859-1");
        assert_eq!(told(b"\x03"), "WBXML 1.3");
        assert_eq!(
            told(b"\xEF\xBB\xBF <?xml version=\"1.0\"?><!-- a --><wap-provisioningdoc x='1'>"),
            "XML, root element wap-provisioningdoc"
        );
        assert_eq!(told(b"<SyncML>"), "XML, root element SyncML");
        assert_eq!(told(b"<\x1b[31m"), "XML");
        assert_eq!((told(b"[{}]"), told(b""), told(b"\xFF")), (String::new(), String::new(), String::new()));
    }

    #[test]
    fn hostile_bytes_are_bounded() {
        assert_eq!(told(b"\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "WBXML 1.3");
        assert_eq!(told(&[b"<".as_slice(), &b"?".repeat(100_000), b"<a>"].concat()), "XML");
        assert_eq!(told(&[b"<".as_slice(), &b"a".repeat(100_000)].concat()).len(), "XML, root element ".len() + 64);
    }
}
