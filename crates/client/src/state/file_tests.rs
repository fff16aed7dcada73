//! The state file in a real folder. What a power cut leaves of it is shown in `crates/sim`, on a disk that models one.

use super::*;
use crate::state::Disk;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// A folder with a file of this content, and the state file in it.
fn with(content: &[u8]) -> (tempfile::TempDir, StateFile) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state"), content).unwrap();
    let file = StateFile::new(Box::new(Disk::open(folder.path())), "state");
    (folder, file)
}

fn whole(body: &[u8]) -> Vec<u8> {
    [format!("omadm-state {VERSION} {}\n", hex(VERSION, body)).as_bytes(), body].concat()
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    Disk::open(folder.path()).list().unwrap()
}

fn body(loaded: &Loaded) -> &[u8] {
    match loaded {
        Loaded::Body(body) => body,
        Loaded::Fresh | Loaded::Damaged(_) => panic!("{loaded:?}"),
    }
}

#[test]
fn damage_at_any_byte_is_seen() {
    let good = whole(b"{\"accounts\":[]}");
    let (folder, file) = with(&good);
    let path = folder.path().join("state");
    for index in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[index] ^= 1 << bit;
            fs::write(&path, &bad).unwrap();
            let loaded = file.load();
            assert!(matches!(loaded, Ok(Loaded::Damaged(_))), "byte {index}, bit {bit}: {loaded:?}");
        }
    }
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        let loaded = file.load();
        assert!(matches!(loaded, Ok(Loaded::Damaged(_))), "cut at {length}: {loaded:?}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(body(&file.load().unwrap()), b"{\"accounts\":[]}");
}

#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let newer = [format!("omadm-state 7 {}\n", hex(7, b"{}")).as_bytes(), b"{}"].concat();
    let (folder, file) = with(&newer);
    let error = file.load().unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 7 }), "{error}");
    assert_eq!(fs::read(folder.path().join("state")).unwrap(), newer);
}

#[test]
fn damaged_files_are_set_aside_and_only_the_newest_kept() {
    let (folder, mut file) = with(b"?");
    for time in 1..=5 {
        assert_eq!(file.set_aside(Timestamp(time)).unwrap(), format!("state.damaged-{time:012}"));
        fs::write(folder.path().join("state"), b"?").unwrap();
    }
    let damaged = ["state", "state.damaged-000000000003", "state.damaged-000000000004", "state.damaged-000000000005"];
    assert_eq!(names(&folder), damaged);
}

#[test]
fn a_clock_that_went_back_costs_no_damaged_file() {
    let (folder, mut file) = with(b"?");
    for (time, number) in [(2000, 2000), (2000, 2001), (5, 2002), (0, 2003)] {
        assert_eq!(file.set_aside(Timestamp(time)).unwrap(), format!("state.damaged-{number:012}"));
        fs::write(folder.path().join("state"), b"?").unwrap();
    }
    assert_eq!(names(&folder).len(), 4);
}

#[test]
fn a_real_state_file_is_for_its_owner_only_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/state");
    let disk = Disk::open(path.parent().unwrap());
    let mut file = StateFile::new(Box::new(disk), "state");
    assert_eq!(file.load().unwrap(), Loaded::Fresh);
    file.replace(b"{}").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    file.replace(b"{\"a\":1}").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(body(&file.load().unwrap()), b"{\"a\":1}");
    assert_eq!(file.replaced(), 2);
    assert_eq!(fs::read_dir(folder.path().join("below")).unwrap().count(), 1, "no other file is left");
}

#[test]
fn what_a_killed_program_left_behind_is_replaced_and_never_written_into() {
    let (folder, mut file) = with(&whole(b"{\"old\":1}"));
    // As after a rename of which only the new name became durable.
    let new = folder.path().join("state.new");
    fs::hard_link(folder.path().join("state"), &new).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o444)).unwrap();
    let before = fs::File::open(&new).unwrap();
    file.replace(b"{\"new\":1}").unwrap();
    assert_eq!(io::read_to_string(before).unwrap().as_bytes(), whole(b"{\"old\":1}"));
    assert_eq!(body(&file.load().unwrap()), b"{\"new\":1}");
    assert_eq!(fs::metadata(folder.path().join("state")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn too_large_a_state_is_not_written() {
    let (folder, mut file) = with(b"");
    let error = file.replace(&vec![b' '; MAX_SIZE as usize + 1]).unwrap_err();
    assert!(matches!(error, StateError::TooLarge { .. }), "{error}");
    assert_eq!(names(&folder), ["state"]);
}
