//! Two databases under one name: phase two of a branch is given only to a proxy of the database where the branch ran.

mod common;

use atone_protocol::{CallError, Client, Lineage, Register, Task, TaskKind, TaskOutcome, TxStatus, Xid};
use common::*;
use serde_json::json;
use std::time::Duration;

/// A branch on a database.
fn on(lineage: u64, xid: Xid, n: u64) -> Register {
    Register { lineage: Lineage::new(lineage), ..register(xid, branch(), &[n], Duration::ZERO) }
}

fn done(task: &Task) -> TaskOutcome {
    if task.kind == TaskKind::Resolve { TaskOutcome::Committed } else { TaskOutcome::Done }
}

/// As a proxy does it that reaches a new and empty database.
fn knows_nothing(task: &Task) -> TaskOutcome {
    if task.kind == TaskKind::Resolve { TaskOutcome::Guarded } else { TaskOutcome::Done }
}

fn proxy(grpc: &str, primary: &str, lineage: u64) -> Proxy {
    Proxy::of(grpc, &["orders"], primary, Lineage::new(lineage))
}

async fn connected(client: &Client) {
    while !client.connected() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn another_database_of_a_name_that_is_served_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let grpc = running.grpc.to_string();
    let (first, _tasks) = proxy(&grpc, "p1", 0xa1).answering(done);
    let xid = begin(&first).await;
    first.register(on(0xa1, xid, 1)).await.unwrap();
    // The same database through another proxy is welcome.
    let same = proxy(&grpc, "p1", 0xa1);
    assert_eq!(same.client.status(xid).await.unwrap().unwrap().0, TxStatus::Active);
    let second = proxy(&grpc, "p2", 0xb2);
    let why = second.client.commit(xid).await.unwrap_err();
    let CallError::Unavailable(why) = why else { panic!("{why}") };
    for word in
        ["orders", "p1:3306", "p2:3306", "00000000000000a1", "00000000000000b2", "give one another name"]
    {
        assert!(why.contains(word), "no {word} in: {why}");
    }
    assert_eq!(first.commit(xid).await, Ok(TxStatus::Committed));
    running.stop().await;
}

#[tokio::test]
async fn a_branch_waits_for_its_own_database() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let grpc = running.grpc.to_string();
    let ledger = Proxy::new(&grpc, &["ledger"], "x");
    let client = ledger.client.clone();
    let first = proxy(&grpc, "p1", 0xa1);
    connected(&first.client).await;
    let xid = begin(&client).await;
    let known = on(0xa1, xid, 1);
    client.register(known.clone()).await.unwrap();
    // A branch of which it is not known where it ran goes to whoever has the name, as before.
    let unknown =
        Register { lineage: None, ..register(begin(&client).await, branch(), &[2], Duration::ZERO) };
    client.register(unknown.clone()).await.unwrap();
    first.kill();
    let (second, _tasks) = proxy(&grpc, "p2", 0xb2).answering(knows_nothing);
    connected(&second).await;
    // One that ran on the second is not kept waiting by it.
    let here = on(0xb2, begin(&client).await, 3);
    client.register(here.clone()).await.unwrap();
    assert_eq!(client.rollback(here.xid, "asked", LONG).await, Ok(TxStatus::RolledBack));
    assert_eq!(client.rollback(unknown.xid, "asked", LONG).await, Ok(TxStatus::RolledBack));
    // The commit asks nobody who cannot know, and says why it waits.
    let why = client.commit(xid).await.unwrap_err().to_string();
    for word in ["orders", "00000000000000a1", "p2:3306", "another name", "UPDATE atone.lineage"] {
        assert!(why.contains(word), "no {word} in: {why}");
    }
    assert_eq!(client.status(xid).await.unwrap().unwrap().0, TxStatus::Active);
    // The proxy of the first comes back, and the one of the second is gone.
    running.stop().await;
    let running = start_again(directory.path(), &grpc).await;
    let (first, _tasks) = proxy(&running.grpc.to_string(), "p1", 0xa1).answering(done);
    assert_eq!(first.commit(xid).await, Ok(TxStatus::Committed));
    running.stop().await;
}

/// Elsewhere, so that only who is meant to comes back.
async fn start_again(directory: &std::path::Path, before: &str) -> atone_tc_server::Running {
    let running = start(directory).await;
    assert_ne!(running.grpc.to_string(), before);
    running
}

#[tokio::test]
async fn a_branch_whose_database_is_gone_is_ended_by_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let grpc = running.grpc.to_string();
    let first = proxy(&grpc, "p1", 0xa1);
    let client = first.client.clone();
    let xid = begin(&client).await;
    let register = on(0xa1, xid, 1);
    client.register(register.clone()).await.unwrap();
    let page = format!("/v1/transactions/{xid}/branches/{}/resolve", register.branch);
    let gone = json!({ "how": "gone", "by": "anna", "reason": "sold" }).to_string();
    let refused = async |word: &str| {
        let (code, answer) = post(&running, &page, &gone).await;
        assert!(code == 409 && answer["error"].as_str().unwrap().contains(word), "{answer}");
    };
    refused("a proxy is connected").await;
    first.kill();
    let second = proxy(&grpc, "p2", 0xb2);
    connected(&second.client).await;
    refused("not decided").await;
    let status = second.client.rollback(xid, "asked", Duration::ZERO).await;
    assert_eq!(status, Ok(TxStatus::RollingBack));
    let (_, shown) = get(&running, &format!("/v1/transactions/{xid}")).await;
    let waits = &shown["branches"][0];
    assert_eq!(waits["lineage"], "00000000000000a1");
    let why = waits["reason"].as_str().unwrap();
    assert!(why.contains("another server") && why.contains("atone tx resolve --gone"), "{why}");
    assert_eq!(shown["locks"].as_array().unwrap().len(), 1);
    let (code, answer) = post(&running, &page, &gone).await;
    assert_eq!(
        (code, &answer["status"], &answer["branch_status"]),
        (200, &json!("rolled_back"), &json!("done"))
    );
    // The same again is answered the same, anything else comes too late.
    assert_eq!(post(&running, &page, &gone).await.0, 200);
    let late = json!({ "how": "retry", "by": "anna" }).to_string();
    assert_eq!(post(&running, &page, &late).await.0, 409);
    let (_, shown) = get(&running, &format!("/v1/transactions/{xid}")).await;
    assert_eq!(shown["locks"], json!([]));
    let (_, audit) = get(&running, &format!("/v1/audit?xid={xid}")).await;
    assert!(audit["audit"].to_string().contains("resolve gone"), "{audit}");
    running.stop().await;
}

#[test]
fn an_identity_is_written_as_it_is_read() {
    let lineage = Lineage::new(0xfe).unwrap();
    assert_eq!(lineage.to_string(), "00000000000000fe");
    assert_eq!(lineage.to_string().parse(), Ok(lineage));
    for wrong in ["", "fe", "0000000000000000", "+0000000000000fe", "00000000000000fe0"] {
        assert!(wrong.parse::<Lineage>().is_err(), "{wrong}");
    }
}
