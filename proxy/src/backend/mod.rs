//! The proxy's own side of a database: its service account, the catalogue, the undo table.
//!
//! Nothing here runs on an application's connection. What differs from dialect to dialect ends here: everybody else
//! asks a [`Backend`], except sessions, which speak one dialect anyway.

mod entry;
mod error;
mod hold;
mod lineage;
mod mysql;
mod postgres;
mod primary;
mod tx;

pub use entry::{Entry, ForeignKeys, Parent, Reference};
pub use error::{BackendError, Cause};
pub use hold::Hold;
pub use mysql::{MySql, Reach};
#[cfg(all(test, feature = "server-tests"))]
pub(crate) use postgres::tests as scratch;
pub use postgres::{HELD_LIMIT, Places, Postgres};
pub use primary::Sight;
pub use tx::{Stored, Tx};

use crate::config::{Account, Database, Dialect};
use atone_protocol::{Client, Lineage};
use primary::Server;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The undo table, in every database.
pub const UNDO_LOG: &str = "atone.undo_log";

/// How long a dead or absent server may keep anybody waiting for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A database server as the proxy itself uses it.
pub struct Backend {
    name: String,
    account: Account,
    /// Somebody has reason to look again.
    doubted: Notify,
    side: Side,
}

/// What it speaks.
enum Side {
    MySql(Arc<MySql>),
    Postgres(Arc<Postgres>),
}

impl Backend {
    /// Connects, and creates or checks the schema `atone`.
    pub async fn open(config: &Database, account: Account) -> Result<Self, BackendError> {
        let side = match account.dialect {
            Dialect::MySql => Side::MySql(MySql::open(&config.name, &account).await?.into()),
            Dialect::Postgres => Side::Postgres(Postgres::open(&config.name, &account).await?.into()),
        };
        Ok(Self { name: config.name.clone(), account, doubted: Notify::new(), side })
    }

    /// The resource's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which database it is, of all that may be called so.
    pub fn lineage(&self) -> Lineage {
        match &self.side {
            Side::MySql(mysql) => mysql.lineage(),
            Side::Postgres(postgres) => postgres.lineage(),
        }
    }

    /// Where it is, and who we are there.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// PostgreSQL: the database that is protected.
    pub fn database(&self) -> &str {
        &self.account.database
    }

    /// For sessions that speak MySQL.
    pub fn mysql(&self) -> Option<&Arc<MySql>> {
        match &self.side {
            Side::MySql(mysql) => Some(mysql),
            Side::Postgres(_) => None,
        }
    }

    /// For sessions that speak PostgreSQL.
    pub fn postgres(&self) -> Option<&Arc<Postgres>> {
        match &self.side {
            Side::MySql(_) => None,
            Side::Postgres(postgres) => Some(postgres),
        }
    }

    /// Another primary is told to this coordinator before anybody here goes by it.
    pub fn announce_to(&self, coordinator: Client) {
        match &self.side {
            Side::MySql(mysql) => mysql.primary().announce_to(coordinator),
            Side::Postgres(postgres) => postgres.primary().announce_to(coordinator),
        }
    }

    /// Who the primary is, as far as is known.
    pub fn sight(&self) -> Sight {
        match &self.side {
            Side::MySql(mysql) => mysql.primary().sight(),
            Side::Postgres(postgres) => postgres.primary().sight(),
        }
    }

    /// What a connection asks to learn on which server it is: one row of one text.
    pub fn identity(&self) -> &'static str {
        match &self.side {
            Side::MySql(mysql) => mysql.identity(),
            Side::Postgres(postgres) => postgres.identity(),
        }
    }

    /// Looks who the primary is.
    pub async fn look(&self) -> Result<Sight, BackendError> {
        self.look_unless(|_| false).await
    }

    async fn look_unless(
        &self,
        unless: impl Fn(&Sight) -> bool + Send + Sync,
    ) -> Result<Sight, BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.look(unless).await,
            Side::Postgres(postgres) => postgres.look(unless).await,
        }
    }

    /// Is this server, on which somebody is, the primary? When we know another, we look again.
    pub async fn is_primary(&self, server: &str) -> Result<bool, BackendError> {
        let same = |sight: &Sight| *sight.primary == *server && sight.refused.is_none();
        if same(&self.sight()) {
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

    /// Has a table got triggers or foreign keys that were not known when it was first touched, or other columns? The
    /// name of one that has.
    pub async fn changed(&self, tables: &[Arc<Entry>]) -> Result<Option<String>, BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.changed(tables).await,
            Side::Postgres(postgres) => postgres.changed(tables).await,
        }
    }

    /// Which connections wait for row locks of which others now.
    pub async fn row_lock_waits(&self) -> Result<Vec<(u64, u64)>, BackendError> {
        match &self.side {
            Side::MySql(mysql) => mysql.row_lock_waits().await,
            Side::Postgres(postgres) => postgres.row_lock_waits().await,
        }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        match &self.side {
            Side::MySql(mysql) => mysql.close().await,
            Side::Postgres(postgres) => postgres.close().await,
        }
    }
}
