//! `@atone_isolation = 'read_committed'`: plain reads see nothing of a global transaction that is not decided, and nothing that
//! was undone while they read.

use crate::case::room;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::{Kind, Proxy};
use atone_tests::sql;
use atone_tests::world::Room;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use std::time::Duration;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);
CREATE TABLE other (id INT PRIMARY KEY, t_id INT);
INSERT INTO other VALUES (1, 1), (2, 2), (4, 4);
CREATE VIEW seen AS SELECT id, v * 2 AS w FROM t;
CREATE VIEW further AS SELECT SUM(w) AS n FROM seen;
CREATE FUNCTION total() RETURNS INT READS SQL DATA RETURN (SELECT SUM(v) FROM t);
CREATE TABLE said (n INT);
CREATE FUNCTION says() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO said VALUES (1); RETURN (SELECT SUM(v) FROM t); END;
";

/// What is undecided: a row changed, one deleted, one inserted.
const WRITES: [&str; 3] =
    ["UPDATE t SET v = 11 WHERE id = 1", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, 40)"];

const READS: [&str; 12] = [
    "SELECT id, v FROM t ORDER BY id",
    "SELECT v FROM t WHERE id = 1",
    "SELECT COUNT(*), SUM(v) FROM t",
    "SELECT o.id, t.v FROM other o LEFT JOIN t ON t.id = o.t_id ORDER BY 1",
    "SELECT o.id FROM other o WHERE EXISTS (SELECT 1 FROM t WHERE t.id = o.t_id) ORDER BY 1",
    "WITH a AS (SELECT MAX(v) AS m FROM t) SELECT m FROM a",
    "SELECT * FROM seen ORDER BY id",
    "SELECT * FROM further",
    "SELECT total()",
    "SELECT says()",
    "(SELECT id FROM t) UNION SELECT 99 ORDER BY 1",
    "SELECT (SELECT SUM(v) FROM t) + 1",
];

async fn run(conn: &mut Conn, sql: &str) {
    let (code, message) = sql::error_of(conn, sql).await;
    assert_eq!(code, 0, "{sql}: {message}");
}

/// A session that wants to see what is decided, and waits for it.
async fn strict(room: &Room<'_>, kind: Kind) -> Conn {
    let mut conn = room.app(kind).await;
    run(&mut conn, "SET @atone_isolation = 'read_committed'").await;
    run(&mut conn, "SET @atone_lock_wait_ms = 3000").await;
    conn
}

async fn writer(room: &Room<'_>, kind: Kind, writes: &[&str]) -> (Conn, String) {
    let mut conn = room.app(kind).await;
    let xid = sql::begin(&mut conn).await.unwrap();
    for write in writes {
        run(&mut conn, write).await;
    }
    (conn, xid)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Text,
    Prepared,
    Block,
}

async fn read(conn: &mut Conn, sql: &str, how: How) -> String {
    let rows: Result<Vec<Row>, _> = match how {
        How::Text => conn.query(sql).await,
        How::Prepared => conn.exec(sql, ()).await,
        How::Block => {
            run(conn, "BEGIN").await;
            let rows = conn.query(sql).await;
            run(conn, "COMMIT").await;
            rows
        }
    };
    match rows {
        Ok(rows) => rows.into_iter().map(|row| values(row) + "; ").collect(),
        Err(error) => error.to_string(),
    }
}

fn values(row: Row) -> String {
    let text = |value: mysql_async::Value| match value {
        mysql_async::Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        mysql_async::Value::Int(n) => n.to_string(),
        mysql_async::Value::UInt(n) => n.to_string(),
        other => format!("{other:?}"),
    };
    row.unwrap().into_iter().map(text).collect::<Vec<_>>().join(",")
}

async fn end(conn: &mut Conn, how: &str) {
    let ended = match how {
        "committed" => sql::commit(conn).await.unwrap(),
        _ => sql::rollback(conn).await.unwrap(),
    };
    assert_eq!(ended, how);
}

#[tokio::test]
async fn what_is_not_decided_is_waited_for_and_what_is_undone_is_read_again() {
    for kind in Kind::ALL {
        for ended in ["committed", "rolled_back"] {
            let room = room("isolation_waits", TABLES).await;
            let mut loose = room.direct(kind).await;
            let mut before = Vec::new();
            for sql in READS {
                before.push(read(&mut loose, sql, How::Text).await);
            }
            let (mut writer, xid) = writer(&room, kind, &WRITES).await;
            let mut usual = room.app(kind).await;
            for (sql, before) in READS.iter().zip(&before).filter(|(sql, _)| !sql.contains("says")) {
                // By default they are seen, and nobody waits.
                assert_ne!(&read(&mut usual, sql, How::Text).await, before, "{kind:?}: {sql}");
            }
            let mut readers = Vec::new();
            for sql in READS {
                for how in [How::Text, How::Prepared, How::Block] {
                    let mut conn = strict(&room, kind).await;
                    readers.push((sql, how, tokio::spawn(async move { read(&mut conn, sql, how).await })));
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            for (sql, how, reader) in &readers {
                assert!(!reader.is_finished(), "{kind:?}, {how:?}: {sql}");
            }
            // Tables that nobody writes are read at once, and its own changes by himself.
            let mut other = strict(&room, kind).await;
            run(&mut other, "SELECT * FROM other").await;
            run(&mut writer, "SET @atone_isolation = 'read_committed'").await;
            assert_eq!(read(&mut writer, "SELECT SUM(v) FROM t", How::Text).await, "81; ");
            end(&mut writer, ended).await;
            room.calm(&xid).await;
            for (sql, how, reader) in readers {
                let right = read(&mut loose, sql, How::Text).await;
                let got = reader.await.unwrap();
                if how == How::Block {
                    // Its snapshot is taken, perhaps between two of the branches.
                    assert!(got.contains("1213") && got.contains("40001"), "{kind:?}: {sql}: {got}");
                    continue;
                }
                assert_eq!(got, right, "{kind:?}, {ended}, {how:?}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_undone_just_before_the_question_is_read_again() {
    for kind in Kind::ALL {
        let room = room("isolation_undone", TABLES).await;
        let database = room.world.database(kind);
        let mut proxy =
            Proxy::start(Profile::Debug, Some(&room.world.coordinator.grpc()), &[database]).unwrap();
        proxy.restart_with("proxy.before_check_read=pause:1500").unwrap();
        let mut readers = Vec::new();
        for first in ["SET @x = 1", "BEGIN", "SET @x = 1"] {
            let mut conn = sql::connect_app(proxy.port(kind), &room.schema).await.unwrap();
            run(&mut conn, "SET @atone_isolation = 'read_committed'").await;
            run(&mut conn, first).await;
            readers.push(conn);
        }
        let (mut writer, xid) = writer(&room, kind, &WRITES).await;
        let asked = ["SELECT SUM(v) FROM t", "SELECT SUM(v) FROM t", "SELECT says()"];
        let readers: Vec<_> = readers
            .into_iter()
            .zip(asked)
            .map(|(mut conn, sql)| tokio::spawn(async move { (read(&mut conn, sql, How::Text).await, conn) }))
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        end(&mut writer, "rolled_back").await;
        room.calm(&xid).await;
        assert!(!readers[0].is_finished(), "{kind:?}: the machine is too slow for this pause");
        let mut told = Vec::new();
        for reader in readers {
            told.push(reader.await.unwrap());
        }
        let [(again, _), (fixed, conn), (says, _)] = told.as_mut_slice() else { panic!("three") };
        assert_eq!((again.as_str(), says.as_str()), ("60; ", "60; "), "{kind:?}");
        assert!(fixed.contains("1213") && fixed.contains("atone_isolation"), "{kind:?}: {fixed}");
        assert_eq!(read(conn, "SELECT SUM(v) FROM t", How::Text).await, "60; ", "{kind:?}");
        // What a function wrote in the read that did not count is gone.
        let mut direct = room.direct(kind).await;
        assert_eq!(read(&mut direct, "SELECT COUNT(*) FROM said", How::Text).await, "1; ", "{kind:?}");
    }
}

#[tokio::test]
async fn the_variable_has_two_values_and_what_cannot_be_checked_is_refused() {
    for kind in Kind::ALL {
        let room = room("isolation_setting", TABLES).await;
        let (mut writer, _) = writer(&room, kind, &WRITES[..1]).await;
        let mut conn = room.app(kind).await;
        run(&mut conn, "SET @atone_lock_wait_ms = 0").await;
        let sum = "SELECT SUM(v) FROM t";
        let (code, message) = sql::error_of(&mut conn, "SET @atone_isolation = 'serializable'").await;
        assert!(code == 1231 && message.contains("'read_committed' or 'read_uncommitted'"), "{message}");
        assert_eq!(read(&mut conn, sum, How::Text).await, "61; ");
        let (code, message) = sql::error_of(&mut conn, "SET @x = 1, @atone_isolation = 'nonsense'").await;
        assert_eq!(code, 0, "{message}");
        let (code, message) = sql::error_of(&mut conn, sum).await;
        assert!(code == 1231 && message.contains("nonsense"), "{kind:?}: {message}");
        for off in ["SET @atone_isolation = NULL", "SET @atone_isolation = \"read_uncommitted\""] {
            run(&mut conn, "SET @atone_isolation = \"read_committed\"").await;
            for how in [How::Text, How::Prepared] {
                let told = read(&mut conn, sum, how).await;
                assert!(told.contains("1205") && told.contains("isolation_setting.t"), "{kind:?}: {told}");
            }
            run(&mut conn, off).await;
            assert_eq!(read(&mut conn, sum, How::Text).await, "61; ", "{kind:?}: {off}");
        }
        conn.exec_drop("SET @atone_isolation = ?", ("read_committed",)).await.unwrap();
        assert_eq!(sql::error_of(&mut conn, sum).await.0, 1205, "{kind:?}");
        assert_eq!(
            sql::error_of(&mut conn, "SELECT * FROM other; SELECT v FROM t").await.0,
            1205,
            "{kind:?}"
        );
        for sql in ["HANDLER t OPEN", "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "EXECUTE nothing"] {
            let (code, message) = sql::error_of(&mut conn, sql).await;
            assert!(
                code == 1235 && message.contains("@atone_isolation"),
                "{kind:?}: {sql}: {code} {message}"
            );
        }
        assert_eq!(sql::error_of(&mut conn, "/*!50000 SELECT * FROM t */").await.0, 1205, "{kind:?}");
        run(&mut conn, "PREPARE s FROM 'SELECT SUM(v) FROM t'").await;
        assert_eq!(sql::error_of(&mut conn, "EXECUTE s").await.0, 1205, "{kind:?}");
        let large = "SELECT REPEAT('x', 1000000) FROM other a, other b, other c, other d";
        let (code, message) = sql::error_of(&mut conn, large).await;
        assert!(code == 1105 && message.contains("64 MiB"), "{kind:?}: {code} {message}");
        // Errors of the server's own, and what is asked about a read behind it.
        assert_eq!(sql::error_of(&mut conn, "SELECT nothing FROM other").await.0, 1054, "{kind:?}");
        run(&mut conn, "SELECT * FROM other").await;
        assert_eq!(read(&mut conn, "SELECT FOUND_ROWS()", How::Text).await, "3; ", "{kind:?}");
        run(&mut conn, "LOCK TABLES other WRITE, t READ, said WRITE").await;
        assert_eq!(sql::error_of(&mut conn, "SELECT says()").await.0, 1205, "{kind:?}");
        run(&mut conn, "SELECT * FROM other").await;
        run(&mut conn, "UNLOCK TABLES").await;
        // Inside, what may write is refused as it always is.
        sql::begin(&mut conn).await.unwrap();
        assert_eq!(sql::error_of(&mut conn, "SELECT says()").await.0, 1235, "{kind:?}");
        assert_eq!(sql::error_of(&mut conn, sum).await.0, 1205, "{kind:?}");
        run(&mut conn, "SELECT atone_rollback()").await;
        end(&mut writer, "rolled_back").await;
        // A function may have prepared another under its name.
        run(&mut conn, "PREPARE s FROM 'SELECT SUM(v) FROM t'").await;
        assert_eq!(read(&mut conn, "EXECUTE s", How::Text).await, "60; ", "{kind:?}");
    }
}

#[tokio::test]
async fn it_does_not_need_local_writes_to_be_guarded() {
    for kind in Kind::ALL {
        let room = room("isolation_pass", TABLES).await;
        let coordinator = room.world.coordinator.grpc();
        let databases = [room.world.database(kind)];
        let more = "local_writes = \"pass\"";
        let proxy = Proxy::start_with(Profile::Debug, Some(&coordinator), &databases, more).unwrap();
        let mut conn = sql::connect_app(proxy.port(kind), &room.schema).await.unwrap();
        run(&mut conn, "SET @atone_isolation = 'read_committed', @atone_lock_wait_ms = 0").await;
        let (mut writer, xid) = writer(&room, kind, &WRITES).await;
        for sql in ["SELECT SUM(v) FROM t", "SELECT total()"] {
            for how in [How::Text, How::Prepared, How::Block] {
                let told = read(&mut conn, sql, how).await;
                assert!(told.contains("1205"), "{kind:?}, {how:?}: {sql}: {told}");
            }
        }
        run(&mut conn, "INSERT INTO other VALUES (7, 7)").await;
        assert_eq!(read(&mut conn, "SELECT COUNT(*) FROM other", How::Text).await, "4; ");
        end(&mut writer, "committed").await;
        room.calm(&xid).await;
        assert_eq!(read(&mut conn, "SELECT total()", How::Text).await, "81; ", "{kind:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_wrote_fails_with_the_rollback_and_one_that_goes_waits_no_more() {
    for kind in Kind::ALL {
        let room = room("isolation_wrote", TABLES).await;
        let mut conn = strict(&room, kind).await;
        let mut gone = strict(&room, kind).await;
        let (mut writer, xid) = writer(&room, kind, &WRITES).await;
        run(&mut conn, "BEGIN").await;
        run(&mut conn, "UPDATE other SET t_id = 9 WHERE id = 4").await;
        let waiting =
            tokio::spawn(async move { (read(&mut conn, "SELECT v FROM t", How::Text).await, conn) });
        let leaving = tokio::spawn(async move { read(&mut gone, "SELECT v FROM t", How::Text).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        leaving.abort();
        end(&mut writer, "rolled_back").await;
        let (told, mut conn) = waiting.await.unwrap();
        assert!(told.contains("1213"), "{kind:?}: {told}");
        room.calm(&xid).await;
        // Of one branch all is seen, or nothing; this proxy has heard of the rollback.
        assert_eq!(read(&mut conn, "SELECT SUM(v) FROM t", How::Text).await, "60; ", "{kind:?}");
        let (mut writer, xid) = self::writer(&room, kind, &WRITES[..1]).await;
        let mut block = strict(&room, kind).await;
        let waiting = tokio::spawn(async move { read(&mut block, "SELECT SUM(v) FROM t", How::Block).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        end(&mut writer, "committed").await;
        assert_eq!(waiting.await.unwrap(), "61; ", "{kind:?}");
        room.calm(&xid).await;
        let other = read(&mut conn, "SELECT t_id FROM other WHERE id = 4", How::Text).await;
        assert_eq!(other, "4; ", "{kind:?}: the local transaction is rolled back");
        assert_eq!(read(&mut conn, "SELECT SUM(v) FROM t", How::Text).await, "61; ", "{kind:?}");
    }
}
