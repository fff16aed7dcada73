//! A device on the table, without sockets and clocks: the real client in a world that does the same each time.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a part of each test file, which uses a part of it")]

use omadm_card::VirtualUicc;
use omadm_card::link::{Link, LinkError, Patience};
use omadm_card::make::{CardPlan, make};
use omadm_client::client::Client;
use omadm_client::config::{CardConfig, Config};
use omadm_client::schedule::Schedule;
use omadm_client::secret_file::SecretFileError;
use omadm_client::state::Storage;
use omadm_client::transport::{Answer, Carrier, Headers, HttpError, HttpSetup, Outgoing};
use omadm_client::wait::{ApartError, Stopped};
use omadm_client::world::World;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const NOW: Timestamp = Timestamp(4_000_000_000);
pub const PIN: &str = "4711";

/// What brings the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Card,
    /// The card wants another PIN than the one that is configured.
    RefusingCard,
    Factory,
    Server,
}

impl From {
    pub const EACH: [Self; 4] = [Self::Card, Self::RefusingCard, Self::Factory, Self::Server];
}

/// The world of one device.
#[derive(Clone)]
pub struct Table {
    from: From,
    now: Timestamp,
    card: Arc<Mutex<VirtualUicc>>,
    /// Whether the server changes the tree in each session.
    changing: bool,
    /// Whether the server can be reached.
    online: bool,
}

impl Table {
    pub fn new(from: From, changing: bool) -> Self {
        let pin = if from == From::RefusingCard { "4712" } else { PIN };
        let plan = CardPlan {
            pin: Some(Secret::from(pin)),
            ..CardPlan::new("8988211000000000017".parse().unwrap(), message("acme").as_bytes())
        };
        let card = Arc::new(Mutex::new(VirtualUicc::new(&make(&plan).unwrap())));
        Self { from, now: NOW, card, changing, online: true }
    }

    /// The same world with things of its own.
    pub fn copy(&self) -> Self {
        Self { card: Arc::new(Mutex::new(self.card.lock().unwrap().clone())), ..self.clone() }
    }

    /// The same world without its servers.
    pub fn offline(&self) -> Self {
        Self { online: false, ..self.copy() }
    }

    pub fn later(&self, seconds: u64) -> Self {
        Self { now: self.now.plus(seconds), ..self.copy() }
    }

    pub fn config(&self) -> Config {
        let usual = "state = \"state\"\ndev_id = \"IMEI:493005100592800\"\nexample_mo = true\n";
        let factory = "[factory]\nfile = \"factory.json\"\n";
        let more = match self.from {
            From::Card => "[card]\nlink = \"socket:card\"\npin_file = \"pin\"\n".to_owned(),
            From::RefusingCard => format!("[card]\nlink = \"socket:card\"\npin_file = \"pin\"\n{factory}"),
            From::Factory => format!("[card]\nlink = \"off\"\n{factory}"),
            From::Server => {
                "[card]\nlink = \"off\"\n[bootstrap]\nurl = \"https://acme.test/b\"\nsecret_file = \"pin\"\n".to_owned()
            }
        };
        Config::parse(&format!("{usual}{more}"), Path::new("/etc/client.toml")).unwrap()
    }

    /// A client that starts on this storage.
    pub fn client(&self, storage: impl Storage + 'static) -> Client {
        Client::new(self.config(), Arc::new(self.clone()), Box::new(storage)).unwrap()
    }

    /// Runs the client until nothing is due.
    pub fn run(&self, client: &mut Client) {
        self.go_on(&mut Schedule::new(), client);
    }

    /// Goes on with this schedule until nothing is due.
    pub fn go_on(&self, schedule: &mut Schedule, client: &mut Client) {
        for _ in 0..20 {
            if schedule.step(client).unwrap().is_some() {
                return;
            }
        }
        panic!("there is always something to do: {:?}", client.status());
    }

    /// How many tries the card's PIN has left.
    pub fn tries(&self) -> u8 {
        let mut card = self.card.lock().unwrap();
        card.reset();
        match card.answer(&[0, 0x20, 0, 1])[..] {
            [0x63, left] => left & 0x0F,
            _ => 0,
        }
    }

    fn answer(&self, request: &Outgoing) -> Answer {
        let body = String::from_utf8(request.body.clone().unwrap_or_default()).unwrap();
        let (content_type, body) = match request.url.as_str() {
            url if url.starts_with("https://acme.test/b") => (media::BOOTSTRAP, message("acme")),
            "https://acme.test/data" => (
                media::MO,
                r#"[{"ClientURI":"urn:omadm:mo:example:1.0/left/","MOData":{"Example":{"Name":"made"}}}]"#.to_owned(),
            ),
            _ if !self.changing || !body.contains("Alert") => (media::REQUEST, r#"{"CMD":[["END"]]}"#.to_owned()),
            _ => (
                media::REQUEST,
                r#"{"CMD":[["DELETE","urn:omadm:mo:example:1.0/*/"],["HGET","https://acme.test/data"],["HGET","https://acme.test/data"],["GET","urn:oma:mo:oma-dm-devinfo:1.2//Man"],["DELETE","urn:omadm:mo:example:1.0/left/"]]}"#
                    .to_owned(),
            ),
        };
        let mut headers = Headers::default();
        headers.add("content-type", content_type);
        Answer { status: 200, headers, body: body.into_bytes() }
    }
}

/// A Bootstrap Message with one account that may manage DevInfo and the example MO.
pub fn message(srv_id: &str) -> String {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://acme.test/dm","Name":"{srv_id}","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"2":{{"MOID":"urn:omadm:mo:example:1.0"}}}},"Auth":{{"Trsp":{{"Data":"YmFzaWM6YWNtZS0wMDAx","Secret":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}}}}}}}}}}]"#
    )
}

struct Hand(Arc<Mutex<VirtualUicc>>);

impl Link for Hand {
    fn protocol(&self) -> omadm_card::apdu::Protocol {
        self.0.lock().unwrap().protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.0.lock().unwrap().transmit(command)
    }
}

impl Carrier for Table {
    fn carry(&self, request: Outgoing) -> Result<Answer, HttpError> {
        if self.online { Ok(self.answer(&request)) } else { Err(HttpError::Connect("nobody is there".to_owned())) }
    }
}

impl World for Table {
    fn system_time(&self) -> Timestamp {
        self.now
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        7
    }
    fn sleep(&self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }
    fn is_stopped(&self) -> bool {
        false
    }
    fn work_apart(&self, _: &str, _: Duration, _: Duration, work: Box<dyn FnOnce() + Send>) -> Result<(), ApartError> {
        work();
        Ok(())
    }
    fn open_card(&self, _: &CardConfig, _: &Patience) -> Result<Box<dyn Link>, LinkError> {
        self.card.lock().unwrap().reset();
        Ok(Box::new(Hand(self.card.clone())))
    }
    fn slot_is_empty(&self, _: &CardConfig) -> bool {
        false
    }
    fn carrier(&self, _: &HttpSetup) -> Result<Box<dyn Carrier>, HttpError> {
        Ok(Box::new(self.clone()))
    }
    fn read_file(&self, _: &Path, _: usize) -> io::Result<Vec<u8>> {
        Ok(message("acme").into_bytes())
    }
    fn read_secret(&self, _: &Path) -> Result<Secret, SecretFileError> {
        Ok(Secret::from(PIN))
    }
}
