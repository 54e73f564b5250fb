//! The set-up of PostgreSQL's tests: an order database (MySQL), a ledger (PostgreSQL 15) and an archive (PostgreSQL 18),
//! a coordinator and a proxy before all three; and in each PostgreSQL a schema per test.

use super::raw::Raw;
use super::sql;
use crate::api::Api;
use crate::servers::binaries::Profile;
use crate::servers::database::{APP, SERVICE};
use crate::servers::postgres::SHOP;
use crate::servers::{Coordinator, Database, Durability, Kind, Proxy};
use crate::{Result, wait};
use std::sync::OnceLock;
use tokio_postgres::Client;

/// All the servers.
pub struct PgWorld {
    /// MySQL.
    pub orders: Database,
    /// PostgreSQL 15.
    pub ledger: Database,
    /// PostgreSQL 18.
    pub archive: Database,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The proxy before all databases.
    pub proxy: Proxy,
}

impl PgWorld {
    /// Starts them.
    pub fn start(profile: Profile, durability: Durability) -> Result<Self> {
        let [orders, ledger, archive] = databases(durability)?;
        let coordinator = Coordinator::start(profile)?;
        let proxy = Proxy::start(profile, Some(&coordinator.grpc()), &[&orders, &ledger, &archive])?;
        Ok(Self { orders, ledger, archive, coordinator, proxy })
    }

    /// The ones that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PgWorld> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Profile::Debug, Durability::Lazy).expect("the servers start"))
    }

    /// The database of this kind.
    pub fn database(&self, kind: Kind) -> &Database {
        match kind {
            Kind::MySql => &self.orders,
            Kind::Pg15 => &self.ledger,
            Kind::Pg18 => &self.archive,
            Kind::Maria => panic!("{kind:?} is in the other world"),
        }
    }

    /// The same, to kill it or start it again.
    pub fn database_mut(&mut self, kind: Kind) -> &mut Database {
        match kind {
            Kind::MySql => &mut self.orders,
            Kind::Pg15 => &mut self.ledger,
            Kind::Pg18 => &mut self.archive,
            Kind::Maria => panic!("{kind:?} is in the other world"),
        }
    }

    /// The coordinator's API.
    pub fn api(&self) -> Api {
        self.coordinator.api()
    }

    /// A room with these tables in this database. Any statements will do, in the words of `psql`.
    pub async fn room(&self, kind: Kind, name: &str, tables: &str) -> PgRoom<'_> {
        let room = PgRoom { world: self, kind, schema: format!("shop_{name}") };
        room.prepare(tables).await.unwrap_or_else(|error| panic!("{name} on {kind:?}: {error}"));
        room
    }
}

/// Starts the databases at the same time.
fn databases(durability: Durability) -> Result<[Database; 3]> {
    std::thread::scope(|scope| {
        let ledger = scope.spawn(|| Database::start_with(Kind::Pg15, durability));
        let archive = scope.spawn(|| Database::start_with(Kind::Pg18, durability));
        let orders = Database::start_with(Kind::MySql, durability)?;
        Ok([orders, ledger.join().expect("no panic")?, archive.join().expect("no panic")?])
    })
}

/// One test's schema in one database. The application owns it and its tables.
pub struct PgRoom<'a> {
    /// Where it is.
    pub world: &'a PgWorld,
    /// In which database.
    pub kind: Kind,
    /// The schema's name.
    pub schema: String,
}

impl PgRoom<'_> {
    async fn prepare(&self, tables: &str) -> Result<()> {
        let service = self.service().await?;
        let schema = sql::quoted(&self.schema);
        service.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await?;
        service.batch_execute(&format!("CREATE SCHEMA {schema} AUTHORIZATION {}", APP.0)).await?;
        let owner = sql::connect(self.world.database(self.kind).port(), APP, Some(&self.schema)).await?;
        Ok(owner.batch_execute(tables).await?)
    }

    /// The application's connection through the proxy.
    pub async fn app(&self) -> Client {
        sql::connect(self.world.proxy.port(self.kind), APP, Some(&self.schema))
            .await
            .expect("the proxy lets the application in")
    }

    /// The application's connection straight to the database.
    pub async fn direct(&self) -> Client {
        sql::connect(self.world.database(self.kind).port(), APP, Some(&self.schema))
            .await
            .expect("the database lets the application in")
    }

    /// The service account's connection straight to the database.
    pub async fn service(&self) -> Result<Client> {
        sql::connect(self.world.database(self.kind).port(), SERVICE, None).await
    }

    /// The application's raw connection through the proxy, or straight to the database.
    pub async fn raw(&self, through_the_proxy: bool) -> Result<Raw> {
        let port = if through_the_proxy {
            self.world.proxy.port(self.kind)
        } else {
            self.world.database(self.kind).port()
        };
        let options = format!("-c search_path={}", self.schema);
        Raw::connect(port, APP, SHOP, &[("options", &options)]).await
    }

    /// All of the room.
    pub async fn dump(&self) -> String {
        let client = self.service().await.expect("the database lets the service account in");
        sql::dump(&client, &self.schema).await.expect("the schema can be read")
    }

    /// Waits until nothing is left of a transaction but its outcome: status final, no lock, no row in the undo table.
    /// Gives the status.
    pub async fn calm(&self, xid: &str) -> String {
        let api = self.world.api();
        let status = wait::until(&format!("{xid} is finished"), async || {
            let status = api.status(xid).map_err(|error| error.to_string())?;
            let locks = api.locks(&format!("xid={xid}")).map_err(|error| error.to_string())?;
            let over = ["committed", "rolled_back"].contains(&status.as_str()) && locks.is_empty();
            if over { Ok(status) } else { Err(format!("{status}, {} locks", locks.len())) }
        })
        .await;
        self.no_undo_rows(xid).await;
        status
    }

    /// Waits until the undo table holds no row of a transaction.
    pub async fn no_undo_rows(&self, xid: &str) {
        let client = self.service().await.expect("the database lets the service account in");
        let sql = format!("SELECT count(*) FROM atone.undo_log WHERE xid::text = '{xid}'");
        wait::until(&format!("no undo row of {xid} is left in {:?}", self.kind), async || {
            match sql::one(&client, &sql).await {
                Ok(Some(count)) if count == "0" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}
