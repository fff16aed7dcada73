//! What the documentation says of files, commands and decisions is so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/benchmarks.md",
    "docs/card-files.md",
    "docs/card-links.md",
    "docs/card-status-words.md",
    "docs/card-image.md",
    "docs/client.md",
    "docs/demo.md",
    "docs/factory.md",
    "docs/making-cards.md",
    "docs/protocol.md",
    "docs/server.md",
];

/// What stands between these two, each time.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(inner, _)| inner).collect()
}

/// The number and the place of each row of the table of decisions.
fn decisions(page: &str) -> Vec<(u32, &str)> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| Profile P-"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let place = cells.last().expect("a cell").trim_end_matches(" |");
        (cells[0].parse().expect("a number"), place)
    })
    .collect()
}

/// The numbers that the text cites.
fn cited(text: &str) -> BTreeSet<u32> {
    let digits = |rest: &str| rest.split(|sign: char| !sign.is_ascii_digit()).next().unwrap_or_default().to_owned();
    text.split("P-").skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
}

#[test]
fn each_decision_stands_where_the_table_says() {
    let page = read("docs/protocol.md");
    let decisions = decisions(&page);
    let numbers: Vec<_> = decisions.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).expect("few")).collect::<Vec<_>>());
    assert!(page.contains(&format!("`P-1` to `P-{}`", numbers.len())), "the introduction counts {}", numbers.len());
    for (number, place) in decisions {
        let paths: Vec<_> = place.split('`').skip(1).step_by(2).collect();
        assert!(!paths.is_empty() || place == "later", "P-{number}: {place}");
        for path in &paths {
            assert!(root().join("crates").join(path).exists(), "P-{number}: there is no {path}");
        }
        let names_it = |path: &&str| {
            let path = root().join("crates").join(path);
            let files = if path.is_dir() { entries(&path) } else { vec![path] };
            files.iter().any(|file| cited(&std::fs::read_to_string(file).unwrap_or_default()).contains(&number))
        };
        assert!(paths.is_empty() || paths.iter().any(names_it), "P-{number}: none of {paths:?} names it");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn links_lead_somewhere() {
    for page in PAGES {
        let text = read(page);
        let folder = root().join(page).parent().expect("a folder").to_owned();
        let targets = between(&text, "](", ")").into_iter().filter(|target| !target.contains("://"));
        for target in targets {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { root().join(page) } else { folder.join(file) };
            assert!(there.exists(), "{page}: {target}");
            if !place.is_empty() {
                let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace([':', ','], "");
                let text = std::fs::read_to_string(&there).expect("a page");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(heading);
                assert!(headings.any(|heading| heading.replace(' ', "-") == place), "{page}: {target}");
            }
        }
    }
}

#[test]
fn the_commands_of_make_are_there_and_told() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .filter(|name| !name.is_empty() && name.chars().all(|sign| sign.is_ascii_lowercase()))
        .collect();
    for page in PAGES {
        let text = read(page);
        let named = ["`make ", "\nmake "].iter().flat_map(|before| between(&text, before, "\n"));
        for rest in named {
            let name = rest.split(|sign: char| !sign.is_ascii_lowercase()).next().unwrap_or_default();
            assert!(targets.contains(name), "{page}: make {name}");
        }
    }
    let readme = read("README.md");
    for name in ["demo", "test", "bench", "lives", "fuzz", "audit", "record"] {
        assert!(readme.contains(&format!("make {name}")), "the README does not tell of make {name}");
    }
}

#[test]
fn the_code_map_names_every_crate() {
    let (map, manifest) = (read("ARCHITECTURE.md"), read("Cargo.toml"));
    let members = between(&manifest, "members = [", "]").remove(0).split(',').map(|name| name.trim().trim_matches('"'));
    for member in members {
        assert!(map.contains(&format!("| `{member}` |")), "{member}");
    }
}
