//! PostgreSQL, as the proxy itself uses it.

mod catalogue;
mod describe;
mod fitness;
mod folding;
mod foreign_keys;
mod forms;
mod keys;
mod look;
mod pool;
mod schema;
mod search;
mod server;
#[cfg(all(test, feature = "server-tests"))]
pub(crate) mod tests;
mod tx;
mod undo_log;

pub use search::{HELD_LIMIT, Places};
pub(super) use tx::{ORDER_ERRORS, Tx, refusal};

use super::{
    BackendError, CONNECT_TIMEOUT, Cause, Entry,
    primary::{Primary, Server},
};
use crate::config::Account;
use atone_protocol::Lineage;
use atone_undo_log::capture::Captured;
use catalogue::Catalogue;
use pool::{Pools, Session};
use std::{sync::Arc, time::Duration};

/// One database of a PostgreSQL server.
pub struct Postgres {
    name: String,
    config: tokio_postgres::Config,
    catalogue: Catalogue,
    primary: Primary<Pools>,
    lineage: Lineage,
}

/// A dead connection is noticed this late.
const DEAD_AFTER: Duration = Duration::from_secs(10);

impl Postgres {
    /// Connects, and creates or checks the schema `atone`.
    pub(super) async fn open(name: &str, account: &Account) -> Result<Self, BackendError> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&account.host)
            .port(account.port)
            .user(&account.user)
            .password(&account.password)
            .dbname(&account.database)
            .application_name("atone-proxy")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(DEAD_AFTER)
            .tcp_user_timeout(DEAD_AFTER)
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        let client = pool::connect(&config, name).await?;
        fitness::check(&client, name).await?;
        let lineage = schema::prepare(&client, name).await?;
        let identity =
            server::identify(&client).await.map_err(|error| BackendError::database(name, error))?;
        let pools = Pools::new(name, &config, &identity);
        let primary = Primary::new(identity, pools);
        Ok(Self { name: name.to_owned(), config, catalogue: Catalogue::default(), primary, lineage })
    }

    /// Which database it and all that take its place are.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// What a connection asks to learn on which server it is.
    pub fn identity(&self) -> &'static str {
        server::IDENTITY
    }

    /// A connection for a transaction, and to which primary.
    async fn connection(&self) -> Result<(Session, Arc<str>), BackendError> {
        self.connect(|pools| async move { pools.transactions.get().await }).await
    }

    /// The same for questions, which transactions never keep waiting.
    async fn question(&self) -> Result<(Session, Arc<str>), BackendError> {
        self.connect(|pools| async move { pools.questions.get().await }).await
    }

    /// The table of this number, as it was a second ago at most; None when there is none, or a temporary one.
    pub async fn entry(&self, oid: u32) -> Result<Option<Arc<Entry>>, BackendError> {
        if let Some(known) = self.catalogue.recent(oid) {
            return Ok(known);
        }
        let (mut session, _) = self.question().await?;
        let asked = std::time::Instant::now();
        let entry = session.describe(oid).await?.map(Arc::new);
        self.catalogue.remember(oid, asked, entry.clone());
        Ok(entry)
    }

    /// Are there triggers or constraints in the database that a local transaction may defer? As it was a second ago at most.
    pub async fn defers(&self) -> Result<bool, BackendError> {
        if let Some(known) = self.catalogue.recently_deferrable() {
            return Ok(known);
        }
        let (mut session, _) = self.question().await?;
        let asked = std::time::Instant::now();
        let some = "SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable LIMIT 1";
        let some = !session.query(some, &[]).await?.is_empty();
        self.catalogue.remember_deferrable(asked, some);
        Ok(some)
    }

    /// The rows with these rows' keys as they were last committed, without locking them; those that are not there are
    /// missing. While a local transaction holds their row locks that is how they were before it.
    pub async fn before_images(
        &self,
        entry: &Arc<Entry>,
        rows: &[&Captured],
    ) -> Result<Vec<Captured>, BackendError> {
        let Ok(table) = &entry.table else { return Ok(Vec::new()) };
        let key = |row: &&Captured| table.key_values(&row.row).into_iter().map(<[u8]>::to_vec).collect();
        let wanted: Vec<Vec<Vec<u8>>> = rows.iter().map(key).collect();
        let (mut session, _) = self.question().await?;
        let found = session.rows(entry, &wanted, false).await?;
        found.ok_or_else(|| self.changed_meanwhile(entry))
    }

    /// Has a table got triggers, foreign keys, columns or keys that it had not when it was first touched? The locks of the
    /// local transaction that touched it keep it from getting them later.
    pub async fn changed(&self, tables: &[Arc<Entry>]) -> Result<Option<String>, BackendError> {
        let (mut session, _) = self.question().await?;
        for entry in tables {
            let Some(oid) = entry.layout.as_ref().map(|l| l.oid) else { return Ok(Some(entry.name.clone())) };
            let now = session.describe(oid).await?;
            let same = now.is_some_and(|now| {
                (&now.name, &now.table, &now.layout) == (&entry.name, &entry.table, &entry.layout)
                    && (&now.triggers, now.fires, &now.cascades, &now.quiet)
                        == (&entry.triggers, entry.fires, &entry.cascades, &entry.quiet)
            });
            if !same {
                self.catalogue.forget();
                return Ok(Some(entry.name.clone()));
            }
        }
        Ok(None)
    }

    /// Forgets what is remembered of tables: one was changed through us.
    pub fn forget_tables(&self) {
        self.catalogue.forget();
    }

    /// Closes the connections.
    pub(super) async fn close(&self) {
        Self::disconnect(self.primary.connections()).await;
    }
}
