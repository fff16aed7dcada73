//! Storage that fails at any operation, once or for good, or cannot be read at the start: the device becomes managed all
//! the same, says what is wrong, and its state is durable as soon as that can be done.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod table;

use omadm_client::control::Order;
use omadm_client::schedule::Schedule;
use omadm_client::state::Storage;
use omadm_client::status::Stage;
use omadm_sim::cuts::disk::{Fault, TestDisk};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use table::{From, Table};

const KINDS: [io::ErrorKind; 3] = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other];

/// How many operations a device makes until nothing is due.
fn operations(disk: &TestDisk, table: &Table) -> usize {
    let (disk, world) = (disk.fork(Fault::None), table.copy());
    world.run(&mut world.client(disk.clone()));
    disk.done().len()
}

/// A disk of a managed device.
fn managed(table: &Table) -> TestDisk {
    let (disk, world) = (TestDisk::default(), table.copy());
    world.run(&mut world.client(disk.clone()));
    disk.survivors().remove(0)
}

/// Each disk that the power may leave belongs to a managed device.
fn durable(disk: &TestDisk, table: &Table) {
    for left in disk.survivors() {
        let status = table.client(left).status();
        assert_eq!((status.state, status.storage), (Stage::Managed, None));
    }
}

fn each_operation_fails(disk: &TestDisk, table: &Table) {
    for number in 0..operations(disk, table) {
        for (kind, count) in KINDS.into_iter().flat_map(|kind| [(kind, 1), (kind, 3), (kind, usize::MAX)]) {
            let (disk, world) = (disk.fork(Fault::Error(number, count, kind)), table.copy());
            let (mut client, mut schedule) = (world.client(disk.clone()), Schedule::new());
            world.go_on(&mut schedule, &mut client);
            let status = client.status();
            let what = format!("operation {number} fails, {count} times, {kind}");
            assert_eq!(status.state, Stage::Managed, "{what}");
            if count == usize::MAX {
                let said = status.storage.unwrap_or_default();
                assert!(said.contains("the state file: ") && said.contains("kept in memory"), "{what}: {said}");
            }
            disk.heal();
            schedule.order(&mut client, &Order::Bootstrap {}).unwrap();
            world.go_on(&mut schedule, &mut client);
            let status = client.status();
            assert_eq!((status.state, status.storage), (Stage::Managed, None), "{what}");
            durable(&disk, &world);
        }
    }
}

#[test]
fn while_it_is_brought_under_management() {
    for from in From::EACH {
        each_operation_fails(&TestDisk::default(), &Table::new(from, false));
        each_operation_fails(&TestDisk::default(), &Table::new(from, true));
    }
}

#[test]
fn while_a_session_changes_its_tree() {
    let table = Table::new(From::Factory, true);
    each_operation_fails(&managed(&table), &table.later(25 * 3600));
}

#[test]
fn while_a_damaged_state_is_put_aside() {
    let disk = TestDisk::with([("state".to_owned(), b"damaged".to_vec())]);
    let table = Table::new(From::Factory, false);
    each_operation_fails(&disk, &table);
    for number in 0..operations(&disk, &table) {
        let disk = disk.fork(Fault::Error(number, usize::MAX, io::ErrorKind::Other));
        table.run(&mut table.client(disk.clone()));
        assert!(disk.files().values().any(|content| content == b"damaged"), "operation {number}");
    }
}

/// A disk that cannot be read while it is broken.
struct Unreadable(TestDisk, Arc<AtomicBool>);

impl Storage for Unreadable {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if self.1.load(Ordering::Relaxed) { Err(io::Error::other("it is worn")) } else { self.0.read(name, limit) }
    }
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.0.write(name, content)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.0.sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_folder(&mut self) -> io::Result<()> {
        self.0.sync_folder()
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
}

#[test]
fn a_state_that_can_be_read_later_is_taken_up_again_where_nothing_better_was_found() {
    let table = Table::new(From::Factory, true);
    let (disk, broken) = (managed(&table), Arc::new(AtomicBool::new(true)));
    let before = disk.files();
    let offline = table.later(3600).offline();
    let mut client = offline.client(Unreadable(disk.clone(), broken.clone()));
    let mut schedule = Schedule::new();
    offline.go_on(&mut schedule, &mut client);
    let status = client.status();
    assert_eq!(status.state, Stage::Bootstrapped, "from the factory, in memory");
    assert!(status.storage.unwrap().contains("cannot read the state file: it is worn"));
    assert_eq!(disk.files(), before, "nothing is overwritten");
    broken.store(false, Ordering::Relaxed);
    schedule.order(&mut client, &Order::Bootstrap {}).unwrap();
    let status = client.status();
    assert_eq!((status.state, status.storage), (Stage::Managed, None), "the account is the one of before");
    assert!(status.accounts[0].last_session.is_some());
    durable(&disk, &table);
}

#[test]
fn a_state_that_can_be_read_later_is_kept_aside_where_the_device_is_managed_meanwhile() {
    let table = Table::new(From::Factory, true);
    let (disk, broken) = (managed(&table), Arc::new(AtomicBool::new(true)));
    let before = disk.files()["state"].clone();
    let later = table.later(3600);
    let mut client = later.client(Unreadable(disk.clone(), broken.clone()));
    let mut schedule = Schedule::new();
    later.go_on(&mut schedule, &mut client);
    assert_eq!(client.status().state, Stage::Managed);
    assert_eq!(disk.files()["state"], before, "nothing is overwritten");
    broken.store(false, Ordering::Relaxed);
    schedule.order(&mut client, &Order::Bootstrap {}).unwrap();
    assert_eq!((client.status().state, client.status().storage), (Stage::Managed, None));
    assert!(disk.files().iter().any(|(name, content)| name.contains("damaged") && *content == before));
    durable(&disk, &table);
}
