//! Prepared statements with bound values, and Atone's own functions in them.

use crate::case::{both, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::Value;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE p (id BIGINT UNSIGNED PRIMARY KEY, n INT, s VARCHAR(50), b BLOB, d DOUBLE, at DATETIME(6));
INSERT INTO p VALUES (1, 1, 'one', x'00FF', 0.5, '2020-01-02 03:04:05.678901'), (2, 2, NULL, NULL, NULL, NULL);
";

#[tokio::test]
async fn bound_values_of_every_kind() {
    let room = room("bound", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        let insert = "INSERT INTO p VALUES (?, ?, ?, ?, ?, ?), (?, DEFAULT, 'lit', NULL, ?, NULL)";
        let at = Value::Date(2024, 5, 30, 18, 51, 50, 148_381);
        let values =
            (u64::MAX, -5, "q'uo\"te\\ 😀", vec![0_u8, 39, 92, 255], 1e300, at, 77, f64::MIN_POSITIVE);
        conn.exec_drop(insert, values).await.unwrap();
        assert_eq!(conn.affected_rows(), 2);
        conn.exec_drop("UPDATE p SET n = n + ?, s = ? WHERE id = ? OR s = ?", (5, None::<String>, 1, "lit"))
            .await
            .unwrap();
        assert_eq!(conn.affected_rows(), 2);
        conn.exec_drop("UPDATE p SET n = ? WHERE id IN (?, ?) ORDER BY id LIMIT ?", (8, 1, 2, 1))
            .await
            .unwrap();
        conn.exec_drop("DELETE FROM p WHERE id = ? AND n IS NOT NULL", (u64::MAX,)).await.unwrap();
        assert_eq!(conn.affected_rows(), 1);
        let left: Vec<u64> = conn.query("SELECT id FROM p ORDER BY id").await.unwrap();
        assert_eq!(left, [1, 2, 77]);
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn one_statement_inside_and_outside() {
    let room = room("inside_outside", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        let statement = conn.prep("UPDATE p SET n = ? WHERE id = ?").await.unwrap();
        conn.exec_drop(&statement, (10, 1)).await.unwrap();
        let before = room.dump(kind).await;
        for round in 0..3 {
            let xid = sql::begin(&mut conn).await.unwrap();
            conn.exec_drop(&statement, (20 + round, 1)).await.unwrap();
            conn.exec_drop(&statement, (30 + round, 2)).await.unwrap();
            assert_ne!(room.dump(kind).await, before);
            assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
            assert_eq!(room.dump(kind).await, before, "{kind:?}, round {round}");
            room.calm(&xid).await;
        }
        conn.exec_drop(&statement, (99, 2)).await.unwrap();
        let n: Option<i32> = conn.query_first("SELECT n FROM p WHERE id = 2").await.unwrap();
        assert_eq!(n, Some(99));
    }
}

#[tokio::test]
async fn a_batch_in_one_local_transaction() {
    let room = room("batch", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        conn.query_drop("START TRANSACTION").await.unwrap();
        let insert = conn.prep("INSERT INTO p (id, n) VALUES (?, ?)").await.unwrap();
        for id in 100_u64..160 {
            conn.exec_drop(&insert, (id, id * 2)).await.unwrap();
        }
        conn.query_drop("COMMIT").await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn a_bulk_of_mariadbs_is_protected_or_refused() {
    let room = room("bulk", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        // The driver sends MariaDB one command with all the rows, and MySQL one command for each.
        let rows = (100_u64..160).map(|id| (id, id * 2));
        let result = conn.exec_batch("INSERT INTO p (id, n) VALUES (?, ?)", rows.clone()).await;
        assert!(result.is_ok() || sql::errno(&result) == 1235, "{kind:?}: {result:?}");
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        conn.exec_batch("INSERT INTO p (id, n) VALUES (?, ?)", rows).await.unwrap();
        let count: Option<u64> = conn.query_first("SELECT COUNT(*) FROM p").await.unwrap();
        assert_eq!(count, Some(62), "{kind:?}");
    }
}

#[tokio::test]
async fn atones_functions_work_prepared() {
    let room = room("prepared_functions", TABLES).await;
    let before = room.dump_both().await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid: Option<String> =
        orders.exec_first("SELECT atone_begin(?, ?)", ("prepared", 30_000)).await.unwrap();
    let xid = xid.unwrap();
    let joined: Option<String> = accounts.exec_first("SELECT atone_join(?)", (&xid,)).await.unwrap();
    assert_eq!(joined.as_ref(), Some(&xid));
    let bound: Option<Option<String>> = accounts.exec_first("SELECT atone_xid()", ()).await.unwrap();
    assert_eq!(bound, Some(Some(xid.clone())));
    for conn in [&mut orders, &mut accounts] {
        conn.exec_drop("UPDATE p SET n = ?", (5,)).await.unwrap();
    }
    let left: Option<String> = accounts.exec_first("SELECT atone_leave()", ()).await.unwrap();
    assert_eq!(left.as_ref(), Some(&xid));
    let status: Option<String> = accounts.exec_first("SELECT atone_rollback(?)", (&xid,)).await.unwrap();
    assert_eq!(status.as_deref(), Some("rolled_back"));
    assert_eq!(room.dump_both().await, before);
}
