//! The short way (`card.fast`): how many commands it takes beside the plain one, and that whatever surprises is read on the
//! plain one.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::time::Duration;

use omadm_card::apdu::{Protocol, READ_BINARY, SELECT};
use omadm_card::make::{CardPlan, make};
use omadm_card::{
    CardErrorKind, CardImage, CardReading, Counts, Link, LinkError, ReadRequest, Shortcuts, VirtualUicc, read,
};
use omadm_core::secret::Secret;

const MESSAGE: &[u8] = br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme"}}}]"#;

/// A card whose files in the application have short identifiers, or only EF(ODF) has.
fn image(protocol: Protocol, pin: bool, short_identifiers: bool) -> CardImage {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE);
    let pin = pin.then(|| Secret::from("1234"));
    let mut parts = make(&CardPlan { protocol, pin, ..plan }).unwrap().into_parts();
    for file in &mut parts.applications[0].files {
        let sfi = match file.id.0 {
            0x6430 => Some(0x10),
            0x6434 => Some(0x14),
            _ => file.sfi,
        };
        file.sfi = if short_identifiers { sfi } else { file.sfi };
    }
    parts.try_into().unwrap()
}

fn reading(link: &mut dyn Link, fast: Option<&Shortcuts>) -> CardReading {
    let pin = Secret::from("1234");
    read(link, &ReadRequest { pin: Some(&pin), fast, ..ReadRequest::default() }, &|| Duration::ZERO)
}

/// Plain, on the short way for the first time, and again.
fn counts(image: &CardImage) -> [Counts; 3] {
    let mut card = VirtualUicc::new(image);
    let plain = reading(&mut card, None);
    let first = reading(&mut card, Some(&Shortcuts::default()));
    let again = reading(&mut card, Some(&first.shortcuts));
    for one in [&plain, &first, &again] {
        assert_eq!(one.message.as_deref(), Ok(MESSAGE));
        assert_eq!((&one.iccid, &one.sim), (&plain.iccid, &plain.sim));
    }
    [plain, first, again].map(|reading| reading.counts)
}

#[test]
fn the_short_way_takes_fewer_commands_as_the_page_says() {
    let mut table = String::new();
    for protocol in [Protocol::T1, Protocol::T0] {
        for pin in [false, true] {
            for short_identifiers in [false, true] {
                let counts = counts(&image(protocol, pin, short_identifiers));
                let [plain, first, again] = counts.map(|one| (one.bootstrap, one.identity));
                assert!(first.0 < plain.0 && first.1 < plain.1 && again.0 <= first.0);
                let object = if pin { "behind a PIN" } else { "open" };
                let told = if short_identifiers { "all files" } else { "EF(ODF)" };
                let cells = [plain, first, again].map(|(bootstrap, identity)| format!("{bootstrap} + {identity}"));
                writeln!(table, "| {protocol} | {object} | {told} | {} |", cells.join(" | ")).unwrap();
            }
        }
    }
    let page = include_str!("../../../docs/card-files.md");
    assert!(page.contains(&table), "docs/card-files.md should say\n{table}");
}

#[test]
fn over_a_link_that_the_modem_shares_the_counts_are_the_same() {
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
    let image = image(Protocol::T1, false, true);
    let [plain, first, again] = counts(&image);
    let mut card = Shared(VirtualUicc::new(&image));
    assert_eq!(reading(&mut card, None).counts, plain);
    let reading_first = reading(&mut card, Some(&Shortcuts::default()));
    // At the end the USIM is selected on the only channel, so that EF(ICCID) is found by its path after all.
    assert_eq!(reading_first.counts.bootstrap, first.bootstrap);
    assert_eq!(reading_first.counts.identity, first.identity + 2);
    assert_eq!(reading(&mut card, Some(&reading_first.shortcuts)).counts.bootstrap, again.bootstrap);
}

/// A card whose answers are changed on the way.
struct Changed<F>(VirtualUicc, F);

impl<F: FnMut(&[u8], Vec<u8>) -> Vec<u8>> Link for Changed<F> {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.0.transmit(command)?;
        Ok((self.1)(command, answer))
    }
}

fn by_sfi(command: &[u8]) -> bool {
    command[1] == READ_BINARY && command[2] & 0x80 != 0
}

#[test]
fn whatever_surprises_is_read_on_the_plain_way() {
    type Surprise = fn(&[u8], Vec<u8>) -> Vec<u8>;
    let surprises: [(&str, Surprise); 8] = [
        ("no short identifiers", |c, a| if by_sfi(c) { vec![0x6A, 0x82] } else { a }),
        ("wrong parameters", |c, a| if by_sfi(c) { vec![0x6B, 0x00] } else { a }),
        ("another file", |c, a| if by_sfi(c) { b"\x30\x03\x02\x01\x01\x90\x00".to_vec() } else { a }),
        ("damaged", |c, mut a| {
            // Digits of an IMSI that are others are digits of an IMSI.
            if by_sfi(c) && c[2] != 0x87 && a.len() > 4 {
                a[1] = 0x7F;
            }
            a
        }),
        ("cut", |c, a| if by_sfi(c) && a.len() > 9 { [&a[..5], &[0x62, 0x82]].concat() } else { a }),
        ("blank", |c, mut a| {
            let end = a.len() - 2;
            if by_sfi(c) {
                a[..end].fill(0xFF);
            }
            a
        }),
        ("nothing", |c, a| if by_sfi(c) { vec![0x90, 0x00] } else { a }),
        ("parameters wanted", |c, a| if c[1] == SELECT && c[3] == 0x0C { vec![0x6A, 0x86] } else { a }),
    ];
    for (name, surprise) in surprises {
        for protocol in [Protocol::T0, Protocol::T1] {
            let image = image(protocol, true, true);
            let mut card = VirtualUicc::new(&image);
            let known = reading(&mut card, Some(&Shortcuts::default())).shortcuts;
            for shortcuts in [&Shortcuts::default(), &known] {
                let mut link = Changed(VirtualUicc::new(&image), surprise);
                let read = reading(&mut link, Some(shortcuts));
                assert_eq!(read.message.as_deref(), Ok(MESSAGE), "{name}, {protocol}");
                assert_eq!(read.iccid.unwrap().as_str(), "8901012345678901234", "{name}");
                assert_eq!(read.sim.mcc.unwrap().as_str(), "001", "{name}");
                assert_eq!(link.0.tries_left(1), Some(3));
            }
        }
    }
}

#[test]
fn what_another_card_told_is_not_used() {
    let first = image(Protocol::T1, false, true);
    let known = reading(&mut VirtualUicc::new(&first), Some(&Shortcuts::default())).shortcuts;
    assert_eq!((known.len(), known.is_empty()), (2, false));
    let plan = CardPlan::new("8901999999999999999".parse().unwrap(), b"[1]");
    let mut asked = Vec::new();
    let mut link = Changed(VirtualUicc::new(&make(&plan).unwrap()), |command: &[u8], answer| {
        asked.push(command.to_vec());
        answer
    });
    assert_eq!(reading(&mut link, Some(&known)).message, Ok(b"[1]".to_vec()));
    assert!(!asked.iter().any(|command| by_sfi(command) && matches!(command[2], 0x90 | 0x94)));
}

#[test]
fn a_card_that_was_written_again_gives_its_new_message() {
    let old = image(Protocol::T1, false, true);
    let known = reading(&mut VirtualUicc::new(&old), Some(&Shortcuts::default())).shortcuts;
    let longer =
        br#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","Name":"longer"}}}]"#;
    let mut parts = old.into_parts();
    let file = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6434).unwrap();
    file.content.0 = longer.to_vec();
    let mut card = VirtualUicc::new(&parts.try_into().unwrap());
    assert_eq!(reading(&mut card, Some(&known)).message.as_deref(), Ok(longer.as_slice()));
}

#[test]
fn that_there_is_no_object_is_believed_on_the_plain_way_only() {
    let mut hidden = Changed(VirtualUicc::new(&image(Protocol::T1, false, false)), |command: &[u8], answer| {
        // By its short identifier EF(ODF) lists another directory than it does when selected.
        if by_sfi(command) && command[2] == 0x91 {
            b"\xA7\x06\x30\x04\x04\x02\x50\x32\xFF\x90\x00".to_vec()
        } else {
            answer
        }
    });
    assert_eq!(reading(&mut hidden, Some(&Shortcuts::default())).message.as_deref(), Ok(MESSAGE));
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), b"");
    let empty = CardPlan { content: omadm_card::make::Content::None, ..plan };
    let reading = reading(&mut VirtualUicc::new(&make(&empty).unwrap()), Some(&Shortcuts::default()));
    assert_eq!(reading.message.unwrap_err().kind, CardErrorKind::NoDmObject);
}
