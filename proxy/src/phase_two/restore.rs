//! Undoing one branch: one local transaction that locks its rows, compares them, writes them back, reads them
//! again, and marks the record undone.

use super::guard::{self, Probe};
use crate::backend::{Backend, BackendError, Entry, Reference, UNDO_LOG};
use atone_protocol::{BranchId, Xid, failpoint};
use atone_undo_log::{
    capture::{self, Captured, Row, Table},
    record::UndoRecord,
    reverse::{Step, Verdict, first_images, reverse},
    sql::identifier,
};
use mysql_async::{Conn, Value, prelude::Queryable};
use std::{collections::BTreeSet, sync::Arc};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// Nothing of the branch is left, or ever can be.
    Done,
    /// A person is needed; nothing was changed.
    Blocked(String),
}

/// Why an attempt broke off. Nothing was changed.
enum Stop {
    Blocked(String),
    Failed(BackendError),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// Server errors that another try will not mend: they say that the data is in the way.
const DATA_ERRORS: [u16; 11] = [1022, 1048, 1062, 1146, 1216, 1217, 1451, 1452, 1526, 3819, 4025];
/// Those of them that another order of steps may mend: keys taken, rows pointed at, rows pointed to.
const ORDER_ERRORS: [u16; 6] = [1022, 1062, 1216, 1217, 1451, 1452];

/// Undoes the branch, on the primary that is named. An error means: try again later.
pub(super) async fn restore(
    backend: &Backend,
    xid: Xid,
    branch: BranchId,
) -> Result<(Restored, Arc<str>), BackendError> {
    let (mut conn, primary) = backend.connection().await?;
    Ok((restore_on(backend, &mut conn, &primary, xid, branch).await?, primary))
}

async fn restore_on(
    backend: &Backend,
    conn: &mut Conn,
    primary: &str,
    xid: Xid,
    branch: BranchId,
) -> Result<Restored, BackendError> {
    conn.query_drop("START TRANSACTION").await.map_err(|e| backend.wrap(e))?;
    let undone = async {
        if guard::place(backend, conn, primary, xid, branch).await? == Probe::Committed {
            Undo { backend, tx: &mut *conn, xid, branch }.run().await?;
        }
        Ok(())
    };
    match undone.await {
        Ok(()) => {
            failpoint::reach("proxy.phase_two_before_commit").await;
            conn.query_drop("COMMIT").await.map_err(|e| backend.wrap(e))?;
            failpoint::reach("proxy.phase_two_after_commit").await;
            Ok(Restored::Done)
        }
        Err(Stop::Blocked(why)) => {
            conn.query_drop("ROLLBACK").await.map_err(|e| backend.wrap(e))?;
            Ok(Restored::Blocked(why))
        }
        Err(Stop::Failed(error)) => {
            // A broken connection is rolled back by the server.
            let _ = conn.query_drop("ROLLBACK").await;
            match &error {
                BackendError::Database { source: mysql_async::Error::Server(e), .. }
                    if DATA_ERRORS.contains(&e.code) =>
                {
                    Ok(Restored::Blocked(format!(
                        "the database refuses the undo: {} ({})",
                        e.message, e.code
                    )))
                }
                _ => Err(error),
            }
        }
    }
}

struct Undo<'a> {
    backend: &'a Backend,
    tx: &'a mut Conn,
    xid: Xid,
    branch: BranchId,
}

impl Undo<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        let record = self.record().await?;
        let entries = self.entries(&record).await?;
        let tables: Vec<Table> = entries.iter().filter_map(|e| e.table.as_ref().ok().cloned()).collect();
        let current = self.current(&record, &tables).await?;
        let steps = match reverse(&record, &tables, &current) {
            Verdict::Undo(steps) => steps,
            Verdict::Dirty(rows) => {
                let shown: Vec<String> = rows.iter().take(5).map(ToString::to_string).collect();
                let more =
                    if rows.len() > 5 { format!("; and {} more", rows.len() - 5) } else { String::new() };
                return Err(Stop::Blocked(format!("{}{more}", shown.join("; "))));
            }
            Verdict::Damaged(why) => return Err(Stop::Blocked(why)),
        };
        self.take(&record, &entries, &steps).await?;
        if !steps.is_empty() {
            self.check_restored(&record, &tables).await?;
        }
        let named = (self.xid.to_string(), self.branch.as_u64());
        let mark = format!(
            "UPDATE {UNDO_LOG} SET status = 'UNDONE', record = '' WHERE xid = ? AND branch_id = ? AND part = 0"
        );
        self.tx.exec_drop(mark, &named).await.map_err(|e| self.backend.wrap(e))?;
        let rest = format!("DELETE FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? AND part > 0");
        self.tx.exec_drop(rest, &named).await.map_err(|e| self.backend.wrap(e))?;
        Ok(())
    }

    /// Takes the steps in order. One that foreign or unique keys do not let pass yet waits, with the later ones of its
    /// rows, for the others; when a round brings nothing the undo is refused.
    async fn take(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
        steps: &[Step<'_>],
    ) -> Result<(), Stop> {
        let mut pending: Vec<&Step<'_>> = steps.iter().collect();
        while !pending.is_empty() {
            let (mut later, mut waiting, mut refusal) = (Vec::new(), BTreeSet::<usize>::new(), None);
            for step in &pending {
                if step.rows.iter().any(|row| waiting.contains(row)) {
                    waiting.extend(&step.rows);
                    later.push(*step);
                    continue;
                }
                self.refuse_cascade(record, entries, step).await?;
                match self.tx.query_drop(&step.sql).await {
                    Ok(()) => {}
                    Err(mysql_async::Error::Server(error)) if ORDER_ERRORS.contains(&error.code) => {
                        waiting.extend(&step.rows);
                        later.push(*step);
                        refusal = Some(mysql_async::Error::Server(error));
                    }
                    Err(error) => return Err(Stop::Failed(self.backend.wrap(error))),
                }
            }
            if let (true, Some(error)) = (later.len() == pending.len(), refusal) {
                return Err(Stop::Failed(self.backend.wrap(error)));
            }
            pending = later;
        }
        Ok(())
    }

    async fn record(&mut self) -> Result<UndoRecord, Stop> {
        let query = format!(
            "SELECT parts, record FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? ORDER BY part FOR UPDATE"
        );
        let parts: Vec<(u16, Vec<u8>)> = self
            .tx
            .exec(query, (self.xid.to_string(), self.branch.as_u64()))
            .await
            .map_err(|e| self.backend.wrap(e))?;
        let expected = parts.first().map_or(0, |p| usize::from(p.0));
        if parts.len() != expected {
            return Err(Stop::Blocked(format!("the undo record has {} of {expected} parts", parts.len())));
        }
        let bytes: Vec<u8> = parts.into_iter().flat_map(|p| p.1).collect();
        UndoRecord::decode(&bytes).map_err(|e| Stop::Blocked(e.to_string()))
    }

    /// The record's tables as they are now: same columns, same key, nothing that fires.
    async fn entries(&mut self, record: &UndoRecord) -> Result<Vec<Arc<Entry>>, Stop> {
        let mut entries = Vec::new();
        for shape in &record.tables {
            let name = format!("{}.{}", shape.schema, shape.name);
            let entry = self.backend.catalogue.load(self.tx, &shape.schema, &shape.name).await;
            let entry = entry.map_err(|e| self.backend.wrap(e))?;
            let Some(entry) = entry else { return Err(Stop::Blocked(format!("table {name} is gone"))) };
            let changed = match &entry.table {
                Err(why) => Some(why.clone()),
                Ok(table) => shape.difference(table),
            };
            if let Some(why) = changed {
                return Err(Stop::Blocked(format!("table {name} is not as it was: {why}")));
            }
            if !entry.triggers.is_empty() {
                return Err(Stop::Blocked(format!(
                    "table {name} has triggers now, which the undo would fire"
                )));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Every row of the record, locked, in the record's order.
    async fn current(&mut self, record: &UndoRecord, tables: &[Table]) -> Result<Vec<Option<Row>>, Stop> {
        let mut current = vec![None; record.rows.len()];
        for (at, table) in tables.iter().enumerate() {
            let rows: Vec<usize> =
                (0..record.rows.len()).filter(|r| record.rows[*r].table as usize == at).collect();
            let keys: Vec<Vec<Vec<u8>>> = rows.iter().map(|r| record.rows[*r].key.clone()).collect();
            let damaged =
                || Stop::Blocked(format!("a key of {} in the undo record is damaged", table.full_name()));
            let mut found: std::collections::BTreeMap<Vec<u8>, Captured> = std::collections::BTreeMap::new();
            for query in capture::image_of_rows(table, &keys).ok_or_else(damaged)? {
                let read: Vec<mysql_async::Row> =
                    self.tx.query(query).await.map_err(|e| self.backend.wrap(e))?;
                for row in read {
                    let values = row.unwrap().into_iter().map(bytes).collect();
                    let captured = capture::decode(table, values).ok_or_else(damaged)?;
                    found.insert(captured.key.bytes.clone(), captured);
                }
            }
            for row in rows {
                current[row] = found.remove(&record.rows[row].canonical).map(|c| c.row);
            }
        }
        Ok(current)
    }

    /// Deleting or moving a row that others have come to point at would delete or change theirs. Our own are gone by now.
    async fn refuse_cascade(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
        step: &Step<'_>,
    ) -> Result<(), Stop> {
        let Some(touched) = step.rows.last().and_then(|row| record.rows.get(*row)) else { return Ok(()) };
        let entry = &entries[touched.table as usize];
        let (Some(from), Ok(table)) = (step.from, &entry.table) else { return Ok(()) };
        let differs =
            |to: &Row, column: &String| table.column(column).is_some_and(|at| from.0.get(at) != to.0.get(at));
        let fires = |r: &&Reference| match step.to {
            None => r.on_delete,
            Some(to) => r.on_update && r.columns.iter().any(|(_, mine)| differs(to, mine)),
        };
        for reference in entry.cascades.iter().filter(fires) {
            let Some(query) = children(table, reference, from) else { continue };
            let found: Option<u8> = self.tx.query_first(query).await.map_err(|e| self.backend.wrap(e))?;
            if found.is_some() {
                return Err(Stop::Blocked(format!(
                    "{} row {} is to be deleted or changed, but rows of {}.{} have come to point at it",
                    table.full_name(),
                    touched.shown,
                    reference.child.0,
                    reference.child.1
                )));
            }
        }
        Ok(())
    }

    /// Restoring must be exact: what was written is read again before it is committed.
    async fn check_restored(&mut self, record: &UndoRecord, tables: &[Table]) -> Result<(), Stop> {
        let now = self.current(record, tables).await?;
        for ((touched, now), first) in record.rows.iter().zip(&now).zip(first_images(record)) {
            if now.as_ref() != first {
                let table = tables[touched.table as usize].full_name();
                return Err(Stop::Blocked(format!(
                    "{table} row {} does not read back as it was before",
                    touched.shown
                )));
            }
        }
        Ok(())
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// Finds a row of a child table that points at this row, and locks it; None when the key has a NULL in it.
fn children(table: &Table, reference: &Reference, row: &Row) -> Option<String> {
    let mut conditions = Vec::new();
    for (child, parent) in &reference.columns {
        let at = table.column(parent)?;
        let literal = table.columns[at].kind.literal(row.0[at].as_deref()?)?;
        conditions.push(format!("{} = {literal}", identifier(child)));
    }
    let (schema, name) = &reference.child;
    Some(format!(
        "SELECT 1 FROM {}.{} WHERE {} LIMIT 1 FOR UPDATE",
        identifier(schema),
        identifier(name),
        conditions.join(" AND ")
    ))
}
