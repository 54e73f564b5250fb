//! What the proxy costs, as ratios: direct, through a relay that only copies bytes, and through Atone, interleaved in
//! one run, since only runs of the same minute on the same machine can be compared.
//!
//! Local work: point select, update by key, a local transaction of four statements. Global work: a transaction over two
//! databases against the same writes as two local transactions, and as an XA transaction. No absolute time is printed,
//! except CPU per transaction of the proxy and the relay. `cargo bench -p atone-tests`; `-- --test` runs it once, short.

mod cpu;
mod paths;
mod relay;
mod report;
mod work;

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

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["relay", port, target] => runtime.block_on(relay::run(port, target)),
        args => {
            let short = args.contains(&"--test");
            let extent = if short {
                Extent { rounds: 1, operations: 5 }
            } else {
                Extent { rounds: 25, operations: 40 }
            };
            runtime.block_on(measure(extent))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(extent: Extent) -> Result<()> {
    let mut paths = paths::Paths::start().await?;
    let mut report = report::Report::default();
    work::local(&mut paths, extent, &mut report).await?;
    work::global(&mut paths, extent, &mut report).await?;
    report.print();
    // One short round says only that it works.
    if extent.rounds > 1 { report.write() } else { Ok(()) }
}
