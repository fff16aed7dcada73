//! The tree itself: MIIDs, what the device puts in, and its form in the state file.

use super::*;

fn id(text: &str) -> Node {
    Node::interior([("ID", Node::chr(text))])
}

#[test]
fn miids_are_never_used_again() {
    let mut tree = Tree::new();
    let (x, other) = (moid(X), moid(SETPOINT));
    assert_eq!(tree.assign_miid(&x, None), miid("k1"));
    assert_eq!(tree.assign_miid(&x, Some(&miid("k3"))), miid("k3"), "a wish that looks like the counter's");
    assert_eq!(tree.assign_miid(&x, None), miid("k2"));
    assert_eq!(tree.assign_miid(&x, None), miid("k4"));
    for used in ["k1", "k3", "k4"] {
        assert_ne!(tree.assign_miid(&x, Some(&miid(used))), miid(used));
    }
    assert_eq!(tree.assign_miid(&x, Some(&miid("k04"))), miid("k04"), "another name");
    for moid in [&x, &other] {
        assert_eq!(tree.assign_miid(moid, Some(&miid("same"))), miid("same"), "MIIDs are unique within their MOID");
    }

    let mut device = Device::new();
    device.put_local(X, "local", id("a")).unwrap();
    assert!(device.tree.remove(&x, &miid("local")) && !device.tree.remove(&x, &miid("local")));
    assert_eq!(device.tree.assign_miid(&x, Some(&miid("local"))), miid("k1"));
    assert_eq!(device.put_local(X, "local", id("a")), Ok(true), "the device means the same thing as before");
}

#[test]
fn wishes_are_granted_up_to_a_limit() {
    let mut tree = Tree::new();
    for n in 0..MAX_WISHES {
        let wish = miid(&format!("w{n}"));
        assert_eq!(tree.assign_miid(&moid(if n % 2 == 0 { X } else { SETPOINT }), Some(&wish)), wish);
    }
    assert_eq!(tree.assign_miid(&moid(X), Some(&miid("one-more"))), miid("k1"));
}

#[test]
fn the_device_puts_in_what_the_definition_knows() {
    let mut device = Device::new();
    assert_eq!(device.put_local(X, "a", id("1")), Ok(true));
    assert_eq!(device.put_local(X, "a", id("1")), Ok(false));
    assert_eq!(device.put_local(X, "a", id("2")), Ok(true));
    assert_eq!(device.put_local(X, "b", Node::interior::<&str>([])), Ok(true), "a device may lack a value");

    let mut refused = |moid: &str, node: Node| device.put_local(moid, "c", node).unwrap_err().to_string();
    assert_eq!(refused("urn:not:known:1.0", id("a")), "urn:not:known:1.0 is not supported here");
    assert_eq!(refused(X, Node::chr("a")), "urn:x:1.0/c/: the format node is expected");
    assert_eq!(refused(X, Node::interior([("No", Node::chr("a"))])), "urn:x:1.0/c/No: the definition has no such node");
    let number = Node::interior([("Number", Node::chr("a"))]);
    assert_eq!(refused(X, number), "urn:x:1.0/c/Number: the format int is expected");
    let ratio = Node::interior([("Ratio", Node::Leaf(Value::Float(f32::NAN)))]);
    assert_eq!(refused(X, ratio), "urn:x:1.0/c/Ratio: the format float is expected");
    let named = Node::interior([("Data", Node::interior([("a\u{7}", Node::interior::<&str>([]))]))]);
    assert!(refused(X, named).ends_with(": not a node name"));
    assert_eq!(device.tree.instances(&moid(X)).count(), 2);
}

#[test]
fn an_instance_of_a_server_stays_its_own_when_the_device_changes_it() {
    let (mut device, acme) = Device::of_the_examples();
    assert_eq!(device.put_local(X, "left", id("x")), Ok(true));
    assert_eq!(device.owner(X, "left"), Some(&Owner::Server(acme.srv_id)));
}

#[test]
fn names_of_the_devices_own_choice_are_bounded() {
    let mut device = Device::new();
    for n in 0..MAX_CHOSEN {
        device.put_local(X, &format!("n{n}"), id("a")).unwrap();
    }
    assert_eq!(device.put_local(X, "more", id("a")), Err(MoError::TooManyNames));
    let assigned = device.tree.assign_miid(&moid(X), None);
    assert_eq!(device.put_local(X, assigned.as_str(), id("a")), Ok(true));
}

#[test]
fn the_state_file_keeps_the_tree_as_it_is() {
    let (mut device, acme) = Device::of_the_examples();
    let data = json!({"X": {"ID": "\u{0}\u{1f600}", "Number": -5, "Ratio": 0.1, "Flag": false, "Bytes": "AP8=", "Nothing": null}});
    device.make(&acme, X, "", data);
    device.put_local(ddf::DEVINFO, "1", devinfo()).unwrap();
    let text = serde_json::to_string(&device.tree).unwrap();
    let mut read: Tree = serde_json::from_str(&text).unwrap();
    assert!(read == device.tree);
    assert_eq!(read.assign_miid(&moid(X), Some(&miid("left"))), miid("k2"), "and what was given away");
    insta::assert_json_snapshot!(device.tree.instance(&moid(X), &miid("k1")));
}

#[test]
fn nodes_that_a_new_definition_does_not_know_are_as_if_not_there() {
    let (mut device, acme) = Device::of_the_examples();
    device.definitions.insert(Definition::from_rows(moid(X), &X_ROWS[..3]).unwrap());
    assert_eq!(device.get(&acme, "urn:x:1.0/left/Data"), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.uris(&acme, "urn:x:1.0/left/*").unwrap().len(), 2);
    assert!(!device.json(&acme, "urn:x:1.0/left/").unwrap().contains("\"Data\""));
    device.hget(&acme, &["urn:x:1.0/left/"], r#"{"MOData":{"X":{"ID":"a"}}}"#).unwrap();
}
