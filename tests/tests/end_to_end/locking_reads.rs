//! SELECT … FOR UPDATE and its sisters: inside a global transaction they take the global locks, outside they wait until nobody
//! holds them; what they return is never undone later.

use crate::case::{error_of, inside, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::Row;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(20) UNIQUE);
INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three');
CREATE TABLE c (id INT PRIMARY KEY, t_id INT);
INSERT INTO c VALUES (1, 1);
CREATE VIEW tv AS SELECT id, v FROM t;
CREATE TABLE free (v INT);
INSERT INTO free VALUES (1);
";

/// Reads that lock row 1 and no other.
fn reads(kind: Kind) -> Vec<&'static str> {
    let mut reads = vec![
        "SELECT * FROM t WHERE id = 1 FOR UPDATE",
        "SELECT s, v AS x FROM t AS y WHERE y.id = 1 FOR UPDATE",
        "SELECT COUNT(*) FROM t WHERE id = 1 FOR UPDATE",
        "SELECT c.id, t.* FROM c JOIN t ON t.id = c.t_id WHERE t.id = 1 FOR UPDATE",
        "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE",
        "BEGIN | SELECT id FROM t WHERE id = 1 FOR UPDATE | COMMIT",
        "SELECT id FROM t WHERE id = 1 FOR UPDATE;",
    ];
    if kind == Kind::MySql {
        reads.push("SELECT c.id, t.v FROM c JOIN t ON t.id = c.t_id WHERE t.id = 1 FOR UPDATE OF t");
        reads.push("SELECT id FROM t WHERE id = 1 FOR UPDATE NOWAIT");
        reads.push("SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED");
    }
    reads
}

#[tokio::test]
async fn a_global_transaction_holds_what_it_has_read_for_update() {
    for kind in Kind::ALL {
        let room = room("read_holds", TABLES).await;
        let before = room.dump(kind).await;
        for read in reads(kind) {
            let mut reader = inside(&room, kind, read).await;
            let mut other = room.app(kind).await;
            let (code, message) = error_of(&mut other, "UPDATE t SET v = v + 1 WHERE id = 1").await;
            assert_eq!(code, 1205, "{kind:?}: {read}: {message}");
            let free = error_of(&mut other, "UPDATE t SET v = v WHERE id = 2").await;
            assert_eq!(free, Default::default(), "{kind:?}: {read}");
            let (code, _) = error_of(&mut other, "SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE").await;
            assert_eq!(code, 1205, "{kind:?}: {read}");
            let seen = sql::one(&mut other, "SELECT v FROM t WHERE id = 1").await.unwrap();
            assert_eq!(seen.as_deref(), Some("10"), "{kind:?}: {read}");
            let xid = sql::one(&mut reader, "SELECT atone_xid()").await.unwrap().unwrap();
            let (end, ended) = match read.len() % 2 {
                0 => (sql::commit(&mut reader).await.unwrap(), "committed"),
                _ => (sql::rollback(&mut reader).await.unwrap(), "rolled_back"),
            };
            assert_eq!(end, ended, "{kind:?}: {read}");
            room.calm(&xid).await;
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {read}");
            let free = error_of(&mut other, "UPDATE t SET v = v WHERE id = 1").await;
            assert_eq!(free, Default::default(), "{kind:?}: {read}");
        }
    }
}

#[tokio::test]
async fn what_is_read_for_share_is_held_together_and_changed_by_nobody() {
    let done = <(u16, String)>::default();
    for kind in Kind::ALL {
        let room = room("read_shares", TABLES).await;
        for read in [
            "SELECT * FROM t WHERE id = 1 LOCK IN SHARE MODE",
            "BEGIN | SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE | COMMIT",
        ] {
            let (mut one, mut two) = (inside(&room, kind, read).await, inside(&room, kind, read).await);
            // Readers outside may share it too.
            let mut other = room.app(kind).await;
            assert_eq!(error_of(&mut other, read).await, done, "{kind:?}: {read}");
            let mut writer = inside(&room, kind, "SELECT 1").await;
            for writes in [&mut other, &mut writer, &mut two] {
                let (code, message) = error_of(writes, "UPDATE t SET v = 11 WHERE id = 1").await;
                assert_eq!(code, 1205, "{kind:?}: {read}: {message}");
            }
            assert_eq!(sql::commit(&mut one).await.unwrap(), "committed");
            let (code, message) = error_of(&mut other, "UPDATE t SET v = 11 WHERE id = 1").await;
            assert_eq!(code, 1205, "{kind:?}: {read}: {message}");
            // The last who holds it may change it, and nobody can share it then.
            assert_eq!(
                error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 1").await,
                done,
                "{kind:?}: {read}"
            );
            assert_eq!(error_of(&mut writer, read).await.0, 1205, "{kind:?}: {read}");
            writer.query_drop("ROLLBACK").await.unwrap();
            assert_eq!(sql::rollback(&mut two).await.unwrap(), "rolled_back");
            let seen =
                sql::one(&mut writer, "SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE").await.unwrap();
            assert_eq!(seen.as_deref(), Some("10"), "{kind:?}: {read}");
            assert_eq!(sql::commit(&mut writer).await.unwrap(), "committed");
            // What writes nothing is only told apart.
            let read_only =
                "START TRANSACTION READ ONLY | SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE | COMMIT";
            let mut reader = inside(&room, kind, read_only).await;
            assert_eq!(sql::commit(&mut reader).await.unwrap(), "committed");
        }
    }
}

#[tokio::test]
async fn what_is_returned_is_never_undone() {
    for kind in Kind::ALL {
        let room = room("read_restored", TABLES).await;
        let mut all = reads(kind);
        all.extend([
            "SELECT v FROM t WHERE id = 1 LOCK IN SHARE MODE",
            "SELECT v FROM t ORDER BY id LIMIT 1 FOR UPDATE",
        ]);
        for (round, read) in all.into_iter().filter(|read| !read.contains(" | ")).enumerate() {
            for prepared in [false, true] {
                if prepared && read.contains("SKIP") {
                    continue;
                }
                let mut holder = inside(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
                let mut readers = Vec::new();
                for bound in [false, true] {
                    let mut reader = room.app(kind).await;
                    if bound {
                        sql::begin(&mut reader).await.unwrap();
                    }
                    readers.push(tokio::spawn(async move {
                        let rows: Result<Vec<Row>, _> = match prepared {
                            true => reader.exec(read, ()).await,
                            false => reader.query(read).await,
                        };
                        (reader, rows)
                    }));
                }
                if round % 2 == 0 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}: {read}");
                for reader in readers {
                    let (mut reader, rows) = reader.await.unwrap();
                    match &rows {
                        Ok(rows) => {
                            let told = format!("{rows:?}");
                            assert!(
                                !told.contains("Int(5)") && !told.contains("\"5\""),
                                "{kind:?}: {read}: {told}"
                            );
                        }
                        Err(_) => {
                            let code = sql::errno(&rows.map(drop));
                            assert!([1205, 1213, 3572].contains(&code), "{kind:?}: {read}: {code}");
                        }
                    }
                    reader.query_drop("ROLLBACK").await.unwrap();
                    let _ = sql::rollback(&mut reader).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_read_among_several_statements_of_a_text_holds_its_rows() {
    for kind in Kind::ALL {
        let room = room("read_several", TABLES).await;
        let mut reader =
            inside(&room, kind, "SELECT 1; SELECT v FROM t WHERE id = 1 FOR UPDATE; SELECT 2").await;
        let mut other = room.app(kind).await;
        let (first, told) = error_of(&mut other, "UPDATE t SET v = 5 WHERE id = 1").await;
        assert_eq!(first, 1205, "{kind:?}: {told}");
        assert_eq!(
            error_of(&mut other, "UPDATE t SET v = 21 WHERE id = 2").await,
            Default::default(),
            "{kind:?}"
        );
        sql::rollback(&mut reader).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_within_a_local_transaction_holds_until_its_end() {
    for kind in Kind::ALL {
        let room = room("read_block", TABLES).await;
        let script = "BEGIN | SELECT v FROM t WHERE id = 1 FOR UPDATE | SAVEPOINT s | SELECT v FROM t WHERE id = 2 FOR UPDATE \
            | ROLLBACK TO s | UPDATE t SET v = 31 WHERE id = 3 | COMMIT";
        let mut reader = inside(&room, kind, script).await;
        let mut other = room.app(kind).await;
        let (first, _) = error_of(&mut other, "UPDATE t SET v = 5 WHERE id = 1").await;
        let (second, told) = error_of(&mut other, "UPDATE t SET v = 21 WHERE id = 2").await;
        assert_eq!((first, second), (1205, 0), "{kind:?}: {told}");
        assert_eq!(sql::rollback(&mut reader).await.unwrap(), "rolled_back");
        let all = sql::one(&mut other, "SELECT GROUP_CONCAT(v ORDER BY id) FROM t").await.unwrap();
        assert_eq!(all.as_deref(), Some("10,21,30"), "{kind:?}");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_told_are_refused_inside_and_passed_outside() {
    for kind in Kind::ALL {
        let room = room("read_unclear", TABLES).await;
        let mut inside = inside(&room, kind, "SELECT v FROM free FOR UPDATE").await;
        let mut outside = room.app(kind).await;
        for read in [
            "SELECT * FROM (SELECT * FROM t WHERE id = 1) x FOR UPDATE",
            "SELECT * FROM t WHERE id IN (SELECT t_id FROM c) FOR UPDATE",
            "SELECT v FROM t GROUP BY v FOR UPDATE",
            "SELECT * FROM tv FOR UPDATE",
        ] {
            let (code, told) = error_of(&mut inside, read).await;
            assert!(code == 1235 && told.starts_with("atone: "), "{kind:?}: {read}: {code} {told}");
            assert_eq!(error_of(&mut outside, read).await, Default::default(), "{kind:?}: {read}");
        }
    }
}

#[tokio::test]
async fn a_locking_read_outside_answers_as_without_the_proxy() {
    for kind in Kind::ALL {
        let room = room("read_plain", TABLES).await;
        let (mut app, mut direct) = (room.app(kind).await, room.direct(kind).await);
        for read in [
            "SELECT * FROM t FOR UPDATE",
            "SELECT v AS x, id FROM t WHERE v > 10 ORDER BY id DESC LIMIT 1 FOR UPDATE",
            "SELECT t.id, c.id FROM t LEFT JOIN c ON c.t_id = t.id LOCK IN SHARE MODE",
            "SELECT SUM(v) FROM t FOR UPDATE",
            "SELECT * FROM t WHERE id = 99 FOR UPDATE",
            "SELECT nope FROM t FOR UPDATE",
        ] {
            for mode in [crate::case::Mode::Autocommit, crate::case::Mode::Prepared] {
                let through = crate::case::outcome(&mut app, read, mode).await;
                let right = crate::case::outcome(&mut direct, read, mode).await;
                assert_eq!(through, right, "{kind:?}: {read}");
            }
        }
    }
}
