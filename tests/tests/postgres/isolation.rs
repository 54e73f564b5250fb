//! `atone.isolation = 'read_committed'`: plain reads see nothing of a global transaction that is not decided, and nothing that
//! was undone while they read.

use crate::case::{error_in, error_of, room};
use atone_tests::postgres::message::{self, Message, line, message};
use atone_tests::postgres::{PgRoom, Raw};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Kind, Proxy};
use std::time::Duration;

const TABLES: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
    INSERT INTO t VALUES (1, 10), (2, 20), (3, 30);
    CREATE TABLE other (id int PRIMARY KEY, t_id int);
    INSERT INTO other VALUES (1, 1), (2, 2), (4, 4);
    CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10);
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
    INSERT INTO p VALUES (1, 10), (11, 110);
    CREATE VIEW seen AS SELECT id, v * 2 AS w FROM t;
    CREATE VIEW further AS SELECT sum(w) AS n FROM seen;
    CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT sum(v) FROM t';
    CREATE FUNCTION slow() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(v) FROM t); END';
    CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a";

/// What is undecided: a row changed, one deleted, one inserted.
const WRITES: [&str; 4] = [
    "UPDATE t SET v = 11 WHERE id = 1",
    "DELETE FROM t WHERE id = 2",
    "INSERT INTO t VALUES (4, 40)",
    "UPDATE p SET v = 111 WHERE id = 11",
];

const READS: [&str; 16] = [
    "SELECT id, v FROM t ORDER BY id",
    "SELECT v FROM t WHERE id = 1",
    "SELECT count(*), sum(v) FROM t",
    "SELECT o.id, t.v FROM other o LEFT JOIN t ON t.id = o.t_id ORDER BY 1",
    "SELECT o.id FROM other o WHERE EXISTS (SELECT FROM t WHERE t.id = o.t_id) ORDER BY 1",
    "WITH a AS (SELECT max(v) AS m FROM t) SELECT m FROM a",
    "SELECT * FROM seen ORDER BY id",
    "TABLE further",
    "SELECT total()",
    "SELECT slow(), 1",
    "SELECT v FROM p ORDER BY id",
    "SELECT v FROM p2",
    "(SELECT id FROM t) UNION SELECT 99 ORDER BY 1",
    "WITH a AS (SELECT 1) (SELECT id FROM t ORDER BY id FETCH FIRST 2 ROWS ONLY)",
    "COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT",
    "VALUES ((SELECT sum(v) FROM t))",
];

async fn run(raw: &mut Raw, sql: &str) {
    assert_eq!(error_of(raw, sql).await, Default::default(), "{sql}");
}

/// A session that wants to see what is decided, and waits for it.
async fn strict(room: &PgRoom<'_>) -> Raw {
    let mut raw = room.raw(true).await.unwrap();
    run(&mut raw, "SET atone.isolation = 'read_committed'").await;
    run(&mut raw, "SET atone.lock_wait = '3s'").await;
    raw
}

async fn writer(room: &PgRoom<'_>, writes: &[&str]) -> (Raw, String) {
    let mut raw = room.raw(true).await.unwrap();
    let xid = raw.one("SELECT atone_begin('writer')").await.unwrap();
    for write in writes {
        run(&mut raw, write).await;
    }
    (raw, xid)
}

/// The rows of an answer, or its error.
fn rows(answer: &[Message]) -> String {
    let kept = answer.iter().filter(|m| matches!(m.kind, b'D' | b'd' | b'E'));
    line(&kept.cloned().collect::<Vec<_>>())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Query,
    Prepared,
    Block,
    Text,
}

async fn read(raw: &mut Raw, sql: &str, how: How) -> String {
    let answer = match how {
        How::Query => raw.query(sql).await,
        How::Prepared => raw.prepared(sql, 0).await,
        How::Block => {
            run(raw, "BEGIN").await;
            let answer = raw.query(sql).await.unwrap();
            run(raw, "COMMIT").await;
            Ok(answer)
        }
        How::Text => raw.query(&format!("SELECT FROM other WHERE false; {sql}; SELECT 1 WHERE false")).await,
    };
    rows(&answer.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

#[tokio::test]
async fn what_is_not_decided_is_waited_for_and_what_is_undone_is_read_again() {
    for kind in Kind::POSTGRES {
        for end in ["committed", "rolled_back"] {
            let room = room(kind, "isolation_waits", TABLES).await;
            let mut loose = room.raw(true).await.unwrap();
            let mut before = Vec::new();
            for sql in READS {
                before.push(read(&mut loose, sql, How::Query).await);
            }
            let (mut writer, xid) = writer(&room, &WRITES).await;
            for (sql, before) in READS.iter().zip(&before) {
                // By default they are seen, and nobody waits.
                assert_ne!(&read(&mut loose, sql, How::Query).await, before, "{kind:?}: {sql}");
            }
            let mut readers = Vec::new();
            for sql in READS {
                for how in [How::Query, How::Prepared, How::Block, How::Text] {
                    if how == How::Prepared && sql.starts_with("COPY") {
                        continue;
                    }
                    let mut raw = strict(&room).await;
                    readers.push((sql, how, tokio::spawn(async move { read(&mut raw, sql, how).await })));
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            for (sql, how, reader) in &readers {
                assert!(!reader.is_finished(), "{kind:?}, {how:?}: {sql}");
            }
            // Tables that nobody writes are read at once, and its own changes by himself.
            let mut other = strict(&room).await;
            run(&mut other, "SELECT * FROM other").await;
            run(&mut writer, "SET atone.isolation = 'read_committed'").await;
            assert_eq!(writer.one("SELECT sum(v) FROM t").await.unwrap(), "81");
            match end {
                "committed" => assert_eq!(writer.one("SELECT atone_commit()").await.unwrap(), end),
                _ => assert_eq!(writer.one("SELECT atone_rollback()").await.unwrap(), end),
            }
            room.calm(&xid).await;
            for (sql, how, reader) in readers {
                let right = read(&mut loose, sql, How::Query).await;
                assert_eq!(reader.await.unwrap(), right, "{kind:?}, {end}, {how:?}: {sql}");
            }
        }
    }
}

/// A proxy that pauses between a read and the question whether it may be given.
fn pausing(room: &PgRoom<'_>) -> Proxy {
    let mut proxy =
        Proxy::start(Profile::Debug, Some(&room.world.coordinator.grpc()), &[room.world.database(room.kind)])
            .unwrap();
    proxy.restart_with("proxy.before_check_read=pause:1500").unwrap();
    proxy
}

async fn through(proxy: &Proxy, room: &PgRoom<'_>, more: &str) -> Raw {
    let options = format!("-c search_path={} {more}", room.schema);
    Raw::connect(proxy.port(room.kind), APP, SHOP, &[("options", &options)]).await.unwrap()
}

#[tokio::test]
async fn what_was_undone_just_before_the_question_is_read_again() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_undone", TABLES).await;
        let proxy = pausing(&room);
        // The setting may come with the session.
        let option = "-c atone.isolation=read_committed";
        let again = through(&proxy, &room, option).await;
        let mut fixed = through(&proxy, &room, option).await;
        run(&mut fixed, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        let mut wrote = through(&proxy, &room, option).await;
        run(&mut wrote, "BEGIN").await;
        run(&mut wrote, "UPDATE other SET t_id = 9 WHERE id = 4").await;
        let mut cursor = through(&proxy, &room, option).await;
        run(&mut cursor, "BEGIN").await;
        let (mut writer, xid) = writer(&room, &WRITES).await;
        run(&mut cursor, "DECLARE c CURSOR FOR SELECT v FROM t").await;
        let ask = |mut raw: Raw, sql: &'static str| {
            tokio::spawn(async move { raw.query(sql).await.map(|answer| (rows(&answer), raw)).unwrap() })
        };
        let again = ask(again, "SELECT sum(v) FROM t");
        let fixed = ask(fixed, "SELECT sum(v) FROM t");
        let wrote = ask(wrote, "SELECT sum(v) FROM t");
        let cursor = ask(cursor, "FETCH 1 FROM c");
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(writer.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        room.calm(&xid).await;
        assert!(!again.is_finished(), "{kind:?}: the machine is too slow for this pause");
        let (answer, mut again) = again.await.unwrap();
        assert!(answer.contains("60") && !answer.contains("81"), "{kind:?}: {answer}");
        // Where the same cannot be read again the local transaction must be.
        for answer in [fixed.await.unwrap().0, wrote.await.unwrap().0, cursor.await.unwrap().0] {
            assert!(answer.contains("40001") && answer.contains("atone.isolation"), "{kind:?}: {answer}");
        }
        assert_eq!(again.one("SELECT sum(v) FROM t").await.unwrap(), "60", "{kind:?}");
    }
}

#[tokio::test]
async fn the_setting_is_the_servers_and_has_two_values() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_setting", TABLES).await;
        let (mut writer, _) = writer(&room, &WRITES[..1]).await;
        let mut raw = room.raw(true).await.unwrap();
        run(&mut raw, "SET atone.lock_wait = 0").await;
        let sum = "SELECT sum(v) FROM t";
        for wrong in ["SET atone.isolation = 'serializable'", "SET LOCAL atone.isolation TO nonsense"] {
            let (state, message) = error_of(&mut raw, wrong).await;
            assert!(
                state == "22023" && message.contains("'read_committed' or 'read_uncommitted'"),
                "{message}"
            );
            let answer = raw.prepared(wrong, 0).await.unwrap();
            assert_eq!(error_in(&answer).0, "22023");
        }
        assert_eq!(raw.one(sum).await.unwrap(), "61");
        run(&mut raw, "SELECT set_config('atone.isolation', 'nonsense', false)").await;
        let (state, message) = error_of(&mut raw, sum).await;
        assert!(state == "22023" && message.contains("nonsense"), "{kind:?}: {message}");
        // It may be set for a local transaction, taken back, reset, and asked for.
        run(&mut raw, "SET atone.isolation = read_uncommitted").await;
        assert_eq!(raw.one(sum).await.unwrap(), "61");
        run(&mut raw, "BEGIN; SET LOCAL atone.isolation = 'read_committed'").await;
        assert_eq!(raw.one("SHOW atone.isolation").await.unwrap(), "read_committed");
        let (state, message) = error_of(&mut raw, sum).await;
        assert_eq!(state, "55P03", "{kind:?}: {message}");
        assert!(
            message.contains("isolation_setting.t") && message.contains("global transaction"),
            "{message}"
        );
        run(&mut raw, "ROLLBACK").await;
        assert_eq!(raw.one(sum).await.unwrap(), "61");
        run(&mut raw, "SET atone.isolation = 'read_committed'").await;
        for answer in [raw.query(sum).await.unwrap(), raw.prepared(sum, 1).await.unwrap()] {
            assert_eq!(error_in(&answer).0, "55P03", "{kind:?}: {}", line(&answer));
            assert!(!answer.iter().any(|m| m.kind == b'D'), "{kind:?}: {}", line(&answer));
        }
        run(&mut raw, "RESET atone.isolation").await;
        assert_eq!(raw.one(sum).await.unwrap(), "61");
        run(&mut raw, "SET atone.isolation = 'read_committed'; SET atone.isolation TO DEFAULT").await;
        assert_eq!(raw.one(sum).await.unwrap(), "61");
        assert_eq!(writer.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
    }
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_and_a_transaction_that_wrote_fails_with_the_rollback() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_refused", TABLES).await;
        let mut raw = strict(&room).await;
        let (state, message) = error_of(&mut raw, "SELECT * FROM kept").await;
        assert!(state == "0A000" && message.contains("isolation_refused.kept"), "{kind:?}: {message}");
        let large = "SELECT repeat('x', 1000000) FROM t, generate_series(1, 30)";
        let (state, message) = error_of(&mut raw, large).await;
        assert!(state == "54000" && message.contains("64 MiB"), "{kind:?}: {message}");
        run(&mut raw, "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT v FROM t; COMMIT").await;
        assert_eq!(error_of(&mut raw, "FETCH 1 FROM c").await.0, "0A000", "{kind:?}");
        run(&mut raw, "CLOSE c").await;
        run(&mut raw, "BEGIN; DECLARE c CURSOR FOR SELECT v FROM t ORDER BY id").await;
        assert_eq!(raw.one("FETCH 1 FROM c").await.unwrap(), "10", "{kind:?}");
        assert_eq!(raw.one("FETCH 1 FROM c").await.unwrap(), "20", "{kind:?}");
        run(&mut raw, "COMMIT").await;
        // Errors of the server's own stay what they are.
        assert_eq!(error_of(&mut raw, "SELECT v / 0 FROM t").await.0, "22012", "{kind:?}");
        assert_eq!(error_of(&mut raw, "SELECT nothing FROM t").await.0, "42703", "{kind:?}");

        let (mut writer, xid) = writer(&room, &WRITES).await;
        run(&mut raw, "BEGIN").await;
        run(&mut raw, "UPDATE other SET t_id = 9 WHERE id = 4").await;
        let waiting = tokio::spawn(async move {
            let told = error_of(&mut raw, "SELECT sum(v) FROM t").await;
            (told, raw)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(writer.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        let ((state, message), mut raw) = waiting.await.unwrap();
        assert_eq!(state, "40001", "{kind:?}: {message}");
        run(&mut raw, "ROLLBACK").await;
        room.calm(&xid).await;
        assert_eq!(raw.one("SELECT sum(v) FROM t").await.unwrap(), "60", "{kind:?}");
    }
}

#[tokio::test]
async fn it_does_not_need_local_writes_to_be_guarded() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_pass", TABLES).await;
        let coordinator = room.world.coordinator.grpc();
        let more = "local_writes = \"pass\"";
        let databases = [room.world.database(kind)];
        let proxy = Proxy::start_with(Profile::Debug, Some(&coordinator), &databases, more).unwrap();
        let mut raw = through(&proxy, &room, "-c atone.isolation=read_committed").await;
        let (mut writer, _) = writer(&room, &WRITES).await;
        run(&mut raw, "SET atone.lock_wait = 0").await;
        for how in [How::Query, How::Prepared] {
            let told = read(&mut raw, "SELECT sum(v) FROM t", how).await;
            assert!(told.contains("55P03"), "{kind:?}, {how:?}: {told}");
        }
        let (state, _) = error_of(&mut raw, "SELECT 1; SELECT sum(v) FROM t").await;
        assert_eq!(state, "0A000", "{kind:?}");
        run(&mut raw, "INSERT INTO other VALUES (7, 7)").await;
        run(&mut raw, "BEGIN").await;
        run(&mut raw, "UPDATE other SET t_id = 8 WHERE id = 7").await;
        assert_eq!(raw.one("SELECT t_id FROM other WHERE id = 7").await.unwrap(), "8");
        run(&mut raw, "COMMIT").await;
        let copy = [
            message::parse("", "COPY other FROM STDIN", &[]),
            message::bind("", "", &[], &[]),
            message::execute("", 0),
            message(b'S', b""),
        ];
        raw.send(&copy.concat()).await.unwrap();
        raw.until(b'G').await.unwrap();
        let rows = [message(b'd', b"9\t9\n"), message(b'c', b""), message(b'S', b"")].concat();
        raw.send(&rows).await.unwrap();
        assert_eq!(error_in(&raw.until(b'Z').await.unwrap()).0, "", "{kind:?}");
        assert_eq!(writer.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(raw.one("SELECT count(*) FROM other").await.unwrap(), "5", "{kind:?}");
    }
}

#[tokio::test]
async fn portals_and_pipelines_of_drivers_are_held_back_too() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_portals", TABLES).await;
        let mut raw = strict(&room).await;
        let sync = message(b'S', b"");
        let flush = message(b'H', b"");
        let prepare = message::parse("s", "SELECT v FROM t ORDER BY id", &[]);
        raw.send(&[prepare, sync.clone()].concat()).await.unwrap();
        raw.until(b'Z').await.unwrap();
        let (mut writer, xid) = writer(&room, &WRITES[..3]).await;
        // Bound and described before, executed for one row at a time.
        let first = [
            message::bind("p", "s", &[], &[0]),
            message::name(b'D', b'P', "p"),
            message::execute("p", 2),
            flush.clone(),
        ];
        raw.send(&first.concat()).await.unwrap();
        let undo = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            writer.one("SELECT atone_rollback()").await.unwrap()
        });
        let answer = raw.until(b's').await.unwrap();
        assert_eq!(undo.await.unwrap(), "rolled_back");
        let values = |answer: &[Message]| -> Vec<String> {
            answer.iter().filter(|m| m.kind == b'D').flat_map(Message::texts).collect()
        };
        assert_eq!(values(&answer), ["10", "20"], "{kind:?}: {}", line(&answer));
        room.calm(&xid).await;
        raw.send(&[message::execute("p", 0), sync.clone()].concat()).await.unwrap();
        assert_eq!(values(&raw.until(b'Z').await.unwrap()), ["30"], "{kind:?}");
        // Reads and a write in one pipeline.
        let one = |sql: &str| {
            [message::parse("", sql, &[]), message::bind("", "", &[], &[0]), message::execute("", 0)].concat()
        };
        let all = [
            one("SELECT sum(v) FROM t"),
            one("UPDATE other SET t_id = 7 WHERE id = 4"),
            one("SELECT t_id FROM other WHERE id = 4"),
            one("SELECT slow()"),
            sync,
        ];
        raw.send(&all.concat()).await.unwrap();
        let answer = raw.until(b'Z').await.unwrap();
        assert_eq!(values(&answer), ["60", "7", "60"], "{kind:?}: {}", line(&answer));
    }
}

#[tokio::test]
async fn a_reader_in_a_global_transaction_yields_in_a_circle_and_one_who_goes_waits_no_more() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "isolation_circle", TABLES).await;
        let (mut writer, xid) = writer(&room, &WRITES[..1]).await;
        run(&mut writer, "SET atone.lock_wait = '3s'").await;
        let mut reader = strict(&room).await;
        reader.one("SELECT atone_begin('reader')").await.unwrap();
        run(&mut reader, "UPDATE other SET t_id = 9 WHERE id = 4").await;
        let reading = tokio::spawn(async move {
            let told = error_of(&mut reader, "SELECT v FROM t").await;
            (told, reader)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let writing = tokio::spawn(async move {
            run(&mut writer, "UPDATE other SET t_id = 8 WHERE id = 4").await;
            writer
        });
        let ((state, message), mut reader) = reading.await.unwrap();
        assert!(state == "40P01" && message.contains("deadlock"), "{kind:?}: {state} {message}");
        assert_eq!(reader.one("SELECT atone_commit()").await.unwrap(), "committed");
        let mut writer = writing.await.unwrap();
        // One who goes.
        let mut gone = strict(&room).await;
        let mut frame = message::message(b'Q', b"SELECT v FROM t\0");
        frame.extend(message::message(b'X', b""));
        gone.send(&frame).await.unwrap();
        drop(gone);
        assert_eq!(writer.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(room.calm(&xid).await, "committed");
    }
}
