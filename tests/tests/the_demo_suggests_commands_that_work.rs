//! After its table the demo stays up and says what to try next: each of these commands works as it stands.

use std::process::{Command, Stdio};

use omadm_tests::{Folder, Process, omadm, omadm_client};

#[test]
fn each_command_can_be_copied() {
    let folder = Folder::new();
    let mut command = omadm();
    command.arg("demo").env("TMPDIR", folder.path()).env("OMADM_CLIENT", omadm_client().get_program());
    let mut demo = Process::start(&mut command, &folder.join("log"));
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.starts_with("Ctrl-C ends")) {
        lines.push(demo.line(30));
    }
    let at = lines.iter().position(|line| line.contains("Try")).expect("what to try");
    let commands: Vec<_> = lines[at..].iter().filter_map(|line| line.strip_prefix("      ")).collect();
    assert!(commands.len() >= 6, "{commands:?}");
    let (export, commands) = commands.split_first().expect("commands");
    assert!(export.starts_with("export OMADM_DATA="), "{export}");
    for command in commands {
        let script = format!("{export}\n{command}\n");
        let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().expect("a shell");
        assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {output:?}");
    }
    let page = lines.iter().find_map(|line| line.strip_prefix("The overview page: ")).expect("a page");
    let mut answer = ureq::get(page).call().expect("the page answers");
    assert!(answer.body_mut().read_to_string().expect("text").contains("<html"));
    assert!(demo.runs(), "it stays up");
    assert_eq!(demo.stop().code(), Some(0));
}
