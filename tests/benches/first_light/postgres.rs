//! PostgreSQL 15 for local work, with PostgreSQL 18 for global work.

use crate::cpu::Cpu;
use crate::paths::{BULK, ROWS, Relay, Ways};
use crate::report::Report;
use crate::rounds::{Clock, rounds};
use crate::{Extent, pgbench};
use atone_tests::postgres::sql;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Coordinator, Database, Kind, Postgres, Proxy};
use atone_tests::{Context, Result};
use tokio_postgres::{Client, Statement};

/// As in life, and two-phase commit, which is off by default.
const SETTINGS: [&str; 3] = ["fsync=on", "full_page_writes=on", "max_prepared_transactions=10"];

/// Both databases, the coordinator, and the proxy before both.
pub struct Servers {
    pub ledger: Database,
    archive: Database,
    coordinator: Coordinator,
    pub proxy: Proxy,
}

impl Servers {
    /// Starts them, with a schema of the application in each database.
    pub async fn start() -> Result<Self> {
        let [ledger, archive] = Kind::POSTGRES.map(|kind| Postgres::start_with_settings(kind, &SETTINGS));
        let (ledger, archive) = (ledger?, archive?);
        let coordinator = Coordinator::start(Profile::Release)?;
        let proxy = Proxy::start(Profile::Release, Some(&coordinator.grpc()), &[&ledger, &archive])?;
        for database in [&ledger, &archive] {
            let service = sql::connect(database.port(), SERVICE, None).await?;
            service.batch_execute(&format!("CREATE SCHEMA {0} AUTHORIZATION {0}", APP.0)).await?;
        }
        Ok(Self { ledger, archive, coordinator, proxy })
    }
}

/// Measures local work, the load generator, and global work.
pub async fn measure(mut servers: Servers, extent: Extent, report: &mut Report) -> Result<()> {
    for database in [&servers.ledger, &servers.archive] {
        fill(database.port()).await?;
    }
    flush_commits(&servers, false).await?;
    local(&mut servers, extent, report).await?;
    pgbench::measure(&servers.ledger, &servers.proxy, extent, report)?;
    flush_commits(&servers, true).await?;
    global(&mut servers, extent, report).await
}

async fn fill(port: u16) -> Result<()> {
    let client = sql::connect(port, APP, None).await?;
    for (table, rows) in [("t", ROWS), ("bulk", BULK)] {
        let table = format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, v int, s varchar(100));
             INSERT INTO {table} SELECT g, 0, repeat('x', 100) FROM generate_series(0, {rows} - 1) g"
        );
        client.batch_execute(&table).await?;
    }
    Ok(())
}

/// Whether sessions that begin from now on wait for the disk at each commit. Where they do not, the disk hides no cost of a path.
async fn flush_commits(servers: &Servers, each: bool) -> Result<()> {
    for database in [&servers.ledger, &servers.archive] {
        let service = sql::connect(database.port(), SERVICE, None).await?;
        let value = if each { "on" } else { "off" };
        service.batch_execute(&format!("ALTER DATABASE {SHOP} SET synchronous_commit = {value}")).await?;
    }
    Ok(())
}

/// A connection with its prepared statements.
struct Session {
    client: Client,
    select: Statement,
    update: Statement,
}

impl Session {
    async fn open(port: u16) -> Result<Self> {
        let client = sql::connect(port, APP, None).await?;
        let select = client.prepare("SELECT v, s FROM t WHERE id = $1").await?;
        let update = client.prepare("UPDATE t SET v = v + 1 WHERE id = $1").await?;
        Ok(Self { client, select, update })
    }

    /// Sends text, and reads the answer to its end.
    async fn say(&self, text: &str) -> Result<()> {
        Ok(self.client.batch_execute(text).await?)
    }

    async fn select(&self, id: u32) -> Result<()> {
        Ok(self.client.query(&self.select, &[&key(id)]).await.map(drop)?)
    }

    async fn update(&self, id: u32) -> Result<()> {
        Ok(self.client.execute(&self.update, &[&key(id)]).await.map(drop)?)
    }

    /// One local transaction, as text or by prepared statements.
    async fn branch(&self, id: u32, prepared: bool) -> Result<()> {
        self.say("BEGIN").await?;
        if prepared {
            self.update(id).await?
        } else {
            self.say(&update(id)).await?
        }
        self.say("COMMIT").await
    }

    /// The same as a global transaction.
    async fn one_branch(&self, id: u32, prepared: bool) -> Result<()> {
        sql::begin(&self.client).await?;
        self.branch(id, prepared).await?;
        sql::commit(&self.client).await.map(drop)
    }
}

fn key(id: u32) -> i32 {
    (id % ROWS).cast_signed()
}

fn select(id: u32) -> String {
    format!("SELECT v, s FROM t WHERE id = {}", key(id))
}

fn update(id: u32) -> String {
    format!("UPDATE t SET v = v + 1 WHERE id = {}", key(id))
}

/// Local work on every path.
async fn local(servers: &mut Servers, extent: Extent, report: &mut Report) -> Result<()> {
    let relay = Relay::start(servers.ledger.port())?;
    let ports = [servers.ledger.port(), servers.proxy.port(Kind::Pg15)];
    let mut ways =
        Ways::open("PostgreSQL", ports, &relay, servers.proxy.pid()?, async |port| Session::open(port).await)
            .await?;
    let times = extent.operations;
    ways.compare("point select", times * 6, extent, report, async |session, id| {
        session.say(&select(id)).await
    })
    .await?;
    ways.compare("point select, prepared", times * 6, extent, report, async |session, id| {
        session.select(id).await
    })
    .await?;
    ways.compare("bulk read", times.div_ceil(20), extent, report, async |session, _| {
        session.say("SELECT * FROM bulk").await
    })
    .await?;
    ways.compare("update by key, autocommit", times * 2, extent, report, async |session, id| {
        session.say(&update(id)).await
    })
    .await?;
    ways.compare("update by key, prepared", times * 2, extent, report, async |session, id| {
        session.update(id).await
    })
    .await?;
    ways.compare("local transaction of 4 statements", times, extent, report, async |session, id| {
        for statement in ["BEGIN", &select(id), &update(id), &select(id + 1), &update(id + 1), "COMMIT"] {
            session.say(statement).await?;
        }
        Ok(())
    })
    .await
}

/// Global work. What each way flushes to disk, and when, is what tells them apart, so each commit is.
async fn global(servers: &mut Servers, extent: Extent, report: &mut Report) -> Result<()> {
    let plain = [Session::open(servers.ledger.port()).await?, Session::open(servers.archive.port()).await?];
    let [ledger, archive] = Kind::POSTGRES.map(|kind| servers.proxy.port(kind));
    let atone = [Session::open(ledger).await?, Session::open(archive).await?];
    let cpus = [Cpu::of(servers.proxy.pid()?)?, Cpu::of(servers.coordinator.pid()?)?];

    for (what, prepared) in [
        ("PostgreSQL, global transaction, one branch", false),
        ("PostgreSQL, global transaction, one branch, prepared", true),
    ] {
        let times =
            rounds::<2>(extent, extent.operations, Clock::both(what, 1, cpus), report, async |way, id| {
                match way {
                    0 => plain[0].branch(id, prepared).await,
                    _ => atone[0].one_branch(id, prepared).await,
                }
                .or_fail(what)
            });
        for [plain, atone] in times.await? {
            report.ratio(&format!("{what}: Atone / local transaction"), atone / plain);
        }
    }

    let what = "PostgreSQL 15 and 18, two branches";
    let times =
        rounds::<3>(extent, extent.operations, Clock::both(what, 2, cpus), report, async |way, id| {
            match way {
                0 => two_plain(&plain, id).await,
                1 => two_phases(&plain, id).await,
                _ => two_branches(&atone, id).await,
            }
            .or_fail(what)
        });
    for [plain, prepared, atone] in times.await? {
        report.ratio(&format!("{what}: PREPARE TRANSACTION / two local transactions"), prepared / plain);
        report.ratio(&format!("{what}: Atone / two local transactions"), atone / plain);
        report.ratio(&format!("{what}: Atone / PREPARE TRANSACTION"), atone / prepared);
    }
    Ok(())
}

/// Two local transactions, one after the other; nothing ties them together.
async fn two_plain(sessions: &[Session; 2], id: u32) -> Result<()> {
    for session in sessions {
        session.branch(id, false).await?;
    }
    Ok(())
}

/// Two phases by hand.
async fn two_phases(sessions: &[Session; 2], id: u32) -> Result<()> {
    for session in sessions {
        session.say("BEGIN").await?;
        session.say(&update(id)).await?;
    }
    for session in sessions {
        session.say(&format!("PREPARE TRANSACTION 'x{id}'")).await?;
    }
    for session in sessions {
        session.say(&format!("COMMIT PREPARED 'x{id}'")).await?;
    }
    Ok(())
}

/// The same writes as `two_plain`, statement by statement, as a global transaction of Atone.
async fn two_branches(sessions: &[Session; 2], id: u32) -> Result<()> {
    let [first, second] = sessions;
    let xid = sql::begin(&first.client).await?;
    sql::join(&second.client, &xid).await?;
    two_plain(sessions, id).await?;
    sql::one(&second.client, "SELECT atone_leave()").await?;
    sql::commit(&first.client).await.map(drop)
}
