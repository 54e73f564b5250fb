//! An xid that is finished or unknown: an error, never a silent local write.

use crate::case::{both, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
";

/// Tries to write in a transaction that is over; the first error counts, and there must be one.
async fn must_fail(conn: &mut Conn, statements: &[&str]) -> (u16, String) {
    for statement in statements {
        if let Err(mysql_async::Error::Server(error)) = conn.query_drop(*statement).await {
            return (error.code, error.message);
        }
    }
    panic!("all of {statements:?} passed")
}

#[tokio::test]
async fn a_session_still_bound_cannot_write() {
    let room = room("finished", TABLES).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        for commit in [true, false] {
            for statements in [&["UPDATE t SET v = 5"][..], &["BEGIN", "UPDATE t SET v = 5", "COMMIT"][..]] {
                let mut conn = room.app(kind).await;
                let xid = sql::begin(&mut conn).await.unwrap();
                conn.query_drop("UPDATE t SET v = v + 1").await.unwrap();
                if commit { api.commit(&xid) } else { api.rollback(&xid) }.unwrap();
                let before = room.dump(kind).await;
                let (code, message) = must_fail(&mut conn, statements).await;
                assert!(
                    code == 1792 && message.starts_with("atone: "),
                    "{kind:?} {statements:?}: {code} {message}"
                );
                let _ = conn.query_drop("ROLLBACK").await;
                drop(conn);
                assert_eq!(room.dump(kind).await, before, "{kind:?} {statements:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_finished_xid_cannot_be_joined_to_write() {
    let room = room("finished_join", TABLES).await;
    let before = room.dump_both().await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::begin(&mut orders).await.unwrap();
    orders.query_drop("UPDATE t SET v = v + 1").await.unwrap();
    sql::rollback(&mut orders).await.unwrap();
    for binding in [format!("SELECT atone_join('{xid}')"), format!("SET @atone_xid = '{xid}'")] {
        must_fail(&mut accounts, &[&binding, "UPDATE t SET v = 7"]).await;
        accounts.query_drop("SET @atone_xid = NULL").await.unwrap();
    }
    assert_eq!(room.dump_both().await, before);
}

#[tokio::test]
async fn an_unknown_or_malformed_xid_is_an_error() {
    let room = room("unknown", TABLES).await;
    let before = room.dump_both().await;
    let (mut conn, _) = both(&room).await;
    for xid in ["no xid", "'' or 1", "00000000000000000000000000", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
        let xid = xid.replace('\'', "''");
        must_fail(&mut conn, &[&format!("SELECT atone_join('{xid}')"), "UPDATE t SET v = 7"]).await;
        sql::one(&mut conn, "SELECT atone_leave()").await.ok();
        must_fail(&mut conn, &[&format!("SET @atone_xid = '{xid}'"), "UPDATE t SET v = 7"]).await;
        conn.query_drop("SET @atone_xid = NULL").await.unwrap();
        must_fail(&mut conn, &[&format!("SELECT atone_commit('{xid}')")]).await;
    }
    assert_eq!(room.dump_both().await, before);
}

#[tokio::test]
async fn ending_twice_tells_the_first_outcome_or_an_error() {
    let room = room("twice", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = v + 1").await.unwrap();
        assert_eq!(sql::commit(&mut conn).await.unwrap(), "committed");
        let after = room.dump(kind).await;
        assert!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap().is_none(), "the end unbinds");
        let again = sql::one(&mut conn, &format!("SELECT atone_commit('{xid}')")).await;
        assert!(again.is_err() || again.unwrap().as_deref() == Some("committed"));
        let other = sql::one(&mut conn, &format!("SELECT atone_rollback('{xid}')")).await;
        assert!(other.is_err() || other.unwrap().as_deref() == Some("committed"));
        let (code, _) = room.world.api().rollback(&xid).unwrap();
        assert_eq!(code, 409);
        assert_eq!(room.calm(&xid).await, "committed");
        assert_eq!(room.dump(kind).await, after);
    }
}

#[tokio::test]
async fn after_the_end_writes_are_local_again() {
    let room = room("local_again", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 1").await.unwrap();
        sql::rollback(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 77").await.unwrap();
        let value: Option<i32> = room.direct(kind).await.query_first("SELECT v FROM t").await.unwrap();
        assert_eq!(value, Some(77));
    }
}
