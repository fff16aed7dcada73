//! How the program ends, by its exit code, and what it says about it.

#![allow(clippy::unwrap_used)]

use std::process::Command;

fn omadm(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_omadm"))
        .args(arguments)
        .env_remove("OMADM_SERVER")
        .env_remove("OMADM_TOKEN_FILE")
        .env_remove("OMADM_DATA")
        .env_remove("OMADM_CLIENT")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_are_no_failure() {
    let (code, out, _) = omadm(&["--version"]);
    assert_eq!((code, out.starts_with("omadm ")), (0, true));
    assert_eq!(omadm(&["card", "--help"]).0, 0);
}

#[test]
fn a_wrong_call_is_2() {
    for arguments in [
        vec![],
        vec!["dance"],
        vec!["serve"],
        vec!["card", "create", "-o", "x"],
        vec!["card", "run", "card.json"],
        vec!["card", "read", "card.json", "--reader", "x"],
        vec!["profile", "preview", "p", "--dev-id", "X:1", "--mcc", "001"],
    ] {
        let (code, out, err) = omadm(&arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn without_a_server_it_says_how_to_name_one() {
    let (code, out, err) = omadm(&["device", "list"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--server URL --token-file FILE"), "{err}");
    let (code, _, err) = omadm(&["device", "list", "--server", "http://dm.example:1", "--token-file", "/dev/null"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_server_that_does_not_answer_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t\n").unwrap();
    let token = token.to_str().unwrap();
    let (code, out, err) = omadm(&["device", "list", "--server", "http://127.0.0.1:1", "--token-file", token]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("127.0.0.1:1"), "{err}");
}

#[test]
fn a_client_that_is_not_there_is_2() {
    let (code, _, err) = omadm(&["demo", "--once", "--client", "/no/such/omadm-client"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn a_card_that_is_written_needs_something_to_write_and_all_that_would_do_is_named() {
    let (code, _, err) = omadm(&["card", "write", "card.json"]);
    assert_eq!(code, 2);
    let wanted = "<--message <FILE>|--profile <NAME>|--lwm2m <FILE>|--object <OID=FILE>>";
    assert!(err.contains(wanted), "{err}");
    let (code, _, err) = omadm(&["card", "write", "card.json", "--message", "m", "--profile", "p"]);
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
}

#[test]
fn no_reader_at_all_is_3_and_the_list_says_why() {
    for form in [&[][..], &["--json"]] {
        let arguments = [&["card", "readers", "--link", "socket:/no/such/card.sock"], form].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_omadm"));
        let output = command.args(&arguments).env("PCSCLITE_CSOCK_NAME", "/no/such/pcscd").output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(out.contains("PC/SC") && out.contains("/no/such/card.sock"), "{out}");
        assert!(err.contains("no reader, no modem") && err.contains("--link"), "{err}");
        if !form.is_empty() {
            let ways: serde_json::Value = serde_json::from_str(&out).unwrap();
            for way in ways.as_array().unwrap() {
                let members: Vec<&str> = way.as_object().unwrap().keys().map(String::as_str).collect();
                assert_eq!(members, ["name", "card", "link", "iccid", "why"]);
                assert!(way["card"] == false && way["iccid"].is_null() && way["why"].is_string(), "{way}");
            }
        }
    }
}

#[test]
fn completion_is_a_script() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = omadm(&["completion", shell]);
        assert!(code == 0 && out.contains("omadm") && out.contains("withdraw"), "{shell}");
    }
}
