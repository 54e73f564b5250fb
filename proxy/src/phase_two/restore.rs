//! Undoing one branch: one local transaction that locks its rows, compares them, writes them back, reads them
//! again, and marks the record undone.

use super::guard::{self, Probe};
use crate::backend::{Backend, BackendError, Entry, Tx};
use atone_protocol::{BranchId, Xid, failpoint};
use atone_undo_log::{
    capture::{Row, Table},
    record::UndoRecord,
    reverse::{Verdict, first_images, reverse},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// Nothing of the branch is left, or ever can be.
    Done,
    /// A person is needed; nothing was changed.
    Blocked(String),
}

/// Why an attempt broke off. Nothing was changed.
pub(super) enum Stop {
    Blocked(String),
    Failed(BackendError),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// Undoes the branch, on the primary that is named. An error means: try again later.
pub(super) async fn restore(
    backend: &Backend,
    xid: Xid,
    branch: BranchId,
) -> Result<(Restored, Arc<str>), BackendError> {
    let tx = backend.begin().await?;
    let primary = tx.primary().clone();
    Ok((restore_in(backend, tx, xid, branch).await?, primary))
}

async fn restore_in(
    backend: &Backend,
    mut tx: Tx,
    xid: Xid,
    branch: BranchId,
) -> Result<Restored, BackendError> {
    let undone = async {
        if guard::place(backend, &mut tx, xid, branch).await? == Probe::Committed {
            Undo { tx: &mut tx, xid, branch, unchecked: BTreeSet::new() }.run().await?;
        }
        Ok(())
    };
    match undone.await {
        Ok(()) => {
            failpoint::reach("proxy.phase_two_before_commit").await;
            tx.commit().await?;
            failpoint::reach("proxy.phase_two_after_commit").await;
            Ok(Restored::Done)
        }
        Err(Stop::Blocked(why)) => {
            tx.rollback().await?;
            Ok(Restored::Blocked(why))
        }
        Err(Stop::Failed(error)) => {
            // A broken connection is rolled back by the server.
            let _ = tx.rollback().await;
            match error.refusal() {
                Some(why) => Ok(Restored::Blocked(format!("the database refuses the undo: {why}"))),
                None => Err(error),
            }
        }
    }
}

/// An undo under way.
pub(super) struct Undo<'a> {
    pub(super) tx: &'a mut Tx,
    xid: Xid,
    branch: BranchId,
    /// Tables, by their place in the record, of whose rows the server has not checked foreign keys.
    pub(super) unchecked: BTreeSet<usize>,
}

impl Undo<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        let record = self.record().await?;
        let entries = self.entries(&record).await?;
        let tables: Vec<Table> = entries.iter().filter_map(|e| e.table.as_ref().ok().cloned()).collect();
        let current = self.current(&record, &entries).await?;
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
        self.tx.defer_constraints().await?;
        self.take(&record, &entries, &steps).await?;
        self.tx.check_constraints().await?;
        if !steps.is_empty() {
            self.check_restored(&record, &entries).await?;
            self.check_references(&record, &entries).await?;
        }
        Ok(self.tx.mark_undone(self.xid, self.branch).await?)
    }

    async fn record(&mut self) -> Result<UndoRecord, Stop> {
        let parts = self.tx.parts(self.xid, self.branch).await?;
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
            let Some(entry) = self.tx.entry(&shape.schema, &shape.name).await? else {
                return Err(Stop::Blocked(format!("table {name} is gone")));
            };
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
    async fn current(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
    ) -> Result<Vec<Option<Row>>, Stop> {
        let mut current = vec![None; record.rows.len()];
        for (at, entry) in entries.iter().enumerate() {
            let rows: Vec<usize> =
                (0..record.rows.len()).filter(|r| record.rows[*r].table as usize == at).collect();
            let keys: Vec<Vec<Vec<u8>>> = rows.iter().map(|r| record.rows[*r].key.clone()).collect();
            let Some(read) = self.tx.rows(entry, &keys).await? else {
                let why = format!("a key of {} in the undo record is damaged", entry.name);
                return Err(Stop::Blocked(why));
            };
            let mut found: BTreeMap<Vec<u8>, Row> = read.into_iter().map(|c| (c.key.bytes, c.row)).collect();
            for row in rows {
                current[row] = found.remove(&record.rows[row].canonical);
            }
        }
        Ok(current)
    }

    /// Restoring must be exact: what was written is read again before it is committed.
    async fn check_restored(&mut self, record: &UndoRecord, entries: &[Arc<Entry>]) -> Result<(), Stop> {
        let now = self.current(record, entries).await?;
        for ((touched, now), first) in record.rows.iter().zip(&now).zip(first_images(record)) {
            if now.as_ref() != first {
                let shape = &record.tables[touched.table as usize];
                return Err(Stop::Blocked(format!(
                    "{}.{} row {} does not read back as it was before",
                    shape.schema, shape.name, touched.shown
                )));
            }
        }
        Ok(())
    }
}
