//! Outside a global transaction the proxy is not there; inside one, reads are what they were.

use crate::case::{Mode, outcome, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::prelude::Queryable;
use mysql_async::{InfileData, Row};

const TABLES: &str = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(20));
INSERT INTO t VALUES (1, 10, 'ten'), (2, 20, NULL);
";

const STATEMENTS: &[&str] = &[
    "SELECT 1, 'text', NULL, 1.50, NOW() IS NOT NULL",
    "SELECT * FROM t ORDER BY id",
    "INSERT INTO t (v) VALUES (30), (40)",
    "SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()",
    "UPDATE t SET v = v WHERE id = 1",
    "INSERT INTO t (id, v) VALUES (1, 1)",
    "SELECT * FROM nowhere",
    "SELEC nonsense ~~",
    "SET @a := 5",
    "SELECT @a, @@autocommit, DATABASE()",
    "SHOW WARNINGS",
    "SELECT 1 / 0",
    "SHOW WARNINGS",
    "SELECT CAST('12x' AS SIGNED)",
    "DO 1",
    "SHOW COLUMNS FROM t",
    "EXPLAIN SELECT * FROM t WHERE id = 1",
    "SELECT v, ROW_NUMBER() OVER w FROM t WINDOW w AS (ORDER BY v)",
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
    "SELECT x'00FF', b'101', _utf8mb4'é', 'a' 'b'",
    "TABLE t",
    "",
    "-- only a remark",
];

#[tokio::test]
async fn outside_every_answer_is_the_databases() {
    for kind in Kind::ALL {
        let mut answers = Vec::new();
        for through_proxy in [false, true] {
            let room = room("transparent", TABLES).await;
            let mut conn = if through_proxy { room.app(kind).await } else { room.direct(kind).await };
            let mut own = Vec::new();
            for statement in STATEMENTS {
                own.push(outcome(&mut conn, statement, Mode::Autocommit).await);
            }
            for statement in STATEMENTS {
                own.push(outcome(&mut conn, statement, Mode::Prepared).await);
            }
            answers.push(own);
        }
        for (index, statement) in STATEMENTS.iter().chain(STATEMENTS).enumerate() {
            assert_eq!(
                answers[1][index], answers[0][index],
                "{kind:?}: proxied left, direct right: {statement}"
            );
        }
    }
}

#[tokio::test]
async fn reads_inside_a_global_transaction_pass() {
    let reads = [
        "SELECT * FROM t ORDER BY id",
        "SELECT v, ROW_NUMBER() OVER w FROM t WINDOW w AS (ORDER BY v)",
        "SELECT a.id FROM t a LEFT JOIN t b ON a.id = b.v WHERE a.id IN (SELECT id FROM t)",
        "SHOW COLUMNS FROM t",
        "SELECT * FROM t UNION SELECT 9, 9, 'nine'",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
        "SELECT j.n FROM JSON_TABLE('{\"p\": [{\"n\": 1}]}', '$.p[*]' COLUMNS (n VARCHAR(9) PATH '$.n')) j",
        "SELECT id FROM t WHERE id = 1 FOR UPDATE",
        "SELECT @@autocommit, @@session.autocommit",
        "SELECT nothing FROM t",
    ];
    let room = room("reads", TABLES).await;
    for kind in Kind::ALL {
        let (mut direct, mut conn) = (room.direct(kind).await, room.app(kind).await);
        sql::begin(&mut conn).await.unwrap();
        for read in reads {
            for mode in [Mode::Autocommit, Mode::Prepared] {
                let expected = outcome(&mut direct, read, mode).await;
                assert_eq!(outcome(&mut conn, read, mode).await, expected, "{kind:?}: {read}");
            }
        }
        assert_eq!(sql::commit(&mut conn).await.unwrap(), "committed");
    }
}

#[tokio::test]
async fn several_statements_in_one_text() {
    for kind in Kind::ALL {
        let mut answers = Vec::new();
        for through_proxy in [false, true] {
            let room = room("multi", TABLES).await;
            let mut conn = if through_proxy { room.app(kind).await } else { room.direct(kind).await };
            let text =
                "SELECT 1; UPDATE t SET v = 99; SELECT 'a;b', v FROM t; INSERT INTO t (v) VALUES (1), (2);";
            let mut result = conn.query_iter(text).await.unwrap();
            let mut own = Vec::new();
            for _ in 0..4 {
                let rows: Vec<Row> = result.collect().await.unwrap();
                own.push(format!("{rows:?} {} {:?}", result.affected_rows(), result.last_insert_id()));
            }
            drop(result);
            let failing = conn.query_drop("UPDATE t SET v = 5; SELECT broken; UPDATE t SET v = 6").await;
            own.push(format!("{failing:?}"));
            own.push(room.dump(kind).await);
            answers.push(own);
        }
        assert_eq!(answers[1], answers[0], "{kind:?}");
    }
}

#[tokio::test]
async fn local_infile_is_the_clients_to_allow() {
    let room = room("infile", "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(50));\n").await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        conn.set_infile_handler(async move { Ok(once("1\tone\n2\ttwo\n")) });
        conn.query_drop("LOAD DATA LOCAL INFILE 'any' INTO TABLE t").await.unwrap();
        assert_eq!(conn.affected_rows(), 2, "{kind:?}");
        let mut lines = String::new();
        for id in 10..300_000 {
            lines += &format!("{id}\ta line of some length, so that there are many packets\n");
        }
        conn.set_infile_handler(async move { Ok(once(lines)) });
        conn.query_drop("LOAD DATA LOCAL INFILE 'any' INTO TABLE t").await.unwrap();
        let count: Option<u64> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
        assert_eq!(count, Some(299_992), "{kind:?}");
        sql::begin(&mut conn).await.unwrap();
        let (code, message) = sql::error_of(&mut conn, "LOAD DATA LOCAL INFILE 'any' INTO TABLE t").await;
        assert_eq!(code, 1235, "{kind:?}: {message}");
        sql::rollback(&mut conn).await.unwrap();
    }
}

#[tokio::test]
async fn local_transactions_are_the_databases() {
    let room = room("local", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        let before = room.dump(kind).await;
        conn.query_drop("START TRANSACTION").await.unwrap();
        conn.query_drop("UPDATE t SET v = 0").await.unwrap();
        conn.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(room.dump(kind).await, before);
        conn.query_drop("SET autocommit = 0").await.unwrap();
        conn.query_drop("DELETE FROM t WHERE id = 1").await.unwrap();
        drop(conn);
        let mut conn = room.app(kind).await;
        let rows: Vec<i32> = conn.query("SELECT id FROM t ORDER BY id FOR UPDATE").await.unwrap();
        assert_eq!(rows, [1, 2], "{kind:?}: a dropped client's open work is gone");
    }
}

/// The text as the contents of a file, as the driver wants it.
fn once(text: impl Into<Vec<u8>>) -> InfileData {
    let bytes: Vec<u8> = text.into();
    Box::pin(futures_util::stream::iter([Ok(bytes.into())]))
}
