//! UPDATE of key columns: rows that move to other keys, and back.

use crate::case::{Mode, check, check_modes, room};
use atone_tests::{servers::Kind, sql};
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, u INT UNIQUE,
  changed TIMESTAMP(6) NULL DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP(6));
INSERT INTO t (id, v, u) VALUES (1, 10, 100), (2, 20, 200), (3, 30, 300), (7, 70, NULL), (-4, 0, 5);
";

#[tokio::test]
async fn a_key_is_changed() {
    let statements = [
        "UPDATE t SET id = 4000 WHERE id = 1",
        "UPDATE t SET v = 21, id = -2147483648, u = u + 1 WHERE id = 2",
        "UPDATE t SET id = id * 2 WHERE v >= 30",
        "UPDATE t AS x SET x.id = x.v + 1000 WHERE x.id = 14",
        "UPDATE t SET id = '55' WHERE u = 5",
        "SELECT * FROM t ORDER BY id",
    ];
    check("key_changed", TABLES, &statements).await;
}

#[tokio::test]
async fn what_a_move_leaves_behind_can_be_asked_for() {
    let statements = [
        "SET sql_mode = ''",
        "UPDATE t SET id = 4000, v = 'x' WHERE id = 1",
        "SHOW WARNINGS",
        "UPDATE t SET id = id + 500 WHERE v IN (20, 30)",
        "SELECT ROW_COUNT()",
        "SELECT LAST_INSERT_ID()",
    ];
    check_modes("key_leavings", TABLES, &statements, &[Mode::Autocommit, Mode::Local]).await;
}

#[tokio::test]
async fn a_key_is_assigned_and_stays() {
    let statements = [
        "UPDATE t SET id = id, v = 11 WHERE id = 1",
        "UPDATE t SET id = 2, v = 22 WHERE id = 2",
        "UPDATE t SET t.id = t.id",
        "UPDATE t SET id = id + 0, v = v + 1",
        "UPDATE t SET id = 3 WHERE id = 3",
        "UPDATE t SET id = 9 WHERE id = 99",
    ];
    check("key_stays", TABLES, &statements).await;
}

#[tokio::test]
async fn keys_are_shifted() {
    let statements = [
        "UPDATE t SET id = id + 1 WHERE id > 0 ORDER BY id DESC",
        "UPDATE t SET id = id + 1 WHERE id > 0 ORDER BY id DESC LIMIT 3",
        "UPDATE t SET id = id - 1 ORDER BY id",
        "UPDATE t SET id = id + 1 WHERE id IN (SELECT id FROM (SELECT id FROM t WHERE v = 70) z)",
        // Taken by a row that stays.
        "UPDATE t SET id = id + 1 WHERE id = 1",
        "UPDATE t SET id = 5 WHERE v > 0",
        "UPDATE t SET u = u + 100, id = id + 50 WHERE u >= 100 ORDER BY u DESC",
        "SELECT id, v, u FROM t ORDER BY id",
    ];
    check("key_shifted", TABLES, &statements).await;
}

#[tokio::test]
async fn rows_change_places_in_three_steps() {
    let statements = [
        // The server checks keys row by row.
        "UPDATE t SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 END WHERE id IN (1, 2) ORDER BY id",
        "UPDATE t SET id = 0 WHERE id = 1",
        "UPDATE t SET id = 1 WHERE id = 2",
        "UPDATE t SET id = 2 WHERE id = 0",
    ];
    check("key_swapped", TABLES, &statements).await;
}

#[tokio::test]
async fn moves_among_other_changes() {
    let statements = [
        "DELETE FROM t WHERE id = 2",
        "UPDATE t SET id = 2 WHERE id = 1",
        "UPDATE t SET v = 12 WHERE id = 2",
        "UPDATE t SET id = 1 WHERE id = 2",
        "UPDATE t SET id = 8 WHERE id = 7",
        "DELETE FROM t WHERE id = 8",
        "INSERT INTO t (id, v) VALUES (7, 71), (20, 1)",
        "UPDATE t SET id = 21, v = 2 WHERE id = 20",
        "UPDATE t SET id = id + 100 WHERE v IN (2, 30)",
        "INSERT INTO t (id, v) VALUES (3, 33)",
        "UPDATE t SET id = 4, v = 34 WHERE id = 3",
    ];
    check("key_among", TABLES, &statements).await;
}

#[tokio::test]
async fn moves_and_savepoints() {
    let statements = [
        "UPDATE t SET id = 10 WHERE id = 1",
        "SAVEPOINT a",
        "UPDATE t SET id = 1 WHERE id = 2",
        "UPDATE t SET id = 11 WHERE id = 10",
        "ROLLBACK TO a",
        "UPDATE t SET id = id + 1 WHERE id >= 10",
        "SAVEPOINT b",
        "UPDATE t SET id = 1 WHERE id = 11",
        "RELEASE SAVEPOINT b",
    ];
    check_modes("key_savepoints", TABLES, &statements, &[Mode::Local]).await;
}

#[tokio::test]
async fn keys_of_every_kind() {
    let tables = "CREATE TABLE ur (role INT, user VARCHAR(9), n INT, PRIMARY KEY (user, role));
INSERT INTO ur VALUES (1, 'a', 1), (2, 'a', 2), (1, 'b', 3);
CREATE TABLE ukonly (a INT NOT NULL, b INT, UNIQUE (a));
INSERT INTO ukonly VALUES (1, 1), (2, 2);
CREATE TABLE big (id BIGINT UNSIGNED PRIMARY KEY, v INT);
INSERT INTO big VALUES (18446744073709551615, 1), (9223372036854775808, 2);
CREATE TABLE s (k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
INSERT INTO s VALUES ('a', 1), ('b ', 2), ('Größe', 3), ('x,y;''z', 4);
CREATE TABLE c (k CHAR(8) CHARACTER SET latin1 PRIMARY KEY, v INT);
INSERT INTO c VALUES ('a', 1), ('é', 2);
CREATE TABLE d (k DECIMAL(10,2), at DATE, v INT, PRIMARY KEY (k, at));
INSERT INTO d VALUES (1.50, '2024-02-28', 1), (-2.00, '2024-02-28', 2);
CREATE TABLE b (k BINARY(4) PRIMARY KEY, at DATETIME(6) NOT NULL UNIQUE, v INT);
INSERT INTO b VALUES (x'00000001', '2024-01-01 00:00:00.5', 1), (x'27002c5c', '2024-01-02', 2);
CREATE TABLE e (k ENUM('x', 'y', 'z') PRIMARY KEY, v INT);
INSERT INTO e VALUES ('x', 1), ('y', 2);
";
    let statements = [
        "UPDATE ur SET role = role + 10 WHERE user = 'a'",
        "UPDATE ur SET user = 'c', n = n + 1 WHERE user = 'b' AND role = 1",
        "UPDATE ur SET user = CONCAT(user, user), role = 5 WHERE n = 4",
        "UPDATE ukonly SET a = a + 5 WHERE b = 2",
        "UPDATE big SET id = id - 1 WHERE v = 1",
        "UPDATE big SET id = 18446744073709551615, v = 9 WHERE v = 2",
        "UPDATE s SET k = 'A' WHERE k = 'a'",
        "UPDATE s SET k = 'b' WHERE k = 'b'",
        "UPDATE s SET k = UPPER(k) WHERE v = 3",
        "UPDATE s SET k = CONCAT(k, '\\\\''\"', 5 + 5) WHERE v = 4",
        "UPDATE s SET k = 17 WHERE v = 2",
        "UPDATE c SET k = 'ö ' WHERE k = 'é'",
        "UPDATE c SET k = CONCAT(k, ' b ') WHERE k = 'a'",
        "UPDATE d SET k = k + 1, at = at + INTERVAL 2 DAY",
        "UPDATE d SET k = 7 WHERE v = 1",
        "UPDATE d SET at = '2030-12-31' WHERE v = 2",
        "UPDATE b SET k = x'ffffff00' WHERE v = 1",
        "UPDATE b SET k = REVERSE(k), at = at + INTERVAL 1 MICROSECOND WHERE v = 2",
        "UPDATE e SET k = 'z' WHERE k = 'x'",
        "UPDATE e SET k = 1, v = 5 WHERE k = 'y'",
    ];
    check("key_kinds", tables, &statements).await;
}

#[tokio::test]
async fn children_by_another_key_stay_with_a_row_that_moves() {
    let tables = "CREATE TABLE p (id INT PRIMARY KEY, code INT NOT NULL UNIQUE);
INSERT INTO p VALUES (1, 100), (2, 200);
CREATE TABLE c (id INT PRIMARY KEY, code INT, FOREIGN KEY (code) REFERENCES p (code) ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO c VALUES (1, 100), (2, 200);
CREATE TABLE r (id INT PRIMARY KEY, code INT, FOREIGN KEY (code) REFERENCES p (code));
INSERT INTO r VALUES (1, 100);
CREATE TABLE k (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES p (id));
INSERT INTO k VALUES (1, 1);
";
    let statements = [
        // Pointed at by k.
        "UPDATE p SET id = 9 WHERE id = 1",
        "UPDATE p SET id = 8 WHERE id = 2",
        "DELETE FROM k",
        "UPDATE p SET id = 9 WHERE id = 1",
        "INSERT INTO k VALUES (2, 9)",
    ];
    check("key_children", tables, &statements).await;
}

#[tokio::test]
async fn both_keys_are_locked() {
    let room = room("key_locks", TABLES).await;
    for kind in Kind::ALL {
        let (mut app, mut other) = (room.app(kind).await, room.app(kind).await);
        let xid = sql::begin(&mut app).await.unwrap();
        app.query_drop("UPDATE t SET id = 50 WHERE id = 1").await.unwrap();
        let body = room.world.api().get(&format!("/v1/locks?xid={xid}")).unwrap().1.to_string();
        for key in ["\"1\"", "\"50\""] {
            assert!(body.contains(key), "{kind:?}: {body}");
        }
        sql::begin(&mut other).await.unwrap();
        for taken in ["INSERT INTO t (id) VALUES (1)", "UPDATE t SET v = 1 WHERE id = 50"] {
            let code = sql::error_of(&mut other, taken).await.0;
            assert_eq!(code, 1205, "{kind:?} {taken}");
        }
        sql::rollback(&mut other).await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
    }
}

#[tokio::test]
async fn many_rows_move() {
    let values: Vec<String> = (1..=1300).map(|id| format!("({id}, {})", id % 7)).collect();
    let tables =
        format!("CREATE TABLE t (id INT PRIMARY KEY, v INT);\nINSERT INTO t VALUES {};\n", values.join(","));
    let statements = [
        "UPDATE t SET id = id + 1 ORDER BY id DESC",
        "UPDATE t SET id = id + 5000 WHERE v < 5",
        "UPDATE t SET id = 10000 - id, v = v + 1 WHERE v = 1",
        "DELETE FROM t WHERE v = 2",
    ];
    check_modes("key_many", &tables, &statements, &[Mode::Autocommit, Mode::Local]).await;
}

#[tokio::test]
async fn a_stranger_at_either_end_blocks_the_rollback() {
    let room = room("key_strangers", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        for (stranger, mended) in [
            ("INSERT INTO t (id, u) VALUES (1, 77)", "DELETE FROM t WHERE id = 1"),
            (
                "UPDATE t SET v = 11, changed = changed WHERE id = 50",
                "UPDATE t SET v = 10, changed = changed WHERE id = 50",
            ),
            (
                "UPDATE t SET id = 51, changed = changed WHERE id = 50",
                "UPDATE t SET id = 50, changed = changed WHERE id = 51",
            ),
        ] {
            let mut direct = room.direct(kind).await;
            let mut app = room.app(kind).await;
            let xid = sql::begin(&mut app).await.unwrap();
            app.query_drop("UPDATE t SET id = 50 WHERE id = 1").await.unwrap();
            direct.query_drop(stranger).await.unwrap();
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?} {stranger}");
            direct.query_drop(mended).await.unwrap();
            let status = sql::one(&mut app, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
            assert_eq!(status.as_deref(), Some("rolled_back"), "{kind:?} {stranger}");
            assert_eq!(room.dump(kind).await, before, "{kind:?} {stranger}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_foreseen_is_refused() {
    let room = room(
        "key_refused",
        "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 20);
CREATE TABLE p (k VARCHAR(20), v INT, PRIMARY KEY (k(3)));
INSERT INTO p VALUES ('abcd', 1);
CREATE TABLE parent (id INT PRIMARY KEY, v INT);
INSERT INTO parent VALUES (1, 1);
CREATE TABLE child (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES parent (id) ON UPDATE CASCADE);
INSERT INTO child VALUES (1, 1);
CREATE TABLE twins (id INT PRIMARY KEY, v INT);
INSERT INTO twins VALUES (1, 5), (2, 5);
CREATE TABLE y (y YEAR PRIMARY KEY, v INT);
INSERT INTO y VALUES (0, 1), (1999, 1);
",
    )
    .await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut app = room.app(kind).await;
        for (statement, named) in [
            ("UPDATE t SET id = RAND() * 100000 + 10", "key column id from RAND"),
            ("UPDATE t SET v = 100, id = v + id", "id from v, which"),
            ("UPDATE t SET id = (SELECT 5) WHERE id = 1", "key column id from SELECT"),
            ("UPDATE t SET id = (@x := 5) WHERE id = 1", "key column id from @x"),
            ("UPDATE t SET id = 5, id = 6 WHERE id = 1", "key column id twice"),
            ("UPDATE t SET id = LAST_INSERT_ID(id + 10)", "key column id from LAST_INSERT_ID"),
            ("UPDATE t SET id = DEFAULT WHERE id = 1", "key column id"),
            ("UPDATE t SET id = NULL WHERE id = 1", "key column id"),
            ("UPDATE t SET id = 5.4 WHERE id = 1", "shop_key_refused.t"),
            ("UPDATE t SET id = 2.5 + id WHERE id = 1", "shop_key_refused.t"),
            // 49 to the server, whose row 1 looks like the one that moves.
            ("UPDATE twins SET id = 0x31 WHERE id = 2", "shop_key_refused.twins"),
            ("UPDATE y SET y = '0' WHERE y = 1999", "shop_key_refused.y"),
            ("INSERT INTO y VALUES ('0', 1)", "a string of zeros"),
            ("UPDATE p SET k = 'abce'", "assigns k, of which only"),
            ("UPDATE parent SET id = 5", "foreign key of shop_key_refused.child"),
        ] {
            let xid = sql::begin(&mut app).await.unwrap();
            let (code, message) = sql::error_of(&mut app, statement).await;
            assert_eq!(code, 1235, "{kind:?} {statement}: {message}");
            assert!(message.contains(named), "{kind:?} {statement}: {message}");
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{xid}");
            assert_eq!(room.dump(kind).await, before, "{kind:?} {statement}");
            // In a local transaction nothing of it may be committed either.
            sql::begin(&mut app).await.unwrap();
            app.query_drop("BEGIN").await.unwrap();
            assert_eq!(sql::error_of(&mut app, statement).await.0, 1235, "{kind:?} {statement}");
            let _ = app.query_drop("COMMIT").await;
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{kind:?} {statement}");
            assert_eq!(room.dump(kind).await, before, "{kind:?} {statement}");
        }
        // Assigning a key to itself fires nothing.
        sql::begin(&mut app).await.unwrap();
        app.query_drop("UPDATE parent SET id = id, v = 5").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}
