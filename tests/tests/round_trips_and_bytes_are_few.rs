//! What a cold bootstrap with its session and a repeat session take on the wire, as a relay sees it, and that the client
//! counts the same.

use omadm_sim::bench::Programs;
use omadm_sim::bench::device::{Auth, Origins, live, most};
use omadm_tests::Folder;
use std::time::Duration;

/// Each way: longer than either end needs to answer, so that what belongs together arrives together.
const WAY: Duration = Duration::from_millis(20);

fn within_its_limits(auth: Auth, origins: Origins) {
    let programs = Programs::find().expect("the programs");
    let folder = Folder::new();
    let taken = live(&programs, folder.path(), auth, origins, WAY).expect("a managed device");
    println!("{auth:?}, {origins:?}: {taken:?}");
    let most = most(auth, origins);
    assert!(taken.cold.round_trips <= most.cold_round_trips, "{taken:?}");
    assert!(taken.cold.bytes() <= most.cold_bytes, "{taken:?}");
    assert!(taken.repeat.round_trips <= most.repeat_round_trips, "{taken:?}");
    assert!(taken.repeat.bytes() <= most.repeat_bytes, "{taken:?}");
    assert_eq!(taken.own_round_trips, taken.cold.round_trips, "the client counts the same");
    // What a server sends when a connection ends is read by nobody: a TLS alert of 24 bytes in TLS 1.3, each way.
    let unread = taken.cold.bytes() - taken.own_bytes;
    assert!(unread <= 48 * taken.cold.connections, "the client counts all but {unread} bytes: {taken:?}");
}

#[test]
fn by_basic_at_two_servers() {
    within_its_limits(Auth::Basic, Origins::Separate);
}

#[test]
fn by_basic_at_one_server() {
    within_its_limits(Auth::Basic, Origins::Shared);
}

#[test]
fn by_pre_shared_key_at_two_servers() {
    within_its_limits(Auth::Psk, Origins::Separate);
}

#[test]
fn by_pre_shared_key_at_one_server() {
    within_its_limits(Auth::Psk, Origins::Shared);
}

#[test]
fn by_certificate_at_two_servers() {
    within_its_limits(Auth::X509, Origins::Separate);
}

#[test]
fn by_certificate_at_one_server() {
    within_its_limits(Auth::X509, Origins::Shared);
}
