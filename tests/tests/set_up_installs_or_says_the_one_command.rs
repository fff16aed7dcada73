//! `make demo` and `make test` do their own set-up: as root what is missing is installed, otherwise the one command is
//! printed. The machine here is a folder of programs that only tell how they were called.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use omadm_tests::Folder;

/// Runs the script on a machine whose user has this id and which lacks pcscd.
fn set_up(folder: &Folder, user: u32) -> Output {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for (name, text) in [
        ("id", format!("echo {user}")),
        ("dpkg-query", "case \"$*\" in *pcscd*) exit 1;; esac; echo install ok installed".to_owned()),
        ("apt-get", "echo \"apt-get $*\"".to_owned()),
        ("cargo", "exit 0".to_owned()),
    ] {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup.sh");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    Command::new("bash").arg(script).arg("test").env("PATH", path).output().expect("bash")
}

#[test]
fn as_root_what_is_missing_is_installed() {
    let output = set_up(&Folder::new(), 0);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("apt-get update") && told.contains("apt-get install -y"), "{told}");
    assert!(told.trim_end().ends_with(" pcscd") && !told.contains("opensc"), "only what is missing: {told}");
}

#[test]
fn otherwise_the_one_command_is_printed() {
    let output = set_up(&Folder::new(), 1000);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let command = "Run:  sudo apt-get update && sudo apt-get install -y --no-install-recommends pcscd\n";
    assert!(told.ends_with(command), "{told}");
}
