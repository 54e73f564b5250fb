//! Odd statements and tables: what is let through is undone exactly, and what is not is an error that leaves nothing.
//! Which of the two is not this file's matter.

use crate::case::{TABLE, error_in, room};
use atone_tests::servers::Kind;

/// Runs each statement in a global transaction of its own, alone and in a local transaction.
async fn honest(name: &str, tables: &str, statements: &[&str]) {
    for kind in Kind::POSTGRES {
        let mut failed = Vec::new();
        for statement in statements {
            for local in [false, true] {
                let room = room(kind, name, tables).await;
                let before = room.dump().await;
                let mut raw = room.raw(true).await.unwrap();
                let xid = raw.one("SELECT atone_begin()").await.unwrap();
                let mut answer = Vec::new();
                let parts = if local { vec!["BEGIN", statement, "COMMIT"] } else { vec![*statement] };
                for part in parts {
                    answer.extend(raw.query(part).await.unwrap());
                }
                let (state, message) = error_in(&answer);
                let after = room.dump().await;
                let told = format!("{statement} (local {local}): {state} {message}");
                if !state.is_empty() && after != before {
                    failed.push(format!("{told}: an error, and yet it left\n{after}"));
                }
                let status = raw.one(&format!("SELECT atone_rollback('{xid}')")).await.unwrap();
                if status != "rolled_back" {
                    let (_, body) = room.world.api().transaction(&xid).unwrap();
                    failed.push(format!("{told}: {status} {}", body["branches"]));
                } else if room.dump().await != before {
                    failed.push(format!("{told}: undone to\n{}", room.dump().await));
                }
            }
        }
        assert!(failed.is_empty(), "{name} on {kind:?}:\n{}", failed.join("\n"));
    }
}

#[tokio::test]
async fn triggers_that_change_the_row_itself() {
    let tables = "CREATE TABLE ver (id int PRIMARY KEY, v int, version int DEFAULT 1); INSERT INTO ver VALUES (1, 1), (2, 2);
        CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.version := NEW.version + 1; RETURN NEW; END$$;
        CREATE TRIGGER b BEFORE INSERT OR UPDATE ON ver FOR EACH ROW EXECUTE FUNCTION bump();
        CREATE TABLE skip (id int PRIMARY KEY, v int); INSERT INTO skip VALUES (1, 1), (2, 2);
        CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN IF OLD.id = 1 THEN RETURN NULL; END IF; IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END$$;
        CREATE TRIGGER s BEFORE UPDATE OR DELETE ON skip FOR EACH ROW EXECUTE FUNCTION odd();
        CREATE TABLE walk (id int PRIMARY KEY, v int); INSERT INTO walk VALUES (1, 1), (2, 2);
        CREATE FUNCTION walks() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.id := NEW.id + 100; RETURN NEW; END$$;
        CREATE TRIGGER w BEFORE INSERT OR UPDATE ON walk FOR EACH ROW EXECUTE FUNCTION walks()";
    let statements = [
        "UPDATE ver SET v = 5",
        "INSERT INTO ver VALUES (3, 3)",
        "DELETE FROM ver WHERE id = 1",
        "UPDATE skip SET v = 9",
        "DELETE FROM skip",
        "UPDATE walk SET v = 7 WHERE id = 2",
        "INSERT INTO walk VALUES (1, 5)",
    ];
    honest("own_row", tables, &statements).await;
}

#[tokio::test]
async fn rows_picked_by_chance() {
    let tables =
        "CREATE TABLE r (id int PRIMARY KEY, v int); INSERT INTO r SELECT g, 0 FROM generate_series(1, 50) g";
    let statements = [
        "UPDATE r SET v = 1 WHERE random() < 0.5",
        "DELETE FROM r WHERE random() < 0.5 RETURNING id",
        "UPDATE r SET v = (random() * 1000)::int",
        "DELETE FROM r WHERE id = (SELECT id FROM r ORDER BY random() LIMIT 1)",
        "UPDATE r SET v = 1 WHERE id IN (SELECT id FROM r ORDER BY random() LIMIT 10 FOR UPDATE SKIP LOCKED)",
        "INSERT INTO r SELECT 100 + (random() * 10000)::int, 5 FROM generate_series(1, 3) ON CONFLICT DO NOTHING",
        "UPDATE r SET v = extract(epoch FROM clock_timestamp())::int % 1000 + id",
        "WITH p AS MATERIALIZED (SELECT id FROM r ORDER BY random() LIMIT 5) DELETE FROM r USING p WHERE p.id = r.id",
    ];
    honest("chance", tables, &statements).await;
}

#[tokio::test]
async fn functions_that_reach_far() {
    let tables = format!(
        "{TABLE}; CREATE SEQUENCE s;
         CREATE FUNCTION cuts() RETURNS int LANGUAGE plpgsql AS $$BEGIN TRUNCATE c; RETURN 1; END$$;
         CREATE FUNCTION makes() RETURNS int LANGUAGE plpgsql AS $$BEGIN CREATE TABLE made AS SELECT 1; RETURN 1; END$$;
         CREATE FUNCTION drops() RETURNS int LANGUAGE plpgsql AS $$BEGIN DROP TABLE c; RETURN 1; END$$;
         CREATE FUNCTION hides() RETURNS int LANGUAGE plpgsql AS
           $$BEGIN UPDATE t SET v = 99 WHERE id = 3; UPDATE t SET v = 30 WHERE id = 3; RETURN 1; END$$;
         CREATE FUNCTION swaps() RETURNS int LANGUAGE plpgsql AS $$BEGIN DELETE FROM t WHERE id = 3; RETURN 1; END$$;
         CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS
           $$BEGIN BEGIN DELETE FROM c; PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN 1; END$$;
         CREATE FUNCTION tells() RETURNS int LANGUAGE plpgsql AS $$BEGIN NOTIFY chan, 'x'; RETURN 1; END$$"
    );
    let statements = [
        "SELECT cuts()",
        "SELECT makes()",
        "SELECT drops()",
        "SELECT hides()",
        "UPDATE t SET v = hides() WHERE id = 1",
        "UPDATE t SET v = swaps() WHERE id = 1",
        "INSERT INTO t VALUES (swaps() + 60, 1)",
        "SELECT fails()",
        "UPDATE t SET v = fails() WHERE id = 1",
        "SELECT lo_from_bytea(0, 'x')",
        "UPDATE t SET v = nextval('s') WHERE id = 1",
        "SELECT setval('s', 500)",
        "SELECT * FROM t WHERE (SELECT swaps()) = 1",
        "EXPLAIN ANALYZE SELECT swaps()",
        "COPY (SELECT swaps()) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT swaps(); FETCH c",
        "VALUES (swaps())",
        "SET application_name = 'x'; SELECT swaps()",
        "SELECT 1; SELECT swaps(); SELECT 2",
        "LOCK TABLE t; SELECT swaps()",
        "UPDATE t SET v = 5 WHERE id = 1; SELECT swaps()",
        "PREPARE p AS DELETE FROM c; EXECUTE p",
        "PREPARE p AS SELECT swaps(); EXECUTE p",
        "EXPLAIN ANALYZE EXECUTE p",
    ];
    honest("far", &tables, &statements).await;
}

#[tokio::test]
async fn tables_of_other_makes() {
    let tables = "CREATE TABLE parts (a int, d date, v int) PARTITION BY RANGE (d);
        CREATE TABLE parts_1 PARTITION OF parts (PRIMARY KEY (a)) FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
        CREATE TABLE parts_2 PARTITION OF parts (PRIMARY KEY (a)) FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        INSERT INTO parts VALUES (1, '2023-05-05', 1), (2, '2024-05-05', 2);
        CREATE TABLE excl (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
        INSERT INTO excl VALUES (1, '[1,5)'), (2, '[5,9)');
        CREATE TABLE checked (id int PRIMARY KEY, v int); INSERT INTO checked VALUES (1, -1), (2, 2);
        ALTER TABLE checked ADD CHECK (v > 0) NOT VALID;
        CREATE TABLE wide (id int PRIMARY KEY); INSERT INTO wide VALUES (1);
        CREATE TYPE rec AS (a int, b text); CREATE TABLE typed OF rec (PRIMARY KEY (a)); INSERT INTO typed VALUES (1, 'x');
        CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int); INSERT INTO late VALUES (1, 1), (2, 2);
        CREATE TABLE uq (a int NOT NULL, b text NOT NULL, v int, UNIQUE NULLS NOT DISTINCT (a, b)); INSERT INTO uq VALUES (1, 'x', 1);
        CREATE TABLE ident (a int NOT NULL, v int); CREATE UNIQUE INDEX i ON ident (a) WHERE v > 0; INSERT INTO ident VALUES (1, 1), (1, 0)";
    let statements = [
        "UPDATE parts SET d = '2024-01-01' WHERE a = 1",
        "UPDATE parts SET v = 9",
        "DELETE FROM parts",
        "UPDATE excl SET during = '[10,20)' WHERE id = 1",
        "UPDATE excl SET during = CASE id WHEN 1 THEN int4range(100, 101) ELSE int4range(1, 5) END",
        "DELETE FROM excl",
        "DELETE FROM checked WHERE id = 2",
        "INSERT INTO wide DEFAULT VALUES",
        "INSERT INTO wide SELECT g FROM generate_series(2, 5) g",
        "UPDATE typed SET b = 'y'",
        "DELETE FROM typed",
        "UPDATE late SET v = 5",
        "INSERT INTO late VALUES (1, 5)",
        "DELETE FROM late",
        "UPDATE uq SET v = 2",
        "DELETE FROM uq",
        "UPDATE ident SET v = 7 WHERE v = 0",
        "DELETE FROM ident",
    ];
    honest("makes", tables, &statements).await;
}

#[tokio::test]
async fn cursors_roles_and_settings() {
    let statements = [
        "SELECT set_config('atone.counts', '', false); UPDATE t SET v = 1",
        "SET LOCAL search_path = pg_catalog; UPDATE shop_settle.t SET v = 1",
        "SET CONSTRAINTS ALL DEFERRED; UPDATE t SET v = 1",
        "SET track_counts = off; UPDATE t SET v = 1",
        "SET lock_timeout = 1; UPDATE t SET v = 1",
        "SET enable_indexscan = off; SET enable_seqscan = off; DELETE FROM c",
        "SET plan_cache_mode = force_generic_plan; UPDATE t SET v = 1 WHERE id = 2",
        "SET row_security = off; UPDATE t SET v = 1",
        "SET default_transaction_read_only = on; UPDATE t SET v = 1",
        "SET TRANSACTION READ ONLY; UPDATE t SET v = 1",
        "UPDATE t SET v = 1; SET TRANSACTION READ ONLY",
        "UPDATE t SET v = 1; RESET ALL",
        "SELECT 1; RESET ALL",
        "UPDATE t SET v = 1; SET TimeZone = 'Asia/Tokyo'; UPDATE t SET v = 2",
        "SET transform_null_equals = on; UPDATE t SET v = 1 WHERE s = NULL",
        "SET standard_conforming_strings = off; UPDATE t SET s = 'a\\'; DELETE FROM c; --'",
    ];
    honest("settle", TABLE, &statements).await;
}
