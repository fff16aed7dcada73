//! The factory bundle: a Bootstrap Message for one device and no other, and what that device proves itself by, if that is
//! not in its configuration.
//!
//! ```text
//! {"format": "omadm-factory-1", "dev_id": "IMEI:…", "message": […], "enrolment": {"user": "…", "secret": "…"}}
//! ```
//!
//! This is what is signed; the signature and what may encrypt it are no business of this module. Members that are not
//! known are ignored; what must not be ignored comes with another format.

use serde_json::{Map, Value};

use crate::bootstrap::message::{BootstrapMessage, Limit};
use crate::ids::DevId;
use crate::json::{self, JsonError};
use crate::reason::Reason;
use crate::secret::Secret;

/// The format that is written, and the only one so far that is read.
const FORMAT: &str = "omadm-factory-1";
/// The longest user, in bytes.
const MAX_USER: usize = 255;
/// The longest secret, in bytes.
const MAX_SECRET: usize = 1024;

/// The largest file that a device reads, in bytes, with the signature and what else is around the bundle: 1 MiB
/// (Profile P-2).
pub const MAX_FILE: usize = 1 << 20;

/// A bundle. Its message was not looked into where the bundle was read: that is the bootstrap sequence's.
#[derive(Debug, Clone, PartialEq)]
pub struct FactoryBundle {
    /// The device that it is for.
    pub dev_id: DevId,
    /// The Bootstrap Message, as JSON: it may hold passwords and keys.
    pub message: Secret,
    /// What the device proves itself by to its DM Bootstrap Server.
    pub enrolment: Option<Enrolment>,
}

/// A user and password of HTTP Basic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The user: 1 to 255 bytes without colon and control characters.
    pub user: String,
    /// The password: 1 to 1024 bytes of UTF-8.
    pub secret: Secret,
}

/// Why bytes are no factory bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not JSON: damaged, truncated, too large, too deep, a member twice.
    #[error("the bundle is not readable: {0}")]
    Malformed(#[from] JsonError),
    /// A member is missing or wrong.
    #[error("the bundle has no good member {0:?}")]
    Member(&'static str),
    /// The message in it is none.
    #[error("the bundle's message is refused: {0}")]
    Message(String),
}

impl BundleError {
    /// The reason code of an attempt that ended so.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::MalformedMessage,
            Self::Member(_) | Self::Message(_) => Reason::InvalidMessage,
        }
    }
}

impl FactoryBundle {
    /// Makes a bundle of a message that a device would accept.
    ///
    /// # Errors
    /// If the message is none, or the user or secret breaks a rule.
    pub fn new(dev_id: DevId, message: &[u8], enrolment: Option<Enrolment>) -> Result<Self, BundleError> {
        BootstrapMessage::parse(message, Limit::Elsewhere).map_err(|error| BundleError::Message(error.to_string()))?;
        if enrolment.as_ref().is_some_and(|enrolment| !enrolment.is_good()) {
            return Err(BundleError::Member("enrolment"));
        }
        Ok(Self { dev_id, message: Secret::new(message.to_vec()), enrolment })
    }

    /// Reads a bundle of at most 1 MiB (Profile P-2).
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let Value::Object(mut members) = json::parse(bytes, Limit::Elsewhere.bytes())? else {
            return Err(BundleError::Member("format"));
        };
        if text(&members, "format") != Some(FORMAT) {
            return Err(BundleError::Member("format"));
        }
        let dev_id = text(&members, "dev_id").and_then(|text| text.parse().ok());
        let message = members.remove("message").ok_or(BundleError::Member("message"))?;
        // Room for all of it: what a vector grows out of is not wiped.
        let mut text = Vec::with_capacity(bytes.len());
        // As bytes and not as text: the device writes JSON so already, and stays small.
        serde_json::to_writer(&mut text, &message).map_err(|_| BundleError::Member("message"))?;
        Ok(Self {
            dev_id: dev_id.ok_or(BundleError::Member("dev_id"))?,
            message: Secret::new(text),
            enrolment: members.get("enrolment").map(Enrolment::read).transpose()?,
        })
    }

    /// The bytes to be signed.
    ///
    /// # Errors
    /// If the message is not JSON, which that of [`FactoryBundle::new`] is.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        let mut members = Map::new();
        members.insert("format".to_owned(), FORMAT.into());
        members.insert("dev_id".to_owned(), self.dev_id.as_str().into());
        members.insert("message".to_owned(), json::parse(self.message.expose(), Limit::Elsewhere.bytes())?);
        if let Some(Enrolment { user, secret }) = &self.enrolment {
            let secret = str::from_utf8(secret.expose()).map_err(|_| BundleError::Member("enrolment"))?;
            members.insert("enrolment".to_owned(), serde_json::json!({"user": user, "secret": secret}));
        }
        Ok(Value::Object(members).to_string().into_bytes())
    }
}

impl Enrolment {
    fn read(value: &Value) -> Result<Self, BundleError> {
        let members = value.as_object();
        let member = |name| members.and_then(|members| text(members, name)).unwrap_or_default();
        let enrolment = Self { user: member("user").to_owned(), secret: member("secret").into() };
        if enrolment.is_good() { Ok(enrolment) } else { Err(BundleError::Member("enrolment")) }
    }

    fn is_good(&self) -> bool {
        (1..=MAX_USER).contains(&self.user.len())
            && !self.user.contains(':')
            && !self.user.chars().any(char::is_control)
            && (1..=MAX_SECRET).contains(&self.secret.expose().len())
            && str::from_utf8(self.secret.expose()).is_ok()
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"[{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{"DMAcc":{"SrvID":"acme","SrvURI":"https://dm.example/dm","Name":"x","Perm":{"1":{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}]"#;

    fn bundle(enrolment: Option<Enrolment>) -> Result<FactoryBundle, BundleError> {
        FactoryBundle::new("IMEI:1".parse().unwrap(), MESSAGE.as_bytes(), enrolment)
    }

    fn enrolment(user: &str, secret: &str) -> Option<Enrolment> {
        Some(Enrolment { user: user.to_owned(), secret: secret.into() })
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        for enrolment in [None, enrolment("IMEI%3A1", "hush \"quote\"")] {
            let bundle = bundle(enrolment).unwrap();
            let bytes = bundle.to_bytes().unwrap();
            assert_eq!(FactoryBundle::parse(&bytes).unwrap(), bundle);
        }
        assert_eq!(bundle(None).unwrap().message.expose(), MESSAGE.as_bytes());
    }

    #[test]
    fn debug_shows_neither_message_nor_secret_as_text_or_bytes() {
        let whole = bundle(enrolment("user", "hush hush")).unwrap();
        let read = FactoryBundle::parse(&whole.to_bytes().unwrap()).unwrap();
        for bundle in [whole, read] {
            let shown = format!("{bundle:?}");
            assert!(shown.contains("IMEI:1") && shown.contains("user"), "{shown}");
            for hidden in ["DMAcc", "dm.example", "hush"] {
                let bytes = format!("{:?}", hidden.as_bytes());
                let hexadecimal: String = hidden.bytes().map(|byte| format!("{byte:02x}")).collect();
                for form in [hidden, bytes.trim_matches(['[', ']']), &hexadecimal] {
                    assert!(!shown.contains(form), "{form}: {shown}");
                }
            }
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_its_name() {
        let whole = String::from_utf8(bundle(enrolment("u", "s")).unwrap().to_bytes().unwrap()).unwrap();
        for (old, new, member) in [
            ("omadm-factory-1", "omadm-factory-2", "format"),
            ("IMEI:1", "no DevID", "dev_id"),
            ("\"message\"", "\"massage\"", "message"),
            ("\"user\"", "\"used\"", "enrolment"),
            ("\"s\"", "7", "enrolment"),
            ("\"u\"", "\"a:b\"", "enrolment"),
        ] {
            let error = FactoryBundle::parse(whole.replace(old, new).as_bytes()).unwrap_err();
            assert_eq!((&error, error.reason()), (&BundleError::Member(member), Reason::InvalidMessage));
        }
        let cut = FactoryBundle::parse(&whole.as_bytes()[..99]).unwrap_err();
        assert_eq!(cut.reason(), Reason::MalformedMessage);
        assert_eq!(FactoryBundle::parse(b"[]"), Err(BundleError::Member("format")));
        assert!(FactoryBundle::parse(&vec![b' '; Limit::Elsewhere.bytes() + 1]).is_err());
    }

    #[test]
    fn no_bundle_is_made_that_its_device_would_refuse() {
        assert!(matches!(FactoryBundle::new("IMEI:1".parse().unwrap(), b"[]", None), Err(BundleError::Message(_))));
        for wrong in [enrolment("", "s"), enrolment("u", ""), enrolment("a:b", "s"), enrolment("u", &"s".repeat(1025))]
        {
            assert_eq!(bundle(wrong), Err(BundleError::Member("enrolment")));
        }
    }
}
