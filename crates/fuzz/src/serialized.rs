//! Serialized MOs: written ones are read as the same, typed ones conform to their definition, and as the body of an HGET
//! they change the tree wholly or not at all (spec 6.5, 5).

use omadm_core::access::Owner;
use omadm_core::json;
use omadm_core::mo::{MAX_BODY_BYTES, SerializedMo, parse_items, to_json_bytes};
use omadm_core::status::StatusCode;
use omadm_core::uri::ClientUri;

use crate::device::{Device, EXAMPLE, miid, moid};

pub(crate) fn run(bytes: &[u8]) {
    let device = Device::shared();
    let items = json::parse(bytes, MAX_BODY_BYTES).ok().and_then(|json| parse_items(&json).ok());
    if let Some(items) = &items {
        let written = to_json_bytes(items);
        let json = json::parse(&written, 2 * MAX_BODY_BYTES).expect("what was written is JSON");
        assert_eq!(parse_items(&json).as_ref(), Ok(items));
        for item in items.iter().take(16) {
            typed(device, item);
        }
    }
    hget(device, bytes, items.is_some(), &[]);
    let target: ClientUri = format!("{EXAMPLE}/left/").parse().expect("a ClientURI");
    hget(device, bytes, items.is_some(), &[target]);
}

/// An item that is an instance of some definition is written as one and read again.
fn typed(device: &Device, item: &SerializedMo) {
    for definition in device.definitions.iter() {
        let node = match item.to_node(definition) {
            Ok(node) => node,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let again = SerializedMo::of_instance(definition, &miid("a"), &node);
        let json = json::parse(&to_json_bytes(std::slice::from_ref(&again)), 4 * MAX_BODY_BYTES).expect("JSON");
        let again = parse_items(&json).expect("items");
        assert_eq!(again.first().map(|item| item.to_node(definition)), Some(Ok(node)));
    }
}

fn hget(device: &Device, body: &[u8], is_mo: bool, targets: &[ClientUri]) {
    let who = device.server();
    let mut tree = device.tree.clone();
    match tree.hget(&device.definitions, &who, targets, body) {
        Err(status) => {
            assert!(tree == device.tree, "a refused HGET changed the tree");
            assert!(status != StatusCode::OK);
        }
        Ok(made) => {
            assert!(is_mo);
            assert!(!targets.is_empty() || !made.is_empty());
            for text in made {
                let uri: ClientUri = text.parse().expect("a ClientURI");
                let instance = tree.instance(uri.moid(), uri.miid().expect("a MIID")).expect("the new instance");
                assert_eq!(*instance.owner(), Owner::Server(who.srv_id.clone()));
                assert!(device.tree.instance(uri.moid(), uri.miid().expect("a MIID")).is_none(), "it took a place");
                assert_eq!(*uri.moid(), moid(EXAMPLE), "only what can be made is made");
            }
        }
    }
}
