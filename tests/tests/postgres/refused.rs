//! What cannot be undone exactly is refused with 0A000 and a sentence, and nothing of it stays; what is harmless passes.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::servers::Kind;

/// Each statement is refused, in both protocols, alone and in a local transaction; the table is as before.
async fn refused(name: &str, tables: &str, statements: &[&str]) {
    for kind in Kind::POSTGRES {
        let room = room(kind, name, tables).await;
        let before = room.dump().await;
        let mut failed = Vec::new();
        for statement in statements {
            for (local, prepared) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut raw = room.raw(true).await.unwrap();
                let xid = raw.one("SELECT atone_begin()").await.unwrap();
                if local {
                    raw.query("BEGIN").await.unwrap();
                }
                let answer =
                    if prepared { raw.prepared(statement, 0).await } else { raw.query(statement).await }
                        .unwrap();
                // What a function or a trigger does behind a statement may be found out at the local COMMIT.
                let mut answer = answer;
                if local {
                    answer.extend(raw.query("COMMIT").await.unwrap());
                }
                let (state, message) = error_in(&answer);
                if state != "0A000" || !message.starts_with("atone: ") {
                    failed.push(format!("{statement} (local {local}, prepared {prepared}): {answer:?}"));
                }
                let status = raw.one("SELECT atone_rollback()").await.unwrap();
                if room.dump().await != before || status != "rolled_back" {
                    failed.push(format!(
                        "{statement} (local {local}, prepared {prepared}) left something: {status}"
                    ));
                }
                room.calm(&xid).await;
            }
        }
        assert!(failed.is_empty(), "{name} on {kind:?}:\n{}", failed.join("\n"));
    }
}

#[tokio::test]
async fn definitions_and_other_verbs() {
    let statements = [
        "CREATE TABLE made (id int)",
        "CREATE TABLE made AS SELECT 1",
        "SELECT 1 AS x INTO made",
        "ALTER TABLE t ADD x int",
        "DROP TABLE c",
        "CREATE INDEX ON t (v)",
        "CREATE VIEW made AS SELECT 1",
        "COMMENT ON TABLE t IS 'x'",
        "GRANT SELECT ON t TO PUBLIC",
        "TRUNCATE c",
        "COPY t FROM PROGRAM 'true'",
        "NOTIFY chan, 'x'",
        "EXPLAIN ANALYZE CREATE TABLE made AS SELECT 1",
        "REFRESH MATERIALIZED VIEW mv",
        "REINDEX TABLE t",
        "CLUSTER t USING t_pkey",
        "PREPARE TRANSACTION 'x'",
        "CREATE SEQUENCE made",
        "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
        "SECURITY LABEL ON TABLE t IS 'x'",
    ];
    let tables = format!("{TABLE}; CREATE SEQUENCE s; CREATE MATERIALIZED VIEW mv AS SELECT 1");
    refused("verbs", &tables, &statements).await;
}

#[tokio::test]
async fn tables_that_cannot_be_protected() {
    let tables = "CREATE TABLE nokey (a int, b int); INSERT INTO nokey VALUES (1, 1);
        CREATE TABLE log (id serial PRIMARY KEY, what text);
        CREATE TABLE fires (id int PRIMARY KEY, v int); INSERT INTO fires VALUES (1, 1);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN NULL; END$$;
        CREATE TRIGGER trg AFTER INSERT OR UPDATE OR DELETE ON fires FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE fires ENABLE ALWAYS TRIGGER trg;
        CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, v int); INSERT INTO late VALUES (1, 1);
        CREATE TRIGGER trg AFTER UPDATE ON late FOR EACH STATEMENT EXECUTE FUNCTION note();
        CREATE TABLE parent (id int PRIMARY KEY, v int); INSERT INTO parent VALUES (1, 1);
        CREATE TABLE child (id int, p int REFERENCES parent ON DELETE CASCADE); INSERT INTO child VALUES (1, 1);
        CREATE TABLE ruled (id int PRIMARY KEY, v int); INSERT INTO ruled VALUES (1, 1);
        CREATE RULE r AS ON UPDATE TO ruled DO ALSO INSERT INTO log (what) VALUES ('rule');
        CREATE RULE i AS ON INSERT TO ruled DO INSTEAD INSERT INTO log (what) VALUES ('instead');
        CREATE TABLE base (id int PRIMARY KEY, v int); INSERT INTO base VALUES (1, 1);
        CREATE VIEW seen AS SELECT * FROM base;
        CREATE TABLE dad (id int PRIMARY KEY, v int); INSERT INTO dad VALUES (1, 1);
        CREATE TABLE son (extra int) INHERITS (dad); INSERT INTO son VALUES (2, 2, 2);
        CREATE UNLOGGED TABLE light (id int PRIMARY KEY); INSERT INTO light VALUES (1);
        CREATE TABLE nullkey (id int UNIQUE, v int); INSERT INTO nullkey VALUES (NULL, 1), (1, 1)";
    let statements = [
        "INSERT INTO nokey VALUES (2, 2)",
        "UPDATE nokey SET b = 2",
        "DELETE FROM nokey",
        "INSERT INTO fires VALUES (2, 2)",
        "UPDATE fires SET v = 2",
        "DELETE FROM fires",
        "INSERT INTO late VALUES (2, 2)",
        "DELETE FROM parent",
        "UPDATE ruled SET v = 2",
        "UPDATE seen SET v = 2",
        "INSERT INTO seen VALUES (2, 2)",
        "DELETE FROM seen",
        "UPDATE dad SET v = 9",
        "DELETE FROM dad",
        "UPDATE nullkey SET v = 2",
    ];
    refused("tables", tables, &statements).await;
}

#[tokio::test]
async fn keys_whose_equal_values_differ() {
    let tables = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE ci (k text COLLATE loose PRIMARY KEY, n int); INSERT INTO ci VALUES ('Ada', 1), ('Bob', 2);
        CREATE TABLE vec (k tsvector PRIMARY KEY, n int); INSERT INTO vec VALUES ('a', 1);
        CREATE TABLE arr (k text[] COLLATE loose PRIMARY KEY, n int); INSERT INTO arr VALUES ('{Ada}', 1);
        CREATE TYPE loosely AS (a text COLLATE loose);
        CREATE TABLE com (k loosely PRIMARY KEY, n int); INSERT INTO com VALUES ('(Ada)', 1);
        CREATE TABLE many (k loosely[] PRIMARY KEY, n int); INSERT INTO many VALUES ('{(Ada)}', 1);
        CREATE TYPE words AS RANGE (subtype = text, collation = loose);
        CREATE TABLE rng (k words PRIMARY KEY, n int); INSERT INTO rng VALUES ('[Ada,Bob]', 1);
        CREATE TYPE digits AS (n numeric);
        CREATE TABLE img (k digits NOT NULL, n int); INSERT INTO img VALUES ('(1.0)', 1), ('(1.00)', 2);
        CREATE UNIQUE INDEX ON img (k record_image_ops)";
    let statements = [
        "UPDATE ci SET n = 5 WHERE k = 'ADA'",
        "INSERT INTO ci VALUES ('aDA', 7) ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n",
        "DELETE FROM vec",
        "DELETE FROM arr",
        "DELETE FROM com",
        "DELETE FROM many",
        "DELETE FROM rng",
        "DELETE FROM img",
    ];
    refused("loose_keys", tables, &statements).await;
}

#[tokio::test]
async fn hidden_functions_that_write_name_what_they_wrote() {
    let tables = format!(
        "{TABLE}; CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql VOLATILE AS $$BEGIN UPDATE c SET t_id = NULL; RETURN 1; END$$;
         CREATE FUNCTION sly_one(int) RETURNS int LANGUAGE sql AS 'SELECT sly()';
         CREATE OPERATOR ### (FUNCTION = sly_one, RIGHTARG = int);
         CREATE FUNCTION count(text) RETURNS int LANGUAGE sql AS 'SELECT sly()';
         CREATE VIEW sly_view AS SELECT sly() AS x"
    );
    let statements = ["SELECT * FROM sly_view", "SELECT ### 1", "SELECT count('x'::text)"];
    refused("functions", &tables, &statements).await;
    for kind in Kind::POSTGRES {
        let room = room(kind, "functions_named", &tables).await;
        let before = room.dump().await;
        for local in [false, true] {
            let mut raw = room.raw(true).await.unwrap();
            raw.one("SELECT atone_begin()").await.unwrap();
            if local {
                raw.query("BEGIN").await.unwrap();
            }
            let mut answer = raw.query("SELECT * FROM sly_view").await.unwrap();
            if local {
                answer.extend(raw.query("COMMIT").await.unwrap());
            }
            let (state, message) = error_in(&answer);
            assert_eq!(state, "0A000", "{kind:?}: {message}");
            // Whole words, since the sentence has other letters c.
            let named = message.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'));
            assert!(named.into_iter().any(|word| word.ends_with(".c") || word == "c"), "{kind:?}: {message}");
            raw.one("SELECT atone_rollback()").await.unwrap();
            assert_eq!(room.dump().await, before, "{kind:?}");
        }
    }
}

/// A COPY behind a write that is refused is not begun: the client would send its rows for nothing.
#[tokio::test]
async fn a_copy_behind_a_refusal() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "refused_copy", &format!("{TABLE}; CREATE TABLE nokey (a int)")).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        raw.one("SELECT atone_begin()").await.unwrap();
        let answer = raw.query("INSERT INTO nokey VALUES (1); COPY t FROM STDIN").await.unwrap();
        assert_eq!(error_in(&answer).0, "0A000", "{kind:?}: {answer:?}");
        assert!(!answer.iter().any(|message| message.kind == b'G'), "{kind:?}: {answer:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn temporary_tables() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "temporary", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        raw.query("CREATE TEMP TABLE tt (id int PRIMARY KEY)").await.unwrap();
        raw.query("CREATE TEMP TABLE c (id int PRIMARY KEY)").await.unwrap();
        raw.one("SELECT atone_begin()").await.unwrap();
        for statement in
            ["INSERT INTO tt VALUES (1)", "INSERT INTO c VALUES (1)", "CREATE TEMP TABLE tt2 (id int)"]
        {
            let (state, message) = error_of(&mut raw, statement).await;
            assert_eq!(state, "0A000", "{kind:?}: {statement}: {message}");
        }
        assert_eq!(raw.one("SELECT count(*) FROM tt").await.unwrap(), "0");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(
            error_of(&mut raw, "INSERT INTO tt VALUES (1)").await,
            Default::default(),
            "{kind:?}: outside"
        );
    }
}

#[tokio::test]
async fn a_refusal_leaves_the_session_well() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "refused_well", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        assert_eq!(error_of(&mut raw, "TRUNCATE c").await.0, "0A000");
        let answer = raw.query("UPDATE t SET v = 2 WHERE id = 2").await.unwrap();
        assert_eq!(error_in(&answer).0, "", "{kind:?}: the global transaction goes on");
        // In a local transaction it is an error like any other: the transaction has failed.
        raw.query("BEGIN").await.unwrap();
        raw.query("UPDATE t SET v = 3 WHERE id = 3").await.unwrap();
        let answer = raw.query("TRUNCATE c").await.unwrap();
        assert_eq!(
            answer.last().map(|ready| ready.body.clone()),
            Some(b"E".to_vec()),
            "{kind:?}: {answer:?}"
        );
        assert_eq!(error_of(&mut raw, "SELECT 1").await.0, "25P02", "{kind:?}");
        let answer = raw.query("COMMIT").await.unwrap();
        assert_eq!(answer[0].body, b"ROLLBACK\0", "{kind:?}: {answer:?}");
        assert_eq!(raw.one("SELECT v FROM t WHERE id = 3").await.unwrap(), "30", "{kind:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn harmless_things_pass() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "harmless", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for statement in [
            "LISTEN chan",
            "UNLISTEN *",
            "SET TimeZone = 'UTC'",
            "SET LOCAL TimeZone = 'UTC'",
            "RESET TimeZone",
            "SHOW ALL",
            "COPY t TO STDOUT",
            "COPY (SELECT 1) TO STDOUT",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT count(*) FROM t",
            "SELECT nextval(pg_get_serial_sequence('pg_temp.x', 'y')) WHERE false",
            "SELECT * FROM t FOR SHARE",
            "BEGIN ISOLATION LEVEL REPEATABLE READ",
            "DECLARE cur CURSOR FOR SELECT * FROM t",
            "FETCH 1 FROM cur",
            "CLOSE cur",
            "LOCK TABLE t IN SHARE MODE",
            "SET TRANSACTION READ ONLY",
            "COMMIT",
            "SELECT 1; SELECT 2",
            "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)",
        ] {
            let (state, message) = error_of(&mut raw, statement).await;
            // A harmless statement may be the server's own mistake (the sequence above), but not our refusal.
            assert!(
                state != "0A000" && !message.starts_with("atone"),
                "{kind:?}: {statement}: {state} {message}"
            );
        }
        assert_eq!(raw.one("SELECT atone_commit()").await.unwrap(), "committed");
        room.calm(&xid).await;
    }
}

/// The client is told that all of the text has failed, whatever opened a block in it.
#[tokio::test]
async fn what_stands_before_prepare_transaction_is_undone_with_it() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "prepared_texts", TABLE).await;
        let before = room.dump().await;
        for text in [
            "UPDATE t SET v = 5; PREPARE TRANSACTION 'x'",
            "SET LOCAL lock_timeout = '1s'; UPDATE t SET v = 5; PREPARE TRANSACTION 'x'",
            "LOCK TABLE t IN SHARE MODE; UPDATE t SET v = 5; PREPARE TRANSACTION 'x'; UPDATE t SET v = 6",
        ] {
            let mut raw = room.raw(true).await.unwrap();
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut raw, text).await;
            assert!(
                state == "0A000" && message.contains("PREPARE TRANSACTION"),
                "{kind:?}: {text}: {message}"
            );
            assert_eq!(raw.one("SELECT atone_commit()").await.unwrap(), "committed", "{kind:?}: {text}");
            assert_eq!(room.dump().await, before, "{kind:?}: {text}");
            room.calm(&xid).await;
        }
    }
}
