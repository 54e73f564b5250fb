//! Global locks: at most one transaction holds a key of a resource. Who waits is not replicated.

use super::Millis;
use atone_protocol::{BranchId, LockKey, Xid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A key in its resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lock {
    /// The resource.
    pub resource: String,
    /// The key.
    pub key: LockKey,
}

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The transaction; any of its branches may use the key again.
    pub xid: Xid,
    /// The branch that took it first, of those that still need it.
    pub branch: BranchId,
    /// Since when.
    pub since: Millis,
}

/// All locks, by resource and then by key, so that a resource's locks can be walked without building a `Lock`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Locks {
    resources: BTreeMap<String, BTreeMap<LockKey, Held>>,
}

impl Locks {
    /// Who holds a key.
    pub fn holder(&self, resource: &str, key: &LockKey) -> Option<Held> {
        self.resources.get(resource)?.get(key).copied()
    }

    /// The first key of a table that another transaction holds.
    pub fn held_in(&self, resource: &str, table: &str, but: Option<Xid>) -> Option<(&LockKey, Held)> {
        let first =
            LockKey { table: table.to_owned(), index: String::new(), key: Vec::new(), shown: String::new() };
        let of_table = self.resources.get(resource)?.range(first..).take_while(|(key, _)| key.table == table);
        let mut others = of_table.map(|(key, held)| (key, *held)).filter(|(_, held)| Some(held.xid) != but);
        others.next()
    }

    /// Every held lock, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LockKey, Held)> {
        self.resources.iter().flat_map(|(r, keys)| keys.iter().map(|(k, held)| (r.as_str(), k, *held)))
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.resources.values().map(BTreeMap::len).sum()
    }

    /// None is held.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The first key that another transaction holds.
    pub(super) fn conflict<'k>(
        &self,
        resource: &str,
        keys: &'k [LockKey],
        xid: Xid,
    ) -> Option<(&'k LockKey, Xid)> {
        let held = self.resources.get(resource)?;
        keys.iter().find_map(|key| held.get(key).filter(|h| h.xid != xid).map(|h| (key, h.xid)))
    }

    /// Takes free keys; one's own stay with the branch that took them first.
    pub(super) fn take(&mut self, resource: &str, keys: &[LockKey], held: Held) {
        if keys.is_empty() {
            return;
        }
        let locks = self.resources.entry(resource.to_owned()).or_default();
        for key in keys {
            locks.entry(key.clone()).or_insert(held);
        }
    }

    /// Frees a key.
    pub(super) fn free(&mut self, resource: &str, key: &LockKey) {
        if let Some(locks) = self.resources.get_mut(resource) {
            locks.remove(key);
            if locks.is_empty() {
                self.resources.remove(resource);
            }
        }
    }

    /// The key stays locked, on behalf of another branch of the same transaction.
    pub(super) fn hand_over(&mut self, resource: &str, key: &LockKey, branch: BranchId) {
        if let Some(held) = self.resources.get_mut(resource).and_then(|locks| locks.get_mut(key)) {
            held.branch = branch;
        }
    }
}
