//! Undoing one branch: one local transaction that locks its rows, compares them, writes them back, reads them
//! again, and marks the record undone.

use super::guard::{self, Probe};
use crate::backend::{Backend, BackendError, Entry, Tx};
use atone_protocol::{BranchId, Xid, failpoint};
use atone_undo_log::{
    capture::{Row, Table},
    record::{Shape, UndoRecord},
    reverse::{Verdict, as_found, first_images, force, reverse},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How a branch is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only while each row is as the branch left it, or as it was before.
    Careful,
    /// Whatever stands in its rows now.
    Forced,
    /// Not at all: its record is marked undone, so that it can never be applied later.
    Keep,
}

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
    mode: Mode,
) -> Result<(Restored, Arc<str>), BackendError> {
    let tx = backend.begin().await?;
    let primary = tx.primary().clone();
    Ok((restore_in(backend, tx, (xid, branch), mode).await?, primary))
}

async fn restore_in(
    backend: &Backend,
    mut tx: Tx,
    (xid, branch): (Xid, BranchId),
    mode: Mode,
) -> Result<Restored, BackendError> {
    let undone = async {
        if guard::place(backend, &mut tx, xid, branch).await? == Probe::Committed {
            let mut undo = Undo { tx: &mut tx, xid, branch, unchecked: BTreeSet::new() };
            match mode {
                Mode::Careful => undo.run(false).await?,
                Mode::Forced => undo.run(true).await?,
                Mode::Keep => tx.mark_undone(xid, branch).await?,
            }
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
    async fn run(&mut self, forced: bool) -> Result<(), Stop> {
        let mut record = self.record().await?;
        let entries = self.entries(&record).await?;
        let tables: Vec<Table> = entries.iter().filter_map(|e| e.table.as_ref().ok().cloned()).collect();
        let current = self.current(&record, &entries).await?;
        if forced {
            record = as_found(&record, &current);
        }
        let plan = if forced { force } else { reverse };
        let steps = match plan(&record, &tables, &current) {
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
        decode(self.tx.parts(self.xid, self.branch).await?).map_err(Stop::Blocked)
    }

    /// The record's tables as they are now: same columns, same key, nothing that fires.
    async fn entries(&mut self, record: &UndoRecord) -> Result<Vec<Arc<Entry>>, Stop> {
        let mut entries = Vec::new();
        for shape in &record.tables {
            let name = format!("{}.{}", shape.schema, shape.name);
            let entry = same_table(self.tx, shape).await?.map_err(Stop::Blocked)?;
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
            rows_of(self.tx, record, (at, entry), &mut current).await?.map_err(Stop::Blocked)?;
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

/// The record in its parts; or what is wrong with it.
pub(super) fn decode(parts: Vec<(u16, Vec<u8>)>) -> Result<UndoRecord, String> {
    let expected = parts.first().map_or(0, |p| usize::from(p.0));
    if parts.len() != expected {
        return Err(format!("the undo record has {} of {expected} parts", parts.len()));
    }
    let bytes: Vec<u8> = parts.into_iter().flat_map(|p| p.1).collect();
    UndoRecord::decode(&bytes).map_err(|e| e.to_string())
}

/// A table of a record as it is now; or why its rows cannot be compared.
pub(super) async fn same_table(
    tx: &mut Tx,
    shape: &Shape,
) -> Result<Result<Arc<Entry>, String>, BackendError> {
    let name = format!("{}.{}", shape.schema, shape.name);
    let Some(entry) = tx.entry(&shape.schema, &shape.name).await? else {
        return Ok(Err(format!("table {name} is gone")));
    };
    let changed = match &entry.table {
        Err(why) => Some(why.clone()),
        Ok(table) => shape.difference(table),
    };
    Ok(match changed {
        Some(why) => Err(format!("table {name} is not as it was: {why}")),
        None => Ok(entry),
    })
}

/// The record's rows of one table as they are now, put into their places; or what is wrong with the record.
pub(super) async fn rows_of(
    tx: &mut Tx,
    record: &UndoRecord,
    (at, entry): (usize, &Entry),
    current: &mut [Option<Row>],
) -> Result<Result<(), String>, BackendError> {
    let rows: Vec<usize> = (0..record.rows.len()).filter(|r| record.rows[*r].table as usize == at).collect();
    let keys: Vec<Vec<Vec<u8>>> = rows.iter().map(|r| record.rows[*r].key.clone()).collect();
    let Some(read) = tx.rows(entry, &keys).await? else {
        return Ok(Err(format!("a key of {} in the undo record is damaged", entry.name)));
    };
    let mut found: BTreeMap<Vec<u8>, Row> = read.into_iter().map(|c| (c.key.bytes, c.row)).collect();
    for row in rows {
        current[row] = found.remove(&record.rows[row].canonical);
    }
    // One that was found by a key of the record and bears another: it must not be taken for gone.
    if !found.is_empty() {
        let why = "keys compare otherwise than they did, as with another collation";
        return Ok(Err(format!("table {} is not as it was: {why}", entry.name)));
    }
    Ok(Ok(()))
}
