//! The names by which the protocol knows things, each valid from the moment it exists.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text that does not have the form of the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: {rule}")]
pub struct InvalidName {
    /// Its name with the article that it is read with.
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName { what: $what, rule: $rule }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The identifier of a kind of Management Object, such as `urn:oma:mo:oma-dm-devinfo:1.2`.
    Moid, "a MOID", "`urn:` and at most 200 characters of A-Z a-z 0-9 . _ - : are expected",
    |text| text.len() <= 200
        && text.strip_prefix("urn:").is_some_and(|rest| {
            rest.contains(':')
                && !rest.starts_with(':')
                && !rest.ends_with(':')
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b))
        })
}

name! {
    /// The identifier of one instance of a Management Object, unique within its MOID (Profile P-17).
    Miid, "a MIID", "1 to 64 characters of A-Z a-z 0-9 . _ - are expected, not `.` or `..`",
    |text| (1..=64).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

name! {
    /// The identifier of a DM Server, unique in the client (Profile P-3).
    SrvId, "a SrvID", "1 to 255 bytes without control characters are expected",
    |text| (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

name! {
    /// The identifier of a DM Device with its prefix, such as `IMEI:493005100592800`.
    DevId, "a DevID", "1 to 128 printable ASCII characters without spaces, quotes or backslashes are expected",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b))
}

name! {
    /// Mobile country code of the home network.
    Mcc, "an MCC", "3 digits are expected",
    |text| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit())
}

name! {
    /// Mobile network code of the home network; `01` is not `1`.
    Mnc, "an MNC", "2 or 3 digits are expected",
    |text| (2..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

name! {
    /// The identifier of a card, as digits.
    Iccid, "an ICCID", "10 to 20 digits are expected",
    |text| (10..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_where_their_form_is_wrong() {
        assert!("urn:oma:mo:oma-dm-dmacc:1.2".parse::<Moid>().is_ok());
        for bad in ["", "urn:", "urn:x", "urn::x", "urn:x:", "oma:mo", "urn:x:1/2", "urn:x:%41"] {
            assert!(bad.parse::<Moid>().is_err(), "{bad}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "%41", &"x".repeat(65)] {
            assert!(bad.parse::<Miid>().is_err(), "{bad}");
        }
        for bad in ["", "a b", "IMEI:\u{e9}", "a\nb", "a\"b"] {
            assert!(bad.parse::<DevId>().is_err(), "{bad}");
        }
        assert!("1".parse::<Mnc>().is_err() && "01".parse::<Mnc>().is_ok() && "001".parse::<Mnc>().is_ok());
        assert!("01".parse::<Mcc>().is_err() && "001".parse::<Mcc>().is_ok());
    }

    #[test]
    fn what_a_name_is_not_is_said_in_english() {
        let said = |error: InvalidName| error.to_string().split(':').next().unwrap_or_default().to_owned();
        assert_eq!(said("x".parse::<Moid>().unwrap_err()), "not a MOID");
        assert_eq!(said("".parse::<Miid>().unwrap_err()), "not a MIID");
        assert_eq!(said("".parse::<SrvId>().unwrap_err()), "not a SrvID");
        assert_eq!(said("".parse::<DevId>().unwrap_err()), "not a DevID");
        assert_eq!(said("".parse::<Mcc>().unwrap_err()), "not an MCC");
        assert_eq!(said("".parse::<Mnc>().unwrap_err()), "not an MNC");
        assert_eq!(said("".parse::<Iccid>().unwrap_err()), "not an ICCID");
    }
}
