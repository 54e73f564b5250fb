//! Waiting for locks: in order of arrival, woken by events, over real gRPC.

mod common;

use atone_protocol::{
    Bound, CallError, Check, Client, Errand, LockKey, Refusal, Stuck, TaskOutcome, TxStatus, Xid, Yield,
};
use atone_tc_server::Running;
use common::*;
use std::time::Duration;
use tokio::task::JoinHandle;

const WAIT: Duration = Duration::from_secs(3);

async fn waiting(running: &Running, key: u64, count: u64) {
    until("so many wait", || async {
        let (_, page) = get(running, &format!("/v1/locks?key={key}")).await;
        (page["locks"][0]["waiting"] == count).then_some(())
    })
    .await;
}

fn ask(client: &Client, xid: Xid, keys: &'static [u64]) -> JoinHandle<Result<u64, CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.register(register(xid, branch(), keys, WAIT)).await })
}

fn answering(running: &Running) -> Client {
    Proxy::new(&running.grpc.to_string(), &["orders"], "p1")
        .answering(|task| match task.kind {
            atone_protocol::TaskKind::Resolve => TaskOutcome::Committed,
            _ => TaskOutcome::Done,
        })
        .0
}

#[tokio::test]
async fn waiters_are_granted_in_order_of_arrival() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let (holder, first, second) = (begin(&client).await, begin(&client).await, begin(&client).await);
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let one = ask(&client, first, &[1, 2]);
    waiting(&running, 1, 1).await;
    let two = ask(&client, second, &[1]);
    waiting(&running, 1, 2).await;
    // Key 2 is free, but somebody is queued for it already.
    let hasty = begin(&client).await;
    let refused = client.register(register(hasty, branch(), &[2], Duration::ZERO)).await;
    assert!(
        matches!(refused, Err(CallError::Refused(Refusal::Conflict { holder, .. })) if holder == first),
        "{refused:?}"
    );
    assert_eq!(client.commit(holder).await, Ok(TxStatus::Committed));
    assert_eq!(one.await.unwrap(), Ok(1));
    assert!(!two.is_finished());
    assert_eq!(client.commit(first).await, Ok(TxStatus::Committed));
    assert_eq!(two.await.unwrap(), Ok(1));
    running.stop().await;
}

#[tokio::test]
async fn a_rollback_decision_fails_all_who_wait_for_its_keys_and_all_who_come() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    // Nobody undoes anything here: the keys stay locked.
    let proxy = Proxy::new(&running.grpc.to_string(), &[], "");
    let client = proxy.client.clone();
    let (holder, one, two) = (begin(&client).await, begin(&client).await, begin(&client).await);
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let waiters = [ask(&client, one, &[1]), ask(&client, two, &[1])];
    waiting(&running, 1, 2).await;
    assert_eq!(client.rollback(holder, "asked", Duration::ZERO).await, Ok(TxStatus::RollingBack));
    let late = ask(&client, one, &[1]);
    for waiter in waiters.into_iter().chain([late]) {
        let refused = waiter.await.unwrap();
        let Err(CallError::Refused(Refusal::Conflict { holder: who, holder_status, .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((who, holder_status), (holder, TxStatus::RollingBack));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_waiter_leaves_when_its_own_transaction_is_decided_or_its_proxy_dies() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let dying = Proxy::new(&running.grpc.to_string(), &[], "");
    let (holder, decided, orphan) = (begin(&client).await, begin(&client).await, begin(&client).await);
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let one = ask(&client, decided, &[1]);
    waiting(&running, 1, 1).await;
    let _two = ask(&dying.client, orphan, &[1]);
    waiting(&running, 1, 2).await;
    assert_eq!(client.rollback(decided, "asked", WAIT).await, Ok(TxStatus::RolledBack));
    let refused = one.await.unwrap();
    assert!(matches!(refused, Err(CallError::Refused(Refusal::Finished { .. }))), "{refused:?}");
    dying.kill();
    waiting(&running, 1, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn the_youngest_of_a_circle_yields() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let mut both = [begin(&client).await, begin(&client).await];
    both.sort();
    let [old, young] = both;
    client.register(register(old, branch(), &[1], WAIT)).await.unwrap();
    client.register(register(young, branch(), &[2], WAIT)).await.unwrap();
    let yields = ask(&client, young, &[1]);
    waiting(&running, 1, 1).await;
    let stays = ask(&client, old, &[2]);
    let refused = yields.await.unwrap();
    assert!(
        matches!(&refused, Err(CallError::Refused(Refusal::Conflict { deadlock, .. }))
            if *deadlock == [young.to_string(), old.to_string()]),
        "{refused:?}"
    );
    assert_eq!(client.rollback(young, "deadlock", WAIT).await, Ok(TxStatus::RolledBack));
    // Failed at once or granted after the undo, according to which of the two decisions it met.
    let ended = stays.await.unwrap();
    assert!(matches!(&ended, Ok(_) | Err(CallError::Refused(Refusal::Conflict { .. }))), "{ended:?}");
    running.stop().await;
}

#[tokio::test]
async fn its_own_keys_never_make_a_transaction_queue() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let (holder, other) = (begin(&client).await, begin(&client).await);
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let waiter = ask(&client, other, &[1]);
    waiting(&running, 1, 1).await;
    assert_eq!(client.register(register(holder, branch(), &[1], WAIT)).await, Ok(2));
    assert_eq!(client.commit(holder).await, Ok(TxStatus::Committed));
    assert_eq!(waiter.await.unwrap(), Ok(1));
    running.stop().await;
}

fn checking(xid: Option<Xid>, keys: Vec<LockKey>, tables: Vec<String>) -> Check {
    let resource = "orders".into();
    let everything = tables.is_empty() && keys.is_empty();
    Check { xid, resource, keys, shared: Vec::new(), tables, everything, wait: WAIT, session: 0 }
}

fn look(client: &Client, keys: &'static [u64], tables: &'static [&str]) -> JoinHandle<Result<(), CallError>> {
    let client = client.clone();
    let tables: Vec<String> = tables.iter().map(|t| (*t).to_owned()).collect();
    let keys = register(Xid::from_u128(0), branch(), keys, WAIT).keys;
    let check = checking(None, keys, tables);
    tokio::spawn(async move { client.check(check).await })
}

#[tokio::test]
async fn a_check_waits_until_keys_are_free_and_takes_none() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let (holder, other) = (begin(&client).await, begin(&client).await);
    look(&client, &[1], &["shop.item"]).await.unwrap().unwrap();
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    look(&client, &[2], &["shop.ite", "shop.items"]).await.unwrap().unwrap();
    // Its own locks do not count.
    let keys = register(holder, branch(), &[1], WAIT).keys;
    let own = checking(Some(holder), keys, Vec::new());
    client.check(own.clone()).await.unwrap();
    let elsewhere = Check { xid: None, resource: "accounts".into(), ..own.clone() };
    client.check(elsewhere).await.unwrap();
    // Without patience the holder is named at once.
    let now = client.check(Check { xid: Some(other), wait: Duration::ZERO, ..own }).await;
    let Err(CallError::Refused(Refusal::Conflict { holder: who, holder_status, .. })) = now else {
        panic!("{now:?}")
    };
    assert_eq!((who, holder_status), (holder, TxStatus::Active));
    let waiters = [look(&client, &[2, 1], &[]), look(&client, &[], &["shop.item"]), look(&client, &[], &[])];
    waiting(&running, 1, 3).await;
    assert!(waiters.iter().all(|w| !w.is_finished()));
    assert_eq!(client.commit(holder).await, Ok(TxStatus::Committed));
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    // Nothing was taken, and nobody waits any more.
    client.register(register(other, branch(), &[1, 2], Duration::ZERO)).await.unwrap();
    waiting(&running, 1, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_check_fails_as_soon_as_the_holder_rolls_back() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    // Nobody undoes anything here: the keys stay locked.
    let proxy = Proxy::new(&running.grpc.to_string(), &[], "");
    let client = proxy.client.clone();
    let holder = begin(&client).await;
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let waiters = [look(&client, &[1], &[]), look(&client, &[], &["shop.item"])];
    waiting(&running, 1, 2).await;
    assert_eq!(client.rollback(holder, "asked", Duration::ZERO).await, Ok(TxStatus::RollingBack));
    let late = look(&client, &[1], &[]);
    for waiter in waiters.into_iter().chain([late]) {
        let refused = waiter.await.unwrap();
        let Err(CallError::Refused(Refusal::Conflict { holder: who, holder_status, .. })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((who, holder_status), (holder, TxStatus::RollingBack));
    }
    running.stop().await;
}

#[tokio::test]
async fn sharers_hold_a_key_together_and_a_check_may_share_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let (one, two, alone) = (begin(&client).await, begin(&client).await, begin(&client).await);
    for xid in [one, two] {
        let mut request = register(xid, branch(), &[], WAIT);
        request.shared = vec![key(1)];
        client.register(request).await.unwrap();
    }
    let (_, page) = get(&running, "/v1/locks?key=1").await;
    let modes: Vec<_> = page["locks"].as_array().unwrap().iter().map(|lock| &lock["mode"]).collect();
    assert_eq!(modes, ["shared", "shared"]);
    let mut shares = checking(None, Vec::new(), Vec::new());
    (shares.shared, shares.everything) = (vec![key(1)], false);
    client.check(shares.clone()).await.unwrap();
    let writes = look(&client, &[1], &[]);
    waiting(&running, 1, 1).await;
    let takes = ask(&client, alone, &[1]);
    waiting(&running, 1, 2).await;
    assert_eq!(client.commit(one).await, Ok(TxStatus::Committed));
    assert!(!writes.is_finished() && !takes.is_finished());
    assert_eq!(client.commit(two).await, Ok(TxStatus::Committed));
    assert_eq!(takes.await.unwrap(), Ok(1));
    shares.wait = Duration::ZERO;
    let refused = client.check(shares).await;
    assert!(
        matches!(&refused, Err(CallError::Refused(Refusal::Conflict { holder, .. })) if *holder == alone),
        "{refused:?}"
    );
    assert_eq!(client.commit(alone).await, Ok(TxStatus::Committed));
    writes.await.unwrap().unwrap();
    running.stop().await;
}

#[tokio::test]
async fn one_who_waits_here_yields_to_one_who_waits_for_it_in_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let holder = begin(&client).await;
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let (resource, xid) = ("orders".to_owned(), Some(holder));
    let stuck = Stuck { resource, session: 5, xid, by: vec![17] };
    let mut check = checking(None, vec![key(1)], Vec::new());
    check.session = 17;
    let local = tokio::spawn({
        let client = client.clone();
        async move { client.check(check).await }
    });
    waiting(&running, 1, 1).await;
    client.stuck(stuck);
    let refused = local.await.unwrap();
    let Err(CallError::Refused(Refusal::Conflict { deadlock, .. })) = &refused else { panic!("{refused:?}") };
    assert_eq!(*deadlock, ["connection 17 of orders".to_owned(), holder.to_string()]);
    running.stop().await;
}

#[tokio::test]
async fn of_those_who_wait_in_two_databases_the_proxy_of_the_youngest_is_asked_to_interrupt_it() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let address = running.grpc.to_string();
    let (mut one, mut two) = (
        Proxy::new(&address, &["orders", "accounts"], "p"),
        Proxy::new(&address, &["orders", "accounts"], "p"),
    );
    let mut xids = [begin(&one.client).await, begin(&two.client).await];
    xids.sort();
    let [elder, younger] = xids;
    let stuck = |resource: &str, session, xid, by| Stuck {
        resource: resource.to_owned(),
        session,
        xid: Some(xid),
        by: vec![by],
    };
    one.client.stuck(stuck("orders", 10, elder, 20));
    let whose =
        |resource: &str, session| Errand::Whose { resource: resource.to_owned(), sessions: vec![session] };
    // All who reach the database are asked.
    for proxy in [&mut one, &mut two] {
        assert_eq!(proxy.errands.next().await, Some(whose("orders", 20)));
    }
    two.client.bound(Bound { resource: "orders".to_owned(), session: 20, xid: Some(younger) });
    two.client.stuck(stuck("accounts", 21, younger, 11));
    for proxy in [&mut one, &mut two] {
        assert_eq!(proxy.errands.next().await, Some(whose("accounts", 11)));
    }
    one.client.bound(Bound { resource: "accounts".to_owned(), session: 11, xid: Some(elder) });
    let told = Yield {
        resource: "accounts".to_owned(),
        xid: younger,
        chain: vec![21, 11],
        circle: vec![younger.to_string(), elder.to_string()],
    };
    assert_eq!(two.errands.next().await, Some(Errand::Yield(told.clone())));
    // It was not interrupted, and says that it waits still: once more.
    two.client.stuck(stuck("accounts", 21, younger, 11));
    assert_eq!(two.errands.next().await, Some(Errand::Yield(told)));
    running.stop().await;
}

#[tokio::test]
async fn who_gives_up_waiting_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = answering(&running);
    let (holder, gone, next) = (begin(&client).await, begin(&client).await, begin(&client).await);
    client.register(register(holder, branch(), &[1], WAIT)).await.unwrap();
    let given_up = ask(&client, gone, &[1]);
    waiting(&running, 1, 1).await;
    let second = ask(&client, next, &[1]);
    waiting(&running, 1, 2).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    // Said behind it on the same stream.
    assert_eq!(client.commit(holder).await, Ok(TxStatus::Committed));
    assert_eq!(second.await.unwrap(), Ok(1));
    running.stop().await;
}
