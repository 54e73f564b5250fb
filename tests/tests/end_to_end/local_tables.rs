//! Statements outside global transactions that empty tables, take them away or give them another shape wait until no global
//! transaction holds a row there, or fail; an undo finds its table as it was.

use crate::case::room;
use atone_tests::servers::Kind;
use atone_tests::sql;
use atone_tests::wait::until;
use atone_tests::world::Room;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT, KEY by_w (w));
INSERT INTO t VALUES (1, 10, 0), (2, 20, 0);
CREATE TABLE other (id INT PRIMARY KEY, v INT);
INSERT INTO other VALUES (1, 1);
";

const HELD: &str = "UPDATE t SET v = v + 1 WHERE id = 1";

async fn holder(room: &Room<'_>, kind: Kind) -> Conn {
    let mut conn = room.app(kind).await;
    sql::begin(&mut conn).await.unwrap();
    conn.query_drop(HELD).await.unwrap();
    conn
}

#[tokio::test]
async fn a_table_with_locked_rows_stays_what_it_is() {
    for kind in Kind::ALL {
        let room = room("tables_stay", TABLES).await;
        let before = room.dump(kind).await;
        let mut taking = vec![
            "TRUNCATE t".to_owned(),
            "TRUNCATE TABLE other; TRUNCATE TABLE t;".to_owned(),
            "DROP TABLE other, t".to_owned(),
            "RENAME TABLE t TO t2".to_owned(),
            format!("ALTER TABLE {}.t ADD extra INT", sql::quoted(&room.schema)),
            "ALTER TABLE t DROP COLUMN w, ADD INDEX (v)".to_owned(),
            "CREATE UNIQUE INDEX u ON t (v)".to_owned(),
            "DROP INDEX by_w ON t".to_owned(),
            format!("DROP DATABASE {}", sql::quoted(&room.schema)),
            "LOCK TABLES t WRITE | TRUNCATE t".to_owned(),
            "BEGIN | INSERT INTO other VALUES (7, 7) | TRUNCATE t".to_owned(),
        ];
        if kind == Kind::Maria {
            taking.push("CREATE OR REPLACE TABLE t (id INT)".to_owned());
        }
        for text in taking {
            let mut holder = holder(&room, kind).await;
            let mut other = room.app(kind).await;
            other.query_drop("SET @atone_lock_wait_ms = 100").await.unwrap();
            let mut told = Default::default();
            for statement in text.split(" | ") {
                told = sql::error_of(&mut other, statement).await;
            }
            assert_eq!(told.0, 1205, "{kind:?}: {text}: {told:?}");
            drop(other);
            assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}: {text}");
            if text.contains("TABLE other;") {
                let mut direct = room.direct(kind).await;
                direct.query_drop("INSERT INTO other VALUES (1, 1)").await.unwrap();
            }
            if text.contains("VALUES (7") {
                let mut direct = room.direct(kind).await;
                direct.query_drop("DELETE FROM other WHERE id = 7").await.unwrap();
            }
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {text}");
        }
    }
}

#[tokio::test]
async fn others_tables_and_what_takes_nothing_wait_for_nobody() {
    for kind in Kind::ALL {
        let room = room("tables_free", TABLES).await;
        let mut holder = holder(&room, kind).await;
        let mut other = room.app(kind).await;
        for text in [
            "ALTER TABLE t ADD INDEX (v)",
            "CREATE INDEX i ON t (w, v)",
            "ALTER TABLE other ADD extra INT",
            "CREATE TEMPORARY TABLE mine (id INT)",
            "ALTER TABLE mine ADD v INT",
            "TRUNCATE mine",
            "DROP TEMPORARY TABLE mine",
            "TRUNCATE other",
            "DROP TABLE IF EXISTS nothing",
        ] {
            let told = sql::error_of(&mut other, text).await;
            assert_eq!(told.0, 0, "{kind:?}: {text}: {told:?}");
        }
        let notes: Vec<(String, u16, String)> = other.query("SHOW WARNINGS").await.unwrap();
        assert_eq!(notes.len(), 1, "{kind:?}: {notes:?}");
        let told = sql::error_of(&mut other, "DROP TABLE other, nothing").await;
        assert_eq!(told.0, 1051, "{kind:?}: {told:?}");
        let locked = sql::error_of(&mut other, "UPDATE t SET v = v WHERE id = 2").await;
        assert_eq!(locked.0, 0, "{kind:?}: no table is left locked: {locked:?}");
        assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}");
    }
}

/// A statement that is killed while our lock waits for its table does not run.
#[tokio::test]
async fn what_is_killed_while_it_waits_for_the_table_does_not_run() {
    for kind in Kind::ALL {
        let room = room("tables_vain", TABLES).await;
        let before = room.dump(kind).await;
        let mut holder = room.app(kind).await;
        sql::begin(&mut holder).await.unwrap();
        for statement in ["BEGIN", HELD] {
            holder.query_drop(statement).await.unwrap();
        }
        let mut other = room.app(kind).await;
        other.query_drop("SET lock_wait_timeout = 20").await.unwrap();
        let waiting = tokio::spawn(async move { sql::error_of(&mut other, "TRUNCATE t").await });
        let mut direct = room.direct(kind).await;
        let query = "SELECT ID FROM information_schema.PROCESSLIST \
            WHERE STATE LIKE 'Waiting for table metadata lock%' AND DB = DATABASE()";
        let id = until("the statement waits for the table", async || {
            direct.query_first::<u64, _>(query).await.unwrap().ok_or("nobody waits")
        })
        .await;
        direct.query_drop(format!("KILL QUERY {id}")).await.unwrap();
        let told = waiting.await.unwrap();
        assert_eq!(told.0, 1317, "{kind:?}: {told:?}");
        holder.query_drop("COMMIT").await.unwrap();
        assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}

/// The holder's local transaction is still open when the statement comes, and holds no global lock yet.
#[tokio::test]
async fn a_local_transaction_under_way_is_waited_for_as_well() {
    for kind in Kind::ALL {
        for (text, end) in [("TRUNCATE t", "committed"), ("ALTER TABLE t DROP COLUMN v", "rolled_back")] {
            let room = room("tables_drain", TABLES).await;
            let before = room.dump(kind).await;
            let mut holder = room.app(kind).await;
            let xid = sql::begin(&mut holder).await.unwrap();
            for statement in ["BEGIN", HELD] {
                holder.query_drop(statement).await.unwrap();
            }
            let mut other = room.app(kind).await;
            let waiting = tokio::spawn(async move { sql::error_of(&mut other, text).await });
            let mut direct = room.direct(kind).await;
            let query = "SELECT 1 FROM information_schema.PROCESSLIST \
                WHERE STATE LIKE 'Waiting for table metadata lock%' AND DB = DATABASE()";
            until("the statement waits for the table", async || {
                direct.query_first::<u8, _>(query).await.unwrap().ok_or("nobody waits")
            })
            .await;
            holder.query_drop("COMMIT").await.unwrap();
            match end {
                "committed" => assert_eq!(sql::commit(&mut holder).await.unwrap(), end),
                _ => assert_eq!(sql::rollback(&mut holder).await.unwrap(), end),
            }
            room.calm(&xid).await;
            let told = waiting.await.unwrap();
            if end == "committed" {
                assert_eq!(told.0, 0, "{kind:?}: {text}: {told:?}");
                let left = sql::one(&mut holder, "SELECT COUNT(*) FROM t").await.unwrap();
                assert_eq!(left.as_deref(), Some("0"), "{kind:?}");
            } else {
                // The undo needs the table: it is not waited for.
                assert!([1205, 1213].contains(&told.0), "{kind:?}: {text}: {told:?}");
                assert_eq!(room.dump(kind).await, before, "{kind:?}: {text}");
            }
        }
    }
}
