//! Global locks: a key of a resource is held by one transaction alone, or shared by several. Who waits is not replicated.

use super::Undone;
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

/// By whom a key is held: one alone, any of whose branches may use it again, or several, none of which changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold(Holders);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Holders {
    /// In halves: a whole one would be aligned so that ten million locks took 80 MB more.
    Alone([u64; 2]),
    /// Boxed, since there are many locks and few of these.
    #[allow(clippy::box_collection)] // It is about the size of the others.
    Shared(Box<BTreeSet<Xid>>),
}

fn whole([high, low]: [u64; 2]) -> Xid {
    Xid::from_u128(u128::from(high) << 64 | u128::from(low))
}

impl Hold {
    fn alone(xid: Xid) -> Self {
        let xid = xid.as_u128();
        Self(Holders::Alone([(xid >> 64) as u64, xid as u64]))
    }

    /// All who hold it.
    pub fn holders(&self) -> impl Iterator<Item = Xid> {
        let (one, many) = match &self.0 {
            Holders::Alone(xid) => (Some(whole(*xid)), None),
            Holders::Shared(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|all| all.iter()).copied())
    }

    /// Others may hold it too.
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Holders::Shared(_))
    }

    /// Those who keep `xid` from having it, `shared` or alone.
    pub fn against(&self, xid: Option<Xid>, shared: bool) -> impl Iterator<Item = Xid> {
        let none = shared && self.is_shared();
        self.holders().filter(move |who| !none && Some(*who) != xid)
    }

    /// It is held by this one.
    pub fn is_by(&self, xid: Xid) -> bool {
        match &self.0 {
            Holders::Alone(who) => whole(*who) == xid,
            Holders::Shared(all) => all.contains(&xid),
        }
    }
}

/// All locks, by resource and then by key. They follow from the branches, and so are not stored.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    resources: BTreeMap<String, BTreeMap<Key, Hold>>,
    /// Each table and index of which a key was ever held.
    spaces: BTreeSet<Arc<Space>>,
    undone: Undone,
}

impl Locks {
    pub(super) fn undone(&self) -> &Undone {
        &self.undone
    }

    pub(super) fn set_undone(&mut self, undone: Undone) {
        self.undone = undone;
    }

    /// One who is rolled back has undone what he did to these.
    pub(super) fn note_undone(&mut self, resource: &str, keys: &Keys) {
        self.undone.note(resource, keys.iter().map(Key::table));
    }

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

    /// The first key of a resource that another transaction holds.
    pub fn held_at(&self, resource: &str, but: Option<Xid>) -> Option<(&Key, Xid)> {
        let mut all = self.resources.get(resource)?.iter();
        all.find_map(|(key, hold)| Some((key, hold.against(but, false).next()?)))
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
            let hold = locks.entry(key.clone()).or_insert_with(|| Hold(Holders::Shared(Box::default())));
            match &mut hold.0 {
                Holders::Alone(_) => {}
                Holders::Shared(all) if shared => drop(all.insert(xid)),
                Holders::Shared(_) => *hold = Hold::alone(xid),
            }
        }
    }

    /// `xid` needs the key no more. Did it hold it?
    pub(super) fn free(&mut self, resource: &str, key: &Key, xid: Xid) -> bool {
        let Some(locks) = self.resources.get_mut(resource) else { return false };
        let Some(hold) = locks.get_mut(key).filter(|hold| hold.is_by(xid)) else { return false };
        if let Holders::Shared(all) = &mut hold.0 {
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
        let Some(hold) = hold.filter(|hold| hold.is_by(xid) && !hold.is_shared()) else { return false };
        *hold = Hold(Holders::Shared(Box::new(BTreeSet::from([xid]))));
        true
    }
}
