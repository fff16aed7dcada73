//! Who may do what with an instance (spec 9).
//!
//! Rights are per instance and cover all its nodes. What a server may do with an instance is decided when the command
//! runs, from three things: whether its account lists the MOID (Perm), whether it made the instance itself, and, for
//! instances that the device made, the device's own table with what the Bootstrap Message adds to it. Bootstrap alone
//! decides the first; nothing that a server sends can widen it.

use crate::ids::{Miid, Moid, SrvId};
use crate::mo::ddf;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{BitAnd, BitOr};

/// A set of rights on an instance, as DACMO's `Rights` leaf counts them (Profile P-18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(pub u8);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// GET, HPUT, HPOST, SUB.
    pub const READ: Self = Self(1);
    /// HGET, DELETE.
    pub const WRITE: Self = Self(2);
    /// EXEC.
    pub const EXECUTE: Self = Self(4);
    /// To change the rights of others.
    pub const DELEGATE: Self = Self(8);
    /// What the owner has.
    pub const ALL: Self = Self(15);

    /// Whether all of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self & other == other
    }

    /// Whether this is no right at all.
    pub fn is_empty(self) -> bool {
        self & Self::ALL == Self::NONE
    }
}

impl BitOr for Rights {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Rights {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Who made an instance and has full rights on it (spec 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The device itself, or an application in it.
    Local,
    /// A DM Server.
    Server(SrvId),
}

/// The device's own table: the rights of a server on instances that the device made, if it lists their MOID.
///
/// The default is Profile P-33; [`narrow`](Self::narrow) is for the device's configuration, which can take rights
/// away and never give more. It also bounds what a Bootstrap Message adds ([`GivenRights`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRights {
    table: BTreeMap<Moid, Rights>,
    /// What is left of any right, where the configuration says so.
    limits: BTreeMap<Moid, Rights>,
}

impl Default for DeviceRights {
    fn default() -> Self {
        // Profile P-33; of DMAcc a server sees its own account only, see `Principal::rights_on`.
        let full = Rights::READ | Rights::WRITE | Rights::EXECUTE;
        let table = [
            (ddf::DEVINFO, Rights::READ),
            (ddf::SESSIONINFO, Rights::READ),
            (ddf::FUMO, full),
            (ddf::SCOMO, full),
            (ddf::DMACC, Rights::READ),
        ];
        let mut all = BTreeMap::new();
        all.extend(table.into_iter().filter_map(|(moid, rights)| Some((moid.parse().ok()?, rights))));
        Self { table: all, limits: BTreeMap::new() }
    }
}

impl DeviceRights {
    /// The rights on instances of `moid`.
    pub fn of(&self, moid: &Moid) -> Rights {
        self.with(moid, Rights::NONE)
    }

    /// The rights on an instance of `moid` on which a Bootstrap Message adds `given`.
    pub fn with(&self, moid: &Moid, given: Rights) -> Rights {
        let own = self.table.get(moid).copied().unwrap_or(Rights::NONE);
        (own | given) & self.limits.get(moid).copied().unwrap_or(Rights::ALL)
    }

    /// Takes away whatever is not in `rights`.
    pub fn narrow(&mut self, moid: &Moid, rights: Rights) {
        let limit = self.limits.entry(moid.clone()).or_insert(Rights::ALL);
        *limit = *limit & rights;
    }
}

/// How many instances a Bootstrap Message can give one server rights on.
pub const MAX_GIVEN: usize = 256;

/// Rights of one server on instances that the device made, as DACMO items of its Bootstrap Message add them to the
/// device's table (spec 2.3, Profile P-18): at most [`MAX_GIVEN`] instances.
///
/// Each is the rights as a number, the MOID and the MIID, with spaces between them. As text it needs no code of its own
/// in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GivenRights(Vec<String>);

impl GivenRights {
    /// Whether none are given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rights on this instance.
    pub fn on(&self, moid: &Moid, miid: &Miid) -> Rights {
        self.find(moid, miid).map_or(Rights::NONE, |(_, rights)| rights)
    }

    /// Adds rights on an instance; false if that would be one instance too many.
    pub fn add(&mut self, moid: &Moid, miid: &Miid, rights: Rights) -> bool {
        let (place, before) = self.find(moid, miid).unwrap_or((self.0.len(), Rights::NONE));
        let text = format!("{} {moid} {miid}", (before | rights).0);
        match self.0.get_mut(place) {
            Some(present) => *present = text,
            None if place < MAX_GIVEN => self.0.push(text),
            None => return false,
        }
        true
    }

    fn find(&self, moid: &Moid, miid: &Miid) -> Option<(usize, Rights)> {
        let of_it = |text: &String| {
            let mut words = text.split(' ');
            let rights = words.next()?.parse().ok().map(Rights)?;
            (words.next() == Some(moid.as_str()) && words.next() == Some(miid.as_str())).then_some(rights)
        };
        self.0.iter().enumerate().find_map(|(place, text)| Some((place, of_it(text)?)))
    }
}

/// The server on whose behalf a command runs.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// Its identifier.
    pub srv_id: &'a SrvId,
    /// The MOIDs listed for it at bootstrap (Perm).
    pub listed: &'a BTreeSet<Moid>,
    /// The device's table.
    pub rights: &'a DeviceRights,
    /// What its Bootstrap Message adds to that.
    pub given: &'a GivenRights,
    /// The MIID of its own account.
    pub account: Option<&'a Miid>,
}

impl Principal<'_> {
    /// The rights on an instance, if the MOID is listed (Profile P-33): those of the owner; on what the device made,
    /// those of its table and those that the Bootstrap Message adds.
    pub fn rights_on(&self, moid: &Moid, miid: &Miid, owner: &Owner) -> Rights {
        if !self.listed.contains(moid) {
            return Rights::NONE;
        }
        match owner {
            Owner::Server(srv_id) if srv_id == self.srv_id => Rights::ALL,
            Owner::Server(_) => Rights::NONE,
            Owner::Local if moid.as_str() == ddf::DMACC && self.account != Some(miid) => Rights::NONE,
            Owner::Local => self.rights.with(moid, self.given.on(moid, miid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_come_from_perm_and_from_owner_or_table() {
        let moid = |text: &str| text.parse::<Moid>().unwrap();
        let miid = |text: &str| text.parse::<Miid>().unwrap();
        let (acme, other) = ("acme".parse::<SrvId>().unwrap(), "other".parse::<SrvId>().unwrap());
        let listed = [ddf::DEVINFO, ddf::DMACC, ddf::FUMO, ddf::EXAMPLE].map(moid).into();
        let mut rights = DeviceRights::default();
        rights.narrow(&moid(ddf::FUMO), Rights::READ | Rights::DELEGATE);
        rights.narrow(&moid(ddf::EXAMPLE), Rights::ALL);
        let own = miid("a");
        let mut given = GivenRights::default();
        for (text, id, more) in [
            (ddf::EXAMPLE, "2", Rights::WRITE | Rights::DELEGATE),
            (ddf::DEVINFO, "1", Rights::WRITE),
            (ddf::DEVINFO, "1", Rights::EXECUTE),
            (ddf::FUMO, "1", Rights::WRITE),
            (ddf::SCOMO, "1", Rights::READ),
        ] {
            assert!(given.add(&moid(text), &miid(id), more));
        }
        let nothing = GivenRights::default();
        let who = Principal { srv_id: &acme, listed: &listed, rights: &rights, given: &nothing, account: Some(&own) };
        let on = |text: &str, id: &str, owner: &Owner| who.rights_on(&moid(text), &miid(id), owner);

        assert_eq!(on(ddf::DEVINFO, "1", &Owner::Local), Rights::READ);
        assert_eq!(on(ddf::FUMO, "1", &Owner::Local), Rights::READ, "narrowed, not widened");
        assert_eq!(on(ddf::EXAMPLE, "1", &Owner::Local), Rights::NONE, "narrowing gives nothing");
        assert_eq!(on(ddf::EXAMPLE, "1", &Owner::Server(acme.clone())), Rights::ALL);
        assert_eq!(on(ddf::EXAMPLE, "1", &Owner::Server(other.clone())), Rights::NONE);
        assert_eq!(on(ddf::DMACC, "a", &Owner::Local), Rights::READ);
        assert_eq!(on(ddf::DMACC, "b", &Owner::Local), Rights::NONE, "another server's account");
        assert_eq!(on(ddf::SCOMO, "1", &Owner::Local), Rights::NONE, "not listed");
        assert_eq!(on(ddf::SCOMO, "1", &Owner::Server(acme.clone())), Rights::NONE, "not listed any more");

        let who = Principal { given: &given, ..who };
        let on = |text: &str, id: &str, owner: &Owner| who.rights_on(&moid(text), &miid(id), owner);
        assert_eq!(on(ddf::DEVINFO, "1", &Owner::Local), Rights::READ | Rights::WRITE | Rights::EXECUTE, "added");
        assert_eq!(on(ddf::DEVINFO, "2", &Owner::Local), Rights::READ, "another instance");
        assert_eq!(on(ddf::DEVINFO, "1", &Owner::Server(other.clone())), Rights::NONE, "not the device's own");
        assert_eq!(on(ddf::EXAMPLE, "2", &Owner::Local), Rights::WRITE | Rights::DELEGATE, "nothing was in the table");
        assert_eq!(on(ddf::FUMO, "1", &Owner::Local), Rights::READ, "the configuration bounds what is added, too");
        assert_eq!(on(ddf::SCOMO, "1", &Owner::Local), Rights::NONE, "not listed");
    }

    #[test]
    fn rights_are_given_on_so_many_instances_and_no_more() {
        let moid: Moid = ddf::EXAMPLE.parse().unwrap();
        let mut given = GivenRights::default();
        for number in 0..MAX_GIVEN {
            assert!(given.add(&moid, &number.to_string().parse().unwrap(), Rights::READ));
        }
        assert!(given.add(&moid, &"7".parse().unwrap(), Rights::WRITE), "it is among them");
        assert!(!given.add(&moid, &"one-more".parse().unwrap(), Rights::READ));
    }
}
