//! The server's configuration: TOML, unknown keys refused, every key with a default.

use omadm_core::web::Url;
use serde::{Deserialize, Deserializer};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::{self, FileError};

/// Failed to read the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not there.
    #[error("{}: there is no such file", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// A key or value that is not as expected; the text names line and column.
    #[error("{}: {text}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where, what, and what was expected.
        text: String,
    },
}

/// How the server is to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where devices come in, over TLS.
    pub device: SocketAddr,
    /// Where a proxy on this machine that does TLS for devices brings them in over plain HTTP: a loopback address. It
    /// serves what the device port does; all devices then come from the proxy's address.
    pub plain: Option<SocketAddr>,
    /// Where people and programs of the fleet come in: over plain HTTP on loopback, over TLS elsewhere.
    pub admin: SocketAddr,
    /// Scheme, host and port by which devices reach the device port; `https://localhost:<port>` if absent.
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<Url>,
    /// The names and addresses in the certificate that the own CA makes, beside the host of `public_url`.
    pub hosts: Vec<String>,
    /// The operator's certificate; without it the server makes a CA and a certificate of its own.
    pub tls: Option<TlsFiles>,
    /// CAs in PEM whose certificates say by their common name which device it is; relative to the configuration file.
    pub device_ca: Option<PathBuf>,
    /// The bootstrap endpoint.
    pub bootstrap: BootstrapConfig,
    /// Bounds on what a peer can cost.
    pub limits: Limits,
    /// How long records are kept.
    pub retention: Retention,
}

/// The operator's certificate and key, as paths of PEM files, relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The server's certificate and those of its issuers, in this order.
    pub cert: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// What devices shall trust, put into Bootstrap Messages; absent: their own trust store.
    pub ca: Option<PathBuf>,
}

/// The bootstrap endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Whether messages without secrets may be released to anyone, where their profile allows it.
    pub anonymous: bool,
    /// The realm of the challenge.
    pub realm: String,
}

/// Bounds on what a peer can cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest body of a request, in bytes, 1024 to 1 MiB.
    pub max_body: u32,
    /// The time for the TLS handshake.
    #[serde(deserialize_with = "duration")]
    pub handshake: Duration,
    /// The time for the head of a request, idle time before it included.
    #[serde(deserialize_with = "duration")]
    pub header: Duration,
    /// The time for the body of a request, and the longest that an answer waits for its reader to take a piece of it.
    #[serde(deserialize_with = "duration")]
    pub body: Duration,
    /// How many connections may be open at each port.
    pub connections: u32,
    /// How many of them at the device port from one address (IPv6: one /64).
    pub connections_per_address: u32,
    /// Failed attempts to authenticate in a minute, for one user from one address.
    pub failures_per_minute: u32,
    /// Bootstrap Messages given to one device in a minute.
    pub messages_per_minute: u32,
    /// Bootstrap Messages for anyone that go to one address (IPv6: one /64) in a minute.
    pub anonymous_per_minute: u32,
}

/// How long records of requests are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// The last requests of each device.
    pub per_device: u32,
    /// Days.
    pub days: u32,
    /// Requests of all devices together.
    pub total: u64,
    /// The size of the ring for requests of unknown senders.
    pub strangers: u32,
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// If it cannot be read or is not as expected; the message names file, line and what was expected.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = files::read(path)?.ok_or_else(|| ConfigError::Missing { path: path.to_owned() })?;
        let mut config = Self::parse(&text).map_err(|text| ConfigError::Invalid { path: path.to_owned(), text })?;
        if let Some(folder) = path.parent() {
            let of_tls =
                config.tls.iter_mut().flat_map(|tls| [Some(&mut tls.cert), Some(&mut tls.key), tls.ca.as_mut()]);
            for file in of_tls.flatten().chain(config.device_ca.as_mut()) {
                *file = folder.join(&*file);
            }
        }
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let limits = &config.limits;
        for (key, value, range) in [
            ("limits.max_body", u64::from(limits.max_body), 1024..=1 << 20),
            ("limits.connections", limits.connections.into(), 1..=1_000_000),
            ("limits.connections_per_address", limits.connections_per_address.into(), 1..=1_000_000),
            ("limits.anonymous_per_minute", limits.anonymous_per_minute.into(), 1..=100_000),
            ("limits.failures_per_minute", limits.failures_per_minute.into(), 1..=100_000),
            ("limits.messages_per_minute", limits.messages_per_minute.into(), 1..=100_000),
            ("retention.per_device", config.retention.per_device.into(), 1..=10_000),
            ("retention.days", config.retention.days.into(), 1..=3650),
            ("retention.total", config.retention.total, 1..=100_000_000),
            ("retention.strangers", config.retention.strangers.into(), 1..=100_000),
        ] {
            if !range.contains(&value) {
                return Err(format!("{key} = {value}: {} to {} is expected", range.start(), range.end()));
            }
        }
        if let Some(plain) = config.plain.filter(|plain| !plain.ip().is_loopback()) {
            return Err(format!(
                "plain = \"{plain}\": an address of loopback is expected; plain HTTP never leaves the machine"
            ));
        }
        if config.bootstrap.realm.bytes().any(|byte| !(b' '..=b'~').contains(&byte) || b"\"\\".contains(&byte)) {
            return Err("bootstrap.realm: printable ASCII without quotes and backslashes is expected".to_owned());
        }
        Ok(config)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            plain: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            tls: None,
            device_ca: None,
            bootstrap: BootstrapConfig::default(),
            limits: Limits::default(),
            retention: Retention::default(),
        }
    }
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { anonymous: false, realm: "omadm".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(60),
            connections: 4096,
            connections_per_address: 1024,
            failures_per_minute: 10,
            messages_per_minute: 60,
            anonymous_per_minute: 60,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { per_device: 100, days: 30, total: 1_000_000, strangers: 100_000 }
    }
}

fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let url = Url::deserialize(deserializer)?;
    if !url.is_https() || url.path_and_query() != "/" {
        return Err(serde::de::Error::custom("https, a host and perhaps a port are expected, without a path"));
    }
    Ok(Some(url))
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let seconds = match text.strip_suffix('s') {
        Some(seconds) => seconds.parse::<u64>().ok(),
        None => text.strip_suffix('m').and_then(|minutes| minutes.parse::<u64>().ok()?.checked_mul(60)),
    };
    match seconds {
        Some(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        Some(_) | None => Err(serde::de::Error::custom("1s to 60m is expected, such as \"10s\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
    }

    #[test]
    fn every_key_can_be_set() {
        let config = Config::parse(
            r#"
            device = "0.0.0.0:443"
            plain = "[::1]:8081"
            admin = "127.0.0.1:9000"
            public_url = "https://dm.example"
            hosts = ["dm.example"]
            device_ca = "devices.pem"
            [tls]
            cert = "c.pem"
            key = "k.pem"
            ca = "ca.pem"
            [bootstrap]
            anonymous = true
            realm = "fleet"
            [limits]
            max_body = 65536
            handshake = "5s"
            header = "5s"
            body = "1m"
            connections = 10
            connections_per_address = 5
            anonymous_per_minute = 6
            failures_per_minute = 3
            messages_per_minute = 4
            [retention]
            per_device = 10
            days = 3
            total = 1000
            strangers = 100
            "#,
        )
        .unwrap();
        assert_eq!(config.public_url.unwrap().as_str(), "https://dm.example/");
        assert_eq!(config.limits.body, Duration::from_secs(60));
    }

    #[test]
    fn errors_name_the_line_and_what_was_expected() {
        for (text, expected) in [
            ("\ndevise = 1", "line 2"),
            ("\ndevise = 1", "unknown field `devise`, expected one of"),
            ("device = \"nowhere\"", "line 1"),
            ("public_url = \"http://dm.example\"", "https, a host"),
            ("public_url = \"https://dm.example/x\"", "without a path"),
            ("[limits]\nheader = \"soon\"", "such as \"10s\""),
            ("plain = \"0.0.0.0:80\"", "an address of loopback"),
            ("[limits]\nmax_body = 1", "1024 to 1048576"),
            ("[retention]\nstrangers = 0", "1 to 100000"),
            ("[tls]\ncert = \"c.pem\"", "missing field `key`"),
            ("[bootstrap]\nrealm = \"a\\\"b\"", "without quotes"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
