//! What a person decides about accounts: that one goes, and that another source may take one over (spec 2.2,
//! Profile P-3).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AccountBook, DmAccount, InstalledAccount, Judgement, Offered, Source, SrvIdTaken, Standing};
use crate::ids::SrvId;
use crate::reason::Method;

/// So many removals are remembered, the newest ones.
const MAX_REMOVED: usize = 16;

/// How many hexadecimal digits a SHA-256 has.
const DIGEST: usize = 64;

/// Accounts from cards that a person removed, oldest first: a card, which is read at each start, does not bring one back
/// as long as it says the same about it and another account can be relied on. Factory file and server are asked while
/// none can be, and then everything counts, or while a permission stands, and then only what it is for
/// ([`AccountBook::awaited`]).
///
/// Each is the SHA-256 of the card and of what it said, since a removed account's secrets are not kept, and behind it the
/// SrvID. As text it needs no code of its own in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Removals(Vec<String>);

impl Removals {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, source: &Source, account: &DmAccount) {
        self.0.push(removal(source, account));
        self.0.drain(..self.0.len().saturating_sub(MAX_REMOVED));
    }

    fn forget(&mut self, srv_id: &SrvId) {
        self.0.retain(|one| one.get(DIGEST..) != Some(srv_id.as_str()));
    }

    fn holds(&self, source: &Source, account: &DmAccount) -> bool {
        !self.is_empty() && self.0.contains(&removal(source, account))
    }
}

/// What a removal is remembered by.
fn removal(source: &Source, account: &DmAccount) -> String {
    let said = serde_json::to_vec(account).map(zeroize::Zeroizing::new).unwrap_or_default();
    let digest = Sha256::new().chain_update(&source.origin).chain_update([0]).chain_update(&*said).finalize();
    let mut text = String::with_capacity(DIGEST + account.srv_id.as_str().len());
    for byte in digest {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text.push_str(account.srv_id.as_str());
    text
}

/// There is nothing to allow: no account of this server, and none of a card that was removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no account of {0}, and none of a card was removed; what a factory file or a server brought comes again \
     after a reset, or when no other account can be relied on"
)]
pub struct NothingToAllow(pub SrvId);

impl AccountBook {
    /// Removes the account of this server and those of other sources that wait beside it; false if there is none. Its
    /// MIID stays used. What it had in the tree goes with [`publish`](Self::publish).
    pub fn remove(&mut self, srv_id: &SrvId) -> bool {
        if self.account(srv_id).is_none() {
            return false;
        }
        let gone = self.accounts.iter().chain(&self.fallbacks).filter(|one| one.account.srv_id == *srv_id);
        for one in gone.filter(|one| one.source.method == Method::Smartcard) {
            self.removed.add(&one.source, &one.account);
        }
        self.accounts.retain(|one| one.account.srv_id != *srv_id);
        self.fallbacks.retain(|one| one.account.srv_id != *srv_id);
        true
    }

    /// Lets the next message from another source replace the account of this server (Profile P-3), once; of a server
    /// whose account was removed, lets its card bring it again.
    pub fn allow(&mut self, srv_id: &SrvId) -> Result<(), NothingToAllow> {
        let before = self.removed.0.len();
        self.removed.forget(srv_id);
        let was_removed = self.removed.0.len() < before;
        match self.account_mut(srv_id) {
            Some(account) => account.may_be_replaced = true,
            None if was_removed => {}
            None => return Err(NothingToAllow(srv_id.clone())),
        }
        Ok(())
    }

    /// Whether a message from another source is waited for, so that all methods are gone through although an account can
    /// be relied on.
    pub fn awaits_another_source(&self) -> bool {
        self.accounts.iter().any(|one| one.may_be_replaced)
    }

    /// Whether another source than this one is waited for.
    pub fn awaits_other_than(&self, source: &Source) -> bool {
        self.accounts.iter().any(|one| one.may_be_replaced && one.source != *source)
    }

    /// Which of these accounts of a source are waited for; empty where none is. A source that was asked for them alone,
    /// since another account can be relied on, brings nothing else. As everywhere, one SrvID that is taken refuses all.
    pub fn awaited(&self, accounts: &[Offered], source: &Source, by: Judgement) -> Result<Vec<Offered>, SrvIdTaken> {
        self.refuse_taken(accounts.iter().map(|(account, _)| account), source, by)?;
        let is_awaited = |account: &DmAccount| {
            self.account(&account.srv_id).is_some_and(|one| one.may_be_replaced && one.source != *source)
        };
        let awaited: Vec<_> = accounts.iter().filter(|(account, _)| is_awaited(account)).cloned().collect();
        Ok(if awaited.is_empty() { awaited } else { self.with_others_of(source, awaited) })
    }

    /// The accounts of a message without those that a person removed. While nothing else can be relied on, all of them: no
    /// device is to be stranded by a removal.
    pub(super) fn without_removed<'a>(
        &self,
        accounts: &'a [Offered],
        source: &Source,
        by: Judgement,
    ) -> Vec<&'a Offered> {
        let is_card = source.method == Method::Smartcard;
        let removed = |account: &DmAccount| is_card && self.removed.holds(source, account);
        let left: Vec<_> = accounts.iter().filter(|(account, _)| !removed(account)).collect();
        let from_elsewhere = |one: &InstalledAccount| one.source != *source;
        let named = |one: &InstalledAccount| left.iter().any(|(account, _)| account.srv_id == one.account.srv_id);
        let stays =
            |one: &InstalledAccount| one.standing(by) == Standing::Usable && (from_elsewhere(one) || named(one));
        if self.all().any(stays) { left } else { accounts.iter().collect() }
    }

    /// After accounts were installed from this source: what was removed of them before is settled.
    pub(super) fn settle_removals(&mut self, source: &Source) {
        if source.method == Method::Smartcard {
            let from_here = self.accounts.iter().filter(|one| one.source == *source);
            from_here.for_each(|one| self.removed.forget(&one.account.srv_id));
        }
    }
}
