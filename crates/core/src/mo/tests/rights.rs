//! Who sees and may do what (spec 9).

use super::*;
use crate::access::Rights;

/// `left` and `right` of acme, one of the other server, one of the device.
fn shared() -> (Device, Server, Server) {
    let (mut device, acme) = Device::of_the_examples();
    let other = Server::new("other", &[X, ddf::DEVINFO]);
    device.make(&other, X, "theirs", json!({"X": {"ID": "GPS", "Setting": "s"}}));
    device.put_local(X, "mine", Node::interior([("ID", Node::chr("GPS"))])).unwrap();
    (device, acme, other)
}

#[test]
fn instances_without_any_right_are_invisible() {
    let (mut device, acme, other) = shared();
    assert_eq!(device.uris(&other, "urn:x:1.0//").unwrap(), ["urn:x:1.0/theirs/"], "the only one it can see");
    assert_eq!(device.uris(&other, "urn:x:1.0/*/").unwrap(), ["urn:x:1.0/theirs/"]);
    assert_eq!(device.uris(&other, "urn:x:1.0/(x)/?nv=(x)/ID:GPS").unwrap(), ["urn:x:1.0/theirs/"]);
    for hidden in ["left", "mine", "never"] {
        let text = format!("urn:x:1.0/{hidden}/");
        assert_eq!(device.get(&other, &text), Err(StatusCode::NOT_FOUND), "{hidden}");
        assert_eq!(device.delete(&other, &text), Err(StatusCode::NOT_FOUND), "{hidden}");
        let body = r#"{"MOData":{"X":{"ID":"x"}}}"#;
        assert_eq!(device.hget(&other, &[&text], body), Err(StatusCode::NOT_FOUND), "{hidden}");
    }
    device.delete(&other, "urn:x:1.0/*/").unwrap();
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/").unwrap().len(), 2, "a star deletes only what is its own");
    assert_eq!(device.owner(X, "mine"), Some(&Owner::Local));
}

#[test]
fn a_right_that_is_not_the_one_needed_is_403() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[ddf::DEVINFO, ddf::FUMO, X]));
    device.put_local(ddf::DEVINFO, "1", devinfo()).unwrap();
    let root = format!("{}/1/", ddf::DEVINFO);
    assert_eq!(device.delete(&acme, &root), Err(StatusCode::FORBIDDEN));
    assert_eq!(device.delete(&acme, &format!("{}/*/", ddf::DEVINFO)), Err(StatusCode::FORBIDDEN));
    let body = r#"{"MOData":{"DevInfo":{"Lang":"de"}}}"#;
    assert_eq!(device.hget(&acme, &[&format!("{root}Lang")], body), Err(StatusCode::FORBIDDEN));
    assert_eq!(device.hget(&acme, &[&format!("{}//Lang", ddf::DEVINFO)], body), Err(StatusCode::FORBIDDEN));

    let mut writer = Server::new("writer", &[ddf::FUMO]);
    writer.rights.narrow(&moid(ddf::FUMO), Rights::WRITE);
    let download = Node::interior([("PkgURL", Node::chr(""))]);
    device.put_local(ddf::FUMO, "1", Node::interior([("Download", download)])).unwrap();
    let text = |path: &str| format!("{}/{path}", ddf::FUMO);
    assert_eq!(device.get(&writer, &text("1/")), Err(StatusCode::FORBIDDEN));
    assert_eq!(device.get(&writer, &text("/")), Err(StatusCode::FORBIDDEN));
    assert_eq!(device.get(&writer, &text("*/")), Err(StatusCode::NOT_FOUND), "a star leaves out what is not readable");
    assert_eq!(device.get(&writer, &text("(x)/?nv=(x)/Download/PkgURL:")), Err(StatusCode::NOT_FOUND));
    let target = text("1/(d)/PkgURL?nv=(d)/PkgURL:");
    let body = r#"{"MOData":{"FUMO":{"Download":{"PkgURL":"https://a.example/p"}}}}"#;
    assert_eq!(device.hget(&writer, &[&target], body), Err(StatusCode::NOT_FOUND), "nv needs Read");
    assert_eq!(device.hget(&writer, &[&text("1/Download/PkgURL")], body), Ok(vec![]));
    assert_eq!(device.owner(ddf::FUMO, "1"), Some(&Owner::Local), "writing makes nobody the owner");
}

#[test]
fn a_moid_that_is_not_listed_is_403_before_all_else() {
    let (mut device, _, _) = shared();
    let stranger = Server::new("stranger", &["urn:not:supported:1.0"]);
    for text in ["urn:x:1.0/left/", "urn:x:1.0/never/", "urn:unknown:mo:1.0//", "urn:x:1.0/*/"] {
        assert_eq!(device.get(&stranger, text), Err(StatusCode::FORBIDDEN), "{text}");
        assert_eq!(device.delete(&stranger, text), Err(StatusCode::FORBIDDEN), "{text}");
    }
    assert_eq!(device.get(&stranger, "urn:not:supported:1.0//"), Err(StatusCode::NOT_FOUND));
    let make = |moid: &str| format!(r#"[{{"ClientURI":"{moid}//","MOData":{{"X":{{"ID":"a"}}}}}}]"#);
    assert_eq!(device.hget(&stranger, &[], &make(X)), Err(StatusCode::FORBIDDEN));
    assert_eq!(device.hget(&stranger, &[], &make("urn:not:supported:1.0")), Err(StatusCode::NOT_FOUND));
}

#[test]
fn rights_end_when_the_moid_is_listed_no_more() {
    let (device, mut acme) = Device::of_the_examples();
    acme.listed.clear();
    assert_eq!(device.get(&acme, "urn:x:1.0/left/"), Err(StatusCode::FORBIDDEN));
}

#[test]
fn accounts_are_never_changed_by_a_server_and_only_its_own_is_seen() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[ddf::DMACC]));
    for name in ["acme", "other"] {
        let leaves = [("SrvID", name), ("SrvURI", "https://dm.example/dm"), ("Name", name)];
        let trsp = Node::interior([("Data", Node::Leaf(Value::Bin(b"basic:u".to_vec())))]);
        let mut root = Node::interior(leaves.map(|(leaf, text)| (leaf, Node::chr(text))));
        root.children_mut().unwrap().insert("Auth".to_owned(), Node::interior([("Trsp", trsp)]));
        device.put_local(ddf::DMACC, name, root).unwrap();
    }
    let text = |path: &str| format!("{}/{path}", ddf::DMACC);
    assert_eq!(device.uris(&acme, &text("*/")).unwrap(), [text("acme/")]);
    assert_eq!(device.uris(&acme, &text("/SrvID")).unwrap(), [text("acme/SrvID")]);
    assert_eq!(device.get(&acme, &text("other/")), Err(StatusCode::NOT_FOUND));

    let body = r#"{"MOData":{"DMAcc":{"Name":"x"}}}"#;
    let unlisted = Server::new("unlisted", &[]);
    for server in [&acme, &unlisted] {
        for path in ["acme/", "acme/Name", "other/Name", "never/", "*/", "/"] {
            assert_eq!(device.delete(server, &text(path)), Err(StatusCode::NOT_ALLOWED), "{path}");
        }
        assert_eq!(device.hget(server, &[&text("acme/Name")], body), Err(StatusCode::NOT_ALLOWED));
        let make = format!(r#"[{{"ClientURI":"{}new/","MOData":{{"DMAcc":{{"Name":"x"}}}}}}]"#, text(""));
        assert_eq!(device.hget(server, &[], &make), Err(StatusCode::NOT_ALLOWED));
    }
}

#[test]
fn only_listed_mos_and_visible_instances_are_reported() {
    let (mut device, acme, other) = shared();
    device.put_local(ddf::DEVINFO, "1", devinfo()).unwrap();
    let listed = |server: &Server| {
        let mos = device.tree.listed_instances(&device.definitions, &server.who());
        let text = |(moid, miids): &(Moid, Vec<Miid>)| {
            format!("{moid} {}", miids.iter().map(Miid::as_str).collect::<Vec<_>>().join(","))
        };
        mos.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(listed(&acme), ["urn:x:1.0 left,right"]);
    assert_eq!(listed(&other), ["urn:oma:mo:oma-dm-devinfo:1.2 1", "urn:x:1.0 theirs"]);
    assert_eq!(
        listed(&Server::new("third", &[ddf::SESSIONINFO, X, "urn:not:supported:1.0"])),
        ["urn:oma:mo:oma-sessioninfomo:1.0 ", "urn:x:1.0 "]
    );
}

#[test]
fn instances_of_a_removed_server_go_to_the_local_application() {
    let (mut device, acme, other) = shared();
    device.tree.hand_to_local(&acme.srv_id);
    assert_eq!(device.get(&acme, "urn:x:1.0/left/"), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.owner(X, "left"), Some(&Owner::Local));
    assert_eq!(device.owner(X, "theirs"), Some(&Owner::Server(other.srv_id)));
}

#[test]
fn what_a_bootstrap_message_adds_counts_on_what_the_device_made() {
    let (mut device, _, mut other) = shared();
    let (root, body) = ("urn:x:1.0/mine/Setting", r#"{"MOData":{"X":{"Setting":"new"}}}"#);
    assert!(other.given.add(&moid(X), &miid("mine"), Rights::READ | Rights::WRITE));
    assert!(other.given.add(&moid(X), &miid("left"), Rights::READ));
    assert_eq!(device.uris(&other, "urn:x:1.0/*/").unwrap(), ["urn:x:1.0/mine/", "urn:x:1.0/theirs/"]);
    assert_eq!(device.get(&other, "urn:x:1.0/left/"), Err(StatusCode::NOT_FOUND), "that is another server's");
    device.hget(&other, &[root], body).unwrap();
    assert_eq!(device.owner(X, "mine"), Some(&Owner::Local));
    other.rights.narrow(&moid(X), Rights::READ);
    assert_eq!(device.hget(&other, &[root], body), Err(StatusCode::FORBIDDEN), "the device's owner has the last word");
}
