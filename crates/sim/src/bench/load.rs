//! Requests by the thousand: `wrk`, the same for both servers.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::fleet::SECRET;
use super::programs::{Running, output};
use super::table::{Limit, Row, Unit};

/// Connections at the same time.
pub(super) const CONNECTIONS: u32 = 512;
/// Threads of `wrk`.
const THREADS: u32 = 2;
/// Devices that ask in turn.
pub(super) const DEVICES: u32 = 512;

/// How the requests reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP, connections kept.
    Http,
    /// HTTPS, connections kept.
    Https,
    /// HTTPS, a connection for each request.
    NewTls,
}

impl Way {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Https, Self::NewTls];

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP, kept alive",
            Self::Https => "HTTPS, kept alive",
            Self::NewTls => "HTTPS, new connection each",
        }
    }
}

/// What a run of `wrk` showed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    /// Answers in a second.
    pub(super) per_second: f64,
    /// Processor time of the server for each of them, in microseconds.
    pub(super) cpu: f64,
}

/// The DevID of a device, a number below [`DEVICES`].
pub(super) fn dev_id(number: u32) -> String {
    format!("IMEI:49300510{number:07}")
}

/// An Authorization header.
pub(super) fn basic(dev_id: &str, secret: &str) -> String {
    // The user that a device has by default is its DevID, percent-encoded (Profile P-38).
    let user = dev_id.replace(':', "%3A");
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}")))
}

/// Asks a server for Bootstrap Messages for so long, and reads what that cost the process.
///
/// # Errors
/// If a request fails, or is answered with another status than 200.
pub(super) fn run(server: &Running, address: SocketAddr, way: Way, time: Duration, folder: &Path) -> Result<Rate> {
    let script = script(folder, way)?;
    let scheme = if way == Way::Http { "http" } else { "https" };
    let url = format!("{scheme}://localhost:{}/bootstrap", address.port());
    let before = server.cpu()?;
    let mut command = Command::new("wrk");
    command.args([
        format!("-t{THREADS}"),
        format!("-c{CONNECTIONS}"),
        format!("-d{}s", time.as_secs()),
        "-s".to_owned(),
    ]);
    let text = output(command.arg(script).arg(url))?;
    let cpu = server.cpu()?.saturating_sub(before);
    let told = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).with_context(|| format!("wrk does not tell {name}\n{text}"))
    };
    let (answers, micros, failures) = (told("answers")?, told("micros")?, told("failures")?);
    ensure!(failures == 0.0 && answers > 0.0, "not every request was answered with 200:\n{text}");
    Ok(Rate { per_second: answers / (micros / 1e6), cpu: cpu.as_secs_f64() * 1e6 / answers })
}

/// One Bootstrap Message.
///
/// # Errors
/// If there is none.
pub(super) fn one(address: SocketAddr) -> Result<Vec<u8>> {
    let request = ureq::get(format!("http://localhost:{}/bootstrap", address.port()));
    let mut answer = request.header("Authorization", basic(&dev_id(0), SECRET)).call()?;
    Ok(answer.body_mut().read_to_vec()?)
}

/// The measurements as rows of the table.
pub(super) fn rows(way: Way, ours: &[Rate], reference: &[Rate]) -> [Row; 2] {
    let name = way.name();
    let row = |what: &str, unit, value: &dyn Fn(&Rate) -> f64, limit: Option<Limit>| Row {
        ours: ours.iter().map(value).collect(),
        reference: reference.iter().map(value).collect(),
        limits: limit.into_iter().collect(),
        ..Row::new(format!("server, {name}: {what}"), unit)
    };
    let (least_rate, most_cpu) = match way {
        Way::Http => (None, Some(Limit::TimesAtMost(4.0))),
        Way::Https => (Some(Limit::TimesAtLeast(0.35)), None),
        Way::NewTls => (Some(Limit::TimesAtLeast(0.85)), None),
    };
    [
        row("bootstraps, against nginx", Unit::PerSecond, &|rate| rate.per_second, least_rate),
        row("processor time of each, against nginx", Unit::Micros, &|rate| rate.cpu, most_cpu),
    ]
}

/// Each request as one of the devices, in turn.
fn script(folder: &Path, way: Way) -> Result<PathBuf> {
    let mut text = "local asked = {}\n".to_owned();
    let close = if way == Way::NewTls { "Connection: close\\r\\n" } else { "" };
    for number in 0..DEVICES {
        let (dev_id, authorization) = (dev_id(number), basic(&dev_id(number), SECRET));
        writeln!(
            text,
            "asked[{}] = 'GET /bootstrap HTTP/1.1\\r\\nHost: localhost\\r\\n{close}OMADM-DevID: {dev_id}\\r\\n\
             Authorization: {authorization}\\r\\nAccept: application/vnd.oma.dm.bootstrap+json\\r\\n\
             User-Agent: omadm-client/0.1.0\\r\\n\\r\\n'",
            number + 1
        )?;
    }
    writeln!(
        text,
        "local next = math.random({DEVICES})
request = function() next = next % {DEVICES} + 1; return asked[next] end
done = function(summary)
  local e = summary.errors
  print('answers', summary.requests)
  print('micros', summary.duration)
  print('failures', e.connect + e.read + e.write + e.status + e.timeout)
end"
    )?;
    let path = folder.join(if way == Way::NewTls { "close.lua" } else { "keep.lua" });
    std::fs::write(&path, text)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorization_is_that_of_the_core() {
        let dev_id = dev_id(7);
        let user = omadm_core::web::default_user(&dev_id.parse().unwrap());
        let core = omadm_core::web::Basic::new(user, omadm_core::secret::Secret::from(SECRET)).unwrap();
        assert_eq!(basic(&dev_id, SECRET).as_bytes(), core.header_value().expose());
    }
}
