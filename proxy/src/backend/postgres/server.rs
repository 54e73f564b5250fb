//! Which PostgreSQL server it is.

use super::{BackendError, Cause, Pools, Postgres, Primary, Server, fitness, pool, schema};
use crate::backend::Sight;
use atone_protocol::Lineage;
use std::sync::Arc;
use tokio_postgres::Client;

/// The identity: of a database cluster, of the timeline on which it writes (a promotion begins a new one; the control
/// file names it late, the name of the log file at once), and of this life of its memory. When a server comes back after
/// a crash, also after one of a single backend that leaves the postmaster running, it may have lost commits that it had
/// answered with synchronous_commit = off; what changes each time is the instant at which the statistics of prefetching
/// were set up in shared memory. A DBA who resets them makes it another primary too, which is safe. Everybody may ask it,
/// whatever the session's settings.
pub(super) const IDENTITY: &str = "SELECT pg_catalog.concat_ws(':', \
    (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby' ELSE \
    pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END, \
    (SELECT extract(epoch FROM stats_reset) FROM pg_catalog.pg_stat_recovery_prefetch), \
    pg_catalog.current_database())";

/// Who is there.
pub(super) async fn identify(client: &Client) -> Result<Arc<str>, tokio_postgres::Error> {
    let row = client.query_typed_one(IDENTITY, &[]).await?;
    Ok(row.try_get::<_, String>(0)?.into())
}

impl Server for Postgres {
    type Pools = Pools;

    fn name(&self) -> &str {
        &self.name
    }

    fn primary(&self) -> &Primary<Pools> {
        &self.primary
    }

    async fn visit(&self, before: &Sight) -> Result<Sight, BackendError> {
        let client = pool::connect(&self.config, &self.name).await?;
        let primary = match identify(&client).await {
            Ok(primary) => primary,
            Err(error) => match error.as_db_error() {
                Some(error) => {
                    let what = format!("it is of another kind than at the start of the proxy ({error})");
                    return Ok(Sight { primary: "unknown".into(), refused: Some(what) });
                }
                None => return Err(BackendError::database(&self.name, error)),
            },
        };
        if primary == before.primary && before.refused.is_none() {
            return Ok(before.clone());
        }
        let refused = match check(&client, &self.name, self.lineage).await {
            Ok(()) => None,
            Err(BackendError::Unfit { what, .. }) => Some(what),
            Err(BackendError::Database { source: Cause::Postgres(error), .. })
                if error.as_db_error().is_some() =>
            {
                Some(Cause::Postgres(error).to_string())
            }
            Err(error @ BackendError::Database { .. }) => return Err(error),
            Err(error @ (BackendError::Timeout(_) | BackendError::Elsewhere(_))) => Some(error.to_string()),
        };
        Ok(Sight { primary, refused })
    }

    fn pools(&self, primary: &Arc<str>) -> Pools {
        Pools::new(&self.name, &self.config, primary)
    }

    async fn disconnect(pools: Pools) {
        pools.transactions.close();
        pools.questions.close();
        pools.holds.close();
    }

    fn forget(&self) {
        self.catalogue.forget();
    }
}

/// A server that was not there at the start must have been made from the one that was.
async fn check(client: &Client, name: &str, lineage: Lineage) -> Result<(), BackendError> {
    fitness::check(client, name).await?;
    schema::check_place(client, name, lineage).await
}
