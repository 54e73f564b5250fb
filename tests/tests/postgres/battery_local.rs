//! Sessions that write outside global transactions to whatever can be written to: that they are checked for global locks
//! must not show. In the language of `atone_tests::postgres::script`.

/// A name and what is said.
pub const LOCAL: &[(&str, &str)] = &[
    (
        "views and rules",
        "Q CREATE VIEW w AS SELECT * FROM t; CREATE VIEW r AS SELECT id, v FROM t; CREATE RULE ru AS ON UPDATE TO r DO INSTEAD UPDATE t SET v = NEW.v WHERE id = OLD.id
         Q UPDATE w SET v = v + 1 WHERE id = 1 RETURNING *\nQ UPDATE r SET v = 5\nQ INSERT INTO w VALUES (9, 9)\nQ DELETE FROM w WHERE id = 9; SELECT count(*) FROM t
         P - UPDATE w SET v = $1 WHERE id = 2 RETURNING id, v\nB - - 77\nD P -\nE -\nS\nP - UPDATE r SET v = $1\nB - - 78\nD P -\nE -\nS\nQ DELETE FROM r\nQ UPDATE nothing SET v = 1
         Q BEGIN\nQ UPDATE w SET v = 4\nQ UPDATE t SET v = 3 WHERE id = 1\nQ UPDATE r SET v = 2\nQ COMMIT\nQ TABLE t",
    ),
    (
        "tables that hide their rows",
        "Q ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t FOR INSERT WITH CHECK (true)
         Q INSERT INTO t VALUES (7, 7)\nQ INSERT INTO t VALUES (8, 8) RETURNING id\nQ UPDATE t SET v = 0\nP - INSERT INTO t VALUES (9, 9)\nB - -\nE -\nS
         Q ALTER TABLE t DISABLE ROW LEVEL SECURITY; REVOKE SELECT ON t FROM CURRENT_USER\nQ INSERT INTO t VALUES (10, 10)\nQ UPDATE t SET v = 1\nQ DELETE FROM t WHERE id = 10
         Q UPDATE t SET v = 1 RETURNING v\nQ GRANT SELECT ON t TO CURRENT_USER\nQ UPDATE t SET v = 2 RETURNING id, v",
    ),
    (
        "temporary tables and new ones",
        "Q CREATE TEMP TABLE tmp (id int PRIMARY KEY, v int)\nQ INSERT INTO tmp VALUES (1, 1), (2, 2)\nQ UPDATE tmp SET v = 2 RETURNING v\nQ BEGIN
         Q CREATE TABLE fresh (id int PRIMARY KEY, v int)\nQ INSERT INTO fresh VALUES (1, 1)\nQ UPDATE fresh SET id = 2, v = v + 1\nQ UPDATE t SET v = 1 WHERE id = 1\nQ ALTER TABLE fresh ADD x int
         Q UPDATE fresh SET x = 1 RETURNING *\nQ DROP TABLE fresh\nQ COMMIT\nQ CREATE TEMP VIEW t AS SELECT 1 AS id, 2 AS v\nQ UPDATE t SET v = 1\nQ DROP VIEW t\nQ UPDATE t SET v = 9 WHERE id = 1 RETURNING v
         Q INSERT INTO t (id) SELECT g FROM generate_series(10, 20) g\nQ SELECT count(*) INTO made FROM t\nQ DELETE FROM made\nQ TRUNCATE made",
    ),
    (
        "columns and tables of odd kinds",
        "Q CREATE TABLE a (id int PRIMARY KEY, x aclitem); CREATE TABLE nokey (v int); CREATE TABLE par (id int PRIMARY KEY, v int); CREATE TABLE heir (h int) INHERITS (par); CREATE UNLOGGED TABLE ul (id int PRIMARY KEY)
         Q INSERT INTO a VALUES (1, NULL)\nQ UPDATE a SET id = 2 RETURNING *\nQ INSERT INTO nokey VALUES (1), (2)\nQ UPDATE nokey SET v = v + 1 RETURNING v\nQ INSERT INTO heir VALUES (1, 1, 1); INSERT INTO par VALUES (1, 2)
         Q UPDATE par SET v = 7 RETURNING id, v\nQ DELETE FROM ONLY par\nQ INSERT INTO ul VALUES (1) ON CONFLICT DO NOTHING RETURNING id\nQ INSERT INTO ul VALUES (1) ON CONFLICT DO NOTHING RETURNING id
         Q UPDATE \"t\" AS \"T\" SET v = \"T\".v + 1 FROM c WHERE c.t_id = \"T\".id RETURNING \"T\".*, c.id",
    ),
    (
        "definitions among writes",
        "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nQ CREATE INDEX ON t (v)\nQ ALTER TABLE t ADD n int DEFAULT 3\nQ UPDATE t SET n = 4 WHERE id = 1 RETURNING *\nQ SAVEPOINT s\nQ DROP TABLE c\nQ ROLLBACK TO s\nQ COMMIT
         Q UPDATE t SET v = 2 WHERE id = 1; ALTER TABLE t DROP n; UPDATE t SET v = 3 WHERE id = 1 RETURNING *\nQ BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nQ VACUUM t\nQ COMMIT
         Q CREATE INDEX CONCURRENTLY ci ON t (s)\nP - VACUUM t\nB - -\nE -\nS\nP - CREATE INDEX CONCURRENTLY cj ON t (v)\nB - -\nE -\nS\nQ REFRESH MATERIALIZED VIEW nothing\nQ ALTER SYSTEM SET work_mem = 1",
    ),
    (
        "procedures that end transactions",
        "Q CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$BEGIN UPDATE t SET v = v + 1 WHERE id = 1; COMMIT; UPDATE t SET v = v + 1 WHERE id = 1; ROLLBACK; END$$
         Q CALL twice()\nQ SELECT v FROM t WHERE id = 1\nQ BEGIN\nQ CALL twice()\nQ ROLLBACK\nP - CALL twice()\nB - -\nE -\nS\nQ DO $$BEGIN UPDATE t SET v = 0 WHERE id = 1; COMMIT; END$$\nQ SELECT v FROM t WHERE id = 1
         Q BEGIN; UPDATE t SET v = 4 WHERE id = 1\nQ DO $$BEGIN UPDATE t SET v = 5 WHERE id = 1; END$$\nQ COMMIT\nQ UPDATE t SET v = 6 WHERE id = 1; DO $$BEGIN UPDATE t SET v = 7 WHERE id = 1; END$$\nQ SELECT v FROM t WHERE id = 1",
    ),
    (
        "values that are none",
        "P - UPDATE t SET v = $1 WHERE id = 1\nB - - x\nE -\nS\nP - UPDATE t SET v = $1 WHERE id = 1\nB - - 5\nE -\nS\nP - DELETE FROM c WHERE id = $1\nB - - x\nE -\nP - SELECT 1\nB - -\nE -\nS
         Q BEGIN\nP - INSERT INTO c VALUES ($1)\nB - - x\nE -\nS\nQ ROLLBACK\nQ TABLE t",
    ),
    (
        "locking reads of values that are none",
        "P - SELECT * FROM t WHERE id = $1 FOR UPDATE\nB - - x\nE -\nS\nP - SELECT * FROM t WHERE id = $1 FOR UPDATE\nB - - 1\nD P -\nE -\nS\nQ SELECT v / 0 FROM t WHERE id = 1 FOR UPDATE\nQ SELECT nothing FROM t FOR UPDATE\nQ SELECT id FROM c FOR SHARE
         P - SELECT id FROM t ORDER BY id FOR UPDATE\nB - -\nE - 2\nE - 2\nS\nQ SELECT FROM t FOR UPDATE\nQ SELECT c.id, t.v FROM c JOIN t ON t.id = t_id FOR UPDATE OF t NOWAIT",
    ),
    (
        "reads that call functions",
        "Q CREATE FUNCTION up(at int) RETURNS int LANGUAGE sql AS 'UPDATE t SET v = v + 1 WHERE id = at RETURNING v'; CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$
         Q SELECT up(1)\nQ SELECT bad()\nQ SELECT up(1), 1/0\nQ SELECT v FROM t WHERE id = 1\nP - SELECT up($1)\nB - - 2\nD P -\nE -\nS\nQ BEGIN\nQ SELECT up(3)\nQ SELECT bad()\nQ ROLLBACK
         Q SELECT up(1); SELECT up(2)\nQ VALUES (up(1)), (up(2))\nQ SELECT * FROM up(1) AS x, up(2) AS y\nQ EXPLAIN (COSTS off) SELECT up(1)\nQ COPY (SELECT up(1)) TO STDOUT\nQ PREPARE p AS SELECT up(1)\nQ EXECUTE p\nQ WITH x AS (SELECT up(1) AS v) SELECT v / 0 FROM x
         Q TABLE t",
    ),
    (
        "names that are used again",
        "P w UPDATE t SET v = v + 1 WHERE id = $1 RETURNING v\nB - w 1\nE -\nS\nB - w 1\nE -\nS\nQ DEALLOCATE w\nB - w 1\nE -\nS\nP w SELECT 5\nB - w\nE -\nS\nQ DISCARD ALL
         P w DELETE FROM c\nB - w\nE -\nS\nQ DEALLOCATE ALL\nP w UPDATE t SET v = 0 WHERE id = 1\nS\nB - w\nE -\nS\nQ BEGIN\nB - w\nE -\nS\nQ DEALLOCATE ALL\nB - w\nE -\nS\nQ ROLLBACK
         Q PREPARE p AS UPDATE t SET v = 3 WHERE id = 1\nQ EXECUTE p\nQ PREPARE p AS SELECT 1\nQ EXECUTE p\nQ DEALLOCATE p\nQ PREPARE p AS SELECT 1\nQ EXECUTE p",
    ),
    (
        "two phases of a writer",
        "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nQ PREPARE TRANSACTION 'w'\nQ SELECT v FROM t WHERE id = 1\nQ ROLLBACK PREPARED 'w'
         Q BEGIN; UPDATE t SET v = 1 WHERE id = 1; PREPARE TRANSACTION 'w'\nQ COMMIT PREPARED 'w'\nQ SELECT v FROM t WHERE id = 1
         Q UPDATE t SET v = 5 WHERE id = 1; PREPARE TRANSACTION 'w'\nQ SELECT v FROM t WHERE id = 1\nQ ROLLBACK PREPARED 'w'\nQ PREPARE TRANSACTION 'w'; UPDATE t SET v = 6 WHERE id = 1\nQ COMMIT PREPARED 'w'
         Q SELECT 1; UPDATE t SET v = 7 WHERE id = 2; PREPARE TRANSACTION 'w'; UPDATE t SET v = 8 WHERE id = 1; SELECT 1\nQ TABLE t\nQ ROLLBACK PREPARED 'w'\nQ UPDATE t SET v = 9; COMMIT; UPDATE t SET v = v + 1; PREPARE TRANSACTION 'w'\nQ TABLE t\nQ COMMIT PREPARED 'w'
         Q BEGIN\nQ PREPARE TRANSACTION 'w'\nQ COMMIT PREPARED 'w'\nQ UPDATE t SET v = -1; UPDATE t SET nope = 1; PREPARE TRANSACTION 'w'\nQ UPDATE t SET v = 3; PREPARE TRANSACTION ''\nQ ROLLBACK PREPARED ''\nQ UPDATE t SET v = 4\nQ TABLE t",
    ),
    (
        "other settings of the session",
        "Q SET client_encoding = LATIN1\nQ UPDATE t SET s = 'a' WHERE id = 3 RETURNING *\nQ RESET client_encoding\nQ SET standard_conforming_strings = off\nQ UPDATE t SET s = 'a\\'b' WHERE id = 1 RETURNING s
         Q SET default_transaction_isolation = serializable\nQ UPDATE t SET v = 1 WHERE id = 1\nQ BEGIN ISOLATION LEVEL REPEATABLE READ\nQ UPDATE t SET v = 2\nQ COMMIT\nQ SET default_transaction_read_only = on\nQ UPDATE t SET v = 3
         Q RESET ALL\nQ UPDATE t SET v = 4 WHERE id = 1\nQ BEGIN READ ONLY\nQ DELETE FROM t\nQ ROLLBACK",
    ),
    (
        "deferred constraints",
        "Q CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES t DEFERRABLE INITIALLY DEFERRED)\nQ INSERT INTO d VALUES (1, 99)\nQ BEGIN\nQ INSERT INTO d VALUES (1, 99)\nQ INSERT INTO t VALUES (99, 1)\nQ COMMIT
         Q BEGIN\nQ INSERT INTO d VALUES (2, 98)\nQ COMMIT\nP - INSERT INTO d VALUES (3, 97)\nB - -\nE -\nS\nQ SELECT count(*) FROM d\nQ INSERT INTO d VALUES (4, 96); SELECT 1",
    ),
    (
        "functions over the protocol among writes",
        "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nQ SELECT lo_create(0) > 0\nQ LISTEN x\nQ NOTIFY x, 'y'\nQ COMMIT\nQ UPDATE t SET v = 2 WHERE id = 1; NOTIFY x, 'z'\nQ SELECT 1",
    ),
];
