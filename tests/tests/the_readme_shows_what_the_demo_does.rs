//! The recording in the README and the two figures beside it come from a run of the demo; a run of today tells the same
//! story and gives the same arrows, numbers aside. `make record` makes them anew.

use std::path::Path;

use omadm_tests::{Folder, omadm, omadm_client};

/// The text with `#` in place of each number.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for sign in text.chars() {
        match sign {
            '0'..='9' | ',' | '.' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

/// What is told, each line once and in the order of the alphabet, since the devices run beside each other.
fn story(text: &str) -> Vec<String> {
    let is_told = |line: &&str| ["·", "✔", "○", "✘", "★"].iter().any(|mark| line.contains(mark));
    let words = |line: &str| line.split_whitespace().map(without_numbers).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<_> = text.lines().filter(is_told).map(words).collect();
    lines.sort();
    lines
}

/// The texts of a figure, in their order, without the totals below it.
fn texts(svg: &str) -> Vec<String> {
    let parts = svg.split("<text").skip(1).filter_map(|part| part.split_once('>')?.1.split_once("</text>"));
    parts.map(|(text, _)| without_numbers(text)).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn in_words_and_in_figures() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = Folder::new();
    let kept = folder.join("demo");
    let output = omadm()
        .args(["demo", "--once", "--keep"])
        .arg(&kept)
        .env("OMADM_CLIENT", omadm_client().get_program())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let told = told.replace(&format!("{}/", kept.display()), "");

    let readme = read(&root.join("README.md"));
    let recording =
        readme.split_once("<!-- recording -->").and_then(|(_, rest)| rest.split_once("<!-- end")).expect("it");
    assert!(story(&told).len() > 20, "{told}");
    assert_eq!(story(recording.0), story(&told), "run `make record`");

    for (device, title, figure) in [
        ("sim", "Bootstrap from the smartcard", "docs/figures/smartcard-bootstrap.svg"),
        ("network", "Client-initiated bootstrap", "docs/figures/client-initiated-bootstrap.svg"),
    ] {
        assert!(readme.contains(&format!("]({figure})")), "{figure} is shown");
        let trace = kept.join(device).join("trace.jsonl");
        let drawn = omadm().arg("figure").arg(trace).args(["--title", title]).output().expect("it runs");
        let drawn = String::from_utf8(drawn.stdout).expect("UTF-8");
        assert!(texts(&drawn).len() > 20, "{drawn}");
        assert_eq!(texts(&read(&root.join(figure))), texts(&drawn), "{figure}: run `make record`");
    }
}
