//! Every card with every quirk and every fault, by each way in memory: the message is read, or the reason is the right one.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use omadm_card::apdu::{MANAGE_CHANNEL, Protocol};
use omadm_card::image::CardParts;
use omadm_card::link::Patience;
use omadm_card::link::at::{AtLink, Port, PortError};
use omadm_card::make::{CardPlan, Listing, make};
use omadm_card::virtual_modem::{ModemQuirk, VirtualModem};
use omadm_card::virtual_uicc::{ChannelRefusal, Channels, Fault, FaultKind, Quirk};
use omadm_card::{CardImage, CardReading, Link, LinkError, ReadRequest, VirtualUicc, read};
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;
/// Not 01, which on a modem belongs to the modem.
const PIN: u8 = 0x81;

/// How the card is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Alone with it.
    Itself,
    /// A modem that opens applications.
    Modem,
    /// A modem that passes commands on and no more.
    PlainModem,
}

impl By {
    const ALL: [Self; 3] = [Self::Itself, Self::Modem, Self::PlainModem];
}

/// A card without faults.
#[derive(Debug, Clone, Copy)]
struct Card {
    protocol: Protocol,
    channels: bool,
    listing: Listing,
    private: bool,
    quirk: Option<Quirk>,
}

impl Card {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for protocol in [Protocol::T0, Protocol::T1] {
            for channels in [true, false] {
                for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
                    for private in [false, true] {
                        for quirk in std::iter::once(None).chain(Quirk::ALL.map(Some)) {
                            all.push(Self { protocol, channels, listing, private, quirk });
                        }
                    }
                }
            }
        }
        all
    }

    fn image(self) -> CardImage {
        let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes());
        let pin = self.private.then(|| Secret::from("1234"));
        let plan = CardPlan { protocol: self.protocol, listing: self.listing, pin, pin_reference: PIN, ..plan };
        let mut parts = make(&plan).unwrap().into_parts();
        if !self.channels {
            parts.channels = Channels { count: 0, refusal: ChannelRefusal::NoChannel };
        }
        CardParts { quirks: self.quirk.into_iter().collect(), ..parts }.try_into().unwrap()
    }

    /// What a correct reader says of it without a fault; none where it reads the message.
    fn hinders(self, by: By) -> Option<Reason> {
        if by != By::Itself && !self.channels {
            return Some(Reason::NoLogicalChannel);
        }
        self.quirk.and_then(|quirk| quirk.hinders(self.private, by == By::Itself))
    }
}

/// What came of a reading.
struct Outcome {
    reading: CardReading,
    tries: Option<u8>,
    /// Commands for the basic channel of a modem that are not MANAGE CHANNEL.
    strayed: usize,
    /// How many commands reached the card.
    commands: u32,
    /// How many channels of the card are open after the link was given up; of a modem also those that it still knows.
    open: usize,
}

/// A card that is ours alone, reset at the end if the reader asked for it, as the service of a reader does.
struct Held<'a> {
    card: &'a mut VirtualUicc,
    reset: bool,
}

impl Link for Held<'_> {
    fn protocol(&self) -> Protocol {
        self.card.protocol()
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.card.transmit(command)
    }

    fn reset_when_released(&mut self) {
        self.reset = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.reset {
            self.card.reset();
        }
    }
}

struct Wire<'a> {
    modem: &'a RefCell<VirtualModem>,
    clock: &'a Cell<Duration>,
    waiting: Vec<u8>,
}

impl Port for Wire<'_> {
    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<(), PortError> {
        let mut modem = self.modem.borrow_mut();
        self.waiting.extend(modem.answer(bytes));
        self.clock.set(self.clock.get() + modem.take_delay());
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError> {
        let count = self.waiting.len().min(room.len());
        if count == 0 {
            self.clock.set(self.clock.get() + limit);
        }
        for (place, byte) in room.iter_mut().zip(self.waiting.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn now(&self) -> Duration {
        self.clock.get()
    }
}

fn read_by(by: By, image: &CardImage, fault: Option<Fault>) -> Outcome {
    let mut card = VirtualUicc::new(image);
    card.plan_faults(fault);
    let pin = Secret::from("1234");
    let request = ReadRequest { pin: Some(&pin), ..ReadRequest::default() };
    let quirks: &[ModemQuirk] = match by {
        By::Itself => {
            let elapsed = card.elapsed();
            let reading = read(&mut Held { card: &mut card, reset: false }, &request, &|| elapsed.so_far());
            let (tries, commands, open) = (card.tries_left(PIN), card.commands(), card.open_channels());
            return Outcome { reading, tries, strayed: 0, commands, open };
        }
        By::Modem => &[],
        By::PlainModem => &[ModemQuirk::NoCcho],
    };
    let modem = RefCell::new(VirtualModem::new(card, quirks));
    let clock = Cell::new(Duration::ZERO);
    let reading = match AtLink::open(Wire { modem: &modem, clock: &clock, waiting: Vec::new() }, &Patience::default()) {
        Ok(mut link) => read(&mut link, &request, &|| clock.get()),
        Err(error) => CardReading::unreachable(error.into()),
    };
    let modem = modem.borrow();
    let strayed = modem.basic_channel().iter().filter(|command| command.get(1) != Some(&MANAGE_CHANNEL)).count();
    let card = modem.card();
    let tries = card.and_then(|card| card.tries_left(PIN));
    let open = modem.open_channels().max(card.map_or(0, VirtualUicc::open_channels));
    Outcome { reading, tries, strayed, commands: card.map_or(0, VirtualUicc::commands), open }
}

/// Counts what goes wrong, so that one run tells of all.
#[derive(Default)]
struct Ledger {
    rows: u64,
    wrong: BTreeMap<String, (u64, String)>,
}

impl Ledger {
    fn note(&mut self, kind: String, row: impl FnOnce() -> String) {
        let entry = self.wrong.entry(kind).or_insert_with(|| (0, row()));
        entry.0 += 1;
    }

    fn close(&self) {
        let lines: Vec<String> =
            self.wrong.iter().map(|(kind, (count, row))| format!("{count} times {kind}, first {row}")).collect();
        assert!(lines.is_empty(), "of {} rows:\n{}", self.rows, lines.join("\n"));
    }
}

fn judge(ledger: &mut Ledger, by: By, card: Card, fault: Option<Fault>, outcome: &Outcome) {
    ledger.rows += 1;
    let row = || format!("{by:?} {card:?} {}", fault.map(|fault| fault.to_string()).unwrap_or_default());
    let reason = outcome.reading.message.as_ref().err().map(|error| error.reason());
    let expected = card.hinders(by);
    let fits = match fault {
        None => reason == expected,
        Some(fault) => reason == expected || may_end_as(by, fault.kind, reason),
    };
    let quirk = card.quirk.map(|quirk| quirk.name()).unwrap_or_default();
    let kind = fault.map(|fault| format!("{:?}", fault.kind)).unwrap_or_default();
    if !fits {
        ledger.note(format!("{reason:?} in place of {expected:?} ({quirk} {kind} by {by:?})"), row);
    }
    let is_flipped = matches!(fault, Some(Fault { kind: FaultKind::Flip(_), .. }));
    if let Ok(message) = &outcome.reading.message
        && message != MESSAGE.as_bytes()
        && !is_flipped
    {
        ledger.note(format!("another message was read ({quirk} {kind})"), row);
    }
    if outcome.open > 0 && !may_leave_open(by, card, fault) {
        ledger.note(format!("a channel was left open ({quirk} {kind} by {by:?})"), row);
    }
    if outcome.tries.is_some_and(|left| left < 2) {
        ledger.note(format!("the PIN was tried twice ({quirk} {kind})"), row);
    }
    if outcome.strayed > 0 {
        ledger.note(format!("a command strayed to channel 0 of the modem ({quirk} {kind})"), row);
    }
}

/// A card that is ours alone can be reset. In a modem a channel stays open that the card refuses to close, and one whose
/// number was falsified.
fn may_leave_open(by: By, card: Card, fault: Option<Fault>) -> bool {
    let is_falsified = matches!(fault, Some(Fault { kind: FaultKind::Flip(_), .. }));
    by != By::Itself && (card.quirk == Some(Quirk::ChannelsStayOpen) || is_falsified)
}

/// A modem tells of its card in its own words, so a fault may look otherwise behind it.
fn may_end_as(by: By, kind: FaultKind, reason: Option<Reason>) -> bool {
    if kind.may_end_as(reason) {
        return true;
    }
    let told = [Reason::NoCard, Reason::CardRemoved, Reason::CardIo, Reason::NoLogicalChannel, Reason::Timeout];
    by != By::Itself && reason.is_some_and(|reason| told.contains(&reason))
}

#[test]
fn without_a_fault_the_message_is_read_or_the_quirk_hinders_it_by_each_way() {
    let mut ledger = Ledger::default();
    for card in Card::all() {
        for by in By::ALL {
            judge(&mut ledger, by, card, None, &read_by(by, &card.image(), None));
        }
    }
    assert_eq!(ledger.rows, 2 * 2 * 3 * 2 * 34 * 3);
    ledger.close();
}

/// Every fault at every command, for this way.
fn with_each_fault(by: By) {
    let mut ledger = Ledger::default();
    for card in Card::all() {
        let image = card.image();
        let last = read_by(by, &image, None).commands;
        for kind in FaultKind::EACH {
            for at in 1..=last {
                let fault = Fault { at, kind };
                judge(&mut ledger, by, card, Some(fault), &read_by(by, &image, Some(fault)));
            }
        }
    }
    ledger.close();
}

#[test]
fn with_each_fault_at_each_command_of_a_card_that_is_ours_alone() {
    with_each_fault(By::Itself);
}

#[test]
fn with_each_fault_at_each_command_of_a_card_in_a_modem() {
    with_each_fault(By::Modem);
}

#[test]
fn with_each_fault_at_each_command_of_a_card_in_a_modem_that_opens_no_applications() {
    with_each_fault(By::PlainModem);
}
