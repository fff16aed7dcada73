//! A card in a reader is written through a real PC/SC service, and OpenSC reads what is on it then.
#![cfg(feature = "pcsc")]
#![allow(clippy::unwrap_used)]

#[path = "kit/opensc.rs"]
mod opensc;

use omadm_card::apdu::Protocol;
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::personalise::AdmKey;
use omadm_core::secret::Secret;
use opensc::Bench;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"Auth":{"Trsp":{"Data":"YmFzaWM6YWNtZQ==","Secret":"aHVzaGh1c2g="}}}}}]"#;
const KEY: &str = "12345678";

fn bench(plan: &CardPlan) -> Bench {
    let bench = Bench::new(&make(plan).unwrap());
    for (name, content) in [("message.json", MESSAGE), ("adm", KEY), ("pin", "4711"), ("wrong", "11111111")] {
        fs::write(bench.path(name), content).unwrap();
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(bench.path("lwm2m.bin"), [0xC8; 500]).unwrap();
    bench
}

impl Bench {
    fn omadm_write(&self, arguments: &[&str]) -> Output {
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
        let bench = bench(&CardPlan {
            content: Content::None,
            protocol,
            pin: Some(Secret::from("4711")),
            adm: AdmKey::parse(KEY).ok(),
            ..CardPlan::new(iccid, b"")
        });
        let dry = bench.omadm_write(&["--lwm2m", "lwm2m.bin", "--adm-file", "adm", "--dry-run"]);
        let text = String::from_utf8_lossy(&dry.stdout).into_owned();
        assert!(dry.status.success() && text.contains("00E0000018") && text.contains("nothing was written"), "{text}");
        assert!(!text.contains("3132333435363738"), "the key is hidden");

        let refused = bench.omadm_write(&["--adm-file", "wrong"]);
        assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
        assert_eq!(bench.card.lock().tries_left(0x0A), Some(9));

        let written = bench.omadm_write(&["--lwm2m", "lwm2m.bin", "--adm-file", "adm", "--pin-file", "pin"]);
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
