//! The usual set-up: an order database (MySQL), an account database (MariaDB), a coordinator and a proxy before both;
//! and in it a room per test, so that tests of one process share the servers and not their tables.

use crate::api::Api;
use crate::servers::binaries::Profile;
use crate::servers::database::SERVICE;
use crate::servers::{Coordinator, Database, Durability, Kind, Proxy};
use crate::{Result, sql, wait};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::sync::OnceLock;

/// All the servers.
pub struct World {
    /// MySQL.
    pub orders: Database,
    /// MariaDB.
    pub accounts: Database,
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The proxy before both databases.
    pub proxy: Proxy,
}

impl World {
    /// Starts them.
    pub fn start(profile: Profile, durability: Durability) -> Result<Self> {
        let (orders, accounts) = databases(durability)?;
        let coordinator = Coordinator::start(profile)?;
        let proxy = Proxy::start(profile, Some(&coordinator.grpc()), &[&orders, &accounts])?;
        Ok(Self { orders, accounts, coordinator, proxy })
    }

    /// The ones that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<World> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Profile::Debug, Durability::Lazy).expect("the servers start"))
    }

    /// The database of this kind.
    pub fn database(&self, kind: Kind) -> &Database {
        match kind {
            Kind::Maria => &self.accounts,
            Kind::MySql => &self.orders,
            Kind::Pg15 | Kind::Pg18 => panic!("{kind:?} is in the other world"),
        }
    }

    /// The coordinator's API.
    pub fn api(&self) -> Api {
        self.coordinator.api()
    }

    /// A room with these tables in both databases. Statements end with `;` at the end of a line.
    pub async fn room(&self, name: &str, tables: &str) -> Room<'_> {
        let room = Room { world: self, schema: format!("shop_{name}") };
        for kind in Kind::ALL {
            room.prepare(kind, tables).await.expect("the room's tables can be made");
        }
        room
    }
}

/// Starts the two databases at the same time.
fn databases(durability: Durability) -> Result<(Database, Database)> {
    std::thread::scope(|scope| {
        let maria = scope.spawn(|| Database::start_with(Kind::Maria, durability));
        let mysql = Database::start_with(Kind::MySql, durability)?;
        Ok((mysql, maria.join().expect("no panic")?))
    })
}

/// One test's schema in both databases.
pub struct Room<'a> {
    /// Where it is.
    pub world: &'a World,
    /// The schema's name, the same in both.
    pub schema: String,
}

impl Room<'_> {
    /// Makes the schema in one of the databases anew, with these tables.
    pub async fn prepare(&self, kind: Kind, tables: &str) -> Result<()> {
        let mut conn = self.service(kind).await?;
        let schema = sql::quoted(&self.schema);
        conn.query_drop(format!("DROP DATABASE IF EXISTS {schema}")).await?;
        conn.query_drop(format!("CREATE DATABASE {schema}")).await?;
        conn.query_drop(format!("USE {schema}")).await?;
        for statement in tables.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            conn.query_drop(statement.trim_end_matches(';')).await?;
        }
        Ok(conn.disconnect().await?)
    }

    /// The application's connection through the proxy.
    pub async fn app(&self, kind: Kind) -> Conn {
        sql::connect_app(self.world.proxy.port(kind), &self.schema)
            .await
            .expect("the proxy lets the application in")
    }

    /// The application's connection straight to the database.
    pub async fn direct(&self, kind: Kind) -> Conn {
        let port = self.world.database(kind).port();
        sql::connect_app(port, &self.schema).await.expect("the database lets the application in")
    }

    /// The service account's connection straight to the database.
    pub async fn service(&self, kind: Kind) -> Result<Conn> {
        sql::connect(self.world.database(kind).port(), SERVICE, None).await
    }

    /// All of the room in this database.
    pub async fn dump(&self, kind: Kind) -> String {
        let mut conn = self.service(kind).await.expect("the database lets the service account in");
        sql::dump(&mut conn, &self.schema).await.expect("the schema can be read")
    }

    /// All of the room in both databases.
    pub async fn dump_both(&self) -> String {
        format!("{}---\n{}", self.dump(Kind::MySql).await, self.dump(Kind::Maria).await)
    }

    /// Waits until nothing is left of a transaction but its outcome: status final, no lock, no row in an undo table.
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
        for kind in Kind::ALL {
            self.no_undo_rows(kind, xid).await;
        }
        status
    }

    /// Waits until the undo table of this database holds no row of a transaction.
    pub async fn no_undo_rows(&self, kind: Kind, xid: &str) {
        let mut conn = self.service(kind).await.expect("the database lets the service account in");
        let sql = format!("SELECT COUNT(*) FROM atone.undo_log WHERE xid = '{xid}'");
        wait::until(&format!("no undo row of {xid} is left in {kind:?}"), async || {
            let count: Option<u64> = conn.query_first(&sql).await.map_err(|error| error.to_string())?;
            if count == Some(0) { Ok(()) } else { Err(format!("{count:?} rows")) }
        })
        .await;
    }
}
