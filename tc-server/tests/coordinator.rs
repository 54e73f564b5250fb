//! A coordinator and fake proxies over real gRPC: phase one and phase two.

mod common;

use atone_protocol::{CallError, Refusal, TaskKind, TaskOutcome, TxStatus};
use common::*;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn commit_frees_the_locks_and_then_forgets_the_undo_record() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let client = proxy.client.clone();
    let (one, two, b) = (begin(&client).await, begin(&client).await, branch());
    assert_eq!(client.register(register(one, b, &[1, 2], NOW)).await, Ok(1));
    assert_eq!(client.register(register(one, b, &[1, 2], NOW)).await, Ok(1));
    let refused = client.register(register(two, branch(), &[3, 2], NOW)).await;
    let Err(CallError::Refused(Refusal::Conflict { key: k, holder, holder_status, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((k, holder, holder_status), (key(2), one, TxStatus::Active));
    client.settled(one, b, "orders", "p1");
    assert_eq!(client.commit(one).await, Ok(TxStatus::Committed));
    assert_eq!(client.register(register(two, branch(), &[3, 2], NOW)).await, Ok(1));
    let task = proxy.task().await;
    assert_eq!((task.xid, task.branch, task.kind), (one, b, TaskKind::Forget));
    client.report(task.id, TaskOutcome::Done, "p1");
    until("phase two is finished", || async {
        let (_, page) = get(&running, &format!("/v1/transactions/{one}")).await;
        (page["timeline"].as_array()?.last()?["event"] == "finished").then_some(())
    })
    .await;
    assert_eq!(client.commit(one).await, Ok(TxStatus::Committed));
    let refused = client.register(register(one, branch(), &[9], NOW)).await;
    assert!(matches!(
        refused,
        Err(CallError::Refused(Refusal::Finished { status: TxStatus::Committed, .. }))
    ));
    running.stop().await;
}

#[tokio::test]
async fn rollback_undoes_a_resource_newest_first_and_resources_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders", "stock"], "p1");
    let client = proxy.client.clone();
    let xid = begin(&client).await;
    let (first, second, other) = (branch(), branch(), branch());
    client.register(register(xid, first, &[1], NOW)).await.unwrap();
    client.register(register(xid, second, &[1], NOW)).await.unwrap();
    let mut elsewhere = register(xid, other, &[1], NOW);
    elsewhere.resource = "stock".into();
    assert_eq!(client.register(elsewhere).await, Ok(3));
    let ended = tokio::spawn({
        let client = client.clone();
        async move { client.rollback(xid, "asked", LONG).await }
    });
    let mut now = [proxy.task().await, proxy.task().await];
    now.sort_by(|a, b| a.resource.cmp(&b.resource));
    assert_eq!((now[0].branch, now[1].branch), (second, other));
    assert!(now.iter().all(|task| task.kind == TaskKind::RollBack));
    client.report(now[0].id, TaskOutcome::Done, "p1");
    let last = proxy.task().await;
    assert_eq!(last.branch, first);
    client.report(last.id, TaskOutcome::Done, "p1");
    client.report(now[1].id, TaskOutcome::Done, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::RolledBack));
    assert_eq!(client.status(xid).await, Ok(Some((TxStatus::RolledBack, "asked".into()))));
    running.stop().await;
}

#[tokio::test]
async fn a_blocked_rollback_waits_for_a_person_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let client = proxy.client.clone();
    let xid = begin(&client).await;
    client.register(register(xid, branch(), &[1], NOW)).await.unwrap();
    let rollback = || {
        let client = client.clone();
        tokio::spawn(async move { client.rollback(xid, "asked", LONG).await })
    };
    let ended = rollback();
    let task = proxy.task().await;
    client.report(task.id, TaskOutcome::Blocked("row 1 was changed".into()), "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::Blocked));
    let (_, page) = get(&running, &format!("/v1/transactions/{xid}")).await;
    assert_eq!(
        (&page["branches"][0]["reason"], &page["locks"][0]["key"]),
        (&"row 1 was changed".into(), &"1".into())
    );
    let ended = rollback();
    let task = proxy.task().await;
    client.report(task.id, TaskOutcome::Retry("the database is away".into()), "p1");
    let task = proxy.task().await;
    client.report(task.id, TaskOutcome::Done, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::RolledBack));
    running.stop().await;
}

#[tokio::test]
async fn a_commit_asks_the_database_about_a_branch_without_a_valid_hint() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let address = running.grpc.to_string();
    let mut proxy = Proxy::new(&address, &["orders"], "p1");
    let client = proxy.client.clone();
    let (sure, unsure, stale) = (begin(&client).await, begin(&client).await, begin(&client).await);
    let (b1, b2, b3) = (branch(), branch(), branch());
    client.register(register(sure, b1, &[1], NOW)).await.unwrap();
    client.register(register(unsure, b2, &[2], NOW)).await.unwrap();
    client.register(register(stale, b3, &[3], NOW)).await.unwrap();
    let commit = |xid| {
        let client = client.clone();
        tokio::spawn(async move { client.commit(xid).await })
    };
    // No hint: asked, and there.
    let ended = commit(sure);
    let task = proxy.task().await;
    assert_eq!((task.xid, task.kind), (sure, TaskKind::Resolve));
    client.report(task.id, TaskOutcome::Committed, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::Committed));
    let forget = proxy.task().await;
    client.report(forget.id, TaskOutcome::Done, "p1");
    // No hint: asked, and it can never commit.
    let ended = commit(unsure);
    let task = proxy.task().await;
    client.report(task.id, TaskOutcome::Guarded, "p1");
    let undo = proxy.task().await;
    assert_eq!((undo.branch, undo.kind), (b2, TaskKind::RollBack));
    client.report(undo.id, TaskOutcome::Done, "p1");
    let refused = ended.await.unwrap();
    let Err(CallError::Refused(Refusal::Finished { status: TxStatus::RolledBack, reason })) = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains(&b2.to_string()) && reason.contains("orders"), "{reason}");
    // A hint of another primary is void.
    client.settled(stale, b3, "orders", "p0");
    let ended = commit(stale);
    let task = proxy.task().await;
    assert_eq!((task.xid, task.kind), (stale, TaskKind::Resolve));
    client.report(task.id, TaskOutcome::Committed, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::Committed));
    running.stop().await;
}

#[tokio::test]
async fn a_failed_branch_makes_the_commit_a_rollback() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let client = proxy.client.clone();
    let (xid, failed, late) = (begin(&client).await, branch(), branch());
    client.register(register(xid, failed, &[1], NOW)).await.unwrap();
    client.failed(xid, failed).await.unwrap();
    client.failed(xid, late).await.unwrap();
    for b in [failed, late, branch()] {
        let refused = client.register(register(xid, b, &[1], NOW)).await;
        assert!(matches!(refused, Err(CallError::Refused(Refusal::RollbackOnly { .. }))), "{refused:?}");
    }
    let refused = client.commit(xid).await;
    let Err(CallError::Refused(Refusal::RollbackOnly { reason })) = refused else { panic!("{refused:?}") };
    assert!(reason.contains(&failed.to_string()), "{reason}");
    assert_eq!(client.status(xid).await.unwrap().unwrap().0, TxStatus::RolledBack);
    running.stop().await;
}

#[tokio::test]
async fn a_deadline_rolls_back_by_itself_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let (xid, b) = (xid(), branch());
    proxy.client.begin(xid, "short", Duration::from_secs(3)).await.unwrap();
    proxy.client.register(register(xid, b, &[1], NOW)).await.unwrap();
    let task = proxy.task().await;
    assert_eq!((task.branch, task.kind), (b, TaskKind::RollBack));
    let (_, reason) = proxy.client.status(xid).await.unwrap().unwrap();
    assert_eq!(reason, "timed out after 3 s");
    let refused = proxy.client.commit(xid);
    proxy.client.report(task.id, TaskOutcome::Done, "p1");
    let refused = refused.await;
    assert!(
        matches!(refused, Err(CallError::Refused(Refusal::Finished { status: TxStatus::RolledBack, .. }))),
        "{refused:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn tasks_of_a_proxy_that_dies_go_to_another_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let address = running.grpc.to_string();
    let mut dying = Proxy::new(&address, &["orders"], "p1");
    let client = dying.client.clone();
    let (xid, b) = (begin(&client).await, branch());
    client.register(register(xid, b, &[1], NOW)).await.unwrap();
    assert_eq!(client.rollback(xid, "asked", NOW).await, Ok(TxStatus::RollingBack));
    let first = dying.task().await;
    let mut heir = Proxy::new(&address, &["orders"], "p1");
    until("the heir is connected", || async { heir.client.connected().then_some(()) }).await;
    dying.kill();
    let again = heir.task().await;
    assert_eq!((again.branch, again.kind), (first.branch, first.kind));
    heir.client.report(again.id, TaskOutcome::Done, "p1");
    assert_eq!(heir.client.rollback(xid, "asked", LONG).await, Ok(TxStatus::RolledBack));
    running.stop().await;
}

#[tokio::test]
async fn unknown_transactions_are_refused_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let (client, nobody) = (&proxy.client, xid());
    let unknown = CallError::Refused(Refusal::Unknown);
    assert_eq!(client.status(nobody).await, Ok(None));
    assert_eq!(client.commit(nobody).await, Err(unknown.clone()));
    assert_eq!(client.rollback(nobody, "", NOW).await, Err(unknown.clone()));
    assert_eq!(client.failed(nobody, branch()).await, Err(unknown.clone()));
    assert_eq!(client.register(register(nobody, branch(), &[1], LONG)).await, Err(unknown));
    let long = client.begin(xid(), "", Duration::from_secs(601)).await;
    assert!(matches!(long, Err(CallError::Refused(Refusal::Invalid(_)))), "{long:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_new_primary_makes_the_hints_of_the_old_one_void() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let address = running.grpc.to_string();
    let proxy = Proxy::new(&address, &["orders"], "p1");
    let (xid, b) = (begin(&proxy.client).await, branch());
    proxy.client.register(register(xid, b, &[1], NOW)).await.unwrap();
    proxy.client.settled(xid, b, "orders", "p1");
    // The hint has arrived when a later call is answered.
    proxy.client.status(xid).await.unwrap();
    proxy.kill();
    let mut other = Proxy::new(&address, &["orders"], "p2");
    let client = other.client.clone();
    let ended = tokio::spawn(async move { client.commit(xid).await });
    let task = other.task().await;
    assert_eq!((task.branch, task.kind), (b, TaskKind::Resolve));
    // The branch was lost in the failover: nothing else may be said than that.
    other.client.report(task.id, TaskOutcome::Guarded, "p2");
    let task = other.task().await;
    assert_eq!(task.kind, TaskKind::RollBack);
    other.client.report(task.id, TaskOutcome::Done, "p2");
    assert!(matches!(ended.await.unwrap(), Err(CallError::Refused(Refusal::Finished { .. }))));
    running.stop().await;
}

#[tokio::test]
async fn a_failover_is_heard_of_while_everybody_stays_connected_and_coming_back_revives_no_hint() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let client = proxy.client.clone();
    let (xid, b) = (begin(&client).await, branch());
    client.register(register(xid, b, &[1], NOW)).await.unwrap();
    client.settled(xid, b, "orders", "p1");
    client.sees("orders", "p2");
    // One that was late.
    client.settled(xid, b, "orders", "p1");
    client.sees("orders", "p1");
    let ended = tokio::spawn({
        let client = client.clone();
        async move { client.commit(xid).await }
    });
    let task = proxy.task().await;
    assert_eq!((task.branch, task.kind), (b, TaskKind::Resolve));
    client.report(task.id, TaskOutcome::Committed, "p1");
    assert_eq!(ended.await.unwrap(), Ok(TxStatus::Committed));
    running.stop().await;
}

#[tokio::test]
async fn what_was_done_on_a_primary_of_former_times_is_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = Proxy::new(&running.grpc.to_string(), &["orders"], "p1");
    let client = proxy.client.clone();
    let (xid, b) = (begin(&client).await, branch());
    client.register(register(xid, b, &[1], NOW)).await.unwrap();
    let ended = tokio::spawn({
        let client = client.clone();
        async move { client.commit(xid).await }
    });
    // Asked on the old primary, answered after the new one was heard of.
    for (place, outcome) in [("p1", TaskOutcome::Committed), ("p2", TaskOutcome::Guarded)] {
        let task = proxy.task().await;
        assert_eq!((task.branch, task.kind), (b, TaskKind::Resolve));
        client.sees("orders", "p2");
        client.report(task.id, outcome, place);
    }
    for (place, outcome) in [
        ("p1", TaskOutcome::Done),
        ("p1", TaskOutcome::Blocked("a row was changed".into())),
        ("", TaskOutcome::Done),
        ("p2", TaskOutcome::Done),
    ] {
        let task = proxy.task().await;
        assert_eq!((task.branch, task.kind), (b, TaskKind::RollBack), "before {place}");
        client.report(task.id, outcome, place);
    }
    assert!(matches!(ended.await.unwrap(), Err(CallError::Refused(Refusal::Finished { .. }))));
    assert_eq!(client.status(xid).await.unwrap().unwrap().0, TxStatus::RolledBack);
    running.stop().await;
}
