//! OpenSC, which knows nothing of this project, reads what is on every kind of card that is made here, and walks its
//! files.
#![cfg(feature = "pcsc")]
#![allow(clippy::unwrap_used)]

#[path = "kit/opensc.rs"]
mod opensc;

use omadm_card::apdu::Protocol;
use omadm_card::image::{CardFile, CardParts};
use omadm_card::{CardImage, VirtualUicc};
use opensc::Bench;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const PIN: &str = "4711";
const DM: &str = "2.23.43.7.1";
const LWM2M: &str = "2.23.43.9.1";
const OTHER: &str = "1.3.6.1.4.1.99999.1";

/// A message whose account has this name.
fn message(name: &str) -> String {
    MESSAGE.replace("\"Acme\"", &format!("\"{name}\""))
}

/// A card to be read: how it was made, and what it holds.
struct Made {
    how: String,
    image: CardImage,
    private: bool,
    objects: Vec<(&'static str, Vec<u8>)>,
}

fn ok(output: &Output, what: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A folder in which the program makes cards.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let shop = Self(tempfile::tempdir_in("/tmp").unwrap());
        let large = message(&"a long name ".repeat(60));
        let lwm2m: Vec<u8> = (0..700_u16).map(|number| number.to_be_bytes()[1]).collect();
        for (name, content) in [
            ("message", message("Acme").as_bytes()),
            ("large", large.as_bytes()),
            ("lwm2m", &lwm2m),
            ("other", &[0x00, 0xFF, 0x30]),
            ("pin", PIN.as_bytes()),
            ("adm", b"12345678"),
        ] {
            fs::write(shop.0.path().join(name), content).unwrap();
            fs::set_permissions(shop.0.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        shop
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    /// Makes `card` by these commands of `omadm card`.
    fn made(&self, commands: &[&[&str]], objects: &[(&'static str, &str)]) -> Made {
        for command in commands {
            let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_omadm"));
            program.current_dir(self.0.path()).arg("card").args(*command);
            ok(&program.output().unwrap(), &format!("{command:?}"));
        }
        let words: Vec<String> = commands.iter().map(|command| command.join(" ")).collect();
        Made {
            private: words.iter().any(|command| command.contains("--pin ")),
            how: words.join(", then "),
            image: CardImage::from_json(&self.read("card")).unwrap(),
            objects: objects.iter().map(|(oid, file)| (*oid, self.read(file))).collect(),
        }
    }

    /// Every way in which `omadm card create` and `write` come to a card with an object that is listed as opaqueDO.
    fn every_card(&self) -> Vec<Made> {
        let mut cards = Vec::new();
        let more: &[&str] = &["--lwm2m", "lwm2m", "--object", "1.3.6.1.4.1.99999.1=other"];
        let three = [(DM, "message"), (LWM2M, "lwm2m"), (OTHER, "other")];
        for form in ["opaque", "both"] {
            for pin in [&[][..], &["--pin", "pin"], &["--pin", "pin", "--pin-ref", "81"]] {
                let create = |more: &[&'static str]| {
                    [&["create", "-o", "card", "--force", "--form", form, "--adm-file", "adm"], pin, more].concat()
                };
                let write = |more: &[&'static str]| {
                    let behind = if pin.is_empty() { &[][..] } else { &["--behind-pin", "--pin-file", "pin"] };
                    [&["write", "card", "--form", form, "--adm-file", "adm"], behind, more].concat()
                };
                let message = &["--message", "message"][..];
                let large = &["--message", "large"][..];
                let (one, one_large) = ([(DM, "message")], [(DM, "large")]);
                cards.push(self.made(&[&create(message)], &one));
                cards.push(self.made(&[&create(&[message, &["--file-size", "2000"]].concat())], &one));
                cards.push(self.made(&[&create(&[message, more].concat())], &three));
                // In create mode: nothing is there, or other objects are.
                cards.push(self.made(&[&create(&["--empty"]), &write(message)], &one));
                cards.push(self.made(&[&create(&["--empty"]), &write(&[message, more].concat())], &three));
                cards.push(self.made(&[&create(message), &write(more)], &three));
                // In update mode: into the same file, and into a larger one.
                cards.push(self.made(&[&create(large), &write(message)], &one));
                cards.push(self.made(&[&create(message), &write(large)], &one_large));
            }
        }
        cards
    }
}

fn talking(image: CardImage, protocol: Protocol) -> CardImage {
    CardParts { protocol, ..image.into_parts() }.try_into().unwrap()
}

fn opensc_reads_every_card(protocol: Protocol) {
    let cards = Shop::new().every_card();
    let mut bench: Option<Bench> = None;
    for Made { how, image, private, objects } in cards {
        let image = talking(image, protocol);
        let bench = bench.get_or_insert_with(|| Bench::new(&image));
        // The next card is in the reader before anybody powers it.
        *bench.card.lock() = VirtualUicc::new(&image);
        let list = ok(&bench.run("pkcs15-tool", &["--list-data-objects"]), &how);
        for (oid, content) in &objects {
            assert_eq!(list.matches(&format!("applicationOID:  {oid}\n")).count(), 1, "{how}: {list}");
            let read = |pin: &[&str]| {
                let _ = fs::remove_file(bench.path("object"));
                bench.run("pkcs15-tool", &[&["--read-data-object", oid, "--raw", "-o", "object"], pin].concat())
            };
            if private {
                let output = read(&[]);
                assert!(!output.status.success() && !bench.path("object").exists(), "{how}: {oid} lies open");
            }
            let pin = if private { &["--verify-pin", "--pin", PIN][..] } else { &[] };
            ok(&read(pin), &how);
            let found = fs::read(bench.path("object")).unwrap();
            let (object, padding) = found.split_at(content.len().min(found.len()));
            assert!(object == content, "{how}: {oid} reads {}", String::from_utf8_lossy(&found));
            assert!(padding.iter().all(|byte| *byte == 0xFF), "{how}: {oid} has something behind it");
        }
        for reference in [0x01, 0x81] {
            assert!(matches!(bench.card.lock().tries_left(reference), None | Some(3)), "{how}: a try is lost");
        }
    }
}

#[test]
fn opensc_reads_every_card_on_t0() {
    opensc_reads_every_card(Protocol::T0);
}

#[test]
fn opensc_reads_every_card_on_t1() {
    opensc_reads_every_card(Protocol::T1);
}

/// `omadm card run`, ended with the value.
struct Running(Child);

impl Running {
    fn start(folder: &Path, card: &str) -> Self {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_omadm"));
        program.current_dir(folder).args(["card", "run", card, "--pcscd", "socket", "--json"]);
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "{\"reader\":\"omadm card 00 00\"}\n");
        opensc::wait_for_card(folder, &folder.join("socket"));
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Politely, so that it ends its service.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// What opensc-explorer says to these commands, on both streams.
fn explored(folder: &Path, commands: &[String]) -> String {
    fs::write(folder.join("script"), commands.join("\n") + "\n").unwrap();
    let output = opensc::program("opensc-explorer", folder, &folder.join("socket")).arg("script").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The bytes in a dump: those between the colon and the text.
fn dumped(text: &str) -> Vec<u8> {
    let lines = text.lines().filter_map(|line| line.get(8..).filter(|rest| rest.starts_with(": ")));
    let bytes = lines.flat_map(|line| line.get(2..50).unwrap_or_default().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Selects a file in the directory at which these commands end, asks about it, and reads it.
fn check_file(folder: &Path, way: &[String], file: &CardFile) {
    let id = format!("{:04X}", file.id.0);
    let content = &file.content.0;
    let info = explored(folder, &[way, &[format!("info {id}")]].concat());
    let (kind, size) = match file.record_length {
        Some(length) => ("Linear fixed", format!("Max. record size:        {length} bytes")),
        None => ("Transparent", format!("File size:               {} bytes", content.len())),
    };
    assert!(info.contains(&format!("ID {id}")) && info.contains(kind) && info.contains(&size), "{id}: {info}");
    let read = if file.record_length.is_some() {
        dumped(&explored(folder, &[way, &[format!("cat {id}")]].concat()))
    } else {
        let _ = fs::remove_file(folder.join("got"));
        explored(folder, &[way, &[format!("get {id} got")]].concat());
        fs::read(folder.join("got")).unwrap_or_default()
    };
    assert!(read == *content, "{id} by {way:?}: {read:02X?}");
}

#[test]
fn opensc_explorer_walks_every_file_of_a_card() {
    let shop = Shop::new();
    let create = ["create", "-o", "card", "--message", "message", "--lwm2m", "lwm2m", "--form", "both", "--pin", "pin"];
    let made = shop.made(&[&create], &[]);
    let (folder, verify) = (shop.0.path(), "verify CHV1 34:37:31:31:FF:FF:FF:FF".to_owned());
    for protocol in [Protocol::T0, Protocol::T1] {
        let image = talking(made.image.clone(), protocol);
        fs::write(folder.join("card"), image.to_json()).unwrap();
        let _running = Running::start(folder, "card");
        // What is behind the PIN stays there as long as nobody verifies it.
        let private = explored(folder, &["cd 7F50", "get 6434 private"].map(str::to_owned));
        assert!(!fs::read(folder.join("private")).is_ok_and(|got| !got.is_empty()), "{private}");
        let parts = image.parts();
        let mut seen = 0;
        for file in &parts.files {
            check_file(folder, &[], file);
            seen += 1;
        }
        for application in &parts.applications {
            let by_name = format!("cd aid:{}", omadm_card::hex::encode(&application.aid.0));
            let by_id = application.df.as_ref().map(|df| format!("cd {:04X}", df.0));
            for way in by_id.into_iter().chain([by_name]) {
                for file in &application.files {
                    check_file(folder, &[way.clone(), verify.clone()], file);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 2 + 2 * 6 + 2, "the message and the object of LwM2M, and what leads to them, by both ways");
        // The card's own access rules, and back to the MF.
        let walked = ["cd 7F50", "info", "cd ..", "info 2F06", "cat 2F06"].map(str::to_owned);
        let walked = explored(folder, &walked);
        assert!(walked.contains("3F00/7F50") && walked.contains("Record 3:"), "{walked}");
        let wrong = explored(folder, &["cd 7F50", "verify CHV1 39:39:39:39:FF:FF:FF:FF"].map(str::to_owned));
        assert!(wrong.contains("Incorrect code") && wrong.contains('2'), "{wrong}");
        assert!(explored(folder, std::slice::from_ref(&verify)).contains("Code correct"));
    }
}
