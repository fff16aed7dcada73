//! The client under test: what a bootstrap, its session and a repeat session take, and how large the program is.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::fleet::{Fleet, SECRET, private_file, profile};
use super::programs::{Programs, Running, output};
use super::table::{Limit, Row, Unit};
use crate::relay::{Passed, Relay};

/// Whether the DM Bootstrap Server and the DM Server are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origins {
    /// One server does both.
    Shared,
    /// A server for each.
    Separate,
}

/// How the device and the server authenticate each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// HTTP Basic, the server by its P-256 certificate.
    Basic,
}

impl Auth {
    /// All of them.
    pub(super) const ALL: [Self; 1] = [Self::Basic];

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
        }
    }
}

/// What one device took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// What the relays counted from the start to the end of the first session.
    pub(super) cold: Passed,
    /// What the client says it counted.
    pub(super) own_round_trips: u64,
    /// The same, in bytes.
    pub(super) own_bytes: u64,
    /// From the start of the program to the end of the first session.
    pub(super) time: Duration,
    /// What the relays counted of a further session.
    pub(super) repeat: Passed,
    /// How long that session took.
    pub(super) repeat_time: Duration,
    /// The most memory that the client held.
    pub(super) memory: u64,
}

/// Lets a new device bootstrap, have its session and another one, all through relays that add `delay` each way.
///
/// # Errors
/// If a program fails, or the device is not managed in the end.
pub(super) fn live(programs: &Programs, folder: &Path, auth: Auth, origins: Origins, delay: Duration) -> Result<Taken> {
    let relays = match origins {
        Origins::Shared => vec![Relay::start(delay)?],
        Origins::Separate => vec![Relay::start(delay)?, Relay::start(delay)?],
    };
    let mut fleets = Vec::new();
    for (number, relay) in relays.iter().enumerate() {
        let fleet = Fleet::start(programs, &folder.join(format!("server{number}")), Some(relay.address()))?;
        relay.lead_to(fleet.device_port()?);
        fleet.add_profile(&profile())?;
        fleets.push(fleet);
    }
    let dev_id = "IMEI:493005100592800";
    let (asked, manager) = (fleets.first().context("a server")?, fleets.last().context("a server")?);
    asked.add_device(dev_id)?;
    if origins == Origins::Separate {
        // The account of the other server is part of the first one's template.
        let message = manager.issue("meters", "for the other server")?;
        asked.add_profile(&json!({
            "name": "elsewhere", "match": {"dev_id": [dev_id]}, "credentials": "none", "message": message}))?;
    }
    let port = relays.first().context("a relay")?.address().port();
    let home = folder.join("device");
    fs::create_dir_all(&home)?;
    configure(&home, dev_id, auth, &format!("https://localhost:{port}/bootstrap"), &asked.data("ca.pem"))?;

    let mut command = Command::new(&programs.client);
    command.arg("--config").arg(home.join("client.toml")).arg("run");
    let mut client = Running::start(&mut command, &home.join("run.log"))?;
    let time = client.until_log_holds("next, at")?;
    let cold = sum(&relays);
    let status = status(programs, &home)?;
    ensure!(status["state"] == "managed", "the device is not managed: {status}\n{}", client.log());
    ensure!(manager.device(dev_id)?["state"] == "managed", "the server does not know it as managed");

    relays.iter().for_each(Relay::reset);
    let start = std::time::Instant::now();
    ask(programs, &home, &["session"])?;
    let repeat_time = start.elapsed();
    let repeat = sum(&relays);
    let memory = client.peak_memory()?;
    client.stop()?;
    for fleet in fleets {
        fleet.stop()?;
    }
    let own = |name: &str| status["last_run"][name].as_u64().with_context(|| format!("no {name} in {status}"));
    let (own_round_trips, own_bytes) = (own("round_trips")?, own("bytes")?);
    Ok(Taken { cold, own_round_trips, own_bytes, time, repeat, repeat_time, memory })
}

fn configure(home: &Path, dev_id: &str, auth: Auth, url: &str, ca: &Path) -> Result<()> {
    let (state, secret) = (home.join("state"), home.join("secret"));
    let login = match auth {
        Auth::Basic => {
            private_file(&secret, SECRET.as_bytes())?;
            format!("auth = \"basic\"\nsecret_file = {secret:?}\n")
        }
    };
    let text = format!(
        "state = {state:?}\ndev_id = \"{dev_id}\"\n[card]\nlink = \"off\"\n[bootstrap]\nurl = \"{url}\"\nca = {ca:?}\n{login}"
    );
    private_file(&home.join("client.toml"), text.as_bytes())
}

fn ask(programs: &Programs, home: &Path, arguments: &[&str]) -> Result<String> {
    output(Command::new(&programs.client).arg("--config").arg(home.join("client.toml")).args(arguments))
}

fn status(programs: &Programs, home: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&ask(programs, home, &["status", "--json"])?)?)
}

fn sum(relays: &[Relay]) -> Passed {
    relays.iter().map(Relay::passed).fold(Passed::default(), |sum, one| Passed {
        connections: sum.connections + one.connections,
        up: sum.up + one.up,
        down: sum.down + one.down,
        round_trips: sum.round_trips + one.round_trips,
    })
}

/// What must hold of bytes, by who authenticates how: of a cold run, and of a repeat session.
fn most_bytes(auth: Auth) -> (Option<f64>, Option<f64>) {
    match auth {
        // The issue bounds pre-shared keys and certificates.
        Auth::Basic => (None, None),
    }
}

/// The measurements as rows of the table.
pub(super) fn rows(auth: Auth, origins: Origins, taken: &[Taken]) -> Vec<Row> {
    let (most_trips, place) = match origins {
        Origins::Separate => (8.0, "two servers"),
        Origins::Shared => (6.0, "one server"),
    };
    let (most_cold, most_repeat) = most_bytes(auth);
    let name = auth.name();
    let row = |what: &str, unit, value: &dyn Fn(&Taken) -> f64, most: Option<f64>| Row {
        ours: taken.iter().map(value).collect(),
        limits: most.map(Limit::AtMost).into_iter().collect(),
        ..Row::new(format!("{name}, {place}: {what}"), unit)
    };
    let mut rows = vec![
        row("round trips, cold", Unit::Count, &|one| one.cold.round_trips as f64, Some(most_trips)),
        row("the same as the client counts", Unit::Count, &|one| one.own_round_trips as f64, Some(most_trips)),
        row("bytes, cold", Unit::KiB, &|one| one.cold.bytes() as f64, most_cold),
        row("the same as the client counts", Unit::KiB, &|one| one.own_bytes as f64, most_cold),
        row("time at 600 ms, cold", Unit::Seconds, &|one| one.time.as_secs_f64(), None),
    ];
    if origins == Origins::Shared {
        rows.extend([
            row("round trips, repeat session", Unit::Count, &|one| one.repeat.round_trips as f64, Some(4.0)),
            row("bytes, repeat session", Unit::KiB, &|one| one.repeat.bytes() as f64, most_repeat),
            row("time at 600 ms, repeat session", Unit::Seconds, &|one| one.repeat_time.as_secs_f64(), None),
        ]);
    }
    rows
}
