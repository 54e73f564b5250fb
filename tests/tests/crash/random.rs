//! Deaths at any instant, under several clients at once. `ATONE_SEED` repeats a run's choices (not its timing).

use crate::bank::{ACCOUNTS, Attempt, End, Ports, bank, transfer};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const CLIENTS: u64 = 4;
const DEATHS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_deaths() {
    let seed = std::env::var("ATONE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("ATONE_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            tokio::spawn(work(bank.ports(), SmallRng::seed_from_u64(seed ^ (client + 1)), over.clone()))
        })
        .collect();
    for _ in 0..DEATHS {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..700))).await;
        // A proxy that dies takes the sessions with it, a coordinator only its memory; both at once is the power cut.
        let (proxy, coordinator) = [(true, false), (false, true), (true, true)][random.random_range(0..3)];
        if proxy {
            bank.world.proxy.kill9();
        }
        if coordinator {
            bank.world.coordinator.kill9();
            bank.world.coordinator.restart().unwrap();
        }
        if proxy {
            bank.world.proxy.restart().unwrap();
        }
    }
    over.store(true, Relaxed);
    for client in clients {
        bank.attempts.extend(client.await.expect("the client does not panic"));
    }
    let committed = bank.attempts.iter().filter(|one| one.told.as_deref() == Some("committed")).count();
    println!("{} transfers began, {committed} were told committed", bank.attempts.len());
    bank.settle(&format!("random deaths of seed {seed}")).await;
    assert!(committed > 0, "no transfer ever committed between the deaths");
}

/// A client that never stops trying until told to.
async fn work(ports: Ports, mut random: SmallRng, over: Arc<AtomicBool>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while !over.load(Relaxed) {
        let end =
            [End::Commit, End::Commit, End::Commit, End::Rollback, End::Vanish][random.random_range(0..5)];
        match transfer(ports, random.random_range(0..ACCOUNTS), end).await {
            Some(attempt) => attempts.push(attempt),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    attempts
}
