//! 50,000 device lives: nobody is stranded, no account is half, no credential goes astray, and what else must hold does.
//!
//! A life that fails: `cargo run --release -p omadm-sim -- lives --seed N` tells it.

#![allow(clippy::unwrap_used, reason = "in tests")]

use omadm_sim::lives::crowd::{live_all, story};

/// The lives of each test.
const LIVES: u64 = 5_000;

fn hold(first: u64, lives: u64) {
    let sum = live_all(first, lives, 1, &|_| {});
    if let Some((seed, broken)) = sum.failures.first() {
        panic!("{} of {lives} lives fail; life {seed}: {broken}\n{}", sum.failed, story(*seed).1);
    }
    assert!(sum.sessions > 20 * lives && sum.cuts > lives && sum.installed.iter().all(|count| *count > lives / 5));
}

macro_rules! crowds {
    ($($name:ident $number:literal,)+) => {
        $(#[test]
        fn $name() {
            hold($number * 1_000_000, LIVES);
        })+
    };
}

crowds! {
    lives_of_the_first_crowd_hold 1,
    lives_of_the_second_crowd_hold 2,
    lives_of_the_third_crowd_hold 3,
    lives_of_the_fourth_crowd_hold 4,
    lives_of_the_fifth_crowd_hold 5,
    lives_of_the_sixth_crowd_hold 6,
    lives_of_the_seventh_crowd_hold 7,
    lives_of_the_eighth_crowd_hold 8,
    lives_of_the_ninth_crowd_hold 9,
    lives_of_the_tenth_crowd_hold 10,
}

#[test]
fn lives_that_nobody_lived_before_hold() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = now.as_secs() << 20;
    eprintln!("the seeds begin at {first}");
    hold(first, LIVES);
}
