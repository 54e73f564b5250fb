//! MariaDB for local work, MySQL with MariaDB for global work.

use crate::Extent;
use crate::cpu::Cpu;
use crate::paths::{BULK, ROWS, Relay, Ways};
use crate::report::Report;
use crate::rounds::{Clock, rounds};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::SERVICE;
use atone_tests::servers::{Durability, Kind};
use atone_tests::world::World;
use atone_tests::{Context, Result, sql};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// The schema that is worked on.
const SCHEMA: &str = "shop";

/// Starts the servers and measures both.
pub async fn measure(extent: Extent, report: &mut Report) -> Result<()> {
    let mut world = World::start(Profile::Release, Durability::Full)?;
    for kind in Kind::ALL {
        fill(world.database(kind).port()).await?;
    }
    flush_commits(&world, false).await?;
    local(&mut world, extent, report).await?;
    flush_commits(&world, true).await?;
    global(&mut world, extent, report).await
}

async fn fill(port: u16) -> Result<()> {
    let mut conn = sql::connect(port, SERVICE, None).await?;
    conn.query_drop(format!("CREATE DATABASE {SCHEMA}")).await?;
    for (table, rows) in [("t", ROWS), ("bulk", BULK)] {
        let table = format!("{SCHEMA}.{table}");
        conn.query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v INT, s VARCHAR(100))")).await?;
        let rows: Vec<String> = (0..rows).map(|id| format!("({id}, 0, REPEAT('x', 100))")).collect();
        conn.query_drop(format!("INSERT INTO {table} VALUES {}", rows.join(","))).await?;
    }
    Ok(())
}

/// Whether the databases flush each commit to disk, as in life. Where they do not, the disk hides no cost of a path.
async fn flush_commits(world: &World, each: bool) -> Result<()> {
    for kind in Kind::ALL {
        let mut conn = sql::connect(world.database(kind).port(), SERVICE, None).await?;
        conn.query_drop(format!("SET GLOBAL innodb_flush_log_at_trx_commit = {}", u8::from(each))).await?;
    }
    Ok(())
}

fn select(id: u32) -> String {
    format!("SELECT v, s FROM t WHERE id = {}", id % ROWS)
}

fn update(id: u32) -> String {
    format!("UPDATE t SET v = v + 1 WHERE id = {}", id % ROWS)
}

/// Local work on every path.
async fn local(world: &mut World, extent: Extent, report: &mut Report) -> Result<()> {
    let relay = Relay::start(world.accounts.port())?;
    let ports = [world.accounts.port(), world.proxy.port(Kind::Maria)];
    let open = Ways::open("MariaDB", ports, &relay, world.proxy.pid()?, async |port| {
        sql::connect_app(port, SCHEMA).await
    });
    let mut ways = open.await?;
    let times = extent.operations;
    ways.compare("point select", times * 6, extent, report, async |conn, id| {
        Ok(conn.query_drop(select(id)).await?)
    })
    .await?;
    ways.compare("point select, prepared", times * 6, extent, report, async |conn, id| {
        Ok(conn.exec_drop("SELECT v, s FROM t WHERE id = ?", (id % ROWS,)).await?)
    })
    .await?;
    ways.compare("bulk read", times.div_ceil(20), extent, report, async |conn, _| {
        Ok(conn.query_drop("SELECT * FROM bulk").await?)
    })
    .await?;
    ways.compare("update by key, autocommit", times * 2, extent, report, async |conn, id| {
        Ok(conn.query_drop(update(id)).await?)
    })
    .await?;
    ways.compare("local transaction of 4 statements", times, extent, report, async |conn, id| {
        conn.query_drop("BEGIN").await?;
        for statement in [select(id), update(id), select(id + 1), update(id + 1)] {
            conn.query_drop(statement).await?;
        }
        Ok(conn.query_drop("COMMIT").await?)
    })
    .await
}

/// Global work. What each way flushes to disk, and when, is what tells them apart, so each commit is.
async fn global(world: &mut World, extent: Extent, report: &mut Report) -> Result<()> {
    let direct = Kind::ALL.map(|kind| world.database(kind).port());
    let proxied = Kind::ALL.map(|kind| world.proxy.port(kind));
    let (mut plain, mut atone) = (both(direct).await?, both(proxied).await?);
    let cpus = [Cpu::of(world.proxy.pid()?)?, Cpu::of(world.coordinator.pid()?)?];

    let what = "MariaDB, global transaction, one branch";
    let times =
        rounds::<2>(extent, extent.operations, Clock::both(what, 1, cpus), report, async |way, id| {
            match way {
                0 => branch(&mut plain[1], id).await,
                _ => one_branch(&mut atone[1], id).await,
            }
            .or_fail(what)
        });
    for [plain, atone] in times.await? {
        report.ratio(&format!("{what}: Atone / local transaction"), atone / plain);
    }

    let what = "MySQL and MariaDB, two branches";
    let times =
        rounds::<3>(extent, extent.operations, Clock::both(what, 2, cpus), report, async |way, id| {
            match way {
                0 => two_plain(&mut plain, id).await,
                1 => two_phases(&mut plain, id).await,
                _ => two_branches(&mut atone, id).await,
            }
            .or_fail(what)
        });
    for [plain, xa, atone] in times.await? {
        report.ratio(&format!("{what}: XA / two local transactions"), xa / plain);
        report.ratio(&format!("{what}: Atone / two local transactions"), atone / plain);
        report.ratio(&format!("{what}: Atone / XA"), atone / xa);
    }
    Ok(())
}

async fn both([first, second]: [u16; 2]) -> Result<[Conn; 2]> {
    Ok([sql::connect_app(first, SCHEMA).await?, sql::connect_app(second, SCHEMA).await?])
}

/// One local transaction.
async fn branch(conn: &mut Conn, id: u32) -> Result<()> {
    conn.query_drop("BEGIN").await?;
    conn.query_drop(update(id)).await?;
    Ok(conn.query_drop("COMMIT").await?)
}

/// The same as a global transaction.
async fn one_branch(conn: &mut Conn, id: u32) -> Result<()> {
    sql::begin(conn).await?;
    branch(conn, id).await?;
    sql::commit(conn).await.map(drop)
}

/// Two local transactions, one after the other; nothing ties them together.
async fn two_plain(conns: &mut [Conn; 2], id: u32) -> Result<()> {
    for conn in conns {
        branch(conn, id).await?;
    }
    Ok(())
}

/// An XA transaction, in two phases by hand.
async fn two_phases(conns: &mut [Conn; 2], id: u32) -> Result<()> {
    for conn in conns.iter_mut() {
        conn.query_drop(format!("XA START 'x{id}'")).await?;
        conn.query_drop(update(id)).await?;
        conn.query_drop(format!("XA END 'x{id}'")).await?;
    }
    for conn in conns.iter_mut() {
        conn.query_drop(format!("XA PREPARE 'x{id}'")).await?;
    }
    for conn in conns.iter_mut() {
        conn.query_drop(format!("XA COMMIT 'x{id}'")).await?;
    }
    Ok(())
}

/// The same writes as `two_plain`, statement by statement, as a global transaction of Atone.
async fn two_branches(conns: &mut [Conn; 2], id: u32) -> Result<()> {
    let xid = sql::begin(&mut conns[0]).await?;
    sql::join(&mut conns[1], &xid).await?;
    two_plain(conns, id).await?;
    sql::one(&mut conns[1], "SELECT atone_leave()").await?;
    sql::commit(&mut conns[0]).await.map(drop)
}
