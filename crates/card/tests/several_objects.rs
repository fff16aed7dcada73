//! Cards with several directories and several bootstrap objects, and objects in places and files of every form.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol;
use omadm_card::image::{Access, Byte, CardFile, CardParts, Pin};
use omadm_card::make::{CardPlan, make};
use omadm_card::pkcs15::oid::ObjectId;
use omadm_card::{
    CardErrorKind, CardImage, CardReading, Cause, Link, LinkError, Place, ReadRequest, VirtualUicc, hex, read,
};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::secret::Secret;

/// A message with one account of this name.
fn message(srv_id: &str) -> Vec<u8> {
    format!(
        r#"[ {{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://dm.example/dm","Name":"x","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}} ]"#
    )
    .into_bytes()
}

/// A secret account of this name.
fn secret_message(srv_id: &str) -> Vec<u8> {
    let text = String::from_utf8(message(srv_id)).unwrap();
    let auth = r#""Name":"x","Auth":{"Trsp":{"Data":"YmFzaWM6dQ==","Secret":"eA=="}}"#;
    text.replace(r#""Name":"x""#, auth).into_bytes()
}

/// One object of a card: the id of its file, what it holds, and who may read it.
struct Object {
    id: u16,
    content: Vec<u8>,
    read: Access,
    /// Whether the directory says that it is private.
    private: bool,
}

fn open(id: u16, content: &[u8]) -> Object {
    Object { id, content: content.to_vec(), read: Access::Always, private: false }
}

fn behind(reference: u8, id: u16, content: &[u8]) -> Object {
    Object { read: Access::Pin(Byte(reference)), private: true, ..open(id, content) }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    omadm_card::file::tlv::object(tag, value)
}

/// An opaqueDO entry for this path.
fn entry(path: &[u8], private: bool) -> Vec<u8> {
    let common =
        [&tlv(0x0C, b"DM")[..], if private { &[0x03, 0x02, 0x07, 0x80, 0x04, 0x01, 0x01] } else { &[] }].concat();
    let parts = [tlv(0x30, &common), tlv(0x30, &tlv(0x06, &[0x67, 0x2B, 0x07, 0x01])), tlv(0xA1, &tlv(0x30, path))];
    tlv(0x30, &parts.concat())
}

fn file(id: u16, content: Vec<u8>) -> CardFile {
    CardFile::new(id, "", content)
}

/// A card with these objects, each directory in its own EF(DODF); a PIN 01 where an object is private.
fn card(directories: &[&[Object]]) -> CardImage {
    let plan = CardPlan::new("8901012345678901234".parse().unwrap(), b"[]");
    let plan = CardPlan { pin: Some(Secret::from("1234")), ..plan };
    let mut parts = make(&plan).unwrap().into_parts();
    let files = &mut parts.applications[0].files;
    files.retain(|file| matches!(file.id.0, 0x5032 | 0x6431));
    let mut odf = Vec::new();
    for (number, objects) in directories.iter().enumerate() {
        let id = 0x6440 + u16::try_from(number).unwrap();
        odf.extend(tlv(0xA7, &tlv(0x30, &tlv(0x04, &id.to_be_bytes()))));
        let entries = objects.iter().flat_map(|object| entry(&tlv(0x04, &object.id.to_be_bytes()), object.private));
        files.push(file(id, entries.chain([0xFF; 8]).collect()));
        for object in *objects {
            files.push(CardFile { read: object.read, ..file(object.id, object.content.clone()) });
        }
    }
    odf.extend(tlv(0xA8, &tlv(0x30, &tlv(0x04, &[0x64, 0x31]))));
    files.push(file(0x5031, [odf, vec![0xFF; 4]].concat()));
    parts.try_into().unwrap()
}

fn read_with(link: &mut dyn Link, pin: Option<&str>) -> CardReading {
    let pin = pin.map(Secret::from);
    read(link, &ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() }, &|| Duration::ZERO)
}

fn reading(image: &CardImage, pin: Option<&str>) -> CardReading {
    read_with(&mut VirtualUicc::new(image), pin)
}

fn accounts(reading: &CardReading) -> Vec<String> {
    let message = BootstrapMessage::parse(reading.message.as_ref().unwrap(), Limit::WholeCard).unwrap();
    message.accounts().iter().map(|(account, _)| account.srv_id.to_string()).collect()
}

fn told(reading: &CardReading) -> Vec<(Place, Cause)> {
    reading.passed_over.iter().map(|one| (one.place, one.cause)).collect()
}

#[test]
fn all_accounts_of_all_objects_of_all_directories_are_taken_in_order() {
    let image = card(&[
        &[open(0x6450, &message("a")), open(0x6451, &message("b"))],
        &[open(0x6452, &message("a")), open(0x6453, &message("c"))],
    ]);
    let reading = reading(&image, None);
    assert_eq!(accounts(&reading), ["a", "b", "c"]);
    assert_eq!(told(&reading), [(Place::Message(0x6452), Cause::Unused)], "the first account of a name wins");
    assert!(!reading.is_partial());
}

#[test]
fn one_object_is_given_byte_for_byte_although_others_are_damaged() {
    let dm1x = b"\x03\x0B\x6A\x00\x45";
    let image = card(&[&[
        open(0x6450, b"[{\"ClientURI\""),
        open(0x6451, dm1x),
        open(0x6452, &message("good")),
        open(0x6453, &[0xFF; 40]),
    ]]);
    let reading = reading(&image, None);
    assert_eq!(reading.message.as_deref(), Ok(message("good").as_slice()));
    let expected = [(0x6450, Cause::Damaged), (0x6453, Cause::Damaged), (0x6451, Cause::Unused)];
    assert_eq!(told(&reading), expected.map(|(id, cause)| (Place::Message(id), cause)));
    assert!(reading.is_partial());
    let sentence = reading.passed_over[2].to_string();
    assert!(sentence.contains("OMA Client Provisioning 1.0") && sentence.contains("personalise"), "{sentence}");
}

#[test]
fn of_several_objects_one_that_breaks_a_rule_is_left_out_and_told() {
    let wrong = message("wrong").strip_suffix(b"]").map(|text| [text, b", 5]"].concat()).unwrap();
    let image = card(&[&[open(0x6450, &wrong), open(0x6451, &message("a")), open(0x6452, &message("b"))]]);
    let reading = reading(&image, None);
    assert_eq!(accounts(&reading), ["a", "b"]);
    assert_eq!(told(&reading), [(Place::Message(0x6450), Cause::Unused)]);
    assert!(!reading.is_partial(), "it was read whole: what else is gone from the card is gone");
    let cut = card(&[&[open(0x6450, &wrong[..wrong.len() - 1]), open(0x6451, &message("a"))]]);
    assert!(self::reading(&cut, None).is_partial());
}

#[test]
fn without_any_message_what_could_not_be_read_counts_more_than_what_proves_that_there_is_none() {
    let dm1x = || open(0x6450, b"<?xml version=\"1.0\"?><SyncML/>");
    let proven = reading(&card(&[&[dm1x()]]), None).message.unwrap_err();
    assert_eq!((proven.kind, proven.proves_absence()), (CardErrorKind::HoldsDm1x, true));
    for other in [open(0x6451, b"[{"), Object { read: Access::Never, ..open(0x6451, b"[]") }, behind(1, 0x6451, b"[]")]
    {
        let reading = reading(&card(&[&[dm1x(), other]]), None);
        assert_eq!(told(&reading), [(Place::Message(0x6450), Cause::Unused)]);
        assert!(!reading.message.unwrap_err().proves_absence());
    }
}

#[test]
fn a_public_object_is_taken_although_the_pin_of_another_is_missing_wrong_or_blocked() {
    let image = card(&[&[behind(1, 0x6450, &secret_message("secret")), open(0x6451, &message("public"))]]);
    let without = reading(&image, None);
    assert_eq!(without.message.as_deref(), Ok(message("public").as_slice()));
    assert_eq!(told(&without), [(Place::Pin(1), Cause::Unread)]);
    assert!(!without.behind_pin);

    let mut uicc = VirtualUicc::new(&image);
    let wrong = read_with(&mut uicc, Some("9999"));
    assert_eq!(wrong.message.as_deref(), Ok(message("public").as_slice()));
    assert!(wrong.refused_pin.is_some() && wrong.is_partial());
    assert_eq!(uicc.tries_left(1), Some(2));

    let right = reading(&image, Some("1234"));
    assert_eq!(accounts(&right), ["secret", "public"], "in the order of the directory");
    assert!(right.passed_over.is_empty() && right.behind_pin, "no secret lies open");

    let both = card(&[&[behind(1, 0x6450, &message("private")), open(0x6451, &secret_message("open-secret"))]]);
    assert!(!reading(&both, Some("1234")).behind_pin, "a secret lies open");
}

#[test]
fn one_pin_is_sent_once_although_objects_are_behind_several() {
    let mut parts = card(&[&[behind(1, 0x6450, &message("a")), behind(1, 0x6451, &message("b"))]]).into_parts();
    let reading_of = |parts: CardParts| {
        let mut link = Recorder(VirtualUicc::new(&parts.try_into().unwrap()), Vec::new());
        (
            read_with(&mut link, Some("1234")),
            link.1.iter().filter(|command| command[1] == 0x20 && command.len() > 5).count(),
        )
    };
    let (both, sent) = reading_of(parts.clone());
    assert_eq!((accounts(&both), sent), (vec!["a".to_owned(), "b".to_owned()], 1));

    // Now the second is behind another PIN that has the same digits.
    parts.pins.push(Pin { reference: Byte(0x81), value: Secret::from("1234"), ..parts.pins[0].clone() });
    let files = &mut parts.applications[0].files;
    files.iter_mut().find(|file| file.id.0 == 0x6451).unwrap().read = Access::Pin(Byte(0x81));
    let (one, sent) = reading_of(parts);
    assert_eq!((accounts(&one), sent), (vec!["a".to_owned()], 1));
    assert_eq!(told(&one), [(Place::Pin(0x81), Cause::Unread)]);
}

#[test]
fn an_administrators_key_named_as_a_pin_gets_no_pin() {
    let mut parts = card(&[&[behind(1, 0x6450, &message("a"))]]).into_parts();
    // Without a usable C6 and EF(ARR) the directory counts, and it names ADM 0A.
    parts.pins.push(Pin { reference: Byte(0x81), ..parts.pins[0].clone() });
    parts.files.push(CardFile { record_length: Some(4), ..file(0x2F06, vec![0xFF; 16]) });
    let aodf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6431).unwrap();
    let at = aodf.content.0.windows(3).position(|bytes| bytes == [0x80, 0x01, 0x01]).unwrap();
    aodf.content.0[at + 2] = 0x0A;
    let mut link = Recorder(VirtualUicc::new(&parts.try_into().unwrap()), Vec::new());
    let error = read_with(&mut link, Some("1234")).message.unwrap_err();
    assert_eq!((error.kind, error.place), (CardErrorKind::PinNeeded, Place::Aodf(0x6431)));
    assert!(link.1.iter().all(|command| command[1] != 0x20));
}

struct Recorder(VirtualUicc, Vec<Vec<u8>>);

impl Link for Recorder {
    fn protocol(&self) -> Protocol {
        Protocol::T1
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        self.1.push(command.to_vec());
        self.0.transmit(command)
    }
}

#[test]
fn more_objects_than_are_read_are_told() {
    let objects: Vec<_> = (0..9).map(|number| open(0x6450 + number, &message(&format!("a{number}")))).collect();
    let reading = reading(&card(&[&objects]), None);
    assert_eq!(accounts(&reading).len(), 8);
    assert!(reading.is_partial() && reading.passed_over[0].detail.contains("more than 8"));
}

/// A card whose one entry has this path, in hexadecimal text as `04.. 02.. 80..`.
fn with_path(path: &str, content: &[u8]) -> CardImage {
    let mut parts = card(&[&[open(0x6450, content)]]).into_parts();
    let dodf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6440).unwrap();
    dodf.content.0 = [entry(&hex::decode(path).unwrap(), false), vec![0xFF; 8]].concat();
    parts.try_into().unwrap()
}

#[test]
fn every_form_of_a_path_leads_to_the_object() {
    for path in ["04 02 6450", "04 04 7FFF6450", "04 06 3F007F506450", "04 04 7F506450"] {
        let reading = reading(&with_path(path, &message("a")), None);
        assert_eq!(reading.message.as_deref(), Ok(message("a").as_slice()), "{path}");
    }
    let mut parts = with_path("04 04 3F006450", b"[]").into_parts();
    parts.files.push(file(0x6450, message("under-the-mf")));
    assert_eq!(accounts(&reading(&parts.try_into().unwrap(), None)), ["under-the-mf"]);
}

#[test]
fn index_and_length_name_a_part_of_a_file() {
    let message = message("a");
    let content = [&[0xAA; 300][..], &message, b"not ours"].concat();
    let path = format!("04 02 6450 02 02 012C 80 02 {:04X}", message.len());
    assert_eq!(reading(&with_path(&path, &content), None).message, Ok(message));
}

/// The card of [`with_path`] whose object lies in records of this length.
fn in_records(path: &str, records: &[&[u8]], length: u8) -> CardImage {
    let mut parts = with_path(path, b"").into_parts();
    let object = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6450).unwrap();
    object.record_length = Some(length);
    object.content.0 = records
        .iter()
        .flat_map(|record| record.iter().copied().chain(std::iter::repeat(0xFF)).take(length.into()))
        .collect();
    parts.try_into().unwrap()
}

#[test]
fn an_object_in_records_is_read_whole_or_by_the_number_and_length_of_its_record() {
    let message = message("a");
    let (first, second) = message.split_at(120);
    let whole = reading(&in_records("04 02 6450", &[first, second], 120), None);
    assert_eq!(whole.message, Ok(message.clone()));
    let short = br#"{"ClientURI":"urn:x:1.0/a/"}"#;
    let numbered = in_records("04 02 6450 02 01 02 80 01 00", &[b"other", short, b"other"], 60);
    assert_eq!(reading(&numbered, None).message.as_deref(), Ok(short.as_slice()));
    let cut = in_records("04 02 6450 02 01 02 80 01 1C", &[b"other", b"{\"ClientURI\":\"urn:x:1.0/a/\"}x"], 60);
    assert_eq!(reading(&cut, None).message.as_deref(), Ok(short.as_slice()));
    let beyond = reading(&in_records("04 02 6450 02 01 09", &[b"other"], 60), None).message.unwrap_err();
    assert_eq!((beyond.kind, beyond.place), (CardErrorKind::Io, Place::Message(0x6450)));
}

#[test]
fn directories_in_records_are_read_too() {
    let mut parts = card(&[&[open(0x6450, &message("a")), open(0x6451, &message("b"))]]).into_parts();
    for (id, length) in [(0x6440, 40), (0x5031, 10)] {
        let file = parts.applications[0].files.iter_mut().find(|file| file.id.0 == id).unwrap();
        let mut records = Vec::new();
        let mut rest = file.content.0.as_slice();
        while let [tag, size, ..] = rest
            && *tag != 0xFF
        {
            let (object, after) = rest.split_at(usize::from(*size) + 2);
            records.extend(object.iter().copied().chain(std::iter::repeat(0xFF)).take(length));
            rest = after;
        }
        file.content.0 = records;
        file.record_length = Some(u8::try_from(length).unwrap());
    }
    assert_eq!(accounts(&reading(&parts.try_into().unwrap(), None)), ["a", "b"]);
}

#[test]
fn any_object_is_read_raw_by_its_identifier() {
    let mut parts = card(&[&[open(0x6450, &message("a")), open(0x6451, b"\x01\x02raw\xFF")]]).into_parts();
    let dodf = parts.applications[0].files.iter_mut().find(|file| file.id.0 == 0x6440).unwrap();
    let at = dodf.content.0.windows(4).rposition(|bytes| bytes == [0x67, 0x2B, 0x07, 0x01]).unwrap();
    dodf.content.0[at + 2] = 0x09;
    let image: CardImage = parts.try_into().unwrap();
    let raw = |id: &str| {
        let id: ObjectId = id.parse().unwrap();
        let request = ReadRequest { object: Some(&id), ..ReadRequest::default() };
        read(&mut VirtualUicc::new(&image), &request, &|| Duration::ZERO).message
    };
    assert_eq!(raw("2.23.43.9.1").as_deref(), Ok(b"\x01\x02raw\xFF".as_slice()), "with its padding");
    assert_eq!(raw("2.23.43.7.1"), Ok(message("a")));
    let error = raw("2.23.43.8.1").unwrap_err();
    assert_eq!(error.kind, CardErrorKind::NoDmObject);
    assert_eq!(reading(&image, None).message, Ok(message("a")), "it is no message of ours");
}
