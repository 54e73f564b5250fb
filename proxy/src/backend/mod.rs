//! The proxy's own side of a database: its service account, the catalogue, the undo table.
//!
//! Nothing here runs on an application's connection.

mod catalogue;
mod foreign_keys;
mod grants;
mod privileges;
mod schema;
mod writers;

pub use catalogue::{Catalogue, Entry};
pub use foreign_keys::Reference;
pub use schema::UNDO_LOG;

use crate::config::{Account, Database};
use mysql_async::{Conn, OptsBuilder, Pool, PoolConstraints, PoolOpts, prelude::Queryable};
use std::{sync::Arc, time::Duration};

/// Connections of the service account at once, per database.
const POOL_LIMIT: usize = 12;
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
    /// Identity of the primary; hints made on another one are void.
    pub primary: String,
    /// For transactions; a connection is reset after each use.
    pool: Pool,
    /// For single statements, most of them questions to the catalogue.
    questions: Pool,
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
        let limits = PoolConstraints::new(0, POOL_LIMIT).unwrap_or_default();
        let options = OptsBuilder::default()
            .ip_or_hostname(account.host.clone())
            .tcp_port(account.port)
            .user(Some(account.user.clone()))
            .pass(Some(account.password.clone()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .setup(SETUP.to_vec());
        let pool_options = PoolOpts::default().with_constraints(limits);
        let pool = Pool::new(options.clone().pool_opts(pool_options.clone()));
        // A single statement leaves nothing behind that a reset would have to take away.
        let questions = Pool::new(options.pool_opts(pool_options.with_reset_connection(false)));
        let name = config.name.clone();
        let mut conn = connect(&pool, &name).await?;
        privileges::check(&mut conn, &name).await?;
        let primary = schema::prepare(&mut conn, &name).await?;
        let version: Option<String> = conn
            .query_first("SELECT VERSION()")
            .await
            .map_err(|source| BackendError::Database { name: name.clone(), source })?;
        let catalogue = Catalogue::new(version.is_some_and(|v| v.contains("MariaDB")));
        let grants = grants::Grants::default();
        Ok(Self { name, account, catalogue, primary, pool, questions, grants })
    }

    /// A connection of the service account.
    pub async fn connection(&self) -> Result<Conn, BackendError> {
        connect(&self.pool, &self.name).await
    }

    /// A connection of the service account for single statements outside a transaction: it is not reset after use.
    pub async fn question(&self) -> Result<Conn, BackendError> {
        connect(&self.questions, &self.name).await
    }

    /// The table of this name, fresh enough to trust; None when there is none.
    pub async fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        if let Some(known) = self.catalogue.recent(schema, table) {
            return Ok(known);
        }
        let mut conn = self.question().await?;
        self.catalogue.load(&mut conn, schema, table).await.map_err(|e| self.wrap(e))
    }

    /// The names that may write although they stand in a read; as of now, or as of a moment ago.
    pub async fn writers(&self, now: bool) -> Result<Arc<writers::Writers>, BackendError> {
        if let (false, Some(known)) = (now, self.catalogue.recent_writers()) {
            return Ok(known);
        }
        let mut conn = self.question().await?;
        self.catalogue.load_writers(&mut conn).await.map_err(|e| self.wrap(e))
    }

    /// Are these tables still free of triggers and foreign keys that were not known when they were first touched?
    /// The name of one that is not.
    pub async fn changed(&self, tables: &[Arc<Entry>]) -> Result<Option<String>, BackendError> {
        let mut conn = self.question().await?;
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
        let mut conn = self.connection().await?;
        self.grants
            .give(&mut conn, account)
            .await
            .map_err(|what| BackendError::Unfit { name: self.name.clone(), what })
    }

    /// An error of this database.
    pub fn wrap(&self, source: mysql_async::Error) -> BackendError {
        BackendError::Database { name: self.name.clone(), source }
    }

    /// Closes the pool.
    pub async fn close(&self) {
        for pool in [&self.pool, &self.questions] {
            if let Err(error) = pool.clone().disconnect().await {
                tracing::debug!(resource = %self.name, %error, "closing the service connections");
            }
        }
    }
}

async fn connect(pool: &Pool, name: &str) -> Result<Conn, BackendError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, pool.get_conn()).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(source)) => Err(BackendError::Database { name: name.to_owned(), source }),
        Err(_) => Err(BackendError::Timeout(name.to_owned())),
    }
}
