//! Ten million held locks: how much memory the coordinator needs for them, with a snapshot made and with the log that led to
//! them behind it. `cargo bench -p atone-tc-server`; with `-- --test` a hundredth of them.
//!
//! Keys are those of tables with one BIGINT key, twelve bytes and as many digits as the number has. The coordinator runs in
//! this process: what the asking side needs meanwhile counts too.

use atone_protocol::{BranchId, Client, ClientOptions, Lineage, LockKey, Register, Xid};
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const KEYS_PER_BRANCH: u64 = 100_000;
const LIMIT: u64 = 2 << 30;

/// `VmRSS` or `VmHWM`, in bytes.
fn memory(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn key(n: u64) -> LockKey {
    let value = [&[1, 8, 0, 0][..], &n.to_be_bytes()].concat();
    LockKey { table: "shop.orders".into(), index: "PRIMARY".into(), key: value, shown: n.to_string() }
}

/// The n-th of many, in no order.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let short = std::env::args().any(|argument| argument == "--test");
    let branches = if short { 1 } else { 100 };
    let directory = tempfile::tempdir()?;
    let any = || "127.0.0.1:0".to_owned();
    let config = atone_tc_server::Config {
        listen: any(),
        http: any(),
        data_dir: directory.path().to_owned(),
        ..atone_tc_server::Config::default()
    };
    let running = atone_tc_server::start(config).await?;
    let options = ClientOptions {
        coordinators: vec![running.grpc.to_string()],
        proxy: "bench".into(),
        resources: Vec::new(),
    };
    let (client, _tasks, _errands, driver) = Client::new(options);
    let driver = tokio::spawn(driver);
    let before = memory("VmRSS")?;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    for number in 0..branches {
        let (xid, branch) = (Xid::new(now, rand::random()), BranchId::new(rand::random()));
        client.begin(xid, "bench", Duration::from_secs(600)).await?;
        let first = number * KEYS_PER_BRANCH;
        let keys = (first..first + KEYS_PER_BRANCH).map(|n| key(scattered(n))).collect();
        let (resource, lineage) = ("orders".into(), Lineage::new(7));
        let (shared, wait, session) = (Vec::new(), Duration::ZERO, 0);
        client.register(Register { xid, branch, resource, lineage, keys, shared, wait, session }).await?;
        if (number + 1) % 10 == 0 {
            println!("{:>11} locks held", (number + 1) * KEYS_PER_BRANCH);
        }
    }
    let (after, peak) = (memory("VmRSS")?, memory("VmHWM")?);
    let locks = branches * KEYS_PER_BRANCH;
    println!("bytes per lock, at rest:     {}", after.saturating_sub(before) / locks);
    println!("bytes per lock, at the peak: {}", peak.saturating_sub(before) / locks);
    println!("of 2 GiB, at rest:           {:.2}", after as f64 / LIMIT as f64);
    println!("of 2 GiB, at the peak:       {:.2}", peak as f64 / LIMIT as f64);
    driver.abort();
    running.stop().await;
    if !short && peak > LIMIT {
        return Err("over 2 GiB".into());
    }
    Ok(())
}
