//! What goes over the links and sockets, as JSON lines for people and pictures: `--trace FILE`.
//!
//! Each line is one exchange: when, from whom, to whom, what. No secret is in it: of a PIN its length is told, of HTTP
//! the request line with the values of its query and the tokens of its path masked, of a package what it asks or says.

use omadm_card::apdu::Protocol;
use omadm_card::link::{Handle, Link, LinkError, Opening, ToldSim};
use omadm_core::ids::Iccid;
use omadm_core::package::{Command, Package1, Package2, Package3};
use omadm_core::web::{Url, media, media_type};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::state::LastRun;

/// The longest label and the longest note, in characters; more is cut.
const MAX_NOTE: usize = 120;

/// Where exchanges are recorded; cloned freely. By default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    began: Instant,
    file: Mutex<File>,
}

/// Who takes part in an exchange with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The card.
    Smartcard,
    /// The DM Bootstrap Server.
    BootstrapServer,
    /// The DM Server.
    DmServer,
    /// The data repository.
    Repository,
}

impl Peer {
    fn as_str(self) -> &'static str {
        match self {
            Self::Smartcard => "smartcard",
            Self::BootstrapServer => "bootstrap-server",
            Self::DmServer => "dm-server",
            Self::Repository => "repository",
        }
    }
}

impl Trace {
    /// Records into this file, made anew with mode 0600.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Self(Some(Arc::new(Recorder { began: Instant::now(), file: Mutex::new(file) }))))
    }

    /// The milliseconds since it began, for [`Trace::sent`] and [`Trace::came`].
    fn ms(&self) -> u64 {
        self.0.as_ref().map_or(0, |recorder| recorder.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
    }

    fn line(&self, line: &serde_json::Value) {
        let Some(recorder) = &self.0 else { return };
        let mut file = recorder.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!("the trace cannot be written: {error}");
        }
    }

    fn step(&self, from: &str, to: &str, label: &str, note: &str) {
        let cut = |text: &str| text.chars().take(MAX_NOTE).collect::<String>();
        let (label, note) = (cut(label), cut(note));
        self.line(&json!({"ms": self.ms(), "from": from, "to": to, "label": label, "note": note}));
    }

    /// The client sent something to a peer.
    pub fn sent(&self, peer: Peer, label: &str, note: &str) {
        self.step("client", peer.as_str(), label, note);
    }

    /// A peer answered the client.
    pub fn came(&self, peer: Peer, label: &str, note: &str) {
        self.step(peer.as_str(), "client", label, note);
    }

    /// The client did something by itself.
    pub fn did(&self, label: &str, note: &str) {
        self.step("client", "client", label, note);
    }

    /// What bootstrap and first session cost.
    pub fn totals(&self, run: &LastRun) {
        let LastRun { apdus, round_trips, bytes, ms } = run;
        self.line(&json!({"meta": {"apdus": apdus, "round_trips": round_trips, "bytes": bytes, "ms": ms}}));
    }

    /// A package that the client sends.
    pub fn package_sent(&self, content_type: &str, body: &[u8], url: &Url) {
        if self.0.is_none() {
            return;
        }
        let request = format!("POST {}", shown(url));
        if content_type == media::INITIATION {
            let alerts = Package1::parse(body).map(|package| package.alerts).unwrap_or_default();
            let names: Vec<_> = alerts.iter().filter_map(|alert| alert.alert_type.rsplit(':').next()).collect();
            self.sent(Peer::DmServer, "Package#1", &format!("{request}\nAlert: {}", names.join(", ")));
        } else {
            let statuses = Package3::parse(body).map(|package| package.statuses).unwrap_or_default();
            let codes: Vec<_> = statuses.iter().map(|status| status.sc.to_string()).collect();
            self.sent(Peer::DmServer, &format!("Package#3: {}", codes.join(", ")), &request);
        }
    }

    /// The answer to a package.
    pub fn package_came(&self, status: u16, content_type: Option<&str>, body: &[u8]) {
        if self.0.is_none() {
            return;
        }
        match content_type.map(media_type).as_deref() {
            Some(media::REQUEST) => {
                let commands = Package2::parse(body).map(|package| package.commands).unwrap_or_default();
                let names: Vec<_> = commands.iter().map(Command::name).collect();
                let targets: Vec<_> = commands.iter().filter_map(target).collect();
                self.came(Peer::DmServer, &format!("Package#2: {}", names.join(", ")), &targets.join("\n"));
            }
            _ => self.came(Peer::DmServer, &format!("HTTP {status}"), ""),
        }
    }

    /// One HTTP exchange with another peer; `status` is that of the answer, or why there is none.
    pub fn exchange(&self, peer: Peer, label: &str, method: &str, url: &Url, status: &str) {
        self.sent(peer, label, &format!("{method} {} -> {status}", shown(url)));
    }

    /// A link whose exchanges are recorded.
    pub fn link(&self, link: Box<dyn Link>) -> Box<dyn Link> {
        if self.0.is_some() { Box::new(TracedLink { link, trace: self.clone() }) } else { link }
    }
}

fn target(command: &Command) -> Option<String> {
    match command {
        Command::Get { client_uri } => Some(format!("GET {client_uri}")),
        Command::Delete { client_uri } => Some(format!("DELETE {client_uri}")),
        Command::Hget { client_uris, .. } => Some(format!("HGET {}", client_uris.join(" "))),
        Command::Hput { client_uris, .. } => Some(format!("HPUT {}", client_uris.join(" "))),
        Command::Hpost { client_uris, .. } => Some(format!("HPOST {}", client_uris.join(" "))),
        Command::Cont { .. } | Command::End | Command::Unsupported { .. } | Command::Malformed(_) => None,
    }
}

/// Path and query of a URL, without what is secret or personal in it: the token in a data URL, the values of a query.
fn shown(url: &Url) -> String {
    let (path, query) = url.path_and_query().split_once('?').unwrap_or((url.path_and_query(), ""));
    let path: Vec<_> = path.split('/').map(|part| if part.len() >= 16 { "…" } else { part }).collect();
    let names: Vec<_> =
        query.split('&').filter_map(|pair| pair.split('=').next()).filter(|name| !name.is_empty()).collect();
    let query = if names.is_empty() { String::new() } else { format!("?{}=…", names.join("=…&")) };
    format!("{}{query}", path.join("/"))
}

struct TracedLink {
    link: Box<dyn Link>,
    trace: Trace,
}

impl Link for TracedLink {
    fn protocol(&self) -> Protocol {
        self.link.protocol()
    }

    fn is_exclusive(&self) -> bool {
        self.link.is_exclusive()
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.link.transmit(command);
        self.exchanged(command, &answer);
        answer
    }

    fn reset_when_released(&mut self) {
        self.link.reset_when_released();
    }

    fn open_application(&mut self, aid: &[u8]) -> Result<Opening, LinkError> {
        let opening = self.link.open_application(aid);
        let came = match &opening {
            Ok(Opening::NotOffered) => return opening,
            Ok(Opening::Opened(_)) => "opened",
            Ok(Opening::Refused { detail, .. }) => detail,
            Err(error) => &error.to_string(),
        };
        let label = selected(aid).replace("SELECT", "open");
        self.trace.sent(Peer::Smartcard, &label, &format!("{} -> {came}", hex(aid)));
        opening
    }

    fn transmit_to(&mut self, application: Handle, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.link.transmit_to(application, command);
        self.exchanged(command, &answer);
        answer
    }

    fn close_application(&mut self, application: Handle) {
        self.link.close_application(application);
        self.trace.sent(Peer::Smartcard, "close the application", "");
    }

    fn tell_iccid(&mut self) -> Result<Option<Iccid>, LinkError> {
        let told = self.link.tell_iccid();
        self.told("which card?", &told, |told| told.as_ref().map(Iccid::to_string));
        told
    }

    fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
        let told = self.link.tell_sim();
        self.told("is the SIM ready?", &told, |told| {
            told.as_ref().map(|sim| sim.not_ready.clone().unwrap_or_else(|| "ready".to_owned()))
        });
        told
    }

    fn tell_dir(&mut self) -> Result<Vec<Vec<u8>>, LinkError> {
        let told = self.link.tell_dir();
        self.told("which applications?", &told, |told| Some(format!("{} records", told.len())));
        told
    }
}

impl TracedLink {
    fn exchanged(&self, command: &[u8], answer: &Result<Vec<u8>, LinkError>) {
        let came = match answer {
            Ok(bytes) => short_hex(bytes, is_personal(command)),
            Err(error) => error.to_string(),
        };
        self.trace.sent(Peer::Smartcard, label(command), &format!("{} -> {came}", command_hex(command)));
    }

    /// What a link tells by itself. Nothing is recorded of one that tells nothing.
    fn told<T>(&self, question: &str, told: &Result<T, LinkError>, shown: impl Fn(&T) -> Option<String>) {
        let came = match told {
            Ok(told) => shown(told),
            Err(error) => Some(error.to_string()),
        };
        if let Some(came) = came {
            self.trace.sent(Peer::Smartcard, question, &came);
        }
    }
}

/// The instruction byte, and the file identifiers that end a SELECT.
fn label(command: &[u8]) -> &'static str {
    let (instruction, parameter) = (command.get(1).copied(), command.get(2).copied());
    match (instruction, parameter) {
        (Some(0x70), Some(0x80)) => "MANAGE CHANNEL close",
        (Some(0x70), _) => "MANAGE CHANNEL open",
        (Some(0x20), _) if command.len() > 5 => "VERIFY the PIN",
        (Some(0x20), _) => "VERIFY without a PIN: how many tries?",
        (Some(0xB0), _) => "READ BINARY",
        (Some(0xB2), _) => "READ RECORD",
        (Some(0xC0), _) => "GET RESPONSE",
        (Some(0xA4), _) => selected(data(command)),
        _ => "command",
    }
}

fn data(command: &[u8]) -> &[u8] {
    let length = command.get(4).copied().map_or(0, usize::from);
    command.get(5..5 + length).unwrap_or_default()
}

fn selected(data: &[u8]) -> &'static str {
    match data {
        [0xA0, 0x00, 0x00, 0x00, 0x63, ..] => "SELECT the PKCS#15 application",
        [0xA0, 0x00, 0x00, 0x00, 0x87, ..] => "SELECT the USIM",
        [.., 0x2F, 0xE2] => "SELECT EF(ICCID)",
        [.., 0x2F, 0x00] => "SELECT EF(DIR)",
        [.., 0x50, 0x31] => "SELECT EF(ODF)",
        [.., 0x50, 0x32] => "SELECT EF(TokenInfo)",
        [.., 0x6F, 0x07] => "SELECT EF(IMSI)",
        [.., 0x6F, 0xAD] => "SELECT EF(AD)",
        [.., 0x64, 0x30] => "SELECT EF(DODF)",
        [.., 0x64, 0x31] => "SELECT EF(AODF)",
        _ => "SELECT the message's file",
    }
}

/// Whether the answer may hold what is nobody's business: what is read from a file may be the IMSI or a secret.
fn is_personal(command: &[u8]) -> bool {
    matches!(command.get(1), Some(0xB0 | 0xB2 | 0xC0))
}

fn command_hex(command: &[u8]) -> String {
    let is_verify = command.get(1) == Some(&0x20) && command.len() > 5;
    if is_verify {
        return format!("{} ({} bytes)", hex(&command[..5]), command.len() - 5);
    }
    hex(command)
}

/// The answer's status word; of its data the first bytes, or only how many there are.
fn short_hex(answer: &[u8], personal: bool) -> String {
    let (data, status) = answer.split_at(answer.len().saturating_sub(2));
    match data.len() {
        0 => hex(status),
        length if personal => format!("{length} bytes, {}", hex(status)),
        1..=8 => format!("{} {}", hex(data), hex(status)),
        _ => format!("{} .. {}", hex(&data[..6]), hex(status)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_a_line() {
        let pin = [0x01, 0x20, 0x00, 0x01, 0x08, 0x34, 0x37, 0x31, 0x31, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!((label(&pin), command_hex(&pin).as_str()), ("VERIFY the PIN", "01 20 00 01 08 (8 bytes)"));
        let read = [0x01, 0xB0, 0x00, 0x00, 0x09];
        assert!(is_personal(&read));
        assert_eq!(short_hex(&[1, 2, 3, 0x90, 0x00], true), "3 bytes, 90 00");
        let url: Url = "https://h/data/0123456789abcdef0123/devinfo?MNC=01&token=t".parse().unwrap();
        assert_eq!(shown(&url), "/data/…/devinfo?MNC=…&token=…");
    }

    #[test]
    fn what_goes_through_a_link_that_opens_applications_is_recorded_without_handles_and_networks() {
        struct Opens;
        impl Link for Opens {
            fn protocol(&self) -> Protocol {
                Protocol::T1
            }
            fn is_exclusive(&self) -> bool {
                false
            }
            fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
                Err(LinkError::Io("never".to_owned()))
            }
            fn open_application(&mut self, _: &[u8]) -> Result<Opening, LinkError> {
                Ok(Opening::Opened(Handle(4711)))
            }
            fn transmit_to(&mut self, application: Handle, _: &[u8]) -> Result<Vec<u8>, LinkError> {
                assert_eq!(application, Handle(4711));
                Ok(vec![1, 2, 3, 0x90, 0x00])
            }
            fn tell_sim(&mut self) -> Result<Option<ToldSim>, LinkError> {
                let network = "262".parse().ok().zip("09".parse().ok());
                Ok(Some(ToldSim { network, not_ready: None }))
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut link = Trace::to_file(file.path()).unwrap().link(Box::new(Opens));
        let Ok(Opening::Opened(handle)) = link.open_application(&[0xA0, 0, 0, 0, 0x63]) else { panic!("not opened") };
        link.transmit_to(handle, &[0, 0xB0, 0, 0, 3]).unwrap();
        link.close_application(handle);
        assert_eq!((link.tell_iccid(), link.tell_dir()), (Ok(None), Ok(Vec::new())));
        assert!(link.tell_sim().unwrap().unwrap().network.is_some());
        let written = std::fs::read_to_string(file.path()).unwrap();
        for part in ["open the PKCS#15 application", "READ BINARY", "3 bytes, 90 00", "close the application", "ready"]
        {
            assert!(written.contains(part), "{part} is not in {written}");
        }
        for part in ["4711", "262", "which card?", "01 02 03"] {
            assert!(!written.contains(part), "{part} is in {written}");
        }
    }

    #[test]
    fn what_a_peer_says_is_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trace = Trace::to_file(file.path()).unwrap();
        let body = json!({"CMD": [["Y".repeat(500_000)]]}).to_string();
        trace.package_came(200, Some(media::REQUEST), body.as_bytes());
        let written = std::fs::read_to_string(file.path()).unwrap();
        assert!(written.contains("Package#2: YYY") && written.len() < 400, "{}", written.len());
    }

    #[test]
    fn commands_have_names() {
        assert_eq!(label(&[0x00, 0x70, 0x00, 0x00, 0x01]), "MANAGE CHANNEL open");
        assert_eq!(label(&[0x00, 0x70, 0x80, 0x01]), "MANAGE CHANNEL close");
        assert_eq!(label(&[0x01, 0x20, 0x00, 0x01]), "VERIFY without a PIN: how many tries?");
        assert_eq!(label(&[0x01, 0xA4, 0x08, 0x04, 0x04, 0x7F, 0xFF, 0x50, 0x31, 0x00]), "SELECT EF(ODF)");
        assert_eq!(label(&[]), "command");
    }
}
