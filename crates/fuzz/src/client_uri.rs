//! A ClientURI that is read can be written and read again, and whatever a server does by one keeps the tree sound
//! (spec 7, 5).
//!
//! The input is one ClientURI a line: the first is read, deleted and uploaded, all together are targets of HGET.

use omadm_core::mo::{Tree, Upload};
use omadm_core::uri::{ClientUri, MAX_CONDITIONS, MAX_LENGTH, parse_lenient};

use crate::device::{DMACC, Device, moid};

/// The nodes of the device's tree are fewer than this.
const MOST_NODES: usize = 200;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let uris: Vec<ClientUri> = text.lines().take(8).filter_map(parsed).collect();
    let Some(first) = uris.first() else { return };
    let device = Device::shared();
    get(device, first);
    unchanged_if_refused(device, |tree| tree.delete(&device.definitions, &device.server(), first).is_ok());
    let body = r#"[{"MOData":{"Example":{"Name":"new","Target":1.0}}}]"#;
    unchanged_if_refused(device, |tree| {
        tree.hget(&device.definitions, &device.server(), &uris, body.as_bytes()).is_ok()
    });
    if let Ok(Upload::Body(body)) = device.tree.upload(&device.definitions, &device.server(), &uris) {
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
    }
}

fn parsed(text: &str) -> Option<ClientUri> {
    let lenient = parse_lenient(text);
    let uri = match text.parse::<ClientUri>() {
        Ok(uri) => uri,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    assert_eq!(lenient.as_ref(), Ok(&uri));
    let written = uri.to_string();
    assert!(text.len() <= MAX_LENGTH && written.len() <= MAX_LENGTH);
    assert_eq!(written.parse().as_ref(), Ok(&uri), "{written}");
    assert_eq!(written, written.parse::<ClientUri>().expect("read again").to_string());
    assert!(uri.conditions().len() <= MAX_CONDITIONS);
    Some(uri)
}

/// Each item that GET gives names one node, which gives the same again.
fn get(device: &Device, uri: &ClientUri) {
    let who = device.server();
    let Ok(read) = device.tree.get(&device.definitions, &who, uri) else { return };
    assert!(read.items.len() <= MOST_NODES);
    assert!(read.not_modified == read.items.is_empty());
    for item in &read.items {
        let own: ClientUri = item.client_uri.as_deref().expect("a ClientURI").parse().expect("a valid one");
        assert!(!own.has_wildcard() && own.conditions().is_empty() && own.moid() == uri.moid());
        let again = device.tree.get(&device.definitions, &who, &own).expect("what was shown is there");
        assert_eq!(again.items, std::slice::from_ref(item));
    }
}

/// Applies a command to a copy of the tree. A refused one changes nothing, and none touches accounts.
fn unchanged_if_refused(device: &Device, command: impl FnOnce(&mut Tree) -> bool) {
    let mut tree = device.tree.clone();
    let accepted = command(&mut tree);
    assert!(accepted || tree == device.tree, "a refused command changed the tree");
    let accounts = |tree: &Tree| tree.instances(&moid(DMACC)).map(|(miid, one)| (miid.clone(), one.clone())).collect();
    let (before, after): (Vec<_>, Vec<_>) = (accounts(&device.tree), accounts(&tree));
    assert_eq!(before, after, "a server changed accounts");
}
