//! A virtual card whose administrator writes it, whose PINs are changed and unblocked, and what is left of it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol;
use omadm_card::hex::{decode, encode};
use omadm_card::image::{Access, AdmKey, Byte, CardFile, CardParts, FileId, Puk};
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::{CardImage, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const OTHER: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/else/","MOData":{"DMAcc":{"SrvID":"else","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
/// SELECT the PKCS#15 application.
const APPLICATION: &str = "00A4040C0CA000000063504B43532D3135";
/// VERIFY of ADM1 with `12345678`.
const ADM: &str = "0020000A083132333435363738";

fn parts(plan: &CardPlan) -> CardParts {
    let mut parts = make(plan).unwrap().into_parts();
    parts.adm = Some(AdmKey::new(Secret::from("12345678")));
    for pin in &mut parts.pins {
        pin.puk = Some(Puk::new(Secret::from("11223344")));
    }
    parts
}

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes())
}

fn private() -> CardPlan {
    CardPlan { pin: Some(Secret::from("1234")), ..plan() }
}

fn insert(parts: CardParts) -> VirtualUicc {
    VirtualUicc::new(&parts.try_into().unwrap())
}

fn ask(card: &mut VirtualUicc, command: &str) -> String {
    encode(&card.answer(&decode(command).unwrap()))
}

/// Each command is answered so.
fn converse(card: &mut VirtualUicc, lines: &[(&str, &str)]) {
    for (command, answer) in lines {
        assert_eq!(ask(card, command), answer.replace(' ', ""), "{command}");
    }
}

fn message(card: &mut VirtualUicc, pin: Option<&str>) -> String {
    let pin = pin.map(Secret::from);
    let reading = read(card, &ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() }, &|| Duration::ZERO);
    String::from_utf8(reading.message.unwrap()).unwrap()
}

/// Writes in blocks, the first byte last (Profile P-22).
fn write(card: &mut VirtualUicc, message: &[u8]) {
    converse(card, &[("00D6000001FF", "9000")]);
    for (number, block) in message[1..].chunks(50).enumerate() {
        let command = format!("00D6{:04X}{:02X}{}", 1 + number * 50, block.len(), encode(block));
        converse(card, &[(&command, "9000")]);
    }
    converse(card, &[(&format!("00D6000001{:02X}", message[0]), "9000")]);
}

#[test]
fn only_the_administrator_writes_and_what_was_written_is_read() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = insert(parts(&CardPlan { protocol, ..plan() }));
        converse(&mut card, &[(APPLICATION, "9000"), ("00A4000C026434", "9000"), ("00D6000001FF", "6982")]);
        converse(&mut card, &[("0020000A", "63CA"), (ADM, "9000"), ("0020000A", "9000")]);
        write(&mut card, OTHER.as_bytes());
        assert_eq!(message(&mut card, None), OTHER);
        card.reset();
        converse(&mut card, &[(APPLICATION, "9000"), ("00A4000C026434", "9000"), ("00D6000001FF", "6982")]);
    }
}

#[test]
fn a_message_is_created_on_a_card_without_one() {
    for protocol in [Protocol::T0, Protocol::T1] {
        let mut card = insert(parts(&CardPlan { content: Content::None, protocol, ..private() }));
        let size = format!("{:04X}", OTHER.len());
        let open = format!("00E0000018 6216 82024121 83026434 8A0105 8B032F0601 8002{size} 8800");
        converse(&mut card, &[(APPLICATION, "9000"), (&open, "6982"), (ADM, "9000"), (&open, "9000")]);
        converse(&mut card, &[("00B0000002", "FFFF 9000"), (&open, "6A89")]);
        write(&mut card, OTHER.as_bytes());
        let entry = "3028300E0C0C444D20426F6F747374726170300E0C064F4D4120444D0604672B0701A106300404026434";
        let update = format!("00D600002A{entry}");
        // The directory of a card without objects is too small for one.
        converse(&mut card, &[("00A4000C026430", "9000"), (&update, "6700"), ("00E4000002 6430", "9000")]);
        let directory = "00E0000018 6216 82024121 83026430 8A0105 8B032F0601 80020040 8800";
        converse(&mut card, &[(directory, "9000"), (&update, "9000")]);
        assert_eq!(message(&mut card, None), OTHER);

        // The same behind the PIN: the third record of EF(ARR).
        let private = open.replace("2F0601", "2F0603");
        converse(&mut card, &[(APPLICATION, "9000"), ("00E4000002 6434", "9000"), ("00B0000001", "6986")]);
        converse(&mut card, &[("00E4000002 6434", "6A82"), (&private, "9000"), ("00B0000001", "6982")]);
        write(&mut card, MESSAGE.as_bytes());
        assert_eq!(message(&mut card, Some("1234")), MESSAGE);
    }
}

#[test]
fn records_are_created_and_updated_whole() {
    let mut card = insert(parts(&plan()));
    let create = "00E000001B 6219 82044221 0010 83026F10 8A0105 8B032F0601 80020030 880180";
    converse(&mut card, &[(ADM, "9000"), (APPLICATION, "9000"), (create, "9000")]);
    let (record, blank) = ("00112233445566778899AABBCCDDEEFF", "FF".repeat(16));
    let read = |number: u8| format!("00B2{number:02X}0410");
    let update = |number: u8| format!("00DC{number:02X}0410{record}");
    converse(&mut card, &[(&read(2), &format!("{blank}9000")), (&update(2), "9000")]);
    converse(&mut card, &[(&read(2), &format!("{record}9000")), (&read(1), &format!("{blank}9000"))]);
    converse(&mut card, &[(&update(4), "6A83"), (&update(0), "6A83"), ("00DC01040100", "6700")]);
    converse(&mut card, &[("00D600000100", "6981"), ("00DC010510", "6A86")]);
    // By its short identifier; the next record of a file that was just selected is the first.
    converse(&mut card, &[(APPLICATION, "9000"), (&format!("00DC00 82 10{record}"), "9000")]);
    converse(&mut card, &[("00B2000410", &format!("{record}9000")), (&read(1), &format!("{record}9000"))]);
}

#[test]
fn updates_and_files_that_are_not_possible_are_refused() {
    let mut card = insert(parts(&plan()));
    converse(&mut card, &[(ADM, "9000"), ("00D6000001FF", "6986"), (APPLICATION, "9000"), ("00A4000C025031", "9000")]);
    converse(&mut card, &[("00D6002001FF", "6B00"), ("00D6001F02FFFF", "6700"), ("00D60000", "6700")]);
    converse(&mut card, &[("00D6910002A706", "9000"), ("00D69E0001FF", "6A82"), ("00DC01040100", "6981")]);
    for (change, status) in [
        ("6213 82024121 83026440 8B032F0601 80020010 8800", "9000"),
        ("6213 82024121 83026440 8B032F0601 80020010 8800", "6A89"),
        ("6213 82024121 83027FFF 8B032F0601 80020010 8800", "6A80"),
        ("6213 82024121 83026441 8B032F0609 80020010 8800", "6A80"),
        ("6213 82024121 83026441 8B032F0701 80020010 8800", "6A80"),
        ("6213 82027821 83026441 8B032F0601 80020010 8800", "6A80"),
        ("6211 82024121 83026441 80020010 8800 8A0105", "6A80"),
        ("6214 82024121 83026441 8B032F0601 80020010 880188", "6A80"),
        ("6213 82024121 83026441 8B032F0601 8002FFFF 8800", "6A84"),
        ("6215 820442210010 83026441 8B032F0601 80020011 8800", "6A80"),
        ("6220 82024121 83026441 8B032F0601 80020010 8800", "6A80"),
        ("6F13 82024121 83026441 8B032F0601 80020010 8800", "6A80"),
    ] {
        let data = decode(change).unwrap();
        let command = format!("00E00000{:02X}{}", data.len(), encode(&data));
        converse(&mut card, &[(&command, status)]);
    }
    converse(&mut card, &[("00E00000", "6700"), ("00E00100026200", "6A86"), ("00E40000016440", "6700")]);
    assert!(card.image().is_ok());
}

#[test]
fn a_full_card_takes_no_more_files_and_its_image_is_still_read() {
    let mut card = insert(parts(&plan()));
    converse(&mut card, &[(ADM, "9000"), (APPLICATION, "9000")]);
    let mut create = |id: u16, size: u16| {
        ask(&mut card, &format!("00E0000015 6213 82024121 8302{id:04X} 8B032F0601 8002{size:04X} 8800"))
    };
    assert!((0..9).all(|number| create(0x6500 + number, 32_767) == "9000"));
    assert!((0..9).any(|number| create(0x6510 + number, 32_767) == "6A84"), "bytes");
    assert!((0..80).any(|number| create(0x6600 + number, 1) == "6A84"), "files");
    let image = card.image().unwrap();
    assert_eq!(CardImage::from_json(image.to_json().as_bytes()), Ok(image));
}

#[test]
fn the_rules_of_each_file_are_told() {
    let mut parts = parts(&private());
    let read_update = [
        (Access::Always, Access::Adm, "8001019000 800102A40683010A950108"),
        (Access::Pin(Byte(1)), Access::Adm, "800101A406830101950108 800102A40683010A950108"),
        (Access::Always, Access::Always, "8001019000 8001029000"),
        (Access::Never, Access::Never, "8001019700 8001029700"),
        (Access::Adm, Access::Pin(Byte(1)), "800101A40683010A950108 800102A406830101950108"),
    ];
    for (number, (read, update, _)) in read_update.into_iter().enumerate() {
        let id = 0x2F10 + u16::try_from(number).unwrap();
        parts.files.push(CardFile { read, update, ..CardFile::new(id, "", vec![0x11]) });
    }
    let mut card = insert(parts);
    for (number, (read, update, rule)) in read_update.into_iter().enumerate() {
        let fcp = ask(&mut card, &format!("00A40004022F1{number}00"));
        let (_, record) = fcp.split_once("8B032F06").unwrap();
        let record = record[..2].to_owned();
        let expected = format!("{:F<48}9000", rule.replace(' ', ""));
        converse(&mut card, &[("00A4000C022F06", "9000"), (&format!("00B2{record}0418"), &expected)]);
        let mut may = |access: Access, command: &str| {
            for (verify, answer) in [("", ""), ("002000010831323334FFFFFFFF", "9000"), (ADM, "9000")] {
                card.reset();
                if !verify.is_empty() {
                    converse(&mut card, &[(verify, answer)]);
                }
                let allowed = match access {
                    Access::Always => true,
                    Access::Never => false,
                    Access::Pin(_) => verify.contains("00200001"),
                    Access::Adm => verify == ADM,
                };
                converse(&mut card, &[(&format!("00A4000C022F1{number}"), "9000")]);
                assert_eq!(ask(&mut card, command).ends_with("9000"), allowed, "{access:?} {verify} {command}");
            }
        };
        may(read, "00B0000001");
        may(update, "00D600000111");
    }
}

#[test]
fn a_wrong_key_of_the_administrator_counts_down_for_good() {
    let mut parts = parts(&plan());
    parts.adm.as_mut().unwrap().tries_left = 2;
    let mut card = insert(parts);
    converse(&mut card, &[("0020000A081122334455667788", "63C1"), ("0020000A", "63C1"), ("0020000B", "6A88")]);
    converse(&mut card, &[("0020000A0431323334", "63C0"), (ADM, "6983"), ("0020000A", "6983")]);
    card.reset();
    converse(&mut card, &[(ADM, "6983")]);
    assert_eq!(card.tries_left(0x0A), Some(0));
    let mut without = insert(make(&plan()).unwrap().into_parts());
    converse(&mut without, &[(ADM, "6A88"), ("00E0000002 6200", "6982")]);
}

#[test]
fn a_pin_is_changed_blocked_and_unblocked() {
    let mut card = insert(parts(&private()));
    let (old, new) = ("31323334FFFFFFFF", "3536373839FFFFFF");
    let (puk, wrong) = ("3131323233333434", "3939393939393939");
    let change = |from: &str, to: &str| format!("0024000110{from}{to}");
    let unblock = |puk: &str, to: &str| format!("002C000110{puk}{to}");
    converse(&mut card, &[(&change(wrong, new), "63C2"), (&change(old, "31323334FFFFFF30"), "6A80")]);
    converse(&mut card, &[(&change(old, new), "9000"), ("00200001", "9000"), ("0024000108FFFFFFFFFFFFFFFF", "6700")]);
    assert_eq!(message(&mut card, Some("56789")), MESSAGE);
    let verify = |pin: &str| format!("0020000108{pin}");
    converse(&mut card, &[(&verify(old), "63C2"), (&verify(old), "63C1"), (&verify(old), "63C0")]);
    converse(&mut card, &[(&verify(new), "6983"), (&change(new, old), "6983"), ("002C0001", "63CA")]);
    converse(&mut card, &[(&unblock(wrong, old), "63C9"), (&unblock(puk, "31FFFFFFFFFFFFFF"), "6A80")]);
    assert_eq!(card.puk_tries_left(1), Some(9));
    converse(&mut card, &[(&unblock(puk, old), "9000"), ("00200001", "9000"), ("002C0001", "63CA")]);
    assert_eq!((card.tries_left(1), card.puk_tries_left(1)), (Some(3), Some(10)));
    for left in (0..10).rev() {
        converse(&mut card, &[(&unblock(wrong, old), &format!("63C{left:X}"))]);
    }
    converse(&mut card, &[(&unblock(puk, old), "6983"), ("002C0002", "6A88")]);
    let mut without = insert(make(&private()).unwrap().into_parts());
    converse(&mut without, &[(&unblock(puk, old), "6984"), ("002C0001", "6984")]);
}

#[test]
fn the_card_can_be_taken_out_as_an_image_and_goes_on_as_it_was() {
    let made: CardImage = parts(&private()).try_into().unwrap();
    let mut card = VirtualUicc::new(&made);
    assert_eq!(card.image(), Ok(made.clone()), "nothing was done to it");
    converse(&mut card, &[("0020000108FFFFFFFFFFFFFFFF", "63C2"), ("0020000A081122334455667788", "63C9")]);
    converse(&mut card, &[(ADM, "9000"), (APPLICATION, "9000"), ("00A4000C026434", "9000")]);
    write(&mut card, OTHER.as_bytes());
    converse(&mut card, &[("0020000108FFFFFFFFFFFFFFFF", "63C1")]);
    let image = CardImage::from_json(card.image().unwrap().to_json().as_bytes()).unwrap();
    assert_eq!(image.parts().pins[0].tries_left, 1);
    assert_eq!(image.parts().adm.as_ref().unwrap().tries_left, 10);
    let file = image.parts().applications[0].files.iter().find(|file| file.id == FileId(0x6434)).unwrap();
    assert_eq!((file.content.0.as_slice(), file.about.as_str()), (OTHER.as_bytes(), ""));
    let mut again = VirtualUicc::new(&image);
    converse(&mut again, &[("00200001", "63C1"), ("002000010831323334FFFFFFFF", "9000")]);
    assert_eq!(message(&mut again, Some("1234")), OTHER);
}

#[test]
fn images_of_the_first_version_are_read_as_they_were() {
    for (text, pin) in [
        (&include_bytes!("images/omadm-card-1-open.json")[..], None),
        (&include_bytes!("images/omadm-card-1-private.json")[..], Some("1234")),
    ] {
        let image = CardImage::from_json(text).unwrap();
        let plan = if pin.is_some() { private() } else { plan() };
        assert_eq!(image, make(&plan).unwrap());
        assert_eq!(message(&mut VirtualUicc::new(&image), pin), MESSAGE);
    }
}
