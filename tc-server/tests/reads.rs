//! Readers who hold back what they have read, over real gRPC.

mod common;

use atone_protocol::{
    CallError, CheckRead, Client, LockKey, Refusal, Task, TaskKind, TaskOutcome, TxStatus, UndoMark, Xid,
};
use atone_tc_server::Running;
use common::*;
use std::time::Duration;
use tokio::task::JoinHandle;

const WAIT: Duration = Duration::from_secs(3);
const ITEM: &str = "shop.item";

type Checked = Result<(UndoMark, bool), CallError>;

fn read(tables: &[&str], since: Option<UndoMark>) -> CheckRead {
    CheckRead {
        xid: None,
        resource: "orders".into(),
        tables: tables.iter().map(|t| (*t).to_owned()).collect(),
        everything: false,
        since,
        wait: WAIT,
        session: 0,
        holds_rows: false,
    }
}

async fn mark(client: &Client) -> UndoMark {
    client.check_read(read(&[], None)).await.unwrap().0
}

fn ask(client: &Client, check: CheckRead) -> JoinHandle<Checked> {
    let client = client.clone();
    tokio::spawn(async move { client.check_read(check).await })
}

async fn waiting(running: &Running, count: usize) {
    let wanted = format!("atone_lock_waiters {count}");
    until("so many wait", || async {
        let (_, page) = http("GET", format!("http://{}/metrics", running.http), None).await;
        page.lines().any(|line| line == wanted).then_some(())
    })
    .await;
}

fn done(task: &Task) -> TaskOutcome {
    match task.kind {
        TaskKind::Resolve => TaskOutcome::Committed,
        _ => TaskOutcome::Done,
    }
}

fn proxy(running: &Running) -> Proxy {
    Proxy::new(&running.grpc.to_string(), &["orders"], "p1")
}

async fn write(client: &Client, keys: &[u64]) -> Xid {
    let xid = begin(client).await;
    client.register(register(xid, branch(), keys, WAIT)).await.unwrap();
    xid
}

fn conflict(checked: Checked) -> (LockKey, Xid, TxStatus, Vec<String>) {
    match checked {
        Err(CallError::Refused(Refusal::Conflict { key, holder, holder_status, deadlock })) => {
            (key, holder, holder_status, deadlock)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_writers_a_read_is_given_once_a_mark_is_known_and_after_a_restart_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).client;
    let (mark, again) = client.check_read(read(&[ITEM], None)).await.unwrap();
    assert!(again);
    assert_eq!(client.check_read(read(&[ITEM], Some(mark))).await, Ok((mark, false)));
    running.stop().await;
    let running = start(directory.path()).await;
    let client = proxy(&running).client;
    let (other, again) = client.check_read(read(&[ITEM], Some(mark))).await.unwrap();
    assert!(again && other.run != mark.run);
    running.stop().await;
}

#[tokio::test]
async fn who_writes_a_table_is_waited_for_and_who_comes_later_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).answering(done).0;
    let mark = mark(&client).await;
    let first = write(&client, &[1]).await;
    let (one, all) = (ask(&client, read(&[ITEM], Some(mark))), {
        let check = CheckRead { everything: true, ..read(&[], Some(mark)) };
        ask(&client, check)
    });
    waiting(&running, 2).await;
    let later = write(&client, &[2]).await;
    // Of other tables, other databases and its own transaction nobody waits for anything.
    assert_eq!(client.check_read(read(&["shop.other"], Some(mark))).await, Ok((mark, false)));
    let elsewhere = CheckRead { resource: "accounts".into(), ..read(&[ITEM], Some(mark)) };
    assert_eq!(client.check_read(elsewhere).await, Ok((mark, false)));
    assert_eq!(client.commit(first).await, Ok(TxStatus::Committed));
    assert_eq!(one.await.unwrap(), Ok((mark, false)));
    assert_eq!(all.await.unwrap(), Ok((mark, false)));
    let own = CheckRead { xid: Some(later), ..read(&[ITEM], Some(mark)) };
    assert_eq!(client.check_read(own.clone()).await, Ok((mark, false)));
    assert_eq!(client.commit(later).await, Ok(TxStatus::Committed));
    let over = client.check_read(own).await;
    assert!(matches!(over, Err(CallError::Refused(Refusal::Finished { .. }))), "{over:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_undone_while_a_reader_waits_or_was_undone_just_before_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).answering(done).0;
    let before = mark(&client).await;
    let writer = write(&client, &[1]).await;
    let reader = ask(&client, read(&[ITEM], Some(before)));
    waiting(&running, 1).await;
    assert_eq!(client.rollback(writer, "asked", WAIT).await, Ok(TxStatus::RolledBack));
    let (after, again) = reader.await.unwrap().unwrap();
    assert!(again && after.count > before.count);
    // One who asks only now, but had read before.
    assert_eq!(client.check_read(read(&[ITEM], Some(before))).await, Ok((after, true)));
    assert_eq!(client.check_read(read(&["shop.other"], Some(before))).await, Ok((after, false)));
    assert_eq!(client.check_read(read(&[ITEM], Some(after))).await, Ok((after, false)));
    // A branch that never committed has left nothing to see.
    let (failing, attempt) = (begin(&client).await, branch());
    client.register(register(failing, attempt, &[3], WAIT)).await.unwrap();
    client.failed(failing, attempt).await.unwrap();
    assert_eq!(client.check_read(read(&[ITEM], Some(after))).await, Ok((after, false)));
    running.stop().await;
}

#[tokio::test]
async fn what_was_seen_between_two_branches_of_a_commit_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).answering(done).0;
    let before = mark(&client).await;
    let one = write(&client, &[1]).await;
    assert_eq!(client.commit(one).await, Ok(TxStatus::Committed));
    assert_eq!(client.check_read(read(&[ITEM], Some(before))).await, Ok((before, false)));
    let several = write(&client, &[1]).await;
    let reader = ask(&client, read(&[ITEM], Some(before)));
    waiting(&running, 1).await;
    client.register(register(several, branch(), &[2], WAIT)).await.unwrap();
    assert_eq!(client.commit(several).await, Ok(TxStatus::Committed));
    let (after, again) = reader.await.unwrap().unwrap();
    assert!(again);
    assert_eq!(client.check_read(read(&[ITEM], Some(after))).await, Ok((after, false)));
    running.stop().await;
}

#[tokio::test]
async fn a_reader_waits_for_an_undo_unless_it_holds_rows_or_a_person_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let mut proxy = proxy(&running);
    let client = proxy.client.clone();
    let mark = mark(&client).await;
    let writer = write(&client, &[1]).await;
    let mut holding = CheckRead { holds_rows: true, ..read(&[ITEM], Some(mark)) };
    let held = ask(&client, holding.clone());
    waiting(&running, 1).await;
    assert_eq!(client.rollback(writer, "asked", Duration::ZERO).await, Ok(TxStatus::RollingBack));
    // It fails when the rollback is decided, and whoever comes then at once.
    for checked in [held.await.unwrap(), client.check_read(holding.clone()).await] {
        let (key, holder, status, _) = conflict(checked);
        assert_eq!((key.table.as_str(), holder, status), (ITEM, writer, TxStatus::RollingBack));
    }
    holding.holds_rows = false;
    let reader = ask(&client, holding.clone());
    waiting(&running, 1).await;
    let task = proxy.task().await;
    client.report(task.id, TaskOutcome::Blocked("somebody wrote".into()), "p1");
    for checked in [reader.await.unwrap(), client.check_read(holding).await] {
        assert_eq!(conflict(checked).2, TxStatus::Blocked);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_reader_whose_time_is_up_is_told_of_whom_and_one_that_goes_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).client;
    let mark = mark(&client).await;
    let writer = write(&client, &[7]).await;
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let checked = client.check_read(CheckRead { wait, ..read(&[ITEM], Some(mark)) }).await;
        let (key, holder, status, deadlock) = conflict(checked);
        assert_eq!((key.shown.as_str(), holder, status), ("7", writer, TxStatus::Active));
        assert!(deadlock.is_empty());
    }
    let gone = ask(&client, read(&[ITEM], Some(mark)));
    waiting(&running, 1).await;
    gone.abort();
    waiting(&running, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn in_a_circle_the_reader_yields() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let client = proxy(&running).answering(done).0;
    let mark = mark(&client).await;
    let mut both = [begin(&client).await, begin(&client).await];
    both.sort();
    // The reader is the older one, who would win otherwise.
    let [reader, writer] = both;
    client.register(register(writer, branch(), &[1], WAIT)).await.unwrap();
    let mut other = register(reader, branch(), &[2], WAIT);
    other.keys[0].table = "shop.other".into();
    client.register(other.clone()).await.unwrap();
    let reading = ask(&client, CheckRead { xid: Some(reader), ..read(&[ITEM], Some(mark)) });
    waiting(&running, 1).await;
    (other.xid, other.branch) = (writer, branch());
    let waiter = {
        let client = client.clone();
        tokio::spawn(async move { client.register(other).await })
    };
    let (_, holder, _, deadlock) = conflict(reading.await.unwrap());
    assert_eq!((holder, deadlock.len()), (writer, 2));
    assert_eq!(client.rollback(reader, "yields", WAIT).await, Ok(TxStatus::RolledBack));
    drop(waiter);
    running.stop().await;
}
