//! The factory file as a bundle that is signed for one device, and encrypted: what is taken, and why the rest is not.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::clocked::Clocked;
use kit::{Device, Server, answer};
use omadm_client::state::Storage;
use omadm_core::bootstrap::sequence::{Run, RunResult};
use omadm_core::factory::bundle::{Enrolment, FactoryBundle};
use omadm_core::reason::{Method, Outcome, Reason};
use omadm_core::web::{Basic, media};
use omadm_tls::ca::{Identity, Use, Validity, self_signed};
use omadm_tls::cms::Sealer;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const DEV_ID: &str = "IMEI:493005100592800";
const FACTORY: &str = "[card]\nlink = \"off\"\n[factory]\nfile = \"bundle\"\n";
const SIGNED: &str =
    "[card]\nlink = \"off\"\n[factory]\nfile = \"bundle\"\nsigner = \"factory.pem\"\nkey = \"line.key\"\n";

fn message(srv_id: &str) -> String {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://dm.example/dm","Name":"x","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}}]"#
    )
}

/// A factory with its signing key and the key of its line.
struct Factory {
    signer: Identity,
    line: Identity,
}

impl Factory {
    fn new() -> Self {
        let make = |name, purpose| self_signed(name, purpose, Validity::of_ca(1_800_000_000)).unwrap();
        Self { signer: make("Factory", Use::Signing), line: make("Line", Use::Decrypting) }
    }

    fn bundle(&self, dev_id: &str, encrypted: bool) -> Vec<u8> {
        self.seal(dev_id, encrypted, None)
    }

    fn seal(&self, dev_id: &str, encrypted: bool, enrolment: Option<Enrolment>) -> Vec<u8> {
        let bundle = FactoryBundle::new(dev_id.parse().unwrap(), message("acme").as_bytes(), enrolment).unwrap();
        let readers = encrypted.then_some(&*self.line.certificate);
        Sealer::new(&self.signer, readers).unwrap().seal(&bundle.to_bytes().unwrap()).unwrap()
    }

    /// A device of this factory with this factory file.
    fn device(&self, configuration: &str, file: &[u8]) -> Device {
        let device = Device::new();
        device.configure(configuration);
        fs::write(device.path("bundle"), file).unwrap();
        fs::set_permissions(device.path("bundle"), fs::Permissions::from_mode(0o400)).unwrap();
        device.write("factory.pem", &self.signer.certificate);
        device.write("line.key", &self.line.key);
        device
    }
}

fn is_installed(run: &Run) -> bool {
    matches!(&run.result, RunResult::Bootstrapped { source, .. } if source.method == Method::Factory)
}

/// Why the factory file gave nothing.
fn refusal(run: &Run) -> (Reason, &str) {
    let attempt = run.attempts.iter().find(|attempt| attempt.method == Method::Factory).unwrap();
    assert_eq!((attempt.outcome, &run.result), (Outcome::Failed, &RunResult::Nothing), "{run:?}");
    assert!(run.next.is_some(), "something is tried again");
    (attempt.reason.unwrap(), &attempt.message)
}

#[test]
fn a_bundle_of_its_factory_is_taken_and_left_as_it_was() {
    let factory = Factory::new();
    for (configuration, encrypted) in [(SIGNED, true), (SIGNED, false), (FACTORY, false)] {
        let bundle = factory.bundle(DEV_ID, encrypted);
        let device = factory.device(configuration, &bundle);
        let run = device.open().bootstrap().unwrap();
        assert!(is_installed(&run), "{run:?}");
        assert_eq!(fs::read(device.path("bundle")).unwrap(), bundle);
    }
}

#[test]
fn a_plain_message_is_taken_unless_a_signer_is_asked_for() {
    let factory = Factory::new();
    let device = factory.device(FACTORY, message("acme").as_bytes());
    assert!(is_installed(&device.open().bootstrap().unwrap()));
    let device = factory.device(SIGNED, message("acme").as_bytes());
    let run = device.open().bootstrap().unwrap();
    let (reason, why) = refusal(&run);
    assert_eq!(reason, Reason::InvalidMessage);
    assert!(why.contains("bundle: nobody signed it"), "{why}");
}

#[test]
fn what_is_not_for_this_device_or_not_of_its_factory_is_refused_with_a_reason() {
    let (factory, other) = (Factory::new(), Factory::new());
    let mut changed = factory.bundle(DEV_ID, false);
    let place = changed.windows(4).position(|four| four == b"acme").unwrap();
    changed[place] = b'b';
    let cut = factory.bundle(DEV_ID, false)[..300].to_vec();
    let to_other_line = Factory { signer: factory.signer.clone(), line: other.line.clone() };
    let no_bundle = Sealer::new(&factory.signer, None).unwrap().seal(message("acme").as_bytes()).unwrap();
    for (file, reason, why) in [
        (factory.bundle("IMEI:1", true), Reason::InvalidMessage, "the bundle is for IMEI:1, and this device is"),
        (other.bundle(DEV_ID, false), Reason::InvalidMessage, "its signature is not good"),
        (changed, Reason::InvalidMessage, "its signature is not good"),
        (cut, Reason::MalformedMessage, "not a readable CMS file"),
        (to_other_line.bundle(DEV_ID, true), Reason::InvalidMessage, "the key does not decrypt it"),
        (no_bundle, Reason::InvalidMessage, "the bundle has no good member \"format\""),
    ] {
        let device = factory.device(SIGNED, &file);
        let run = device.open().bootstrap().unwrap();
        let refused = refusal(&run);
        assert!(refused.0 == reason && refused.1.contains(why), "{refused:?}, expected {reason}: {why}");
    }
}

#[test]
fn a_key_or_certificate_that_cannot_be_used_is_named() {
    let factory = Factory::new();
    let bundle = factory.bundle(DEV_ID, true);
    let run = |change: &dyn Fn(&Device)| {
        let device = factory.device(SIGNED, &bundle);
        change(&device);
        let run = device.open().bootstrap().unwrap();
        let (reason, why) = refusal(&run);
        assert_eq!(reason, Reason::NotConfigured, "{why}");
        why.to_owned()
    };
    let why = run(&|device| fs::remove_file(device.path("factory.pem")).unwrap());
    assert!(why.contains("factory.signer"), "{why}");
    let why = run(&|device| device.write("factory.pem", "nonsense"));
    assert!(why.contains("no certificate found"), "{why}");
    let open = fs::Permissions::from_mode(0o644);
    let why = run(&|device| fs::set_permissions(device.path("line.key"), open.clone()).unwrap());
    assert!(why.contains("factory.key") && why.contains("0600"), "{why}");
    let why = run(&|device| drop(device.configure(&SIGNED.replace("key = \"line.key\"\n", ""))));
    assert!(why.contains("it is encrypted, and no key"), "{why}");
}

#[test]
fn a_bundle_is_used_again_after_a_reset_which_keeps_nothing() {
    let factory = Factory::new();
    let bundle = factory.bundle(DEV_ID, true);
    let device = factory.device(SIGNED, &bundle);
    let mut client = device.open();
    assert!(is_installed(&client.bootstrap().unwrap()));
    device.write("state.damaged-001800000000", "an old account's secret");
    client.reset().unwrap();
    assert_eq!((client.status().accounts.len(), client.status().attempts.len()), (0, 0));
    assert!(!device.state().contains("acme"));
    let names = omadm_client::state::Disk::open(device.folder.path()).list().unwrap();
    assert!(!names.iter().any(|name| name.contains("damaged") || name.ends_with(".new")), "{names:?}");
    assert!(is_installed(&client.bootstrap().unwrap()));
    assert_eq!(fs::read(device.path("bundle")).unwrap(), bundle);
}

#[test]
fn the_secret_in_a_bundle_is_what_the_device_asks_its_server_with() {
    let factory = Factory::new();
    let enrolment = || Enrolment { user: "IMEI%3A493005100592800".to_owned(), secret: "hush".into() };
    let expected = Basic::new(enrolment().user, "hush".into()).unwrap().header_value();
    let expected = String::from_utf8(expected.expose().to_vec()).unwrap();
    let server = Server::start(move |request, _| match request.header("authorization") {
        Some(header) if header == expected => answer(200, media::BOOTSTRAP, &message("from-server")),
        _ => answer(403, "text/plain", ""),
    });
    let asking = format!("{SIGNED}[bootstrap]\nurl = \"{}/bootstrap\"\n[sim]\nwait = \"0s\"\n", server.base);
    // The message of the bundle is for another device than its secret would be: so the server is asked with nothing.
    let foreign = factory.device(&asking, &factory.seal("IMEI:1", true, Some(enrolment())));
    let run = foreign.open().bootstrap().unwrap();
    assert!(server.seen().is_empty());
    let asked = run.attempts.iter().find(|attempt| attempt.method == Method::BootstrapServer).unwrap();
    assert_eq!(asked.reason, Some(Reason::NotConfigured));
    assert!(asked.message.contains("the bundle is for IMEI:1"), "{}", asked.message);

    // Once the account of the bundle is stale the server is asked, by the secret in the bundle.
    let device = factory.device(&asking, &factory.seal(DEV_ID, true, Some(enrolment())));
    let world = Clocked::new(1_900_000_000);
    let mut client = device.open_in(world.clone());
    assert!(is_installed(&client.bootstrap().unwrap()));
    world.pass(8 * 24 * 3600);
    let run = client.bootstrap().unwrap();
    assert!(
        matches!(&run.result, RunResult::Bootstrapped { source, .. } if source.method == Method::BootstrapServer),
        "{run:?}"
    );
    assert_eq!(server.seen().len(), 1);
    assert!(!device.state().contains("hush"), "the secret stays in the bundle");
}
