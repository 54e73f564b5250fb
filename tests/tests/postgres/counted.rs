//! Statements that do not tell which rows they change, and rows that change behind statements: the server's counts say in
//! which tables, and there they are found.

use crate::case::{Mode, TABLE, check, check_modes, error_of, room};
use atone_tests::{postgres::message, servers::Kind};

const SLY: &str = "CREATE FUNCTION sly() RETURNS int LANGUAGE sql AS 'UPDATE t SET v = 9 RETURNING 1'";

const LOCAL: [Mode; 2] = [Mode::Local, Mode::PreparedLocal];

#[tokio::test]
async fn merge() {
    check(
        "merge",
        TABLE,
        &[
            "MERGE INTO t USING (VALUES (1, 5), (2, 6), (70, 7)) n (id, v) ON t.id = n.id
             WHEN MATCHED AND n.v = 6 THEN DELETE WHEN MATCHED THEN UPDATE SET v = n.v
             WHEN NOT MATCHED THEN INSERT (id, v) VALUES (n.id, n.v)",
            "MERGE INTO t USING (SELECT 3 AS id) n ON t.id = n.id WHEN MATCHED THEN DO NOTHING",
            "UPDATE t SET s = 'after' WHERE id = 70",
        ],
    )
    .await;
}

#[tokio::test]
async fn writes_within_with() {
    check(
        "within",
        &format!("{TABLE}; CREATE TABLE arch (LIKE c INCLUDING ALL)"),
        &[
            "WITH x AS (DELETE FROM c RETURNING *) INSERT INTO arch SELECT * FROM x RETURNING id, t_id",
            "WITH up AS (UPDATE t SET v = v + 1 WHERE id < 3 RETURNING id, v), gone AS (DELETE FROM t WHERE id = 3)
             SELECT id, v FROM up ORDER BY id",
            "WITH new AS (INSERT INTO t VALUES (60, 60), (61, 61) RETURNING id) UPDATE t SET s = 'n' FROM new WHERE t.id = 1",
        ],
    )
    .await;
}

#[tokio::test]
async fn execute_in_sql() {
    check(
        "execute",
        TABLE,
        &[
            "PREPARE up (int) AS UPDATE t SET v = v + $1 WHERE id = 2 RETURNING id, v",
            "EXECUTE up (5)",
            "EXECUTE up (6)",
            "PREPARE gone AS DELETE FROM c",
            "EXECUTE gone",
            "DEALLOCATE up",
            "DEALLOCATE gone",
        ],
    )
    .await;
}

#[tokio::test]
async fn keys_that_are_assigned() {
    let tables = format!(
        "{TABLE}; CREATE TABLE pair (a int, b int, v int, u text UNIQUE, PRIMARY KEY (a, b));
         INSERT INTO pair VALUES (1, 1, 1, 'x'), (1, 2, 5, 'y'), (2, 2, 5, 'z');
         CREATE TABLE idn (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int); INSERT INTO idn (v) VALUES (1), (2)"
    );
    check(
        "assigned",
        &tables,
        &[
            "UPDATE t SET id = 40 WHERE id = 2",
            "UPDATE t SET id = id + 100 WHERE id > 1 RETURNING id",
            "UPDATE t SET id = id WHERE id = 1",
            "UPDATE pair SET a = a + 10, b = b - 1",
            "UPDATE pair SET v = 9 WHERE a = 11",
            "INSERT INTO t VALUES (103, 5) ON CONFLICT (id) DO UPDATE SET id = 77, s = 'moved'",
            "UPDATE idn SET id = DEFAULT",
        ],
    )
    .await;
    // What points at a row by another key stays with it.
    check(
        "pointed",
        "CREATE TABLE p (id int PRIMARY KEY, u int UNIQUE NOT NULL); INSERT INTO p VALUES (1, 1), (2, 2), (3, 3);
         CREATE TABLE holds (id int PRIMARY KEY, u int REFERENCES p (u)); INSERT INTO holds VALUES (1, 1);
         CREATE TABLE falls (id int PRIMARY KEY, u int REFERENCES p (u) ON DELETE CASCADE); INSERT INTO falls VALUES (1, 2)",
        &["UPDATE p SET id = id + 100 WHERE u = 1", "WITH x AS (UPDATE p SET id = id + 200 RETURNING id) SELECT * FROM x ORDER BY id"],
    )
    .await;
    // A number that another row had.
    check("shifted", "CREATE TABLE n (id int PRIMARY KEY DEFERRABLE, k int UNIQUE NOT NULL, v text); INSERT INTO n VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        &["UPDATE n SET id = id + 1", "UPDATE n SET k = k - 1"]).await;
}

#[tokio::test]
async fn rows_that_change_partition() {
    check(
        "moving",
        "CREATE TABLE part (a int, d date, v int, PRIMARY KEY (a, d)) PARTITION BY RANGE (d);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
         CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
         INSERT INTO part VALUES (1, '2020-05-05', 1), (2, '2020-06-06', 2), (3, '2021-05-05', 3)",
        &[
            "UPDATE part SET d = d + 365 WHERE a < 3 RETURNING a, d",
            "INSERT INTO part VALUES (9, '2020-01-01', 9)",
            "UPDATE part_2 SET v = 5 WHERE a = 3",
            "DELETE FROM part WHERE a = 2",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_partition_and_its_parent() {
    check_modes(
        "two_names",
        "CREATE TABLE part (a int PRIMARY KEY, v int) PARTITION BY HASH (a);
         CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (modulus 2, remainder 0);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (modulus 2, remainder 1);
         INSERT INTO part SELECT n, n FROM generate_series(1, 9) n",
        &[
            "UPDATE part SET v = v + 1",
            "UPDATE part_0 SET v = v * 2",
            "DELETE FROM part_1",
            "DELETE FROM part WHERE a = 1",
        ],
        &LOCAL,
    )
    .await;
}

#[tokio::test]
async fn inheritance() {
    check(
        "heirs",
        "CREATE TABLE dad (id int PRIMARY KEY, v int); INSERT INTO dad VALUES (1, 1), (2, 2), (5, 5);
         CREATE TABLE son (extra int, PRIMARY KEY (extra)) INHERITS (dad); INSERT INTO son VALUES (1, 1, 10), (2, 2, 20), (3, 3, 30)",
        &[
            "UPDATE dad SET v = v + 1 WHERE id < 3 RETURNING id, v",
            "UPDATE ONLY dad SET v = 9 WHERE id = 1",
            "DELETE FROM dad WHERE id = 2",
            "INSERT INTO dad VALUES (3, 3)",
            "UPDATE son SET v = 7 WHERE extra = 30",
            "INSERT INTO son VALUES (5, 5, 50)",
        ],
    )
    .await;
}

#[tokio::test]
async fn cascades() {
    check(
        "cascades",
        "CREATE TABLE p (id int PRIMARY KEY, v int); INSERT INTO p VALUES (1, 1), (2, 2), (3, 3), (4, 4);
         CREATE TABLE gone (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE); INSERT INTO gone VALUES (1, 1), (2, 1), (3, 2), (4, 4);
         CREATE TABLE nulled (id int PRIMARY KEY, p int REFERENCES p ON DELETE SET NULL ON UPDATE CASCADE); INSERT INTO nulled VALUES (1, 1), (2, 2), (3, 4);
         CREATE TABLE deep (id int PRIMARY KEY, g int REFERENCES gone ON DELETE CASCADE); INSERT INTO deep VALUES (7, 1), (8, 3);
         CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE); INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1)",
        &["DELETE FROM p WHERE id = 1", "UPDATE p SET id = 20 WHERE id = 2", "UPDATE p SET v = 5", "DELETE FROM tree WHERE id = 1", "DELETE FROM p WHERE id = 4"],
    )
    .await;
}

#[tokio::test]
async fn functions_and_procedures() {
    let tables = format!(
        "{TABLE}; CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS $$BEGIN UPDATE c SET t_id = NULL; RETURN 1; END$$;
         CREATE FUNCTION tries() RETURNS int LANGUAGE plpgsql AS
           $$BEGIN BEGIN UPDATE t SET v = 99; INSERT INTO c VALUES (10, 1); EXCEPTION WHEN unique_violation THEN NULL; END;
             INSERT INTO c VALUES (12, 2); RETURN 1; END$$;
         CREATE PROCEDURE proc(n int) LANGUAGE plpgsql AS $$BEGIN UPDATE t SET v = n WHERE id = 3; DELETE FROM c; END$$"
    );
    check(
        "functions",
        &tables,
        &["UPDATE t SET v = sly() WHERE id = 1", "INSERT INTO t VALUES (99, tries())"],
    )
    .await;
    check_modes(
        "procedures",
        &tables,
        &["CALL proc(7)", "DO $$BEGIN INSERT INTO c VALUES (30, 3); END$$", "SELECT sly()", "SELECT tries()"],
        &LOCAL,
    )
    .await;
    check_modes(
        "explained",
        &tables,
        &["EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) DELETE FROM c"],
        &[Mode::Autocommit, Mode::Local],
    )
    .await;
}

/// No order of single rows restores them under foreign keys that are checked at once.
#[tokio::test]
async fn rows_that_point_at_each_other_in_a_circle() {
    check(
        "circle",
        "CREATE TABLE r (v int PRIMARY KEY, p int REFERENCES r ON DELETE SET NULL); INSERT INTO r VALUES (1, NULL), (2, 1);
         CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);
         ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b ON DELETE CASCADE;
         INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1",
        &["UPDATE r SET p = 2 WHERE v = 1", "DELETE FROM r", "DELETE FROM a"],
    )
    .await;
}

#[tokio::test]
async fn savepoints_around_them() {
    check_modes(
        "saved",
        TABLE,
        &[
            "MERGE INTO t USING (VALUES (1)) n (id) ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = 1",
            "SAVEPOINT a",
            "WITH x AS (DELETE FROM c RETURNING *) SELECT * FROM x",
            "UPDATE t SET id = 55 WHERE id = 3",
            "ROLLBACK TO a",
            "UPDATE t SET s = 'kept' WHERE id = 3",
            "SAVEPOINT b",
            "WITH x AS (UPDATE t SET v = 77 WHERE id = 2) SELECT 1",
            "RELEASE b",
        ],
        &LOCAL,
    )
    .await;
}

/// A table is searched and nothing in it has changed, all in all.
#[tokio::test]
async fn changes_that_come_to_nothing() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "nothing", TABLE).await;
        let before = room.dump().await;
        for texts in [
            &["SAVEPOINT a", "WITH x AS (DELETE FROM c) SELECT 1", "SAVEPOINT b", "ROLLBACK TO a"][..],
            &["WITH x AS (INSERT INTO c VALUES (70, 1)) SELECT 1", "DELETE FROM c WHERE id = 70"],
            &["UPDATE t SET id = 70 WHERE id = 3", "UPDATE t SET id = 3 WHERE id = 70"],
        ] {
            for end in ["committed", "rolled_back"] {
                let mut raw = room.raw(true).await.unwrap();
                let xid = raw.one("SELECT atone_begin()").await.unwrap();
                raw.query("BEGIN").await.unwrap();
                for text in texts.iter().chain(&["COMMIT"]) {
                    assert_eq!(error_of(&mut raw, text).await, Default::default(), "{kind:?}: {text}");
                }
                let word =
                    if end == "committed" { "SELECT atone_commit()" } else { "SELECT atone_rollback()" };
                assert_eq!(raw.one(word).await.unwrap(), end, "{kind:?}: {texts:?}");
                assert_eq!(room.dump().await, before, "{kind:?}: {texts:?}");
                room.calm(&xid).await;
            }
        }
    }
}

/// From 18 on the server tells what a row was: its key may be assigned at any isolation level.
#[tokio::test]
async fn keys_assigned_at_any_isolation_level() {
    for kind in Kind::POSTGRES {
        let tables = "CREATE TABLE pair (a int, b text, u int UNIQUE, PRIMARY KEY (a, b));
            INSERT INTO pair VALUES (1, 'x', 1), (2, 'x', 2), (3, 'x', 3), (9, 'y', 9)";
        let room = room(kind, "isolated_keys", tables).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        for statement in [
            "INSERT INTO pair VALUES (50, 'z', 50)",
            "UPDATE pair SET u = -a, a = a + 10 WHERE b = 'x'",
            "SAVEPOINT s",
            "UPDATE pair SET a = 100 WHERE a = 9",
            "ROLLBACK TO s",
            "UPDATE pair SET a = a - 9 WHERE a > 11",
            "DELETE FROM pair WHERE a = 3",
            "UPDATE pair SET b = 'moved' WHERE a = 4",
            "INSERT INTO pair VALUES (1, 'x', 1)",
        ] {
            assert_eq!(error_of(&mut raw, statement).await, Default::default(), "{kind:?}: {statement}");
        }
        let (state, message) = error_of(&mut raw, "COMMIT").await;
        if kind == Kind::Pg15 {
            assert!(state == "0A000" && message.contains("repeatable read"), "{state} {message}");
        } else {
            assert_eq!(state, "", "{message}");
            assert_ne!(room.dump().await, before);
        }
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

/// What stays refused: it could commit by itself, or cannot be told from what others did.
#[tokio::test]
async fn what_stays_refused() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "counted_not", &format!("{TABLE}; CREATE TABLE nokey (a int); {SLY}")).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut raw, "DO $$BEGIN UPDATE t SET v = 0; COMMIT; END$$").await.0, "0A000");
        raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        assert_eq!(error_of(&mut raw, "WITH x AS (DELETE FROM c RETURNING *) SELECT * FROM x").await.0, "");
        let (state, message) = error_of(&mut raw, "COMMIT").await;
        assert_eq!(state, "0A000", "{kind:?}: {message}");
        assert!(message.contains("repeatable read") && message.contains(".c "), "{kind:?}: {message}");
        let (state, message) = error_of(&mut raw, "WITH x AS (INSERT INTO nokey VALUES (1)) SELECT 1").await;
        assert_eq!(state, "0A000", "{kind:?}: {message}");
        assert!(message.contains("nokey") && message.contains("primary key"), "{kind:?}: {message}");
        // Neither can what a read has written.
        raw.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        assert_eq!(error_of(&mut raw, "SELECT sly()").await.0, "");
        assert_eq!(error_of(&mut raw, "COMMIT").await.0, "0A000", "{kind:?}");
        // What only the counts tell of is written all the same.
        raw.query("BEGIN; WITH x AS (UPDATE t SET v = 1) SELECT 1").await.unwrap();
        for ours in ["SELECT atone_leave()", "SELECT atone_commit()"] {
            let (state, message) = error_of(&mut raw, ours).await;
            assert_eq!(state, "55000", "{kind:?}: {ours}: {message}");
            raw.query(
                "ROLLBACK; BEGIN; MERGE INTO t USING t u ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = 1",
            )
            .await
            .unwrap();
        }
        raw.query("ROLLBACK").await.unwrap();
        // A statement of the protocol, executed in SQL, may be anything.
        let prepare = [message::parse("ends", "COMMIT", &[]), message::message(b'S', b"")].concat();
        raw.send(&prepare).await.unwrap();
        raw.until(b'Z').await.unwrap();
        raw.query("BEGIN; UPDATE t SET v = 0").await.unwrap();
        assert_eq!(error_of(&mut raw, "EXECUTE ends").await.0, "0A000", "{kind:?}");
        raw.query("ROLLBACK").await.unwrap();
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

/// The server sends rows in the client's encoding; those of the record are in UTF-8.
#[tokio::test]
async fn another_encoding_of_the_client() {
    for kind in Kind::POSTGRES {
        let tables = "CREATE TABLE named (name text PRIMARY KEY, s text); INSERT INTO named VALUES (chr(228), 'ß'), (chr(246), 'x')";
        let room = room(kind, "encoded", tables).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        raw.query("SET client_encoding = LATIN1").await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for write in [
            "MERGE INTO named USING (VALUES (chr(228)), (chr(252))) n (name) ON named.name = n.name
             WHEN MATCHED THEN UPDATE SET s = chr(223) || chr(223) WHEN NOT MATCHED THEN INSERT VALUES (n.name, chr(223))",
            "WITH gone AS (DELETE FROM named WHERE name = chr(246)) SELECT 1",
        ] {
            assert_eq!(error_of(&mut raw, write).await, Default::default(), "{kind:?}: {write}");
        }
        let name = raw.query("SELECT chr(228)").await.unwrap();
        assert_eq!(
            name[1].values(),
            [Some(b"\xe4".to_vec())],
            "{kind:?}: the client's encoding is as it was"
        );
        assert_ne!(room.dump().await, before, "{kind:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}
