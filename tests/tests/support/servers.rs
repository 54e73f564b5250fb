//! All four databases behind one proxy.

use atone_tests::postgres::sql;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Coordinator, Database, Durability, Kind, Postgres, Proxy};
use atone_tests::{Context, Result};

/// What the rows' tables need of a PostgreSQL beyond its bare self.
const EXTENSIONS: [&str; 4] = ["citext", "hstore", "ltree", "postgres_fdw"];

/// The servers.
pub struct Servers {
    databases: [Database; 4],
    proxy: Proxy,
    _coordinator: Coordinator,
}

impl Servers {
    /// Starts them.
    pub async fn start() -> Result<Self> {
        let kinds = [Kind::MySql, Kind::Maria, Kind::Pg15, Kind::Pg18];
        let databases: Vec<Result<Database>> = std::thread::scope(|scope| {
            let started = kinds.map(|kind| scope.spawn(move || start(kind)));
            started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let databases: Vec<Database> = databases.into_iter().collect::<Result<_>>()?;
        for database in &databases[2..] {
            furnish(database).await?;
        }
        let coordinator = Coordinator::start(Profile::Debug)?;
        let all: Vec<&Database> = databases.iter().collect();
        let proxy = Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &all)?;
        let databases = databases.try_into().ok().or_fail("four databases")?;
        Ok(Self { databases, proxy, _coordinator: coordinator })
    }

    /// The port of a database itself.
    pub fn direct(&self, kind: Kind) -> u16 {
        let database = self.databases.iter().find(|database| database.kind() == kind);
        database.expect("all kinds are there").port()
    }

    /// The proxy's port before it.
    pub fn proxied(&self, kind: Kind) -> u16 {
        self.proxy.port(kind)
    }
}

fn start(kind: Kind) -> Result<Database> {
    match kind {
        Kind::Maria | Kind::MySql => Database::start_with(kind, Durability::Lazy),
        // PREPARE TRANSACTION is off by default, and large objects are compared by a function of the server's.
        Kind::Pg15 | Kind::Pg18 => Postgres::start_with_settings(kind, &["max_prepared_transactions=5"]),
    }
}

/// Makes the extensions, a foreign server that leads back to the database, and a function that hides from its counters.
async fn furnish(database: &Database) -> Result<()> {
    let service = sql::connect(database.port(), SERVICE, None).await?;
    for extension in EXTENSIONS {
        service.batch_execute(&format!("CREATE EXTENSION {extension}")).await?;
    }
    let (user, password) = APP;
    let (port, database) = (database.port(), SHOP);
    let loopback = format!(
        "CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{database}');
         CREATE USER MAPPING FOR {user} SERVER loopback OPTIONS (user '{user}', password '{password}');
         GRANT USAGE ON FOREIGN SERVER loopback TO {user};
         CREATE FUNCTION public.uncounted(what text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET track_counts = off
             AS $$ BEGIN EXECUTE what; END $$"
    );
    Ok(service.batch_execute(&loopback).await?)
}
