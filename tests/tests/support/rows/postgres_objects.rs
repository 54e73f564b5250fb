//! Tables of all sorts, reads, and what is no DML, in PostgreSQL's language.

use super::postgres_writes::SHOP;
use super::{Section, row, rows, section};

const PARTITIONED: &str = "CREATE TABLE p (a int, d date, v int, PRIMARY KEY (a, d)) PARTITION BY RANGE (d);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
INSERT INTO p VALUES (1, '2024-02-01', 1), (2, '2024-08-01', 2)";

/// Rows that move though their key stays.
const MOVING: &str = "CREATE TABLE p (a int PRIMARY KEY, v int) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
INSERT INTO p VALUES (1, 1), (2, 2)";

const INHERITED: &str = "CREATE TABLE base (id int PRIMARY KEY, v int);
CREATE TABLE derived (extra text, PRIMARY KEY (id)) INHERITS (base);
INSERT INTO base VALUES (1, 1);
INSERT INTO derived VALUES (2, 2, 'x')";

const NOTE: &str = "CREATE TABLE note (id serial PRIMARY KEY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO note (what) VALUES (TG_OP); RETURN NULL; END $$;
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'changed'; RETURN NEW; END $$";

pub fn sections() -> Vec<Section> {
    vec![
        section(
            "Tables",
            SHOP,
            vec![
                rows("composite key", &["UPDATE pair SET v = 9", "DELETE FROM pair WHERE b = 'x'", "INSERT INTO pair VALUES (1, 'x', 5)"]).on("CREATE TABLE pair (a int, b text, v int, PRIMARY KEY (b, a));\nINSERT INTO pair VALUES (1, 'x', 1), (2, 'x', 2), (1, 'y', 3)"),
                rows("unique index of NOT NULL columns instead of a primary key", &["UPDATE u SET b = 9", "DELETE FROM u"]).on("CREATE TABLE u (a int NOT NULL UNIQUE, b int);\nINSERT INTO u VALUES (1, 1)"),
                row("unique index with NULLs", "UPDATE u SET b = 9").on("CREATE TABLE u (a int UNIQUE, b int);\nINSERT INTO u VALUES (1, 1)"),
                row("no key", "UPDATE u SET b = 9").on("CREATE TABLE u (a int, b int);\nINSERT INTO u VALUES (1, 1)"),
                row("no key: INSERT", "INSERT INTO u VALUES (2, 2)").on("CREATE TABLE u (a int, b int)"),
                row("deferrable primary key", "UPDATE u SET b = 9").on("CREATE TABLE u (a int PRIMARY KEY DEFERRABLE, b int);\nINSERT INTO u VALUES (1, 1)"),
                rows("odd names", &["UPDATE \"Req\" SET \"order\" = 9", "DELETE FROM \"Req\" WHERE \"I d\" = 1"]).on("CREATE TABLE \"Req\" (\"I d\" int PRIMARY KEY, \"order\" int, \"a\"\"b\" text);\nINSERT INTO \"Req\" VALUES (1, 1, 'x'), (2, 2, 'y')"),
                rows("generated columns, stored", &["UPDATE g SET v = 5", "DELETE FROM g"]).on("CREATE TABLE g (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED);\nINSERT INTO g VALUES (1, 1), (2, NULL)"),
                rows("generated columns, virtual", &["UPDATE g SET v = 5", "DELETE FROM g"]).on("CREATE TABLE g (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) VIRTUAL);\nINSERT INTO g VALUES (1, 1), (2, NULL)"),
                rows("identity column: DELETE", &["DELETE FROM g"]).on("CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);\nINSERT INTO g (v) VALUES (1), (2)"),
                rows("exclusion constraint", &["UPDATE x SET v = 9", "DELETE FROM x"]).on("CREATE TABLE x (id int PRIMARY KEY, r int4range, v int, EXCLUDE USING gist (r WITH &&));\nINSERT INTO x VALUES (1, '[1,5)', 1), (2, '[5,9)', 2)"),
                row("UNIQUE NULLS NOT DISTINCT", "INSERT INTO w VALUES (5, NULL)").on("CREATE TABLE w (id int PRIMARY KEY, u int UNIQUE NULLS NOT DISTINCT)"),
                row("key WITHOUT OVERLAPS", "UPDATE w SET v = 9").on("CREATE TABLE w (q int4range, r int4range, v int, PRIMARY KEY (q, r WITHOUT OVERLAPS));\nINSERT INTO w VALUES ('[1,2)', '[1,5)', 1)"),
                rows("a table of a type", &["UPDATE w SET v = 9", "DELETE FROM w"]).on("CREATE TYPE kind AS (id int, v int);\nCREATE TABLE w OF kind (PRIMARY KEY (id));\nINSERT INTO w VALUES (1, 1)"),
                row("a foreign key NOT ENFORCED", "DELETE FROM parent WHERE id = 1").on(&family("NOT ENFORCED")),
                row("a dropped column", "UPDATE t SET v = 9").on("ALTER TABLE t ADD gone text DEFAULT 'x', ADD late int DEFAULT 5;\nALTER TABLE t DROP gone"),
                row("partitioned", "UPDATE p SET v = 9").on(PARTITIONED),
                rows("partitioned: INSERT, DELETE", &["INSERT INTO p VALUES (3, '2024-03-01', 3)", "DELETE FROM p WHERE a < 3"]).on(PARTITIONED),
                row("one partition by name", "UPDATE p1 SET v = 9").on(PARTITIONED),
                row("partitioned: rows that move", "UPDATE p SET a = a + 10").on(MOVING),
                row("partitioned: rows that stay, key assigned", "UPDATE p SET d = d + 1").on(PARTITIONED),
                row("inheritance: rows of children", "UPDATE base SET v = 9").on(INHERITED),
                row("inheritance: ONLY", "UPDATE ONLY base SET v = 9").on(INHERITED),
                row("inheritance: the child", "DELETE FROM derived").on(INHERITED),
                rows("foreign key that restricts, both sides", &["INSERT INTO child VALUES (9, 1)", "UPDATE parent SET v = 5", "DELETE FROM child", "DELETE FROM parent"]).on(&family("")),
                row("foreign key ON DELETE CASCADE", "DELETE FROM parent WHERE id = 1").on(&family("ON DELETE CASCADE")),
                row("foreign key ON DELETE CASCADE, no child", "DELETE FROM parent WHERE id = 2").on(&family("ON DELETE CASCADE")),
                row("foreign key ON DELETE CASCADE, deferred", "DELETE FROM parent WHERE id = 1").on(&family("ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED")),
                row("foreign key ON DELETE SET NULL", "DELETE FROM parent WHERE id = 1").on(&family("ON DELETE SET NULL")),
                row("foreign key ON UPDATE CASCADE", "UPDATE parent SET id = 7 WHERE id = 1").on(&family("ON UPDATE CASCADE")),
                rows("foreign key to itself", &["INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)", "UPDATE tree SET pid = 1 WHERE id = 3"]).on("CREATE TABLE tree (id int PRIMARY KEY, pid int REFERENCES tree)"),
                row("trigger that writes another table", "UPDATE t SET v = 9").on(&format!("{NOTE};\nCREATE TRIGGER tr AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note()")),
                row("trigger that changes the row", "INSERT INTO t VALUES (50, 'x', 1)").on(&format!("{NOTE};\nCREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION change()")),
                row("trigger of another event", "DELETE FROM t WHERE id = 1").on(&format!("{NOTE};\nCREATE TRIGGER tr AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note()")),
                row("disabled trigger", "UPDATE t SET v = 9").on(&format!("{NOTE};\nCREATE TRIGGER tr AFTER UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();\nALTER TABLE t DISABLE TRIGGER tr")),
                row("rule DO ALSO", "INSERT INTO t VALUES (50, 'x', 1)").on("CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO archive VALUES (NEW.id, NEW.name, NEW.v)"),
                row("rule DO INSTEAD", "DELETE FROM t WHERE id = 1").on("CREATE RULE r AS ON DELETE TO t DO INSTEAD UPDATE t SET v = 0 WHERE id = OLD.id"),
                row("INSERT where others inherit", "INSERT INTO base VALUES (9, 9)").on(INHERITED),
                row("updatable view", "UPDATE seen SET v = 9").on("CREATE VIEW seen AS SELECT id, v FROM t"),
                row("view with an INSTEAD OF trigger", "UPDATE seen SET v = 9").on(&format!("{NOTE};\nCREATE VIEW seen AS SELECT id, v FROM t;\nCREATE TRIGGER tr INSTEAD OF UPDATE ON seen FOR EACH ROW EXECUTE FUNCTION note()")),
                row("row-level security", "UPDATE t SET v = 9").on("ALTER TABLE t ENABLE ROW LEVEL SECURITY;\nCREATE POLICY p ON t USING (true)"),
                row("unlogged table", "UPDATE u SET b = 9").on("CREATE UNLOGGED TABLE u (a int PRIMARY KEY, b int);\nINSERT INTO u VALUES (1, 1)"),
                row("temporary table", "INSERT INTO mine VALUES (1)").after(&["CREATE TEMPORARY TABLE mine (id int PRIMARY KEY)"]),
                row("foreign table", "UPDATE far SET v = 9").on("CREATE FOREIGN TABLE far (id int, name text, v int) SERVER loopback OPTIONS (schema_name '{schema}', table_name 't')"),
                row("foreign table through a function", "SELECT bump()").on("CREATE FOREIGN TABLE far (id int, name text, v int) SERVER loopback OPTIONS (schema_name '{schema}', table_name 't');\nCREATE FUNCTION bump() RETURNS int LANGUAGE sql AS 'UPDATE far SET v = 9 WHERE id = 1 RETURNING 1'"),
                row("catalogue table", "UPDATE pg_description SET description = 'x' WHERE objoid = 't'::regclass").on("COMMENT ON TABLE t IS 'before'").by_admin(),
            ],
        ),
        section(
            "Reads",
            SHOP,
            vec![
                row("SELECT", "SELECT * FROM t JOIN acc USING (id)"),
                row("SELECT … FOR UPDATE", "SELECT * FROM t FOR UPDATE"),
                row("SELECT … FOR UPDATE of one of two tables", "SELECT * FROM t a JOIN t b USING (id) FOR UPDATE OF a"),
                row("SELECT … FOR UPDATE of a subquery", "SELECT * FROM (SELECT * FROM t) x FOR UPDATE"),
                row("WITH RECURSIVE", "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r"),
                row("VALUES, TABLE", "(VALUES (1)) UNION ALL (SELECT id FROM t)"),
                row("through a foreign table", "SELECT * FROM far").on("CREATE FOREIGN TABLE far (id int, name text, v int) SERVER loopback OPTIONS (schema_name '{schema}', table_name 't')"),
                row("COPY … TO STDOUT", "COPY t TO STDOUT"),
                row("COPY … TO PROGRAM", "COPY t TO PROGRAM 'true'").by_admin().unchecked(),
                row("COPY of a write", "COPY (DELETE FROM t RETURNING *) TO STDOUT"),
                row("SHOW", "SHOW ALL"),
                row("EXPLAIN of a write", "EXPLAIN UPDATE t SET v = 9"),
                row("EXPLAIN ANALYZE of a write", "EXPLAIN ANALYZE UPDATE t SET v = 9"),
                row("EXPLAIN ANALYZE of a read", "EXPLAIN ANALYZE SELECT * FROM t"),
                rows("cursor", &["BEGIN", "DECLARE c CURSOR FOR SELECT * FROM t", "FETCH ALL c", "CLOSE c", "COMMIT"]),
                row("cursor WITH HOLD", "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t"),
                row("nextval()", "SELECT nextval('s')"),
                row("setval()", "SELECT setval('s', 50)"),
                row("advisory lock of the session", "SELECT pg_advisory_lock(1)"),
                row("advisory lock of the local transaction", "SELECT pg_advisory_xact_lock(1)"),
                row("pg_notify()", "SELECT pg_notify('c', 'x')"),
                row("set_config()", "SELECT set_config('work_mem', '1MB', false)"),
                row("a large object made", "SELECT lo_create(0)").cleaned_by(CLEAN),
                row("a large object made with its bytes", "SELECT lo_from_bytea(0, 'x')").cleaned_by(CLEAN),
                row("a large object written", "SELECT lo_put(lo, 0, 'new') FROM files").on(FILE).cleaned_by(CLEAN),
                row("a large object removed", "SELECT lo_unlink(lo) FROM files").on(FILE).cleaned_by(CLEAN),
                rows("a large object by its descriptor", &["BEGIN", "SELECT lowrite(lo_open(lo, 131072), 'new') FROM files", "COMMIT"]).on(FILE).cleaned_by(CLEAN),
            ],
        ),
        section(
            "Settings of the session",
            SHOP,
            vec![
                rows("TimeZone, DateStyle, IntervalStyle", &["SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'German'", "SET IntervalStyle = 'sql_standard'", "UPDATE w SET at = '31.12.2024 10:00', i = '1-2'"]).on("CREATE TABLE w (id int PRIMARY KEY, at timestamptz, i interval);\nINSERT INTO w VALUES (1, '2024-01-01', '1 day')"),
                rows("extra_float_digits, bytea_output", &["SET extra_float_digits = -15", "SET bytea_output = 'escape'", "DELETE FROM w"]).on("CREATE TABLE w (id int PRIMARY KEY, f float8, b bytea);\nINSERT INTO w VALUES (1, 0.1, '\\x00ff')"),
                rows("standard_conforming_strings off", &["SET standard_conforming_strings = off", "UPDATE t SET name = 'plain'"]),
                rows("standard_conforming_strings off, and a backslash", &["SET standard_conforming_strings = off", r"UPDATE t SET name = 'it\'s'"]),
                rows("client_encoding LATIN1", &["SET client_encoding = 'LATIN1'", "UPDATE t SET v = 9"]),
                rows("search_path empty", &["SET search_path = ''", "UPDATE {schema}.t SET v = 9"]),
                rows("read-only by default", &["SET default_transaction_read_only = on", "SELECT * FROM t"]),
                rows("lock_timeout, statement_timeout", &["SET lock_timeout = '5s'", "SET statement_timeout = '9s'", "UPDATE t SET v = 9"]),
                rows("session_replication_role", &["SET session_replication_role = replica", "UPDATE t SET v = 9"]).by_admin(),
                rows("synchronous_commit off", &["SET synchronous_commit = off", "UPDATE t SET v = 9"]),
                rows("another role", &["SET ROLE pg_read_all_data", "SELECT * FROM t"]).by_admin(),
            ],
        ),
        section(
            "Definitions and administration",
            SHOP,
            vec![
                row("CREATE TABLE", "CREATE TABLE fresh (id int PRIMARY KEY)"),
                row("CREATE TABLE … AS", "CREATE TABLE fresh AS SELECT * FROM t"),
                row("SELECT … INTO", "SELECT * INTO fresh FROM t"),
                row("CREATE TEMPORARY TABLE", "CREATE TEMPORARY TABLE fresh (id int)"),
                row("ALTER TABLE", "ALTER TABLE t ADD extra int DEFAULT 5"),
                row("DROP TABLE", "DROP TABLE acc"),
                row("TRUNCATE", "TRUNCATE acc"),
                row("CREATE INDEX", "CREATE INDEX ON t (v)"),
                row("CREATE VIEW", "CREATE VIEW seen AS SELECT id FROM t"),
                row("CREATE FUNCTION", "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
                row("CREATE FUNCTION in standard form", "CREATE FUNCTION one() RETURNS int BEGIN ATOMIC SELECT 1; END"),
                row("CREATE TYPE", "CREATE TYPE mood AS ENUM ('ok')"),
                row("ALTER SEQUENCE", "ALTER SEQUENCE s RESTART"),
                row("COMMENT", "COMMENT ON TABLE t IS 'x'"),
                row("GRANT", "GRANT SELECT ON t TO PUBLIC"),
                row("REFRESH MATERIALIZED VIEW", "REFRESH MATERIALIZED VIEW seen").on("CREATE MATERIALIZED VIEW seen AS SELECT id FROM t"),
                row("CREATE ROLE", "CREATE ROLE nobody").by_admin().cleaned_by(&["DROP ROLE IF EXISTS nobody"]),
                row("CREATE EXTENSION", "CREATE EXTENSION tablefunc").by_admin().cleaned_by(&["DROP EXTENSION IF EXISTS tablefunc"]),
                row("IMPORT FOREIGN SCHEMA", "IMPORT FOREIGN SCHEMA {schema} LIMIT TO (archive) FROM SERVER loopback INTO {schema}").on("DROP TABLE archive").unchecked(),
                row("ALTER SYSTEM", "ALTER SYSTEM SET work_mem = '4MB'").by_admin().cleaned_by(&["ALTER SYSTEM RESET ALL"]),
                row("VACUUM", "VACUUM t"),
                row("ANALYZE", "ANALYZE t"),
                row("REINDEX", "REINDEX TABLE t"),
                row("CLUSTER", "CLUSTER t USING t_pkey"),
                row("CHECKPOINT", "CHECKPOINT").by_admin(),
                row("LOAD", "LOAD 'plpgsql'").by_admin(),
                row("LISTEN", "LISTEN c"),
                row("NOTIFY", "NOTIFY c"),
                row("UNLISTEN", "UNLISTEN *"),
                row("SET", "SET work_mem = '1MB'"),
                row("SET search_path", "SET search_path = public"),
                row("SET ROLE", "SET ROLE app"),
                row("RESET", "RESET work_mem"),
                row("DISCARD TEMP", "DISCARD TEMP"),
                row("DISCARD SEQUENCES", "DISCARD SEQUENCES"),
            ],
        ),
    ]
}

const CLEAN: &[&str] = &["SELECT lo_unlink(oid) FROM pg_largeobject_metadata"];

const FILE: &str = "CREATE TABLE files (id int PRIMARY KEY, lo oid);\nINSERT INTO files VALUES (1, lo_from_bytea(0, 'the old bytes'))";

/// A parent and a child whose foreign key does this.
fn family(action: &str) -> String {
    format!(
        "CREATE TABLE parent (id int PRIMARY KEY, v int);\nINSERT INTO parent VALUES (1, 1), (2, 2);\n\
         CREATE TABLE child (id int PRIMARY KEY, pid int REFERENCES parent {action});\nINSERT INTO child VALUES (1, 1)"
    )
}
