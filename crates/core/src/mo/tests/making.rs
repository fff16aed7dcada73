//! HGET without targets: instances are made. And how much room there is.

use super::*;

fn make(items: &str) -> (Result<Vec<String>, StatusCode>, Device) {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X, SETPOINT, ddf::DEVINFO, ddf::FUMO]));
    (device.hget(&acme, &[], items), device)
}

#[test]
fn each_item_makes_an_instance_and_wishes_are_granted_once() {
    let items = json!([
        {"ClientURI": "urn:x:1.0/mine/", "MOData": {"X": {"ID": "a"}}},
        {"ClientURI": "urn:x:1.0/mine/", "MOData": {"X": {"ID": "b"}}},
        {"ClientURI": "x:1.0//", "MOData": {"X": {"ID": "c"}}},
        {"ClientURI": "urn:example:mo:setpoint:1.0/mine/", "MOData": {"Any": {"Name": "n", "Target": "1.5"}}},
    ]);
    let (result, device) = make(&items.to_string());
    let expected = ["urn:x:1.0/mine/", "urn:x:1.0/k1/", "urn:x:1.0/k2/", "urn:example:mo:setpoint:1.0/mine/"];
    assert_eq!(result.unwrap(), expected);
    assert_eq!(device.tree.iter().count(), 4);
}

#[test]
fn all_or_none_are_made() {
    let good = r#"{"ClientURI":"urn:x:1.0/wish/","MOData":{"X":{"ID":"a"}}}"#;
    for (bad, status) in [
        (r#"{"MOData":{"X":{"ID":"a"}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"","MOData":{"X":{"ID":"a"}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0/*/","MOData":{"X":{"ID":"a"}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0/a/ID","MOData":{"X":{"ID":"a"}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0/(x)/?nv=(x)/ID:a","MOData":{"X":{"ID":"a"}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0//","MOData":{"X":{}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0//","MOData":{"X":{"ID":"a","Few":{}}}}"#, StatusCode::BAD_REQUEST),
        (r#"{"ClientURI":"urn:x:1.0//","MOData":{"X":{"ID":"a","Fixed":"f"}}}"#, StatusCode::NOT_ALLOWED),
        (r#"{"ClientURI":"urn:oma:mo:oma-dm-devinfo:1.2//","MOData":{"DevInfo":{}}}"#, StatusCode::NOT_ALLOWED),
        (r#"{"ClientURI":"urn:oma:mo:oma-fumo:1.0//","MOData":{"FUMO":{"State":1}}}"#, StatusCode::NOT_ALLOWED),
        (r#"{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2//","MOData":{"DMAcc":{}}}"#, StatusCode::NOT_ALLOWED),
        (r#"{"ClientURI":"urn:omadm:mo:example:1.0//","MOData":{"E":{"Name":"a"}}}"#, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(make(bad).0, Err(status), "{bad}");
        let (result, mut device) = make(&format!("[{good},{bad}]"));
        assert_eq!(result, Err(status), "{bad}");
        // The wish of the item that was fine is still to be had.
        let acme = Server::new("acme", &[X]);
        assert_eq!(device.hget(&acme, &[], good).unwrap(), ["urn:x:1.0/wish/"]);
    }
    assert_eq!(make("[]").0, Err(StatusCode::BAD_REQUEST));
}

#[test]
fn as_many_instances_as_the_definition_allows() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let rows = [Row { occurrence: Occurrence::ZeroOrN(2), ..X_ROWS[0] }].into_iter().chain(X_ROWS[1..].iter().copied());
    device.definitions.insert(Definition::from_rows(moid(X), &rows.collect::<Vec<_>>()).unwrap());
    let item = r#"{"ClientURI":"urn:x:1.0//","MOData":{"X":{"ID":"a"}}}"#;
    assert_eq!(device.hget(&acme, &[], &format!("[{item},{item},{item}]")), Err(StatusCode::NOT_ALLOWED));
    assert!(device.hget(&acme, &[], &format!("[{item},{item}]")).is_ok());
    assert_eq!(device.hget(&acme, &[], item), Err(StatusCode::NOT_ALLOWED));
}

#[test]
fn the_example_mo_of_a_maker_can_be_made() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[ddf::EXAMPLE]));
    let data = json!({"Example": {"Name": "hall", "Target": 21.5, "Enabled": true, "Count": 3, "Note": "n",
        "Data": {"1": {"Date": "12.1", "Value": "v"}}}});
    let made = device.make(&acme, ddf::EXAMPLE, "", data);
    assert_eq!(made, "urn:omadm:mo:example:1.0/k1/");
    let text = format!("{}/(x)/Data/(y)/Value?nv=(x)/Name:hall&nv=(y)/Date:12.1", ddf::EXAMPLE);
    assert_eq!(device.uris(&acme, &text).unwrap(), ["urn:omadm:mo:example:1.0/k1/Data/1/Value"]);
    assert!(device.get(&acme, &made).unwrap().items[0].cv.is_some());
}

#[test]
fn servers_cannot_fill_the_device() {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let big = format!(r#"{{"ClientURI":"urn:x:1.0//","MOData":{{"X":{{"ID":"{}"}}}}}}"#, "a".repeat(1_000_000));
    for _ in 0..4 {
        assert!(device.hget(&acme, &[], &big).is_ok());
    }
    assert_eq!(device.hget(&acme, &[], &big), Err(StatusCode::NO_ROOM));
    let setting = format!(r#"{{"MOData":{{"X":{{"Setting":"{}"}}}}}}"#, "a".repeat(1_000_000));
    assert_eq!(device.hget(&acme, &["urn:x:1.0/k1/Setting"], &setting), Err(StatusCode::NO_ROOM));
    let smaller = r#"{"MOData":{"X":{"ID":"a"}}}"#;
    assert!(device.hget(&acme, &["urn:x:1.0/k1/ID"], smaller).is_ok(), "what frees room is let through");
    assert!(device.hget(&acme, &["urn:x:1.0/k1/Setting"], &setting).is_ok());
    let too_large = " ".repeat(MAX_BODY_BYTES + 1);
    assert_eq!(device.hget(&acme, &[], &too_large), Err(StatusCode::TOO_LARGE));
}
