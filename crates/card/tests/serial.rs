//! A card in a modem at a real pseudo-terminal, and ports and modems that misbehave.
#![cfg(feature = "serial")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use omadm_card::apdu::{MANAGE_CHANNEL, Protocol};
use omadm_card::link::at::Presence;
use omadm_card::link::serial::{ServedModem, SharedModem, open, presence, serve, serve_modem};
use omadm_card::link::{LinkError, Patience};
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::virtual_modem::{ModemQuirk, VirtualModem};
use omadm_card::{CardErrorKind, CardReading, ReadRequest, VirtualUicc, read};

const ICCID: &str = "8901012345678901234";

fn message() -> Vec<u8> {
    format!("[{}7]", "7,".repeat(400)).into_bytes()
}

fn card(protocol: Protocol) -> VirtualUicc {
    let content = Content::Message(message());
    VirtualUicc::new(&make(&CardPlan { protocol, content, ..CardPlan::new(ICCID.parse().unwrap(), b"") }).unwrap())
}

fn served(quirks: &[ModemQuirk], protocol: Protocol) -> (ServedModem, SharedModem) {
    let modem = SharedModem::new(VirtualModem::new(card(protocol), quirks));
    (serve_modem(modem.clone(), None).unwrap(), modem)
}

fn brief() -> Patience {
    Patience {
        wait: Duration::from_millis(300),
        empty: Duration::from_millis(100),
        command: Duration::from_millis(500),
    }
}

fn read_at(path: &Path, patience: &Patience) -> Result<CardReading, LinkError> {
    let began = Instant::now();
    let mut link = open(path, patience)?;
    Ok(read(&mut link, &ReadRequest::default(), &|| began.elapsed()))
}

#[test]
fn every_quirk_is_read_through_a_pseudo_terminal() {
    for protocol in [Protocol::T0, Protocol::T1] {
        for (quirk, name) in ModemQuirk::ALL {
            let (served, modem) = served(&[quirk], protocol);
            let reading = read_at(served.path(), &brief());
            if quirk == ModemQuirk::NoSim {
                assert!(matches!(reading, Err(LinkError::NoCard(_))), "{name}: {reading:?}");
                continue;
            }
            let reading = reading.unwrap();
            assert_eq!(reading.message.as_deref(), Ok(message().as_slice()), "{name}, {protocol}");
            let basic = modem.lock().basic_channel().to_vec();
            assert!(basic.iter().all(|command| command[1] == MANAGE_CHANNEL), "{name}, {protocol}: {basic:02X?}");
        }
    }
}

#[test]
fn a_port_is_used_again_and_again_and_by_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("modem");
    let modem = SharedModem::new(VirtualModem::new(card(Protocol::T1), &[]));
    let served = serve_modem(modem.clone(), Some(&link)).unwrap();
    assert_eq!(served.path(), link);
    for _ in 0..3 {
        assert!(read_at(&link, &brief()).unwrap().message.is_ok());
    }
    let held = open(&link, &brief()).unwrap();
    let error = presence(&link, brief().command).unwrap_err();
    assert!(matches!(&error, LinkError::Io(text) if text.contains("held by another program")), "{error}");
    // Who reads waits for who only looks.
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_at(&link, &brief()));
        thread::sleep(Duration::from_millis(100));
        drop(held);
        assert!(reading.join().unwrap().unwrap().message.is_ok());
    });
    assert_eq!(modem.lock().open_channels(), 0);
    drop(served);
    assert!(!link.exists() && std::fs::symlink_metadata(&link).is_err(), "the link goes with the modem");
}

#[test]
fn the_slot_is_told_and_a_card_that_comes_is_seen() {
    let (served, modem) = served(&[], Protocol::T1);
    let look = || presence(served.path(), brief().command).unwrap();
    assert_eq!(look(), Some(Presence::Card(ICCID.parse().unwrap())));
    modem.lock().set_card(None);
    assert_eq!(look(), Some(Presence::Empty));
    modem.lock().set_card(Some(card(Protocol::T0)));
    assert!(matches!(look(), Some(Presence::Card(_))));
}

#[test]
fn what_is_no_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing");
    let began = Instant::now();
    let error = open(&path, &brief()).unwrap_err();
    assert!(matches!(&error, LinkError::NoCard(text) if text.contains("missing")), "{error}");
    assert!(began.elapsed() >= brief().wait, "the port may still come");
    std::fs::write(&path, "AT").unwrap();
    let error = open(&path, &brief()).unwrap_err();
    assert!(matches!(&error, LinkError::Io(text) if text.contains("no serial port")), "{error}");
}

#[test]
fn modems_that_hang_or_flood_or_go_are_given_up_in_time() {
    let limit = Duration::from_secs(20);
    type Respond = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Respond); 4] = [
        ("silence", |_| Vec::new()),
        ("an endless line", |_| vec![b'A'; 200_000]),
        ("endless lines", |_| b"\r\n+CREG: 1\r\n".repeat(20_000)),
        ("OK to everything", |_| b"\r\nOK\r\n".to_vec()),
    ];
    for (what, respond) in cases {
        let served = serve(respond, None).unwrap();
        let began = Instant::now();
        let error = read_at(served.path(), &brief()).unwrap_err();
        assert!(began.elapsed() < limit, "{what}: {:?}", began.elapsed());
        assert!(matches!(error, LinkError::NoCard(_) | LinkError::Io(_)), "{what}: {error}");
    }
    for after in [3, 8, 12] {
        let modem = SharedModem::new(VirtualModem::new(card(Protocol::T1), &[]));
        let (sender, due) = std::sync::mpsc::channel();
        let mut asked = 0;
        let served = serve(
            move |bytes| {
                asked += bytes.iter().filter(|byte| **byte == b'\r').count();
                if asked > after {
                    // Until the port is gone.
                    let _ = sender.send(());
                    return Vec::new();
                }
                modem.lock().answer(bytes)
            },
            None,
        )
        .unwrap();
        let path = served.path().to_owned();
        let reading = thread::spawn(move || read_at(&path, &Patience { command: Duration::from_secs(10), ..brief() }));
        due.recv().unwrap();
        let began = Instant::now();
        drop(served);
        let kind = match reading.join().unwrap() {
            Ok(reading) => reading.message.unwrap_err().kind,
            Err(error) => omadm_card::CardError::from(error).kind,
        };
        assert_eq!(kind, CardErrorKind::Removed, "after {after}");
        assert!(began.elapsed() < Duration::from_secs(5), "a modem that is gone is not waited for");
    }
}
