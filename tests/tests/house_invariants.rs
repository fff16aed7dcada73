//! The invariants of ARCHITECTURE.md, over the sources and over what cargo says; each rule is shown to find a planted
//! violation.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace").to_owned()
}

/// What must not stand in the sources below a folder.
struct Rule {
    what: &'static str,
    below: &'static [&'static str],
    except: &'static [&'static str],
    words: &'static [&'static str],
}

const WORLD: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "now_utc",
    "getrandom",
    "tokio",
    "openssl",
    "async fn",
];

const RULES: &[Rule] = &[
    Rule { what: "core has no world in it", below: &["crates/core/src"], except: &[], words: WORLD },
    Rule {
        what: "card touches the world under link/ only",
        below: &["crates/card/src"],
        except: &["crates/card/src/link"],
        words: WORLD,
    },
    Rule {
        what: "only tls names openssl",
        below: &["crates"],
        except: &["crates/tls"],
        words: &["openssl::", "openssl.workspace", "openssl_sys", "native_tls"],
    },
    Rule {
        what: "the server uses neither client nor card",
        below: &["crates/server"],
        except: &[],
        words: &["omadm_client", "omadm_card", "omadm-client", "omadm-card"],
    },
    Rule {
        what: "in the server only rendering names DMAcc",
        below: &["crates/server/src"],
        except: &["crates/server/src/bootstrap/rendering"],
        words: &["DMAcc", "oma-dm-dmacc", "DMACC", "SrvURI", "Trsp"],
    },
    Rule {
        what: "versions stand in the root manifest only",
        below: &[
            "crates/core/Cargo.toml",
            "crates/card/Cargo.toml",
            "crates/tls/Cargo.toml",
            "crates/client/Cargo.toml",
            "crates/server/Cargo.toml",
            "crates/cli/Cargo.toml",
            "tests/Cargo.toml",
        ],
        except: &[],
        words: &["version = \"", "= \"0", "= \"1", "= \"2", "= \"3", "= \"4"],
    },
    Rule {
        what: "nothing is left for later",
        below: &["crates"],
        except: &[],
        words: &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"],
    },
];

impl Rule {
    /// The lines of a file that break this rule; what stands in a test module or in prose is left out.
    fn broken_by(&self, text: &str) -> Vec<String> {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        code.lines()
            .filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("# "))
            .filter(|line| self.words.iter().any(|word| line.contains(word)))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let except: Vec<_> = self.except.iter().map(|path| root().join(path)).collect();
        let is_except =
            |file: &Path| except.iter().any(|path| file.starts_with(path) || file == path.with_extension("rs"));
        let mut files = Vec::new();
        for path in self.below {
            collect(&root().join(path), &mut files);
        }
        files.retain(|file| {
            !is_except(file)
                && !file.ends_with("tests.rs")
                && !file.components().any(|part| part.as_os_str() == "tests")
        });
        files
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        if path.extension().is_some_and(|end| end == "rs" || end == "toml") {
            files.push(path.to_owned());
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries {
        collect(&entry.expect("a readable folder").path(), files);
    }
}

#[test]
fn the_sources_keep_the_rules() {
    let mut broken = Vec::new();
    for rule in RULES {
        let files = rule.files();
        assert!(!files.is_empty() || rule.below.iter().any(|path| path.contains("tests")), "{}: no files", rule.what);
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a readable source");
            for line in rule.broken_by(&text) {
                broken.push(format!("{}: {}: {line}", rule.what, file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn each_rule_finds_a_planted_violation() {
    for rule in RULES {
        for word in rule.words {
            let planted = format!("fn harmless() {{}}\nlet x = {word};\n");
            assert_eq!(rule.broken_by(&planted).len(), 1, "{}: {word}", rule.what);
        }
        assert!(rule.broken_by("fn harmless() {}\n// prose about tokio and DMAcc\n").is_empty(), "{}", rule.what);
    }
}

/// The crates that a program or library is made of, tests aside.
fn made_of(package: &str, extra: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .args(extra)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn forbidden<'a>(crates: &'a [String], words: &[&str]) -> Vec<&'a String> {
    crates.iter().filter(|name| words.contains(&name.as_str())).collect()
}

#[test]
fn the_crates_are_made_of_what_they_may_be() {
    let world = ["tokio", "openssl", "openssl-sys", "ureq", "axum", "hyper", "getrandom", "rand", "pcsc", "rustix"];
    let table: [(&str, &[&str], &[&str]); 4] = [
        ("omadm-core", &["--no-default-features"], &world),
        ("omadm-card", &["--no-default-features"], &world),
        ("omadm-client", &[], &["tokio", "hyper", "axum", "omadm-server", "quick-xml"]),
        ("omadm-server", &[], &["omadm-client", "omadm-card", "pcsc"]),
    ];
    for (package, extra, words) in table {
        let crates = made_of(package, extra);
        assert!(crates.iter().any(|name| name == package), "{package} is not in {crates:?}");
        assert_eq!(forbidden(&crates, words), Vec::<&String>::new(), "in {package}");
    }
}

#[test]
fn a_forbidden_crate_is_found() {
    let crates = made_of("omadm-server", &[]);
    assert!(!forbidden(&crates, &["tokio"]).is_empty(), "the server has tokio, so the search must find it");
}
