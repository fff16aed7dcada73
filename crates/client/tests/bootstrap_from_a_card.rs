//! A device whose card is a virtual UICC behind a socket.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::clocked::Clocked;
use kit::{Device, Server, answer, message};
use omadm_card::VirtualUicc;
use omadm_card::link::vpcd::{ServedCard, SharedCard, listen};
use omadm_card::make::{CardPlan, Content, make};
use omadm_client::client::Client;
use omadm_client::schedule::Schedule;
use omadm_client::world::World;
use omadm_core::bootstrap::sequence::RunResult;
use omadm_core::reason::{Method, Outcome, Reason};
use std::time::Duration;

const ICCID: &str = "8988211000000000017";
const OTHER: &str = "8988211000000000025";

fn plan(iccid: &str, srv_id: &str) -> CardPlan {
    let message = message(srv_id, "http://127.0.0.1:9/dm");
    CardPlan { pin: Some("1234".into()), ..CardPlan::new(iccid.parse().unwrap(), message.as_bytes()) }
}

/// Puts a card behind the device's socket.
fn insert(device: &Device, plan: &CardPlan) -> (ServedCard, SharedCard) {
    let card = SharedCard::new(VirtualUicc::new(&make(plan).unwrap()));
    (listen(&device.path("card.sock"), card.clone()).unwrap(), card)
}

fn device(pin: &str) -> Device {
    let device = Device::new();
    device.write("pin", pin);
    device.configure("[card]\nlink = \"socket:card.sock\"\npin_file = \"pin\"\nwait = \"200ms\"\n");
    device
}

#[test]
fn a_good_card_bootstraps_the_device_and_a_restart_changes_nothing() {
    let device = device("1234\n");
    let (_served, card) = insert(&device, &plan(ICCID, "acme"));
    let mut client = device.open();
    let run = client.bootstrap().unwrap();
    assert!(matches!(run.result, RunResult::Bootstrapped { .. }), "{run:?}");
    let status = client.status();
    assert_eq!((status.accounts[0].source, status.accounts[0].origin.as_str()), (Method::Smartcard, ICCID));
    assert_eq!(status.last_run.apdus, u64::from(card.lock().commands()), "every command is counted");
    assert!(status.sim.ready && status.sim.mcc.as_ref().unwrap().as_str() == "001", "{:?}", status.sim);
    drop(client);
    let state = device.state();
    let mut client = device.open();
    assert_eq!(client.bootstrap().unwrap().result, RunResult::Unchanged);
    assert_eq!(device.state(), state);
}

#[test]
fn what_changes_on_the_card_in_its_place_is_found_within_a_day() {
    let server = Server::start(|_, _| answer(200, "application/vnd.oma.dm.request+json", r#"{"CMD":[["END"]]}"#));
    let device = Device::new();
    device.write("pin", "1234");
    device.configure(
        "[card]\nlink = \"socket:card.sock\"\npin_file = \"pin\"\n[session]\nevery = \"366d\"\nstale_after = \"366d\"\n",
    );
    let of = |path: &str| {
        let message = message("acme", &format!("{}/{path}", server.base));
        let plan = CardPlan { pin: Some("1234".into()), ..CardPlan::new(ICCID.parse().unwrap(), message.as_bytes()) };
        VirtualUicc::new(&make(&plan).unwrap())
    };
    let card = SharedCard::new(of("dm"));
    let _served = listen(&device.path("card.sock"), card.clone()).unwrap();
    let world = Clocked::new(omadm_client::clock::at_start().0);
    let (mut client, mut schedule) = (device.open_in(world.clone()), Schedule::new());
    let mut live = |client: &mut Client, hours: u64| {
        let end = world.monotonic() + Duration::from_hours(hours);
        while world.monotonic() < end {
            if let Some(pause) = schedule.step(client).unwrap() {
                world.pass(pause.min(end - world.monotonic()).as_secs().max(1));
            }
        }
    };
    let uri = |client: &Client| client.state().accounts.iter().next().unwrap().account.srv_uri.to_string();
    live(&mut client, 1);
    let (read, written) = (card.lock().commands(), client.replaced());
    live(&mut client, 10 * 24);
    assert_eq!(client.replaced(), written, "a card with the same on it costs no writing");
    let readings = (card.lock().commands() - read) / read;
    assert!((9..=10).contains(&readings), "{readings} readings in ten days");
    // As REFRESH does it: nobody sees a card go or come.
    *card.lock() = of("moved");
    live(&mut client, 25);
    assert!(uri(&client).ends_with("/moved"), "{}", uri(&client));
    assert_eq!(server.lines().last().unwrap(), "POST /moved");
}

#[test]
fn a_refused_pin_is_never_sent_again() {
    let device = device("9999");
    let (_served, card) = insert(&device, &plan(ICCID, "acme"));
    let reference = 1;
    for _ in 0..3 {
        let run = device.open().bootstrap().unwrap();
        assert_eq!(run.attempts[0].reason, Some(Reason::PinRefused), "{run:?}");
        assert_eq!(card.lock().tries_left(reference), Some(2));
    }
    assert!(!device.state().contains("9999"));
    // A person puts it right.
    device.write("pin", "1234");
    assert!(matches!(device.open().bootstrap().unwrap().result, RunResult::Bootstrapped { .. }));
}

#[test]
fn a_reset_does_not_forget_a_refused_pin() {
    let device = device("9999");
    let (_served, card) = insert(&device, &plan(ICCID, "acme"));
    device.open().bootstrap().unwrap();
    device.open().reset().unwrap();
    device.open().bootstrap().unwrap();
    assert_eq!(card.lock().tries_left(1), Some(2));
}

#[test]
fn a_pin_that_others_can_read_is_not_sent_and_said_so() {
    use std::os::unix::fs::PermissionsExt;
    let device = device("1234");
    std::fs::set_permissions(device.path("pin"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let (_served, card) = insert(&device, &plan(ICCID, "acme"));
    let run = device.open().bootstrap().unwrap();
    assert_eq!(run.attempts[0].reason, Some(Reason::PinNeeded));
    assert!(run.attempts[0].message.contains("0600"), "{}", run.attempts[0].message);
    assert_eq!(card.lock().tries_left(1), Some(3));
}

#[test]
fn another_card_takes_the_place_of_the_first() {
    let device = device("1234");
    let (served, _) = insert(&device, &plan(ICCID, "acme"));
    device.open().bootstrap().unwrap();
    drop(served);
    let (served, _) = insert(&device, &plan(OTHER, "other"));
    let mut client = device.open();
    let run = client.bootstrap().unwrap();
    assert!(matches!(run.result, RunResult::Bootstrapped { .. }), "{run:?}");
    let accounts: Vec<_> = client.status().accounts.iter().map(|one| one.srv_id.to_string()).collect();
    assert_eq!(accounts, ["other"]);
    drop((client, served));
    // A card without a message: the account is suspended, and in use again when its card comes back.
    let bare = CardPlan { content: Content::None, pin: None, ..plan(OTHER, "other") };
    let (served, _) = insert(&device, &bare);
    let mut client = device.open();
    assert_eq!(client.bootstrap().unwrap().result, RunResult::Nothing);
    assert!(client.status().accounts[0].suspended);
    drop((client, served));
    let (_served, _) = insert(&device, &plan(OTHER, "other"));
    let mut client = device.open();
    client.bootstrap().unwrap();
    assert!(!client.status().accounts[0].suspended);
}

#[test]
fn a_card_that_cannot_be_reached_changes_nothing() {
    let device = device("1234");
    let (served, _) = insert(&device, &plan(ICCID, "acme"));
    device.open().bootstrap().unwrap();
    drop(served);
    let mut client = device.open();
    let run = client.bootstrap().unwrap();
    assert_eq!((run.attempts[0].outcome, run.attempts[0].reason), (Outcome::None, Some(Reason::NoCard)));
    assert_eq!(run.result, RunResult::Unchanged);
    assert!(!client.status().accounts[0].suspended);
}

#[test]
fn an_empty_slot_is_believed_after_half_a_minute() {
    let device = device("1234");
    let (_served, _) = insert(&device, &plan(ICCID, "acme"));
    device.open().bootstrap().unwrap();
    for (seconds, is_gone) in [(1, false), (20, false), (3600, true)] {
        let world = Clocked::new(2_000_000_000);
        world.take_card_out(seconds);
        let mut client = device.open_in(world.clone());
        client.bootstrap().unwrap();
        assert_eq!(client.status().accounts[0].suspended, is_gone, "out for {seconds} s");
        assert!((seconds.min(28)..60).contains(&world.monotonic().as_secs()), "{:?}", world.monotonic());
    }
}

#[test]
fn the_request_waits_for_a_sim_until_it_is_there_or_proven_not_to_be() {
    let server = Server::start(|_, _| (204, vec![], String::new()));
    let device = Device::new();
    device.write("secret", "enrolment secret\n");
    let url = format!("url = \"{}/b\"\nsecret_file = \"secret\"\n", server.base);
    device.configure(&format!("[card]\nlink = \"socket:card.sock\"\nwait = \"200ms\"\n[bootstrap]\n{url}"));
    let ask = |world: &std::sync::Arc<Clocked>| {
        let run = device.open_in(world.clone()).bootstrap().unwrap();
        let seen = server.seen().pop().unwrap().line;
        let told = run.attempts[2].message.contains("without a SIM");
        (world.monotonic().as_secs(), seen.contains("MCC=001") && seen.contains("MNC=01"), told)
    };
    // No socket: the link says nothing, which is no proof.
    let (waited, is_known, told) = ask(&Clocked::new(2_000_000_000));
    assert!((60..65).contains(&waited) && !is_known && told, "{waited} s");
    let (_served, _) = insert(&device, &CardPlan { content: Content::None, pin: None, ..plan(ICCID, "acme") });
    let world = Clocked::new(2_000_000_000);
    world.take_card_out(3600);
    let (waited, is_known, told) = ask(&world);
    assert!((30..35).contains(&waited) && !is_known && told, "{waited} s");
    let world = Clocked::new(2_000_000_000);
    world.take_card_out(10);
    let (waited, is_known, told) = ask(&world);
    assert!((10..15).contains(&waited) && is_known && !told, "{waited} s");
}

#[test]
fn what_listens_and_never_answers_is_a_failed_attempt() {
    let device = device("1234");
    device.configure("[card]\nlink = \"socket:card.sock\"\nwait = \"100ms\"\ntimeout = \"300ms\"\n");
    let _deaf = std::os::unix::net::UnixListener::bind(device.path("card.sock")).unwrap();
    let began = std::time::Instant::now();
    let run = device.open().bootstrap().unwrap();
    assert_eq!(run.attempts[0].reason, Some(Reason::Timeout), "{run:?}");
    assert!(began.elapsed().as_secs() < 25);
}

/// Serves the card like [`listen`], but ends the connection where the answer to a PIN would come.
fn listen_and_drop_at_verify(device: &Device, card: SharedCard) {
    use std::io::{Read, Write};
    let listener = std::os::unix::net::UnixListener::bind(device.path("card.sock")).unwrap();
    std::thread::spawn(move || {
        'connections: for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut body).unwrap();
                let answer = match body.as_slice() {
                    [4] => card.lock().atr(),
                    [_] => {
                        card.lock().reset();
                        continue;
                    }
                    command => card.lock().answer(command),
                };
                if body.len() > 5 && body[1] == 0x20 {
                    continue 'connections;
                }
                let message = [&u16::try_from(answer.len()).unwrap().to_be_bytes(), answer.as_slice()].concat();
                stream.write_all(&message).unwrap();
            }
        }
    });
}

#[test]
fn a_pin_whose_refusal_is_lost_again_and_again_costs_one_try() {
    let device = device("9999");
    let card = SharedCard::new(VirtualUicc::new(&make(&plan(ICCID, "acme")).unwrap()));
    listen_and_drop_at_verify(&device, card.clone());
    for _ in 0..2 {
        let run = device.open().bootstrap().unwrap();
        assert_eq!(run.attempts[0].reason, Some(Reason::PinRefused), "{run:?}");
        assert_eq!(card.lock().tries_left(1), Some(2));
    }
}

#[test]
fn the_short_way_takes_fewer_commands_and_fewest_once_the_card_is_known() {
    let commands = |fast: bool| {
        let device = Device::new();
        device.configure(&format!("[card]\nlink = \"socket:card.sock\"\nwait = \"200ms\"\nfast = {fast}\n"));
        let mut parts =
            make(&CardPlan { pin: None, allow_public_secret: true, ..plan(ICCID, "acme") }).unwrap().into_parts();
        for (file, sfi) in parts.applications[0].files.iter_mut().zip([0x11, 0x12, 0x10, 0x14]) {
            file.sfi = Some(sfi);
        }
        let card = SharedCard::new(VirtualUicc::new(&parts.try_into().unwrap()));
        let _served = listen(&device.path("card.sock"), card.clone()).unwrap();
        let mut client = device.open();
        assert!(matches!(client.bootstrap().unwrap().result, RunResult::Bootstrapped { .. }));
        let first = card.lock().commands();
        assert_eq!(client.bootstrap().unwrap().result, RunResult::Unchanged);
        (first, card.lock().commands() - first)
    };
    let ((plain, plain_again), (first, again)) = (commands(false), commands(true));
    assert_eq!(plain, plain_again);
    assert!(again < first && first < plain, "{plain}, {first}, {again}");
}

#[test]
fn what_was_passed_over_on_the_card_stands_in_the_attempt_and_nothing_of_it_is_lost() {
    let device = device("1234");
    let (served, _card) = insert(&device, &CardPlan { pin: None, allow_public_secret: true, ..plan(ICCID, "acme") });
    let mut client = device.open();
    assert!(matches!(client.bootstrap().unwrap().result, RunResult::Bootstrapped { .. }));
    drop((client, served));
    // Now the directory lists a second object, whose file is not there.
    let mut parts =
        make(&CardPlan { pin: None, allow_public_secret: true, ..plan(ICCID, "other") }).unwrap().into_parts();
    let dodf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6430).unwrap();
    let mut second = dodf.content.0[..42].to_vec();
    second[41] = 0x35;
    dodf.content.0.splice(42.., second);
    let card = SharedCard::new(VirtualUicc::new(&parts.try_into().unwrap()));
    // Somebody may be writing the card: it is read again after five seconds of this clock.
    let mut client = device.open_in(Clocked::new(2_000_000_000));
    let _served = listen(&device.path("card.sock"), card).unwrap();
    let run = client.bootstrap().unwrap();
    assert!(run.attempts[0].message.contains("passed over: EF(DM_Bootstrap) 6435"), "{run:?}");
    let names: Vec<_> = run.book.iter().map(|one| one.account.srv_id.to_string()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
