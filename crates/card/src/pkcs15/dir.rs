//! EF(DIR): the applications of a card.

use crate::file::tlv::{Objects, object};
use crate::hex;
use crate::pkcs15::{AID, StructureError, text};

/// First bytes of the AID of a USIM.
pub const USIM: [u8; 7] = [0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02];

/// An application template, `61{4F AID, 50 label, 51 path}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The full AID, 1 to 16 bytes.
    pub aid: Vec<u8>,
    /// Its name for people.
    pub label: Option<String>,
    /// Path of its DF, without the MF; empty if not said.
    pub df: Vec<u8>,
}

impl Application {
    /// Reads the template at the start of a record, or of what is left of a transparent file; none where there is
    /// only padding.
    pub fn parse(record: &[u8]) -> Result<Option<Self>, StructureError> {
        Self::parse_all(record).next().transpose()
    }

    /// The templates in a transparent file.
    pub fn parse_all(bytes: &[u8]) -> impl Iterator<Item = Result<Self, StructureError>> {
        Objects::new(bytes).map(|template| {
            let template = template?;
            if template.tag != 0x61 {
                return Err(StructureError::Missing("the application template 61"));
            }
            let (mut aid, mut label, mut df) = (None, None, Vec::new());
            for object in Objects::new(template.value) {
                let object = object?;
                match object.tag {
                    0x4F => aid = Some(object.value.to_vec()),
                    0x50 => label = Some(text(object.value)),
                    0x51 => df = object.value.strip_prefix(&[0x3F, 0x00]).unwrap_or(object.value).to_vec(),
                    _ => {}
                }
            }
            let aid = aid.filter(|aid| (1..=16).contains(&aid.len())).ok_or(StructureError::Missing("the AID"))?;
            df.truncate(16);
            Ok(Self { aid, label, df })
        })
    }

    /// The template as we write it.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = object(0x4F, &self.aid);
        if let Some(label) = &self.label {
            content.extend(object(0x50, label.as_bytes()));
        }
        if !self.df.is_empty() {
            content.extend(object(0x51, &[&[0x3F, 0x00], self.df.as_slice()].concat()));
        }
        object(0x61, &content)
    }

    /// Whether it is the PKCS#15 application.
    pub fn is_pkcs15(&self) -> bool {
        self.aid.starts_with(&AID)
    }

    /// Whether it is a USIM.
    pub fn is_usim(&self) -> bool {
        self.aid.starts_with(&USIM)
    }
}

impl std::fmt::Display for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "application {}", hex::encode(&self.aid))?;
        if let Some(label) = &self.label {
            write!(f, " \"{label}\"")?;
        }
        if !self.df.is_empty() {
            write!(f, " in DF {}", hex::encode(&self.df))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_the_examples() {
        let record = "611C4F0CA000000063504B43532D31355006504B435331355104 3F007F50";
        let record = hex::decode(record).unwrap();
        let application = Application::parse(&record).unwrap().unwrap();
        assert!(application.is_pkcs15() && !application.is_usim());
        assert_eq!((application.label.as_deref(), application.df.as_slice()), (Some("PKCS15"), &[0x7F, 0x50][..]));
        assert_eq!(application.encode(), record);
        assert_eq!(Application::parse(&[0xFF; 38]), Ok(None));
    }
}
