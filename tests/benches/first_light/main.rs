//! What the proxy costs, as ratios: direct, through a relay that only copies bytes, and through Atone, interleaved in
//! one run, since only runs of the same minute on the same machine can be compared.
//!
//! Local work, on MariaDB and on PostgreSQL: point select, bulk read, update by key, a local transaction of four statements, as
//! text and prepared. Global work, on MySQL with MariaDB and on two PostgreSQLs: a transaction of one branch and of two, against
//! the same writes as local transactions and in two phases (XA, PREPARE TRANSACTION). And PostgreSQL's own load generator.
//! No absolute time is printed, except CPU per transaction of the proxy and the relay. `cargo bench -p atone-tests`; with
//! `-- --test` everything is run once, short; with `-- mysql`, `-- postgres`,
//! `-- pgbench` or `-- hot` (one row that everybody wants) only that part.

mod cpu;
mod hot_row;
mod mysql;
mod paths;
mod pgbench;
mod postgres;
mod relay;
mod report;
mod rounds;

use atone_tests::Result;
use std::process::ExitCode;

/// How much is run.
#[derive(Clone, Copy)]
pub struct Extent {
    /// Interleaved rounds; each gives one ratio, their median counts.
    pub rounds: usize,
    /// Transactions of one client per round and path; short ones are run several times as often. Rounds are short, so
    /// that what else the machine does falls on all paths of a round alike.
    pub operations: u32,
}

impl Extent {
    const SHORT: Self = Self { rounds: 1, operations: 5 };
    const WHOLE: Self = Self { rounds: 25, operations: 40 };
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["relay", port, target] => runtime.block_on(relay::run(port, target)),
        args => runtime.block_on(measure(args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the parts that are asked for, or all.
async fn measure(args: &[&str]) -> Result<()> {
    let extent = if args.contains(&"--test") { Extent::SHORT } else { Extent::WHOLE };
    let parts = ["mysql", "postgres", "pgbench", "hot"];
    let all = !parts.iter().any(|part| args.contains(part));
    let [mysql, postgres, pgbench, hot] = parts.map(|part| all || args.contains(&part));
    let mut report = report::Report::default();
    if mysql {
        mysql::measure(extent, &mut report).await?;
    }
    if postgres || pgbench || hot {
        let servers = postgres::Servers::start().await?;
        if hot {
            hot_row::measure(&servers, extent, &mut report).await?;
        }
        if postgres {
            postgres::measure(servers, extent, &mut report).await?;
        } else if pgbench {
            pgbench::measure(&servers.ledger, &servers.proxy, extent, &mut report)?;
        }
    }
    report.print();
    // One short round says only that it works.
    if extent.rounds > 1 { report.write() } else { Ok(()) }
}
