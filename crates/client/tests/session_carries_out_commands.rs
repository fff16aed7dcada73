//! A device with a factory file meets a DM Server: every command of a session is carried out in the world, credentials
//! and cookies go where they belong, and what has to be durable is.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::clocked::Clocked;
use kit::{Device, Request, Server, answer, message};
use omadm_client::schedule::Schedule;
use omadm_core::ids::SrvId;
use omadm_core::reason::Reason;

const REQUEST: &str = "application/vnd.oma.dm.request+json";
const BASIC: &str = "Basic YWNtZS0wMDAxOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==";

fn acme() -> SrvId {
    "acme".parse().unwrap()
}

/// A device that a factory file has bootstrapped for this server.
fn bootstrapped(server: &Server) -> Device {
    let device = Device::new();
    device.write("factory.json", &message("acme", &format!("{}/dm", server.base)));
    device.configure("example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    device
}

fn script(request: &Request, base: &str) -> kit::Answer {
    match request.line.as_str() {
        "POST /dm" if request.body.contains("BootstrapComplete") => {
            let commands = format!(
                r#"{{"CMD":[["GET","urn:oma:mo:oma-dm-devinfo:1.2//DevID"],["HPUT","{base}/data/devinfo","urn:oma:mo:oma-dm-devinfo:1.2//"],["HGET","{base}/data/example"],["EXEC","urn:oma:mo:oma-dm-devinfo:1.2//"],["HPUT","http://192.0.2.1/x","urn:oma:mo:oma-dm-devinfo:1.2//"],["HGET","https://127.0.0.1:1/x"]]}}"#
            );
            let mut reply = answer(200, REQUEST, &commands);
            reply.1.push("Set-Cookie: s=0123456789; Path=/dm; HttpOnly".to_owned());
            reply
        }
        "POST /dm" => answer(200, REQUEST, r#"{"CMD":[["END"]]}"#),
        "PUT /data/devinfo" => (204, vec![], String::new()),
        "GET /data/example" => answer(
            200,
            "application/vnd.oma.dm.mo+json",
            r#"[{"ClientURI":"urn:omadm:mo:example:1.0//","MOData":{"Example":{"Name":"made by acme"}}}]"#,
        ),
        other => panic!("{other}"),
    }
}

#[test]
fn every_command_of_a_session_is_carried_out() {
    let server = Server::start(script);
    let device = bootstrapped(&server);
    let mut client = device.open();
    client.bootstrap().unwrap();
    let report = client.session(&acme()).unwrap();
    assert!(report.ended, "{report:?}");
    let commands: Vec<_> = report.commands.iter().map(|(name, status)| format!("{name} {status}")).collect();
    assert_eq!(commands, ["GET 200", "HPUT 200", "HGET 200", "EXEC 501", "HPUT 400", "HGET 403"]);

    let seen = server.seen();
    let lines: Vec<_> = seen.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines, ["POST /dm", "PUT /data/devinfo", "GET /data/example", "POST /dm"]);
    for request in &seen {
        assert_eq!(request.header("authorization"), Some(BASIC), "{}", request.line);
        assert_eq!(request.header("omadm-devid"), Some("IMEI:493005100592800"));
    }
    let cookies: Vec<_> = seen.iter().map(|request| request.header("cookie")).collect();
    assert_eq!(cookies, [None, None, None, Some("s=0123456789")], "cookies go with packages only");
    assert_eq!(seen[0].header("content-type"), Some("application/vnd.oma.dm.initiation+json"));
    assert_eq!(seen[0].header("accept"), Some(REQUEST));
    assert_eq!(seen[3].header("content-type"), Some("application/vnd.oma.dm.response+json"));
    assert!(seen[1].body.contains("\"Man\":\"Example Devices\""), "{}", seen[1].body);
    assert!(seen[3].body.contains("IMEI:493005100592800"), "{}", seen[3].body);

    let status = client.status();
    let run = status.last_run;
    assert_eq!((run.apdus, run.round_trips), (0, 5), "one connection, four exchanges");
    assert!(run.bytes > 1000, "{run:?}");
    assert!(status.accounts[0].last_session.is_some());
    let text = serde_json::to_string(&status).unwrap();
    assert!(kit::is_secret_free(&text) && text.contains("\"state\":\"managed\""), "{text}");
}

#[test]
fn a_restart_asks_nothing_and_writes_nothing() {
    let server = Server::start(script);
    let device = bootstrapped(&server);
    let mut client = device.open();
    client.bootstrap().unwrap();
    assert!(client.session(&acme()).unwrap().ended);
    let cost = client.status().last_run;
    // The first session made an instance, so that the next one tells MOS anew.
    assert!(client.session(&acme()).unwrap().ended);
    drop(client);
    let (state, asked) = (device.state(), server.lines().len());
    let mut client = device.open();
    client.bootstrap().unwrap();
    assert_eq!(client.status().last_run, cost, "a start that changes nothing costs nothing");
    assert_eq!((device.state(), server.lines().len()), (state.clone(), asked));
    // A session that changes nothing but its own time is not worth a write either.
    assert!(client.session(&acme()).unwrap().ended);
    assert_eq!(device.state(), state);
    let opening = &server.seen()[asked];
    assert!(opening.body.contains("ClientInitiatedMgmt"), "{}", opening.body);
    assert!(!opening.body.contains("MOS"), "the server knows the instances already: {}", opening.body);
}

#[test]
fn a_bootstrap_and_its_session_replace_the_state_as_rarely_as_they_can() {
    let server = Server::start(|request, base| match request.line.as_str() {
        "POST /dm" => answer(200, REQUEST, r#"{"CMD":[["END"]]}"#),
        _ => script(request, base),
    });
    let device = bootstrapped(&server);
    let mut client = device.open();
    assert_eq!(client.replaced(), 0);
    client.bootstrap().unwrap();
    assert_eq!(client.replaced(), 1);
    client.session(&acme()).unwrap();
    assert_eq!(client.replaced(), 2);
}

#[test]
fn a_session_that_breaks_off_leaves_bootstrap_complete_due() {
    for (status, reason) in [(401, Reason::Http(401)), (503, Reason::Http(503)), (200, Reason::Http(200))] {
        let server = Server::start(move |_, _| answer(status, "text/html", "<html>"));
        let device = bootstrapped(&server);
        let mut client = device.open();
        client.bootstrap().unwrap();
        let report = client.session(&acme()).unwrap();
        assert_eq!((report.ended, report.reason), (false, Some(reason)));
        let account = client.state().accounts.iter().next().unwrap();
        assert!(account.bootstrap_complete_due && account.last_session.is_none());
        let note = client.status().accounts[0].session.clone().unwrap();
        assert!(!note.ended && note.alerts.is_empty(), "nothing was delivered");
    }
}

#[test]
fn a_package_is_not_sent_again_by_a_redirect() {
    let elsewhere = Server::start(|_, _| panic!("nothing is sent elsewhere"));
    let location = format!("Location: {}/dm", elsewhere.base);
    let server = Server::start(move |_, _| (307, vec![location.clone()], String::new()));
    let device = bootstrapped(&server);
    let mut client = device.open();
    client.bootstrap().unwrap();
    assert_eq!(client.session(&acme()).unwrap().reason, Some(Reason::Http(307)));
    assert_eq!(elsewhere.lines().len(), 0);
}

#[test]
fn an_account_without_credentials_uses_those_of_the_device() {
    let server = Server::start(|_, _| answer(200, REQUEST, r#"{"CMD":[["END"]]}"#));
    let device = Device::new();
    let message = message("acme", &format!("{}/dm", server.base));
    let (before, auth) = message.split_once(r#","Auth""#).unwrap();
    assert!(auth.ends_with("}}}}}]"));
    device.write("factory.json", &format!("{before}}}}}}}]"));
    device.write("secret", "enrolment secret\n");
    // Without a DM Bootstrap Server, and without a user: then it is the DevID.
    let login = "[bootstrap]\nsecret_file = \"secret\"\n";
    device.configure(&format!("[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n{login}"));
    let mut client = device.open();
    client.bootstrap().unwrap();
    assert!(client.session(&acme()).unwrap().ended);
    let expected = "Basic SU1FSSUzQTQ5MzAwNTEwMDU5MjgwMDplbnJvbG1lbnQgc2VjcmV0";
    assert_eq!(server.seen()[0].header("authorization"), Some(expected));
}

#[test]
fn each_account_has_its_sessions_and_each_session_its_cookies() {
    let named = |cookie: &'static str| {
        Server::start(move |request, _| {
            let commands = r#"{"CMD":[["GET","urn:oma:mo:oma-dm-devinfo:1.2//DevID"]]}"#;
            let is_first = request.body.contains("Alert");
            let mut reply = answer(200, REQUEST, if is_first { commands } else { r#"{"CMD":[["END"]]}"# });
            reply.1.extend(is_first.then(|| format!("Set-Cookie: {cookie}; HttpOnly")));
            reply
        })
    };
    let servers = [named("s=of-acme"), named("s=of-other")];
    let device = Device::new();
    let messages = ["acme", "other"].iter().zip(&servers).map(|(srv_id, server)| {
        let message = message(srv_id, &format!("{}/dm", server.base));
        message.trim_matches(['[', ']']).to_owned()
    });
    device.write("factory.json", &format!("[{}]", messages.collect::<Vec<_>>().join(",")));
    device.configure("[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n");
    let world = Clocked::new(2_000_000_000);
    let (mut client, mut schedule) = (device.open_in(world.clone()), Schedule::new());
    for _ in 0..2 {
        while schedule.step(&mut client).unwrap().is_none() {}
        world.pass(24 * 3600);
    }
    for (server, cookie) in servers.iter().zip(["s=of-acme", "s=of-other"]) {
        let cookies: Vec<_> = server.seen().iter().map(|one| one.header("cookie").map(str::to_owned)).collect();
        assert_eq!(cookies, [None, Some(cookie.to_owned()), None, Some(cookie.to_owned())], "two sessions");
    }
}

#[test]
fn a_session_without_end_is_left_after_half_an_hour() {
    let world = Clocked::new(2_000_000_000);
    let passing = world.clone();
    let server = Server::start(move |_, _| {
        passing.pass(16 * 60);
        answer(200, REQUEST, r#"{"CMD":[["GET","urn:oma:mo:oma-dm-devinfo:1.2//DevID"]]}"#)
    });
    let device = bootstrapped(&server);
    let mut client = device.open_in(world);
    client.bootstrap().unwrap();
    let report = client.session(&acme()).unwrap();
    assert_eq!((report.ended, report.reason), (false, Some(Reason::Timeout)));
    assert_eq!(server.lines().len(), 2, "after the second answer half an hour was over");
}

#[test]
fn a_bootstrap_message_adds_rights_on_what_the_device_made() {
    let server = Server::start(|request, _| {
        if request.body.contains("BootstrapComplete") {
            let mine = "urn:omadm:mo:example:1.0/mine/";
            return answer(200, REQUEST, &format!(r#"{{"CMD":[["GET","{mine}"],["DELETE","{mine}"]]}}"#));
        }
        answer(200, REQUEST, r#"{"CMD":[["END"]]}"#)
    });
    let account = message("acme", &format!("{}/dm", server.base));
    let account = account.trim_start_matches('[').trim_end_matches(']');
    let mine = r#"{"ClientURI":"urn:omadm:mo:example:1.0/mine/","MOData":{"Example":{"Name":"the device's own"}}}"#;
    let given = |rights: u8| {
        format!(
            r#",{{"ClientURI":"urn:oma:mo:oma-dm-dacmo:1.0//","MOData":{{"DACMO":{{"MOID":"urn:omadm:mo:example:1.0",
            "MIID":"mine","ACL":{{"1":{{"SrvID":"acme","Rights":{rights}}}}}}}}}}}"#
        )
    };
    let narrowed = "[access]\n\"urn:omadm:mo:example:1.0\" = [\"read\"]\n";
    for (rights, access, expected) in [
        (String::new(), "", ["GET 404", "DELETE 404"]),
        (given(1), "", ["GET 200", "DELETE 403"]),
        (given(3), "", ["GET 200", "DELETE 200"]),
        (given(3), narrowed, ["GET 200", "DELETE 403"]),
    ] {
        let device = Device::new();
        device.write("factory.json", &format!("[{account},{mine}{rights}]"));
        let usual = "example_mo = true\n[card]\nlink = \"off\"\n[factory]\nfile = \"factory.json\"\n";
        device.configure(&format!("{usual}{access}"));
        device.open().bootstrap().unwrap();
        // What was added is in the state file.
        let report = device.open().session(&acme()).unwrap();
        let commands: Vec<_> = report.commands.iter().map(|(name, status)| format!("{name} {status}")).collect();
        assert_eq!(commands, expected, "{rights} {access}");
    }
}
