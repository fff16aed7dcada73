//! The JSON form of a profile. Unknown keys are refused, and the message is tried out before a profile exists.

use omadm_core::ids::{DevId, Mcc, Mnc};
use omadm_core::json::{self, JsonError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bootstrap::rendering::{Template, TemplateError};

/// The largest profile, in bytes.
pub(crate) const MAX_PROFILE: usize = 1 << 20;
/// The most values that a profile matches by.
const MAX_MATCHES: usize = 10_000;

/// What a device is given, and when.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) matches: Match,
    pub(crate) release: Release,
    pub(crate) credentials: Scheme,
    pub(crate) template: Template,
}

/// Which devices a profile is for. All are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Match {
    /// These devices.
    pub(crate) dev_id: Vec<DevId>,
    /// Devices whose DevID begins so, such as the TAC of an IMEI.
    pub(crate) dev_id_prefix: Vec<String>,
    /// Devices of these home networks.
    pub(crate) network: Vec<Network>,
    /// Every other device.
    pub(crate) default: bool,
}

/// A home network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) mcc: Mcc,
    pub(crate) mnc: Mnc,
}

/// To whom the message is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Release {
    /// To devices that are known here and prove it.
    #[default]
    Known,
    /// To anyone, if the server's configuration switches that on; such a message holds no secrets.
    Anyone,
}

/// Which credentials are made for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    /// A user and a password for HTTP Basic.
    #[default]
    Basic,
    /// A pre-shared key for TLS.
    Psk,
    /// A certificate and its key for TLS, signed by the server's own device CA.
    X509,
    /// None: the device uses those of its configuration, or the template holds some.
    None,
}

/// Why text is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Not JSON; the text names line and column.
    #[error("not readable as JSON: {0}")]
    Json(#[from] JsonError),
    /// A key or value that is not as expected; the text names line and column.
    #[error("not a profile: {0}")]
    Form(String),
    /// A value that breaks a rule.
    #[error("{0}")]
    Rule(String),
    /// The message; the text names the ClientURI.
    #[error("message: {0}")]
    Message(#[from] TemplateError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(rename = "match", default)]
    matches: Match,
    #[serde(default)]
    release: Release,
    #[serde(default)]
    credentials: Scheme,
    message: Value,
}

impl Match {
    /// For which devices a profile is that cannot be read: what can be understood of that; `None` if nothing can. What is
    /// not known is passed over, so that a device is rather kept from another profile than given it.
    pub(crate) fn of_unreadable(bytes: &[u8]) -> Option<Self> {
        let written = json::parse(bytes, MAX_PROFILE).ok()?;
        let written = written.get("match")?;
        let list = |name: &str| written.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let dev_ids = |name| list(name).iter().filter_map(Value::as_str).filter_map(|text| text.parse::<DevId>().ok());
        let network = |one: &Value| {
            let (mcc, mnc) = (one.get("mcc")?.as_str()?, one.get("mnc")?.as_str()?);
            Some(Network { mcc: mcc.parse().ok()?, mnc: mnc.parse().ok()? })
        };
        let matches = Self {
            dev_id: dev_ids("dev_id").collect(),
            dev_id_prefix: dev_ids("dev_id_prefix").map(|prefix| prefix.to_string()).collect(),
            network: list("network").iter().filter_map(network).collect(),
            default: written.get("default") == Some(&Value::Bool(true)),
        };
        (matches != Self::default()).then_some(matches)
    }
}

impl Profile {
    /// Reads a profile, and tries its message out with sample values.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ProfileError> {
        // First for what serde_json does not refuse: members that stand twice, depth, size.
        json::parse(bytes, MAX_PROFILE)?;
        let written: Written = serde_json::from_slice(bytes).map_err(|error| ProfileError::Form(error.to_string()))?;
        let rule = |text: &str| Err(ProfileError::Rule(text.to_owned()));
        if !is_name(&written.name) {
            return rule("name: 1 to 64 characters of A-Z a-z 0-9 . _ - are expected");
        }
        let matches = &written.matches;
        if matches.dev_id.len() + matches.dev_id_prefix.len() + matches.network.len() > MAX_MATCHES {
            return rule("match: at most 10000 values are allowed");
        }
        if matches.dev_id_prefix.iter().any(|prefix| prefix.parse::<DevId>().is_err()) {
            return rule(
                "match.dev_id_prefix: the beginning of a DevID is expected, 1 to 128 printable ASCII characters",
            );
        }
        if *matches == Match::default() {
            return rule("match: one of dev_id, dev_id_prefix, network and default is expected");
        }
        let template = Template::new(written.message)?;
        if written.release == Release::Anyone && (written.credentials != Scheme::None || template.holds_secrets()) {
            return rule("release: a message for anyone holds no secrets; \"credentials\": \"none\" is expected");
        }
        match written.credentials {
            Scheme::Basic | Scheme::Psk | Scheme::X509 => template.check_room_for_credentials()?,
            Scheme::None => {}
        }
        Ok(Self {
            name: written.name,
            matches: written.matches,
            release: written.release,
            credentials: written.credentials,
            template,
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
