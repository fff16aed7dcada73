//! A credential is stored before it is sent; when it cannot be, it is not sent, and nobody else is harmed.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{CLIENT_INITIATED, Fleet, IMEI, OTHER, SECRET, basic, profile, user};

#[test]
fn what_cannot_be_stored_is_not_sent_and_harms_no_other() {
    let fleet = Fleet::start();
    fleet.add_profile(&profile()).expect(201);
    fleet.add_device(IMEI);
    fleet.add_device(OTHER);
    // As if the disk failed for one of them: each of its credentials breaks the transaction that it is in.
    fleet.run_sql(
        "create trigger broken before insert on credential when new.device_id =
         (select id from device where dev_id = 'IMEI:493005100592800') begin select raise(abort, 'broken'); end",
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let refused = fleet.bootstrap("", Some(&basic(&user(IMEI), SECRET)));
                assert_eq!(refused.problem(500), "the server failed; its log says why");
                assert!(!refused.text().contains("Secret"));
            });
            scope.spawn(|| fleet.account(OTHER));
        }
    });
    fleet.run_sql("drop trigger broken");
    for dev_id in [IMEI, OTHER] {
        assert_eq!(fleet.account(dev_id).first(CLIENT_INITIATED).status, 200, "{dev_id}");
    }
}
