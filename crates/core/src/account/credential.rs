//! What the client authenticates with: Auth/Trsp (Profile P-20).

use serde::{Deserialize, Serialize};

use crate::secret::{Secret, at_rest};

/// The least and the greatest length of a pre-shared key, in bytes (Profile P-20): TLS takes no longer one.
const PSK: std::ops::RangeInclusive<usize> = 16..=256;

/// The longest identity of a pre-shared key that TLS takes, in bytes.
const MAX_PSK_IDENTITY: usize = 128;

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
    /// A key that is too short, or longer than TLS takes.
    #[error("the pre-shared key must have {} to {} bytes", PSK.start(), PSK.end())]
    KeyLength,
    /// An identity that is longer than TLS takes.
    #[error("the identity of a pre-shared key has at most {MAX_PSK_IDENTITY} bytes")]
    LongIdentity,
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
                let (identity, key) = (user()?, secret?);
                if !PSK.contains(&key.expose().len()) {
                    return Err(CredentialError::KeyLength);
                }
                if identity.len() > MAX_PSK_IDENTITY {
                    return Err(CredentialError::LongIdentity);
                }
                Ok(Self::Psk { identity, key })
            }
            b"x509" if rest.first() != Some(&0x30) => Err(CredentialError::NoCertificate),
            b"x509" => Ok(Self::X509 { chain: Secret::new(rest.to_vec()), key: secret? }),
            b"aka" => Ok(Self::Aka { user: user()? }),
            _ => Err(CredentialError::UnknownScheme),
        }
    }

    /// Whether a client of this release can prove itself by it: Digest and AKA are read and kept, and follow later.
    pub fn is_supported(&self) -> bool {
        match self {
            Self::Basic { .. } | Self::Psk { .. } | Self::X509 { .. } => true,
            Self::Digest { .. } | Self::Aka { .. } => false,
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

    fn long_name_of(length: usize) -> Vec<u8> {
        [b"psk:".to_vec(), vec![b'x'; length]].concat()
    }

    #[test]
    fn every_scheme_is_read_and_written() {
        let long = || Some(Secret::new(vec![7; 16]));
        assert!(Credential::parse(&long_name_of(MAX_PSK_IDENTITY), Some(Secret::new(vec![7; 256]))).is_ok());
        for data in [&b"basic:acme-0001"[..], b"digest:a:b", b"psk:me", b"x509:\x30\x01\x00", b"aka:u"] {
            assert_eq!(Credential::parse(data, long()).unwrap().data(), data);
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        use CredentialError as E;
        let short = || Some(Secret::from("x"));
        let long_name = long_name_of(MAX_PSK_IDENTITY + 1);
        let key = |length| Some(Secret::new(vec![7; length]));
        let cases: [(&[u8], Option<Secret>, E); 12] = [
            (b"basic", short(), E::NoScheme),
            (b"bearer:x", short(), E::UnknownScheme),
            (b"basic:", short(), E::User),
            (b"basic:\xff", short(), E::User),
            (b"basic:IMEI:1", short(), E::Colon),
            (b"basic:u", None, E::NoSecret),
            (b"basic:u", Some(Secret::from("")), E::NoSecret),
            (b"psk:u", short(), E::KeyLength),
            (b"psk:u", key(257), E::KeyLength),
            (&long_name, key(16), E::LongIdentity),
            (b"psk:", key(16), E::User),
            (b"x509:zz", short(), E::NoCertificate),
        ];
        for (data, secret, error) in cases {
            assert_eq!(Credential::parse(data, secret), Err(error));
        }
    }
}
