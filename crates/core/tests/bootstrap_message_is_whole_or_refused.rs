//! The Bootstrap Message: the worked examples are read; whatever breaks a rule is refused whole, and the error names the
//! place by its ClientURI (spec 2.3).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use omadm_core::access::Rights;
use omadm_core::account::{Credential, DmAccount};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit, MessageError};
use omadm_core::mo::{Definitions, Tree, ddf};
use omadm_core::reason::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

const PRIVATE: &[u8] = include_bytes!("samples/bootstrap-message-private.json");
const PUBLIC: &[u8] = include_bytes!("samples/bootstrap-message-public.json");

fn refused(bytes: &[u8]) -> MessageError {
    BootstrapMessage::parse(bytes, Limit::Card).expect_err("refused")
}

/// The public example with one node of the DMAcc changed; `null` removes it.
fn with(path: &str, value: Value) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(PUBLIC).unwrap();
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut node = &mut message[0]["MOData"]["DMAcc"];
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        node = &mut node[parent];
    }
    if value.is_null() {
        node.as_object_mut().unwrap().remove(name);
    } else {
        node[name] = value;
    }
    serde_json::to_vec(&message).unwrap()
}

#[test]
fn the_worked_examples() {
    assert_eq!((PRIVATE.len(), PUBLIC.len()), (1118, 188));
    let message = BootstrapMessage::parse(PRIVATE, Limit::Card).unwrap();
    let (account, wish) = &message.accounts()[0];
    assert_eq!((account.srv_id.as_str(), wish.as_ref().unwrap().as_str()), ("acme", "acme"));
    assert_eq!(account.srv_uri.as_str(), "https://dm.example/dm");
    assert_eq!(account.perm.len(), 4);
    let password = "correct horse battery".into();
    assert_eq!(account.trsp, Some(Credential::Basic { user: "acme-0001".to_owned(), password }));
    let noti = account.noti.as_ref().unwrap();
    assert_eq!((noti.data.expose(), noti.secret.expose()), (&b"omadm"[..], &(0..16).collect::<Vec<u8>>()[..]));
    assert!(account.server_ca.as_ref().unwrap().ends_with("-----END CERTIFICATE-----\n"));
    assert!(account.holds_secret());

    let message = BootstrapMessage::parse(PUBLIC, Limit::Card).unwrap();
    assert!(!message.accounts()[0].0.holds_secret());
}

#[test]
fn every_broken_rule_names_its_place() {
    let with_base64 = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let good = with_base64("MAMCAQE=");
    assert!(BootstrapMessage::parse(&with("Ext", json!({"omadm": {"ServerCA": good.repeat(2)}})), Limit::Card).is_ok());
    let cases = [
        ("SrvID", Value::Null, "SrvID: is required"),
        ("SrvID", json!(""), "SrvID: is required"),
        ("SrvID", json!(5), "SrvID: text is expected"),
        ("SrvID", json!("a\u{7}"), "SrvID: not a SrvID"),
        ("SrvURI", Value::Null, "SrvURI: is required"),
        ("SrvURI", json!("http://dm.example/dm"), "SrvURI: http is allowed to loopback only"),
        ("SrvURI", json!("coap://dm.example/dm"), "SrvURI: the scheme must be https"),
        ("SrvURI", json!("dm"), "SrvURI: not an absolute URL"),
        ("Name", Value::Null, "Name: is required"),
        ("Perm", Value::Null, "Perm: at least one"),
        ("Perm", json!({}), "Perm: 1 to 256"),
        ("Perm/1/MOID", json!("devinfo"), "Perm/1/MOID: not a MOID"),
        ("Perm/1", json!("x"), "Perm/1: a node with children"),
        ("Auth", json!({"Trsp": {}}), "Auth/Trsp/Data: is required"),
        ("Auth", json!({"Trsp": {"Data": "?"}}), "Auth/Trsp/Data: base64"),
        ("Auth", json!({"Trsp": {"Data": "YmFzaWM6dQ=="}}), "Auth/Trsp/Data: this scheme needs a Secret"),
        ("Auth", json!({"Noti": {"Type": 2}}), "Auth/Noti/Type: must be 1"),
        ("Auth", json!({"Noti": {"Type": 1, "Secret": "AAE="}}), "Auth/Noti/Secret: at least 16"),
        ("Auth", json!({"Trps": {}}), "Auth/Trps: no such node"),
        (
            "Auth",
            json!({"Bootstrap": {"ServerURI": "https://b/", "SecMode": "CQ=="}}),
            "Auth/Bootstrap/SecMode: one byte",
        ),
        ("Ext", json!({"omadm": {"ServerCA": "x"}}), "Ext/omadm/ServerCA: certificates"),
        ("Ext", json!({"omadm": {"ServerCA": with_base64("")}}), "Ext/omadm/ServerCA: certificates"),
        ("Ext", json!({"omadm": {"ServerCA": with_base64("MIIB")}}), "Ext/omadm/ServerCA: certificates"),
        ("Ext", json!({"omadm": {"ServerCA": with_base64("MAMCAQE=?")}}), "Ext/omadm/ServerCA: certificates"),
        (
            "Ext",
            json!({"omadm": {"ServerCA": good.clone() + "-----BEGIN CERTIFICATE-----"}}),
            "Ext/omadm/ServerCA: cert",
        ),
        ("Ext", json!({"omadm": {"Origins": "https://a/b"}}), "Ext/omadm/Origins: at most 16"),
        ("SrvUri", json!("https://dm.example/dm"), "SrvUri: no such node"),
    ];
    for (path, value, expected) in cases {
        let error = refused(&with(path, value));
        assert_eq!(error.reason(), Reason::InvalidMessage, "{expected}");
        let place = format!("urn:oma:mo:oma-dm-dmacc:1.2/acme/{expected}");
        assert!(error.to_string().starts_with(&place), "{error}, expected {place}");
    }
}

#[test]
fn bytes_that_are_no_message() {
    let reason = |bytes: &[u8]| refused(bytes).reason();
    assert_eq!(reason(b""), Reason::MalformedMessage);
    assert_eq!(reason(b"\x03\x0b\x6a\x00"), Reason::MalformedMessage);
    assert_eq!(reason(br#"[{"a":1,"a":2}]"#), Reason::MalformedMessage);
    assert_eq!(reason("[".repeat(100).as_bytes()), Reason::MalformedMessage);
    assert_eq!(reason(&vec![b' '; 40_000]), Reason::MalformedMessage, "larger than a card's file");
    assert_eq!(reason(b"7"), Reason::InvalidMessage);
    assert_eq!(reason(b"[7]"), Reason::InvalidMessage);
    assert!(refused(b"[]").to_string().contains("no DM Account"));
    assert!(refused(br#"[{"ClientURI":"urn:x:y/1/"}]"#).to_string().contains("no DM Account"));
    assert!(refused(br#"[{"ClientURI":"?"}]"#).to_string().starts_with("item 1"));
    let inside = br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/a/SrvID","MOData":{"DMAcc":{"SrvID":"a"}}}]"#;
    assert!(refused(inside).to_string().contains("installed whole"));
}

#[test]
fn the_limit_depends_on_where_it_came_from() {
    let mut bytes = PUBLIC.to_vec();
    bytes.resize(40_000, b' ');
    assert!(BootstrapMessage::parse(&bytes, Limit::Elsewhere).is_ok());
    bytes.resize((1 << 20) + 1, b' ');
    assert!(BootstrapMessage::parse(&bytes, Limit::Elsewhere).is_err());
}

#[test]
fn one_bad_account_refuses_the_whole_message() {
    let mut message: Vec<Value> = serde_json::from_slice(PUBLIC).unwrap();
    message.push(message[0].clone());
    let error = refused(&serde_json::to_vec(&message).unwrap());
    assert!(error.to_string().contains("same SrvID"), "{error}");
}

#[test]
fn unknown_mos_are_ignored() {
    let mut message: Vec<Value> = serde_json::from_slice(PUBLIC).unwrap();
    message.push(json!({"ClientURI": "urn:vendor:mo:unknown:1.0//", "MOData": {"X": {"a": 1}}}));
    let message = BootstrapMessage::parse(&serde_json::to_vec(&message).unwrap(), Limit::Card).unwrap();
    assert_eq!(message.accounts().len(), 1);
}

#[test]
fn another_mo_is_installed_once_and_none_too_often() {
    let mut message: Vec<Value> = serde_json::from_slice(PUBLIC).unwrap();
    let dev_info = json!({"DevID": "IMEI:1", "Man": "", "Mod": "", "DmV": "2.0", "Lang": "", "DevType": "", "OEM": "",
        "FwV": "", "SwV": "", "HwV": ""});
    message.push(json!({"ClientURI": "urn:oma:mo:oma-dm-devinfo:1.2//", "MOData": {"DevInfo": dev_info}}));
    message.push(json!({"ClientURI": "urn:omadm:mo:example:1.0//", "MOData": {"Example": {"Name": "a", "Target": 1}}}));
    let message = BootstrapMessage::parse(&serde_json::to_vec(&message).unwrap(), Limit::Card).unwrap();
    let (definitions, mut tree) = (Definitions::standard(), Tree::new());
    let count = |tree: &Tree, moid: &str| tree.instances(&moid.parse().unwrap()).count();
    message.install_others(&mut tree, &definitions);
    assert_eq!((count(&tree, ddf::DEVINFO), count(&tree, ddf::EXAMPLE)), (1, 1));
    let before = tree.clone();
    assert!(message.install_others(&mut tree, &definitions).is_empty());
    assert_eq!(tree, before, "neither a second DevInfo nor the same again");
}

#[test]
fn accounts_do_not_use_up_the_names_of_the_tree() {
    let (definitions, mut tree) = (Definitions::standard(), Tree::new());
    let root = BootstrapMessage::parse(PUBLIC, Limit::Card).unwrap().accounts()[0].0.to_node();
    for number in 0..2_000 {
        let miid: omadm_core::ids::Miid = number.to_string().parse().unwrap();
        let moid = ddf::DMACC.parse().unwrap();
        tree.put_local(&definitions, &moid, miid.clone(), root.clone()).unwrap();
        tree.remove(&moid, &miid);
    }
}

proptest! {
    #[test]
    fn a_damaged_message_never_panics(at in 0_usize..1118, byte in any::<u8>()) {
        let mut bytes = PRIVATE.to_vec();
        bytes[at] = byte;
        let _ = BootstrapMessage::parse(&bytes, Limit::Card);
        bytes.truncate(at);
        prop_assert!(BootstrapMessage::parse(&bytes, Limit::Card).is_err());
    }
}

/// The public example with a DACMO item of these nodes.
fn with_rights(nodes: &Value) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(PUBLIC).unwrap();
    let item = json!({"ClientURI": format!("{}//", ddf::DACMO), "MOData": {"DACMO": nodes}});
    message.as_array_mut().unwrap().insert(0, item);
    serde_json::to_vec(&message).unwrap()
}

fn acl(srv_id: &str, rights: Value) -> Value {
    json!({"MOID": ddf::DEVINFO, "MIID": "1", "ACL": {"1": {"SrvID": srv_id, "Rights": rights}}})
}

#[test]
fn a_message_adds_rights_for_its_own_servers() {
    let (moid, miid) = (ddf::DEVINFO.parse().unwrap(), "1".parse().unwrap());
    let srv_id = BootstrapMessage::parse(PUBLIC, Limit::Card).unwrap().accounts()[0].0.srv_id.to_string();
    for (rights, bits) in [(json!(3), 3), (json!("15"), 15)] {
        let message = BootstrapMessage::parse(&with_rights(&acl(&srv_id, rights)), Limit::Card).unwrap();
        let account = &message.accounts()[0].0;
        assert_eq!(account.given.on(&moid, &miid), Rights(bits));
        let stored = serde_json::to_string(account).unwrap();
        assert_eq!(serde_json::from_str::<DmAccount>(&stored).unwrap(), *account);
        let mut tree = Tree::new();
        assert!(message.install_others(&mut tree, &Definitions::standard()).is_empty(), "it is no instance itself");
    }
}

#[test]
fn a_dacmo_item_that_breaks_a_rule_is_refused_with_the_message() {
    let srv_id = BootstrapMessage::parse(PUBLIC, Limit::Card).unwrap().accounts()[0].0.srv_id.to_string();
    let changed = |name: &str, value: Value| {
        let mut nodes = acl(&srv_id, json!(1));
        nodes[name] = value;
        nodes
    };
    let many: Value = (0..65).map(|number| (number.to_string(), json!({"SrvID": srv_id, "Rights": 1}))).collect();
    let cases = [
        (acl("stranger", json!(1)), "ACL/1/SrvID: the message holds no account of this server"),
        (acl(&srv_id, json!(0)), "ACL/1/Rights: a number from 1 to 15"),
        (acl(&srv_id, json!(16)), "ACL/1/Rights: a number from 1 to 15"),
        (acl(&srv_id, json!(17)), "ACL/1/Rights: a number from 1 to 15"),
        (acl(&srv_id, json!(-1)), "ACL/1/Rights: a number from 1 to 15"),
        (acl(&srv_id, json!(257)), "ACL/1/Rights: a number from 1 to 15"),
        (acl(&srv_id, json!({})), "ACL/1/Rights: a number from 1 to 15"),
        (changed("MOID", Value::String(ddf::DMACC.to_owned())), "MOID: nobody gets further rights on accounts"),
        (changed("MOID", Value::String(ddf::DACMO.to_owned())), "MOID: nobody gets further rights on accounts"),
        (changed("MOID", json!("x")), "MOID: not a MOID"),
        (changed("MIID", json!("")), "MIID: is required"),
        (changed("MIID", json!("a/b")), "MIID: not a MIID"),
        (changed("Owner", json!("acme")), "Owner: empty or absent is expected"),
        (changed("ACL", json!({})), "ACL: 1 to 64 entries"),
        (changed("ACL", many), "ACL: 1 to 64 entries"),
        (changed("ACL", json!({"1": 5})), "ACL/1: a node with children is expected"),
        (changed("ACL", json!({"1": {"SrvID": srv_id}})), "ACL/1/Rights: a number from 1 to 15"),
        (changed("Rigths", json!(1)), "Rigths: no such node here"),
    ];
    for (nodes, expected) in cases {
        let error = refused(&with_rights(&nodes));
        assert_eq!(error.reason(), Reason::InvalidMessage);
        let expected = format!("{}//{expected}", ddf::DACMO);
        assert!(error.to_string().starts_with(&expected), "{nodes}: {error}");
    }
    let path = String::from_utf8(with_rights(&acl(&srv_id, json!(1)))).unwrap().replace("1.0//", "1.0//ACL");
    assert!(refused(path.as_bytes()).to_string().contains("installed whole, from their root"));
    let newer = String::from_utf8(with_rights(&json!({"X": 1}))).unwrap().replace("dacmo:1.0", "dacmo:9.0");
    assert!(BootstrapMessage::parse(newer.as_bytes(), Limit::Card).is_ok(), "an unknown MO is passed over");
}
