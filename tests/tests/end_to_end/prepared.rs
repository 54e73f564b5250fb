//! Prepared statements with bound values, and Atone's own functions in them.

use crate::case::{both, room};
use atone_tests::servers::{Kind, Switch};
use atone_tests::sql;
use mysql_async::Value;
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

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

/// Drivers bind bytes as strings of the connection's character set, which they need not be.
#[tokio::test]
async fn bytes_bound_as_strings() {
    let tables = "CREATE TABLE k (id VARBINARY(16) PRIMARY KEY, b BINARY(4), v INT);
        INSERT INTO k VALUES (x'FF27225C', x'FF', 1), (x'C328', x'00', 2), ('plain', 'p', 3);\n";
    let room = room("bytes", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        for names in ["SET NAMES utf8mb4", "SET NAMES utf8mb3"] {
            conn.query_drop(names).await.unwrap();
            sql::begin(&mut conn).await.unwrap();
            let update = "UPDATE k SET v = v + 1 WHERE id IN (?, ?, ?)";
            let keys = (vec![0xff_u8, 0x27, 0x22, 0x5c], vec![0xc3_u8, 0x28], b"plain".to_vec());
            conn.exec_drop(update, keys).await.unwrap();
            assert_eq!(conn.affected_rows(), 3, "{kind:?}, {names}");
            conn.exec_drop("DELETE FROM k WHERE b > ?", (vec![0xf0_u8, 0x9f, 0x98, 0x80],)).await.unwrap();
            assert_eq!(conn.affected_rows(), 1, "{kind:?}, {names}");
            let key = vec![0xf0_u8, 0x9f, 0x98, 0x80];
            conn.exec_drop("INSERT INTO k VALUES (?, ?, ?)", (key, vec![0xfe_u8], 9)).await.unwrap();
            conn.exec_drop("INSERT INTO k VALUES (?, ?, ?)", (vec![0xfd_u8], vec![0xfe_u8], 9))
                .await
                .unwrap();
            assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back", "{kind:?}, {names}");
            assert_eq!(room.dump(kind).await, before, "{kind:?}, {names}");
        }
    }
}

/// As a literal MySQL does not compare it with a date, as a parameter it does.
#[tokio::test]
async fn dates_that_are_none() {
    let tables = "CREATE TABLE d (at DATE PRIMARY KEY, v INT);
        INSERT INTO d VALUES ('2024-02-29', 1);\n";
    let room = room("dates", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let (mut conn, mut direct) = (room.app(kind).await, room.direct(kind).await);
        for date in ["0000-00-00", "2024-00-10", "2024-02-31"] {
            for statement in ["UPDATE d SET v = 2 WHERE at = ?", "DELETE FROM d WHERE at = ? LIMIT 1"] {
                sql::begin(&mut conn).await.unwrap();
                let through = conn.exec_drop(statement, (date,)).await;
                let right = direct.exec_drop(statement, (date,)).await;
                assert_eq!(
                    sql::errno(&through),
                    sql::errno(&right),
                    "{kind:?} {statement} {date}: {through:?}"
                );
                let text = statement.replace('?', &format!("'{date}'"));
                let (through, right) =
                    (sql::error_of(&mut conn, &text).await, sql::error_of(&mut direct, &text).await);
                assert_eq!(through, right, "{kind:?} {text}");
                conn.exec_drop("UPDATE d SET v = v + 1 WHERE at = ?", ("2024-02-29",)).await.unwrap();
                assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
                assert_eq!(room.dump(kind).await, before, "{kind:?} {statement}");
            }
        }
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

/// Takes the types out of every execution of a statement of `count` parameters but its first, as clients do that bind
/// once and execute often: the C library, PHP. Notes the statements of which it did.
fn types_once(
    count: usize,
    taken: Arc<Mutex<Vec<u32>>>,
) -> impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static {
    let known = Mutex::new(BTreeSet::new());
    move |mut frame| {
        // COM_STMT_EXECUTE, id, flags, iterations, which are NULL, whether types follow, types, values.
        let bound = 4 + 10 + count.div_ceil(8);
        if frame[3] != 0 || frame[4] != 0x17 || frame.get(bound) != Some(&1) {
            return frame;
        }
        let id = u32::from_le_bytes(frame[5..9].try_into().expect("four bytes"));
        if known.lock().expect("no panic").insert(id) {
            return frame;
        }
        taken.lock().expect("no panic").push(id);
        frame[bound] = 0;
        frame.drain(bound + 1..bound + 1 + 2 * count);
        let length = u32::try_from(frame.len() - 4).expect("a short frame").to_le_bytes();
        frame[..3].copy_from_slice(&length[..3]);
        frame
    }
}

#[tokio::test]
async fn types_that_were_bound_before_may_be_left_out() {
    let room = room("types_once", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let taken = Arc::new(Mutex::new(Vec::new()));
        let edit = Arc::new(types_once(4, taken.clone()));
        let switch = Switch::editing(room.world.proxy.port(kind), edit).unwrap();
        let mut conn = sql::connect_app(switch.port(), &room.schema).await.unwrap();
        let outside = conn.prep("UPDATE p SET n = ?, s = ?, d = ? WHERE id = ?").await.unwrap();
        let inside = conn.prep("UPDATE p SET n = ? + 1, s = ?, d = ? WHERE id = ?").await.unwrap();
        let read = conn.prep("SELECT ? + n, ?, ?, ? FROM p").await.unwrap();
        // Bound outside of a global transaction, where nobody needs to understand it, and used inside.
        conn.exec_drop(&outside, (-7, "free", 0.25, 9)).await.unwrap();
        sql::begin(&mut conn).await.unwrap();
        conn.exec_drop(&outside, (-1, "one", 1e100, 1)).await.unwrap();
        assert_eq!(conn.affected_rows(), 1);
        conn.exec_drop(&inside, (300, "two", -0.5, 2)).await.unwrap();
        conn.exec_drop(&inside, (400, None::<String>, 2.5, 2)).await.unwrap();
        assert_eq!(conn.affected_rows(), 1);
        for n in [1, 2] {
            let rows: Vec<(i64, String, f64, i64)> = conn.exec(&read, (n, "x", 0.5, 3)).await.unwrap();
            assert_eq!(rows, [(n - 1, "x".into(), 0.5, 3), (n + 401, "x".into(), 0.5, 3)]);
        }
        assert_eq!(*taken.lock().unwrap(), [outside.id(), inside.id(), read.id()], "{kind:?}");
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}
