//! Who a client says it is: nobody, the holder of a certificate's key, or the holder of a pre-shared key.

use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::certificates;
use crate::error::ContextError;
use crate::key;
use crate::psk;

/// A chain holds at most so many certificates, and so many bytes of DER.
const CHAIN_CERTIFICATES: usize = 8;
const CHAIN_BYTES: usize = 64 * 1024;

/// What a client proves to servers. Cheap to clone; `Debug` shows no key; keys are wiped when dropped.
#[derive(Clone, Default)]
pub struct ClientIdentity(pub(crate) Kind);

#[derive(Clone, Default)]
pub(crate) enum Kind {
    #[default]
    Nobody,
    Certificate {
        /// Leaf first, at least one.
        chain: Vec<X509>,
        key: PKey<Private>,
    },
    Psk(PreShared),
}

/// An identity and its key, as the TLS handshake takes them.
#[derive(Clone)]
pub(crate) struct PreShared {
    pub(crate) identity: String,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl ClientIdentity {
    /// Proves nothing; the server may still ask for a password above TLS.
    pub fn nobody() -> Self {
        Self(Kind::Nobody)
    }

    /// A certificate in DER, followed by those of its issuers if the server may need them, and the PKCS#8 key in DER:
    /// the form of `Auth/Trsp` (Profile P-20).
    ///
    /// # Errors
    /// If one of them cannot be read, there are more than 8 certificates or 64 KiB, or the key is another's.
    pub fn x509(chain: &[u8], key: &[u8]) -> Result<Self, ContextError> {
        let key = PKey::private_key_from_pkcs8(key).map_err(|error| ContextError::Key(error.to_string()))?;
        Self::certificate(split(chain)?, key)
    }

    /// The same in PEM, for identities that stand in files.
    ///
    /// # Errors
    /// As for [`ClientIdentity::x509`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, ContextError> {
        let key = key::from_pem(key.as_bytes())?;
        Self::certificate(certificates::all(chain)?, key)
    }

    /// A pre-shared key of 16 to 256 bytes, and the name under which the server knows it: 1 to 128 bytes of text.
    ///
    /// # Errors
    /// If one of them has another size, or the name holds a control character.
    pub fn psk(identity: &str, key: &[u8]) -> Result<Self, ContextError> {
        psk::check(identity, key)?;
        Ok(Self(Kind::Psk(PreShared { identity: identity.to_owned(), key: Zeroizing::new(key.to_vec()) })))
    }

    fn certificate(chain: Vec<X509>, key: PKey<Private>) -> Result<Self, ContextError> {
        if chain.len() > CHAIN_CERTIFICATES {
            return Err(ContextError::Certificate(format!("more than {CHAIN_CERTIFICATES} certificates in a chain")));
        }
        let leaf = chain.first().ok_or(ContextError::NoCertificate)?;
        if !leaf.public_key()?.public_eq(&key) {
            return Err(ContextError::Mismatch);
        }
        Ok(Self(Kind::Certificate { chain, key }))
    }

    /// Adds everything that makes this identity another one.
    pub(crate) fn digest(&self, hash: &mut Sha256) -> Result<(), ContextError> {
        match &self.0 {
            Kind::Nobody => hash.update(b"nobody"),
            Kind::Certificate { chain, .. } => {
                hash.update(b"certificate");
                for certificate in chain {
                    hash.update(&certificate.to_der()?);
                }
            }
            Kind::Psk(shared) => {
                hash.update(b"psk");
                hash.update(&(shared.identity.len() as u64).to_be_bytes());
                hash.update(shared.identity.as_bytes());
                hash.update(&shared.key);
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Nobody => f.write_str("ClientIdentity(nobody)"),
            Kind::Certificate { .. } => f.write_str("ClientIdentity(x509)"),
            Kind::Psk(shared) => write!(f, "ClientIdentity(psk:{})", shared.identity),
        }
    }
}

/// The certificates of a row of DER values.
fn split(mut der: &[u8]) -> Result<Vec<X509>, ContextError> {
    let broken =
        |why: &str| ContextError::Certificate(format!("{why}; certificates in DER, one after the other, are expected"));
    if der.len() > CHAIN_BYTES {
        return Err(broken("the chain is longer than 64 KiB"));
    }
    let mut found = Vec::new();
    while !der.is_empty() {
        let length = sequence_length(der).ok_or_else(|| broken("a certificate is cut off"))?;
        let (first, rest) = der.split_at_checked(length).ok_or_else(|| broken("a certificate is cut off"))?;
        found.push(X509::from_der(first).map_err(|error| broken(&error.to_string()))?);
        if found.len() > CHAIN_CERTIFICATES {
            return Err(broken("more than 8 certificates in a chain"));
        }
        der = rest;
    }
    if found.is_empty() { Err(ContextError::NoCertificate) } else { Ok(found) }
}

/// The length of the DER SEQUENCE at the beginning, its head included.
fn sequence_length(der: &[u8]) -> Option<usize> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    if tag != 0x30 {
        return None;
    }
    match first {
        0..=0x7f => Some(2 + usize::from(first)),
        0x81 => Some(3 + usize::from(*rest.first()?)),
        0x82 => Some(4 + usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{self, Validity};

    #[test]
    fn a_chain_in_der_is_split_and_its_key_checked() {
        let ca = ca::make("Device CA", Validity::of_ca(1_800_000_000)).unwrap();
        let device = ca::issue_device(&ca, "IMEI:1", Validity::of_device(1_800_000_000)).unwrap();
        let (leaf, key) = device.to_der().unwrap();
        let (issuer, issuer_key) = ca.to_der().unwrap();
        let chain = [leaf.clone(), issuer].concat();
        assert!(
            matches!(ClientIdentity::x509(&chain, &key).unwrap().0, Kind::Certificate { chain, .. } if chain.len() == 2)
        );
        assert!(matches!(ClientIdentity::x509(&chain, &issuer_key), Err(ContextError::Mismatch)));
        assert!(matches!(ClientIdentity::x509(&[], &key), Err(ContextError::NoCertificate)));
        assert!(matches!(ClientIdentity::x509(&leaf, b"no key"), Err(ContextError::Key(_))));
        for cut in 1..leaf.len() {
            assert!(ClientIdentity::x509(&leaf[..cut], &key).is_err(), "cut at {cut}");
        }
        assert!(ClientIdentity::x509(&leaf.repeat(9), &key).is_err());
        assert!(ClientIdentity::x509(&vec![0x30; CHAIN_BYTES + 1], &key).is_err());
    }

    #[test]
    fn a_pre_shared_key_has_a_name_and_enough_bytes() {
        assert!(ClientIdentity::psk("IMEI%3A1", &[7; 16]).is_ok());
        assert!(ClientIdentity::psk("IMEI%3A1", &[7; 15]).is_err());
        assert!(ClientIdentity::psk("IMEI%3A1", &[7; 257]).is_err());
        for identity in ["", "a\0b", "a\nb", &"x".repeat(129)] {
            assert!(ClientIdentity::psk(identity, &[7; 16]).is_err(), "{identity:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let identity = ClientIdentity::psk("me", b"0123456789abcdef").unwrap();
        assert_eq!(format!("{identity:?}"), "ClientIdentity(psk:me)");
    }
}
