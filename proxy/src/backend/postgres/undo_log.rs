//! The undo table of a PostgreSQL database, outside of the undo of a branch.

use super::{BackendError, Postgres, tx::signed};
use crate::backend::UNDO_LOG;
use atone_protocol::{BranchId, Xid};
use std::sync::Arc;
use tokio_postgres::{Error, Row, types::Type};

/// The beginning of the oldest transaction in this database, prepared ones too, at least this statement's own. A session
/// that hides its transactions (track_activities = off) may have had one since it began. A second is left for the time
/// between the beginning of a transaction and its being seen.
const OLDEST: &str = "(SELECT least(now(), (SELECT min(coalesce(xact_start, \
        CASE WHEN state = 'disabled' THEN backend_start END)) FROM pg_stat_activity \
        WHERE datname = current_database()), \
    (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database())) - interval '1 second')";

impl Postgres {
    pub async fn end_blockers(&self, waiter: u64, primary: &str) -> Result<Vec<u64>, BackendError> {
        let (mut session, here) = self.question().await?;
        let Ok(waiter) = i32::try_from(waiter) else { return Ok(Vec::new()) };
        // On another server the waiter's number is somebody else's.
        if *here != *primary {
            return Ok(Vec::new());
        }
        // Never one of the proxies' own: it is about to finish this very branch.
        let end = "SELECT a.pid, pg_terminate_backend(a.pid) FROM unnest(pg_blocking_pids($1)) AS b(pid) \
            JOIN pg_stat_activity a ON a.pid = b.pid WHERE a.usename <> current_user";
        let rows = session.query(end, &[(&waiter, Type::INT4)]).await?;
        let ended = rows.iter().map(|row| row.try_get::<_, i32>(0)).collect::<Result<Vec<_>, _>>();
        let ended = session.answered(ended)?;
        Ok(ended.into_iter().filter_map(|pid| u64::try_from(pid).ok()).collect())
    }

    pub async fn row_lock_waits(&self) -> Result<Vec<(u64, u64)>, BackendError> {
        // Whoever may see nothing else of the others sees their locks.
        const WAITS: &str = "SELECT w.pid, b.pid FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) w \
            CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid) WHERE w.pid IS NOT NULL AND b.pid <> 0";
        let (mut session, _) = self.question().await?;
        let rows = session.query(WAITS, &[]).await?;
        let pair = |row: &Row| Ok::<_, Error>((row.try_get(0)?, row.try_get(1)?));
        let waits: Result<Vec<(i32, i32)>, _> = rows.iter().map(pair).collect();
        let number = |pid: i32| u64::try_from(pid).ok();
        let waits = session.answered(waits)?.into_iter();
        Ok(waits.filter_map(|(waiter, holder)| Some((number(waiter)?, number(holder)?))).collect())
    }

    pub async fn delete_records(
        &self,
        branches: &[(Xid, BranchId)],
    ) -> Result<(u64, Arc<str>), BackendError> {
        let xids: Vec<String> = branches.iter().map(|(xid, _)| xid.to_string()).collect();
        let numbers: Vec<i64> = branches.iter().map(|(_, branch)| signed(*branch)).collect();
        let (mut session, primary) = self.question().await?;
        let delete = format!(
            "DELETE FROM {UNDO_LOG} WHERE status = 'NORMAL' \
             AND (xid, branch_id) IN (SELECT * FROM unnest($1::text[], $2::int8[]))"
        );
        let params = [(&xids as _, Type::TEXT_ARRAY), (&numbers as _, Type::INT8_ARRAY)];
        Ok((session.execute(&delete, &params).await?, primary))
    }

    pub async fn with_leftovers(&self, most: usize) -> Result<Vec<String>, BackendError> {
        let (mut session, _) = self.question().await?;
        let query =
            format!("SELECT DISTINCT xid FROM {UNDO_LOG} WHERE part = 0 AND status <> 'NORMAL' LIMIT {most}");
        let rows = session.query(&query, &[]).await?;
        session.answered(rows.iter().map(|row| row.try_get(0)).collect())
    }

    pub async fn sweep(&self, finished: &[Xid]) -> Result<(), BackendError> {
        let xids: Vec<String> = finished.iter().map(ToString::to_string).collect();
        let (mut session, _) = self.question().await?;
        let delete = format!(
            "DELETE FROM {UNDO_LOG} WHERE xid = ANY ($1::text[]) \
             AND (status = 'UNDONE' OR (status = 'GUARD' AND created_at < {OLDEST}))"
        );
        session.execute(&delete, &[(&xids, Type::TEXT_ARRAY)]).await.map(drop)
    }
}
