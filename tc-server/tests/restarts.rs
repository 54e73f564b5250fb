//! What a coordinator's data directory keeps, and whom it belongs to.

mod common;

use atone_protocol::{BranchId, CallError, Refusal, TaskKind, TaskOutcome, TxStatus};
use common::*;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn a_restart_keeps_everything_and_takes_up_what_was_not_finished() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let grpc = running.grpc.to_string();
    let proxy = Proxy::new(&grpc, &[], "");
    let client = proxy.client.clone();
    let (active, undone, kept) = (begin(&client).await, begin(&client).await, begin(&client).await);
    let (b1, b2, b3) = (branch(), branch(), branch());
    client.register(register(active, b1, &[1], NOW)).await.unwrap();
    client.register(register(undone, b2, &[2], NOW)).await.unwrap();
    client.register(register(kept, b3, &[3], NOW)).await.unwrap();
    assert_eq!(client.rollback(undone, "asked", NOW).await, Ok(TxStatus::RollingBack));
    proxy.kill();
    running.stop().await;

    let running =
        atone_tc_server::start(atone_tc_server::Config { listen: grpc.clone(), ..config(directory.path()) })
            .await
            .unwrap();
    let mut proxy = Proxy::new(&grpc, &["orders"], "p1");
    let client = proxy.client.clone();
    let task = proxy.task().await;
    assert_eq!((task.branch, task.kind), (b2, TaskKind::RollBack));
    client.report(task.id, TaskOutcome::Done, "p1");
    assert_eq!(client.rollback(undone, "again", LONG).await, Ok(TxStatus::RolledBack));
    let refused = client.register(register(kept, branch(), &[1], NOW)).await;
    assert!(matches!(refused, Err(CallError::Refused(Refusal::Conflict { holder, .. })) if holder == active));
    assert_eq!(client.register(register(active, b1, &[1], NOW)).await, Ok(1));
    // Hints are not kept: the database is asked.
    let ended = tokio::spawn(async move { client.commit(active).await });
    let task = proxy.task().await;
    assert_eq!((task.branch, task.kind), (b1, TaskKind::Resolve));
    proxy.client.report(task.id, TaskOutcome::Committed, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::Committed));
    running.stop().await;
}

#[tokio::test]
async fn snapshots_replace_the_log_and_a_restart_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let small = || atone_tc_server::Config { snapshot_after: 20_000, ..config(directory.path()) };
    let running = atone_tc_server::start(small()).await.unwrap();
    let proxy = Proxy::new(&running.grpc.to_string(), &[], "");
    let mut begun = Vec::new();
    for n in 0..600 {
        let xid = begin(&proxy.client).await;
        proxy.client.register(register(xid, BranchId::new(n), &[n], NOW)).await.unwrap();
        begun.push(xid);
    }
    until("a snapshot is there", || async { directory.path().join("snapshot").exists().then_some(()) }).await;
    proxy.kill();
    running.stop().await;
    let running = atone_tc_server::start(small()).await.unwrap();
    let (_, page) = get(&running, "/v1/transactions?limit=10000").await;
    let mut found: Vec<_> = page["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tx| tx["xid"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut begun: Vec<_> = begun.iter().map(ToString::to_string).collect();
    begun.sort();
    assert_eq!(found, begun);
    let (_, page) = get(&running, "/v1/locks?limit=10000").await;
    assert_eq!(page["locks"].as_array().unwrap().len(), 600);
    running.stop().await;
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_process_and_one_node() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let refused = atone_tc_server::start(config(directory.path())).await.map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("in use") && refused.contains(&directory.path().display().to_string()),
        "{refused}"
    );
    running.stop().await;
    let other = atone_tc_server::Config { node_id: 2, ..config(directory.path()) };
    let refused = atone_tc_server::start(other).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("belongs to node 1"), "{refused}");
    start(directory.path()).await.stop().await;
}
