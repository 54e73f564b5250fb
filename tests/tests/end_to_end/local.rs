//! Local transactions that end in ways the application did not ask for, and what a statement leaves behind it.

use crate::case::room;
use atone_tests::{servers::Kind, sql, wait};
use mysql_async::{Conn, Row, prelude::Queryable};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, n TINYINT);
INSERT INTO t VALUES (1, 10, 0), (2, 10, 0), (3, 10, 0);
CREATE TABLE many (id INT PRIMARY KEY, v INT);
INSERT INTO many VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0);
";

/// `SELECT … FOR UPDATE` of row 2 as the victim of a deadlock: the other side has written more.
async fn deadlock(victim: &mut Conn, other: &mut Conn) -> u16 {
    other.query_drop("BEGIN").await.unwrap();
    other.query_drop("UPDATE many SET v = v + 1").await.unwrap();
    other.query_drop("UPDATE t SET v = v + 1 WHERE id = 2").await.unwrap();
    let read = victim.query_drop("SELECT v FROM t WHERE id = 2 FOR UPDATE");
    // Whichever of the two waits first, the circle closes with the second.
    let write = other.query_drop("UPDATE t SET v = v + 1 WHERE id = 1");
    let (read, write) = tokio::join!(read, write);
    write.unwrap();
    let code = sql::errno(&read);
    other.query_drop("ROLLBACK").await.unwrap();
    code
}

#[tokio::test]
async fn a_deadlock_on_a_read_ends_the_local_transaction() {
    let room = room("deadlock_read", TABLES).await;
    for kind in Kind::ALL {
        let (mut app, mut direct) = (room.app(kind).await, room.service(kind).await.unwrap());
        direct.query_drop(format!("USE {}", sql::quoted(&room.schema))).await.unwrap();
        sql::begin(&mut app).await.unwrap();
        app.query_drop("BEGIN").await.unwrap();
        app.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        assert_eq!(deadlock(&mut app, &mut direct).await, 1213, "{kind:?}");
        // Nothing more may be written, or it would commit by itself.
        let (code, message) = sql::error_of(&mut app, "UPDATE t SET v = 12 WHERE id = 3").await;
        assert_eq!(code, 1213, "{kind:?}: {message}");
        let (code, _) = sql::error_of(&mut app, "COMMIT").await;
        assert_eq!(code, 1213);
        let all: Vec<i32> = direct.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(all, [10, 10, 10], "{kind:?}");
        // The session goes on.
        app.query_drop("UPDATE t SET v = 13 WHERE id = 3").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
        let all: Vec<i32> = direct.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(all, [10, 10, 10], "{kind:?}");
    }
}

#[tokio::test]
async fn an_idle_local_transaction_does_not_hold_up_the_rollback() {
    let room = room("idle_local", TABLES).await;
    for kind in Kind::ALL {
        let (mut app, mut other) = (room.app(kind).await, room.app(kind).await);
        let xid = sql::begin(&mut app).await.unwrap();
        app.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        app.query_drop("BEGIN").await.unwrap();
        app.query_drop("UPDATE t SET v = 12 WHERE id = 1").await.unwrap();
        let status = sql::one(&mut other, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
        assert_eq!(status.as_deref(), Some("rolled_back"), "{kind:?}");
        let (code, message) = sql::error_of(&mut app, "COMMIT").await;
        assert!(code == 1792 && message.contains("rolling_back"), "{code} {message}");
        let v: Option<i32> = other.query_first("SELECT v FROM t WHERE id = 1").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
    }
}

#[tokio::test]
async fn settings_that_would_cut_an_image_are_refused() {
    let room = room("select_limit", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        app.query_drop("SET sql_select_limit = 1").await.unwrap();
        sql::begin(&mut app).await.unwrap();
        let (code, message) = sql::error_of(&mut app, "UPDATE t SET v = 0").await;
        assert!(code == 1235 && message.contains("sql_select_limit"), "{code} {message}");
        app.query_drop("SET sql_select_limit = DEFAULT").await.unwrap();
        app.query_drop("UPDATE t SET v = 0").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
        let all: Vec<i32> = app.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(all, [10, 10, 10]);
    }
}

#[tokio::test]
async fn a_write_leaves_its_warnings_and_row_count() {
    let room = room("leavings", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        app.query_drop("SET sql_mode = ''").await.unwrap();
        for global in [false, true] {
            if global {
                sql::begin(&mut app).await.unwrap();
            }
            app.query_drop("UPDATE t SET n = 1000 WHERE id IN (1, 2)").await.unwrap();
            assert_eq!(app.get_warnings(), 2, "{kind:?}");
            let shown: Vec<(String, u16, String)> = app.query("SHOW WARNINGS").await.unwrap();
            let codes: Vec<u16> = shown.iter().map(|w| w.1).collect();
            assert_eq!(codes, [1264, 1264], "{kind:?} global {global}: {shown:?}");
            app.query_drop("UPDATE t SET v = v + 1").await.unwrap();
            let row: Row = app.query_first("SELECT ROW_COUNT()").await.unwrap().unwrap();
            assert_eq!(row.columns_ref()[0].name_str(), "ROW_COUNT()");
            assert_eq!(row.get::<i64, _>(0), Some(3), "{kind:?} global {global}");
        }
        sql::rollback(&mut app).await.unwrap();
        wait::until("the rows are back", async || {
            let all: Vec<i32> = app.query("SELECT v FROM t ORDER BY id").await.map_err(|e| e.to_string())?;
            if all == [11, 11, 11] { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    }
}
