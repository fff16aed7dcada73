//! `omadm-sim bench`: the real programs measured beside their references, everything twice and in turn, in one table.

pub mod device;
mod fleet;
mod load;
mod nginx;
mod programs;
mod reference;
mod report;
mod table;

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use programs::Programs;

use device::{Auth, Origins, Taken};
use fleet::{Fleet, profile};
use load::{DEVICES, Rate, Way};
use nginx::Nginx;
use reference::Reference;
use table::{Limit, Row, Unit};

/// How long bytes travel one way on the slow network: 600 ms there and back.
const SLOW: Duration = Duration::from_millis(300);
/// How often everything is measured.
const ROUNDS: usize = 2;
/// Requests before what counts.
const WARM_UP: Duration = Duration::from_secs(2);

const USAGE: &str = "usage: omadm-sim bench [--seconds N] [--write FILE] [--only server|client]";

/// What is to be measured.
struct Options {
    /// How long each load lasts.
    time: Duration,
    /// Where the report goes, beside standard output.
    write: Option<PathBuf>,
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Server,
    Client,
}

/// Measures, prints the table and writes the report.
///
/// # Errors
/// If the arguments are not understood, a program is missing or fails, or an answer is not as expected. Numbers that do
/// not hold are no error: they are shown.
pub fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::parse(arguments)?;
    let programs = Programs::find()?;
    let folder = tempfile::Builder::new().prefix("omadm-b").tempdir_in("/tmp").context("no folder in /tmp")?;
    let mut rows = Vec::new();
    if options.only != Some(Part::Server) {
        rows.extend(client(&programs, &folder.path().join("client"))?);
    }
    if options.only != Some(Part::Client) {
        rows.extend(server(&programs, &folder.path().join("server"), options.time)?);
    }
    report::print(&rows)?;
    if let Some(path) = options.write {
        fs::write(&path, report::document(&rows, options.time)?).with_context(|| format!("cannot write {path:?}"))?;
    }
    Ok(())
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { time: Duration::from_secs(8), write: None, only: None };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{argument}: a value is missing; {USAGE}"))?;
            match argument.as_str() {
                "--seconds" => options.time = Duration::from_secs(value.parse().context(USAGE)?),
                "--write" => options.write = Some(value.into()),
                "--only" if value == "server" => options.only = Some(Part::Server),
                "--only" if value == "client" => options.only = Some(Part::Client),
                _ => bail!("{argument} {value}: not understood; {USAGE}"),
            }
        }
        Ok(options)
    }
}

/// The client's size and memory, its round trips, bytes and time.
fn client(programs: &Programs, folder: &Path) -> Result<Vec<Row>> {
    fs::create_dir_all(folder)?;
    let reference = Reference::compile(folder)?;
    let mut memory = Row::new("client: peak memory, against a C program", Unit::Megabytes);
    memory.limits = vec![Limit::AtMost(11e6), Limit::TimesAtMost(1.5)];
    let mut scenes = Vec::new();
    for auth in Auth::ALL {
        scenes.extend([(auth, Origins::Separate), (auth, Origins::Shared)]);
    }
    let mut taken: Vec<Vec<Taken>> = vec![Vec::new(); scenes.len()];
    for round in 0..ROUNDS {
        for (number, ((auth, origins), results)) in scenes.iter().zip(&mut taken).enumerate() {
            let folder = folder.join(format!("{round}-{number}"));
            let result = device::live(programs, &folder, *auth, *origins, SLOW)?;
            if number == 0 {
                memory.ours.push(result.memory as f64);
                memory.reference.push(reference.peak_memory(programs, &folder.join("reference"))? as f64);
            }
            results.push(result);
        }
    }
    let mut size = Row::new("client: the program, stripped", Unit::Megabytes);
    size.ours = vec![fs::metadata(&programs.client)?.len() as f64];
    size.limits = vec![Limit::AtMost(1.3e6)];
    let mut rows = vec![size, memory];
    for ((auth, origins), results) in scenes.iter().zip(&taken) {
        rows.extend(device::rows(*auth, *origins, results));
    }
    Ok(rows)
}

/// The server beside nginx.
fn server(programs: &Programs, folder: &Path, time: Duration) -> Result<Vec<Row>> {
    fs::create_dir_all(folder)?;
    let fleet = Fleet::start(programs, folder, None)?;
    fleet.add_profile(&profile("basic"))?;
    for number in 0..DEVICES {
        fleet.add_device(&load::dev_id(number))?;
    }
    let body = load::one(fleet.plain_port()?)?;
    let nginx = Nginx::start(&folder.join("nginx"), &body, &fleet.data("server.pem"), &fleet.data("server.key"))?;
    let mut rows = Vec::new();
    for way in Way::ALL {
        let (our_port, its_port) = match way {
            Way::Http => (fleet.plain_port()?, nginx.plain),
            Way::Https | Way::NewTls => (fleet.device_port()?, nginx.tls),
        };
        let ours = |time| load::run(fleet.process(), our_port, way, time, folder);
        let reference = |time| load::run(nginx.process(), its_port, way, time, folder);
        ours(WARM_UP)?;
        reference(WARM_UP)?;
        let (mut our_rates, mut its_rates): (Vec<Rate>, Vec<Rate>) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_rates.push(ours(time)?);
            its_rates.push(reference(time)?);
        }
        rows.extend(load::rows(way, &our_rates, &its_rates));
    }
    nginx.stop()?;
    fleet.stop()?;
    Ok(rows)
}
