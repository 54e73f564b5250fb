//! After a commit the undo records are deleted, many branches in one statement.

use crate::backend::{Backend, BackendError, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use mysql_async::prelude::Queryable;
use std::sync::Arc;

/// Branches deleted at once.
pub(super) const BATCH: usize = 200;

/// Deletes the records of committed branches; on which primary.
pub(super) async fn forget(
    backend: &Backend,
    branches: &[(Xid, BranchId)],
) -> Result<Arc<str>, BackendError> {
    let rows: Vec<String> = branches
        .iter()
        .map(|(xid, branch)| format!("(xid = '{xid}' AND branch_id = {})", branch.as_u64()))
        .collect();
    let (mut conn, primary) = backend.question().await?;
    conn.query_drop(format!("DELETE FROM {UNDO_LOG} WHERE status = 'NORMAL' AND ({})", rows.join(" OR ")))
        .await
        .map_err(|e| backend.wrap(e))?;
    if (conn.affected_rows() as usize) < branches.len() {
        // Usual when a task is repeated after a lost report; otherwise the database lost a durable commit.
        tracing::warn!(
            resource = %backend.name, asked = branches.len(), found = conn.affected_rows(),
            "fewer undo records than committed branches: tasks were repeated, or the database lost a commit"
        );
    }
    Ok(primary)
}
