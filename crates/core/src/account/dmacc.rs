//! The DM Account MO 1.2 as a value that cannot exist half valid (spec 2.3, 10; Profiles P-2, P-19, P-20, P-23, P-31).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::credential::Credential;
use super::place::{NodeError, Place};
use crate::access::GivenRights;
use crate::ids::{Moid, SrvId};
use crate::mo::{self, Node};
use crate::secret::{Secret, at_rest};
use crate::web::{Origin, Url};

/// The most MOIDs that one account lists.
const MAX_PERM: usize = 256;
/// The most trusted origins that one account lists.
const MAX_ORIGINS: usize = 16;
/// The least length of a notification secret, in bytes (Profile P-9).
const MIN_NOTI_SECRET: usize = 16;

/// A DM Account: how to reach one DM Server, who the client is there, and what that server may manage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmAccount {
    /// The server's identifier.
    pub srv_id: SrvId,
    /// Where Package#1 goes.
    pub srv_uri: Url,
    /// A name for people.
    pub name: String,
    /// The MOIDs that this server may manage; consumed at bootstrap, never readable afterwards.
    pub perm: BTreeSet<Moid>,
    /// Auth/Trsp: what the client authenticates with; without it the device's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trsp: Option<Credential>,
    /// Auth/Noti: how notifications are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noti: Option<Notification>,
    /// Auth/Bootstrap: where and how to ask for another Bootstrap Message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Ext/omadm/ServerCA: PEM anchors for the trusted origins; absent: the device's trust store (Profile P-23).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_ca: Option<String>,
    /// Ext/omadm/Origins: trusted origins beside that of the SrvURI (Profile P-31).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// Ext/omadm/Role, such as `bootstrap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What DACMO items of the same message let this server do with instances that the device made itself
    /// (spec 2.3, Profile P-18).
    #[serde(default, skip_serializing_if = "GivenRights::is_empty")]
    pub given: GivenRights,
}

/// Auth/Noti: how this server's notifications are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Goes behind the message when the digest is made.
    #[serde(with = "at_rest")]
    pub data: Secret,
    /// Goes before the message when the digest is made.
    #[serde(with = "at_rest")]
    pub secret: Secret,
}

/// Auth/Bootstrap: where and how to ask for another Bootstrap Message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The DM Bootstrap Server.
    pub server_uri: Url,
    /// How the client authenticates there.
    pub mode: SecMode,
    /// The client's certificate or identity.
    #[serde(with = "at_rest")]
    pub client_pub_key: Secret,
    /// The server's certificate, then the only anchor.
    #[serde(with = "at_rest")]
    pub server_pub_key: Secret,
    /// The client's key.
    #[serde(with = "at_rest")]
    pub client_secret_key: Secret,
}

/// Auth/Bootstrap/SecMode, one byte (Profile P-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecMode {
    /// The server's certificate, and Basic or Digest from the device's configuration.
    Configured = 0,
    /// Pre-shared key.
    Psk = 1,
    /// X.509 certificate.
    X509 = 2,
    /// Digest AKA with the USIM.
    Aka = 3,
}

impl DmAccount {
    /// Reads the children of a DMAcc root, as they stand in a Bootstrap Message. A node that DMAcc 1.2 does not have is
    /// refused, save below `Ext`, so that a slip in a name is found and not skipped.
    pub fn from_children(children: &Map<String, Value>) -> Result<Self, NodeError> {
        let root = Place::root(children);
        root.only(&["SrvID", "SrvURI", "Name", "Perm", "Auth", "Push", "Ext"])?;
        let srv_id = root.name("SrvID")?;
        let srv_uri = root.url("SrvURI", &root.required_text("SrvURI")?)?;
        let name = root.required_text("Name")?;
        let perm = perm(&root)?;
        let (mut trsp, mut noti, mut bootstrap) = (None, None, None);
        if let Some(auth) = root.child("Auth")? {
            auth.only(&["Bootstrap", "Noti", "Trsp"])?;
            trsp = auth.child("Trsp")?.map(|place| read_trsp(&place)).transpose()?;
            noti = auth.child("Noti")?.map(|place| read_noti(&place)).transpose()?;
            bootstrap = auth.child("Bootstrap")?.map(|place| read_bootstrap(&place)).transpose()?;
        }
        let (mut server_ca, mut origins, mut role) = (None, Vec::new(), None);
        if let Some(ext) = root.child("Ext")?
            && let Some(ours) = ext.child("omadm")?
        {
            server_ca = ours.text("ServerCA")?;
            if server_ca.as_ref().is_some_and(|pem| !holds_certificates(pem)) {
                return Err(ours.error("ServerCA", "certificates in PEM are expected"));
            }
            role = ours.text("Role")?;
            for text in ours.text("Origins")?.iter().flat_map(|list| list.split_ascii_whitespace()) {
                let url = ours.url("Origins", text)?;
                if url.path_and_query() != "/" || origins.len() == MAX_ORIGINS {
                    return Err(ours.error("Origins", "at most 16 origins such as https://dm.example are expected"));
                }
                origins.push(url.origin().clone());
            }
        }
        let given = GivenRights::default();
        Ok(Self { srv_id, srv_uri, name, perm, trsp, noti, bootstrap, server_ca, origins, role, given })
    }

    /// The DMAcc as a server may read it: neither Perm, which is consumed, nor any secret (spec 2.3, Profile P-19).
    pub fn to_node(&self) -> Node {
        let bytes = |bytes: &[u8]| Node::Leaf(mo::Value::Bin(bytes.to_vec()));
        let mut root = vec![
            ("SrvID", Node::chr(self.srv_id.as_str())),
            ("SrvURI", Node::chr(self.srv_uri.as_str())),
            ("Name", Node::chr(&self.name)),
        ];
        let mut auth = Vec::new();
        if let Some(bootstrap) = &self.bootstrap {
            let mode = bytes(&[bootstrap.mode as u8]);
            let server = Node::chr(bootstrap.server_uri.as_str());
            auth.push(("Bootstrap", Node::interior([("ServerURI", server), ("SecMode", mode)])));
        }
        if let Some(noti) = &self.noti {
            let data = bytes(noti.data.expose());
            auth.push(("Noti", Node::interior([("Type", Node::Leaf(mo::Value::Int(1))), ("Data", data)])));
        }
        if let Some(trsp) = &self.trsp {
            auth.push(("Trsp", Node::interior([("Data", bytes(&trsp.data()))])));
        }
        if !auth.is_empty() {
            root.push(("Auth", Node::interior(auth)));
        }
        let mut ours = Vec::new();
        if let Some(pem) = &self.server_ca {
            ours.push(("ServerCA", Node::chr(pem)));
        }
        if !self.origins.is_empty() {
            let list: Vec<_> = self.origins.iter().map(Origin::to_string).collect();
            ours.push(("Origins", Node::chr(list.join(" "))));
        }
        if let Some(role) = &self.role {
            ours.push(("Role", Node::chr(role)));
        }
        if !ours.is_empty() {
            root.push(("Ext", Node::interior([("omadm", Node::interior(ours))])));
        }
        Node::interior(root)
    }

    /// Whether packages and credentials may go to this origin (Profile P-31).
    pub fn trusts(&self, origin: &Origin) -> bool {
        self.srv_uri.origin() == origin || self.origins.contains(origin)
    }

    /// Whether it holds anything that must not be readable by everyone (Profile P-36).
    pub fn holds_secret(&self) -> bool {
        self.trsp.as_ref().is_some_and(|credential| credential.secret().is_some())
            || self.noti.is_some()
            || self.bootstrap.as_ref().is_some_and(|bootstrap| !bootstrap.client_secret_key.expose().is_empty())
    }
}

/// Whether the text is certificates in PEM as far as their frame goes: base64 of one DER sequence each. An account with
/// anchors that nobody can read would be in the way of one that works.
fn holds_certificates(pem: &str) -> bool {
    let mut parts = pem.split("-----BEGIN CERTIFICATE-----");
    let mut certificates = parts.by_ref().skip(1).peekable();
    certificates.peek().is_some()
        && certificates.all(|part| {
            let Some((text, _)) = part.split_once("-----END CERTIFICATE-----") else { return false };
            let text: String = text.split_ascii_whitespace().collect();
            BASE64_STANDARD.decode(text).is_ok_and(|der| is_sequence(&der))
        })
}

/// Whether the bytes are one DER SEQUENCE and nothing else.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    let (digits, content) = match length {
        0x80..=0x84 => rest.split_at_checked(usize::from(length & 0x0F)).unwrap_or_default(),
        0x00..=0x7F => (std::slice::from_ref(length), rest),
        0x85.. => return false,
    };
    let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
    !digits.is_empty() && length == content.len()
}

fn perm(root: &Place<'_>) -> Result<BTreeSet<Moid>, NodeError> {
    let Some(perm) = root.child("Perm")? else {
        return Err(root.error("Perm", "at least one Perm/<x>/MOID is required"));
    };
    if perm.children.is_empty() || perm.children.len() > MAX_PERM {
        return Err(NodeError::new(perm.path, "1 to 256 entries are expected"));
    }
    let mut listed = BTreeSet::new();
    for name in perm.children.keys() {
        let entry = perm.child(name)?.ok_or_else(|| perm.error(name, "a node with MOID is expected"))?;
        entry.only(&["MOID"])?;
        listed.insert(entry.name("MOID")?);
    }
    Ok(listed)
}

fn read_trsp(place: &Place<'_>) -> Result<Credential, NodeError> {
    place.only(&["Data", "Secret"])?;
    let data = place.bytes("Data")?.ok_or_else(|| place.error("Data", "is required"))?;
    let secret = place.bytes("Secret")?;
    Credential::parse(data.expose(), secret).map_err(|error| place.error("Data", error.to_string()))
}

fn read_noti(place: &Place<'_>) -> Result<Notification, NodeError> {
    place.only(&["Type", "Data", "Secret"])?;
    match place.children.get("Type") {
        Some(Value::Number(number)) if number.as_u64() == Some(1) => {}
        Some(Value::String(text)) if text == "1" => {}
        _ => return Err(place.error("Type", "must be 1, the SHA-256 digest")),
    }
    let data = place.bytes("Data")?.unwrap_or_else(|| Secret::new(Vec::new()));
    let secret = place
        .bytes("Secret")?
        .filter(|secret| secret.expose().len() >= MIN_NOTI_SECRET)
        .ok_or_else(|| place.error("Secret", "at least 16 bytes are required"))?;
    Ok(Notification { data, secret })
}

fn read_bootstrap(place: &Place<'_>) -> Result<Bootstrap, NodeError> {
    place.only(&["ServerURI", "SecMode", "ClientPubKey", "ServerPubKey", "ClientSecretKey"])?;
    let server_uri = place.url("ServerURI", &place.required_text("ServerURI")?)?;
    let mode = match place.bytes("SecMode")?.as_ref().map(Secret::expose) {
        Some([0]) => SecMode::Configured,
        Some([1]) => SecMode::Psk,
        Some([2]) => SecMode::X509,
        Some([3]) => SecMode::Aka,
        _ => return Err(place.error("SecMode", "one byte, 0 to 3, is expected")),
    };
    let key = |name| Ok(place.bytes(name)?.unwrap_or_else(|| Secret::new(Vec::new())));
    Ok(Bootstrap {
        server_uri,
        mode,
        client_pub_key: key("ClientPubKey")?,
        server_pub_key: key("ServerPubKey")?,
        client_secret_key: key("ClientSecretKey")?,
    })
}
