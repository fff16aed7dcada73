//! Tells the program when it was built, for the floor of its clock (Profile P-27).

#![allow(clippy::print_stdout)]

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=OMADM_BUILD_TIME={}", given.unwrap_or_else(now));
}
