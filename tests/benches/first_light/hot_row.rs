//! One row that everybody wants: how many transactions per second commit, a tenth of them rolled back, against the same load
//! of plain local ones; and whether many clients get as much through as a few, which they would not if anybody polled.

use crate::Extent;
use crate::postgres::Servers;
use crate::report::Report;
use atone_tests::postgres::sql;
use atone_tests::servers::Kind;
use atone_tests::servers::database::APP;
use atone_tests::{Context, Failure, Result};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Clients at the same time.
const MANY: usize = 200;
const FEW: usize = 8;

const WRITE: &str = "UPDATE hot SET v = v + 1";

/// What a driver tries again for.
const AGAIN: [&str; 4] = ["55P03", "40001", "40P01", "25006"];

/// A kind of transaction.
#[derive(Clone, Copy)]
enum Work {
    Plain,
    Global,
}

/// Measures.
pub async fn measure(servers: &Servers, extent: Extent, report: &mut Report) -> Result<()> {
    let (rounds, length) = match extent.rounds {
        1 => (1, Duration::from_millis(300)),
        _ => (3, Duration::from_secs(3)),
    };
    let (direct, proxied) = (servers.ledger.port(), servers.proxy.port(Kind::Pg15));
    let setup = sql::connect(direct, APP, None).await?;
    setup
        .batch_execute("CREATE TABLE hot (id int PRIMARY KEY, v int); INSERT INTO hot VALUES (1, 0)")
        .await?;
    for _ in 0..rounds {
        let plain = load(direct, MANY, Work::Plain, length).await?;
        let guarded = load(proxied, MANY, Work::Plain, length).await?;
        let many = load(proxied, MANY, Work::Global, length).await?;
        let few = load(proxied, FEW, Work::Global, length).await?;
        report.throughput(
            "one hot row, 200 clients, guarded local transactions: Atone / direct",
            guarded / plain,
        );
        report.throughput(
            "one hot row, 200 clients, global transactions: Atone / plain local ones direct",
            many / plain,
        );
        report.throughput("one hot row, global transactions: 200 clients / 8 clients", many / few);
    }
    Ok(())
}

/// Committed transactions per second. The row must have been raised once by each, and by nobody else; those that were still
/// under way when the time was over, a whole lock wait perhaps, are counted for that alone.
async fn load(port: u16, clients: usize, work: Work, length: Duration) -> Result<f64> {
    let sessions = try_join_all((0..clients).map(|_| sql::connect(port, APP, None))).await?;
    let before = value(&sessions[0]).await?;
    let begun = Instant::now();
    let running = sessions.iter().enumerate().map(async |(number, session)| {
        let (mut in_time, mut committed, mut tries) = (0_u32, 0_u32, number);
        while begun.elapsed() < length {
            let done = match work {
                Work::Plain => done(session.batch_execute(WRITE).await)?,
                Work::Global => global(session, tries % 10 == 9).await?,
            };
            committed += u32::from(done);
            in_time += u32::from(done && begun.elapsed() < length);
            tries += 1;
        }
        Result::Ok((in_time, committed))
    });
    let counts = try_join_all(running).await?;
    let committed: u32 = counts.iter().map(|(_, committed)| committed).sum();
    let more = value(&sessions[0]).await? - before - i64::from(committed);
    if more != 0 {
        return Err(Failure::new(format!(
            "{committed} transactions committed, the row was raised {more} times more"
        )));
    }
    let in_time: u32 = counts.iter().map(|(in_time, _)| in_time).sum();
    Ok(f64::from(in_time) / length.as_secs_f64())
}

async fn value(session: &Client) -> Result<i64> {
    let value = sql::one(session, "SELECT v FROM hot").await?.or_fail("the row is gone")?;
    value.parse().or_fail("a number")
}

/// Did it work, or is it to be tried again?
fn done(result: std::result::Result<(), tokio_postgres::Error>) -> Result<bool> {
    let again = AGAIN.contains(&sql::state(&result).0.as_str());
    if again { Ok(false) } else { result.map(|()| true).or_fail("the hot row") }
}

async fn global(session: &Client, gives_up: bool) -> Result<bool> {
    sql::begin(session).await?;
    if !done(session.batch_execute(WRITE).await)? || gives_up {
        sql::rollback(session).await?;
        return Ok(false);
    }
    Ok(sql::commit(session).await? == "committed")
}
