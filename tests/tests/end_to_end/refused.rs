//! Statements that cannot be protected: refused inside a global transaction, relayed outside one.

use crate::case::{Mode, Outcome, outcome, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::prelude::Queryable;

const TABLES: &str =
    "CREATE TABLE kv (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, v INT);
INSERT INTO kv VALUES (3002, 'dup', 1), (3003, 'x', 2);
CREATE TABLE other (id INT PRIMARY KEY, v INT);
INSERT INTO other VALUES (1, 1);
CREATE TABLE nopk (a INT, b INT);
INSERT INTO nopk VALUES (1, 1);
CREATE TABLE hot (id INT PRIMARY KEY, v INT);
INSERT INTO hot VALUES (1, 1);
CREATE TRIGGER trg AFTER UPDATE ON hot FOR EACH ROW UPDATE kv SET v = v + 1;
CREATE TABLE parent (id INT PRIMARY KEY);
INSERT INTO parent VALUES (1), (2);
CREATE TABLE child (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES parent (id) ON DELETE CASCADE);
INSERT INTO child VALUES (1, 1);
CREATE TABLE `größe \"名\"/1` (id INT PRIMARY KEY);
INSERT INTO `größe \"名\"/1` VALUES (1), (2);
CREATE TABLE `enfant à-b` (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES `größe \"名\"/1` (id) ON DELETE CASCADE);
INSERT INTO `enfant à-b` VALUES (1, 1);
CREATE PROCEDURE p_bump() UPDATE kv SET v = v + 1;
CREATE FUNCTION f_bump() RETURNS INT DETERMINISTIC MODIFIES SQL DATA
BEGIN UPDATE other SET v = v + 1; RETURN 1; END;
";

/// Refused in the shape of this version. All of them would work directly.
const REFUSED: &[&str] = &[
    "INSERT IGNORE INTO kv (id, name, v) VALUES (3002, 'y', 9), (7, 'new', 9)",
    "REPLACE INTO kv (id, name, v) VALUES (50, 'dup', 2)",
    "REPLACE INTO kv SET id = 50, name = 'dup'",
    "INSERT INTO kv (id, name, v) VALUES (1, 'dup', 5) ON DUPLICATE KEY UPDATE v = VALUES(v)",
    "INSERT INTO kv (name, v) SELECT CONCAT(name, '_c'), v FROM (SELECT * FROM kv) z",
    "UPDATE kv, other SET kv.v = 9, other.v = 9 WHERE other.id = 1",
    "UPDATE kv JOIN other ON kv.id = other.id + 3001 SET kv.v = 9",
    "DELETE kv FROM kv JOIN other ON kv.id = other.id + 3001",
    "DELETE FROM kv USING kv JOIN other ON kv.id = other.id + 3001",
    "CALL p_bump()",
    "SELECT f_bump()",
    "DO f_bump()",
    "CREATE TABLE fresh (id INT PRIMARY KEY)",
    "ALTER TABLE kv ADD extra INT DEFAULT 5",
    "DROP TABLE other",
    "TRUNCATE TABLE other",
    "RENAME TABLE other TO another",
    "CREATE INDEX more ON kv (v)",
    "UPDATE hot SET v = 9",
    "INSERT INTO nopk VALUES (2, 2)",
    "UPDATE nopk SET b = 9",
    "DELETE FROM nopk",
    "DELETE FROM parent WHERE id = 1",
    "DELETE FROM `größe \"名\"/1` WHERE id = 1",
    "LOCK TABLES kv WRITE",
    "CREATE TABLE copied AS SELECT * FROM kv",
    "/*!50000 REPLACE INTO kv (id, name) VALUES (51, 'dup') */",
    "SET PASSWORD FOR nobody = 'x'",
    "CREATE USER nobody",
    "GRANT SELECT ON shop_either.* TO nobody",
];

#[tokio::test]
async fn inside_a_global_transaction() {
    let room = room("refused", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let mut wrong = Vec::new();
        for statement in REFUSED {
            let xid = sql::begin(&mut conn).await.unwrap();
            let (code, message) = sql::error_of(&mut conn, statement).await;
            if code != 1235 || !message.starts_with("atone: ") {
                wrong.push(format!("{statement}\n    answered {code} {message}"));
            }
            // The refusal is the statement's alone: the transaction goes on.
            if let Err(error) = conn.query_drop("UPDATE kv SET v = 70 WHERE id = 3003").await {
                wrong.push(format!("{statement}\n    and afterwards a plain UPDATE failed: {error}"));
            }
            if !matches!(sql::rollback(&mut conn).await.as_deref(), Ok("rolled_back")) {
                wrong.push(format!("{statement}\n    and {xid} could not be rolled back"));
                conn = room.app(kind).await;
            }
        }
        assert!(wrong.is_empty(), "{kind:?}:\n  {}", wrong.join("\n  "));
        assert_eq!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn inside_a_global_transaction_when_prepared() {
    let room = room("refused_prepared", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        for statement in [
            "REPLACE INTO kv (id, name) VALUES (?, 'dup')",
            "INSERT IGNORE INTO kv (id, name) VALUES (?, 'n')",
        ] {
            let result = conn.exec_drop(statement, (60,)).await;
            assert_eq!(sql::errno(&result), 1235, "{kind:?} {statement}: {result:?}");
        }
        sql::rollback(&mut conn).await.unwrap();
        // Prepared outside, executed inside.
        let statement = conn.prep("REPLACE INTO kv (id, name) VALUES (?, 'dup')").await.unwrap();
        sql::begin(&mut conn).await.unwrap();
        let result = conn.exec_drop(&statement, (60,)).await;
        assert_eq!(sql::errno(&result), 1235, "{kind:?}: {result:?}");
        sql::rollback(&mut conn).await.unwrap();
        assert_eq!(room.dump(kind).await, before);
        conn.exec_drop(&statement, (60,)).await.unwrap();
        assert_ne!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn several_statements_in_one_text() {
    let room = room("refused_multi", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        // Either refused as a whole, or each protected; never a write without its image.
        let _ = conn.query_drop("UPDATE kv SET v = 5 WHERE id = 3002; DELETE FROM other WHERE id = 1").await;
        for text in [
            "SELECT 1; REPLACE INTO kv (id, name) VALUES (51, 'dup')",
            r"SELECT @'a\' '; UPDATE kv SET v = 9 WHERE id = 3002; -- '",
            "SELECT 1 --\x7f'\n; UPDATE kv SET v = 9 WHERE id = 3002; -- '",
            "/*!99999 DELETE FROM kv WHERE id = 3002 */; SELECT 1",
        ] {
            let _ = conn.query_drop(text).await;
        }
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn outside_everything_passes() {
    for kind in Kind::ALL {
        let mut results: Vec<(Vec<Outcome>, String)> = Vec::new();
        for through_proxy in [false, true] {
            let room = room("unrefused", TABLES).await;
            let mut conn = if through_proxy { room.app(kind).await } else { room.direct(kind).await };
            let mut outcomes = Vec::new();
            for statement in REFUSED {
                outcomes.push(outcome(&mut conn, statement, Mode::Autocommit).await);
                conn.query_drop("UNLOCK TABLES").await.unwrap();
            }
            results.push((outcomes, room.dump(kind).await));
        }
        let (direct, proxied) = (&results[0], &results[1]);
        for (statement, (direct, proxied)) in REFUSED.iter().zip(direct.0.iter().zip(&proxied.0)) {
            assert_eq!(proxied, direct, "{kind:?}: {statement}");
        }
        assert_eq!(proxied.1, direct.1);
    }
}

#[tokio::test]
async fn execute_in_text_does_not_hide_a_write() {
    let room = room("refused_execute", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        conn.query_drop("PREPARE ps FROM 'UPDATE kv SET v = 99'").await.unwrap();
        sql::begin(&mut conn).await.unwrap();
        let (code, message) = sql::error_of(&mut conn, "EXECUTE ps").await;
        assert_eq!(code, 1235, "{kind:?}: {message}");
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before);
        conn.query_drop("EXECUTE ps").await.unwrap();
        assert_ne!(room.dump(kind).await, before);
    }
}

/// Statements that a version may protect or refuse. Nothing else is allowed: not to change rows that a rollback
/// does not restore.
const EITHER: &[&str] = &[
    "UPDATE kv SET id = 4000 WHERE name = 'dup' AND id = 3002",
    "UPDATE kv SET id = id + 1 ORDER BY id DESC",
    "UPDATE kv SET id = id, v = 8 WHERE id = 3002",
    "UPDATE other SET id = LAST_INSERT_ID() + 3, v = LAST_INSERT_ID(9)",
    "UPDATE other SET id = CASE WHEN id = 1 THEN v + 5 ELSE 7 END, v = id",
    "INSERT INTO other VALUES (LAST_INSERT_ID() + 50, LAST_INSERT_ID(7)), (LAST_INSERT_ID() + 60, 1)",
    "INSERT INTO other VALUES ((0x39), 1)",
    "INSERT INTO other (v, id) VALUES (5, DEFAULT(v) + 9)",
    "DELETE FROM nowhere",
    "UPDATE kv SET v = v + 1 WHERE RAND() < 0.5",
    "UPDATE kv SET v = RAND() * 1000",
    "UPDATE kv SET v = v + 1 WHERE id IN (SELECT id FROM (SELECT id FROM kv WHERE v = 1) z)",
    "UPDATE kv SET v = (SELECT MAX(v) FROM other)",
    "DELETE a FROM kv a WHERE a.name = 'dup'",
    "DELETE FROM kv AS a WHERE a.name = 'dup'",
    "UPDATE kv t SET t.v = t.v + 10 WHERE t.id = 3002",
    "UPDATE LOW_PRIORITY kv SET v = 9",
    "UPDATE IGNORE kv SET name = 'x'",
    "DELETE QUICK FROM kv WHERE id = 3002",
    "INSERT INTO kv (id, name, v) VALUES (NULL, 'a', 1), (5000, 'b', 1), (0, 'c', 1), (DEFAULT, 'd', 1)",
    "INSERT INTO kv (name, v) VALUES ('e', (SELECT s.v FROM (SELECT v FROM kv WHERE name = 'dup') s) - 1100)",
    "INSERT INTO kv VALUES ROW(10, 'row', 1)",
    "INSERT INTO kv () VALUES (11, 'empty list', 1)",
    "INSERT kv VALUES (12, 'no into', 1)",
    "INSERT INTO kv (name, v) VALUES ('dup', 1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = v + 1",
    "INSERT INTO kv (name, v) VALUES (UUID(), 1)",
    "INSERT INTO kv TABLE kv",
    "WITH c AS (SELECT 3002 AS id) UPDATE kv SET v = 5 WHERE id IN (SELECT id FROM c)",
    "WITH c AS (SELECT 3002 AS id) DELETE FROM kv WHERE id IN (SELECT id FROM c)",
    "DELETE FROM kv WHERE id = 3002 RETURNING id",
    "INSERT INTO kv (name) VALUES ('r') RETURNING id",
    "UPDATE kv PARTITION (p0) SET v = 1",
    "UPDATE /*! LOW_PRIORITY */ kv SET v = 8",
    "UPDATE kv SET v = f_bump() WHERE id = 3002",
    "UPDATE kv SET v = 1 WHERE f_bump() = 1",
    "INSERT INTO kv (name, v) VALUES ('fn', f_bump())",
    "SELECT * FROM kv WHERE f_bump() = 1",
    "SELECT * FROM kv INTO @a, @b, @c",
    "EXPLAIN UPDATE kv SET v = 1",
    "EXPLAIN ANALYZE DELETE FROM kv",
    "ANALYZE DELETE FROM kv",
    "BEGIN NOT ATOMIC UPDATE kv SET v = 3; END",
    "EXECUTE IMMEDIATE 'UPDATE kv SET v = 33'",
    "SET @x = (SELECT f_bump())",
    "SET STATEMENT max_statement_time = 100 FOR UPDATE kv SET v = 44",
    "HANDLER kv OPEN",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE kv",
    "XA START 'x'",
    "INSERT INTO kv SET id = 90, name = 'set', v = 1",
    "INSERT INTO child VALUES (9, 2)",
    "UPDATE child SET pid = 2 WHERE id = 1",
    "DELETE FROM child",
    "UPDATE parent SET id = 7 WHERE id = 2",
    "IMPORT TABLE FROM 'x'",
    "FLUSH TABLES",
    "OPTIMIZE TABLE kv",
    "COMMIT AND CHAIN",
    "UPDATE kv SET v = 1; COMMIT; UPDATE other SET v = 77",
    "\u{FEFF}UPDATE kv SET v = 5",
    "(UPDATE kv SET v = 5)",
    "UPDATE kv SET v = '5' 'and' WHERE id = 3002",
    "UPDATE`kv`SET`v`=6",
    "#remark\nUPDATE kv SET v = 12",
    "-- remark\nDELETE FROM other",
    "/* remark */ DELETE /* another */ FROM other",
    "/*M! DELETE FROM other */",
    "/*!99999 DELETE */ SELECT 1",
];

#[tokio::test]
async fn protected_or_refused_there_is_no_third_outcome() {
    for kind in Kind::ALL {
        let mut wrong = Vec::new();
        let room = room("either", TABLES).await;
        let before = room.dump(kind).await;
        for statement in EITHER {
            for mode in [Mode::Autocommit, Mode::Prepared] {
                let mut conn = room.app(kind).await;
                let xid = sql::begin(&mut conn).await.unwrap();
                let answer = match mode {
                    Mode::Prepared => conn.exec_drop(*statement, ()).await,
                    Mode::Autocommit | Mode::Local => conn.query_drop(*statement).await,
                };
                drop(conn);
                let (code, body) = room.world.api().rollback(&xid).unwrap();
                let now = room.dump(kind).await;
                if now != before || !(code == 404 || body["status"] == "rolled_back") {
                    wrong.push(format!(
                        "{mode:?} {statement}\n    answered {answer:?}; rollback {code} {body}"
                    ));
                    let again = crate::case::room("either", TABLES).await;
                    assert_eq!(again.dump(kind).await, before);
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{kind:?}: rows changed and were not restored by\n  {}",
            wrong.join("\n  ")
        );
    }
}
