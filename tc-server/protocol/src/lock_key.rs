//! What a global lock is on: a row's key, or the value of a unique index.

use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// One lockable thing in one resource. Two are equal when table, index and canonical key are; `shown` is for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LockKey {
    /// `schema.table`, as the database's catalogue spells it.
    pub table: String,
    /// `PRIMARY`, or the name of the unique index whose value is locked.
    pub index: String,
    /// The values in the database's own canonical form, typed and length-prefixed: equal bytes exactly when the
    /// database calls the values equal.
    pub key: Vec<u8>,
    /// The values as a person would write them, `42` or `7, 'abc'`; shortened when long.
    pub shown: String,
}

impl LockKey {
    fn identity(&self) -> (&str, &str, &[u8]) {
        (&self.table, &self.index, &self.key)
    }
}

impl PartialEq for LockKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for LockKey {}

impl PartialOrd for LockKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LockKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for LockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}
