//! The words on the command line, and the help about them.

use crate::log::Filter;
use lexopt::{Arg, Parser, ValueExt};
use omadm_core::ids::SrvId;
use omadm_core::uri::ClientUri;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the configuration file is if nobody says.
const CONFIG: &str = "/etc/omadm/client.toml";

/// What the program was called with.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) config: PathBuf,
    /// JSON for programs instead of text for people.
    pub(crate) json: bool,
    pub(crate) log: Option<Filter>,
    pub(crate) command: Command,
}

#[derive(Debug)]
pub(crate) enum Command {
    Run { trace: Option<PathBuf> },
    Bootstrap,
    Session { srv_id: Option<SrvId> },
    Status,
    Tree { client_uri: Option<ClientUri> },
    Account { action: AccountAction, srv_id: SrvId },
    Reset { yes: bool },
}

/// What is to become of an account.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AccountAction {
    Remove,
    Allow,
}

impl FromStr for AccountAction {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "remove" => Ok(Self::Remove),
            "allow" => Ok(Self::Allow),
            _ => Err("remove or allow is expected"),
        }
    }
}

/// What the words ask for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To do something.
    Do(Cli),
    /// To be told this.
    Tell(String),
}

/// Reads the words; the error is a sentence about what is wrong with them.
pub(crate) fn read(mut words: Parser) -> Result<Asked, String> {
    let (mut config, mut json, mut log) = (PathBuf::from(CONFIG), false, None);
    let (mut page, mut trace, mut yes, mut operands): (Option<&Page>, _, _, Vec<OsString>) =
        (None, None, false, Vec::new());
    while let Some(word) = words.next().map_err(in_words)? {
        match word {
            Arg::Long("config") => config = words.value().map_err(in_words)?.into(),
            Arg::Long("json") => json = true,
            Arg::Long("log") => log = Some(parsed("--log", words.value().map_err(in_words)?)?),
            Arg::Long("trace") if page.is_some_and(|page| page.name == "run") => {
                trace = Some(words.value().map_err(in_words)?.into());
            }
            Arg::Long("yes") if page.is_some_and(|page| page.name == "reset") => yes = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(Asked::Tell(page.map_or_else(overview, Page::help))),
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Asked::Tell(concat!("omadm-client ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
            }
            Arg::Short(letter) => return Err(format!("there is no option -{letter}{}", or_see_help(page))),
            Arg::Long(name) => return Err(unknown_option(name, page)),
            Arg::Value(name) if page.is_none() && name == "help" => return help_about(&mut words),
            Arg::Value(name) if page.is_none() => page = Some(named(&name)?),
            Arg::Value(value) => match page.and_then(|page| page.operand) {
                Some((form, _)) if operands.len() < form.split(' ').count() => operands.push(value),
                _ => return Err(format!("{} is one word too many{}", value.display(), or_see_help(page))),
            },
        }
    }
    let Some(page) = page else { return Err(format!("a command is expected{}", or_see_help(None))) };
    let mut operands = operands.into_iter();
    let mut operand = operands.next();
    let command = match page.name {
        "run" => Command::Run { trace },
        "bootstrap" => Command::Bootstrap,
        "session" => Command::Session { srv_id: operand.map(|word| parsed("SRV_ID", word)).transpose()? },
        "status" => Command::Status,
        "tree" => Command::Tree { client_uri: operand.map(|word| parsed("CLIENT_URI", word)).transpose()? },
        "account" => {
            let missing = || format!("remove or allow, and a SrvID, are expected{}", or_see_help(Some(page)));
            let action = parsed("account", operand.take().ok_or_else(missing)?)?;
            Command::Account { action, srv_id: parsed("SRV_ID", operands.next().ok_or_else(missing)?)? }
        }
        _ => Command::Reset { yes },
    };
    Ok(Asked::Do(Cli { config, json, log, command }))
}

fn help_about(words: &mut Parser) -> Result<Asked, String> {
    let name = words.value().ok();
    Ok(Asked::Tell(match name {
        Some(name) => named(&name)?.help(),
        None => overview(),
    }))
}

fn named(name: &OsString) -> Result<&'static Page, String> {
    PAGES.iter().find(|page| name == page.name).ok_or_else(|| {
        let name = name.to_string_lossy();
        let near = nearest(&name, PAGES.iter().map(|page| page.name));
        let hint = near.map_or_else(|| or_see_help(None), |near| format!("; did you mean {near}?"));
        format!("there is no command \"{name}\"{hint}")
    })
}

fn unknown_option(name: &str, page: Option<&Page>) -> String {
    if let Some(other) = PAGES.iter().find(|page| page.option.is_some_and(|(form, _)| option_name(form) == name)) {
        return format!("--{name} is an option of {} and stands behind it{}", other.name, or_see_help(Some(other)));
    }
    let own = page.and_then(|page| page.option).map(|(form, _)| option_name(form));
    let near = nearest(name, ["config", "json", "log", "help", "version"].into_iter().chain(own));
    let hint = near.map_or_else(|| or_see_help(page), |near| format!("; did you mean --{near}?"));
    format!("there is no option --{name}{hint}")
}

fn option_name(form: &str) -> &str {
    form.split(' ').next().unwrap_or_default().trim_start_matches('-')
}

fn or_see_help(page: Option<&Page>) -> String {
    let name = page.map(|page| format!(" {}", page.name)).unwrap_or_default();
    format!("; see `omadm-client{name} --help`")
}

fn parsed<T: FromStr<Err: Display>>(what: &str, word: OsString) -> Result<T, String> {
    let text = word.string().map_err(in_words)?;
    text.parse().map_err(|error: T::Err| format!("{what}: {error}"))
}

fn in_words(error: lexopt::Error) -> String {
    format!("{error}{}", or_see_help(None))
}

/// The candidate that `word` was probably meant to be: at most two letters away, a swap of neighbours being one.
fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.map(|one| (distance(word, one), one)).filter(|(far, _)| *far <= 2).min().map(|(_, one)| one)
}

fn distance(one: &str, other: &str) -> usize {
    match (one.as_bytes(), other.as_bytes()) {
        (a, b) if a.len().abs_diff(b.len()) > 2 || a.len() > 16 => usize::MAX,
        (a, b) => steps(a, b, 3),
    }
}

/// Insertions, deletions, changes and swaps that make `b` of `a`; not looked for beyond `limit`.
fn steps(a: &[u8], b: &[u8], limit: usize) -> usize {
    match (a, b) {
        ([], rest) | (rest, []) => rest.len(),
        ([x, a @ ..], [y, b @ ..]) if x == y => steps(a, b, limit),
        _ if limit == 0 => 1,
        ([_, rest_a @ ..], [_, rest_b @ ..]) => {
            let changed = steps(rest_a, rest_b, limit - 1);
            let best = changed.min(steps(rest_a, b, limit - 1)).min(steps(a, rest_b, limit - 1));
            let swapped = match (a, b) {
                ([p, q, a @ ..], [r, s, b @ ..]) if p == s && q == r => steps(a, b, limit - 1),
                _ => best,
            };
            1 + best.min(swapped)
        }
    }
}

/// What the help says about a command.
struct Page {
    name: &'static str,
    about: &'static str,
    /// The operand and what it is.
    operand: Option<(&'static str, &'static str)>,
    /// The option that only this command has, and what it does.
    option: Option<(&'static str, &'static str)>,
    example: &'static str,
}

const PAGES: [Page; 7] = [
    Page {
        name: "run",
        about: "Run until a signal: bootstrap, then sessions whenever they are due",
        operand: None,
        option: Some((
            "--trace <FILE>",
            "Record what goes over links and sockets in this file:\nJSON lines, without secrets",
        )),
        example: "run --log debug",
    },
    Page {
        name: "bootstrap",
        about: "Go through the methods of bootstrap once, now",
        operand: None,
        option: None,
        example: "bootstrap --json",
    },
    Page {
        name: "session",
        about: "Open a session now, with one server or with each",
        operand: Some(("[SRV_ID]", "The server's SrvID")),
        option: None,
        example: "session acme",
    },
    Page {
        name: "status",
        about: "Tell accounts, attempts and what comes next",
        operand: None,
        option: None,
        example: "status --json",
    },
    Page {
        name: "tree",
        about: "Show the MO tree, or the part that a ClientURI addresses",
        operand: Some(("[CLIENT_URI]", "What to show")),
        option: None,
        example: "tree urn:oma:mo:oma-dm-devinfo:1.2//",
    },
    Page {
        name: "account",
        about: "Remove an account, or let another source replace it, once",
        operand: Some((
            "<remove|allow> <SRV_ID>",
            "What to do, and the server's SrvID.\n\
             remove: forget the account and what belongs to it. Its card does not\n\
             bring it back while it says the same and another account works.\n\
             allow: the next message from another source may replace the account;\n\
             or a card may bring back what was removed.",
        )),
        option: None,
        example: "account remove acme",
    },
    Page {
        name: "reset",
        about: "Forget accounts, tree and attempts, and begin anew",
        operand: None,
        option: Some(("--yes", "Yes, forget them")),
        example: "reset --yes",
    },
];

impl Page {
    fn help(&self) -> String {
        let operand = self.operand.map(|(form, _)| format!(" {form}")).unwrap_or_default();
        let arguments = self.operand.map(|(form, about)| {
            let about = about.replace('\n', "\n    ");
            let gap = if about.contains('\n') { "\n    " } else { "  " };
            format!("Arguments:\n  {form}{gap}{about}\n\n")
        });
        format!(
            "{}\n\nUsage: omadm-client {} [OPTIONS]{operand}\n\n{}{}\nExample:\n  omadm-client --config {CONFIG} {}\n",
            self.about,
            self.name,
            arguments.unwrap_or_default(),
            options(self.option, false),
            self.example
        )
    }
}

fn overview() -> String {
    let mut commands = String::new();
    for page in &PAGES {
        commands.push_str(&format!("  {:<9}  {}\n", page.name, page.about));
    }
    format!(
        "The OMA DM 2.0 client: library and daemon for the device\n\nUsage: omadm-client [OPTIONS] <COMMAND>\n\n\
         Commands:\n{commands}  help       Print this message or the help of the given subcommand(s)\n\n{}\n\
         Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 nothing to do or not\nbootstrapped, 4 no right or \
         not authenticated.\n\nExample:\n  omadm-client --config {CONFIG} run\n",
        options(None, true)
    )
}

fn options(own: Option<(&str, &str)>, version: bool) -> String {
    let config = format!("The configuration file [default: {CONFIG}]");
    let log = "What to log to stderr, such as `info` or\n`omadm_client=debug` [default: $RUST_LOG, else info]";
    let mut text = "Options:\n".to_owned();
    let shared = [("--config <FILE>", config.as_str())].into_iter().chain(own);
    for (form, about) in shared.chain([("--json", "Print JSON for programs"), ("--log <FILTER>", log)]) {
        text.push_str(&format!("      {form:<15}  {}\n", about.replace('\n', "\n                       ")));
    }
    text.push_str("  -h, --help           Print help\n");
    if version {
        text.push_str("  -V, --version        Print version\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[&str]) -> Result<Asked, String> {
        read(Parser::from_args(words))
    }

    #[test]
    fn options_stand_before_and_behind_the_command() {
        for words in [
            ["--config", "c", "session", "acme", "--json", "--log=debug"],
            ["session", "--log", "debug", "--config=c", "--json", "acme"],
        ] {
            let Asked::Do(cli) = ask(&words).unwrap() else { panic!() };
            assert_eq!((cli.config.to_str(), cli.json, cli.log), (Some("c"), true, Some("debug".parse().unwrap())));
            let Command::Session { srv_id: Some(srv_id) } = cli.command else { panic!() };
            assert_eq!(srv_id.as_str(), "acme");
        }
    }

    #[test]
    fn a_wrong_word_is_named_with_what_may_have_been_meant() {
        for (words, expected) in [
            (&["stauts"][..], "there is no command \"stauts\"; did you mean status?"),
            (&["dance"], "there is no command \"dance\"; see `omadm-client --help`"),
            (&["status", "--jsno"], "there is no option --jsno; did you mean --json?"),
            (&["run", "--trac", "f"], "there is no option --trac; did you mean --trace?"),
            (&["status", "--dance"], "there is no option --dance; see `omadm-client status --help`"),
            (&["status", "--yes"], "--yes is an option of reset and stands behind it; see `omadm-client reset --help`"),
            (&["status", "-x"], "there is no option -x; see `omadm-client status --help`"),
            (&["status", "now"], "now is one word too many; see `omadm-client status --help`"),
            (&["session", "a", "b"], "b is one word too many; see `omadm-client session --help`"),
            (&[], "a command is expected; see `omadm-client --help`"),
            (&["run", "--config"], "missing argument for option '--config'; see `omadm-client --help`"),
            (&["run", "--log", "x=y"], "--log: \"y\": off, error, warn, info, debug or trace is expected"),
            (&["tree", "nonsense"], "CLIENT_URI: "),
            (&["account"], "remove or allow, and a SrvID, are expected; see `omadm-client account --help`"),
            (&["account", "remove"], "remove or allow, and a SrvID, are expected; see"),
            (&["account", "forget", "acme"], "account: remove or allow is expected"),
            (&["account", "allow", "acme", "now"], "now is one word too many; see `omadm-client account --help`"),
            (&["help", "tre"], "there is no command \"tre\"; did you mean tree?"),
        ] {
            let error = ask(words).unwrap_err();
            assert!(error.starts_with(expected), "{words:?}: {error}");
        }
    }

    #[test]
    fn help_and_version_are_told_first() {
        for words in [&["help", "run"][..], &["run", "-h"], &["run", "--help", "--dance"]] {
            let Asked::Tell(text) = ask(words).unwrap() else { panic!("{words:?}") };
            assert!(text.contains("--trace <FILE>"), "{text}");
        }
        let Asked::Tell(text) = ask(&["-V"]).unwrap() else { panic!() };
        assert_eq!(text, format!("omadm-client {}\n", env!("CARGO_PKG_VERSION")));
        let narrow = |text: String| text.lines().all(|line| line.len() <= 80 || line.contains(CONFIG));
        assert!(PAGES.iter().map(Page::help).chain([overview()]).all(narrow));
    }
}
