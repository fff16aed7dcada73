//! Every value of each column of the table of spec 2 (what a card, a factory file and a bootstrap server can be), and
//! every pair of card and factory file, with the real client, real cards and files, and the real server where it gives
//! that answer: the right method wins, every attempt has its reason, and something is always tried next.

use std::time::Duration;

use omadm_card::image::Access;
use omadm_card::make::{CardPlan, Content, make};
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_tests::{
    Answer, Authority, CardReader, Device, Fleet, HostileServer, Random, Then, in_parallel, private_file, seed,
};
use serde_json::Value;

const ICCID: &str = "8988000000000000040";
const JSON: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.bootstrap+json");

fn message(srv_id: &str) -> Vec<u8> {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://dm.example/dm","Name":"x","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}}]"#
    )
    .into_bytes()
}

fn damaged() -> Vec<u8> {
    message("damaged").into_iter().take(100).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Card {
    Good,
    None,
    NoDmObject,
    Dm1x,
    Damaged,
    Unreadable,
    PinRefused,
}

impl Card {
    const ALL: [Self; 7] =
        [Self::Good, Self::None, Self::NoDmObject, Self::Dm1x, Self::Damaged, Self::Unreadable, Self::PinRefused];

    /// Writes the card's file; none where there is no card.
    fn write(self, device: &Device) -> Option<std::path::PathBuf> {
        let plan = CardPlan::new(ICCID.parse().expect("an ICCID"), &message("from-card"));
        let content = |bytes: &[u8]| CardPlan { content: Content::Raw(bytes.to_vec()), ..plan.clone() };
        let plan = match self {
            Self::None => return None,
            Self::Good | Self::Unreadable => plan,
            Self::NoDmObject => CardPlan { content: Content::None, ..plan },
            Self::Dm1x => content(b"\x03\x0B\x6A\x00\x01"),
            Self::Damaged => content(&damaged()),
            Self::PinRefused => CardPlan { pin: Some(Secret::from("1234")), ..plan },
        };
        let mut parts = make(&plan).expect("a card").into_parts();
        if self == Self::Unreadable {
            let directory = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6430);
            directory.expect("EF(DODF)").read = Access::Never;
        }
        let image: omadm_card::CardImage = parts.try_into().expect("a card");
        let file = device.join("card.json");
        private_file(&file, image.to_json().as_bytes());
        private_file(&device.join("pin"), b"9999");
        Some(file)
    }

    fn ends(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Good => None,
            Self::None => Some(("none", "no-card")),
            Self::NoDmObject => Some(("none", "no-dm-object")),
            Self::Dm1x => Some(("none", "card-holds-dm1x")),
            Self::Damaged => Some(("failed", "malformed-message")),
            Self::Unreadable => Some(("failed", "card-io")),
            Self::PinRefused => Some(("failed", "pin-refused")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Factory {
    Good,
    None,
    Damaged,
}

impl Factory {
    const ALL: [Self; 3] = [Self::Good, Self::None, Self::Damaged];

    fn write(self, device: &Device) {
        match self {
            Self::Good => private_file(&device.join("factory.json"), &message("from-factory")),
            Self::None => {}
            Self::Damaged => private_file(&device.join("factory.json"), &damaged()),
        }
    }

    fn ends(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Good => None,
            Self::None => Some(("none", "no-factory-file")),
            Self::Damaged => Some(("failed", "malformed-message")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    Message,
    NoContent,
    Unauthorized,
    Forbidden,
    NotFound,
    TooMany,
    Busy,
    Broken,
    Closed,
    Silent,
    WrongCertificate,
    Damaged,
}

impl Server {
    const ALL: [Self; 12] = [
        Self::Message,
        Self::NoContent,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::TooMany,
        Self::Busy,
        Self::Broken,
        Self::Closed,
        Self::Silent,
        Self::WrongCertificate,
        Self::Damaged,
    ];

    fn ends(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Message => None,
            Self::NoContent => Some(("none", "http-204")),
            Self::NotFound => Some(("none", "http-404")),
            Self::Unauthorized => Some(("failed", "http-401")),
            Self::Forbidden => Some(("failed", "http-403")),
            Self::TooMany => Some(("failed", "http-429")),
            Self::Busy => Some(("failed", "http-503")),
            Self::Broken => Some(("failed", "http-500")),
            Self::Closed => Some(("failed", "connect")),
            Self::Silent => Some(("failed", "timeout")),
            Self::WrongCertificate => Some(("failed", "tls")),
            Self::Damaged => Some(("failed", "malformed-message")),
        }
    }

    /// The seconds within which the device must ask again.
    fn wait(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::TooMany | Self::Broken | Self::Closed | Self::Silent | Self::WrongCertificate => 0..=30,
            Self::Busy => 7100..=9000,
            _ => 3 * 3600 - 60..=9 * 3600,
        }
    }
}

/// The servers that devices ask.
struct World {
    fleet: Fleet,
    authority: Authority,
    scripted: HostileServer,
    foreign: HostileServer,
    enrolling: std::sync::Mutex<()>,
}

impl World {
    fn new() -> Self {
        let fleet = Fleet::start();
        fleet.add_profile_for("released", "from-server", &serde_json::json!({"dev_id_prefix": ["IMEI:5"]}));
        let authority = Authority::new();
        let scripted = HostileServer::tls(&authority.good(), |asked| match asked.line() {
            line if line.contains("/404") => Answer::new(404, &[], b""),
            line if line.contains("/429") => Answer::new(429, &[], b""),
            line if line.contains("/503") => Answer::new(503, &[("Retry-After", "7200")], b""),
            line if line.contains("/500") => Answer::new(500, &[], b""),
            line if line.contains("/damaged") => Answer::new(200, &[JSON], &damaged()),
            _ => Answer::raw("", Then::Stall),
        });
        let foreign = HostileServer::tls(&Authority::new().good(), |_| Answer::new(200, &[JSON], &message("evil")));
        Self { fleet, authority, scripted, foreign, enrolling: std::sync::Mutex::default() }
    }

    /// A device with its bootstrap server, not yet with card and factory file.
    fn device(&self, number: usize, server: Server) -> Device {
        // The real server releases a message to devices whose DevID begins with 5.
        let begin = if server == Server::NoContent { "IMEI:4" } else { "IMEI:5" };
        let dev_id = format!("{begin}{number:014}");
        let (closed, other) = ("https://127.0.0.1:1/bootstrap".to_owned(), "IMEI:500000000000000");
        let url = match server {
            Server::Message | Server::NoContent | Server::Unauthorized | Server::Forbidden => {
                self.fleet.bootstrap_url()
            }
            Server::NotFound => self.scripted.url("/404"),
            Server::TooMany => self.scripted.url("/429"),
            Server::Busy => self.scripted.url("/503"),
            Server::Broken => self.scripted.url("/500"),
            Server::Damaged => self.scripted.url("/damaged"),
            Server::Silent => self.scripted.url("/silent"),
            Server::Closed => closed,
            Server::WrongCertificate => self.foreign.url("/"),
        };
        let real = url == self.fleet.bootstrap_url();
        let ca =
            if real { std::fs::read_to_string(self.fleet.ca()).expect("a CA") } else { self.authority.pem().into() };
        let limit = if server == Server::Silent { "700ms" } else { "20s" };
        let more = format!(
            "[card]\nlink = \"socket:$HOME/card.sock\"\nwait = \"200ms\"\npin_file = \"$HOME/pin\"\n\
             [factory]\nfile = \"$HOME/factory.json\"\n[http]\nconnect_timeout = \"20s\"\ntimeout = \"{limit}\"\n"
        );
        let device = Device::asking(&dev_id, &url, &ca, &more);
        match server {
            Server::Message | Server::NoContent => self.enrol(&device, &dev_id, &dev_id),
            Server::Forbidden => self.enrol(&device, other, other),
            _ => {}
        }
        device
    }

    /// Lets the server know a device, and this one show its credentials.
    fn enrol(&self, device: &Device, dev_id: &str, shown: &str) {
        let _one_at_a_time = self.enrolling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.fleet.omadm(&["device", "show", dev_id]).0 != 0 {
            self.fleet.add_device(dev_id, "enrolment secret");
        }
        let file = device.join("client.toml");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        let user = shown.replace(':', "%3A");
        private_file(&file, text.replace("user = \"device\"", &format!("user = \"{user}\"")).as_bytes());
    }

    fn check(&self, number: usize, card: Card, factory: Factory, server: Server) {
        let case = format!("{card:?} {factory:?} {server:?}");
        let device = self.device(number, server);
        factory.write(&device);
        let reader = card.write(&device).map(|file| CardReader::on_socket(&file, &device.join("card.sock")));
        check_outcome(&case, &device, &[card.ends(), factory.ends(), server.ends()], server);
        if let Some(reader) = reader {
            reader.remove();
        }
    }
}

/// Goes through the methods once and looks at what came of it.
fn check_outcome(case: &str, device: &Device, ends: &[Option<(&str, &str)>; 3], server: Server) {
    let (code, told) = device.json(&["bootstrap"]);
    let methods = ["smartcard", "factory", "bootstrap-server"];
    let winner = ends.iter().position(Option::is_none);
    let mut expected: Vec<_> = methods.iter().zip(ends).map(|(method, end)| (*method, *end)).collect();
    expected.truncate(winner.map_or(3, |winner| winner + 1));
    let attempts = told["attempts"].as_array().unwrap_or_else(|| panic!("{case}: {told}"));
    let got: Vec<_> = attempts.iter().map(tried).collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(method, end)| match end {
            None => (method, "installed", None),
            Some((outcome, reason)) => (method, outcome, Some(reason)),
        })
        .collect();
    assert_eq!(got, expected, "{case}: {told}");
    assert!(attempts.iter().all(|one| one["message"].as_str().is_some_and(|text| !text.is_empty())), "{case}: {told}");
    let status = device.status().unwrap_or_else(|| panic!("{case}: no status"));
    match winner {
        Some(winner) => {
            assert_eq!((code, &told["result"]), (0, &"bootstrapped".into()), "{case}: {told}");
            assert_eq!(status["state"], "bootstrapped", "{case}: {status}");
            assert_eq!(status["accounts"][0]["source"], methods[winner], "{case}: {status}");
            assert_eq!(status["accounts"][0]["srv_id"], ["from-card", "from-factory", "from-server"][winner], "{case}");
        }
        None => {
            assert_ne!(code, 0, "{case}: {told}");
            assert_eq!((&status["state"], &status["accounts"]), (&"waiting".into(), &serde_json::json!([])), "{case}");
            assert_eq!(status["next"], told["next"], "{case}: kept over the end of the program");
            let seconds = seconds_until(&told["next"]);
            assert!(server.wait().contains(&seconds), "{case}: {seconds} s: {told}");
            assert!(told["next"]["why"].as_str().is_some_and(|why| !why.is_empty()), "{case}: {told}");
        }
    }
}

fn tried(attempt: &Value) -> (&str, &str, Option<&str>) {
    (attempt["method"].as_str().unwrap_or(""), attempt["outcome"].as_str().unwrap_or(""), attempt["reason"].as_str())
}

fn seconds_until(next: &Value) -> u64 {
    let at: Timestamp = next["at"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{next}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    at.since(Timestamp(now.as_secs()))
}

/// All pairs of card and factory file. Where neither is good the server is asked, of which each answer is taken once.
fn pairs() -> Vec<(Card, Factory, Server)> {
    let mut servers = Server::ALL.into_iter();
    let pairs = Card::ALL.into_iter().flat_map(|card| Factory::ALL.map(|factory| (card, factory)));
    pairs
        .map(|(card, factory)| {
            let asked = card != Card::Good && factory != Factory::Good;
            let server = if asked { servers.next().expect("as many answers as pairs") } else { Server::Message };
            (card, factory, server)
        })
        .collect()
}

#[test]
fn every_pair_and_every_value() {
    let cases = pairs();
    assert_eq!(cases.len(), 21);
    assert!(Server::ALL.iter().all(|server| {
        cases.iter().any(|(card, factory, asked)| asked == server && *card != Card::Good && *factory != Factory::Good)
    }));
    let world = World::new();
    let numbered: Vec<_> = cases.into_iter().enumerate().collect();
    in_parallel(&numbered, 4, |(number, (card, factory, server))| world.check(*number, *card, *factory, *server));
}

#[test]
fn some_combinations_at_random() {
    let mut random = Random::new(seed());
    let mut pick = |below: usize| usize::try_from(random.below(below as u64)).unwrap_or(0);
    // Of the combinations in which the server is asked, since the others are all above.
    let cases: Vec<_> = (0..16)
        .map(|number| (100 + number, Card::ALL[1 + pick(6)], Factory::ALL[1 + pick(2)], Server::ALL[pick(12)]))
        .collect();
    let world = World::new();
    in_parallel(&cases, 4, |(number, card, factory, server)| world.check(*number, *card, *factory, *server));
}

#[test]
fn cards_in_a_reader_of_pcscd() {
    let world = World::new();
    for (number, card) in [Card::NoDmObject, Card::Damaged, Card::Unreadable, Card::PinRefused].into_iter().enumerate()
    {
        let mut device = world.device(200 + number, Server::NotFound);
        let file = device.join("client.toml");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        let socket = format!("socket:{}", device.join("card.sock").display());
        private_file(&file, text.replace(&socket, "pcsc").replace("wait = \"200ms\"", "wait = \"5s\"").as_bytes());
        let path = card.write(&device).expect("a card");
        let reader = CardReader::with_pcscd(&path, &device.join("pcscd.sock"));
        device.use_pcscd(reader.socket());
        let ends = [card.ends(), Factory::None.ends(), Server::NotFound.ends()];
        check_outcome(&format!("{card:?} in pcscd"), &device, &ends, Server::NotFound);
    }
}
