//! Which server is the primary now: the one that the newest look found behind the configured address.
//!
//! A branch is committed on one server, and after a failover another may stand behind the same address, with or
//! without that commit. So a server has an identity, every connection of ours belongs to exactly one, and what was
//! learnt or done on one is never taken for true of another. Nothing here decides what follows from that.

use super::{BackendError, connected, privileges, schema};
use mysql_async::{Conn, OptsBuilder, Pool, PoolConstraints, PoolOpts, prelude::Queryable};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

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

/// What a look found.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Who is there.
    pub primary: Arc<str>,
    /// Why it cannot be the primary of this resource.
    pub refused: Option<String>,
}

/// The connections of the service account to one server.
#[derive(Clone)]
pub(super) struct Pools {
    /// For transactions; a connection is reset after each use.
    pub transactions: Pool,
    /// For single statements, most of them questions to the catalogue.
    pub questions: Pool,
}

pub(super) struct Primary {
    name: String,
    mariadb: bool,
    options: OptsBuilder,
    now: Mutex<(Sight, Pools)>,
    /// One look at a time: the one that ends last is the newest.
    turn: Semaphore,
}

/// A new connection reached another server than the one it was for.
#[derive(Debug, thiserror::Error)]
#[error("another server is behind the address now")]
struct Elsewhere;

impl Primary {
    /// As the server on `conn` is.
    pub(super) async fn new(
        name: String,
        options: OptsBuilder,
        mariadb: bool,
        conn: &mut Conn,
    ) -> Result<Self, mysql_async::Error> {
        let sight = Sight { primary: identify(conn, mariadb).await?, refused: None };
        let pools = Pools::new(&options, mariadb, &sight.primary);
        Ok(Self { name, mariadb, options, now: Mutex::new((sight, pools)), turn: Semaphore::new(1) })
    }

    fn now(&self) -> MutexGuard<'_, (Sight, Pools)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest look found.
    pub(super) fn sight(&self) -> Sight {
        self.now().0.clone()
    }

    /// What a connection asks to learn on which server it is.
    pub(super) fn question(&self) -> &'static str {
        question(self.mariadb)
    }

    /// Connections to the primary, and who that is.
    pub(super) fn pools(&self) -> Result<(Pools, Arc<str>), BackendError> {
        let now = self.now();
        match &now.0.refused {
            Some(what) => Err(BackendError::Unfit { name: self.name.clone(), what: what.clone() }),
            None => Ok((now.1.clone(), now.0.primary.clone())),
        }
    }

    /// Looks who is behind the address: on a new connection, since old ones stay where they are. `unless` is asked
    /// once it is our turn: somebody else's look may have served. Is it another than before?
    pub(super) async fn look(&self, unless: impl Fn(&Sight) -> bool) -> Result<bool, BackendError> {
        let Ok(_turn) = self.turn.acquire().await else { return Ok(false) };
        let before = self.sight();
        if unless(&before) {
            return Ok(false);
        }
        let mut conn = connected(Conn::new(self.options.clone()), &self.name).await?;
        let sight = self.visit(&mut conn, &before).await;
        let sight = sight.map_err(|source| BackendError::Database { name: self.name.clone(), source })?;
        // It says goodbye in the background.
        drop(conn);
        if sight.refused.is_some() && sight.refused != before.refused {
            tracing::error!(
                resource = %self.name, server = %sight.primary, why = sight.refused,
                "the server behind the address is not the primary of this resource and is not used"
            );
        }
        if sight.primary == before.primary {
            self.now().0 = sight;
            return Ok(false);
        }
        if sight.refused.is_none() {
            tracing::warn!(resource = %self.name, old = %before.primary, new = %sight.primary, "the primary has changed");
        }
        let pools = Pools::new(&self.options, self.mariadb, &sight.primary);
        let (_, old) = std::mem::replace(&mut *self.now(), (sight, pools));
        // Connections in use are closed by their users; whatever was done on them is void or was true before.
        for pool in [old.transactions, old.questions] {
            crate::tasks::spawn("connections to an old primary", async move {
                let _ = pool.disconnect().await;
            });
        }
        Ok(true)
    }

    async fn visit(&self, conn: &mut Conn, before: &Sight) -> Result<Sight, mysql_async::Error> {
        let primary = match identify(conn, self.mariadb).await {
            Ok(primary) => primary,
            Err(mysql_async::Error::Server(error)) => {
                let what = format!("it is of another kind than at the start of the proxy ({error})");
                return Ok(Sight { primary: "unknown".into(), refused: Some(what) });
            }
            Err(error) => return Err(error),
        };
        if primary == before.primary && before.refused.is_none() {
            return Ok(before.clone());
        }
        let refused = match self.check(conn).await {
            Ok(()) => None,
            Err(BackendError::Unfit { what, .. }) => Some(what),
            Err(BackendError::Database { source: mysql_async::Error::Server(error), .. }) => {
                Some(error.to_string())
            }
            Err(BackendError::Database { source, .. }) => return Err(source),
            Err(error @ BackendError::Timeout(_)) => Some(error.to_string()),
        };
        Ok(Sight { primary, refused })
    }

    /// A server that was not there at the start must have been made from the one that was.
    async fn check(&self, conn: &mut Conn) -> Result<(), BackendError> {
        privileges::check(conn, &self.name).await?;
        schema::check(conn, &self.name).await?;
        let read_only: Option<bool> = conn
            .query_first("SELECT @@global.read_only")
            .await
            .map_err(|source| BackendError::Database { name: self.name.clone(), source })?;
        if read_only == Some(true) {
            let what = "it is read-only, as a replica is that has not been promoted";
            return Err(BackendError::Unfit { name: self.name.clone(), what: what.into() });
        }
        Ok(())
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        let (_, pools) = self.now().clone();
        for pool in [pools.transactions, pools.questions] {
            if let Err(error) = pool.disconnect().await {
                tracing::debug!(resource = %self.name, %error, "closing the service connections");
            }
        }
    }
}

impl Pools {
    /// Each new connection is asked where it is, and fails when that is not `primary`.
    fn new(options: &OptsBuilder, mariadb: bool, primary: &Arc<str>) -> Self {
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
            // A single statement leaves nothing behind that a reset would have to take away.
            questions: Pool::new(options.pool_opts(pool_options.with_reset_connection(false))),
        }
    }
}

/// Did a new connection reach another server?
pub(super) fn is_elsewhere(error: &BackendError) -> bool {
    let BackendError::Database { source: mysql_async::Error::Other(other), .. } = error else { return false };
    other.is::<Elsewhere>()
}

fn question(mariadb: bool) -> &'static str {
    if mariadb { MARIADB } else { MYSQL }
}

async fn identify(conn: &mut Conn, mariadb: bool) -> Result<Arc<str>, mysql_async::Error> {
    let identity: Option<String> = conn.query_first(question(mariadb)).await?;
    Ok(identity.unwrap_or_default().into())
}
