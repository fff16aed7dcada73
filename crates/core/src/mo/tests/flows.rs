//! The worked examples of the first sessions, byte for byte.

use super::*;

/// The device of examples 1 to 4 and its server.
fn meter() -> (Device, Server) {
    let mut device = Device::new();
    device.put_local(ddf::DEVINFO, "1", devinfo()).unwrap();
    let session = [("CBT", Node::Leaf(Value::Int(1))), ("ROAMING", Node::Leaf(Value::Int(1)))];
    device.put_local(ddf::SESSIONINFO, "1", Node::interior(session)).unwrap();
    device.put_local(ddf::FUMO, "1", Node::interior([("State", Node::Leaf(Value::Int(10)))])).unwrap();
    (device, Server::new("acme", &[ddf::DEVINFO, ddf::SESSIONINFO, ddf::FUMO, SETPOINT]))
}

#[test]
fn devinfo_is_put_and_its_devid_read() {
    let (device, acme) = meter();
    let upload = device.tree.upload(&device.definitions, &acme.who(), &[uri("urn:oma:mo:oma-dm-devinfo:1.2//")]);
    let body = concat!(
        r#"[{"ClientURI":"urn:oma:mo:oma-dm-devinfo:1.2/1/","MOData":{"DevInfo":{"DevID":"IMEI:493005100592800","#,
        r#""Man":"Example Devices","Mod":"Meter 3","DmV":"2.0","Lang":"en","DevType":"meter","#,
        r#""OEM":"Example Devices","FwV":"3.1.0","SwV":"7.2","HwV":"B"}}}]"#,
    );
    assert_eq!(upload, Ok(Upload::Body(body.as_bytes().to_vec())));
    assert_eq!(
        device.json(&acme, "urn:oma:mo:oma-dm-devinfo:1.2//DevID").unwrap(),
        concat!(
            r#"[{"ClientURI":"urn:oma:mo:oma-dm-devinfo:1.2/1/DevID","#,
            r#""MOData":{"DevInfo":{"DevID":"IMEI:493005100592800"}}}]"#,
        )
    );
    assert_eq!(device.get(&acme, "urn:oma:mo:oma-dm-devinfo:1.2//Missing"), Err(StatusCode::NOT_FOUND));
}

#[test]
fn the_mos_of_the_first_package() {
    let (device, acme) = meter();
    let mos = device.tree.listed_instances(&device.definitions, &acme.who());
    let one = vec![miid("1")];
    let expected = [
        (moid(SETPOINT), vec![]),
        (moid(ddf::DEVINFO), one.clone()),
        (moid(ddf::FUMO), one.clone()),
        (moid(ddf::SESSIONINFO), one),
    ];
    assert_eq!(mos, expected);
}

#[test]
fn an_instance_is_made_changed_and_deleted() {
    let (mut device, acme) = meter();
    let made = concat!(
        r#"[{"ClientURI":"urn:example:mo:setpoint:1.0//","#,
        r#""MOData":{"Setpoint":{"Name":"hall","Target":21.5}}}]"#,
    );
    // Two other MIIDs were given away before.
    for _ in 0..2 {
        let uris = device.hget(&acme, &[], made).unwrap();
        device.delete(&acme, &uris[0]).unwrap();
    }
    assert_eq!(device.hget(&acme, &[], made).unwrap(), ["urn:example:mo:setpoint:1.0/k3/"]);
    assert_eq!(device.owner(SETPOINT, "k3"), Some(&Owner::Server(acme.srv_id.clone())));

    let target = "urn:example:mo:setpoint:1.0/k3/Target";
    assert_eq!(
        device.hget(&acme, &[target], r#"{"MOData":{"Setpoint":{"Target":19}}}"#).unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        device.json(&acme, target).unwrap(),
        r#"[{"ClientURI":"urn:example:mo:setpoint:1.0/k3/Target","MOData":{"Setpoint":{"Target":19.0}}}]"#
    );
    device.delete(&acme, "urn:example:mo:setpoint:1.0/k3/").unwrap();
    assert_eq!(device.get(&acme, target), Err(StatusCode::NOT_FOUND));
    assert_eq!(device.hget(&acme, &[], made).unwrap(), ["urn:example:mo:setpoint:1.0/k4/"], "k3 is not used again");
}

#[test]
fn the_account_of_the_first_example_is_read() {
    let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
        "SrvID": "acme", "SrvURI": "https://dm.example/dm", "Name": "Acme device management",
        "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}, "4": {"MOID": "urn:example:mo:setpoint:1.0"}},
        "Auth": {
            "Trsp": {"Data": "YmFzaWM6YWNtZS0wMDAx", "Secret": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"},
            "Noti": {"Type": 1, "Data": "b21hZG0=", "Secret": "AAECAwQFBgcICQoLDA0ODw=="}
        },
        "Ext": {"omadm": {"ServerCA": "-----BEGIN CERTIFICATE-----\n"}, "vendor": {"thing": [1]}}
    }}}]);
    // An array is no node, wherever it stands.
    assert!(parse_items(&message).is_err());
    let mut message = message;
    message[0]["MOData"]["DMAcc"]["Ext"]["vendor"]["thing"] = json!(1);
    let items = parse_items(&message).unwrap();
    let node = items[0].to_node(definitions().get(&moid(ddf::DMACC)).unwrap()).unwrap();
    assert_eq!(node.value(&["Auth", "Trsp", "Data"]).unwrap().as_bytes(), Some(&b"basic:acme-0001"[..]));
    assert_eq!(node.value(&["Auth", "Trsp", "Secret"]).unwrap().as_bytes(), Some(&b"correct horse battery"[..]));
    assert_eq!(node.value(&["Auth", "Noti", "Data"]).unwrap().as_bytes(), Some(&b"omadm"[..]));
    assert_eq!(node.value(&["Auth", "Noti", "Type"]), Some(&Value::Int(1)));
    let secret: Vec<u8> = (0..16).collect();
    assert_eq!(node.value(&["Auth", "Noti", "Secret"]).unwrap().as_bytes(), Some(secret.as_slice()));
    assert_eq!(node.text(&["Perm", "4", "MOID"]), Some("urn:example:mo:setpoint:1.0"));
    assert_eq!(node.at(&["Ext", "vendor"]), None, "another maker's extension is left out");
    assert!(!format!("{items:?}{node:?}").contains("correct"), "Debug shows no secret");
    assert!(!format!("{items:?}").contains("Y29y"), "nor its base64");
}
