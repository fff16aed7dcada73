//! The forms that single values of the configuration have.

use super::section::{Said, Wrong, items};
use omadm_core::web::Url;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A year: longer times in a configuration are a mistake.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How the card is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardLink {
    /// PC/SC where this program has it and its service runs, else no card.
    Auto,
    /// PC/SC.
    Pcsc,
    /// A modem that takes AT commands at this serial port.
    Modem(PathBuf),
    /// An executable that speaks JSON lines: its words (docs/card-links.md).
    Exec(Vec<String>),
    /// A unix socket on which a card speaks with the framing of vpcd.
    Socket(PathBuf),
    /// This device has no card.
    Off,
}

impl CardLink {
    pub(super) fn below(self, base: &Path) -> Self {
        match self {
            Self::Modem(path) => Self::Modem(base.join(path)),
            Self::Socket(path) => Self::Socket(base.join(path)),
            // As a shell does it: a name alone is looked for in PATH.
            Self::Exec(mut words) => {
                if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
                    *program = base.join(&program).to_string_lossy().into_owned();
                }
                Self::Exec(words)
            }
            Self::Auto | Self::Pcsc | Self::Off => self,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "pcsc" && cfg!(feature = "pcsc") => Ok(Self::Pcsc),
            None if text == "pcsc" => {
                Err("card.link \"pcsc\" needs a program built with the feature `pcsc`".to_owned())
            }
            None if text == "off" => Ok(Self::Off),
            Some(("socket", path)) if !path.is_empty() => Ok(Self::Socket(path.into())),
            Some(("at", path)) if !path.is_empty() && cfg!(feature = "serial") => Ok(Self::Modem(path.into())),
            Some(("at", path)) if !path.is_empty() => {
                Err("card.link \"at:...\" needs a program built with the feature `serial`".to_owned())
            }
            #[cfg(feature = "exec")]
            Some(("exec", command)) => omadm_card::link::exec::words(command)
                .map(Self::Exec)
                .map_err(|error| format!("card.link \"{text}\" names no command: {error}")),
            #[cfg(not(feature = "exec"))]
            Some(("exec", _)) => Err("card.link \"exec:...\" needs a program built with the feature `exec`".to_owned()),
            _ => Err("card.link: auto, pcsc, at:PATH, exec:COMMAND, socket:PATH or off is expected".to_owned()),
        }
    }
}

/// How the device authenticates to the DM Bootstrap Server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// HTTP Basic over verified TLS.
    #[default]
    Basic,
    /// A certificate in TLS.
    X509,
    /// A pre-shared key in TLS.
    Psk,
    /// Not at all.
    None,
}

impl Auth {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "basic" => Ok(Self::Basic),
            "x509" => Ok(Self::X509),
            "psk" => Ok(Self::Psk),
            "none" => Ok(Self::None),
            "digest" | "aka" => Err(format!("bootstrap.auth \"{text}\" is not supported yet")),
            _ => Err("bootstrap.auth: basic, x509, psk or none is expected".to_owned()),
        }
    }
}

impl std::fmt::Display for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic => "basic",
            Self::X509 => "x509",
            Self::Psk => "psk",
            Self::None => "none",
        })
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

impl Allow {
    pub(super) fn read(value: Spanned<DeValue<'_>>) -> Result<Self, Wrong> {
        let wrong = || "card.allow: \"none\", \"any\" or a list of ICCID prefixes is expected";
        if value.get_ref().is_array() {
            let prefix = |said: Said<'_>| said.read(|text| is_prefix(text).then(|| text.to_owned()).ok_or_else(wrong));
            return items(value)?.into_iter().map(prefix).collect::<Result<_, _>>().map(Self::Prefixes);
        }
        Said::of(value)?.read(|word| match word {
            "none" => Ok(Self::None),
            "any" => Ok(Self::Any),
            _ => Err(wrong()),
        })
    }
}

fn is_prefix(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Rights on instances of one MOID that the device made itself: a list of `read`, `write`, `execute`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RightsList {
    /// GET, HPUT, HPOST, SUB.
    pub read: bool,
    /// HGET, DELETE.
    pub write: bool,
    /// EXEC.
    pub execute: bool,
}

impl RightsList {
    pub(super) fn add(&mut self, word: &str) -> Result<(), String> {
        match word {
            "read" => self.read = true,
            "write" => self.write = true,
            "execute" => self.execute = true,
            _ => return Err(format!("access: read, write or execute is expected, not \"{word}\"")),
        }
        Ok(())
    }
}

/// Text for DevInfo: at most 255 bytes, no control characters.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.len() > 255 || text.chars().any(char::is_control) {
        return Err("at most 255 bytes without control characters are expected");
    }
    Ok(text.to_owned())
}

/// A time such as `500ms`, `20s`, `5m`, `24h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| {
        format!(
            "not a time: \"{text}\"; a whole number with ms, s, m, h or d, at most 366d, is expected, such as \"20s\""
        )
    })
}

/// As [`duration`], but not zero.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a time longer than zero is expected".to_owned()),
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

/// The URL of a DM Bootstrap Server: https, or http to loopback for tests.
pub(super) fn secure_url(text: &str) -> Result<Url, String> {
    let url = text.parse().and_then(Url::require_secure);
    url.map_err(|error| format!("bootstrap.url: {error}"))
}
