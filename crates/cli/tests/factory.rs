//! A factory run from its list to the server's books, with a real server.

#![allow(clippy::unwrap_used)]

#[path = "kit/server.rs"]
mod server;

use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::factory::bundle::{FactoryBundle, MAX_FILE};
use omadm_core::factory::manifest::ManifestLine;
use omadm_tls::cms;
use serde_json::{Value, json};
use server::{Server, text};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server with a profile and the keys of a factory.
fn factory() -> Server {
    let factory = Server::start();
    let perm = json!({"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}});
    let account = json!({"SrvID": "acme", "Name": "Acme", "Perm": perm});
    let message = json!([{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2//", "MOData": {"DMAcc": account}}]);
    let profile = json!({"name": "meters", "match": {"default": true}, "message": message});
    factory.write("profile.json", &profile.to_string());
    factory.done(&["profile", "add", "profile.json"]);
    factory.done(&["factory", "key", "factory"]);
    factory.done(&["factory", "key", "line", "--line"]);
    factory
}

impl Server {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.omadm(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Exit code and summary under `--json`.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.omadm(&[arguments, &["--json"]].concat());
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        (output.status.code().unwrap(), value)
    }

    fn list(&self, numbers: std::ops::Range<u32>) {
        let rows: String = numbers.map(|number| format!("IMEI:{number},x\n")).collect();
        self.write("devices.csv", &format!("dev_id,note\n{rows}"));
    }

    fn manifest(&self) -> Vec<ManifestLine> {
        self.read("run/manifest.jsonl").lines().map(|line| ManifestLine::parse(line.as_bytes()).unwrap()).collect()
    }

    fn bundle(&self, line: &ManifestLine) -> FactoryBundle {
        let bytes = fs::read(self.path("run").join(&line.file)).unwrap();
        let signer = self.read("factory.pem");
        let content = cms::open(&bytes, Some(&signer), Some(self.read("line.key").as_bytes())).unwrap();
        FactoryBundle::parse(&content).unwrap()
    }

    fn messages_url(&self) -> (String, String) {
        let (url, token) = (self.ready["admin_url"].as_str().unwrap(), self.read("data/admin-token"));
        (format!("{url}/api/v1/messages"), format!("Bearer {}", token.trim()))
    }

    /// The users of all credentials that the server made for factories.
    fn issued(&self) -> Vec<String> {
        let (url, token) = self.messages_url();
        let mut answer = ureq::get(url).header("Authorization", token).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        let messages = answer["messages"].as_array().unwrap();
        messages.iter().map(|one| one["user"].as_str().unwrap().to_owned()).collect()
    }
}

const MAKE: &[&str] = &[
    "factory",
    "make",
    "devices.csv",
    "--profile",
    "meters",
    "--sign-key",
    "factory.key",
    "--sign-cert",
    "factory.pem",
    "--out",
    "run",
];
const ENCRYPTED: &[&str] = &["--encrypt-to", "line.pem"];

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn each_device_gets_a_bundle_of_its_own_and_the_manifest_tells_of_it() {
    let factory = factory();
    factory.list(0..450);
    let (code, made) = factory.json(&[MAKE, ENCRYPTED].concat());
    assert_eq!((code, &made["rows"], &made["made"], &made["refused"]), (0, &json!(450), &json!(450), &json!(0)));
    let manifest = factory.manifest();
    assert_eq!(manifest.len(), 450);
    let mut users = BTreeSet::new();
    for line in &manifest {
        let bundle = factory.bundle(line);
        assert_eq!((&bundle.dev_id, &bundle.enrolment), (&line.dev_id, &None));
        let message = BootstrapMessage::parse(bundle.message.expose(), Limit::Elsewhere).unwrap();
        let credential = message.accounts()[0].0.trsp.as_ref().unwrap();
        let mark = line.credential.as_ref().unwrap();
        assert_eq!(credential.data(), format!("basic:{}", mark.user).as_bytes());
        let password = text(credential.secret().unwrap().expose());
        assert!(!factory.read("run/run.json").contains(&password) && users.insert(mark.user.clone()));
        assert!(!line.to_line().unwrap().contains(&password));
    }
    assert_eq!(factory.issued().into_iter().collect::<BTreeSet<_>>(), users);
    let file = factory.path("run").join(&manifest[0].file);
    assert_eq!(
        (mode(factory.path("run")), mode(file.clone()), mode(factory.path("factory.key"))),
        (0o700, 0o600, 0o600)
    );

    // What everybody has at hand reads them too.
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(factory.folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    };
    let file = file.to_str().unwrap();
    let verify =
        ["cms", "-verify", "-inform", "DER", "-in", file, "-certfile", "factory.pem", "-nointern", "-noverify"];
    let inner = openssl(&[&verify[..], &["-binary", "-out", "inner.der"]].concat());
    assert!(inner.is_empty());
    let content = openssl(&["cms", "-decrypt", "-inform", "DER", "-in", "inner.der", "-inkey", "line.key", "-binary"]);
    assert_eq!(FactoryBundle::parse(&content).unwrap(), factory.bundle(&manifest[0]));
    assert!(
        openssl(&["dgst", "-sha256", "-hex", file]).ends_with(format!("{}\n", manifest[0].sha256.as_str()).as_bytes())
    );
}

/// As many as the server lists credentials at a time, or fewer.
const DEVICES: u32 = 900;

#[test]
fn a_run_that_is_killed_goes_on_and_nothing_is_issued_twice() {
    let factory = factory();
    factory.list(0..DEVICES);
    let mut lines = 0;
    for goal in [200, 400, 600] {
        let mut process = factory.command(&[MAKE, ENCRYPTED].concat()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while lines < goal {
            lines = fs::read_to_string(factory.path("run/manifest.jsonl")).unwrap_or_default().lines().count();
            assert!(std::time::Instant::now() < deadline && process.try_wait().unwrap().is_none(), "{lines} lines");
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let before = factory.manifest();
    let files: Vec<_> = before.iter().map(|line| fs::read(factory.path("run").join(&line.file)).unwrap()).collect();
    let (code, made) = factory.json(&[MAKE, ENCRYPTED].concat());
    assert_eq!((code, made["made_before"].as_u64()), (0, Some(before.len() as u64)), "{made}");
    assert_eq!(made["made"].as_u64().unwrap() + before.len() as u64, u64::from(DEVICES));
    let manifest = factory.manifest();
    assert_eq!(manifest[..before.len()], before[..], "what was done stays as it is");
    for (line, bytes) in before.iter().zip(files) {
        assert_eq!(fs::read(factory.path("run").join(&line.file)).unwrap(), bytes);
    }
    let devices: BTreeSet<_> = manifest.iter().map(|line| line.dev_id.clone()).collect();
    assert_eq!((devices.len(), manifest.len()), (DEVICES as usize, DEVICES as usize));
    let users: BTreeSet<_> = manifest.iter().map(|line| line.credential.as_ref().unwrap().user.clone()).collect();
    let issued = factory.issued();
    assert_eq!((issued.len(), issued.into_iter().collect::<BTreeSet<_>>()), (DEVICES as usize, users));
    assert!(
        !fs::read_dir(factory.path("run/bundles"))
            .unwrap()
            .any(|entry| { entry.unwrap().path().extension().is_some_and(|end| end == "new") })
    );
    let (code, again) = factory.json(&[MAKE, ENCRYPTED].concat());
    assert_eq!((code, &again["made"], &again["made_before"]), (0, &json!(0), &json!(DEVICES)));
}

#[test]
fn bad_rows_and_duplicates_are_listed_and_the_others_made() {
    let factory = factory();
    factory.write("devices.csv", "serial,dev_id\n1,IMEI:1\n2,IMEI 2\n3\n4,IMEI:1\n5,\"IMEI:5\n6,IMEI:6\n");
    let output = factory.omadm(MAKE);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("4 of 6 rows were refused") && errors.contains("run/rejects.csv"), "{errors}");
    assert_eq!(factory.manifest().iter().map(|line| line.dev_id.as_str()).collect::<Vec<_>>(), ["IMEI:1", "IMEI:6"]);
    let rejects = factory.read("run/rejects.csv");
    assert_eq!(mode(factory.path("run/rejects.csv")), 0o600, "a row may hold anything");
    let mut lines = rejects.lines();
    assert_eq!(lines.next(), Some("line,reason,row"));
    for expected in
        ["3,dev_id: not a DevID", "4,1 values; the header has 2", "5,the same device as in line 2", "6,a quoted value"]
    {
        let line = lines.next().unwrap();
        assert!(line.trim_start_matches('"').starts_with(expected) || line.contains(&expected[2..]), "{line}");
    }
    // Mended, the rest is made, and there is nothing to reject any more.
    factory.write("devices.csv", "serial,dev_id\n1,IMEI:1\n2,IMEI:2\n6,IMEI:6\n");
    let (code, made) = factory.json(MAKE);
    assert_eq!((code, &made["made"], &made["made_before"], &made["rejects"]), (0, &json!(1), &json!(2), &Value::Null));
    assert!(!factory.path("run/rejects.csv").exists());
}

#[test]
fn a_bundle_that_its_device_would_not_read_is_not_made() {
    let factory = factory();
    factory.list(0..2);
    // So large that the message is good and the bundle, with its signature, is not.
    let store = |ballast: usize| {
        let mut profile: Value = serde_json::from_str(&factory.read("profile.json")).unwrap();
        let ballast = json!({"ClientURI": "urn:x:mo:x:1.0//", "MOData": {"X": {"Ballast": "b".repeat(ballast)}}});
        profile["message"].as_array_mut().unwrap().push(ballast);
        factory.write("large.json", &profile.to_string());
        factory.done(&["profile", "add", "large.json"]);
    };
    store(0);
    let (url, token) = factory.messages_url();
    let order = json!({"profile": "meters", "for": "factory"}).to_string();
    let mut answer =
        ureq::post(url).header("Authorization", token).header("Content-Type", "application/json").send(order).unwrap();
    let length = answer.body_mut().read_to_vec().unwrap().len();
    let issued = factory.issued();
    store(MAX_FILE - 100 - length);
    let (code, made) = factory.json(&[MAKE, ENCRYPTED, &["--enrol"]].concat());
    assert_eq!((code, &made["made"], &made["refused"]), (1, &json!(0), &json!(2)));
    let rejects = factory.read("run/rejects.csv");
    assert!(rejects.contains("at most fit into its bundle"), "{rejects}");
    assert_eq!(factory.issued(), issued, "no credential is left that is in no bundle");
    assert_eq!(factory.json(&["device", "list"]).1, json!([]), "and no device is known by what is in no bundle");
    assert_eq!(fs::read_dir(factory.path("run/bundles")).unwrap().count(), 0);
    // A little smaller, and each is made and read.
    store(MAX_FILE - 10_000 - length);
    let (code, made) = factory.json(&[MAKE, ENCRYPTED, &["--enrol"]].concat());
    assert_eq!((code, &made["made"]), (0, &json!(2)));
    for line in factory.manifest() {
        assert!(fs::metadata(factory.path("run").join(&line.file)).unwrap().len() as usize <= MAX_FILE);
        factory.bundle(&line);
    }
}

#[test]
fn an_import_makes_devices_known_and_a_second_one_changes_nothing() {
    let factory = factory();
    factory.list(0..700);
    factory.done(MAKE);
    let import = ["factory", "import", "run/manifest.jsonl"];
    let (code, imported) = factory.json(&import);
    assert_eq!((code, &imported["added"], &imported["unchanged"]), (0, &json!(700), &json!(0)));
    let (code, imported) = factory.json(&import);
    assert_eq!((code, &imported["added"], &imported["unchanged"]), (0, &json!(0), &json!(700)));

    let (_, devices) = factory.json(&["device", "list"]);
    assert_eq!(devices.as_array().unwrap().len(), 700);
    assert_eq!((&devices[0]["state"], &devices[0]["source"]), (&json!("known"), &json!("factory")));
    let shown = factory.done(&["device", "show", "IMEI:7"]);
    assert!(shown.contains("factory") && shown.contains("meters") && shown.contains("not used yet"), "{shown}");
    let why = factory.done(&["device", "why", "IMEI:7"]);
    assert!(why.contains("profile meters") && why.contains("not used yet"), "{why}");
}

#[test]
fn a_line_that_is_wrong_is_named_and_the_others_are_imported() {
    let factory = factory();
    factory.list(0..3);
    factory.done(MAKE);
    let manifest = factory.read("run/manifest.jsonl");
    let lines: Vec<&str> = manifest.lines().collect();
    let user = factory.manifest()[1].credential.as_ref().unwrap().user.clone();
    let foreign = lines[1].replace(&user, "somebody");
    let unsure = lines[2].replace("sha256", "sha");
    factory.write("bad.jsonl", &format!("{}\nnonsense\n{foreign}\n{unsure}\n\"4711\"\n4712", lines[0]));
    let output = factory.omadm(&["factory", "import", "bad.jsonl"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for expected in [
        "bad.jsonl:2: not readable as JSON\n",
        "bad.jsonl:3: IMEI:1: its credential was not made here",
        "bad.jsonl:4: IMEI:2: not a line of a manifest",
        "bad.jsonl:5: not a line of a manifest",
        "5 of 6 lines",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let is_quoted = |text: &str| ["nonsense", "4711", "4712"].iter().any(|secret| text.contains(secret));
    assert!(!is_quoted(&errors), "{errors}");
    let (code, imported) = factory.json(&["factory", "import", "bad.jsonl", "--rejects", "rejects.csv"]);
    assert_eq!((code, &imported["unchanged"], &imported["refused"]), (1, &json!(1), &json!(5)));
    let rejects = factory.read("rejects.csv");
    assert!(rejects.lines().count() == 6 && !is_quoted(&rejects), "{rejects}");
    assert_eq!(mode(factory.path("rejects.csv")), 0o600);
    factory.write("card.json", "{\n  \"pin\": \"4711\"\n}\n");
    factory.write("pins.csv", "4711\n4711\n");
    for wrong in ["card.json", "pins.csv"] {
        let output = factory.omadm(&["factory", "import", wrong, "--rejects", "none.csv"]);
        let errors = text(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains("this is no manifest"), "{errors}");
        assert!(!is_quoted(&errors) && !factory.path("none.csv").exists(), "{errors}");
    }
    factory.write("long.jsonl", &"x".repeat(10_000));
    assert_eq!(factory.omadm(&["factory", "import", "long.jsonl"]).status.code(), Some(2));
    factory.write("empty.jsonl", "");
    assert_eq!(factory.omadm(&["factory", "import", "empty.jsonl"]).status.code(), Some(3));
}

#[test]
fn the_file_of_rejects_that_a_person_names_is_theirs() {
    let factory = factory();
    factory.list(0..1);
    factory.done(MAKE);
    factory.write("notes.txt", "mine");
    let import = ["factory", "import", "run/manifest.jsonl", "--rejects"];
    let output = factory.omadm(&[&import[..], &["notes.txt"]].concat());
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("--force"), "{}", text(&output.stderr));
    assert_eq!(factory.json(&[&import[..], &["notes.txt", "--force"]].concat()).0, 0);
    assert_eq!(factory.read("notes.txt"), "mine", "nothing was refused");
    let manifest = factory.read("run/manifest.jsonl");
    assert_eq!(factory.omadm(&[&import[..], &["run/manifest.jsonl"]].concat()).status.code(), Some(2));
    assert_eq!(factory.read("run/manifest.jsonl"), manifest);
    factory.write("bad.jsonl", &(manifest + "{}\n"));
    let import = ["factory", "import", "bad.jsonl", "--rejects", "notes.txt", "--force"];
    assert_eq!(factory.json(&import).0, 1);
    assert!(factory.read("notes.txt").starts_with("line,reason,row\n"));
    assert_eq!(mode(factory.path("notes.txt")), 0o600);
}

#[test]
fn a_bundle_may_hold_what_its_device_enrols_by() {
    let factory = factory();
    factory.list(1..3);
    factory.done(&["device", "add", "IMEI:2"]);
    let (code, made) = factory.json(&[MAKE, &["--enrol"]].concat());
    assert_eq!((code, &made["made"], &made["refused"]), (1, &json!(1), &json!(1)));
    assert!(factory.read("run/rejects.csv").contains("what it enrols by"));
    let manifest = factory.manifest();
    let enrolment = factory.bundle(&manifest[0]).enrolment.unwrap();
    assert_eq!(enrolment.user, "IMEI%3A1");
    let secret = text(enrolment.secret.expose());
    assert!(secret.len() >= 32 && !factory.read("run/manifest.jsonl").contains(&secret));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let factory = factory();
    factory.list(0..1);
    fs::set_permissions(factory.path("line.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(factory.path("full")).unwrap();
    factory.write("full/letter", "");
    let with = |old: &str, new: &str| -> (Option<i32>, String) {
        let arguments: Vec<&str> = MAKE.iter().map(|word| if *word == old { new } else { *word }).collect();
        let output = factory.omadm(&arguments);
        (output.status.code(), text(&output.stderr))
    };
    for (old, new, expected) in [
        ("devices.csv", "none.csv", "cannot read none.csv"),
        ("devices.csv", "profile.json", "a header that names the column dev_id"),
        ("meters", "none", "no profile of this name"),
        ("factory.key", "line.key", "has mode 0644"),
        ("factory.pem", "line.pem", "does not belong to the first certificate"),
        ("factory.pem", "devices.csv", "no certificate found"),
        ("run", "full", "not the folder of a factory run"),
    ] {
        let (code, errors) = with(old, new);
        assert!(code == Some(2) && errors.contains(expected), "{new}: {code:?} {errors}");
    }
    assert!(factory.issued().is_empty());
    assert!(!factory.path("run").exists(), "no folder is bound to what cannot be");
    let output = factory.omadm(&["factory", "key", "factory"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("never replaced"));
}

/// The most memory that a program had, in KiB, once it ended.
fn peak_memory(process: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    while process.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        // Often enough: it only ever grows.
        std::thread::sleep(std::time::Duration::from_millis(5));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
    }
    peak
}

#[test]
fn a_long_list_takes_little_memory() {
    const ROWS: u32 = 30_000;
    let factory = factory();
    factory.list(0..1);
    factory.done(MAKE);
    let first = factory.read("run/manifest.jsonl");
    let lines: String = (0..ROWS).map(|number| first.replace("IMEI:0", &format!("IMEI:{number}"))).collect();
    factory.write("run/manifest.jsonl", &lines);
    factory.list(0..ROWS);
    // A line without an end is none that anybody has to remember either.
    let mut list = factory.read("devices.csv");
    list.push_str(&"x".repeat(40 << 20));
    factory.write("devices.csv", &list);
    let mut process = factory.command(&[MAKE, &["--json"]].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let peak = peak_memory(&mut process);
    let made: Value = serde_json::from_reader(process.stdout.take().unwrap()).unwrap();
    assert_eq!((&made["made_before"], &made["refused"]), (&json!(ROWS), &json!(1)));
    assert!((1..32 * 1024).contains(&peak), "{peak} KiB");
}
