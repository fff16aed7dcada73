//! Reading a card that answers anything (docs/card-files.md, "How it is read"): it ends within its bounds, keeps off the
//! modem's channel, closes what it opened, and spends no try of a PIN that it should not.
//!
//! The first byte chooses card and link, the second what the reader knows; the rest says how answers are changed on the
//! way, see [`Changed::change`]. What is not changed is the answer of a virtual UICC.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;

use omadm_card::apdu::{GET_RESPONSE, MANAGE_CHANNEL, Protocol, VERIFY, channel_of};
use omadm_card::inspect::inspect;
use omadm_card::make::{CardPlan, Content, Listing, make};
use omadm_card::{CardImage, CardReading, Link, LinkError, ReadRequest, RefusedPin, Shortcuts, VirtualUicc, read};
use omadm_core::bootstrap::sequence::Admitted;
use omadm_core::secret::Secret;

use crate::script::Script;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme"}}}]"#;
/// The most commands of one reading: its own limit, and the close of its channel, twice if need be.
const MOST_COMMANDS: usize = 1_002;
/// The longest message that a card gives, of all its objects (Profile P-22).
const MOST_BYTES: usize = 4 * 32_767;
/// How often a card is read with one memory of refused PINs: more often than it has tries.
const READINGS: usize = 4;

/// The cards of all runs: T=0 and T=1, open and behind a PIN, in both forms of listing, with padding.
pub(crate) fn cards() -> &'static [CardImage] {
    static CARDS: OnceLock<Vec<CardImage>> = OnceLock::new();
    CARDS.get_or_init(|| {
        let plan = CardPlan::new("8901012345678901234".parse().expect("an ICCID"), MESSAGE.as_bytes());
        let pin = || Some(Secret::from("1234"));
        let large = format!("[{}]", "7,".repeat(600) + "7");
        let plans = [
            plan.clone(),
            CardPlan { protocol: Protocol::T0, ..plan.clone() },
            CardPlan { pin: pin(), ..plan.clone() },
            CardPlan { pin: pin(), protocol: Protocol::T0, ..plan.clone() },
            CardPlan { listing: Listing::Oid, file_size: Some(400), ..plan.clone() },
            CardPlan { listing: Listing::Both, pin: pin(), ..plan.clone() },
            CardPlan { content: Content::Message(large.into_bytes()), protocol: Protocol::T0, ..plan.clone() },
            CardPlan { content: Content::None, imsi: None, ..plan },
        ];
        plans.iter().map(|plan| make(plan).expect("a card")).collect()
    })
}

pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (card, knows) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
    let images = cards();
    let Some(image) = images.get(usize::from(card) % images.len()) else { return };
    read_repeatedly(image, card, knows, script);
}

/// Reads a card as often as one memory of refused PINs must bear it, and looks at every command. Bits of `card` say how
/// the link is, bits of `knows` what the reader knows; `script` says how answers are changed on the way.
pub(crate) fn read_repeatedly(image: &CardImage, card: u8, knows: u8, script: Script<'_>) {
    let clock = Cell::new(Duration::ZERO);
    let mut link = Changed {
        card: VirtualUicc::new(image),
        exclusive: card & 0x80 == 0,
        endless: card & 0x40 != 0,
        script,
        honest: 0,
        last: None,
        clock: &clock,
        seen: Seen::default(),
        lied_about_pin: false,
    };
    let could_be_tried = link.card.tries_left(1).is_some_and(|left| left > 0);
    let pin = Secret::from(if knows & 0x01 == 0 { "1234" } else { "9999" });
    let mut refused: Vec<RefusedPin> = Vec::new();
    let mut shortcuts = Shortcuts::default();
    for _ in 0..READINGS {
        link.seen = Seen::default();
        let known = refused.clone();
        let request = ReadRequest {
            admitted: &Admitted::Any,
            pin: (knows & 0x02 == 0).then_some(&pin),
            refused: &known,
            sim: knows & 0x04 == 0,
            fast: (knows & 0x10 != 0).then_some(&shortcuts),
            ..ReadRequest::default()
        };
        let reading = if knows & 0x08 == 0 {
            read(&mut link, &request, &|| clock.get())
        } else {
            let (inspection, reading) = inspect(&mut link, &request, &|| clock.get());
            serde_json::to_string(&inspection).expect("an inspection can be written");
            reading
        };
        check(&reading, &link.seen, &known, knows & 0x08 == 0);
        remember(&mut refused, &reading);
        shortcuts = reading.shortcuts;
        link.card.reset();
    }
    if could_be_tried && !link.lied_about_pin {
        assert!(link.card.tries_left(1).is_some_and(|left| left > 0), "the PIN was blocked");
    }
}

/// What a caller does with a reading, as [`CardReading`] says it.
fn remember(refused: &mut Vec<RefusedPin>, reading: &CardReading) {
    for pin in reading.refused_pin.iter().chain(&reading.accepted_pin) {
        refused.retain(|known| !known.is_same_pin(pin));
    }
    refused.extend(reading.refused_pin.clone());
}

fn check(reading: &CardReading, seen: &Seen, known: &[RefusedPin], once: bool) {
    assert!(reading.counts.total() as usize <= MOST_COMMANDS);
    assert!(seen.commands <= if once { MOST_COMMANDS } else { 2 * MOST_COMMANDS });
    if once {
        assert_eq!(reading.counts.total() as usize, seen.commands, "commands are counted");
    }
    if let Ok(message) = &reading.message {
        assert!((1..=MOST_BYTES).contains(&message.len()));
    }
    if let Err(error) = &reading.message {
        assert!(!error.to_string().is_empty());
    }
    assert!(seen.opened.is_empty(), "channels were left open: {:?}", seen.opened);
    assert!(seen.pins_sent <= 1, "a PIN was sent {} times", seen.pins_sent);
    let certain = |pin: &&RefusedPin| pin.unanswered.is_none();
    if let (Some(iccid), Some(reference)) = (&reading.iccid, seen.pin_sent_to) {
        let before = known.iter().filter(certain).any(|pin| pin.iccid == *iccid && pin.reference == reference);
        assert!(!before, "a refused PIN was sent again");
    }
    let _ = format!("{reading:?}");
}

/// What went over the link in one reading.
#[derive(Default)]
struct Seen {
    commands: usize,
    /// Channels that the reader was given and has not closed.
    opened: Vec<u8>,
    pins_sent: u32,
    pin_sent_to: Option<u8>,
    /// The last answer to a question for the tries that are left: P2 and the status.
    tries: Option<(u8, [u8; 2])>,
    /// Whether the last command was on the basic channel.
    on_basic: bool,
}

/// A virtual UICC whose answers are changed on the way.
struct Changed<'a> {
    card: VirtualUicc,
    exclusive: bool,
    /// The last change is made to every answer from then on.
    endless: bool,
    script: Script<'a>,
    /// So many answers are left as they are.
    honest: u8,
    last: Option<Change<'a>>,
    clock: &'a Cell<Duration>,
    seen: Seen,
    lied_about_pin: bool,
}

/// What is done to an answer.
#[derive(Clone, Copy)]
enum Change<'a> {
    None,
    Whole(&'a [u8]),
    Status([u8; 2]),
    OnlyStatus([u8; 2]),
    Cut(u8),
    Flip(u8, u8),
    Longer(u8, u8),
    Lost(u8),
    Slow(u8),
}

impl<'a> Changed<'a> {
    /// A byte below 0x40: so many answers and this one are left as they are. Above, its rest by 8 says what is done, and
    /// the bytes behind it with what.
    fn change(&mut self) -> Change<'a> {
        if self.honest > 0 {
            self.honest -= 1;
            return Change::None;
        }
        let Some(what) = self.script.byte() else {
            return self.last.filter(|_| self.endless).unwrap_or(Change::None);
        };
        let mut next = || self.script.byte().unwrap_or(0);
        let change = match what {
            0..0x40 => {
                self.honest = what;
                return Change::None;
            }
            _ => match what % 8 {
                0 => Change::Whole(self.script.counted()),
                1 => Change::Status([next(), next()]),
                2 => Change::OnlyStatus([next(), next()]),
                3 => Change::Cut(next()),
                4 => Change::Flip(next(), next()),
                5 => Change::Longer(next(), next()),
                6 => Change::Lost(next()),
                _ => Change::Slow(next()),
            },
        };
        self.last = Some(change);
        change
    }

    /// Rules for what the reader may send at all.
    fn look_at(&mut self, command: &[u8]) {
        let [cla, ins, p1, p2, ..] = command else { panic!("a command of {} bytes", command.len()) };
        assert!(command.len() <= 261);
        self.seen.commands += 1;
        let channel = channel_of(*cla).expect("a class with a channel");
        let follows = *ins == GET_RESPONSE && self.seen.on_basic;
        assert!(
            self.exclusive || channel != 0 || *ins == MANAGE_CHANNEL || follows,
            "the modem's channel was used: {command:02X?}"
        );
        self.seen.on_basic = channel == 0;
        if *ins == MANAGE_CHANNEL && *p1 == 0x80 {
            self.seen.opened.retain(|open| open != p2);
        }
        if *ins == VERIFY && command.len() > 5 {
            self.seen.pins_sent += 1;
            self.seen.pin_sent_to = Some(*p2);
            let Some((reference, [0x63, tries])) = self.seen.tries else { panic!("tries were not asked for") };
            assert_eq!(reference, *p2);
            assert!(tries & 0xF0 == 0xC0 && tries & 0x0F >= 2, "the last try was used");
        }
    }

    fn look_at_answer(&mut self, command: &[u8], answer: &[u8]) {
        if let ([_, MANAGE_CHANNEL, 0, ..], [channel @ 1..=19, 0x90, 0x00]) = (command, answer) {
            self.seen.opened.push(*channel);
        }
        if let ([_, VERIFY, _, reference], [.., sw1, sw2]) | ([_, VERIFY, _, reference, 0], [.., sw1, sw2]) =
            (command, answer)
        {
            self.seen.tries = Some((*reference, [*sw1, *sw2]));
        }
    }
}

impl Link for Changed<'_> {
    fn protocol(&self) -> Protocol {
        self.card.protocol()
    }

    fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.look_at(command);
        let mut answer = self.card.answer(command);
        let honest = answer.clone();
        match self.change() {
            Change::None => {}
            Change::Whole(bytes) => answer = bytes.to_vec(),
            Change::Status(status) => {
                answer.truncate(answer.len().saturating_sub(2));
                answer.extend(status);
            }
            Change::OnlyStatus(status) => answer = status.to_vec(),
            Change::Cut(length) => answer.truncate(length.into()),
            Change::Flip(at, with) => {
                if let Some(byte) = answer.get_mut(usize::from(at)) {
                    *byte ^= with;
                }
            }
            Change::Longer(count, with) => answer.extend(std::iter::repeat_n(with, count.into())),
            Change::Lost(how) => {
                let why = "so it was".to_owned();
                return Err(match how % 3 {
                    0 => LinkError::Removed(why),
                    1 => LinkError::Timeout(why),
                    _ => LinkError::Io(why),
                });
            }
            Change::Slow(seconds) => self.clock.set(self.clock.get() + Duration::from_secs(seconds.into())),
        }
        if command.get(1) == Some(&VERIFY) && answer != honest {
            self.lied_about_pin = true;
        }
        self.look_at_answer(command, &answer);
        Ok(answer)
    }
}
