//! Which MySQL or MariaDB server it is, and our connections to exactly that one.

use super::{BackendError, Cause, MySql, Primary, Server, connected, privileges, schema};
use crate::backend::Sight;
use atone_protocol::Lineage;
use mysql_async::{Conn, OptsBuilder, Pool, PoolConstraints, PoolOpts, prelude::Queryable};
use std::sync::Arc;

/// Connections of the service account at once, per database and kind.
const POOL_LIMIT: usize = 12;

/// The identity: of a server, and of this life of it. A server that comes back after a crash may have lost commits
/// that it had answered, and one that was a primary before may have been made anew from another: both are other
/// primaries than they were. Up-time and clock are of the same instant in one statement, so that their difference, the
/// time of the start, is always the same number; modulo 2^64, because a session may have set its clock before it.
const MYSQL: &str = "SELECT CONCAT_WS(':', @@server_uuid, CAST((18446744073709551616 + UNIX_TIMESTAMP() - \
    (SELECT CAST(VARIABLE_VALUE AS DECIMAL(20)) FROM performance_schema.session_status \
    WHERE VARIABLE_NAME = 'Uptime')) MOD 18446744073709551616 AS CHAR))";
/// MariaDB gives servers no identity of their own.
const MARIADB: &str = "SELECT CONCAT_WS(':', @@hostname, @@port, @@server_id, @@datadir, \
    CAST((18446744073709551616 + UNIX_TIMESTAMP() - \
    (SELECT CAST(VARIABLE_VALUE AS DECIMAL(20)) FROM information_schema.SESSION_STATUS \
    WHERE VARIABLE_NAME = 'UPTIME')) MOD 18446744073709551616 AS CHAR))";

/// The connections of the service account to one server.
#[derive(Clone)]
pub struct Pools {
    /// For transactions; a connection is reset after each use.
    pub transactions: Pool,
    /// For single statements, most of them questions to the catalogue.
    pub questions: Pool,
    /// For those who hold rows for a moment: they keep no transaction waiting for a connection.
    pub holds: Pool,
}

/// A new connection reached another server than the one it was for.
#[derive(Debug, thiserror::Error)]
#[error("another server is behind the address now")]
pub(super) struct Elsewhere;

impl Server for MySql {
    type Pools = Pools;

    fn name(&self) -> &str {
        &self.name
    }

    fn primary(&self) -> &Primary<Pools> {
        &self.primary
    }

    async fn visit(&self, before: &Sight) -> Result<Sight, BackendError> {
        let mut conn = connected(Conn::new(self.options.clone()), &self.name).await?;
        let primary = match identify(&mut conn, self.mariadb).await {
            Ok(primary) => primary,
            Err(mysql_async::Error::Server(error)) => {
                let what = format!("it is of another kind than at the start of the proxy ({error})");
                return Ok(Sight { primary: "unknown".into(), refused: Some(what) });
            }
            Err(error) => return Err(self.wrap(error)),
        };
        if primary == before.primary && before.refused.is_none() {
            return Ok(before.clone());
        }
        let refused = match check(&mut conn, &self.name, self.lineage).await {
            Ok(()) => None,
            Err(BackendError::Unfit { what, .. }) => Some(what),
            Err(BackendError::Database {
                source: Cause::MySql(mysql_async::Error::Server(error)), ..
            }) => Some(error.to_string()),
            Err(error @ BackendError::Database { .. }) => return Err(error),
            Err(error @ (BackendError::Timeout(_) | BackendError::Elsewhere(_))) => Some(error.to_string()),
        };
        Ok(Sight { primary, refused })
    }

    fn pools(&self, primary: &Arc<str>) -> Pools {
        Pools::new(&self.options, self.mariadb, primary)
    }

    async fn disconnect(pools: Pools) {
        for pool in [pools.transactions, pools.questions, pools.holds] {
            let _ = pool.disconnect().await;
        }
    }

    fn forget(&self) {
        self.catalogue.forget();
        self.grants.forget();
    }
}

/// A server that was not there at the start must have been made from the one that was.
async fn check(conn: &mut Conn, name: &str, lineage: Lineage) -> Result<(), BackendError> {
    privileges::check(conn, name).await?;
    schema::check_place(conn, name, lineage).await?;
    let read_only: Option<bool> = conn
        .query_first("SELECT @@global.read_only")
        .await
        .map_err(|source| BackendError::database(name, source))?;
    if read_only == Some(true) {
        return Err(BackendError::unfit(name, "it is read-only, as a replica is that has not been promoted"));
    }
    Ok(())
}

impl Pools {
    /// Each new connection is asked where it is, and fails when that is not `primary`.
    pub(super) fn new(options: &OptsBuilder, mariadb: bool, primary: &Arc<str>) -> Self {
        let expected = primary.clone();
        let options = options.clone().after_connect(move |conn| {
            let expected = expected.clone();
            Box::pin(async move {
                if identify(conn, mariadb).await? == expected {
                    Ok(())
                } else {
                    Err(mysql_async::Error::Other(Box::new(Elsewhere)))
                }
            })
        });
        let limits = PoolConstraints::new(0, POOL_LIMIT).unwrap_or_default();
        let pool_options = PoolOpts::default().with_constraints(limits);
        Self {
            transactions: Pool::new(options.clone().pool_opts(pool_options.clone())),
            holds: Pool::new(options.clone().pool_opts(pool_options.clone())),
            // A single statement leaves nothing behind that a reset would have to take away.
            questions: Pool::new(options.pool_opts(pool_options.with_reset_connection(false))),
        }
    }
}

/// What a connection asks to learn on which server it is.
pub(super) fn question(mariadb: bool) -> &'static str {
    if mariadb { MARIADB } else { MYSQL }
}

/// Who is there.
pub(super) async fn identify(conn: &mut Conn, mariadb: bool) -> Result<Arc<str>, mysql_async::Error> {
    let identity: Option<String> = conn.query_first(question(mariadb)).await?;
    Ok(identity.unwrap_or_default().into())
}
