//! The server's own counts of rows that a local transaction changed, table by table: whatever a statement does behind its
//! words (triggers, cascades, rules, functions), it cannot change a row uncounted.
//!
//! The counts go on from one local transaction to the next until the server has flushed them, so that only differences
//! within one local transaction mean something; flushing happens between transactions only.

use crate::wire::postgres::Bind;
use std::collections::BTreeMap;

/// Tables of all kinds, the catalogue's too: a table made or dropped shows there.
macro_rules! tables {
    () => {
        "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, \
          pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) \
          + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS rows \
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind IN ('r', 'm', 'p')"
    };
}

/// Those of which rows were changed. Foreign tables have no counts; one that is locked as a writer locks it counts for one
/// row, whenever it was locked: planning a function's body does that.
macro_rules! changed {
    () => {
        concat!(
            "(SELECT f.ftrelid AS oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, 1::pg_catalog.int8 AS rows \
              FROM pg_catalog.pg_foreign_table f JOIN pg_catalog.pg_class c ON c.oid = f.ftrelid \
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
              WHERE EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.relation = f.ftrelid \
              AND l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'RowExclusiveLock') UNION ALL ",
            tables!(),
            ") counted WHERE rows > 0"
        )
    };
}

/// The portal of every question.
pub(super) const PORTAL: &str = "atone counts";

/// What the counters are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// The counts before the first statement; the server keeps them too, until the end of the local transaction.
    Baseline,
    /// The counts now.
    Counts,
    /// Nothing, if nothing was changed since the baseline; an error that names a table otherwise.
    Proof,
    /// How the session wants to read, before a read.
    Reading,
    /// What a read has touched, behind it.
    Touched,
}

impl Question {
    fn sql(self) -> &'static str {
        match self {
            Self::Baseline => concat!(
                "SELECT pg_catalog.set_config('atone.counts', ',' || coalesce((SELECT \
                 pg_catalog.string_agg(oid || ':' || rows, ',') || ',' FROM (",
                tables!(),
                ") counted WHERE rows > 0), ''), true), pg_catalog.current_setting('track_counts'), \
                 pg_catalog.current_setting('atone.lock_wait', true)"
            ),
            Self::Counts => concat!(
                "SELECT oid::pg_catalog.text, name, rows::pg_catalog.text, pg_catalog.current_setting('track_counts'), \
                 pg_catalog.current_setting('atone.lock_wait', true) FROM ",
                changed!()
            ),
            Self::Proof => concat!(
                "SELECT (SELECT CASE WHEN pg_catalog.current_setting('track_counts') <> 'on' THEN 'uncounted' \
                 WHEN pg_catalog.count(*) = 0 THEN '0' ELSE 'changed [' || pg_catalog.min(name) || ']' END FROM ",
                changed!(),
                " AND pg_catalog.strpos(pg_catalog.current_setting('atone.counts'), ',' || oid || ':' || rows || ',') = 0)\
                 ::pg_catalog.int4"
            ),
            Self::Reading => super::checked::READING,
            Self::Touched => super::checked::TOUCHED,
        }
    }
}

/// The table that a failed proof names.
pub(super) fn disproved(message: &str) -> Option<&str> {
    // The rest of the sentence, and its quotes, are of the server's language.
    Some(message.split_once("changed [")?.1.rsplit_once(']')?.0)
}

/// Did a proof fail because nothing is counted?
pub(super) fn uncounted(message: &str) -> bool {
    message.contains("uncounted")
}

/// Counts by table.
pub(super) type Counts = BTreeMap<u32, (String, u64)>;

/// What is known of the counts in this local transaction.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The counts up to which everything was captured; None: not asked since the local transaction began.
    baseline: Option<Counts>,
    /// Rows captured since, by table.
    captured: BTreeMap<u32, u64>,
    /// A statement was run of which only the counts tell what it wrote.
    alone: bool,
    /// The questions are prepared under these names.
    statements: BTreeMap<Question, String>,
    /// Asked for the first time since the last answer: if that was an error, they may not be prepared.
    fresh: Vec<Question>,
    /// Names given up, to be closed.
    stale: Vec<String>,
    /// Names used up.
    names: u64,
}

/// A table of which other rows were changed than captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    /// Its number.
    pub oid: u32,
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
        self.alone = false;
        self.captured.clear();
    }

    /// A statement runs of which only the counts will tell what it wrote.
    pub fn rely(&mut self) {
        self.alone = true;
    }

    /// Only the counts can tell whether anything was written.
    pub fn relied_on(&self) -> bool {
        self.alone
    }

    /// The session's prepared statements are gone, or may be.
    pub fn forget_statement(&mut self) {
        self.statements.clear();
    }

    /// The answers came: prepared questions stay so, unless there was an error.
    pub fn answered(&mut self, error: bool) {
        for question in std::mem::take(&mut self.fresh) {
            if error {
                self.stale.extend(self.statements.remove(&question));
            }
        }
    }

    /// Names of statements to close.
    pub fn stale(&mut self) -> Vec<String> {
        std::mem::take(&mut self.stale)
    }

    /// Rows were captured.
    pub fn captured(&mut self, table: u32, rows: u64) {
        *self.captured.entry(table).or_default() += rows;
    }

    /// The messages that ask: a Parse if need be, and a Bind; Execute of the same portal follows.
    pub fn ask(&mut self, question: Question) -> (Option<(String, &'static str)>, Bind) {
        let known = self.statements.get(&question).cloned();
        let parse = known.is_none();
        let name = known.unwrap_or_else(|| {
            self.names += 1;
            format!("atone counts {}", self.names)
        });
        if parse {
            self.fresh.push(question);
        }
        self.statements.insert(question, name.clone());
        let bind = Bind {
            portal: PORTAL.into(),
            statement: name.clone().into_bytes(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        (parse.then(|| (name, question.sql())), bind)
    }

    /// `atone.lock_wait`, which either question asks for too.
    pub fn lock_wait(rows: &[Vec<Option<Vec<u8>>>]) -> Option<&str> {
        std::str::from_utf8(rows.first()?.last()?.as_deref()?).ok()
    }

    /// The answer to [`Question::Counts`]. Counts that are off would prove nothing: None.
    pub fn read(rows: &[Vec<Option<Vec<u8>>>]) -> Option<Counts> {
        let mut counts = Counts::new();
        for row in rows {
            let text = |at: usize| std::str::from_utf8(row.get(at)?.as_deref()?).ok();
            if text(3)? != "on" {
                return None;
            }
            counts.insert(text(0)?.parse().ok()?, (text(1)?.to_owned(), text(2)?.parse().ok()?));
        }
        Some(counts)
    }

    /// The answer to [`Question::Baseline`].
    pub fn read_baseline(rows: &[Vec<Option<Vec<u8>>>]) -> Option<Counts> {
        let text = |at: usize| std::str::from_utf8(rows.first()?.get(at)?.as_deref()?).ok();
        if text(1)? != "on" {
            return None;
        }
        let count = |pair: &str| {
            let (table, rows) = pair.split_once(':')?;
            Some((table.parse().ok()?, (String::new(), rows.parse().ok()?)))
        };
        text(0)?.split(',').filter(|pair| !pair.is_empty()).map(count).collect()
    }

    /// The counts at the beginning.
    pub fn begin(&mut self, counts: Counts) {
        self.baseline = Some(counts);
        self.captured.clear();
    }

    /// The tables in which other rows were changed than those captured. What follows is compared with these counts.
    pub fn check(&mut self, counts: Counts) -> Vec<Unseen> {
        let mut unseen = Vec::new();
        if let Some(before) = &self.baseline {
            for (oid, (table, now)) in &counts {
                let counted = now.saturating_sub(before.get(oid).map_or(0, |b| b.1));
                let captured = self.captured.get(oid).copied().unwrap_or_default();
                if counted != captured {
                    unseen.push(Unseen { oid: *oid, table: table.clone(), captured, counted });
                }
            }
            // A table that is captured but not counted is gone, or was never there.
            let gone = |(oid, captured): (&u32, &u64)| {
                let gone = *captured > 0 && !counts.contains_key(oid);
                let table = format!("number {oid}");
                gone.then_some(Unseen { oid: *oid, table, captured: *captured, counted: 0 })
            };
            unseen.extend(self.captured.iter().filter_map(gone));
        }
        self.begin(counts);
        unseen
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
        let more = counters.check(counts(&[(1, 7), (2, 8)]));
        assert_eq!(more.len(), 1);
        assert_eq!((more[0].table.as_str(), more[0].captured, more[0].counted), ("s.t2", 0, 1));
        // From here on only what is new.
        assert!(counters.check(counts(&[(1, 7), (2, 8)])).is_empty());
        counters.captured(3, 1);
        assert_eq!(counters.check(counts(&[(1, 7), (2, 8)]))[0].counted, 0);
        counters.captured(3, 1);
        assert!(counters.check(counts(&[(1, 7), (2, 8), (3, 1)])).is_empty());
    }

    #[test]
    fn counts_that_are_off_prove_nothing() {
        let row = |words: &[&str]| words.iter().map(|t| Some(t.as_bytes().to_vec())).collect::<Vec<_>>();
        assert!(Counters::read(&[row(&["1259", "pg_catalog.pg_class", "0", "on"])]).is_some());
        assert!(Counters::read(&[row(&["1259", "pg_catalog.pg_class", "0", "off"])]).is_none());
        assert_eq!(Counters::read_baseline(&[row(&[",", "on"])]), Some(Counts::new()));
        assert_eq!(Counters::read_baseline(&[row(&[",7:1,9:22,", "on"])]).map(|c| c[&9].1), Some(22));
        assert_eq!(Counters::read_baseline(&[row(&[",", "off"])]), None);
        assert_eq!(Counters::read_baseline(&[row(&[",7,", "on"])]), None);
    }

    #[test]
    fn a_failed_proof_names_a_table() {
        let message = "invalid input syntax for type integer: \"changed [s.\"T t\"]\"";
        assert_eq!(disproved(message), Some("s.\"T t\""));
        let german = "ungültige Eingabesyntax für Typ integer: »changed [s.\"T]\"]«";
        assert_eq!(disproved(german), Some("s.\"T]\""));
        assert_eq!(disproved("something else"), None);
        assert!(uncounted("invalid input syntax for type integer: \"uncounted\"") && !uncounted(message));
    }
}
