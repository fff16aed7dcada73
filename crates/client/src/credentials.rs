//! What the device proves itself with: by TLS, or by a header above it (Profile P-20).

use crate::config::{Login, Means};
use crate::factory;
use crate::world::World;
use omadm_core::account::Credential;
use omadm_core::factory::bundle::Enrolment;
use omadm_core::ids::DevId;
use omadm_core::secret::Secret;
use omadm_core::web::{Basic, default_user};
use omadm_tls::ClientIdentity;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file with certificates, in bytes.
const MAX_CHAIN: usize = 64 * 1024;

/// What goes to the trusted origins, and to nobody else. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// What is proved by TLS.
    pub(crate) identity: ClientIdentity,
    /// The Authorization header of Basic, sent at once (Profile P-38).
    pub(crate) authorization: Option<Authorization>,
}

/// A header whose value is nobody's business.
#[derive(Clone)]
pub(crate) struct Authorization(pub(crate) Zeroizing<String>);

impl Credentials {
    /// Proves nothing.
    pub(crate) fn none() -> Self {
        Self { identity: ClientIdentity::nobody(), authorization: None }
    }

    /// The device's own, from its configuration. An error says what is missing or wrong.
    pub(crate) fn own(world: &dyn World, login: &Login, dev_id: &DevId) -> Result<Self, String> {
        let user = || login.user.clone().unwrap_or_else(|| default_user(dev_id));
        match &login.means {
            Means::Password { secret_file } => {
                let basic = Basic::new(user(), secret(world, secret_file)?);
                Self::basic(&basic.map_err(|error| format!("bootstrap.user: {error}"))?)
            }
            Means::PreSharedKey { secret_file } => {
                let wrong = |why: &str| format!("bootstrap.secret_file {}: {why}", secret_file.display());
                let key = from_hex(&secret(world, secret_file)?)
                    .ok_or_else(|| wrong("a pre-shared key is expected, as hexadecimal digits"))?;
                let identity = ClientIdentity::psk(&user(), &key).map_err(|error| wrong(&error.to_string()))?;
                Ok(Self { identity, authorization: None })
            }
            Means::Certificate { cert, key } => {
                let chain = world.read_file(cert, MAX_CHAIN + 1).map_err(|error| in_file("cert", cert, error))?;
                let chain = String::from_utf8(chain).map_err(|error| in_file("cert", cert, error))?;
                let secret = secret(world, key)?;
                let pem = std::str::from_utf8(secret.expose()).map_err(|error| in_file("key", key, error))?;
                let identity = ClientIdentity::from_pem(&chain, pem);
                let identity = identity.map_err(|error| in_file("cert", cert, error))?;
                Ok(Self { identity, authorization: None })
            }
            Means::Bundle(config) => {
                let said = |why: &str| format!("{}: {why}", config.file.display());
                let bundle = factory::read(world, config, dev_id).map_err(|(_, why)| said(&why))?;
                let enrolment = bundle.and_then(|bundle| bundle.enrolment);
                let Enrolment { user, secret } = enrolment
                    .ok_or_else(|| said("no factory bundle with the device's own secret; set bootstrap.secret_file"))?;
                Self::basic(&Basic::new(user, secret).map_err(|error| said(&error.to_string()))?)
            }
        }
    }

    /// Those that an account brings.
    pub(crate) fn of_account(credential: &Credential) -> Result<Self, String> {
        let by_tls = |identity: Result<ClientIdentity, omadm_tls::ContextError>| match identity {
            Ok(identity) => Ok(Self { identity, authorization: None }),
            Err(error) => Err(format!("its credentials cannot be used: {error}")),
        };
        match credential {
            Credential::Basic { user, password } => {
                Self::basic(&Basic::new(user, password.clone()).map_err(|error| error.to_string())?)
            }
            Credential::Psk { identity, key } => by_tls(ClientIdentity::psk(identity, key.expose())),
            Credential::X509 { chain, key } => by_tls(ClientIdentity::x509(chain.expose(), key.expose())),
            Credential::Digest { .. } | Credential::Aka { .. } => {
                Err("its credentials are of a scheme that is not supported yet; basic, psk and x509 are".to_owned())
            }
        }
    }

    fn basic(basic: &Basic) -> Result<Self, String> {
        let value = String::from_utf8(basic.header_value().expose().to_vec());
        let value = value.map_err(|_| "the credentials are not text".to_owned())?;
        Ok(Self { authorization: Some(Authorization(Zeroizing::new(value))), ..Self::none() })
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization")
    }
}

fn secret(world: &dyn World, path: &Path) -> Result<Secret, String> {
    world.read_secret(path).map_err(|error| error.to_string())
}

fn in_file(key: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("bootstrap.{key} {}: {error}", path.display())
}

/// The bytes that these hexadecimal digits mean.
fn from_hex(text: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.expose().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_hexadecimal_digits() {
        let read = |text: &str| from_hex(&Secret::from(text)).map(|bytes| bytes.to_vec());
        assert_eq!(read("00fFa1"), Some(vec![0, 255, 161]));
        for wrong in ["0", "0x", "gg", "00 1", "+1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_account_proves_itself_by_tls_or_above_it() {
        let secret = || Secret::new(vec![7; 16]);
        let psk = Credentials::of_account(&Credential::Psk { identity: "me".to_owned(), key: secret() }).unwrap();
        assert_eq!(format!("{psk:?}"), "Credentials { identity: ClientIdentity(psk:me), authorization: None }");
        let basic = Credential::Basic { user: "u".to_owned(), password: "p".into() };
        let basic = Credentials::of_account(&basic).unwrap();
        assert_eq!(*basic.authorization.clone().unwrap().0, "Basic dTpw");
        assert!(!format!("{basic:?}").contains("dTpw"));
        let broken = Credential::X509 { chain: Secret::new(vec![0x30]), key: secret() };
        assert!(Credentials::of_account(&broken).unwrap_err().contains("cannot be used"));
        let aka = Credentials::of_account(&Credential::Aka { user: "u".to_owned() });
        assert!(aka.unwrap_err().contains("not supported yet"));
    }
}
