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
use std::collections::{BTreeMap, BTreeSet};

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
    /// Those of a branch. A row refers to others than before when its own images say so. Without images of how its rows are now, each row that was updated and is said to refer to the same
    /// as before does so.
    pub fn of(branch: &Branch, after: Option<&AfterImages>) -> Self {
        let mut locks = Self::default();
        // How each row was before the whole of it, if it was there.
        let mut before: BTreeMap<(usize, &[u8]), Option<&Captured>> = BTreeMap::new();
        let name = |table: usize| branch.tables[table].name.as_str();
        for change in &branch.changes {
            let mut first = |table: usize, row, was: bool| {
                before.entry((table, key_of(row))).or_insert(was.then_some(row));
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
            for ((table, _), row) in after {
                locks.row(name(*table), row);
            }
            let rows =
                before.keys().copied().chain(after.keys().map(|(table, key)| (*table, key.as_slice())));
            for (table, key) in rows.collect::<BTreeSet<_>>() {
                let was = before.get(&(table, key)).copied().flatten();
                locks.changed(name(table), was, after.get(&(table, key.to_vec())));
            }
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

    /// What a row refers to and did not before, or the other way round, and what may refer to it likewise.
    pub fn changed(&mut self, table: &str, was: Option<&Captured>, is: Option<&Captured>) {
        let of = |row: Option<&Captured>| {
            let mut locks = Self::default();
            row.into_iter().for_each(|row| locks.references(table, row));
            locks
        };
        let (was, is) = (of(was), of(is));
        self.alone.extend(was.alone.symmetric_difference(&is.alone).cloned());
        self.shared.extend(was.shared.symmetric_difference(&is.shared).cloned());
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
                let told = old.as_ref().and_then(Option::as_ref);
                rows(*table, &[row], *linked && told.is_none());
                told.into_iter().for_each(|old| rows(*table, &[old], false));
                if let (Some(old), true) = (told, *linked) {
                    self.changed(name(*table), Some(old), Some(row));
                }
            }
            Change::Inserted(..) => {}
            Change::Locked { table, key, shared } => {
                let to = if *shared { &mut self.shared } else { &mut self.alone };
                to.insert(lock_key(name(*table), key));
            }
        }
    }
}

fn key_of(row: &Captured) -> &[u8] {
    &row.key.bytes
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Entry;
    use atone_protocol::BranchId;
    use atone_undo_log::capture::{References, Row};
    use std::sync::Arc;

    fn key(index: &str, value: &str) -> Canonical {
        Canonical { index: index.into(), bytes: value.into(), shown: value.into() }
    }

    /// Row `id`, which refers to `parent` and is referred to as `code`.
    fn row(id: &str, parent: &str, code: &str) -> Captured {
        let references = References {
            referenced: vec![key("code", code)],
            parents: vec![("p".into(), key("exists", parent))],
        };
        Captured { row: Row(Vec::new()), key: key("id", id), uniques: Vec::new(), references }
    }

    fn locks(changes: Vec<Change>, after: Option<Vec<Captured>>) -> (Vec<String>, Vec<String>) {
        let mut branch = Branch::new(BranchId::new(1));
        branch.tables.push(Arc::new(Entry {
            name: "c".into(),
            table: Err(String::new()),
            triggers: Vec::new(),
            fires: false,
            alone: false,
            quiet: None,
            cascades: Vec::new(),
            layout: None,
        }));
        branch.changes = changes;
        let image = |row: Captured| ((0, row.key.bytes.clone()), row);
        let after: Option<AfterImages> = after.map(|rows| rows.into_iter().map(image).collect());
        let Locks { alone, shared } = Locks::of(&branch, after.as_ref());
        let names = |keys: BTreeSet<LockKey>| {
            keys.into_iter().map(|key| format!("{}.{}.{}", key.table, key.index, key.shown)).collect()
        };
        (names(alone), names(shared))
    }

    fn told(alone: &[&str], shared: &[&str]) -> (Vec<String>, Vec<String>) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        (names(alone), names(shared))
    }

    #[test]
    fn what_a_row_goes_on_referring_to_is_not_held() {
        let was = || row("1", "a", "x");
        let updated = || vec![Change::Updated(0, was())];
        assert_eq!(locks(updated(), Some(vec![was()])), told(&["c.id.1"], &[]));
        assert_eq!(locks(updated(), None), told(&["c.id.1"], &[]));
        let moved = told(&["c.code.x", "c.code.y", "c.id.1"], &["p.exists.a", "p.exists.b"]);
        assert_eq!(locks(updated(), Some(vec![row("1", "b", "y")])), moved);
    }

    #[test]
    fn what_comes_and_goes_is_held_with_what_it_refers_to() {
        let one = || row("1", "a", "x");
        let held = told(&["c.code.x", "c.id.1"], &["p.exists.a"]);
        assert_eq!(locks(vec![Change::Deleted(0, one())], Some(Vec::new())), held);
        assert_eq!(locks(vec![Change::Deleted(0, one())], None), held);
        assert_eq!(locks(vec![Change::Resolved(0, vec![one()])], Some(vec![one()])), held);
        // How it was before its last change is not how it was before all of them.
        let changed = vec![Change::Resolved(0, vec![one()]), Change::Updated(0, one())];
        assert_eq!(locks(changed, Some(vec![one()])), held);
        let gone = vec![Change::Updated(0, one()), Change::Deleted(0, row("1", "b", "y"))];
        assert_eq!(locks(gone, Some(Vec::new())), held);
    }

    /// The undo takes it from the one and gives it back to the other, and in between nobody has it.
    #[test]
    fn a_value_that_goes_to_another_row_is_held() {
        let (was, is) = (row("1", "a", "x"), row("2", "a", "x"));
        let changes = vec![Change::Deleted(0, was), Change::Resolved(0, vec![is.clone()])];
        let held = told(&["c.code.x", "c.id.1", "c.id.2"], &["p.exists.a"]);
        assert_eq!(locks(changes, Some(vec![is])), held);
    }

    #[test]
    fn what_is_held_alone_is_not_held_shared_as_well() {
        let mut own = row("1", "a", "x");
        own.references.parents = vec![("c".into(), key("code", "x"))];
        let made = vec![Change::Resolved(0, vec![own.clone()])];
        assert_eq!(locks(made, Some(vec![own])), told(&["c.code.x", "c.id.1"], &[]));
    }
}
