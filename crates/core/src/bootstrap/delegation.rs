//! DACMO items of a Bootstrap Message: further rights on what the device made itself, for servers of the same message
//! (spec 2.3, Profile P-18).

use serde_json::{Map, Value};

use crate::access::Rights;
use crate::account::{DmAccount, NodeError, Place};
use crate::ids::{Miid, Moid, SrvId};
use crate::mo::ddf::{DACMO, DMACC};

/// The most entries of one ACL.
const MAX_ACL: usize = 64;

/// Gives the accounts of a message the rights that the children of this DACMO root say; an error if one of them is for
/// anybody else, one too many, or breaks another rule.
pub(super) fn give(children: &Map<String, Value>, accounts: &mut [(DmAccount, Option<Miid>)]) -> Result<(), NodeError> {
    let root = Place::root(children);
    root.only(&["MOID", "MIID", "Owner", "ACL"])?;
    let moid: Moid = root.name("MOID")?;
    if [DMACC, DACMO].contains(&moid.as_str()) {
        return Err(root.error("MOID", "nobody gets further rights on accounts, or on rights"));
    }
    let miid: Miid = root.name("MIID")?;
    if root.text("Owner")?.is_some_and(|owner| !owner.is_empty()) {
        return Err(root.error("Owner", "empty or absent is expected: rights are added on what the device made"));
    }
    let Some(acl) = root.child("ACL")?.filter(|acl| (1..=MAX_ACL).contains(&acl.children.len())) else {
        return Err(root.error("ACL", "1 to 64 entries are expected"));
    };
    for name in acl.children.keys() {
        let Some(entry) = acl.child(name)? else { continue };
        entry.only(&["SrvID", "Rights"])?;
        let srv_id: SrvId = entry.name("SrvID")?;
        let rights = match entry.children.get("Rights") {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let Some(rights @ 1..=15) = rights else {
            return Err(entry.error("Rights", "a number from 1 to 15 is expected"));
        };
        let Some((account, _)) = accounts.iter_mut().find(|(account, _)| account.srv_id == srv_id) else {
            return Err(entry.error("SrvID", "the message holds no account of this server"));
        };
        if !account.given.add(&moid, &miid, Rights(rights as u8)) {
            return Err(acl.error(name, "a server gets rights on at most 256 instances"));
        }
    }
    Ok(())
}
