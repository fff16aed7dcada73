//! Cards, modems and readers with habits of their own: each is read, or gives the reason that is right.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::time::Duration;

use omadm_card::apdu::{Protocol, READ_BINARY, SELECT};
use omadm_card::image::FileId;
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::{CardErrorKind, CardReading, Link, LinkError, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

fn message() -> Vec<u8> {
    format!("[{{\"ClientURI\":\"urn:x:1.0/a/\",\"Fill\":\"{}\"}}]", "x".repeat(700)).into_bytes()
}

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), &message())
}

/// A card whose answers are changed on the way; what it was asked is kept.
struct Habit<'a> {
    card: VirtualUicc,
    shared: bool,
    change: &'a Change<'a>,
    asked: RefCell<Vec<Vec<u8>>>,
}

impl Link for Habit<'_> {
    fn protocol(&self) -> Protocol {
        self.card.protocol()
    }
    fn is_exclusive(&self) -> bool {
        !self.shared
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.asked.borrow_mut().push(command.to_vec());
        let answer = self.card.transmit(command)?;
        (self.change)(command, answer)
    }
}

type Change<'a> = dyn Fn(&[u8], Vec<u8>) -> Result<Vec<u8>, LinkError> + 'a;

fn reading(plan: &CardPlan, shared: bool, change: &Change<'_>) -> (CardReading, Vec<Vec<u8>>) {
    let card = VirtualUicc::new(&make(plan).unwrap());
    let mut link = Habit { card, shared, change, asked: RefCell::default() };
    let pin = Secret::from("1234");
    let reading = read(&mut link, &ReadRequest { pin: Some(&pin), ..ReadRequest::default() }, &|| Duration::ZERO);
    (reading, link.asked.into_inner())
}

fn on_every_protocol(name: &str, change: &Change<'_>) {
    for protocol in [Protocol::T0, Protocol::T1] {
        for pin in [None, Some(Secret::from("1234"))] {
            let plan = CardPlan { protocol, pin, ..plan() };
            let (reading, _) = reading(&plan, false, change);
            assert_eq!(reading.message, Ok(message()), "{name}, {protocol}, PIN {}", plan.pin.is_some());
        }
    }
}

fn status(answer: &[u8]) -> [u8; 2] {
    *answer.last_chunk().unwrap()
}

/// Whether a SELECT, at any channel, is of this P1.
fn selects(command: &[u8], p1: u8) -> bool {
    command[1] == SELECT && command[2] == p1
}

#[test]
fn files_are_found_without_paths_from_the_mf_and_the_card_still_tells_who_it_is() {
    for refusal in [[0x6A, 0x86], [0x6B, 0x00], [0x6A, 0x81]] {
        let change = |command: &[u8], answer| Ok(if selects(command, 0x08) { refusal.to_vec() } else { answer });
        on_every_protocol("P1 = 08 is not known", &change);
        let (reading, _) = reading(&plan(), false, &change);
        assert_eq!(reading.iccid.unwrap().as_str(), "8901012345678901234", "selected step by step");
        assert!(reading.sim.mcc.is_some());
    }
}

#[test]
fn files_are_found_by_their_identifier_alone() {
    on_every_protocol("P1 = 00 only", &|command, answer| {
        Ok(if selects(command, 0x08) || selects(command, 0x09) { vec![0x6A, 0x86] } else { answer })
    });
    on_every_protocol("no alias 7FFF, no P1 = 09", &|command, answer| {
        let alias = selects(command, 0x08) && command.get(5..7) == Some(&[0x7F, 0xFF]);
        Ok(if alias || selects(command, 0x09) { vec![0x6A, 0x82] } else { answer })
    });
}

#[test]
fn the_way_that_worked_is_taken_first_from_then_on() {
    let no_alias = |command: &[u8], answer| {
        let alias = selects(command, 0x08) && command.get(5..7) == Some(&[0x7F, 0xFF]);
        Ok(if alias { vec![0x6A, 0x82] } else { answer })
    };
    let (reading, asked) = reading(&plan(), false, &no_alias);
    assert_eq!(reading.message, Ok(message()));
    let refused = asked.iter().filter(|command| selects(command, 0x08) && command.get(5..7) == Some(&[0x7F, 0xFF]));
    // One for EF(ODF), one for the first file of the USIM, which is read in another session.
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_card_that_answers_in_one_form_for_applications_and_in_another_for_files_is_read() {
    on_every_protocol("FCP for applications, nothing else for files", &|command, answer| {
        let file_with_answer = command[1] == SELECT && command[2] != 0x04 && command[3] != 0x0C;
        Ok(if file_with_answer { vec![0x6A, 0x86] } else { answer })
    });
    on_every_protocol("FCI for applications, FCP for files", &|command, answer| {
        let wrong = command[1] == SELECT && (command[2] == 0x04) != (command[3] == 0x00);
        Ok(if wrong { vec![0x6A, 0x86] } else { answer })
    });
}

#[test]
fn warnings_at_select_are_no_refusal() {
    for warning in [[0x62, 0x00], [0x62, 0x84]] {
        let change = |command: &[u8], mut answer: Vec<u8>| {
            if command[1] == SELECT && status(&answer) == [0x90, 0x00] {
                let end = answer.len() - 2;
                answer[end..].copy_from_slice(&warning);
            }
            Ok(answer)
        };
        let (reading, _) = reading(&plan(), false, &change);
        assert_eq!(reading.message, Ok(message()));
    }
}

#[test]
fn a_card_that_takes_only_short_blocks_gets_them_and_none_other_from_then_on() {
    for most in [128, 64] {
        let change = |command: &[u8], answer| {
            let long = command[1] == READ_BINARY && command[4].wrapping_sub(1) >= most;
            Ok(if long { vec![0x67, 0x00] } else { answer })
        };
        on_every_protocol("short blocks", &change);
        let (_, asked) = reading(&plan(), false, &change);
        let blocks: Vec<u8> = asked.iter().filter(|command| command[1] == READ_BINARY).map(|c| c[4]).collect();
        let refused = blocks.iter().filter(|le| le.wrapping_sub(1) >= most).count();
        assert!(refused <= 4, "{blocks:?}");
    }
}

#[test]
fn a_card_that_refuses_every_length_but_all_is_read_so() {
    let change = |command: &[u8], answer| {
        Ok(if command[1] == READ_BINARY && command[4] != 0 { vec![0x67, 0x00] } else { answer })
    };
    let (reading, asked) = reading(&plan(), false, &change);
    assert_eq!(reading.message, Ok(message()));
    let refused = asked.iter().filter(|command| command[1] == READ_BINARY && command[4] != 0).count();
    // One for each session: ICCID twice, the message, the SIM.
    assert_eq!(refused, 4);
}

#[test]
fn a_terminal_that_takes_le_00_for_nothing_is_never_asked_so_for_a_file() {
    let change = |command: &[u8], answer: Vec<u8>| {
        let all = matches!(command[1], READ_BINARY | 0xB2) && command[4] == 0 && status(&answer) == [0x90, 0x00];
        Ok(if all { vec![0x90, 0x00] } else { answer })
    };
    on_every_protocol("Le = 00 returns nothing", &change);
    let (reading, _) = reading(&plan(), false, &|command, answer| {
        // Without parameters the records of EF(DIR) are asked for with Le = 00.
        let answer = if command[1] == SELECT { answer[answer.len() - 2..].to_vec() } else { answer };
        change(command, answer)
    });
    assert!(reading.message.is_ok() && reading.sim.ready);
}

#[test]
fn a_modem_that_drops_long_commands_is_asked_for_less_and_a_reader_that_fails_is_not() {
    let change = |command: &[u8], answer| {
        let long = command[1] == READ_BINARY && command[4] > 128;
        if long { Err(LinkError::Io("ERROR".to_owned())) } else { Ok(answer) }
    };
    let (shared, _) = reading(&plan(), true, &change);
    assert_eq!(shared.message, Ok(message()));
    let (exclusive, _) = reading(&plan(), false, &change);
    assert_eq!(exclusive.message.unwrap_err().kind, CardErrorKind::Io);
}

#[test]
fn the_end_of_a_file_of_unknown_size_is_told_in_three_ways() {
    for end in [[0x62, 0x82], [0x6B, 0x00], [0x6A, 0x86]] {
        on_every_protocol("no size", &|command, mut answer| {
            if command[1] == SELECT && command[2] != 0x04 {
                // Tag 80 becomes one that nobody knows.
                if let Some(at) = answer.windows(2).position(|bytes| bytes == [0x80, 0x02]) {
                    answer[at] = 0x9F - 0x10;
                }
            }
            if status(&answer) == [0x62, 0x82] {
                // As many bytes as there are, without a word about the end.
                let at = answer.len() - 2;
                answer[at..].copy_from_slice(&[0x90, 0x00]);
            }
            let beyond = command[1] == READ_BINARY && status(&answer) == [0x6B, 0x00];
            Ok(if beyond { end.to_vec() } else { answer })
        });
    }
}

#[test]
fn a_card_that_corrects_each_length_is_read_on_t1_too() {
    on_every_protocol("6Cxx", &|command, answer| {
        let right = u8::try_from(answer.len() - 2).unwrap_or(0);
        let other = command[1] == READ_BINARY && status(&answer) != [0x6B, 0x00] && command[4] != right && right != 0;
        Ok(if other { vec![0x6C, right] } else { answer })
    });
}

#[test]
fn files_without_a_told_kind_are_tried_as_bytes_and_then_as_records() {
    let mut parts = make(&plan()).unwrap().into_parts();
    let dir = parts.files.iter_mut().find(|file| file.id == FileId(0x2F00)).unwrap();
    dir.record_length = None;
    parts.applications[0].aid.0.push(0x01);
    parts.applications[0].aid.0[8] = 0x00;
    for with_fcp in [true, false] {
        let change = |command: &[u8], answer: Vec<u8>| {
            Ok(if command[1] == SELECT && !with_fcp { answer[answer.len() - 2..].to_vec() } else { answer })
        };
        // The application is found by the path in EF(DIR), whose AID is another one.
        let card = VirtualUicc::new(&parts.clone().try_into().unwrap());
        let mut link = Habit { card, shared: false, change: &change, asked: RefCell::default() };
        let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
        assert_eq!(reading.message, Ok(message()), "transparent EF(DIR), FCP {with_fcp}");
    }
}

#[test]
fn a_status_that_ends_a_reading_comes_with_an_advice() {
    for (status, advice) in
        [([0x69, 0x85], "deactivated"), ([0x6F, 0x00], "reseat"), ([0x69, 0x87], "keys of the issuer")]
    {
        let change = |command: &[u8], answer| {
            Ok(if command[1] == READ_BINARY && command[0] != 0 { status.to_vec() } else { answer })
        };
        let (reading, _) = reading(&plan(), false, &change);
        let error = reading.message.unwrap_err();
        assert_eq!(error.kind, CardErrorKind::Io);
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn what_kind_of_dm_1x_message_it_is_stands_in_the_sentence() {
    let content = Content::Raw(b"\x03\x0B\x6A\x00\x45".to_vec());
    let (reading, _) = reading(&CardPlan { content, ..plan() }, false, &|_, answer| Ok(answer));
    let sentence = reading.message.unwrap_err().to_string();
    assert!(sentence.contains("WBXML 1.3, OMA Client Provisioning 1.0, UTF-8, root element wap-prov"), "{sentence}");
}
