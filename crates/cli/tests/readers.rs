//! `omadm card readers` with a real PC/SC service: which card is where, and what is said where that is not told.
#![cfg(feature = "pcsc")]
#![allow(clippy::unwrap_used)]

#[path = "kit/opensc.rs"]
mod opensc;

use omadm_card::image::{CardImage, Layout};
use omadm_card::make::{CardPlan, make};
use opensc::Bench;
use serde_json::{Value, json};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const ICCID: &str = "8901012345678901234";

fn image() -> CardImage {
    make(&CardPlan::new(ICCID.parse().unwrap(), b"[]")).unwrap()
}

/// What is said of the reader with the card, and of the empty slot beside it.
fn listed(bench: &Bench) -> (Value, Value) {
    let output = bench.run(env!("CARGO_BIN_EXE_omadm"), &["card", "readers", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ways: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let named = |name: &str| ways.iter().find(|way| way["name"] == name).cloned().unwrap();
    (named("omadm card 00 00"), named("omadm card 00 01"))
}

#[test]
fn a_reader_tells_which_card_is_in_it() {
    let bench = Bench::new(&image());
    let (full, empty) = listed(&bench);
    assert_eq!((&full["card"], &full["iccid"], &full["why"]), (&json!(true), &json!(ICCID), &Value::Null));
    assert_eq!((&empty["card"], &empty["why"]), (&json!(false), &json!("the reader is empty")));
    let text = bench.run(env!("CARGO_BIN_EXE_omadm"), &["card", "readers"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains(&format!("ICCID {ICCID}")));

    *bench.card.lock() = omadm_card::VirtualUicc::new(&Layout::NoIccid.apply(image()).unwrap());
    let (full, _) = listed(&bench);
    assert_eq!((&full["card"], &full["why"]), (&json!(true), &json!("the card does not tell its ICCID")));
}

/// A program that has the card for itself, until the value is dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_card_that_another_program_holds_is_listed_and_why_it_is_not_read() {
    let bench = Bench::new(&image());
    let alone = "app default { enable_default_driver = true; card_drivers = default; \
                 reader_driver pcsc { connect_exclusive = true; } }";
    std::fs::write(bench.path("opensc.conf"), alone).unwrap();
    let mut holder = opensc::program("opensc-explorer", bench.folder.path(), bench.service.environment().1);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = holder.stdout.take().unwrap();
    let _holder = Holder(holder);
    // It greets once it has the card.
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"Explorer") {
        said.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let began = Instant::now();
    let (full, _) = listed(&bench);
    assert_eq!((&full["card"], &full["iccid"]), (&json!(true), &Value::Null));
    assert!(full["why"].as_str().unwrap().contains("another program may hold the card"), "{full}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
