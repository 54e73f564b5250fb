//! Statements outside global transactions that empty tables, take them away or give them another shape: an undo would not
//! find its rows there. They are run, and at their commit, while the database holds their table locks, the coordinator is
//! asked whether a global transaction holds a row of these tables; nobody can come to hold one meanwhile.

use super::{Session, first_words::counts, local::Ending, pipeline::Ask};
use crate::branch::{Branch, Locks, SettleError};
use atone_undo_log::postgres::tokens;

/// Tables that nobody else can use until this local transaction ends, whatever has locked them so: cascades, partitions.
const TAKEN: &str = "SELECT l.relation::pg_catalog.text FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' \
    AND l.pid = pg_catalog.pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation >= 16384";

/// May this statement empty, drop or reshape tables? Not those that commit by themselves on their way.
pub(super) fn takes_tables(text: &str) -> bool {
    let sql = text.as_bytes();
    let Ok(tokens) = tokens(sql, true) else { return false };
    let is = |at: usize, words: &[&str]| {
        tokens.get(at).is_some_and(|token| words.iter().any(|word| token.is_word(sql, word)))
    };
    let takes = is(0, &["TRUNCATE"])
        || is(0, &["ALTER", "DROP"]) && is(1, &["TABLE"])
        || is(0, &["DROP"]) && is(1, &["SCHEMA", "OWNED", "TYPE", "DOMAIN"]);
    takes && !tokens.iter().any(|token| token.is_word(sql, "CONCURRENTLY"))
}

impl Session {
    /// A statement outside global transactions that our reading does not understand, or that defines things. Never refused;
    /// if it may write rows, the counts tell which tables to ask about.
    pub(super) fn unread(&mut self, text: &str, frame: &[u8]) {
        if counts(text) {
            self.begin_counting();
            self.counters.rely();
        }
        if takes_tables(text) {
            let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
            branch.takes_tables = true;
        }
        self.targets.forget();
        self.pipeline.pass(frame, Ask::Execute);
    }
}

impl Ending<'_> {
    /// Waits until no global transaction holds a row of the tables that this local transaction has taken.
    pub(super) async fn check_tables(&mut self) -> Result<(), SettleError> {
        let rows = self.questions(&[(TAKEN.to_owned(), Vec::new())], &[]).await?;
        let number = |row: Vec<Option<Vec<u8>>>| {
            let text = row.into_iter().next().flatten()?;
            std::str::from_utf8(&text).ok()?.parse::<u32>().ok()
        };
        let taken: Vec<u32> = rows.into_iter().flatten().filter_map(number).collect();
        let resource = self.session.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(()) };
        // As they were called before: the service account does not see what is not committed.
        let tables = backend.locked_as(&taken).await.map_err(SettleError::Backend)?;
        if tables.is_empty() {
            return Ok(());
        }
        self.ask(Locks::default(), tables, resource.lock_wait).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_tables_is_told_by_its_first_words() {
        for text in [
            "TRUNCATE t",
            "truncate table only t, u cascade",
            "/* x */ ALTER TABLE t ADD v int",
            "DROP TABLE IF EXISTS t",
            "DROP SCHEMA s CASCADE",
            "DROP TYPE m CASCADE;",
        ] {
            assert!(takes_tables(text), "{text}");
        }
        for text in [
            "CREATE TABLE t (id int)",
            "ALTER INDEX i RENAME TO j",
            "DROP INDEX CONCURRENTLY i",
            "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
            "DROP VIEW v",
            "VACUUM FULL t",
            "SELECT 'TRUNCATE'",
            "DROP",
            "",
        ] {
            assert!(!takes_tables(text), "{text}");
        }
    }
}
