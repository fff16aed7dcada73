//! What a person decides about accounts: that one goes, and that another source may take one over (spec 2.2,
//! Profile P-3).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AccountBook, DmAccount, InstalledAccount, Judgement, Source, Standing};
use crate::ids::{Miid, SrvId};
use crate::reason::Method;

/// So many removals are remembered, the newest ones.
const MAX_REMOVED: usize = 16;
/// So many permissions can stand at a time.
const MAX_ALLOWED: usize = 16;

/// An account from a card that a person removed: the card, which is read at each start, does not bring it back as long
/// as it says the same and another account can be relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The card's ICCID.
    origin: String,
    srv_id: SrvId,
    /// SHA-256 of what the account said, in hexadecimal digits: its secrets are not kept.
    digest: String,
}

/// Failed to let another source take an account over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    /// Nothing is known of this server.
    #[error("there is no account of {0}, and none was removed")]
    Unknown(SrvId),
    /// Too many permissions stand already.
    #[error("{MAX_ALLOWED} permissions stand already; one ends when it was used, or when its account is removed")]
    TooMany,
}

impl Removal {
    /// What is to be remembered of an account that goes; nothing unless a card brought it, since factory file and server
    /// are asked only while no account can be relied on, and then everything counts.
    fn of(installed: &InstalledAccount) -> Option<Self> {
        (installed.source.method == Method::Smartcard).then(|| Self {
            origin: installed.source.origin.clone(),
            srv_id: installed.account.srv_id.clone(),
            digest: digest(&installed.account),
        })
    }

    fn is_from(&self, source: &Source) -> bool {
        source.method == Method::Smartcard && source.origin == self.origin
    }
}

impl AccountBook {
    /// Removes the account of this server and those of other sources that wait beside it; false if there is none. Its
    /// MIID stays used. What it had in the tree goes with [`publish`](Self::publish).
    pub fn remove(&mut self, srv_id: &SrvId) -> bool {
        if self.account(srv_id).is_none() {
            return false;
        }
        let gone: Vec<_> = self.all().filter(|one| one.account.srv_id == *srv_id).filter_map(Removal::of).collect();
        self.removed.retain(|old| gone.iter().all(|new| (&old.origin, &old.srv_id) != (&new.origin, &new.srv_id)));
        self.removed.extend(gone);
        self.removed.drain(..self.removed.len().saturating_sub(MAX_REMOVED));
        self.accounts.retain(|one| one.account.srv_id != *srv_id);
        self.drop_what_waits_for_nobody();
        true
    }

    /// Lets the next message from another source replace the account of this server (Profile P-3), once; of a server
    /// whose account was removed, lets its source install it again.
    pub fn allow(&mut self, srv_id: &SrvId) -> Result<(), AllowError> {
        let removals = self.removed.len();
        self.removed.retain(|one| one.srv_id != *srv_id);
        if self.account(srv_id).is_none() {
            return if self.removed.len() < removals { Ok(()) } else { Err(AllowError::Unknown(srv_id.clone())) };
        }
        if self.allowed.len() >= MAX_ALLOWED && !self.allowed.contains(srv_id) {
            return Err(AllowError::TooMany);
        }
        self.allowed.insert(srv_id.clone());
        Ok(())
    }

    /// Whether the next message from another source may replace the account of this server.
    pub fn is_allowed(&self, srv_id: &SrvId) -> bool {
        self.allowed.contains(srv_id)
    }

    /// Whether a message from another source is waited for, so that all methods are gone through although an account can
    /// be relied on.
    pub fn awaits_another_source(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// The accounts of a message without those that a person removed. While nothing else can be relied on, all of them: no
    /// device is to be stranded by a removal.
    pub(super) fn without_removed<'a>(
        &self,
        accounts: &'a [(DmAccount, Option<Miid>)],
        source: &Source,
        by: Judgement,
    ) -> Vec<&'a (DmAccount, Option<Miid>)> {
        let removed = |account: &DmAccount| {
            let of_it = |one: &&Removal| one.srv_id == account.srv_id && one.is_from(source);
            self.removed.iter().find(of_it).is_some_and(|one| one.digest == digest(account))
        };
        let left: Vec<_> = accounts.iter().filter(|(account, _)| !removed(account)).collect();
        let from_elsewhere = |one: &InstalledAccount| one.source != *source;
        let named = |one: &InstalledAccount| left.iter().any(|(account, _)| account.srv_id == one.account.srv_id);
        let stays =
            |one: &InstalledAccount| one.standing(by) == Standing::Usable && (from_elsewhere(one) || named(one));
        let is_other_content = left.is_empty() && !self.all().all(from_elsewhere);
        if self.all().any(stays) && !is_other_content { left } else { accounts.iter().collect() }
    }

    /// After these accounts were installed from this source: what was removed or allowed of them is settled.
    pub(super) fn settle_decisions(&mut self, before: &Self, srv_ids: &[&SrvId], source: &Source) {
        self.removed.retain(|one| !(one.is_from(source) && srv_ids.contains(&&one.srv_id)));
        let taken = |srv_id: &SrvId| {
            srv_ids.contains(&srv_id) && before.account(srv_id).is_some_and(|other| other.source != *source)
        };
        self.allowed.retain(|srv_id| !taken(srv_id));
    }

    /// Drops fallbacks and permissions of servers that are not there any more.
    pub(super) fn drop_what_waits_for_nobody(&mut self) {
        let accounts = &self.accounts;
        let is_there = |srv_id: &SrvId| accounts.iter().any(|one| one.account.srv_id == *srv_id);
        self.fallbacks.retain(|one| is_there(&one.account.srv_id));
        self.allowed.retain(is_there);
    }
}

fn digest(account: &DmAccount) -> String {
    let said = serde_json::to_vec(account).map(zeroize::Zeroizing::new).unwrap_or_default();
    Sha256::digest(&*said).iter().map(|byte| format!("{byte:02x}")).collect()
}
