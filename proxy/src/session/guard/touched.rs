//! What a local transaction outside global ones has written so far, as far as its locks are concerned.

use crate::{
    backend::{Entry, Reach},
    branch::Locks,
};
use atone_undo_log::capture::{Captured, Table};
use std::sync::Arc;

/// In order, with its savepoints.
#[derive(Debug, Default)]
pub(in crate::session) struct Touched {
    marks: Vec<Mark>,
    savepoints: Vec<(String, usize)>,
}

/// One thing written.
#[derive(Debug, Clone)]
pub(in crate::session) enum Mark {
    /// Rows, by the keys they had; they may have others now, and refer to others (`linked`).
    Rows { entry: Arc<Entry>, rows: Vec<Captured>, linked: bool, again: bool },
    /// Rows that were inserted, found by these key literals.
    Inserted(Arc<Entry>, Vec<Vec<String>>),
    /// No key of these tables may be locked.
    Reach(Reach),
    /// None of these.
    Keys(Locks),
}

impl Mark {
    /// All of a table.
    pub fn table(name: &str) -> Self {
        Self::Reach(Reach::Tables([name.to_owned()].into()))
    }
}

/// The description of a table of which only keys are known.
pub(super) fn described(entry: &Entry) -> Option<&Table> {
    entry.table.as_ref().ok()
}

impl Touched {
    /// Nothing was written, and no savepoint is known.
    pub fn is_clear(&self) -> bool {
        self.marks.is_empty() && self.savepoints.is_empty()
    }

    pub fn clear(&mut self) {
        self.marks.clear();
        self.savepoints.clear();
    }

    pub(in crate::session) fn add(&mut self, marks: Vec<Mark>) {
        self.marks.extend(marks);
    }

    /// All of it in another form; what is taken back later is kept too.
    pub(super) fn replace(&mut self, marks: Vec<Mark>) {
        self.clear();
        self.marks = marks;
    }

    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// SAVEPOINT: a later one of the same name replaces it.
    pub(super) fn savepoint(&mut self, name: String) {
        self.savepoints.retain(|s| s.0 != name);
        self.savepoints.push((name, self.marks.len()));
    }

    /// ROLLBACK TO. Of a savepoint that was not seen to be set nothing is known, and everything is kept.
    pub(super) fn rollback_to(&mut self, name: &str) {
        let Some(at) = self.savepoints.iter().position(|s| s.0 == name) else { return };
        self.marks.truncate(self.savepoints[at].1);
        self.savepoints.truncate(at + 1);
    }

    /// RELEASE SAVEPOINT.
    pub(super) fn release(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().position(|s| s.0 == name) {
            self.savepoints.truncate(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_needs_no_lock() {
        let mut touched = Touched::default();
        touched.savepoint("a".into());
        touched.add(vec![Mark::table("t")]);
        touched.savepoint("b".into());
        touched.add(vec![Mark::table("u")]);
        touched.rollback_to("unseen");
        assert_eq!(touched.marks().len(), 2);
        touched.rollback_to("b");
        assert_eq!(touched.marks().len(), 1);
        touched.release("b");
        touched.rollback_to("a");
        assert!(touched.marks().is_empty() && !touched.is_clear());
        touched.clear();
        assert!(touched.is_clear());
    }
}
