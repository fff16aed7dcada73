//! Each fault of a virtual card: what it does, and what a reader makes of it at every command.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol::{self, T0, T1};
use omadm_card::hex::decode;
use omadm_card::image::{AdmKey, FileId, Layout};
use omadm_card::make::{CardPlan, make};
use omadm_card::virtual_uicc::{Fault, FaultKind, Preset, Quirk, Reaction};
use omadm_card::{CardErrorKind, CardImage, CardReading, Link, LinkError, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;

fn image(protocol: Protocol, private: bool) -> CardImage {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes());
    make(&CardPlan { protocol, pin: private.then(|| Secret::from("1234")), ..plan }).unwrap()
}

fn card(faults: &[&str]) -> VirtualUicc {
    let mut card = VirtualUicc::new(&image(T1, false));
    card.plan_faults(faults.iter().map(|fault| fault.parse().unwrap()));
    card
}

fn read_card(card: &mut VirtualUicc) -> CardReading {
    let (pin, elapsed) = (Secret::from("1234"), card.elapsed());
    read(card, &ReadRequest { pin: Some(&pin), ..ReadRequest::default() }, &|| elapsed.so_far())
}

/// Sends MANAGE CHANNEL, which always has another answer.
fn open(card: &mut VirtualUicc) -> Result<Vec<u8>, LinkError> {
    card.transmit(&[0x00, 0x70, 0x00, 0x00, 0x01])
}

#[test]
fn a_removed_card_is_gone_for_good() {
    let mut card = card(&["removal@2"]);
    assert_eq!(open(&mut card), Ok(vec![0x01, 0x90, 0x00]));
    for _ in 0..3 {
        assert!(matches!(open(&mut card), Err(LinkError::Removed(_))));
    }
    card.reset();
    assert_eq!(card.react(&[0x00, 0x70, 0x00, 0x00, 0x01]), Reaction::Gone);
    assert!(card.atr().is_empty(), "an empty reader has no ATR");
}

#[test]
fn a_mute_card_speaks_again_after_a_reset() {
    let mut card = card(&["mute@2"]);
    assert!(open(&mut card).is_ok());
    for _ in 0..2 {
        assert!(matches!(open(&mut card), Err(LinkError::Timeout(_))));
    }
    assert_eq!(card.elapsed().so_far(), Duration::from_secs(20));
    card.reset();
    assert_eq!(open(&mut card), Ok(vec![0x01, 0x90, 0x00]));
}

#[test]
fn a_slow_card_takes_its_time_and_too_much_of_it_is_none() {
    let mut card = card(&["slow@1:2500", "slow@3:9999", "slow@4:10000"]);
    assert!(open(&mut card).is_ok() && open(&mut card).is_ok());
    assert_eq!(card.elapsed().so_far(), Duration::from_millis(2_500));
    assert!(open(&mut card).is_ok());
    assert!(matches!(open(&mut card), Err(LinkError::Timeout(_))));
    assert_eq!(card.commands(), 4);
}

#[test]
fn a_status_word_stands_in_place_of_the_command() {
    let mut card = card(&["status@1:6F00"]);
    assert_eq!(open(&mut card), Ok(vec![0x6F, 0x00]));
    assert_eq!(open(&mut card), Ok(vec![0x01, 0x90, 0x00]), "nothing was opened before");
}

#[test]
fn a_bit_of_the_answer_is_the_other_one() {
    let mut card = card(&["flip@1:0", "flip@2:9", "flip@3:24", "flip@4:7", "flip@4:7"]);
    let answers: Vec<_> = (0..4).map(|_| open(&mut card).unwrap()).collect();
    assert_eq!(answers, [[0x81, 0x90, 0x00], [0x02, 0xD0, 0x00], [0x83, 0x90, 0x00], [0x04, 0x90, 0x00]]);
}

#[test]
fn a_reset_card_has_forgotten_its_channels_and_the_link_tells() {
    let mut card = card(&["reset@2"]);
    assert!(open(&mut card).is_ok());
    assert!(matches!(open(&mut card), Err(LinkError::Removed(_))));
    assert_eq!(open(&mut card), Ok(vec![0x01, 0x90, 0x00]));
}

#[test]
fn an_exchanged_card_is_another_one_and_the_first_one_can_still_be_taken_out() {
    let mut card = card(&["exchange@3"]);
    let iccid = |card: &mut VirtualUicc| {
        card.transmit(&decode("00A4080C022FE2").unwrap()).unwrap();
        card.transmit(&decode("00B000000A").unwrap()).unwrap()
    };
    let (first, second) = (iccid(&mut card), iccid(&mut card));
    assert!(first != second && second.ends_with(&[0x90, 0x00]));
    assert_eq!(card.image(), Ok(image(T1, false)));

    let other = Preset::named("no-channels").unwrap().apply(image(T1, false)).unwrap();
    let mut card = self::card(&["exchange@1"]);
    card.exchange_for(other);
    assert_eq!(open(&mut card), Ok(vec![0x68, 0x81]));
}

#[test]
fn a_torn_update_leaves_the_first_bytes_and_no_power() {
    for written in [0_usize, 1, 3, 4, 200] {
        let mut parts = image(T1, false).into_parts();
        parts.adm = Some(AdmKey::new(Secret::from("12345678")));
        let mut card = VirtualUicc::new(&parts.try_into().unwrap());
        card.plan_faults([format!("torn@4:{written}").parse().unwrap()]);
        for command in ["0020000A083132333435363738", "00A4040C0CA000000063504B43532D3135", "00A4000C026434"] {
            assert_eq!(card.transmit(&decode(command).unwrap()), Ok(vec![0x90, 0x00]));
        }
        let torn = card.transmit(&decode("00D6000004FFFEFDFC").unwrap());
        assert!(matches!(torn, Err(LinkError::Removed(_))));
        assert!(matches!(open(&mut card), Err(LinkError::Removed(_))));
        let left = card.image().unwrap();
        let file = left.parts().applications[0].files.iter().find(|file| file.id == FileId(0x6434)).unwrap();
        let mut expected = MESSAGE.as_bytes().to_vec();
        expected.splice(..written.min(4), [0xFF, 0xFE, 0xFD, 0xFC].into_iter().take(written));
        assert_eq!(file.content.0, expected, "{written}");
    }
    // Any other command is not carried out.
    let mut card = card(&["torn@1:5"]);
    assert!(matches!(open(&mut card), Err(LinkError::Removed(_))));
}

#[test]
fn each_fault_at_each_command_ends_with_the_message_or_a_reason_that_fits() {
    for (protocol, private) in [(T0, false), (T1, false), (T0, true), (T1, true)] {
        let image = image(protocol, private);
        let total = read_card(&mut VirtualUicc::new(&image)).counts.total();
        for kind in FaultKind::EACH {
            let mut hit = 0;
            for at in 1..=total {
                let mut card = VirtualUicc::new(&image);
                card.plan_faults([Fault { at, kind }]);
                let reading = read_card(&mut card);
                let reason = reading.message.as_ref().err().map(|error| error.reason());
                assert!(kind.may_end_as(reason), "{kind:?} at {at} of {total}, {protocol}, {private}: {reason:?}");
                let is_whole = reading.message.is_ok_and(|message| message == MESSAGE.as_bytes());
                assert!(is_whole || reason.is_some() || matches!(kind, FaultKind::Flip(_)), "{kind:?} at {at}");
                assert!(card.tries_left(1).is_none_or(|left| left >= 2), "{kind:?} at {at}");
                hit += u32::from(reason.is_some());
            }
            assert!(hit > 0 || matches!(kind, FaultKind::Slow(_)), "{kind:?} is never noticed");
        }
    }
}

#[test]
fn a_card_that_is_slow_again_and_again_ends_the_reading() {
    let mut card = card(&[]);
    card.plan_faults((1..=20).map(|at| Fault { at, kind: FaultKind::Slow(Duration::from_secs(3)) }));
    let reading = read_card(&mut card);
    assert_eq!(reading.message.unwrap_err().kind, CardErrorKind::Timeout);
    assert!(reading.counts.total() <= 8);
}

#[test]
fn a_card_of_each_kind_in_the_field_is_read() {
    for preset in Preset::ALL {
        assert_eq!(Preset::named(preset.name), Some(preset));
        for private in [false, true] {
            let card = preset.apply(image(T1, private)).unwrap();
            assert_eq!(CardImage::from_json(card.to_json().as_bytes()), Ok(card.clone()), "{}", preset.name);
            let message = read_card(&mut VirtualUicc::new(&card)).message;
            assert_eq!(
                message.as_deref().map(String::from_utf8_lossy),
                Ok(MESSAGE.into()),
                "{} {private}",
                preset.name
            );
        }
    }
}

#[test]
fn the_documentation_lists_each_quirk_layout_kind_and_fault() {
    let page = include_str!("../../../docs/card-image.md");
    let rows = |title: &str| -> Vec<String> {
        let (_, section) = page.split_once(&format!("\n## {title}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
        names.collect()
    };
    assert_eq!(rows("Quirks"), Quirk::ALL.map(Quirk::name));
    assert_eq!(rows("Layouts"), Layout::ALL.map(Layout::name));
    assert_eq!(rows("Kinds of cards"), Preset::ALL.iter().map(|preset| preset.name).collect::<Vec<_>>());
    let faults: Vec<Fault> = rows("Faults").iter().map(|fault| fault.parse().unwrap()).collect();
    let kinds = |kind: &FaultKind| std::mem::discriminant(kind);
    assert_eq!(
        faults.iter().map(|fault| kinds(&fault.kind)).collect::<Vec<_>>(),
        FaultKind::EACH.iter().map(kinds).collect::<Vec<_>>()
    );
}
