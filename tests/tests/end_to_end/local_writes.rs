//! Writers outside global transactions, and rows that a global transaction has locked: they wait, or fail, as they would
//! before a row lock, and never write over what may be undone.

use crate::battery::connect;
use crate::case::{error_of, room};
use atone_tests::mysql::raw::Abilities;
use atone_tests::mysql::script::play;
use atone_tests::servers::Kind;
use atone_tests::servers::Proxy;
use atone_tests::servers::binaries::Profile;
use atone_tests::world::Room;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, params};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);
CREATE TABLE u (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE, v INT);
INSERT INTO u VALUES (1, 'one', 0), (2, 'two', 0);
CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, v INT);
INSERT INTO a VALUES (1, 'one', 0), (2, 'two', 0);
CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO n VALUES (1, 0), (2, 0);
CREATE TABLE z (id INT ZEROFILL AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO z VALUES (1, 0), (2, 0);
CREATE TABLE p (id INT PRIMARY KEY);
INSERT INTO p VALUES (1), (2);
CREATE TABLE k (id INT PRIMARY KEY, p_id INT, v INT, FOREIGN KEY (p_id) REFERENCES p (id) ON DELETE CASCADE);
INSERT INTO k VALUES (1, 1, 0), (2, 2, 0);
CREATE TABLE log (id INT PRIMARY KEY, n INT);
INSERT INTO log VALUES (1, 0);
CREATE TABLE f (id INT PRIMARY KEY, v INT);
INSERT INTO f VALUES (1, 0);
CREATE TRIGGER noted AFTER UPDATE ON f FOR EACH ROW UPDATE log SET n = n + 1 WHERE id = 1;
CREATE VIEW tv AS SELECT id, v FROM t;
CREATE PROCEDURE bump(at INT) BEGIN UPDATE t SET v = v + 1 WHERE id = at; END;
CREATE FUNCTION bumped(at INT) RETURNS INT DETERMINISTIC BEGIN UPDATE t SET v = v + 1 WHERE id = at; RETURN at; END;
CREATE VIEW wv AS SELECT bumped(id) AS b FROM f;
CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM;
INSERT INTO m VALUES (1, 0);
";

/// A session that has run this inside a global transaction that is not decided yet.
async fn holding(room: &Room<'_>, kind: Kind, write: &str) -> Conn {
    let mut holder = room.app(kind).await;
    sql::begin(&mut holder).await.unwrap();
    holder.query_drop(write).await.unwrap_or_else(|error| panic!("{kind:?}: {write}: {error}"));
    holder
}

async fn value(conn: &mut Conn, query: &str) -> String {
    sql::one(conn, query).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn nobody_writes_over_a_locked_row() {
    let held = "UPDATE t SET v = 5 WHERE id = 1";
    for (held, local, free) in [
        (held, "UPDATE t SET v = v + 1 WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 2"),
        (held, "DELETE FROM t WHERE v = 5", "DELETE FROM t WHERE v = 20"),
        (held, "UPDATE t SET v = 0", "UPDATE t SET v = 0 WHERE id = 99"),
        (held, "UPDATE t SET id = 50 WHERE id = 1", "UPDATE t SET id = 2 WHERE id = 2"),
        (
            held,
            "BEGIN | UPDATE t SET v = 9 WHERE id = 1 | COMMIT",
            "BEGIN | UPDATE t SET v = 9 WHERE id = 2 | COMMIT",
        ),
        (
            held,
            "SET autocommit = 0 | UPDATE t SET v = 9 WHERE id = 1 | COMMIT",
            "UPDATE t SET v = 9 WHERE id = 2 | COMMIT",
        ),
        (
            held,
            "BEGIN | DELETE FROM t WHERE id = 1 | CREATE TABLE more (id INT)",
            "CREATE TABLE more (id INT)",
        ),
        (held, "BEGIN | DELETE FROM t WHERE id = 1 | BEGIN", "BEGIN | COMMIT"),
        (held, "UPDATE tv SET v = 7 WHERE id = 1", "UPDATE u SET v = 7 WHERE id = 1"),
        (held, "CALL bump(1)", "UPDATE t SET v = 7 WHERE id = 2"),
        (held, "SELECT bumped(1)", "SELECT ABS(1)"),
        (held, "SELECT * FROM wv", "SELECT * FROM tv"),
        (held, "SET @x = bumped(1)", "SET @x = ABS(1)"),
        (held, "REPLACE INTO t VALUES (1, 1)", "REPLACE INTO u VALUES (1, 'one', 1)"),
        (held, "INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 1", "INSERT INTO t VALUES (4, 1)"),
        (held, "INSERT INTO t SELECT id + 10, v FROM u", "INSERT INTO u SELECT id + 10, id, v FROM f"),
        (held, "UPDATE t, u SET t.v = 7 WHERE t.id = u.id", "UPDATE u, f SET u.v = 7 WHERE f.id = u.id"),
        (held, "/*!50000 UPDATE t SET v = 7 */", "/*!50000 UPDATE u SET v = 7 */"),
        (held, "PREPARE w FROM 'UPDATE t SET v = 0 WHERE id = 1' | EXECUTE w", "PREPARE w FROM 'SELECT 1'"),
        (
            held,
            "UPDATE u SET v = 4; UPDATE t SET v = 7 WHERE id = 1",
            "UPDATE u SET v = 4; UPDATE t SET v = 7 WHERE id = 2",
        ),
        (
            held,
            "BEGIN; UPDATE t SET v = 7 WHERE id = 1; COMMIT",
            "BEGIN; UPDATE t SET v = 7 WHERE id = 2; COMMIT",
        ),
        (
            held,
            "LOCK TABLES t WRITE | UPDATE t SET v = 7 WHERE id = 1",
            "UNLOCK TABLES | UPDATE t SET v = 7 WHERE id = 2",
        ),
        (
            held,
            "XA START 'lw' | UPDATE t SET v = 7 WHERE id = 1 | XA END 'lw' | XA PREPARE 'lw'",
            "UPDATE t SET v = 7 WHERE id = 2",
        ),
        (
            held,
            "XA START 'lv' | UPDATE t SET v = 7 WHERE id = 1 | XA END 'lv' | XA COMMIT 'lv' ONE PHASE",
            "UPDATE t SET v = 7 WHERE id = 2",
        ),
        (held, "UPDATE t SET v = 7 ORDER BY id LIMIT 1", "UPDATE u SET v = 7 ORDER BY id LIMIT 1"),
        ("INSERT INTO t VALUES (7, 7)", "UPDATE t SET v = 0 WHERE id = 7", "INSERT INTO t VALUES (8, 8)"),
        ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (2, 0)", "INSERT INTO t VALUES (9, 9)"),
        ("DELETE FROM n WHERE id = 1", "INSERT INTO n VALUES (1, 0)", "INSERT INTO n (v) VALUES (0), (1)"),
        ("DELETE FROM z WHERE id = 1", "INSERT INTO z VALUES (1, 0)", "INSERT INTO z (v) VALUES (0), (1)"),
        ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (1 + 1, 0)", "INSERT INTO t VALUES (1 + 8, 9)"),
        (
            "DELETE FROM u WHERE id = 1",
            "INSERT INTO u VALUES (5, 'ONE', 0)",
            "INSERT INTO u VALUES (5, 'five', 0)",
        ),
        (
            "DELETE FROM a WHERE id = 1",
            "INSERT INTO a (name) VALUES ('x'), ('one')",
            "INSERT INTO a (name) VALUES ('x'), ('y')",
        ),
        (
            "UPDATE u SET name = 'uno' WHERE id = 1",
            "UPDATE u SET name = 'one' WHERE id = 2",
            "UPDATE u SET v = 1 WHERE id = 2",
        ),
        ("UPDATE k SET v = 1 WHERE id = 1", "DELETE FROM p WHERE id = 1", "INSERT INTO p VALUES (3)"),
        ("UPDATE log SET n = 5 WHERE id = 1", "UPDATE f SET v = 1", "UPDATE t SET v = 2"),
    ] {
        let room = room("local_over", TABLES).await;
        for kind in Kind::ALL {
            let place = format!("{kind:?}: {held} || {local}");
            let mut writer = room.app(kind).await;
            let mut holder = holding(&room, kind, held).await;
            let (code, message) = error_of(&mut writer, local).await;
            assert_eq!(code, 1205, "{place}: {message}");
            assert!(message.contains("is locked by global transaction"), "{place}: {message}");
            assert_eq!(error_of(&mut writer, free).await, Default::default(), "{place}: {free}");
            // Nothing of the local writer's stands in the way of the undo.
            assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{place}");
            let (code, message) = error_of(&mut writer, "ROLLBACK | UPDATE t SET v = 1 WHERE id = 1").await;
            assert_eq!(code, 0, "{place}, afterwards: {message}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_meets_a_lock_rolls_back() {
    for kind in Kind::ALL {
        let room = room("local_block", TABLES).await;
        let mut holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut writer = room.app(kind).await;
        let script = "BEGIN | UPDATE t SET v = 7 WHERE id = 2 | UPDATE t SET v = 8 WHERE id = 1 | SELECT 1";
        assert_eq!(error_of(&mut writer, script).await, Default::default(), "{kind:?}");
        let (code, message) = error_of(&mut writer, "COMMIT").await;
        assert_eq!(code, 1205, "{kind:?}: {message}");
        assert!(message.contains("rolled back"), "{kind:?}: {message}");
        assert_eq!(value(&mut writer, "SELECT v FROM t WHERE id = 2").await, "20", "{kind:?}");
        // What is taken back to a savepoint needs no lock.
        let script = "BEGIN | UPDATE t SET v = 7 WHERE id = 2 | SAVEPOINT s | UPDATE t SET v = 8 WHERE id = 1 | ROLLBACK TO s | COMMIT";
        assert_eq!(error_of(&mut writer, script).await, Default::default(), "{kind:?}");
        assert_eq!(value(&mut writer, "SELECT v FROM t WHERE id = 2").await, "7", "{kind:?}");
        // Nor does what was rolled back, or failed.
        let script = "BEGIN | UPDATE t SET v = 8 WHERE id = 1 | ROLLBACK | BEGIN | UPDATE t SET v = 9 WHERE id = 3 | COMMIT";
        assert_eq!(error_of(&mut writer, script).await, Default::default(), "{kind:?}");
        assert_eq!(sql::commit(&mut holder).await.unwrap(), "committed", "{kind:?}");
        assert_eq!(error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await, Default::default());
        assert_eq!(value(&mut writer, "SELECT v FROM t WHERE id = 1").await, "6", "{kind:?}");
    }
}

#[tokio::test]
async fn a_writer_waits_for_the_commit_and_yields_to_a_rollback() {
    for kind in Kind::ALL {
        for rolls_back in [false, true] {
            let room = room("local_waits", TABLES).await;
            let mut holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
            let mut writer = room.app(kind).await;
            let waiting = tokio::spawn(async move {
                let mut told = error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await;
                // The default patience is half a second; a busy machine may need more than one try.
                for _ in 0..20 {
                    if told.0 == 1205 {
                        told = error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await;
                    }
                }
                (writer, told)
            });
            wait::until("the writer waits", async || {
                let locks = room.world.api().locks("table=shop_local_waits.t").unwrap();
                let waits = locks.iter().any(|lock| lock["waiting"] == 1);
                if waits || waiting.is_finished() { Ok(()) } else { Err("nobody".to_owned()) }
            })
            .await;
            let ended = match rolls_back {
                true => sql::rollback(&mut holder).await.unwrap(),
                false => sql::commit(&mut holder).await.unwrap(),
            };
            let (mut writer, told) = waiting.await.unwrap();
            let value = value(&mut writer, "SELECT v FROM t WHERE id = 1").await;
            if rolls_back {
                assert_eq!(ended, "rolled_back", "{kind:?}");
                assert!(
                    told.0 == 1213 && value == "10" || told.0 == 0 && value == "11",
                    "{kind:?}: {told:?} {value}"
                );
            } else {
                assert_eq!(
                    (ended.as_str(), told, value.as_str()),
                    ("committed", Default::default(), "6"),
                    "{kind:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn prepared_writes_are_guarded_too() {
    for kind in Kind::ALL {
        let room = room("local_prepared", TABLES).await;
        let mut app = room.app(kind).await;
        let update = app.prep("UPDATE t SET v = v + :by WHERE id = :id").await.unwrap();
        let insert = app.prep("INSERT INTO u VALUES (?, ?, 0)").await.unwrap();
        let call = app.prep("CALL bump(?)").await.unwrap();
        let mut holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut other = holding(&room, kind, "DELETE FROM u WHERE id = 1").await;
        let refused = app.exec_drop(&update, params! { "by" => 1, "id" => 1 }).await;
        assert_eq!(sql::errno(&refused), 1205, "{kind:?}: {refused:?}");
        let refused = app.exec_drop(&insert, (9, "one")).await;
        assert_eq!(sql::errno(&refused), 1205, "{kind:?}: {refused:?}");
        let refused = app.exec_drop(&call, (1,)).await;
        assert_eq!(sql::errno(&refused), 1205, "{kind:?}: {refused:?}");
        app.exec_drop(&update, params! { "by" => 1, "id" => 2 }).await.unwrap();
        app.exec_drop(&insert, (9, "nine")).await.unwrap();
        for holder in [&mut holder, &mut other] {
            assert_eq!(sql::rollback(holder).await.unwrap(), "rolled_back", "{kind:?}");
        }
        app.exec_drop(&update, params! { "by" => 1, "id" => 1 }).await.unwrap();
        app.exec_drop(&call, (1,)).await.unwrap();
        assert_eq!(
            value(&mut app, "SELECT GROUP_CONCAT(v ORDER BY id) FROM t").await,
            "12,21,30",
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_large_write_is_guarded_too() {
    for kind in Kind::ALL {
        let room = room(
            "local_large",
            "CREATE TABLE b (id INT PRIMARY KEY, b LONGBLOB);\nINSERT INTO b VALUES (1, '');\n",
        )
        .await;
        let mut writer = room.app(kind).await;
        let mut holder = holding(&room, kind, "UPDATE b SET b = 'x' WHERE id = 1").await;
        let large = "y".repeat(2 << 20);
        let (code, message) =
            error_of(&mut writer, &format!("UPDATE b SET b = '{large}' WHERE id = 1")).await;
        assert_eq!(code, 1205, "{kind:?}: {message}");
        let told = error_of(&mut writer, &format!("INSERT INTO b VALUES (2, '{large}')")).await;
        assert_eq!(told, Default::default(), "{kind:?}");
        let refused = writer.exec_drop("UPDATE b SET b = ? WHERE id = 1", (large.as_bytes(),)).await;
        assert_eq!(sql::errno(&refused), 1205, "{kind:?}");
        assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(
            value(&mut writer, "SELECT SUM(LENGTH(b)) FROM b").await,
            (2 << 20).to_string(),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_local_transaction_that_the_server_ended_does_not_write_on_unguarded() {
    for kind in Kind::ALL {
        let room = room("local_ended", TABLES).await;
        let mut writer = room.app(kind).await;
        let mut other = room.direct(kind).await;
        for (conn, script) in [
            (&mut writer, "BEGIN | UPDATE t SET v = 1 WHERE id = 2"),
            (
                &mut other,
                "BEGIN | UPDATE u SET v = v + 1 | UPDATE f SET v = 9 | UPDATE t SET v = 2 WHERE id = 3",
            ),
        ] {
            assert_eq!(error_of(conn, script).await, Default::default(), "{kind:?}");
        }
        let first = writer.query_drop("UPDATE t SET v = 1 WHERE id = 3");
        let second = other.query_drop("UPDATE t SET v = 2 WHERE id = 2");
        let (first, second) = tokio::join!(first, second);
        second.unwrap();
        assert_eq!(sql::errno(&first), 1213, "{kind:?}");
        other.query_drop("ROLLBACK").await.unwrap();
        // It commits by itself now, and is asked about by itself.
        let mut holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        let (code, message) = error_of(&mut writer, "UPDATE t SET v = 6 WHERE id = 1").await;
        assert_eq!(code, 1205, "{kind:?}: {message}");
        assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}");
    }
}

#[tokio::test]
async fn what_has_no_transactions_or_is_temporary_is_nobodys_business() {
    for kind in Kind::ALL {
        let room = room("local_others", TABLES).await;
        let _holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut writer = room.app(kind).await;
        let script = "UPDATE m SET v = 1 | CREATE TEMPORARY TABLE x (id INT PRIMARY KEY) | INSERT INTO x VALUES (1) | DELETE FROM x";
        assert_eq!(error_of(&mut writer, script).await, Default::default(), "{kind:?}");
    }
}

#[tokio::test]
async fn they_can_be_let_through_and_fail_while_nobody_can_be_asked() {
    for kind in Kind::ALL {
        let room = room("local_mode", TABLES).await;
        let world = room.world;
        let databases = [world.database(kind)];
        let pass = "local_writes = \"pass\"";
        let letting =
            Proxy::start_with(Profile::Debug, Some(&world.coordinator.grpc()), &databases, pass).unwrap();
        let _holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut writer = sql::connect_app(letting.port(kind), &room.schema).await.unwrap();
        assert_eq!(error_of(&mut writer, "UPDATE t SET v = 6 WHERE id = 1").await, Default::default());
        // As the global transaction left it, so that it can be undone.
        assert_eq!(error_of(&mut writer, "UPDATE t SET v = 5 WHERE id = 1").await, Default::default());

        // Where nobody listens.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        for (mode, code) in [("guard", 1105), ("pass", 0)] {
            let more = format!("local_writes = \"{mode}\"");
            let lonely = Proxy::start_with(Profile::Debug, Some(&nobody), &databases, &more).unwrap();
            let mut writer = sql::connect_app(lonely.port(kind), &room.schema).await.unwrap();
            let (got, told) = error_of(&mut writer, "UPDATE t SET v = v WHERE id = 3").await;
            assert_eq!(got, code, "{kind:?}, {mode}: {told}");
            assert_eq!(value(&mut writer, "SELECT v FROM t WHERE id = 3").await, "30", "{kind:?}, {mode}");
        }
    }
}

/// How often each client writes.
const ROUNDS: i64 = 6;

/// Adds one to the row until it is done; the global transactions that it took, each with how it ended.
async fn add(room: &Room<'_>, kind: Kind, client: i64) -> (i64, Vec<(String, &'static str)>) {
    let mut app = room.app(kind).await;
    let (mut added, mut ended) = (0, Vec::new());
    for round in 0..ROUNDS {
        let (global, gives_up) = (client % 2 == 0, (client + round) % 10 == 0);
        loop {
            if !global {
                let write = match round % 3 {
                    0 => "UPDATE t SET v = v + 1 WHERE id = 1",
                    1 => "BEGIN | UPDATE t SET v = v + 1 WHERE id = 1 | COMMIT",
                    _ => "CALL bump(1)",
                };
                let (code, message) = error_of(&mut app, write).await;
                if code == 0 {
                    added += 1;
                    break;
                }
                assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
                app.query_drop("ROLLBACK").await.unwrap();
                continue;
            }
            let xid = sql::begin(&mut app).await.unwrap();
            let (code, message) = error_of(&mut app, "UPDATE t SET v = v + 1 WHERE id = 1").await;
            if code == 0 && !gives_up {
                assert_eq!(sql::commit(&mut app).await.unwrap(), "committed", "{kind:?}");
                ended.push((xid, "committed"));
                added += 1;
                break;
            }
            assert!([0, 1205, 1213].contains(&code), "{kind:?}: {code} {message}");
            let told = sql::rollback(&mut app).await.unwrap();
            assert!(["rolled_back", "rolling_back"].contains(&told.as_str()), "{kind:?}: {told}");
            ended.push((xid, "rolled_back"));
            if code == 0 {
                break;
            }
        }
    }
    (added, ended)
}

#[tokio::test]
async fn many_writers_of_one_row_lose_nothing_and_block_no_rollback() {
    for kind in Kind::ALL {
        let room = room("local_many", TABLES).await;
        let clients = futures_util::future::join_all((0..24).map(|client| add(&room, kind, client))).await;
        let mut expected = 10;
        for (added, ended) in clients {
            expected += added;
            for (xid, how) in ended {
                assert_eq!(room.calm(&xid).await, how, "{kind:?}");
            }
        }
        let mut direct = room.direct(kind).await;
        assert_eq!(
            value(&mut direct, "SELECT v FROM t WHERE id = 1").await,
            expected.to_string(),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_comment_behind_a_semicolon_hides_no_write() {
    for kind in Kind::ALL {
        let room = room("local_comment", TABLES).await;
        let _holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        for first in ["opt 0", "opt 1"] {
            let script = format!("{first}\nQ UPDATE t SET v = 9 WHERE id = 1; -- end");
            let port = room.world.proxy.port(kind);
            let log = play(&script, async || connect(&room, port, Abilities::New).await).await.unwrap();
            let answer = log.last().unwrap();
            assert!(answer.contains("is locked by global transaction"), "{kind:?}: {first}: {log:#?}");
        }
    }
}

/// Made past the proxy, right after it had a look at everything, and used at once.
#[tokio::test]
async fn what_was_made_a_moment_ago_is_known() {
    for kind in Kind::ALL {
        let room = room("local_new", TABLES).await;
        let mut direct = room.direct(kind).await;
        let mut writer = room.app(kind).await;
        let _holder = holding(&room, kind, "UPDATE t SET v = 5 WHERE id = 1").await;
        for (old, new, write) in [
            (
                "REPLACE INTO u VALUES (1, 'one', 1)",
                "CREATE PROCEDURE bump_now(at INT) UPDATE t SET v = v + 1 WHERE id = at",
                "CALL bump_now(1)",
            ),
            (
                "SELECT ABS (1)",
                "CREATE FUNCTION bumped_now(at INT) RETURNS INT DETERMINISTIC BEGIN UPDATE t SET v = 0 WHERE id = at; RETURN 1; END",
                "SELECT bumped_now(1)",
            ),
            ("SELECT ABS (2)", "CREATE VIEW wv_now AS SELECT bumped(id) AS b FROM f", "SELECT * FROM wv_now"),
            (
                "UPDATE f SET v = ABS (1)",
                "CREATE FUNCTION bumped_f(at INT) RETURNS INT DETERMINISTIC BEGIN UPDATE t SET v = 0 WHERE id = at; RETURN 1; END",
                "UPDATE f SET v = bumped_f(1)",
            ),
            (
                "REPLACE INTO u VALUES (1, 'one', 1)",
                "CREATE VIEW tv_now AS SELECT * FROM t",
                "REPLACE INTO tv_now VALUES (1, 1)",
            ),
        ] {
            assert_eq!(error_of(&mut writer, old).await, Default::default(), "{kind:?}: {old}");
            direct.query_drop(new).await.unwrap();
            let (code, told) = error_of(&mut writer, write).await;
            assert!(code == 1205 && told.contains("is locked by"), "{kind:?}: {write}: {code} {told}");
        }
    }
}
