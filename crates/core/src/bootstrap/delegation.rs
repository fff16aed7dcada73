//! DACMO items of a Bootstrap Message: further rights on what the device made itself, for servers of the same message
//! (spec 2.3, Profile P-18).

use serde_json::{Map, Value};

use crate::access::{MAX_GIVEN, Rights};
use crate::account::{DmAccount, NodeError, Place};
use crate::ids::{Miid, Moid, SrvId};
use crate::mo::ddf::{DACMO, DMACC};

/// The most entries of one ACL.
const MAX_ACL: usize = 64;

/// What one item says: who gets which rights on which instance.
pub(super) struct Delegation {
    moid: Moid,
    miid: Miid,
    /// Each with the path of its entry, for errors.
    acl: Vec<(String, SrvId, Rights)>,
}

impl Delegation {
    /// Reads the children of a DACMO root.
    pub(super) fn from_children(children: &Map<String, Value>) -> Result<Self, NodeError> {
        let root = Place::root(children);
        root.only(&["MOID", "MIID", "Owner", "ACL"])?;
        let text = root.required_text("MOID")?;
        let moid: Moid = text.parse().map_err(|error| root.error("MOID", format!("{error}")))?;
        if [DMACC, DACMO].contains(&moid.as_str()) {
            return Err(root.error("MOID", "nobody gets further rights on accounts, or on rights"));
        }
        let miid = root.required_text("MIID")?.parse().map_err(|error| root.error("MIID", format!("{error}")))?;
        if root.text("Owner")?.is_some_and(|owner| !owner.is_empty()) {
            return Err(
                root.error("Owner", "rights are added on what the device made itself: empty or absent is expected")
            );
        }
        let list = root.child("ACL")?.ok_or_else(|| root.error("ACL", "is required"))?;
        if !(1..=MAX_ACL).contains(&list.children.len()) {
            return Err(root.error("ACL", "1 to 64 entries are expected"));
        }
        let mut acl = Vec::new();
        for name in list.children.keys() {
            let entry =
                list.child(name)?.ok_or_else(|| list.error(name, "a node with SrvID and Rights is expected"))?;
            entry.only(&["SrvID", "Rights"])?;
            let text = entry.required_text("SrvID")?;
            let srv_id = text.parse().map_err(|error| entry.error("SrvID", format!("{error}")))?;
            let rights = match entry.children.get("Rights") {
                Some(Value::Number(number)) => number.as_u64().and_then(|bits| u8::try_from(bits).ok()),
                Some(Value::String(text)) => text.parse().ok(),
                _ => None,
            };
            let rights = rights.map(Rights).filter(|rights| !rights.is_empty() && Rights::ALL.contains(*rights));
            let rights = rights.ok_or_else(|| entry.error("Rights", "a number from 1 to 15 is expected"))?;
            acl.push((list.at(name), srv_id, rights));
        }
        Ok(Self { moid, miid, acl })
    }

    /// Gives the rights to the accounts of the message; an error if one is for anybody else, or one too many.
    pub(super) fn give(self, accounts: &mut [(DmAccount, Option<Miid>)]) -> Result<(), NodeError> {
        for (path, srv_id, rights) in self.acl {
            let Some((account, _)) = accounts.iter_mut().find(|(account, _)| account.srv_id == srv_id) else {
                let why = format!("the message holds no account of {srv_id}, which alone could get rights by it");
                return Err(NodeError::new(format!("{path}/SrvID"), why));
            };
            if !account.given.add(self.moid.clone(), self.miid.clone(), rights) {
                let why = format!("a server gets rights on at most {MAX_GIVEN} instances");
                return Err(NodeError::new(path, why));
            }
        }
        Ok(())
    }
}
