//! The global locks that a local transaction needs.
//!
//! Keys of rows and values of unique keys, before and after, alone. Where a row begins or ceases to refer to another, that other's
//! existence, shared; and alone the existence of what others may refer to where it comes or goes. A row that stays and
//! goes on referring to the same is not among those: the database keeps what it refers to for as long as the row is there, and
//! the row is locked itself.

use super::{
    captured::{Branch, Change},
    images::AfterImages,
};
use atone_protocol::LockKey;
use atone_undo_log::capture::{Canonical, Captured};
use std::collections::BTreeSet;

/// Canonical keys longer than this are locked by their hash.
const KEY_LIMIT: usize = 256;

/// The locks.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    /// Those that nobody else may hold.
    pub alone: BTreeSet<LockKey>,
    /// Those that others may hold too.
    pub shared: BTreeSet<LockKey>,
}

impl Locks {
    /// Those of a branch. Without images of how its rows are now, each row that was updated and is said to refer to the same
    /// as before does so.
    pub fn of(branch: &Branch, after: Option<&AfterImages>) -> Self {
        let mut locks = Self::default();
        let (mut before, mut seen) = (Self::default(), BTreeSet::new());
        let name = |table: usize| branch.tables[table].name.as_str();
        for change in &branch.changes {
            // How a row was before the whole of it.
            let mut first = |table: usize, row: &Captured, was: bool| {
                if seen.insert((table, row.key.bytes.clone())) && was {
                    before.references(name(table), row);
                }
            };
            match change {
                Change::Updated(table, row) | Change::Deleted(table, row) => first(*table, row, true),
                Change::Moved(table, from, to) => {
                    first(*table, from, true);
                    first(*table, to, false);
                }
                Change::Resolved(table, rows) => rows.iter().for_each(|row| first(*table, row, false)),
                Change::Inserted(..) | Change::Left { .. } | Change::Locked { .. } => {}
            }
            locks.add(name, change, after.is_none());
        }
        if let Some(after) = after {
            let mut now = Self::default();
            for ((table, _), row) in after {
                locks.row(name(*table), row);
                now.references(name(*table), row);
            }
            locks.alone.extend(before.alone.symmetric_difference(&now.alone).cloned());
            locks.shared.extend(before.shared.symmetric_difference(&now.shared).cloned());
        }
        locks.shared.retain(|key| !locks.alone.contains(key));
        locks
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.alone.is_empty() && self.shared.is_empty()
    }

    /// These too.
    pub fn extend(&mut self, others: &Self) {
        self.alone.extend(others.alone.iter().cloned());
        self.shared.extend(others.shared.iter().cloned());
    }

    /// The keys of a row.
    pub fn row(&mut self, table: &str, row: &Captured) {
        let keys = std::iter::once(&row.key).chain(&row.uniques);
        self.alone.extend(keys.map(|key| lock_key(table, key)));
    }

    /// What a row refers to, and what may refer to it.
    pub fn references(&mut self, table: &str, row: &Captured) {
        self.alone.extend(row.references.referenced.iter().map(|key| lock_key(table, key)));
        self.shared.extend(row.references.parents.iter().map(|(table, key)| lock_key(table, key)));
    }

    fn add<'b>(&mut self, name: impl Fn(usize) -> &'b str, change: &Change, unread: bool) {
        let mut rows = |table: usize, rows: &[&Captured], linked: bool| {
            for row in rows {
                self.row(name(table), row);
                if linked {
                    self.references(name(table), row);
                }
            }
        };
        match change {
            Change::Updated(table, row) => rows(*table, &[row], false),
            Change::Deleted(table, row) => rows(*table, &[row], unread),
            Change::Moved(table, from, to) => rows(*table, &[from, to], unread),
            Change::Resolved(table, made) => made.iter().for_each(|row| rows(*table, &[row], unread)),
            Change::Left { table, row, old, linked, .. } => {
                rows(*table, &[row], *linked);
                old.iter().flatten().for_each(|old| rows(*table, &[old], *linked));
            }
            Change::Inserted(..) => {}
            Change::Locked { table, key, shared } => {
                let to = if *shared { &mut self.shared } else { &mut self.alone };
                to.insert(lock_key(name(*table), key));
            }
        }
    }
}

/// The lock of a key of this table.
pub fn lock_key(table: &str, key: &Canonical) -> LockKey {
    let mut bytes = key.bytes.clone();
    if bytes.len() > KEY_LIMIT {
        use sha2::Digest;
        bytes = sha2::Sha256::digest(&bytes).to_vec();
    }
    LockKey { table: table.to_owned(), index: key.index.clone(), key: bytes, shown: key.shown.clone() }
}
