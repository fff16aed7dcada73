//! Certificates out of PEM text, which nobody is asked a pass phrase for.

use openssl::x509::X509;

use crate::error::ContextError;

/// The certificates of a PEM text, at least one.
///
/// # Errors
/// If one of them cannot be read or is encrypted, or there is none.
pub(crate) fn all(pem: &str) -> Result<Vec<X509>, ContextError> {
    if has_headers(pem) {
        return Err(ContextError::Certificate(
            "a block has header lines, as an encrypted one; write it without".to_owned(),
        ));
    }
    let found = X509::stack_from_pem(pem.as_bytes()).map_err(|error| ContextError::Certificate(error.to_string()))?;
    if found.is_empty() { Err(ContextError::NoCertificate) } else { Ok(found) }
}

/// The first certificate of a PEM text.
///
/// # Errors
/// As for [`all`].
pub(crate) fn first(pem: &str) -> Result<X509, ContextError> {
    all(pem)?.into_iter().next().ok_or(ContextError::NoCertificate)
}

/// Whether the block of a certificate has header lines. They may say that it is encrypted, and OpenSSL would then ask for
/// a pass phrase on the terminal.
fn has_headers(pem: &str) -> bool {
    let mut inside = false;
    pem.lines().any(|line| {
        if line.contains("-----BEGIN") {
            inside = line.contains("CERTIFICATE");
        } else if line.contains("-----END") {
            inside = false;
        }
        inside && line.contains(':')
    })
}
