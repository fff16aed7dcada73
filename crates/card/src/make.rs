//! Making a card from a Bootstrap Message.

use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;

use crate::apdu::Protocol;
use crate::file::digits;
use crate::image::{
    self, Access, Byte, Bytes, CardApplication, CardFile, CardImage, CardParts, FileId, ImageError, Pin,
};
use crate::personalise::AdmKey;
use crate::pkcs15;
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dir::Application;
use crate::pkcs15::dodf::Form;
use crate::pkcs15::odf::Odf;
use crate::pkcs15::oid::ObjectId;
use crate::pkcs15::path::Path;
use crate::pkcs15::token_info::TokenInfo;
use crate::read::{MAX_MESSAGE, check_content};
use crate::secrets;

mod object;

pub use object::NewObject;

/// File id of our EF(DODF).
const DODF: u16 = 0x6430;
/// File id of our EF(AODF).
const AODF: u16 = 0x6431;
/// File id of our EF(DM_Bootstrap).
const MESSAGE: u16 = 0x6434;
/// File ids of the objects beside it, from here on.
const FIRST_OTHER: u16 = 0x6435;
/// The most objects beside it.
const MAX_OTHERS: usize = 8;
/// What data objects call the PIN.
const AUTH_ID: u8 = 0x01;
/// P2 of VERIFY for the PIN that a card usually has. In a modem it is the modem's, which verifies it when it starts.
const PIN: u8 = 0x01;
/// Full AID of our USIM.
const USIM_AID: [u8; 16] =
    [0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02, 0xFF, 0x33, 0xFF, 0x01, 0x89, 0x00, 0x00, 0x01, 0x00];
/// Length of a record of EF(DIR).
const DIR_RECORD: usize = 38;

/// What a new card is to hold.
#[derive(Debug, Clone)]
pub struct CardPlan {
    /// Which card it is.
    pub iccid: Iccid,
    /// The subscriber, 6 to 15 digits; none for a card without a USIM.
    pub imsi: Option<String>,
    /// How many digits of the IMSI are the MNC, 2 or 3.
    pub mnc_length: u8,
    /// What lies in the bootstrap object.
    pub content: Content,
    /// Objects beside it, at most 8, in the order in which they are listed. They lie behind the same PIN.
    pub others: Vec<NewObject>,
    /// In which form the objects are listed.
    pub listing: Listing,
    /// The PIN that protects the object; none for an object that everybody may read.
    pub pin: Option<Secret>,
    /// The reference of that PIN, P2 of VERIFY: 01 to 08, or 81 to 88 for one of the application.
    pub pin_reference: u8,
    /// The key by which its administrator (0A) may write it later; none for a card that nobody can write.
    pub adm: Option<AdmKey>,
    /// How often the PIN may be wrong.
    pub tries: u8,
    /// How the card talks.
    pub protocol: Protocol,
    /// Size of the object's file; none for exactly as large as the message (Profile P-22).
    pub file_size: Option<usize>,
    /// Write secrets that everybody can read (Profile P-36). For tests only.
    pub allow_public_secret: bool,
}

impl CardPlan {
    /// A card with this message, open, on T=1, in the form that OpenSC reads, with a USIM of the test network 001-01.
    pub fn new(iccid: Iccid, message: &[u8]) -> Self {
        Self {
            iccid,
            imsi: Some("001010123456789".to_owned()),
            mnc_length: 2,
            content: Content::Message(message.to_vec()),
            others: Vec::new(),
            listing: Listing::Opaque,
            pin: None,
            pin_reference: PIN,
            adm: None,
            tries: 3,
            protocol: Protocol::T1,
            file_size: None,
            allow_public_secret: false,
        }
    }
}

/// What lies in the bootstrap object.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A Bootstrap Message: one JSON value within the size of P-22.
    Message(Vec<u8>),
    /// Any bytes, as they are: a damaged message or one of DM 1.x, for tests.
    Raw(Vec<u8>),
    /// No object: the PKCS#15 application lists none.
    None,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(bytes) => write!(f, "message of {} bytes", bytes.len()),
            Self::Raw(bytes) => write!(f, "{} bytes as they are", bytes.len()),
            Self::None => f.write_str("no object"),
        }
    }
}

/// How the object is listed in EF(DODF).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// As opaqueDO, which OpenSC reads.
    Opaque,
    /// As oidDO.
    Oid,
    /// As both, opaqueDO first.
    Both,
}

/// Why a card cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The content is no message.
    #[error("the message is refused: {0}")]
    Message(String),
    /// More than fits, or more than the file that was asked for.
    #[error("the message has {size} bytes; the file holds {limit}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes that are possible.
        limit: usize,
    },
    /// The message holds a secret that everybody could read.
    #[error(
        "the message holds a secret ({0}) and the object would be readable by everybody; protect it by a PIN, use \
         `aka:`, or allow it with --allow-public-secret"
    )]
    PublicSecret(String),
    /// An object beside the message.
    #[error("the object {oid} is refused: {why}")]
    Object {
        /// Which.
        oid: ObjectId,
        /// Why.
        why: String,
    },
    /// The IMSI or the length of its MNC.
    #[error("the IMSI is refused: 6 to 15 digits and an MNC of 2 or 3 digits are expected")]
    Imsi,
    /// Anything that makes no possible card.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Makes a card by this plan.
pub fn make(plan: &CardPlan) -> Result<CardImage, MakeError> {
    let content = content(plan)?;
    check_others(plan)?;
    let mut applications = vec![pkcs15_application(plan, content.as_deref())];
    let mut dir = vec![Application {
        aid: pkcs15::AID.to_vec(),
        label: Some("PKCS15".to_owned()),
        df: pkcs15::USUAL_DF.to_be_bytes().to_vec(),
    }];
    if let Some(imsi) = &plan.imsi {
        applications.push(usim(imsi, plan.mnc_length)?);
        dir.push(Application { aid: USIM_AID.to_vec(), label: Some("USIM".to_owned()), df: Vec::new() });
    }
    let records = dir.iter().flat_map(|application| padded(application.encode(), DIR_RECORD)).collect();
    let about = dir.iter().map(Application::to_string).collect::<Vec<_>>().join("; ");
    let parts = CardParts {
        pins: plan.pin.iter().map(|value| Pin::new(plan.pin_reference, value.clone(), plan.tries)).collect(),
        adm: plan.adm.as_ref().map(|key| image::AdmKey::new(Secret::new(key.expose().to_vec()))),
        files: vec![
            CardFile { sfi: Some(30), record_length: Some(38), ..file(0x2F00, "EF(DIR)", &about, records) },
            CardFile {
                sfi: Some(2),
                ..file(0x2FE2, "EF(ICCID)", plan.iccid.as_str(), digits::encode_iccid(&plan.iccid))
            },
        ],
        applications,
        ..CardParts::new(plan.protocol)
    };
    Ok(parts.try_into()?)
}

/// The content of the object's file, checked, padded to its size.
fn content(plan: &CardPlan) -> Result<Option<Vec<u8>>, MakeError> {
    let content = match &plan.content {
        Content::None => return Ok(None),
        Content::Raw(bytes) => bytes.clone(),
        Content::Message(message) => check_content(message.clone(), crate::error::Place::Message(MESSAGE))
            .map_err(|error| MakeError::Message(error.detail))?,
    };
    let limit = plan.file_size.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE);
    if content.len() > limit {
        return Err(MakeError::TooLarge { size: content.len(), limit });
    }
    if plan.pin.is_none() && !plan.allow_public_secret {
        secrets::refuse_public(&content).map_err(MakeError::PublicSecret)?;
    }
    let size = plan.file_size.unwrap_or(content.len()).min(MAX_MESSAGE);
    Ok(Some(padded(content, size)))
}

/// An object beside the message: its size, and no secret that everybody could read where one can be told (Profile P-36).
fn check_others(plan: &CardPlan) -> Result<(), MakeError> {
    for (number, other) in plan.others.iter().enumerate() {
        let refused = |why: String| Err(MakeError::Object { oid: other.oid.clone(), why });
        if number >= MAX_OTHERS {
            return refused(format!("at most {MAX_OTHERS} objects fit beside the message"));
        }
        if !(1..=MAX_MESSAGE).contains(&other.content.len()) {
            return refused(format!("1 to {MAX_MESSAGE} bytes are possible, it has {}", other.content.len()));
        }
        let stands_twice = plan.others.iter().take(number).any(|earlier| earlier.oid == other.oid);
        if stands_twice || other.oid == ObjectId::dm_bootstrap() {
            return refused("it is on the card already".to_owned());
        }
        if plan.pin.is_none() && !plan.allow_public_secret {
            secrets::refuse_public(&other.content).map_err(MakeError::PublicSecret)?;
        }
    }
    Ok(())
}

fn pkcs15_application(plan: &CardPlan, content: Option<&[u8]>) -> CardApplication {
    let private = plan.pin.is_some();
    let aodfs = if private { vec![Path::bare(AODF)] } else { Vec::new() };
    let odf = Odf { dodfs: vec![Path::bare(DODF)], aodfs, damage: None };
    let message = NewObject::dm(content.map(<[u8]>::to_vec).unwrap_or_default());
    let others = (FIRST_OTHER..).zip(&plan.others);
    let objects: Vec<(u16, &NewObject)> = content.map(|_| (MESSAGE, &message)).into_iter().chain(others).collect();
    let auth_id = private.then_some(&[AUTH_ID][..]);
    // OpenSC reads a directory up to the first oidDO.
    let dodf: Vec<u8> = forms(plan.listing)
        .iter()
        .flat_map(|form| objects.iter().map(|(id, object)| object.listed(*id, auth_id, *form)))
        .flat_map(|listed| listed.encode())
        .collect();
    let token = TokenInfo {
        serial: digits::encode_iccid(&plan.iccid),
        manufacturer: Some("OMA test".to_owned()),
        label: Some("DM UICC".to_owned()),
    };
    let mut files = vec![
        CardFile { sfi: Some(0x11), ..directory(pkcs15::ODF, "EF(ODF)", "where the directories are", odf.encode()) },
        directory(pkcs15::TOKEN_INFO, "EF(TokenInfo)", "OMA test, DM UICC", token.encode()),
        directory(DODF, "EF(DODF)", &about_objects(&objects), dodf),
    ];
    if private {
        let pin = PinObject {
            label: Some("PIN".to_owned()),
            auth_id: vec![AUTH_ID],
            reference: plan.pin_reference,
            needs_padding: true,
        };
        files.push(directory(AODF, "EF(AODF)", &format!("PIN {:02X}", plan.pin_reference), pin.encode()));
    }
    let read = if private { Access::Pin(Byte(plan.pin_reference)) } else { Access::Always };
    files.extend(objects.iter().map(|(id, object)| {
        let (name, about) = match *id {
            MESSAGE => ("EF(DM_Bootstrap)".to_owned(), "the Bootstrap Message".to_owned()),
            _ => (format!("EF({})", object.label), format!("object {}", object.oid)),
        };
        CardFile { read, ..file(*id, &name, &about, object.content.clone()) }
    }));
    CardApplication {
        aid: Bytes(pkcs15::AID.to_vec()),
        name: "PKCS#15".to_owned(),
        df: Some(FileId(pkcs15::USUAL_DF)),
        files,
    }
}

/// The forms in which an object is listed, in their order.
pub(crate) fn forms(listing: Listing) -> &'static [Form] {
    match listing {
        Listing::Opaque => &[Form::Opaque],
        Listing::Oid => &[Form::Oid],
        Listing::Both => &[Form::Opaque, Form::Oid],
    }
}

fn about_objects(objects: &[(u16, &NewObject)]) -> String {
    if objects.is_empty() {
        return "no object".to_owned();
    }
    let named = objects.iter().map(|(_, object)| match object.label == object.oid.to_string() {
        true => object.label.clone(),
        false => format!("{}, {}", object.label, object.oid),
    });
    named.collect::<Vec<_>>().join("; ")
}

fn usim(imsi: &str, mnc_length: u8) -> Result<CardApplication, MakeError> {
    let is_imsi = (6..=15).contains(&imsi.len()) && imsi.bytes().all(|digit| digit.is_ascii_digit());
    if !is_imsi || !(2..=3).contains(&mnc_length) {
        return Err(MakeError::Imsi);
    }
    let ad = vec![0x00, 0x00, 0x00, mnc_length];
    let files = vec![
        CardFile { sfi: Some(7), ..file(0x6F07, "EF(IMSI)", imsi, digits::encode_imsi(imsi)) },
        CardFile { sfi: Some(3), ..file(0x6FAD, "EF(AD)", &format!("MNC of {mnc_length} digits"), ad) },
    ];
    Ok(CardApplication { aid: Bytes(USIM_AID.to_vec()), name: "USIM".to_owned(), df: None, files })
}

fn file(id: u16, name: &str, about: &str, content: Vec<u8>) -> CardFile {
    CardFile { about: about.to_owned(), ..CardFile::new(id, name, content) }
}

/// A directory file with room to grow: the next multiple of 32 bytes.
fn directory(id: u16, name: &str, about: &str, content: Vec<u8>) -> CardFile {
    let size = content.len().max(1).next_multiple_of(32);
    file(id, name, about, padded(content, size))
}

fn padded(mut content: Vec<u8>, size: usize) -> Vec<u8> {
    content.resize(size.max(content.len()), 0xFF);
    content
}
