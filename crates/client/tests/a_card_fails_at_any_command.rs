//! A card that is taken out, keeps silent or refuses at any command of its reading: a failed attempt, the next method, no
//! state changed, no channel left open.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::slot::{By, Folder, InMemory, Slot, Trouble};
use kit::{Device, message};
use omadm_card::CardImage;
use omadm_card::apdu::{Protocol, StatusWord};
use omadm_card::make::{CardPlan, Listing, make};
use omadm_card::virtual_uicc::{ChannelRefusal, Channels, FaultKind};
use omadm_client::client::Client;
use omadm_client::config::Config;
use omadm_client::state::{Memory, State};
use omadm_core::bootstrap::sequence::{Run, RunResult};
use omadm_core::reason::{Attempt, Method, Outcome, Reason};
use std::sync::Arc;

const ICCID: &str = "8988211000000000017";

/// A card, and the way to it.
#[derive(Debug, Clone, Copy)]
struct Layout {
    by: By,
    protocol: Protocol,
    channels: bool,
    listing: Listing,
    private: bool,
}

impl Layout {
    /// All that can be read. A card without channels cannot be read in a modem.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (by, channels) in [(By::Itself, true), (By::Itself, false), (By::Modem, true), (By::PlainModem, true)] {
            for protocol in [Protocol::T0, Protocol::T1] {
                for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
                    for private in [false, true] {
                        all.push(Self { by, protocol, channels, listing, private });
                    }
                }
            }
        }
        all
    }

    fn image(self) -> CardImage {
        let content = message("card", "http://127.0.0.1:9/dm");
        let plan = CardPlan::new(ICCID.parse().unwrap(), content.as_bytes());
        let (pin, allow_public_secret) = (self.private.then(|| "1234".into()), !self.private);
        // Not 01, which in a modem is the modem's.
        let plan = CardPlan { protocol: self.protocol, listing: self.listing, pin, pin_reference: 0x81, ..plan };
        let mut parts = make(&CardPlan { allow_public_secret, ..plan }).unwrap().into_parts();
        if !self.channels {
            parts.channels = Channels { count: 0, refusal: ChannelRefusal::NoChannel };
        }
        parts.try_into().unwrap()
    }
}

/// The method after the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Factory,
    Server,
    Nothing,
}

/// The real client of a device, in a world of its own.
struct Bench {
    config: Config,
}

/// What a start left behind.
struct Left {
    run: Run,
    state: State,
    /// What another start would find.
    durable: State,
    folder: Folder,
}

impl Bench {
    fn new() -> Self {
        let device = Device::new();
        let config = device.configure(
            "[card]\nlink = \"socket:card.sock\"\npin_file = \"pin\"\nwait = \"1s\"\n[sim]\nwait = \"0s\"\n\
             [factory]\nfile = \"factory.json\"\n[bootstrap]\nurl = \"http://127.0.0.1:9/b\"\nsecret_file = \"secret\"\n",
        );
        Self { config: Config::load(&config).unwrap() }
    }

    /// One start of the client.
    fn start(&self, slot: &Arc<Slot>, folder: &Folder) -> Left {
        let world = Arc::new(InMemory(slot.clone()));
        let mut client = Client::new(self.config.clone(), world, Box::new(folder.clone())).unwrap();
        let run = client.bootstrap().unwrap();
        let state = client.state().clone();
        let durable = Memory::peek(Box::new(folder.clone()), "state").unwrap().unwrap();
        Left { run, state, durable, folder: folder.clone() }
    }

    /// The first start of a device with this slot.
    fn first_start(&self, slot: Slot, next: Next) -> (Arc<Slot>, Left) {
        let slot = Arc::new(with(slot, next));
        let left = self.start(&slot, &Folder::default());
        (slot, left)
    }
}

fn with(mut slot: Slot, next: Next) -> Slot {
    match next {
        Next::Factory => slot.factory = Some(message("factory", "http://127.0.0.1:9/dm")),
        Next::Server => slot.server = Some(message("server", "http://127.0.0.1:9/dm")),
        Next::Nothing => {}
    }
    slot
}

/// What a device is configured by: all of its state but the record of attempts, times and what is remembered of PINs.
fn substance(state: &State) -> State {
    let mut state =
        State { attempts: Vec::new(), refused_pins: Vec::new(), notes: Default::default(), ..state.clone() };
    // When it was installed.
    let srv_ids: Vec<_> = state.accounts.iter().map(|one| one.account.srv_id.clone()).collect();
    for srv_id in srv_ids {
        state.accounts.account_mut(&srv_id).unwrap().installed_at = Default::default();
    }
    state
}

fn of(run: &Run, method: Method) -> &Attempt {
    run.attempts.iter().find(|one| one.method == method).unwrap_or_else(|| panic!("{method} was not tried: {run:?}"))
}

/// One row: what goes wrong at which command of which reading.
struct Row<'a> {
    layout: Layout,
    trouble: Trouble,
    at: u32,
    last: u32,
    image: &'a CardImage,
    /// What a first start leaves behind where nothing goes wrong.
    undisturbed: &'a Left,
    what: &'a str,
}

impl Row<'_> {
    fn slot(&self) -> Slot {
        Slot::new(self.layout.by, self.image).plan(self.at, self.trouble)
    }

    /// Whether a reader may have the message all the same: when it closes the channel it has all; and where the card is
    /// still there, another way may lead to it.
    fn may_be_read(&self) -> bool {
        let closes = self.layout.channels && self.at == self.last;
        match self.trouble {
            Trouble::Removed | Trouble::RemovedAfter | Trouble::Late => closes,
            Trouble::Mute => closes || self.layout.by != By::Itself,
            Trouble::Refused => true,
        }
    }

    /// Whether the attempt with the card ended as it may.
    fn fits(&self, attempt: &Attempt) -> bool {
        let Some(reason) = attempt.reason.filter(|_| attempt.outcome == Outcome::Failed) else { return false };
        match self.trouble {
            Trouble::Removed | Trouble::RemovedAfter => reason == Reason::CardRemoved,
            Trouble::Late => reason == Reason::Timeout,
            // The modem resets the card and says that it failed.
            Trouble::Mute if self.layout.by != By::Itself => {
                matches!(reason, Reason::CardIo | Reason::NoLogicalChannel)
            }
            Trouble::Mute => reason == Reason::Timeout,
            Trouble::Refused => FaultKind::Status(StatusWord(0x6F00)).may_end_as(Some(reason)),
        }
    }
}

/// Calls `check` for each layout, trouble and command; says for how many.
fn at_each_command(bench: &Bench, mut check: impl FnMut(&Row<'_>)) -> u32 {
    let mut count = 0;
    for layout in Layout::all() {
        let image = &layout.image();
        let (slot, undisturbed) = &bench.first_start(Slot::new(layout.by, image), Next::Nothing);
        assert!(matches!(undisturbed.run.result, RunResult::Bootstrapped { .. }), "{layout:?}: {:?}", undisturbed.run);
        assert_eq!(slot.open_channels(), 0, "{layout:?}");
        let last = slot.commands();
        assert!(last >= 8, "{layout:?}: {last} commands");
        for trouble in Trouble::EACH {
            for at in 1..=last {
                count += 1;
                let what = &format!("{layout:?} {trouble:?} at {at} of {last}");
                check(&Row { layout, trouble, at, last, image, undisturbed, what });
            }
        }
    }
    count
}

#[test]
fn the_attempt_fails_and_the_next_method_brings_all_that_there_is() {
    let bench = Bench::new();
    let without_card = |next| {
        let slot = Slot::new(By::Itself, &Layout::all()[0].image());
        slot.take_out();
        bench.first_start(slot, next).1
    };
    let others = [without_card(Next::Factory), without_card(Next::Server)];
    let (mut failed, mut read) = (0, 0);
    let rows = at_each_command(&bench, |row| {
        let what = row.what;
        let (next, method, other) = match row.at % 2 {
            0 => (Next::Factory, Method::Factory, &others[0]),
            _ => (Next::Server, Method::BootstrapServer, &others[1]),
        };
        let (slot, left) = bench.first_start(row.slot(), next);
        let attempt = of(&left.run, Method::Smartcard);
        assert_eq!(slot.open_channels(), 0, "a channel was left open: {what}");
        assert_eq!(left.durable.attempts, left.run.attempts, "{what}");
        assert!(matches!(left.run.result, RunResult::Bootstrapped { .. }), "{what}");
        let expected = if attempt.outcome == Outcome::Installed {
            read += 1;
            assert!(row.may_be_read(), "{what}");
            row.undisturbed
        } else {
            failed += 1;
            assert!(row.fits(attempt), "{what}: {attempt:?}");
            assert!(!(row.layout.channels && row.at == row.last), "all was read: {what}");
            assert_eq!(of(&left.run, method).outcome, Outcome::Installed, "{what}");
            assert_eq!(slot.asked(), u32::from(next == Next::Server), "{what}");
            other
        };
        assert_eq!(substance(&left.state), substance(&expected.state), "{what}");
        assert_eq!(substance(&left.durable), substance(&expected.durable), "{what}");
        if !row.layout.private {
            assert_eq!(left.durable.refused_pins, [], "{what}");
        }
    });
    assert!(failed > rows / 2 && read > 100, "{failed} failed and {read} were read of {rows}");
}

#[test]
fn where_no_method_gives_anything_nothing_is_there_and_the_card_is_read_when_it_is_back() {
    let bench = Bench::new();
    at_each_command(&bench, |row| {
        let what = row.what;
        let (slot, left) = bench.first_start(row.slot(), Next::Nothing);
        if of(&left.run, Method::Smartcard).outcome == Outcome::Installed {
            return;
        }
        let outcomes: Vec<_> = left.run.attempts.iter().map(|one| (one.method, one.outcome)).collect();
        let none = [(Method::Factory, Outcome::None), (Method::BootstrapServer, Outcome::None)];
        assert_eq!(outcomes[1..], none, "{what}");
        assert_eq!(left.run.result, RunResult::Nothing, "{what}");
        assert!(left.run.next.is_some() && left.state.accounts.is_empty(), "{what}");
        assert_eq!(left.durable.attempts, left.run.attempts, "the record survives: {what}");
        if row.trouble.removes() {
            slot.insert(row.image);
        }
        let again = bench.start(&slot, &left.folder);
        assert_eq!(of(&again.run, Method::Smartcard).outcome, Outcome::Installed, "{what}: {:?}", again.run);
        assert_eq!(slot.open_channels(), 0, "{what}");
        assert_eq!(substance(&again.durable), substance(&row.undisturbed.durable), "{what}");
    });
}

#[test]
fn of_an_account_that_came_from_the_card_nothing_changes_unless_the_slot_is_proven_empty() {
    let bench = Bench::new();
    at_each_command(&bench, |row| {
        let (what, before) = (row.what, row.undisturbed);
        let again = |slot: Slot| {
            let slot = Arc::new(with(slot, Next::Factory));
            let left = bench.start(&slot, &before.folder.copy());
            assert_eq!(slot.open_channels(), 0, "{what}");
            left
        };
        let is_as_before = |left: &Left| {
            assert_eq!(left.run.result, RunResult::Unchanged, "{what}: {:?}", left.run);
            assert_eq!(of(&left.run, Method::Factory).reason, Some(Reason::NotNeeded), "{what}");
            assert_eq!(substance(&left.state), substance(&before.state), "{what}");
            assert_eq!(substance(&left.durable), substance(&before.durable), "{what}");
        };
        // Nobody can tell that the card is gone.
        let left = again(row.slot().and_nobody_tells());
        is_as_before(&left);
        let attempt = of(&left.run, Method::Smartcard);
        if attempt.outcome == Outcome::Unchanged {
            assert!(row.may_be_read(), "{what}");
            assert_eq!(left.folder.files(), before.folder.files(), "nothing is written: {what}");
            return;
        }
        assert!(row.fits(attempt), "{what}: {attempt:?}");
        assert_eq!(left.durable.attempts.last(), Some(attempt), "{what}");
        if !row.trouble.removes() {
            return;
        }
        // It is in again at once.
        let left = again(row.slot().and_returns(row.image));
        is_as_before(&left);
        assert_eq!(of(&left.run, Method::Smartcard).outcome, Outcome::Unchanged, "{what}");
        assert_eq!(left.folder.files(), before.folder.files(), "nothing is written: {what}");
        // It is gone for good, which is proven: the next method has its turn.
        let left = again(row.slot());
        assert!(row.fits(of(&left.run, Method::Smartcard)), "{what}: {:?}", left.run);
        assert_eq!(of(&left.run, Method::Factory).outcome, Outcome::Installed, "{what}");
        let names: Vec<_> = left.durable.accounts.iter().map(|one| one.account.srv_id.as_str()).collect();
        assert_eq!(names, ["factory"], "{what}");
    });
}
