//! The accounts that are installed, where each came from, and what may replace what (spec 2.2, Profile P-3).

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::removal::Removals;
use super::{DMACC_MOID, DmAccount};
use crate::access::{DeviceRights, Principal};
use crate::ids::{Miid, Moid, SrvId};
use crate::mo::miid::{self, Given};
use crate::mo::{Definitions, MoError, Tree};
use crate::order::put_in_order;
use crate::package::MosItem;
use crate::reason::Method;
use crate::time::Timestamp;

/// Where an account came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The method that brought it.
    pub method: Method,
    /// The card's ICCID, the factory file, or the bootstrap server's URL.
    pub origin: String,
}

/// An account in the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledAccount {
    /// What the message said.
    pub account: DmAccount,
    /// Where it came from.
    pub source: Source,
    /// The instance of its DMAcc in the tree.
    pub miid: Miid,
    /// Its card is gone; it is not used until the card is back.
    #[serde(default)]
    pub suspended: bool,
    /// The next message from another source may replace it, by a person's permission (Profile P-3).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_replaced: bool,
    /// BootstrapComplete has not been answered yet (spec 6.1).
    #[serde(default)]
    pub bootstrap_complete_due: bool,
    /// When it was installed.
    #[serde(default)]
    pub installed_at: Timestamp,
    /// When the last successful session ended.
    #[serde(default)]
    pub last_session: Option<Timestamp>,
    /// The clock was not set when it was installed, or at its last session, so that those times are too early
    /// (Profile P-27).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undated: bool,
    /// Sessions in a row that the server refused.
    #[serde(default)]
    pub refusals: Option<Refusals>,
    /// The MOS that this server last answered (Profile P-13).
    #[serde(default)]
    pub mos_answered: Option<Vec<MosItem>>,
}

/// Sessions in a row that a server refused: 401 after an answered challenge, or 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// When the first was refused.
    pub first: Timestamp,
    /// When the last was refused.
    pub last: Timestamp,
    /// How many.
    pub count: u32,
}

/// So many sessions in a row, over at least so many seconds, are a refusal for good (spec 2.2).
const REFUSED_FOR_GOOD: (u32, u64) = (3, 24 * 3600);

/// Whether an account can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Usable,
    /// Its card is gone.
    Suspended,
    /// No session succeeded for a long time (Profile P-25).
    Stale,
    /// The server refuses the credentials for good (spec 2.2).
    Refused,
    /// Its credentials are of a scheme that this client does not have: no session can succeed.
    Unusable,
}

/// By what an account is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The time.
    pub now: Timestamp,
    /// `session.stale_after`, in seconds (Profile P-25).
    pub stale_after: u64,
}

impl InstalledAccount {
    /// Whether it can be relied on.
    pub fn standing(&self, by: Judgement) -> Standing {
        let (count, seconds) = REFUSED_FOR_GOOD;
        if self.suspended {
            Standing::Suspended
        } else if self.is_unusable() {
            Standing::Unusable
        } else if self.refusals.is_some_and(|one| one.count >= count && one.last.since(one.first) >= seconds) {
            Standing::Refused
        } else if by.now.since(self.proven_at()) >= by.stale_after {
            Standing::Stale
        } else {
            Standing::Usable
        }
    }

    fn is_unusable(&self) -> bool {
        self.account.trsp.as_ref().is_some_and(|credential| !credential.is_supported())
    }

    /// Whether sessions can be opened at all: its card is there, and this client has the scheme of its credentials.
    pub fn can_be_used(&self) -> bool {
        !self.suspended && !self.is_unusable()
    }

    /// Its server, on whose behalf commands run, where the device's own table is `rights`.
    pub fn principal<'a>(&'a self, rights: &'a DeviceRights) -> Principal<'a> {
        let account = &self.account;
        let (srv_id, listed, given) = (&account.srv_id, &account.perm, &account.given);
        Principal { srv_id, listed, rights, given, account: Some(&self.miid) }
    }

    /// When it becomes stale unless a session succeeds (Profile P-25).
    pub fn stale_at(&self, stale_after: u64) -> Timestamp {
        self.proven_at().plus(stale_after)
    }

    fn proven_at(&self) -> Timestamp {
        self.last_session.unwrap_or(self.installed_at)
    }

    /// Sets its times right, by a clock that is set or not.
    fn heed_clock(&mut self, now: Timestamp, is_set: bool) {
        if is_set && self.undated {
            self.undated = false;
            let proven_at = self.last_session.as_mut().unwrap_or(&mut self.installed_at);
            *proven_at = now;
        }
        // What was noted while the clock was set is not known any more, only that it is not longer ago than it seems.
        self.undated |= !is_set && self.proven_at() > now;
        self.installed_at = self.installed_at.min(now);
        self.last_session = self.last_session.map(|last| last.min(now));
        self.refusals = self.refusals.map(|one| Refusals { first: one.first.min(now), last: one.last.min(now), ..one });
    }

    /// Changes places with another account of the same server, which a permission is for.
    fn take_place_of(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.may_be_replaced, &mut other.may_be_replaced);
        std::mem::swap(self, other);
    }

    /// Notes that a session succeeded.
    pub fn session_succeeded(&mut self, now: Timestamp) {
        self.last_session = Some(now);
        self.undated = false;
        self.refusals = None;
    }

    /// Notes that the server refused the credentials.
    pub fn session_refused(&mut self, now: Timestamp) {
        let before = self.refusals.unwrap_or(Refusals { first: now, last: now, count: 0 });
        self.refusals = Some(Refusals { last: now, count: before.count.saturating_add(1), ..before });
    }
}

/// Every account in the device, and the MIIDs that accounts have had: none is given twice (Profile P-17).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountBook {
    pub(super) accounts: Vec<InstalledAccount>,
    /// Accounts that another source's account of the same server took the place of, outside the tree, until that one's
    /// first successful session (Profile P-3).
    #[serde(default)]
    pub(super) fallbacks: Vec<InstalledAccount>,
    /// What a person removed.
    #[serde(default, skip_serializing_if = "Removals::is_empty")]
    pub(super) removed: Removals,
    #[serde(default)]
    last_number: u64,
    #[serde(default)]
    granted: BTreeSet<Miid>,
}

/// So many accounts wait beside the tree.
const MAX_FALLBACKS: usize = 16;

/// An account of a message, and the MIID that the message wishes for it.
pub type Offered = (DmAccount, Option<Miid>);

/// What a message would do to the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It holds what is installed already, in use.
    Unchanged,
    /// It holds only what a person removed, while another account can be relied on.
    Removed,
    /// The same, and its source had given more before: this book is without it.
    Withdrawn(AccountBook),
    /// It holds what is installed but was suspended: this book has it resumed.
    Resumed(AccountBook),
    /// The book after installing it.
    Installed(AccountBook),
}

/// The message names a server that another source installed (Profile P-3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the account {srv_id} came from the {} {}", .source_of.method, .source_of.origin)]
pub struct SrvIdTaken {
    /// The server.
    pub srv_id: SrvId,
    /// Who installed it.
    pub source_of: Source,
}

impl AccountBook {
    /// The accounts.
    pub fn iter(&self) -> impl Iterator<Item = &InstalledAccount> {
        self.accounts.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The account of this server.
    pub fn account(&self, srv_id: &SrvId) -> Option<&InstalledAccount> {
        self.accounts.iter().find(|installed| installed.account.srv_id == *srv_id)
    }

    /// The account of this server, to note what happened in a session.
    pub fn account_mut(&mut self, srv_id: &SrvId) -> Option<&mut InstalledAccount> {
        self.accounts.iter_mut().find(|installed| installed.account.srv_id == *srv_id)
    }

    /// Whether an account can be relied on (spec 2.2).
    pub fn has_usable(&self, by: Judgement) -> bool {
        self.stale_at(by).is_some()
    }

    /// Until when an account can be relied on, unless a session succeeds before (Profile P-25); none where none can be
    /// now. A new account that makes way for the one that it replaced, after a session that failed, counts: it will be
    /// tried again, and to ask for it anew would give the same.
    pub fn stale_at(&self, by: Judgement) -> Option<Timestamp> {
        let usable = self.all().filter(|installed| installed.standing(by) == Standing::Usable);
        usable.map(|installed| installed.stale_at(by.stale_after)).max()
    }

    /// The accounts in the tree and those beside it.
    pub(super) fn all(&self) -> impl Iterator<Item = &InstalledAccount> {
        self.accounts.iter().chain(&self.fallbacks)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut InstalledAccount> {
        self.accounts.iter_mut().chain(&mut self.fallbacks)
    }

    /// Notes how a session with this server went. The first success of an account ends what it came for: the account that
    /// it took the place of, and those of other sources that cannot be relied on any more. A failure before it brings the
    /// one whose place it took back to be tried next, so that neither is given up too early (Profiles P-3, P-25).
    pub fn note_session(&mut self, srv_id: &SrvId, succeeded: bool, refused: bool, by: Judgement) {
        let Some(index) = self.accounts.iter().position(|one| one.account.srv_id == *srv_id) else { return };
        let account = &mut self.accounts[index];
        if succeeded {
            let (source, is_first) = (account.source.clone(), account.last_session.is_none());
            account.session_succeeded(by.now);
            self.fallbacks.retain(|one| one.account.srv_id != *srv_id);
            if is_first {
                self.give_up_beside(&source, by);
            }
            return;
        }
        if refused {
            account.session_refused(by.now);
        }
        let next = self.fallbacks.iter().position(|one| one.account.srv_id == *srv_id && one.can_be_used());
        if let Some(next) = next {
            // At the end of the list, so that each gets its turn.
            let mut next = self.fallbacks.remove(next);
            next.take_place_of(&mut self.accounts[index]);
            self.fallbacks.push(next);
        }
    }

    /// Removes what is stale or refused for good and from elsewhere than `source`, whose account just proved itself.
    fn give_up_beside(&mut self, source: &Source, by: Judgement) {
        self.accounts.retain(|one| match one.standing(by) {
            // What cannot be used would be installed anew by its card at each start.
            Standing::Usable | Standing::Suspended | Standing::Unusable => true,
            Standing::Stale | Standing::Refused => one.source == *source,
        });
        self.drop_fallbacks_of_nobody();
    }

    /// Beside a server that is not there any more nothing waits.
    fn drop_fallbacks_of_nobody(&mut self) {
        let there: Vec<_> = self.accounts.iter().map(|one| one.account.srv_id.clone()).collect();
        self.fallbacks.retain(|one| there.contains(&one.account.srv_id));
    }

    /// Whether an account that came from no card can be relied on.
    pub fn has_usable_without_cards(&self, by: Judgement) -> bool {
        self.all().any(|one| one.source.method != Method::Smartcard && one.standing(by) == Standing::Usable)
    }

    /// The ICCIDs of the cards that accounts came from, one for each account.
    pub fn cards(&self) -> impl Iterator<Item = &str> {
        self.all().filter(|one| one.source.method == Method::Smartcard).map(|one| one.source.origin.as_str())
    }

    /// Sets the times of the accounts right (Profile P-27): what lies in the future was noted by a wrong clock and counts
    /// as now, and so does what was noted before the clock was set, once it is.
    pub fn heed_clock(&mut self, now: Timestamp, is_set: bool) {
        self.all_mut().for_each(|one| one.heed_clock(now, is_set));
    }

    /// Notes that the accounts which proved themselves just now, or were installed, did so while the clock was not set.
    pub fn undate(&mut self, now: Timestamp) {
        // What happened within a minute happened by the same clock.
        self.all_mut().filter(|one| now.since(one.proven_at()) < 60).for_each(|one| one.undated = true);
    }

    /// Suspends the accounts from cards for which `gone` says so; says whether anything changed.
    pub fn suspend(&mut self, gone: impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for installed in self.all_mut() {
            if installed.source.method == Method::Smartcard && !installed.suspended && gone(&installed.source.origin) {
                installed.suspended = true;
                changed = true;
            }
        }
        // What waits beside a suspended account takes its place, so that sessions go on being tried.
        for account in self.accounts.iter_mut().filter(|one| one.suspended) {
            let beside = |one: &&mut InstalledAccount| one.account.srv_id == account.account.srv_id && !one.suspended;
            if let Some(fallback) = self.fallbacks.iter_mut().find(beside) {
                fallback.take_place_of(account);
            }
        }
        changed
    }

    /// What to [install](Self::install) where these accounts are only a part of what the source has: what it gave before
    /// stays as it is (spec 2.2), and only new SrvIDs are added. An account that says something else now may stand behind
    /// the one that counts and could not be read; it is taken where the present one is stale or refused for good.
    pub fn in_part(&self, source: &Source, accounts: Vec<Offered>, by: Judgement) -> Vec<Offered> {
        let stays = |one: &InstalledAccount| match one.standing(by) {
            Standing::Usable | Standing::Suspended | Standing::Unusable => true,
            Standing::Stale | Standing::Refused => false,
        };
        let is_kept = |account: &DmAccount| {
            self.all().any(|one| one.source == *source && one.account.srv_id == account.srv_id && stays(one))
        };
        self.with_others_of(source, accounts.into_iter().filter(|(account, _)| !is_kept(account)).collect())
    }

    /// These accounts and what the source gave before beside them.
    pub(super) fn with_others_of(&self, source: &Source, mut accounts: Vec<Offered>) -> Vec<Offered> {
        let named = |srv_id: &SrvId| accounts.iter().any(|(account, _)| account.srv_id == *srv_id);
        let others = self.all().filter(|one| one.source == *source && !named(&one.account.srv_id));
        let others: Vec<_> = others.map(|one| (one.account.clone(), Some(one.miid.clone()))).collect();
        accounts.extend(others);
        accounts
    }

    /// What installing these accounts from this source would give. Beside each account stands the MIID that the message
    /// wishes for it; where the wish was ever given, and where there is none, it is the next number.
    ///
    /// A SrvID that another source installed is refused (Profile P-3), unless that account cannot be relied on or a person
    /// allows it: then it becomes the fallback of the new one. What a person removed is left out, see [`Change::Removed`].
    /// Installing removes what the same source had installed before and is no longer named, and every suspended account.
    pub fn install(&self, accounts: &[Offered], source: &Source, by: Judgement) -> Result<Change, SrvIdTaken> {
        let accounts = self.without_removed(accounts, source, by);
        let same_source = |installed: &&InstalledAccount| installed.source == *source;
        let before: Vec<_> = self.all().filter(same_source).collect();
        if accounts.is_empty() {
            return Ok(if before.is_empty() { Change::Removed } else { Change::Withdrawn(self.without(source)) });
        }
        let same_content = before.len() == accounts.len()
            && accounts.iter().all(|(account, _)| before.iter().any(|installed| installed.account == *account));
        if same_content && before.iter().all(|installed| !installed.suspended) {
            return Ok(Change::Unchanged);
        }
        if same_content {
            let mut book = self.clone();
            for installed in book.all_mut().filter(|installed| installed.source == *source) {
                installed.suspended = false;
            }
            return Ok(Change::Resumed(book));
        }
        self.refuse_taken(accounts.iter().map(|(account, _)| account), source, by)?;
        let mut book = self.clone();
        let named = |srv_id: &SrvId| accounts.iter().any(|(account, _)| account.srv_id == *srv_id);
        let (replaced, kept) = book.accounts.into_iter().partition(|one| named(&one.account.srv_id));
        book.accounts = kept;
        book.accounts.retain(|one| one.source != *source && !one.suspended);
        let mut replaced: Vec<InstalledAccount> = replaced;
        replaced.iter_mut().for_each(|one| one.may_be_replaced = false);
        book.fallbacks.extend(replaced);
        book.fallbacks.retain(|one| one.source != *source);
        // Those that worked last come first. Of each source one is kept, so that what was tried is known as such when its
        // source offers it again, and the next method gets its turn.
        let last_use = |one: &InstalledAccount| (one.last_session, one.installed_at);
        put_in_order(&mut book.fallbacks, |one, other| last_use(one) > last_use(other));
        book.fallbacks.truncate(MAX_FALLBACKS);
        for (account, wish) in &accounts {
            let kept = before.iter().find(|one| one.account.srv_id == account.srv_id);
            let miid = match kept {
                Some(installed) => installed.miid.clone(),
                None => book.assign_miid(wish.as_ref()),
            };
            book.accounts.push(InstalledAccount {
                account: account.clone(),
                source: source.clone(),
                miid,
                suspended: false,
                // A permission is for other sources.
                may_be_replaced: kept.is_some_and(|one| one.may_be_replaced),
                bootstrap_complete_due: true,
                installed_at: by.now,
                last_session: None,
                undated: false,
                refusals: None,
                mos_answered: None,
            });
        }
        book.settle_removals(source);
        book.drop_fallbacks_of_nobody();
        Ok(Change::Installed(book))
    }

    /// A SrvID that another source installed is taken, unless that account cannot be relied on or a person allows it.
    pub(super) fn refuse_taken<'a>(
        &self,
        mut accounts: impl Iterator<Item = &'a DmAccount>,
        source: &Source,
        by: Judgement,
    ) -> Result<(), SrvIdTaken> {
        let is_taken = |other: &&InstalledAccount| {
            other.source != *source && !other.may_be_replaced && other.standing(by) == Standing::Usable
        };
        match accounts.find_map(|account| self.account(&account.srv_id).filter(is_taken)) {
            None => Ok(()),
            Some(other) => Err(SrvIdTaken { srv_id: other.account.srv_id.clone(), source_of: other.source.clone() }),
        }
    }

    /// This book without what came from the source.
    fn without(&self, source: &Source) -> Self {
        let mut book = self.clone();
        book.accounts.retain(|one| one.source != *source);
        book.fallbacks.retain(|one| one.source != *source);
        book.drop_fallbacks_of_nobody();
        book
    }

    /// Brings the DMAcc instances of the tree in line with the accounts: one for each, with what a server may read and no
    /// secret. What a server owned whose instance goes belongs to the device from then on (spec 2.2).
    pub fn publish(&self, tree: &mut Tree, definitions: &Definitions) -> Result<(), MoError> {
        let Ok(moid) = DMACC_MOID.parse::<Moid>() else { return Ok(()) };
        let gone: Vec<_> = tree
            .instances(&moid)
            .filter(|(miid, _)| !self.accounts.iter().any(|one| one.miid == **miid))
            .map(|(miid, instance)| (miid.clone(), instance.root().text(&["SrvID"]).and_then(|text| text.parse().ok())))
            .collect();
        for (miid, srv_id) in gone {
            tree.remove(&moid, &miid);
            if let Some(srv_id) = srv_id {
                tree.hand_to_local(&srv_id);
            }
        }
        for one in &self.accounts {
            tree.put_local(definitions, &moid, one.miid.clone(), one.account.to_node())?;
        }
        Ok(())
    }

    /// The wish if it was never given, else the next number that was never given.
    fn assign_miid(&mut self, wish: Option<&Miid>) -> Miid {
        let granted = &self.granted;
        match miid::give(wish, granted.len(), "", &mut self.last_number, |miid| granted.contains(miid)) {
            Given::Wish(miid) => {
                self.granted.insert(miid.clone());
                miid
            }
            Given::Counted(miid) => miid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Owner;
    use crate::bootstrap::message::{BootstrapMessage, Limit};
    use crate::mo::Node;
    use crate::mo::ddf::DEVINFO;

    const PRIVATE: &[u8] = include_bytes!("../../tests/samples/bootstrap-message-private.json");

    fn accounts() -> Vec<(DmAccount, Option<Miid>)> {
        BootstrapMessage::parse(PRIVATE, Limit::Card).unwrap().accounts().to_vec()
    }

    const BY: Judgement = Judgement { now: Timestamp(1_000_000), stale_after: 7 * 24 * 3600 };

    fn later(seconds: u64) -> Judgement {
        Judgement { now: BY.now.plus(seconds), ..BY }
    }

    fn source(origin: &str) -> Source {
        Source { method: Method::Smartcard, origin: origin.to_owned() }
    }

    fn install(book: &AccountBook, accounts: &[(DmAccount, Option<Miid>)], origin: &str) -> AccountBook {
        match book.install(accounts, &source(origin), BY) {
            Ok(Change::Installed(book)) => book,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_miid_is_given_once_in_a_life() {
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        assert_eq!(first.iter().next().unwrap().miid.as_str(), "acme");
        let mut gone = first.clone();
        gone.suspend(|_| true);
        let second = install(&gone, &accounts(), "card-b");
        assert_eq!(second.iter().map(|one| one.miid.as_str()).collect::<Vec<_>>(), ["1"], "acme was given already");
    }

    #[test]
    fn the_same_source_replaces_what_it_brought() {
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        assert_eq!(first.install(&accounts(), &source("card-a"), BY), Ok(Change::Unchanged));
        let mut changed = accounts();
        changed[0].0.name = "another name".to_owned();
        let second = install(&first, &changed, "card-a");
        assert_eq!(second.iter().count(), 1);
        assert_eq!(second.iter().next().unwrap().miid.as_str(), "acme", "it is the same account still");
        assert!(first.install(&accounts(), &source("card-b"), BY).is_err());
    }

    #[test]
    fn an_account_is_stale_after_a_week_without_a_session() {
        let mut book = install(&AccountBook::default(), &accounts(), "card-a");
        let week = BY.stale_after;
        assert!(book.has_usable(later(week - 1)) && !book.has_usable(later(week)));
        let srv_id: SrvId = "acme".parse().unwrap();
        book.note_session(&srv_id, true, false, later(week));
        assert!(book.has_usable(later(2 * week - 1)) && !book.has_usable(later(2 * week)));
    }

    #[test]
    fn three_refusals_over_a_day_are_for_good() {
        let srv_id: SrvId = "acme".parse().unwrap();
        let standing = |hours: &[u64]| {
            let mut book = install(&AccountBook::default(), &accounts(), "card-a");
            for hour in hours {
                book.note_session(&srv_id, false, true, later(hour * 3600));
            }
            book.account(&srv_id).unwrap().standing(later(30 * 3600))
        };
        assert_eq!(standing(&[0, 24]), Standing::Usable, "two");
        assert_eq!(standing(&[0, 6, 12]), Standing::Usable, "within a day");
        assert_eq!(standing(&[0, 6, 24]), Standing::Refused);
        let mut book = install(&AccountBook::default(), &accounts(), "card-a");
        for (hour, succeeded) in [(0, false), (12, true), (13, false), (26, false)] {
            book.note_session(&srv_id, succeeded, !succeeded, later(hour * 3600));
        }
        assert_eq!(book.account(&srv_id).unwrap().standing(later(30 * 3600)), Standing::Usable);
    }

    #[test]
    fn an_account_that_is_replaced_stays_as_a_fallback_until_the_new_one_works() {
        let srv_id: SrvId = "acme".parse().unwrap();
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        let week = later(BY.stale_after);
        let Ok(Change::Installed(mut book)) = first.install(&accounts(), &source("card-b"), week) else {
            panic!("a stale account does not stand in the way")
        };
        let origin = |book: &AccountBook| book.account(&srv_id).unwrap().source.origin.clone();
        assert_eq!((origin(&book), book.iter().count()), ("card-b".to_owned(), 1));
        book.note_session(&srv_id, false, false, week);
        assert_eq!(origin(&book), "card-a", "the old one is tried again");
        book.note_session(&srv_id, false, true, week);
        assert_eq!(origin(&book), "card-b", "and then the new one");
        book.note_session(&srv_id, true, false, week);
        book.note_session(&srv_id, false, false, week);
        assert_eq!(origin(&book), "card-b", "after its first success the old one is gone");
    }

    #[test]
    fn sources_that_were_tried_in_vain_do_not_take_turns_for_ever() {
        let srv_id: SrvId = "acme".parse().unwrap();
        let named = |name: &str| {
            let mut accounts = accounts();
            accounts[0].0.name = name.to_owned();
            accounts
        };
        let mut book = install(&AccountBook::default(), &named("a"), "card-a");
        let mut by = BY;
        for other in ["b", "c"] {
            by = Judgement { now: by.now.plus(by.stale_after), ..by };
            assert!(!book.has_usable(by));
            for (name, origin) in [("a", "card-a"), ("b", "card-b")].iter().take_while(|(name, _)| *name < other) {
                assert_eq!(book.install(&named(name), &source(origin), by), Ok(Change::Unchanged), "{name} {other}");
            }
            match book.install(&named(other), &source(&format!("card-{other}")), by) {
                Ok(Change::Installed(installed)) => book = installed,
                change => panic!("{change:?}"),
            }
        }
        let mut tried = Vec::new();
        for _ in 0..6 {
            tried.push(book.account(&srv_id).unwrap().account.name.clone());
            book.note_session(&srv_id, false, false, by);
        }
        assert_eq!(tried[..3], tried[3..], "they go on being tried in turn");
        assert_eq!(BTreeSet::from_iter(&tried).len(), 3);
    }

    #[test]
    fn a_fallback_takes_the_place_of_a_suspended_account() {
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        let week = later(BY.stale_after);
        let Ok(Change::Installed(mut book)) = first.install(&accounts(), &source("card-b"), week) else { panic!() };
        assert!(book.suspend(|origin| origin == "card-b"));
        let account = book.iter().next().unwrap();
        assert_eq!(
            (account.source.origin.as_str(), account.suspended),
            ("card-a", false),
            "sessions go on being tried"
        );
    }

    #[test]
    fn an_account_that_makes_way_for_its_fallback_is_not_asked_for_again() {
        let srv_id: SrvId = "acme".parse().unwrap();
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        let week = later(BY.stale_after);
        let Ok(Change::Installed(mut book)) = first.install(&accounts(), &source("card-b"), week) else { panic!() };
        book.note_session(&srv_id, false, false, week);
        assert_eq!(book.account(&srv_id).unwrap().standing(week), Standing::Stale);
        assert!(book.has_usable(week), "the new one is tried again");
        assert_eq!(book.stale_at(week), Some(week.now.plus(BY.stale_after)));
        assert_eq!(book.install(&accounts(), &source("card-b"), week), Ok(Change::Unchanged));
        assert!(!book.has_usable(later(2 * BY.stale_after)));
        book.suspend(|origin| origin == "card-b");
        assert!(!book.has_usable(week), "its card is gone");
        book.note_session(&srv_id, false, false, week);
        assert_eq!(book.account(&srv_id).unwrap().source.origin, "card-a", "what is suspended is not brought back");
    }

    #[test]
    fn a_clock_that_was_wrong_makes_no_account_stale_or_fresh_for_years() {
        let mut book = install(&AccountBook::default(), &accounts(), "card-a");
        book.undate(BY.now);
        let year = 365 * 24 * 3600;
        book.heed_clock(BY.now.plus(60), false);
        assert_eq!(book.stale_at(later(60)), Some(BY.now.plus(BY.stale_after)), "time goes on without a clock, too");
        book.heed_clock(BY.now.plus(year), true);
        assert_eq!(book.stale_at(later(year)), Some(BY.now.plus(year + BY.stale_after)), "now it is known when");
        book.heed_clock(BY.now.plus(year + 60), true);
        assert_eq!(book.stale_at(later(year)), Some(BY.now.plus(year + BY.stale_after)), "and stays so");

        let srv_id = "acme".parse().unwrap();
        book.note_session(&srv_id, true, false, later(9 * year));
        book.note_session(&srv_id, false, true, later(9 * year));
        book.heed_clock(BY.now.plus(year), true);
        let account = book.account(&srv_id).unwrap();
        assert_eq!(account.last_session, Some(BY.now.plus(year)), "the clock was years ahead");
        assert_eq!(account.refusals.unwrap().first, BY.now.plus(year));
    }

    #[test]
    fn a_session_from_before_the_clock_was_lost_counts_as_new_when_it_is_set_again() {
        let year = 365 * 24 * 3600;
        let mut book = install(&AccountBook::default(), &accounts(), "card-a");
        book.note_session(&"acme".parse().unwrap(), true, false, later(2 * year));
        book.heed_clock(later(year).now, false);
        book.heed_clock(later(2 * year + 60).now, true);
        assert_eq!(book.stale_at(later(2 * year + 60)), Some(later(2 * year + 60 + BY.stale_after).now));
    }

    #[test]
    fn what_is_stale_ends_when_an_account_from_elsewhere_proves_itself() {
        let named = |name: &str| {
            let mut accounts = accounts();
            accounts[0].0.srv_id = name.parse().unwrap();
            accounts
        };
        let names = |book: &AccountBook| book.iter().map(|one| one.account.srv_id.to_string()).collect::<Vec<_>>();
        let two = [named("a"), named("b")].concat();
        let mut book = install(&AccountBook::default(), &two, "card-a");
        let week = later(BY.stale_after);
        let Ok(Change::Installed(both)) = book.install(&named("c"), &source("card-b"), week) else { panic!() };
        book = both;
        assert_eq!(names(&book), ["a", "b", "c"], "the old ones go on being tried");
        book.note_session(&"c".parse().unwrap(), false, false, week);
        assert_eq!(names(&book), ["a", "b", "c"]);
        book.note_session(&"b".parse().unwrap(), true, false, week);
        assert_eq!(names(&book), ["a", "b", "c"], "an old one that works again ends nothing of its own source");
        book.note_session(&"c".parse().unwrap(), true, false, week);
        assert_eq!(names(&book), ["b", "c"], "what works stays");
        let later = later(3 * BY.stale_after);
        book.note_session(&"c".parse().unwrap(), true, false, later);
        assert_eq!(names(&book), ["b", "c"], "only the first success says that the new account does its work");
    }

    #[test]
    fn the_tree_shows_accounts_without_secrets_and_forgets_them() {
        let definitions = Definitions::standard();
        let mut tree = Tree::new();
        let book = install(&AccountBook::default(), &accounts(), "card-a");
        book.publish(&mut tree, &definitions).unwrap();
        let shown = serde_json::to_string(&tree).unwrap();
        assert!(shown.contains("https://dm.example/dm") && !shown.contains("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"));
        assert!(!shown.contains("AAECAwQFBgcICQoLDA0ODw"), "the notification secret");
        AccountBook::default().publish(&mut tree, &definitions).unwrap();
        assert_eq!(tree.iter().count(), 0);
    }

    #[test]
    fn what_a_server_made_is_the_devices_once_its_account_goes_or_comes_from_elsewhere() {
        let definitions = Definitions::standard();
        let first = install(&AccountBook::default(), &accounts(), "card-a");
        let Ok(Change::Installed(elsewhere)) = first.install(&accounts(), &source("card-b"), later(BY.stale_after))
        else {
            panic!("a stale account does not stand in the way")
        };
        let mut renewed = accounts();
        renewed[0].0.name = "another name".to_owned();
        let renewed = install(&first, &renewed, "card-a");
        let (moid, miid): (Moid, Miid) = (DEVINFO.parse().unwrap(), "1".parse().unwrap());
        let mut tree = Tree::new();
        tree.put_local(&definitions, &moid, miid.clone(), Node::interior([("Man", Node::chr("x"))])).unwrap();
        let local = serde_json::to_string(&tree).unwrap();
        let mut owned: Tree = serde_json::from_str(&local.replace(r#""local""#, r#"{"server":"acme"}"#)).unwrap();
        first.publish(&mut owned, &definitions).unwrap();
        for (book, is_kept) in [(&AccountBook::default(), false), (&elsewhere, false), (&renewed, true)] {
            let mut tree = owned.clone();
            book.publish(&mut tree, &definitions).unwrap();
            assert_eq!(*tree.instance(&moid, &miid).unwrap().owner() != Owner::Local, is_kept);
        }
    }

    #[test]
    fn the_book_survives_the_state_file_secrets_included() {
        let book = install(&AccountBook::default(), &accounts(), "card-a");
        let stored = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<AccountBook>(&stored).unwrap(), book);
        assert!(!format!("{book:?}").contains("correct horse"));
    }
}
