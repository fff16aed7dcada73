//! Who is at the other end of a server's connection.

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::SslRef;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509PurposeId, X509Ref, X509StoreContext};

use crate::ca::{self, Validity};
use crate::certificates;
use crate::error::ContextError;

/// Who is at the other end, as far as TLS can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Proved nothing.
    Anonymous,
    /// Showed a certificate and has its key.
    Certificate(PeerCertificate),
    /// Has the pre-shared key of this name.
    Psk {
        /// The name.
        identity: String,
        /// SHA-256 of the key, by which a key that was changed meanwhile shows.
        key_digest: [u8; 32],
    },
}

/// The certificate of a client that has its key. What it is worth: see `device`; else nobody vouches for it, and only
/// one who knows the key already can tell who that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of the public key (SubjectPublicKeyInfo).
    pub key_digest: [u8; 32],
    /// When it is valid.
    pub validity: Validity,
    /// The DevID that a configured device CA says this is: the subject's common name of a certificate that was valid
    /// for a client when it was shown.
    pub device: Option<String>,
}

impl PeerCertificate {
    pub(crate) fn of(ssl: &SslRef, authorities: &DeviceAuthorities) -> Result<Option<Self>, ErrorStack> {
        let Some(leaf) = ssl.peer_certificate() else { return Ok(None) };
        let mut issuers = Stack::new()?;
        for issuer in ssl.peer_cert_chain().into_iter().flatten() {
            issuers.push(issuer.to_owned())?;
        }
        Ok(Some(Self {
            key_digest: ca::key_digest_of(&leaf)?,
            validity: Validity {
                from: ca::unix_seconds(leaf.not_before())?,
                until: ca::unix_seconds(leaf.not_after())?,
            },
            device: authorities.device(&leaf, &issuers)?,
        }))
    }
}

/// The CAs whose certificates say which device it is.
pub struct DeviceAuthorities(Option<X509Store>);

impl DeviceAuthorities {
    /// No CA: no certificate says anything.
    pub fn none() -> Self {
        Self(None)
    }

    /// These certificates in PEM, one after the other; an intermediate CA will do.
    ///
    /// # Errors
    /// If they cannot be read, or there is none.
    pub fn from_pem(pem: &str) -> Result<Self, ContextError> {
        let mut store = X509StoreBuilder::new()?;
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        store.set_purpose(X509PurposeId::SSL_CLIENT)?;
        for certificate in certificates::all(pem)? {
            store.add_cert(certificate)?;
        }
        Ok(Self(Some(store.build())))
    }

    fn device(&self, leaf: &X509Ref, issuers: &Stack<X509>) -> Result<Option<String>, ErrorStack> {
        let Some(store) = &self.0 else { return Ok(None) };
        if !X509StoreContext::new()?.init(store, leaf, issuers, |context| context.verify_cert())? {
            return Ok(None);
        }
        let mut names = leaf.subject_name().entries_by_nid(Nid::COMMONNAME);
        let name = names.next().and_then(|name| name.data().to_string().ok());
        // Two names are two devices: nobody can say which.
        Ok(if names.next().is_some() { None } else { name })
    }
}
