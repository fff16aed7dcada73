//! Asks a card behind PC/SC what pySim-shell asks it at its start and for `select`, `read_binary` and `read_record`, in
//! the commands that it sends, and decodes what pySim decodes: `pysim_reader IMAGE PROTOCOL LE`, where PCSCLITE_CSOCK_NAME
//! names a private pcscd, IMAGE is the card file, PROTOCOL `t0` or `t1`. LE is `le` for versions that send one with SELECT
//! whatever the protocol is, else `none`.
//!
//! pySim (<https://osmocom.org/projects/pysim>) is in no package registry, so the program itself is not run here.
#![allow(clippy::unwrap_used)]

use std::ffi::CString;

use omadm_card::hex::{decode, encode};
use omadm_card::image::{CardFile, CardImage};
use pcsc::{Context, Protocols, Scope, ShareMode};

/// What SELECT says of a file, as far as pySim decodes it.
#[derive(Debug)]
struct Fcp(Vec<(u8, Vec<u8>)>);

impl Fcp {
    fn parse(bytes: &[u8]) -> Self {
        let [0x62, length, inner @ ..] = bytes else { panic!("no FCP template: {}", encode(bytes)) };
        assert_eq!(usize::from(*length), inner.len(), "the length of the template is in one byte");
        Self(objects(inner))
    }

    fn object(&self, tag: u8) -> &[u8] {
        let found: Vec<_> = self.0.iter().filter(|(one, _)| *one == tag).collect();
        assert_eq!(found.len(), 1, "one object {tag:02X} in {self:?}");
        &found[0].1
    }

    fn has(&self, tag: u8) -> bool {
        self.0.iter().any(|(one, _)| *one == tag)
    }

    /// `file_type`, `structure`, and of linear fixed files the length of a record and how many there are.
    fn descriptor(&self) -> (&'static str, &'static str, Option<(u16, u8)>) {
        let descriptor = self.object(0x82);
        assert!(descriptor[0] & 0xC0 == 0x40 && descriptor[1] == 0x21, "shareable, and the data coding byte: {self:?}");
        let records = match descriptor {
            [_, _] => None,
            [_, _, high, low, count] => Some((u16::from_be_bytes([*high, *low]), *count)),
            other => panic!("{}", encode(other)),
        };
        let kind = match descriptor[0] & 0x38 {
            0x00 => "working_ef",
            0x38 => "df",
            other => panic!("{other:02X}"),
        };
        let structure = match descriptor[0] & 0x07 {
            0 => "no_info_given",
            1 => "transparent",
            2 => "linear_fixed",
            other => panic!("{other}"),
        };
        (kind, structure, records)
    }

    fn size(&self) -> usize {
        usize::from(u16::from_be_bytes(self.object(0x80).try_into().unwrap()))
    }

    /// What every file has: `operational_activated`, and `ef_arr_file_id` and `ef_arr_record_nr` of its rule.
    fn rule(&self) -> u8 {
        assert_eq!(self.object(0x8A), [0x05]);
        assert!(!self.has(0x8C) && !self.has(0xAB), "its rule is told once");
        let [0x2F, 0x06, record] = self.object(0x8B) else { panic!("{self:?}") };
        *record
    }

    /// `ps_do` and the references in the PIN status template.
    fn pins(&self) -> (Vec<u8>, Vec<u8>) {
        let status = objects(self.object(0xC6));
        let of =
            |tag: u8| status.iter().filter(move |(one, _)| *one == tag).flat_map(|(_, value)| value.clone()).collect();
        (of(0x90), of(0x83))
    }
}

/// The objects of one byte of tag and length each.
fn objects(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [tag, length, rest @ ..] = bytes {
        let (value, rest) = rest.split_at(usize::from(*length));
        found.push((*tag, value.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    found
}

/// pySim-shell's end.
struct Shell {
    card: pcsc::Card,
    /// Behind a SELECT.
    le: &'static str,
}

impl Shell {
    /// Data and status word, GET RESPONSE and the repetition with the right length included.
    fn exchange(&self, command: &str) -> (Vec<u8>, String) {
        let send = |command: &str| {
            let mut buffer = [0; 258];
            let answer = self.card.transmit(&decode(command).unwrap(), &mut buffer).unwrap();
            let (data, status) = answer.split_at(answer.len() - 2);
            (data.to_vec(), encode(status))
        };
        let class = &command[..2];
        let mut last = command.to_owned();
        let (mut data, mut status) = send(command);
        while ["9F", "61", "62", "63"].contains(&&status[..2]) {
            last = format!("{class}C00000{}", &status[2..]);
            let (more, next) = send(&last);
            data.extend(more);
            status = next;
        }
        if let Some(length) = status.strip_prefix("6C") {
            return send(&format!("{}{length}", &last[..8]));
        }
        (data, status)
    }

    fn done(&self, command: &str) -> Vec<u8> {
        let (data, status) = self.exchange(command);
        assert_eq!(status, "9000", "{command}");
        data
    }

    fn select_file(&self, id: &str) -> Fcp {
        Fcp::parse(&self.done(&format!("00A4000402{id}{}", self.le)))
    }

    fn select_adf(&self, aid: &str) -> Fcp {
        Fcp::parse(&self.done(&format!("00A40404{:02X}{aid}{}", aid.len() / 2, self.le)))
    }

    /// Selects the file, once more if it is selected, and reads it in blocks of at most 255 bytes.
    fn read_binary(&self, id: &str) -> Vec<u8> {
        let length = self.select_file(id).size();
        let mut content = Vec::new();
        while content.len() < length {
            let block = (length - content.len()).min(255);
            let data = self.done(&format!("00B0{:04X}{block:02X}", content.len()));
            assert_eq!(data.len(), block);
            content.extend(data);
        }
        content
    }

    fn read_record(&self, id: &str, number: usize) -> Vec<u8> {
        let (_, _, records) = self.select_file(id).descriptor();
        self.done(&format!("00B2{number:02X}04{:02X}", records.unwrap().0))
    }

    fn record_count(&self, id: &str) -> usize {
        let fcp = self.select_file(id);
        let (length, count) = fcp.descriptor().2.unwrap();
        assert_eq!(fcp.size() / usize::from(length), usize::from(count));
        usize::from(count)
    }

    /// The rule of a file, as EF(ARR) has it.
    fn check_rule(&self, record: u8) {
        let rule = self.read_record("2F06", usize::from(record));
        assert!(rule.starts_with(&[0x80, 0x01, 0x01]), "reading comes first: {}", encode(&rule));
    }
}

fn file(image: &CardImage, id: u16) -> &CardFile {
    let parts = image.parts();
    let within = parts.applications.iter().flat_map(|application| &application.files);
    parts.files.iter().chain(within).find(|file| file.id.0 == id).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let image = CardImage::from_json(&std::fs::read(&arguments[0]).unwrap()).unwrap();
    let content = |id: u16| file(&image, id).content.0.clone();
    let protocol = if arguments[1] == "t0" { Protocols::T0 } else { Protocols::T1 };
    let context = Context::establish(Scope::User).unwrap();
    let reader = CString::new("omadm card 00 00").unwrap();
    // It asks for the protocol, and for the card alone.
    let card = context.connect(&reader, ShareMode::Exclusive, protocol).unwrap();
    let shell = Shell { card, le: if arguments[2] == "le" { "00" } else { "" } };

    // It finds a UICC: the class of SIMs is refused, that of UICCs is not.
    assert_ne!(shell.exchange("A0A40000023F00").1, "9000");
    let mf = shell.select_file("3F00");
    assert_eq!((mf.descriptor(), mf.object(0x83)), (("df", "no_info_given", None), &[0x3F, 0x00][..]));
    assert_eq!(objects(mf.object(0xA5))[0].0, 0x80, "the characteristics of the UICC, which an MF has to tell");
    let (enabled, references) = mf.pins();
    let expected = image.parts().pins.first().map_or((0x40, 0x01), |pin| (0x80, pin.reference.0));
    assert_eq!((enabled, references), (vec![expected.0], vec![expected.1]));
    let rule_of_mf = mf.rule();

    // `select EF.ICCID`, `read_binary`.
    let iccid = shell.select_file("2FE2");
    assert_eq!((iccid.descriptor(), iccid.size()), (("working_ef", "transparent", None), 10));
    assert_eq!((iccid.object(0x83), iccid.object(0x88)), (&[0x2F, 0xE2][..], &[0x02 << 3][..]));
    assert_eq!(shell.read_binary("2FE2"), content(0x2FE2));
    shell.check_rule(iccid.rule());
    shell.check_rule(rule_of_mf);

    // `select EF.DIR`, `read_record`: which applications there are.
    let dir = shell.select_file("2F00");
    assert_eq!(dir.descriptor(), ("working_ef", "linear_fixed", Some((38, 2))));
    assert_eq!((dir.object(0x83), dir.rule()), (&[0x2F, 0x00][..], iccid.rule()));
    let mut aids = Vec::new();
    for number in 1..=shell.record_count("2F00") {
        let record = shell.read_record("2F00", number);
        assert_eq!(record, content(0x2F00)[(number - 1) * 38..number * 38]);
        let [0x61, _, 0x4F, length, rest @ ..] = record.as_slice() else { panic!("{}", encode(&record)) };
        aids.push(encode(&rest[..usize::from(*length)]));
    }
    assert_eq!(aids[0], "A000000063504B43532D3135");
    let usim = aids.iter().find(|aid| aid.starts_with("A0000000871002")).unwrap();
    // It probes for what is not listed there.
    for absent in ["A0000000871004", "A00000015141434C00", "A0000005591010FFFFFFFF8900000100"] {
        let (_, status) = shell.exchange(&format!("00A40404{:02X}{absent}{}", absent.len() / 2, shell.le));
        assert_eq!(status, "6A82", "{absent}");
    }

    // `select ADF.USIM`, and files in it.
    let adf = shell.select_adf(usim);
    assert_eq!((adf.descriptor(), encode(adf.object(0x84))), (("df", "no_info_given", None), usim.clone()));
    assert!(adf.pins() == mf.pins() && adf.rule() == rule_of_mf && !adf.has(0xA5), "{adf:?}");
    assert_eq!(shell.read_binary("6F07"), content(0x6F07));
    assert_eq!(shell.read_binary("6FAD"), content(0x6FAD));
    assert_eq!(encode(shell.select_file("7FFF").object(0x84)), *usim, "and back to it");
    let status = Fcp::parse(&shell.done("80F2000000"));
    assert_eq!(encode(status.object(0x84)), *usim, "`status`");
    // From there to the MF and down again.
    shell.select_file("3F00");
    assert_eq!(shell.read_record("2F00", 2), content(0x2F00)[38..76]);

    // A directory that it does not know is found by its identifier, and a file of several blocks read.
    let df = shell.select_file("7F50");
    assert_eq!(df.descriptor().0, "df");
    assert_eq!(shell.select_file("5031").descriptor(), ("working_ef", "transparent", None));
    let message = content(0x6434);
    assert!(message.len() > 255);
    if image.parts().pins.is_empty() {
        assert_eq!(shell.read_binary("6434"), message);
    } else {
        shell.select_file("6434");
        assert_eq!(shell.exchange("00B00000FF").1, "6982", "behind the PIN");
    }
}
