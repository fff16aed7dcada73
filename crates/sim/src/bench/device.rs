//! The client under test: what a bootstrap, its session and a repeat session take, and how large the program is.

use anyhow::{Context, Result, ensure};
use omadm_tls::ca::{self, Validity};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::fleet::{Fleet, SECRET, private_file, profile};
use super::programs::{Programs, Running, output};
use super::table::{Limit, Row, Unit};
use crate::relay::{Passed, Relay};

/// Whether the DM Bootstrap Server and the DM Server are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origins {
    /// One server does both.
    Shared,
    /// A server for each.
    Separate,
}

/// How the device and the server authenticate each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// HTTP Basic, the server by its P-256 certificate.
    Basic,
    /// A pre-shared key of TLS.
    Psk,
    /// P-256 certificates both ways.
    X509,
}

impl Auth {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Basic, Self::Psk, Self::X509];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Psk => "PSK",
            Self::X509 => "X.509",
        }
    }

    /// Its name in profiles and configurations.
    fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Psk => "psk",
            Self::X509 => "x509",
        }
    }

    /// The credentials in the message: fresh ones for another server and for Basic. A device that proves itself by TLS
    /// goes on as it came, in the same connection.
    fn given(self, origins: Origins) -> &'static str {
        match (self, origins) {
            (Self::Psk | Self::X509, Origins::Shared) => "none",
            (Self::Psk | Self::X509, Origins::Separate) | (Self::Basic, _) => self.word(),
        }
    }
}

/// What one device took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// What the relays counted from the start to the end of the first session.
    pub cold: Passed,
    /// What the client says it counted.
    pub own_round_trips: u64,
    /// The same, in bytes.
    pub own_bytes: u64,
    /// From the start of the program to the end of the first session.
    pub time: Duration,
    /// What the relays counted of a further session.
    pub repeat: Passed,
    /// How long that session took.
    pub repeat_time: Duration,
    /// The most memory that the client held.
    pub memory: u64,
}

/// Lets a new device bootstrap, have its session and another one, all through relays that add `delay` each way.
///
/// # Errors
/// If a program fails, or the device is not managed in the end.
pub fn live(programs: &Programs, folder: &Path, auth: Auth, origins: Origins, delay: Duration) -> Result<Taken> {
    let relays = match origins {
        Origins::Shared => vec![Relay::start(delay)?],
        Origins::Separate => vec![Relay::start(delay)?, Relay::start(delay)?],
    };
    let mut fleets = Vec::new();
    for (number, relay) in relays.iter().enumerate() {
        let fleet = Fleet::start(programs, &folder.join(format!("server{number}")), Some(relay.address()))?;
        relay.lead_to(fleet.device_port()?);
        fleet.add_profile(&profile(auth.given(origins)))?;
        fleets.push(fleet);
    }
    let dev_id = "IMEI:493005100592800";
    let (asked, manager) = (fleets.first().context("a server")?, fleets.last().context("a server")?);
    let home = folder.join("device");
    fs::create_dir_all(&home)?;
    let means = enrol(asked, &home, dev_id, auth)?;
    if origins == Origins::Separate {
        // The account of the other server is part of the first one's template.
        let message = manager.issue("meters", "for the other server")?;
        asked.add_profile(&json!({
            "name": "elsewhere", "match": {"dev_id": [dev_id]}, "credentials": "none", "message": message}))?;
    }
    let port = relays.first().context("a relay")?.address().port();
    configure(&home, dev_id, &means, &format!("https://localhost:{port}/bootstrap"), &asked.data("ca.pem"))?;

    let mut command = Command::new(&programs.client);
    command.arg("--config").arg(home.join("client.toml")).arg("run");
    let mut client = Running::start(&mut command, &home.join("run.log"))?;
    let time = client.until_log_holds("next, at")?;
    let cold = sum(&relays);
    let status = status(programs, &home)?;
    ensure!(status["state"] == "managed", "the device is not managed: {status}\n{}", client.log());
    ensure!(manager.device(dev_id)?["state"] == "managed", "the server does not know it as managed");

    relays.iter().for_each(Relay::reset);
    let start = Instant::now();
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

/// Makes the device known; gives the lines of its configuration that say how it proves itself.
fn enrol(fleet: &Fleet, home: &Path, dev_id: &str, auth: Auth) -> Result<String> {
    let (secret, cert, key) = (home.join("secret"), home.join("cert.pem"), home.join("key.pem"));
    let means = match auth {
        Auth::Basic => {
            fleet.add_device(dev_id)?;
            private_file(&secret, SECRET.as_bytes())?;
            format!("secret_file = {secret:?}\n")
        }
        Auth::Psk => {
            const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
            fleet.enrol(&json!({"dev_id": dev_id, "psk": {"key": KEY}}))?;
            private_file(&secret, KEY.as_bytes())?;
            format!("secret_file = {secret:?}\n")
        }
        Auth::X509 => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
            let maker = ca::make("Maker of devices", Validity::of_ca(now))?;
            let issued = ca::issue_device(&maker, dev_id, Validity::of_device(now))?;
            fleet.enrol(&json!({"dev_id": dev_id, "cert": issued.certificate}))?;
            private_file(&cert, issued.certificate.as_bytes())?;
            private_file(&key, issued.key.as_bytes())?;
            format!("cert = {cert:?}\nkey = {key:?}\n")
        }
    };
    Ok(format!("auth = \"{}\"\n{means}", auth.word()))
}

fn configure(home: &Path, dev_id: &str, means: &str, url: &str, ca: &Path) -> Result<()> {
    let state = home.join("state");
    let text = format!(
        "state = {state:?}\ndev_id = \"{dev_id}\"\n[card]\nlink = \"off\"\n[bootstrap]\nurl = \"{url}\"\nca = {ca:?}\n{means}"
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

/// What a device may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// Round trips of a cold bootstrap and session.
    pub cold_round_trips: u64,
    /// Round trips of a repeat session.
    pub repeat_round_trips: u64,
    /// Bytes of a cold bootstrap and session.
    pub cold_bytes: u64,
    /// Bytes of a repeat session.
    pub repeat_bytes: u64,
}

/// What must hold, by who authenticates how at how many servers. HTTP Basic, the server by its certificate, is bounded as
/// certificates both ways are.
pub fn most(auth: Auth, origins: Origins) -> Most {
    let cold_round_trips = match origins {
        Origins::Separate => 8,
        Origins::Shared => 6,
    };
    let cold_bytes = match auth {
        Auth::Psk => 6 * 1024,
        Auth::Basic | Auth::X509 => 10 * 1024,
    };
    Most { cold_round_trips, repeat_round_trips: 4, cold_bytes, repeat_bytes: 3 * 1024 }
}

/// The measurements as rows of the table.
pub(super) fn rows(auth: Auth, origins: Origins, taken: &[Taken]) -> Vec<Row> {
    let place = match origins {
        Origins::Separate => "two servers",
        Origins::Shared => "one server",
    };
    let (name, most) = (auth.name(), most(auth, origins));
    let row = |what: &str, unit, value: &dyn Fn(&Taken) -> f64, most: Option<u64>| Row {
        ours: taken.iter().map(value).collect(),
        limits: most.map(|most| Limit::AtMost(most as f64)).into_iter().collect(),
        ..Row::new(format!("{name}, {place}: {what}"), unit)
    };
    let (trips, bytes) = (Some(most.cold_round_trips), Some(most.cold_bytes));
    let mut rows = vec![
        row("round trips, cold", Unit::Count, &|one| one.cold.round_trips as f64, trips),
        row("the same as the client counts", Unit::Count, &|one| one.own_round_trips as f64, trips),
        row("bytes, cold", Unit::KiB, &|one| one.cold.bytes() as f64, bytes),
        row("the same as the client counts", Unit::KiB, &|one| one.own_bytes as f64, bytes),
        row("time at 600 ms, cold", Unit::Seconds, &|one| one.time.as_secs_f64(), None),
    ];
    let (trips, bytes) = (Some(most.repeat_round_trips), Some(most.repeat_bytes));
    rows.extend([
        row("round trips, repeat session", Unit::Count, &|one| one.repeat.round_trips as f64, trips),
        row("bytes, repeat session", Unit::KiB, &|one| one.repeat.bytes() as f64, bytes),
        row("time at 600 ms, repeat session", Unit::Seconds, &|one| one.repeat_time.as_secs_f64(), None),
    ]);
    rows
}
