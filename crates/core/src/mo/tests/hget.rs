//! HGET with targets: nodes are replaced, all or nothing (Profile P-29).

use super::*;

const BAD: Result<Vec<String>, StatusCode> = Err(StatusCode::BAD_REQUEST);
const REFUSED: Result<Vec<String>, StatusCode> = Err(StatusCode::NOT_ALLOWED);

fn done() -> Result<Vec<String>, StatusCode> {
    Ok(Vec::new())
}

fn one(data: serde_json::Value) -> (Device, Server) {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    device.make(&acme, X, "one", json!({"X": data}));
    (device, acme)
}

/// The node `one`, as the tree holds it.
fn node(device: &Device) -> &Node {
    device.tree.instance(&moid(X), &miid("one")).unwrap().root()
}

#[test]
fn a_subtree_is_replaced_exactly() {
    let (mut device, acme) = one(json!({"ID": "a", "Data": {"1": {"Date": "d", "Value": "v"}, "2": {"Date": "d"}}}));
    let body = r#"{"MOData":{"X":{"Data":{"2":{"Value":"new"},"3":{}}}}}"#;
    assert_eq!(device.hget(&acme, &["urn:x:1.0/one/Data"], body), done());
    let data =
        Node::interior([("2", Node::interior([("Value", Node::chr("new"))])), ("3", Node::interior::<&str>([]))]);
    assert_eq!(node(&device).at(&["Data"]), Some(&data));
    assert_eq!(node(&device).text(&["ID"]), Some("a"), "what is beside it stays");
    assert_eq!(device.hget(&acme, &["urn:x:1.0/one/Data"], r#"{"MOData":{"X":{"Data":{}}}}"#), done());
    assert_eq!(node(&device).at(&["Data"]), Some(&Node::interior::<&str>([])));
}

#[test]
fn the_root_is_replaced_and_the_instance_stays() {
    let (mut device, acme) = one(json!({"ID": "a", "Setting": "s"}));
    assert_eq!(device.hget(&acme, &["urn:x:1.0//"], r#"[{"MOData":{"Anything":{"ID":"b"}}}]"#), done());
    assert_eq!(*node(&device), Node::interior([("ID", Node::chr("b"))]));
    // ID must be there, and has no Delete.
    assert_eq!(device.hget(&acme, &["urn:x:1.0//"], r#"{"MOData":{"X":{}}}"#), REFUSED);
}

#[test]
fn targets_are_resolved_before_the_first_item_is_put_in() {
    let (mut device, acme) = Device::of_the_examples();
    let by_id = |path: &str| format!("urn:x:1.0/(x)/{path}?nv=(x)/ID:GPS");
    let body = r#"[{"MOData":{"X":{"ID":"Other"}}},{"MOData":{"X":{"Setting":"s"}}}]"#;
    assert_eq!(device.hget(&acme, &[&by_id("ID"), &by_id("Setting")], body), done());
    let left = device.tree.instance(&moid(X), &miid("left")).unwrap().root();
    assert_eq!((left.text(&["ID"]), left.text(&["Setting"])), (Some("Other"), Some("s")));
}

#[test]
fn later_items_may_stand_below_earlier_ones_not_the_other_way_round() {
    let (mut device, acme) = one(json!({"ID": "a"}));
    let (data, date) = (r#"{"MOData":{"X":{"Data":{"1":{}}}}}"#, r#"{"MOData":{"X":{"Data":{"1":{"Date":"d"}}}}}"#);
    let targets = ["urn:x:1.0/one/Data", "urn:x:1.0/one/Data/1/Date"];
    assert_eq!(device.hget(&acme, &[targets[1], targets[0]], &format!("[{date},{data}]")), REFUSED);
    assert_eq!(device.hget(&acme, &targets, &format!("[{data},{date}]")), done());
    assert_eq!(node(&device).text(&["Data", "1", "Date"]), Some("d"));
    // What is known beforehand says so.
    let check = |targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|text| uri(text)).collect();
        device.tree.check_hget(&device.definitions, &acme.who(), &targets)
    };
    assert_eq!(check(&["urn:x:1.0/one/Data/9/Date"]), Err(StatusCode::NOT_ALLOWED));
    assert_eq!(check(&["urn:x:1.0/one/Data/9", "urn:x:1.0/one/Data/9/Date"]), Ok(()));
    assert_eq!(check(&[]), Ok(()));
}

#[test]
fn one_item_for_each_target_in_their_order() {
    let (mut device, acme) = one(json!({"ID": "a"}));
    let targets = ["urn:x:1.0/one/ID", "urn:x:1.0/one/Setting"];
    let (id, setting) = (r#"{"MOData":{"X":{"ID":"b"}}}"#, r#"{"MOData":{"X":{"Setting":"s"}}}"#);
    for body in [format!("[{setting},{id}]"), format!("[{id}]"), format!("[{id},{setting},{setting}]"), "[]".into()] {
        assert_eq!(device.hget(&acme, &targets, &body), BAD, "{body}");
    }
    assert_eq!(device.hget(&acme, &targets, &format!("[{id},{setting}]")), done());
    // The second fails: the first is not there either (the helper compares the trees).
    let bad = r#"{"MOData":{"X":{"Setting":1}}}"#;
    assert_eq!(device.hget(&acme, &targets, &format!("[{id},{bad}]")), BAD);
}

#[test]
fn an_items_own_uri_must_mean_the_target() {
    let (mut device, acme) = Device::of_the_examples();
    let body = |uri: &str| format!(r#"[{{"ClientURI":"{uri}","MOData":{{"X":{{"Setting":"s"}}}}}}]"#);
    let target = "urn:x:1.0/(x)/Setting?nv=(x)/ID:GPS";
    for good in ["urn:x:1.0/left/Setting", "x:1.0/left/Setting", target, "urn:x:1.0/left/Settin%67"] {
        assert_eq!(device.hget(&acme, &[target], &body(good)), done(), "{good}");
    }
    for bad in ["urn:x:1.0/right/Setting", "urn:x:1.0/left/", "urn:x:1.0//Setting", "urn:x:1.0/*/Setting", "?", "", X] {
        assert_eq!(device.hget(&acme, &[target], &body(bad)), BAD, "{bad}");
    }
}

#[test]
fn access_types_decide() {
    let (mut device, acme) = one(json!({"ID": "a", "Hidden": "h", "Data": {"1": {}}}));
    // The device itself may put in what a server cannot make.
    let mut root = node(&device).clone();
    root.children_mut().unwrap().insert("Fixed".to_owned(), Node::chr("f"));
    assert_eq!(device.put_local(X, "one", root), Ok(true));

    let mut put = |path: &str, data: &str| {
        device.hget(&acme, &[&format!("urn:x:1.0/one/{path}")], &format!(r#"{{"MOData":{{"X":{data}}}}}"#))
    };
    assert_eq!(put("Fixed", r#"{"Fixed":"g"}"#), REFUSED, "no Replace");
    assert_eq!(put("", r#"{"ID":"a"}"#), REFUSED, "Fixed cannot be deleted");
    assert_eq!(put("", r#"{"ID":"a","Fixed":"f"}"#), REFUSED, "nor given, even with the value that it has");
    assert_eq!(put("Nothing/Below", r#"{"Nothing":{"Below":"x"}}"#), REFUSED, "a leaf has no children");
    assert_eq!(put("ID/Below", r#"{"ID":{"Below":"x"}}"#), REFUSED);
    assert_eq!(put("Undefined", r#"{"Undefined":"x"}"#), REFUSED);
    assert_eq!(put("Data/2/Date", r#"{"Data":{"2":{"Date":"x"}}}"#), REFUSED, "no parent");
    assert_eq!(put("Data/2", r#"{"Data":{"2":{}}}"#), done());
    assert_eq!(put("Data/2/Date", r#"{"Data":{"2":{"Date":"x"}}}"#), done());
    assert_eq!(put("Hidden", r#"{"Hidden":"other"}"#), done(), "what cannot be read can be replaced");
    assert_eq!(put("Dark", r#"{"Dark":{"Seen":"x"}}"#), done());
}

#[test]
fn a_node_more_than_allowed_or_fewer_is_refused() {
    let (mut device, acme) = one(json!({"ID": "a"}));
    let mut put = |path: &str, few: &str| {
        let body = format!(r#"{{"MOData":{{"X":{{"Few":{few}}}}}}}"#);
        device.hget(&acme, &[&format!("urn:x:1.0/one/Few{path}")], &body)
    };
    assert_eq!(put("", "{}"), BAD, "one at least");
    assert_eq!(put("", r#"{"1":"a","2":"b","3":"c"}"#), BAD, "two at most");
    assert_eq!(put("", r#"{"1":"a"}"#), done());
    assert_eq!(put("/2", r#"{"2":"b"}"#), done());
    assert_eq!(put("/3", r#"{"3":"c"}"#), REFUSED);
    assert_eq!(put("/2", r#"{"2":"c"}"#), done());
}

#[test]
fn data_beside_the_way_to_the_target_are_refused() {
    let (mut device, acme) = one(json!({"ID": "a", "Data": {"1": {}}}));
    let target = "urn:x:1.0/one/Data/1/Date";
    for data in [
        r#"{"Data":{"1":{"Date":"d","Value":"v"}}}"#,
        r#"{"Data":{"1":{"Date":"d"}},"ID":"b"}"#,
        r#"{"Data":{"2":{"Date":"d"}}}"#,
        r#"{"Data":{"1":{}}}"#,
        r#"{"Data":"1"}"#,
        r#"{"Date":"d"}"#,
        "{}",
        r#""d""#,
    ] {
        assert_eq!(device.hget(&acme, &[target], &format!(r#"{{"MOData":{{"X":{data}}}}}"#)), BAD, "{data}");
    }
}

#[test]
fn content_that_is_no_mo_is_refused() {
    let (mut device, acme) = one(json!({"ID": "a"}));
    for body in [
        "",
        "x",
        "[]",
        "null",
        "[1]",
        "{}",
        r#"{"MOData":1}"#,
        r#"{"MOData":{}}"#,
        r#"{"MOData":{"X":{"ID":"a"},"Y":{}}}"#,
        r#"{"MOData":{"X":{"ID":"a","ID":"b"}}}"#,
        r#"{"MOData":{"X":{"ID":["a"]}}}"#,
        r#"{"MOData":{"X":{"ID":"a"}},"CV":1}"#,
        r#"{"MOData":{"X":{"ID":"a"}},"ClientURI":1}"#,
        r#"{"MOData":{"X":{"ID":"a","Unknown":"b"}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Number":"many"}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Number":null}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Data":"x"}}}"#,
        r#"{"MOData":{"X":{"ID":{"a":"b"}}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Data":{"":{}}}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Data":{"..":{}}}}}"#,
        r#"{"MOData":{"X":{"ID":"a","Data":{"a\nb":{}}}}}"#,
        r#"{"MOData":{"X":{"ID":"a"}}} trailing"#,
    ] {
        assert_eq!(device.hget(&acme, &["urn:x:1.0/one/"], body), BAD, "{body}");
    }
    let deep = format!(r#"{{"MOData":{{"X":{}1{}}}}}"#, r#"{"a":"#.repeat(40), "}".repeat(40));
    assert_eq!(device.hget(&acme, &["urn:x:1.0/one/"], &deep), BAD);
    let unknown_members = r#"{"MOData":{"X":{"ID":"b"}},"Whatever":[1],"DDF":"https://a.example/x.ddf"}"#;
    assert_eq!(device.hget(&acme, &["urn:x:1.0/one/"], unknown_members), done());
}

#[test]
fn targets_mean_one_node() {
    let (mut device, acme) = Device::of_the_examples();
    let body = r#"{"MOData":{"X":{"ID":"x"}}}"#;
    assert_eq!(device.hget(&acme, &["urn:x:1.0/*/ID"], body), BAD, "one item cannot be the content of several");
    assert_eq!(device.hget(&acme, &["urn:x:1.0//ID"], body), Err(StatusCode::CONFLICT));
    assert_eq!(device.hget(&acme, &["urn:x:1.0/never/ID"], body), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.hget(&acme, &["urn:x:1.0/never/"], body), Err(StatusCode::NOT_FOUND));
    let (none, several) =
        ("urn:x:1.0/left/Data/(y)?nv=(y)/Date:0", "urn:x:1.0/left/(y)/9/(z)?nv=(y)/1/Date:12.1&nv=(z)/A:1");
    assert_eq!(device.hget(&acme, &[none], body), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.hget(&acme, &[several], body), Err(StatusCode::NOT_FOUND), "no letter below what is missing");
    assert_eq!(device.hget(&acme, &["urn:x:1.0/left/ID?cv=whatever"], body), done(), "a validator means nothing here");
}

#[test]
fn an_instance_that_lacks_what_it_should_have_can_be_written_still() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[ddf::FUMO]));
    let download = Node::interior([("PkgURL", Node::chr(""))]);
    device.put_local(ddf::FUMO, "1", Node::interior([("Download", download)])).unwrap();
    let target = format!("{}//Download/PkgURL", ddf::FUMO);
    let body = r#"{"MOData":{"FUMO":{"Download":{"PkgURL":"https://a.example/p"}}}}"#;
    assert_eq!(device.hget(&acme, &[&target], body), done());
}
