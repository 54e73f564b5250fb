//! After a commit the undo records are deleted, many branches in one statement.

use crate::backend::{Backend, BackendError};
use atone_protocol::{BranchId, Xid};
use std::sync::Arc;

/// Branches deleted at once.
pub(super) const BATCH: usize = 200;

/// Deletes the records of committed branches; on which primary.
pub(super) async fn forget(
    backend: &Backend,
    branches: &[(Xid, BranchId)],
) -> Result<Arc<str>, BackendError> {
    let (deleted, primary) = backend.delete_records(branches).await?;
    if deleted < branches.len() as u64 {
        // Usual when a task is repeated after a lost report; otherwise the database lost a durable commit.
        tracing::warn!(
            resource = backend.name(),
            asked = branches.len(),
            found = deleted,
            "fewer undo records than committed branches: tasks were repeated, or the database lost a commit"
        );
    }
    Ok(primary)
}
