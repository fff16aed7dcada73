//! The accounts that are installed, where each came from, and what may replace what (spec 2.2, Profile P-3).

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::{DMACC_MOID, DmAccount};
use crate::ids::{Miid, Moid, SrvId};
use crate::mo::{Definitions, MoError, Tree};
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
    /// BootstrapComplete has not been answered yet (spec 6.1).
    #[serde(default)]
    pub bootstrap_complete_due: bool,
    /// When the last successful session ended.
    #[serde(default)]
    pub last_session: Option<Timestamp>,
    /// The MOS that this server last answered (Profile P-13).
    #[serde(default)]
    pub mos_answered: Option<Vec<MosItem>>,
}

/// Every account in the device, and the MIIDs that accounts have had: none is given twice (Profile P-17).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountBook {
    accounts: Vec<InstalledAccount>,
    #[serde(default)]
    last_number: u32,
    #[serde(default)]
    granted: BTreeSet<Miid>,
}

/// So many wished MIIDs are granted in a device's life; then numbers are given (Profile P-17).
const MAX_GRANTED: usize = 256;

/// What a message would do to the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It holds what is installed already, in use.
    Unchanged,
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

    /// Whether an account can be used (spec 2.2).
    pub fn has_usable(&self) -> bool {
        self.accounts.iter().any(|installed| !installed.suspended)
    }

    /// Whether an account came from this card.
    pub fn came_from_card(&self, iccid: &str) -> bool {
        self.cards().any(|origin| origin == iccid)
    }

    fn cards(&self) -> impl Iterator<Item = &str> {
        self.accounts.iter().filter(|one| one.source.method == Method::Smartcard).map(|one| one.source.origin.as_str())
    }

    /// Suspends the accounts from cards for which `gone` says so; says whether anything changed.
    pub fn suspend(&mut self, gone: impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for installed in &mut self.accounts {
            if installed.source.method == Method::Smartcard && !installed.suspended && gone(&installed.source.origin) {
                installed.suspended = true;
                changed = true;
            }
        }
        changed
    }

    /// What installing these accounts from this source would give. `wishes` are the MIIDs that the message named; a
    /// wish that is taken, and an account without one, get the next free number.
    ///
    /// A SrvID that another source installed is refused (Profile P-3), unless that account is suspended. Installing
    /// removes what the same source had installed before and is no longer named, and every suspended account.
    pub fn install(&self, accounts: &[(DmAccount, Option<Miid>)], source: &Source) -> Result<Change, SrvIdTaken> {
        let same_source = |installed: &&InstalledAccount| installed.source == *source;
        for (account, _) in accounts {
            if let Some(other) = self.account(&account.srv_id)
                && other.source != *source
                && !other.suspended
            {
                return Err(SrvIdTaken { srv_id: account.srv_id.clone(), source_of: other.source.clone() });
            }
        }
        let before: Vec<_> = self.accounts.iter().filter(same_source).collect();
        let same_content = before.len() == accounts.len()
            && accounts.iter().all(|(account, _)| before.iter().any(|installed| installed.account == *account));
        if same_content && before.iter().all(|installed| !installed.suspended) {
            return Ok(Change::Unchanged);
        }
        if same_content {
            let mut book = self.clone();
            for installed in book.accounts.iter_mut().filter(|installed| installed.source == *source) {
                installed.suspended = false;
            }
            return Ok(Change::Resumed(book));
        }
        let mut book = self.clone();
        book.accounts.retain(|one| one.source != *source && !one.suspended);
        for (account, wish) in accounts {
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
                bootstrap_complete_due: true,
                last_session: None,
                mos_answered: None,
            });
        }
        Ok(Change::Installed(book))
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
        if let Some(wish) = wish
            && self.granted.len() < MAX_GRANTED
            && !wish.as_str().parse::<u32>().is_ok_and(|number| number <= self.last_number)
            && self.granted.insert(wish.clone())
        {
            return wish.clone();
        }
        loop {
            self.last_number = self.last_number.wrapping_add(1);
            if let Ok(miid) = self.last_number.to_string().parse()
                && !self.granted.contains(&miid)
            {
                return miid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::message::{BootstrapMessage, Limit};

    const PRIVATE: &[u8] = include_bytes!("../../tests/samples/bootstrap-message-private.json");

    fn accounts() -> Vec<(DmAccount, Option<Miid>)> {
        BootstrapMessage::parse(PRIVATE, Limit::Card).unwrap().accounts().to_vec()
    }

    fn source(origin: &str) -> Source {
        Source { method: Method::Smartcard, origin: origin.to_owned() }
    }

    fn install(book: &AccountBook, accounts: &[(DmAccount, Option<Miid>)], origin: &str) -> AccountBook {
        match book.install(accounts, &source(origin)) {
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
        assert_eq!(first.install(&accounts(), &source("card-a")), Ok(Change::Unchanged));
        let mut changed = accounts();
        changed[0].0.name = "another name".to_owned();
        let second = install(&first, &changed, "card-a");
        assert_eq!(second.iter().count(), 1);
        assert_eq!(second.iter().next().unwrap().miid.as_str(), "acme", "it is the same account still");
        assert!(first.install(&accounts(), &source("card-b")).is_err());
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
    fn the_book_survives_the_state_file_secrets_included() {
        let book = install(&AccountBook::default(), &accounts(), "card-a");
        let stored = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<AccountBook>(&stored).unwrap(), book);
        assert!(!format!("{book:?}").contains("correct horse"));
    }
}
