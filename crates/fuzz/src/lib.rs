//! Fuzz targets: functions from any bytes to nothing, which panic where something does not hold that must.
//!
//! They stand in a crate of their own so that two callers share them: the libFuzzer programs in `fuzz/`, which look for
//! new inputs, and `make test`, which replays the committed ones. What each target checks stands in its module.

mod at_lines;
mod bootstrap_message;
mod card_commands;
mod card_conversation;
mod card_image;
mod client_uri;
mod config;
mod der;
mod device;
mod exec_lines;
mod factory_bundle;
mod fcp;
mod http_answer;
mod packages;
mod script;
mod serialized;
mod session;
mod state;
mod web;

/// A target by its name, which is also that of its folder in `fuzz/corpus` and of its program in `fuzz/`.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What is done with the bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 17] = [
    Target { name: "at_lines", run: at_lines::run },
    Target { name: "bootstrap_message", run: bootstrap_message::run },
    Target { name: "card_commands", run: card_commands::run },
    Target { name: "card_conversation", run: card_conversation::run },
    Target { name: "card_image", run: card_image::run },
    Target { name: "client_uri", run: client_uri::run },
    Target { name: "config", run: config::run },
    Target { name: "der", run: der::run },
    Target { name: "exec_lines", run: exec_lines::run },
    Target { name: "factory_bundle", run: factory_bundle::run },
    Target { name: "fcp", run: fcp::run },
    Target { name: "http_answer", run: http_answer::run },
    Target { name: "packages", run: packages::run },
    Target { name: "serialized", run: serialized::run },
    Target { name: "session", run: session::run },
    Target { name: "state", run: state::run },
    Target { name: "web", run: web::run },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or if something does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(bytes);
}
