//! Cards behind executables: real child processes that behave, that fail in every way, and that do not want to end.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use omadm_card::link::exec::ExecLink;
use omadm_card::link::{Link, LinkError, Opening, Patience};

const QUICK: Patience = Patience {
    wait: Duration::ZERO,
    empty: Duration::ZERO,
    // Long enough for a shell on a busy machine.
    command: Duration::from_secs(20),
};
/// For those that are to be late.
const IMPATIENT: Patience = Patience { command: Duration::from_millis(300), ..QUICK };
const HELLO: &str = r#"read -r hello; echo '{"hello":1}';"#;
const CARD: &str = r#"read -r status; echo '{"card":true,"iccid":"8988000000000000016"}';"#;

fn quiet(_: &str) {}

/// A shell that does this.
fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}

/// A shell that says hello, tells of a card, and then does this.
fn with_card(script: &str) -> Vec<String> {
    shell(&format!("{HELLO} {CARD} {script}"))
}

fn error(command: &[String], patience: &Patience) -> LinkError {
    ExecLink::open(command, patience, quiet).unwrap_err()
}

/// The error that a command to the card gives.
fn error_of_command(script: &str, patience: &Patience) -> LinkError {
    let mut link = ExecLink::open(&with_card(script), patience, quiet).unwrap();
    let error = link.transmit(&[0, 0xA4, 0, 0]).unwrap_err();
    assert_eq!(link.transmit(&[0, 0xA4, 0, 0]).unwrap_err(), error, "nothing is asked after a break");
    error
}

fn sentence(error: &LinkError) -> String {
    assert!(matches!(error, LinkError::Io(_)), "{error:?}");
    error.to_string()
}

/// Whether a process whose number stands in this file is there.
fn runs(file: &Path) -> bool {
    let id = fs::read_to_string(file).unwrap();
    // One that is only left to be reaped by its new parent has ended.
    fs::read_to_string(format!("/proc/{}/stat", id.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether it ends: a signal that was sent is not yet one that was heeded.
fn is_gone(file: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while runs(file) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    !runs(file)
}

#[test]
fn commands_and_handles_travel_as_they_are() {
    let script = r#"
        while read -r line; do
            case $line in
                '{"open":"A000000063"}') echo '{"open":"handle-7"}' ;;
                '{"apdu":"00B0000002","on":"handle-7"}') echo '{"apdu":"6f00 9000"}' ;;
                '{"apdu":"0070000001"}') echo '{"apdu":"019000", "took":1.5}' ;;
                '{"close":"handle-7"}') echo '{"close":"handle-7"}' ;;
                '{"dir":true}') echo '{"dir":["6100"]}' ;;
                *) echo '{"error":"not expected here"}' ;;
            esac
        done"#;
    let mut link = ExecLink::open(&with_card(script), &QUICK, quiet).unwrap();
    assert_eq!(link.tell_iccid().unwrap().unwrap().as_str(), "8988000000000000016");
    let Opening::Opened(application) = link.open_application(&[0xA0, 0, 0, 0, 0x63]).unwrap() else {
        panic!("refused")
    };
    assert_eq!(link.transmit_to(application, &[0, 0xB0, 0, 0, 2]).unwrap(), [0x6F, 0, 0x90, 0]);
    assert_eq!(link.transmit(&[0, 0x70, 0, 0, 1]).unwrap(), [1, 0x90, 0]);
    assert_eq!(link.tell_dir().unwrap(), [[0x61, 0]]);
    link.close_application(application);
    let error = link.transmit(&[0x10]).unwrap_err();
    assert_eq!(error, LinkError::Io("not expected here".to_owned()));
    assert!(link.transmit(&[0, 0x70, 0, 0, 1]).is_ok(), "what is refused breaks nothing");
}

#[test]
fn an_executable_that_is_not_there_is_named() {
    let text = sentence(&error(&["/no/such/omadm-card-link".to_owned()], &QUICK));
    assert!(text.contains("/no/such/omadm-card-link cannot be run") && text.contains("installed"), "{text}");
    assert!(matches!(error(&[], &QUICK), LinkError::Io(_)));
}

#[test]
fn one_that_dies_is_told_with_its_exit_code_and_its_last_words() {
    let text = sentence(&error(&shell("echo first >&2; echo 'no modem\tthere' >&2; exit 3"), &QUICK));
    assert!(text.ends_with("sh ended with exit code 3: no modem there"), "{text}");
    let text = sentence(&error(&shell(&format!("{HELLO} exit 0")), &QUICK));
    assert!(text.ends_with("sh ended with exit code 0"), "{text}");
    let text = sentence(&error_of_command("read -r apdu; kill -9 $$", &QUICK));
    assert!(text.ends_with("sh was ended by signal 9"), "{text}");
    let text = sentence(&error_of_command("read -r apdu; exec >&-; sleep 1000", &QUICK));
    assert!(text.ends_with("sh closed its output"), "{text}");
}

#[test]
fn one_that_is_silent_is_late() {
    for script in ["sleep 1000", "while :; do sleep 0.01; echo working >&2; done", "printf '{\"hello\":'; sleep 1000"] {
        let began = Instant::now();
        let error = error(&shell(script), &IMPATIENT);
        assert!(matches!(&error, LinkError::Timeout(text) if text == "sh gave no answer within 0.3 s"), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "it is not waited for");
    }
    // On a busy machine the shell itself may be late with its greeting.
    let patience = Patience { command: Duration::from_secs(2), ..QUICK };
    let opened = (0..20).find_map(|_| ExecLink::open(&with_card("sleep 1000"), &patience, quiet).ok());
    assert!(matches!(opened.unwrap().transmit(&[0, 0xA4, 0, 0]), Err(LinkError::Timeout(_))));
}

#[test]
fn an_endless_line_is_cut_off() {
    let text = sentence(&error(&shell("while :; do printf 0123456789012345678901234567890123456789; done"), &QUICK));
    assert!(text.contains("something that nobody asked for") || text.contains("more than 65536 bytes"), "{text}");
    let text =
        sentence(&error_of_command("read -r apdu; printf '{\"apdu\":\"'; while :; do printf 00000000; done", &QUICK));
    assert!(text.contains("more than 65536 bytes"), "{text}");
}

#[test]
fn lines_without_end_are_not_taken_for_answers() {
    let text = sentence(&error_of_command("read -r apdu; while :; do echo '{\"apdu\":\"9000\"'; done", &QUICK));
    assert!(text.contains("is no JSON object"), "{text}");
    let mut link = ExecLink::open(
        &with_card("read -r apdu; printf '{\"apdu\":\"9000\"}\\n{\"apdu\":\"6A82\"}\\n'; read -r apdu; sleep 1000"),
        &QUICK,
        quiet,
    )
    .unwrap();
    assert_eq!(link.transmit(&[0, 0xA4, 0, 0]).unwrap(), [0x90, 0]);
    let text = sentence(&link.transmit(&[0, 0xA4, 0, 0]).unwrap_err());
    assert!(text.contains("nobody asked for"), "{text}");
}

#[test]
fn an_answer_that_is_none_is_named_without_repeating_it() {
    let answers = [
        ("secret 4711", "is no JSON object"),
        ("[4711]", "is no JSON object"),
        (r#"{"apdu":4711}"#, "has no apdu"),
        (r#"{"open":"4711"}"#, "has no apdu"),
        (r#"{"apdu":"4711g"}"#, "is not 2 to 4,098 bytes"),
        (r#"{"apdu":"47"}"#, "is not 2 to 4,098 bytes"),
        (r#"{"error":4711}"#, "an error that is no text"),
        ("", "is no JSON object"),
    ];
    for (answer, expected) in answers {
        let text = sentence(&error_of_command(&format!("read -r apdu; echo '{answer}'; sleep 1000"), &QUICK));
        assert!(text.contains(expected) && !text.contains("4711"), "{answer}: {text}");
    }
    let deep = format!("read -r apdu; printf '%s\\n' '{}'", "[".repeat(10_000));
    assert!(sentence(&error_of_command(&deep, &QUICK)).contains("is no JSON object"));
    let text = sentence(&error(&shell(r#"read -r hello; echo '{"hello":2}'; sleep 1000"#), &QUICK));
    assert!(text.contains("speaks version 2"), "{text}");
}

#[test]
fn what_it_says_aside_is_told_within_bounds() {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    fn tell(line: &str) {
        TOLD.lock().unwrap().push(line.to_owned());
    }
    let script = format!(
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i {}\" >&2; i=$((i+1)); done; {HELLO} {CARD} read -r end",
        "x".repeat(300)
    );
    drop(ExecLink::open(&shell(&script), &QUICK, tell).unwrap());
    let told = TOLD.lock().unwrap();
    assert_eq!(told.len(), 101);
    assert!(told[7].starts_with("line 7 xxx") && told.iter().all(|line| line.len() <= 200), "{}", told[7]);
    assert_eq!(told[100], "what it says from here on is left out");
}

#[test]
fn nothing_of_it_is_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("own"), folder.path().join("other"));
    // It does not end with its input, nor by SIGTERM, and has a child of its own.
    let stubborn = format!(
        "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! > {}; echo $$ > {}; {HELLO} {CARD} \
         while :; do sleep 1; done",
        other.display(),
        own.display()
    );
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let link = ExecLink::open(&shell(&stubborn), &QUICK, quiet).unwrap();
    assert!(runs(&own) && runs(&other));
    assert_eq!(threads(), before, "no thread is started");
    drop(link);
    assert!(is_gone(&own) && is_gone(&other), "after a link that was used");
    let link = ExecLink::open(&shell(&stubborn), &Patience { command: Duration::from_secs(2), ..QUICK }, quiet);
    let mut link = link.unwrap();
    assert!(runs(&own) && runs(&other));
    assert!(link.transmit(&[0, 0xA4, 0, 0]).is_err());
    drop(link);
    assert!(is_gone(&own) && is_gone(&other), "after a link that broke");
}

#[test]
fn it_may_clean_up_when_its_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let script = format!("while read -r line; do :; done; echo cleaning >&2; echo out; echo yes > {}", done.display());
    drop(ExecLink::open(&with_card(&script), &QUICK, quiet).unwrap());
    assert_eq!(fs::read_to_string(done).unwrap(), "yes\n");
}

#[test]
fn an_empty_slot_is_believed_after_a_while_and_a_missing_modem_is_waited_for() {
    let every_status = |answer: &str| shell(&format!("{HELLO} while read -r status; do echo '{answer}'; done"));
    let patience = Patience { wait: Duration::from_secs(30), empty: Duration::from_millis(600), ..QUICK };
    let began = Instant::now();
    let error = error(&every_status(r#"{"card":false,"why":"slot 1 is empty"}"#), &patience);
    assert_eq!(error, LinkError::NoCard("slot 1 is empty".to_owned()));
    assert!(began.elapsed() >= patience.empty && began.elapsed() < patience.wait);

    let patience = Patience { wait: Duration::from_millis(1200), empty: Duration::ZERO, ..QUICK };
    let began = Instant::now();
    let missing = every_status(r#"{"error":"the modem is starting","code":"no-link"}"#);
    let error = ExecLink::open(&missing, &patience, quiet).unwrap_err();
    assert_eq!(error, LinkError::NoCard("the modem is starting".to_owned()));
    assert!(began.elapsed() >= patience.wait);

    let patience = Patience { wait: Duration::from_secs(30), ..QUICK };
    let late = format!(r#"{HELLO} read -r status; echo '{{"error":"starting","code":"no-link"}}'; {CARD} read -r end"#);
    assert!(ExecLink::open(&shell(&late), &patience, quiet).is_ok());
}

#[test]
fn a_card_that_goes_is_removed_and_one_that_is_exchanged_has_another_number() {
    let then = |answer: &str| with_card(&format!("while read -r status; do echo '{answer}'; done"));
    let told_twice = |command: Vec<String>| {
        let mut link = ExecLink::open(&command, &QUICK, quiet).unwrap();
        assert_eq!(link.tell_iccid().unwrap().unwrap().as_str(), "8988000000000000016");
        link.tell_iccid()
    };
    assert_eq!(
        told_twice(then(r#"{"card":false,"why":"taken out"}"#)),
        Err(LinkError::Removed("taken out".to_owned()))
    );
    let other = told_twice(then(r#"{"card":true,"iccid":"8988000000000000024"}"#)).unwrap().unwrap();
    assert_eq!(other.as_str(), "8988000000000000024");
}

#[test]
fn refusals_of_an_application_are_told_apart() {
    let opening = |answer: &str| {
        let command = with_card(&format!("read -r open; echo '{answer}'; read -r end"));
        ExecLink::open(&command, &QUICK, quiet).unwrap().open_application(&[0xA0, 0, 0, 0, 0x63])
    };
    assert_eq!(opening(r#"{"error":"no","code":"unsupported"}"#), Ok(Opening::NotOffered));
    let refused = opening(r#"{"error":"not there","code":"refused","sw":"6A82"}"#).unwrap();
    let Opening::Refused { status: Some(status), detail } = refused else { panic!("{refused:?}") };
    assert_eq!((status.0, detail.as_str()), (0x6A82, "not there"));
    let refused = opening(r#"{"error":"none is free","code":"no-channel"}"#);
    assert_eq!(refused, Ok(Opening::Refused { status: None, detail: "none is free".to_owned() }));
    assert!(matches!(opening(r#"{"error":"gone","code":"removed"}"#), Err(LinkError::Removed(_))));
    assert!(matches!(opening(r#"{"open":"two words"}"#), Err(LinkError::Io(_))));
}

#[test]
fn a_look_at_the_card_leaves_an_open_link_alone() {
    let command = with_card("read -r end");
    let link = ExecLink::open(&command, &QUICK, quiet).unwrap();
    assert!(matches!(ExecLink::status_of(&command, QUICK.command, Duration::ZERO, quiet), Err(LinkError::Timeout(_))));
    drop(link);
    let status = ExecLink::status_of(&command, QUICK.command, Duration::ZERO, quiet).unwrap();
    assert_eq!((status.card, status.iccid.unwrap().as_str()), (true, "8988000000000000016"));
}
