//! `account remove` and `account allow`, with and without a client that runs; sessions with each server, whatever becomes
//! of one; and a reset that mends a clock.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::clocked::Clocked;
use kit::{Device, Server, answer, message, program};
use omadm_client::client::Client;
use omadm_client::control::Order;
use omadm_client::exit::Exit;
use omadm_client::schedule::Schedule;
use omadm_core::bootstrap::sequence::RunResult;
use omadm_core::ids::SrvId;
use omadm_core::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::process::Output;

const REQUEST: &str = "application/vnd.oma.dm.request+json";
/// `digest:me`, which no client of this release can use.
const DIGEST: &str = "ZGlnZXN0Om1l";

fn call(device: &Device, arguments: &[&str]) -> Output {
    program(&device.path("client.toml")).args(arguments).output().unwrap()
}

fn told(device: &Device, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = call(device, &[arguments, &["--json"]].concat());
    let value = serde_json::from_slice(&output.stdout);
    (output.status.code(), value.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into_owned().into()))
}

/// A server that makes an example for whoever reports BootstrapComplete, and ends every other session.
fn making_server() -> Server {
    Server::start(|request, base| match request.line.as_str() {
        "GET /example" => answer(
            200,
            "application/vnd.oma.dm.mo+json",
            r#"[{"ClientURI":"urn:omadm:mo:example:1.0/mine/","MOData":{"Example":{"Name":"one"}}}]"#,
        ),
        _ if request.body.contains("BootstrapComplete") => {
            answer(200, REQUEST, &format!(r#"{{"CMD":[["HGET","{base}/example"]]}}"#))
        }
        _ => answer(200, REQUEST, r#"{"CMD":[["END"]]}"#),
    })
}

/// A device whose factory file holds accounts of these servers.
fn device(server: &Server, srv_ids: &[&str]) -> Device {
    let device = Device::new();
    let items: Vec<Value> = srv_ids
        .iter()
        .map(|srv_id| serde_json::from_str::<Value>(&message(srv_id, &format!("{}/{srv_id}", server.base))).unwrap())
        .map(|message| message[0].clone())
        .collect();
    device.write("factory.json", &json!(items).to_string());
    device.configure("example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    device
}

fn names(client: &Client) -> Vec<String> {
    client.state().accounts.iter().map(|one| one.account.srv_id.to_string()).collect()
}

fn order(client: &mut Client, schedule: &mut Schedule, order: &Order) -> (Exit, Value) {
    let reply = schedule.order(client, order).unwrap();
    (reply.exit, reply.result)
}

fn settle(client: &mut Client, schedule: &mut Schedule) {
    while schedule.step(client).unwrap().is_none() {}
}

#[test]
fn what_belongs_to_a_removed_account_goes_and_what_its_server_made_stays_with_the_device() {
    let server = making_server();
    let device = device(&server, &["acme", "other"]);
    let acme: SrvId = "acme".parse().unwrap();
    let (mut client, mut schedule) = (device.open(), Schedule::new());
    settle(&mut client, &mut schedule);
    let owned =
        |client: &Client| serde_json::to_string(&client.state().tree).unwrap().matches(r#""server":"acme""#).count();
    assert_eq!((names(&client), owned(&client)), (vec!["acme".to_owned(), "other".to_owned()], 1));
    let remove = Order::AccountRemove { srv_id: acme.clone() };
    assert_eq!(
        order(&mut client, &mut schedule, &remove),
        (Exit::Done, json!({"srv_id": "acme", "begins_anew": false}))
    );
    assert_eq!((names(&client), owned(&client)), (vec!["other".to_owned()], 0));
    assert!(!client.state().notes.sessions.contains_key(&acme));
    let tree = serde_json::to_string(&client.state().tree).unwrap();
    assert!(tree.contains(r#""one""#) && !tree.contains("/acme\""), "{tree}");
    let before = server.lines().len();
    settle(&mut client, &mut schedule);
    assert_eq!(server.lines().len(), before, "nothing is due");
    assert_eq!(order(&mut client, &mut schedule, &remove).0, Exit::Nothing);
    drop(client);
    let client = device.open();
    assert_eq!((names(&client), owned(&client)), (vec!["other".to_owned()], 0), "it is durable");
}

#[test]
fn a_device_whose_last_account_is_removed_begins_anew() {
    let server = making_server();
    let device = device(&server, &["acme"]);
    let (mut client, mut schedule) = (device.open(), Schedule::new());
    settle(&mut client, &mut schedule);
    let before = server.lines().len();
    let remove = Order::AccountRemove { srv_id: "acme".parse().unwrap() };
    assert_eq!(
        order(&mut client, &mut schedule, &remove),
        (Exit::Done, json!({"srv_id": "acme", "begins_anew": true}))
    );
    assert!(client.state().accounts.is_empty());
    settle(&mut client, &mut schedule);
    assert_eq!(names(&client), ["acme"], "the factory is included");
    assert!(server.seen()[before].body.contains("BootstrapComplete"));
}

#[test]
fn the_program_removes_and_allows_accounts_by_itself_too() {
    let server = making_server();
    let device = device(&server, &["acme", "other"]);
    assert_eq!(told(&device, &["account", "remove", "acme"]).0, Some(3), "there is none");
    assert_eq!(told(&device, &["bootstrap"]).0, Some(0));
    assert_eq!(told(&device, &["account", "allow", "nobody"]).0, Some(3));
    assert_eq!(
        told(&device, &["account", "allow", "acme"]),
        (Some(0), json!({"srv_id": "acme", "begins_anew": false}))
    );
    let accounts = told(&device, &["status"]).1["accounts"].clone();
    assert_eq!((&accounts[0]["may_be_replaced"], accounts[1].get("may_be_replaced")), (&json!(true), None));
    let text = String::from_utf8(call(&device, &["status"]).stdout).unwrap();
    assert_eq!(text.matches("the next message from another source may replace it").count(), 1, "{text}");
    let (code, reply) = told(&device, &["account", "remove", "acme"]);
    assert_eq!((code, reply), (Some(0), json!({"srv_id": "acme", "begins_anew": false})));
    let output = call(&device, &["account", "remove", "other"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("other is removed; no other account can be relied on"), "{said}");
    assert_eq!(told(&device, &["status"]).0, Some(3));
    for wrong in [&["account"][..], &["account", "remove"], &["account", "drop", "acme"], &["account", "allow", ""]] {
        assert_eq!(call(&device, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn sessions_with_each_go_on_behind_one_whose_credentials_cannot_be_used() {
    let server = making_server();
    let device = device(&server, &["acme", "other"]);
    let text = std::fs::read_to_string(device.path("factory.json")).unwrap();
    device.write("factory.json", &text.replacen("YmFzaWM6YWNtZS0wMDAx", DIGEST, 1));
    assert_eq!(told(&device, &["bootstrap"]).1["result"], "bootstrapped");
    let (code, reply) = told(&device, &["session"]);
    let sessions = reply["sessions"].as_array().unwrap();
    let ends: Vec<_> = sessions.iter().map(|one| (one["srv_id"].as_str().unwrap(), one["ended"] == true)).collect();
    assert_eq!((code, ends), (Some(1), vec![("acme", false), ("other", true)]), "{reply}");
    assert_eq!(sessions[0]["reason"], "not-configured");
    assert!(sessions[0]["message"].as_str().unwrap().contains("not supported yet"), "{reply}");
    assert_eq!(told(&device, &["status"]).0, Some(0), "one works");
    assert_eq!(told(&device, &["account", "remove", "other"]).1["begins_anew"], true);
    let (code, status) = told(&device, &["status"]);
    assert_eq!((code, &status["state"]), (Some(3), &json!("waiting")), "the one that is left cannot be used");
    let (code, alone) = told(&device, &["session", "acme"]);
    assert_eq!((code, alone["sessions"][0]["reason"].as_str()), (Some(1), Some("not-configured")));
}

#[test]
fn an_account_that_cannot_be_used_does_not_keep_the_device_from_asking_on() {
    let server = making_server();
    let device = device(&server, &["acme"]);
    let text = std::fs::read_to_string(device.path("factory.json")).unwrap();
    device.write("factory.json", &text.replacen("YmFzaWM6YWNtZS0wMDAx", DIGEST, 1));
    let asked = Server::start({
        let message = message("other", &format!("{}/other", server.base));
        move |_, _| answer(200, "application/vnd.oma.dm.bootstrap+json", &message)
    });
    device.write("secret", "x");
    let factory = "[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n[bootstrap]\nsecret_file = \"secret\"\n";
    device.configure(&format!("{factory}url = \"{}/b\"\n", asked.base));
    let mut client = device.open();
    let run = client.bootstrap().unwrap();
    assert!(matches!(run.result, RunResult::Bootstrapped { .. }), "{run:?}");
    assert_eq!((names(&client), asked.lines().len()), (vec!["acme".to_owned(), "other".to_owned()], 1));
    drop(client);
    let state = device.state();
    let mut client = device.open();
    assert_eq!(client.bootstrap().unwrap().result, RunResult::Unchanged);
    assert_eq!((device.state(), asked.lines().len()), (state, 1), "it is not asked for again");
}

#[test]
fn an_answer_that_is_too_large_is_no_message_wherever_it_comes() {
    let large = || answer(200, REQUEST, &" ".repeat((1 << 20) + 1));
    let server = Server::start(move |_, _| large());
    let device = device(&server, &["acme"]);
    assert_eq!(told(&device, &["bootstrap"]).0, Some(0));
    assert_eq!(told(&device, &["session"]).1["sessions"][0]["reason"], "invalid-message");
    device.write("secret", "x");
    device.configure(&format!(
        "[card]\nlink = \"off\"\n[bootstrap]\nsecret_file = \"secret\"\nurl = \"{}/b\"\n",
        server.base
    ));
    assert_eq!(call(&device, &["reset", "--yes"]).status.code(), Some(0));
    let (code, reply) = told(&device, &["bootstrap"]);
    let attempt = reply["attempts"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((code, &attempt["reason"]), (Some(3), &json!("invalid-message")), "{attempt}");
}

#[test]
fn a_reset_lets_the_clock_be_as_early_as_the_program() {
    let device = device(&making_server(), &["acme"]);
    let real = omadm_client::clock::at_start().0 + 24 * 3600;
    let ahead = Timestamp(real + 9 * 365 * 24 * 3600);
    let world = Clocked::new(real);
    device.open_in(world.clone()).bootstrap().unwrap();
    // As a session leaves it whose server had a wrong clock and a certificate to match.
    let text = device.state();
    let mut body: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    body["notes"]["written"] = ahead.to_string().into();
    let digest = Sha256::digest(format!("omadm-state 1\n{body}"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    device.write("state", &format!("omadm-state 1 {digest}\n{body}"));

    let mut client = device.open_in(world.clone());
    let mut schedule = Schedule::new();
    settle(&mut client, &mut schedule);
    let proven_at = |client: &Client| client.state().accounts.iter().next().unwrap().last_session.unwrap();
    assert!(proven_at(&client) >= ahead, "the floor is believed");
    assert_eq!(order(&mut client, &mut schedule, &Order::Reset {}).0, Exit::Done);
    assert!(client.state().known_time().0 < real, "{}", client.state().known_time());
    settle(&mut client, &mut schedule);
    assert!(proven_at(&client).0 < real + 3600, "{}", proven_at(&client));
    drop(client);
    assert!(device.open_in(world).state().known_time() < ahead, "it is durable");
}
