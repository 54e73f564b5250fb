//! PostgreSQL's own load generator with its builtin scripts: directly, through the relay, and through the proxy.

use crate::Extent;
use crate::paths::Relay;
use crate::report::Report;
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Database, Proxy};
use atone_tests::{Context, Result, install};

/// A hundred thousand accounts each; more branches than clients, or these would queue for them.
const SCALE: &str = "8";

/// Clients at the same time.
const CLIENTS: &str = "4";

/// How long each runs.
const SECONDS: &str = "1";

const SCRIPTS: [&str; 3] = ["select-only", "simple-update", "tpcb-like"];
const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];

/// Measures each script in each protocol.
pub fn measure(database: &Database, proxy: &Proxy, extent: Extent, report: &mut Report) -> Result<()> {
    let rounds = if extent.rounds > 1 { 4 } else { 1 };
    let relay = Relay::start(database.port())?;
    let ways = [database.port(), relay.port, proxy.port(database.kind())];
    run(database, database.port(), &["--initialize", "--quiet", "--scale", SCALE])?;
    for script in SCRIPTS {
        for protocol in PROTOCOLS {
            let arguments = ["-n", "-b", script, "-M", protocol, "-c", CLIENTS, "-j", "1", "-T", SECONDS];
            for round in 0..rounds {
                let mut all = [0.0; 3];
                for step in 0..ways.len() {
                    // Another way begins each round.
                    let way = (round + step) % ways.len();
                    all[way] = tps(database, ways[way], &arguments)?;
                }
                let [direct, relay, proxy] = all;
                report.throughput(&format!("pgbench {script}, {protocol}: relay / direct"), relay / direct);
                report.throughput(&format!("pgbench {script}, {protocol}: proxy / direct"), proxy / direct);
            }
        }
    }
    Ok(())
}

fn tps(database: &Database, port: u16, arguments: &[&str]) -> Result<f64> {
    let out = run(database, port, arguments)?;
    let line = out.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    tps.or_fail(format!("pgbench told no tps: {out}"))
}

fn run(database: &Database, port: u16, arguments: &[&str]) -> Result<String> {
    let mut command = database.program("pgbench");
    command.args(arguments).arg(format!("postgres://{}:{}@127.0.0.1:{port}/{SHOP}", APP.0, APP.1));
    install::run(&mut command).or_fail(format!("pgbench {arguments:?}"))
}
