//! The JSON of each package: the committed samples are read, mean what they should, and are written again byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use omadm_core::package::{Alert, BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Command, Package1, Package2, Package3, Status};
use omadm_core::status::StatusCode;
use proptest::prelude::*;
use serde_json::json;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("samples/", $name, ".json")).as_slice()
    };
}

#[test]
fn package1() {
    let bytes = sample!("package1-bootstrap-complete");
    let package = Package1::parse(bytes).unwrap();
    assert_eq!(package.alerts, [Alert::of_type(BOOTSTRAP_COMPLETE)]);
    let mos = package.mos.as_ref().unwrap();
    assert_eq!(mos.len(), 4);
    assert_eq!((mos[0].moid.as_str(), mos[0].miids[0].as_str()), ("urn:oma:mo:oma-dm-devinfo:1.2", "1"));
    assert!(mos[3].miids.is_empty(), "a listed MO without an instance has an empty list");
    assert_eq!(package.to_bytes(), bytes);

    let bytes = sample!("package1-client-initiated");
    let package = Package1::parse(bytes).unwrap();
    assert_eq!((package.mos.is_none(), package.alerts[0].alert_type.as_str()), (true, CLIENT_INITIATED));
    assert_eq!(package.to_bytes(), bytes);
}

#[test]
fn package2() {
    let expected = [
        (
            sample!("package2-hput-get"),
            vec![
                Command::Hput {
                    server_uri: "https://dm.example/data/7Zk1u0xTtB2m/devinfo".to_owned(),
                    client_uris: vec!["urn:oma:mo:oma-dm-devinfo:1.2//".to_owned()],
                },
                Command::Get { client_uri: "urn:oma:mo:oma-dm-devinfo:1.2//DevID".to_owned() },
            ],
        ),
        (
            sample!("package2-hget"),
            vec![Command::Hget {
                server_uri: "https://dm.example/data/b7Qe9dJc/hall".to_owned(),
                client_uris: Vec::new(),
            }],
        ),
        (
            sample!("package2-hget-delete-get"),
            vec![
                Command::Hget {
                    server_uri: "https://dm.example/data/b7Qe9dJc/target".to_owned(),
                    client_uris: vec!["urn:example:mo:setpoint:1.0/k3/Target".to_owned()],
                },
                Command::Delete { client_uri: "urn:example:mo:setpoint:1.0/k3/".to_owned() },
                Command::Get { client_uri: "urn:example:mo:setpoint:1.0/k3/Target".to_owned() },
            ],
        ),
        (sample!("package2-end"), vec![Command::End]),
    ];
    for (bytes, commands) in expected {
        let package = Package2::parse(bytes).unwrap();
        assert_eq!(package.commands, commands);
        assert_eq!(package.to_bytes(), bytes);
    }
}

#[test]
fn package3() {
    let codes = |bytes| {
        let package = Package3::parse(bytes).unwrap();
        assert_eq!(package.to_bytes(), bytes);
        package.statuses
    };
    let statuses = codes(sample!("package3-statuses"));
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::NOT_FOUND].map(Status::from));
    let statuses = codes(sample!("package3-hget-uri"));
    assert_eq!(statuses[0].uris, ["urn:example:mo:setpoint:1.0/k3/"]);
    let statuses = codes(sample!("package3-get"));
    let item = &statuses[1].data.as_ref().unwrap()[0];
    assert_eq!(item["MOData"], json!({"DevInfo": {"DevID": "IMEI:493005100592800"}}));
}

fn text() -> impl Strategy<Value = String> {
    "[ -~\u{e4}\u{2603}]{0,20}"
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (text(), prop::collection::vec(text(), 0..3))
            .prop_map(|(server_uri, client_uris)| Command::Hget { server_uri, client_uris }),
        (text(), prop::collection::vec(text(), 1..3))
            .prop_map(|(server_uri, client_uris)| Command::Hput { server_uri, client_uris }),
        (text(), prop::collection::vec(text(), 1..3))
            .prop_map(|(server_uri, client_uris)| Command::Hpost { server_uri, client_uris }),
        text().prop_map(|client_uri| Command::Get { client_uri }),
        text().prop_map(|client_uri| Command::Delete { client_uri }),
        text().prop_map(|server_uri| Command::Cont { server_uri }),
        Just(Command::End),
        ("[A-Z]{8}", prop::collection::vec(text(), 0..3))
            .prop_map(|(name, params)| Command::Unsupported { name, params }),
    ]
}

fn alert() -> impl Strategy<Value = Alert> {
    (text(), prop::option::of(text()), prop::option::of(0_i64..1000)).prop_map(|(alert_type, source_uri, number)| {
        Alert {
            alert_type,
            source_uri,
            data: number.and_then(|number| json!({ "NotificationID": number }).as_object().cloned()),
            ..Alert::default()
        }
    })
}

fn status() -> impl Strategy<Value = Status> {
    (100_u16..600, prop::collection::vec(text(), 0..3), prop::option::of(text())).prop_map(|(code, uris, data)| {
        Status { uris, data: data.map(|value| json!([{ "MOData": { "x": value } }])), ..StatusCode(code).into() }
    })
}

proptest! {
    #[test]
    fn packages_round_trip(
        commands in prop::collection::vec(command(), 0..20),
        statuses in prop::collection::vec(status(), 0..20),
        mut alerts in prop::collection::vec(alert(), 0..5),
    ) {
        let package2 = Package2 { commands };
        prop_assert_eq!(Package2::parse(&package2.to_bytes()).unwrap(), package2);
        let package3 = Package3 { statuses, alerts: alerts.clone() };
        prop_assert_eq!(Package3::parse(&package3.to_bytes()).unwrap(), package3);
        alerts.push(Alert::of_type(CLIENT_INITIATED));
        let package1 = Package1 { mos: None, alerts };
        prop_assert_eq!(Package1::parse(&package1.to_bytes()).unwrap(), package1);
    }

    #[test]
    fn random_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Package1::parse(&bytes), Package2::parse(&bytes), Package3::parse(&bytes));
    }

    #[test]
    fn a_damaged_package_never_panics(at in 0_usize..400, byte in any::<u8>()) {
        for sample in [sample!("package1-bootstrap-complete"), sample!("package2-hput-get"), sample!("package3-get")] {
            let mut bytes = sample.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = (Package1::parse(&bytes), Package2::parse(&bytes), Package3::parse(&bytes));
            bytes.truncate(at);
            let _ = (Package1::parse(&bytes), Package2::parse(&bytes), Package3::parse(&bytes));
        }
    }
}
