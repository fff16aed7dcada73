//! The demo as it runs: server, cards and clients in their places, watched until all is said.

use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::cards::Cards;
use super::facts::{ClientStatus, Seen};
use super::next;
use super::outcome::Outcome;
use super::props;
use super::stage;
use super::story::{Mark, Story};
use super::watch::{Watch, configuration, home};
use crate::admin::{Admin, TOKEN_FILE, first_line};
use crate::args::{self, Cast};
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Ending;
use crate::supervise::{Nursery, Started};

/// How long the server may take to start.
const SERVER_START: Duration = Duration::from_secs(15);
/// How long the devices may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at the devices, until they are managed, and later.
const PAUSE: Duration = Duration::from_millis(40);
const LATER_PAUSE: Duration = Duration::from_secs(1);
/// A client that does nothing for so long has given up for the time being, in seconds.
const GIVEN_UP: u64 = 20;

/// What `omadm serve --json` says when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    public_url: String,
    admin_url: String,
}

/// A running demo. All that it started ends with it.
pub(super) struct Play {
    nursery: Nursery,
    cards: Option<Cards>,
    folder: PathBuf,
    client: PathBuf,
    admin: Admin,
    clients: Vec<(Cast, Started)>,
    seen: Vec<(Cast, Seen)>,
    story: Story,
}

impl Play {
    /// Starts everything.
    pub(super) fn set_up(args: &args::Demo, mut story: Story, ending: &Ending) -> Result<Self, Failure> {
        let client = stage::client_program(args.client.as_deref())?;
        let (mut nursery, folder) = match &args.keep {
            Some(keep) => (Nursery::new()?, stage::folder_to_keep(keep)?),
            None => Nursery::with_folder(&stage::place_for_folders())?,
        };
        story.shorten(&folder);
        story.aside(next::greeting)?;
        let (admin, ready) = start_server(&mut nursery, &folder)?;
        story.tell(
            "server",
            Mark::Step,
            &format!("waits for devices at {}, with a certificate of its own CA", ready.public_url),
        )?;
        check(ending)?;
        props::prepare_server(&admin)?;
        story.tell("server", Mark::Step, "has two profiles, and knows one device by its enrolment secret")?;
        let mut play =
            Self { nursery, cards: None, folder, client, admin, clients: Vec::new(), seen: Vec::new(), story };
        play.insert_cards(args)?;
        check(ending)?;
        play.start_clients(&ready.public_url)?;
        Ok(play)
    }

    pub(super) fn story(&self) -> &Story {
        &self.story
    }

    fn insert_cards(&mut self, args: &args::Demo) -> Result<(), Failure> {
        let mut made = Vec::new();
        for cast in Cast::ALL {
            let card = props::equip(&self.folder, cast, &self.admin, args.sabotage == Some(cast))?;
            made.extend(card.map(|card| (cast, card)));
        }
        let cards = Cards::insert(&self.folder, made, !args.no_pcscd)?;
        let count = cards.count();
        let text = match &cards.without_pcscd {
            None => format!("{count} virtual cards are in virtual readers, each behind a private pcscd"),
            Some(why) => format!("{count} virtual cards are behind local sockets, without PC/SC: {why}"),
        };
        self.story.tell("cards", Mark::Step, &text)?;
        self.cards = Some(cards);
        Ok(())
    }

    fn start_clients(&mut self, device_url: &str) -> Result<(), Failure> {
        let Some(cards) = &self.cards else { return Ok(()) };
        let bootstrap_url = format!("{}/bootstrap", device_url.trim_end_matches('/'));
        let ca = self.folder.join("server").join("ca.pem");
        for cast in Cast::ALL {
            props::configure(&self.folder, cast, cards.link(cast), &bootstrap_url, &ca)?;
            let environment: Vec<_> = cards.environment(cast).into_iter().collect();
            let config = configuration(&self.folder, cast);
            let log = home(&self.folder, cast).join("client.log");
            let trace = home(&self.folder, cast).join("trace.jsonl");
            let arguments = [Path::new("--config"), &config, Path::new("run"), Path::new("--trace"), &trace];
            let started = self.nursery.start(cast.name(), &self.client, arguments, &environment, &log)?;
            self.clients.push((cast, started));
            self.story.tell(cast.name(), Mark::Step, cast.has())?;
        }
        Ok(())
    }

    /// Watches until each device is managed, or cannot be for now.
    pub(super) fn until_settled(&mut self, ending: &Ending) -> Result<(), Failure> {
        let deadline = Instant::now() + LIMIT;
        let mut open = Cast::ALL.to_vec();
        while !open.is_empty() && Instant::now() < deadline {
            check(ending)?;
            let mut still_open = Vec::new();
            for cast in open {
                let seen = self.look(cast)?;
                if !Outcome::of(cast, &seen).is_managed() && !self.has_given_up(cast, &seen) {
                    still_open.push(cast);
                }
            }
            open = still_open;
            pause(PAUSE, ending);
        }
        Ok(())
    }

    /// Goes on telling what happens, until the person ends the demo.
    pub(super) fn go_on(&mut self, ending: &Ending) -> Result<(), Failure> {
        while !ending.is_due() {
            pause(LATER_PAUSE, ending);
            for cast in Cast::ALL {
                if !ending.is_due() {
                    self.look(cast)?;
                }
            }
        }
        self.story.aside(|_| "\nAll processes end now; nothing stays behind.".to_owned())
    }

    /// What became of each device, as far as it is known.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let nothing = Seen::default();
        let seen = |cast| self.seen.iter().find(|(one, _)| *one == cast).map_or(&nothing, |(_, seen)| seen);
        Cast::ALL.into_iter().map(|cast| Outcome::of(cast, seen(cast))).collect()
    }

    /// What the person may try now.
    pub(super) fn what_next(&self, paint: Output) -> String {
        let environment = self.cards.as_ref().and_then(|cards| cards.environment(Cast::Sim));
        next::suggestions(self.nursery.me(), &self.client, &self.folder, self.admin.base(), environment, paint)
    }

    fn look(&mut self, cast: Cast) -> Result<Seen, Failure> {
        let watch = Watch { client: &self.client, folder: &self.folder, admin: &self.admin };
        let seen = watch.look(cast);
        self.story.look(cast, &seen)?;
        self.seen.retain(|(one, _)| *one != cast);
        self.seen.push((cast, seen.clone()));
        Ok(seen)
    }

    /// Whether nothing more is to be expected of a device soon.
    fn has_given_up(&mut self, cast: Cast, seen: &Seen) -> bool {
        let Some((_, started)) = self.clients.iter().find(|(one, _)| *one == cast) else { return true };
        self.nursery.ended(started).is_some() || seen.client.as_ref().is_some_and(rests)
    }
}

impl Drop for Play {
    /// Clients and server first, then the cards; the folder goes with the nursery.
    fn drop(&mut self) {
        self.nursery.end();
        self.cards = None;
    }
}

/// Whether a client that is not managed waits for long.
fn rests(status: &ClientStatus) -> bool {
    let at = status.next.as_ref().and_then(|next| next.at);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    status.state != "managed" && at.is_some_and(|at| at > Timestamp(now).plus(GIVEN_UP))
}

fn start_server(nursery: &mut Nursery, folder: &Path) -> Result<(Admin, Ready), Failure> {
    let data = folder.join("server");
    let log = folder.join("serve.log");
    let me = nursery.me().to_owned();
    let arguments = [
        Path::new("serve"),
        Path::new("--json"),
        Path::new("--data"),
        &data,
        Path::new("--device"),
        Path::new("127.0.0.1:0"),
        Path::new("--admin"),
        Path::new("127.0.0.1:0"),
    ];
    let failed = |failure: Failure| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        Failure { message: format!("the server does not start: {}{last}", failure.message), ..failure }
    };
    let mut started = nursery.start("omadm serve", &me, arguments, &[], &log)?;
    let line = nursery.first_line(&mut started, SERVER_START).map_err(failed)?;
    let ready: Ready = serde_json::from_str(&line)
        .map_err(|error| Failure::failed(format!("omadm serve said {line:?}, which is not understood: {error}")))?;
    let token = Secret::from(first_line(&data.join(TOKEN_FILE))?.as_str());
    Ok((Admin::new(&ready.admin_url, token, None)?, ready))
}

fn check(ending: &Ending) -> Result<(), Failure> {
    if ending.is_due() { Err(Failure::failed("interrupted")) } else { Ok(()) }
}

fn pause(time: Duration, ending: &Ending) {
    let end = Instant::now() + time;
    while !ending.is_due() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}
