//! Each check of a life is shown to fail: with a fault that is planted in the world or in what is looked at, some of the
//! first lives fail in just that way.

#![allow(clippy::unwrap_used, reason = "in tests")]

use omadm_sim::lives::broken::Invariant;
use omadm_sim::lives::device::{Options, live};
use omadm_sim::lives::disk::Planted;
use omadm_sim::lives::plan::Plan;
use omadm_sim::lives::shrink::shrink;
use omadm_sim::lives::world::Fault;
use std::sync::Arc;

/// The most lives until a fault is found.
const LIVES: u64 = 1_000;

fn first_failure(options: Options, invariant: Invariant) -> Plan {
    for seed in 0..LIVES {
        let plan = Plan::of(seed);
        let Some(broken) = live(&Arc::new(plan.clone()), options).broken else { continue };
        assert_eq!(broken.invariant, invariant, "life {seed}: {broken}");
        return plan;
    }
    panic!("{LIVES} lives did not find {options:?}");
}

fn finds(fault: Fault, invariant: Invariant) {
    first_failure(Options { fault, ..Options::default() }, invariant);
}

#[test]
fn a_disk_that_forgets_what_was_synced_is_found() {
    for disk in [Planted::ForgetsContent, Planted::ForgetsNames] {
        first_failure(Options { disk, ..Options::default() }, Invariant::OldOrNew);
    }
}

#[test]
fn a_leak_is_found() {
    finds(Fault::Leaks, Invariant::NoLeak);
}

#[test]
fn haste_is_found() {
    finds(Fault::Hasty, Invariant::NoRush);
}

#[test]
fn a_pin_that_is_sent_again_is_found() {
    finds(Fault::ForgetsPins, Invariant::PinOnce);
}

#[test]
fn the_use_of_a_last_try_is_found() {
    finds(Fault::LyingCard, Invariant::LastTryKept);
}

#[test]
fn a_stranded_device_is_found() {
    finds(Fault::NoRemedy, Invariant::NobodyStranded);
}

#[test]
fn a_client_that_waits_for_ever_is_found() {
    finds(Fault::Sleeps, Invariant::NextAttempt);
}

#[test]
fn a_device_that_says_nothing_is_found() {
    finds(Fault::Mute, Invariant::ReasonTold);
}

#[test]
fn half_an_account_is_found() {
    finds(Fault::HalfAccount, Invariant::WholeAccounts);
}

#[test]
fn a_record_that_grows_is_found() {
    finds(Fault::Grows, Invariant::BoundedRecord);
}

#[test]
fn a_start_that_writes_is_found() {
    finds(Fault::FickleCard, Invariant::QuietStart);
}

#[test]
fn a_client_that_cannot_begin_is_found() {
    finds(Fault::NoPlace, Invariant::Starts);
}

#[test]
fn a_failing_life_is_shrunk_and_fails_still() {
    let options = Options { disk: Planted::ForgetsContent, ..Options::default() };
    let plan = first_failure(options, Invariant::OldOrNew);
    let small = shrink(&plan, Invariant::OldOrNew, options);
    assert!(small.troubles.len() <= 3 && small.troubles.len() < plan.troubles.len(), "{:?}", small.troubles);
    let life = live(&Arc::new(small), Options { story: true, ..options });
    assert!(life.broken.is_some() && !life.story.is_empty());
}

#[test]
fn a_seed_repeats_a_life() {
    for seed in 0..5 {
        let once = || live(&Arc::new(Plan::of(seed)), Options { story: true, ..Options::default() });
        let (one, other) = (once(), once());
        assert_eq!((one.story, one.counts, one.reasons), (other.story, other.counts, other.reasons));
    }
}
