//! Tells the program when it was built, for the floor of its clock (Profile P-27), and links `--profile client` small.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse::<u64>().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=OMADM_BUILD_TIME={}", given.unwrap_or_else(now));
    println!("cargo::rustc-check-cfg=cfg(small)");
    if profile().as_deref() == Some("client") && variable("CARGO_CFG_TARGET_OS") == "linux" {
        println!("cargo::rustc-cfg=small");
        link_small();
    }
}

/// For the profile in which a panic aborts: nothing in the program unwinds a stack, so it needs no tables for that.
fn link_small() {
    let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join("small.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    for argument in ["--no-eh-frame-hdr", "-O2", &format!("-T,{}", script.display())] {
        println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
    }
    // Where rustc links with LLD.
    if variable("CARGO_CFG_TARGET_ARCH") == "x86_64" && variable("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all,-z,pack-relative-relocs");
    }
}

/// Cargo names only `debug` or `release`; the profile's own name is that of its folder: `<profile>/build/<crate>/out`.
fn profile() -> Option<String> {
    let out = variable("OUT_DIR");
    Path::new(&out).ancestors().nth(3)?.file_name()?.to_str().map(str::to_owned)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
