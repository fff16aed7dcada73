//! However the demo ends, no process, no socket and no folder of it remain.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use omadm_tests::{Folder, Process, Random, Signal, omadm, omadm_client, seed, until};

/// The processes that have this text in their environment: all that a demo starts inherit it.
fn marked(mark: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// When the demo is ended.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When all is told and everything runs on.
    AtTheEnd,
    /// So many milliseconds after its start.
    After(u64),
}

fn ends_without_trace(signal: Signal, moment: Moment) {
    let temp = Folder::new();
    let mark = format!("OMADM_MARK={}", temp.path().display());
    let mut command = omadm();
    command.arg("demo").env("OMADM_MARK", temp.path()).env("TMPDIR", temp.path());
    command.env("OMADM_CLIENT", omadm_client().get_program()).process_group(0);
    let log = Folder::new();
    let mut demo = Process::start(&mut command, &log.join("log"));
    match moment {
        Moment::AtTheEnd => while !demo.line(30).starts_with("Ctrl-C ends") {},
        Moment::After(milliseconds) => std::thread::sleep(std::time::Duration::from_millis(milliseconds)),
    }
    assert!(!marked(&mark).is_empty(), "what is looked for can be found");
    assert!(demo.runs(), "the demo stays up: {}", demo.log());
    demo.signal(signal);
    demo.wait(15);
    until(&format!("all processes are gone, {signal:?} {moment:?}"), 10, || marked(&mark).is_empty().then_some(()));
    until(&format!("the folder is gone, {signal:?} {moment:?}"), 10, || entries(temp.path()).is_empty().then_some(()));
}

#[test]
fn after_ctrl_c() {
    let mut random = Random::new(seed());
    ends_without_trace(Signal::INT, Moment::AtTheEnd);
    ends_without_trace(Signal::INT, Moment::After(50 + random.below(1500)));
}

#[test]
fn after_sigkill() {
    let mut random = Random::new(seed());
    ends_without_trace(Signal::KILL, Moment::AtTheEnd);
    ends_without_trace(Signal::KILL, Moment::After(50 + random.below(1500)));
}
