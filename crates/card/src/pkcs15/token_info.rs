//! EF(TokenInfo): what card it is. OpenSC insists on it, our reader does not need it.

use crate::file::tlv::{find, object};
use crate::pkcs15::{StructureError, text};

/// Content of EF(TokenInfo).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The card's serial number; we write EF(ICCID).
    pub serial: Vec<u8>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// Its name for people.
    pub label: Option<String>,
}

impl TokenInfo {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, StructureError> {
        let info = find(bytes, 0x30)?.ok_or(StructureError::Missing("the sequence of token information"))?;
        Ok(Self {
            serial: find(info, 0x04)?.unwrap_or_default().to_vec(),
            manufacturer: find(info, 0x0C)?.map(text),
            label: find(info, 0x80)?.map(text),
        })
    }

    /// The file as we write it: version 1, flag eidCompliant.
    pub fn encode(&self) -> Vec<u8> {
        let mut content = vec![0x02, 0x01, 0x00];
        content.extend(object(0x04, &self.serial));
        content.extend(self.manufacturer.iter().flat_map(|name| object(0x0C, name.as_bytes())));
        content.extend(self.label.iter().flat_map(|name| object(0x80, name.as_bytes())));
        content.extend([0x03, 0x02, 0x04, 0x10]);
        object(0x30, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::decode;

    #[test]
    fn the_file_of_the_examples() {
        let bytes = decode(
            "3026020100040A98101032547698 1032F40C084F4D4120746573748007444D205549434303020410"
                .replace(' ', "")
                .as_str(),
        )
        .unwrap();
        let info = TokenInfo::parse(&bytes).unwrap();
        assert_eq!(info.manufacturer.as_deref(), Some("OMA test"));
        assert_eq!(info.label.as_deref(), Some("DM UICC"));
        assert_eq!(info.encode(), bytes);
    }
}
