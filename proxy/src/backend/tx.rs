//! A transaction of the service account, with what phase two does in it. Which of it is done, and what follows from the
//! answers, is decided there.

use super::{Backend, BackendError, Entry, Reference, Side, mysql, postgres};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::{Captured, ColumnKind, Row, Table},
    reverse::Step,
};
use std::sync::Arc;

/// An open transaction on the primary, at READ COMMITTED unless it only reads. Dropped without an end it is rolled back.
pub struct Tx {
    primary: Arc<str>,
    side: Open,
}

/// The status of an undo record and its parts: how many there should be, and the bytes.
pub type Stored = (String, Vec<(u16, Vec<u8>)>);

enum Open {
    MySql(mysql::Tx),
    Postgres(postgres::Tx),
}

/// Runs an expression on whichever transaction it is.
macro_rules! on {
    ($side:expr, $tx:ident => $what:expr) => {
        match $side {
            Open::MySql($tx) => $what,
            Open::Postgres($tx) => $what,
        }
    };
}

impl Tx {
    /// On which primary.
    pub fn primary(&self) -> &Arc<str> {
        &self.primary
    }

    /// The server's number of this session, for [`Backend::end_blockers`].
    pub fn session(&self) -> u64 {
        on!(&self.side, tx => tx.session())
    }

    /// Inserts a guard, unless there is a row already. Waits for an uncommitted one, and is decided by its end. Was it
    /// inserted?
    pub async fn insert_guard(&mut self, xid: Xid, branch: BranchId) -> Result<bool, BackendError> {
        on!(&mut self.side, tx => tx.insert_guard(xid, branch).await)
    }

    /// The status of the branch's row, which is locked by that.
    pub async fn status(&mut self, xid: Xid, branch: BranchId) -> Result<Option<String>, BackendError> {
        on!(&mut self.side, tx => tx.status(xid, branch).await)
    }

    /// The rows of the branch's undo record in order, locked: how many there should be, and the bytes.
    pub async fn parts(&mut self, xid: Xid, branch: BranchId) -> Result<Vec<(u16, Vec<u8>)>, BackendError> {
        on!(&mut self.side, tx => tx.parts(xid, branch).await)
    }

    /// The status of the branch's undo record, as [`Tx::parts`] finds it, and the record; nothing of it is locked.
    pub async fn look(&mut self, xid: Xid, branch: BranchId) -> Result<Option<Stored>, BackendError> {
        on!(&mut self.side, tx => tx.look(xid, branch).await)
    }

    /// Values as people read them, each of a column of its kind.
    pub async fn words(&mut self, values: &[(&ColumnKind, &[u8])]) -> Result<Vec<String>, BackendError> {
        on!(&mut self.side, tx => tx.words(values).await)
    }

    /// Keeps the record's first row as the mark that the branch is undone.
    pub async fn mark_undone(&mut self, xid: Xid, branch: BranchId) -> Result<(), BackendError> {
        on!(&mut self.side, tx => tx.mark_undone(xid, branch).await)
    }

    /// A table as it is now; None when there is none.
    pub async fn entry(&mut self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        on!(&mut self.side, tx => tx.entry(schema, table).await)
    }

    /// Rows by key, locked unless this transaction only reads, in any order; those that are not there are missing. None when a key is not of its type.
    pub async fn rows(
        &mut self,
        entry: &Entry,
        keys: &[Vec<Vec<u8>>],
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        on!(&mut self.side, tx => tx.rows(entry, keys).await)
    }

    /// Locks those of these rows that nobody has locked. `table` describes their keys at least; `weak` is a read FOR KEY SHARE,
    /// in whose way they are to stand.
    pub(super) async fn hold(
        &mut self,
        (entry, table): (&Entry, &Table),
        keys: &[Vec<Vec<u8>>],
        weak: bool,
    ) -> Result<(), BackendError> {
        match &mut self.side {
            Open::MySql(tx) => tx.hold(table, keys).await,
            Open::Postgres(tx) => tx.hold(entry, keys, weak).await,
        }
    }

    /// Before the steps of an undo: constraints that can be are checked at their end only, so that the order of steps
    /// does not matter to them.
    pub async fn defer_constraints(&mut self) -> Result<(), BackendError> {
        match &mut self.side {
            // It has none that can be deferred.
            Open::MySql(_) => Ok(()),
            Open::Postgres(tx) => tx.set_constraints("DEFERRED").await,
        }
    }

    /// After the steps of an undo.
    pub async fn check_constraints(&mut self) -> Result<(), BackendError> {
        match &mut self.side {
            Open::MySql(_) => Ok(()),
            Open::Postgres(tx) => tx.set_constraints("IMMEDIATE").await,
        }
    }

    /// Takes a step of an undo. After an error for which [`BackendError::may_pass_later`] the transaction is as it was
    /// before the step.
    pub async fn take(&mut self, step: &Step<'_>, quiet: bool) -> Result<(), BackendError> {
        match &mut self.side {
            Open::MySql(tx) => tx.take(step).await,
            Open::Postgres(tx) => tx.take(step, quiet).await,
        }
    }

    /// The table that this row points at by one of its own foreign keys and where there is no such row; rows that are
    /// there are held. Nothing is asked where the server checks itself.
    pub async fn missing_parent(&mut self, entry: &Entry, row: &Row) -> Result<Option<String>, BackendError> {
        match &mut self.side {
            Open::MySql(_) => Ok(None),
            Open::Postgres(tx) => tx.missing_parent(entry, row).await,
        }
    }

    /// After a delete was refused because of a foreign key: if that is because the row points at itself, and no other row
    /// points at it, deletes it after all. Whether it did.
    pub async fn delete_pointing_at_itself(
        &mut self,
        entry: &Entry,
        step: &Step<'_>,
    ) -> Result<bool, BackendError> {
        on!(&mut self.side, tx => tx.delete_pointing_at_itself(entry, step).await)
    }

    /// Does another row of the referencing table point at this row? One is locked, if so.
    pub async fn has_child(
        &mut self,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
    ) -> Result<bool, BackendError> {
        on!(&mut self.side, tx => tx.has_child(entry, reference, row).await)
    }

    /// The rows of the referencing table, as `child` describes it, that point at this row; None when that cannot be told.
    pub async fn children(
        &mut self,
        entry: &Entry,
        reference: &Reference,
        row: &Row,
        child: &Entry,
    ) -> Result<Option<Vec<Captured>>, BackendError> {
        match &mut self.side {
            Open::MySql(_) => Ok(None),
            Open::Postgres(tx) => tx.children(entry, reference, row, child).await,
        }
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), BackendError> {
        on!(self.side, tx => tx.commit().await)
    }

    /// Rolls back.
    pub async fn rollback(self) -> Result<(), BackendError> {
        on!(self.side, tx => tx.rollback().await)
    }
}

impl Backend {
    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, BackendError> {
        self.begin_as(false).await
    }

    /// Begins a transaction that sees one state of the database, and neither writes nor locks.
    pub async fn begin_reading(&self) -> Result<Tx, BackendError> {
        self.begin_as(true).await
    }

    async fn begin_as(&self, reading: bool) -> Result<Tx, BackendError> {
        let (side, primary) = match &self.side {
            Side::MySql(mysql) => {
                let (tx, primary) = mysql.begin(reading).await?;
                (Open::MySql(tx), primary)
            }
            Side::Postgres(postgres) => {
                let (tx, primary) = postgres.begin(reading).await?;
                (Open::Postgres(tx), primary)
            }
        };
        Ok(Tx { primary, side })
    }

    /// Begins a transaction that only holds rows.
    pub(super) async fn begin_holding(&self) -> Result<Tx, BackendError> {
        let (side, primary) = match &self.side {
            Side::MySql(mysql) => {
                let (tx, primary) = mysql.begin_holding().await?;
                (Open::MySql(tx), primary)
            }
            Side::Postgres(postgres) => {
                let (tx, primary) = postgres.begin_holding().await?;
                (Open::Postgres(tx), primary)
            }
        };
        Ok(Tx { primary, side })
    }

    /// Ends the sessions that keep a session of ours waiting on that primary, except the proxies' own; which they were.
    pub async fn end_blockers(&self, waiter: u64, primary: &str) -> Result<Vec<u64>, BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.end_blockers(waiter, primary).await,
            Side::Postgres(postgres) => postgres.end_blockers(waiter, primary).await,
        }
    }

    /// Deletes the undo records of committed branches: how many rows there were, and on which primary.
    pub async fn delete_records(
        &self,
        branches: &[(Xid, BranchId)],
    ) -> Result<(u64, Arc<str>), BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.delete_records(branches).await,
            Side::Postgres(postgres) => postgres.delete_records(branches).await,
        }
    }

    /// Some transactions that have guards or undone records here.
    pub async fn with_leftovers(&self, most: usize) -> Result<Vec<String>, BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.with_leftovers(most).await,
            Side::Postgres(postgres) => postgres.with_leftovers(most).await,
        }
    }

    /// Removes undone records of these finished transactions; and their guards, where every database transaction that is
    /// older than the guard has ended.
    pub async fn sweep(&self, finished: &[Xid]) -> Result<(), BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.sweep(finished).await,
            Side::Postgres(postgres) => postgres.sweep(finished).await,
        }
    }
}
