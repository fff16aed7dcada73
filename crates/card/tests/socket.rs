//! A card behind a unix socket, from both ends, and other ends that misbehave.
#![cfg(feature = "vpcd")]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use omadm_card::apdu::Protocol;
use omadm_card::link::vpcd::{Address, ServedCard, SharedCard, SocketLink, listen};
use omadm_card::link::{LinkError, Patience};
use omadm_card::make::{CardPlan, make};
use omadm_card::virtual_uicc::{Fault, FaultKind};
use omadm_card::{CardErrorKind, Link, ReadRequest, VirtualUicc, read};

const MESSAGE: &str = r#"[{"MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;

fn served(path: &Path, protocol: Protocol) -> (ServedCard, SharedCard) {
    let plan = CardPlan { protocol, ..CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes()) };
    let card = SharedCard::new(VirtualUicc::new(&make(&plan).unwrap()));
    (listen(path, card.clone()).unwrap(), card)
}

fn brief() -> Patience {
    Patience {
        wait: Duration::from_millis(300),
        empty: Duration::from_millis(100),
        command: Duration::from_millis(200),
    }
}

#[test]
fn a_card_behind_a_socket_is_read_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    for protocol in [Protocol::T0, Protocol::T1] {
        let (served, card) = served(&path, protocol);
        for _ in 0..3 {
            let start = Instant::now();
            let mut link = SocketLink::open(&Address::from(path.as_path()), &Patience::default()).unwrap();
            assert_eq!(link.protocol(), protocol);
            let reading = read(&mut link, &ReadRequest::default(), &|| start.elapsed());
            assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
        }
        assert!(card.lock().commands() > 30);
        drop(served);
        assert!(!path.exists());
    }
}

#[test]
fn a_second_reader_waits_for_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let (_served, _) = served(&path, Protocol::T1);
    let address = Address::from(path.as_path());
    let first = SocketLink::open(&address, &Patience::default()).unwrap();
    let waiting = thread::spawn(move || SocketLink::open(&address, &Patience::default()).is_ok());
    thread::sleep(Duration::from_millis(100));
    assert!(!waiting.is_finished());
    drop(first);
    assert!(waiting.join().unwrap());
}

#[test]
fn a_card_taken_out_is_a_removed_card() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let (served, _) = served(&path, Protocol::T1);
    let mut link = SocketLink::open(&Address::from(path.as_path()), &Patience::default()).unwrap();
    drop(served);
    let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
    assert_eq!(reading.message.unwrap_err().kind, CardErrorKind::Removed);
}

#[test]
fn no_socket_is_no_card() {
    let start = Instant::now();
    let error = SocketLink::open(&Address::from("/no/such/socket"), &brief()).unwrap_err();
    assert!(matches!(error, LinkError::NoCard(_)), "{error}");
    assert!((300..3_000).contains(&start.elapsed().as_millis()));
}

/// An other end that answers each message with what `answer` gives, and then keeps silent.
fn other_end(path: &Path, answers: Vec<Vec<u8>>) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            stream.write_all(&answer).unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new());
    });
}

#[test]
fn an_empty_atr_is_an_empty_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    other_end(&path, vec![vec![0, 0]; 20]);
    let error = SocketLink::open(&Address::from(path.as_path()), &brief()).unwrap_err();
    assert!(matches!(error, LinkError::NoCard(_)), "{error}");
}

#[test]
fn a_silent_or_slow_card_times_out() {
    let folder = tempfile::tempdir().unwrap();
    for (number, rest) in [vec![], vec![0], vec![0, 3, 1]].into_iter().enumerate() {
        let path = folder.path().join(number.to_string());
        other_end(&path, vec![vec![0, 7, 0x3B, 0x05, 1, 2, 3, 4, 5], rest]);
        let mut link = SocketLink::open(&Address::from(path.as_path()), &brief()).unwrap();
        let start = Instant::now();
        let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
        assert_eq!(reading.message.unwrap_err().kind, CardErrorKind::Timeout);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn the_faults_of_a_card_reach_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let (_served, card) = served(&path, Protocol::T1);
    let address = Address::from(path.as_path());
    let read_with = |kind: Option<FaultKind>| {
        let at = card.lock().commands() + 3;
        card.lock().plan_faults(kind.map(|kind| Fault { at, kind }));
        let start = Instant::now();
        let mut link = SocketLink::open(&address, &Patience { wait: Duration::from_secs(5), ..brief() })?;
        let reading = read(&mut link, &ReadRequest::default(), &|| start.elapsed());
        Ok::<_, LinkError>((reading.message.err().map(|error| error.kind), start.elapsed()))
    };
    let (none, time) = read_with(Some(FaultKind::Slow(Duration::from_millis(150)))).unwrap();
    assert!(none.is_none() && time >= Duration::from_millis(150));
    let (late, time) = read_with(Some(FaultKind::Slow(Duration::from_secs(60)))).unwrap();
    assert!(late == Some(CardErrorKind::Timeout) && time < Duration::from_secs(5));
}

#[test]
fn a_card_that_falls_silent_is_reset_or_goes_is_seen_by_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card");
    let (_served, card) = served(&path, Protocol::T1);
    let address = Address::from(path.as_path());
    let read_with = |kind: Option<FaultKind>| {
        let at = card.lock().commands() + 3;
        card.lock().plan_faults(kind.map(|kind| Fault { at, kind }));
        let mut link = SocketLink::open(&address, &Patience { wait: Duration::from_secs(5), ..brief() })?;
        let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
        Ok::<_, LinkError>(reading.message.err().map(|error| error.kind))
    };
    assert_eq!(read_with(Some(FaultKind::Mute)), Ok(Some(CardErrorKind::Timeout)));
    assert_eq!(read_with(None), Ok(None), "it was reset with the next reader");
    assert_eq!(read_with(Some(FaultKind::Reset)), Ok(Some(CardErrorKind::Removed)));
    assert_eq!(read_with(None), Ok(None));
    assert_eq!(read_with(Some(FaultKind::Removal)), Ok(Some(CardErrorKind::Removed)));
    assert!(matches!(read_with(None), Err(LinkError::NoCard(_))));
}
