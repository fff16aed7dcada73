//! A card as a value and as a JSON file: what `omadm card create` writes and the virtual UICC loads.

use omadm_core::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashSet;
use std::fmt;

use crate::apdu::Protocol;
use crate::hex;

/// The version of the format.
pub const FORMAT: &str = "omadm-card-1";
/// The most bytes of an image as JSON.
pub const MAX_JSON: usize = 1024 * 1024;
/// The most bytes of one file: what READ BINARY reaches.
pub const MAX_FILE: usize = 32_767;
const MAX_FILES: usize = 64;
const MAX_APPLICATIONS: usize = 8;
const MAX_PINS: usize = 7;

/// A card that can exist: sizes, identifiers and PINs are within their bounds. What its files hold may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CardParts", into = "CardParts")]
pub struct CardImage(CardParts);

/// What a card consists of. [`CardImage::try_from`] checks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardParts {
    /// [`FORMAT`].
    pub format: String,
    /// How it talks.
    pub protocol: Protocol,
    /// Its PINs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// Elementary files under the MF.
    pub files: Vec<CardFile>,
    /// Its applications.
    #[serde(default)]
    pub applications: Vec<CardApplication>,
}

/// A PIN of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// P2 of VERIFY.
    pub reference: Byte,
    /// 4 to 8 digits.
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    pub value: Secret,
    /// How often it may be wrong, 1 to 15.
    pub tries: u8,
    /// How often it may still be wrong.
    pub tries_left: u8,
}

/// An elementary file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// Its identifier.
    pub id: FileId,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it holds, for people; not read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Who may read it.
    #[serde(default)]
    pub read: Access,
    /// Its short identifier, 1 to 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sfi: Option<u8>,
    /// Length of a record; none where the file is transparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_length: Option<u8>,
    /// All its bytes, padding included.
    pub content: Bytes,
}

/// An application with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardApplication {
    /// Its full AID, 5 to 16 bytes.
    pub aid: Bytes,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Identifier of its DF under the MF; none where it is reached by AID only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub df: Option<FileId>,
    /// Its elementary files.
    pub files: Vec<CardFile>,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everybody.
    #[default]
    Always,
    /// Who verified the PIN with this reference.
    Pin(Byte),
    /// Nobody.
    Never,
}

/// Bytes, written as hexadecimal text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// One byte, written as two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Byte(pub u8);

/// A file identifier, written as four hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId(pub u16);

/// Why something is no card image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not JSON of the right shape.
    #[error("the card image cannot be read: {0}; make one with `omadm card create`")]
    Json(String),
    /// Another format or version.
    #[error("the card image has the format {0:?}; this version reads {FORMAT:?}")]
    Format(String),
    /// A value out of its bounds.
    #[error("the card image is not possible: {0}")]
    Bounds(String),
}

impl CardImage {
    /// Reads an image of at most [`MAX_JSON`] bytes.
    pub fn from_json(text: &[u8]) -> Result<Self, ImageError> {
        let value = omadm_core::json::parse(text, MAX_JSON).map_err(|error| ImageError::Json(error.to_string()))?;
        // A version that we do not know may have members that we do not know, so the version is looked at first.
        match value.get("format") {
            Some(serde_json::Value::String(format)) if format != FORMAT => {
                return Err(ImageError::Format(format.clone()));
            }
            _ => {}
        }
        let parts: CardParts = serde_json::from_value(value).map_err(|error| ImageError::Json(error.to_string()))?;
        parts.try_into()
    }

    /// The image as JSON for a file. It holds the PINs and the message, so the file must not be readable by others.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What it consists of.
    pub fn parts(&self) -> &CardParts {
        &self.0
    }

    /// Takes it apart, to change something and check it again.
    pub fn into_parts(self) -> CardParts {
        self.0
    }
}

impl From<CardImage> for CardParts {
    fn from(image: CardImage) -> Self {
        image.0
    }
}

impl TryFrom<CardParts> for CardImage {
    type Error = ImageError;

    fn try_from(parts: CardParts) -> Result<Self, ImageError> {
        let bounds = |what: String| Err(ImageError::Bounds(what));
        if parts.format != FORMAT {
            return Err(ImageError::Format(parts.format));
        }
        if parts.pins.len() > MAX_PINS || parts.applications.len() > MAX_APPLICATIONS {
            return bounds(format!("at most {MAX_PINS} PINs and {MAX_APPLICATIONS} applications"));
        }
        let mut references = HashSet::new();
        for pin in &parts.pins {
            let digits = pin.value.expose();
            let reference = pin.reference.0;
            if !matches!(reference, 0x01..=0x1F | 0x81..=0x9F) || !references.insert(reference) {
                return bounds(format!("PIN reference {reference:02X} is 00, too high, or stands twice"));
            }
            if !(4..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
                return bounds(format!("PIN {reference:02X} has not 4 to 8 digits"));
            }
            if !(1..=15).contains(&pin.tries) || pin.tries_left > pin.tries {
                return bounds(format!("PIN {reference:02X} has not 1 to 15 tries, or more of them left"));
            }
        }
        let mut top = HashSet::from([0x3F00, 0x3FFF, 0x7FFF]);
        check_files(&parts.files, &mut top, &references)?;
        let mut aids = HashSet::new();
        for application in &parts.applications {
            let aid = &application.aid.0;
            if !(5..=16).contains(&aid.len()) || !aids.insert(aid) {
                return bounds(format!("AID {} has not 5 to 16 bytes, or stands twice", hex::encode(aid)));
            }
            if let Some(FileId(df)) = application.df
                && !top.insert(df)
            {
                return bounds(format!("{df:04X} stands twice under the MF"));
            }
            check_files(&application.files, &mut HashSet::from([0x3F00, 0x3FFF, 0x7FFF]), &references)?;
        }
        Ok(Self(parts))
    }
}

fn check_files(files: &[CardFile], ids: &mut HashSet<u16>, pins: &HashSet<u8>) -> Result<(), ImageError> {
    let bounds = |what: String| Err(ImageError::Bounds(what));
    if files.len() > MAX_FILES {
        return bounds(format!("more than {MAX_FILES} files in one place"));
    }
    for file in files {
        let FileId(id) = file.id;
        let size = file.content.0.len();
        if !ids.insert(id) {
            return bounds(format!("file {id:04X} is reserved or stands twice"));
        }
        if size > MAX_FILE {
            return bounds(format!("file {id:04X} has {size} bytes; at most {MAX_FILE} are possible"));
        }
        if let Some(length) = file.record_length
            && (length == 0 || size % usize::from(length) != 0 || size / usize::from(length) > 254)
        {
            return bounds(format!("file {id:04X} has {size} bytes, which are not 0 to 254 records of {length}"));
        }
        if file.sfi.is_some_and(|sfi| !(1..=30).contains(&sfi)) {
            return bounds(format!("file {id:04X} has a short identifier that is not 1 to 30"));
        }
        if let Access::Pin(Byte(pin)) = file.read
            && !pins.contains(&pin)
        {
            return bounds(format!("file {id:04X} is behind PIN {pin:02X}, which the card does not have"));
        }
    }
    Ok(())
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file may hold the message with its secrets.
        write!(f, "{} bytes", self.0.len())
    }
}

macro_rules! as_hex {
    ($type:ident, $write:expr, $read:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let write: fn(&$type) -> String = $write;
                serializer.serialize_str(&write(self))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read: fn(Vec<u8>) -> Option<$type> = $read;
                let text = String::deserialize(deserializer)?;
                let bytes = hex::decode(&text).map_err(serde::de::Error::custom)?;
                read(bytes).ok_or_else(|| serde::de::Error::custom("hexadecimal text of another length is expected"))
            }
        }
    };
}

as_hex!(Bytes, |bytes| hex::encode(&bytes.0), |bytes| Some(Bytes(bytes)));
as_hex!(Byte, |byte| hex::encode(&[byte.0]), |bytes| match bytes.as_slice() {
    [byte] => Some(Byte(*byte)),
    _ => None,
});
as_hex!(FileId, |id| hex::encode(&id.0.to_be_bytes()), |bytes| match bytes.as_slice() {
    [high, low] => Some(FileId(u16::from_be_bytes([*high, *low]))),
    _ => None,
});

fn write_secret<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(secret.expose()))
}

fn read_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(|text| Secret::new(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> CardParts {
        CardParts {
            format: FORMAT.to_owned(),
            protocol: Protocol::T1,
            pins: vec![Pin { reference: Byte(1), value: Secret::from("1234"), tries: 3, tries_left: 3 }],
            files: vec![CardFile {
                id: FileId(0x2FE2),
                name: "EF(ICCID)".to_owned(),
                about: String::new(),
                read: Access::Pin(Byte(1)),
                sfi: Some(2),
                record_length: None,
                content: Bytes(vec![0x98, 0x10]),
            }],
            applications: Vec::new(),
        }
    }

    #[test]
    fn an_image_is_read_as_written() {
        let image = CardImage::try_from(parts()).unwrap();
        let text = image.to_json();
        assert!(text.contains(r#""pin": "01""#) && text.contains(r#""content": "9810""#), "{text}");
        assert_eq!(CardImage::from_json(text.as_bytes()), Ok(image));
    }

    #[test]
    fn an_image_that_is_not_possible_is_refused_with_the_place() {
        let refused = |change: fn(&mut CardParts)| {
            let mut parts = parts();
            change(&mut parts);
            CardImage::try_from(parts).unwrap_err().to_string()
        };
        assert!(refused(|parts| parts.format = "omadm-card-9".into()).contains("omadm-card-9"));
        assert!(refused(|parts| parts.pins[0].value = Secret::from("12a4")).contains("PIN 01"));
        assert!(refused(|parts| parts.pins[0].tries_left = 4).contains("tries"));
        assert!(refused(|parts| parts.pins.clear()).contains("2FE2 is behind PIN 01"));
        assert!(refused(|parts| parts.files.push(parts.files[0].clone())).contains("2FE2"));
        assert!(refused(|parts| parts.files[0].content.0.resize(40_000, 0)).contains("40000 bytes"));
        assert!(refused(|parts| parts.files[0].record_length = Some(3)).contains("records of 3"));
        assert!(refused(|parts| parts.files[0].record_length = Some(0)).contains("records of 0"));
    }

    #[test]
    fn text_that_is_no_image_is_refused() {
        for text in ["", "{}", "[]", r#"{"format":"omadm-card-1","unknown":1}"#] {
            assert!(CardImage::from_json(text.as_bytes()).is_err(), "{text}");
        }
        let other = CardImage::from_json(br#"{"format":"omadm-card-2","new":1}"#);
        assert_eq!(other, Err(ImageError::Format("omadm-card-2".into())));
    }
}
