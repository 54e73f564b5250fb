//! Writers outside global transactions, and rows that a global transaction has locked: they wait, or fail, as they would
//! before a row lock, and never write over what may be undone.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::{PgRoom, Raw, message};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Kind, Proxy};

/// Tables with all that can stand between a statement and a row.
fn tables() -> String {
    format!(
        "{TABLE};
        CREATE TABLE u (id int PRIMARY KEY, name text UNIQUE, v int); INSERT INTO u VALUES (1, 'one', 0), (2, 'two', 0);
        CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2);
        CREATE TABLE k (id int PRIMARY KEY, p_id int REFERENCES p ON DELETE CASCADE, v int);
        INSERT INTO k VALUES (1, 1, 0), (2, 2, 0);
        CREATE TABLE log (id int PRIMARY KEY, n int); INSERT INTO log VALUES (1, 0);
        CREATE TABLE f (id int PRIMARY KEY, v int); INSERT INTO f VALUES (1, 0);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN UPDATE log SET n = n + 1 WHERE id = 1; RETURN NULL; END$$;
        CREATE TRIGGER noted AFTER UPDATE ON f FOR EACH ROW EXECUTE FUNCTION note();
        CREATE VIEW tv AS SELECT id, v FROM t;
        CREATE FUNCTION bump(at int) RETURNS void LANGUAGE sql AS 'UPDATE t SET v = v + 1 WHERE id = at';
        CREATE TABLE part (id int, y int, v int, PRIMARY KEY (id, y)) PARTITION BY LIST (y);
        CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1); INSERT INTO part VALUES (1, 1, 0), (2, 1, 0);
        CREATE TABLE free (v int); INSERT INTO free VALUES (1)"
    )
}

/// A session that has run this inside a global transaction that is not decided yet.
async fn holding(room: &PgRoom<'_>, write: &str) -> Raw {
    let mut raw = room.raw(true).await.unwrap();
    raw.one("SELECT atone_begin('holder')").await.unwrap();
    assert_eq!(error_of(&mut raw, write).await, Default::default(), "{write}");
    raw
}

#[tokio::test]
async fn nobody_writes_over_a_locked_row() {
    for kind in Kind::POSTGRES {
        for (held, local, free) in [
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "UPDATE t SET v = v + 1 WHERE id = 1",
                "UPDATE t SET v = v + 1 WHERE id = 2",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "UPDATE tv SET v = 7 WHERE id = 1",
                "UPDATE tv SET v = 7 WHERE id = 2",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "DELETE FROM c; DELETE FROM t WHERE v = 5",
                "DELETE FROM c WHERE id = 99",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 3",
                "UPDATE t SET id = id + 100 WHERE id = 3",
                "UPDATE t SET id = 50 WHERE id = 2",
            ),
            ("INSERT INTO t VALUES (7, 7)", "UPDATE t SET v = 0 WHERE id = 7", "INSERT INTO t VALUES (8, 8)"),
            ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (2, 0)", "INSERT INTO t VALUES (9, 9)"),
            (
                "DELETE FROM u WHERE id = 1",
                "INSERT INTO u VALUES (5, 'one', 0)",
                "INSERT INTO u VALUES (5, 'five', 0)",
            ),
            (
                "UPDATE u SET name = 'uno' WHERE id = 1",
                "UPDATE u SET name = 'one' WHERE id = 2",
                "UPDATE u SET v = 1 WHERE id = 2",
            ),
            (
                "UPDATE u SET v = 1 WHERE id = 1",
                "INSERT INTO u VALUES (1, 'x', 0) ON CONFLICT (id) DO UPDATE SET v = 9",
                "INSERT INTO u VALUES (2, 'x', 0) ON CONFLICT (id) DO UPDATE SET v = 9",
            ),
            ("UPDATE k SET v = 1 WHERE id = 1", "DELETE FROM p WHERE id = 1", "DELETE FROM p WHERE id = 2"),
            ("UPDATE log SET n = 5 WHERE id = 1", "UPDATE f SET v = 1", "UPDATE f SET v = 2 WHERE id = 7"),
            (
                "UPDATE part SET v = 1 WHERE id = 1",
                "UPDATE part1 SET v = 2 WHERE id = 1",
                "UPDATE part1 SET v = 2 WHERE id = 2",
            ),
            (
                "UPDATE part1 SET v = 1 WHERE id = 1",
                "UPDATE part SET v = 2",
                "UPDATE part SET v = 2 WHERE id = 2",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "MERGE INTO t USING (SELECT 1 AS id) n ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = 0",
                "MERGE INTO t USING (SELECT 2 AS id) n ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = 0",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "WITH x AS (UPDATE t SET v = 0 WHERE id = 1 RETURNING v) SELECT * FROM x",
                "WITH x AS (UPDATE t SET v = 0 WHERE id = 2 RETURNING v) SELECT * FROM x",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "PREPARE w AS UPDATE t SET v = 0 WHERE id = 1; EXECUTE w",
                "PREPARE w2 AS UPDATE t SET v = 0 WHERE id = 2; EXECUTE w2",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "BEGIN; SELECT 1; UPDATE t SET v = 0 WHERE id = 1; COMMIT",
                "BEGIN; SELECT 1; UPDATE t SET v = 0 WHERE id = 2; COMMIT",
            ),
            ("UPDATE t SET v = 5 WHERE id = 1", "SELECT bump(1)", "SELECT bump(2)"),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "SELECT bump(1) FROM u WHERE id = 2 FOR UPDATE",
                "SELECT bump(2) FROM u WHERE id = 2 FOR UPDATE",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "BEGIN; SELECT bump(1) FROM u WHERE id = 2 FOR UPDATE SKIP LOCKED; COMMIT",
                "BEGIN; SELECT bump(2) FROM u WHERE id = 2 FOR UPDATE SKIP LOCKED; COMMIT",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "SELECT bump(1) FROM u WHERE id IN (SELECT 2) FOR UPDATE",
                "SELECT bump(2) FROM u WHERE id IN (SELECT 2) FOR UPDATE",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "SELECT count(*) FROM t WHERE bump(t.id) IS NULL AND id = 1",
                "SELECT count(*) FROM t",
            ),
            (
                "UPDATE t SET v = 5 WHERE id = 1",
                "BEGIN; DO $$BEGIN PERFORM bump(1); END$$; COMMIT",
                "BEGIN; DO $$BEGIN PERFORM bump(2); END$$; COMMIT",
            ),
        ] {
            let place = format!("{kind:?}: {held} | {local}");
            let room = room(kind, "local_over", &tables()).await;
            let mut writer = room.raw(true).await.unwrap();
            let mut holder = holding(&room, held).await;
            let (state, message) = error_of(&mut writer, local).await;
            assert_eq!(state, "55P03", "{place}: {message}");
            assert!(message.contains("is locked by global transaction"), "{place}: {message}");
            assert_eq!(error_of(&mut writer, free).await, Default::default(), "{place}: {free}");
            // Nothing of the local writer's stands in the way of the undo.
            assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{place}");
            error_of(&mut writer, "DEALLOCATE ALL").await;
            let (state, message) = error_of(&mut writer, local).await;
            // What was deleted is there again, and so is its key.
            assert!(["", "23505"].contains(&state.as_str()), "{place}, afterwards: {message}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_meets_a_lock_rolls_back() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_block", TABLE).await;
        let mut holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut writer = room.raw(true).await.unwrap();
        for sql in [
            "BEGIN",
            "UPDATE t SET v = 7 WHERE id = 2",
            "UPDATE t SET v = 8 WHERE id = 1 RETURNING v",
            "SELECT 1",
        ] {
            assert_eq!(error_of(&mut writer, sql).await, Default::default(), "{kind:?}: {sql}");
        }
        let commit = writer.query("COMMIT").await.unwrap();
        assert_eq!(error_in(&commit).0, "55P03", "{kind:?}: {commit:?}");
        assert_eq!(commit.last().map(|ready| ready.body.clone()), Some(b"I".to_vec()), "{kind:?}");
        assert_eq!(writer.one("SELECT v FROM t WHERE id = 2").await.unwrap(), "20", "{kind:?}");
        // What is taken back to a savepoint needs no lock.
        let script = "BEGIN; UPDATE t SET v = 7 WHERE id = 2; SAVEPOINT s; UPDATE t SET v = 8 WHERE id = 1; ROLLBACK TO s; COMMIT";
        for sql in script.split("; ") {
            assert_eq!(error_of(&mut writer, sql).await, Default::default(), "{kind:?}: {sql}");
        }
        assert_eq!(writer.one("SELECT v FROM t WHERE id = 2").await.unwrap(), "7", "{kind:?}");
        assert_eq!(holder.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await, Default::default());
        assert_eq!(writer.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "6", "{kind:?}");
    }
}

#[tokio::test]
async fn a_writer_waits_for_the_commit_and_yields_to_a_rollback() {
    for kind in Kind::POSTGRES {
        for rolls_back in [false, true] {
            let room = room(kind, "local_waits", TABLE).await;
            let mut holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
            let mut writer = room.raw(true).await.unwrap();
            let waiting = tokio::spawn(async move {
                let mut told = error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await;
                // The default patience is half a second; a busy machine may need more than one try.
                for _ in 0..20 {
                    if told.0 == "55P03" {
                        told = error_of(&mut writer, "UPDATE t SET v = v + 1 WHERE id = 1").await;
                    }
                }
                (writer, told)
            });
            atone_tests::wait::until("the writer waits", async || {
                let locks = room.world.api().locks("table=shop_local_waits.t").unwrap();
                let waits = locks.iter().any(|lock| lock["waiting"] == 1);
                if waits || waiting.is_finished() { Ok(()) } else { Err("nobody".to_owned()) }
            })
            .await;
            let end = if rolls_back { "SELECT atone_rollback()" } else { "SELECT atone_commit()" };
            let ended = holder.one(end).await.unwrap();
            let (mut writer, told) = waiting.await.unwrap();
            let value = writer.one("SELECT v FROM t WHERE id = 1").await.unwrap();
            if rolls_back {
                assert_eq!(ended, "rolled_back", "{kind:?}");
                assert!(
                    told.0 == "40001" && value == "10" || told.0.is_empty() && value == "11",
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
async fn prepared_writes_and_copies_are_guarded_too() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_prepared", TABLE).await;
        let app = room.app().await;
        let update = app.prepare("UPDATE t SET v = v + $1 WHERE id = $2").await.unwrap();
        let mut holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        let refused = app.execute(&update, &[&1_i32, &1_i32]).await.unwrap_err();
        assert_eq!(refused.code().map(|c| c.code()), Some("55P03"), "{kind:?}: {refused:?}");
        assert_eq!(app.execute(&update, &[&1_i32, &2_i32]).await.unwrap(), 1, "{kind:?}");
        let mut copier = room.raw(true).await.unwrap();
        copier.send(&message::message(b'Q', &message::texts(&["COPY t (id, v) FROM STDIN"]))).await.unwrap();
        copier.until(b'G').await.unwrap();
        let rows = [message::message(b'd', b"70\t1\n71\t2\n"), message::message(b'c', b"")].concat();
        copier.send(&rows).await.unwrap();
        assert_eq!(error_in(&copier.until(b'Z').await.unwrap()), Default::default(), "{kind:?}");
        assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(app.execute(&update, &[&1_i32, &1_i32]).await.unwrap(), 1, "{kind:?}");
        let sum = copier.one("SELECT string_agg(v::text, ' ' ORDER BY id) FROM t").await.unwrap();
        assert_eq!(sum, "11 21 30 1 2", "{kind:?}");
    }
}

#[tokio::test]
async fn they_can_be_let_through_and_fail_while_nobody_can_be_asked() {
    let room = room(Kind::Pg15, "local_mode", TABLE).await;
    let world = room.world;
    let options = format!("-c search_path={}", room.schema);
    let connect = async |port| Raw::connect(port, APP, SHOP, &[("options", options.as_str())]).await.unwrap();
    let letting = Proxy::start_with(
        Profile::Debug,
        Some(&world.coordinator.grpc()),
        &[&world.ledger],
        "local_writes = \"pass\"",
    )
    .unwrap();
    let _holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
    let mut writer = connect(letting.port(Kind::Pg15)).await;
    assert_eq!(error_of(&mut writer, "UPDATE t SET v = 6 WHERE id = 1").await, Default::default());
    // As the global transaction left it, so that it can be undone.
    assert_eq!(error_of(&mut writer, "UPDATE t SET v = 5 WHERE id = 1").await, Default::default());

    // Where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (mode, state) in [("guard", "08006"), ("pass", "")] {
        let more = format!("local_writes = \"{mode}\"");
        let lonely = Proxy::start_with(Profile::Debug, Some(&nobody), &[&world.ledger], &more).unwrap();
        let mut writer = connect(lonely.port(Kind::Pg15)).await;
        let (got, told) = error_of(&mut writer, "UPDATE t SET v = v WHERE id = 3").await;
        assert_eq!(got, state, "{mode}: {told}");
        assert_eq!(writer.one("SELECT v FROM t WHERE id = 3").await.unwrap(), "30", "{mode}");
    }
}

#[tokio::test]
async fn whatever_ends_a_pipeline_is_checked() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_pipeline", TABLE).await;
        let before = room.raw(false).await.unwrap().one("SELECT v FROM t WHERE id = 2").await.unwrap();
        let _holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        let update = |id: u8| {
            let text = format!("UPDATE t SET v = v + 1 WHERE id = {id}");
            [message::parse("", &text, &[]), message::bind("", "", &[], &[]), message::execute("", 0)]
                .concat()
        };
        let query = |text| message::message(b'Q', &message::texts(&[text]));
        let commit =
            [message::parse("", "COMMIT", &[]), message::bind("", "", &[], &[]), message::execute("", 0)]
                .concat();
        let sync = message::message(b'S', b"");
        for end in [
            sync.clone(),
            query("SELECT 1"),
            query("COMMIT"),
            query("VACUUM t"),
            [commit, sync.clone()].concat(),
        ] {
            let mut writer = room.raw(true).await.unwrap();
            writer.send(&[update(2), update(1), end.clone()].concat()).await.unwrap();
            let mut answer = writer.until(b'Z').await.unwrap();
            // On 18 a simple Query within a pipeline does not end it.
            if kind == Kind::Pg18 {
                writer.send(&sync).await.unwrap();
                answer.extend(writer.until(b'Z').await.unwrap());
            }
            let (state, message) = error_in(&answer);
            assert!(["55P03", "25001"].contains(&state.as_str()), "{kind:?}: {end:?}: {state} {message}");
            drop(writer);
            let after = room.raw(false).await.unwrap().one("SELECT v FROM t WHERE id = 2").await.unwrap();
            assert_eq!(after, before, "{kind:?}: {end:?}");
        }
    }
}

#[tokio::test]
async fn one_prepared_statement_serves_outside_and_inside() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_inside", TABLE).await;
        let app = room.app().await;
        let update = app.prepare("UPDATE t SET v = v + $1, s = 'new' WHERE id = 1").await.unwrap();
        let read = app.prepare("SELECT v, s FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
        for round in 0..2 {
            assert_eq!(app.execute(&update, &[&1_i32]).await.unwrap(), 1, "{kind:?}");
            app.batch_execute("UPDATE t SET s = 'one' WHERE id = 1").await.unwrap();
            let before = room.dump().await;
            let xid = atone_tests::postgres::sql::begin(&app).await.unwrap();
            assert_eq!(app.execute(&update, &[&5_i32]).await.unwrap(), 1, "{kind:?}");
            assert_eq!(app.query_one(&read, &[]).await.unwrap().get::<_, i32>(0), 16 + round, "{kind:?}");
            assert_eq!(atone_tests::postgres::sql::rollback(&app).await.unwrap(), "rolled_back", "{kind:?}");
            room.calm(&xid).await;
            assert_eq!(room.dump().await, before, "{kind:?}");
            assert_eq!(app.query_one(&read, &[]).await.unwrap().get::<_, &str>(1), "one", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_that_is_prepared_is_checked_before() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_phases", TABLE).await;
        let _holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        let mut writer = room.raw(true).await.unwrap();
        for sql in ["BEGIN", "UPDATE t SET v = 6 WHERE id = 1"] {
            assert_eq!(error_of(&mut writer, sql).await, Default::default(), "{kind:?}: {sql}");
        }
        let (state, message) = error_of(&mut writer, "PREPARE TRANSACTION 'local_phases'").await;
        // What is prepared all the same must not outlive the test.
        let (left, _) = error_of(&mut writer, "ROLLBACK PREPARED 'local_phases'").await;
        assert_eq!((state.as_str(), left.as_str()), ("55P03", "42704"), "{kind:?}: {message}");
    }
}

#[tokio::test]
async fn more_rows_than_are_kept_are_checked_by_their_table() {
    let tables = format!(
        "{TABLE}; CREATE TABLE many (id int PRIMARY KEY, v int);
        INSERT INTO many SELECT g, 0 FROM generate_series(1, 100100) g"
    );
    let room = room(Kind::Pg15, "local_many", &tables).await;
    let mut writer = room.raw(true).await.unwrap();
    assert_eq!(error_of(&mut writer, "UPDATE many SET v = 1").await, Default::default());
    let mut holder = holding(&room, "UPDATE many SET v = 2 WHERE id = 100100").await;
    let (state, message) = error_of(&mut writer, "UPDATE many SET v = 3").await;
    assert_eq!(state, "55P03", "{message}");
    assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
    assert_eq!(writer.one("SELECT count(*) FROM many WHERE v = 1").await.unwrap(), "100100");
}

/// From 18 on a simple Query within a pipeline does not end it: what comes behind is no part of a block of the client's.
#[tokio::test]
async fn a_query_within_a_pipeline_does_not_hide_a_write() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_within", TABLE).await;
        let _holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        for read in ["SELECT 2", "SELECT 2; SELECT 3", "", "SET work_mem = 1000"] {
            let mut writer = room.raw(true).await.unwrap();
            let run = |name: &str, sql: &str| {
                let parse = message::parse(name, sql, &[]);
                [parse, message::bind("", name, &[], &[]), message::execute("", 0)].concat()
            };
            let query = message::message(b'Q', &message::texts(&[read]));
            writer.send(&[run("r", "SELECT 1"), query].concat()).await.unwrap();
            writer.until(b'Z').await.unwrap();
            let write = run("w", "UPDATE t SET v = 6 WHERE id = 1");
            writer.send(&[write, message::message(b'S', b"")].concat()).await.unwrap();
            let (state, message) = error_in(&writer.until(b'Z').await.unwrap());
            assert_eq!(state, "55P03", "{kind:?}: behind {read:?}: {message}");
        }
    }
}

/// Whether a block is open is told by the server at a Sync only.
#[tokio::test]
async fn the_end_of_a_block_within_a_pipeline_does_not_hide_a_write() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_ended", TABLE).await;
        let _holder = holding(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
        for end in ["COMMIT", "ROLLBACK", "/* x */ end", "ABORT WORK"] {
            let mut writer = room.raw(true).await.unwrap();
            for sql in ["BEGIN", "SELECT 1"] {
                assert_eq!(error_of(&mut writer, sql).await, Default::default());
            }
            let run = |sql: &str| {
                let parse = message::parse("", sql, &[]);
                [parse, message::bind("", "", &[], &[]), message::execute("", 0)].concat()
            };
            let sync = message::message(b'S', b"");
            let both = [run(end), run("UPDATE t SET v = 6 WHERE id = 1"), sync].concat();
            writer.send(&both).await.unwrap();
            let (state, message) = error_in(&writer.until(b'Z').await.unwrap());
            assert_eq!(state, "55P03", "{kind:?}: behind {end}: {message}");
        }
    }
}
