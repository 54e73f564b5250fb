//! How many undos have ended, and which was the last of each table: whoever read a table before that may have read what is no
//! more. The commit of a transaction with several branches in one database counts as well: whoever read before it may have read
//! what some of them did and not what the others did. Not stored: of two runs of a coordinator, or after a snapshot from another node, nothing can be compared.

use super::State;
use std::collections::{BTreeMap, BTreeSet};

/// Tables told apart; with more, all that are not known count as undone just then.
const TABLES: usize = 10_000;

/// What was undone.
#[derive(Debug, Clone, Default)]
pub struct Undone {
    count: u64,
    /// Of a table that is not known, and of a resource: the last undo that may have been of it.
    floor: u64,
    resources: BTreeMap<String, (u64, BTreeMap<String, u64>)>,
    tables: usize,
}

impl Undone {
    /// Undos so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Keys of these tables are held no more by one who was rolled back.
    pub(super) fn note<'t>(&mut self, resource: &str, tables: impl Iterator<Item = &'t str>) {
        let tables: BTreeSet<&str> = tables.collect();
        if tables.is_empty() {
            return;
        }
        self.count += 1;
        if self.tables + tables.len() > TABLES {
            (self.floor, self.tables) = (self.count, 0);
            self.resources.clear();
        }
        let (last, known) = self.resources.entry(resource.to_owned()).or_default();
        *last = self.count;
        for table in tables {
            self.tables += usize::from(known.insert(table.to_owned(), self.count).is_none());
        }
    }

    /// Was anything of these tables, or of the whole resource (None), undone after so many?
    pub fn since(&self, count: u64, resource: &str, tables: Option<&[String]>) -> bool {
        if self.floor > count {
            return true;
        }
        let Some((last, known)) = self.resources.get(resource) else { return false };
        match tables {
            None => *last > count,
            Some(tables) => tables.iter().any(|table| known.get(table).is_some_and(|at| *at > count)),
        }
    }

    /// Another state stands in the place of the one this belonged to: anything may have been undone.
    fn after_a_gap(&self) -> Self {
        let count = self.count + 1;
        Self { count, floor: count, ..Self::default() }
    }
}

impl State {
    /// What was undone.
    pub fn undone(&self) -> &Undone {
        self.locks.undone()
    }

    /// A snapshot takes the place of `old`.
    pub fn succeed(&mut self, old: &Self) {
        self.locks.set_undone(old.undone().after_a_gap());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_undo_of_each_table_is_known_and_after_a_gap_of_none() {
        let mut undone = Undone::default();
        let t = || ["s.t".to_owned()];
        undone.note("a", ["s.t", "s.t", "s.u"].into_iter());
        undone.note("b", ["s.t"].into_iter());
        undone.note("b", std::iter::empty());
        assert_eq!(undone.count(), 2);
        assert!(undone.since(0, "a", Some(&t())) && !undone.since(1, "a", Some(&t())));
        assert!(undone.since(1, "b", Some(&t())) && !undone.since(0, "b", Some(&["s.u".to_owned()])));
        assert!(undone.since(1, "b", None) && !undone.since(1, "a", None) && !undone.since(0, "c", None));
        let later = undone.after_a_gap();
        assert!(later.since(2, "c", Some(&t())) && !later.since(3, "a", Some(&t())));
    }

    #[test]
    fn with_too_many_tables_none_is_taken_for_untouched() {
        let mut undone = Undone::default();
        let names: Vec<String> = (0..=TABLES).map(|n| format!("s.t{n}")).collect();
        names.iter().for_each(|name| undone.note("a", std::iter::once(name.as_str())));
        assert_eq!(undone.tables, 1);
        assert!(undone.since(undone.count() - 1, "a", Some(&names[..1])));
        assert!(!undone.since(undone.count(), "a", Some(&names)));
    }
}
