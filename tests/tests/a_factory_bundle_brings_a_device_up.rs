//! From a list of devices to managed ones: bundles are made, imported and put into real clients; a reset uses the bundle
//! again, and whoever has another's gets nothing by it.

use std::path::Path;

use omadm_core::factory::bundle::FactoryBundle;
use omadm_tests::{Device, Fleet, private_file, until};
use omadm_tls::cms;

const FIRST: &str = "IMEI:490154203237583";
const SECOND: &str = "IMEI:490154203237591";

/// A server, and a factory run for both devices beside its data.
struct Factory {
    fleet: Fleet,
}

impl Factory {
    fn new(more: &[&str]) -> Self {
        let factory = Self { fleet: Fleet::start() };
        factory.fleet.add_default_profile();
        private_file(&factory.fleet.join("devices.csv"), format!("dev_id\n{FIRST}\n{SECOND}\n").as_bytes());
        let path = |name: &str| factory.fleet.join(name).to_str().expect("UTF-8").to_owned();
        for arguments in [&["factory", "key", &path("factory")][..], &["factory", "key", &path("line"), "--line"]] {
            let (code, text) = factory.fleet.omadm(arguments);
            assert_eq!(code, 0, "{text}");
        }
        let (list, out) = (path("devices.csv"), path("run"));
        let (key, cert, line) = (path("factory.key"), path("factory.pem"), path("line.pem"));
        let make = ["factory", "make", &list, "--profile", "meters", "--sign-key", &key, "--sign-cert", &cert];
        let made = factory.fleet.json(&[&make[..], &["--encrypt-to", &line, "--out", &out], more].concat());
        assert_eq!(made["made"], 2, "{made}");
        factory
    }

    fn import(&self) {
        let manifest = self.fleet.join("run/manifest.jsonl");
        let imported = self.fleet.json(&["factory", "import", manifest.to_str().expect("UTF-8")]);
        assert_eq!(imported["refused"], 0, "{imported}");
    }

    fn bundle(&self, dev_id: &str) -> Vec<u8> {
        std::fs::read(self.fleet.join(&format!("run/bundles/{}.cms", dev_id.replace(':', "%3A")))).expect("a bundle")
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.fleet.join(name)).expect("a file")
    }

    /// A device with the bundle of this one in it.
    fn device(&self, dev_id: &str, bundle_of: &str, more: &str) -> Device {
        let factory = "[factory]\nfile = \"$HOME/bundle\"\nsigner = \"$HOME/factory.pem\"\nkey = \"$HOME/line.key\"\n";
        let device = Device::new(dev_id, &format!("[card]\nlink = \"off\"\n{factory}{more}"));
        private_file(&device.join("bundle"), &self.bundle(bundle_of));
        read_only(&device.join("bundle"));
        private_file(&device.join("factory.pem"), self.read("factory.pem").as_bytes());
        private_file(&device.join("line.key"), self.read("line.key").as_bytes());
        device
    }
}

fn read_only(path: &Path) {
    let mut permissions = std::fs::metadata(path).expect("a file").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path, permissions).expect("a mode");
}

#[test]
fn a_device_is_managed_by_its_bundle_and_again_after_a_reset() {
    let factory = Factory::new(&[]);
    factory.import();
    let mut device = factory.device(FIRST, FIRST, "");
    for _ in 0..2 {
        let status = device.run_until_idle(30);
        let account = &status["accounts"][0];
        assert_eq!(
            (&account["source"], &account["origin"]),
            (&"factory".into(), &device.join("bundle").to_str().into())
        );
        assert_eq!(factory.fleet.device(FIRST)["state"], "managed");
        let (code, told) = device.json(&["reset", "--yes"]);
        assert_eq!((code, &told["state"]), (0, &"unconfigured".into()), "{told}");
        assert!(!String::from_utf8_lossy(&device.state().0).contains("SrvURI"));
        assert_eq!(std::fs::read(device.join("bundle")).expect("the bundle"), factory.bundle(FIRST));
    }
}

#[test]
fn a_running_client_takes_its_bundle_again_when_it_is_reset() {
    let factory = Factory::new(&[]);
    factory.import();
    let mut device = factory.device(FIRST, FIRST, "");
    let client = device.run();
    device.managed(30);
    let sessions = || factory.fleet.device(FIRST)["sessions"].as_array().map_or(0, Vec::len);
    let before = sessions();
    assert_eq!(device.json(&["reset", "--yes"]).0, 0);
    until("it is managed anew", 30, || (sessions() > before).then_some(()));
    assert_eq!(device.managed(30)["accounts"][0]["source"], "factory");
    assert!(client.stop().success());
}

#[test]
fn a_bundle_of_another_device_is_refused_and_the_server_is_asked() {
    let factory = Factory::new(&[]);
    factory.fleet.add_device(SECOND, "enrolment secret");
    let secret = factory.fleet.join("secret");
    let bootstrap = factory.fleet.bootstrap_section(&SECOND.replace(':', "%3A"), secret.to_str().expect("UTF-8"));
    let mut device = factory.device(SECOND, FIRST, &bootstrap);
    let status = device.run_until_idle(30);
    assert_eq!(status["accounts"][0]["source"], "bootstrap-server");
    let attempts = status["attempts"].as_array().expect("attempts");
    let refused = attempts.iter().find(|attempt| attempt["method"] == "factory").expect("an attempt");
    assert_eq!((&refused["outcome"], &refused["reason"]), (&"failed".into(), &"invalid-message".into()));
    let why = refused["message"].as_str().expect("a sentence");
    assert!(why.ends_with(&format!("the bundle is for {FIRST}, and this device is {SECOND}")), "{why}");
}

#[test]
fn what_was_stolen_from_a_bundle_serves_nobody_after_the_import() {
    let factory = Factory::new(&[]);
    factory.import();
    // Somebody has the line's key too, and takes the message out of its bundle.
    let (signer, key) = (factory.read("factory.pem"), factory.read("line.key"));
    let content = cms::open(&factory.bundle(FIRST), Some(&signer), Some(key.as_bytes())).expect("a bundle");
    let message = FactoryBundle::parse(&content).expect("a bundle").message;
    let mut thief = Device::new("IMEI:1", "[card]\nlink = \"off\"\n[factory]\nfile = \"$HOME/factory.json\"\n");
    private_file(&thief.join("factory.json"), message.expose());
    let client = thief.run();
    let session = until("its session is refused", 20, || {
        thief.status().map(|status| status["accounts"][0]["session"].clone()).filter(serde_json::Value::is_object)
    });
    assert_eq!(session["reason"], "http-403", "{session}");
    assert!(client.stop().success());
    let expected = format!("belongs to {FIRST}, but IMEI:1 used it");
    let (_, text) = factory.fleet.omadm(&["device", "why", FIRST]);
    assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&expected), "{text}");
    // It did come first, and the device itself is none the worse for it.
    factory.device(FIRST, FIRST, "").run_until_idle(30);
    assert_eq!(factory.fleet.device(FIRST)["state"], "managed");
}

#[test]
fn a_bundle_may_hold_what_the_device_asks_its_server_with() {
    let factory = Factory::new(&["--enrol"]);
    let section = factory.fleet.bootstrap_section("x", "x");
    let with_secret = |line: &&str| line.starts_with("user") || line.starts_with("secret_file");
    let section: String = section.lines().filter(|line| !with_secret(line)).map(|line| format!("{line}\n")).collect();
    let mut device = factory.device(FIRST, FIRST, &section);
    // As if a later version made messages that this client does not take: so it asks, by the secret.
    std::fs::remove_file(device.join("bundle")).expect("the bundle");
    private_file(&device.join("bundle"), &factory.bundle_of_enrolment_alone(FIRST));
    let status = device.run_until_idle(30);
    assert_eq!(status["accounts"][0]["source"], "bootstrap-server", "{status}");
}

impl Factory {
    /// A bundle whose message no client takes, and whose secret is the device's.
    fn bundle_of_enrolment_alone(&self, dev_id: &str) -> Vec<u8> {
        let (certificate, key) = (self.read("factory.pem"), self.read("factory.key"));
        let line = self.read("line.key");
        let content = cms::open(&self.bundle(dev_id), Some(&certificate), Some(line.as_bytes())).expect("a bundle");
        let bundle = FactoryBundle {
            message: omadm_core::secret::Secret::from("[]"),
            ..FactoryBundle::parse(&content).expect("a bundle")
        };
        let signer = omadm_tls::ca::Identity { certificate, key: key.into() };
        let sealer = cms::Sealer::new(&signer, None).expect("a key");
        sealer.seal(&bundle.to_bytes().expect("JSON")).expect("a file")
    }
}
