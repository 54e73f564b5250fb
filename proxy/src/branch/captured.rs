//! What a local transaction has changed so far, in order, with its savepoints.

use crate::backend::Entry;
use atone_protocol::BranchId;
use atone_undo_log::capture::{Canonical, Captured, Table};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An open local transaction that has written.
#[derive(Debug)]
pub struct Branch {
    /// This attempt.
    pub id: BranchId,
    /// The tables written.
    pub tables: Vec<Arc<Entry>>,
    /// Every change, in order.
    pub changes: Vec<Change>,
    /// Bytes of the rows captured.
    pub bytes: usize,
    /// PostgreSQL: tables and partitions written, by their numbers, each with the name that its rows are locked under.
    pub written: BTreeMap<u32, String>,
    /// PostgreSQL: names among these under which rows were changed that no statement told of.
    pub unseen: BTreeSet<String>,
    /// PostgreSQL: how many these were, as far as they were counted.
    pub counted: usize,
    /// PostgreSQL: names under which keys were assigned; each row's old key is told.
    pub moved: BTreeSet<String>,
    /// Rows that stayed may refer to others than before, or be referred to by another value: only their images tell.
    pub relinked: bool,
    /// PostgreSQL: a statement may have emptied, dropped or reshaped tables.
    pub takes_tables: bool,
    statements: usize,
    savepoints: Vec<(String, usize)>,
}

/// One change.
#[derive(Debug, Clone)]
pub enum Change {
    /// A row was updated; this is how it was.
    Updated(usize, Captured),
    /// A row was deleted; this is how it was.
    Deleted(usize, Captured),
    /// A row went to another key: how it was, and how it came there.
    Moved(usize, Captured, Captured),
    /// Rows were inserted, found by these key literals.
    Inserted(usize, Vec<Vec<String>>),
    /// Rows were inserted, and have been read since.
    Resolved(usize, Vec<Captured>),
    /// A row was read and locked, and not changed.
    Locked {
        /// The table.
        table: usize,
        /// Its key.
        key: Canonical,
        /// Others may do the same.
        shared: bool,
    },
    /// A row as it was left, or how it was when it was deleted; what it was before is read when the branch is settled.
    Left {
        /// The table.
        table: usize,
        /// The row.
        row: Captured,
        /// It was deleted.
        gone: bool,
        /// The statement may have made it.
        new: bool,
        /// How it was before the statement, or that it was not there; None: not told, or it was deleted.
        old: Option<Option<Captured>>,
        /// It may have come to refer to others, or to be referred to, or have ceased to.
        linked: bool,
        /// Rows of one statement have one number.
        statement: usize,
    },
}

impl Branch {
    /// Nothing is changed yet.
    pub fn new(id: BranchId) -> Self {
        Self {
            id,
            tables: Vec::new(),
            changes: Vec::new(),
            bytes: 0,
            written: BTreeMap::new(),
            unseen: BTreeSet::new(),
            counted: 0,
            moved: BTreeSet::new(),
            relinked: false,
            takes_tables: false,
            statements: 0,
            savepoints: Vec::new(),
        }
    }

    /// Nothing was changed, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.unseen.is_empty() && !self.takes_tables
    }

    /// The index of a table, added when it is new.
    pub fn table(&mut self, entry: &Arc<Entry>) -> usize {
        let known = self.tables.iter().position(|t| t.name == entry.name && t.table == entry.table);
        known.unwrap_or_else(|| {
            self.tables.push(entry.clone());
            self.tables.len() - 1
        })
    }

    /// The description of a table.
    pub fn description(&self, table: usize) -> Option<&Table> {
        self.tables.get(table)?.table.as_ref().ok()
    }

    /// Rows changed so far, each as often as it was changed.
    pub fn rows(&self) -> usize {
        let count = |c: &Change| match c {
            Change::Updated(..) | Change::Deleted(..) | Change::Left { .. } | Change::Locked { .. } => 1,
            Change::Moved(..) => 2,
            Change::Inserted(_, keys) => keys.len(),
            Change::Resolved(_, rows) => rows.len(),
        };
        self.changes.iter().map(count).sum()
    }

    /// Rows were updated or deleted.
    pub fn captured(&mut self, table: usize, rows: Vec<Captured>, deleted: bool) {
        self.bytes += rows.iter().map(|r| r.row.size()).sum::<usize>();
        let change = if deleted { Change::Deleted } else { Change::Updated };
        self.changes.extend(rows.into_iter().map(|row| change(table, row)));
    }

    /// Rows were inserted, updated or deleted, and the server told how it left them.
    pub fn left(
        &mut self,
        table: usize,
        rows: Vec<(Captured, Option<Option<Captured>>)>,
        gone: bool,
        new: bool,
        assigned: &[String],
    ) {
        let description = self.description(table).filter(|table| table.refers_or_is_referred_to());
        // A new row that may be an old one was not surely made.
        let surely = gone || new && assigned.is_empty();
        let fires = self.tables.get(table).is_some_and(|entry| entry.fires);
        let touched = description.is_some_and(|table| new || fires || table.assigns_references(assigned));
        let unknown = description.is_some() && touched && !surely;
        let linked = |row: &Captured, old: &Option<Option<Captured>>| match old {
            _ if surely => description.is_some(),
            Some(Some(old)) => old.references != row.references,
            Some(None) => description.is_some(),
            None => unknown,
        };
        let linked: Vec<bool> = rows.iter().map(|(row, old)| linked(row, old)).collect();
        self.relinked |= unknown && rows.iter().any(|(_, old)| old.is_none());
        self.bytes += rows.iter().map(|(row, _)| row.row.size()).sum::<usize>();
        self.statements += 1;
        let statement = self.statements;
        let change = |((row, old), linked)| Change::Left { table, row, gone, new, old, linked, statement };
        self.changes.extend(rows.into_iter().zip(linked).map(change));
    }

    /// Rows were inserted, found by these key literals; perhaps they have been read.
    pub fn inserted(&mut self, table: usize, keys: Vec<Vec<String>>, read: Option<Vec<Captured>>) {
        self.changes.push(Change::Inserted(table, keys));
        if let Some(rows) = read {
            self.resolve(self.changes.len() - 1, rows);
        }
    }

    /// The key of rows was assigned: from where each went to where, in an order in which each place was free.
    pub fn moved(&mut self, table: usize, pairs: Vec<(Captured, Captured)>) {
        for (from, to) in pairs {
            self.bytes += from.row.size() + to.row.size();
            self.changes.push(match from.key.bytes == to.key.bytes {
                true => Change::Updated(table, from),
                false => Change::Moved(table, from, to),
            });
        }
    }

    /// Inserts into a table that have not been read yet, by their place.
    pub fn unread(&self, table: Option<usize>) -> Vec<(usize, usize, Vec<Vec<String>>)> {
        let unread = |(at, change): (usize, &Change)| match change {
            Change::Inserted(t, keys) if table.is_none_or(|wanted| wanted == *t) => {
                Some((at, *t, keys.clone()))
            }
            Change::Inserted(..)
            | Change::Updated(..)
            | Change::Deleted(..)
            | Change::Moved(..)
            | Change::Left { .. }
            | Change::Locked { .. }
            | Change::Resolved(..) => None,
        };
        self.changes.iter().enumerate().filter_map(unread).collect()
    }

    /// Inserted rows have been read, in the order of the statement as far as their keys tell.
    pub fn resolve(&mut self, at: usize, mut rows: Vec<Captured>) {
        let Some(Change::Inserted(table, keys)) = self.changes.get(at).cloned() else { return };
        if let Some(description) = self.description(table) {
            let place = |row: &Captured| {
                let values = description.key_values(&row.row);
                let same = |key: &Vec<String>| {
                    key.iter().zip(&values).all(|(k, v)| k.trim_matches('\'').as_bytes() == *v)
                };
                keys.iter().position(same).unwrap_or(usize::MAX)
            };
            rows.sort_by_key(place);
        }
        self.changes[at] = Change::Resolved(table, rows);
    }

    /// SAVEPOINT where a later one of the same name hides it until it is released.
    pub fn savepoint_nested(&mut self, name: String) {
        self.savepoints.push((name, self.changes.len()));
    }

    /// ROLLBACK TO the latest of this name.
    pub fn rollback_to_nested(&mut self, name: &str) {
        let Some(at) = self.savepoints.iter().rposition(|s| s.0 == name) else {
            self.changes.clear();
            self.savepoints.clear();
            return;
        };
        self.changes.truncate(self.savepoints[at].1);
        self.savepoints.truncate(at + 1);
    }

    /// RELEASE of the latest of this name, and of those within it.
    pub fn release_nested(&mut self, name: &str) {
        match self.savepoints.iter().rposition(|s| s.0 == name) {
            Some(at) => self.savepoints.truncate(at),
            // It is from before the first write: so are none of those that are known.
            None => self.savepoints.clear(),
        }
    }

    /// SAVEPOINT: a later one of the same name replaces it.
    pub fn savepoint(&mut self, name: String) {
        self.savepoints.retain(|s| s.0 != name);
        self.savepoints.push((name, self.changes.len()));
    }

    /// ROLLBACK TO: what was changed since is undone by the server, and forgotten here.
    pub fn rollback_to(&mut self, name: &str) {
        // A savepoint from before the first write: everything since is undone.
        let Some(at) = self.savepoints.iter().position(|s| s.0 == name) else {
            self.changes.clear();
            self.savepoints.clear();
            return;
        };
        self.changes.truncate(self.savepoints[at].1);
        self.savepoints.truncate(at + 1);
    }

    /// RELEASE SAVEPOINT.
    pub fn release(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().position(|s| s.0 == name) {
            self.savepoints.truncate(at);
        }
    }
}
