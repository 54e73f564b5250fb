//! The guard insert, the only probe of a branch: it waits for a zombie's uncommitted undo row and is decided by
//! its end; once it is committed the branch can never commit.
//!
//! Never a SELECT … FOR UPDATE first: on MySQL two of them on a missing row deadlock when they insert.

use crate::backend::{Backend, BackendError, Tx};
use atone_protocol::{BranchId, Xid};
use std::{sync::Arc, time::Duration};

/// What the guard insert found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// There is a guard: the branch never committed and never will.
    Guarded,
    /// The undo record is there: the branch is locally committed.
    Committed,
    /// The branch was committed and has been undone.
    Undone,
}

/// A guard insert that waits this long waits for an open transaction of a dead client.
const ZOMBIE_AFTER: Duration = Duration::from_secs(2);

/// Decides an unknown branch; on which primary is part of the answer, which says nothing of another.
pub async fn resolve(
    backend: &Backend,
    xid: Xid,
    branch: BranchId,
) -> Result<(Probe, Arc<str>), BackendError> {
    let mut tx = backend.begin().await?;
    let primary = tx.primary().clone();
    let probe = place(backend, &mut tx, xid, branch).await?;
    tx.commit().await?;
    Ok((probe, primary))
}

/// The guard insert inside an open transaction; the row found or made is locked by it.
pub(super) async fn place(
    backend: &Backend,
    tx: &mut Tx,
    xid: Xid,
    branch: BranchId,
) -> Result<Probe, BackendError> {
    if insert(backend, tx, xid, branch).await? {
        return Ok(Probe::Guarded);
    }
    Ok(match tx.status(xid, branch).await?.as_deref() {
        Some("NORMAL") => Probe::Committed,
        Some("UNDONE") => Probe::Undone,
        Some(_) => Probe::Guarded,
        // Deleted in between, which only happens to finished transactions: nothing is left to decide here.
        None => Probe::Undone,
    })
}

/// The insert; whoever keeps it waiting for long is ended.
async fn insert(backend: &Backend, tx: &mut Tx, xid: Xid, branch: BranchId) -> Result<bool, BackendError> {
    let (waiter, primary) = (tx.session(), tx.primary().clone());
    let insert = tx.insert_guard(xid, branch);
    tokio::pin!(insert);
    loop {
        tokio::select! {
            done = &mut insert => return done,
            () = tokio::time::sleep(ZOMBIE_AFTER) => end_zombie(backend, waiter, &primary, xid).await,
        }
    }
}

/// Ends the session whose open transaction holds the undo row that our guard insert waits for.
async fn end_zombie(backend: &Backend, waiter: u64, primary: &str, xid: Xid) {
    let resource = backend.name();
    match backend.end_blockers(waiter, primary).await {
        Ok(sessions) => {
            for session in sessions {
                tracing::warn!(%xid, resource, session, "ended a dead client's session that held an undecided undo record");
            }
        }
        Err(error) => {
            tracing::warn!(%xid, resource, %error, "cannot end who holds an undecided undo record")
        }
    }
}
