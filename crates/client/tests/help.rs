//! The help of every command is a contract: it changes on purpose only.

#![allow(clippy::unwrap_used, reason = "in tests")]

use std::process::Command;

#[test]
fn help_of_every_command() {
    let mut text = String::new();
    for command in ["", "run", "bootstrap", "session", "status", "tree", "account", "reset"] {
        let words: Vec<_> = ["omadm-client", command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        // The width must not depend on the terminal.
        let mut program = Command::new(env!("CARGO_BIN_EXE_omadm-client"));
        let output = program.args(&words[1..]).env("COLUMNS", "100").output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Example:"), "{words:?} has an example");
        text.push_str(&format!("$ {}\n{}\n\n", words.join(" "), help.trim_end()));
    }
    insta::assert_snapshot!(text);
}
