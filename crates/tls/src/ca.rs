//! The certificates of an own CA: the CA itself, and a server's.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef, X509Ref};
use std::net::IpAddr;
use zeroize::Zeroizing;

use crate::certificates;
use crate::error::ContextError;
use crate::key;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Certificates begin this much earlier, for peers whose clock is behind.
const BACKDATED: u64 = DAY;
/// Characters of a common name.
const NAME_LENGTH: usize = 64;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key, PKCS#8 in PEM, not encrypted: to be kept in a file that only its owner reads.
    pub key: Zeroizing<String>,
}

impl Identity {
    /// The certificate and, one after the other, those that follow it, and the PKCS#8 key, all in DER: the form of
    /// `Auth/Trsp` (Profile P-20).
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn to_der(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), ContextError> {
        let mut chain = Vec::new();
        for certificate in certificates::all(&self.certificate)? {
            chain.extend(certificate.to_der()?);
        }
        let key = key::from_pem(self.key.as_bytes())?;
        Ok((chain, Zeroizing::new(key.private_key_to_pkcs8()?)))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// When a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: u64,
    /// The last second.
    pub until: u64,
}

impl Validity {
    /// For a CA made at `now`: ten years.
    pub fn of_ca(now: u64) -> Self {
        Self { from: now.saturating_sub(BACKDATED), until: now.saturating_add(3650 * DAY) }
    }

    /// For a server's certificate made at `now`: one year.
    pub fn of_server(now: u64) -> Self {
        Self { from: now.saturating_sub(BACKDATED), until: now.saturating_add(365 * DAY) }
    }

    /// For a device's certificate made at `now`: ten years, since a device may lie in a store room for long.
    pub fn of_device(now: u64) -> Self {
        Self::of_ca(now)
    }
}

/// Makes a CA with a P-256 key. It may sign servers and devices, no further CA.
///
/// # Errors
/// If OpenSSL fails.
pub fn make(name: &str, validity: Validity) -> Result<Identity, ContextError> {
    let key = new_key()?;
    let subject = subject(name)?;
    let mut builder = unsigned(&key, &subject, &subject, validity)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let key_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(key_id)?;
    finish(builder, &key, &key)
}

/// What the key of a certificate is for that nobody else signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It signs files.
    Signing,
    /// Files are encrypted to it.
    Decrypting,
}

/// Makes a P-256 key and a certificate for it that nobody else signs: whoever trusts it names it.
///
/// # Errors
/// If OpenSSL fails.
pub fn self_signed(name: &str, purpose: Use, validity: Validity) -> Result<Identity, ContextError> {
    let key = new_key()?;
    let subject = subject(name)?;
    let mut builder = unsigned(&key, &subject, &subject, validity)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    let mut usage = KeyUsage::new();
    match purpose {
        Use::Signing => usage.digital_signature(),
        Use::Decrypting => usage.key_agreement(),
    };
    builder.append_extension(usage.critical().build()?)?;
    let key_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(key_id)?;
    finish(builder, &key, &key)
}

/// Has `ca` sign a certificate for a server that is reached by these names: DNS names and IP addresses, at least one.
///
/// # Errors
/// If the CA cannot be read, there is no name, or OpenSSL fails.
pub fn issue_server(ca: &Identity, names: &[String], validity: Validity) -> Result<Identity, ContextError> {
    let Some(first) = names.first() else {
        return Err(ContextError::Certificate("a server's certificate needs at least one name".into()));
    };
    let (issuer, issuer_key) = signer(ca)?;
    let key = new_key()?;
    let mut builder = unsigned(&key, &*subject(first)?, issuer.subject_name(), validity)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<IpAddr>() {
            Ok(_) => alternatives.ip(name),
            Err(_) => alternatives.dns(name),
        };
    }
    let alternatives = alternatives.build(&builder.x509v3_context(Some(&issuer), None))?;
    builder.append_extension(alternatives)?;
    append_key_ids(&mut builder, &issuer)?;
    finish(builder, &key, &issuer_key)
}

/// Has `ca` sign a certificate that says: this is the device `dev_id`. The DevID is the subject's common name.
///
/// # Errors
/// If the DevID is empty or longer than 64 characters, which is all that a common name holds, the CA cannot be read, or
/// OpenSSL fails.
pub fn issue_device(ca: &Identity, dev_id: &str, validity: Validity) -> Result<Identity, ContextError> {
    if dev_id.is_empty() || dev_id.chars().count() > NAME_LENGTH {
        return Err(ContextError::Certificate("a DevID in a certificate has 1 to 64 characters".into()));
    }
    let (issuer, issuer_key) = signer(ca)?;
    let key = new_key()?;
    let mut builder = unsigned(&key, &*subject(dev_id)?, issuer.subject_name(), validity)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
    append_key_ids(&mut builder, &issuer)?;
    finish(builder, &key, &issuer_key)
}

/// SHA-256 of the public key (SubjectPublicKeyInfo) of the first certificate of a PEM text: what stays the same when a
/// certificate is renewed for the same key.
///
/// # Errors
/// If there is no readable certificate.
pub fn key_digest(pem: &str) -> Result<[u8; 32], ContextError> {
    let first = certificates::first(pem)?;
    Ok(key_digest_of(&first)?)
}

pub(crate) fn key_digest_of(certificate: &X509Ref) -> Result<[u8; 32], ErrorStack> {
    Ok(openssl::sha::sha256(&certificate.public_key()?.public_key_to_der()?))
}

/// The last second at which the first certificate of a PEM text is valid, in seconds since 1970.
///
/// # Errors
/// If there is no readable certificate.
pub fn valid_until(pem: &str) -> Result<u64, ContextError> {
    Ok(unix_seconds(certificates::first(pem)?.not_after())?)
}

/// Whether the first certificate of a PEM text is for each of these names.
///
/// # Errors
/// If there is no readable certificate.
pub fn covers(pem: &str, names: &[String]) -> Result<bool, ContextError> {
    let alternatives = certificates::first(pem)?.subject_alt_names();
    let found = |name: &String| {
        let address = name.parse::<IpAddr>().ok();
        alternatives.iter().flatten().any(|alternative| match (address, alternative.ipaddress()) {
            (Some(IpAddr::V4(address)), Some(bytes)) => bytes == address.octets(),
            (Some(IpAddr::V6(address)), Some(bytes)) => bytes == address.octets(),
            (Some(_), None) => false,
            (None, _) => alternative.dnsname().is_some_and(|dns| dns.eq_ignore_ascii_case(name)),
        })
    };
    Ok(names.iter().all(found))
}

/// Whether the first certificate of `pem` is signed by the first one of `ca`.
///
/// # Errors
/// If one of them cannot be read.
pub fn signed_by(pem: &str, ca: &str) -> Result<bool, ContextError> {
    Ok(certificates::first(pem)?.verify(&*certificates::first(ca)?.public_key()?)?)
}

fn signer(ca: &Identity) -> Result<(X509, PKey<Private>), ContextError> {
    let issuer = certificates::first(&ca.certificate)?;
    let key = key::from_pem(ca.key.as_bytes())?;
    if issuer.public_key()?.public_eq(&key) { Ok((issuer, key)) } else { Err(ContextError::Mismatch) }
}

fn append_key_ids(builder: &mut X509Builder, issuer: &X509) -> Result<(), ErrorStack> {
    let own = SubjectKeyIdentifier::new().build(&builder.x509v3_context(Some(issuer), None))?;
    builder.append_extension(own)?;
    let issuers = AuthorityKeyIdentifier::new().keyid(true).build(&builder.x509v3_context(Some(issuer), None))?;
    builder.append_extension(issuers)
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn subject(name: &str) -> Result<X509Name, ErrorStack> {
    let mut subject = X509Name::builder()?;
    // A common name holds at most 64 characters; the alternative names are what counts.
    let short: String = name.chars().take(NAME_LENGTH).collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &short)?;
    Ok(subject.build())
}

fn unsigned(
    key: &PKey<Private>,
    subject: &X509NameRef,
    issuer: &X509NameRef,
    validity: Validity,
) -> Result<X509Builder, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let time = |seconds: u64| Asn1Time::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX));
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    let (from, until) = (time(validity.from)?, time(validity.until)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn finish(mut builder: X509Builder, key: &PKey<Private>, signer: &PKey<Private>) -> Result<Identity, ContextError> {
    builder.sign(signer, MessageDigest::sha256())?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|error| ContextError::Certificate(error.to_string()));
    Ok(Identity {
        certificate: text(builder.build().to_pem()?)?,
        key: Zeroizing::new(text(key.private_key_to_pem_pkcs8()?)?),
    })
}

pub(crate) fn unix_seconds(time: &Asn1TimeRef) -> Result<u64, ErrorStack> {
    let distance = Asn1Time::from_unix(0)?.diff(time)?;
    let seconds = i64::from(distance.days) * 86_400 + i64::from(distance.secs);
    Ok(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_says_for_whom_and_until_when() {
        let ca = make("Test CA", Validity::of_ca(1_800_000_000)).unwrap();
        let validity = Validity { from: 1_800_000_000, until: 1_800_000_600 };
        let server = issue_server(&ca, &names(&["dm.example", "127.0.0.1", "::1"]), validity).unwrap();
        assert_eq!(valid_until(&server.certificate).unwrap(), 1_800_000_600);
        assert!(covers(&server.certificate, &names(&["::1", "DM.example", "127.0.0.1"])).unwrap());
        assert!(!covers(&server.certificate, &names(&["::1", "other.example"])).unwrap());
        assert!(!covers(&server.certificate, &names(&["127.0.0.2"])).unwrap());
        assert!(signed_by(&server.certificate, &ca.certificate).unwrap());
        let other = make("Test CA", Validity::of_ca(1_800_000_000)).unwrap();
        assert!(!signed_by(&server.certificate, &other.certificate).unwrap());
    }

    #[test]
    fn a_server_without_a_name_gets_no_certificate() {
        let ca = make("Test CA", Validity::of_ca(1_800_000_000)).unwrap();
        assert!(issue_server(&ca, &[], Validity::of_server(1_800_000_000)).is_err());
    }

    #[test]
    fn an_encrypted_certificate_is_refused_and_nobody_is_asked_for_its_pass_phrase() {
        let ca = make("Test CA", Validity::of_ca(1_800_000_000)).unwrap();
        let pem = ca.certificate.replace(
            "CERTIFICATE-----\nM",
            "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\nM",
        );
        assert_ne!(pem, ca.certificate);
        let encrypted = Identity { certificate: pem.clone(), key: ca.key.clone() };
        let refused = [
            key_digest(&pem).err(),
            valid_until(&pem).err(),
            covers(&pem, &[]).err(),
            signed_by(&pem, &ca.certificate).err(),
            signed_by(&ca.certificate, &pem).err(),
            issue_server(&encrypted, &names(&["dm.example"]), Validity::of_server(1_800_000_000)).err(),
            issue_device(&encrypted, "IMEI:1", Validity::of_device(1_800_000_000)).err(),
            encrypted.to_der().err(),
        ];
        for error in refused {
            // OpenSSL's own words would mean that it had looked for somebody to ask.
            assert!(error.as_ref().is_some_and(|error| error.to_string().contains("header lines")), "{error:?}");
        }
    }

    #[test]
    fn debug_hides_the_key() {
        let ca = make("Test CA", Validity::of_ca(1_800_000_000)).unwrap();
        assert!(!format!("{ca:?}").contains("PRIVATE"));
    }
}
