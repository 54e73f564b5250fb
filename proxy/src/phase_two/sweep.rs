//! Guards and undone records are removed once they can do no more good: their transaction is finished and, for a
//! guard, every database transaction that is older than it has ended (an older one could be the branch's own,
//! about to insert its undo record).

use crate::backend::{Backend, BackendError, UNDO_LOG};
use atone_protocol::{Client, TxStatus, Xid};
use mysql_async::prelude::Queryable;

/// Records looked at in one round.
const BATCH: usize = 500;

/// One round over a database. Records of transactions that the coordinator does not know stay: they are
/// never judged by guess.
pub(super) async fn sweep(backend: &Backend, coordinator: &Client) -> Result<(), BackendError> {
    let wrap = |e| backend.wrap(e);
    let (mut conn, _) = backend.connection().await?;
    let found: Vec<String> = conn
        .query(format!(
            "SELECT DISTINCT xid FROM {UNDO_LOG} WHERE part = 0 AND status <> 'NORMAL' LIMIT {BATCH}"
        ))
        .await
        .map_err(wrap)?;
    let mut finished = Vec::new();
    for xid in found {
        let Ok(xid) = xid.parse::<Xid>() else { continue };
        if let Ok(Some((TxStatus::RolledBack | TxStatus::Committed, _))) = coordinator.status(xid).await {
            finished.push(format!("'{xid}'"));
        }
    }
    if finished.is_empty() {
        return Ok(());
    }
    // innodb_trx tells time in the server's zone, in whole seconds.
    conn.query_drop("SET SESSION time_zone = 'SYSTEM'").await.map_err(wrap)?;
    let oldest: Option<Option<String>> = conn
        .query_first(
            "SELECT CAST(MIN(trx_started) - INTERVAL 1 SECOND AS CHAR) FROM information_schema.innodb_trx",
        )
        .await
        .map_err(wrap)?;
    let before = oldest.flatten().map_or("NOW() - INTERVAL 1 SECOND".to_owned(), |t| format!("'{t}'"));
    let delete = format!(
        "DELETE FROM {UNDO_LOG} WHERE xid IN ({}) AND (status = 'UNDONE' OR (status = 'GUARD' AND created_at < {before}))",
        finished.join(", ")
    );
    conn.query_drop(delete).await.map_err(wrap)?;
    conn.query_drop("SET SESSION time_zone = '+00:00'").await.map_err(wrap)
}
