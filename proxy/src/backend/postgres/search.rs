//! What the service account sees of a table in which a local transaction has changed rows that no statement told of.

use super::{BackendError, Entry, Postgres, pool::Param};
use atone_undo_log::{
    capture::{Captured, Table},
    postgres::search::{held, rows_at},
};
use tokio_postgres::types::Type;

/// Rows that may be, or have been, locked in a table that is searched.
pub const HELD_LIMIT: usize = 1_000_000;

/// Where rows are in a table, and the transactions that made them: arrays, as the server writes them.
#[derive(Debug, Clone)]
pub struct Places {
    /// Of `tid`.
    pub at: String,
    /// Of `xid`.
    pub by: String,
}

/// The names under which the rows of these tables are locked, as far as others see them. Waits for nobody.
const LOCKED_AS: &str = "SELECT DISTINCT n.nspname || '.' || r.relname FROM pg_class c \
    JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) JOIN pg_namespace n ON n.oid = r.relnamespace \
    WHERE c.oid = ANY ($1) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' ORDER BY 1";

impl Postgres {
    /// The names under which the rows of these tables are locked.
    pub async fn locked_as(&self, tables: &[u32]) -> Result<Vec<String>, BackendError> {
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let (mut session, _) = self.question().await?;
        let rows = session.query(LOCKED_AS, &[(&tables, Type::OID_ARRAY)]).await?;
        session.answered(rows.iter().map(|row| row.try_get(0)).collect())
    }

    /// The number of a transaction that begins now.
    pub async fn newest_transaction(&self) -> Result<u64, BackendError> {
        let (mut session, _) = self.question().await?;
        let rows = session.query("SELECT pg_current_xact_id()::text::int8", &[]).await?;
        let number = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose();
        Ok(session.answered(number)?.map_or(0, i64::cast_unsigned))
    }

    /// The places of rows that are locked, deleted or updated by somebody, or were once; None when they are too many.
    pub async fn held(&self, table: &Table) -> Result<Option<Places>, BackendError> {
        let (mut session, _) = self.question().await?;
        let rows = session.query(&held(table, HELD_LIMIT + 1), &[]).await?;
        let read = |row: &tokio_postgres::Row| {
            let none = || "{}".to_owned();
            let (at, by): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            let places = Places { at: at.unwrap_or_else(none), by: by.unwrap_or_else(none) };
            Ok((row.try_get::<_, i64>(2)? <= HELD_LIMIT as i64).then_some(places))
        };
        Ok(session.answered(rows.first().map(read).transpose())?.flatten())
    }

    /// The rows at these places.
    pub async fn rows_at(&self, entry: &Entry, places: &Places) -> Result<Vec<Captured>, BackendError> {
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(Vec::new()) };
        let (mut session, _) = self.question().await?;
        let params: [Param<'_>; 2] = [(&places.at, Type::TEXT), (&places.by, Type::TEXT)];
        let rows = session.query(&rows_at(table), &params).await?;
        let records = rows.iter().map(|row| row.try_get::<_, &[u8]>(0)).collect::<Result<Vec<_>, _>>();
        let records = session.answered(records)?;
        let folds = session.folds(entry, &records).await?;
        let mut found = Vec::with_capacity(records.len());
        for record in records {
            found.push(layout.decode(table, record, &folds).ok_or_else(|| self.changed_meanwhile(entry))?);
        }
        Ok(found)
    }

    pub(super) fn changed_meanwhile(&self, entry: &Entry) -> BackendError {
        BackendError::unfit(&self.name, format!("table {} was changed meanwhile", entry.name))
    }
}
