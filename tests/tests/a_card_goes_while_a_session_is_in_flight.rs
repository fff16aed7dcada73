//! The card is taken out, comes back or is exchanged while a session is in flight, with a real PC/SC service and in a modem:
//! the session goes to its end, whole; only then the card is looked at, and what it proves counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard};
use omadm_card::make::{CardPlan, make};
use omadm_card::{CardImage, VirtualUicc};
use omadm_tests::{
    Answer, Asked, Authority, CardReader, Device, Folder, HostileServer, Process, omadm, private_file, until,
};
use serde_json::{Value, json};

const REQUEST: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.request+json");
const MO: (&str, &str) = ("Content-Type", "application/vnd.oma.dm.mo+json");
const EXAMPLE: &str = "urn:omadm:mo:example:1.0";
const ICCID: &str = "8988211000000000017";
const OTHER: &str = "8988211000000000025";

/// A DM Server whose first session fetches an instance: it says when it is asked for it, and gives it when it is told to.
struct Held {
    server: HostileServer,
    asked: Receiver<()>,
    go_on: Sender<()>,
}

impl Held {
    fn new(authority: &Authority) -> Self {
        let ((tell, asked), (go_on, told)) = (channel(), channel());
        let (tell, told, first) = (Mutex::new(tell), Mutex::new(told), AtomicBool::new(true));
        let server = HostileServer::tls(&authority.good(), move |request| {
            if request.line().starts_with("GET ") {
                let _ = tell.lock().unwrap_or_else(PoisonError::into_inner).send(());
                let told: &Receiver<()> = &told.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = told.recv_timeout(Duration::from_secs(120));
                return Answer::new(200, &[MO], instance().to_string().as_bytes());
            }
            let host = request
                .head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            let fetches = is_opening(request) && first.swap(false, Ordering::Relaxed);
            let url = format!("https://{}/data", host.unwrap_or_default());
            let package = if fetches { json!({"CMD": [["HGET", url]]}) } else { json!({"CMD": [["END"]]}) };
            Answer::new(200, &[REQUEST], package.to_string().as_bytes())
        });
        Self { server, asked, go_on }
    }

    /// Waits until a session is in flight, in the middle of a command.
    fn in_flight(&self, client: &Process) {
        self.asked.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("no session:\n{}", client.log()));
    }

    /// The status of the command that the session was in, as the client reported it.
    fn status(&self) -> Option<Value> {
        let asked = self.server.asked();
        let package = asked.iter().find(|asked| asked.line().starts_with("POST ") && !is_opening(asked))?;
        serde_json::from_slice::<Value>(&package.body).ok().map(|package| package["Status"][0]["sc"].clone())
    }
}

fn is_opening(asked: &Asked) -> bool {
    asked.head.to_ascii_lowercase().contains("initiation+json")
}

fn instance() -> Value {
    json!({"ClientURI": format!("{EXAMPLE}/hall/"), "MOData": {"Example": {"Name": "in flight"}}})
}

fn message(srv_id: &str, server: &HostileServer, authority: &Authority) -> String {
    json!([{"ClientURI": format!("urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/"), "MOData": {"DMAcc": {
        "SrvID": srv_id, "SrvURI": server.url("/dm"), "Name": srv_id,
        "Perm": {"1": {"MOID": "urn:oma:mo:oma-dm-devinfo:1.2"}, "2": {"MOID": EXAMPLE}},
        "Auth": {"Trsp": {"Data": "YmFzaWM6YWNtZS0wMDAx", "Secret": "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}},
        "Ext": {"omadm": {"ServerCA": authority.pem()}},
    }}}])
    .to_string()
}

fn card(iccid: &str, message: &str) -> CardImage {
    let plan = CardPlan::new(iccid.parse().expect("an ICCID"), message.as_bytes());
    make(&CardPlan { allow_public_secret: true, ..plan }).expect("a card")
}

/// A server that ends each session at once.
fn good(authority: &Authority) -> HostileServer {
    HostileServer::tls(&authority.good(), |_| Answer::new(200, &[REQUEST], br#"{"CMD":[["END"]]}"#))
}

/// A device with a card, and a session in flight with the account that came from it. Another server stands by.
struct Bench {
    client: Process,
    held: Held,
    beta: HostileServer,
    authority: Authority,
    device: Device,
}

impl Bench {
    /// With this link to the card, which `insert` puts in.
    fn new<T>(link: &str, more: &str, insert: impl FnOnce(&mut Device, &CardImage) -> T) -> (Self, T) {
        let authority = Authority::new();
        let (held, beta) = (Held::new(&authority), good(&authority));
        let config =
            format!("example_mo = true\n[sim]\nwait = \"0s\"\n[card]\nwait = \"5s\"\nlink = \"{link}\"\n{more}");
        let mut device = Device::new("IMEI:490154203237518", &config);
        private_file(&device.join("factory.json"), message("beta", &beta, &authority).as_bytes());
        let inserted = insert(&mut device, &card(ICCID, &message("acme", &held.server, &authority)));
        let client = device.run();
        held.in_flight(&client);
        (Self { client, held, beta, authority, device }, inserted)
    }

    /// The card of the session once more.
    fn same_card(&self) -> CardImage {
        card(ICCID, &message("acme", &self.held.server, &self.authority))
    }

    /// A card with an account for the server that stands by.
    fn other_card(&self) -> CardImage {
        card(OTHER, &message("beta", &self.beta, &self.authority))
    }

    /// Lets the session go on, and waits for its end: it went on where it was, and what it made is there whole.
    fn ends_whole(&self) {
        assert_eq!(self.held.server.asked().len(), 1, "the session waits: {}", self.client.log());
        self.held.go_on.send(()).expect("a server that waits");
        until("the session is over", 30, || {
            let log = self.client.log();
            assert!(!log.contains("the session with acme broke off"), "{log}");
            log.contains("the session with acme ended").then_some(())
        });
        assert_eq!(self.held.status(), Some(200.into()), "the client reported what it did");
        self.keeps_what_was_made();
    }

    /// What the session made is in the state.
    fn keeps_what_was_made(&self) {
        let (state, _) = self.device.state();
        let state = String::from_utf8_lossy(&state).into_owned();
        assert!(state.contains("in flight"), "{state}");
    }

    /// Waits until the status is as wanted, and says it.
    fn until_status(&self, what: &str, seconds: u64, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            last = self.device.status().or(last);
            match &last {
                Some(status) if is(status) => return status.clone(),
                Some(_) | None => {}
            }
            assert!(Instant::now() < deadline, "not within {seconds} s: {what}: {last:?}\n{}", self.client.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Where the accounts came from, and whether their cards are gone.
fn accounts(status: &Value) -> Vec<(&str, &str, bool)> {
    fn text<'a>(account: &'a Value, name: &str) -> &'a str {
        account[name].as_str().unwrap_or_default()
    }
    let accounts = status["accounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    accounts.iter().map(|one| (text(one, "srv_id"), text(one, "origin"), one["suspended"] == true)).collect()
}

/// A PC/SC service of its own, whose reader is empty when nothing is in it.
fn service(folder: &Folder) -> PrivatePcscd {
    PrivatePcscd::start(&folder.join("pcscd")).expect("a PC/SC service")
}

fn insert(service: &PrivatePcscd, card: &CardImage) -> ServedCard {
    service.insert(SharedCard::new(VirtualUicc::new(card))).expect("a card in the reader")
}

/// Waits until the service says that its reader is empty, or is not.
fn until_reader(service: &PrivatePcscd, holds: bool) {
    let (name, socket) = service.environment();
    until("the reader has noticed", 10, || {
        let output = omadm().args(["card", "readers", "--json"]).env(name, socket).output().expect("omadm runs");
        let list: Value = serde_json::from_slice(&output.stdout).expect("a list");
        let mut readers = list.as_array().expect("a list").iter().filter(|way| way["link"] == "pcsc");
        (readers.any(|reader| reader["card"] == true) == holds).then_some(())
    });
}

/// A device whose card went out of its reader while the session was in flight; its configuration has `more`.
fn taken_out_of_its_reader(more: &str) -> (Folder, PrivatePcscd, Bench) {
    let folder = Folder::new();
    let service = service(&folder);
    let (bench, inserted) = Bench::new("pcsc", more, |device, card| {
        device.use_pcscd(service.environment().1);
        insert(&service, card)
    });
    drop(inserted);
    until_reader(&service, false);
    (folder, service, bench)
}

#[test]
fn taken_out_of_its_reader_it_is_proven_gone_after_the_session_and_the_next_method_has_its_turn() {
    let (_folder, _service, bench) = taken_out_of_its_reader("[factory]\nfile = \"$HOME/factory.json\"\n");
    bench.ends_whole();
    let is_managed =
        |status: &Value| status["state"] == "managed" && accounts(status).iter().any(|one| one.0 == "beta");
    let status = bench.until_status("the factory's account is managed", 90, is_managed);
    let factory = bench.device.join("factory.json");
    assert_eq!(accounts(&status), [("beta", factory.to_str().expect("UTF-8"), false)], "{status}");
    let attempts = status["attempts"].as_array().expect("attempts");
    let last: Vec<_> =
        attempts.iter().rev().take(2).rev().map(|one| (&one["method"], &one["outcome"], &one["reason"])).collect();
    assert_eq!(json!(last), json!([["smartcard", "none", "no-card"], ["factory", "installed", null]]), "{status}");
    assert_eq!(status["sim"]["present"], false, "{status}");
    bench.keeps_what_was_made();
    assert!(bench.client.stop().success());
}

#[test]
fn taken_out_and_put_in_again_during_the_session_it_is_as_if_nothing_had_been() {
    let (_folder, service, bench) = taken_out_of_its_reader("");
    let _inserted = insert(&service, &bench.same_card());
    until_reader(&service, true);
    bench.ends_whole();
    // Each sign has the card looked at.
    until("the card was looked at again", 60, || bench.client.log().contains("smartcard: unchanged").then_some(()));
    let status = bench.until_status("it is managed", 30, |status| status["state"] == "managed");
    assert_eq!(accounts(&status), [("acme", ICCID, false)], "{status}");
    bench.keeps_what_was_made();
    assert!(!bench.client.log().contains("is suspended"), "{}", bench.client.log());
    assert!(bench.client.stop().success());
}

#[test]
fn exchanged_in_its_reader_the_other_cards_account_takes_over_after_the_session() {
    let (_folder, service, bench) = taken_out_of_its_reader("");
    let _inserted = insert(&service, &bench.other_card());
    until_reader(&service, true);
    bench.ends_whole();
    the_other_card_takes_over(bench, 60);
}

#[test]
fn exchanged_in_its_modem_the_other_cards_account_takes_over_after_the_session() {
    let (bench, reader) = Bench::new("at:$HOME/modem", "", |device, card| {
        let file = write(device, "card.json", card);
        CardReader::in_modem(&file, &device.join("modem"))
    });
    reader.remove();
    let other = write(&bench.device, "other.json", &bench.other_card());
    let _reader = CardReader::in_modem(&other, &bench.device.join("modem"));
    bench.ends_whole();
    // The modem is asked once a minute.
    the_other_card_takes_over(bench, 120);
}

fn write(device: &Device, name: &str, card: &CardImage) -> PathBuf {
    let file = device.join(name);
    private_file(&file, card.to_json().as_bytes());
    file
}

fn the_other_card_takes_over(bench: Bench, seconds: u64) {
    let is_managed =
        |status: &Value| status["state"] == "managed" && accounts(status).iter().any(|one| one.0 == "beta");
    let status = bench.until_status("the other card's account is managed", seconds, is_managed);
    assert_eq!(accounts(&status), [("beta", OTHER, false)], "what came from the first card goes: {status}");
    assert_eq!((&status["sim"]["iccid"], &status["sim"]["present"]), (&OTHER.into(), &true.into()), "{status}");
    bench.keeps_what_was_made();
    assert!(bench.client.stop().success());
}

#[test]
fn where_the_server_never_answers_the_session_breaks_off_with_a_reason_and_makes_nothing() {
    let folder = Folder::new();
    let service = service(&folder);
    let limits = "[http]\nconnect_timeout = \"5s\"\ntimeout = \"5s\"\n";
    let (bench, inserted) = Bench::new("pcsc", limits, |device, card| {
        device.use_pcscd(service.environment().1);
        insert(&service, card)
    });
    drop(inserted);
    until_reader(&service, false);
    let _inserted = insert(&service, &bench.other_card());
    until("the session is over", 60, || bench.client.log().contains("the session with acme broke off").then_some(()));
    let (state, _) = bench.device.state();
    assert!(!String::from_utf8_lossy(&state).contains("in flight"), "half a session");
    let is_managed =
        |status: &Value| status["state"] == "managed" && accounts(status).iter().any(|one| one.0 == "beta");
    let status = bench.until_status("the other card's account is managed", 60, is_managed);
    assert_eq!(accounts(&status), [("beta", OTHER, false)], "{status}");
    assert!(bench.client.stop().success());
}
