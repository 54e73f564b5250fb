//! A transaction of the service account on PostgreSQL, and reading rows.

use super::{BackendError, Entry, Postgres, Server, pool::Session};
use crate::backend::{Parent, Reference, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::{Captured, ColumnKind, Row, Table},
    postgres::{Layout, before_images, equals, hold_rows, quote},
    reverse::Step,
};
use std::{collections::HashMap, error::Error, sync::Arc};
use tokio_postgres::{
    Statement,
    error::DbError,
    types::{IsNull, Kind, ToSql, Type, private::BytesMut, to_sql_checked},
};

/// Rows looked up by one query, and its parameters at most.
const ROWS_PER_QUERY: usize = 500;
const PARAMS_PER_QUERY: usize = 65_535;
/// Forms of steps that are kept prepared in one transaction.
const PREPARED_LIMIT: usize = 256;

/// Unique and exclusion constraints, and foreign keys: another order of steps may mend it.
pub const ORDER_ERRORS: [&str; 3] = ["23505", "23P01", "23503"];

/// Errors that another try will not mend: the data is in the way (classes 22 and 23), or tables, columns, types or
/// operators have gone, or a column takes no values.
pub fn refusal(error: &DbError) -> Option<String> {
    let code = error.code().code();
    let data = ["22", "23"].iter().any(|class| code.starts_with(class));
    let gone = ["42P01", "42703", "42704", "42883", "428C9"].contains(&code);
    let detail = error.detail().map(|d| format!(": {d}")).unwrap_or_default();
    (data || gone).then(|| format!("{}{detail} ({code})", error.message()))
}

/// A value in its type's binary form, as an image holds it.
#[derive(Debug)]
pub(super) struct Raw<'a>(pub(super) Option<&'a [u8]>);

impl ToSql for Raw<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(match self.0 {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The type of a column, as a parameter needs it: its number only.
fn type_of(layout: &Layout, column: usize) -> Type {
    let field = layout.fields.iter().find(|f| f.column == Some(column));
    let oid = field.map_or(0, |f| f.kind);
    Type::from_oid(oid).unwrap_or_else(|| Type::new(String::new(), oid, Kind::Simple, String::new()))
}

/// The values of keys, one after the other.
fn parameters<'k>(table: &Table, layout: &Layout, keys: &'k [Vec<Vec<u8>>]) -> Vec<(Raw<'k>, Type)> {
    keys.iter()
        .flat_map(|key| key.iter().zip(&table.key.parts))
        .map(|(value, part)| (Raw(Some(value)), type_of(layout, part.column)))
        .collect()
}

impl Session {
    /// Rows by key; None when they are not of the entry's form any more.
    pub async fn rows(
        &mut self,
        entry: &Entry,
        keys: &[Vec<Vec<u8>>],
        lock: bool,
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(None) };
        let columns = table.key.parts.len().max(1);
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ROWS_PER_QUERY.min(PARAMS_PER_QUERY / columns)) {
            let values = parameters(table, layout, keys);
            let params: Vec<_> = values.iter().map(|(raw, kind)| (raw as _, kind.clone())).collect();
            let rows = self.query(&before_images(table, keys.len(), lock), &params).await?;
            let records = rows.iter().map(|row| row.try_get::<_, &[u8]>(1)).collect::<Result<Vec<_>, _>>();
            let records = self.answered(records)?;
            let folds = self.folds(entry, &records).await?;
            for record in records {
                let Some(captured) = layout.decode(table, record, &folds) else { return Ok(None) };
                found.push(captured);
            }
        }
        Ok(Some(found))
    }
}

/// An open transaction; the server rolls back one that is not ended.
pub struct Tx {
    pub(super) session: Session,
    pid: u64,
    /// It neither writes nor locks.
    reading: bool,
    /// `session_replication_role` is `replica`, so that triggers keep still.
    quiet: bool,
    /// Steps of one form are prepared once.
    prepared: HashMap<String, Statement>,
}

impl Postgres {
    /// Begins a transaction; on which primary.
    pub async fn begin(&self, reading: bool) -> Result<(Tx, Arc<str>), BackendError> {
        let (mut session, primary) = self.connection().await?;
        session.begin(if reading { "ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "" }).await?;
        let pid = session.query("SELECT pg_backend_pid()", &[]).await?;
        let pid = pid.first().map(|row| row.try_get::<_, i32>(0)).transpose();
        let pid = session.answered(pid)?.and_then(|pid| u64::try_from(pid).ok()).unwrap_or_default();
        Ok((Tx { session, pid, reading, quiet: false, prepared: HashMap::new() }, primary))
    }
}

impl Postgres {
    /// Begins one that holds rows for a moment.
    pub async fn begin_holding(&self) -> Result<(Tx, Arc<str>), BackendError> {
        let (mut session, primary) = self.connect(|pools| async move { pools.holds.get().await }).await?;
        session.begin("").await?;
        Ok((Tx { session, pid: 0, reading: false, quiet: false, prepared: HashMap::new() }, primary))
    }
}

impl Tx {
    pub fn session(&self) -> u64 {
        self.pid
    }

    /// The row that an open transaction has inserted keeps this waiting until it ends.
    pub async fn insert_guard(&mut self, xid: Xid, branch: BranchId) -> Result<bool, BackendError> {
        let insert = format!(
            "INSERT INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) \
             VALUES ($1, $2, 0, 0, 'GUARD', '') ON CONFLICT DO NOTHING"
        );
        Ok(self.session.execute(&insert, &[text(&xid.to_string()), number(&signed(branch))]).await? == 1)
    }

    pub async fn status(&mut self, xid: Xid, branch: BranchId) -> Result<Option<String>, BackendError> {
        let query = format!(
            "SELECT status FROM {UNDO_LOG} WHERE xid = $1 AND branch_id = $2 AND part = 0 FOR UPDATE"
        );
        let rows = self.session.query(&query, &[text(&xid.to_string()), number(&signed(branch))]).await?;
        let status = rows.first().map(|row| row.try_get(0)).transpose();
        self.session.answered(status)
    }

    pub async fn parts(&mut self, xid: Xid, branch: BranchId) -> Result<Vec<(u16, Vec<u8>)>, BackendError> {
        let query = format!(
            "SELECT parts, record FROM {UNDO_LOG} WHERE xid = $1 AND branch_id = $2 ORDER BY part FOR UPDATE"
        );
        let rows = self.session.query(&query, &[text(&xid.to_string()), number(&signed(branch))]).await?;
        let part = |row: &tokio_postgres::Row| Ok((row.try_get::<_, i16>(0)? as u16, row.try_get(1)?));
        self.session.answered(rows.iter().map(part).collect())
    }

    pub async fn mark_undone(&mut self, xid: Xid, branch: BranchId) -> Result<(), BackendError> {
        let (xid, branch) = (xid.to_string(), signed(branch));
        let named = [text(&xid), number(&branch)];
        let mark = format!(
            "UPDATE {UNDO_LOG} SET status = 'UNDONE', record = '' WHERE xid = $1 AND branch_id = $2 AND part = 0"
        );
        self.session.execute(&mark, &named).await?;
        let rest = format!("DELETE FROM {UNDO_LOG} WHERE xid = $1 AND branch_id = $2 AND part > 0");
        self.session.execute(&rest, &named).await.map(drop)
    }

    pub async fn entry(&mut self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        match self.session.number(schema, table).await? {
            Some(oid) => Ok(self.session.describe(oid).await?.map(Arc::new)),
            None => Ok(None),
        }
    }

    pub async fn rows(
        &mut self,
        entry: &Entry,
        keys: &[Vec<Vec<u8>>],
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        self.session.rows(entry, keys, !self.reading).await
    }

    pub async fn hold(
        &mut self,
        entry: &Entry,
        keys: &[Vec<Vec<u8>>],
        weak: bool,
    ) -> Result<(), BackendError> {
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(()) };
        let columns = table.key.parts.len().max(1);
        for keys in keys.chunks(ROWS_PER_QUERY.min(PARAMS_PER_QUERY / columns)) {
            let values = parameters(table, layout, keys);
            let params: Vec<_> = values.iter().map(|(raw, kind)| (raw as _, kind.clone())).collect();
            self.session.query(&hold_rows(table, keys.len(), weak), &params).await?;
        }
        Ok(())
    }

    pub async fn set_constraints(&mut self, when: &str) -> Result<(), BackendError> {
        self.session.run(&format!("SET CONSTRAINTS ALL {when}")).await
    }

    /// An error aborts the transaction, so that each step has a savepoint to go back to. A quiet one fires no triggers.
    pub async fn take(&mut self, step: &Step<'_>, quiet: bool) -> Result<(), BackendError> {
        let role = if quiet { "replica" } else { "origin" };
        let client = self.session.ask();
        let done = async {
            if quiet != self.quiet {
                client.batch_execute(&format!("SET LOCAL session_replication_role = {role}")).await?;
                self.quiet = quiet;
            }
            let statement = match self.prepared.get(&step.sql) {
                Some(statement) => statement.clone(),
                None => {
                    let statement = client.prepare(&step.sql).await?;
                    if self.prepared.len() < PREPARED_LIMIT {
                        self.prepared.insert(step.sql.clone(), statement.clone());
                    }
                    statement
                }
            };
            let values: Vec<Raw<'_>> = step.params.iter().map(|value| Raw(value.as_deref())).collect();
            let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            // In one go.
            let (saved, taken, released) = tokio::join!(
                client.batch_execute("SAVEPOINT step"),
                client.execute(&statement, &params),
                client.batch_execute("RELEASE SAVEPOINT step")
            );
            saved.and(taken).and(released)
        };
        let done = self.session.answered(done.await);
        if done.as_ref().is_err_and(BackendError::may_pass_later) {
            self.session.run("ROLLBACK TO SAVEPOINT step; RELEASE SAVEPOINT step").await?;
        }
        done
    }

    pub async fn missing_parent(&mut self, entry: &Entry, row: &Row) -> Result<Option<String>, BackendError> {
        let (Some(keys), Ok(table), Some(layout)) = (&entry.quiet, &entry.table, &entry.layout) else {
            return Ok(None);
        };
        for Parent { table: (schema, name), columns } in &keys.parents {
            let (mut conditions, mut params) = (Vec::new(), Vec::new());
            for (mine, theirs) in columns {
                let Some(at) = table.column(mine) else { continue };
                let (Some(value), ColumnKind::Postgres(kind)) =
                    (row.0.get(at).and_then(Option::as_deref), &table.columns[at].kind)
                else {
                    continue;
                };
                params.push((Raw(Some(value)), type_of(layout, at)));
                conditions.push(format!("{} {} ${}::{kind}", quote(theirs), equals(kind), params.len()));
            }
            // A key with a NULL in it points nowhere.
            if conditions.len() < columns.len() {
                continue;
            }
            let params: Vec<_> = params.iter().map(|(raw, kind)| (raw as _, kind.clone())).collect();
            let query = format!(
                "SELECT 1 FROM {}.{} WHERE {} FOR KEY SHARE",
                quote(schema),
                quote(name),
                conditions.join(" AND ")
            );
            if self.session.query(&query, &params).await?.is_empty() {
                return Ok(Some(format!("{schema}.{name}")));
            }
        }
        Ok(None)
    }

    pub async fn has_child(
        &mut self,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
    ) -> Result<bool, BackendError> {
        Ok(!self.pointing("1", "LIMIT 1", entry, reference, row).await?.is_empty())
    }

    pub async fn children(
        &mut self,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
        child: &Entry,
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        let (Ok(table), Some(layout)) = (&child.table, &child.layout) else { return Ok(None) };
        let rows = self.pointing("pg_catalog.record_send(child.*)", "", entry, reference, row).await?;
        let records = rows.iter().map(|row| row.try_get::<_, &[u8]>(0)).collect::<Result<Vec<_>, _>>();
        let records = self.session.answered(records)?;
        let folds = self.session.folds(child, &records).await?;
        let mut children = Vec::with_capacity(records.len());
        for record in records {
            let Some(captured) = layout.decode(table, record, &folds) else { return Ok(None) };
            children.push(captured);
        }
        Ok(Some(children))
    }

    /// What is asked of the rows that point at a row, which are locked.
    async fn pointing(
        &mut self,
        what: &str,
        limit: &str,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
    ) -> Result<Vec<tokio_postgres::Row>, BackendError> {
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(Vec::new()) };
        let Some((condition, columns)) = pointing(table, reference) else { return Ok(Vec::new()) };
        let mut params = Vec::new();
        for column in columns {
            // A key with a NULL in it points nowhere.
            let Some(value) = row.0.get(column).and_then(Option::as_deref) else { return Ok(Vec::new()) };
            params.push((Raw(Some(value)), type_of(layout, column)));
        }
        let params: Vec<_> = params.iter().map(|(raw, kind)| (raw as _, kind.clone())).collect();
        let (schema, name) = &reference.child;
        let (schema, name) = (quote(schema), quote(name));
        let query = format!("SELECT {what} FROM {schema}.{name} child WHERE {condition} {limit} FOR UPDATE");
        self.session.query(&query, &params).await
    }

    pub async fn delete_pointing_at_itself(&mut self, _: &Entry, _: &Step<'_>) -> Result<bool, BackendError> {
        // To PostgreSQL it is a row like others.
        Ok(false)
    }

    pub async fn commit(mut self) -> Result<(), BackendError> {
        self.session.end("COMMIT").await
    }

    pub async fn rollback(mut self) -> Result<(), BackendError> {
        self.session.end("ROLLBACK").await
    }
}

/// The condition for a row of a child table, other than the row itself, to point at a row; and the columns that are its
/// parameters.
fn pointing(table: &Table, reference: &Reference) -> Option<(String, Vec<usize>)> {
    let mut columns = Vec::new();
    let mut is = |name: &str, at: usize| {
        let ColumnKind::Postgres(kind) = &table.columns[at].kind else { return None };
        columns.push(at);
        Some(format!("child.{} {} ${}::{kind}", quote(name), equals(kind), columns.len()))
    };
    let mut conditions = Vec::new();
    for (child, parent) in &reference.columns {
        conditions.push(is(child, table.column(parent)?)?);
    }
    if (&reference.child.0, &reference.child.1) == (&table.schema, &table.name) {
        let own = table.key.parts.iter().map(|part| is(&table.columns[part.column].name, part.column));
        let key: Option<Vec<String>> = own.collect();
        conditions.push(format!("NOT ({})", key?.join(" AND ")));
    }
    Some((conditions.join(" AND "), columns))
}

pub(super) fn text(value: &String) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::TEXT)
}

pub(super) fn number(value: &i64) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::INT8)
}

/// The number's bits, as a bigint.
pub(super) fn signed(branch: BranchId) -> i64 {
    branch.as_u64().cast_signed()
}
