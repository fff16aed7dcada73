//! The committed inputs of every fuzz target are replayed; an input that breaks something is named.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use omadm_fuzz_targets::TARGETS;

macro_rules! replayed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let target = TARGETS.iter().find(|target| target.name == stringify!($name)).unwrap();
            let folder = fuzz().join("corpus").join(target.name);
            let (count, failed) = replay(&folder, target.run);
            assert!(count > 0, "no inputs in {}", folder.display());
            assert!(failed.is_empty(), "\n{}", failed.join("\n"));
        })*

        #[test]
        fn every_target_has_a_test_a_program_and_a_corpus() {
            let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
            assert_eq!(BTreeSet::from([$(stringify!($name).to_owned()),*]), names);
            assert_eq!(entries(&fuzz().join("corpus")), names);
            assert_eq!(entries(&fuzz().join("fuzz_targets")), names);
        }
    };
}

replayed!(at_lines bootstrap_message card_commands card_conversation card_image client_uri config der exec_lines factory_bundle fcp http_answer packages serialized session state web);

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The names in a folder, without their ends.
fn entries(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Runs a target on every file of a folder; says how many there were, and which of them failed and how.
fn replay(folder: &Path, run: fn(&[u8])) -> (usize, Vec<String>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let failed = files.iter().filter_map(|file| {
        let bytes = std::fs::read(file).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| run(&bytes))).err()?;
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Some(format!("{}: {text}", file.display()))
    });
    (files.len(), failed.collect())
}

#[test]
fn an_input_that_breaks_a_property_is_named() {
    fn no_seven(bytes: &[u8]) {
        assert!(!bytes.contains(&7), "there is a seven");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good"), [1, 2]).unwrap();
    std::fs::write(folder.path().join("bad"), [1, 7]).unwrap();
    let (count, failed) = replay(folder.path(), no_seven);
    assert_eq!(count, 2);
    let [only] = failed.as_slice() else { panic!("{failed:?}") };
    assert!(only.ends_with("bad: there is a seven"), "{only}");
}
