//! Global locks: a key of a resource is held by one transaction alone, or shared by several. Who waits is not replicated.

use super::key::{Identity, Key, Keys, Space};
use atone_protocol::{LockKey, Xid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// A key in its resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lock {
    /// The resource.
    pub resource: String,
    /// The key.
    pub key: LockKey,
}

/// By whom a key is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// By one; any of its branches may use the key again.
    Exclusive(Xid),
    /// By these, none of which changes it.
    Shared(BTreeSet<Xid>),
}

impl Hold {
    /// All who hold it.
    pub fn holders(&self) -> impl Iterator<Item = Xid> {
        let (one, many) = match self {
            Self::Exclusive(xid) => (Some(*xid), None),
            Self::Shared(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }

    /// Those who keep `xid` from having it, `shared` or alone.
    pub fn against(&self, xid: Option<Xid>, shared: bool) -> impl Iterator<Item = Xid> {
        let none = shared && matches!(self, Self::Shared(_));
        self.holders().filter(move |who| !none && Some(*who) != xid)
    }

    /// It is held by this one.
    pub fn is_by(&self, xid: Xid) -> bool {
        match self {
            Self::Exclusive(who) => *who == xid,
            Self::Shared(all) => all.contains(&xid),
        }
    }
}

/// All locks, by resource and then by key. They follow from the branches, and so are not stored.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    resources: BTreeMap<String, BTreeMap<Key, Hold>>,
    /// Each table and index of which a key was ever held.
    spaces: BTreeSet<Arc<Space>>,
}

impl Locks {
    /// Who holds a key.
    pub fn hold(&self, resource: &str, key: &LockKey) -> Option<&Hold> {
        self.resources.get(resource)?.get(key as &dyn Identity)
    }

    pub(super) fn hold_of(&self, resource: &str, key: &Key) -> Option<&Hold> {
        self.resources.get(resource)?.get(key)
    }

    /// The first key of a table that another transaction holds.
    pub fn held_in(&self, resource: &str, table: &str, but: Option<Xid>) -> Option<(&Key, Xid)> {
        let first =
            LockKey { table: table.to_owned(), index: String::new(), key: Vec::new(), shown: String::new() };
        let from: (Bound<&dyn Identity>, _) = (Bound::Included(&first), Bound::Unbounded);
        let keys = self.resources.get(resource)?.range::<dyn Identity, _>(from);
        keys.take_while(|(key, _)| key.table() == table)
            .find_map(|(key, hold)| Some((key, hold.against(but, false).next()?)))
    }

    /// Every held lock, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Key, &Hold)> {
        self.resources.iter().flat_map(|(r, keys)| keys.iter().map(|(k, hold)| (r.as_str(), k, hold)))
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.resources.values().map(BTreeMap::len).sum()
    }

    /// None is held.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The first of these keys that another transaction holds in a way that keeps `xid` from it.
    pub(super) fn conflict<'k>(
        &self,
        resource: &str,
        keys: &'k Keys,
        shared: bool,
        xid: Xid,
    ) -> Option<(&'k Key, Xid)> {
        let held = self.resources.get(resource)?;
        keys.iter().find_map(|key| Some((key, held.get(key)?.against(Some(xid), shared).next()?)))
    }

    /// Takes keys that nobody stands in the way of. Afterwards they share their memory with the table.
    pub(super) fn take(&mut self, resource: &str, keys: &mut Keys, shared: bool, xid: Xid) {
        if keys.is_empty() {
            return;
        }
        let locks = self.resources.entry(resource.to_owned()).or_default();
        for key in keys.each_mut() {
            if let Some((held, _)) = locks.get_key_value(key) {
                *key = held.clone();
            } else {
                let space = match self.spaces.get(key.space()) {
                    Some(known) => Arc::clone(known),
                    None => {
                        self.spaces.insert(Arc::clone(key.space()));
                        Arc::clone(key.space())
                    }
                };
                key.move_to(space);
            }
            let hold = locks.entry(key.clone()).or_insert_with(|| Hold::Shared(BTreeSet::new()));
            match hold {
                Hold::Exclusive(_) => {}
                Hold::Shared(all) if shared => drop(all.insert(xid)),
                Hold::Shared(_) => *hold = Hold::Exclusive(xid),
            }
        }
    }

    /// `xid` needs the key no more. Did it hold it?
    pub(super) fn free(&mut self, resource: &str, key: &Key, xid: Xid) -> bool {
        let Some(locks) = self.resources.get_mut(resource) else { return false };
        let Some(hold) = locks.get_mut(key).filter(|hold| hold.is_by(xid)) else { return false };
        if let Hold::Shared(all) = hold {
            all.remove(&xid);
            if !all.is_empty() {
                return true;
            }
        }
        locks.remove(key);
        if locks.is_empty() {
            self.resources.remove(resource);
        }
        true
    }

    /// `xid` changes the key no more, but still needs that nobody else does. Did it hold it alone?
    pub(super) fn share(&mut self, resource: &str, key: &Key, xid: Xid) -> bool {
        let hold = self.resources.get_mut(resource).and_then(|locks| locks.get_mut(key));
        let Some(hold @ Hold::Exclusive(_)) = hold.filter(|hold| hold.is_by(xid)) else { return false };
        *hold = Hold::Shared(BTreeSet::from([xid]));
        true
    }
}
