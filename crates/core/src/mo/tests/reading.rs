//! GET, HPUT and HPOST: the examples of spec 7, access types, cache validators.

use super::*;

#[test]
fn the_examples_of_section_7() {
    let (device, acme) = Device::of_the_examples();
    let table: &[(&str, Result<&[&str], StatusCode>)] = &[
        ("urn:x:1.0/left/", Ok(&["urn:x:1.0/left/"])),
        ("urn:x:1.0//", Err(StatusCode::CONFLICT)),
        ("urn:x:1.0/(x)/?nv=(x)/ID:Temperature", Ok(&["urn:x:1.0/right/"])),
        ("urn:x:1.0/(x)/Data/1/Value?nv=(x)/ID:GPS", Ok(&["urn:x:1.0/left/Data/1/Value"])),
        ("urn:x:1.0/right/Data/(x)/Value?nv=(x)/Date:12.1", Ok(&["urn:x:1.0/right/Data/1/Value"])),
        ("urn:x:1.0/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2", Ok(&["urn:x:1.0/left/Data/2/Value"])),
        ("urn:x:1.0/*/Setting", Ok(&["urn:x:1.0/left/Setting", "urn:x:1.0/right/Setting"])),
        (
            "urn:x:1.0/(x)/Data/*/Value?nv=(x)/ID:GPS",
            Ok(&["urn:x:1.0/left/Data/1/Value", "urn:x:1.0/left/Data/2/Value"]),
        ),
        ("urn:x:1.0/(x)/Data/*/Value?nv=(x)/ID:GPS&nv=(x)/Setting:0xB2", Err(StatusCode::NOT_FOUND)),
        (
            "urn:x:1.0/*/Data/*/Value",
            Ok(&[
                "urn:x:1.0/left/Data/1/Value",
                "urn:x:1.0/left/Data/2/Value",
                "urn:x:1.0/right/Data/1/Value",
                "urn:x:1.0/right/Data/2/Value",
            ]),
        ),
    ];
    for (text, expected) in table {
        let expected = expected.map(|uris| uris.iter().map(|uri| (*uri).to_owned()).collect());
        assert_eq!(device.uris(&acme, text), expected, "{text}");
    }
    assert_eq!(
        device.json(&acme, "urn:x:1.0/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2").unwrap(),
        r#"[{"ClientURI":"urn:x:1.0/left/Data/2/Value","MOData":{"X":{"Data":{"2":{"Value":"left at 12.2"}}}}}]"#
    );
}

#[test]
fn letters_match_one_node_each_time_anew_behind_a_star() {
    let (mut device, acme) = Device::of_the_examples();
    let value = "urn:x:1.0/*/Data/(y)/Value?nv=(y)/Date:12.1";
    assert_eq!(device.uris(&acme, value).unwrap().len(), 2);

    // None behind one of the stars leaves that one out, also where the way does not lead on.
    device.delete(&acme, "urn:x:1.0/left/Data/1").unwrap();
    assert_eq!(device.uris(&acme, value).unwrap(), ["urn:x:1.0/right/Data/1/Value"]);
    device.delete(&acme, "urn:x:1.0/left/Data").unwrap();
    assert_eq!(device.uris(&acme, value).unwrap(), ["urn:x:1.0/right/Data/1/Value"]);
    device.delete(&acme, "urn:x:1.0/right/Data/1/Value").unwrap();
    assert_eq!(device.uris(&acme, value), Err(StatusCode::NOT_FOUND));

    // Several are 409, with or without a star.
    let data = r#"{"MOData":{"X":{"Data":{"2":{"Date":"1"},"3":{"Date":"1"}}}}}"#;
    device.hget(&acme, &["urn:x:1.0/right/Data"], data).unwrap();
    for instance in ["*", "right"] {
        let text = format!("urn:x:1.0/{instance}/Data/(y)?nv=(y)/Date:1");
        assert_eq!(device.uris(&acme, &text), Err(StatusCode::CONFLICT), "{text}");
    }
    assert_eq!(device.uris(&acme, "urn:x:1.0/right/Data/(y)?nv=(y)/Date:2"), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.uris(&acme, "urn:x:1.0/(x)/?nv=(x)/ID:None"), Err(StatusCode::NOT_FOUND));
}

#[test]
fn a_letter_in_the_path_stands_for_named_nodes_too() {
    let (device, acme) = Device::of_the_examples();
    let text = "urn:x:1.0/left/(d)/1/Date?nv=(d)/2/Value:left%20at%2012.2";
    assert_eq!(device.uris(&acme, text).unwrap(), ["urn:x:1.0/left/Data/1/Date"]);
}

#[test]
fn conditions_compare_values_not_their_spelling() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let data = json!({"ID": "a:b&c", "Number": 7, "Ratio": 0.5, "Flag": true, "Bytes": "AAE=", "Nothing": null});
    device.make(&acme, X, "one", json!({"X": data}));
    for holds in ["ID:a:b%26c", "Number:7", "Number:+7", "Ratio:0.50", "Ratio:5e-1", "Flag:true", "Bytes:AAE="] {
        let text = format!("urn:x:1.0/(x)/?nv=(x)/{holds}");
        assert_eq!(device.uris(&acme, &text).unwrap(), ["urn:x:1.0/one/"], "{text}");
    }
    for fails in [
        "ID:a",
        "ID:",
        "Number:8",
        "Number:x",
        "Flag:1",
        "Bytes:AAE",
        "Nothing:",
        "Data:1",
        "Missing:1",
        "Nothing:null",
    ] {
        let text = format!("urn:x:1.0/(x)/?nv=(x)/{fails}");
        assert_eq!(device.uris(&acme, &text), Err(StatusCode::NOT_FOUND), "{text}");
    }
}

#[test]
fn the_empty_instance_is_the_only_one() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    assert_eq!(device.uris(&acme, "urn:x:1.0//"), Err(StatusCode::NOT_FOUND));
    device.make(&acme, X, "one", json!({"X": {"ID": "a"}}));
    assert_eq!(device.uris(&acme, "urn:x:1.0//ID").unwrap(), ["urn:x:1.0/one/ID"]);
}

#[test]
fn what_has_no_get_is_left_out_and_405_if_addressed() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let data = json!({"ID": "a", "Hidden": "secret", "Dark": {"Seen": "light"}, "Setting": "s"});
    device.make(&acme, X, "one", json!({"X": data}));
    let root = device.json(&acme, "urn:x:1.0/one/").unwrap();
    assert!(root.ends_with(r#""MOData":{"X":{"ID":"a","Setting":"s"}}}]"#), "{root}");
    for refused in ["Hidden", "Dark"] {
        assert_eq!(device.get(&acme, &format!("urn:x:1.0/one/{refused}")), Err(StatusCode::NOT_ALLOWED));
    }
    assert_eq!(device.uris(&acme, "urn:x:1.0/one/*").unwrap(), ["urn:x:1.0/one/ID", "urn:x:1.0/one/Setting"]);
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/Hidden"), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.uris(&acme, "urn:x:1.0/one/Dark/Seen").unwrap(), ["urn:x:1.0/one/Dark/Seen"]);
    // What cannot be read cannot be found out with nv either.
    assert_eq!(device.uris(&acme, "urn:x:1.0/(x)/?nv=(x)/Hidden:secret"), Err(StatusCode::NOT_FOUND));
}

#[test]
fn a_leaf_without_a_value_now_is_204_and_left_out_elsewhere() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[ddf::SESSIONINFO]));
    let root = Node::interior([("CBT", Node::Leaf(Value::Int(1))), ("ROAMING", Node::Leaf(Value::Null))]);
    device.put_local(ddf::SESSIONINFO, "1", root).unwrap();
    let text = |path: &str| format!("{}//{path}", ddf::SESSIONINFO);
    assert_eq!(device.get(&acme, &text("ROAMING")), Err(StatusCode::NO_VALUE));
    assert_eq!(device.uris(&acme, &text("*")).unwrap().len(), 1);
    let root = device.json(&acme, &text("")).unwrap();
    assert!(root.ends_with(r#""MOData":{"SessionInfo":{"CBT":1}}}]"#), "{root}");
}

#[test]
fn empty_interior_nodes_and_null_leaves_are_shown() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    device.make(&acme, X, "one", json!({"X": {"ID": "a", "Data": {}, "Nothing": null}}));
    let items = device.get(&acme, "urn:x:1.0/one/").unwrap().items;
    let expected = r#"{"X":{"ID":"a","Data":{},"Nothing":null}}"#;
    assert!(String::from_utf8(to_json_bytes(&items)).unwrap().contains(expected));
    assert_eq!(
        device.json(&acme, "urn:x:1.0/one/Nothing").unwrap(),
        r#"[{"ClientURI":"urn:x:1.0/one/Nothing","MOData":{"X":{"Nothing":null}}}]"#
    );
}

#[test]
fn validators_are_good_until_something_changes() {
    let (mut device, acme) = Device::of_the_examples();
    let cv = |device: &Device, name: &str| device.tree.instance(&moid(X), &miid(name)).unwrap().cv();
    let (left, right) = (cv(&device, "left"), cv(&device, "right"));
    assert_ne!(left, right);
    let root = device.get(&acme, "urn:x:1.0/left/").unwrap();
    assert_eq!(root.items[0].cv.as_ref(), Some(&left), "shown at the root");
    assert_eq!(device.get(&acme, "urn:x:1.0/left/ID").unwrap().items[0].cv, None, "and nowhere else");

    for path in ["", "ID", "Data/1/Value"] {
        let read = device.get(&acme, &format!("urn:x:1.0/left/{path}?cv={left}")).unwrap();
        assert_eq!((read.status(), read.items.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
    // With a star, those that changed are given.
    let some = device.uris(&acme, &format!("urn:x:1.0/*/?cv={left}")).unwrap();
    assert_eq!(some, ["urn:x:1.0/right/"]);

    device.hget(&acme, &["urn:x:1.0/left/ID"], r#"{"MOData":{"X":{"ID":"GPS"}}}"#).unwrap();
    assert_eq!(cv(&device, "left"), left, "the same value is no change");
    device.hget(&acme, &["urn:x:1.0/left/ID"], r#"{"MOData":{"X":{"ID":"Other"}}}"#).unwrap();
    let stale = device.get(&acme, &format!("urn:x:1.0/left/?cv={left}")).unwrap();
    assert_eq!(stale.items[0].cv.as_ref(), Some(&cv(&device, "left")));
    assert_ne!(cv(&device, "left"), left);
    assert_eq!(cv(&device, "right"), right);
    // A good validator gives no right and no node.
    let right_to_none = Server::new("other", &[X]);
    assert_eq!(device.get(&right_to_none, &format!("urn:x:1.0/right/?cv={right}")), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.get(&acme, &format!("urn:x:1.0/right/Missing?cv={right}")), Err(StatusCode::NOT_FOUND));
}

#[test]
fn a_validator_of_a_lost_tree_is_not_good_for_other_content() {
    let (acme, mut cvs) = (Server::new("acme", &[X]), Vec::new());
    for id in ["a", "b"] {
        let mut device = Device::new();
        device.make(&acme, X, "one", json!({"X": {"ID": id}}));
        cvs.push(device.tree.instance(&moid(X), &miid("one")).unwrap().cv());
    }
    assert_ne!(cvs[0], cvs[1]);
}

#[test]
fn an_upload_is_one_array_or_nothing() {
    let (device, acme) = Device::of_the_examples();
    let upload = |texts: &[&str]| {
        let uris: Vec<_> = texts.iter().map(|text| uri(text)).collect();
        device.tree.upload(&device.definitions, &acme.who(), &uris)
    };
    let body = |texts: &[&str]| match upload(texts).unwrap() {
        Upload::Body(bytes) => String::from_utf8(bytes).unwrap(),
        Upload::NotModified => "304".to_owned(),
    };
    assert_eq!(
        body(&["urn:x:1.0/right/ID", "urn:x:1.0/*/Setting", "urn:x:1.0/right/ID"]),
        concat!(
            r#"[{"ClientURI":"urn:x:1.0/right/ID","MOData":{"X":{"ID":"Temperature"}}},"#,
            r#"{"ClientURI":"urn:x:1.0/left/Setting","MOData":{"X":{"Setting":"0xA1"}}},"#,
            r#"{"ClientURI":"urn:x:1.0/right/Setting","MOData":{"X":{"Setting":"0xB2"}}},"#,
            r#"{"ClientURI":"urn:x:1.0/right/ID","MOData":{"X":{"ID":"Temperature"}}}]"#,
        )
    );
    assert_eq!(upload(&["urn:x:1.0/left/", "urn:x:1.0/left/None"]), Err(StatusCode::NOT_FOUND));
    assert_eq!(upload(&["urn:x:1.0//", "urn:x:1.0/left/None"]), Err(StatusCode::CONFLICT), "the first failure");
    assert_eq!(upload(&[]), Err(StatusCode::BAD_REQUEST));

    let cv = |name: &str| device.tree.instance(&moid(X), &miid(name)).unwrap().cv();
    let good = |name: &str, path: &str| format!("urn:x:1.0/{name}/{path}?cv={}", cv(name));
    assert_eq!(body(&[&good("left", ""), &good("right", "ID")]), "304");
    assert_eq!(
        body(&[&good("left", ""), "urn:x:1.0/right/ID?cv=old"]),
        r#"[{"ClientURI":"urn:x:1.0/right/ID","MOData":{"X":{"ID":"Temperature"}}}]"#
    );
    assert_eq!(upload(&[&good("left", ""), "urn:x:1.0/right/None"]), Err(StatusCode::NOT_FOUND));
}

#[test]
fn names_that_look_like_syntax_are_addressed_encoded() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let names = ["(x)", "*", "a/b?c&d", "\u{e9}: \u{1f600}", "%28"];
    let data: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!({"Date": "1", "Value": *name}))).collect();
    device.make(&acme, X, "one", json!({"X": {"ID": "a", "Data": data}}));
    let uris = device.uris(&acme, "urn:x:1.0/one/Data/*").unwrap();
    assert_eq!(uris.len(), names.len());
    for text in uris {
        assert_eq!(device.uris(&acme, &text).unwrap(), [text]);
    }
    assert!(device.json(&acme, "urn:x:1.0/one/Data/%28x%29/Value").unwrap().contains("\"Value\":\"(x)\""));
}

#[test]
fn a_person_at_the_device_sees_every_instance_but_no_hidden_node() {
    let (mut device, acme) = Device::of_the_examples();
    device.put_local(X, "mine", Node::interior([("ID", Node::chr("a")), ("Hidden", Node::chr("b"))])).unwrap();
    let read = device.tree.get_local(&device.definitions, &uri("urn:x:1.0/*/")).unwrap();
    assert_eq!(read.items.len(), 3);
    assert!(!String::from_utf8(to_json_bytes(&read.items)).unwrap().contains("Hidden"));
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/").unwrap().len(), 2);
}
