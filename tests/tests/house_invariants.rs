//! The invariants of ARCHITECTURE.md, over the sources and over what cargo says; each rule is shown to find a planted
//! violation.

use std::path::{Path, PathBuf};
use std::process::Command;

use omadm_tests::Folder;

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
    // Modules of std are named one by one, so that the words below find them.
    "std::{",
    "std::os",
    "std::env",
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
        what: "in the client time and chance come from the world that it is given",
        below: &["crates/client/src"],
        except: &[
            "crates/client/src/host",
            "crates/client/src/wait",
            "crates/client/src/trace",
            "crates/client/src/control",
            "crates/client/src/transport",
        ],
        words: &["Instant::now", "SystemTime::now", "getrandom::"],
    },
    Rule {
        what: "only tls names openssl",
        below: &["crates"],
        except: &["crates/tls"],
        words: &["openssl::", "openssl.workspace", "openssl_sys", "native_tls"],
    },
    Rule {
        what: "OpenSSL reads PEM only where it cannot ask for a pass phrase",
        below: &["crates/tls/src"],
        except: &["crates/tls/src/certificates", "crates/tls/src/key"],
        words: &["X509::from_pem", "stack_from_pem", "key_from_pem", "_file("],
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
            "crates/sim/Cargo.toml",
            "crates/fuzz/Cargo.toml",
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

    /// The files that this rule is about in a workspace at `root`.
    fn files(&self, root: &Path) -> Vec<PathBuf> {
        let except: Vec<_> = self.except.iter().map(|path| root.join(path)).collect();
        let is_except =
            |file: &Path| except.iter().any(|path| file.starts_with(path) || file == path.with_extension("rs"));
        let mut files = Vec::new();
        for path in self.below {
            let path = root.join(path);
            let mut found = Vec::new();
            collect(&path, &mut found);
            let is_test = |file: &Path| {
                let within = file.strip_prefix(&path).unwrap_or(file);
                within.ends_with("tests.rs") || within.components().any(|part| part.as_os_str() == "tests")
            };
            files.extend(found.into_iter().filter(|file| !is_except(file) && !is_test(file)));
        }
        files
    }

    /// What breaks this rule in a workspace at `root`.
    fn broken_in(&self, root: &Path) -> Vec<String> {
        let in_file = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).expect("a readable source");
            let what = self.what;
            self.broken_by(&text).into_iter().map(move |line| format!("{what}: {}: {line}", file.display()))
        };
        self.files(root).into_iter().flat_map(in_file).collect()
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
    let root = root();
    for rule in RULES {
        assert!(rule.files(&root).len() >= rule.below.len(), "{}: too few files to be true", rule.what);
    }
    let broken: Vec<_> = RULES.iter().flat_map(|rule| rule.broken_in(&root)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Writes a file of a planted workspace.
fn plant(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

#[test]
fn each_rule_finds_a_planted_violation_wherever_it_stands() {
    for rule in RULES {
        for word in rule.words {
            let text = format!("fn harmless() {{}}\nlet x = {word};\n");
            for below in rule.below {
                let folder = Folder::new();
                let places: &[String] = if below.ends_with(".toml") {
                    &[(*below).to_owned()]
                } else {
                    &[format!("{below}/deep/down/file.rs"), format!("{below}/lib.rs"), format!("{below}/Cargo.toml")]
                };
                places.iter().for_each(|place| plant(folder.path(), place, &text));
                // Prose, tests and the places that may are no violation.
                plant(
                    folder.path(),
                    &format!("{}/prose.rs", below.trim_end_matches("/Cargo.toml")),
                    "// tokio, DMAcc\n",
                );
                plant(folder.path(), &format!("{}/x/tests.rs", below.trim_end_matches("/Cargo.toml")), &text);
                for except in rule.except {
                    plant(folder.path(), &format!("{except}/file.rs"), &text);
                    plant(folder.path(), &format!("{except}.rs"), &text);
                }
                assert_eq!(rule.broken_in(folder.path()).len(), places.len(), "{}: {word} in {below}", rule.what);
            }
        }
    }
}

/// The crates that a program or library is made of, tests aside.
fn made_of(root: &Path, package: &str, extra: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .args(extra)
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn forbidden<'a>(crates: &'a [String], words: &[&str]) -> Vec<&'a String> {
    crates.iter().filter(|name| words.contains(&name.as_str())).collect()
}

/// A package, features for the search, and the crates that it must not be made of.
type Kept = (&'static str, &'static [&'static str], &'static [&'static str]);

const NO_WORLD: &[&str] =
    &["tokio", "openssl", "openssl-sys", "ureq", "axum", "hyper", "getrandom", "rand", "pcsc", "rustix"];

const KEPT: [Kept; 5] = [
    ("omadm-core", &["--no-default-features"], NO_WORLD),
    ("omadm-card", &["--no-default-features"], NO_WORLD),
    ("omadm-tls", &[], &["tokio", "ureq", "axum", "omadm-client", "omadm-server", "omadm-card"]),
    ("omadm-client", &[], &["tokio", "hyper", "axum", "omadm-server", "quick-xml"]),
    ("omadm-server", &[], &["omadm-client", "omadm-card", "pcsc"]),
];

#[test]
fn the_crates_are_made_of_what_they_may_be() {
    for (package, extra, words) in KEPT {
        let crates = made_of(&root(), package, extra);
        assert!(crates.iter().any(|name| name == package), "{package} is not in {crates:?}");
        assert_eq!(forbidden(&crates, words), Vec::<&String>::new(), "in {package}");
    }
}

#[test]
fn a_planted_dependency_is_found() {
    for (package, dependency) in [
        ("omadm-core", "tokio"),
        ("omadm-card", "openssl"),
        ("omadm-tls", "omadm-card"),
        ("omadm-client", "tokio"),
        ("omadm-server", "omadm-client"),
    ] {
        let folder = Folder::new();
        copy_workspace(&root(), folder.path());
        let manifest = folder.join("crates").join(package.trim_start_matches("omadm-")).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        let planted = text.replacen("[dependencies]\n", &format!("[dependencies]\n{dependency}.workspace = true\n"), 1);
        assert_ne!(text, planted);
        std::fs::write(&manifest, planted).expect("a manifest");
        let (_, extra, words) = KEPT.into_iter().find(|(name, _, _)| *name == package).expect("a package that is kept");
        assert!(
            forbidden(&made_of(folder.path(), package, extra), words).iter().any(|name| *name == dependency),
            "{dependency} in {package}"
        );
    }
}

/// Copies what cargo needs to know of a workspace: manifests and sources.
fn copy_workspace(from: &Path, to: &Path) {
    for name in ["Cargo.toml", "Cargo.lock"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a copy");
    }
    for name in ["crates", "tests"] {
        let mut files = Vec::new();
        collect(&from.join(name), &mut files);
        for file in files {
            let copy = to.join(file.strip_prefix(from).expect("below the root"));
            std::fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
            std::fs::copy(&file, &copy).expect("a copy");
        }
    }
}

#[test]
fn two_programs_ship() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // Lives and benchmarks stay at home.
    let packages = metadata["packages"].as_array().expect("packages").iter().filter(|one| one["name"] != "omadm-sim");
    let targets = packages.flat_map(|package| package["targets"].as_array().expect("targets"));
    let mut programs: Vec<_> = targets
        .filter(|target| target["kind"].as_array().expect("kinds").contains(&"bin".into()))
        .map(|target| target["name"].as_str().expect("a name"))
        .collect();
    programs.sort_unstable();
    assert_eq!(programs, ["omadm", "omadm-client"]);
}
