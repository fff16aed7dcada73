//! Reading a card in a modem, in memory: every way in which modems differ, and modems that are hostile.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use omadm_card::apdu::{MANAGE_CHANNEL, Protocol};
use omadm_card::inspect::{MessageView, inspect};
use omadm_card::link::at::{AtLink, Port, PortError, Presence};
use omadm_card::link::{Opening, Patience};
use omadm_card::make::{CardPlan, Content, Listing, make};
use omadm_card::virtual_modem::{ModemQuirk, VirtualModem};
use omadm_card::{CardErrorKind, CardReading, Link, LinkError, Place, ReadRequest, VirtualUicc, read};
use omadm_core::bootstrap::sequence::Admitted;
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;

const ICCID: &str = "8901012345678901234";
const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;

fn plan() -> CardPlan {
    CardPlan::new(ICCID.parse().unwrap(), MESSAGE.as_bytes())
}

fn large() -> Vec<u8> {
    format!("[{}7]", "7,".repeat(600)).into_bytes()
}

/// A modem at the other end of a wire, with the time that passes there.
struct Wire<'a, M> {
    modem: &'a RefCell<M>,
    clock: &'a Cell<Duration>,
    waiting: Vec<u8>,
    /// How many bytes are given at a time.
    step: usize,
}

/// What answers bytes with bytes.
trait Answers {
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8>;
}

impl Answers for VirtualModem {
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        VirtualModem::answer(self, bytes)
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Answers for F {
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        self(bytes)
    }
}

impl<M: Answers> Port for Wire<'_, M> {
    fn write(&mut self, bytes: &[u8], _: Duration) -> Result<(), PortError> {
        let answer = self.modem.borrow_mut().answer(bytes);
        self.waiting.extend(answer);
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], limit: Duration) -> Result<usize, PortError> {
        let count = self.waiting.len().min(room.len()).min(self.step);
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

fn wire<'a, M>(modem: &'a RefCell<M>, clock: &'a Cell<Duration>) -> Wire<'a, M> {
    Wire { modem, clock, waiting: Vec::new(), step: 7 }
}

fn modem(plan: &CardPlan, quirks: &[ModemQuirk]) -> RefCell<VirtualModem> {
    RefCell::new(VirtualModem::new(VirtualUicc::new(&make(plan).unwrap()), quirks))
}

/// Opens and reads; the link is closed at the end.
fn read_from<M: Answers>(modem: &RefCell<M>, request: &ReadRequest<'_>) -> CardReading {
    let clock = Cell::new(Duration::ZERO);
    match AtLink::open(wire(modem, &clock), &Patience::default()) {
        Ok(mut link) => read(&mut link, request, &|| clock.get()),
        Err(error) => CardReading::unreachable(error.into()),
    }
}

/// How many AT commands it takes to open a behaving modem and to read its card.
fn commands_of_a_reading() -> u32 {
    let (modem, asked) = (modem(&plan(), &[]), Cell::new(0));
    let counted = RefCell::new(|bytes: &[u8]| {
        asked.set(asked.get() + 1);
        modem.borrow_mut().answer(bytes)
    });
    assert!(read_from(&counted, &ReadRequest::default()).message.is_ok());
    asked.get()
}

fn kind(reading: &CardReading) -> CardErrorKind {
    reading.message.as_ref().unwrap_err().kind
}

/// What must hold whatever a modem does.
fn check_channel_0(modem: &RefCell<VirtualModem>, what: &str) {
    for command in modem.borrow().basic_channel() {
        assert_eq!(command.get(1), Some(&MANAGE_CHANNEL), "{what}: {command:02X?} on channel 0");
    }
}

#[test]
fn a_behaving_modem_takes_five_commands_and_the_reads() {
    let modem = modem(&plan(), &[]);
    let reading = read_from(&modem, &ReadRequest::default());
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert_eq!(reading.iccid.unwrap().as_str(), ICCID);
    // Open, three SELECTs, close; ODF, DODF and message take one READ each.
    assert_eq!((reading.counts.bootstrap, reading.counts.identity), (5 + 3, 0));
    assert_eq!(modem.borrow().open_channels(), 0);
    assert!(modem.borrow().basic_channel().is_empty(), "CCHO needs no channel 0");
    let network = reading.sim.mcc.zip(reading.sim.mnc).unwrap();
    assert_eq!((network.0.as_str(), network.1.as_str()), ("001", "01"));
    assert!(reading.sim.ready && reading.sim.present);
}

#[test]
fn without_ccho_six_commands_and_the_reads_go_by_csim() {
    let modem = modem(&plan(), &[ModemQuirk::NoCcho]);
    let reading = read_from(&modem, &ReadRequest::default());
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    // That CCHO was tried counts too.
    assert_eq!(reading.counts.bootstrap, 1 + 6 + 3);
    assert_eq!(modem.borrow().passed(), 6 + 3);
    check_channel_0(&modem, "no-ccho");
    let modem = modem.borrow();
    let [open, close] = modem.basic_channel() else { panic!("{:02X?}", modem.basic_channel()) };
    assert_eq!((open.as_slice(), close.as_slice()), (&[0, 0x70, 0, 0, 1][..], &[0, 0x70, 0x80, 1][..]));
}

#[test]
fn the_message_is_read_whatever_one_modem_does_otherwise() {
    for protocol in [Protocol::T0, Protocol::T1] {
        for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
            for (quirk, name) in ModemQuirk::ALL {
                let plan = CardPlan { protocol, listing, content: Content::Message(large()), ..plan() };
                let modem = modem(&plan, &[quirk]);
                let reading = read_from(&modem, &ReadRequest::default());
                let what = format!("{name}, {protocol}, {listing:?}");
                check_channel_0(&modem, &what);
                if quirk == ModemQuirk::NoSim {
                    assert_eq!(kind(&reading), CardErrorKind::NoCard, "{what}");
                    continue;
                }
                assert_eq!(reading.message.as_deref(), Ok(large().as_slice()), "{what}");
                assert_eq!(reading.iccid.as_ref().unwrap().as_str(), ICCID, "{what}");
                let is_ready =
                    !matches!(quirk, ModemQuirk::PinPending | ModemQuirk::NotRegistered | ModemQuirk::RegistrationLate);
                assert_eq!(reading.sim.ready, is_ready, "{what}: {:?}", reading.sim);
                if !is_ready {
                    assert_eq!(reading.sim.reason, Some(Reason::SimNotReady), "{what}");
                }
                let is_open = usize::from(quirk == ModemQuirk::NoCchc);
                assert_eq!(modem.borrow().open_channels(), is_open, "{what}");
            }
        }
    }
}

#[test]
fn every_pair_of_quirks_gives_the_message_or_the_right_reason() {
    use ModemQuirk::{CsimFailsOnOpened, NoCcho, NoCsim, NoSim};
    for protocol in [Protocol::T0, Protocol::T1] {
        for (one, first) in ModemQuirk::ALL {
            for (other, second) in ModemQuirk::ALL {
                let modem = modem(&CardPlan { protocol, ..plan() }, &[one, other]);
                let reading = read_from(&modem, &ReadRequest::default());
                let what = format!("{first}, {second}, {protocol}");
                check_channel_0(&modem, &what);
                let has = |quirk| one == quirk || other == quirk;
                let expected = match () {
                    () if has(NoSim) => Some(CardErrorKind::NoCard),
                    () if has(NoCcho) && has(NoCsim) => Some(CardErrorKind::NoLogicalChannel),
                    () if has(NoCcho) && has(CsimFailsOnOpened) => Some(CardErrorKind::Io),
                    () => None,
                };
                match expected {
                    Some(expected) => assert_eq!(kind(&reading), expected, "{what}: {:?}", reading.message),
                    None => assert_eq!(reading.message.as_deref(), Ok(MESSAGE.as_bytes()), "{what}"),
                }
            }
        }
    }
}

#[test]
fn blocks_become_smaller_once_and_stay_so() {
    let modem = modem(&CardPlan { content: Content::Message(large()), ..plan() }, &[ModemQuirk::Blocks64]);
    let clock = Cell::new(Duration::ZERO);
    let mut link = AtLink::open(wire(&modem, &clock), &Patience::default()).unwrap();
    let first = read(&mut link, &ReadRequest::default(), &|| clock.get());
    let passed = modem.borrow().passed();
    let second = read(&mut link, &ReadRequest::default(), &|| clock.get());
    assert_eq!((first.message.as_deref(), second.message.as_deref()), (Ok(&*large()), Ok(&*large())));
    // What was refused was passed to the card too, the first time.
    assert!(modem.borrow().passed() - passed < passed, "{passed} and {}", modem.borrow().passed());
}

#[test]
fn another_pin_than_the_modems_opens_a_private_object_and_the_modems_own_is_left_alone() {
    let private = |pin_reference| {
        let pin = Some(Secret::from("1234"));
        VirtualUicc::new(&make(&CardPlan { pin, pin_reference, ..plan() }).unwrap())
    };
    let pin = Secret::from("1234");
    let request = ReadRequest { pin: Some(&pin), ..ReadRequest::default() };
    for quirks in [&[][..], &[ModemQuirk::NoCcho]] {
        // The user entered the modem's own PIN when it started, so its object is open.
        let modem = RefCell::new(VirtualModem::new(private(0x01), quirks));
        let reading = read_from(&modem, &request);
        assert_eq!(reading.message.as_deref(), Ok(MESSAGE.as_bytes()), "{quirks:?}");
        assert!(reading.behind_pin);
        check_channel_0(&modem, "private");
        // It waits for the PIN: that is the modem's matter.
        let pending = [quirks, &[ModemQuirk::PinPending]].concat();
        let modem = RefCell::new(VirtualModem::new(private(0x01), &pending));
        let reading = read_from(&modem, &request);
        assert_eq!(kind(&reading), CardErrorKind::PinNeeded);
        assert_eq!(reading.message.unwrap_err().place, Place::Pin(1));
        assert_eq!(modem.borrow().card().unwrap().tries_left(1), Some(3));
        check_channel_0(&modem, "private");
        // A PIN of the application is ours to send.
        let modem = RefCell::new(VirtualModem::new(private(0x81), quirks));
        let reading = read_from(&modem, &request);
        assert_eq!(reading.message.as_deref(), Ok(MESSAGE.as_bytes()), "{quirks:?}");
        assert!(reading.behind_pin);
        assert_eq!(modem.borrow().card().unwrap().tries_left(0x81), Some(3));
    }
}

#[test]
fn the_link_itself_keeps_off_channel_0_and_the_modems_pins() {
    let modem = modem(&plan(), &[]);
    let clock = Cell::new(Duration::ZERO);
    let mut link = AtLink::open(wire(&modem, &clock), &Patience::default()).unwrap();
    assert!(!link.is_exclusive());
    for command in
        [&[0, 0xA4, 8, 4, 2, 0x2F, 0xE2, 0][..], &[0x80, 0xF2, 0, 0, 0], &[0, 0xC0, 0, 0, 9], &[0xFF, 0x70], &[]]
    {
        assert!(matches!(link.transmit(command), Err(LinkError::Io(_))), "{command:02X?}");
    }
    let Opening::Opened(handle) = link.open_application(&omadm_card::pkcs15::AID).unwrap() else {
        panic!("not opened")
    };
    for reference in [0x01, 0x11] {
        assert!(link.transmit_to(handle, &[0, 0x20, 0, reference]).is_err());
        assert!(link.transmit(&[1, 0x20, 0, reference]).is_err());
    }
    assert_eq!(modem.borrow().passed(), 1, "only the channel was opened");
}

#[test]
fn a_card_without_the_application_is_told_from_a_modem_without_channels() {
    let mut parts = make(&plan()).unwrap().into_parts();
    parts.applications.remove(0);
    let bare = || VirtualUicc::new(&parts.clone().try_into().unwrap());
    for quirks in [&[][..], &[ModemQuirk::NoCcho], &[ModemQuirk::NoCsim]] {
        // EF(DIR) still lists what is not there.
        let modem = RefCell::new(VirtualModem::new(bare(), quirks));
        let reading = read_from(&modem, &ReadRequest::default());
        let expected =
            if quirks == [ModemQuirk::NoCsim] { CardErrorKind::NoLogicalChannel } else { CardErrorKind::NoPkcs15 };
        assert_eq!(kind(&reading), expected, "{quirks:?}");
        assert!(reading.sim.ready, "the modem tells of the SIM all the same");
    }
    for file in parts.files.iter_mut().filter(|file| file.id.0 == 0x2F00) {
        // The USIM alone.
        let record = usize::from(file.record_length.unwrap());
        let usim = file.content.0.chunks(record).find(|one| one.windows(3).any(|three| three == [0x87, 0x10, 0x02]));
        file.content.0 = usim.unwrap().to_vec();
    }
    let modem = RefCell::new(VirtualModem::new(VirtualUicc::new(&parts.try_into().unwrap()), &[ModemQuirk::NoCsim]));
    let reading = read_from(&modem, &ReadRequest::default());
    assert_eq!(kind(&reading), CardErrorKind::NoPkcs15, "neither opened nor listed");
}

#[test]
fn an_application_under_a_longer_aid_is_opened_as_ef_dir_lists_it() {
    /// Refuses the AID that everybody uses.
    struct Picky(VirtualModem);
    impl Answers for Picky {
        fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
            if bytes.starts_with(b"AT+CCHO=") && !bytes.windows(4).any(|four| four == b"0101") {
                return b"\r\n+CME ERROR: 22\r\n".to_vec();
            }
            self.0.answer(bytes)
        }
    }
    let mut parts = make(&plan()).unwrap().into_parts();
    let longer = [&omadm_card::pkcs15::AID[..], &[0x01, 0x01]].concat();
    let listed = parts.applications.iter_mut().find(|one| one.aid.0 == omadm_card::pkcs15::AID).unwrap();
    listed.aid.0 = longer.clone();
    let dir = parts.files.iter_mut().find(|file| file.id.0 == 0x2F00).unwrap();
    let record = usize::from(dir.record_length.unwrap());
    let mut entry = [&[0x61, 0x10, 0x4F, 0x0E][..], &longer].concat();
    entry.resize(record, 0xFF);
    dir.content.0.extend(entry);
    let card = VirtualUicc::new(&parts.try_into().unwrap());
    for quirks in [&[ModemQuirk::NoCsim][..], &[ModemQuirk::NoCsim, ModemQuirk::Bare]] {
        let modem = RefCell::new(Picky(VirtualModem::new(card.clone(), quirks)));
        let reading = read_from(&modem, &ReadRequest::default());
        assert_eq!(reading.message.as_deref(), Ok(MESSAGE.as_bytes()), "{quirks:?}");
    }
}

#[test]
fn of_a_card_that_is_not_admitted_only_the_modem_is_asked() {
    let modem = modem(&plan(), &[]);
    let admitted = Admitted::Exactly(Vec::new());
    let reading = read_from(&modem, &ReadRequest { admitted: &admitted, ..ReadRequest::default() });
    assert_eq!(kind(&reading), CardErrorKind::NotAllowed);
    assert_eq!(modem.borrow().passed(), 0);
    assert!(reading.sim.ready && reading.iccid.is_some());
}

#[test]
fn a_sim_that_is_exchanged_or_taken_out_while_it_is_read_is_noticed() {
    let other = VirtualUicc::new(&make(&CardPlan::new("8988211000000000017".parse().unwrap(), b"[7]")).unwrap());
    let commands = commands_of_a_reading();
    for next in [None, Some(other)] {
        for at in 0..commands {
            let modem = modem(&plan(), &[]);
            let mut asked = 0;
            let changed = RefCell::new(|bytes: &[u8]| {
                if asked == at {
                    modem.borrow_mut().set_card(next.clone());
                }
                asked += 1;
                modem.borrow_mut().answer(bytes)
            });
            let reading = read_from(&changed, &ReadRequest::default());
            match &reading.message {
                // Whole from one card, before the change or after it.
                Ok(message) if reading.iccid.as_ref().unwrap().as_str() == ICCID => {
                    assert_eq!(message, MESSAGE.as_bytes())
                }
                Ok(message) => assert_eq!(message, b"[7]", "at {at}"),
                Err(error) => assert!(
                    matches!(error.kind, CardErrorKind::Removed | CardErrorKind::NoCard | CardErrorKind::Io),
                    "at {at}: {error}"
                ),
            }
            assert_eq!(modem.borrow().open_channels(), 0, "at {at}");
            check_channel_0(&modem, "exchanged");
        }
    }
}

#[test]
fn presence_is_told_without_a_channel() {
    let clock = Cell::new(Duration::ZERO);
    let limit = Duration::from_secs(10);
    let present = modem(&plan(), &[]);
    assert_eq!(AtLink::presence(wire(&present, &clock), limit), Ok(Some(Presence::Card(ICCID.parse().unwrap()))));
    let empty = modem(&plan(), &[ModemQuirk::NoSim]);
    assert_eq!(AtLink::presence(wire(&empty, &clock), limit), Ok(Some(Presence::Empty)));
    let unclear = modem(&plan(), &[ModemQuirk::NoSim, ModemQuirk::ErrorsPlain]);
    assert_eq!(AtLink::presence(wire(&unclear, &clock), limit), Ok(None));
}

#[test]
fn an_empty_slot_is_believed_after_two_seconds_and_silence_only_at_the_end() {
    let patience = Patience::default();
    let open = |quirks: &[ModemQuirk]| {
        let (modem, clock) = (modem(&plan(), quirks), Cell::new(Duration::ZERO));
        let error = AtLink::open(wire(&modem, &clock), &patience).map(|_| ()).unwrap_err();
        assert!(matches!(error, LinkError::NoCard(_)), "{error}");
        clock.get()
    };
    let clear = open(&[ModemQuirk::NoSim]);
    assert!((patience.empty..patience.empty + Duration::from_secs(1)).contains(&clear), "{clear:?}");
    let unclear = open(&[ModemQuirk::NoSim, ModemQuirk::ErrorsPlain]);
    assert!((patience.wait..patience.wait + Duration::from_secs(1)).contains(&unclear), "{unclear:?}");
    let (silent, clock) = (RefCell::new(|_: &[u8]| Vec::new()), Cell::new(Duration::ZERO));
    assert!(matches!(AtLink::open(wire(&silent, &clock), &patience), Err(LinkError::NoCard(_))));
    assert!((patience.wait..patience.wait + Duration::from_secs(3)).contains(&clock.get()), "{:?}", clock.get());
}

#[test]
fn a_modem_that_registers_late_becomes_ready() {
    let modem = modem(&plan(), &[ModemQuirk::RegistrationLate]);
    let ready: Vec<bool> = (0..4).map(|_| read_from(&modem, &ReadRequest::default()).sim.ready).collect();
    assert_eq!(ready, [false, false, true, true]);
}

/// How a modem is hostile once it has been opened honestly.
#[test]
fn a_hostile_modem_is_given_up_within_bounds() {
    let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let hostile: [(&str, Vec<u8>); 8] = [
        ("silence", Vec::new()),
        ("an endless line", vec![b'A'; 100_000]),
        ("endless lines that nobody asked for", b"\r\n+CREG: 1\r\n".repeat(10_000)),
        ("noise", noise),
        ("OK alone", b"\r\nOK\r\n".to_vec()),
        ("many answers", b"\r\n+CSIM: 4,\"9000\"\r\n+CGLA: 4,\"9000\"\r\n".repeat(2_000)),
        ("a huge response", format!("\r\n+CGLA: 4000,\"{}\"\r\nOK\r\n", "90".repeat(1_990)).into_bytes()),
        ("9000 and nothing else", b"\r\n+CGLA: 4,\"9000\"\r\n+CSIM: 4,\"9000\"\r\n+CCHO: 1\r\nOK\r\n".to_vec()),
    ];
    for (what, answer) in hostile {
        // Who lies at the close only is too late.
        for honest in 0..commands_of_a_reading() - 1 {
            let (modem, asked) = (modem(&plan(), &[]), Cell::new(0));
            let changed = RefCell::new(|bytes: &[u8]| {
                asked.set(asked.get() + 1);
                if asked.get() > honest { answer.clone() } else { modem.borrow_mut().answer(bytes) }
            });
            let clock = Cell::new(Duration::ZERO);
            let patience = Patience { wait: Duration::from_secs(1), ..Patience::default() };
            let wire = Wire { modem: &changed, clock: &clock, waiting: Vec::new(), step: 1_024 };
            if let Ok(mut link) = AtLink::open(wire, &patience) {
                let reading = read(&mut link, &ReadRequest::default(), &|| clock.get());
                assert!(reading.message.is_err(), "{what} after {honest}: {reading:?}");
            }
            assert!(clock.get() <= Duration::from_secs(40), "{what} after {honest}: {:?}", clock.get());
            assert!(asked.get() < 1_500, "{what} after {honest}: {} commands", asked.get());
        }
    }
}

#[test]
fn a_channel_is_closed_although_an_answer_is_late() {
    let modem = modem(&plan(), &[]);
    let (asked, late) = (Cell::new(0), RefCell::new(Vec::new()));
    let slow = RefCell::new(|bytes: &[u8]| {
        asked.set(asked.get() + 1);
        let answer = modem.borrow_mut().answer(bytes);
        // The first command on the channel is answered when the next one comes.
        let is_late = bytes.starts_with(b"AT+CGLA") && late.borrow().is_empty();
        let earlier = late.replace(if is_late { answer.clone() } else { Vec::new() });
        if is_late { Vec::new() } else { [earlier, answer].concat() }
    });
    let reading = read_from(&slow, &ReadRequest::default());
    assert_eq!(kind(&reading), CardErrorKind::Timeout);
    assert_eq!(modem.borrow().open_channels(), 0);
}

#[test]
fn what_a_modem_sent_before_is_left_out() {
    let modem = modem(&plan(), &[]);
    let clock = Cell::new(Duration::ZERO);
    let mut wire = wire(&modem, &clock);
    wire.waiting = b"\"9000\"\r\nOK\r\nERROR\r\n+CPIN: SIM PUK\r\n+CGLA: 4,\"90".to_vec();
    let mut link = AtLink::open(wire, &Patience::default()).unwrap();
    assert_eq!(read(&mut link, &ReadRequest::default(), &|| clock.get()).message.unwrap(), MESSAGE.as_bytes());
}

#[test]
fn a_card_in_a_modem_is_explained() {
    for quirks in [&[][..], &[ModemQuirk::NoCcho]] {
        let modem = modem(&plan(), quirks);
        let clock = Cell::new(Duration::ZERO);
        let mut link = AtLink::open(wire(&modem, &clock), &Patience::default()).unwrap();
        let (inspection, _) = inspect(&mut link, &ReadRequest::default(), &|| clock.get());
        assert!(matches!(inspection.message, MessageView::Found { .. }));
        let names: Vec<_> = inspection.files.iter().map(|file| file.name.as_str()).collect();
        for name in ["EF(ICCID)", "EF(DIR)", "EF(ODF)", "EF(DODF)", "EF(DM_Bootstrap)", "EF(IMSI)", "EF(AD)"] {
            assert!(names.contains(&name), "{name} with {quirks:?} in {names:?}");
        }
        check_channel_0(&modem, "inspect");
        assert_eq!(modem.borrow().open_channels(), 0);
    }
}
