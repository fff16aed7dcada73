//! Each quirk and each layout of a virtual card: what it answers, and what a reader makes of it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol::{self, T0, T1};
use omadm_card::hex::{decode, encode};
use omadm_card::image::{CardParts, FileId, Layout};
use omadm_card::make::{CardPlan, Listing, make};
use omadm_card::virtual_uicc::{ChannelRefusal, Channels, Quirk};
use omadm_card::{CardImage, CardReading, Link, LinkError, ReadRequest, VirtualUicc, read};
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;
use proptest::prelude::*;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;
/// SELECT the PKCS#15 application, without an answer.
const APPLICATION: &str = "00A4040C0CA000000063504B43532D3135";
/// SELECT the file of the message, without an answer.
const FILE: &str = "00A4000C026434";

fn plan(protocol: Protocol, private: bool) -> CardPlan {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes());
    CardPlan { protocol, pin: private.then(|| Secret::from("1234")), ..plan }
}

fn image(protocol: Protocol, private: bool, quirks: &[Quirk]) -> CardImage {
    let parts = make(&plan(protocol, private)).unwrap().into_parts();
    CardParts { quirks: quirks.iter().copied().collect(), ..parts }.try_into().unwrap()
}

fn card(protocol: Protocol, quirk: Quirk) -> VirtualUicc {
    VirtualUicc::new(&image(protocol, true, &[quirk]))
}

fn read_card(link: &mut dyn Link) -> CardReading {
    let pin = Secret::from("1234");
    read(link, &ReadRequest { pin: Some(&pin), ..ReadRequest::default() }, &|| Duration::ZERO)
}

/// Commands with the forms of their answers.
type Lines<'a> = &'a [(&'a str, &'a str)];

/// Each command gets an answer of this form: in `..` anything may stand.
fn converse(card: &mut VirtualUicc, lines: Lines<'_>) {
    for (command, expected) in lines {
        let answer = encode(&card.answer(&decode(command).unwrap()));
        let expected = expected.replace(' ', "");
        let is_so = match expected.split_once("..") {
            Some((start, end)) => answer.starts_with(start) && answer.ends_with(end),
            None => answer == expected,
        };
        assert!(is_so, "{command}: {answer} is not {expected}");
    }
}

#[test]
fn a_card_answers_otherwise_only_as_its_quirk_says() {
    let select = |p1: &str, p2: &str, data: &str| format!("00A4{p1}{p2}{:02X}{data}00", data.len() / 2);
    let odf = |p1, p2| select(p1, p2, "7FFF5031");
    let (fcp, fci, none) = (odf("08", "04"), odf("08", "00"), "00A4080C047FFF5031");
    let table: &[(Quirk, Protocol, Lines<'_>)] = &[
        (Quirk::RefuseP204, T1, &[(&fcp, "6A86"), (&fci, "6F..9000"), (none, "9000")]),
        (Quirk::RefuseP200, T1, &[(&fcp, "62..9000"), (&fci, "6A86"), (none, "9000")]),
        (Quirk::RefuseP20C, T1, &[(&fcp, "62..9000"), (&fci, "6F..9000"), (none, "6A86")]),
        (Quirk::FciOnly, T1, &[(&fcp, "6F..9000"), (&fci, "6F..9000")]),
        (Quirk::NestedFcp, T1, &[(&fcp, "62178202..9000"), (&fci, "6F1962178202..9000")]),
        (Quirk::NoFcp, T1, &[(&fcp, "9000"), (&fci, "9000")]),
        (Quirk::NoSize, T1, &[(&fcp, "621382024121830250318A01058B032F06018801889000")]),
        (Quirk::NoAccessRule, T1, &[(&fcp, "621282024121830250318002002 08A01058801889000")]),
        (Quirk::NoSfi, T1, &[(&fcp, "621482024121830250318002002 08A01058B032F06019000"), ("00B0910001", "6A82")]),
        (Quirk::NoPinStatus, T1, &[(&select("04", "04", "A000000063504B43532D3135"), "621A..8B032F06019000")]),
        (Quirk::NoPathFromMf, T1, &[(&fcp, "6A86"), (&select("09", "04", "5031"), "62..9000")]),
        (Quirk::OnlyById, T1, &[(&select("09", "04", "5031"), "6A86"), (&select("00", "04", "5031"), "62..9000")]),
        (Quirk::OnlyById, T1, &[(&fcp, "6A86")]),
        (Quirk::NoAlias, T1, &[(&fcp, "6A82"), (&select("00", "04", "7FFF"), "6A82"), (FILE, "9000")]),
        (Quirk::FullAidOnly, T1, &[("00A4040C07A0000000871002", "6A82"), (APPLICATION, "9000")]),
        (Quirk::Pkcs15ByPath, T1, &[(APPLICATION, "6A82"), ("00A4080C027F50", "9000"), (FILE, "9000")]),
        (Quirk::NoApplication6999, T1, &[("00A4040C0511223344 55", "6999"), ("00A4000C021234", "6A82")]),
        (
            Quirk::WrongLeOnT1,
            T1,
            &[(&fcp, "6C19"), ("00B000FF", "6700"), ("00B00000FF", "6C20"), ("00B0000020", "A7..9000")],
        ),
        (Quirk::FetchOnT1, T1, &[(&fcp, "6119"), ("00C0000019", "62..9000"), ("00B0000020", "A7..9000")]),
        (Quirk::FetchOnRead, T0, &[(none, "9000"), ("00B0000020", "6120"), ("00C0000020", "A7..9000")]),
        (
            Quirk::ToolkitWaiting,
            T1,
            &[(none, "910B"), ("00B0000001", "A7910B"), ("0070000001", "01910B"), ("00B0FFFF01", "6A82")],
        ),
        (Quirk::Le00Empty, T1, &[(none, "9000"), ("00B0000000", "9000"), ("00B0000020", "A7..9000")]),
        (
            Quirk::BlocksOf128,
            T1,
            &[(none, "9000"), ("00B0000000", "6700"), ("00B0000081", "6700"), ("00B0000080", "A7..6282")],
        ),
        (Quirk::BlocksOf64, T1, &[(none, "9000"), ("00B0000041", "6700"), ("00B0000040", "A7..6282")]),
        (
            Quirk::ShortReads,
            T0,
            &[("00A4080C047FFF6430", "9000"), ("00B0000001", "309000"), ("00B000003F", "30..9000")],
        ),
        (
            Quirk::End6282,
            T0,
            &[(none, "9000"), ("00B0001FFF", "FF6282"), ("00B0002001", "6282"), ("00B0001F01", "FF9000")],
        ),
        (Quirk::End6A86, T1, &[(none, "9000"), ("00B0001FFF", "FF6282"), ("00B0002001", "6A86")]),
        (Quirk::End9000, T0, &[(none, "9000"), ("00B0001FFF", "FF9000"), ("00B0002001", "6B00")]),
        (Quirk::StrictCase1, T0, &[("00200001", "6700"), ("0020000100", "63C3"), ("00708001", "6700")]),
        (Quirk::StrictCase1, T1, &[("00200001", "63C3"), ("0020000100", "6700"), ("0070800100", "6700")]),
        (Quirk::HighestChannelFirst, T1, &[("0070000001", "139000"), ("0070000001", "129000"), ("00708013", "9000")]),
        (Quirk::Channel20, T1, &[("0070000001", "149000"), ("00708014", "6881")]),
        (Quirk::ChannelsStayOpen, T1, &[("0070000001", "019000"), ("00708001", "6985"), ("0070000001", "029000")]),
        (Quirk::EmptyVerify6700, T1, &[("00200001", "6700"), ("002000010831323334FFFFFFFF", "9000")]),
        (Quirk::EmptyVerify6A86, T1, &[("00200001", "6A86"), ("002000010831323334FFFFFFFF", "9000")]),
    ];
    for (quirk, protocol, lines) in table {
        let mut card = card(*protocol, *quirk);
        if !matches!(quirk, Quirk::Pkcs15ByPath) {
            let selected = card.answer(&decode(&APPLICATION.replace("040C", "0400")).unwrap());
            if !selected.starts_with(&[0x61]) && !selected.ends_with(&[0x90, 0x00]) {
                card.answer(&decode(APPLICATION).unwrap());
            }
        }
        converse(&mut card, lines);
    }
    let untried: Vec<_> = Quirk::ALL.iter().filter(|quirk| !table.iter().any(|(tried, ..)| tried == *quirk)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn short_reads_are_of_48_bytes() {
    let mut card = VirtualUicc::new(&image(T1, false, &[Quirk::ShortReads]));
    converse(&mut card, &[(APPLICATION, "9000"), (FILE, "9000")]);
    assert_eq!(card.answer(&[0x00, 0xB0, 0x00, 0x00, 0x40]).len(), 48 + 2);
}

/// A card on which the basic channel is somebody else's.
struct Shared(VirtualUicc);

impl Link for Shared {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        false
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.0.transmit(command)
    }
}

fn outcome(reading: CardReading) -> Option<Reason> {
    match reading.message {
        Ok(message) => {
            assert_eq!(String::from_utf8(message).unwrap(), MESSAGE);
            None
        }
        Err(error) => Some(error.reason()),
    }
}

#[test]
fn with_each_quirk_the_message_is_read_or_the_reason_is_the_right_one() {
    for quirk in Quirk::ALL {
        for (protocol, private) in [(T0, false), (T1, false), (T0, true), (T1, true)] {
            // Without paths the ICCID is beyond this reader's reach, and so is a PIN; and its blocks are not so small.
            if private && matches!(quirk, Quirk::NoPathFromMf | Quirk::OnlyById) || quirk == Quirk::BlocksOf64 {
                continue;
            }
            let image = image(protocol, private, &[quirk]);
            let mut card = VirtualUicc::new(&image);
            let reason = outcome(read_card(&mut card));
            assert_eq!(reason, quirk.hinders(private, true), "{quirk}, {protocol}, private: {private}");
            assert!(card.tries_left(1).is_none_or(|left| left == 3));
            if !private {
                let reason = outcome(read_card(&mut Shared(VirtualUicc::new(&image))));
                assert_eq!(reason, quirk.hinders(private, false), "{quirk}, {protocol}, shared");
            }
        }
    }
}

#[test]
fn with_each_layout_the_message_is_read_or_the_reason_is_the_right_one() {
    for layout in Layout::ALL {
        for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
            for (protocol, private) in [(T0, false), (T1, false), (T0, true), (T1, true)] {
                let plain = make(&CardPlan { listing, ..plan(protocol, private) }).unwrap();
                let image = layout.apply(plain.clone()).unwrap();
                // What a card without a PIN does not have cannot be left out.
                assert!(image != plain || (layout == Layout::OpenInDirectory && !private), "{layout:?}");
                let reading = read_card(&mut VirtualUicc::new(&image));
                let name = format!("{layout:?}, {listing:?}, {protocol}, private: {private}");
                match (layout, reading.message.as_ref()) {
                    // A reader may give both, one after the other.
                    (Layout::TwoObjects, Ok(message)) => assert!(message.starts_with(&MESSAGE.as_bytes()[..20])),
                    (_, Ok(message)) => assert_eq!(String::from_utf8_lossy(message), MESSAGE, "{name}"),
                    (_, Err(_)) => {}
                }
                assert_eq!(reading.message.err().map(|error| error.reason()), layout.hinders(private), "{name}");
            }
        }
    }
}

#[test]
fn layouts_are_what_they_say() {
    let plain = make(&plan(T1, true)).unwrap();
    let file = |layout: Layout, id: u16| {
        let parts = layout.apply(plain.clone()).unwrap().into_parts();
        let mut files = parts.files.into_iter().chain(parts.applications.into_iter().flat_map(|one| one.files));
        files.find(|file| file.id == FileId(id))
    };
    let content = |layout, id| encode(&file(layout, id).unwrap().content.0);
    assert!(content(Layout::DoubledOid, 0x6430).contains("060606 04672B0701".replace(' ', "").as_str()));
    assert!(content(Layout::LongLengths, 0x5031).starts_with("A781083081050481026430"));
    assert!(content(Layout::ZeroPadding, 0x6434).ends_with("5D00000000000000000000000000000000"));
    assert!(file(Layout::NoDir, 0x2F00).is_none() && file(Layout::NoIccid, 0x2FE2).is_none());
    assert!(file(Layout::NoTokenInfo, 0x5032).is_none());
    assert_eq!(file(Layout::TransparentDir, 0x2F00).unwrap().record_length, None);
    assert!(content(Layout::LongerAid, 0x2F00).contains("4F0EA000000063504B43532D31350100"));
    assert!(content(Layout::OtherDf, 0x2F00).contains("51043F007F10"));
    assert!(!content(Layout::OpenInDirectory, 0x6430).contains("03020780"));
    assert!(content(Layout::SecondDodf, 0x5031).starts_with("A706300404026432A706300404026430"));
    assert!(content(Layout::ForeignFirst, 0x6430).contains("672B0901"));
    assert!(content(Layout::TwoObjects, 0x6430).contains("04026436"));
    assert!(content(Layout::Dm1xFirst, 0x6437).starts_with("030B6A"));
    assert!(content(Layout::PathsWithAlias, 0x5031).contains("04047FFF6430"));
    assert!(content(Layout::PathsWithDf, 0x6430).contains("04047F506434"));
    assert!(content(Layout::PathsFromMf, 0x6430).contains("04063F007F506434"));
    assert!(content(Layout::IndexAndLength, 0x6430).contains("04026434020110 8002".replace(' ', "").as_str()));
}

#[test]
fn a_card_has_as_many_channels_as_it_is_given() {
    for refusal in ChannelRefusal::ALL {
        for count in [0, 1, 3, 19] {
            if count > 0 && matches!(refusal, ChannelRefusal::NoInstruction | ChannelRefusal::NoClass) {
                continue;
            }
            let mut parts = make(&plan(T1, true)).unwrap().into_parts();
            parts.channels = Channels { count, refusal };
            let image: CardImage = parts.try_into().unwrap();
            let mut card = VirtualUicc::new(&image);
            let status = format!("{:04X}", refusal.status().0);
            for number in 1..=count {
                converse(&mut card, &[("0070000001", &format!("{number:02X}9000"))]);
            }
            converse(&mut card, &[("0070000001", &status)]);
            if count == 0 {
                converse(&mut card, &[("01A4000C022FE2", "6881"), ("00708001", &status)]);
            }
            card.reset();
            assert_eq!(outcome(read_card(&mut card)), None, "{count} {refusal:?}");
            let open = make(&plan(T1, false)).unwrap().into_parts();
            let image: CardImage = CardParts { channels: Channels { count, refusal }, ..open }.try_into().unwrap();
            let reason = outcome(read_card(&mut Shared(VirtualUicc::new(&image))));
            assert_eq!(reason, (count == 0).then_some(Reason::NoLogicalChannel), "{count} {refusal:?}");
        }
    }
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let cla = prop_oneof![6 => Just(0_u8), 3 => 1_u8..4, 1 => any::<u8>()];
    let known = vec![0xA4, 0xB0, 0xB2, 0xC0, 0x70, 0x20, 0x24, 0x2C, 0xF2, 0xD6, 0xDC, 0xE0, 0xE4];
    let ins = prop_oneof![9 => proptest::sample::select(known), 1 => any::<u8>()];
    let small = || proptest::sample::select(vec![0_u8, 1, 2, 3, 4, 8, 9, 0x0A, 0x0C, 0x80, 0x91]);
    let body = prop_oneof![
        Just(String::new()),
        any::<u8>().prop_map(|le| format!("{le:02X}")),
        proptest::sample::select(vec![
            "02503100",
            "022F00",
            "023F00",
            "026434",
            "047FFF5031",
            "0CA000000063504B43532D3135",
            "0831323334FFFFFFFF",
            "083132333435363738",
            "1031313232333334343132333435FFFFFF",
            "10313233 34FFFFFFFF3132333435FFFFFF",
            "15 6213 82024121 83026440 8B032F0601 80020010 8800",
        ])
        .prop_map(str::to_owned),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| encode(&bytes)),
    ];
    (cla, ins, small(), prop_oneof![small(), any::<u8>()], body)
        .prop_map(|(cla, ins, p1, p2, body)| [vec![cla, ins, p1, p2], decode(&body).unwrap()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_commands_get_an_answer_with_any_quirks_and_the_card_stays_possible(
        commands in proptest::collection::vec(prop_oneof![9 => command(), 1 => proptest::collection::vec(any::<u8>(), 0..20)], 1..60),
        quirks in proptest::collection::vec(proptest::sample::select(Quirk::ALL.to_vec()), 0..6),
        t0 in any::<bool>(),
        channels in 0_u8..20,
    ) {
        let mut parts = image(if t0 { T0 } else { T1 }, true, &quirks).into_parts();
        parts.channels.count = channels;
        parts.adm = Some(omadm_card::image::AdmKey::new(Secret::from("12345678")));
        parts.pins[0].puk = Some(omadm_card::image::Puk::new(Secret::from("11223344")));
        let mut card = VirtualUicc::new(&parts.try_into().unwrap());
        for command in commands {
            let answer = card.answer(&command);
            prop_assert!((2..=258).contains(&answer.len()), "{command:02X?}");
        }
        let image = card.image().unwrap();
        prop_assert_eq!(CardImage::from_json(image.to_json().as_bytes()), Ok(image));
    }

    #[test]
    fn any_quirks_together_give_the_message_or_a_reason(
        quirks in proptest::collection::vec(proptest::sample::select(Quirk::ALL.to_vec()), 2..6),
        layout in proptest::sample::select(Layout::ALL.to_vec()),
        private in any::<bool>(),
        t0 in any::<bool>(),
    ) {
        let image = layout.apply(image(if t0 { T0 } else { T1 }, private, &quirks)).unwrap();
        let mut card = VirtualUicc::new(&image);
        let reading = read_card(&mut card);
        prop_assert!(reading.counts.total() <= 1_002);
        prop_assert!(reading.message.is_err_and(|error| !error.detail.is_empty()) || layout == Layout::TwoObjects
            || read_card(&mut VirtualUicc::new(&image)).message.unwrap() == MESSAGE.as_bytes());
        prop_assert!(card.tries_left(1).is_none_or(|left| left == 3));
    }
}
