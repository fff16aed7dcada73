//! What the client authenticates with: Auth/Trsp (Profile P-20).

use serde::{Deserialize, Serialize};

use crate::secret::{Secret, at_rest};

/// The least length of a pre-shared key, in bytes (Profile P-20).
const MIN_PSK: usize = 16;

/// Credentials of a session, as Auth/Trsp/Data names them: ASCII scheme, colon, raw bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the fields are those of the schemes")]
pub enum Credential {
    /// HTTP Basic.
    Basic {
        user: String,
        #[serde(with = "at_rest")]
        password: Secret,
    },
    /// HTTP Digest.
    Digest {
        user: String,
        #[serde(with = "at_rest")]
        password: Secret,
    },
    /// A pre-shared key of TLS.
    Psk {
        identity: String,
        #[serde(with = "at_rest")]
        key: Secret,
    },
    /// A certificate of TLS: DER of the leaf and its issuers, and the PKCS#8 key.
    X509 {
        #[serde(with = "at_rest")]
        chain: Secret,
        #[serde(with = "at_rest")]
        key: Secret,
    },
    /// HTTP Digest AKA with the USIM.
    Aka { user: String },
}

/// Why Auth/Trsp cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No colon behind the scheme.
    #[error("Data must be a scheme, a colon and what belongs to it")]
    NoScheme,
    /// A scheme that this profile does not know.
    #[error("the scheme is none of basic, digest, psk, x509, aka")]
    UnknownScheme,
    /// The user or identity is not UTF-8, empty or too long.
    #[error("the user or identity must be 1 to 255 bytes of UTF-8 without control characters")]
    User,
    /// A user of Basic with a colon.
    #[error("a user of basic holds no colon (RFC 7617)")]
    Colon,
    /// No Secret where the scheme needs one.
    #[error("this scheme needs a Secret")]
    NoSecret,
    /// A key that is too short.
    #[error("the key must have at least {MIN_PSK} bytes")]
    ShortKey,
    /// No certificate.
    #[error("x509 needs a certificate in DER")]
    NoCertificate,
}

impl Credential {
    /// Reads Auth/Trsp/Data and Auth/Trsp/Secret.
    pub fn parse(data: &[u8], secret: Option<Secret>) -> Result<Self, CredentialError> {
        let colon = data.iter().position(|byte| *byte == b':').ok_or(CredentialError::NoScheme)?;
        let (scheme, rest) = (&data[..colon], &data[colon + 1..]);
        let user = || {
            std::str::from_utf8(rest)
                .ok()
                .filter(|text| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control))
                .map(str::to_owned)
                .ok_or(CredentialError::User)
        };
        let secret = secret.filter(|secret| !secret.expose().is_empty()).ok_or(CredentialError::NoSecret);
        match scheme {
            b"basic" => {
                let user = user()?;
                if user.contains(':') {
                    return Err(CredentialError::Colon);
                }
                Ok(Self::Basic { user, password: secret? })
            }
            b"digest" => Ok(Self::Digest { user: user()?, password: secret? }),
            b"psk" => {
                let key = secret?;
                if key.expose().len() < MIN_PSK {
                    return Err(CredentialError::ShortKey);
                }
                Ok(Self::Psk { identity: user()?, key })
            }
            b"x509" if rest.first() != Some(&0x30) => Err(CredentialError::NoCertificate),
            b"x509" => Ok(Self::X509 { chain: Secret::new(rest.to_vec()), key: secret? }),
            b"aka" => Ok(Self::Aka { user: user()? }),
            _ => Err(CredentialError::UnknownScheme),
        }
    }

    /// Auth/Trsp/Data: the scheme and who the client is, without the secret.
    pub fn data(&self) -> Vec<u8> {
        let (scheme, rest): (&str, &[u8]) = match self {
            Self::Basic { user, .. } => ("basic", user.as_bytes()),
            Self::Digest { user, .. } => ("digest", user.as_bytes()),
            Self::Psk { identity, .. } => ("psk", identity.as_bytes()),
            Self::X509 { chain, .. } => ("x509", chain.expose()),
            Self::Aka { user } => ("aka", user.as_bytes()),
        };
        [scheme.as_bytes(), b":", rest].concat()
    }

    /// Auth/Trsp/Secret.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Basic { password, .. } | Self::Digest { password, .. } => Some(password),
            Self::Psk { key, .. } | Self::X509 { key, .. } => Some(key),
            Self::Aka { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_read_and_written() {
        let long = || Some(Secret::new(vec![7; 16]));
        for data in [&b"basic:acme-0001"[..], b"digest:a:b", b"psk:me", b"x509:\x30\x01\x00", b"aka:u"] {
            assert_eq!(Credential::parse(data, long()).unwrap().data(), data);
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        use CredentialError as E;
        let short = || Some(Secret::from("x"));
        let cases: [(&[u8], Option<Secret>, E); 9] = [
            (b"basic", short(), E::NoScheme),
            (b"bearer:x", short(), E::UnknownScheme),
            (b"basic:", short(), E::User),
            (b"basic:\xff", short(), E::User),
            (b"basic:IMEI:1", short(), E::Colon),
            (b"basic:u", None, E::NoSecret),
            (b"basic:u", Some(Secret::from("")), E::NoSecret),
            (b"psk:u", short(), E::ShortKey),
            (b"x509:zz", short(), E::NoCertificate),
        ];
        for (data, secret, error) in cases {
            assert_eq!(Credential::parse(data, secret), Err(error));
        }
    }
}
