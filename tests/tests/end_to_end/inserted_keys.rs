//! INSERT whose keys are not all plain values: computed ones, defaults, and a mixture of given and generated ones.

use crate::case::{Mode, check, check_modes, room};
use atone_tests::{servers::Kind, sql};
use mysql_async::{Params, prelude::Queryable};

#[tokio::test]
async fn keys_are_computed() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
CREATE TABLE s (k VARCHAR(80) PRIMARY KEY, v INT);
CREATE TABLE ur (role INT, user VARCHAR(9) CHARACTER SET latin1, at DATE, PRIMARY KEY (user, role, at));
CREATE TABLE b (k BINARY(16) PRIMARY KEY, v INT);
CREATE TABLE n (k DECIMAL(20,4) PRIMARY KEY, v INT);
";
    let statements = [
        "INSERT INTO t VALUES (1 + 1, 20), (3 * 2 /* six */, 30), (100, 40)",
        "INSERT INTO t SET id = CASE WHEN 1 < 2 THEN 7 ELSE 8 END, v = 1",
        "INSERT INTO t VALUES (-(5), 1), (~0 & 255, 2)",
        "INSERT INTO t VALUES (10 - 9, 1)",
        "INSERT INTO s VALUES (CONCAT('a', \"b'c\", 'é'), 1), (SHA2('x', 0), 2), (UPPER('q'), 3), (5 + 5, 4)",
        "INSERT INTO ur VALUES (1 + 1, LOWER('ÖX'), DATE '2024-02-28' + INTERVAL 1 DAY)",
        "INSERT INTO ur VALUES (3, 'x', CAST('2024-01-01' AS DATE))",
        "INSERT INTO b VALUES ('short', 2), (CONCAT('sh', 'ut'), 3), (x'00', 4)",
        "UPDATE b SET k = 'shy' WHERE v = 3",
        "INSERT INTO b VALUES (UNHEX(REPLACE('6ccd780c-baba-1026-9564-5b8c656024db', '-', '')), 1)",
        "INSERT INTO n VALUES (10 / 4, 1), (1e3, 2), (-0.5 * 1, 3)",
        "SET @id = 4711",
        "INSERT INTO t VALUES (@id, 1), (@id + 1, 2)",
        "UPDATE t SET v = v + 1 WHERE id IN (2, 4711)",
    ];
    check("computed_keys", tables, &statements).await;
}

#[tokio::test]
async fn the_last_generated_key_is_another_tables_key() {
    let tables = "CREATE TABLE orders (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, who VARCHAR(9));
INSERT INTO orders VALUES (41, 'old');
CREATE TABLE details (order_id BIGINT UNSIGNED PRIMARY KEY, note TEXT, FOREIGN KEY (order_id) REFERENCES orders (id));
CREATE TABLE parts (order_id BIGINT UNSIGNED, n INT, item INT, PRIMARY KEY (order_id, n));
CREATE TABLE events (id INT AUTO_INCREMENT PRIMARY KEY, order_id BIGINT UNSIGNED);
";
    let statements = [
        "INSERT INTO orders (who) VALUES ('Ada')",
        "INSERT INTO details VALUES (LAST_INSERT_ID(), 'first')",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO parts VALUES (LAST_INSERT_ID(), 1, 5), (LAST_INSERT_ID(), 1 + 1, 6)",
        "INSERT INTO parts SET order_id = last_insert_id( ), n = 3",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO events (order_id) VALUES (LAST_INSERT_ID()), (LAST_INSERT_ID())",
        "SELECT LAST_INSERT_ID()",
        "UPDATE parts SET item = 7 WHERE order_id = 42",
    ];
    check("last_insert_id", tables, &statements).await;
}

#[tokio::test]
async fn keys_have_defaults() {
    let tables =
        "CREATE TABLE d (tenant INT NOT NULL DEFAULT 7, region VARCHAR(9) NOT NULL DEFAULT 'eu-west',
  at DATE NOT NULL DEFAULT '2020-02-29', id INT, v INT, PRIMARY KEY (tenant, region, at, id));
INSERT INTO d VALUES (7, 'eu-west', '2020-02-29', 1, 1), (8, 'us', '2021-01-01', 1, 1);
CREATE TABLE one (k DECIMAL(6,2) NOT NULL DEFAULT -1.50 PRIMARY KEY, v INT);
";
    let statements = [
        "INSERT INTO d (id) VALUES (2), (3)",
        "INSERT INTO d VALUES (DEFAULT, DEFAULT, DEFAULT, 4, 4), (9, DEFAULT, '2022-01-01', 4, 4)",
        "INSERT INTO d SET id = 5, region = DEFAULT, tenant = 1",
        "INSERT INTO d (id) VALUES (1)",
        "INSERT INTO one () VALUES ()",
        "UPDATE d SET v = 9 WHERE id = 2",
    ];
    check("default_keys", tables, &statements).await;
}

#[tokio::test]
async fn given_and_generated_keys_in_one_insert() {
    let tables =
        "CREATE TABLE kv (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, v INT);
INSERT INTO kv VALUES (3002, 'dup', 1);
CREATE TABLE small (v INT, id INT UNSIGNED AUTO_INCREMENT UNIQUE NOT NULL);
";
    let statements = [
        "INSERT INTO kv VALUES (NULL, 'a', 1), (5000, 'b', 1), (0, 'c', 1), (DEFAULT, 'd', 1)",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO kv VALUES (10, 'e', 1), (NULL, 'f', 1), (-7, 'g', 1), ('0', 'h', 1), (6000, 'i', 1)",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO kv VALUES (NULL, 'j', 1), (5001 + 2000, 'k', 1), (1 - 1, 'l', 1), (NULLIF(1, 1), 'm', 1)",
        "INSERT INTO kv VALUES (NULL, 'n', 1), (20, 'dup', 1)",
        "INSERT INTO small VALUES (1, NULL), (2, 70), (3, DEFAULT), (4, 71), (5, NULL)",
        "UPDATE kv SET v = 2 WHERE name IN ('c', 'f', 'm')",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
        "INSERT INTO kv VALUES (0, 'zero', 1), (NULL, 'o', 1)",
        "SET SESSION sql_mode = DEFAULT",
        "SELECT id, name FROM kv ORDER BY id",
    ];
    check("mixed_keys", tables, &statements).await;
    let statements = [
        "SET SESSION auto_increment_increment = 10",
        "SET SESSION auto_increment_offset = 3",
        "INSERT INTO kv VALUES (NULL, 'a', 1), (NULL, 'b', 1)",
        "INSERT INTO kv VALUES (NULL, 'c', 1), (9000, 'd', 1), (NULL, 'e', 1)",
        "SELECT ROW_COUNT()",
        "INSERT INTO small (v) VALUES (1), (2), (3)",
        "SELECT id, name FROM kv ORDER BY id",
    ];
    check_modes("mixed_steps", tables, &statements, &[Mode::Autocommit, Mode::Local]).await;
}

#[tokio::test]
async fn an_auto_increment_part_anywhere_in_the_key() {
    let tables = "CREATE TABLE last (user VARCHAR(9) COLLATE utf8mb4_general_ci, id INT AUTO_INCREMENT, v INT, PRIMARY KEY (user, id), KEY (id));
CREATE TABLE mid (a INT, id BIGINT UNSIGNED AUTO_INCREMENT, b CHAR(5), PRIMARY KEY (a, id, b), KEY (id));
CREATE TABLE aside (k BINARY(4) PRIMARY KEY, id INT AUTO_INCREMENT, KEY (id));
INSERT INTO mid VALUES (1, 9223372036854775806, 'x');
";
    let statements = [
        "INSERT INTO last (user, v) VALUES ('a', 1), ('A', 2), ('b ', 3)",
        "INSERT INTO last VALUES (CONCAT('a', ''), NULL, 4)",
        "INSERT INTO mid (a, b) VALUES (1, 'x '), (1 + 1, 'y')",
        "INSERT INTO mid VALUES (5, -0 + 17, 'z')",
        "INSERT INTO aside VALUES ('abcd', NULL), (x'00ff0027', 50), ('zzzz', DEFAULT)",
        "UPDATE last SET id = id + 100 WHERE user = 'a'",
        "UPDATE aside SET id = id + 1000",
        "DELETE FROM mid WHERE a = 2",
    ];
    check("auto_parts", tables, &statements).await;
}

#[tokio::test]
async fn computed_keys_with_parameters() {
    let tables = "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT);
CREATE TABLE s (k VARCHAR(40) PRIMARY KEY, v INT);
CREATE TABLE kv (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 1);
";
    let room = room("computed_bound", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        for commits in [false, true] {
            let mut app = room.app(kind).await;
            sql::begin(&mut app).await.unwrap();
            app.exec_drop("INSERT INTO t VALUES (? + ?, ?)", (5, 6_i64, 7)).await.unwrap();
            app.exec_drop("INSERT INTO s VALUES (CONCAT(?, '-', ?), 1)", ("é'x", 5)).await.unwrap();
            app.exec_drop("UPDATE t SET id = id + ? WHERE id = ?", (100, 11)).await.unwrap();
            app.exec_drop("UPDATE t SET v = ?, id = ? WHERE id = ?", (3, "1", 1)).await.unwrap();
            app.exec_drop("UPDATE s SET k = ?", ("neu",)).await.unwrap();
            app.exec_drop("INSERT INTO kv VALUES (?, 1), (?, 2), (? - 1, 3)", (Option::<i32>::None, 90, 1))
                .await
                .unwrap();
            let rows: Vec<(i64, i32)> = app.exec("SELECT * FROM t ORDER BY id", Params::Empty).await.unwrap();
            assert_eq!(rows, [(1, 3), (111, 7)], "{kind:?}");
            if commits {
                assert_eq!(sql::commit(&mut app).await.unwrap(), "committed", "{kind:?}");
                assert_ne!(room.dump(kind).await, before, "{kind:?}");
            } else {
                assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{kind:?}");
                assert_eq!(room.dump(kind).await, before, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn numbers_of_other_sessions_are_not_taken_for_ones_own() {
    let tables = "CREATE TABLE kv (id INT AUTO_INCREMENT PRIMARY KEY, who INT, n INT);
INSERT INTO kv VALUES (10, 0, 0);
";
    let room = room("mixed_crowd", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        // Plain inserts of others come in between.
        let mut other = room.direct(kind).await;
        let noise = async {
            for _ in 0..60 {
                other.query_drop("INSERT INTO kv (who, n) VALUES (-1, 0)").await.unwrap();
            }
        };
        let write = |who: i32| {
            let room = &room;
            async move {
                let (mut app, mut kept) = (room.app(kind).await, 0);
                for n in 0..15 {
                    sql::begin(&mut app).await.unwrap();
                    let mixed = format!(
                        "INSERT INTO kv VALUES (NULL, {who}, {n}), ({}, {who}, {n}), (NULL, {who}, {n})",
                        -1 - n - 100 * who
                    );
                    let code = sql::errno(&app.query_drop(mixed).await);
                    assert!([0, 1205, 1213].contains(&code), "{kind:?}: {code}");
                    if code == 0 && n % 3 == 0 {
                        assert_eq!(sql::commit(&mut app).await.unwrap(), "committed", "{kind:?}");
                        kept += 3;
                    } else {
                        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{kind:?}");
                    }
                }
                kept
            }
        };
        let ((), a, b, c) = tokio::join!(noise, write(1), write(2), write(3));
        let mut direct = room.direct(kind).await;
        let count: Vec<i64> = direct
            .query("SELECT COUNT(*) FROM kv GROUP BY who < 0, who = 0 ORDER BY who < 0, who = 0")
            .await
            .unwrap();
        let kept = a + b + c;
        let expected: Vec<i64> = if kept == 0 { vec![1, 60] } else { vec![kept, 1, 60] };
        assert_eq!(count, expected, "{kind:?}");
        direct.query_drop("DELETE FROM kv WHERE who <> 0").await.unwrap();
        assert_eq!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let tables = "CREATE TABLE t (id BIGINT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 1);
CREATE TABLE s (k VARCHAR(40) PRIMARY KEY, v INT);
CREATE TABLE n (id INT PRIMARY KEY, v INT);
CREATE TABLE e (k ENUM('a', 'b') PRIMARY KEY);
CREATE TABLE x (k VARCHAR(40) DEFAULT (UUID()) PRIMARY KEY, v INT);
CREATE TABLE mp (id INT AUTO_INCREMENT, user VARCHAR(9), PRIMARY KEY (id, user));
";
    let room = room("unaskable", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut app = room.app(kind).await;
        for (statement, named) in [
            ("INSERT INTO s VALUES (UUID(), 1)", "key column k from UUID"),
            ("INSERT INTO t VALUES (RAND() * 1000, 1)", "key column id from RAND"),
            ("INSERT INTO t VALUES ((SELECT MAX(a.id) + 1 FROM t a), 1)", "key column id from SELECT"),
            ("INSERT INTO t VALUES (UNIX_TIMESTAMP(), 1)", "key column id from UNIX_TIMESTAMP"),
            ("INSERT INTO t (v, id) VALUES (5, v + 1)", "cannot be asked for before"),
            ("INSERT INTO t VALUES (@a := 5, 1)", "key column id from @a"),
            ("INSERT INTO t VALUES (LAST_INSERT_ID(7), 1)", "key column id from LAST_INSERT_ID"),
            ("INSERT INTO t VALUES (NULLIF(1, 1), 1)", "gives no value for its key column id"),
            ("INSERT INTO t VALUES (CONCAT('x', 'y'), 1)", "key column id that is not of its type"),
            ("INSERT INTO t VALUES (2.5 + 1, 1)", "found by the keys"),
            // 49 to the server, '1' to a cast.
            ("INSERT INTO n VALUES ((0x31), 1)", "found by the keys"),
            ("INSERT INTO e VALUES (CONCAT('a', ''))", "computes its key column k"),
            ("INSERT INTO x (v) VALUES (1)", "gives no value for its key column k"),
            ("INSERT INTO mp VALUES (NULL, 'a'), (5, 'b')", "give all or none"),
        ] {
            sql::begin(&mut app).await.unwrap();
            let (code, message) = sql::error_of(&mut app, statement).await;
            assert_eq!(code, 1235, "{kind:?} {statement}: {message}");
            assert!(
                message.starts_with("atone: ") && message.contains(named),
                "{kind:?} {statement}: {message}"
            );
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
            assert_eq!(room.dump(kind).await, before, "{kind:?} {statement}");
        }
    }
}
