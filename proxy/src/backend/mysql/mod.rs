//! MySQL and MariaDB, as the proxy itself uses them.

mod catalogue;
mod footprint;
mod foreign_keys;
mod grants;
mod look;
mod privileges;
mod remembered;
mod schema;
mod server;
mod tx;
mod undo_log;
mod writers;

use super::{
    BackendError, CONNECT_TIMEOUT, Cause, Entry,
    primary::{Primary, Server},
};
use crate::config::Account;
use atone_protocol::Lineage;
use atone_undo_log::analyze::Names;
use catalogue::Catalogue;
pub use footprint::Reach;
use mysql_async::{Conn, OptsBuilder, Pool, prelude::Queryable};
pub(super) use tx::{DATA_ERRORS, ORDER_ERRORS, Tx};

use server::{Elsewhere, Pools};
use std::sync::Arc;

/// The session of a service connection: values are written back exactly (UTC, no strictness, zero dates and keys
/// of 0 as they are), and no wait for a row lock is long.
const SETUP: [&str; 2] = [
    "SET SESSION time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
     innodb_lock_wait_timeout = 3, foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0, autocommit = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];

/// A MySQL or MariaDB server.
pub struct MySql {
    name: String,
    /// The service account's user.
    user: String,
    options: OptsBuilder,
    mariadb: bool,
    /// Its tables.
    pub catalogue: Catalogue,
    grants: grants::Grants,
    primary: Primary<Pools>,
    lineage: Lineage,
    /// MariaDB: its lock waits, as last told.
    waits_known: tokio::sync::Mutex<Option<undo_log::Waits>>,
}

impl MySql {
    /// Connects, and creates or checks the schema `atone`.
    pub(super) async fn open(name: &str, account: &Account) -> Result<Self, BackendError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(account.host.clone())
            .tcp_port(account.port)
            .user(Some(account.user.clone()))
            .pass(Some(account.password.clone()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .setup(SETUP.to_vec());
        let mut conn = connected(Conn::new(options.clone()), name).await?;
        privileges::check(&mut conn, name).await?;
        let lineage = schema::prepare(&mut conn, name).await?;
        let wrap = |source| BackendError::database(name, source);
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(wrap)?;
        let mariadb = version.is_some_and(|v| v.contains("MariaDB"));
        let identity = server::identify(&mut conn, mariadb).await.map_err(wrap)?;
        let pools = Pools::new(&options, mariadb, &identity);
        let (catalogue, grants) = (Catalogue::new(mariadb), grants::Grants::default());
        let primary = Primary::new(identity, pools);
        let (name, user) = (name.to_owned(), account.user.clone());
        Ok(Self {
            name,
            user,
            options,
            mariadb,
            catalogue,
            grants,
            primary,
            lineage,
            waits_known: tokio::sync::Mutex::default(),
        })
    }

    /// Which server it and all that take its place are.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Is it MariaDB?
    pub fn is_mariadb(&self) -> bool {
        self.mariadb
    }

    /// What a connection asks to learn on which server it is.
    pub fn identity(&self) -> &'static str {
        server::question(self.mariadb)
    }

    /// A connection of the service account to the primary, and who that is.
    pub(super) async fn connection(&self) -> Result<(Conn, Arc<str>), BackendError> {
        self.connect(|pools| self.get(pools.transactions)).await
    }

    /// The same for single statements outside a transaction: it is not reset after use.
    pub(super) async fn question(&self) -> Result<(Conn, Arc<str>), BackendError> {
        self.connect(|pools| self.get(pools.questions)).await
    }

    async fn get(&self, pool: Pool) -> Result<Conn, BackendError> {
        connected(pool.get_conn(), &self.name).await
    }

    /// The table of this name, fresh enough to trust; None when there is none.
    pub async fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<Entry>>, BackendError> {
        if let Some(known) = self.catalogue.recent(schema, table) {
            return Ok(Some(known));
        }
        let (mut conn, _) = self.question().await?;
        self.catalogue.load(&mut conn, schema, table).await.map_err(|e| self.wrap(e))
    }

    /// The names that may write although they stand in a read: as of now, or as of a moment ago if these names were known then;
    /// `schema` is the session's default, in lower case, if it is known.
    pub async fn writers(
        &self,
        names: &Names,
        schema: Option<&str>,
        now: bool,
    ) -> Result<Arc<writers::Writers>, BackendError> {
        let read = async || {
            let (mut conn, _) = self.question().await?;
            writers::read(&mut conn).await.map_err(|e| self.wrap(e))
        };
        self.catalogue.writers.get(now, |known| known.missing(names, schema), read).await
    }

    /// What statements with these names may reach, as of a moment ago if the names were known then; `schema` is the
    /// session's default, in lower case.
    pub async fn reach(&self, names: &Names, schema: Option<&str>) -> Reach {
        let read = async || {
            let (mut conn, _) = self.question().await?;
            footprint::read(&mut conn, self.mariadb).await.map_err(|e| self.wrap(e))
        };
        match self.catalogue.footprint.get(false, |known| known.missing(names, schema), read).await {
            Ok(known) => known.reach(names, schema),
            Err(error) => {
                tracing::warn!(resource = %self.name, %error, "cannot read what statements may reach: they wait for all locks");
                Reach::Everything
            }
        }
    }

    /// Are these tables still free of triggers and foreign keys that were not known when they were first touched?
    /// The name of one that is not.
    pub(super) async fn changed(&self, tables: &[Arc<Entry>]) -> Result<Option<String>, BackendError> {
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
        self.grants.give(&mut conn, account).await.map_err(|what| BackendError::unfit(&self.name, what))
    }

    /// An error of this database.
    fn wrap(&self, source: mysql_async::Error) -> BackendError {
        BackendError::database(&self.name, source)
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        let pools = self.primary.connections();
        for pool in [pools.transactions, pools.questions, pools.holds] {
            if let Err(error) = pool.disconnect().await {
                tracing::debug!(resource = %self.name, %error, "closing the service connections");
            }
        }
    }
}

/// A connection, or that there was none in time.
async fn connected(
    connecting: impl Future<Output = Result<Conn, mysql_async::Error>>,
    name: &str,
) -> Result<Conn, BackendError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(mysql_async::Error::Other(other))) if other.is::<Elsewhere>() => {
            Err(BackendError::Elsewhere(name.to_owned()))
        }
        Ok(Err(source)) => Err(BackendError::database(name, source)),
        Err(_) => Err(BackendError::Timeout(name.to_owned())),
    }
}
