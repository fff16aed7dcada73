//! DELETE.

use super::*;

#[test]
fn a_node_goes_with_all_below_it() {
    let (mut device, acme) = Device::of_the_examples();
    device.delete(&acme, "urn:x:1.0/left/Data").unwrap();
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/Data/*/Date").unwrap().len(), 2);
    device.delete(&acme, "urn:x:1.0/(x)/Data/(y)?nv=(x)/ID:Temperature&nv=(y)/Date:12.1").unwrap();
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/Data/*").unwrap(), ["urn:x:1.0/right/Data/2"]);
    device.delete(&acme, "urn:x:1.0/right/").unwrap();
    device.delete(&acme, "urn:x:1.0//").unwrap();
    assert_eq!(device.delete(&acme, "urn:x:1.0//"), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.tree.iter().count(), 0);
}

#[test]
fn what_is_not_there_is_404_and_what_must_stay_405() {
    let (mut device, acme) = Device::of_the_examples();
    for missing in ["left/Number", "left/Data/9", "left/Data/9/Date", "left/Undefined", "*/Number", "never/"] {
        assert_eq!(device.delete(&acme, &format!("urn:x:1.0/{missing}")), Err(StatusCode::NOT_FOUND), "{missing}");
    }
    assert_eq!(device.delete(&acme, "urn:x:1.0//"), Err(StatusCode::CONFLICT));
    assert_eq!(device.delete(&acme, "urn:x:1.0/left/ID"), Err(StatusCode::NOT_ALLOWED), "no Delete");

    device.put_local(ddf::FUMO, "1", Node::interior([("State", Node::Leaf(Value::Int(10)))])).unwrap();
    let server = Server::new("acme", &[ddf::FUMO]);
    for path in ["1/", "/", "*/", "1/State"] {
        assert_eq!(device.delete(&server, &format!("{}/{path}", ddf::FUMO)), Err(StatusCode::NOT_ALLOWED), "{path}");
    }
}

#[test]
fn a_star_deletes_all_or_none() {
    let (mut device, acme) = Device::of_the_examples();
    assert_eq!(device.delete(&acme, "urn:x:1.0/left/*"), Err(StatusCode::NOT_ALLOWED), "ID stays, so all stay");
    device.hget(&acme, &["urn:x:1.0/left/Hidden"], r#"{"MOData":{"X":{"Hidden":"h"}}}"#).unwrap();
    device.delete(&acme, "urn:x:1.0/*/Hidden").unwrap();
    assert_eq!(device.delete(&acme, "urn:x:1.0/left/Hidden"), Err(StatusCode::NOT_FOUND), "no Get is needed");
    device.delete(&acme, "urn:x:1.0/*/Data/*/Value").unwrap();
    assert_eq!(device.uris(&acme, "urn:x:1.0/*/Data/*/*").unwrap().len(), 4);
    device.delete(&acme, "urn:x:1.0/*/").unwrap();
    assert_eq!(device.tree.iter().count(), 0);
}

#[test]
fn the_last_of_those_that_must_be_there_stays() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    device.make(&acme, X, "one", json!({"X": {"ID": "a", "Few": {"1": "a", "2": "b"}}}));
    assert_eq!(device.delete(&acme, "urn:x:1.0/one/Few/*"), Err(StatusCode::NOT_ALLOWED));
    device.delete(&acme, "urn:x:1.0/one/Few/1").unwrap();
    assert_eq!(device.delete(&acme, "urn:x:1.0/one/Few/2"), Err(StatusCode::NOT_ALLOWED));
    device.delete(&acme, "urn:x:1.0/one/Few").unwrap();
}

#[test]
fn the_last_instance_of_those_that_must_be_there_stays() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let rows = [Row { occurrence: Occurrence::OneOrMore, ..X_ROWS[0] }].into_iter().chain(X_ROWS[1..].iter().copied());
    device.definitions.insert(Definition::from_rows(moid(X), &rows.collect::<Vec<_>>()).unwrap());
    for wish in ["a", "b"] {
        device.make(&acme, X, wish, json!({"X": {"ID": "a"}}));
    }
    assert_eq!(device.delete(&acme, "urn:x:1.0/*/"), Err(StatusCode::NOT_ALLOWED));
    device.delete(&acme, "urn:x:1.0/a/").unwrap();
    assert_eq!(device.delete(&acme, "urn:x:1.0/b/"), Err(StatusCode::NOT_ALLOWED));
}

#[test]
fn a_change_gives_a_new_validator() {
    let (mut device, acme) = Device::of_the_examples();
    let cv = |device: &Device| device.tree.instance(&moid(X), &miid("left")).unwrap().cv();
    let before = cv(&device);
    device.delete(&acme, "urn:x:1.0/left/Data/1").unwrap();
    assert_ne!(cv(&device), before);
}
