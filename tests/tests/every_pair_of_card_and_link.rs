//! Cards with every pair of ways in which they differ, through a real pcscd, a pseudo-terminal and a child process: what is
//! read is what the same card gives in memory.

use std::path::Path;

use omadm_card::image::CardParts;
use omadm_card::make::{CardPlan, Listing, make};
use omadm_card::virtual_uicc::{ChannelRefusal, Channels, Fault, FaultKind, Quirk};
use omadm_card::{CardImage, apdu::Protocol};
use omadm_core::secret::Secret;
use omadm_tests::{CardReader, Folder, in_parallel, omadm, pairwise, private_file};

const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"Acme","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;
/// The most rows, and so the time that it takes.
const MOST: usize = 150;
const LINKS: [&str; 3] = ["pcscd", "modem", "executable"];
const LISTINGS: [Listing; 3] = [Listing::Opaque, Listing::Oid, Listing::Both];

/// Quirks that exclude each other; those of different groups may meet in one card. Together they are all.
const GROUPS: [&[Quirk]; 9] = [
    &[Quirk::RefuseP204, Quirk::RefuseP200, Quirk::RefuseP20C, Quirk::FciOnly, Quirk::NestedFcp, Quirk::NoFcp],
    // The ways to an application and to its files.
    &[
        Quirk::NoPathFromMf,
        Quirk::OnlyById,
        Quirk::NoAlias,
        Quirk::FullAidOnly,
        Quirk::Pkcs15ByPath,
        Quirk::NoApplication6999,
    ],
    &[Quirk::NoSize, Quirk::NoPinStatus, Quirk::NoAccessRule, Quirk::NoSfi],
    &[Quirk::WrongLeOnT1, Quirk::FetchOnT1, Quirk::FetchOnRead, Quirk::ToolkitWaiting],
    &[Quirk::Le00Empty, Quirk::BlocksOf128, Quirk::BlocksOf64, Quirk::ShortReads],
    &[Quirk::End6282, Quirk::End6A86, Quirk::End9000],
    &[Quirk::StrictCase1],
    &[Quirk::HighestChannelFirst, Quirk::Channel20, Quirk::ChannelsStayOpen],
    &[Quirk::EmptyVerify6700, Quirk::EmptyVerify6A86],
];

/// A row, read.
#[derive(Debug, Clone)]
struct Case {
    number: usize,
    link: &'static str,
    protocol: Protocol,
    channels: bool,
    listing: Listing,
    private: bool,
    fault: Option<Fault>,
    quirks: Vec<Quirk>,
}

fn sizes() -> Vec<usize> {
    let fixed = [LINKS.len(), 2, 2, LISTINGS.len(), 2, FaultKind::EACH.len() + 1];
    fixed.into_iter().chain(GROUPS.iter().map(|group| group.len() + 1)).collect()
}

impl Case {
    fn new(number: usize, row: &[usize]) -> Self {
        let quirks = GROUPS.iter().zip(&row[6..]);
        // At the beginning, in the middle and at the end of a reading, by turns.
        let fault = |kind| Fault { at: 1 + (number as u32 * 5) % 17, kind };
        Self {
            number,
            link: LINKS[row[0]],
            protocol: [Protocol::T0, Protocol::T1][row[1]],
            channels: row[2] == 0,
            listing: LISTINGS[row[3]],
            private: row[4] == 1,
            fault: row[5].checked_sub(1).map(|kind| fault(FaultKind::EACH[kind])),
            quirks: quirks.filter_map(|(group, value)| value.checked_sub(1).map(|value| group[value])).collect(),
        }
    }

    fn image(&self) -> CardImage {
        let plan = CardPlan::new("8988000000000000016".parse().expect("an ICCID"), MESSAGE.as_bytes());
        let pin = self.private.then(|| Secret::from("1234"));
        let plan = CardPlan { protocol: self.protocol, listing: self.listing, pin, pin_reference: 0x81, ..plan };
        let mut parts = make(&plan).expect("a card").into_parts();
        if !self.channels {
            parts.channels = Channels { count: 0, refusal: ChannelRefusal::NoChannel };
        }
        let parts = CardParts { quirks: self.quirks.iter().copied().collect(), ..parts };
        parts.try_into().expect("a card")
    }

    /// The reasons that are right, beside the message itself.
    fn allows(&self, reason: &str) -> bool {
        let shared = self.link != "pcscd";
        let hindered = self.quirks.iter().filter_map(|quirk| quirk.hinders(self.private, !shared));
        let no_channel = (shared && !self.channels).then_some(omadm_core::reason::Reason::NoLogicalChannel);
        if hindered.chain(no_channel).any(|right| right.to_string() == reason) {
            return true;
        }
        let Some(fault) = self.fault else { return false };
        let may_end = reason.parse().is_ok_and(|reason| fault.kind.may_end_as(Some(reason)));
        // A reader, a modem and an executable tell of what happens to the card in their own words.
        may_end || ["no-card", "card-removed", "card-io", "timeout", "no-logical-channel"].contains(&reason)
    }

    /// Whether nothing stands in the way of the message.
    fn must_be_read(&self) -> bool {
        let shared = self.link != "pcscd";
        self.fault.is_none()
            && (self.channels || !shared)
            && self.quirks.iter().all(|quirk| quirk.hinders(self.private, !shared).is_none())
    }

    /// Reads the card with the real program; the message, or the reason.
    fn read(&self, folder: &Path) -> Result<String, String> {
        let name = |kind: &str| folder.join(format!("{}.{kind}", self.number));
        let (card, pin) = (name("json"), name("pin"));
        private_file(&card, self.image().to_json().as_bytes());
        private_file(&pin, b"1234\n");
        let faults: Vec<String> =
            self.fault.iter().flat_map(|fault| ["--fault".to_owned(), fault.to_string()]).collect();
        let mut command = omadm();
        command.args(["card", "read", "--json", "--pin-file"]).arg(&pin);
        let place = name("place");
        let _reader = match self.link {
            "pcscd" => {
                let reader = CardReader::with_pcscd_and(&card, &place, &faults);
                command.args(["--link", "pcsc"]).env("PCSCLITE_CSOCK_NAME", &place);
                Some(reader)
            }
            "modem" => {
                let reader = CardReader::in_modem_and(&card, &place, &faults);
                command.arg("--link").arg(format!("at:{}", place.display()));
                Some(reader)
            }
            _ => {
                let run = omadm();
                let program = run.get_program().to_string_lossy().into_owned();
                let run = format!("{program} card run {} --stdio {}", card.display(), faults.join(" "));
                command.arg("--link").arg(format!("exec:{run}"));
                None
            }
        };
        let output = command.output().expect("omadm runs");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            return Ok(serde_json::from_str::<serde_json::Value>(&out).expect("JSON")["message"].to_string());
        }
        let reason = errors.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(reason, _)| reason);
        Err(match reason {
            Some(reason) => reason.to_owned(),
            // A link that cannot be had has no reason of a reading.
            None if errors.contains("no card") => "no-card".to_owned(),
            None if errors.contains("removed") => "card-removed".to_owned(),
            None if errors.contains("in time") => "timeout".to_owned(),
            None if errors.contains("failed") => "card-io".to_owned(),
            None => format!("{:?} {errors}", output.status.code()),
        })
    }
}

#[test]
fn the_groups_hold_every_quirk_once() {
    let mut grouped: Vec<Quirk> = GROUPS.iter().flat_map(|group| group.iter().copied()).collect();
    grouped.sort();
    let mut all = Quirk::ALL.to_vec();
    all.sort();
    assert_eq!(grouped, all);
}

#[test]
fn every_pair_is_read_or_has_the_right_reason() {
    let sizes = sizes();
    let rows = pairwise::rows(&sizes, |_| true);
    assert!(pairwise::missing(&sizes, &rows, |_| true).is_empty(), "the rows cover every pair");
    println!("{} rows", rows.len());
    assert!(rows.len() <= MOST, "{} rows", rows.len());
    let folder = Folder::new();
    let cases: Vec<Case> = rows.iter().enumerate().map(|(number, row)| Case::new(number, row)).collect();
    let wrong = std::sync::Mutex::new(Vec::new());
    let expected = serde_json::from_str::<serde_json::Value>(MESSAGE).expect("JSON").to_string();
    in_parallel(&cases, 6, |case| {
        let right = match case.read(folder.path()) {
            Ok(message) => message == expected || matches!(case.fault, Some(Fault { kind: FaultKind::Flip(_), .. })),
            Err(reason) if !case.must_be_read() && case.allows(&reason) => true,
            Err(reason) => {
                wrong.lock().expect("a lock").push(format!("{reason}: {case:?}"));
                true
            }
        };
        assert!(right, "another message: {case:?}");
    });
    let wrong = wrong.into_inner().expect("a lock");
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
