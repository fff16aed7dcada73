//! What the commands do.

use crate::args::{AccountAction, Asked, Cli, Command};
use crate::log::{self, Filter};
use omadm_client::client::{Client, OpenError};
use omadm_client::clock;
use omadm_client::config::Config;
use omadm_client::control::{AskError, Order, Reply, ask, socket_path};
use omadm_client::daemon;
use omadm_client::device;
use omadm_client::exit::Exit;
use omadm_client::report::{self, Look};
use omadm_client::schedule::Schedule;
use omadm_client::state::{LockError, State};
use omadm_client::status::{Stage, Status};
use omadm_client::trace::Trace;
use omadm_client::wait::Stop;
use omadm_core::mo::Definitions;
use omadm_core::uri::ClientUri;
use rustix::fs::Access;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// How long a running client may take for an order.
const ORDER_LIMIT: Duration = Duration::from_secs(45 * 60);

/// How long a running client may take to tell its status.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// What to print, and how it ended.
type Told = (Exit, String);

/// A failure: its exit code and its sentence.
type Failure = (Exit, String);

pub(crate) fn main(asked: Result<Asked, String>) -> Exit {
    let told = match asked {
        Err(sentence) => Err((Exit::Usage, sentence)),
        Ok(Asked::Tell(text)) => Ok((Exit::Done, text)),
        Ok(Asked::Do(cli)) => {
            log::start(cli.log.clone().unwrap_or_else(usual_log));
            command(&cli)
        }
    };
    match told {
        Ok((exit, text)) => {
            // Who reads may have gone.
            let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
            exit
        }
        Err((exit, sentence)) => fail(exit, &sentence),
    }
}

fn fail(exit: Exit, sentence: &str) -> Exit {
    let _ = writeln!(io::stderr(), "omadm-client: {sentence}");
    exit
}

/// What is logged if the command line does not say.
fn usual_log() -> Filter {
    std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok()).unwrap_or_default()
}

fn command(cli: &Cli) -> Result<Told, Failure> {
    let config = Config::load(&cli.config).map_err(|error| (Exit::Usage, error.to_string()))?;
    let stop = Stop::new().map_err(|error| (Exit::Failed, error.to_string()))?;
    stop.on_signals().map_err(|error| (Exit::Failed, error.to_string()))?;
    match &cli.command {
        Command::Run { trace } => run(config, trace.as_deref(), &stop),
        Command::Bootstrap => order(cli, config, &stop, &Order::Bootstrap {}),
        Command::Session { srv_id } => order(cli, config, &stop, &Order::Session { srv_id: srv_id.clone() }),
        Command::Status => status(cli, &config, &stop),
        Command::Tree { client_uri } => tree(cli, &config, client_uri.as_ref()),
        Command::Account { action, srv_id } => {
            let srv_id = srv_id.clone();
            let asked = match action {
                AccountAction::Remove => Order::AccountRemove { srv_id },
                AccountAction::Allow => Order::AccountAllow { srv_id },
            };
            order(cli, config, &stop, &asked)
        }
        Command::Reset { yes: true } => order(cli, config, &stop, &Order::Reset {}),
        Command::Reset { yes: false } => {
            Err((Exit::Usage, "reset forgets accounts, tree and attempts; say so with --yes".to_owned()))
        }
    }
}

fn run(config: Config, trace: Option<&Path>, stop: &Stop) -> Result<Told, Failure> {
    let mut client = Client::open(config, stop).map_err(|error| (Exit::Failed, error.to_string()))?;
    if let Some(path) = trace {
        let trace = Trace::to_file(path).map_err(|error| (Exit::Failed, format!("{}: {error}", path.display())))?;
        client.record(trace);
    }
    daemon::run(client, stop).map_err(|error| (Exit::Failed, error.to_string()))?;
    Ok((Exit::Done, String::new()))
}

/// Gives the order to the client that runs, or carries it out here if none does.
fn order(cli: &Cli, config: Config, stop: &Stop, order: &Order) -> Result<Told, Failure> {
    let socket = socket_path(&config.state);
    let reply = match ask(&socket, order, ORDER_LIMIT, stop) {
        Ok(reply) => reply,
        Err(error @ AskError::NoReply(_)) => return Err((Exit::Failed, error.to_string())),
        Err(AskError::NotRunning) => {
            let mut client = Client::open(config, stop).map_err(open_failure)?;
            // What could not be kept is not begun; a reset mends some of what is wrong.
            if let (Some(trouble), false) = (client.storage_trouble(), matches!(order, Order::Reset {})) {
                return Err((Exit::Failed, trouble.to_owned()));
            }
            let reply = Schedule::new().order(&mut client, order);
            let reply = reply.map_err(|stopped| (Exit::Failed, stopped.to_string()))?;
            client.keep_session_notes();
            match client.storage_trouble() {
                Some(trouble) => return Err((Exit::Failed, trouble.to_owned())),
                None => reply,
            }
        }
    };
    tell(cli, order, reply)
}

fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::Lock(LockError::Held(_)) => {
            (Exit::Failed, format!("{error}, but does not answer at its control socket"))
        }
        OpenError::Lock(LockError::Io { .. }) | OpenError::State(_) | OpenError::Folder { .. } | OpenError::Tree(_) => {
            (Exit::Failed, error.to_string())
        }
    }
}

fn tell(cli: &Cli, order: &Order, reply: Reply) -> Result<Told, Failure> {
    if let Value::String(sentence) = reply.result {
        return Err((reply.exit, sentence));
    }
    if cli.json {
        return Ok((reply.exit, json_line(&reply.result)));
    }
    let unreadable = |error: serde_json::Error| (Exit::Failed, format!("the reply is not readable: {error}"));
    let text = match order {
        Order::Status {} => report::status(&serde_json::from_value(reply.result).map_err(unreadable)?, look()),
        Order::Bootstrap {} => report::bootstrap(&serde_json::from_value(reply.result).map_err(unreadable)?, look()),
        Order::Session { .. } => report::sessions(&serde_json::from_value(reply.result).map_err(unreadable)?, look()),
        Order::AccountRemove { srv_id } if reply.result["begins_anew"] == true => format!(
            "{srv_id} is removed; no other account can be relied on, so all methods are tried again, and may bring it back\n"
        ),
        Order::AccountRemove { srv_id } => format!("{srv_id} is removed\n"),
        Order::AccountAllow { srv_id } => format!("the next message from another source may bring {srv_id}, once\n"),
        Order::Reset {} => "all is forgotten; the device begins anew\n".to_owned(),
    };
    Ok((reply.exit, text))
}

/// The status of the client that runs, else what its state file tells.
fn status(cli: &Cli, config: &Config, stop: &Stop) -> Result<Told, Failure> {
    let status: Status = match ask(&socket_path(&config.state), &Order::Status {}, STATUS_LIMIT, stop) {
        Ok(reply) => serde_json::from_value(reply.result)
            .map_err(|error| (Exit::Failed, format!("the reply is not readable: {error}")))?,
        Err(AskError::NotRunning) => of_file(config)?,
        Err(AskError::NoReply(why)) => {
            tracing::warn!("the running client did not reply ({why}); this is what its state file tells");
            of_file(config)?
        }
    };
    let exit = match status.state {
        Stage::Managed | Stage::Bootstrapped => Exit::Done,
        Stage::Waiting | Stage::Unconfigured => Exit::Nothing,
    };
    if cli.json {
        let value = serde_json::to_value(&status).map_err(|error| (Exit::Failed, error.to_string()))?;
        return Ok((exit, json_line(&value)));
    }
    Ok((exit, report::status(&status, look())))
}

/// What the state file tells. Where nothing can be written there may be a client that runs and cannot be asked.
fn of_file(config: &Config) -> Result<Status, Failure> {
    let mut status = Status::of(config, &read_state(config)?);
    let folder = config.state.parent().filter(|folder| folder.is_dir());
    if let Some(folder) = folder
        && let Err(error) = rustix::fs::access(folder, Access::WRITE_OK)
    {
        let folder = folder.display();
        status.storage = Some(format!(
            "nothing can be written in {folder}: {error}; a client that runs keeps what changes in memory, and cannot be asked"
        ));
    }
    Ok(status)
}

fn read_state(config: &Config) -> Result<State, Failure> {
    match Client::peek(config).map_err(open_failure)? {
        Ok(state) => Ok(state),
        Err(damage) => {
            let path = config.state.display();
            Err((
                Exit::Failed,
                format!("the state file {path} is damaged: {damage}; `run` puts it aside and begins anew"),
            ))
        }
    }
}

fn tree(cli: &Cli, config: &Config, client_uri: Option<&ClientUri>) -> Result<Told, Failure> {
    let mut state = read_state(config)?;
    let definitions = device::definitions(config);
    device::refresh(&mut state.tree, &definitions, &config.device, &state.accounts)
        .map_err(|error| (Exit::Failed, error.to_string()))?;
    let items = match client_uri {
        None => whole_tree(&state, &definitions),
        Some(uri) => {
            let read = state.tree.get_local(&definitions, uri);
            read.map_err(|status| (Exit::Nothing, format!("{uri}: {}", in_words(status.0))))?.items
        }
    };
    let values: Result<Vec<_>, _> = items.iter().map(serde_json::to_value).collect();
    let values = values.map_err(|error| (Exit::Failed, error.to_string()))?;
    if cli.json {
        return Ok((Exit::Done, json_line(&Value::Array(values))));
    }
    Ok((Exit::Done, report::tree(&values, look())))
}

/// Every instance, as far as it may be read.
fn whole_tree(state: &State, definitions: &Definitions) -> Vec<omadm_core::mo::SerializedMo> {
    let roots = state.tree.iter().map(|(moid, miid, _)| ClientUri::of_root(moid, miid));
    roots.filter_map(|uri| state.tree.get_local(definitions, &uri).ok()).flat_map(|read| read.items).collect()
}

/// What a status code means for a person who asked for a node.
fn in_words(status: u16) -> &'static str {
    match status {
        204 => "the node has no value now",
        400 => "not a ClientURI that can be read",
        404 => "there is no such node",
        405 => "the node cannot be read",
        409 => "several nodes are meant; name the instance",
        _ => "the node cannot be shown",
    }
}

fn look() -> Look {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Look { colour, now: clock::at_start() }
}

fn json_line(value: &Value) -> String {
    format!("{value}\n")
}
