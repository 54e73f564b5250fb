//! One server of each kind, a coordinator and a proxy before all; schemas on them, and what is in a schema.

use crate::case::Case;
use crate::mysql::schema as mysql;
use crate::postgres::schema as postgres;
use atone_tests::api::Api;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::{Coordinator, Database, Durability, Kind, Proxy};
use atone_tests::{Result, wait};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const KINDS: [Kind; 4] = [Kind::MySql, Kind::Maria, Kind::Pg15, Kind::Pg18];

/// All the servers.
pub struct Stage {
    databases: BTreeMap<Kind, Database>,
    coordinator: Coordinator,
    proxy: Proxy,
}

impl Stage {
    /// The ones that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Stage> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("the servers start"))
    }

    fn start() -> Result<Self> {
        let databases: Result<Vec<Database>> = std::thread::scope(|scope| {
            let started = KINDS.map(|kind| scope.spawn(move || Database::start_with(kind, Durability::Lazy)));
            started.into_iter().map(|one| one.join().expect("no panic")).collect()
        });
        let databases = databases?;
        let coordinator = Coordinator::start(Profile::Debug)?;
        let all: Vec<&Database> = databases.iter().collect();
        let proxy = Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &all)?;
        let databases = databases.into_iter().map(|database| (database.kind(), database)).collect();
        Ok(Self { databases, coordinator, proxy })
    }

    /// Where a server is reached.
    pub fn port(&self, kind: Kind, through_the_proxy: bool) -> u16 {
        if through_the_proxy { self.proxy.port(kind) } else { self.databases[&kind].port() }
    }

    /// The coordinator's API.
    pub fn api(&self) -> Api {
        self.coordinator.api()
    }

    /// Makes what all cases share on this server.
    pub async fn prepare(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::MySql | Kind::Maria => Ok(()),
            Kind::Pg15 | Kind::Pg18 => postgres::prepare(self.port(kind, false)).await,
        }
    }

    /// Makes a schema with the tables and rows of a case, and gives its name.
    pub async fn schema(&self, case: &Case) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("shop_p{}", NEXT.fetch_add(1, Relaxed));
        let port = self.port(case.kind, false);
        match case.kind {
            Kind::MySql | Kind::Maria => mysql::make(port, &schema, case).await?,
            Kind::Pg15 | Kind::Pg18 => postgres::make(port, &schema, case).await?,
        }
        Ok(schema)
    }

    /// Every byte of a schema's rows.
    pub async fn dump(&self, kind: Kind, schema: &str) -> Result<String> {
        let port = self.port(kind, false);
        match kind {
            Kind::MySql | Kind::Maria => mysql::dump(port, schema).await,
            Kind::Pg15 | Kind::Pg18 => postgres::dump(port, schema).await,
        }
    }

    /// Sets all counters of a schema to this number: what a refused statement may have counted does not show then.
    pub async fn count_from(&self, kind: Kind, schema: &str, number: usize) -> Result<()> {
        match kind {
            Kind::MySql | Kind::Maria => Ok(()),
            Kind::Pg15 | Kind::Pg18 => postgres::count_from(self.port(kind, false), schema, number).await,
        }
    }

    /// Removes schemas.
    pub async fn remove(&self, kind: Kind, schemas: &[String]) -> Result<()> {
        let port = self.port(kind, false);
        match kind {
            Kind::MySql | Kind::Maria => mysql::remove(port, schemas).await,
            Kind::Pg15 | Kind::Pg18 => postgres::remove(port, schemas).await,
        }
    }

    /// Waits until a transaction is finished and holds no lock; says what else it is if that does not come.
    pub async fn finished(&self, xid: &str) -> std::result::Result<String, String> {
        let (api, deadline) = (self.api(), wait::Deadline::new());
        loop {
            let status = api.status(xid).map_err(|error| error.to_string())?;
            let locks = api.locks(&format!("xid={xid}")).map_err(|error| error.to_string())?;
            if ["committed", "rolled_back"].contains(&status.as_str()) && locks.is_empty() {
                return Ok(status);
            }
            if status == "blocked" || deadline.is_over() {
                let all = api.transaction(xid).map_err(|error| error.to_string())?;
                return Err(format!("{xid} is {status} and holds {} locks: {}", locks.len(), all.1));
            }
            tokio::time::sleep(wait::STEP).await;
        }
    }

    /// Waits until no undo record is left of these transactions, and says which are.
    pub async fn undo_left(&self, kind: Kind, xids: &[String]) -> Result<Vec<String>> {
        let deadline = wait::Deadline::new();
        loop {
            let port = self.port(kind, false);
            let held = match kind {
                Kind::MySql | Kind::Maria => mysql::undo_records(port).await?,
                Kind::Pg15 | Kind::Pg18 => postgres::undo_records(port).await?,
            };
            let left: Vec<String> = held.into_iter().filter(|xid| xids.contains(xid)).collect();
            if left.is_empty() || deadline.is_over() {
                return Ok(left);
            }
            tokio::time::sleep(wait::STEP * 4).await;
        }
    }
}
