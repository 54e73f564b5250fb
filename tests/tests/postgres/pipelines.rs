//! What becomes of a global transaction when a simple Query within a pipeline is the last that a local transaction hears, and
//! when it is rolled back in the middle of one.

use crate::case::{TABLE, error_in, room};
use atone_tests::postgres::Raw;
use atone_tests::postgres::message::{bind, execute, message, parse};
use atone_tests::servers::Kind;
use atone_tests::wait;

/// An INSERT without a Sync, and a Query behind it; the status that it ends with.
async fn insert_and_query(raw: &mut Raw) -> u8 {
    let insert = parse("", "INSERT INTO t VALUES (7, 7)", &[]);
    raw.send(&[insert, bind("", "", &[], &[]), execute("", 0)].concat()).await.unwrap();
    raw.query("SELECT 1").await.unwrap().last().unwrap().body[0]
}

/// PostgreSQL 18 says that it is ready, and undoes all with the next statement: then nothing may be committed as if it were
/// there, whoever asks.
#[tokio::test]
async fn what_the_server_loses_is_not_committed() {
    for kind in Kind::POSTGRES {
        for own in [true, false] {
            let room = room(kind, "lost_in_pipelines", TABLE).await;
            let mut raw = room.raw(true).await.unwrap();
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            raw.query("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
            let status = insert_and_query(&mut raw).await;
            assert_eq!(status, if kind == Kind::Pg18 { b'T' } else { b'I' });
            raw.send(&message(b'S', b"")).await.unwrap();
            let answer = raw.until(b'Z').await.unwrap();
            assert_eq!((answer.len(), answer[0].body[0]), (1, b'I'), "{answer:?}");
            let mut other = room.raw(true).await.unwrap();
            let commit = format!("SELECT atone_commit('{xid}')");
            if kind == Kind::Pg15 {
                assert_eq!(other.one(&commit).await.unwrap(), "committed");
                assert_eq!(raw.one("SELECT v FROM t WHERE id = 7").await.unwrap(), "7");
                continue;
            }
            let asker = if own {
                let (state, told) = error_in(&raw.query("SELECT atone_commit()").await.unwrap());
                assert!(state == "XX000" && told.contains("unexpected state"), "{state} {told}");
                &mut raw
            } else {
                &mut other
            };
            let (_, told) = error_in(&asker.query(&commit).await.unwrap());
            assert!(told.contains("failed") || told.contains("rolled back"), "{told}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
            assert_eq!(other.one("SELECT sum(v) FROM t").await.unwrap(), "60");
        }
    }
}

/// Its client has been told that it is ready, so that it may say anything next.
#[tokio::test]
async fn a_rollback_in_the_middle_is_told_at_once() {
    for next in ["Q", "S", "P"] {
        let room = room(Kind::Pg18, "rolled_back_in_pipelines", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        assert_eq!(insert_and_query(&mut raw).await, b'T');
        room.world.api().rollback(&xid).unwrap();
        // The row is free as soon as the session has heard of it.
        wait::until("the local transaction is undone", async || {
            let mut other = room.raw(false).await.unwrap();
            other.query("SET lock_timeout = '100ms'").await.unwrap();
            let (state, told) =
                error_in(&other.query("INSERT INTO t VALUES (7) ON CONFLICT DO NOTHING").await.unwrap());
            if state.is_empty() { Ok(()) } else { Err(told) }
        })
        .await;
        let answer = match next {
            "Q" => raw.query("SELECT 1").await.unwrap(),
            "S" => {
                raw.send(&message(b'S', b"")).await.unwrap();
                raw.until(b'Z').await.unwrap()
            }
            _ => raw.prepared("SELECT 1", 0).await.unwrap(),
        };
        let (state, told) = error_in(&answer);
        assert!(state == "25006" && told.contains(&xid), "{next}: {state} {told}");
        assert_eq!(answer.last().unwrap().body, b"I", "{next}: {answer:?}");
        assert_eq!(raw.query("SELECT 1").await.unwrap().last().unwrap().kind, b'Z');
    }
}
