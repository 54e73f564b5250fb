//! A transaction of the service account on MySQL or MariaDB.

use super::MySql;
use crate::backend::{BackendError, Entry, Reference, UNDO_LOG, primary::Server};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::{self, Captured, Row, Table},
    reverse::Step,
    sql::identifier,
};
use mysql_async::{Conn, Value, prelude::Queryable};
use std::sync::Arc;

/// Server errors that another try will not mend: they say that the data is in the way.
pub const DATA_ERRORS: [u16; 11] = [1022, 1048, 1062, 1146, 1216, 1217, 1451, 1452, 1526, 3819, 4025];
/// Those of them that another order of steps may mend: keys taken, rows pointed at, rows pointed to.
pub const ORDER_ERRORS: [u16; 6] = [1022, 1062, 1216, 1217, 1451, 1452];

/// An open transaction; the pool rolls back one that is not ended.
pub struct Tx {
    name: String,
    mariadb: bool,
    /// It neither writes nor locks.
    reading: bool,
    pub(super) conn: Conn,
}

impl MySql {
    /// Begins a transaction; on which primary.
    pub async fn begin(&self, reading: bool) -> Result<(Tx, Arc<str>), BackendError> {
        let (mut conn, primary) = self.connection().await?;
        let begin: &[&str] = match reading {
            false => &["START TRANSACTION"],
            true => &[
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ],
        };
        for statement in begin {
            conn.query_drop(*statement).await.map_err(|e| self.wrap(e))?;
        }
        Ok((Tx { name: self.name.clone(), mariadb: self.mariadb, reading, conn }, primary))
    }
}

impl MySql {
    /// Begins one that holds rows for a moment.
    pub async fn begin_holding(&self) -> Result<(Tx, Arc<str>), BackendError> {
        let (mut conn, primary) = self.connect(|pools| self.get(pools.holds)).await?;
        conn.query_drop("START TRANSACTION").await.map_err(|e| self.wrap(e))?;
        Ok((Tx { name: self.name.clone(), mariadb: self.mariadb, reading: false, conn }, primary))
    }
}

impl Tx {
    pub fn session(&self) -> u64 {
        self.conn.id().into()
    }

    pub(super) fn wrap(&self, source: mysql_async::Error) -> BackendError {
        BackendError::database(&self.name, source)
    }

    pub async fn insert_guard(&mut self, xid: Xid, branch: BranchId) -> Result<bool, BackendError> {
        let insert = format!(
            "INSERT IGNORE INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) VALUES (?, ?, 0, 0, 'GUARD', '')"
        );
        let done = self.conn.exec_drop(insert, (xid.to_string(), branch.as_u64())).await;
        done.map_err(|e| self.wrap(e))?;
        Ok(self.conn.affected_rows() == 1)
    }

    pub async fn status(&mut self, xid: Xid, branch: BranchId) -> Result<Option<String>, BackendError> {
        let query =
            format!("SELECT status FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? AND part = 0 FOR UPDATE");
        let status = self.conn.exec_first(query, (xid.to_string(), branch.as_u64())).await;
        status.map_err(|e| self.wrap(e))
    }

    pub async fn parts(&mut self, xid: Xid, branch: BranchId) -> Result<Vec<(u16, Vec<u8>)>, BackendError> {
        let query = format!(
            "SELECT parts, record FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? ORDER BY part FOR UPDATE"
        );
        let parts = self.conn.exec(query, (xid.to_string(), branch.as_u64())).await;
        parts.map_err(|e| self.wrap(e))
    }

    pub async fn mark_undone(&mut self, xid: Xid, branch: BranchId) -> Result<(), BackendError> {
        let named = (xid.to_string(), branch.as_u64());
        let mark = format!(
            "UPDATE {UNDO_LOG} SET status = 'UNDONE', record = '' WHERE xid = ? AND branch_id = ? AND part = 0"
        );
        self.conn.exec_drop(mark, &named).await.map_err(|e| self.wrap(e))?;
        let rest = format!("DELETE FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? AND part > 0");
        self.conn.exec_drop(rest, &named).await.map_err(|e| self.wrap(e))
    }

    pub async fn entry(&mut self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        let entry = super::catalogue::read(&mut self.conn, self.mariadb, schema, table).await;
        Ok(entry.map_err(|e| self.wrap(e))?.map(Arc::new))
    }

    pub async fn rows(
        &mut self,
        entry: &Entry,
        keys: &[Vec<Vec<u8>>],
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        let Ok(table) = &entry.table else { return Ok(None) };
        let queries = match self.reading {
            false => capture::image_of_rows(table, keys),
            true => capture::look_at_rows(table, keys),
        };
        let Some(queries) = queries else { return Ok(None) };
        let mut found = Vec::with_capacity(keys.len());
        for query in queries {
            let read: Vec<mysql_async::Row> = self.conn.query(query).await.map_err(|e| self.wrap(e))?;
            for row in read {
                let values = row.unwrap().into_iter().map(bytes).collect();
                let Some(captured) = capture::decode(table, values) else { return Ok(None) };
                found.push(captured);
            }
        }
        Ok(Some(found))
    }

    pub async fn hold(&mut self, table: &Table, keys: &[Vec<Vec<u8>>]) -> Result<(), BackendError> {
        for query in capture::hold_rows(table, keys).unwrap_or_default() {
            self.conn.query_drop(query).await.map_err(|e| self.wrap(e))?;
        }
        Ok(())
    }

    pub async fn take(&mut self, step: &Step<'_>) -> Result<(), BackendError> {
        self.conn.query_drop(&step.sql).await.map_err(|e| self.wrap(e))
    }

    pub async fn has_child(
        &mut self,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
    ) -> Result<bool, BackendError> {
        let query = entry.table.as_ref().ok().and_then(|table| children(table, reference, row));
        let Some(query) = query else { return Ok(false) };
        let found: Option<u8> = self.conn.query_first(query).await.map_err(|e| self.wrap(e))?;
        Ok(found.is_some())
    }

    pub async fn delete_pointing_at_itself(
        &mut self,
        entry: &Entry,
        step: &Step<'_>,
    ) -> Result<bool, BackendError> {
        let (Ok(table), Some(row), None) = (&entry.table, step.from, step.to) else { return Ok(false) };
        let named = (table.schema.as_str(), table.name.as_str());
        let all = super::foreign_keys::of_table(&mut self.conn, self.mariadb, named).await;
        let all = all.map_err(|e| self.wrap(e))?.children;
        if !all.iter().any(|reference| is_own(table, reference)) {
            return Ok(false);
        }
        for reference in &all {
            if self.has_child(entry, reference, row).await? {
                return Ok(false);
            }
        }
        // Nothing else points at it, and nothing can come to: the row is locked.
        self.set_foreign_key_checks(false).await?;
        let done = self.take(step).await;
        self.set_foreign_key_checks(true).await?;
        done.map(|()| true)
    }

    async fn set_foreign_key_checks(&mut self, on: bool) -> Result<(), BackendError> {
        let set = format!("SET foreign_key_checks = {}", u8::from(on));
        self.conn.query_drop(set).await.map_err(|e| self.wrap(e))
    }

    pub async fn commit(mut self) -> Result<(), BackendError> {
        self.conn.query_drop("COMMIT").await.map_err(|e| self.wrap(e))
    }

    pub async fn rollback(mut self) -> Result<(), BackendError> {
        self.conn.query_drop("ROLLBACK").await.map_err(|e| self.wrap(e))
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Whether the foreign key points from a table to itself.
fn is_own(table: &Table, reference: &Reference) -> bool {
    (&reference.child.0, &reference.child.1) == (&table.schema, &table.name)
}

/// Finds a row of a child table, other than the row itself, that points at this row, and locks it; None when the key has a
/// NULL in it.
fn children(table: &Table, reference: &Reference, row: &Row) -> Option<String> {
    let is = |name: &str, at: usize| {
        let literal = table.columns[at].kind.literal(row.0[at].as_deref()?)?;
        Some(format!("{} = {literal}", identifier(name)))
    };
    let mut conditions = Vec::new();
    for (child, parent) in &reference.columns {
        conditions.push(is(child, table.column(parent)?)?);
    }
    if is_own(table, reference) {
        let own = table.key.parts.iter().map(|part| is(&table.columns[part.column].name, part.column));
        let key: Option<Vec<String>> = own.collect();
        conditions.push(format!("NOT ({})", key?.join(" AND ")));
    }
    let (schema, name) = &reference.child;
    Some(format!(
        "SELECT 1 FROM {}.{} WHERE {} LIMIT 1 FOR UPDATE",
        identifier(schema),
        identifier(name),
        conditions.join(" AND ")
    ))
}
