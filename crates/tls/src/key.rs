//! Private keys out of PEM text, which nobody is asked a pass phrase for.

use openssl::pkey::{PKey, Private};

use crate::error::ContextError;

/// The private key of a PEM text that is not encrypted.
///
/// # Errors
/// If it is encrypted or cannot be read.
pub(crate) fn from_pem(pem: &[u8]) -> Result<PKey<Private>, ContextError> {
    let mut is_encrypted = false;
    // Without a callback OpenSSL asks on the terminal and waits for as long as nobody answers.
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        is_encrypted = true;
        Ok(0)
    });
    if is_encrypted {
        Err(ContextError::EncryptedKey)
    } else {
        key.map_err(|error| ContextError::Key(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::symm::Cipher;

    #[test]
    fn an_encrypted_key_is_refused_and_nobody_is_asked_for_its_pass_phrase() {
        let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
        let traditional = |phrase: &[u8]| rsa.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), phrase).unwrap();
        let key = PKey::from_rsa(rsa.clone()).unwrap();
        let pkcs8 = |phrase: &[u8]| key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), phrase).unwrap();
        for pem in [pkcs8(b"a phrase"), traditional(b"a phrase"), pkcs8(b"")] {
            let error = from_pem(&pem).unwrap_err();
            assert!(matches!(error, ContextError::EncryptedKey), "{error}");
            assert!(error.to_string().contains("decrypt it"), "{error}");
        }
        assert!(from_pem(&key.private_key_to_pem_pkcs8().unwrap()).unwrap().public_eq(&key));
        assert!(matches!(from_pem(b"nonsense"), Err(ContextError::Key(_))));
    }
}
