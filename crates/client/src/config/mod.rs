//! The configuration file: TOML, unknown keys refused, and an error names file, line and what was expected.

mod values;

use omadm_core::ids::{DevId, Mcc, Mnc, Moid};
use omadm_core::web::Url;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

pub use values::{Allow, Auth, CardLink, RightsList};
use values::{Span, Text};

/// The largest configuration file that is read, in bytes.
const MAX_SIZE: u64 = 256 * 1024;

/// Everything that the operator says about this device.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The state file.
    pub state: PathBuf,
    /// Who the device is.
    pub device: DeviceFacts,
    /// Whether the maker's example MO (`urn:omadm:mo:example:1.0`) is offered; off by default.
    pub example_mo: bool,
    /// Where the smartcard is and how it is read.
    pub card: CardConfig,
    /// The factory file, if the device has one.
    pub factory: Option<PathBuf>,
    /// The DM Bootstrap Server, if one is known a priori (spec 2.1).
    pub bootstrap: Option<BootstrapConfig>,
    /// The device's own credentials, if it has any.
    pub login: Option<Login>,
    /// What is known about the SIM and how long it is waited for (Profile P-24).
    pub sim: SimConfig,
    /// When sessions are opened.
    pub session: SessionConfig,
    /// Time limits of HTTP.
    pub http: HttpConfig,
    /// What the device grants on its own instances, by MOID (Profile P-33).
    pub access: BTreeMap<Moid, RightsList>,
}

/// What DevInfo says (spec 10); empty text where it is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// DevID with its prefix.
    pub dev_id: DevId,
    /// Manufacturer.
    pub man: String,
    /// Model.
    pub model: String,
    /// Kind of device.
    pub dev_type: String,
    /// Original equipment manufacturer.
    pub oem: String,
    /// Firmware version.
    pub fw_v: String,
    /// Software version.
    pub sw_v: String,
    /// Hardware version.
    pub hw_v: String,
    /// Language, as in RFC 5646.
    pub lang: String,
}

/// `[card]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardConfig {
    /// How the card is reached.
    pub link: CardLink,
    /// The PC/SC reader's name or its beginning; empty: the first with a card.
    pub reader: String,
    /// The file with the card's PIN, mode 0600.
    pub pin_file: Option<PathBuf>,
    /// How long one reading may take.
    pub timeout: Duration,
    /// How long link and card are waited for before the card counts as absent.
    pub wait: Duration,
    /// Which cards may configure the device; `None`: spec 2.2.
    pub allow: Option<Allow>,
}

/// `[bootstrap]`, where a URL is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapConfig {
    /// The DM Bootstrap Server's URL; its own query is kept.
    pub url: Url,
    /// PEM file with the only anchors for it; `None`: the device's trust store.
    pub ca: Option<PathBuf>,
    /// How the device authenticates.
    pub auth: Auth,
}

/// What the device itself authenticates with by Basic: to the DM Bootstrap Server, and to DM Servers whose account brings
/// no credentials (Profile P-20). In `[bootstrap]`, where it may stand without a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user; `None`: the DevID, percent-encoded.
    pub user: Option<String>,
    /// The file with the enrolment secret, mode 0600.
    pub secret_file: PathBuf,
}

/// `[sim]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimConfig {
    /// Whether the bootstrap request is only made with a SIM that is ready.
    pub required: bool,
    /// How long a SIM is waited for.
    pub wait: Duration,
    /// The home network's country, where no SIM tells it.
    pub mcc: Option<Mcc>,
    /// The home network's code, where no SIM tells it.
    pub mnc: Option<Mnc>,
}

/// `[session]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// The time from one session of an account to the next.
    pub every: Duration,
    /// After how long without a successful session an account is stale (Profile P-25).
    pub stale_after: Duration,
}

/// `[http]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpConfig {
    /// The limit for name look-up, TCP and TLS handshake together.
    pub connect_timeout: Duration,
    /// The limit for a whole exchange (Profile P-32).
    pub timeout: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{path}:{line}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
}

impl Config {
    /// Reads the configuration file. Relative paths in it are relative to its own folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = read(path).map_err(fail)?;
        // The factory file's path is remembered as where an account came from, so it must not depend on the folder that
        // the program is started in.
        Self::parse(&text, &std::path::absolute(path).map_err(fail)?)
    }

    /// Reads configuration text; `path` is named in errors and is where relative paths begin.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let fail = |span: Option<Span>, message: String| ConfigError::Content {
            path: path.to_owned(),
            line: line_of(text, span),
            message,
        };
        let raw: Raw = toml::from_str(text).map_err(|error| fail(error.span(), error.message().to_owned()))?;
        raw.checked(path.parent().unwrap_or(Path::new(""))).map_err(|(span, message)| fail(Some(span), message))
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_SIZE {
        return Err(io::Error::other(format!("it is larger than {MAX_SIZE} bytes")));
    }
    fs::read_to_string(path)
}

fn line_of(text: &str, span: Option<Span>) -> usize {
    let end = span.map_or(0, |span| span.start.min(text.len()));
    text.as_bytes().iter().take(end).filter(|byte| **byte == b'\n').count() + 1
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    state: PathBuf,
    dev_id: DevId,
    #[serde(default)]
    man: Text,
    #[serde(default, rename = "mod")]
    model: Text,
    #[serde(default)]
    dev_type: Text,
    #[serde(default)]
    oem: Text,
    #[serde(default)]
    fw_v: Text,
    #[serde(default)]
    sw_v: Text,
    #[serde(default)]
    hw_v: Text,
    #[serde(default)]
    lang: Text,
    #[serde(default)]
    example_mo: bool,
    #[serde(default)]
    card: RawCard,
    #[serde(default)]
    factory: RawFactory,
    #[serde(default)]
    bootstrap: Option<Spanned<RawBootstrap>>,
    #[serde(default)]
    sim: RawSim,
    #[serde(default)]
    session: RawSession,
    #[serde(default)]
    http: RawHttp,
    #[serde(default)]
    access: BTreeMap<Moid, RightsList>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCard {
    link: CardLink,
    reader: Text,
    pin_file: PathBuf,
    #[serde(deserialize_with = "values::period")]
    timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    wait: Duration,
    allow: Option<Allow>,
}

impl Default for RawCard {
    fn default() -> Self {
        Self {
            link: CardLink::Auto,
            reader: Text::default(),
            pin_file: PathBuf::new(),
            timeout: Duration::from_secs(20),
            wait: Duration::from_secs(30),
            allow: None,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawFactory {
    file: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawBootstrap {
    url: Option<Spanned<Text>>,
    ca: PathBuf,
    auth: Auth,
    user: Option<Spanned<Text>>,
    secret_file: PathBuf,
    cert: Option<Spanned<PathBuf>>,
    key: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSim {
    required: bool,
    #[serde(deserialize_with = "values::duration")]
    wait: Duration,
    #[serde(deserialize_with = "values::maybe")]
    mcc: Option<Mcc>,
    #[serde(deserialize_with = "values::maybe")]
    mnc: Option<Mnc>,
}

impl Default for RawSim {
    fn default() -> Self {
        Self { required: false, wait: Duration::from_secs(60), mcc: None, mnc: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSession {
    #[serde(deserialize_with = "values::period")]
    every: Duration,
    #[serde(deserialize_with = "values::period")]
    stale_after: Duration,
}

impl Default for RawSession {
    fn default() -> Self {
        Self { every: Duration::from_secs(24 * 3600), stale_after: Duration::from_secs(7 * 24 * 3600) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHttp {
    #[serde(deserialize_with = "values::period")]
    connect_timeout: Duration,
    #[serde(deserialize_with = "values::period")]
    timeout: Duration,
}

impl Default for RawHttp {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(20), timeout: Duration::from_secs(60) }
    }
}

impl Raw {
    fn checked(self, base: &Path) -> Result<Config, (Span, String)> {
        let device = DeviceFacts {
            dev_id: self.dev_id,
            man: self.man.0,
            model: self.model.0,
            dev_type: self.dev_type.0,
            oem: self.oem.0,
            fw_v: self.fw_v.0,
            sw_v: self.sw_v.0,
            hw_v: self.hw_v.0,
            lang: self.lang.0,
        };
        let (bootstrap, login) = match self.bootstrap {
            Some(section) => section_bootstrap(section, base)?,
            None => (None, None),
        };
        Ok(Config {
            state: base.join(self.state),
            device,
            example_mo: self.example_mo,
            card: CardConfig {
                link: self.card.link.below(base),
                reader: self.card.reader.0,
                pin_file: given(self.card.pin_file, base),
                timeout: self.card.timeout,
                wait: self.card.wait,
                allow: self.card.allow,
            },
            factory: given(self.factory.file, base),
            bootstrap,
            login,
            sim: SimConfig { required: self.sim.required, wait: self.sim.wait, mcc: self.sim.mcc, mnc: self.sim.mnc },
            session: SessionConfig { every: self.session.every, stale_after: self.session.stale_after },
            http: HttpConfig { connect_timeout: self.http.connect_timeout, timeout: self.http.timeout },
            access: self.access,
        })
    }
}

fn section_bootstrap(
    section: Spanned<RawBootstrap>,
    base: &Path,
) -> Result<(Option<BootstrapConfig>, Option<Login>), (Span, String)> {
    let span = section.span();
    let raw = section.into_inner();
    for key in [&raw.cert, &raw.key].into_iter().flatten() {
        if !key.get_ref().as_os_str().is_empty() {
            return Err((key.span(), "bootstrap with a client certificate is not supported yet".to_owned()));
        }
    }
    let user = match raw.user {
        Some(user) if user.get_ref().0.contains(':') => {
            return Err((user.span(), "the user of Basic must not hold a colon (RFC 7617)".to_owned()));
        }
        Some(user) => Some(user.into_inner().0).filter(|user| !user.is_empty()),
        None => None,
    };
    let login = given(raw.secret_file, base).map(|secret_file| Login { user, secret_file });
    let Some(url) = raw.url.filter(|url| !url.get_ref().0.is_empty()) else { return Ok((None, login)) };
    if raw.auth == Auth::Basic && login.is_none() {
        let message = "bootstrap.auth is \"basic\", so bootstrap.secret_file is needed: a file of mode 0600";
        return Err((span, message.to_owned()));
    }
    let url = values::secure_url(url)?;
    Ok((Some(BootstrapConfig { url, ca: given(raw.ca, base), auth: raw.auth }), login))
}

fn given(path: PathBuf, base: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| base.join(path))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
