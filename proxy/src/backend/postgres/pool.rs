//! Connections of the service account to one PostgreSQL server.
//!
//! Only a connection on which nothing is under way is used again: whoever leaves in the middle of a question or of a
//! transaction has it closed, and the server rolls back.

use super::{BackendError, CONNECT_TIMEOUT, folding::Told, server};
use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{
    Client, Config, NoTls, Row, Statement,
    types::{ToSql, Type},
};

/// Connections at once, per database and kind.
const POOL_LIMIT: usize = 12;

/// The session of a service connection: names and values mean one thing only, no wait for a lock is long, and what is
/// committed stays so.
const SETUP: &str = "SET client_encoding = 'UTF8'; SET search_path = pg_catalog; SET TimeZone = 'UTC'; \
    SET DateStyle = 'ISO'; SET standard_conforming_strings = on; SET client_min_messages = 'error'; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET default_transaction_deferrable = off; SET lock_timeout = '3s'; SET statement_timeout = '60s'; \
    SET row_security = off; SET jit = off; SET plan_cache_mode = force_generic_plan; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// The connections to one server.
#[derive(Clone)]
pub struct Pools {
    /// For transactions, which may wait for locks.
    pub transactions: Pool,
    /// For questions, most of them to the catalogue.
    pub questions: Pool,
    /// For those who hold rows for a moment: they keep no transaction waiting for a connection.
    pub holds: Pool,
}

/// Connections of one kind.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    name: String,
    config: Config,
    /// Each new connection is asked where it is, and fails when that is elsewhere.
    primary: Arc<str>,
    free: Mutex<Vec<Arc<Connection>>>,
    told: Told,
    places: Arc<Semaphore>,
}

/// A connection, and what is prepared on it.
pub(super) struct Connection {
    client: Client,
    /// The questions to the catalogue; planning them takes longer than answering.
    pub catalogue: OnceCell<Vec<Statement>>,
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A connection in use.
pub(super) struct Session {
    client: Arc<Connection>,
    pool: Pool,
    /// A question is under way.
    busy: bool,
    /// A transaction is open.
    open: bool,
    _place: OwnedSemaphorePermit,
}

/// A parameter and its type.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

impl Pools {
    /// None yet.
    pub fn new(name: &str, config: &Config, primary: &Arc<str>) -> Self {
        let told = Told::default();
        let pool = || {
            Pool(Arc::new(Inner {
                told: told.clone(),
                name: name.to_owned(),
                config: config.clone(),
                primary: primary.clone(),
                free: Mutex::default(),
                places: Arc::new(Semaphore::new(POOL_LIMIT)),
            }))
        };
        Self { transactions: pool(), questions: pool(), holds: pool() }
    }
}

/// A new connection, set up. Its driver is a task that ends when the client is dropped.
pub(super) async fn connect(config: &Config, name: &str) -> Result<Client, BackendError> {
    let connecting = async {
        let (client, driver) = config.connect(NoTls).await?;
        let resource = name.to_owned();
        crate::tasks::spawn("connection to PostgreSQL", async move {
            if let Err(error) = driver.await {
                tracing::debug!(resource, %error, "a service connection broke");
            }
        });
        client.batch_execute(SETUP).await?;
        Ok(client)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => {
            connected.map_err(|error: tokio_postgres::Error| BackendError::database(name, error))
        }
        Err(_) => Err(BackendError::Timeout(name.to_owned())),
    }
}

impl Pool {
    fn free(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        // A panic elsewhere leaves a whole value behind.
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, or that there was none in time.
    pub(super) async fn get(&self) -> Result<Session, BackendError> {
        let timeout = || BackendError::Timeout(self.0.name.clone());
        let place = tokio::time::timeout(CONNECT_TIMEOUT, self.0.places.clone().acquire_owned());
        // An error means that the pool was closed.
        let place = place.await.map_err(|_| timeout())?.map_err(|_| timeout())?;
        let session =
            |client| Session { client, pool: self.clone(), busy: false, open: false, _place: place };
        loop {
            let Some(client) = self.free().pop() else { break };
            if !client.is_closed() {
                return Ok(session(client));
            }
        }
        let client = connect(&self.0.config, &self.0.name).await?;
        let here = server::identify(&client).await;
        if here.map_err(|error| BackendError::database(&self.0.name, error))? != self.0.primary {
            return Err(BackendError::Elsewhere(self.0.name.clone()));
        }
        Ok(session(Arc::new(Connection { client, catalogue: OnceCell::new() })))
    }

    /// Closes those that are free, and lets nobody have another.
    pub fn close(&self) {
        self.0.places.close();
        self.free().clear();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.busy && !self.open && !self.client.is_closed() && !self.pool.0.places.is_closed() {
            self.pool.free().push(self.client.clone());
        }
    }
}

impl Session {
    /// The connection, for questions that end with [`Session::answered`].
    pub fn ask(&mut self) -> Arc<Connection> {
        self.busy = true;
        self.client.clone()
    }

    /// What this server has told of values.
    pub fn told(&self) -> Told {
        self.pool.0.told.clone()
    }

    /// Nothing is under way any more.
    pub fn answered<T>(&mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T, BackendError> {
        self.busy = false;
        answer.map_err(|error| BackendError::database(&self.pool.0.name, error))
    }

    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, BackendError> {
        let answer = self.ask().query_typed(sql, params).await;
        self.answered(answer)
    }

    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, BackendError> {
        let answer = self.ask().execute_typed(sql, params).await;
        self.answered(answer)
    }

    pub async fn run(&mut self, sql: &str) -> Result<(), BackendError> {
        let answer = self.ask().batch_execute(sql).await;
        self.answered(answer)
    }

    pub async fn begin(&mut self, how: &str) -> Result<(), BackendError> {
        self.open = true;
        self.run(&format!("BEGIN {how}")).await
    }

    /// COMMIT or ROLLBACK. Were the transaction to be aborted, a COMMIT would roll back without an error: nothing here
    /// goes on after an error that was not rolled back to a savepoint.
    pub async fn end(&mut self, how: &str) -> Result<(), BackendError> {
        self.run(how).await?;
        self.open = false;
        Ok(())
    }
}
