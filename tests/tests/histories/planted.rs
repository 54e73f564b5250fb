//! Bugs put in on purpose (`atone_protocol::planted`): the check must find each, and by more than that Atone itself says
//! that a rollback is blocked.

use crate::lists::{self, Shape};
use crate::stage::Stage;
use crate::{programs, seed};
use atone_tests::history::{Kind as Anomaly, check};
use atone_tests::servers::Kind;
use atone_tests::servers::binaries::Profile;
use std::collections::BTreeMap;

/// A bug is tried so often at most, though most are found in one to five. Each time in new tables: what is blocked keeps
/// its locks.
const ATTEMPTS: u64 = 30;

/// What comes of writes on top of what is not decided, when it is rolled back.
const DIRTY: [Anomaly; 3] = [Anomaly::G1a, Anomaly::DirtyUpdate, Anomaly::Blocked];

/// What comes of them though all commit: writers and readers that are not one behind the other any more.
const CIRCLES: [Anomaly; 7] = [
    Anomaly::G0,
    Anomaly::G1b,
    Anomaly::G1c,
    Anomaly::GSingle,
    Anomaly::LostUpdate,
    Anomaly::LostAppend,
    Anomaly::Internal,
];

/// Much is rolled back.
const ROLLING_BACK: Shape = Shape { clients: 4, each: 15, lists: 2, rollbacks: 40, pause: 60, deaths: 0 };

/// Runs programs with this bug until all that is `DIRTY` and one of `any` have been found. Every other time nothing is rolled
/// back but what was refused.
async fn is_found(bug: &'static str, failpoints: &str, committing: Shape, any: &[Anomaly]) {
    let _programs = programs(Profile::Planted(bug)).await;
    let seed = seed();
    let kinds = [Kind::Maria, Kind::Pg15];
    let mut stage = Stage::start(Profile::Planted(bug), kinds, failpoints).expect("the servers start");
    let mut found: BTreeMap<Anomaly, usize> = BTreeMap::new();
    for attempt in 0..ATTEMPTS {
        // What is blocked keeps everybody out, so that some anomalies are seen only where nothing is rolled back.
        let shape = if attempt % 2 == 0 { ROLLING_BACK } else { committing };
        let history = lists::run(&mut stage, &format!("{bug}_{attempt}"), shape, seed ^ attempt).await;
        for anomaly in check(&history) {
            let count = found.entry(anomaly.kind).or_default();
            if *count == 0 {
                println!("{anomaly}");
            }
            *count += 1;
        }
        println!("{bug}, after attempt {attempt}: {found:?}");
        let some = any.is_empty() || any.iter().any(|kind| found.contains_key(kind));
        if some && DIRTY.iter().all(|kind| found.contains_key(kind)) {
            return;
        }
    }
    panic!(
        "ATONE_HISTORY_SEED={seed}: of {bug} only these were found: {found:?}; not all of {DIRTY:?} and one of {any:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_before_the_row_lock() {
    // The bug asks about whole tables, and seldom finds one free.
    let shape = Shape { lists: 1, rollbacks: 0, ..ROLLING_BACK };
    is_found("check_before_row_lock", "", shape, &CIRCLES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn release_at_the_rollback_decision() {
    // Between the decision and the undo. Who commits is not concerned: there is nothing else to be found.
    is_found("release_at_rollback_decision", "tc.before_dispatch=pause:150", ROLLING_BACK, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_lock_read() {
    let shape = Shape { each: 20, rollbacks: 0, pause: 30, ..ROLLING_BACK };
    is_found("stale_lock_read", "", shape, &CIRCLES).await;
}
