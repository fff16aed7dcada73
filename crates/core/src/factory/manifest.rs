//! The manifest of a factory run: JSON lines, one for each device whose bundle was made. It holds no secret, so it may
//! travel by any means to the server, which learns from it which device has which credential.

use serde::{Deserialize, Serialize};

use crate::ids::DevId;
use crate::json::{self, JsonError};
use crate::time::Timestamp;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 4096;

/// A device whose bundle was made. Members that are not known are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestLine {
    /// The device.
    pub dev_id: DevId,
    /// The bundle's file, relative to the manifest's folder.
    pub file: String,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub sha256: Digest,
    /// The profile that the message was made from.
    pub profile: String,
    /// The credential in the message that the server made for this device; absent where it made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialMark>,
    /// Whether the bundle holds what the device enrols by.
    #[serde(default)]
    pub enrolment: bool,
    /// When the server made the message.
    pub at: Timestamp,
}

/// Which credential is meant, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialMark {
    /// `basic`, `psk` or `x509`.
    pub scheme: String,
    /// The user of Basic, the identity of a pre-shared key, or SHA-256 of the certificate's public key.
    pub user: String,
    /// SHA-256 of the whole credential, by which the server tells that it is the very one.
    pub fingerprint: Digest,
}

/// SHA-256 in 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a line is none of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON.
    #[error("not readable: {0}")]
    Malformed(#[from] JsonError),
    /// A member is missing or wrong.
    #[error("not a line of a manifest: {0}")]
    Form(String),
}

impl Digest {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let good = text.len() == 64 && text.bytes().all(is_digit);
        if good { Ok(Self(text)) } else { Err("SHA-256 in 64 lower-case hexadecimal digits is expected") }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl ManifestLine {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(line: &[u8]) -> Result<Self, ManifestError> {
        let value = json::parse(line, MAX_LINE)?;
        serde_json::from_value(value).map_err(|error| ManifestError::Form(error.to_string()))
    }

    /// The line without its end.
    ///
    /// # Errors
    /// If it would be longer than [`MAX_LINE`].
    pub fn to_line(&self) -> Result<String, ManifestError> {
        let line = serde_json::to_string(self).map_err(|error| ManifestError::Form(error.to_string()))?;
        if line.len() > MAX_LINE {
            return Err(JsonError::TooLarge { size: line.len(), limit: MAX_LINE }.into());
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> ManifestLine {
        let digest = Digest::from([0xa7; 32]);
        ManifestLine {
            dev_id: "IMEI:1".parse().unwrap(),
            file: "IMEI%3A1.cms".to_owned(),
            sha256: digest.clone(),
            profile: "meters".to_owned(),
            credential: Some(CredentialMark { scheme: "basic".into(), user: "u".into(), fingerprint: digest }),
            enrolment: false,
            at: Timestamp(1_800_000_000),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for line in [line(), ManifestLine { credential: None, enrolment: true, ..line() }] {
            assert_eq!(ManifestLine::parse(line.to_line().unwrap().as_bytes()).unwrap(), line);
        }
        let text = line().to_line().unwrap();
        let newer = text.replacen('{', "{\"colour\":1,", 1);
        assert_eq!(ManifestLine::parse(newer.as_bytes()).unwrap(), line(), "a later version may say more");
    }

    #[test]
    fn a_line_that_is_cut_or_wrong_is_refused() {
        let text = line().to_line().unwrap();
        for cut in 0..text.len() {
            assert!(ManifestLine::parse(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for (old, new) in [("IMEI:1", "a b"), ("a7a7", "A7a7"), ("a7a7", "a7"), ("\"profile\"", "\"x\"")] {
            let error = ManifestLine::parse(text.replacen(old, new, 1).as_bytes()).unwrap_err();
            assert!(matches!(error, ManifestError::Form(_)), "{old}: {error}");
        }
        let long = ManifestLine { file: "x".repeat(MAX_LINE), ..line() };
        assert!(long.to_line().is_err());
    }
}
