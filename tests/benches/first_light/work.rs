//! The work that is measured, in rounds that go through all ways before the next round begins.

use crate::Extent;
use crate::paths::{Path, Paths, ROWS};
use crate::report::Report;
use atone_tests::{Context, Result, sql};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::time::Instant;

/// Local work.
#[derive(Clone, Copy)]
enum Local {
    Select,
    Update,
    Transaction,
}

impl Local {
    /// Name, work, and how many times as often it is run as the longest work.
    const ALL: [(&'static str, Self, u32); 3] = [
        ("point select", Self::Select, 6),
        ("update by key, autocommit", Self::Update, 2),
        ("local transaction of 4 statements", Self::Transaction, 1),
    ];

    async fn run(self, conn: &mut Conn, id: u32) -> Result<()> {
        let select = |id: u32| format!("SELECT v, s FROM t WHERE id = {}", id % ROWS);
        let update = |id: u32| format!("UPDATE t SET v = v + 1 WHERE id = {}", id % ROWS);
        match self {
            Self::Select => conn.query_drop(select(id)).await?,
            Self::Update => conn.query_drop(update(id)).await?,
            Self::Transaction => {
                conn.query_drop("BEGIN").await?;
                conn.query_drop(select(id)).await?;
                conn.query_drop(update(id)).await?;
                conn.query_drop(select(id + 1)).await?;
                conn.query_drop(update(id + 1)).await?;
                conn.query_drop("COMMIT").await?;
            }
        }
        Ok(())
    }
}

/// Local work on every path, without flushes.
pub async fn local(paths: &mut Paths, extent: Extent, report: &mut Report) -> Result<()> {
    paths.flush_commits(false).await?;
    let mut conns = Vec::new();
    for path in Path::ALL {
        conns.push((path, paths.connect(path).await?, paths.cpu(path)?));
    }
    for (name, work, times_as_often) in Local::ALL {
        let operations = extent.operations * times_as_often;
        let mut id = 0;
        for round in 0..=extent.rounds {
            let mut times = [0.0; 3];
            // Another path begins each round, so that none always follows the same one.
            conns.rotate_left(1);
            for (path, conn, cpu) in &mut conns {
                let before = cpu.map(|cpu| cpu.seconds()).transpose()?;
                let start = Instant::now();
                for _ in 0..operations {
                    id += 7;
                    work.run(conn, id).await.or_fail(format!("{name}, {path:?}"))?;
                }
                times[*path as usize] = start.elapsed().as_secs_f64();
                if let Some((cpu, before)) = cpu.zip(before) {
                    report.cpu(&format!("{name}: {path:?}"), cpu.seconds()? - before, operations);
                }
            }
            // The first round fills caches.
            if round > 0 || extent.rounds == 1 {
                let [direct, relay, proxy] = times;
                report.ratio(&format!("{name}: relay / direct"), relay / direct);
                report.ratio(&format!("{name}: proxy / direct"), proxy / direct);
                report.ratio(&format!("{name}: proxy / relay"), proxy / relay);
            }
        }
    }
    Ok(())
}

/// How two rows of two databases are written.
#[derive(Clone, Copy)]
enum Global {
    /// Two local transactions, one after the other; nothing ties them together.
    Plain,
    /// An XA transaction, in two phases by hand.
    Xa,
    /// A global transaction of Atone.
    Atone,
}

/// Global work: plain, XA, Atone. What each flushes to disk, and when, is what tells them apart, so each commit is.
pub async fn global(paths: &mut Paths, extent: Extent, report: &mut Report) -> Result<()> {
    paths.flush_commits(true).await?;
    let mut plain = paths.connect_both(Path::Direct).await?;
    let mut proxied = paths.connect_both(Path::Proxy).await?;
    let proxy = paths.cpu(Path::Proxy)?.or_fail("the proxy has a CPU clock")?;
    let coordinator = paths.coordinator_cpu()?;
    let mut id = 0;
    for round in 0..=extent.rounds {
        let mut times = Vec::new();
        for way in [Global::Plain, Global::Xa, Global::Atone] {
            let before = (proxy.seconds()?, coordinator.seconds()?);
            let start = Instant::now();
            for _ in 0..extent.operations {
                id += 7;
                match way {
                    Global::Plain => two_plain(&mut plain, id).await,
                    Global::Xa => two_phases(&mut plain, id).await,
                    Global::Atone => one_global(&mut proxied, id).await,
                }
                .or_fail("global work")?;
            }
            times.push(start.elapsed().as_secs_f64());
            if matches!(way, Global::Atone) {
                report.cpu("global transaction: proxy", proxy.seconds()? - before.0, extent.operations);
                report.cpu(
                    "global transaction: coordinator",
                    coordinator.seconds()? - before.1,
                    extent.operations,
                );
            }
        }
        if round > 0 || extent.rounds == 1 {
            report.ratio("two branches: XA / two local transactions", times[1] / times[0]);
            report.ratio("two branches: Atone / two local transactions", times[2] / times[0]);
            report.ratio("two branches: Atone / XA", times[2] / times[1]);
        }
    }
    Ok(())
}

fn update(id: u32) -> String {
    format!("UPDATE t SET v = v + 1 WHERE id = {}", id % ROWS)
}

async fn two_plain(conns: &mut [Conn; 2], id: u32) -> Result<()> {
    for conn in conns {
        conn.query_drop("BEGIN").await?;
        conn.query_drop(update(id)).await?;
        conn.query_drop("COMMIT").await?;
    }
    Ok(())
}

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

/// The same writes as `two_plain`, statement by statement.
async fn one_global(conns: &mut [Conn; 2], id: u32) -> Result<()> {
    let [first, second] = conns;
    let xid = sql::begin(first).await?;
    sql::join(second, &xid).await?;
    for conn in [&mut *first, &mut *second] {
        conn.query_drop("BEGIN").await?;
        conn.query_drop(update(id)).await?;
        conn.query_drop("COMMIT").await?;
    }
    sql::one(second, "SELECT atone_leave()").await?;
    sql::commit(first).await.map(drop)
}
