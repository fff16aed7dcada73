//! The command line.

use clap::{Parser, Subcommand};
use omadm_client::client::{Client, OpenError};
use omadm_client::clock;
use omadm_client::config::Config;
use omadm_client::control::{AskError, Order, Reply, ask, socket_path};
use omadm_client::daemon;
use omadm_client::device;
use omadm_client::exit::Exit;
use omadm_client::orders;
use omadm_client::report::{self, Look};
use omadm_client::state::{LockError, State};
use omadm_client::status::{Stage, Status};
use omadm_client::trace::Trace;
use omadm_client::wait::Stop;
use omadm_core::ids::SrvId;
use omadm_core::mo::Definitions;
use omadm_core::uri::ClientUri;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How long a running client may take for an order.
const ORDER_LIMIT: Duration = Duration::from_secs(45 * 60);

/// How long a running client may take to tell its status.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// The OMA DM 2.0 client of a device.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 nothing to do or not \
bootstrapped, 4 no right or not authenticated.\n\nExample:\n  omadm-client --config /etc/omadm/client.toml run"
)]
pub(crate) struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/omadm/client.toml")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long, global = true)]
    json: bool,
    /// What to log to stderr, such as `info` or `omadm_client=debug` [default: $RUST_LOG, else info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until a signal: bootstrap, then sessions whenever they are due
    #[command(after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml run --log debug")]
    Run {
        /// Record what goes over links and sockets in this file: JSON lines, without secrets
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
    },
    /// Go through the methods of bootstrap once, now
    #[command(after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml bootstrap --json")]
    Bootstrap,
    /// Open a session now, with one server or with each
    #[command(after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml session acme")]
    Session {
        /// The server's SrvID
        srv_id: Option<SrvId>,
    },
    /// Tell accounts, attempts and what comes next
    #[command(after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml status --json")]
    Status,
    /// Show the MO tree, or the part that a ClientURI addresses
    #[command(
        after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml tree urn:oma:mo:oma-dm-devinfo:1.2//"
    )]
    Tree {
        /// What to show
        client_uri: Option<ClientUri>,
    },
    /// Forget accounts, tree and attempts, and begin anew
    #[command(after_help = "Example:\n  omadm-client --config /etc/omadm/client.toml reset --yes")]
    Reset {
        /// Yes, forget them
        #[arg(long)]
        yes: bool,
    },
}

/// What to print, and how it ended.
type Told = (Exit, String);

/// A failure: its exit code and its sentence.
type Failure = (Exit, String);

pub(crate) fn main(cli: Cli) -> Exit {
    if let Err(error) = start_log(&cli) {
        return fail(Exit::Usage, &error);
    }
    match command(&cli) {
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

fn start_log(cli: &Cli) -> Result<(), String> {
    let filter = match &cli.log {
        Some(filter) => filter.parse::<Targets>().map_err(|error| format!("--log: {error}"))?,
        None => {
            let wish = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
            wish.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
        }
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
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
            let opened = match order {
                // Also where the state cannot be read.
                Order::Reset {} => Client::begin_anew(config, stop),
                Order::Status {} | Order::Session { .. } | Order::Bootstrap {} => Client::open(config, stop),
            };
            let mut client = opened.map_err(open_failure)?;
            orders::carry_out(&mut client, order).map_err(|stopped| (Exit::Failed, stopped.to_string()))?
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
        Order::Reset {} => "all is forgotten; the device begins anew\n".to_owned(),
    };
    Ok((reply.exit, text))
}

/// The status of the client that runs, else what its state file tells.
fn status(cli: &Cli, config: &Config, stop: &Stop) -> Result<Told, Failure> {
    let status: Status = match ask(&socket_path(&config.state), &Order::Status {}, STATUS_LIMIT, stop) {
        Ok(reply) => serde_json::from_value(reply.result)
            .map_err(|error| (Exit::Failed, format!("the reply is not readable: {error}")))?,
        Err(AskError::NotRunning) => Status::of(config, &read_state(config)?),
        Err(AskError::NoReply(why)) => {
            tracing::warn!("the running client did not reply ({why}); this is what its state file tells");
            Status::of(config, &read_state(config)?)
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
