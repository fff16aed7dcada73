//! `omadm card run`: a virtual card in a virtual reader or modem, until a signal.

use omadm_card::VirtualUicc;
use omadm_card::link::exec::lines::MAX_LINE;
use omadm_card::link::exec::served::Served;
use omadm_card::link::vpcd::{PrivatePcscd, ServedCard, SharedCard, Stream, listen, serve};
use omadm_card::virtual_uicc::Preset;
use serde_json::json;
use std::fs;
use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::source;
use crate::args::{Place, RunCard};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output};
use crate::private;
use crate::signals::Ending;

/// How often it is looked whether the end has come.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the card.
pub(super) fn run(args: &RunCard) -> Result<(), Failure> {
    // A group of places keeps clap from seeing that one of them is needed.
    if !args.modem_quirk.is_empty() && args.place.modem.is_none() {
        return Err(Failure::usage("--modem-quirk is for a card in a modem").advise("give --modem too"));
    }
    if args.place.list_presets {
        return list_presets(args);
    }
    let Some(path) = args.file.as_deref() else { return Err(Failure::usage("no card file is named")) };
    let card = card(args, path)?;
    // What is not saved may come from where it can be read once only.
    let before =
        if args.save { fs::read(path).map_err(|error| Failure::unreadable(path, &error))? } else { Vec::new() };
    let file = &CardFile { path, before };
    if args.place.stdio {
        return on_stdio(args, file, card);
    }
    let ending = Ending::on_signals()?;
    if let Some(path) = &args.place.modem {
        return in_modem(args, file, path.as_deref(), card, &ending);
    }
    let card = SharedCard::new(card);
    let ran = serve_until(args, &card, &ending);
    if args.save {
        file.save(&card.lock())?;
    }
    ran
}

/// The file of the card, and what was in it when the card was put in.
struct CardFile<'a> {
    path: &'a Path,
    before: Vec<u8>,
}

impl CardFile<'_> {
    /// Replaces it in one step; it holds secrets, so nobody else may read it. What somebody else wrote there meanwhile is
    /// left: then the card goes beside it.
    fn save(&self, card: &VirtualUicc) -> Result<(), Failure> {
        let image = card.image().map_err(|error| Failure::failed(format!("the card cannot be saved: {error}")))?;
        let path = self.path;
        if self.is_changed() {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".run");
            let beside = PathBuf::from(beside);
            private::write(&beside, image.to_json().as_bytes())?;
            let why = format!("{} was changed by another program while the card was run", path.display());
            return Err(Failure::failed(why).advise(format!("the card as it was run is in {}", beside.display())));
        }
        private::write(path, image.to_json().as_bytes())
    }

    /// Whether there is another content by now, of which no more is read than there was.
    fn is_changed(&self) -> bool {
        let mut now = Vec::new();
        let limit = self.before.len() as u64 + 1;
        fs::File::open(self.path)
            .and_then(|file| file.take(limit).read_to_end(&mut now))
            .is_ok_and(|_| now != self.before)
    }
}

/// The card with what it is to do otherwise than it would.
fn card(args: &RunCard, file: &Path) -> Result<VirtualUicc, Failure> {
    let mut image = source::image(file)?;
    if let Some(name) = &args.preset {
        let preset = Preset::named(name).ok_or_else(|| {
            Failure::usage(format!("{name:?} is no kind of card")).advise("`omadm card run --list-presets` lists them")
        })?;
        let applied = preset.apply(image);
        image = applied.map_err(|error| Failure::usage(format!("{} as {name}: {error}", file.display())))?;
    }
    let mut card = VirtualUicc::new(&image);
    card.plan_faults(args.fault.iter().copied());
    Ok(card)
}

fn serve_until(args: &RunCard, card: &SharedCard, ending: &Ending) -> Result<(), Failure> {
    let card = card.clone();
    let (served, place) = match &args.place {
        Place { pcscd: Some(socket), .. } => return in_pcscd(args, card, socket, ending),
        Place { vpcd: Some(address), .. } => (insert(*address, card)?, format!("vpcd at {address}")),
        Place { socket: Some(socket), .. } => (listen_at(socket, card)?, socket.display().to_string()),
        Place { vpcd: None, socket: None, pcscd: None, .. } => return Err(Failure::usage("no reader is named")),
    };
    announce(args, &place, || format!("The card is in {place}. Ctrl-C takes it out."))?;
    while served.is_inserted() && !ending.is_due() {
        thread::sleep(PAUSE);
    }
    if ending.is_due() { Ok(()) } else { Err(Failure::failed(format!("{place} has closed the connection"))) }
}

fn list_presets(args: &RunCard) -> Result<(), Failure> {
    if args.listing.json {
        let list: Vec<_> =
            Preset::ALL.iter().map(|preset| json!({"name": preset.name, "about": preset.about})).collect();
        return output::json(&list);
    }
    let mut table = Output::stdout().table(&["preset", "card"]);
    for preset in Preset::ALL {
        table.add_row([preset.name, preset.about]);
    }
    output::say(table.trim_fmt())
}

/// Answers line by line, as the executable behind a link does.
fn on_stdio(args: &RunCard, file: &CardFile<'_>, card: VirtualUicc) -> Result<(), Failure> {
    let mut served = Served::new(card, false);
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::failed(format!("cannot read from standard input: {error}")))? == 0 {
            return if args.save { file.save(served.card()) } else { Ok(()) };
        }
        let before = served.card().elapsed().so_far();
        let answer = served.answer(&line);
        // In memory time only counts; here the card is slow in earnest.
        thread::sleep(served.card().elapsed().so_far().saturating_sub(before));
        output::say(answer)?;
    }
}

fn insert(address: SocketAddr, card: SharedCard) -> Result<ServedCard, Failure> {
    TcpStream::connect(address)
        .and_then(|stream| {
            stream.set_nodelay(true)?;
            serve(Stream::Tcp(stream), card)
        })
        .map_err(|error| {
            Failure::failed(format!("no vpcd reader listens at {address}: {error}"))
                .advise("start pcscd with the vpcd driver, or let --pcscd do that")
        })
}

fn listen_at(socket: &Path, card: SharedCard) -> Result<ServedCard, Failure> {
    listen(socket, card).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot listen at {}: {error}", socket.display()))
            .advise("the socket must not be there yet, and its path has at most 107 bytes")
    })
}

fn in_pcscd(args: &RunCard, card: SharedCard, socket: &Path, ending: &Ending) -> Result<(), Failure> {
    let service = PrivatePcscd::start(socket).map_err(|error| Failure::failed(error.to_string()))?;
    let reader = service.reader();
    let _served = service.insert(card).map_err(|error| Failure::failed(format!("{reader} takes no card: {error}")))?;
    let (variable, path) = service.environment();
    announce(args, reader, || {
        let path = path.display();
        format!(
            "The card is in the reader {reader} of a private pcscd.\n\
             Programs find it by {variable}={path}\n\
             Ctrl-C ends it."
        )
    })?;
    while !ending.is_due() {
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(feature = "serial")]
fn in_modem(
    args: &RunCard,
    file: &CardFile<'_>,
    path: Option<&Path>,
    card: VirtualUicc,
    ending: &Ending,
) -> Result<(), Failure> {
    use omadm_card::VirtualModem;
    use omadm_card::link::serial::{SharedModem, serve_modem};
    let modem = SharedModem::new(VirtualModem::new(card, &args.modem_quirk));
    let served = serve_modem(modem.clone(), path).map_err(|error| {
        Failure::failed(format!("the modem has no pseudo-terminal: {error}"))
            .advise("the path of --modem must not be there yet")
    })?;
    let port = served.path().display().to_string();
    announce(args, &port, || format!("The card is in a modem at {port}. Ctrl-C takes it out."))?;
    while served.is_served() && !ending.is_due() {
        thread::sleep(PAUSE);
    }
    if args.save
        && let Some(card) = modem.lock().card()
    {
        file.save(card)?;
    }
    if ending.is_due() { Ok(()) } else { Err(Failure::failed(format!("the pseudo-terminal {port} was closed"))) }
}

#[cfg(not(feature = "serial"))]
fn in_modem(_: &RunCard, _: &CardFile<'_>, _: Option<&Path>, _: VirtualUicc, _: &Ending) -> Result<(), Failure> {
    Err(Failure::usage("this omadm was built without the feature `serial`"))
}

fn announce(args: &RunCard, reader: &str, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if args.listing.json { output::json(&json!({"reader": reader})) } else { output::say(text()) }
}
