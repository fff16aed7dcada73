//! The forms that single values of the configuration have.

use omadm_core::ids::InvalidName;
use omadm_core::web::Url;
use serde::{Deserialize, Deserializer};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

/// Where in the file something stands, in bytes.
pub(super) type Span = Range<usize>;

/// A year: longer times in a configuration are a mistake.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How the card is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CardLink {
    /// PC/SC where this program has it and its service runs, else no card.
    Auto,
    /// PC/SC.
    Pcsc,
    /// A unix socket on which a card speaks with the framing of vpcd.
    Socket(PathBuf),
    /// This device has no card.
    Off,
}

impl CardLink {
    pub(super) fn below(self, base: &Path) -> Self {
        match self {
            Self::Socket(path) => Self::Socket(base.join(path)),
            Self::Auto | Self::Pcsc | Self::Off => self,
        }
    }
}

impl TryFrom<String> for CardLink {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "pcsc" && cfg!(feature = "pcsc") => Ok(Self::Pcsc),
            None if text == "pcsc" => {
                Err("card.link \"pcsc\" needs a program built with the feature `pcsc`".to_owned())
            }
            None if text == "off" => Ok(Self::Off),
            Some(("socket", path)) if !path.is_empty() => Ok(Self::Socket(path.into())),
            Some(("at" | "exec", _)) => Err(format!("card.link \"{text}\" is not supported yet")),
            _ => Err("card.link: auto, pcsc, socket:PATH or off is expected".to_owned()),
        }
    }
}

/// How the device authenticates to the DM Bootstrap Server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Auth {
    /// HTTP Basic over verified TLS.
    #[default]
    Basic,
    /// Not at all.
    None,
}

impl TryFrom<String> for Auth {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "basic" => Ok(Self::Basic),
            "none" => Ok(Self::None),
            "digest" | "x509" | "psk" | "aka" => Err(format!("bootstrap.auth \"{text}\" is not supported yet")),
            _ => Err("bootstrap.auth: basic or none is expected".to_owned()),
        }
    }
}

/// Which cards may configure the device (spec 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// No card.
    None,
    /// Any card.
    Any,
    /// Cards whose ICCID begins with one of these.
    Prefixes(Vec<String>),
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "card.allow: \"none\", \"any\" or a list of ICCID prefixes is expected";
        let value = toml::Value::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(EXPECTED);
        match value {
            toml::Value::String(word) if word == "none" => Ok(Self::None),
            toml::Value::String(word) if word == "any" => Ok(Self::Any),
            toml::Value::Array(items) => items
                .into_iter()
                .map(|item| item.as_str().filter(|text| is_prefix(text)).map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_, _>>()
                .map(Self::Prefixes),
            _ => Err(wrong()),
        }
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Rights on instances of one MOID that the device made itself: a list of `read`, `write`, `execute`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct RightsList {
    /// GET, HPUT, HPOST, SUB.
    pub read: bool,
    /// HGET, DELETE.
    pub write: bool,
    /// EXEC.
    pub execute: bool,
}

impl TryFrom<Vec<String>> for RightsList {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let mut rights = Self::default();
        for word in words {
            match word.as_str() {
                "read" => rights.read = true,
                "write" => rights.write = true,
                "execute" => rights.execute = true,
                _ => return Err(format!("access: read, write or execute is expected, not \"{word}\"")),
            }
        }
        Ok(rights)
    }
}

/// Text for DevInfo: at most 255 bytes, no control characters.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(pub(super) String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > 255 || text.chars().any(char::is_control) {
            return Err("at most 255 bytes without control characters are expected");
        }
        Ok(Self(text))
    }
}

/// A time such as `500ms`, `20s`, `5m`, `24h` or `7d`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "not a time: \"{text}\"; a whole number with ms, s, m, h or d, at most 366d, is expected, such as \"20s\""
        ))
    })
}

/// As [`duration`], but not zero.
pub(super) fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration(deserializer)? {
        Duration::ZERO => Err(serde::de::Error::custom("a time longer than zero is expected")),
        time => Ok(time),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis).filter(|time| *time <= LONGEST)
}

/// A name where empty text means that none is given.
pub(super) fn maybe<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidName>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The URL of a DM Bootstrap Server: https, or http to loopback for tests.
pub(super) fn secure_url(text: Spanned<Text>) -> Result<Url, (Span, String)> {
    let url = text.get_ref().0.parse().and_then(Url::require_secure);
    url.map_err(|error| (text.span(), format!("bootstrap.url: {error}")))
}
