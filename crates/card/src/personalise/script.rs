//! Scripts that write a card, for those who have a bureau of their own: plain commands, or pySim-shell's.

use crate::apdu::Protocol;
use crate::hex;
use crate::image::{Access, CardApplication, CardFile, CardImage};
use crate::personalise::error::PersonaliseError;
use crate::personalise::key::AdmKey;
use crate::personalise::plan::{bare, create, select};
use crate::personalise::region;
use crate::personalise::step::{Action, RuleRef, Step};
use crate::pkcs15::odf::Odf;
use crate::pkcs15::{AID, ODF, TOKEN_INFO, USUAL_DF};

/// What an APDU script begins with.
pub const APDU_FORMAT: &str = "omadm-apdu-1";

/// What a script is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// Whether it creates the files, ETSI TS 102 222; otherwise they are there already, and as large as needed.
    pub creates: bool,
    /// Reference of the key that opens the card for writing: P2 of VERIFY.
    pub adm: u8,
    /// Access rule of files that everybody may read.
    pub open_rule: RuleRef,
    /// Access rule of files behind the PIN.
    pub pin_rule: RuleRef,
}

impl Default for Writing {
    /// Files that are there; the first administrator; the rules of the virtual card.
    fn default() -> Self {
        let rule = |record| RuleRef { file: 0x2F06, record };
        Self { creates: false, adm: 0x0A, open_rule: rule(1), pin_rule: rule(3) }
    }
}

/// The steps that write the PKCS#15 application of this image to a card that has the application, objects first,
/// EF(ODF) last.
///
/// # Errors
/// If the image has no such application, or a file in it cannot be written so.
pub fn steps(image: &CardImage, writing: &Writing) -> Result<Vec<Step>, PersonaliseError> {
    let application = image.parts().applications.iter().find(|one| one.aid.0.starts_with(&AID));
    let application = application.ok_or_else(|| PersonaliseError::NoApplication("the image has none".to_owned()))?;
    let aid = application.aid.0.clone();
    let mut steps = vec![
        Step { action: Action::SelectApplication { aid }, about: "select the PKCS#15 application".to_owned() },
        Step { action: Action::VerifyKey { reference: writing.adm }, about: "verify the ADM key".to_owned() },
    ];
    for file in in_order(application) {
        let id = file.id.0;
        let name = format!("{} {id:04X}", file.name);
        let refused = |why: &str| PersonaliseError::Place { place: name.clone(), why: why.to_owned() };
        if file.record_length.is_some() {
            return Err(refused("files with records are not written by scripts"));
        }
        let content = &file.content.0;
        if writing.creates {
            let rule = match file.read {
                Access::Always => writing.open_rule,
                Access::Pin(_) => writing.pin_rule,
                Access::Adm | Access::Never => {
                    return Err(refused("neither everybody nor the holder of a PIN may read it"));
                }
            };
            steps.push(create(id, content.len(), rule, &name));
        }
        steps.push(select(&bare(id), &name));
        steps.extend(region::rewrite(&name, 0, None, content));
    }
    Ok(steps)
}

/// Objects, then EF(AODF), EF(TokenInfo), EF(DODF), EF(ODF).
fn in_order(application: &CardApplication) -> Vec<&CardFile> {
    let odf = application.files.iter().find(|file| file.id.0 == ODF);
    let odf = odf.map(|file| Odf::parse(&file.content.0)).unwrap_or_default();
    let names = |paths: &[crate::pkcs15::path::Path], id: u16| paths.iter().any(|path| path.file_id() == id);
    let mut files: Vec<&CardFile> = application.files.iter().collect();
    files.sort_by_key(|file| match file.id.0 {
        ODF => 4,
        id if names(&odf.dodfs, id) => 3,
        TOKEN_INFO => 2,
        id if names(&odf.aodfs, id) => 1,
        _ => 0,
    });
    files
}

impl Step {
    /// The command on the basic channel in hexadecimal digits: for people. The key is hidden, and so is what is written,
    /// which may be secret in any form.
    pub fn shown(&self) -> String {
        match &self.action {
            Action::UpdateBinary { offset, data } => {
                let bytes = if data.len() == 1 { "byte" } else { "bytes" };
                format!("00D6{offset:04X}{:02X} ({} {bytes} hidden)", data.len(), data.len())
            }
            Action::VerifyKey { .. }
            | Action::SelectApplication { .. }
            | Action::SelectDf { .. }
            | Action::SelectFile { .. }
            | Action::CreateFile { .. } => self.shown_with_data(),
        }
    }

    /// The same with what is written; the key stays hidden.
    pub fn shown_with_data(&self) -> String {
        match &self.action {
            Action::VerifyKey { reference } => format!("002000{reference:02X}08{}", "*".repeat(16)),
            Action::SelectApplication { .. }
            | Action::SelectDf { .. }
            | Action::SelectFile { .. }
            | Action::CreateFile { .. }
            | Action::UpdateBinary { .. } => hex::encode(&self.action.command(None).encode(0, Protocol::T1)),
        }
    }
}

/// One command in a line: its bytes, the status words that are expected, and what it is for. Without a key its place
/// holds `{adm}`, for the bureau to fill in.
pub fn apdu_script(title: &str, steps: &[Step], key: Option<&AdmKey>) -> String {
    let mut text = format!(
        "# {APDU_FORMAT}: {title}\n# command, status words that are as expected (X: any digit), what it is for\n"
    );
    for step in steps {
        let command = match (&step.action, key) {
            (Action::VerifyKey { reference }, None) => format!("002000{reference:02X}08{{adm}}"),
            (_, key) => hex::encode(&step.action.command(key).encode(0, Protocol::T1)),
        };
        text.push_str(&format!("{command} 9000|91XX # {}\n", step.about));
    }
    text
}

/// Commands of pySim-shell. Without a key pySim takes it from its own file of keys.
///
/// # Errors
/// If pySim has no name for the administrator.
pub fn pysim_script(title: &str, steps: &[Step], key: Option<&AdmKey>) -> Result<String, PersonaliseError> {
    let folder = format!("select MF\nselect {}\n", hex::encode(&USUAL_DF.to_be_bytes()).to_lowercase());
    let mut text = format!("# {title}, for pySim-shell\n");
    for step in steps {
        match &step.action {
            Action::SelectApplication { .. } | Action::SelectDf { .. } => text.push_str(&folder),
            Action::SelectFile { path } => {
                // pySim finds a file that it does not know from the folder above it only.
                let id = path.last_chunk::<2>().map(|id| hex::encode(id)).unwrap_or_default().to_lowercase();
                text.push_str(&format!("{folder}select {id}\n"));
            }
            Action::VerifyKey { reference } => {
                let name = administrator(*reference)?;
                let key = key.map(|key| format!(" --pin-is-hex {}", hex::encode(key.expose()).to_lowercase()));
                text.push_str(&format!("verify_adm --adm-type {name}{}\n", key.unwrap_or_default()));
            }
            Action::CreateFile { file } => text.push_str(&format!(
                "{folder}create_ef {:04x} --ef-arr-file-id {:04x} --ef-arr-record-nr {} --file-size {} --structure \
                 transparent --shareable\n",
                file.id, file.rule.file, file.rule.record, file.size
            )),
            Action::UpdateBinary { offset, data } => {
                text.push_str(&format!("update_binary --offset {offset} {}\n", hex::encode(data).to_lowercase()));
            }
        }
    }
    Ok(text)
}

/// What pySim calls the holder of a key, ETSI TS 102 221 table 9.3.
fn administrator(reference: u8) -> Result<String, PersonaliseError> {
    match reference {
        0x0A..=0x0E => Ok(format!("ADM{}", reference - 0x09)),
        0x8A..=0x8E => Ok(format!("ADM{}", reference - 0x84)),
        _ => Err(PersonaliseError::Place {
            place: format!("the ADM key {reference:02X}"),
            why: "pySim-shell knows 0A to 0E and 8A to 8E".to_owned(),
        }),
    }
}
