//! The guard insert, the only probe of a branch: it waits for a zombie's uncommitted undo row and is decided by
//! its end; once it is committed the branch can never commit.
//!
//! Never a SELECT … FOR UPDATE first: two of them on a missing row deadlock when they insert.

use crate::backend::{Backend, BackendError, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use mysql_async::{Conn, prelude::Queryable};
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
    let (mut conn, primary) = backend.connection().await?;
    conn.query_drop("START TRANSACTION").await.map_err(|e| backend.wrap(e))?;
    let probe = place(backend, &mut conn, &primary, xid, branch).await?;
    conn.query_drop("COMMIT").await.map_err(|e| backend.wrap(e))?;
    Ok((probe, primary))
}

/// The guard insert inside an open transaction; the row found or made is locked by it.
pub(super) async fn place(
    backend: &Backend,
    tx: &mut Conn,
    primary: &str,
    xid: Xid,
    branch: BranchId,
) -> Result<Probe, BackendError> {
    insert(backend, tx, primary, xid, branch).await?;
    if tx.affected_rows() == 1 {
        return Ok(Probe::Guarded);
    }
    let status: Option<String> = tx
        .exec_first(
            format!("SELECT status FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? AND part = 0 FOR UPDATE"),
            (xid.to_string(), branch.as_u64()),
        )
        .await
        .map_err(|e| backend.wrap(e))?;
    Ok(match status.as_deref() {
        Some("NORMAL") => Probe::Committed,
        Some("UNDONE") => Probe::Undone,
        Some(_) => Probe::Guarded,
        // Deleted in between, which only happens to finished transactions: nothing is left to decide here.
        None => Probe::Undone,
    })
}

/// The insert; whoever keeps it waiting for long is ended.
async fn insert(
    backend: &Backend,
    tx: &mut Conn,
    primary: &str,
    xid: Xid,
    branch: BranchId,
) -> Result<(), BackendError> {
    let waiter = tx.id();
    let insert = tx.exec_drop(
        format!("INSERT IGNORE INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) VALUES (?, ?, 0, 0, 'GUARD', '')"),
        (xid.to_string(), branch.as_u64()),
    );
    tokio::pin!(insert);
    loop {
        tokio::select! {
            done = &mut insert => return done.map_err(|e| backend.wrap(e)),
            () = tokio::time::sleep(ZOMBIE_AFTER) => end_zombie(backend, waiter, primary, xid).await,
        }
    }
}

/// Kills the session whose open transaction holds the undo row that our guard insert waits for.
async fn end_zombie(backend: &Backend, waiter: u32, primary: &str, xid: Xid) {
    // Never one of the proxies' own: it is about to finish this very branch.
    const MYSQL: &str = "SELECT b.trx_mysql_thread_id FROM performance_schema.data_lock_waits w \
        JOIN information_schema.innodb_trx b ON b.trx_id = w.BLOCKING_ENGINE_TRANSACTION_ID \
        JOIN information_schema.innodb_trx r ON r.trx_id = w.REQUESTING_ENGINE_TRANSACTION_ID \
        JOIN performance_schema.processlist p ON p.ID = b.trx_mysql_thread_id \
        WHERE r.trx_mysql_thread_id = ? AND p.USER <> ?";
    const MARIADB: &str = "SELECT b.trx_mysql_thread_id FROM information_schema.innodb_lock_waits w \
        JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id \
        JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id \
        JOIN information_schema.PROCESSLIST p ON p.ID = b.trx_mysql_thread_id \
        WHERE r.trx_mysql_thread_id = ? AND p.USER <> ?";
    let Ok((mut conn, here)) = backend.connection().await else { return };
    // On another server the waiter's number is somebody else's.
    if *here != *primary {
        return;
    }
    let mut holders: Result<Vec<u64>, _> = conn.exec(MYSQL, (waiter, &backend.account.user)).await;
    if holders.is_err() {
        holders = conn.exec(MARIADB, (waiter, &backend.account.user)).await;
    }
    match holders {
        Ok(holders) => {
            for session in holders {
                tracing::warn!(%xid, resource = %backend.name, session, "ending a dead client's session that holds an undecided undo record");
                // It may just have ended by itself.
                let _ = conn.query_drop(format!("KILL {session}")).await;
            }
        }
        Err(error) => {
            tracing::warn!(%xid, resource = %backend.name, %error, "cannot see who holds an undecided undo record")
        }
    }
}
