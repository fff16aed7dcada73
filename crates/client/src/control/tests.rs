use super::*;
use crate::wait::Stop;
use omadm_card::link::handover::handover;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// A served socket whose worker replies with the order it got.
fn served<T>(test: impl FnOnce(&Path, &Stop) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sock");
    let stop = Stop::new().unwrap();
    let board = Board::default();
    board.show(json!({"state": "waiting"}));
    let control = Control::bind(&path).unwrap();
    let (work, tickets) = handover::<Ticket>();
    let result = thread::scope(|scope| {
        scope.spawn(|| control.serve(&stop, &board, work));
        let worker = stop.clone();
        scope.spawn(move || {
            while !worker.is_raised() {
                if let Ok(ticket) = tickets.take(Duration::from_millis(20)) {
                    let result = serde_json::to_value(&ticket.order).unwrap();
                    ticket.reply(Reply { exit: Exit::Done, result });
                }
            }
        });
        let result = test(&path, &stop);
        stop.raise();
        result
    });
    drop(control);
    assert!(!path.exists(), "the socket is removed");
    result
}

#[test]
fn status_comes_from_the_board_and_orders_go_to_the_worker() {
    served(|path, stop| {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ask(path, &Order::Status {}, LIMIT, stop).unwrap().result, json!({"state": "waiting"}));
        let order = Order::Session { srv_id: Some("acme".parse().unwrap()) };
        let reply = ask(path, &order, LIMIT, stop).unwrap();
        assert_eq!(reply, Reply { exit: Exit::Done, result: json!({"do": "session", "srv_id": "acme"}) });
        for order in [Order::Bootstrap {}, Order::Reset {}, Order::Session { srv_id: None }] {
            assert_eq!(ask(path, &order, LIMIT, stop).unwrap().exit, Exit::Done);
        }
    });
}

#[test]
fn what_is_no_order_is_refused_and_what_is_too_long_is_cut_off() {
    served(|path, stop| {
        for bad in [
            "{}",
            "{\"do\":\"dance\"}",
            "{\"do\":\"status\",\"x\":1}",
            "[]",
            "\u{0}",
            "{\"do\":\"session\",\"srv_id\":\"\"}",
        ] {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(format!("{bad}\n").as_bytes()).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.contains("\"usage\""), "{bad}: {reply}");
        }
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(&vec![b'x'; 3 * MAX_ORDER]);
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        assert_eq!(reply, "");
        assert_eq!(ask(path, &Order::Status {}, LIMIT, stop).unwrap().exit, Exit::Done);
    });
}

#[test]
fn idle_connections_do_not_keep_others_out() {
    served(|path, stop| {
        let idle: Vec<_> = (0..7).map(|_| UnixStream::connect(path).unwrap()).collect();
        assert_eq!(ask(path, &Order::Status {}, LIMIT, stop).unwrap().exit, Exit::Done);
        drop(idle);
    });
}

#[test]
fn nobody_there_is_told_from_no_reply() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.sock");
    let stop = Stop::new().unwrap();
    assert!(matches!(ask(&path, &Order::Status {}, LIMIT, &stop), Err(AskError::NotRunning)));
    // A socket left behind by a program that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(ask(&path, &Order::Status {}, LIMIT, &stop), Err(AskError::NotRunning)));
    let control = Control::bind(&path).unwrap();
    let error = ask(&path, &Order::Status {}, Duration::from_millis(50), &stop).unwrap_err();
    assert!(matches!(error, AskError::NoReply(_)), "{error}");
    drop(control);
}
