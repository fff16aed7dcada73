//! The client's end of a session against the server's end, over a network that is a function (spec 3, 5).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use omadm_core::access::DeviceRights;
use omadm_core::account::{AccountBook, Change, InstalledAccount, Judgement, Source};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::ids::Moid;
use omadm_core::mo::{Definitions, Node, Tree};
use omadm_core::package::{Alert, BOOTSTRAP_COMPLETE, CLIENT_INITIATED, Command, Package1, Package2, Package3, Status};
use omadm_core::reason::{Method, Reason};
use omadm_core::session::client::{
    ClientSession, HttpAnswer, HttpFailure, Input, Output, Report, Retry, SessionSetup, UploadMethod,
};
use omadm_core::session::server::{Job, ServerSession};
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use serde_json::{Value, json};

const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
const EXAMPLE: &str = "urn:omadm:mo:example:1.0";

fn account() -> InstalledAccount {
    let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": {
        "SrvID": "acme", "SrvURI": "https://dm.example/dm", "Name": "Acme",
        "Perm": {"1": {"MOID": DEVINFO}, "2": {"MOID": EXAMPLE}},
        "Ext": {"omadm": {"Origins": "https://other.example"}},
    }}}]);
    let message = BootstrapMessage::parse(message.to_string().as_bytes(), Limit::Elsewhere).unwrap();
    let source = Source { method: Method::Factory, origin: "/f".to_owned() };
    let by = Judgement { now: Timestamp(1_000_000), stale_after: 3600 };
    let Change::Installed(book) = AccountBook::default().install(message.accounts(), &source, by).unwrap() else {
        panic!("installed")
    };
    book.iter().next().unwrap().clone()
}

fn tree(definitions: &Definitions) -> Tree {
    let mut tree = Tree::new();
    let moid: Moid = DEVINFO.parse().unwrap();
    let texts = [
        ("DevID", "IMEI:493005100592800"),
        ("Man", "Example Devices"),
        ("Mod", "Meter 3"),
        ("DmV", "2.0"),
        ("Lang", "en"),
        ("DevType", "meter"),
        ("OEM", "Example Devices"),
        ("FwV", "3.1.0"),
        ("SwV", "7.2"),
        ("HwV", "B"),
    ];
    let root = Node::interior(texts.map(|(name, text)| (name, Node::chr(text))));
    tree.put_local(definitions, &moid, "1".parse().unwrap(), root).unwrap();
    tree
}

/// The world around a client: a DM Server with a queue, a data repository, a disk.
struct World {
    account: InstalledAccount,
    definitions: Arc<Definitions>,
    tree: Tree,
    /// Jobs for the packages to come, one list each.
    queue: Vec<Vec<Vec<Value>>>,
    /// What the repository has for GET.
    files: BTreeMap<String, HttpAnswer>,
    /// How the repository answers PUT and POST, in order; 204 when used up.
    upload_answers: Vec<HttpAnswer>,
    disk_full: bool,
    /// What was seen.
    package1: Option<Package1>,
    urls: Vec<String>,
    statuses: Vec<Vec<Status>>,
    uploads: Vec<(UploadMethod, String, Vec<u8>)>,
    writes: usize,
}

impl World {
    fn new(queue: Vec<Vec<Vec<Value>>>) -> Self {
        let definitions = Arc::new(Definitions::standard());
        let tree = tree(&definitions);
        Self {
            account: account(),
            definitions,
            tree,
            queue,
            files: BTreeMap::new(),
            upload_answers: Vec::new(),
            disk_full: false,
            package1: None,
            urls: Vec::new(),
            statuses: Vec::new(),
            uploads: Vec::new(),
            writes: 0,
        }
    }

    fn setup(&self, alert: &str) -> SessionSetup {
        SessionSetup {
            account: self.account.clone(),
            alerts: vec![Alert::of_type(alert)],
            mos_asked: false,
            definitions: self.definitions.clone(),
            rights: DeviceRights::default(),
            tree: self.tree.clone(),
        }
    }

    fn run(&mut self) -> Report {
        let mut client = ClientSession::new(self.setup(BOOTSTRAP_COMPLETE));
        let mut server = ServerSession::new();
        let mut output = client.start();
        for _ in 0..10_000 {
            let input = match output {
                Output::Finished(report) => return *report,
                Output::Persist(tree) => {
                    self.writes += 1;
                    if !self.disk_full {
                        self.tree = *tree;
                    }
                    Input::Persisted(if self.disk_full { Err("no space left".to_owned()) } else { Ok(()) })
                }
                Output::Fetch { url, .. } => match self.files.get(url.as_str()) {
                    Some(answer) => Input::Answer(answer.clone()),
                    None => Input::Failed(HttpFailure::Connect("no such host".to_owned())),
                },
                Output::Upload { method, content_type, body, .. } => {
                    self.uploads.push((method, content_type.to_owned(), body));
                    let answer = HttpAnswer { status: 204, ..HttpAnswer::default() };
                    let answer = if self.upload_answers.is_empty() { answer } else { self.upload_answers.remove(0) };
                    Input::Answer(answer)
                }
                Output::Send { url, content_type, body } => {
                    self.urls.push(url.to_string());
                    Input::Answer(self.serve(&mut server, content_type, &body))
                }
            };
            output = client.handle(input);
        }
        panic!("the session does not end")
    }

    fn serve(&mut self, server: &mut ServerSession, content_type: &str, body: &[u8]) -> HttpAnswer {
        let commands = if self.queue.is_empty() { Vec::new() } else { self.queue.remove(0) };
        let commands: Vec<_> = commands.into_iter().map(|one| Command::from_json(Value::Array(one))).collect();
        let jobs = if commands.is_empty() { Vec::new() } else { vec![Job { id: "job".to_owned(), commands }] };
        let turn = match content_type {
            media::INITIATION => {
                let package1 = Package1::parse(body).unwrap();
                let turn = server.begin(&package1, jobs);
                self.package1 = Some(package1);
                turn
            }
            media::RESPONSE => {
                let turn = server.proceed(&Package3::parse(body).unwrap(), jobs).unwrap();
                self.statuses.extend(turn.results.iter().map(|one| one.statuses.clone()));
                turn
            }
            other => panic!("{other}"),
        };
        package2(turn.reply.to_bytes())
    }

    /// The status codes of the first job.
    fn codes(&self) -> Vec<u16> {
        self.statuses[0].iter().map(|status| status.sc.0).collect()
    }
}

fn package2(body: Vec<u8>) -> HttpAnswer {
    HttpAnswer { status: 200, content_type: Some(media::REQUEST.to_owned()), body, ..HttpAnswer::default() }
}

fn file(body: &str) -> HttpAnswer {
    let content_type = Some(format!("{}; charset=utf-8", media::MO));
    HttpAnswer { status: 200, content_type, body: body.as_bytes().to_vec(), ..HttpAnswer::default() }
}

fn words(words: &[&str]) -> Vec<Value> {
    words.iter().map(|word| json!(word)).collect()
}

fn one_job(commands: &[&[&str]]) -> World {
    World::new(vec![commands.iter().map(|one| words(one)).collect()])
}

const DEVINFO_ROOT: &str = "urn:oma:mo:oma-dm-devinfo:1.2//";

#[test]
fn the_first_session_reports_bootstrap_and_is_read() {
    let mut world = one_job(&[
        &["HPUT", "https://dm.example/data/t/devinfo", DEVINFO_ROOT],
        &["GET", "urn:oma:mo:oma-dm-devinfo:1.2//DevID"],
    ]);
    let report = world.run();
    assert!(report.ended && report.answered && report.reason.is_none());
    assert_eq!((report.packages, report.retry), (2, Retry::None));
    assert_eq!(world.codes(), [200, 200]);
    let (method, content_type, body) = &world.uploads[0];
    assert_eq!((*method, content_type.as_str()), (UploadMethod::Put, media::MO));
    assert_eq!(body, include_bytes!("samples/devinfo-upload.json"));
    let got = &world.statuses[0][1].data.as_ref().unwrap()[0]["MOData"]["DevInfo"]["DevID"];
    assert_eq!(got, "IMEI:493005100592800");
    let mos = world.package1.unwrap().mos.expect("MOS is sent after bootstrap");
    let listed: Vec<_> = mos.iter().map(|item| (item.moid.as_str(), item.miids.len())).collect();
    assert_eq!(listed, [(DEVINFO, 1), (EXAMPLE, 0)]);
    assert_eq!(report.mos_answered, Some(mos));
    assert_eq!(world.writes, 0, "reading changes nothing");
}

#[test]
fn a_command_that_fails_does_not_stop_the_next() {
    let mut world = World::new(vec![vec![
        words(&["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Nothing"]),
        words(&["GET", "%%%"]),
        words(&["GET", "urn:vendor:mo:other:1.0//"]),
        words(&["DELETE", DEVINFO_ROOT]),
        words(&["EXEC", DEVINFO_ROOT]),
        words(&["DANCE"]),
        vec![json!("GET"), json!(7)],
        words(&["HPUT", "ftp://dm.example/x", DEVINFO_ROOT]),
        words(&["HPUT", "http://dm.example/x", DEVINFO_ROOT]),
        words(&["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Mod"]),
    ]]);
    assert!(world.run().ended);
    assert_eq!(world.codes(), [404, 400, 403, 403, 501, 501, 400, 400, 400, 200]);
}

#[test]
fn an_instance_is_made_changed_and_deleted_durably() {
    let hall = "https://dm.example/data/t/hall";
    let target = "https://dm.example/data/t/target";
    let mut world = World::new(vec![vec![words(&["HGET", hall])]]);
    let item = json!([{"ClientURI": format!("{EXAMPLE}//"), "MOData": {"Example": {"Name": "hall", "Target": 21.5}}}]);
    world.files.insert(hall.to_owned(), file(&item.to_string()));
    assert!(world.run().ended);
    let uri = world.statuses[0][0].uris[0].clone();
    assert_eq!((world.codes(), world.writes), (vec![200], 1));
    let instance = uri.strip_prefix(&format!("{EXAMPLE}/")).unwrap().trim_end_matches('/').to_owned();

    let node = format!("{EXAMPLE}/{instance}/Target");
    world.queue = vec![vec![
        words(&["HGET", target, &node]),
        words(&["GET", &node]),
        words(&["DELETE", &uri]),
        words(&["GET", &node]),
    ]];
    world.files.insert(target.to_owned(), file(r#"{"MOData":{"Example":{"Target":19}}}"#));
    world.statuses.clear();
    world.run();
    assert_eq!(world.codes(), [200, 200, 200, 404]);
    assert_eq!(world.statuses[0][1].data.as_ref().unwrap()[0]["MOData"]["Example"]["Target"], json!(19.0));
    assert!(world.statuses[0][0].uris.is_empty(), "the server chose the place itself");
    assert_eq!(world.writes, 3);
}

#[test]
fn a_change_that_cannot_be_made_durable_is_taken_back() {
    let hall = "https://dm.example/data/t/hall";
    let mut world = one_job(&[&["HGET", hall], &["GET", "urn:omadm:mo:example:1.0/*/Name"]]);
    let item = json!([{"ClientURI": format!("{EXAMPLE}//"), "MOData": {"Example": {"Name": "hall", "Target": 1}}}]);
    world.files.insert(hall.to_owned(), file(&item.to_string()));
    world.disk_full = true;
    world.run();
    assert_eq!(world.codes(), [507, 404]);
}

#[test]
fn what_does_not_fit_into_a_package_is_too_large() {
    let note = |length| {
        json!([{"ClientURI": format!("{EXAMPLE}//"), "MOData": {"Example": {
        "Name": "hall", "Target": 1, "Note": "x".repeat(length)}}}])
    };
    let url = "https://dm.example/data/t/note";
    let get: &[&str] = &["GET", "urn:omadm:mo:example:1.0/*/Note"];
    let mut world = one_job(&[&["HGET", url], get, get, &["GET", DEVINFO_ROOT]]);
    world.files.insert(url.to_owned(), file(&note(600_000).to_string()));
    assert!(world.run().ended);
    assert_eq!(world.codes(), [200, 200, 413, 200]);
}

#[test]
fn the_repository_decides_the_status() {
    let uri = DEVINFO_ROOT;
    let answer = |status, accept: Option<&str>| HttpAnswer {
        status,
        accept: accept.map(str::to_owned),
        ..HttpAnswer::default()
    };
    let put: &[&str] = &["HPUT", "https://dm.example/x", uri];
    let post: &[&str] = &["HPOST", "https://dm.example/x", uri];
    let mut world = one_job(&[put, put, put, put, put, put, post]);
    world.upload_answers = vec![
        answer(413, None),
        answer(500, None),
        answer(307, None),
        answer(415, None),
        answer(415, Some("text/plain, application/json")),
        answer(201, None),
        answer(415, Some("application/json")),
        answer(415, Some("application/json")),
        answer(415, Some("application/json")),
    ];
    world.run();
    assert_eq!(world.codes(), [413, 502, 502, 406, 200, 406, 406]);
    assert_eq!(world.uploads.len(), 9, "the POST was not repeated");
    assert_eq!(world.uploads[5].1, media::JSON, "sent once more in a type that the repository lists");

    let file_of = |status, content_type: &str, body: &str| HttpAnswer {
        status,
        content_type: Some(content_type.to_owned()),
        body: body.as_bytes().to_vec(),
        ..HttpAnswer::default()
    };
    let mut world = one_job(&[
        &["HGET", "https://dm.example/missing"],
        &["HGET", "https://dm.example/gone"],
        &["HGET", "https://dm.example/html"],
        &["HGET", "https://dm.example/broken"],
    ]);
    world.files.insert("https://dm.example/gone".to_owned(), file_of(404, media::MO, ""));
    world.files.insert("https://dm.example/html".to_owned(), file_of(200, "text/html", "<p>"));
    world.files.insert("https://dm.example/broken".to_owned(), file_of(200, media::MO, "[{"));
    world.run();
    assert_eq!(world.codes(), [502, 502, 406, 400]);
    assert_eq!(world.writes, 0);
}

#[test]
fn a_session_moves_within_the_trusted_origins_only() {
    let mut world = World::new(vec![
        vec![words(&["CONT", "https://evil.example/dm"]), words(&["CONT", "nonsense"])],
        vec![words(&["CONT", "https://dm.example/first"]), words(&["CONT", "https://other.example/dm?token=1"])],
        vec![words(&["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Mod"])],
    ]);
    assert!(world.run().ended);
    assert_eq!(world.codes(), [403, 400]);
    assert_eq!(
        world.urls,
        [
            "https://dm.example/dm",
            "https://dm.example/dm",
            "https://other.example/dm?token=1",
            "https://other.example/dm?token=1"
        ],
        "the last CONT wins"
    );
}

/// Runs a session against Package#2 bodies that a script gives, without a server.
fn scripted(answers: Vec<Input>) -> (Report, Vec<Vec<u8>>) {
    let world = World::new(Vec::new());
    let mut client = ClientSession::new(world.setup(CLIENT_INITIATED));
    let mut output = client.start();
    let mut bodies = Vec::new();
    let mut answers = answers.into_iter();
    loop {
        match output {
            Output::Finished(report) => return (*report, bodies),
            Output::Send { body, .. } => {
                bodies.push(body);
                output = client.handle(answers.next().expect("no further package"));
            }
            Output::Upload { .. } => {
                let answer = HttpAnswer { status: 204, ..HttpAnswer::default() };
                output = client.handle(Input::Answer(answer));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn commands(list: Value) -> Input {
    Input::Answer(package2(json!({ "CMD": list }).to_string().into_bytes()))
}

#[test]
fn end_lets_the_other_commands_run_and_is_not_answered() {
    let (report, bodies) = scripted(vec![commands(json!([
        ["CONT", "https://other.example/"],
        ["END"],
        ["HPUT", "https://dm.example/x", DEVINFO_ROOT]
    ]))]);
    assert!(report.ended);
    assert_eq!(bodies.len(), 1, "no Package#3 after END");
    let done: Vec<_> = report.commands.iter().map(|(name, sc)| (name.as_str(), sc.0)).collect();
    assert_eq!(done, [("CONT", 200), ("HPUT", 200)]);
}

#[test]
fn two_empty_packages_end_the_session() {
    let (report, bodies) = scripted(vec![commands(json!([])), commands(json!([]))]);
    assert!(report.ended);
    assert_eq!(bodies[1], br#"{"Status":[]}"#);
}

#[test]
fn a_server_that_never_ends_is_left() {
    let get = || commands(json!([["GET", "urn:oma:mo:oma-dm-devinfo:1.2//Mod"]]));
    let (report, bodies) = scripted((0..64).map(|_| get()).collect());
    assert_eq!((report.ended, report.reason, bodies.len()), (false, Some(Reason::InvalidMessage), 64));
}

#[test]
fn what_is_no_package2_has_its_reason() {
    let answer = |status, content_type: &str, body: &str| {
        Input::Answer(HttpAnswer {
            status,
            content_type: Some(content_type.to_owned()),
            retry_after: Some(77),
            body: body.as_bytes().to_vec(),
            ..HttpAnswer::default()
        })
    };
    let backoff = Retry::Backoff { retry_after: None };
    let cases = [
        (answer(401, "", ""), Reason::Http(401), Retry::Refused),
        (answer(403, "", ""), Reason::Http(403), Retry::Refused),
        (answer(404, "", ""), Reason::Http(404), Retry::Slow),
        (answer(503, "", ""), Reason::Http(503), Retry::Backoff { retry_after: Some(77) }),
        (answer(302, "", ""), Reason::Http(302), Retry::Slow),
        (answer(204, "", ""), Reason::Http(204), Retry::Slow),
        (answer(200, "text/html", "{}"), Reason::Http(200), Retry::Slow),
        (answer(200, media::REQUEST, "{}"), Reason::MalformedMessage, Retry::Slow),
        (answer(200, media::REQUEST, r#"{"CMD":[],"CMD":[]}"#), Reason::MalformedMessage, Retry::Slow),
        (Input::Failed(HttpFailure::Timeout), Reason::Timeout, backoff),
        (Input::Failed(HttpFailure::Connect("x".to_owned())), Reason::Connect, backoff),
        (Input::Failed(HttpFailure::Tls("x".to_owned())), Reason::Tls, backoff),
        (Input::Failed(HttpFailure::Clock("x".to_owned())), Reason::Clock, backoff),
    ];
    for (input, reason, retry) in cases {
        let (report, _) = scripted(vec![input.clone()]);
        assert_eq!((report.ended, report.reason, report.retry), (false, Some(reason), retry), "{input:?}");
        assert!(!report.answered && report.mos_answered.is_none() && !report.message.is_empty());
    }
}

#[test]
fn mos_goes_out_when_it_is_due() {
    let mut world = World::new(Vec::new());
    let mos = |world: &World, asked| {
        let mut setup = world.setup(CLIENT_INITIATED);
        setup.mos_asked = asked;
        let Output::Send { body, .. } = ClientSession::new(setup).start() else { panic!("Package#1") };
        Package1::parse(&body).unwrap().mos
    };
    assert!(mos(&world, false).is_some(), "bootstrap is not answered yet");
    world.account.bootstrap_complete_due = false;
    world.account.mos_answered = mos(&world, true);
    assert!(mos(&world, false).is_none(), "nothing changed since");
    assert!(mos(&world, true).is_some(), "the server asked");
    let moid: Moid = EXAMPLE.parse().unwrap();
    world.tree.remove(&DEVINFO.parse().unwrap(), &"1".parse().unwrap());
    assert!(mos(&world, false).is_some(), "the instances changed");
    assert!(world.tree.instances(&moid).next().is_none());
}

#[test]
fn package2_of_the_client_is_what_the_server_wrote() {
    let turn = ServerSession::new().begin(&Package1::default(), Vec::new());
    assert_eq!(turn.reply.to_bytes(), include_bytes!("samples/package2-end.json"));
    assert_eq!(Package2::parse(&turn.reply.to_bytes()).unwrap(), turn.reply);
}

#[test]
fn a_name_that_nobody_knows_is_reported_in_brief() {
    let (report, _) = scripted(vec![commands(json!([["X".repeat(100_000)], ["END"]]))]);
    assert_eq!(report.commands[0].0.len(), 32);
    assert_eq!(report.commands[0].1.0, 501);
    let name = "k".repeat(100_000);
    let body = format!("{{\"{name}\":1,\"{name}\":2}}").into_bytes();
    let answer =
        HttpAnswer { status: 200, content_type: Some(media::REQUEST.to_owned()), body, ..HttpAnswer::default() };
    let (report, _) = scripted(vec![Input::Answer(answer)]);
    assert!(report.message.len() < 600 && report.reason == Some(Reason::MalformedMessage));
}
