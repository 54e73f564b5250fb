//! The undo table of a MySQL or MariaDB server, outside of the undo of a branch.

use super::MySql;
use crate::backend::{BackendError, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use mysql_async::prelude::Queryable;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// MariaDB reads its lock waits anew only when nobody has asked for so long (CACHE_MIN_IDLE_TIME_NS), and otherwise answers
/// what it read before.
const REMEMBERED: Duration = Duration::from_millis(102);
/// An answer so young is as good as another, for which it would have to be waited.
const JUST_NOW: Duration = Duration::from_millis(20);

/// What MariaDB has told of its lock waits.
pub(super) struct Waits {
    begun: Instant,
    ended: Instant,
    waits: Vec<(u64, u64)>,
}

impl MySql {
    pub async fn end_blockers(&self, waiter: u64, primary: &str) -> Result<Vec<u64>, BackendError> {
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
        let (mut conn, here) = self.connection().await?;
        // On another server the waiter's number is somebody else's.
        if *here != *primary {
            return Ok(Vec::new());
        }
        let mut holders: Result<Vec<u64>, _> = conn.exec(MYSQL, (waiter, &self.user)).await;
        if holders.is_err() {
            holders = conn.exec(MARIADB, (waiter, &self.user)).await;
        }
        let holders = holders.map_err(|e| self.wrap(e))?;
        for session in &holders {
            // It may just have ended by itself.
            let _ = conn.query_drop(format!("KILL {session}")).await;
        }
        Ok(holders)
    }

    pub async fn row_lock_waits(&self) -> Result<Vec<(u64, u64)>, BackendError> {
        const MYSQL: &str = "SELECT DISTINCT r.PROCESSLIST_ID, b.PROCESSLIST_ID FROM performance_schema.data_lock_waits w \
            JOIN performance_schema.threads r ON r.THREAD_ID = w.REQUESTING_THREAD_ID \
            JOIN performance_schema.threads b ON b.THREAD_ID = w.BLOCKING_THREAD_ID \
            WHERE r.PROCESSLIST_ID IS NOT NULL AND b.PROCESSLIST_ID IS NOT NULL";
        const MARIADB: &str = "SELECT DISTINCT r.trx_mysql_thread_id, b.trx_mysql_thread_id \
            FROM information_schema.innodb_lock_waits w \
            JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id \
            JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id";
        if !self.mariadb {
            let (mut conn, _) = self.question().await?;
            return conn.query(MYSQL).await.map_err(|e| self.wrap(e));
        }
        let mut known = self.waits_known.lock().await;
        if let Some(known) = &*known {
            if known.begun.elapsed() < JUST_NOW {
                return Ok(known.waits.clone());
            }
            tokio::time::sleep_until(known.ended + REMEMBERED).await;
        }
        let (mut conn, _) = self.question().await?;
        let begun = Instant::now();
        let waits: Vec<(u64, u64)> = conn.query(MARIADB).await.map_err(|e| self.wrap(e))?;
        *known = Some(Waits { begun, ended: Instant::now(), waits: waits.clone() });
        Ok(waits)
    }

    /// Interrupts what a connection of this primary runs.
    pub async fn interrupt(&self, connection: u64, primary: &str) -> Result<(), String> {
        let (mut conn, here) = self.question().await.map_err(|error| error.to_string())?;
        // On another server the number is somebody else's.
        if *here != *primary {
            return Err("its server is the primary no more".to_owned());
        }
        conn.query_drop(format!("KILL QUERY {connection}")).await.map_err(|error| {
            let right = if self.mariadb { "CONNECTION ADMIN" } else { "CONNECTION_ADMIN" };
            format!("{error}; the proxy's account '{}' needs {right} for it", self.user)
        })
    }

    pub async fn delete_records(
        &self,
        branches: &[(Xid, BranchId)],
    ) -> Result<(u64, Arc<str>), BackendError> {
        let rows: Vec<String> = branches
            .iter()
            .map(|(xid, branch)| format!("(xid = '{xid}' AND branch_id = {})", branch.as_u64()))
            .collect();
        let (mut conn, primary) = self.question().await?;
        conn.query_drop(format!(
            "DELETE FROM {UNDO_LOG} WHERE status = 'NORMAL' AND ({})",
            rows.join(" OR ")
        ))
        .await
        .map_err(|e| self.wrap(e))?;
        Ok((conn.affected_rows(), primary))
    }

    pub async fn with_leftovers(&self, most: usize) -> Result<Vec<String>, BackendError> {
        let (mut conn, _) = self.question().await?;
        let query =
            format!("SELECT DISTINCT xid FROM {UNDO_LOG} WHERE part = 0 AND status <> 'NORMAL' LIMIT {most}");
        conn.query(query).await.map_err(|e| self.wrap(e))
    }

    pub async fn sweep(&self, finished: &[Xid]) -> Result<(), BackendError> {
        let wrap = |e| self.wrap(e);
        let (mut conn, _) = self.connection().await?;
        // innodb_trx tells time in the server's zone, in whole seconds.
        conn.query_drop("SET SESSION time_zone = 'SYSTEM'").await.map_err(wrap)?;
        let oldest: Option<Option<String>> = conn
            .query_first(
                "SELECT CAST(MIN(trx_started) - INTERVAL 1 SECOND AS CHAR) FROM information_schema.innodb_trx",
            )
            .await
            .map_err(wrap)?;
        let before = oldest.flatten().map_or("NOW() - INTERVAL 1 SECOND".to_owned(), |t| format!("'{t}'"));
        let xids: Vec<String> = finished.iter().map(|xid| format!("'{xid}'")).collect();
        let delete = format!(
            "DELETE FROM {UNDO_LOG} WHERE xid IN ({}) AND (status = 'UNDONE' OR (status = 'GUARD' AND created_at < {before}))",
            xids.join(", ")
        );
        conn.query_drop(delete).await.map_err(wrap)?;
        conn.query_drop("SET SESSION time_zone = '+00:00'").await.map_err(wrap)
    }
}
