//! A card in a reader is written through a real PC/SC service, and OpenSC reads what is on it then.
#![cfg(feature = "pcsc")]
#![allow(clippy::unwrap_used)]

use omadm_card::VirtualUicc;
use omadm_card::apdu::Protocol;
use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard};
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::personalise::AdmKey;
use omadm_core::secret::Secret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"Auth":{"Trsp":{"Data":"YmFzaWM6YWNtZQ==","Secret":"aHVzaGh1c2g="}}}}}]"#;
const KEY: &str = "12345678";

struct Bench {
    _served: ServedCard,
    card: SharedCard,
    service: PrivatePcscd,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(plan: &CardPlan) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let service = PrivatePcscd::start(&folder.path().join("pcscd")).unwrap();
        let card = SharedCard::new(VirtualUicc::new(&make(plan).unwrap()));
        let served = service.insert(card.clone()).unwrap();
        let conf = "app default { enable_default_driver = true; card_drivers = default; framework pkcs15 { use_file_caching = no; } }";
        for (name, content) in
            [("opensc.conf", conf), ("message.json", MESSAGE), ("adm", KEY), ("pin", "4711"), ("wrong", "11111111")]
        {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(folder.path().join("lwm2m.bin"), [0xC8; 500]).unwrap();
        let bench = Self { _served: served, card, service, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        // A card is noticed after a moment.
        while !String::from_utf8_lossy(&bench.run("opensc-tool", &["--list-readers"]).stdout).contains(" Yes ") {
            assert!(Instant::now() < deadline, "the card is not seen within 10 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        bench
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let (name, socket) = self.service.environment();
        Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env(name, socket)
            .env("OPENSC_CONF", self.folder.path().join("opensc.conf"))
            .output()
            .unwrap()
    }

    fn write(&self, arguments: &[&str]) -> Output {
        let write = ["card", "write", "--reader", "omadm card", "--message", "message.json", "--behind-pin"];
        self.run(env!("CARGO_BIN_EXE_omadm"), &[&write, arguments].concat())
    }

    fn opensc(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run("pkcs15-tool", arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

#[test]
fn opensc_reads_what_was_written_to_a_card_in_a_reader() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let iccid = "8901012345678901234".parse().unwrap();
        let bench = Bench::new(&CardPlan {
            content: Content::None,
            protocol,
            pin: Some(Secret::from("4711")),
            adm: AdmKey::parse(KEY).ok(),
            ..CardPlan::new(iccid, b"")
        });
        let dry = bench.write(&["--lwm2m", "lwm2m.bin", "--adm-file", "adm", "--dry-run"]);
        let text = String::from_utf8_lossy(&dry.stdout).into_owned();
        assert!(dry.status.success() && text.contains("00E0000018") && text.contains("nothing was written"), "{text}");
        assert!(!text.contains("3132333435363738"), "the key is hidden");

        let refused = bench.write(&["--adm-file", "wrong"]);
        assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
        assert_eq!(bench.card.lock().tries_left(0x0A), Some(9));

        let written = bench.write(&["--lwm2m", "lwm2m.bin", "--adm-file", "adm", "--pin-file", "pin"]);
        let said = String::from_utf8_lossy(&written.stdout).into_owned();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        assert!(said.contains("8901012345678901234") && said.contains("read back"), "{said}");
        assert_eq!(bench.card.lock().tries_left(0x0A), Some(10), "the right key gives all tries back");

        let raw = |oid| bench.opensc(&["--read-data-object", oid, "--raw", "--verify-pin", "--pin", "4711"]);
        assert_eq!(String::from_utf8_lossy(&raw("2.23.43.7.1")), MESSAGE, "{protocol}");
        assert_eq!(raw("2.23.43.9.1"), [0xC8; 500], "{protocol}");
        let list = String::from_utf8(bench.opensc(&["--list-data-objects"])).unwrap();
        assert!(list.contains("DM Bootstrap") && list.contains("LwM2M Bootstrap"), "{list}");
    }
}
