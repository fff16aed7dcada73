//! What stands in the directories of cards in the field otherwise than we write it: made from a card of ours, so that
//! readers can be tried with it.

use omadm_core::reason::Reason;

use super::{CardApplication, CardFile, CardImage, CardParts, FileId, ImageError};
use crate::file::tlv::{Objects, Tlv, object};
use crate::pkcs15::dir::Application;
use crate::pkcs15::dodf::{DataObject, Form};
use crate::pkcs15::odf::Odf;
use crate::pkcs15::path::Path;
use crate::pkcs15::{self, DM_BOOTSTRAP_OID};
use crate::virtual_uicc::Quirk;

const MF: [u8; 2] = [0x3F, 0x00];
const CURRENT_ADF: [u8; 2] = [0x7F, 0xFF];
const DIR: FileId = FileId(0x2F00);
const ICCID: FileId = FileId(0x2FE2);
/// Where the DF of [`Layout::OtherDf`] lies.
const OTHER_DF: u16 = 0x7F10;
/// The directory of [`Layout::SecondDodf`].
const FIRST_DODF: u16 = 0x6432;
/// Files of the objects that are put beside the message.
const LWM2M: u16 = 0x6435;
const COPY: u16 = 0x6436;
const DM1X: u16 = 0x6437;
/// 2.23.43.9.1, the bootstrap object of LwM2M.
const LWM2M_OID: [u8; 4] = [0x67, 0x2B, 0x09, 0x01];
/// Where in its file the message begins with [`Layout::IndexAndLength`].
const INDEX: u8 = 16;

/// One way in which the content of a card differs from what [`crate::make`] writes (docs/card-image.md, "Layouts").
/// What a card with PKCS#15 does not have, such as a second PIN, is not made by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// The header of each object identifier is written twice.
    DoubledOid,
    /// Lengths in the directories are BER: 81 and a byte where one byte would do.
    LongLengths,
    /// Padding is 00 in place of FF; the message has some behind it.
    ZeroPadding,
    /// No EF(DIR).
    NoDir,
    /// EF(DIR) is transparent.
    TransparentDir,
    /// The application has a longer AID, told in EF(DIR), and is found by nothing less.
    LongerAid,
    /// The application lies in the DF 7F10, told in EF(DIR), and is found by this path only.
    OtherDf,
    /// No EF(TokenInfo).
    NoTokenInfo,
    /// No EF(ICCID).
    NoIccid,
    /// The directory does not say that the object is private.
    OpenInDirectory,
    /// The first of two directories lists an object of LwM2M, the second one the message.
    SecondDodf,
    /// An object of LwM2M stands before the message, in the same directory.
    ForeignFirst,
    /// The message is there twice, in two objects.
    TwoObjects,
    /// An object with a message of DM 1.x stands before the message.
    Dm1xFirst,
    /// Paths begin with 7FFF.
    PathsWithAlias,
    /// Paths begin with the DF of the application.
    PathsWithDf,
    /// Paths begin with the MF and the DF of the application.
    PathsFromMf,
    /// The message lies somewhere in a larger file; index and length say where.
    IndexAndLength,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::DoubledOid,
        Self::LongLengths,
        Self::ZeroPadding,
        Self::NoDir,
        Self::TransparentDir,
        Self::LongerAid,
        Self::OtherDf,
        Self::NoTokenInfo,
        Self::NoIccid,
        Self::OpenInDirectory,
        Self::SecondDodf,
        Self::ForeignFirst,
        Self::TwoObjects,
        Self::Dm1xFirst,
        Self::PathsWithAlias,
        Self::PathsWithDf,
        Self::PathsFromMf,
        Self::IndexAndLength,
    ];

    /// Its name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::DoubledOid => "doubled-oid",
            Self::LongLengths => "long-lengths",
            Self::ZeroPadding => "zero-padding",
            Self::NoDir => "no-dir",
            Self::TransparentDir => "transparent-dir",
            Self::LongerAid => "longer-aid",
            Self::OtherDf => "other-df",
            Self::NoTokenInfo => "no-token-info",
            Self::NoIccid => "no-iccid",
            Self::OpenInDirectory => "open-in-directory",
            Self::SecondDodf => "second-dodf",
            Self::ForeignFirst => "foreign-first",
            Self::TwoObjects => "two-objects",
            Self::Dm1xFirst => "dm1x-first",
            Self::PathsWithAlias => "paths-with-alias",
            Self::PathsWithDf => "paths-with-df",
            Self::PathsFromMf => "paths-from-mf",
            Self::IndexAndLength => "index-and-length",
        }
    }

    /// What a correct reader that knows the right PIN makes of a card that is good but for this: none where it reads the
    /// message, else the reason that it gives. `private` says whether the card has a PIN.
    pub fn hinders(self, private: bool) -> Option<Reason> {
        match self {
            // A PIN that is refused could not be remembered for this card, so it is not sent.
            Self::NoIccid => private.then_some(Reason::PinNeeded),
            Self::DoubledOid
            | Self::LongLengths
            | Self::ZeroPadding
            | Self::NoDir
            | Self::TransparentDir
            | Self::LongerAid
            | Self::OtherDf
            | Self::NoTokenInfo
            | Self::OpenInDirectory
            | Self::SecondDodf
            | Self::ForeignFirst
            | Self::TwoObjects
            | Self::Dm1xFirst
            | Self::PathsWithAlias
            | Self::PathsWithDf
            | Self::PathsFromMf
            | Self::IndexAndLength => None,
        }
    }

    /// The same card with this layout. A card without PKCS#15 or without what is to be changed stays as it is.
    ///
    /// # Errors
    /// If what results is no possible card: an identifier that is needed is taken.
    pub fn apply(self, image: CardImage) -> Result<CardImage, ImageError> {
        let mut parts = image.into_parts();
        self.change(&mut parts);
        parts.try_into()
    }

    fn change(self, parts: &mut CardParts) {
        match self {
            Self::NoDir => parts.files.retain(|file| file.id != DIR),
            Self::NoIccid => parts.files.retain(|file| file.id != ICCID),
            Self::TransparentDir => change_dir(parts, true, |_| {}),
            Self::LongerAid => {
                let longer = |aid: &mut Vec<u8>| aid.extend([0x01, 0x00]);
                pkcs15(parts).into_iter().for_each(|application| longer(&mut application.aid.0));
                change_dir(parts, false, |application| longer(&mut application.aid));
                parts.quirks.insert(Quirk::FullAidOnly);
            }
            Self::OtherDf => {
                pkcs15(parts).into_iter().for_each(|application| application.df = Some(FileId(OTHER_DF)));
                change_dir(parts, false, |application| application.df = OTHER_DF.to_be_bytes().to_vec());
                parts.quirks.insert(Quirk::Pkcs15ByPath);
            }
            Self::DoubledOid
            | Self::LongLengths
            | Self::ZeroPadding
            | Self::NoTokenInfo
            | Self::OpenInDirectory
            | Self::SecondDodf
            | Self::ForeignFirst
            | Self::TwoObjects
            | Self::Dm1xFirst
            | Self::PathsWithAlias
            | Self::PathsWithDf
            | Self::PathsFromMf
            | Self::IndexAndLength => pkcs15(parts).into_iter().for_each(|application| self.change_in(application)),
        }
    }

    /// What concerns the files of the application only.
    fn change_in(self, application: &mut CardApplication) {
        let df = application.df.map_or_else(Vec::new, |df| df.0.to_be_bytes().to_vec());
        match self {
            Self::DoubledOid => {
                rewrite(application, &|tag, value| (tag == 0x06).then(|| object(0x06, &object(0x06, value))))
            }
            Self::LongLengths => lengthen(application),
            Self::ZeroPadding => pad_with_zeros(application),
            Self::NoTokenInfo => application.files.retain(|file| file.id.0 != pkcs15::TOKEN_INFO),
            // Of the octet strings only the name of the PIN has one byte.
            Self::OpenInDirectory => rewrite_dodfs(application, &|tag, value| {
                (tag == 0x03 || tag == 0x04 && value.len() == 1).then(Vec::new)
            }),
            Self::SecondDodf => {
                add_file(application, LWM2M, "LwM2M bootstrap", lwm2m());
                add_file(application, FIRST_DODF, "EF(DODF)", entry("LwM2M", &LWM2M_OID, LWM2M));
                let first = Odf { dodfs: vec![Path::bare(FIRST_DODF)], ..Odf::default() }.encode();
                prepend(application, &[pkcs15::ODF], &first);
            }
            Self::ForeignFirst => {
                add_file(application, LWM2M, "LwM2M bootstrap", lwm2m());
                let dodfs = dodfs(application);
                prepend(application, &dodfs, &entry("LwM2M", &LWM2M_OID, LWM2M));
            }
            Self::TwoObjects => add_copy(application),
            Self::Dm1xFirst => {
                // The start of a WBXML document of SyncML.
                add_file(application, DM1X, "DM 1.x bootstrap", vec![0x03, 0x0B, 0x6A, 0x00, 0x45]);
                let dodfs = dodfs(application);
                prepend(application, &dodfs, &entry("Old DM", &DM_BOOTSTRAP_OID, DM1X));
            }
            Self::PathsWithAlias => set_paths(application, &CURRENT_ADF),
            Self::PathsWithDf => set_paths(application, &df),
            Self::PathsFromMf if df.is_empty() => {}
            Self::PathsFromMf => set_paths(application, &[&MF, df.as_slice()].concat()),
            Self::IndexAndLength => move_inside(application),
            Self::NoDir | Self::NoIccid | Self::TransparentDir | Self::LongerAid | Self::OtherDf => {}
        }
    }
}

fn pkcs15(parts: &mut CardParts) -> Option<&mut CardApplication> {
    parts.applications.iter_mut().find(|application| application.aid.0.starts_with(&pkcs15::AID))
}

/// Changes the entry of PKCS#15 in EF(DIR); the file becomes transparent if asked for.
fn change_dir(parts: &mut CardParts, transparent: bool, change: impl Fn(&mut Application)) {
    let Some(dir) = parts.files.iter_mut().find(|file| file.id == DIR) else { return };
    let record = dir.record_length.map_or(dir.content.0.len(), usize::from).max(1);
    let mut content = Vec::new();
    for chunk in dir.content.0.chunks(record) {
        let templates = Application::parse_all(chunk).filter_map(Result::ok).map(|mut application| {
            if application.is_pkcs15() {
                change(&mut application);
            }
            application.encode()
        });
        let mut templates = templates.collect::<Vec<_>>().concat();
        templates.resize(if transparent { templates.len() } else { record.max(templates.len()) }, 0xFF);
        content.extend(templates);
    }
    if transparent {
        dir.record_length = None;
        content.resize(content.len().next_multiple_of(32), 0xFF);
    }
    dir.content.0 = content;
}

/// The identifiers of the files that EF(ODF) names as directories of data objects.
fn dodfs(application: &CardApplication) -> Vec<u16> {
    let odf = application.files.iter().find(|file| file.id.0 == pkcs15::ODF);
    odf.map(|odf| Odf::parse(&odf.content.0).dodfs.iter().map(Path::file_id).collect()).unwrap_or_default()
}

/// The identifiers of the files that hold messages.
fn messages(application: &CardApplication) -> Vec<u16> {
    let dodfs = dodfs(application);
    let directories = application.files.iter().filter(|file| dodfs.contains(&file.id.0));
    let objects = directories.flat_map(|file| DataObject::parse_all(&file.content.0)).filter_map(Result::ok);
    let mut files: Vec<u16> = objects.filter(DataObject::is_dm_bootstrap).map(|object| object.path.file_id()).collect();
    files.dedup();
    files
}

fn entry(label: &str, oid: &[u8], file: u16) -> Vec<u8> {
    let object = DataObject {
        label: Some(label.to_owned()),
        private: false,
        auth_id: None,
        application: Some(label.to_owned()),
        oids: vec![oid.to_vec()],
        path: Path::bare(file),
        form: Form::Opaque,
    };
    object.encode()
}

/// One resource of LwM2M's TLV: 0, the URI of a server.
fn lwm2m() -> Vec<u8> {
    let uri = b"coap://lwm2m.example";
    [&[0xC8, 0x00, 20][..], uri].concat()
}

fn add_file(application: &mut CardApplication, id: u16, name: &str, content: Vec<u8>) {
    application.files.push(CardFile::new(id, name, content));
}

/// A change of one object: what is to stand in its place, header included.
type Change<'a> = &'a dyn Fn(u8, &[u8]) -> Option<Vec<u8>>;

/// Changes objects at any depth.
fn changed(bytes: &[u8], change: Change<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    for Tlv { tag, value } in Objects::new(bytes).map_while(Result::ok) {
        let Ok(tag) = u8::try_from(tag) else { continue };
        content.extend(change(tag, value).unwrap_or_else(|| {
            let is_constructed = tag & 0x20 != 0;
            if is_constructed { object(tag, &changed(value, change)) } else { object(tag, value) }
        }));
    }
    content
}

/// A directory with other content keeps its size, or grows to the next multiple of 32 bytes.
fn refill(file: &mut CardFile, mut content: Vec<u8>) {
    let size = file.content.0.len();
    content.resize(if content.len() > size { content.len().next_multiple_of(32) } else { size }, 0xFF);
    file.content.0 = content;
}

fn rewrite_files(application: &mut CardApplication, ids: &[u16], change: Change<'_>) {
    for file in application.files.iter_mut().filter(|file| ids.contains(&file.id.0)) {
        let content = changed(&file.content.0, change);
        refill(file, content);
    }
}

/// Changes objects in the directories of data objects.
fn rewrite_dodfs(application: &mut CardApplication, change: Change<'_>) {
    let dodfs = dodfs(application);
    rewrite_files(application, &dodfs, change);
}

/// Changes objects in EF(ODF) and the directories of data objects.
fn rewrite(application: &mut CardApplication, change: Change<'_>) {
    rewrite_dodfs(application, change);
    rewrite_files(application, &[pkcs15::ODF], change);
}

/// Puts entries before those that are there.
fn prepend(application: &mut CardApplication, ids: &[u16], entries: &[u8]) {
    for file in application.files.iter_mut().filter(|file| ids.contains(&file.id.0)) {
        let content = [entries, &changed(&file.content.0, &|_, _| None)].concat();
        refill(file, content);
    }
}

/// Paths are octet strings of two bytes here.
fn set_paths(application: &mut CardApplication, before: &[u8]) {
    rewrite(application, &|tag, value| {
        (tag == 0x04 && value.len() == 2).then(|| object(0x04, &[before, value].concat()))
    });
}

/// As [`object`], with a length of two bytes where one would do.
fn long_object(tag: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length @ ..=0x7F) => [&[tag, 0x81, length], value].concat(),
        Ok(_) | Err(_) => object(tag, value),
    }
}

fn lengthen(application: &mut CardApplication) {
    fn longer(bytes: &[u8]) -> Vec<u8> {
        changed(bytes, &|tag, value| {
            let is_constructed = tag & 0x20 != 0;
            Some(if is_constructed { long_object(tag, &longer(value)) } else { long_object(tag, value) })
        })
    }
    let mut files = dodfs(application);
    files.push(pkcs15::ODF);
    for file in application.files.iter_mut().filter(|file| files.contains(&file.id.0)) {
        let content = longer(&file.content.0);
        refill(file, content);
    }
}

fn pad_with_zeros(application: &mut CardApplication) {
    let messages = messages(application);
    for file in &mut application.files {
        let used = file.content.0.iter().rposition(|byte| *byte != 0xFF).map_or(0, |last| last + 1);
        file.content.0.iter_mut().skip(used).for_each(|byte| *byte = 0x00);
        if messages.contains(&file.id.0) {
            file.content.0.extend([0x00; 16]);
        }
    }
}

fn add_copy(application: &mut CardApplication) {
    let Some(id) = messages(application).first().copied() else { return };
    let copies: Vec<_> = application.files.iter().filter(|file| file.id.0 == id).cloned().collect();
    application.files.extend(copies.into_iter().map(|file| CardFile { id: FileId(COPY), sfi: None, ..file }));
    let to_copy =
        |tag: u8, value: &[u8]| (tag == 0x04 && value == id.to_be_bytes()).then(|| object(0x04, &COPY.to_be_bytes()));
    let dodfs = dodfs(application);
    for file in application.files.iter_mut().filter(|file| dodfs.contains(&file.id.0)) {
        let content = [changed(&file.content.0, &|_, _| None), changed(&file.content.0, &to_copy)].concat();
        refill(file, content);
    }
}

fn move_inside(application: &mut CardApplication) {
    for id in messages(application) {
        let Some(file) = application.files.iter_mut().find(|file| file.id.0 == id) else { continue };
        let length = u16::try_from(file.content.0.len()).unwrap_or(u16::MAX).to_be_bytes();
        // What stands around it would make the message malformed if it were read with it.
        let around = vec![b'#'; usize::from(INDEX)];
        file.content.0 = [around.as_slice(), &file.content.0, &around].concat();
        let place = [object(0x04, &id.to_be_bytes()), object(0x02, &[INDEX]), object(0x80, &length)].concat();
        rewrite_dodfs(application, &|tag, value| (tag == 0x04 && value == id.to_be_bytes()).then(|| place.clone()));
    }
}
