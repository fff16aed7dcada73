//! What reading gives for cards that behave, that want a PIN, that are damaged, and that answer anything.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::time::Duration;

use omadm_card::apdu::Protocol;
use omadm_card::image::{Access, Byte, CardFile, FileId};
use omadm_card::make::{CardPlan, Content, Listing, MakeError, make};
use omadm_card::{
    CardErrorKind, CardImage, CardReading, Link, LinkError, Place, ReadRequest, RefusedPin, VirtualUicc, read,
};
use omadm_core::bootstrap::sequence::Admitted;
use omadm_core::secret::Secret;
use proptest::prelude::*;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;
const WITH_SECRET: &str = r#"[{"MOData":{"DMAcc":{"Auth":{"Trsp":{"Secret":"c2VjcmV0"}}}}}]"#;

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes())
}

fn private() -> CardPlan {
    CardPlan { pin: Some(Secret::from("1234")), ..plan() }
}

fn card(plan: &CardPlan) -> VirtualUicc {
    VirtualUicc::new(&make(plan).unwrap())
}

fn read_with(link: &mut dyn Link, pin: Option<&str>, refused: &[RefusedPin]) -> CardReading {
    let pin = pin.map(Secret::from);
    let request = ReadRequest { pin: pin.as_ref(), refused, ..ReadRequest::default() };
    read(link, &request, &|| Duration::ZERO)
}

fn kind(reading: &CardReading) -> CardErrorKind {
    reading.message.as_ref().unwrap_err().kind
}

/// A card whose answers are changed on the way.
struct Changed<L, F>(L, F);

impl<L: Link, F: FnMut(&[u8], Vec<u8>) -> Result<Vec<u8>, LinkError>> Link for Changed<L, F> {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.0.transmit(command)?;
        (self.1)(command, answer)
    }
}

#[test]
fn every_listing_and_protocol_gives_the_message_and_the_network() {
    for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
        for protocol in [Protocol::T0, Protocol::T1] {
            for file_size in [None, Some(1_000)] {
                let reading = read_with(&mut card(&CardPlan { listing, protocol, file_size, ..plan() }), None, &[]);
                assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes(), "{listing:?} {protocol}");
                assert!(reading.sim.ready && reading.sim.present && !reading.behind_pin);
                let network = reading.sim.mcc.zip(reading.sim.mnc).unwrap();
                assert_eq!((network.0.as_str(), network.1.as_str()), ("001", "01"));
            }
        }
    }
}

#[test]
fn a_card_without_object_or_usim_says_so() {
    let mut bare = card(&CardPlan { content: Content::None, imsi: None, ..plan() });
    let reading = read_with(&mut bare, None, &[]);
    assert_eq!(kind(&reading), CardErrorKind::NoDmObject);
    assert!(reading.sim.present && !reading.sim.ready);
    assert!(reading.message.unwrap_err().proves_absence());

    let mut parts = make(&plan()).unwrap().into_parts();
    parts.applications.remove(0);
    let reading = read_with(&mut VirtualUicc::new(&parts.try_into().unwrap()), None, &[]);
    assert_eq!(kind(&reading), CardErrorKind::NoPkcs15);
    assert!(reading.sim.ready, "the SIM is looked at all the same");
}

#[test]
fn a_message_of_dm_1x_is_told_apart() {
    for content in [&b"\x03\x0B\x6A\x00\x01"[..], b"<?xml version=\"1.0\"?><SyncML/>"] {
        let reading = read_with(&mut card(&CardPlan { content: Content::Raw(content.to_vec()), ..plan() }), None, &[]);
        assert_eq!(kind(&reading), CardErrorKind::HoldsDm1x);
    }
}

#[test]
fn the_right_pin_opens_a_private_object_and_costs_no_try() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = card(&CardPlan { protocol, ..private() });
        let reading = read_with(&mut card, Some("1234"), &[]);
        assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
        assert!(reading.behind_pin && reading.refused_pin.is_none());
        assert_eq!(card.tries_left(1), Some(3));
    }
}

#[test]
fn without_a_pin_nothing_is_tried() {
    let mut card = card(&private());
    assert_eq!(kind(&read_with(&mut card, None, &[])), CardErrorKind::PinNeeded);
    assert_eq!(kind(&read_with(&mut card, Some("12"), &[])), CardErrorKind::PinNeeded);
    assert_eq!(card.tries_left(1), Some(3));
}

#[test]
fn a_refused_pin_is_remembered_and_never_sent_again_but_another_one_is() {
    let mut card = card(&private());
    let reading = read_with(&mut card, Some("9999"), &[]);
    assert_eq!(kind(&reading), CardErrorKind::PinRefused);
    let refused = vec![reading.refused_pin.unwrap()];
    assert_eq!(card.tries_left(1), Some(2));
    for _ in 0..3 {
        card.reset();
        let reading = read_with(&mut card, Some("9999"), &refused);
        assert_eq!((kind(&reading), reading.refused_pin), (CardErrorKind::PinRefused, None));
        assert_eq!(card.tries_left(1), Some(2));
    }
    assert!(read_with(&mut card, Some("1234"), &refused).message.is_ok());
}

#[test]
fn the_last_try_is_never_used_and_a_blocked_pin_not_sent() {
    for (left, said) in [(1, "one try is left"), (0, "blocked")] {
        let mut parts = make(&private()).unwrap().into_parts();
        parts.pins[0].tries_left = left;
        let mut card = VirtualUicc::new(&parts.try_into().unwrap());
        let reading = read_with(&mut card, Some("1234"), &[]);
        let error = reading.message.unwrap_err();
        assert_eq!(error.kind, CardErrorKind::PinRefused);
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(card.tries_left(1), Some(left));
    }
}

#[test]
fn a_card_that_may_not_configure_the_device_gets_no_pin() {
    let pin = Secret::from("9999");
    let mut card = card(&private());
    for admitted in [Admitted::Exactly(vec!["89".to_owned()]), Admitted::Prefixes(vec!["8949".to_owned()])] {
        let request = ReadRequest { pin: Some(&pin), admitted: &admitted, ..ReadRequest::default() };
        let reading = read(&mut card, &request, &|| Duration::ZERO);
        assert_eq!(kind(&reading), CardErrorKind::NotAllowed);
        assert!(reading.refused_pin.is_none() && reading.sim.ready, "its network is known all the same");
        assert!(!reading.message.unwrap_err().proves_absence());
    }
    assert_eq!(card.tries_left(1), Some(3));
    let admitted = Admitted::Prefixes(vec!["8901".to_owned()]);
    let request = ReadRequest { pin: Some(&pin), admitted: &admitted, ..ReadRequest::default() };
    assert_eq!(kind(&read(&mut card, &request, &|| Duration::ZERO)), CardErrorKind::PinRefused);
}

#[test]
fn a_file_behind_a_pin_that_the_directory_calls_open_is_opened_too() {
    let mut parts = make(&private()).unwrap().into_parts();
    let open = make(&plan()).unwrap().into_parts();
    parts.applications[0].files[2] = open.applications[0].files[2].clone();
    let reading = read_with(&mut VirtualUicc::new(&parts.try_into().unwrap()), Some("1234"), &[]);
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert!(reading.behind_pin);
}

#[test]
fn with_several_pins_the_access_rule_and_then_the_pin_object_tell_which() {
    let mut parts = make(&private()).unwrap().into_parts();
    let second = omadm_card::image::Pin { reference: Byte(0x81), ..parts.pins[0].clone() };
    parts.pins.insert(0, omadm_card::image::Pin { value: Secret::from("5678"), ..second });
    let image: CardImage = parts.clone().try_into().unwrap();
    assert!(read_with(&mut VirtualUicc::new(&image), Some("1234"), &[]).message.is_ok(), "EF(ARR)");

    let blank = CardFile { record_length: Some(4), ..CardFile::new(0x2F06, "", vec![0xFF; 16]) };
    parts.files.push(blank);
    let image: CardImage = parts.try_into().unwrap();
    assert!(read_with(&mut VirtualUicc::new(&image), Some("1234"), &[]).message.is_ok(), "EF(AODF)");
}

#[test]
fn a_pin_is_not_sent_where_a_refusal_could_not_be_remembered() {
    let mut parts = make(&private()).unwrap().into_parts();
    parts.files.retain(|file| file.id != FileId(0x2FE2));
    let mut card = VirtualUicc::new(&parts.try_into().unwrap());
    assert_eq!(kind(&read_with(&mut card, Some("9999"), &[])), CardErrorKind::PinNeeded);
    assert_eq!(card.tries_left(1), Some(3));
}

#[test]
fn without_logical_channels_the_basic_one_is_used_if_it_is_ours() {
    for refusal in [[0x68, 0x81], [0x6D, 0x00], [0x6A, 0x81], [0x6E, 0x00]] {
        let mut link = Changed(card(&plan()), |command: &[u8], answer| {
            Ok(if command[1] == 0x70 { refusal.to_vec() } else { answer })
        });
        assert_eq!(read_with(&mut link, None, &[]).message.unwrap(), MESSAGE.as_bytes());
    }

    struct Shared(VirtualUicc, u32);
    impl Link for Shared {
        fn protocol(&self) -> Protocol {
            Protocol::T1
        }
        fn is_exclusive(&self) -> bool {
            false
        }
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
            assert!(command[0] != 0 || command[1] == 0x70, "the modem's channel");
            self.1 += 1;
            if self.1 == 1 && command[3] == 0xFF { Ok(vec![0x68, 0x81]) } else { self.0.transmit(command) }
        }
    }
    let reading = read_with(&mut Shared(card(&plan()), 0), None, &[]);
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert_eq!(kind(&read_with(&mut Shared(card(&private()), 0), Some("1234"), &[])), CardErrorKind::PinNeeded);
}

#[test]
fn cards_and_readers_with_habits_of_their_own_are_read() {
    type Habit = fn(&[u8], Vec<u8>) -> Vec<u8>;
    let habits: [(&str, Habit); 7] = [
        ("knows FCI only", |c, a| if c[1] == 0xA4 && c[3] == 4 { vec![0x6A, 0x86] } else { a }),
        ("returns nothing at SELECT", |c, a| if c[1] == 0xA4 && c[3] != 0x0C { vec![0x6A, 0x86] } else { a }),
        ("gives no FCP", |c, a| if c[1] == 0xA4 { a[a.len() - 2..].to_vec() } else { a }),
        ("refuses paths from the MF", |c, a| if c[1] == 0xA4 && c[2] == 8 { vec![0x6A, 0x86] } else { a }),
        ("selects by identifier only", |c, a| {
            if c[1] == 0xA4 && matches!(c[2], 8 | 9) && c[5] == 0x7F { vec![0x6A, 0x82] } else { a }
        }),
        ("has a toolkit command waiting", |_, a| {
            let mut a = a;
            if a.ends_with(&[0x90, 0x00]) && a.len() > 3 {
                let end = a.len() - 2;
                a[end..].copy_from_slice(&[0x91, 0x0B]);
            }
            a
        }),
        ("gives a few bytes at a time", |c, a| {
            if c[1] == 0xB0 && a.len() > 9 { [&a[..7], &[0x90, 0x00]].concat() } else { a }
        }),
    ];
    for (name, habit) in habits {
        let mut link = Changed(card(&plan()), |command: &[u8], answer| Ok(habit(command, answer)));
        let reading = read_with(&mut link, None, &[]);
        assert_eq!(reading.message.map(|bytes| bytes.len()), Ok(MESSAGE.len()), "{name}");
    }
}

#[test]
fn another_card_at_the_end_is_a_removed_card() {
    let count = Cell::new(0);
    let mut link = Changed(card(&plan()), |command: &[u8], mut answer: Vec<u8>| {
        if command == [0x00, 0xB0, 0x00, 0x00, 0x0A] {
            count.set(count.get() + 1);
            answer[1] ^= count.get();
        }
        Ok(answer)
    });
    assert_eq!(kind(&read_with(&mut link, None, &[])), CardErrorKind::Removed);
}

#[test]
fn a_link_that_fails_at_any_command_gives_its_reason_and_is_not_asked_on() {
    let total = read_with(&mut card(&plan()), None, &[]).counts.total();
    for at in 1..=total {
        for (error, kind_of) in [
            (LinkError::Removed(String::new()), CardErrorKind::Removed),
            (LinkError::Timeout(String::new()), CardErrorKind::Timeout),
            (LinkError::Io(String::new()), CardErrorKind::Io),
        ] {
            let mut sent = 0;
            let mut link = Changed(card(&plan()), |_: &[u8], answer| {
                sent += 1;
                if sent >= at { Err(error.clone()) } else { Ok(answer) }
            });
            let reading = read_with(&mut link, None, &[]);
            // A channel that cannot be closed is no reason to throw the message away.
            if at < total {
                assert_eq!(kind(&reading), kind_of, "{at}");
                assert!(sent <= at + 1, "only the close may follow");
            } else {
                assert!(reading.message.is_ok());
            }
        }
    }
}

#[test]
fn a_reading_ends_at_its_time_limit_and_closes_its_channel() {
    let clock = Cell::new(0);
    let mut closed = false;
    let mut link = Changed(card(&plan()), |command: &[u8], answer| {
        clock.set(clock.get() + 3);
        closed = command == [0x00, 0x70, 0x80, 0x01];
        Ok(answer)
    });
    let reading = read(&mut link, &ReadRequest::default(), &|| Duration::from_secs(clock.get()));
    assert_eq!(kind(&reading), CardErrorKind::Timeout);
    assert!(closed && clock.get() <= 27);
}

#[test]
fn a_truncated_directory_or_message_is_a_failure_with_its_place() {
    let image = make(&private()).unwrap();
    for (index, place) in [(0, Place::Odf), (2, Place::Dodf(0x6430)), (4, Place::Message(0x6434))] {
        let content = image.parts().applications[0].files[index].content.0.clone();
        // The first entry of EF(ODF) is all that the message needs.
        let used = if index == 0 { 8 } else { content.iter().rposition(|byte| *byte != 0xFF).unwrap() + 1 };
        for cut in 0..used {
            for padded in [false, true] {
                let mut parts = image.clone().into_parts();
                let file = &mut parts.applications[0].files[index];
                file.content.0.truncate(cut);
                if padded {
                    file.content.0.resize(content.len(), 0xFF);
                }
                let reading = read_with(&mut VirtualUicc::new(&parts.try_into().unwrap()), Some("1234"), &[]);
                let error = reading.message.unwrap_err();
                if cut == 0 && index != 4 {
                    assert!(matches!(error.kind, CardErrorKind::NoDmObject), "{place}: {cut} {error}");
                } else {
                    assert_eq!(error.kind, CardErrorKind::Malformed, "{place}: {cut} {error}");
                    // A path that was cut may name another file.
                    let other = matches!((index, error.place), (0, Place::Dodf(_)) | (2, Place::Message(_)));
                    assert!(error.place == place || other, "{place}: {cut} {error}");
                }
            }
        }
    }
}

#[test]
fn secrets_that_everybody_could_read_are_refused() {
    let message = Content::Message(WITH_SECRET.as_bytes().to_vec());
    let open = CardPlan { content: message, ..plan() };
    let Err(MakeError::PublicSecret(place)) = make(&open) else { panic!("accepted") };
    assert_eq!(place, "DMAcc/Auth/Trsp/Secret");
    assert!(make(&CardPlan { allow_public_secret: true, ..open.clone() }).is_ok());
    assert!(make(&CardPlan { pin: Some(Secret::from("1234")), ..open }).is_ok());
}

#[test]
fn a_card_that_is_not_possible_is_not_made() {
    let content = |bytes: &[u8]| CardPlan { content: Content::Message(bytes.to_vec()), ..plan() };
    assert!(matches!(make(&content(b"[{}")), Err(MakeError::Message(_))));
    assert!(matches!(make(&content(b"")), Err(MakeError::Message(_))));
    let large = format!("[{}]", "1,".repeat(17_000) + "1");
    assert!(matches!(make(&content(large.as_bytes())), Err(MakeError::TooLarge { limit: 32_767, .. })));
    assert!(matches!(make(&CardPlan { file_size: Some(10), ..plan() }), Err(MakeError::TooLarge { limit: 10, .. })));
    assert!(matches!(make(&CardPlan { imsi: Some("00x".into()), ..plan() }), Err(MakeError::Imsi)));
    assert!(matches!(make(&CardPlan { pin: Some(Secret::from("12")), ..plan() }), Err(MakeError::Image(_))));
    let full = format!("[{}]", "1".repeat(32_765));
    let reading = read_with(&mut card(&content(full.as_bytes())), None, &[]);
    assert_eq!(reading.message.unwrap().len(), 32_767);
}

/// A card that answers from a list, for ever.
struct Oracle {
    protocol: Protocol,
    answers: Vec<Vec<u8>>,
    next: usize,
}

impl Link for Oracle {
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    fn is_exclusive(&self) -> bool {
        self.next.is_multiple_of(2)
    }
    fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.next += 1;
        Ok(self.answers[self.next % self.answers.len()].clone())
    }
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..256),
        Just(vec![1]),
        Just(b"\x62\x0a\x80\x02\xff\xff\x82\x02\x41\x21\x83\x00".to_vec()),
        Just(b"\xA7\x06\x30\x04\x04\x02\x64\x30\xA8\x06\x30\x04\x04\x02\x64\x31".to_vec()),
    ];
    let status = prop_oneof![
        8 => Just([0x90, 0x00]),
        1 => Just([0x62, 0x82]),
        1 => any::<u8>().prop_map(|low| [0x61, low]),
        1 => any::<u8>().prop_map(|low| [0x6C, low]),
        1 => Just([0x69, 0x82]),
        1 => Just([0x6A, 0x86]),
        1 => any::<[u8; 2]>(),
    ];
    (data, status).prop_map(|(data, status)| [data, status.to_vec()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_answers_make_the_reader_hang_or_panic(
        answers in proptest::collection::vec(prop_oneof![20 => answer(), 1 => proptest::collection::vec(any::<u8>(), 0..3)], 1..40),
        t0 in any::<bool>(),
    ) {
        let protocol = if t0 { Protocol::T0 } else { Protocol::T1 };
        let reading = read_with(&mut Oracle { protocol, answers, next: 0 }, Some("1234"), &[]);
        // A thousand, and its channel is closed twice if need be.
        prop_assert!(reading.counts.total() <= 1_002, "{}", reading.counts.total());
    }

    #[test]
    fn one_changed_answer_gives_a_reason_or_the_message(
        at in 0_usize..40,
        byte in 0_usize..300,
        change in 1_u8..,
        t0 in any::<bool>(),
    ) {
        let protocol = if t0 { Protocol::T0 } else { Protocol::T1 };
        let mut sent = 0;
        let mut link = Changed(card(&CardPlan { protocol, ..private() }), |_: &[u8], mut answer: Vec<u8>| {
            if sent == at {
                let byte = byte % answer.len();
                answer[byte] ^= change;
            }
            sent += 1;
            Ok(answer)
        });
        let reading = read_with(&mut link, Some("1234"), &[]);
        prop_assert!(reading.counts.total() <= 1_002);
        if let Err(error) = reading.message {
            prop_assert!(!error.to_string().contains("1234") && !error.detail.is_empty());
        }
        prop_assert!(link.0.tries_left(1) >= Some(2), "a try was wasted");
    }

    #[test]
    fn the_virtual_card_survives_any_commands(
        commands in proptest::collection::vec(command(), 1..60),
        t0 in any::<bool>(),
    ) {
        let protocol = if t0 { Protocol::T0 } else { Protocol::T1 };
        let mut card = card(&CardPlan { protocol, ..private() });
        for command in commands {
            let answer = card.answer(&command);
            prop_assert!((2..=258).contains(&answer.len()), "{command:02X?}");
            prop_assert!(!answer.windows(4).any(|part| part == b"1234"));
        }
    }
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let cla = prop_oneof![6 => Just(0_u8), 3 => 1_u8..4, 1 => any::<u8>()];
    let ins =
        prop_oneof![Just(0xA4), Just(0xB0), Just(0xB2), Just(0xC0), Just(0x70), Just(0x20), Just(0xF2), any::<u8>()];
    let small = || prop_oneof![Just(0_u8), Just(1), Just(2), Just(4), Just(8), Just(9), Just(0x80), any::<u8>()];
    let body = prop_oneof![
        Just(Vec::new()),
        any::<u8>().prop_map(|le| vec![le]),
        proptest::sample::select(vec![
            &[0x7F, 0xFF, 0x50, 0x31][..],
            &[0x2F, 0x00],
            &[0x2F, 0xE2],
            &[0x3F, 0x00],
            b"\xA0\x00\x00\x00\x63\x50\x4B\x43\x53\x2D\x31\x35",
            b"1234\xFF\xFF\xFF\xFF",
        ])
        .prop_map(|data| [&[data.len() as u8], data, &[0]].concat()),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    (cla, ins, small(), small(), body).prop_map(|(cla, ins, p1, p2, body)| [vec![cla, ins, p1, p2], body].concat())
}

#[test]
fn a_pin_whose_refusal_was_lost_is_found_out_and_not_sent_again() {
    let mut card = card(&private());
    let mut lost = |pin: &str, refused: &[RefusedPin]| {
        let is_verify = |command: &[u8]| command[1] == 0x20 && command.len() > 5;
        let mut link = Changed(&mut card, |command: &[u8], answer| {
            if is_verify(command) { Err(LinkError::Removed("as expected by this test".to_owned())) } else { Ok(answer) }
        });
        read_with(&mut link, Some(pin), refused)
    };
    let reading = lost("9999", &[]);
    assert_eq!(kind(&reading), CardErrorKind::Removed);
    let unanswered = vec![reading.refused_pin.unwrap()];
    assert_eq!(unanswered[0].unanswered, Some(3));
    assert_eq!(card.tries_left(1), Some(2));
    card.reset();
    let reading = read_with(&mut card, Some("9999"), &unanswered);
    assert_eq!(kind(&reading), CardErrorKind::PinRefused);
    assert_eq!(card.tries_left(1), Some(2), "the counter tells that it was refused");
    assert_eq!(reading.refused_pin.unwrap().unanswered, None);
    card.reset();
    let right = read_with(&mut card, Some("1234"), &unanswered);
    assert!(right.message.is_ok() && right.accepted_pin.is_none());
    assert_eq!(card.tries_left(1), Some(3));
}

#[test]
fn a_right_pin_whose_answer_was_lost_is_sent_again() {
    let mut card = card(&private());
    let mut link = Changed(&mut card, |command: &[u8], answer| {
        let is_verify = command[1] == 0x20 && command.len() > 5;
        if is_verify { Err(LinkError::Timeout("as expected by this test".to_owned())) } else { Ok(answer) }
    });
    let unanswered = vec![read_with(&mut link, Some("1234"), &[]).refused_pin.unwrap()];
    card.reset();
    let reading = read_with(&mut card, Some("1234"), &unanswered);
    assert!(reading.message.is_ok());
    assert_eq!(reading.accepted_pin, Some(unanswered[0].clone()), "to be forgotten");
}

#[test]
fn an_answer_to_verify_that_says_nothing_about_the_pin_is_found_out_by_the_next_reading() {
    let mut card = card(&private());
    // A channel that the card knows nothing of, for one that was exchanged in between; nothing known; out of memory.
    for status in [[0x68, 0x81], [0x63, 0x00], [0x65, 0x81]] {
        let mut link = Changed(&mut card, |command: &[u8], answer| {
            Ok(if command[1] == 0x20 && command.len() > 5 { status.to_vec() } else { answer })
        });
        let reading = read_with(&mut link, Some("1234"), &[]);
        assert_eq!(kind(&reading), CardErrorKind::Io, "{status:02X?}");
        let kept = vec![reading.refused_pin.unwrap()];
        assert_eq!(kept[0].unanswered, Some(3), "{status:02X?}");
        card.reset();
        let right = read_with(&mut card, Some("1234"), &kept);
        assert!(right.message.is_ok(), "{status:02X?}: the right PIN opens the card again");
        assert_eq!(right.accepted_pin, Some(kept[0].clone()), "to be forgotten");
        card.reset();
    }
    let mut wrong = Changed(&mut card, |command: &[u8], answer| {
        Ok(if command[1] == 0x20 && command.len() > 5 { vec![0x63, 0x00] } else { answer })
    });
    let kept = vec![read_with(&mut wrong, Some("9999"), &[]).refused_pin.unwrap()];
    card.reset();
    let reading = read_with(&mut card, Some("9999"), &kept);
    assert_eq!((kind(&reading), card.tries_left(1)), (CardErrorKind::PinRefused, Some(2)), "the counter tells");
    assert_eq!(reading.refused_pin.unwrap().unanswered, None);
    card.reset();

    for status in [[0x69, 0x83], [0x69, 0x84], [0x63, 0xC2]] {
        let mut link = Changed(&mut card, |command: &[u8], answer| {
            Ok(if command[1] == 0x20 && command.len() > 5 { status.to_vec() } else { answer })
        });
        let reading = read_with(&mut link, Some("1234"), &[]);
        assert_eq!(kind(&reading), CardErrorKind::PinRefused, "{status:02X?}");
        assert_eq!(reading.refused_pin.unwrap().unanswered, None, "{status:02X?}");
        card.reset();
    }
}

#[test]
fn after_a_refused_pin_the_reading_ends_at_once() {
    let mut card = card(&private());
    let after = Cell::new(None);
    let mut link = Changed(&mut card, |command: &[u8], answer: Vec<u8>| {
        after.set(after.get().map(|count: u32| count + 1));
        if command[1] == 0x20 && command.len() > 5 {
            after.set(Some(0));
        }
        Ok(answer)
    });
    let reading = read_with(&mut link, Some("9999"), &[]);
    assert_eq!(kind(&reading), CardErrorKind::PinRefused);
    assert_eq!(after.get(), Some(1), "the channel is closed, and nothing else done");
}

#[test]
fn trouble_at_select_is_no_proof_that_the_card_has_no_object() {
    for (status, proof) in [([0x6A, 0x82], true), ([0x69, 0x99], true), ([0x6D, 0x00], true), ([0x6F, 0x00], false)] {
        let mut link = Changed(card(&plan()), |command: &[u8], answer| {
            let is_pkcs15 = command[1] == 0xA4 && command.get(5..10) == Some(&[0xA0, 0x00, 0x00, 0x00, 0x63]);
            let is_dir = command[1] == 0xA4 && command.get(5..7) == Some(&[0x2F, 0x00]);
            Ok(if is_pkcs15 || is_dir { status.to_vec() } else { answer })
        });
        let error = read_with(&mut link, None, &[]).message.unwrap_err();
        assert_eq!(error.proves_absence(), proof, "{error}");
    }
}

#[test]
fn a_private_object_that_is_open_all_the_same_is_read_without_a_pin() {
    let mut parts = make(&private()).unwrap().into_parts();
    let message = parts.applications[0].files.iter_mut().find(|file| file.id == FileId(0x6434)).unwrap();
    message.read = Access::Always;
    let mut card = VirtualUicc::new(&parts.try_into().unwrap());
    let reading = read_with(&mut card, None, &[]);
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert!(reading.behind_pin, "the directory says so");
    assert_eq!(card.tries_left(1), Some(3));
}
