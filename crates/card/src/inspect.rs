//! Explaining a card: the files that were found, each decoded, and the message or why there is none.

use omadm_core::ids::Iccid;
use omadm_core::reason::Reason;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

use crate::apdu::Protocol;
use crate::channel::Card;
use crate::error::{CardError, Place};
use crate::file::digits;
use crate::file::fcp::Fcp;
use crate::hex;
use crate::link::Link;
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dir::{Application, USIM};
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::odf::Odf;
use crate::pkcs15::token_info::TokenInfo;
use crate::pkcs15::{self, StructureError};
use crate::read::{
    CardReading, FileSession, MAX_MESSAGE, ReadRequest, Refusal, applications, open_pkcs15, open_usim, read,
};
use crate::secrets;

/// The most bytes of a directory file that are looked at.
const MAX_DIRECTORY: usize = 8_192;

/// A card explained. Holds no secret: those of the message are replaced.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// How it talks.
    pub protocol: Protocol,
    /// Which card it is.
    pub iccid: Option<Iccid>,
    /// Its files, in the order in which a reader comes to them.
    pub files: Vec<FileView>,
    /// The message, or why there is none.
    pub message: MessageView,
    /// Home network as `MCC-MNC`.
    pub network: Option<String>,
}

/// A file of the card.
#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    /// Where it is: `MF`, `PKCS#15` or `USIM`, a slash, and its identifier.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its size in bytes, where the card tells it.
    pub size: Option<usize>,
    /// Its content as hexadecimal text; left out for the message and the IMSI.
    pub content: Option<String>,
    /// What it says, a line each.
    pub meaning: Vec<String>,
    /// Why it cannot be read or understood.
    pub problem: Option<String>,
}

/// The Bootstrap Message of a card.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageView {
    /// It was read.
    Found {
        /// Its length.
        bytes: usize,
        /// Whether it lies behind a PIN.
        behind_pin: bool,
        /// The message with its secrets replaced; none where it is no JSON within the bounds.
        json: Option<serde_json::Value>,
        /// Where secrets are that everybody can read (Profile P-36).
        public_secrets: Vec<String>,
    },
    /// There is none, or it cannot be read.
    Missing {
        /// The stable code.
        reason: Reason,
        /// A sentence.
        message: String,
    },
}

/// Reads the message as [`read`] does and looks at the files on the way. Give [`ReadRequest::sim`] to see the network.
pub fn inspect(
    link: &mut dyn Link,
    request: &ReadRequest<'_>,
    now: &dyn Fn() -> Duration,
) -> (Inspection, CardReading) {
    let reading = read(link, request, now);
    let protocol = link.protocol();
    let mut files = Vec::new();
    let mut card = Card::new(link, now, request.limit);
    // What went wrong is in the reading already; here it only ends the list.
    let _ = look(&mut card, &mut files);
    let message = match &reading.message {
        Ok(message) => MessageView::Found {
            bytes: message.len(),
            behind_pin: reading.behind_pin,
            json: secrets::masked(message),
            public_secrets: if reading.behind_pin { Vec::new() } else { secrets::in_message(message) },
        },
        Err(error) => MessageView::Missing { reason: error.reason(), message: error.to_string() },
    };
    let network = reading.sim.mcc.as_ref().zip(reading.sim.mnc.as_ref()).map(|(mcc, mnc)| format!("{mcc}-{mnc}"));
    (Inspection { protocol, iccid: reading.iccid.clone(), files, message, network }, reading)
}

fn look(card: &mut Card<'_>, files: &mut Vec<FileView>) -> Result<(), CardError> {
    let Ok(way) = open_pkcs15(card)? else { return Ok(()) };
    let by_link = way.selected.is_some();
    let result = look_on_channel(&mut FileSession::new(card, way.channel), by_link, files);
    card.close_channel(way.channel);
    if by_link
        && result.is_ok()
        && let Ok(channel) = open_usim(card)?
    {
        let result = look_at_usim(&mut FileSession::new(card, channel), files);
        card.close_channel(channel);
        return result;
    }
    result
}

/// `by_link`: the link selected the PKCS#15 application, and opens the USIM on a channel of its own.
fn look_on_channel(
    session: &mut FileSession<'_, '_>,
    by_link: bool,
    files: &mut Vec<FileView>,
) -> Result<(), CardError> {
    let mut iccid = Look::new(session, "MF", 0x2FE2, "EF(ICCID)", &[vec![0x2F, 0xE2]], 10)?;
    iccid.explain(|content| {
        let number = digits::iccid(content).ok_or(StructureError::Missing("an ICCID"))?;
        Ok(vec![format!("ICCID {number}")])
    });
    files.push(iccid.view);

    let applications = applications(session)?;
    let dir = session.select_path(&[0x2F, 0x00])?;
    files.push(FileView {
        path: "MF/2F00".to_owned(),
        name: "EF(DIR)".to_owned(),
        size: dir.as_ref().ok().and_then(|fcp: &Fcp| fcp.size),
        content: None,
        meaning: applications.iter().map(Application::to_string).collect(),
        problem: dir.err().map(|Refusal(status)| status.to_string()),
    });

    if by_link || session.select_aid(&pkcs15::AID)?.is_ok() {
        look_at_pkcs15(session, files)?;
    }
    if by_link {
        return Ok(());
    }
    let usim = applications.into_iter().find(Application::is_usim).map_or_else(|| USIM.to_vec(), |usim| usim.aid);
    if session.select_aid(&usim)?.is_ok() {
        look_at_usim(session, files)?;
    }
    Ok(())
}

fn look_at_usim(session: &mut FileSession<'_, '_>, files: &mut Vec<FileView>) -> Result<(), CardError> {
    // Never the IMSI itself (Profile P-26).
    let imsi = Look::new(session, "USIM", 0x6F07, "EF(IMSI)", &[vec![0x7F, 0xFF, 0x6F, 0x07]], 9)?;
    files.push(FileView { content: None, ..imsi.view });
    let mut ad = Look::new(session, "USIM", 0x6FAD, "EF(AD)", &[vec![0x7F, 0xFF, 0x6F, 0xAD]], 32)?;
    ad.explain(|content| {
        let length = content.get(3).ok_or(StructureError::Missing("the length of the MNC"))?;
        Ok(vec![format!("MNC of {} digits", length & 0x0F)])
    });
    files.push(ad.view);
    Ok(())
}

fn look_at_pkcs15(session: &mut FileSession<'_, '_>, files: &mut Vec<FileView>) -> Result<(), CardError> {
    let here = |id: u16| vec![[&[0x7F, 0xFF], &id.to_be_bytes()[..]].concat()];
    let df = pkcs15::USUAL_DF.to_be_bytes();
    let mut odf = Odf::default();
    let mut look = Look::new(session, "PKCS#15", pkcs15::ODF, "EF(ODF)", &here(pkcs15::ODF), MAX_DIRECTORY)?;
    look.explain(|content| {
        odf = Odf::parse(content);
        let data = odf.dodfs.iter().map(|path| format!("data objects in {path}"));
        let pins = odf.aodfs.iter().map(|path| format!("PINs in {path}"));
        let lines = data.chain(pins).collect();
        odf.damage.clone().map_or(Ok(lines), Err)
    });
    files.push(look.view);

    let mut look =
        Look::new(session, "PKCS#15", pkcs15::TOKEN_INFO, "EF(TokenInfo)", &here(pkcs15::TOKEN_INFO), MAX_DIRECTORY)?;
    look.explain(|content| {
        let info = TokenInfo::parse(content)?;
        let names = [info.manufacturer, info.label].into_iter().flatten().collect::<Vec<_>>().join(", ");
        Ok(vec![format!("{names}, serial {}", hex::encode(&info.serial))])
    });
    files.push(look.view);

    for path in &odf.aodfs {
        let mut look = Look::new(session, "PKCS#15", path.file_id(), "EF(AODF)", &path.selections(&df), MAX_DIRECTORY)?;
        look.explain(|content| {
            PinObject::parse_all(content)
                .map(|pin| {
                    let pin = pin?;
                    let label = pin.label.unwrap_or_default();
                    Ok(format!("PIN {:02X} \"{label}\", authId {}", pin.reference, hex::encode(&pin.auth_id)))
                })
                .collect()
        });
        files.push(look.view);
    }
    for path in &odf.dodfs {
        let mut objects = Vec::new();
        let mut look = Look::new(session, "PKCS#15", path.file_id(), "EF(DODF)", &path.selections(&df), MAX_DIRECTORY)?;
        look.explain(|content| {
            let mut damage = None;
            for object in DataObject::parse_all(content) {
                match object {
                    Ok(object) => objects.push(object),
                    Err(error) => damage = Some(error),
                }
            }
            damage.map_or_else(|| Ok(objects.iter().map(describe).collect()), Err)
        });
        files.push(look.view);
        for object in objects.iter().filter(|object| object.is_dm_bootstrap()) {
            let id = object.path.file_id();
            let look =
                Look::new(session, "PKCS#15", id, "EF(DM_Bootstrap)", &object.path.selections(&df), MAX_MESSAGE)?;
            files.push(FileView { content: None, ..look.view });
        }
    }
    Ok(())
}

/// One line about a data object.
fn describe(object: &DataObject) -> String {
    let what = if object.is_dm_bootstrap() { "OMA DM bootstrap object" } else { "data object" };
    let form = match object.form {
        Form::Opaque => "opaqueDO",
        Form::Oid => "oidDO",
    };
    let label = object.label.as_deref().unwrap_or_default();
    let protection = if object.private { "behind a PIN" } else { "readable by everybody" };
    format!("{what} \"{label}\" ({form}) in {}, {protection}", object.path)
}

/// A file as it was read.
struct Look {
    view: FileView,
    bytes: Option<Vec<u8>>,
}

impl Look {
    fn new(
        session: &mut FileSession<'_, '_>,
        application: &str,
        id: u16,
        name: &str,
        paths: &[Vec<u8>],
        limit: usize,
    ) -> Result<Self, CardError> {
        let selected = session.select_first(paths)?;
        let size = selected.as_ref().ok().and_then(|fcp| fcp.size);
        let content = match selected {
            Ok(fcp) => session.read_binary(Place::Link, &fcp, 0, limit)?,
            Err(refusal) => Err(refusal),
        };
        let view = FileView {
            path: format!("{application}/{id:04X}"),
            name: name.to_owned(),
            size,
            content: content.as_ref().ok().map(|bytes| hex::encode(bytes)),
            meaning: Vec::new(),
            problem: content.as_ref().err().map(|Refusal(status)| status.to_string()),
        };
        Ok(Self { view, bytes: content.ok() })
    }

    fn explain(&mut self, meaning: impl FnOnce(&[u8]) -> Result<Vec<String>, StructureError>) {
        if let Some(bytes) = &self.bytes {
            match meaning(bytes) {
                Ok(lines) => self.view.meaning = lines,
                Err(error) => self.view.problem = Some(error.to_string()),
            }
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iccid = self.iccid.as_ref().map_or("unknown", |iccid| iccid.as_str());
        write!(f, "card {iccid}, {}", self.protocol)?;
        if let Some(network) = &self.network {
            write!(f, ", home network {network}")?;
        }
        writeln!(f)?;
        for file in &self.files {
            write!(f, "{:<14}{}", file.path, file.name)?;
            if let Some(size) = file.size {
                write!(f, ", {size} bytes")?;
            }
            writeln!(f)?;
            for line in &file.meaning {
                writeln!(f, "              {line}")?;
            }
            if let Some(problem) = &file.problem {
                writeln!(f, "              problem: {problem}")?;
            }
        }
        match &self.message {
            MessageView::Missing { reason, message } => writeln!(f, "no message: {reason}, {message}"),
            MessageView::Found { bytes, behind_pin, json, public_secrets } => {
                let protection = if *behind_pin { "behind a PIN" } else { "readable by everybody" };
                writeln!(f, "message of {bytes} bytes, {protection}")?;
                for secret in public_secrets {
                    writeln!(f, "warning: everybody can read the secret {secret}")?;
                }
                json.as_ref().map_or(Ok(()), |json| writeln!(f, "{json:#}"))
            }
        }
    }
}
