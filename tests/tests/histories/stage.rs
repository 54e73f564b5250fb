//! The servers: one that speaks MySQL's protocol, one that speaks PostgreSQL's, a coordinator and a proxy before both.

use atone_tests::api::Api;
use atone_tests::postgres;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Coordinator, Database, Durability, Kind, Proxy};
use atone_tests::{Result, sql};
use mysql_async::prelude::Queryable;

/// All of them.
pub struct Stage {
    databases: [Database; 2],
    coordinator: Coordinator,
    proxy: Proxy,
}

impl Stage {
    /// Starts them, with these failpoints in proxy and coordinator.
    pub fn start(profile: Profile, kinds: [Kind; 2], failpoints: &str) -> Result<Self> {
        let databases = std::thread::scope(|scope| {
            let second = scope.spawn(|| Database::start_with(kinds[1], Durability::Lazy));
            let first = Database::start_with(kinds[0], Durability::Lazy)?;
            Ok::<_, atone_tests::Failure>([first, second.join().expect("no panic")?])
        })?;
        let mut coordinator = Coordinator::start(profile)?;
        if !failpoints.is_empty() {
            coordinator.restart_with(failpoints)?;
        }
        let mut proxy = Proxy::start(profile, Some(&coordinator.grpc()), &[&databases[0], &databases[1]])?;
        if !failpoints.is_empty() {
            proxy.restart_with(failpoints)?;
        }
        Ok(Self { databases, coordinator, proxy })
    }

    /// Kills these at once, and starts them again.
    pub fn die(&mut self, proxy: bool, coordinator: bool) -> Result<()> {
        if proxy {
            self.proxy.kill9();
        }
        if coordinator {
            self.coordinator.kill9();
            self.coordinator.restart()?;
        }
        if proxy {
            self.proxy.restart()?;
        }
        Ok(())
    }

    pub fn api(&self) -> Api {
        self.coordinator.api()
    }

    /// A schema with these tables in both databases. Statements are parted by `; `.
    /// `mortal`: what the clients talk to may die meanwhile.
    pub async fn room(&self, name: &str, tables: &str, mortal: bool) -> Result<Room> {
        let schema = format!("shop_{name}");
        let [mysql, postgres] = &self.databases;
        let mut conn = sql::connect(mysql.port(), SERVICE, None).await?;
        conn.query_drop(format!("CREATE DATABASE {schema}")).await?;
        conn.query_drop(format!("USE {schema}")).await?;
        for statement in tables.split("; ") {
            conn.query_drop(statement).await?;
        }
        let service = postgres::sql::connect(postgres.port(), SERVICE, None).await?;
        service.batch_execute(&format!("CREATE SCHEMA {schema} AUTHORIZATION {}", APP.0)).await?;
        let owner = postgres::sql::connect(postgres.port(), APP, Some(&schema)).await?;
        owner.batch_execute(tables).await?;
        let kinds = [mysql.kind(), postgres.kind()];
        let direct = [mysql.port(), postgres.port()];
        Ok(Room { schema, kinds, mortal, direct, through: kinds.map(|kind| self.proxy.port(kind)) })
    }
}

/// A schema of the same name in both.
#[derive(Clone)]
pub struct Room {
    pub schema: String,
    pub kinds: [Kind; 2],
    pub mortal: bool,
    /// The databases' ports.
    pub direct: [u16; 2],
    /// The proxy's.
    pub through: [u16; 2],
}

impl Room {
    /// How a row of one of the databases is called in a history.
    pub fn name(&self, side: usize, id: u32) -> String {
        format!("{}.{id}", self.kinds[side].resource())
    }
}
