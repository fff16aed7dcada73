//! Writing what lies behind a PIN: who may read a file, what is seen with the PIN and what without, and what a run that
//! was cut off leaves behind (Profile P-36).

#![allow(clippy::unwrap_used)]

mod kit;

use std::time::Duration;

use kit::{KEY, PIN, card, carried_out, dm, message, planned, reading, secret_message, write};
use omadm_card::apdu::{Protocol, StatusWord};
use omadm_card::image::{Access, Byte, CardFile, CardImage, CardParts, FileId, Pin};
use omadm_card::link::LinkError;
use omadm_card::make::{CardPlan, Content, Listing, NewObject, make};
use omadm_card::personalise::{Action, AdmKey, PersonaliseError, Wanted};
use omadm_card::pkcs15::dodf::{DataObject, Form};
use omadm_card::pkcs15::oid::ObjectId;
use omadm_card::pkcs15::path::Path;
use omadm_card::virtual_uicc::{Fault, FaultKind, Preset, Quirk};
use omadm_card::{CardErrorKind, Link, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const WBXML: [u8; 5] = [0x03, 0x0B, 0x6A, 0x00, 0x45];

fn longer() -> Vec<u8> {
    secret_message(&"a much longer name ".repeat(20))
}

/// A card with a PIN and this content behind it.
fn behind_pin(content: Content) -> CardPlan {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), b"");
    CardPlan { content, pin: Some(Secret::from(PIN)), adm: AdmKey::parse(KEY).ok(), ..plan }
}

/// A card that everybody may read.
fn public(content: Content) -> CardPlan {
    CardPlan { pin: None, file_size: Some(2_000), ..behind_pin(content) }
}

fn private(message: Vec<u8>) -> Wanted {
    Wanted { behind_pin: true, ..dm(message) }
}

fn by_rule(wanted: Wanted, rule: &str) -> Wanted {
    Wanted { rule: rule.parse().ok(), ..wanted }
}

fn objects(card: &VirtualUicc) -> Vec<(u16, Vec<u8>)> {
    let files = card.image().unwrap().into_parts().applications.remove(0).files;
    let of_objects = files.into_iter().filter(|file| (0x6434..=0x643F).contains(&file.id.0));
    of_objects.map(|file| (file.id.0, file.content.0)).collect()
}

fn with_quirk(plan: &CardPlan, quirk: Quirk) -> VirtualUicc {
    let mut parts = make(plan).unwrap().into_parts();
    parts.quirks = [quirk].into_iter().collect();
    VirtualUicc::new(&CardImage::try_from(parts).unwrap())
}

#[test]
fn a_rule_named_by_hand_decides_who_reads_and_not_the_flag() {
    let refused = |plan: &CardPlan, wanted: &Wanted, why: &str| {
        let mut card = card(plan);
        let before = card.image().unwrap();
        let error = write(&mut card, wanted, Some(PIN)).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("access rule 2F06:"), "{error}");
        assert_eq!(card.image().unwrap(), before);
    };
    let empty = behind_pin(Content::None);
    refused(&empty, &by_rule(private(secret_message("A")), "2F06:1"), "by this rule everybody reads the file");
    refused(&empty, &by_rule(private(secret_message("A")), "2F06:2"), "does not ask for a PIN of the user alone");
    refused(&empty, &by_rule(private(secret_message("A")), "2F06:9"), "does not let this rule be read");
    refused(&empty, &by_rule(dm(message("A")), "2F06:3"), "give --behind-pin too");
    // A message that has grown stays behind its PIN.
    let full = behind_pin(Content::Message(secret_message("A")));
    refused(&full, &by_rule(dm(longer()), "2F06:1"), "by this rule everybody reads the file");
    let one = CardPlan { pin: None, ..behind_pin(Content::Message(message("A"))) };
    let mut card = card(&one);
    let error = write(&mut card, &by_rule(dm(secret_message("A")), "2F06:1"), None).unwrap_err();
    assert!(matches!(error, PersonaliseError::PublicSecret(_)), "{error}");

    let mut card = VirtualUicc::new(&make(&empty).unwrap());
    write(&mut card, &by_rule(private(secret_message("A")), "2F06:3"), Some(PIN)).unwrap();
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), secret_message("A"));
    assert_eq!(reading(&mut card, None).message.unwrap_err().kind, CardErrorKind::PinNeeded);
}

#[test]
fn cards_that_tell_no_rules_of_their_files_get_a_secret_behind_their_pin_all_the_same() {
    for preset in Preset::ALL {
        let image = preset.apply(make(&behind_pin(Content::None)).unwrap()).unwrap();
        let mut card = VirtualUicc::new(&image);
        write(&mut card, &private(secret_message("A")), None)
            .unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), secret_message("A"), "{}", preset.name);
        assert_eq!(reading(&mut card, None).message.unwrap_err().kind, CardErrorKind::PinNeeded, "{}", preset.name);
    }
}

#[test]
fn a_slip_of_the_card_makes_no_public_file_a_private_one() {
    let quirks = [None, Some(Quirk::NoAccessRule)];
    for (quirk, status) in quirks
        .into_iter()
        .flat_map(|quirk| [0x6F00, 0x6400, 0x6581, 0x6981, 0x6982, 0x6985].map(|status| (quirk, StatusWord(status))))
    {
        let plan = public(Content::Message(message("A")));
        let original = match quirk {
            Some(quirk) => with_quirk(&plan, quirk),
            None => card(&plan),
        };
        let mut whole = original.clone();
        assert!(matches!(planned(&mut whole, &dm(secret_message("A")), None), Err(PersonaliseError::PublicSecret(_))));
        let (mut troubles, commands) = (0, whole.commands());
        for at in 1..=commands {
            let mut card = original.clone();
            card.plan_faults([Fault { at, kind: FaultKind::Status(status) }]);
            let unseen = Wanted { replace_unseen: true, ..dm(secret_message("A")) };
            let error = planned(&mut card, &unseen, None).unwrap_err();
            troubles += u32::from(!matches!(error, PersonaliseError::PublicSecret(_)));
        }
        assert!(troubles > 0, "{status} is never noticed among {commands} commands");
    }
}

/// A card that never lets this file be read, whatever its rule says.
struct Refusing(VirtualUicc, [u8; 2], bool);

impl Link for Refusing {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        if command[1] == 0xA4 {
            self.2 = command.windows(2).any(|id| id == self.1);
        }
        if command[1] == 0xB0 && self.2 { Ok(vec![0x69, 0x82]) } else { self.0.transmit(command) }
    }
}

#[test]
fn a_file_that_refuses_what_its_rule_allows_is_in_trouble_and_not_private() {
    let mut card = Refusing(card(&public(Content::Message(message("A")))), [0x64, 0x34], false);
    let wanted = Wanted { replace_unseen: true, ..dm(secret_message("A")) };
    let error = planned(&mut card, &wanted, None).unwrap_err().to_string();
    assert!(error.contains("by its access rule everybody may"), "{error}");
}

/// A card whose EF(ARR) says that rule 1 asks for the PIN, which it does not.
fn lying() -> VirtualUicc {
    let mut parts = make(&behind_pin(Content::None)).unwrap().into_parts();
    let mut rule = omadm_card::hex::decode("800101A406830101950108800102A40683010A950108").unwrap();
    rule.resize(24, 0xFF);
    parts.files.push(CardFile { record_length: Some(24), ..CardFile::new(0x2F06, "EF(ARR)", rule) });
    VirtualUicc::new(&CardImage::try_from(parts).unwrap())
}

#[test]
fn a_card_that_does_not_keep_to_its_rule_gets_no_secret() {
    let mut card = lying();
    let error = write(&mut card, &private(secret_message("A")), None).unwrap_err();
    assert!(matches!(error, PersonaliseError::Open { file: 0x6434, .. }), "{error}");
    assert!(error.to_string().contains("nothing was written into it"), "{error}");
    assert_eq!(objects(&card), [(0x6434, vec![0xFF; secret_message("A").len()])]);
}

/// A card that forgets, from its second refusal on, what a PIN is for.
struct Lenient(VirtualUicc, u32);

impl Link for Lenient {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.0.transmit(command)?;
        if command[1] == 0xB0 && answer == [0x69, 0x82] {
            self.1 += 1;
            if self.1 > 1 {
                return Ok(vec![b'[', 0x90, 0x00]);
            }
        }
        Ok(answer)
    }
}

#[test]
fn a_file_that_is_read_back_without_the_pin_is_an_error() {
    let mut original = card(&behind_pin(Content::None));
    let plan = planned(&mut original, &private(secret_message("A")), None).unwrap();
    let error = carried_out(&mut Lenient(original, 0), &plan, KEY).unwrap_err();
    assert!(matches!(error, PersonaliseError::Open { file: 0x6434, .. }), "{error}");
    assert!(error.to_string().contains("lies open"), "{error}");
}

#[test]
fn what_cannot_be_seen_is_replaced_on_demand_only() {
    for content in [Content::Raw(WBXML.repeat(100)), Content::Message(secret_message("A"))] {
        let original = card(&CardPlan { file_size: Some(600), ..behind_pin(content) });
        let mut unseen = original.clone();
        let error = write(&mut unseen, &private(secret_message("B")), None).unwrap_err();
        assert!(matches!(error, PersonaliseError::Unseen { .. }), "{error}");
        assert!(error.to_string().contains("--pin-file") && error.to_string().contains("--replace-unseen"), "{error}");
        assert_eq!(unseen.image().unwrap(), original.image().unwrap());

        write(&mut unseen, &Wanted { replace_unseen: true, ..private(secret_message("B")) }, None).unwrap();
        assert_eq!(objects(&unseen).len(), 1);
        assert_eq!(reading(&mut unseen, Some(PIN)).message.unwrap(), secret_message("B"));
    }
}

#[test]
fn a_message_of_dm_1x_behind_the_pin_stays() {
    let mut card = card(&behind_pin(Content::Raw(WBXML.to_vec())));
    let plan = planned(&mut card, &private(secret_message("A")), Some(PIN)).unwrap();
    assert!(plan.notes[0].contains("DM 1.x"), "{:?}", plan.notes);
    write(&mut card, &private(secret_message("A")), Some(PIN)).unwrap();
    assert_eq!(objects(&card), [(0x6434, WBXML.to_vec()), (0x6435, secret_message("A"))]);
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), secret_message("A"));
}

#[test]
fn the_pin_is_sent_once_and_never_as_the_last_try() {
    let full = behind_pin(Content::Message(secret_message("A")));
    let mut card = card(&full);
    let before = reading(&mut card, Some(PIN)).message.unwrap();
    let refusal = |card: &mut VirtualUicc| match write(card, &private(secret_message("B")), Some("9999")) {
        Err(PersonaliseError::Card(error)) => error,
        other => panic!("{other:?}"),
    };
    let error = refusal(&mut card);
    assert_eq!((error.kind, card.tries_left(1)), (CardErrorKind::PinRefused, Some(2)), "{error}");
    assert!(!error.to_string().contains("9999"), "{error}");
    refusal(&mut card);
    let error = refusal(&mut card);
    assert_eq!((error.kind, card.tries_left(1)), (CardErrorKind::PinRefused, Some(1)), "{error}");
    assert!(error.to_string().contains("one try is left"), "{error}");
    let mut parts = card.image().unwrap().into_parts();
    parts.pins[0].tries_left = 3;
    let mut card = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), before, "nothing was written");
    // Where nothing lies behind the PIN yet it is not sent at all.
    let mut empty = VirtualUicc::new(&make(&behind_pin(Content::None)).unwrap());
    write(&mut empty, &private(secret_message("A")), Some("9999")).unwrap();
    assert_eq!(empty.tries_left(1), Some(3));
}

#[test]
fn what_lies_behind_the_pin_already_is_not_written_again() {
    let both = |content| Wanted {
        behind_pin: true,
        ..Wanted::new(vec![NewObject::dm(content), NewObject::lwm2m(vec![0xC8; 300])])
    };
    let mut card = card(&behind_pin(Content::None));
    write(&mut card, &both(secret_message("A")), None).unwrap();
    card.reset();
    assert!(planned(&mut card, &both(secret_message("A")), Some(PIN)).unwrap().steps.is_empty());
    let written = write(&mut card, &both(secret_message("B")), Some(PIN)).unwrap();
    assert!(written.unchecked.is_empty(), "with the PIN everything is read back: {written:?}");
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), secret_message("B"));
}

#[test]
fn runs_that_are_cut_off_leave_no_file_to_the_next_one() {
    let empty = behind_pin(Content::None);
    let untold = with_quirk(&empty, Quirk::NoAccessRule);
    for (mut card, pin) in [(card(&empty), None), (card(&empty), Some(PIN)), (untold, Some(PIN))] {
        // More often than there are names for files.
        for _ in 0..14 {
            card.reset();
            let mut plan = planned(&mut card, &private(secret_message("A")), pin).unwrap();
            let creates = |action: &Action| matches!(action, Action::CreateFile { file } if file.id >= 0x6434);
            if let Some(created) = plan.steps.iter().position(|step| creates(&step.action)) {
                plan.steps.truncate(created + 1);
                carried_out(&mut card, &plan, KEY).unwrap_err();
            }
        }
        assert_eq!(objects(&card), [(0x6434, vec![0xFF; secret_message("A").len()])]);
        write(&mut card, &private(secret_message("A")), pin).unwrap();
        assert_eq!(objects(&card), [(0x6434, secret_message("A"))]);
        assert_eq!(reading(&mut card, Some(PIN)).message.unwrap(), secret_message("A"));
    }
}

#[test]
fn a_message_that_a_run_wrote_and_did_not_list_gives_its_file_to_the_next_one() {
    let pair = |closed: bool, name: &str| match closed {
        true => private(secret_message(name)),
        false => dm(message(name)),
    };
    for (closed, pin) in [(false, None), (true, None), (true, Some(PIN))] {
        let mut card = match closed {
            true => card(&behind_pin(Content::None)),
            false => card(&CardPlan { file_size: None, ..public(Content::None) }),
        };
        let mut plan = planned(&mut card, &pair(closed, "First"), pin).unwrap();
        let listing = plan.steps.iter().position(|step| step.about.contains("a new entry")).unwrap();
        plan.steps.truncate(listing);
        carried_out(&mut card, &plan, KEY).unwrap_err();
        let wanted = pair(closed, "Other");
        write(&mut card, &wanted, pin).unwrap();
        assert_eq!(objects(&card), [(0x6434, wanted.objects[0].content.clone())], "{closed} {pin:?}");
    }
}

#[test]
fn a_private_file_is_no_leftover_where_something_may_name_it() {
    // EF(ODF) lists a directory of certificates, which is not looked into.
    let mut parts = make(&behind_pin(Content::None)).unwrap().into_parts();
    let mut theirs = CardFile::new(0x6434, "theirs", b"theirs".repeat(100));
    theirs.read = Access::Pin(Byte(1));
    parts.applications[0].files.push(theirs);
    let odf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x5031).unwrap();
    odf.content.0.truncate(16);
    odf.content.0.extend(omadm_card::hex::decode("A406300404026440 FFFFFFFFFFFFFFFF").unwrap());
    let mut card = VirtualUicc::new(&CardImage::try_from(parts).unwrap());
    for pin in [None, Some(PIN)] {
        let mut card = card.clone();
        write(&mut card, &private(secret_message("A")), pin).unwrap();
        assert_eq!(objects(&card), [(0x6434, b"theirs".repeat(100)), (0x6435, secret_message("A"))], "{pin:?}");
    }
    assert_eq!(reading(&mut card, Some(PIN)).message.unwrap_err().kind, CardErrorKind::NoDmObject);
    // An entry of a form that is not understood here.
    let card = with_entry(&[0xA0, 0x03, 0x02, 0x01, 0x00], |parts| {
        let theirs = CardFile::new(0x6434, "theirs", b"theirs".repeat(100));
        parts.applications[0].files.push(CardFile { read: Access::Pin(Byte(1)), ..theirs });
    });
    for pin in [None, Some(PIN)] {
        let mut card = card.clone();
        write(&mut card, &private(secret_message("A")), pin).unwrap();
        assert_eq!(objects(&card)[0], (0x6434, b"theirs".repeat(100)), "{pin:?}");
    }
}

#[test]
fn an_object_in_two_forms_that_was_cut_off_between_them_moves_as_a_whole() {
    let plan = CardPlan { listing: Listing::Both, ..behind_pin(Content::Message(secret_message("A"))) };
    let mut card = card(&plan);
    let mut plan = planned(&mut card, &private(longer()), Some(PIN)).unwrap();
    // Up to the first of the two bytes that name the new file.
    plan.steps.pop();
    card.reset();
    carried_out(&mut card, &plan, KEY).unwrap_err();
    write(&mut card, &private(longer()), Some(PIN)).unwrap();
    card.reset();
    assert!(planned(&mut card, &private(longer()), Some(PIN)).unwrap().steps.is_empty());
    let reading = reading(&mut card, Some(PIN));
    assert_eq!(reading.message.unwrap(), longer());
    assert!(reading.passed_over.is_empty(), "{:?}", reading.passed_over);
}

/// A card in a modem, which has verified PIN 01 and keeps the basic channel to itself.
struct InModem(VirtualUicc);

impl InModem {
    fn new(mut card: VirtualUicc) -> Self {
        card.reset();
        card.unlock(1);
        Self(card)
    }
}

impl Link for InModem {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        false
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        assert!(command[0] != 0 || command[1] == 0x70, "the basic channel is the modem's");
        assert!(command[1] != 0x20 || command[3] != 1, "PIN 01 is the modem's");
        self.0.transmit(command)
    }
}

#[test]
fn in_a_modem_the_access_rule_tells_who_reads() {
    let full = CardPlan { file_size: Some(600), ..behind_pin(Content::Message(secret_message("A"))) };
    let mut modem = InModem::new(card(&full));
    let plan = planned(&mut modem, &private(secret_message("B")), Some(PIN)).unwrap();
    let written = carried_out(&mut modem, &plan, KEY).unwrap();
    assert!(written.unchecked.is_empty(), "{written:?}");
    assert_eq!(reading(&mut modem.0, Some(PIN)).message.unwrap(), secret_message("B"));
    assert_eq!(reading(&mut modem.0, None).message.unwrap_err().kind, CardErrorKind::PinNeeded);

    let mut modem = InModem::new(card(&public(Content::Message(message("A")))));
    let error = planned(&mut modem, &dm(secret_message("B")), None).unwrap_err();
    assert!(matches!(error, PersonaliseError::PublicSecret(_)), "{error}");

    // Where it tells no rule it cannot be seen who reads.
    let mut modem = InModem::new(with_quirk(&full, Quirk::NoAccessRule));
    let error = planned(&mut modem, &dm(secret_message("B")), None).unwrap_err().to_string();
    assert!(error.contains("write the card in a reader"), "{error}");
    assert!(!planned(&mut modem, &dm(message("B")), None).unwrap().steps.is_empty());
}

/// An entry for an object of others, whose file this path names.
fn foreign_entry(oid: &[u8], path: &str, is_private: bool) -> Vec<u8> {
    let ids = omadm_card::hex::decode(path).unwrap();
    let path = [&[0x04, u8::try_from(ids.len()).unwrap()][..], &ids].concat();
    let object = DataObject {
        label: Some("theirs".to_owned()),
        private: is_private,
        auth_id: is_private.then(|| vec![1]),
        application: None,
        oids: vec![oid.to_vec()],
        path: Path::parse(&path).unwrap(),
        form: Form::Opaque,
    };
    object.encode()
}

/// A card with a PIN and without a message, whose directory of objects begins with this entry.
fn with_entry(entry: &[u8], change: impl FnOnce(&mut CardParts)) -> VirtualUicc {
    let mut parts = make(&behind_pin(Content::None)).unwrap().into_parts();
    let dodf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6430).unwrap();
    dodf.content.0 = vec![0xFF; 256];
    dodf.content.0[..entry.len()].copy_from_slice(entry);
    change(&mut parts);
    VirtualUicc::new(&CardImage::try_from(parts).unwrap())
}

#[test]
fn a_file_that_any_entry_names_is_not_taken_in_whatever_form_it_does() {
    // The DF that PKCS#15 proposes; the application is selected by its AID all the same.
    let entry = foreign_entry(&[0x2A, 0x03, 0x04], "3F0050156434", true);
    let card = with_entry(&entry, |parts| {
        let application = &mut parts.applications[0];
        application.df = Some(FileId(0x5015));
        let theirs = CardFile::new(0x6434, "theirs", b"theirs".repeat(100));
        application.files.push(CardFile { read: Access::Pin(Byte(1)), ..theirs });
    });
    for pin in [None, Some(PIN)] {
        let mut card = card.clone();
        write(&mut card, &private(secret_message("A")), pin).unwrap();
        assert_eq!(objects(&card), [(0x6434, b"theirs".repeat(100)), (0x6435, secret_message("A"))], "{pin:?}");
    }
}

#[test]
fn an_entry_for_a_file_that_is_not_there_comes_to_name_no_other_object() {
    let entry = foreign_entry(ObjectId::lwm2m_bootstrap().content(), "6434", false);
    let mut card = with_entry(&entry, |_| {});
    write(&mut card, &dm(message("A")), None).unwrap();
    assert_eq!(objects(&card), [(0x6435, message("A"))]);
}

#[test]
fn the_pin_is_sent_for_files_of_its_own_only() {
    let theirs = |parts: &mut CardParts| {
        parts.pins.push(Pin::new(0x81, Secret::from("98765432"), 3));
        let theirs = CardFile::new(0x6434, "theirs", b"theirs".repeat(100));
        parts.applications[0].files.push(CardFile { read: Access::Pin(Byte(0x81)), ..theirs });
    };
    for wanted in [dm(message("A")), private(secret_message("A"))] {
        let mut card = with_entry(&[], theirs);
        write(&mut card, &wanted, Some(PIN)).unwrap();
        assert_eq!((card.tries_left(0x81), card.tries_left(1)), (Some(3), Some(3)));
        assert_eq!(objects(&card)[0], (0x6434, b"theirs".repeat(100)));
    }
}

#[test]
fn a_modem_that_is_busy_when_a_channel_is_closed_is_asked_again() {
    /// Refuses the first close.
    struct Busy(InModem, bool);
    impl Link for Busy {
        fn protocol(&self) -> Protocol {
            self.0.protocol()
        }
        fn is_exclusive(&self) -> bool {
            false
        }
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
            if command[1] == 0x70 && command[2] == 0x80 && !std::mem::replace(&mut self.1, true) {
                return Err(LinkError::Io("the modem refused +CSIM: +CME ERROR: 14".to_owned()));
            }
            self.0.transmit(command)
        }
    }
    let mut link = Busy(InModem::new(card(&public(Content::Message(message("A"))))), false);
    let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
    assert_eq!(reading.message.unwrap(), message("A"));
    assert!(link.1 && link.0.0.open_channels() == 0);
}
