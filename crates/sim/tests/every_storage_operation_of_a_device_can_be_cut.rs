//! The real client brings a device under management and has a session that changes the tree, and the power is cut before,
//! in and after every storage operation of it. Whatever of the page cache survives: the state is, byte for byte, the last
//! one that was durable or the one that was being written, and the run after that ends managed.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod table;

use omadm_client::state::{Disk, Storage};
use omadm_client::status::Stage;
use omadm_sim::cuts::disk::{Fault, Operation, Portion, PowerCut, TestDisk, until_cut};
use omadm_sim::cuts::{Cuts, cut_everywhere};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use table::{From, Table};

fn state(disk: &TestDisk) -> Option<Vec<u8>> {
    disk.read("state", u64::MAX).unwrap()
}

fn syncs_of_the_folder(operations: &[Operation]) -> usize {
    operations.iter().filter(|operation| **operation == Operation::SyncFolder).count()
}

/// The states that a run makes durable, one after the other; the first is the one before it.
fn states(disk: &TestDisk, table: &Table) -> Vec<Option<Vec<u8>>> {
    let whole = disk.fork(Fault::None);
    let world = table.copy();
    world.run(&mut world.client(whole.clone()));
    let mut states = vec![state(disk)];
    for (number, operation) in whole.done().iter().enumerate() {
        if *operation == Operation::SyncFolder {
            let cut = disk.fork(Fault::Cut(number, Portion::Nothing));
            let world = table.copy();
            until_cut(|| world.run(&mut world.client(cut.clone()))).unwrap_err();
            states.push(state(&cut));
        }
    }
    states
}

/// Runs the device of this table on the disk, cut everywhere.
fn cut(disk: &TestDisk, table: &Table, swallowed: Option<usize>) -> Cuts {
    let states = states(disk, table);
    let present = RefCell::new((disk.clone(), table.copy()));
    let ended = Cell::new(false);
    // The same disk is left by many cuts, and the runs after that are all the same.
    let mut known = HashMap::new();
    let program = |disk: TestDisk| {
        let world = table.copy();
        present.replace((disk.clone(), world.clone()));
        ended.set(false);
        world.run(&mut world.client(disk));
        ended.set(true);
    };
    cut_everywhere(disk, swallowed, program, |left| {
        let (disk, world) = present.borrow().clone();
        let mut done = disk.done();
        if !ended.get() {
            done.pop();
        }
        let durable = syncs_of_the_folder(&done);
        let found = state(&left);
        let next = states.get(durable + 1).unwrap_or(&states[durable]);
        if found != states[durable] && found != *next {
            let other = states.iter().position(|state| *state == found);
            return Err(format!("state {durable} was durable; found was {other:?} of {}", states.len()));
        }
        let key = (left.files(), world.tries());
        known.entry(key).or_insert_with(|| run_after(&left, &world.later(25 * 3600))).clone()
    })
}

/// The run after the power came back.
fn run_after(left: &TestDisk, world: &Table) -> Result<(), String> {
    let mut client = world.client(left.clone());
    let before = client.status();
    if before.storage.is_some() || before.accounts.len() > 1 {
        return Err(format!("half a state: {before:?}"));
    }
    world.run(&mut client);
    let status = client.status();
    if status.state != Stage::Managed || status.accounts.len() != 1 || status.storage.is_some() {
        return Err(format!("not managed: {status:?}"));
    }
    match world.tries() {
        0 => Err("the card's PIN is blocked".to_owned()),
        _ => Ok(()),
    }
}

fn hold(what: &str, cuts: &Cuts) {
    let first: Vec<_> = cuts.violations.iter().take(3).collect();
    assert!(first.is_empty(), "{what}: {} of {} disks: {first:#?}", cuts.violations.len(), cuts.disks);
    eprintln!("{what}: {} operations, {} cuts, {} disks", cuts.operations.len(), cuts.points, cuts.disks);
}

fn no_sync_can_be_left_out(what: &str, disk: &TestDisk, table: &Table) {
    let whole = cut(disk, table, None);
    hold(what, &whole);
    assert!(whole.syncs().count() >= 4, "{what}: {:?}", whole.operations);
    for sync in whole.syncs() {
        let without = cut(disk, table, Some(sync));
        assert!(!without.violations.is_empty(), "{what}: without sync {sync} nothing is lost");
    }
}

/// A disk of a device that this table has brought under management, without anything in doubt.
fn managed(table: &Table) -> TestDisk {
    let disk = TestDisk::default();
    let world = table.copy();
    world.run(&mut world.client(disk.clone()));
    let mut left = disk.survivors();
    assert_eq!(left.len(), 1, "what is durable is not in doubt");
    left.remove(0)
}

/// A real folder, left alone from some operation on: the program ends there.
struct Stopping {
    disk: Disk,
    left: usize,
}

impl Stopping {
    fn step(&mut self) {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => std::panic::resume_unwind(Box::new(PowerCut)),
        }
    }
}

impl Storage for Stopping {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(name, limit)
    }
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if self.left == 0 {
            // In the middle.
            let _ = self.disk.write(name, &content[..content.len() / 2]);
        }
        self.step();
        self.disk.write(name, content)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step();
        self.disk.sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.step();
        self.disk.rename(from, to)
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        self.step();
        self.disk.sync_folder()
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step();
        self.disk.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
}

#[test]
fn in_a_real_folder() {
    for from in From::EACH {
        let table = Table::new(from, true);
        let states = states(&TestDisk::default(), &table);
        let mut number = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::open(folder.path());
            let world = table.copy();
            let stopping = Stopping { disk: disk.clone(), left: number };
            let ended = until_cut(|| world.run(&mut world.client(stopping)));
            // A rename comes third of four.
            let expected = ((number + 1) / 4).min(states.len() - 1);
            let found = disk.read("state", u64::MAX).unwrap();
            assert_eq!(found, states[expected], "{from:?}, stopped at {number}");
            let after = world.later(25 * 3600);
            let mut client = after.client(disk);
            after.run(&mut client);
            assert_eq!(client.status().state, Stage::Managed, "{from:?}, stopped at {number}");
            if ended.is_ok() {
                break;
            }
            number += 1;
        }
        assert_eq!(number, 4 * (states.len() - 1), "{from:?}");
    }
}

#[test]
fn from_the_card() {
    no_sync_can_be_left_out("card", &TestDisk::default(), &Table::new(From::Card, true));
}

#[test]
fn from_the_factory_after_a_card_refused_the_pin() {
    no_sync_can_be_left_out("refusing card", &TestDisk::default(), &Table::new(From::RefusingCard, true));
}

#[test]
fn from_the_factory() {
    no_sync_can_be_left_out("factory", &TestDisk::default(), &Table::new(From::Factory, true));
}

#[test]
fn from_the_server() {
    no_sync_can_be_left_out("server", &TestDisk::default(), &Table::new(From::Server, true));
}

#[test]
fn a_later_session_that_changes_the_tree() {
    let table = Table::new(From::Factory, true);
    no_sync_can_be_left_out("session", &managed(&table), &table.later(25 * 3600));
}

#[test]
fn a_damaged_state_is_begun_anew() {
    let disk = TestDisk::with([("state".to_owned(), b"what a broken flash left".to_vec())]);
    let table = Table::new(From::Factory, false);
    let mut cuts = cut_everywhere(
        &disk,
        None,
        |disk| {
            let world = table.copy();
            world.run(&mut world.client(disk));
        },
        |left| {
            if !left.files().values().any(|content| content.starts_with(b"what a broken")) {
                return Err("the damaged file is lost".to_owned());
            }
            run_after(&left, &table.later(25 * 3600))
        },
    );
    hold("damaged", &cuts);
    cuts.operations.retain(Operation::is_sync);
    assert_eq!(cuts.operations.len(), 5, "one to put it aside, two for each write");
}
