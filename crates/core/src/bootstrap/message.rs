//! The Bootstrap Message (Profile P-2): a value that cannot exist half valid.

mod merge;

use serde_json::{Map, Value};

pub use merge::{LeftOut, Merged, merge};

use crate::access::Owner;
use crate::account::{DMACC_MOID, DmAccount, NodeError};
use crate::bootstrap::delegation;
use crate::ids::Miid;
use crate::json::{self, JsonError};
use crate::mo::{Definitions, Tree, ddf, parse_items};
use crate::reason::Reason;
use crate::uri::{ClientUri, parse_lenient};

/// The most items of a message that are looked at.
const MAX_ITEMS: usize = 256;

/// How large a message may be: it depends on where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// One object of a card: 32,767 bytes.
    Card,
    /// All objects of a card together: four of the largest.
    WholeCard,
    /// Elsewhere: 1 MiB.
    Elsewhere,
}

impl Limit {
    /// The limit in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Card => 32_767,
            Self::WholeCard => 4 * 32_767,
            Self::Elsewhere => 1 << 20,
        }
    }
}

/// A message whose every account is valid, with the rights that DACMO items in it add. Other MOs are kept as they came: those that the device does
/// not support are ignored when the message is installed (spec 2.2).
#[derive(Debug, Clone, PartialEq)]
pub struct BootstrapMessage {
    accounts: Vec<(DmAccount, Option<Miid>)>,
    others: Vec<Value>,
}

/// Why bytes are no Bootstrap Message. The message is refused whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON: damaged, truncated, too large, too deep, a member twice.
    #[error("the message is not readable: {0}")]
    Malformed(#[from] JsonError),
    /// An item is no serialized MO.
    #[error("item {index} of the message: {why}")]
    Item {
        /// Which one, from 1.
        index: usize,
        /// What was expected.
        why: String,
    },
    /// A node of an account is missing or wrong.
    #[error("{client_uri}: {why}")]
    Invalid {
        /// The node.
        client_uri: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing in it can be managed by.
    #[error("the message holds no DM Account ({DMACC_MOID})")]
    NoAccount,
}

impl MessageError {
    /// The reason code of an attempt that ended so.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::MalformedMessage,
            Self::Item { .. } | Self::Invalid { .. } | Self::NoAccount => Reason::InvalidMessage,
        }
    }
}

impl BootstrapMessage {
    /// Reads a message.
    pub fn parse(bytes: &[u8], limit: Limit) -> Result<Self, MessageError> {
        let items = match json::parse(bytes, limit.bytes())? {
            Value::Array(items) => items,
            object @ Value::Object(_) => vec![object],
            _ => return Err(MessageError::Item { index: 1, why: "an array of serialized MOs is expected".to_owned() }),
        };
        if items.len() > MAX_ITEMS {
            return Err(MessageError::Item { index: MAX_ITEMS + 1, why: "at most 256 items are allowed".to_owned() });
        }
        let mut message = Self { accounts: Vec::new(), others: Vec::new() };
        let mut delegations = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let uri = client_uri(&item).map_err(|why| MessageError::Item { index: index + 1, why })?;
            if uri.moid().as_str() == DMACC_MOID {
                message.add_account(&item, &uri)?;
            } else if uri.moid().as_str() == ddf::DACMO {
                delegations.push((item, uri));
            } else {
                message.others.push(item);
            }
        }
        if message.accounts.is_empty() {
            return Err(MessageError::NoAccount);
        }
        // Whom they name may stand behind them.
        for (item, uri) in delegations {
            delegation::give(root_of(&item, &uri)?, &mut message.accounts).map_err(|error| at(&uri, error))?;
        }
        Ok(message)
    }

    fn add_account(&mut self, item: &Value, uri: &ClientUri) -> Result<(), MessageError> {
        let account = DmAccount::from_children(root_of(item, uri)?).map_err(|error| at(uri, error))?;
        if self.accounts.iter().any(|(other, _)| other.srv_id == account.srv_id) {
            return Err(at(uri, NodeError::new("SrvID", "two accounts of this message have the same SrvID")));
        }
        self.accounts.push((account, uri.miid().cloned()));
        Ok(())
    }

    /// The accounts, at least one, each with the MIID that the message wishes for it.
    pub fn accounts(&self) -> &[(DmAccount, Option<Miid>)] {
        &self.accounts
    }

    /// Whether anything in it must not be readable by everyone (Profile P-36).
    pub fn holds_secret(&self) -> bool {
        self.accounts.iter().any(|(account, _)| account.holds_secret())
    }

    /// Puts the MOs beside the accounts into the tree as the device's own; left out is what the device does not support,
    /// what breaks its definition, what is there once too often then, and what is there just so already. Says which
    /// MOIDs were installed.
    pub fn install_others(&self, tree: &mut Tree, definitions: &Definitions) -> Vec<String> {
        let mut installed = Vec::new();
        for item in &self.others {
            let Ok(uri) = client_uri(item) else { continue };
            let Some(definition) = definitions.get(uri.moid()).filter(|_| uri.is_root()) else { continue };
            let Ok(parsed) = parse_items(item) else { continue };
            let Some(Ok(node)) = parsed.first().map(|one| one.to_node(definition)) else { continue };
            let own = |miid: &&Miid| tree.instance(uri.moid(), miid).is_some_and(|one| *one.owner() == Owner::Local);
            let is_there =
                tree.instances(uri.moid()).any(|(_, one)| *one.owner() == Owner::Local && *one.root() == node);
            let miid = match uri.miid().filter(own) {
                Some(miid) => miid.clone(),
                // Another DevInfo would make every ClientURI that means the only one ambiguous.
                None if tree.instances(uri.moid()).count() >= definition.root().occurrence().max() => continue,
                // The message came before, perhaps with another account beside it.
                None if is_there => continue,
                None => tree.assign_miid(uri.moid(), uri.miid()),
            };
            if tree.put_local(definitions, uri.moid(), miid, node).is_ok() {
                installed.push(uri.moid().to_string());
            }
        }
        installed
    }
}

/// The children of the root of an item that has to be there whole.
fn root_of<'a>(item: &'a Value, uri: &ClientUri) -> Result<&'a Map<String, Value>, MessageError> {
    if !uri.is_root() {
        return Err(at(uri, NodeError::new("", "accounts and rights are installed whole, from their root")));
    }
    let root = item.get("MOData").and_then(Value::as_object).filter(|data| data.len() == 1);
    root.and_then(|data| data.values().next())
        .and_then(Value::as_object)
        .ok_or_else(|| at(uri, NodeError::new("", "MOData with one root node is expected")))
}

fn at(uri: &ClientUri, error: NodeError) -> MessageError {
    let root = uri.to_string();
    let root = root.trim_end_matches('/');
    let instance = if uri.miid().is_some() { "/" } else { "//" };
    MessageError::Invalid { client_uri: format!("{root}{instance}{}", error.path), why: error.why }
}

fn client_uri(item: &Value) -> Result<ClientUri, String> {
    let text = item.get("ClientURI").and_then(Value::as_str).ok_or("a ClientURI is expected")?;
    parse_lenient(text).map_err(|error| format!("ClientURI {text:?}: {error}"))
}
