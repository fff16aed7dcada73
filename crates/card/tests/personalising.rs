//! Writing to a card that is there already: what comes of it, what is left alone, and what a reader sees when the power
//! fails at any command.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{KEY, PIN, card, carried_out, dm, message, planned, reading, secret_message, seen, write};
use omadm_card::apdu::Protocol;
use omadm_card::image::{Access, Byte, CardFile, CardImage};
use omadm_card::link::LinkError;
use omadm_card::make::{CardPlan, Content, Listing, NewObject, make};
use omadm_card::personalise::{AdmKey, PersonaliseError, Wanted, plan as plan_for};
use omadm_card::pkcs15::dodf::{DataObject, Form};
use omadm_card::pkcs15::odf::Odf;
use omadm_card::pkcs15::oid::ObjectId;
use omadm_card::virtual_uicc::{Preset, Quirk};
use omadm_card::{CardErrorKind, Link, VirtualUicc};
use omadm_core::secret::Secret;

fn plan() -> CardPlan {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), &message("Old"));
    CardPlan { adm: AdmKey::parse(KEY).ok(), ..plan }
}

fn empty() -> CardPlan {
    CardPlan { content: Content::None, ..plan() }
}

fn new(name: &str) -> Wanted {
    dm(message(name))
}

fn files(card: &VirtualUicc) -> Vec<CardFile> {
    let parts = card.image().unwrap().into_parts();
    parts.applications.into_iter().find(|one| one.name == "PKCS#15").unwrap().files
}

fn content(card: &VirtualUicc, id: u16) -> Option<Vec<u8>> {
    files(card).into_iter().find(|file| file.id.0 == id).map(|file| file.content.0)
}

/// All objects that the card lists, as a reader that goes through its directories finds them.
fn listed(card: &VirtualUicc) -> Vec<DataObject> {
    let odf = Odf::parse(&content(card, 0x5031).unwrap());
    let dodfs = odf.dodfs.iter().filter_map(|path| content(card, path.file_id()));
    dodfs.flat_map(|dodf| DataObject::parse_all(&dodf).map(Result::unwrap).collect::<Vec<_>>()).collect()
}

fn changed(card: &VirtualUicc, change: impl Fn(&mut CardFile)) -> VirtualUicc {
    let mut parts = card.image().unwrap().into_parts();
    parts.applications[0].files.iter_mut().for_each(change);
    VirtualUicc::new(&CardImage::try_from(parts).unwrap())
}

#[test]
fn an_object_is_created_listed_and_read() {
    for protocol in [Protocol::T0, Protocol::T1] {
        for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
            let mut card = card(&CardPlan { protocol, ..empty() });
            assert_eq!(reading(&mut card, Some(PIN)).message.unwrap_err().kind, CardErrorKind::NoDmObject);
            let written = write(&mut card, &Wanted { listing, ..new("New") }, None).unwrap();
            assert!(written.unchecked.is_empty() && written.commands > 5);
            assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"), "{protocol} {listing:?}");
            assert_eq!(content(&card, 0x6434).unwrap().len(), message("New").len(), "exactly as large (P-22)");
            assert_eq!(listed(&card).len(), if listing == Listing::Both { 2 } else { 1 });
        }
    }
}

#[test]
fn an_object_that_is_there_gets_new_content_in_its_own_file() {
    let mut card = card(&CardPlan { file_size: Some(400), ..plan() });
    let directories = [content(&card, 0x5031), content(&card, 0x6430)];
    write(&mut card, &new("A longer name than before"), None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("A longer name than before"));
    write(&mut card, &new("N"), None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("N"));
    assert_eq!([content(&card, 0x5031), content(&card, 0x6430)], directories, "no directory was touched");
    assert!(content(&card, 0x6434).unwrap().ends_with(&[0xFF; 200]), "nothing is left of what was there");
    assert!(planned(&mut card, &new("N"), None).unwrap().steps.is_empty(), "what is there is not written again");
}

#[test]
fn a_card_of_every_kind_that_is_read_can_be_written() {
    for preset in Preset::ALL {
        for content in [Content::None, Content::Message(message("Old"))] {
            let image = make(&CardPlan { content, file_size: Some(400), ..plan() }).unwrap();
            let mut card = VirtualUicc::new(&preset.apply(image).unwrap());
            write(&mut card, &new("New"), None).unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"), "{}", preset.name);
        }
    }
}

#[test]
fn one_card_for_both_kinds_of_devices() {
    let lwm2m = vec![0xC8; 600];
    let mut card = card(&empty());
    let both = Wanted::new(vec![NewObject::dm(message("New")), NewObject::lwm2m(lwm2m.clone())]);
    write(&mut card, &both, None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"));
    assert_eq!(content(&card, 0x6435), Some(lwm2m.clone()));
    let oids: Vec<_> = listed(&card).into_iter().flat_map(|object| object.oids).collect();
    assert_eq!(oids, [ObjectId::dm_bootstrap().content(), ObjectId::lwm2m_bootstrap().content()]);
    // Each of them can be written alone afterwards, and the other stays.
    write(&mut card, &Wanted::new(vec![NewObject::lwm2m(vec![0xC1; 600])]), None).unwrap();
    assert_eq!(
        (content(&card, 0x6435), reading(&mut card, Some(PIN)).message.unwrap()),
        (Some(vec![0xC1; 600]), message("New"))
    );
}

#[test]
fn what_others_have_on_the_card_stays() {
    // Somebody's object fills the directory, and somebody's file has the name that we would take.
    let foreign = NewObject::new("1.2.3.4".parse().unwrap(), b"somebody's".to_vec());
    let mut card = card(&CardPlan { content: Content::None, others: vec![foreign], ..plan() });
    card = changed(&card, |file| {
        if file.id.0 == 0x6435 {
            // Not listed under this name by us: the directory names 6435, and 6434 holds something unlisted.
            file.about.clear();
        }
    });
    let mut parts = card.image().unwrap().into_parts();
    parts.applications[0].files.push(CardFile::new(0x6434, "theirs", b"theirs, unlisted".repeat(40)));
    let mut card = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
    write(&mut card, &new("New"), None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"));
    assert_eq!(content(&card, 0x6434), Some(b"theirs, unlisted".repeat(40)));
    assert_eq!(content(&card, 0x6435), Some(b"somebody's".to_vec()));
    assert_eq!(content(&card, 0x6436), Some(message("New")));
    let first = &listed(&card)[0];
    assert_eq!(
        (first.oids[0].as_slice(), first.path.file_id()),
        ("1.2.3.4".parse::<ObjectId>().unwrap().content(), 0x6435)
    );
}

#[test]
fn a_full_directory_gets_a_second_one_beside_it() {
    let mut card = card(&empty());
    card = changed(&card, |file| {
        if file.id.0 == 0x6430 {
            file.content.0.truncate(16);
        }
    });
    write(&mut card, &new("New"), None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"));
    let odf = Odf::parse(&content(&card, 0x5031).unwrap());
    assert_eq!(odf.dodfs.iter().map(|path| path.file_id()).collect::<Vec<_>>(), [0x6430, 0x6432]);
    // With no room in EF(ODF) either nothing is written at all.
    let full = changed(&card_of(&empty(), 16), |file| {
        if file.id.0 == 0x5031 {
            file.content.0.truncate(8);
        }
    });
    let mut full = full;
    let before = full.image().unwrap();
    let error = write(&mut full, &new("New"), None).unwrap_err().to_string();
    assert!(error.contains("EF(ODF) 5031") && error.contains("do not fit"), "{error}");
    assert_eq!(full.image().unwrap(), before);
}

/// A card whose EF(DODF) has so many bytes.
fn card_of(plan: &CardPlan, dodf: usize) -> VirtualUicc {
    changed(&card(plan), |file| {
        if file.id.0 == 0x6430 {
            file.content.0.resize(dodf, 0xFF);
        }
    })
}

#[test]
fn a_message_that_has_grown_moves_to_a_larger_file() {
    for listing in [Listing::Opaque, Listing::Oid, Listing::Both] {
        let mut card = card(&CardPlan { listing, ..plan() });
        let longer = new(&"a much longer name ".repeat(20));
        let plan = planned(&mut card, &longer, None).unwrap();
        assert!(plan.notes.iter().any(|note| note.contains("too small")), "{:?}", plan.notes);
        write(&mut card, &longer, None).unwrap();
        assert_eq!(
            reading(&mut card, Some(PIN)).message.unwrap(),
            message(&"a much longer name ".repeat(20)),
            "{listing:?}"
        );
        assert!(content(&card, 0x6434).unwrap().iter().all(|byte| *byte == 0xFF), "the old one is blank");
        assert!(listed(&card).iter().all(|object| object.path.file_id() == 0x6435));
    }
}

#[test]
fn a_message_of_dm_1x_stays_and_ours_is_listed_behind_it() {
    let wbxml = vec![0x03, 0x0B, 0x6A, 0x00, 0x45];
    let mut card = card(&CardPlan { content: Content::Raw(wbxml.clone()), ..plan() });
    let plan = planned(&mut card, &new("New"), None).unwrap();
    assert!(plan.notes[0].contains("DM 1.x"), "{:?}", plan.notes);
    write(&mut card, &new("New"), None).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), message("New"));
    assert_eq!(content(&card, 0x6434), Some(wbxml));
}

#[test]
fn where_no_rule_fits_it_says_which_key_or_rule_would_do() {
    let said = |card: &mut VirtualUicc, wanted: &Wanted| planned(card, wanted, None).unwrap_err().to_string();
    let of_other = said(&mut card(&empty()), &Wanted { adm: 0x0B, ..new("New") });
    assert!(of_other.contains("lets everybody read a new file and the administrator 0B write it"), "{of_other}");
    assert!(of_other.contains("give that one's key, with --adm-ref 0A"), "{of_other}");
    let without_pin = said(&mut card(&empty()), &Wanted { behind_pin: true, ..new("New") });
    for part in ["the holder of a PIN", "add one to EF(ARR) 2F06", "--access-rule", "leave --behind-pin away"] {
        assert!(without_pin.contains(part), "{part}: {without_pin}");
    }
    // A card that tells no rule of a file, and lets nobody read them where a UICC has them.
    let mut parts = make(&empty()).unwrap().into_parts();
    parts.quirks.insert(Quirk::NoAccessRule);
    let rules = CardFile::new(0x2F06, "EF(ARR)", vec![0xFF; 4]);
    parts.files.push(CardFile { record_length: Some(4), read: Access::Never, ..rules });
    let silent = said(&mut VirtualUicc::new(&CardImage::try_from(parts).unwrap()), &new("New"));
    assert!(silent.contains("the card shows no rules: ask its maker"), "{silent}");
}

/// The labels up to which OpenSC reads a directory: the first oidDO is the end for it.
fn seen_by_opensc(card: &VirtualUicc) -> Vec<String> {
    let odf = Odf::parse(&content(card, 0x5031).unwrap());
    let dodfs = odf.dodfs.iter().map(|path| content(card, path.file_id()).unwrap());
    let seen = dodfs.flat_map(|dodf| {
        let objects: Vec<_> = DataObject::parse_all(&dodf).filter_map(Result::ok).collect();
        objects.into_iter().take_while(|object| object.form == Form::Opaque).collect::<Vec<_>>()
    });
    seen.filter_map(|object| object.label).collect()
}

#[test]
fn an_opaque_entry_stands_where_opensc_comes_to_it() {
    let both = |objects: Vec<NewObject>| Wanted { listing: Listing::Both, ..Wanted::new(objects) };
    let lwm2m = || NewObject::lwm2m(vec![0xC8; 40]);
    let mut together = card(&empty());
    write(&mut together, &both(vec![NewObject::dm(message("New")), lwm2m()]), None).unwrap();
    assert_eq!(seen_by_opensc(&together), ["DM Bootstrap", "LwM2M Bootstrap"]);
    assert_eq!(listed(&together).len(), 4);
    // As many as there may be, which one new directory has room for.
    let others = (1..=7).map(|n| NewObject::new(format!("1.3.6.1.4.1.99999.{n}").parse().unwrap(), vec![n; 3]));
    let mut many = card(&empty());
    write(&mut many, &both([NewObject::dm(message("New"))].into_iter().chain(others).collect()), None).unwrap();
    assert_eq!((seen_by_opensc(&many).len(), listed(&many).len()), (8, 16));
    // One after the other: the second does not fit before the oidDO of the first, and gets a directory of its own.
    let mut apart = card(&CardPlan { listing: Listing::Both, ..plan() });
    write(&mut apart, &both(vec![lwm2m()]), None).unwrap();
    assert_eq!(seen_by_opensc(&apart), ["DM Bootstrap", "LwM2M Bootstrap"]);
    assert_eq!(reading(&mut apart, Some(PIN)).message.unwrap(), message("Old"));
    // Where there is no room for one it is listed all the same, and that is told.
    let mut parts = make(&CardPlan { listing: Listing::Oid, ..plan() }).unwrap().into_parts();
    for file in &mut parts.applications[0].files {
        match file.id.0 {
            // One entry and nothing more.
            0x5031 => file.content.0.truncate(8),
            0x6430 => file.content.0.resize(256, 0xFF),
            _ => {}
        }
    }
    let mut full = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
    let plan = planned(&mut full, &Wanted::new(vec![lwm2m()]), None).unwrap();
    assert!(
        plan.notes.iter().any(|note| note.contains("OpenSC does not see the object 2.23.43.9.1")),
        "{:?}",
        plan.notes
    );
    write(&mut full, &Wanted::new(vec![lwm2m()]), None).unwrap();
    assert_eq!(listed(&full).len(), 2);
}

#[test]
fn a_secret_goes_behind_the_pin_of_the_card_and_nowhere_else() {
    let with_secret = || Wanted::new(vec![NewObject::dm(secret_message("Acme"))]);
    let mut open = card(&CardPlan { file_size: Some(600), ..plan() });
    let error = write(&mut open, &with_secret(), None).unwrap_err();
    assert!(matches!(&error, PersonaliseError::PublicSecret(place) if place.contains("Secret")), "{error}");
    let error = write(&mut open, &Wanted { behind_pin: true, ..with_secret() }, None).unwrap_err().to_string();
    assert!(error.contains("everybody may read this file"), "{error}");
    let error = write(&mut card(&empty()), &with_secret(), None).unwrap_err();
    assert!(matches!(error, PersonaliseError::PublicSecret(_)), "{error}");
    let error = write(&mut card(&empty()), &Wanted { behind_pin: true, ..with_secret() }, None).unwrap_err();
    assert!(matches!(error, PersonaliseError::NoRule { adm: 0x0A, .. }), "the card has no PIN: {error}");
    write(&mut card(&empty()), &Wanted { allow_public_secret: true, ..with_secret() }, None).unwrap();

    // A card with a PIN, and with the directory of PINs or without.
    for has_aodf in [true, false] {
        let mut card = card(&CardPlan { pin: Some(Secret::from(PIN)), ..empty() });
        if !has_aodf {
            let mut parts = card.image().unwrap().into_parts();
            parts.applications[0].files.retain(|file| file.id.0 != 0x6431);
            let odf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x5031).unwrap();
            odf.content.0[8..].fill(0xFF);
            card = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
        }
        let written = write(&mut card, &Wanted { behind_pin: true, ..with_secret() }, None).unwrap();
        assert_eq!(written.unchecked, [0x6434], "the administrator may write it and not read it");
        let reading = reading(&mut card, Some(PIN));
        assert!(reading.behind_pin && reading.message.unwrap() == secret_message("Acme"), "{has_aodf}");
        let file = files(&card).into_iter().find(|file| file.id.0 == 0x6434).unwrap();
        assert_eq!((file.read, file.update), (Access::Pin(Byte(1)), Access::Adm));
        assert_eq!(card.tries_left(1), Some(3));
        // Written again it goes into the same file.
        let longer = NewObject::dm([&secret_message("Acme")[..], b"    "].concat());
        write(&mut card, &Wanted { behind_pin: true, ..Wanted::new(vec![longer]) }, Some(PIN)).unwrap();
        assert_eq!((listed(&card).len(), content(&card, 0x6435)), (1, None));
    }
}

#[test]
fn the_key_is_sent_once_and_never_as_the_last_try() {
    let mut card = card(&empty());
    let plan = planned(&mut card, &new("New"), None).unwrap();
    let error = carried_out(&mut card, &plan, "99999999").unwrap_err();
    assert!(matches!(error, PersonaliseError::KeyRefused { reference: 0x0A, .. }), "{error}");
    assert!(!error.to_string().contains("99999999") && error.to_string().contains("remembered nowhere"));
    assert_eq!(card.tries_left(0x0A), Some(9), "one try, no more");
    let error = carried_out(&mut card, &plan, "").unwrap_err();
    assert_eq!(error, PersonaliseError::KeyNeeded(0x0A));

    for (left, why) in [(1, "one try is left"), (0, "blocked")] {
        let mut parts = card.image().unwrap().into_parts();
        parts.adm.as_mut().unwrap().tries_left = left;
        let mut card = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
        let error = carried_out(&mut card, &plan, KEY).unwrap_err();
        assert!(matches!(&error, PersonaliseError::KeyNotTried { why: told, .. } if told.contains(why)), "{error}");
        assert_eq!(card.tries_left(0x0A), Some(left));
    }
    // A card that does not know the reference tells no tries.
    let foreign = planned(&mut card, &Wanted { adm: 0x0B, rule: "2F06:1".parse().ok(), ..new("New") }, None).unwrap();
    let error = carried_out(&mut card, &foreign, KEY).unwrap_err();
    assert!(matches!(error, PersonaliseError::KeyNotTried { reference: 0x0B, .. }), "{error}");
}

#[test]
fn another_card_than_the_one_that_was_looked_at_is_not_written() {
    let plan_of_this = planned(&mut card(&empty()), &new("New"), None).unwrap();
    let mut other = card(&CardPlan { iccid: "8901019999999999999".parse().unwrap(), ..empty() });
    let before = other.image().unwrap();
    assert_eq!(carried_out(&mut other, &plan_of_this, KEY), Err(PersonaliseError::OtherCard));
    assert_eq!((other.image().unwrap(), other.tries_left(0x0A)), (before, Some(10)));
}

#[test]
fn damage_and_cards_without_the_application_are_named() {
    let broken = |bytes: &'static [u8]| {
        changed(&card(&empty()), move |file| {
            if file.id.0 == 0x6430 {
                file.content.0[..bytes.len()].copy_from_slice(bytes);
            }
        })
    };
    // A directory that is cut off gets nothing added; there is room for another one.
    let mut cut = broken(&[0x30, 0x70]);
    write(&mut cut, &new("New"), None).unwrap();
    assert_eq!(content(&cut, 0x6430).unwrap()[..2], [0x30, 0x70], "and is left as it is");
    let mut gap = broken(&[0x00, 0x00, 0x30, 0x00]);
    write(&mut gap, &new("New"), None).unwrap();
    assert_eq!(content(&gap, 0x6430).unwrap()[..4], [0, 0, 0x30, 0]);

    let mut parts = card(&plan()).image().unwrap().into_parts();
    parts.applications.remove(0);
    let mut sim = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
    let error = write(&mut sim, &new("New"), None).unwrap_err();
    assert!(matches!(error, PersonaliseError::NoApplication(_)), "{error}");
    let error = write(&mut card(&empty()), &Wanted::new(vec![NewObject::dm(b"no json".to_vec())]), None).unwrap_err();
    assert!(error.to_string().contains("the message"), "{error}");
}

/// A card whose power is cut at the command with this number; an UPDATE BINARY writes so many bytes of its data before.
struct PowerCut<'a> {
    card: &'a mut VirtualUicc,
    left: usize,
    torn: fn(usize) -> usize,
}

impl Link for PowerCut<'_> {
    fn protocol(&self) -> Protocol {
        self.card.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        if self.left > 0 {
            self.left -= 1;
            return self.card.transmit(command);
        }
        let kept = (self.torn)(command.len().saturating_sub(5));
        if command[1] == 0xD6 && kept > 0 {
            let mut torn = command[..5 + kept].to_vec();
            torn[4] = u8::try_from(kept).unwrap();
            self.card.transmit(&torn)?;
        } else if kept > 0 {
            // Carried out, but nobody hears of it.
            self.card.transmit(command)?;
        }
        Err(LinkError::Removed("no power".to_owned()))
    }
}

/// Before the command; in it after the first byte, in the middle, before the last; after it, unheard.
const CUTS: [fn(usize) -> usize; 5] = [|_| 0, |n| n.min(1), |n| n / 2, |n| n.saturating_sub(1), |n| n];

#[test]
fn power_may_fail_at_any_command_and_half_a_message_is_never_read() {
    let foreign = || NewObject::new("1.2.3.4".parse().unwrap(), b"somebody's".to_vec());
    let pin = || Some(Secret::from(PIN));
    let large = || NewObject::dm(message(&"longer ".repeat(60)));
    let lwm2m = || NewObject::lwm2m(vec![0xC8; 300]);
    let both = |content| Wanted::new(vec![NewObject::dm(content), lwm2m()]);
    let private = |wanted| Wanted { behind_pin: true, ..wanted };
    let scenes: Vec<(&str, VirtualUicc, Wanted)> = vec![
        ("new", card_of(&CardPlan { others: vec![foreign()], ..empty() }, 256), both(message("New"))),
        ("in place", card(&CardPlan { file_size: Some(400), others: vec![foreign()], ..plan() }), both(message("New"))),
        (
            "as both",
            card(&CardPlan { protocol: Protocol::T0, ..empty() }),
            Wanted { listing: Listing::Both, ..new("New") },
        ),
        (
            "moving",
            card(&CardPlan { listing: Listing::Both, others: vec![foreign()], ..plan() }),
            Wanted::new(vec![large()]),
        ),
        ("full", card_of(&CardPlan { others: vec![foreign()], ..empty() }, 45), both(message("New"))),
        (
            "behind the PIN",
            card(&CardPlan { pin: pin(), ..empty() }),
            private(Wanted::new(vec![NewObject::dm(secret_message("Acme"))])),
        ),
        (
            "behind the PIN, new, seen",
            card(&CardPlan { pin: pin(), others: vec![foreign()], ..empty() }),
            private(both(secret_message("Acme"))),
        ),
        (
            "behind the PIN, in place, seen",
            card(&CardPlan { pin: pin(), file_size: Some(600), ..plan() }),
            private(both(secret_message("Acme"))),
        ),
        (
            "behind the PIN, in place, unseen",
            card(&CardPlan { pin: pin(), file_size: Some(600), ..plan() }),
            Wanted { replace_unseen: true, ..private(both(secret_message("Acme"))) },
        ),
        (
            "behind the PIN, moving, seen",
            card(&CardPlan { pin: pin(), listing: Listing::Both, others: vec![foreign()], ..plan() }),
            private(Wanted::new(vec![large()])),
        ),
        (
            "behind the PIN, moving, unseen",
            card(&CardPlan { pin: pin(), others: vec![foreign()], ..plan() }),
            Wanted { replace_unseen: true, ..private(Wanted::new(vec![large()])) },
        ),
    ];
    for (scene, original, wanted) in scenes {
        let before = reading(&mut original.clone(), Some(PIN)).message;
        let looked = |card: &mut VirtualUicc| {
            card.reset();
            planned(card, &wanted, scene.ends_with(", seen").then_some(PIN))
        };
        // The PIN stays verified on the card that was looked at, so that what is carried out is what would be.
        let mut original = original;
        let plan = looked(&mut original).unwrap();
        let mut done = original.clone();
        carried_out(&mut done, &plan, KEY).unwrap();
        let after = reading(&mut done, Some(PIN)).message.unwrap();
        let sizes =
            |card: &VirtualUicc| files(card).iter().map(|file| (file.id.0, file.content.0.len())).collect::<Vec<_>>();
        let mut cuts = 0;
        for number in 0.. {
            let mut is_over = false;
            for torn in CUTS {
                let mut card = original.clone();
                let mut link = PowerCut { card: &mut card, left: number, torn };
                if carried_out(&mut link, &plan, KEY).is_ok() {
                    is_over = true;
                    break;
                }
                cuts += 1;
                let place = format!("{scene}, command {number}");
                match (reading(&mut card, Some(PIN)).message, &before) {
                    (Ok(message), _) if message == after => {}
                    (Ok(message), Ok(old)) => assert!(message == *old, "{place}"),
                    (Ok(_), Err(_)) => panic!("{place}: something is read that is neither old nor new"),
                    (Err(error), Err(old)) => {
                        assert!(error.kind == old.kind || error.kind == CardErrorKind::Malformed, "{place}: {error}");
                    }
                    (Err(error), Ok(_)) => assert_eq!(error.kind, CardErrorKind::Malformed, "{place}: {error}"),
                }
                // What others have stays listed, whole, all the time.
                let theirs = |card: &VirtualUicc| {
                    let is_theirs = |object: &DataObject| object.application.as_deref() == Some("1.2.3.4");
                    listed(card).into_iter().filter(is_theirs).collect::<Vec<_>>()
                };
                assert_eq!(theirs(&card), theirs(&original), "{place}");
                // The next run brings the card to the end, and it is as if nothing had been cut off.
                card.reset();
                let rest = match scene {
                    // What is listed behind the PIN is seen with the PIN.
                    "behind the PIN" => planned(&mut card, &wanted, Some(PIN)),
                    _ => looked(&mut card),
                };
                let rest = rest.unwrap_or_else(|error| panic!("{place}: {error}"));
                carried_out(&mut card, &rest, KEY).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), after, "{place}");
                assert_eq!(sizes(&card), sizes(&done), "{place}: no file is left over");
                let old = br#""Name":"Old""#;
                let holds_old = |file: &CardFile| file.content.0.windows(old.len()).any(|part| part == old);
                assert!(!files(&card).iter().any(holds_old), "{place}: nothing is left of the old message");
            }
            if is_over {
                break;
            }
        }
        assert!(cuts > 40, "{scene}: {cuts}");
    }
}

/// A card that forgets what is written into one byte.
struct Forgetful(VirtualUicc, u16);

impl Link for Forgetful {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let mut command = command.to_vec();
        if let [_, 0xD6, high, low, _, data @ ..] = command.as_mut_slice() {
            let start = u16::from_be_bytes([*high, *low]);
            if let Some(byte) = self.1.checked_sub(start).and_then(|at| data.get_mut(usize::from(at))) {
                *byte ^= 0x20;
            }
        }
        self.0.transmit(&command)
    }
}

#[test]
fn what_reads_differently_is_told_with_its_first_byte() {
    let original = card(&CardPlan { file_size: Some(400), ..plan() });
    let plan = planned(&mut original.clone(), &new("New name"), None).unwrap();
    let error = carried_out(&mut Forgetful(original, 150), &plan, KEY).unwrap_err();
    assert_eq!(error, PersonaliseError::Differs { file: 0x6434, at: 150 });
}

/// A card that takes only so many bytes at once.
struct Narrow(VirtualUicc, usize);

impl Link for Narrow {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        if command[1] == 0xD6 && usize::from(command[4]) > self.1 {
            return Ok(vec![0x67, 0x00]);
        }
        self.0.transmit(command)
    }
}

#[test]
fn a_card_that_takes_small_blocks_only_is_written_in_small_blocks() {
    for limit in [128, 64] {
        let long = new(&"long ".repeat(100));
        let mut original = card(&empty());
        let plan = planned(&mut original, &long, None).unwrap();
        let mut narrow = Narrow(original, limit);
        carried_out(&mut narrow, &plan, KEY).unwrap();
        assert_eq!(reading(&mut narrow.0, Some(PIN)).message.unwrap(), message(&"long ".repeat(100)));
    }
    let mut original = card(&empty());
    let plan = planned(&mut original, &new("New"), None).unwrap();
    let error = carried_out(&mut Narrow(original, 10), &plan, KEY).unwrap_err();
    assert!(matches!(error, PersonaliseError::Refused { .. }), "{error}");
}

#[test]
fn every_command_of_looking_and_writing_is_counted() {
    let mut card = card(&empty());
    let seen = seen(&mut card, &new("Acme"), None).unwrap();
    assert_eq!(u64::from(seen.commands), u64::from(card.commands()));
    let plan = plan_for(&seen, &new("Acme")).unwrap();
    let written = carried_out(&mut card, &plan, KEY).unwrap();
    assert_eq!(u64::from(seen.commands) + u64::from(written.commands), u64::from(card.commands()));
}
