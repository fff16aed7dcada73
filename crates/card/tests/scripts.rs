//! Scripts for those who have a bureau of their own: replayed on a card, and held against pySim-shell's commands.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use omadm_card::hex;
use omadm_card::image::CardImage;
use omadm_card::make::{CardPlan, Listing, NewObject, make};
use omadm_card::personalise::script::{Writing, apdu_script, pysim_script, steps};
use omadm_card::personalise::{Action, AdmKey, Step};
use omadm_card::pkcs15::oid::ObjectId;
use omadm_core::secret::Secret;

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
const KEY: &str = "3132333435363738";

fn plan() -> CardPlan {
    CardPlan::new("8901012345678901234".parse().unwrap(), MESSAGE.as_bytes())
}

fn image() -> CardImage {
    let others = vec![NewObject::lwm2m(vec![0xC1; 700])];
    make(&CardPlan { others, pin: Some(Secret::from("4711")), listing: Listing::Both, ..plan() }).unwrap()
}

fn name(step: &Step) -> String {
    step.about.clone()
}

#[test]
fn objects_come_first_and_the_directory_of_directories_last() {
    let creating = Writing { creates: true, ..Writing::default() };
    let created: Vec<u16> = steps(&image(), &creating)
        .unwrap()
        .iter()
        .filter_map(|step| match step.action {
            Action::CreateFile { file } => Some(file.id),
            _ => None,
        })
        .collect();
    assert_eq!(created, [0x6434, 0x6435, 0x6431, 0x5032, 0x6430, 0x5031]);
    let rules: Vec<u8> = steps(&image(), &creating)
        .unwrap()
        .iter()
        .filter_map(|step| match step.action {
            Action::CreateFile { file } => Some(file.rule.record),
            _ => None,
        })
        .collect();
    assert_eq!(rules, [3, 3, 1, 1, 1, 1], "behind the PIN, and open");
}

#[test]
fn each_file_is_valid_from_its_last_command_on() {
    let all = steps(&image(), &Writing::default()).unwrap();
    for file in all.split(|step| matches!(step.action, Action::SelectFile { .. })).skip(1) {
        let updates: Vec<_> = file
            .iter()
            .map(|step| match &step.action {
                Action::UpdateBinary { offset, data } => (*offset, data.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(updates.first(), Some(&(0, vec![0xFF])), "{:?}", file.first().map(name));
        let last = updates.last().unwrap();
        assert!(last.0 == 0 && last.1.len() == 1 && last.1 != [0xFF], "{:?}", file.last().map(name));
    }
}

#[test]
fn an_apdu_script_has_one_command_in_a_line() {
    let steps = steps(&image(), &Writing::default()).unwrap();
    let key = AdmKey::parse(KEY).unwrap();
    let script = apdu_script("card 8901012345678901234", &steps, Some(&key));
    let lines: Vec<_> = script.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), steps.len());
    assert_eq!(lines[0], "00A4040C0CA000000063504B43532D3135 9000|91XX # select the PKCS#15 application");
    assert_eq!(lines[1], "0020000A083132333435363738 9000|91XX # verify the ADM key");
    assert!(script.starts_with("# omadm-apdu-1: card 8901012345678901234\n"));
    let without = apdu_script("", &steps, None);
    assert!(without.contains("\n0020000A08{adm} 9000") && !without.contains(KEY));
    for step in &steps {
        assert!(!step.shown_with_data().contains(KEY), "what is shown to people hides the key");
        match &step.action {
            Action::UpdateBinary { offset, data } => {
                let hidden = format!("00D6{offset:04X}{:02X} ({} byte", data.len(), data.len());
                assert!(step.shown().starts_with(&hidden) && step.shown().ends_with(" hidden)"), "{}", step.shown());
                assert!(step.shown_with_data().ends_with(&hex::encode(data)));
            }
            _ => assert_eq!(step.shown(), step.shown_with_data()),
        }
    }
}

/// The names of pySim-shell's commands that a script may use, with those of their options.
const PYSIM: &str = include_str!("pysim_commands.txt");

#[test]
fn a_pysim_script_uses_commands_and_options_of_pysim_shell_only() {
    let known: BTreeSet<&str> =
        PYSIM.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    let key = AdmKey::parse(KEY).unwrap();
    for creates in [true, false] {
        let steps = steps(&image(), &Writing { creates, ..Writing::default() }).unwrap();
        let script = pysim_script("card 8901012345678901234", &steps, Some(&key)).unwrap();
        let mut used = BTreeSet::new();
        for line in script.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split(' ').collect();
            assert!(known.contains(words[0]), "{line}");
            assert!(words.iter().filter(|word| word.starts_with("--")).all(|word| known.contains(word)), "{line}");
            used.insert(words[0]);
        }
        assert_eq!(used.contains("create_ef"), creates);
        assert!(script.contains("select MF\nselect 7f50\nselect 6434\nupdate_binary --offset 0 ff\n"), "{script}");
        assert!(script.contains("verify_adm --adm-type ADM1 --pin-is-hex 3132333435363738\n"), "{script}");
    }
    let foreign = Writing { adm: 0x42, ..Writing::default() };
    assert!(pysim_script("", &steps(&image(), &foreign).unwrap(), None).is_err());
}

#[test]
fn what_a_pysim_script_writes_is_what_an_apdu_script_writes() {
    let steps = steps(&image(), &Writing::default()).unwrap();
    let script = pysim_script("", &steps, None).unwrap();
    let written: Vec<(usize, Vec<u8>)> = script
        .lines()
        .filter_map(|line| line.strip_prefix("update_binary --offset "))
        .map(|rest| rest.split_once(' ').unwrap())
        .map(|(offset, data)| (offset.parse().unwrap(), omadm_card::hex::decode(data).unwrap()))
        .collect();
    let wanted: Vec<(usize, Vec<u8>)> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::UpdateBinary { offset, data } => Some((usize::from(*offset), data.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(written, wanted);
}

#[test]
fn objects_beside_the_message_are_listed_and_bounded() {
    let image = image();
    let files = &image.parts().applications[0].files;
    let dodf = files.iter().find(|file| file.id.0 == 0x6430).unwrap();
    let listed: Vec<_> =
        omadm_card::pkcs15::dodf::DataObject::parse_all(&dodf.content.0).map(|object| object.unwrap()).collect();
    let of = |oid: &ObjectId| listed.iter().filter(|object| object.oids[0] == oid.content()).count();
    assert_eq!(
        (of(&ObjectId::dm_bootstrap()), of(&ObjectId::lwm2m_bootstrap())),
        (2, 2),
        "each as opaqueDO and as oidDO"
    );
    assert!(listed.iter().all(|object| object.private), "all of them lie behind the PIN");
    let reading = omadm_card::read(
        &mut omadm_card::VirtualUicc::new(&image),
        &omadm_card::ReadRequest { pin: Some(&Secret::from("4711")), ..Default::default() },
        &|| Duration::ZERO,
    );
    assert_eq!(reading.message.unwrap(), MESSAGE.as_bytes());

    let refused = |others: Vec<NewObject>| make(&CardPlan { others, ..plan() }).unwrap_err().to_string();
    let lwm2m = || NewObject::lwm2m(vec![1]);
    assert!(refused(vec![lwm2m(), lwm2m()]).contains("already"));
    assert!(refused(vec![NewObject::dm(b"[]".to_vec())]).contains("already"));
    assert!(refused(vec![NewObject::lwm2m(Vec::new())]).contains("it has 0"));
    assert!(refused(vec![NewObject::lwm2m(vec![1; 32_768])]).contains("it has 32768"));
    let nine = (1..=9).map(|n| NewObject::new(format!("1.2.{n}").parse().unwrap(), vec![1])).collect();
    assert!(refused(nine).contains("at most 8"));
    let secret = NewObject::new("1.2.3".parse().unwrap(), br#"{"password":"hush"}"#.to_vec());
    assert!(refused(vec![secret]).contains("password"));
}
