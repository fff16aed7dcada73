//! Serialized MOs: reading, writing, and the places that errors name.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn items(json: serde_json::Value) -> Vec<SerializedMo> {
    parse_items(&json).unwrap()
}

fn x() -> Definition {
    definitions().get(&moid(X)).unwrap().clone()
}

#[test]
fn an_item_is_taken_apart_and_put_together() {
    let text =
        r#"[{"DDF":"https://a.example/x","ClientURI":"urn:x:1.0/a/","CV":"1","MOData":{"X":{"ID":"a","Number":1}}}]"#;
    let item = items(serde_json::from_str(text).unwrap());
    assert_eq!(item[0].ddf.as_deref(), Some("https://a.example/x"));
    assert_eq!((item[0].client_uri.as_deref(), item[0].cv.as_deref()), (Some("urn:x:1.0/a/"), Some("1")));
    assert_eq!(item[0].leaf(&["ID"]).and_then(Scalar::as_text), Some("a"));
    assert_eq!((item[0].leaf(&["None"]), item[0].leaf(&[])), (None, None));
    assert_eq!(String::from_utf8(to_json_bytes(&item)).unwrap(), text);
    assert_eq!(serde_json::from_str::<Vec<SerializedMo>>(text).unwrap(), item);
    assert_eq!(items(json!([])), []);
    assert_eq!(items(json!({"MOData": {"Y": {}}})).len(), 1, "a bare object is an array of one");
}

#[test]
fn malformed_items_are_named_by_their_place_in_the_array() {
    let error = parse_items(&json!([{"MOData": {"X": {}}}, {"MOData": []}])).unwrap_err();
    assert_eq!(error.to_string(), "item 1: MOData as an object is expected");
    let error = parse_items(&json!({"MOData": {"X": {}}, "ClientURI": 5})).unwrap_err();
    assert_eq!(error.to_string(), "item 0: ClientURI as a string is expected");
}

#[test]
fn what_breaks_the_definition_is_named_by_its_client_uri() {
    let error = |data: serde_json::Value| {
        let item = json!({"ClientURI": "x:1.0/a/", "MOData": {"X": data}});
        items(item)[0].to_node(&x()).unwrap_err().to_string()
    };
    assert_eq!(error(json!({})), "urn:x:1.0/a/ID is missing");
    assert_eq!(error(json!({"ID": 5})), "urn:x:1.0/a/ID: the format chr is expected");
    assert_eq!(error(json!({"ID": {}})), "urn:x:1.0/a/ID: the format chr is expected");
    assert_eq!(
        error(json!({"ID": "a", "Data": {"1": {"No": 1}}})),
        "urn:x:1.0/a/Data/1/No: the definition has no such node"
    );
    assert_eq!(error(json!({"ID": "a", "Bytes": "???"})), "urn:x:1.0/a/Bytes: the format bin is expected");
    assert_eq!(error(json!({"ID": "a", "Few": {}})), "urn:x:1.0/a/Few/<x> is missing");
    let three = json!({"ID": "a", "Few": {"1": "", "2": "", "3": ""}});
    assert_eq!(error(three), "urn:x:1.0/a/Few/<x>: more nodes than the definition allows");
    let unnamed = items(json!({"MOData": {"X": {}}}))[0].to_node(&x()).unwrap_err();
    assert_eq!(unnamed.to_string(), "urn:x:1.0//ID is missing");
}

#[test]
fn a_whole_instance_is_written_with_what_nobody_may_read() {
    let root = Node::interior([("ID", Node::chr("a")), ("Hidden", Node::chr("h"))]);
    let definition = x().with_ddf("https://a.example/x".to_owned());
    let item = SerializedMo::of_instance(&definition, &miid("a"), &root);
    assert_eq!(item.ddf.as_deref(), Some("https://a.example/x"));
    assert_eq!(item.to_node(&x()).unwrap(), root);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![r"\PC{0,6}", any::<String>()]
}

/// A complete root of `urn:x:1.0`.
pub(super) fn any_root() -> impl Strategy<Value = Node> {
    let name = prop_oneof!["[1-3]", r"\PC{1,3}"].prop_filter("node names", |name| crate::uri::is_node_name(name));
    let leaf = |strategy: BoxedStrategy<Value>| prop::option::of(strategy.prop_map(Node::Leaf));
    let chr = || leaf(any_text().prop_map(Value::Chr).boxed());
    let entry = (chr(), chr()).prop_map(|(date, value)| {
        Node::interior([("Date", date), ("Value", value)].into_iter().filter_map(|(name, node)| Some((name, node?))))
    });
    let data = prop::option::of(prop::collection::btree_map(name, entry, 0..4).prop_map(Node::Interior));
    let float = any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::Float);
    (
        any_text(),
        chr(),
        data,
        leaf(any::<i32>().prop_map(Value::Int).boxed()),
        leaf(float.boxed()),
        leaf(any::<bool>().prop_map(Value::Bool).boxed()),
        leaf(any::<Vec<u8>>().prop_map(Value::Bin).boxed()),
        leaf(Just(Value::Null).boxed()),
        chr(),
    )
        .prop_map(|(id, setting, data, number, ratio, flag, bytes, nothing, hidden)| {
            let optional = [
                ("Setting", setting),
                ("Data", data),
                ("Number", number),
                ("Ratio", ratio),
                ("Flag", flag),
                ("Bytes", bytes),
                ("Nothing", nothing),
                ("Hidden", hidden),
            ];
            let mut children: BTreeMap<String, Node> =
                optional.into_iter().filter_map(|(name, node)| Some((name.to_owned(), node?))).collect();
            children.insert("ID".to_owned(), Node::chr(id));
            Node::Interior(children)
        })
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-zA-Z=/(:)]{0,6}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let name = prop::sample::select(vec!["MOData", "ClientURI", "CV", "X", "ID", "Data", "1", "Few"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::Array),
            prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(root in any_root()) {
        let item = SerializedMo::of_instance(&x(), &miid("a"), &root);
        let bytes = to_json_bytes(std::slice::from_ref(&item));
        let json = crate::json::parse(&bytes, 1 << 20).unwrap();
        let read = parse_items(&json).unwrap();
        prop_assert_eq!(read[0].to_node(&x()).unwrap(), root.clone());
        // The bytes of equal trees are equal.
        let again = SerializedMo::of_instance(&x(), &miid("a"), &read[0].to_node(&x()).unwrap());
        prop_assert_eq!(to_json_bytes(&[again]), bytes);
    }

    #[test]
    fn what_a_server_puts_it_gets_back(root in any_root()) {
        let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
        let mut item = SerializedMo::of_instance(&x(), &miid("a"), &root);
        item.client_uri = Some("urn:x:1.0//".to_owned());
        let body = String::from_utf8(to_json_bytes(&[item])).unwrap();
        let made = device.hget(&acme, &[], &body).unwrap();
        let read = device.get(&acme, &made[0]).unwrap().items.remove(0);
        let mut seen = root;
        seen.children_mut().unwrap().remove("Hidden");
        prop_assert_eq!(read.to_node(&x()).unwrap(), seen);
    }

    #[test]
    fn random_json_never_panics(json in any_json()) {
        let (mut device, acme) = Device::of_the_examples();
        for item in parse_items(&json).unwrap_or_default() {
            let _ = item.to_node(&x());
        }
        for targets in [&[][..], &["urn:x:1.0/left/"], &["urn:x:1.0/left/Data/1"], &["urn:x:1.0/left/ID"]] {
            let _ = device.hget(&acme, targets, &json.to_string());
        }
    }
}
