//! The configuration file: TOML, unknown keys refused, and an error names file, line and what was expected.

mod section;
mod values;

use omadm_core::ids::{DevId, Mcc, Mnc, Moid};
use omadm_core::web::Url;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use section::{Section, Span, Wrong, items};
pub use values::{Allow, Auth, CardLink, RightsList};
use values::{duration, period};

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
    pub factory: Option<FactoryConfig>,
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
    /// How long after one reading the card is read again while the client runs: nothing tells of a REFRESH that changes
    /// its files (spec 2.2).
    pub every: Duration,
    /// Whether the card is read on the short way: by short file identifiers, with fewer commands.
    pub fast: bool,
}

/// `[factory]`, where a file is named. Nothing of it is ever written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactoryConfig {
    /// A Bootstrap Message, or a factory bundle with one.
    pub file: PathBuf,
    /// PEM file with the certificates of those who may sign the bundle; `None`: the file counts because it is there.
    pub signer: Option<PathBuf>,
    /// PEM file with the key that decrypts the bundle, mode 0600.
    pub key: Option<PathBuf>,
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

/// What the device itself authenticates with: to the DM Bootstrap Server, and to DM Servers whose account brings no
/// credentials (Profile P-20). In `[bootstrap]`, where it may stand without a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user of Basic or the identity of a pre-shared key; `None`: the DevID, percent-encoded.
    pub user: Option<String>,
    /// What proves that it is this device.
    pub means: Means,
}

/// Where that stands by which the device proves itself. Files with secrets have mode 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// The enrolment secret, the password of Basic.
    Password {
        /// The file with it.
        secret_file: PathBuf,
    },
    /// A pre-shared key of TLS.
    PreSharedKey {
        /// The file with it, in hexadecimal digits.
        secret_file: PathBuf,
    },
    /// A certificate of TLS.
    Certificate {
        /// PEM file with the certificate and its issuers.
        cert: PathBuf,
        /// PEM file with its key.
        key: PathBuf,
    },
    /// The enrolment secret in the factory bundle, the password of Basic.
    Bundle(FactoryConfig),
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
        let fail = |(span, message): Wrong| ConfigError::Content {
            path: path.to_owned(),
            line: line_of(text, &span),
            message,
        };
        whole(text, path.parent().unwrap_or(Path::new(""))).map_err(fail)
    }
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_SIZE {
        return Err(io::Error::other(format!("it is larger than {MAX_SIZE} bytes")));
    }
    fs::read_to_string(path)
}

fn line_of(text: &str, span: &Span) -> usize {
    let end = span.start.min(text.len());
    text.as_bytes().iter().take(end).filter(|byte| **byte == b'\n').count() + 1
}

fn whole(text: &str, base: &Path) -> Result<Config, Wrong> {
    let mut file = Section::file(text, &FILE)?;
    let device = DeviceFacts {
        dev_id: file.required("dev_id")?.read(str::parse)?,
        man: file.text("man")?,
        model: file.text("mod")?,
        dev_type: file.text("dev_type")?,
        oem: file.text("oem")?,
        fw_v: file.text("fw_v")?,
        sw_v: file.text("sw_v")?,
        hw_v: file.text("hw_v")?,
        lang: file.text("lang")?,
    };
    let factory = section_factory(file.section_or_empty("factory", &["file", "signer", "key"])?, base)?;
    let (bootstrap, login) = match file.section("bootstrap", &BOOTSTRAP)? {
        Some(section) => section_bootstrap(section, factory.as_ref(), base)?,
        None => (None, None),
    };
    Ok(Config {
        state: base.join(file.required("state")?.as_str()),
        device,
        example_mo: file.flag("example_mo")?,
        card: section_card(
            file.section_or_empty(
                "card",
                &["link", "reader", "pin_file", "timeout", "wait", "allow", "every", "fast"],
            )?,
            base,
        )?,
        factory,
        bootstrap,
        login,
        sim: section_sim(file.section_or_empty("sim", &["required", "wait", "mcc", "mnc"])?)?,
        session: section_session(file.section_or_empty("session", &["every", "stale_after"])?)?,
        http: section_http(file.section_or_empty("http", &["connect_timeout", "timeout"])?)?,
        access: section_access(&mut file)?,
    })
}

const FILE: [&str; 18] = [
    "state",
    "dev_id",
    "man",
    "mod",
    "dev_type",
    "oem",
    "fw_v",
    "sw_v",
    "hw_v",
    "lang",
    "example_mo",
    "card",
    "factory",
    "bootstrap",
    "sim",
    "session",
    "http",
    "access",
];

const DAY: Duration = Duration::from_secs(24 * 3600);

const BOOTSTRAP: [&str; 7] = ["url", "ca", "auth", "user", "secret_file", "cert", "key"];

fn section_card(mut card: Section<'_>, base: &Path) -> Result<CardConfig, Wrong> {
    let link = card.said("link")?.map_or(Ok(CardLink::Auto), |said| said.read(CardLink::parse))?;
    Ok(CardConfig {
        link: link.below(base),
        reader: card.text("reader")?,
        pin_file: path(&mut card, "pin_file", base)?,
        timeout: card.time("timeout", Duration::from_secs(20), period)?,
        wait: card.time("wait", Duration::from_secs(30), duration)?,
        allow: card.value("allow").map(Allow::read).transpose()?,
        every: card.time("every", DAY, period)?,
        fast: card.flag("fast")?,
    })
}

fn section_factory(mut section: Section<'_>, base: &Path) -> Result<Option<FactoryConfig>, Wrong> {
    let (signer, key) = (path(&mut section, "signer", base)?, path(&mut section, "key", base)?);
    match path(&mut section, "file", base)? {
        Some(file) => Ok(Some(FactoryConfig { file, signer, key })),
        None if signer.is_some() || key.is_some() => {
            Err((section.span(), "factory.signer and factory.key belong to factory.file".to_owned()))
        }
        None => Ok(None),
    }
}

fn section_bootstrap(
    mut section: Section<'_>,
    factory: Option<&FactoryConfig>,
    base: &Path,
) -> Result<(Option<BootstrapConfig>, Option<Login>), Wrong> {
    let auth = section.said("auth")?.map_or(Ok(Auth::default()), |said| said.read(Auth::parse))?;
    let mut login = login(&mut section, auth, base)?;
    let ca = path(&mut section, "ca", base)?;
    let Some(url) = section.given("url")? else { return Ok((None, login)) };
    // What a bundle says of the device's own secret counts only where it is known who made the bundle.
    if let (Auth::Basic, None, Some(bundle)) = (auth, &login, factory.filter(|factory| factory.signer.is_some())) {
        login = Some(Login { user: None, means: Means::Bundle(bundle.clone()) });
    }
    if auth == Auth::Basic && login.is_none() {
        let message = "bootstrap.auth is \"basic\", so bootstrap.secret_file is needed: a file of mode 0600, or \
                       factory.signer and a bundle with the secret";
        return Err((section.span(), message.to_owned()));
    }
    let url = url.read(values::secure_url)?;
    Ok((Some(BootstrapConfig { url, ca, auth }), login))
}

/// What the device proves itself with. Basic is the default, so that without a URL its secret may be missing.
fn login(section: &mut Section<'_>, auth: Auth, base: &Path) -> Result<Option<Login>, Wrong> {
    let (cert, key) = (section.given("cert")?, section.given("key")?);
    if let Some(said) = cert.as_ref().or(key.as_ref()).filter(|_| auth != Auth::X509) {
        return Err(said.wrong("bootstrap.cert and bootstrap.key belong to bootstrap.auth = \"x509\""));
    }
    let user = match section.given("user")? {
        Some(user) if auth != Auth::Psk && user.as_str().contains(':') => {
            return Err(user.wrong("the user of Basic must not hold a colon (RFC 7617)"));
        }
        Some(user) => Some(user.read(values::text)?),
        None => None,
    };
    let secret_file = path(section, "secret_file", base)?;
    let missing = |what: &str| (section.span(), format!("bootstrap.auth is \"{auth}\", so {what}"));
    let means = match auth {
        Auth::Basic | Auth::None => secret_file.map(|secret_file| Means::Password { secret_file }),
        Auth::Psk => {
            let why = "bootstrap.secret_file is needed: a file of mode 0600 with the key in hexadecimal digits";
            Some(Means::PreSharedKey { secret_file: secret_file.ok_or_else(|| missing(why))? })
        }
        Auth::X509 => match (cert, key) {
            (Some(cert), Some(key)) => {
                Some(Means::Certificate { cert: base.join(cert.as_str()), key: base.join(key.as_str()) })
            }
            _ => return Err(missing("bootstrap.cert and bootstrap.key are needed: PEM files, the key of mode 0600")),
        },
    };
    Ok(means.map(|means| Login { user, means }))
}

fn section_sim(mut sim: Section<'_>) -> Result<SimConfig, Wrong> {
    Ok(SimConfig {
        required: sim.flag("required")?,
        wait: sim.time("wait", Duration::from_secs(60), duration)?,
        mcc: sim.given("mcc")?.map(|said| said.read(str::parse)).transpose()?,
        mnc: sim.given("mnc")?.map(|said| said.read(str::parse)).transpose()?,
    })
}

fn section_session(mut session: Section<'_>) -> Result<SessionConfig, Wrong> {
    Ok(SessionConfig {
        every: session.time("every", DAY, period)?,
        stale_after: session.time("stale_after", 7 * DAY, period)?,
    })
}

fn section_http(mut http: Section<'_>) -> Result<HttpConfig, Wrong> {
    Ok(HttpConfig {
        connect_timeout: http.time("connect_timeout", Duration::from_secs(20), period)?,
        timeout: http.time("timeout", Duration::from_secs(60), period)?,
    })
}

fn section_access(file: &mut Section<'_>) -> Result<BTreeMap<Moid, RightsList>, Wrong> {
    let mut access = BTreeMap::new();
    for (moid, value) in file.open_section("access")? {
        let mut rights = RightsList::default();
        for word in items(value)? {
            word.read(|word| rights.add(word))?;
        }
        access.insert(moid.read(str::parse)?, rights);
    }
    Ok(access)
}

/// The path that a key names, if any.
fn path(section: &mut Section<'_>, key: &str, base: &Path) -> Result<Option<PathBuf>, Wrong> {
    Ok(section.given(key)?.map(|said| base.join(said.as_str())))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
