//! A card as a value and as a JSON file: what `omadm card create` writes and the virtual UICC loads.

mod bytes;
mod check;
mod layout;

use omadm_core::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::apdu::Protocol;
use crate::virtual_uicc::{Channels, Quirks};

pub use bytes::{Byte, Bytes, FileId};
pub use layout::Layout;

/// The version of the format that is written.
pub const FORMAT: &str = "omadm-card-2";
/// The versions that are read; the later ones add members and nothing else.
pub const FORMATS: [&str; 2] = ["omadm-card-1", FORMAT];
/// The most bytes of an image as JSON.
pub const MAX_JSON: usize = 1024 * 1024;
/// The most bytes of one file: what READ BINARY reaches.
pub const MAX_FILE: usize = 32_767;
/// The most files in one place.
pub(crate) const MAX_FILES: usize = 64;
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
    /// One of [`FORMATS`]; in a [`CardImage`] always [`FORMAT`].
    pub format: String,
    /// How it talks.
    pub protocol: Protocol,
    /// Its logical channels.
    #[serde(default, skip_serializing_if = "has_all_channels")]
    pub channels: Channels,
    /// What it does otherwise than the standards say.
    #[serde(default, skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
    /// Its PINs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<Pin>,
    /// The key of its administrator; without one nobody can prove to be that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adm: Option<AdmKey>,
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
    #[serde(with = "bytes::digits")]
    pub value: Secret,
    /// How often it may be wrong, 1 to 15.
    pub tries: u8,
    /// How often it may still be wrong.
    pub tries_left: u8,
    /// What unblocks it; without one a blocked PIN stays blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub puk: Option<Puk>,
}

/// What unblocks a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Puk {
    /// 8 digits.
    #[serde(with = "bytes::digits")]
    pub value: Secret,
    /// How often it may be wrong, 1 to 15.
    #[serde(default = "ten")]
    pub tries: u8,
    /// How often it may still be wrong.
    #[serde(default = "ten")]
    pub tries_left: u8,
}

/// The key of the card's administrator, who may create and write files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmKey {
    /// P2 of VERIFY: 0A to 0E or 8A to 8E, usually 0A.
    #[serde(default = "adm1")]
    pub reference: Byte,
    /// 8 bytes.
    #[serde(with = "bytes::key")]
    pub key: Secret,
    /// How often it may be wrong, 1 to 15.
    #[serde(default = "ten")]
    pub tries: u8,
    /// How often it may still be wrong.
    #[serde(default = "ten")]
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
    /// Who may write it.
    #[serde(default = "by_adm", skip_serializing_if = "is_by_adm")]
    pub update: Access,
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

/// Who may read or write a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everybody.
    #[default]
    Always,
    /// Who verified the PIN with this reference.
    Pin(Byte),
    /// Who verified the key of the administrator.
    Adm,
    /// Nobody.
    Never,
}

/// Why something is no card image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not JSON of the right shape.
    #[error("the card image cannot be read: {0}; make one with `omadm card create`")]
    Json(String),
    /// Another format or version.
    #[error("the card image has the format {0:?}; this version reads {formats}", formats = FORMATS.join(" and "))]
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
            Some(serde_json::Value::String(format)) if !FORMATS.contains(&format.as_str()) => {
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

impl CardParts {
    /// A card with nothing on it.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            format: FORMAT.to_owned(),
            protocol,
            channels: Channels::default(),
            quirks: Quirks::default(),
            pins: Vec::new(),
            adm: None,
            files: Vec::new(),
            applications: Vec::new(),
        }
    }
}

impl Pin {
    /// A PIN that may be wrong so often, with all tries left and no PUK.
    pub fn new(reference: u8, value: Secret, tries: u8) -> Self {
        Self { reference: Byte(reference), value, tries, tries_left: tries, puk: None }
    }
}

impl Puk {
    /// A PUK with 10 tries.
    pub fn new(value: Secret) -> Self {
        Self { value, tries: ten(), tries_left: ten() }
    }
}

impl AdmKey {
    /// The key with the reference 0A and 10 tries.
    pub fn new(key: Secret) -> Self {
        Self { reference: adm1(), key, tries: ten(), tries_left: ten() }
    }
}

impl CardFile {
    /// A transparent file that everybody may read and the administrator may write.
    pub fn new(id: u16, name: &str, content: Vec<u8>) -> Self {
        Self {
            id: FileId(id),
            name: name.to_owned(),
            about: String::new(),
            read: Access::Always,
            update: Access::Adm,
            sfi: None,
            record_length: None,
            content: Bytes(content),
        }
    }
}

fn ten() -> u8 {
    10
}

fn adm1() -> Byte {
    Byte(0x0A)
}

fn by_adm() -> Access {
    Access::Adm
}

fn has_all_channels(channels: &Channels) -> bool {
    *channels == Channels::default()
}

fn is_by_adm(access: &Access) -> bool {
    *access == Access::Adm
}

impl From<CardImage> for CardParts {
    fn from(image: CardImage) -> Self {
        image.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_uicc::{ChannelRefusal, Quirk};

    fn parts() -> CardParts {
        CardParts {
            pins: vec![Pin::new(1, Secret::from("1234"), 3)],
            files: vec![CardFile {
                read: Access::Pin(Byte(1)),
                sfi: Some(2),
                ..CardFile::new(0x2FE2, "EF(ICCID)", vec![0x98, 0x10])
            }],
            ..CardParts::new(Protocol::T1)
        }
    }

    /// Everything that may stand in an image.
    fn full() -> CardParts {
        let mut parts = parts();
        parts.pins[0].puk = Some(Puk::new(Secret::from("12345678")));
        parts.adm = Some(AdmKey::new(Secret::new(vec![0xA5; 8])));
        parts.channels = Channels { count: 3, refusal: ChannelRefusal::NoChannel };
        parts.quirks = [Quirk::NoSize, Quirk::WrongLeOnT1].into_iter().collect();
        parts.files[0].update = Access::Never;
        parts.files.push(CardFile { update: Access::Always, ..CardFile::new(0x2F10, "", (0..=255).collect()) });
        parts
    }

    #[test]
    fn an_image_is_read_as_written() {
        for parts in [parts(), full()] {
            let image = CardImage::try_from(parts).unwrap();
            let text = image.to_json();
            assert!(text.contains(r#""pin": "01""#) && text.contains(r#""content": "9810""#), "{text}");
            assert_eq!(CardImage::from_json(text.as_bytes()), Ok(image));
        }
    }

    #[test]
    fn a_long_content_stands_in_lines() {
        let text = CardImage::try_from(full()).unwrap().to_json();
        let lines = text.lines().map(|line| line.trim().trim_matches(['"', ','])).filter(|line| line.len() == 64);
        assert_eq!(lines.map(|line| line[..2].to_owned()).collect::<Vec<_>>().join(" "), "00 20 40 60 80 A0 C0 E0");
    }

    #[test]
    fn members_that_are_left_out_have_their_defaults() {
        let image = br#"{"format":"omadm-card-1","protocol":"T=1","files":[{"id":"2F00","content":"61"}],
            "pins":[{"reference":"01","value":"1234","tries":3,"tries_left":2}],"applications":[]}"#;
        let parts = CardImage::from_json(image).unwrap().into_parts();
        assert_eq!(parts.format, FORMAT);
        assert_eq!((parts.files[0].read, parts.files[0].update), (Access::Always, Access::Adm));
        assert!(parts.channels.count == 19 && parts.quirks.is_empty());
        assert!(parts.adm.is_none() && parts.pins[0].puk.is_none());
        let image = br#"{"format":"omadm-card-2","protocol":"T=0","files":[],"adm":{"key":"3132333435363738"}}"#;
        let adm = CardImage::from_json(image).unwrap().into_parts().adm.unwrap();
        assert_eq!((adm.reference, adm.tries, adm.tries_left), (Byte(0x0A), 10, 10));
        assert!(!format!("{adm:?}").contains("31"));
    }

    #[test]
    fn an_image_that_is_not_possible_is_refused_with_the_place() {
        let refused = |change: &dyn Fn(&mut CardParts)| {
            let mut parts = parts();
            change(&mut parts);
            CardImage::try_from(parts).unwrap_err().to_string()
        };
        assert!(refused(&|parts| parts.format = "omadm-card-9".into()).contains("omadm-card-9"));
        assert!(refused(&|parts| parts.pins[0].value = Secret::from("12a4")).contains("PIN 01"));
        assert!(refused(&|parts| parts.pins[0].tries_left = 4).contains("tries"));
        assert!(refused(&|parts| parts.pins.clear()).contains("2FE2 is behind PIN 01"));
        assert!(refused(&|parts| parts.files.push(parts.files[0].clone())).contains("2FE2"));
        assert!(refused(&|parts| parts.files[0].content.0.resize(40_000, 0)).contains("40000 bytes"));
        assert!(refused(&|parts| parts.files[0].record_length = Some(3)).contains("records of 3"));
        assert!(refused(&|parts| parts.files[0].record_length = Some(0)).contains("records of 0"));
        assert!(refused(&|parts| parts.files[0].update = Access::Pin(Byte(2))).contains("behind PIN 02"));
        let channels = |count, refusal| Channels { count, refusal };
        assert!(refused(&|parts| parts.channels = channels(20, ChannelRefusal::NoChannel)).contains("20 logical"));
        assert!(refused(&|parts| parts.channels = channels(2, ChannelRefusal::NoClass)).contains("refuses"));
        let puk = |digits| Some(Puk::new(Secret::from(digits)));
        assert!(refused(&|parts| parts.pins[0].puk = puk("1234")).contains("PUK of PIN 01 has not 8 digits"));
        let adm = |reference, length: usize| {
            Some(AdmKey { reference: Byte(reference), ..AdmKey::new(Secret::new(vec![1; length])) })
        };
        assert!(refused(&|parts| parts.adm = adm(0x0A, 7)).contains("0A has not 8 bytes"));
        assert!(refused(&|parts| parts.adm = adm(0x01, 8)).contains("ADM reference 01"));
        let spent = |tries_left| AdmKey { tries_left, ..AdmKey::new(Secret::new(vec![1; 8])) };
        assert!(refused(&|parts| parts.adm = Some(spent(11))).contains("tries"));
    }

    #[test]
    fn an_image_that_could_not_be_read_back_is_refused() {
        let with = |count: u16, name: &str| {
            let mut parts = parts();
            let files = (0..count).map(|id| CardFile::new(id, name, vec![0xFF; MAX_FILE]));
            parts.files.extend(files);
            CardImage::try_from(parts)
        };
        let image = with(12, "\u{1}").unwrap();
        assert_eq!(CardImage::from_json(image.to_json().as_bytes()), Ok(image));
        for refused in [with(14, ""), with(13, &"\u{1}".repeat(2_000))] {
            assert!(refused.unwrap_err().to_string().contains("more than 1048576 bytes"));
        }
    }

    #[test]
    fn text_that_is_no_image_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"format":"omadm-card-1","unknown":1}"#,
            r#"{"format":"omadm-card-2","protocol":"T=1","files":[],"quirks":["unheard-of"]}"#,
        ] {
            assert!(CardImage::from_json(text.as_bytes()).is_err(), "{text}");
        }
        let other = CardImage::from_json(br#"{"format":"omadm-card-9","new":1}"#);
        assert_eq!(other, Err(ImageError::Format("omadm-card-9".into())));
    }
}
