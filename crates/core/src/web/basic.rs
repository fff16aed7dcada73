//! HTTP Basic (RFC 7617).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use percent_encoding::utf8_percent_encode;

use super::UNRESERVED;
use crate::ids::DevId;
use crate::secret::Secret;

/// A user and a password. The user holds no colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    user: String,
    password: Secret,
}

/// Why there are no Basic credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// The user has a colon, which Basic cannot carry.
    #[error("a user of Basic holds no colon (RFC 7617)")]
    Colon,
    /// Not the scheme Basic.
    #[error("the scheme is not Basic")]
    OtherScheme,
    /// Not base64 of user, colon and password.
    #[error("not base64 of user, colon and password")]
    Malformed,
}

/// The user of Basic where none is configured: the DevID percent-encoded, since a user holds no colon (Profile P-20).
pub fn default_user(dev_id: &DevId) -> String {
    utf8_percent_encode(dev_id.as_str(), UNRESERVED).to_string()
}

/// The longest Authorization header that is read, in bytes.
const MAX_HEADER: usize = 4096;

impl Basic {
    /// Credentials of this user; a colon in the name is refused.
    pub fn new(user: impl Into<String>, password: Secret) -> Result<Self, BasicError> {
        let user = user.into();
        if user.contains(':') { Err(BasicError::Colon) } else { Ok(Self { user, password }) }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// The value of the Authorization header.
    pub fn header_value(&self) -> Secret {
        let mut pair = self.user.clone().into_bytes();
        pair.push(b':');
        pair.extend_from_slice(self.password.expose());
        let pair = Secret::new(pair);
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair.expose())).into_bytes())
    }

    /// Reads an Authorization header.
    pub fn parse(header: &str) -> Result<Self, BasicError> {
        if header.len() > MAX_HEADER {
            return Err(BasicError::Malformed);
        }
        let (scheme, rest) = header.trim().split_once(' ').ok_or(BasicError::OtherScheme)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(BasicError::OtherScheme);
        }
        let pair = BASE64_STANDARD.decode(rest.trim()).map(Secret::new).map_err(|_| BasicError::Malformed)?;
        let colon = pair.expose().iter().position(|byte| *byte == b':').ok_or(BasicError::Malformed)?;
        let (user, password) = pair.expose().split_at(colon);
        let user = std::str::from_utf8(user).map_err(|_| BasicError::Malformed)?;
        Ok(Self { user: user.to_owned(), password: Secret::new(password[1..].to_vec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_the_worked_example() {
        let basic = Basic::new("acme-0001", "correct horse battery".into()).unwrap();
        let header = basic.header_value();
        let header = std::str::from_utf8(header.expose()).unwrap();
        assert_eq!(header, "Basic YWNtZS0wMDAxOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==");
        assert_eq!(Basic::parse(header), Ok(basic));
    }

    #[test]
    fn without_a_user_the_dev_id_is_percent_encoded() {
        assert_eq!(default_user(&"IMEI:493005100592800".parse().unwrap()), "IMEI%3A493005100592800");
        assert_eq!(default_user(&"a-b._~/%".parse().unwrap()), "a-b._~%2F%25");
    }

    #[test]
    fn other_headers_are_refused() {
        assert_eq!(Basic::new("IMEI:1", "x".into()), Err(BasicError::Colon));
        assert_eq!(Basic::parse("Digest username=\"a\""), Err(BasicError::OtherScheme));
        assert_eq!(Basic::parse("Basic"), Err(BasicError::OtherScheme));
        assert_eq!(Basic::parse("Basic ???"), Err(BasicError::Malformed));
        assert_eq!(Basic::parse("Basic YWJj"), Err(BasicError::Malformed));
        assert_eq!(Basic::parse(&format!("Basic {}", "A".repeat(10_000))), Err(BasicError::Malformed));
        assert_eq!(Basic::parse("Basic OnB3"), Ok(Basic::new("", "pw".into()).unwrap()));
    }
}
