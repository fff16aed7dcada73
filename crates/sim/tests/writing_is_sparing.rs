//! How often the state is written (spec 2.2).

#![allow(clippy::unwrap_used, reason = "in tests")]

mod table;

use omadm_core::reason::Outcome;
use omadm_sim::cuts::disk::{Operation, TestDisk};
use table::{From, Table};

fn writes(disk: &TestDisk) -> usize {
    disk.done().iter().filter(|operation| matches!(operation, Operation::Write(_))).count()
}

#[test]
fn a_bootstrap_writes_at_most_twice_and_with_its_first_session_too() {
    for from in From::EACH {
        let (disk, table) = (TestDisk::default(), Table::new(from, false));
        let mut client = table.client(disk.clone());
        client.bootstrap().unwrap();
        // The refused PIN has to be durable before anything else is done.
        let refused = usize::from(from == From::RefusingCard);
        assert_eq!(writes(&disk), 1 + refused, "{from:?}");
        let (disk, table) = (TestDisk::default(), Table::new(from, false));
        let mut client = table.client(disk.clone());
        table.run(&mut client);
        assert_eq!(writes(&disk), 2 + refused, "{from:?}: the session adds one");
        let installed = client.state().attempts.iter().filter(|one| one.outcome == Outcome::Installed).count();
        assert_eq!(installed, 1, "{from:?}: the attempts of one run are recorded once");
    }
}

#[test]
fn a_start_that_changes_nothing_does_nothing_to_the_disk() {
    for from in From::EACH {
        let (disk, table) = (TestDisk::default(), Table::new(from, false));
        table.run(&mut table.client(disk.clone()));
        if from == From::RefusingCard {
            // News: the PIN was not sent again.
            table.run(&mut table.client(disk.clone()));
        }
        let attempts = table.client(disk.clone()).state().attempts.clone();
        let before = disk.done();
        for _ in 0..3 {
            table.run(&mut table.client(disk.clone()));
        }
        assert_eq!(disk.done(), before, "{from:?}");
        assert_eq!(table.client(disk).state().attempts, attempts, "{from:?}: `unchanged` is not recorded");
    }
}

#[test]
fn a_session_that_changes_nothing_writes_its_time_once_a_day_and_nothing_else() {
    let (disk, table) = (TestDisk::default(), Table::new(From::Factory, false));
    let mut client = table.client(disk.clone());
    table.run(&mut client);
    let acme = "acme".parse().unwrap();
    let before = disk.done();
    for _ in 0..5 {
        assert!(client.session(&acme).unwrap().ended);
    }
    assert_eq!(disk.done(), before, "sessions of the same day");
    let mut client = table.later(23 * 3600).client(disk.clone());
    client.session(&acme).unwrap();
    assert_eq!(disk.done(), before, "not yet a day later");
    let mut client = table.later(24 * 3600).client(disk.clone());
    client.session(&acme).unwrap();
    client.session(&acme).unwrap();
    assert_eq!(disk.done().len(), before.len() + 4, "a day later once");
}

#[test]
fn each_command_that_changes_the_tree_is_durable_before_the_next() {
    let (disk, table) = (TestDisk::default(), Table::new(From::Factory, true));
    let mut client = table.client(disk.clone());
    client.bootstrap().unwrap();
    let before = writes(&disk);
    let report = client.session(&"acme".parse().unwrap()).unwrap();
    let changes = report.commands.iter().filter(|(name, status)| name != "GET" && status.0 == 200).count();
    assert_eq!(writes(&disk) - before, changes + 1, "one for each, and the session's result: {report:?}");
}
