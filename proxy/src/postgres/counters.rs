//! The server's own counts of rows that a local transaction changed, table by table: whatever a statement does behind its
//! words (triggers, cascades, rules, functions), it cannot change a row uncounted.
//!
//! The counts go on from one local transaction to the next until the server has flushed them, so that only differences
//! within one local transaction mean something; flushing happens between transactions only.

use crate::wire::postgres::Bind;
use std::collections::BTreeMap;

/// Asks for the counts: tables of all kinds, the catalogue's too (a table made or dropped shows there).
const QUERY: &str = "SELECT c.oid::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, c.relname), \
    (pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) \
     + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid))::pg_catalog.text, \
    pg_catalog.current_setting('track_counts') \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'm', 'p') AND (c.oid = 'pg_catalog.pg_class'::pg_catalog.regclass OR \
     pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) \
     + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) > 0)";

/// Counts by table.
pub(super) type Counts = BTreeMap<u32, (String, u64)>;

/// What is known of the counts in this local transaction.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The counts up to which everything was captured; None: not asked since the local transaction began.
    baseline: Option<Counts>,
    /// Rows captured since, by table.
    captured: BTreeMap<u32, u64>,
    /// The statement that asks is prepared under this name.
    statement: Option<String>,
    /// Names used up.
    names: u64,
}

/// A table of which other rows were changed than captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    /// `schema.table`
    pub table: String,
    /// Rows captured.
    pub captured: u64,
    /// Rows counted.
    pub counted: u64,
}

impl Counters {
    /// Have they been asked for in this local transaction?
    pub fn known(&self) -> bool {
        self.baseline.is_some()
    }

    /// The next local transaction begins, or this one went back to a savepoint.
    pub fn forget(&mut self) {
        self.baseline = None;
        self.captured.clear();
    }

    /// The session's prepared statements are gone, or may be.
    pub fn forget_statement(&mut self) {
        self.statement = None;
    }

    /// Rows were captured.
    pub fn captured(&mut self, table: u32, rows: u64) {
        *self.captured.entry(table).or_default() += rows;
    }

    /// The messages that ask: a Parse if need be, and a Bind; Execute of the same portal follows.
    pub fn ask(&mut self) -> (Option<(String, &'static str)>, Bind) {
        let parse = self.statement.is_none();
        let name = match &self.statement {
            Some(name) => name.clone(),
            None => {
                self.names += 1;
                let name = format!("atone counts {}", self.names);
                self.statement = Some(name.clone());
                name
            }
        };
        let bind = Bind {
            portal: b"atone counts".to_vec(),
            statement: name.clone().into_bytes(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        (parse.then_some((name, QUERY)), bind)
    }

    /// What the server answered. Counts that are off would prove nothing: None.
    pub fn read(rows: &[Vec<Option<Vec<u8>>>]) -> Option<Counts> {
        let mut counts = Counts::new();
        for row in rows {
            let text = |at: usize| std::str::from_utf8(row.get(at)?.as_deref()?).ok();
            if text(3)? != "on" {
                return None;
            }
            counts.insert(text(0)?.parse().ok()?, (text(1)?.to_owned(), text(2)?.parse().ok()?));
        }
        (!counts.is_empty()).then_some(counts)
    }

    /// The counts at the beginning.
    pub fn begin(&mut self, counts: Counts) {
        self.baseline = Some(counts);
        self.captured.clear();
    }

    /// Were exactly the captured rows changed? Then what follows is compared with these counts.
    pub fn check(&mut self, counts: Counts) -> Result<(), Unseen> {
        let Some(before) = &self.baseline else {
            self.begin(counts);
            return Ok(());
        };
        for (table, (name, now)) in &counts {
            let counted = now.saturating_sub(before.get(table).map_or(0, |b| b.1));
            let captured = self.captured.get(table).copied().unwrap_or_default();
            if counted != captured {
                return Err(Unseen { table: name.clone(), captured, counted });
            }
        }
        // A table that is captured but not counted is gone, or was never there.
        if let Some((table, captured)) = self.captured.iter().find(|(t, n)| **n > 0 && !counts.contains_key(t)) {
            return Err(Unseen { table: format!("number {table}"), captured: *captured, counted: 0 });
        }
        self.begin(counts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(u32, u64)]) -> Counts {
        list.iter().map(|(t, n)| (*t, (format!("s.t{t}"), *n))).collect()
    }

    #[test]
    fn only_what_was_captured_may_be_counted() {
        let mut counters = Counters::default();
        counters.begin(counts(&[(1, 5), (2, 7)]));
        counters.captured(1, 2);
        let more = counters.check(counts(&[(1, 7), (2, 8)])).unwrap_err();
        assert_eq!((more.table.as_str(), more.captured, more.counted), ("s.t2", 0, 1));
        assert!(counters.check(counts(&[(1, 7), (2, 7)])).is_ok());
        // From here on only what is new.
        counters.captured(3, 1);
        assert!(counters.check(counts(&[(1, 7), (2, 7)])).is_err());
        assert!(counters.check(counts(&[(1, 7), (2, 7), (3, 1)])).is_ok());
    }

    #[test]
    fn counts_that_are_off_prove_nothing() {
        let row = |on: &str| ["1259", "pg_catalog.pg_class", "0", on].map(|t| Some(t.as_bytes().to_vec())).to_vec();
        assert!(Counters::read(&[row("on")]).is_some());
        assert!(Counters::read(&[row("off")]).is_none());
        assert!(Counters::read(&[]).is_none());
    }
}
