//! Histories of random transactions, global ones over both protocols among local ones, checked for every anomaly that may
//! not be (`atone_tests::history` says which); and programs with bugs put in on purpose, which the same check must find.
//!
//! `ATONE_HISTORY_SEED` repeats a run's choices (not its timing).

mod bank;
mod link;
mod lists;
mod planted;
mod settled;
mod stage;
mod steps;
mod tally;

use atone_tests::history::{Anomaly, History, Outcome, check};
use atone_tests::servers::Kind;
use atone_tests::servers::binaries::{Profile, binaries};
use lists::Shape;
use stage::Stage;
use tally::Tally;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};

/// The programs with bugs are built where the others are: not while anybody runs those. While this is held none are built.
async fn programs(profile: Profile) -> RwLockReadGuard<'static, ()> {
    static PROGRAMS: RwLock<()> = RwLock::const_new(());
    static PLANTED: OnceCell<()> = OnceCell::const_new();
    if let Profile::Planted(_) = profile {
        let build = async || {
            let _nobody_runs = PROGRAMS.write().await;
            binaries(profile).map(drop)
        };
        PLANTED.get_or_try_init(build).await.expect("the programs can be built");
    }
    PROGRAMS.read().await
}

fn seed() -> u64 {
    let given = std::env::var("ATONE_HISTORY_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("ATONE_HISTORY_SEED={seed}");
    seed
}

/// Fails with what is wrong, and leaves the whole history where it can be looked at.
fn assert_clean(name: &str, seed: u64, history: &History, anomalies: &[Anomaly]) {
    if anomalies.is_empty() {
        return;
    }
    let path = format!("{}/{name}-{seed}.history", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, history.to_string()).expect("the history can be kept");
    let told: Vec<String> = anomalies.iter().take(10).map(Anomaly::to_string).collect();
    let count = anomalies.len();
    panic!("ATONE_HISTORY_SEED={seed}, {path}: {count} anomalies\n{}", told.join("\n"));
}

async fn lists_are_clean(name: &str, kinds: [Kind; 2], shape: Shape, failpoints: &str) {
    let _programs = programs(Profile::Debug).await;
    let seed = seed();
    let mut stage = Stage::start(Profile::Debug, kinds, failpoints).expect("the servers start");
    let history = lists::run(&mut stage, name, shape, seed).await;
    assert_clean(name, seed, &history, &check(&history));
    Tally::of(&history).must_mean_something(shape);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists() {
    let shape = Shape { clients: 6, each: 50, lists: 12, rollbacks: 17, pause: 15, deaths: 0 };
    lists_are_clean("lists", [Kind::Maria, Kind::Pg15], shape, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_row() {
    let shape = Shape { clients: 4, each: 40, lists: 1, rollbacks: 17, pause: 15, deaths: 0 };
    lists_are_clean("hot_row", [Kind::MySql, Kind::Pg18], shape, "").await;
}

/// Each step that others might come between takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses() {
    let shape = Shape { clients: 6, each: 25, lists: 10, rollbacks: 30, pause: 15, deaths: 0 };
    let places = [
        "proxy.after_register=pause:10",
        "proxy.before_local_commit=pause:10",
        "proxy.after_local_commit=pause:10",
        "proxy.phase_two_before_commit=pause:40",
        "proxy.phase_two_after_commit=pause:40",
        "tc.after_decide=pause:20",
        "tc.before_dispatch=pause:60",
    ];
    lists_are_clean("pauses", [Kind::MySql, Kind::Pg18], shape, &places.join(";")).await;
}

/// Of the proxy, of the coordinator and of both, so that of many a COMMIT nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths() {
    let shape = Shape { clients: 6, each: 50, lists: 8, rollbacks: 17, pause: 15, deaths: 7 };
    lists_are_clean("deaths", [Kind::Maria, Kind::Pg15], shape, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bank() {
    let _programs = programs(Profile::Debug).await;
    let seed = seed();
    let stage = Stage::start(Profile::Debug, [Kind::Maria, Kind::Pg15], "").expect("the servers start");
    let (clients, each) = (6, 50);
    let bank = bank::run(&stage, "bank", clients, each, seed).await;
    let ended = |outcome| bank.transfers.iter().filter(|transfer| transfer.outcome == outcome).count();
    let (committed, rolled_back) = (ended(Outcome::Committed), ended(Outcome::RolledBack));
    let audits = bank.audits.len();
    println!("bank: {committed} transfers committed, {rolled_back} were rolled back, {audits} audits");
    let wrong: Vec<String> = bank.check().iter().map(Anomaly::to_string).collect();
    assert!(wrong.is_empty(), "ATONE_HISTORY_SEED={seed}:\n{}", wrong.join("\n"));
    let all = clients as usize * each as usize;
    let enough = committed >= all / 5 && rolled_back >= all / 20 && audits >= all / 100;
    assert!(enough, "of {all} transactions: this says too little");
}
