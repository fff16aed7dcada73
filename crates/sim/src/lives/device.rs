//! Living a life: the real client on the models, step by step, and looking at what must hold.

use super::broken::{Broken, Invariant};
use super::disk::{ModelDisk, Planted};
use super::plan::{CardIll, DAY, Device, LIFE, Plan, What};
use super::previous;
use super::watched::{STATE, Watched};
use super::world::{Counts, Fault, ModelWorld};
use crate::random::Random;
use omadm_client::client::Client;
use omadm_client::config::Config;
use omadm_client::control::Order;
use omadm_client::schedule::Schedule;
use omadm_client::state::{MAX_ATTEMPTS, StateFile};
use omadm_client::status::Stage;
use omadm_core::account::{Credential, DMACC_MOID};
use omadm_core::ids::Moid;
use omadm_core::reason::{Method, Reason};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many tasks one hour may see.
const RUSH: u32 = 60;

/// The largest state file that a life may leave, in bytes.
const LARGE: usize = 128 * 1024;

/// What is planted, and whether the story is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A fault of the world.
    pub fault: Fault,
    /// A fault of the disk.
    pub disk: Planted,
    /// Tell what happens.
    pub story: bool,
}

/// What came of a life.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// What did not hold; the life ended there.
    pub broken: Option<Broken>,
    /// What happened.
    pub counts: Counts,
    /// How many accounts each method brought.
    pub installed: [u64; 3],
    /// The reasons that attempts and sessions gave.
    pub reasons: BTreeSet<String>,
    /// How long it took, in virtual seconds.
    pub seconds: u64,
    /// What happened, with times in seconds.
    pub story: Vec<(u64, String)>,
}

/// Lives this life.
pub fn live(plan: &Arc<Plan>, options: Options) -> Life {
    let world = ModelWorld::new(plan);
    {
        let mut inner = world.inner();
        inner.fault = options.fault;
        inner.story = options.story.then(Vec::new);
        inner.disk.plant(options.disk);
    }
    let mut life = Living {
        storage: Watched::new(&world),
        config: config(&plan.device),
        plan: plan.clone(),
        random: Random::new(plan.seed ^ 0x0FF),
        hour: (0, 0),
        starts: 0,
        reasons: BTreeSet::new(),
        seen: BTreeSet::new(),
        life: Life::default(),
        world,
    };
    life.whole();
    let mut inner = life.world.inner();
    life.life.broken = inner.broken.take();
    life.life.counts = inner.counts;
    life.life.seconds = inner.seconds();
    life.life.story = inner.story.take().unwrap_or_default();
    drop(inner);
    life.life
}

/// A program that runs.
struct Program {
    client: Client,
    schedule: Schedule,
}

struct Living {
    plan: Arc<Plan>,
    config: Config,
    world: ModelWorld,
    storage: Watched,
    random: Random,
    /// Which hour it is since the program started, and how many tasks it saw.
    hour: (u64, u32),
    /// How often the program was started with a planted fault.
    starts: u32,
    reasons: BTreeSet<u16>,
    /// Accounts that were counted.
    seen: BTreeSet<(Method, String, u64)>,
    life: Life,
}

impl Living {
    fn whole(&mut self) {
        let mut program = None;
        self.until(LIFE, &mut program, false);
        let healed = {
            let mut inner = self.world.inner();
            inner.heal();
            inner.now
        };
        let Device { every, stale_after, .. } = self.plan.device;
        // Each source of the same server may have to become stale before the next is asked.
        let bound = (every + 3 * stale_after + 5) * DAY;
        self.until(healed / 1000 + bound, &mut program, true);
        if self.is_over() {
            return;
        }
        if self.world.inner().last_end.is_none_or(|end| end < healed) {
            let status = program.as_ref().map(|program| serde_json::to_string(&program.client.status()));
            let status = status.and_then(Result::ok).unwrap_or_default();
            let why = format!("{} days after all was well again there was no session; {status}", bound / DAY);
            self.world.inner().break_with(Invariant::NobodyStranded, why);
            return;
        }
        self.quiet_start(program);
    }

    /// Two starts in a row: the second finds everything in place.
    fn quiet_start(&mut self, program: Option<Program>) {
        drop(program);
        for round in 0..2 {
            let sessions = {
                let mut inner = self.world.inner();
                if inner.fault == Fault::FickleCard {
                    inner.slot.set_ill(Some(if round == 0 { CardIll::Damaged } else { CardIll::Unreadable }));
                }
                inner.counts.sessions
            };
            let Some(mut program) = self.start() else { return };
            let before = turns(&program.client);
            for _ in 0..20 {
                match program.schedule.step(&mut program.client) {
                    Ok(None) => {}
                    Ok(Some(_)) | Err(_) => break,
                }
            }
            let after = turns(&program.client);
            // A session that fails gives the account that waits behind this one its turn, which is to outlast a restart.
            let is_turn = before.0 != after.0 && before.1 == after.1;
            let quiet = self.world.inner().counts.sessions == sessions && !is_turn;
            let replaced = program.client.replaced();
            if round == 1 && quiet && replaced > 0 {
                let why = format!("the second of two starts wrote the state {replaced} times");
                self.world.inner().break_with(Invariant::QuietStart, why);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.world.inner().broken.is_some()
    }

    /// Lives until this second, or until something is broken, or the device is managed.
    fn until(&mut self, end: u64, program: &mut Option<Program>, managed: bool) {
        let began = self.world.inner().now;
        while !self.is_over() {
            let (now, dead) = {
                let inner = self.world.inner();
                if inner.seconds() >= end || (managed && inner.last_end.is_some_and(|end| end >= began)) {
                    return;
                }
                (inner.seconds(), inner.is_dead())
            };
            if dead {
                *program = None;
                self.stay_dark();
            }
            let orders = std::mem::take(&mut self.world.inner().orders);
            for order in orders {
                self.carry_out(order, program);
            }
            if program.is_none() {
                *program = self.start();
            }
            let Some(running) = program else {
                // Whoever starts programs tries again after a while.
                self.world.inner().pass(600_000);
                continue;
            };
            match running.schedule.step(&mut running.client) {
                Ok(None) => self.count_task(now),
                Ok(Some(pause)) => {
                    self.look_at(&running.client, pause);
                    self.pass(pause, end);
                }
                Err(_) => {}
            }
        }
    }

    /// The power is gone for a while.
    fn stay_dark(&mut self) {
        let dark = if self.random.chance(5) { self.random.spread(1, 10 * DAY) } else { self.random.spread(1, 3600) };
        let mut inner = self.world.inner();
        inner.tell(|| format!("the power is gone for {dark} s"));
        inner.pass(dark * 1000);
        inner.power_on();
        // A PIN that was refused just when the power went is one that no program can know of.
        inner.refused.retain(|_, durable| *durable);
        drop(inner);
        if !self.storage.is_old_or_new() {
            let why = "the state file holds neither the old nor the new state after a power cut".to_owned();
            self.world.inner().break_with(Invariant::OldOrNew, why);
        }
    }

    fn start(&mut self) -> Option<Program> {
        self.hour = (0, 0);
        self.plant();
        let now = self.world.inner().now;
        self.world.inner().booted = now;
        let world = Arc::new(self.world.clone());
        match Client::new(self.config.clone(), world, Box::new(self.storage.clone())) {
            Ok(client) => {
                self.look_at_accounts(&client);
                Some(Program { client, schedule: Schedule::new() })
            }
            Err(error) => {
                let mut inner = self.world.inner();
                if !inner.is_dead() {
                    inner.break_with(Invariant::Starts, error.to_string());
                }
                None
            }
        }
    }

    /// Changes the state as a client with the planted fault would have written it.
    fn plant(&mut self) {
        let (fault, disk) = {
            let inner = self.world.inner();
            (inner.fault, inner.disk.clone())
        };
        match fault {
            Fault::ForgetsPins | Fault::LyingCard => {
                self.rewrite(&disk, |state| state["refused_pins"] = json!([]));
                // The wrong PIN at each of the first starts.
                self.starts += 1;
                let mut inner = self.world.inner();
                inner.wrong_pin = self.starts < 5;
                if self.starts < 5 {
                    inner.orders.push(What::Restart);
                }
            }
            Fault::HalfAccount => self.rewrite(&disk, |state| {
                for account in state["accounts"]["accounts"].as_array_mut().into_iter().flatten() {
                    account["account"]["srv_uri"] = json!("https://half.example/dm");
                }
            }),
            Fault::NoPlace => self.config.state = "/".into(),
            Fault::Nothing
            | Fault::Leaks
            | Fault::Hasty
            | Fault::NoRemedy
            | Fault::Sleeps
            | Fault::Mute
            | Fault::Grows
            | Fault::FickleCard => {}
        }
    }

    fn carry_out(&mut self, order: What, program: &mut Option<Program>) {
        match order {
            What::Reset => {
                if let Some(running) = program {
                    // A disk that cannot be written refuses, which the person sees.
                    let _ = running.schedule.order(&mut running.client, &Order::Reset {});
                }
            }
            What::Rollback => {
                *program = None;
                self.roll_back();
            }
            _ => *program = None,
        }
    }

    /// The previous version runs once: what it does not know of the state is lost.
    fn roll_back(&mut self) {
        let disk = self.world.inner().disk.clone();
        self.rewrite(&disk, |state| *state = previous::rewritten(std::mem::take(state)));
    }

    fn rewrite(&mut self, disk: &ModelDisk, change: impl FnOnce(&mut Value)) {
        let Some(content) = disk.content(STATE) else { return };
        let body = content.iter().position(|byte| *byte == b'\n').and_then(|end| content.get(end + 1..));
        let Some(mut state) = body.and_then(|body| serde_json::from_slice(body).ok()) else { return };
        change(&mut state);
        let Ok(body) = serde_json::to_vec(&state) else { return };
        // It may be unable to write, too.
        let _ = StateFile::new(Box::new(self.storage.clone()), STATE).replace(&body);
    }

    fn count_task(&mut self, now: u64) {
        let booted = self.world.inner().booted / 1000;
        let hour = now.saturating_sub(booted) / 3600;
        self.hour = if self.hour.0 == hour { (hour, self.hour.1 + 1) } else { (hour, 1) };
        if self.hour.1 > RUSH {
            let why = format!("more than {RUSH} tasks within an hour");
            self.world.inner().break_with(Invariant::NoRush, why);
        }
    }

    /// Time passes until something is due or happens.
    fn pass(&mut self, pause: Duration, end: u64) {
        let mut inner = self.world.inner();
        let now = inner.now;
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let event = inner.next_event().map_or(u64::MAX, |at| at.saturating_sub(now));
        let left = (end * 1000).saturating_sub(now);
        inner.pass(pause.min(event).min(left).max(1));
    }

    /// What must hold whenever the client waits.
    fn look_at(&mut self, client: &Client, pause: Duration) {
        let device = &self.plan.device;
        let fault = self.world.inner().fault;
        let pause = if fault == Fault::Sleeps { Duration::MAX } else { pause };
        let longest = Duration::from_secs((device.every * DAY).max(31 * 3600));
        let mut found = None;
        if pause > longest {
            let next = client.state().notes.next.clone();
            found = Some((Invariant::NextAttempt, format!("nothing happens for {} s: {next:?}", pause.as_secs())));
        }
        let state = client.state();
        if state.notes.next.as_ref().is_none_or(|next| next.why.is_empty()) {
            found = Some((Invariant::ReasonTold, "nobody knows what comes next".to_owned()));
        }
        let grown = if fault == Fault::Grows { 100 } else { 1 };
        let counts = [state.attempts.len() * grown, state.refused_pins.len()];
        if counts.iter().any(|count| *count > MAX_ATTEMPTS) || self.storage.largest() > LARGE {
            let why = format!("{counts:?} attempts and PINs, {} bytes", self.storage.largest());
            found = Some((Invariant::BoundedRecord, why));
        }
        let recent = {
            let inner = self.world.inner();
            inner.last_end.is_some_and(|end| inner.now - end < device.stale_after * DAY * 1000)
        };
        if !recent {
            let mut status = client.status();
            if fault == Fault::Mute {
                status.attempts.clear();
                status.accounts.clear();
            }
            let told = status.attempts.iter().any(|attempt| !attempt.message.is_empty())
                || status.accounts.iter().any(|one| one.session.as_ref().is_some_and(|note| !note.message.is_empty()));
            if !told || status.state == Stage::Unconfigured {
                found = Some((Invariant::ReasonTold, "the device is not managed and does not say why".to_owned()));
            }
        }
        if let Some((invariant, why)) = found {
            self.world.inner().break_with(invariant, why);
        }
        self.look_at_accounts(client);
        self.note_reasons(client);
    }

    fn look_at_accounts(&mut self, client: &Client) {
        let state = client.state();
        let Ok(moid) = DMACC_MOID.parse::<Moid>() else { return };
        let shown: BTreeSet<_> = state.tree.instances(&moid).map(|(miid, _)| miid.clone()).collect();
        let kept: BTreeSet<_> = state.accounts.iter().map(|one| one.miid.clone()).collect();
        let mut inner = self.world.inner();
        if shown != kept {
            inner.break_with(Invariant::WholeAccounts, format!("the tree shows {shown:?}, the accounts are {kept:?}"));
        }
        for one in state.accounts.iter() {
            let account = &one.account;
            let header = match &account.trsp {
                None => None,
                Some(Credential::Basic { user, password }) => {
                    Some(super::truth::basic(user, &String::from_utf8_lossy(password.expose())))
                }
                Some(_) => Some(String::new()),
            };
            let host = account.srv_uri.host();
            let server = inner.servers.iter().find(|server| server.host == host);
            let is_whole = server.is_some_and(|server| {
                server.srv_id == account.srv_id.as_str()
                    && header.as_ref().map_or(server.own_login, |header| server.is_for_it(header))
            });
            if (!is_whole && account.srv_id.as_str() != "nowhere") || account.perm.len() != 2 {
                inner.break_with(Invariant::WholeAccounts, format!("nobody gave the account {account:?}"));
            }
            let key = (one.source.method, host.to_owned(), one.installed_at.0);
            if self.seen.insert(key) {
                self.life.installed
                    [Method::ORDER.iter().position(|method| *method == one.source.method).unwrap_or(0)] += 1;
            }
        }
    }

    fn note_reasons(&mut self, client: &Client) {
        let state = client.state();
        let sessions = state.notes.sessions.values().filter_map(|note| note.reason);
        let reasons: BTreeSet<u16> =
            state.attempts.iter().filter_map(|one| one.reason).chain(sessions).map(number).collect();
        for reason in reasons {
            if self.reasons.insert(reason) {
                self.life.reasons.insert(name(reason));
            }
        }
    }
}

/// Reasons as numbers, which are quicker than names.
fn number(reason: Reason) -> u16 {
    match reason {
        Reason::Http(status) => 1000 + status,
        fixed => Reason::FIXED.iter().position(|one| *one == fixed).unwrap_or(0) as u16,
    }
}

fn name(number: u16) -> String {
    match number.checked_sub(1000) {
        Some(status) => Reason::Http(status).to_string(),
        None => Reason::FIXED.get(usize::from(number)).map(Reason::to_string).unwrap_or_default(),
    }
}

/// The device's configuration.
fn config(device: &Device) -> Config {
    let mut text = format!(
        "state = \"{STATE}\"\ndev_id = \"IMEI:493005100592800\"\nman = \"Example\"\nexample_mo = true\n\
         [session]\nevery = \"{}d\"\nstale_after = \"{}d\"\n",
        device.every, device.stale_after
    );
    text +=
        if device.card { "[card]\nlink = \"socket:card\"\npin_file = \"pin\"\n" } else { "[card]\nlink = \"off\"\n" };
    if device.card {
        text += &format!("every = \"{}d\"\n", device.every * 3 + 11);
    }
    if device.card && device.any_card {
        text += "allow = \"any\"\n";
    }
    if device.factory {
        text += "[factory]\nfile = \"factory.json\"\n";
    }
    text += "[bootstrap]\nuser = \"device-1\"\nsecret_file = \"secret\"\n";
    if device.server {
        text += "url = \"https://boot.example/bootstrap\"\n";
    }
    text += &format!("[sim]\nrequired = {}\n", device.sim_required);
    match Config::parse(&text, Path::new("/device/client.toml")) {
        Ok(config) => config,
        Err(error) => panic!("the configuration of a life is good: {error}"),
    }
}

/// The accounts that are used, and all of them with those that wait for their turn.
fn turns(client: &Client) -> (Vec<String>, BTreeSet<String>) {
    let book = serde_json::to_value(&client.state().accounts).unwrap_or_default();
    let of = |list: &str| {
        let accounts = book[list].as_array().into_iter().flatten();
        accounts.map(|one| one["miid"].to_string()).collect::<Vec<_>>()
    };
    let shown = of("accounts");
    let all = shown.iter().cloned().chain(of("fallbacks")).collect();
    (shown, all)
}
