//! EF(DODF): data objects, of which one may be the OMA DM bootstrap object.

use crate::file::tlv::{Objects, Tlv, find, object};
use crate::pkcs15::oid::ObjectId;
use crate::pkcs15::path::Path;
use crate::pkcs15::{DM_BOOTSTRAP_OID, StructureError, text};

/// How a data object says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// opaqueDO: the object identifier is that of the application.
    Opaque,
    /// oidDO: the object identifier is that of the object. OpenSC reads a directory up to the first of these.
    Oid,
}

/// A data object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataObject {
    /// Its name for people.
    pub label: Option<String>,
    /// Whether it can be read only after a PIN.
    pub private: bool,
    /// The PIN object that protects it.
    pub auth_id: Option<Vec<u8>>,
    /// The name of the application that it belongs to.
    pub application: Option<String>,
    /// The contents of its object identifiers, application first.
    pub oids: Vec<Vec<u8>>,
    /// Where it lies.
    pub path: Path,
    /// In which form it was written.
    pub form: Form,
}

impl DataObject {
    /// The objects of the file in order. Entries that are no data objects of a known form are passed over.
    pub fn parse_all(bytes: &[u8]) -> impl Iterator<Item = Result<Self, StructureError>> {
        Objects::new(bytes).filter_map(|entry| match entry {
            Ok(Tlv { tag: 0x30, value }) => Some(Self::parse(value, Form::Opaque)),
            Ok(Tlv { tag: 0xA1, value }) => Some(Self::parse(value, Form::Oid)),
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Reads one entry of a form that is known.
    pub(crate) fn parse(entry: &[u8], form: Form) -> Result<Self, StructureError> {
        let mut sequences = Vec::new();
        let mut kind = None;
        for part in Objects::new(entry) {
            let part = part?;
            match part.tag {
                0x30 if sequences.len() < 2 => sequences.push(part.value),
                0xA1 => kind = kind.or(Some(part.value)),
                _ => {}
            }
        }
        let mut attributes = sequences.into_iter();
        let common = attributes.next().ok_or(StructureError::Missing("the first sequence of a data object"))?;
        let class = attributes.next().unwrap_or_default();
        let kind = find(kind.ok_or(StructureError::Missing("the place of a data object"))?, 0x30)?
            .ok_or(StructureError::Missing("the place of a data object"))?;

        let flags = find(common, 0x03)?.unwrap_or_default();
        let mut oids: Vec<Vec<u8>> = find(class, 0x06)?.into_iter().map(identifier).collect();
        let path = match form {
            Form::Opaque => Path::parse(kind)?,
            Form::Oid => {
                oids.extend(find(kind, 0x06)?.map(identifier));
                Path::parse(find(kind, 0x30)?.ok_or(StructureError::Missing("the path of a data object"))?)?
            }
        };
        Ok(Self {
            label: find(common, 0x0C)?.map(text),
            private: flags.get(1).is_some_and(|bits| bits & 0x80 != 0),
            auth_id: find(common, 0x04)?.map(<[u8]>::to_vec),
            application: find(class, 0x0C)?.map(text),
            oids,
            path,
            form,
        })
    }

    /// The entry as we write it.
    pub fn encode(&self) -> Vec<u8> {
        let mut common = self.label.iter().flat_map(|label| object(0x0C, label.as_bytes())).collect::<Vec<_>>();
        if self.private {
            common.extend([0x03, 0x02, 0x07, 0x80]);
        }
        common.extend(self.auth_id.iter().flat_map(|id| object(0x04, id)));
        let oid = object(0x06, self.oids.first().map_or(&[], Vec::as_slice));
        let application = self.application.iter().flat_map(|name| object(0x0C, name.as_bytes())).collect::<Vec<_>>();
        let (tag, class, place) = match self.form {
            Form::Opaque => (0x30, [application, oid].concat(), self.path.encode()),
            Form::Oid => (0xA1, application, object(0x30, &[oid, self.path.encode()].concat())),
        };
        object(tag, &[object(0x30, &common), object(0x30, &class), object(0xA1, &place)].concat())
    }

    /// Whether it is the OMA DM bootstrap object.
    pub fn is_dm_bootstrap(&self) -> bool {
        self.oids.iter().any(|oid| *oid == DM_BOOTSTRAP_OID)
    }

    /// Whether it has this object identifier.
    pub fn is(&self, id: &ObjectId) -> bool {
        self.oids.iter().any(|oid| oid == id.content())
    }

    /// The identifier that says what it is: its own, else that of its application.
    pub fn id(&self) -> Option<ObjectId> {
        self.oids.iter().rev().find_map(|oid| ObjectId::from_content(oid))
    }
}

/// Content of an object identifier. Some cards write its header twice.
fn identifier(value: &[u8]) -> Vec<u8> {
    match value {
        [0x06, length, rest @ ..] if usize::from(*length) == rest.len() => rest.to_vec(),
        _ => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    const OPEN: &str = "3028300E0C0C444D20426F6F747374726170300E0C064F4D4120444D0604672B0701A106300404026434";
    const PRIVATE: &str =
        "302F30150C0C444D20426F6F74737472617003020780040101300E0C064F4D4120444D0604672B0701A106300404026434";

    fn only(bytes: &str) -> DataObject {
        let bytes = decode(bytes).unwrap();
        let mut objects = DataObject::parse_all(&bytes);
        let object = objects.next().unwrap().unwrap();
        assert!(objects.next().is_none());
        object
    }

    #[test]
    fn the_open_and_the_private_object_of_the_examples() {
        let object = only(OPEN);
        assert!(object.is_dm_bootstrap() && !object.private);
        assert_eq!((object.label.as_deref(), object.application.as_deref()), (Some("DM Bootstrap"), Some("OMA DM")));
        assert_eq!(object.encode(), decode(OPEN).unwrap());
        let object = only(PRIVATE);
        assert!(object.is_dm_bootstrap() && object.private);
        assert_eq!(object.auth_id, Some(vec![1]));
        assert_eq!(object.encode(), decode(PRIVATE).unwrap());
    }

    #[test]
    fn the_oid_form_is_read_as_written() {
        let written = DataObject { form: Form::Oid, ..only(OPEN) };
        let bytes = written.encode();
        assert_eq!(bytes.first(), Some(&0xA1));
        assert_eq!(DataObject::parse_all(&bytes).next(), Some(Ok(written)));
    }

    #[test]
    fn an_identifier_with_its_header_twice_is_accepted() {
        let object =
            only("302A 300E0C0C444D20426F6F747374726170 3010 0C064F4D4120444D 0606 0604672B0701 A106300404026434");
        assert!(object.is_dm_bootstrap());
    }

    #[test]
    fn lengths_in_ber_are_accepted() {
        let object =
            only("308129 300E0C0C444D20426F6F747374726170 300E0C064F4D4120444D0604672B0701 A1810630040402 6434");
        assert!(object.is_dm_bootstrap());
    }

    #[test]
    fn every_truncation_is_an_error_or_nothing() {
        let whole = decode(PRIVATE).unwrap();
        for cut in 1..whole.len() {
            assert!(matches!(DataObject::parse_all(&whole[..cut]).next(), Some(Err(_))), "{cut}");
        }
    }
}
