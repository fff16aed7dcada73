//! The state file on a disk whose power is cut before, in and after every operation: the old state or the new one is
//! there, whatever of the page cache survived, and no sync can be left out.

#![allow(clippy::unwrap_used, reason = "in tests")]

use omadm_client::state::{Busy, Memory, State, Storage};
use omadm_core::time::Timestamp;
use omadm_sim::cuts::disk::{Fault, TestDisk};
use omadm_sim::cuts::{Cuts, cut_everywhere};
use std::sync::atomic::{AtomicU16, Ordering};

const NOW: Timestamp = Timestamp(1_800_000_000);
const GARBAGE: &[u8] = b"omadm-state 1 what a broken flash left";

/// States are told apart by the number in this member.
fn generation(state: &State) -> u16 {
    state.bootstrap_busy.as_ref().map_or(0, |busy| busy.status)
}

fn step(memory: &mut Memory, to: u16) {
    let busy = Busy { origin: "https://localhost".to_owned(), status: to, until: NOW };
    memory.change(NOW, |state| state.bootstrap_busy = Some(busy)).unwrap();
}

fn open(disk: &TestDisk) -> Memory {
    let (memory, news) = Memory::open(Box::new(disk.clone()), "state", NOW);
    assert_eq!(memory.trouble(), None);
    let damaged = disk.list().unwrap().iter().any(|name| name.contains("damaged"));
    assert!(news.is_none() || damaged);
    memory
}

/// Steps through as many states, cut everywhere; the state found afterwards must be the last that was durable or the one
/// that was being written, and the run after that must reach the state 100.
fn step_through(disk: &TestDisk, steps: u16, swallowed: Option<usize>, kept: &[u8]) -> Cuts {
    let from = generation(open(&disk.fork(Fault::None)).state());
    // A program that was killed before may have left a state that is not durable yet.
    let sure = disk.survivors().iter().map(|left| generation(open(left).state())).min().unwrap();
    let durable = AtomicU16::new(sure);
    let program = |disk: TestDisk| {
        durable.store(sure, Ordering::Relaxed);
        let mut memory = open(&disk);
        for number in from + 1..=from + steps {
            step(&mut memory, number);
            durable.store(number, Ordering::Relaxed);
        }
    };
    cut_everywhere(disk, swallowed, program, |left| {
        let at_least = durable.load(Ordering::Relaxed);
        if !left.files().values().any(|content| content == kept) && !kept.is_empty() {
            return Err("what could not be read is lost".to_owned());
        }
        let mut memory = open(&left);
        let found = generation(memory.state());
        if !(at_least..=at_least.max(from) + 1).contains(&found) {
            return Err(format!("the state {at_least} was durable, and {found} was found"));
        }
        step(&mut memory, 100);
        match generation(open(&left).state()) {
            100 => Ok(()),
            other => Err(format!("after the next run {other} was found")),
        }
    })
}

fn hold(cuts: &Cuts) {
    assert!(cuts.violations.is_empty(), "{} of {}: {:#?}", cuts.violations.len(), cuts.disks, cuts.violations);
    eprintln!("{} operations, {} cuts, {} disks", cuts.operations.len(), cuts.points, cuts.disks);
}

/// A disk that holds this state for sure.
fn at(number: u16) -> TestDisk {
    let disk = TestDisk::default();
    step(&mut open(&disk), number);
    let mut left = disk.survivors();
    assert_eq!(left.len(), 1, "what is durable is not in doubt");
    left.remove(0)
}

#[test]
fn from_nothing_and_from_an_earlier_state() {
    hold(&step_through(&TestDisk::default(), 3, None, b""));
    hold(&step_through(&at(1), 3, None, b""));
}

#[test]
fn a_run_after_a_cut_can_be_cut_again() {
    let mut disks = 0;
    let program = |disk: TestDisk| step(&mut open(&disk), 2);
    let first = cut_everywhere(&at(1), None, program, |left| {
        let again = step_through(&left, 2, None, b"");
        disks += again.disks;
        again.violations.first().map_or(Ok(()), |violation| Err(violation.clone()))
    });
    hold(&first);
    eprintln!("{disks} disks after the second cut");
}

#[test]
fn a_damaged_file_is_kept_aside_whenever_the_power_goes() {
    let disk = TestDisk::with([("state".to_owned(), GARBAGE.to_vec())]);
    hold(&step_through(&disk, 2, None, GARBAGE));
}

/// A disk on which a damaged file was put aside by a program that was killed before that was durable.
fn half_set_aside() -> TestDisk {
    let mut disk = TestDisk::with([("state".to_owned(), GARBAGE.to_vec())]);
    disk.rename("state", "state.damaged-001800000000").unwrap();
    disk
}

#[test]
fn a_damaged_file_stays_aside_after_a_kill_and_a_power_cut() {
    hold(&step_through(&half_set_aside(), 2, None, GARBAGE));
}

#[test]
fn no_sync_can_be_left_out() {
    let damaged = TestDisk::with([("state".to_owned(), GARBAGE.to_vec())]);
    let scenes: [(&str, TestDisk, &[u8]); 4] = [
        ("from nothing", TestDisk::default(), b""),
        ("from an earlier state", at(1), b""),
        ("from a damaged file", damaged, GARBAGE),
        ("after a kill", half_set_aside(), GARBAGE),
    ];
    for (scene, disk, kept) in scenes {
        let whole = step_through(&disk, 2, None, kept);
        assert!(whole.syncs().count() >= 4, "{scene}: {:?}", whole.operations);
        for sync in whole.syncs() {
            let without = step_through(&disk, 2, Some(sync), kept);
            assert!(!without.violations.is_empty(), "{scene}: without sync {sync} nothing is lost");
        }
    }
}

/// What a cut reset left of a disk with an old state and a damaged one that was put aside.
fn reset(swallowed: Option<usize>) -> Cuts {
    let mut disk = at(7);
    disk.write("state.damaged-001800000000", GARBAGE).unwrap();
    disk.sync("state.damaged-001800000000").unwrap();
    disk.sync_folder().unwrap();
    let over = AtomicU16::new(0);
    let program = |disk: TestDisk| {
        over.store(0, Ordering::Relaxed);
        open(&disk).begin_anew(NOW).unwrap();
        over.store(1, Ordering::Relaxed);
    };
    cut_everywhere(&disk, swallowed, program, |left| {
        let (memory, news) = Memory::open(Box::new(left.clone()), "state", NOW);
        if let Some(damage) = news {
            return Err(damage);
        }
        let found = generation(memory.state());
        let old = left.files().iter().any(|(name, content)| name != "state" && content == GARBAGE);
        match (over.load(Ordering::Relaxed), found, old) {
            (1, 0, false) | (0, 0 | 7, _) => Ok(()),
            (0, other, _) => Err(format!("the state {other} was found, neither the old one nor a fresh one")),
            (_, found, old) => {
                Err(format!("after a reset the state {found} was found; something was put aside: {old}"))
            }
        }
    })
}

#[test]
fn a_reset_leaves_the_old_state_or_a_fresh_one_and_nothing_old_when_it_is_over() {
    let whole = reset(None);
    hold(&whole);
    let needless: Vec<_> = whole.syncs().filter(|sync| reset(Some(*sync)).violations.is_empty()).collect();
    assert_eq!(needless.len(), 1, "only the removal is made durable twice: {:?}", whole.operations);
}
