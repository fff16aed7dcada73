//! Files that are signed and, if asked, encrypted: CMS in DER (RFC 5652, RFC 5083), as `openssl cms` reads and writes it.
//!
//! The signature is outside and covers what is encrypted. So whoever has the signer's certificate can check a file
//! without being able to read it, and nothing is decrypted that somebody else made.

use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use std::fmt;
use zeroize::Zeroizing;

use crate::ca::Identity;
use crate::certificates;
use crate::error::ContextError;
use crate::key;

/// The tag of an ASN.1 SEQUENCE, with which a CMS file begins.
const SEQUENCE: u8 = 0x30;
/// A length of one byte stands below this: too few bytes for any CMS file.
const LONG_FORM: u8 = 0x80;

/// Failed to open a file. The file is refused whole.
#[derive(Debug, thiserror::Error)]
pub enum CmsError {
    /// Not CMS, or cut off.
    #[error("it is not a readable CMS file: {0}")]
    Malformed(String),
    /// Signed by somebody else, not at all, or changed since.
    #[error("its signature is not good: {0}")]
    Signature(String),
    /// Encrypted, and there is no key for it.
    #[error("it is encrypted, and no key is given for it")]
    NoKey,
    /// Encrypted to another key, or damaged before it was signed.
    #[error("the key does not decrypt it")]
    OtherKey,
    /// The signer's certificate or the key cannot be used.
    #[error(transparent)]
    Material(#[from] ContextError),
}

/// Signs files, and encrypts them if there is somebody to encrypt them to.
pub struct Sealer {
    certificate: X509,
    key: PKey<Private>,
    readers: Option<Stack<X509>>,
}

impl Sealer {
    /// `signer` signs; each certificate of the PEM text `readers` can open what is made.
    ///
    /// # Errors
    /// If a certificate or key cannot be read, or the key is another's.
    pub fn new(signer: &Identity, readers: Option<&str>) -> Result<Self, ContextError> {
        let certificate = certificates::first(&signer.certificate)?;
        let key = key::from_pem(signer.key.as_bytes())?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(ContextError::Mismatch);
        }
        let readers = match readers {
            None => None,
            Some(pem) => {
                let mut stack = Stack::new()?;
                for reader in certificates::all(pem)? {
                    stack.push(reader)?;
                }
                Some(stack)
            }
        };
        Ok(Self { certificate, key, readers })
    }

    /// The file for this content.
    ///
    /// # Errors
    /// If OpenSSL fails, as it does for a reader's key that cannot be encrypted to.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, ContextError> {
        let encrypted = match &self.readers {
            None => None,
            Some(readers) => {
                let cipher = Cipher::aes_256_gcm();
                Some(CmsContentInfo::encrypt(readers, content, cipher, CMSOptions::BINARY)?.to_der()?)
            }
        };
        let content = encrypted.as_deref().unwrap_or(content);
        let flags = CMSOptions::BINARY | CMSOptions::NOSMIMECAP;
        let signed = CmsContentInfo::sign(Some(&self.certificate), Some(&self.key), None, Some(content), flags)?;
        Ok(signed.to_der()?)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("encrypts", &self.readers.is_some()).finish_non_exhaustive()
    }
}

/// Whether these bytes have the form of a CMS file, and so are neither JSON nor other text.
pub fn is_cms(bytes: &[u8]) -> bool {
    matches!(bytes, [SEQUENCE, LONG_FORM..=u8::MAX, ..])
}

/// The content of a file.
///
/// `signers` are the certificates (PEM) one of whose keys must have signed it, whatever their dates: a device's clock may
/// be wrong, and a file is to be good for as long as the device. Without them the file is checked against the certificate
/// in it, which shows damage and nothing more. `key` (PEM, not encrypted) decrypts it.
///
/// # Errors
/// See [`CmsError`].
pub fn open(bytes: &[u8], signers: Option<&str>, key: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, CmsError> {
    // What a signer is verified by is the caller's certificate and no chain.
    let mut flags = CMSOptions::BINARY | CMSOptions::NO_SIGNER_CERT_VERIFY;
    let known = match signers {
        None => None,
        Some(pem) => {
            flags |= CMSOptions::NOINTERN;
            let mut stack = Stack::new().map_err(ContextError::from)?;
            for certificate in certificates::all(pem)? {
                stack.push(certificate).map_err(ContextError::from)?;
            }
            Some(stack)
        }
    };
    let mut signed = CmsContentInfo::from_der(bytes).map_err(|error| CmsError::Malformed(why(&error)))?;
    let mut content = Zeroizing::new(Vec::new());
    signed
        .verify(known.as_deref(), None, None, Some(&mut content), flags)
        .map_err(|error| CmsError::Signature(why(&error)))?;
    if !is_cms(&content) {
        return Ok(content);
    }
    let key = key::from_pem(key.ok_or(CmsError::NoKey)?)?;
    let encrypted = CmsContentInfo::from_der(&content).map_err(|error| CmsError::Malformed(why(&error)))?;
    // The signature was checked before, so this is no oracle for what somebody else encrypted.
    let content = encrypted.decrypt_without_cert_check(&key).map_err(|_| CmsError::OtherKey)?;
    Ok(Zeroizing::new(content))
}

/// What OpenSSL gives as its last reason, which is the most general one.
fn why(error: &ErrorStack) -> String {
    error.errors().iter().rev().find_map(|one| one.reason()).unwrap_or("OpenSSL gives no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{self, Use, Validity};

    const NOW: u64 = 1_800_000_000;

    fn signer() -> Identity {
        ca::self_signed("Factory", Use::Signing, Validity::of_ca(NOW)).unwrap()
    }

    fn reader() -> Identity {
        ca::self_signed("Line 1", Use::Decrypting, Validity::of_ca(NOW)).unwrap()
    }

    #[test]
    fn what_is_signed_and_encrypted_is_read_by_its_reader_only() {
        let (signer, line, other) = (signer(), reader(), reader());
        let open = |bytes: &[u8], key: Option<&Identity>| {
            let content = open(bytes, Some(&signer.certificate), key.map(|key| key.key.as_bytes()));
            content.map(|content| content.to_vec())
        };
        let plain = Sealer::new(&signer, None).unwrap().seal(b"{\"a\":1}").unwrap();
        assert!(is_cms(&plain));
        assert_eq!(open(&plain, None).unwrap(), b"{\"a\":1}");
        assert_eq!(open(&plain, Some(&line)).unwrap(), b"{\"a\":1}");
        let sealed = Sealer::new(&signer, Some(&line.certificate)).unwrap().seal(b"{\"secret\":1}").unwrap();
        assert!(!sealed.windows(8).any(|eight| eight == b"\"secret\""));
        assert_eq!(open(&sealed, Some(&line)).unwrap(), b"{\"secret\":1}");
        assert!(matches!(open(&sealed, None), Err(CmsError::NoKey)));
        assert!(matches!(open(&sealed, Some(&other)), Err(CmsError::OtherKey)));
        let both = format!("{}{}", other.certificate, line.certificate);
        let sealed = Sealer::new(&signer, Some(&both)).unwrap().seal(b"{}").unwrap();
        assert_eq!(
            (open(&sealed, Some(&line)).unwrap(), open(&sealed, Some(&other)).unwrap()),
            (b"{}".into(), b"{}".into())
        );
    }

    #[test]
    fn only_what_a_known_signer_signed_is_good() {
        let (ours, other) = (signer(), signer());
        let sealed = Sealer::new(&ours, None).unwrap().seal(b"[]").unwrap();
        let foreign = Sealer::new(&other, None).unwrap().seal(b"[]").unwrap();
        assert!(open(&sealed, Some(&ours.certificate), None).is_ok());
        assert!(matches!(open(&foreign, Some(&ours.certificate), None), Err(CmsError::Signature(_))));
        // One that has the same name and number, and so is found, has another key.
        assert!(matches!(open(&sealed, Some(&other.certificate), None), Err(CmsError::Signature(_))));
        let both = format!("{}{}", other.certificate, ours.certificate);
        assert!(open(&sealed, Some(&both), None).is_ok() && open(&foreign, Some(&both), None).is_ok());
        assert!(open(&foreign, None, None).is_ok(), "nobody is expected");
        assert!(matches!(open(&sealed, Some("no certificate"), None), Err(CmsError::Material(_))));
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_found() {
        let (signer, line) = (signer(), reader());
        for readers in [None, Some(&*line.certificate)] {
            let sealed = Sealer::new(&signer, readers).unwrap().seal(b"[\"content\"]").unwrap();
            let read = |bytes: &[u8]| open(bytes, Some(&signer.certificate), Some(line.key.as_bytes()));
            for place in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[place] ^= 4;
                // The certificate in it counts for nothing here, so a change of it alone changes nothing.
                if let Ok(content) = read(&changed) {
                    assert_eq!(content.as_slice(), b"[\"content\"]", "at {place}");
                }
                assert!(read(&sealed[..place]).is_err(), "cut at {place}");
            }
        }
    }

    #[test]
    fn what_is_no_signed_file_is_refused() {
        let line = reader();
        let mut readers = Stack::new().unwrap();
        readers.push(X509::from_pem(line.certificate.as_bytes()).unwrap()).unwrap();
        let only_encrypted = CmsContentInfo::encrypt(&readers, b"[]", Cipher::aes_256_gcm(), CMSOptions::BINARY);
        let only_encrypted = only_encrypted.unwrap().to_der().unwrap();
        assert!(is_cms(&only_encrypted));
        let key = Some(line.key.as_bytes());
        assert!(matches!(open(&only_encrypted, None, key), Err(CmsError::Signature(_))));
        for text in [&b"[]"[..], b"{}", b"0", b"", b" [", b"-----BEGIN CMS-----"] {
            assert!(!is_cms(text) && open(text, None, key).is_err());
        }
    }

    #[test]
    fn a_key_that_is_anothers_signs_nothing() {
        let (one, other) = (signer(), signer());
        let mixed = Identity { certificate: one.certificate.clone(), key: other.key.clone() };
        assert!(matches!(Sealer::new(&mixed, None), Err(ContextError::Mismatch)));
        assert!(!format!("{:?}", Sealer::new(&one, None).unwrap()).contains("PRIVATE"));
    }
}
