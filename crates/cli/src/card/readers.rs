//! `omadm card readers`: the ways to a card, what was found on each, and why there is nothing where there is nothing.

use omadm_card::link::exec::ExecLink;
use omadm_card::link::vpcd::{Address, SocketLink};
use omadm_card::link::{Link as CardLink, LinkError, Patience};
use omadm_card::{VirtualUicc, which_card};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

use super::source;
use crate::args::{Link, Listing};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, Style};

/// How long one executable, modem or card may take for an answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How many readers are looked at together.
#[cfg(feature = "pcsc")]
const AT_ONCE: usize = 4;
/// A card is there or not; nobody waits for one.
const PATIENCE: Patience = Patience { wait: Duration::ZERO, empty: Duration::ZERO, command: LIMIT };

/// One way, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Way {
    /// The reader's name, the path of a port or socket, or the command; `PC/SC` where there is no reader.
    name: String,
    /// There is a card.
    card: bool,
    /// Which kind of link, as in the configuration of omadm-client.
    link: &'static str,
    /// Which card, where that is told.
    iccid: Option<String>,
    /// Why there is no card, why that is not known, or why a card does not tell its ICCID.
    why: Option<String>,
    /// It leads somewhere: a reader, a modem, or an executable or socket that answers.
    #[serde(skip)]
    is_found: bool,
}

impl Way {
    fn with_card(link: &'static str, name: impl Into<String>, iccid: Result<Option<String>, String>) -> Self {
        let (iccid, why) = match iccid {
            Ok(iccid) => (iccid, None),
            Err(why) => (None, Some(why)),
        };
        Self { name: name.into(), card: true, link, iccid, why, is_found: true }
    }

    fn empty(link: &'static str, name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), card: false, link, iccid: None, why: Some(why.into()), is_found: true }
    }

    /// There is nothing, or nothing that answers.
    fn missing(link: &'static str, name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { is_found: false, ..Self::empty(link, name, why) }
    }
}

/// Lists the readers and ports of this machine, and these links.
pub(super) fn list(links: &[Link], listing: Listing) -> Result<(), Failure> {
    let mut ways = readers();
    ways.extend(ports());
    for link in links {
        ways.extend(named(link));
    }
    let is_any_found = ways.iter().any(|way| way.is_found);
    if listing.json {
        output::json(&ways)?;
    } else {
        show(ways)?;
    }
    if is_any_found {
        return Ok(());
    }
    Err(Failure::new(Exit::Nothing, "there is no way to a card: no reader, no modem, no link that answers")
        .advise("the list says why of each; --link names a modem's port, an executable or a socket"))
}

fn show(ways: Vec<Way>) -> Result<(), Failure> {
    let paint = Output::stdout();
    let mut table = paint.table(&["link", "name", "card", "remark"]);
    for way in ways {
        let card = if way.card { paint.cell(Style::Good, "yes") } else { paint.cell(Style::Dim, "no") };
        let remark = way.why.or(way.iccid.map(|iccid| format!("ICCID {iccid}"))).unwrap_or_default();
        table.add_row([paint.cell(Style::Dim, way.link), paint.cell(Style::Bold, way.name), card, remark.into()]);
    }
    output::say(table.trim_fmt())
}

/// The ICCID of the card behind a link; or why it is not told.
fn iccid_of(link: &mut dyn CardLink) -> Result<Option<String>, String> {
    let began = Instant::now();
    match which_card(link, &|| began.elapsed(), LIMIT) {
        Ok(Some(iccid)) => Ok(Some(iccid.to_string())),
        Ok(None) => Err("the card does not tell its ICCID".to_owned()),
        Err(error) => Err(format!("its ICCID cannot be read: {error}")),
    }
}

/// The PC/SC readers, or why there is none. A service that hangs is not waited for.
#[cfg(feature = "pcsc")]
fn readers() -> Vec<Way> {
    use std::sync::mpsc::channel;
    let (report, reports) = channel();
    std::thread::spawn(move || report.send(omadm_card::link::pcsc::readers()));
    match reports.recv_timeout(LIMIT) {
        Ok(Ok(readers)) if readers.is_empty() => {
            vec![Way::missing("pcsc", "PC/SC", "no PC/SC reader is plugged in")]
        }
        Ok(Ok(readers)) => readers.chunks(AT_ONCE).flat_map(in_readers).collect(),
        Ok(Err(error)) => {
            vec![Way::missing("pcsc", "PC/SC", format!("{}; start the PC/SC service: pcscd", why(error)))]
        }
        Err(_) => vec![Way::missing("pcsc", "PC/SC", "the PC/SC service does not answer; restart pcscd")],
    }
}

/// What is in these readers: what holds up one of them does not hold up the others.
#[cfg(feature = "pcsc")]
fn in_readers(readers: &[omadm_card::link::pcsc::Reader]) -> Vec<Way> {
    std::thread::scope(|scope| {
        let looks: Vec<_> = readers.iter().map(|reader| scope.spawn(|| in_reader(reader))).collect();
        looks.into_iter().filter_map(|look| look.join().ok()).collect()
    })
}

/// What is in a reader. The card is asked within a transaction, as every reading of ours does.
#[cfg(feature = "pcsc")]
fn in_reader(reader: &omadm_card::link::pcsc::Reader) -> Way {
    let name = &reader.name;
    if !reader.card {
        return Way::empty("pcsc", name, "the reader is empty");
    }
    let iccid = match omadm_card::link::pcsc::PcscLink::open(name, &PATIENCE) {
        Ok(mut link) => iccid_of(&mut link),
        Err(LinkError::NoCard(why)) => return Way::empty("pcsc", name, why),
        Err(error) => Err(format!("its ICCID cannot be read, another program may hold the card: {error}")),
    };
    Way::with_card("pcsc", name, iccid)
}

#[cfg(not(feature = "pcsc"))]
fn readers() -> Vec<Way> {
    vec![Way::missing("pcsc", "PC/SC", "this omadm was built without the feature `pcsc`")]
}

/// The ports that look like those of modems.
#[cfg(feature = "serial")]
fn ports() -> Vec<Way> {
    let way = |port: omadm_card::link::ports::FoundPort| match port.why_not {
        Some(why) => Way::missing("at", port.path.display().to_string(), why),
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
            Some(match SocketLink::open(&Address::from(path.as_path()), &PATIENCE) {
                Ok(mut link) => Way::with_card("socket", name, iccid_of(&mut link)),
                Err(error) => Way::missing("socket", &name, format!("no card is behind {name}: {}", why(error))),
            })
        }
        Link::File(path) => {
            let name = path.display().to_string();
            Some(match source::image(path) {
                Ok(image) => Way::with_card("file", name, iccid_of(&mut VirtualUicc::new(&image))),
                Err(failure) => Way::missing("file", name, failure.to_string()),
            })
        }
    }
}

fn executable(command: &[String]) -> Way {
    let name = command.join(" ");
    match ExecLink::status_of(command, LIMIT, Duration::ZERO, output::aside) {
        Ok(status) if status.card => Way::with_card("exec", name, Ok(status.iccid.map(|iccid| iccid.to_string()))),
        Ok(status) => Way::empty("exec", name, status.why.unwrap_or_else(|| "the slot is empty".to_owned())),
        Err(error) => Way::missing("exec", name, why(error)),
    }
}

#[cfg(feature = "serial")]
fn modem(path: &Path) -> Way {
    use omadm_card::link::at::Presence;
    use omadm_card::link::serial;
    let name = path.display().to_string();
    match serial::presence(path, LIMIT) {
        Ok(Some(Presence::Card(iccid))) => Way::with_card("at", name, Ok(Some(iccid.to_string()))),
        Ok(Some(Presence::Empty)) => Way::empty("at", name, "the modem has no SIM"),
        Ok(None) => Way::empty("at", name, "a modem answers, and does not say whether it has a SIM"),
        Err(error) => Way::missing("at", name, why(error)),
    }
}

#[cfg(not(feature = "serial"))]
fn modem(path: &Path) -> Way {
    Way::missing("at", path.display().to_string(), "this omadm was built without the feature `serial`")
}

/// The sentence of an error that is no surprise here.
fn why(error: LinkError) -> String {
    match error {
        LinkError::NoCard(why) => why,
        LinkError::Removed(_) | LinkError::Timeout(_) | LinkError::Io(_) => error.to_string(),
    }
}
