//! The vectors of the worked examples: card files byte for byte, and the transcript of a reading.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use omadm_card::apdu::Protocol;
use omadm_card::hex::{decode, encode};
use omadm_card::image::FileId;
use omadm_card::make::{CardPlan, make};
use omadm_card::{CardImage, Link, LinkError, ReadRequest, VirtualUicc, read};
use omadm_core::secret::Secret;

const ICCID: &str = "8901012345678901234";
const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

fn plan() -> CardPlan {
    CardPlan::new(ICCID.parse().unwrap(), MESSAGE.as_bytes())
}

/// A link that writes down what goes over it.
struct Recorder(VirtualUicc, Vec<(String, String)>);

impl Link for Recorder {
    fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let answer = self.0.transmit(command)?;
        self.1.push((encode(command), encode(&answer)));
        Ok(answer)
    }
}

fn file(image: &CardImage, application: Option<usize>, id: u16) -> Vec<u8> {
    let files = application.map_or(&image.parts().files, |number| &image.parts().applications[number].files);
    files.iter().find(|file| file.id == FileId(id)).unwrap().content.0.clone()
}

fn starts_with(content: &[u8], expected: &str) {
    let expected = decode(expected).unwrap();
    assert_eq!(encode(&content[..expected.len()]), encode(&expected));
    assert!(content[expected.len()..].iter().all(|byte| *byte == 0xFF), "padding");
}

#[test]
fn an_open_card_has_the_files_of_section_6() {
    let image = make(&plan()).unwrap();
    let dir = file(&image, None, 0x2F00);
    starts_with(&dir[..38], "611C4F0CA000000063504B43532D31355006504B4353313551043F007F50");
    starts_with(&file(&image, None, 0x2FE2), "981010325476981032F4");
    starts_with(&file(&image, Some(0), 0x5031), "A706300404026430");
    starts_with(
        &file(&image, Some(0), 0x6430),
        "3028300E0C0C444D20426F6F747374726170300E0C064F4D4120444D0604672B0701A106300404026434",
    );
    starts_with(
        &file(&image, Some(0), 0x5032),
        "3026020100040A98101032547698 1032F40C084F4D4120746573748007444D205549434303020410",
    );
    assert_eq!(file(&image, Some(0), 0x6434), MESSAGE.as_bytes());
    assert_eq!(MESSAGE.len(), 188);
}

#[test]
fn a_private_card_has_the_files_of_section_6() {
    let image = make(&CardPlan { pin: Some(Secret::from("1234")), ..plan() }).unwrap();
    starts_with(&file(&image, Some(0), 0x5031), "A706300404026430A806300404026431");
    starts_with(
        &file(&image, Some(0), 0x6430),
        "302F30150C0C444D20426F6F74737472617003020780040101300E0C064F4D4120444D0604672B0701A106300404026434",
    );
    starts_with(
        &file(&image, Some(0), 0x6431),
        "302330050C0350494E3003040101A11530130302020C0A01010201040201088001010401FF",
    );
}

/// Section 7, the dots filled in.
fn transcript() -> Vec<(String, String)> {
    let odf = format!("A706300404026430{}9000", "FF".repeat(24));
    let dodf = "3028300E0C0C444D20426F6F747374726170300E0C064F4D4120444D0604672B0701A106300404026434";
    let dodf = format!("{dodf}{}9000", "FF".repeat(22));
    let message = format!("{}9000", encode(MESSAGE.as_bytes()));
    let iccid = [
        ("00A40804022FE200", "621782024121 83022FE2 8002000A 8A0105 8B032F0601 880110 9000"),
        ("00B000000A", "98101032547698 1032F4 9000"),
    ];
    let reading = [
        ("0070000001", "019000"),
        (
            "01A404040CA000000063504B43532D313500",
            "6222820278 21840CA000000063504B43532D3135 8A0105 8B032F0601 C606900140830101 9000",
        ),
        ("01A40804047FFF503100", "621782024121 83025031 80020020 8A0105 8B032F0601 880188 9000"),
        ("01B0000020", odf.as_str()),
        ("01A40804047FFF643000", "621682024121 83026430 80020040 8A0105 8B032F0601 8800 9000"),
        ("01B0000040", dodf.as_str()),
        ("01A40804047FFF643400", "621682024121 83026434 800200BC 8A0105 8B032F0601 8800 9000"),
        ("01B00000BC", message.as_str()),
    ];
    let all = iccid.iter().chain(&reading).chain(&iccid).chain(&[("00708001", "9000")]);
    all.map(|(command, answer)| (command.replace(' ', ""), answer.replace(' ', ""))).collect()
}

#[test]
fn reading_an_open_card_over_t1_is_the_transcript_of_section_7() {
    let mut link = Recorder(VirtualUicc::new(&make(&plan()).unwrap()), Vec::new());
    let request = ReadRequest { sim: false, ..ReadRequest::default() };
    let reading = read(&mut link, &request, &|| Duration::ZERO);
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert_eq!(reading.iccid.unwrap().as_str(), ICCID);
    assert_eq!(link.1, transcript());
    assert_eq!((reading.counts.bootstrap, reading.counts.identity), (9, 4));
}

#[test]
fn over_t0_each_select_is_answered_by_its_length_and_fetched() {
    let plan = CardPlan { protocol: Protocol::T0, ..plan() };
    let mut link = Recorder(VirtualUicc::new(&make(&plan).unwrap()), Vec::new());
    let request = ReadRequest { sim: false, ..ReadRequest::default() };
    let reading = read(&mut link, &request, &|| Duration::ZERO);
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());
    assert_eq!((reading.counts.bootstrap, reading.counts.identity), (9 + 4, 4 + 2));
    let mut expected = Vec::new();
    for (command, answer) in transcript() {
        if &command[2..4] == "A4" {
            let length = format!("{:02X}", answer.len() / 2 - 2);
            expected.push((command[..command.len() - 2].to_owned(), format!("61{length}")));
            expected.push((format!("{}C00000{length}", &command[..2]), answer));
        } else if command == "00708001" {
            expected.push((format!("{command}00"), answer));
        } else {
            expected.push((command, answer));
        }
    }
    assert_eq!(link.1, expected);
    assert!(link.1.contains(&("01A404040CA000000063504B43532D3135".to_owned(), "6124".to_owned())));
}

#[test]
fn a_message_of_more_than_255_bytes_is_read_in_blocks() {
    let long = MESSAGE.replace("Acme", &"A".repeat(600));
    for (protocol, commands) in [(Protocol::T1, 6 + 1 + 1 + 4), (Protocol::T0, 6 + 1 + 1 + 4 + 4)] {
        let plan = CardPlan { protocol, ..CardPlan::new(ICCID.parse().unwrap(), long.as_bytes()) };
        let mut link = Recorder(VirtualUicc::new(&make(&plan).unwrap()), Vec::new());
        let reading = read(&mut link, &ReadRequest { sim: false, ..ReadRequest::default() }, &|| Duration::ZERO);
        assert_eq!(reading.message.unwrap(), long.as_bytes());
        assert_eq!(reading.counts.bootstrap, commands);
        for block in ["01B00000FF", "01B000FFFF", "01B001FEFF", "01B002FD13"] {
            assert!(link.1.iter().any(|(command, _)| command == block), "{block}");
        }
    }
}
