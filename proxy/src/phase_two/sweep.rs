//! Guards and undone records are removed once they can do no more good: their transaction is finished and, for a
//! guard, every database transaction that is older than it has ended (an older one could be the branch's own,
//! about to insert its undo record).

use crate::backend::{Backend, BackendError};
use atone_protocol::{Client, TxStatus, Xid};

/// Transactions looked at in one round.
const BATCH: usize = 500;

/// One round over a database. Records of transactions that the coordinator does not know stay: they are
/// never judged by guess.
pub(super) async fn sweep(backend: &Backend, coordinator: &Client) -> Result<(), BackendError> {
    let mut finished = Vec::new();
    for xid in backend.with_leftovers(BATCH).await? {
        let Ok(xid) = xid.parse::<Xid>() else { continue };
        if let Ok(Some((TxStatus::RolledBack | TxStatus::Committed, _))) = coordinator.status(xid).await {
            finished.push(xid);
        }
    }
    if finished.is_empty() { Ok(()) } else { backend.sweep(&finished).await }
}
