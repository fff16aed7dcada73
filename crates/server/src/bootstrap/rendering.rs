//! The third step: the message in its media type. The only place in the server that knows the DM Account MO; another
//! rendering is another [`Form`].

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use omadm_core::account::Credential;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit, MessageError};
use omadm_core::secret::Secret;
use omadm_core::web::media;
use serde_json::{Map, Value, json};
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

use crate::profile::Scheme;

/// The MOID of the DM Account MO, whatever its version.
const DMACC: &str = "urn:oma:mo:oma-dm-dmacc:";
/// The path of the DM Server at the device port.
const DM: &str = "/dm";

/// A form in which a device can be told what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The Bootstrap Message of OMA DM 2.0 (Profile P-2).
    BootstrapMessage,
}

/// What the server fills into a template.
#[derive(Debug, Clone)]
pub(crate) struct Filling {
    /// How devices reach this server: scheme, host and port.
    pub(crate) server: String,
    /// Anchors in PEM.
    pub(crate) anchors: Option<String>,
    /// What the device proves itself by.
    pub(crate) credential: Option<Credential>,
}

/// A Bootstrap Message in which the account of this server is left open: the one account without SrvURI gets SrvURI,
/// Ext/omadm/ServerCA and, unless it has its own, Auth/Trsp. `null` for ServerCA keeps the server from filling it.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    items: Vec<Value>,
    /// Which item is the account of this server, and the name of its root.
    account: Option<(usize, String)>,
    srv_id: String,
    /// What was rendered last: messages to devices differ in their credentials only.
    frame: Arc<RwLock<Option<Arc<Frame>>>>,
}

/// Why JSON is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Not an array of objects.
    #[error("an array of serialized MOs is expected")]
    Form,
    /// Two accounts are left open.
    #[error("{0} and {1} both have no SrvURI; the server fills in one account")]
    TwoAccounts(String, String),
    /// Nowhere to put credentials.
    #[error(
        "no account takes the credentials that the server makes; leave SrvURI and Auth/Trsp out of one account, or set \
         \"credentials\": \"none\""
    )]
    NoRoom,
    /// Filled with sample values it is no Bootstrap Message.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// A rendering that came out wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rendered message is not valid: {0}")]
pub(crate) struct RenderError(#[from] MessageError);

impl Form {
    /// The media types of all forms, the preferred one first.
    pub(crate) const OFFERED: [&'static str; 1] = [media::BOOTSTRAP];

    /// The form of this media type.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        (media_type == media::BOOTSTRAP).then_some(Self::BootstrapMessage)
    }

    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::BootstrapMessage => media::BOOTSTRAP,
        }
    }

    /// The bytes of a message, complete and checked.
    pub(crate) fn render(self, template: &Template, filling: &Filling) -> Result<Vec<u8>, RenderError> {
        match self {
            Self::BootstrapMessage => template.rendered(filling),
        }
    }
}

/// The most bytes that fit on a card (Profile P-2).
pub(crate) fn card_limit() -> usize {
    Limit::Card.bytes()
}

impl Template {
    /// Checks a template by filling it with sample values.
    pub(crate) fn new(message: Value) -> Result<Self, TemplateError> {
        let items = match message {
            Value::Array(items) => items,
            Value::Object(item) => vec![Value::Object(item)],
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(TemplateError::Form),
        };
        if !items.iter().all(Value::is_object) {
            return Err(TemplateError::Form);
        }
        let mut template = Self { items, account: None, srv_id: String::new(), frame: Arc::default() };
        for index in 0..template.items.len() {
            let Some(root) = template.open_account(index) else { continue };
            if let Some((other, _)) = &template.account {
                return Err(TemplateError::TwoAccounts(template.uri(*other), template.uri(index)));
            }
            template.account = Some((index, root));
        }
        let message = BootstrapMessage::parse(&template.filled(&sample()), Limit::Elsewhere)?;
        template.srv_id = match &template.account {
            Some((index, root)) => text(&template.items[*index]["MOData"][root]["SrvID"]),
            None => message.accounts().first().map(|(account, _)| account.srv_id.to_string()).unwrap_or_default(),
        };
        Ok(template)
    }

    /// The SrvID of this server's account, else of the first one.
    pub(crate) fn srv_id(&self) -> &str {
        &self.srv_id
    }

    /// Whether the template itself holds a secret.
    pub(crate) fn holds_secrets(&self) -> bool {
        self.items.iter().any(has_secret)
    }

    /// An account has to be left open, and without credentials of its own.
    pub(crate) fn check_room_for_credentials(&self) -> Result<(), TemplateError> {
        match &self.account {
            Some((index, root)) if self.items[*index]["MOData"][root]["Auth"].get("Trsp").is_none() => Ok(()),
            Some(_) | None => Err(TemplateError::NoRoom),
        }
    }

    /// The root's name if this item is an account without SrvURI.
    fn open_account(&self, index: usize) -> Option<String> {
        let item = self.items.get(index)?;
        if !item.get("ClientURI")?.as_str()?.starts_with(DMACC) {
            return None;
        }
        let (root, account) = item.get("MOData")?.as_object()?.iter().next()?;
        (account.is_object() && account.get("SrvURI").is_none()).then(|| root.clone())
    }

    fn uri(&self, index: usize) -> String {
        self.items.get(index).map(|item| text(&item["ClientURI"])).unwrap_or_default()
    }

    fn rendered(&self, filling: &Filling) -> Result<Vec<u8>, RenderError> {
        let Some((credential, secret)) = short(filling) else { return checked(self.filled(filling)) };
        let cached = self.frame.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(frame) = cached.filter(|frame| frame.fits(filling, credential)) {
            return Ok(frame.around(credential, secret));
        }
        let bytes = checked(self.filled(filling))?;
        if let Some(frame) = Frame::of(&bytes, filling, credential, secret) {
            *self.frame.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(frame));
        }
        Ok(bytes)
    }

    fn filled(&self, filling: &Filling) -> Vec<u8> {
        let mut items = self.items.clone();
        if let Some((index, root)) = &self.account
            && let Some(account) = items.get_mut(*index).and_then(|item| item["MOData"][root].as_object_mut())
        {
            fill(account, filling);
        }
        Value::Array(items).to_string().into_bytes()
    }
}

/// The credential and its secret, if it is one of those that are made in no time and have both.
fn short(filling: &Filling) -> Option<(&Credential, &Secret)> {
    let credential = filling.credential.as_ref()?;
    match credential {
        Credential::Basic { password: secret, .. } | Credential::Psk { key: secret, .. } => Some((credential, secret)),
        Credential::Digest { .. } | Credential::X509 { .. } | Credential::Aka { .. } => None,
    }
}

/// A checked message without its credentials. Those are Base64, so that whatever they are, it stays well-formed.
#[derive(Debug)]
struct Frame {
    server: String,
    anchors: Option<String>,
    scheme: Discriminant<Credential>,
    before: Vec<u8>,
    between: Vec<u8>,
    after: Vec<u8>,
}

impl Frame {
    /// What is around the credentials of this message; `None` if they stand there otherwise than once each, the name
    /// first.
    fn of(bytes: &[u8], filling: &Filling, credential: &Credential, secret: &Secret) -> Option<Self> {
        let (before, rest) = split_once(bytes, BASE64_STANDARD.encode(credential.data()).as_bytes())?;
        let (between, after) = split_once(rest, BASE64_STANDARD.encode(secret.expose()).as_bytes())?;
        Some(Self {
            server: filling.server.clone(),
            anchors: filling.anchors.clone(),
            scheme: discriminant(credential),
            before: before.to_vec(),
            between: between.to_vec(),
            after: after.to_vec(),
        })
    }

    /// Whether it is filled with the same server and anchors, and with such a credential.
    fn fits(&self, filling: &Filling, credential: &Credential) -> bool {
        self.scheme == discriminant(credential) && self.server == filling.server && self.anchors == filling.anchors
    }

    fn around(&self, credential: &Credential, secret: &Secret) -> Vec<u8> {
        let data = Zeroizing::new(BASE64_STANDARD.encode(credential.data()));
        let secret = Zeroizing::new(BASE64_STANDARD.encode(secret.expose()));
        [&self.before, data.as_bytes(), &self.between, secret.as_bytes(), &self.after].concat()
    }
}

/// What stands before and behind the only place of `part`.
fn split_once<'a>(bytes: &'a [u8], part: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut places = bytes.windows(part.len().max(1)).enumerate().filter(|(_, window)| *window == part);
    let ((start, _), None) = (places.next()?, places.next()) else { return None };
    Some((bytes.get(..start)?, bytes.get(start + part.len()..)?))
}

fn checked(bytes: Vec<u8>) -> Result<Vec<u8>, RenderError> {
    BootstrapMessage::parse(&bytes, Limit::Elsewhere)?;
    Ok(bytes)
}

fn fill(account: &mut Map<String, Value>, filling: &Filling) {
    account.insert("SrvURI".to_owned(), format!("{}{DM}", filling.server).into());
    if let Some(credential) = &filling.credential
        && let Some(auth) = object(account, "Auth")
        && !auth.contains_key("Trsp")
    {
        let mut trsp = Map::new();
        trsp.insert("Data".to_owned(), BASE64_STANDARD.encode(credential.data()).into());
        if let Some(secret) = credential.secret() {
            trsp.insert("Secret".to_owned(), BASE64_STANDARD.encode(secret.expose()).into());
        }
        auth.insert("Trsp".to_owned(), trsp.into());
    }
    // Profile P-23: whom the device shall trust instead of its own store.
    let anchors_of_template = account.get("Ext").and_then(|ext| ext.get("omadm")?.get("ServerCA").cloned());
    match (anchors_of_template, &filling.anchors) {
        (None, Some(pem)) => {
            if let Some(ours) = object(account, "Ext").and_then(|ext| object(ext, "omadm")) {
                ours.insert("ServerCA".to_owned(), pem.clone().into());
            }
        }
        (Some(Value::Null), _) => {
            if let Some(ours) = object(account, "Ext").and_then(|ext| object(ext, "omadm")) {
                ours.remove("ServerCA");
            }
        }
        (Some(_), _) | (None, None) => {}
    }
}

/// The interior node of this name, made if it is not there; `None` if a leaf is in its place.
fn object<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    parent.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| ["Secret", "ClientSecretKey"].contains(&name.as_str()) || has_secret(value)),
        Value::Array(items) => items.iter().any(has_secret),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Sample values, as long as real ones.
pub(crate) fn sample() -> Filling {
    Filling { server: "https://sample.example".to_owned(), anchors: None, credential: sample_credential(Scheme::Basic) }
}

/// A sample of what a profile with this scheme gives out.
pub(crate) fn sample_credential(scheme: Scheme) -> Option<Credential> {
    let name = || "0123456789abcdef01234567".to_owned();
    match scheme {
        Scheme::Basic => {
            Some(Credential::Basic { user: name(), password: Secret::from("sample-password-of-32-characters") })
        }
        Scheme::Psk => {
            Some(Credential::Psk { identity: name(), key: Secret::from("a sample key, as long: 32 bytes.") })
        }
        Scheme::X509 => Some(Credential::X509 {
            // An empty SEQUENCE: no certificate, and nobody takes it for one.
            chain: Secret::new(vec![0x30, 0]),
            key: Secret::from("sample key"),
        }),
        Scheme::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::account::Credential;

    fn account(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut account = json!({"SrvID": "acme", "Name": "Acme", "Perm": {"1": {"MOID": "urn:x:1"}}});
        change(account.as_object_mut().unwrap());
        json!({"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/acme/", "MOData": {"DMAcc": account}})
    }

    fn parsed(template: &Template, filling: &Filling) -> BootstrapMessage {
        let bytes = Form::BootstrapMessage.render(template, filling).unwrap();
        BootstrapMessage::parse(&bytes, Limit::Elsewhere).unwrap()
    }

    #[test]
    fn the_open_account_is_filled_in() {
        let template = Template::new(json!([account(|_| ())])).unwrap();
        let message = parsed(&template, &sample());
        let filled = &message.accounts()[0].0;
        assert_eq!(filled.srv_uri.as_str(), "https://sample.example/dm");
        assert!(matches!(&filled.trsp, Some(Credential::Basic { user, .. }) if user == "0123456789abcdef01234567"));
        assert_eq!(template.srv_id(), "acme");
        let message = parsed(&template, &Filling { credential: None, ..sample() });
        assert_eq!(message.accounts()[0].0.trsp, None);
    }

    #[test]
    fn messages_after_the_first_are_as_if_each_were_made_anew() {
        let anchors = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        let basic = |user: &str, password: &str| {
            Some(Credential::Basic { user: user.to_owned(), password: Secret::from(password) })
        };
        let psk =
            |number: u8| Some(Credential::Psk { identity: format!("psk{number}"), key: Secret::new(vec![number; 32]) });
        let template = || Template::new(json!([account(|_| ())])).unwrap();
        let used = template();
        for (anchors, server, credential) in [
            (Some(anchors), "https://one.example", basic("first", "password one")),
            (Some(anchors), "https://one.example", basic("other", "another password")),
            (Some(anchors), "https://one.example", psk(1)),
            (Some(anchors), "https://one.example", psk(2)),
            (None, "https://one.example", psk(3)),
            (None, "https://one.example", sample_credential(Scheme::X509)),
            (None, "https://one.example", basic("other", "another password")),
            (None, "https://two.example", basic("other", "x\"y\\z")),
            (None, "https://two.example", basic("b", "b")),
            (None, "https://two.example", None),
            (Some(anchors), "https://two.example", basic("a", "b")),
        ] {
            let filling = Filling { server: server.into(), anchors: anchors.map(str::to_owned), credential };
            let bytes = Form::BootstrapMessage.render(&used, &filling).unwrap();
            assert_eq!(bytes, template().filled(&filling), "{filling:?}");
        }
        assert!(used.frame.read().unwrap().is_some());
    }

    #[test]
    fn each_scheme_is_filled_in_as_the_device_reads_it() {
        let template = Template::new(json!([account(|_| ())])).unwrap();
        for scheme in [Scheme::Basic, Scheme::Psk, Scheme::X509, Scheme::None] {
            let credential = sample_credential(scheme);
            let message = parsed(&template, &Filling { credential: credential.clone(), ..sample() });
            assert_eq!(message.accounts()[0].0.trsp, credential);
        }
    }

    #[test]
    fn the_template_wins() {
        let own =
            json!({"Trsp": {"Data": BASE64_STANDARD.encode("basic:own"), "Secret": BASE64_STANDARD.encode("pw")}});
        let template = Template::new(json!([account(|account| {
            account.insert("Auth".into(), own);
            account.insert("Ext".into(), json!({"omadm": {"ServerCA": null}}));
        })]))
        .unwrap();
        let anchors = Some("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n".to_owned());
        let message = parsed(&template, &Filling { anchors: anchors.clone(), ..sample() });
        let filled = &message.accounts()[0].0;
        assert!(matches!(&filled.trsp, Some(Credential::Basic { user, .. }) if user == "own"));
        assert_eq!(filled.server_ca, None);
        assert!(template.holds_secrets() && template.check_room_for_credentials().is_err());
        let plain = Template::new(json!([account(|_| ())])).unwrap();
        assert_eq!(
            parsed(&plain, &Filling { anchors: anchors.clone(), ..sample() }).accounts()[0].0.server_ca,
            anchors
        );
    }

    #[test]
    fn another_servers_account_is_left_as_it_is() {
        let other = account(|account| {
            account.insert("SrvURI".into(), "https://other.example/dm".into());
        });
        let template = Template::new(json!([other])).unwrap();
        assert_eq!(parsed(&template, &sample()).accounts()[0].0.srv_uri.as_str(), "https://other.example/dm");
        assert_eq!(template.check_room_for_credentials(), Err(TemplateError::NoRoom));
        assert_eq!(template.srv_id(), "acme");
    }

    #[test]
    fn errors_name_the_node() {
        let no_name = account(|account| {
            account.remove("Name");
        });
        let error = Template::new(json!([no_name])).unwrap_err().to_string();
        assert!(error.contains("urn:oma:mo:oma-dm-dmacc:1.2/acme/Name"), "{error}");
        assert_eq!(Template::new(json!("text")).unwrap_err(), TemplateError::Form);
        assert!(Template::new(json!([])).is_err() && Template::new(json!([{}])).is_err());
        let two = Template::new(json!([account(|_| ()), account(|_| ())])).unwrap_err();
        assert!(matches!(two, TemplateError::TwoAccounts(..)), "{two}");
    }
}
