//! The proxy's own side of a database: its service account, the catalogue, the undo table.
//!
//! Nothing here runs on an application's connection.

mod catalogue;
mod foreign_keys;
mod grants;
mod primary;
mod privileges;
mod schema;
mod writers;

pub use catalogue::{Catalogue, Entry};
pub use foreign_keys::Reference;
pub use primary::Sight;
pub use schema::UNDO_LOG;

use crate::config::{Account, Database};
use mysql_async::{Conn, OptsBuilder, Pool, prelude::Queryable};
use primary::{Pools, Primary};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How long a dead or absent server may keep anybody waiting for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The session of a service connection: values are written back exactly (UTC, no strictness, zero dates and keys
/// of 0 as they are), and no wait for a row lock is long.
const SETUP: [&str; 2] = [
    "SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
     innodb_lock_wait_timeout = 3, foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0, autocommit = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// A database server as the proxy itself uses it.
pub struct Backend {
    /// The resource's name.
    pub name: String,
    /// Where it is.
    pub account: Account,
    /// Its tables.
    pub catalogue: Catalogue,
    /// Who it is now, and our connections to it.
    primary: Primary,
    /// Somebody has reason to look again.
    doubted: Notify,
    grants: grants::Grants,
}

/// The database could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It answered with an error, or not at all.
    #[error("database '{name}': {source}")]
    Database {
        /// The resource.
        name: String,
        /// What it said.
        source: mysql_async::Error,
    },
    /// No connection in time.
    #[error("database '{0}' did not answer within 5 s")]
    Timeout(String),
    /// It is not as it must be.
    #[error("database '{name}': {what}")]
    Unfit {
        /// The resource.
        name: String,
        /// What is wrong, and the mend.
        what: String,
    },
}

impl Backend {
    /// Connects, and creates or checks the schema `atone`.
    pub async fn open(config: &Database, account: Account) -> Result<Self, BackendError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(account.host.clone())
            .tcp_port(account.port)
            .user(Some(account.user.clone()))
            .pass(Some(account.password.clone()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .setup(SETUP.to_vec());
        let name = config.name.clone();
        let mut conn = connected(Conn::new(options.clone()), &name).await?;
        privileges::check(&mut conn, &name).await?;
        schema::prepare(&mut conn, &name).await?;
        let wrap = |source| BackendError::Database { name: name.clone(), source };
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(wrap)?;
        let mariadb = version.is_some_and(|v| v.contains("MariaDB"));
        let primary = Primary::new(name.clone(), options, mariadb, &mut conn).await.map_err(wrap)?;
        let (catalogue, grants) = (Catalogue::new(mariadb), grants::Grants::default());
        Ok(Self { name, account, catalogue, primary, doubted: Notify::new(), grants })
    }

    /// Who the primary is, as far as is known.
    pub fn sight(&self) -> Sight {
        self.primary.sight()
    }

    /// What a connection asks to learn on which server it is.
    pub fn identity(&self) -> &'static str {
        self.primary.question()
    }

    /// Looks who the primary is.
    pub async fn look(&self) -> Result<Sight, BackendError> {
        self.look_unless(|_| false).await
    }

    async fn look_unless(&self, unless: impl Fn(&Sight) -> bool) -> Result<Sight, BackendError> {
        if self.primary.look(unless).await? {
            self.catalogue.forget();
            self.grants.forget();
        }
        Ok(self.primary.sight())
    }

    /// Is this server, on which somebody is, the primary? When we know another, we look again.
    pub async fn is_primary(&self, server: &str) -> Result<bool, BackendError> {
        let same = |sight: &Sight| *sight.primary == *server && sight.refused.is_none();
        if same(&self.primary.sight()) {
            return Ok(true);
        }
        let sight = self.look_unless(same).await?;
        match sight.refused {
            Some(what) if *sight.primary == *server => {
                Err(BackendError::Unfit { name: self.name.clone(), what })
            }
            _ => Ok(*sight.primary == *server),
        }
    }

    /// A connection has broken: it may have been a failover.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits until somebody doubts.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// A connection of the service account to the primary, and who that is.
    pub async fn connection(&self) -> Result<(Conn, Arc<str>), BackendError> {
        self.connect(|pools| pools.transactions).await
    }

    /// The same for single statements outside a transaction: it is not reset after use.
    pub async fn question(&self) -> Result<(Conn, Arc<str>), BackendError> {
        self.connect(|pools| pools.questions).await
    }

    async fn connect(&self, pool: impl Fn(Pools) -> Pool) -> Result<(Conn, Arc<str>), BackendError> {
        let (pools, primary) = self.primary.pools()?;
        match connected(pool(pools).get_conn(), &self.name).await {
            Err(error) if primary::is_elsewhere(&error) => {}
            Err(error) => return Err(error),
            Ok(conn) => return Ok((conn, primary)),
        }
        self.look_unless(|sight| sight.primary != primary).await?;
        let (pools, primary) = self.primary.pools()?;
        Ok((connected(pool(pools).get_conn(), &self.name).await?, primary))
    }

    /// The table of this name, fresh enough to trust; None when there is none.
    pub async fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        if let Some(known) = self.catalogue.recent(schema, table) {
            return Ok(known);
        }
        let (mut conn, _) = self.question().await?;
        self.catalogue.load(&mut conn, schema, table).await.map_err(|e| self.wrap(e))
    }

    /// The names that may write although they stand in a read; as of now, or as of a moment ago.
    pub async fn writers(&self, now: bool) -> Result<Arc<writers::Writers>, BackendError> {
        if let (false, Some(known)) = (now, self.catalogue.recent_writers()) {
            return Ok(known);
        }
        let (mut conn, _) = self.question().await?;
        self.catalogue.load_writers(&mut conn).await.map_err(|e| self.wrap(e))
    }

    /// Are these tables still free of triggers and foreign keys that were not known when they were first touched?
    /// The name of one that is not.
    pub async fn changed(&self, tables: &[Arc<Entry>]) -> Result<Option<String>, BackendError> {
        let (mut conn, _) = self.question().await?;
        for entry in tables {
            if !self.catalogue.unchanged(&mut conn, entry).await.map_err(|e| self.wrap(e))? {
                self.catalogue.forget();
                return Ok(Some(entry.name.clone()));
            }
        }
        Ok(None)
    }

    /// Lets an application's account insert undo records.
    pub async fn allow_undo(&self, account: &str) -> Result<(), BackendError> {
        if self.grants.known(account) {
            return Ok(());
        }
        let (mut conn, _) = self.connection().await?;
        self.grants
            .give(&mut conn, account)
            .await
            .map_err(|what| BackendError::Unfit { name: self.name.clone(), what })
    }

    /// An error of this database.
    pub fn wrap(&self, source: mysql_async::Error) -> BackendError {
        BackendError::Database { name: self.name.clone(), source }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.primary.close().await;
    }
}

/// A connection, or that there was none in time.
async fn connected(
    connecting: impl Future<Output = Result<Conn, mysql_async::Error>>,
    name: &str,
) -> Result<Conn, BackendError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(source)) => Err(BackendError::Database { name: name.to_owned(), source }),
        Err(_) => Err(BackendError::Timeout(name.to_owned())),
    }
}
