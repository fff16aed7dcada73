//! Bytes in a card image: as hexadecimal text, long ones in lines, so that two images can be compared line by line.

use omadm_core::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

use crate::hex;

/// This many bytes stand in one line.
const LINE: usize = 32;

/// Bytes, written as hexadecimal text: one string, or a list of strings with 32 bytes each where there are more.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// One byte, written as two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Byte(pub u8);

/// A file identifier, written as four hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId(pub u16);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file may hold the message with its secrets.
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() <= LINE {
            return serializer.serialize_str(&hex::encode(&self.0));
        }
        serializer.collect_seq(self.0.chunks(LINE).map(hex::encode))
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "hexadecimal text or a list of such texts is expected")]
enum Written {
    Whole(String),
    Lines(Vec<String>),
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Written::deserialize(deserializer)? {
            Written::Whole(text) => text,
            Written::Lines(lines) => lines.join(" "),
        };
        hex::decode(&text).map(Self).map_err(serde::de::Error::custom)
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

as_hex!(Byte, |byte| hex::encode(&[byte.0]), |bytes| match bytes.as_slice() {
    [byte] => Some(Byte(*byte)),
    _ => None,
});
as_hex!(FileId, |id| hex::encode(&id.0.to_be_bytes()), |bytes| match bytes.as_slice() {
    [high, low] => Some(FileId(u16::from_be_bytes([*high, *low]))),
    _ => None,
});

/// Digits as they are.
pub(super) mod digits {
    use super::{Deserialize, Deserializer, Secret, Serializer};

    pub(in crate::image) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(secret.expose()))
    }

    pub(in crate::image) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(|text| Secret::new(text.into_bytes()))
    }
}

/// A key as hexadecimal text.
pub(super) mod key {
    use super::{Deserialize, Deserializer, Secret, Serializer, hex};

    pub(in crate::image) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(secret.expose()))
    }

    pub(in crate::image) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(&text).map(Secret::new).map_err(serde::de::Error::custom)
    }
}
