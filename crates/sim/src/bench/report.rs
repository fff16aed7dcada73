//! The report: printed, and as `docs/benchmarks.md`.

use anyhow::Result;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use super::load::{CONNECTIONS, DEVICES};
use super::table::{Row, markdown};

/// Prints the table.
///
/// # Errors
/// If it cannot be printed.
pub(super) fn print(rows: &[Row]) -> Result<()> {
    Ok(std::io::stdout().write_all(markdown(rows).as_bytes())?)
}

/// The document: method, machine, versions, table, and what each number means.
///
/// # Errors
/// If the machine cannot be asked.
pub(super) fn document(rows: &[Row], time: Duration) -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let (openssl, nginx) = (version("openssl", "version"), version("nginx", "-v"));
    let (wrk, cc) = (version("wrk", "-v"), version("cc", "--version"));
    let open: Vec<&str> = rows.iter().filter(|row| !row.holds()).map(|row| row.what.as_str()).collect();
    let verdict = if open.is_empty() {
        "Everything that must hold holds.".to_owned()
    } else {
        format!("Does not hold: {}.", open.join("; "))
    };
    Ok(format!(
        include_str!("report.md"),
        cores = cores,
        openssl = openssl,
        nginx = nginx,
        wrk = wrk,
        cc = cc,
        seconds = time.as_secs(),
        connections = CONNECTIONS,
        devices = DEVICES,
        table = markdown(rows),
        verdict = verdict,
    ))
}

/// The first line in which a program tells its version, on whichever output.
fn version(program: &str, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return format!("{program}: not there") };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    // Behind it wrk tells who made it.
    line.split(" Copyright").next().unwrap_or_default().trim().to_owned()
}
