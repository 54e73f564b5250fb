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

use atone_tests::history::{Anomaly, History, Outcome, check};
use atone_tests::servers::Kind;
use atone_tests::servers::binaries::Profile;
use lists::{Shape, Tally};
use stage::Stage;
use tokio::sync::{Mutex, MutexGuard};

/// One after the other: they would only make one another slow, and the programs with bugs are built where the others are.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
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

async fn lists_are_clean(name: &str, kinds: [Kind; 2], shape: Shape) {
    let _alone = alone().await;
    let seed = seed();
    let stage = Stage::start(Profile::Debug, kinds, "").expect("the servers start");
    let history = lists::run(&stage, name, shape, seed).await;
    assert_clean(name, seed, &history, &check(&history));
    Tally::of(&history).must_mean_something(shape);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists() {
    let shape = Shape { clients: 6, each: 60, lists: 12, rollbacks: 17, pause: 15 };
    lists_are_clean("lists", [Kind::Maria, Kind::Pg15], shape).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_row() {
    let shape = Shape { clients: 4, each: 40, lists: 1, rollbacks: 17, pause: 15 };
    lists_are_clean("hot_row", [Kind::MySql, Kind::Pg18], shape).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bank() {
    let _alone = alone().await;
    let seed = seed();
    let stage = Stage::start(Profile::Debug, [Kind::Maria, Kind::Pg15], "").expect("the servers start");
    let (clients, each) = (6, 60);
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
