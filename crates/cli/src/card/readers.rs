//! `omadm card readers`: the ways to a card, what was found on each, and why there is nothing where there is nothing.

use omadm_card::link::LinkError;
use omadm_card::link::exec::ExecLink;
use omadm_card::link::vpcd::Address;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

use super::source;
use crate::args::{Link, Listing};
use crate::failure::Failure;
use crate::output::{self, Output, Style};

/// How long one executable or modem may take for an answer.
const LIMIT: Duration = Duration::from_secs(5);

/// One way, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Way {
    /// The reader's name, the path of a port or socket, or the command; `PC/SC` where there is no reader.
    name: String,
    /// There is a card.
    card: bool,
    /// Which kind of link, as in the configuration of omadm-client.
    link: &'static str,
    /// Which card, where the link tells that.
    iccid: Option<String>,
    /// Why there is no card, or why that is not known.
    why: Option<String>,
}

impl Way {
    fn with_card(link: &'static str, name: impl Into<String>, iccid: Option<String>) -> Self {
        Self { name: name.into(), card: true, link, iccid, why: None }
    }

    fn without(link: &'static str, name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), card: false, link, iccid: None, why: Some(why.into()) }
    }
}

/// Lists the readers and ports of this machine, and these links.
pub(super) fn list(links: &[Link], listing: Listing) -> Result<(), Failure> {
    let mut ways = readers();
    ways.extend(ports());
    for link in links {
        ways.extend(named(link));
    }
    if listing.json {
        return output::json(&ways);
    }
    let paint = Output::stdout();
    let mut table = paint.table(&["link", "name", "card", "remark"]);
    for way in ways {
        let card = if way.card { paint.cell(Style::Good, "yes") } else { paint.cell(Style::Dim, "no") };
        let remark = way.why.or(way.iccid.map(|iccid| format!("ICCID {iccid}"))).unwrap_or_default();
        table.add_row([paint.cell(Style::Dim, way.link), paint.cell(Style::Bold, way.name), card, remark.into()]);
    }
    output::say(table.trim_fmt())
}

/// The PC/SC readers, or why there is none.
#[cfg(feature = "pcsc")]
fn readers() -> Vec<Way> {
    let way = |reader: omadm_card::link::pcsc::Reader| match reader.card {
        true => Way::with_card("pcsc", reader.name, None),
        false => Way::without("pcsc", reader.name, "the reader is empty"),
    };
    match omadm_card::link::pcsc::readers() {
        Ok(readers) if readers.is_empty() => vec![Way::without("pcsc", "PC/SC", "no PC/SC reader is plugged in")],
        Ok(readers) => readers.into_iter().map(way).collect(),
        Err(error) => vec![Way::without("pcsc", "PC/SC", format!("{}; start the PC/SC service: pcscd", why(error)))],
    }
}

#[cfg(not(feature = "pcsc"))]
fn readers() -> Vec<Way> {
    vec![Way::without("pcsc", "PC/SC", "this omadm was built without the feature `pcsc`")]
}

/// The ports that look like those of modems.
#[cfg(feature = "serial")]
fn ports() -> Vec<Way> {
    let way = |port: omadm_card::link::ports::FoundPort| match port.why_not {
        Some(why) => Way::without("at", port.path.display().to_string(), why),
        None => modem(&port.path),
    };
    omadm_card::link::ports::ports().into_iter().map(way).collect()
}

#[cfg(not(feature = "serial"))]
fn ports() -> Vec<Way> {
    Vec::new()
}

/// The links that were named; readers and ports are listed anyway.
fn named(link: &Link) -> Option<Way> {
    match link {
        Link::Auto | Link::Pcsc => None,
        Link::At(path) => Some(modem(path)),
        Link::Exec(command) => Some(executable(command)),
        Link::Socket(path) => {
            let name = path.display().to_string();
            Some(match Address::from(path.as_path()).connect() {
                Ok(_) => Way::with_card("socket", name, None),
                Err(error) => Way::without("socket", &name, format!("no card is behind {name}: {error}")),
            })
        }
        Link::File(path) => {
            let name = path.display().to_string();
            Some(match source::image(path) {
                Ok(_) => Way::with_card("file", name, None),
                Err(failure) => Way::without("file", name, failure.to_string()),
            })
        }
    }
}

fn executable(command: &[String]) -> Way {
    let name = command.join(" ");
    match ExecLink::status_of(command, LIMIT, Duration::ZERO, output::aside) {
        Ok(status) if status.card => Way::with_card("exec", name, status.iccid.map(|iccid| iccid.to_string())),
        Ok(status) => Way::without("exec", name, status.why.unwrap_or_else(|| "the slot is empty".to_owned())),
        Err(error) => Way::without("exec", name, why(error)),
    }
}

#[cfg(feature = "serial")]
fn modem(path: &Path) -> Way {
    use omadm_card::link::at::Presence;
    use omadm_card::link::serial;
    let name = path.display().to_string();
    match serial::presence(path, LIMIT) {
        Ok(Some(Presence::Card(iccid))) => Way::with_card("at", name, Some(iccid.to_string())),
        Ok(Some(Presence::Empty)) => Way::without("at", name, "the modem has no SIM"),
        Ok(None) => Way::without("at", name, "a modem answers, and does not say whether it has a SIM"),
        Err(error) => Way::without("at", name, why(error)),
    }
}

#[cfg(not(feature = "serial"))]
fn modem(path: &Path) -> Way {
    Way::without("at", path.display().to_string(), "this omadm was built without the feature `serial`")
}

/// The sentence of an error that is no surprise here.
fn why(error: LinkError) -> String {
    match error {
        LinkError::NoCard(why) => why,
        LinkError::Removed(_) | LinkError::Timeout(_) | LinkError::Io(_) => error.to_string(),
    }
}
