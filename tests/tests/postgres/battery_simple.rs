//! Sessions of simple queries, in the language of `atone_tests::postgres::script`.

/// A name and what is said.
pub const SIMPLE: &[(&str, &str)] = &[
    ("values", "Q SELECT 1, 'x', NULL, '', 1.50::numeric, true, 'infinity'::timestamptz, '{a,NULL}'::text[]"),
    ("nothing", "Q\nQ ;\nQ -- a remark\nQ /* one /* in another */ */ ;;\nQ SELECT\nQ VALUES (1), (2)\nQ TABLE t"),
    (
        "several statements",
        "Q SELECT 1; INSERT INTO t VALUES (4, 1, 'x'); SELECT count(*) FROM t; UPDATE t SET v = 0; DELETE FROM t",
    ),
    (
        "an error among several",
        "Q INSERT INTO t VALUES (5); SELECT 1/0; INSERT INTO t VALUES (6)\nQ SELECT count(*) FROM t
         Q INSERT INTO t VALUES (5); COMMIT; INSERT INTO t VALUES (6); SELECT 1/0\nQ SELECT id FROM t ORDER BY id",
    ),
    (
        "a transaction among several",
        "Q BEGIN; INSERT INTO t VALUES (5); SELECT 1/0; COMMIT\nQ SELECT 1\nQ ROLLBACK
         Q SELECT 1; BEGIN; SELECT 2; COMMIT; BEGIN\nQ COMMIT\nQ COMMIT\nQ ROLLBACK",
    ),
    (
        "status bytes",
        "Q BEGIN\nQ SELECT 1\nQ INSERT INTO t VALUES (9)\nQ nonsense\nQ SELECT 1\nQ COMMIT\nQ SELECT count(*) FROM t",
    ),
    (
        "kinds of transactions",
        "Q BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY, DEFERRABLE\nQ INSERT INTO t VALUES (9)\nQ ROLLBACK AND CHAIN
         Q SHOW transaction_read_only\nQ ABORT\nQ START TRANSACTION READ WRITE\nQ BEGIN\nQ INSERT INTO t VALUES (9)
         Q COMMIT AND CHAIN\nQ END",
    ),
    (
        "savepoints",
        "Q SAVEPOINT a\nQ BEGIN\nQ SAVEPOINT a\nQ INSERT INTO t VALUES (9)\nQ SAVEPOINT a\nQ SELECT 1/0\nQ ROLLBACK TO a
         Q RELEASE a\nQ ROLLBACK TO a\nQ SELECT count(*) FROM t\nQ RELEASE SAVEPOINT nope\nQ COMMIT",
    ),
    (
        "positions in errors",
        "Q SELEC 1\nQ SELECT 'ä€😀', nope FROM t\nQ SELECT * FROM nothing\nQ SELECT 'open\nQ SELECT nope(1)
         Q SELECT 1 FROM t WHERE s = 1\nQ SELECT 1; SELECT 'é', nope",
    ),
    (
        "errors of constraints",
        "Q INSERT INTO t VALUES (1)\nQ INSERT INTO t VALUES (NULL)\nQ INSERT INTO t VALUES (8, -1)
         Q INSERT INTO c VALUES (1, 99)\nQ DELETE FROM t WHERE id = 1\nQ SELECT 'x'::int\nQ SELECT 300::\"char\"
         Q INSERT INTO t VALUES (99999999999)\nQ SELECT '{'::json",
    ),
    (
        "notices",
        "Q DO $$ BEGIN RAISE NOTICE 'hi %', 1; RAISE WARNING 'w' USING HINT='h', DETAIL='d', ERRCODE='12345'; END $$
         Q DROP TABLE IF EXISTS nothing\nQ CREATE TABLE IF NOT EXISTS t ()\nQ SET client_min_messages = error
         Q DROP TABLE IF EXISTS nothing\nQ SELECT 1; DROP TABLE IF EXISTS nothing; SELECT 2",
    ),
    (
        "settings",
        "Q SET TimeZone = 'Asia/Tokyo'\nQ SHOW TimeZone\nQ SET application_name = 'x'\nQ SET DateStyle = 'SQL, DMY'
         Q SELECT '2024-02-29 12:00+00'::timestamptz\nQ RESET ALL\nQ SET LOCAL TimeZone = 'Asia/Kolkata'\nQ BEGIN
         Q SET LOCAL TimeZone = 'Asia/Kolkata'\nQ COMMIT\nQ SET nonsense = 1\nQ SET my.own = '1'\nQ SHOW my.own
         Q SELECT set_config('IntervalStyle', 'iso_8601', false), interval '1 day'\nQ DISCARD ALL\nQ SHOW IntervalStyle",
    ),
    (
        "character sets",
        "Q SELECT 'äß'\nQ SET client_encoding = 'LATIN1'\nQ SELECT U&'\\00e4', chr(8364)\nQ SELECT 1
         Q SET client_encoding = 'UTF8'\nQ SELECT chr(8364)",
    ),
    (
        "quotes",
        "Q SELECT 'it''s', E'a\\\\b\\n', U&'\\00e4', $$a 'b' ; c$$, $x$ $$ $x$, B'101', X'1F', \"v\" FROM t WHERE id = 1
         Q SET standard_conforming_strings = off\nQ SELECT 'a\\'b'\nQ SELECT \"a;b\" FROM (SELECT 1 AS \"a;b\") q",
    ),
    ("large results", "Q SELECT repeat('x', 20000000)\nQ SELECT decode(repeat('00ff', 10000000), 'hex')"),
    ("many rows", "Q SELECT g, md5(g::text), NULL FROM generate_series(1, 3000) g"),
    (
        "copying out",
        "Q COPY t TO STDOUT\nQ COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT csv, HEADER)
         Q COPY t TO STDOUT (FORMAT binary)\nQ COPY nothing TO STDOUT\nQ COPY (SELECT 1/(g-3) FROM generate_series(1,5) g) TO STDOUT
         Q SELECT 1; COPY t (v) TO STDOUT; SELECT 2",
    ),
    (
        "copying in",
        "q COPY t FROM STDIN\n< G\nd 7\\t70\\tseven\\n\nd 8\\t\nd 80\\teight\\n\nc\n< Z\nQ SELECT * FROM t ORDER BY id
         q COPY t (id, s) FROM STDIN (FORMAT csv)\n< G\nd 9,\"a,b\"\\n10,\\n\nc\n< Z\nQ SELECT * FROM t ORDER BY id",
    ),
    (
        "copying in binary",
        "q COPY t FROM STDIN (FORMAT binary)\n< G\nx 5047434f50590aff0d0a00 00000000 00000000
         x 0003 00000004 00000009 00000004 0000005a 00000004 6e696e65\nx ffff\nc\n< Z\nQ SELECT * FROM t ORDER BY id",
    ),
    (
        "copying in that fails",
        "q COPY t FROM STDIN\n< G\nd 7\\t70\\tseven\\n\nf changed my mind\n< Z\nq COPY t FROM STDIN\n< G\nd x\\n\nc\n< Z
         q BEGIN; COPY t FROM STDIN; SELECT 1\n< G\nd 1\\t1\\t1\\n\nc\n< Z\nQ ROLLBACK\nQ SELECT count(*) FROM t",
    ),
    (
        "copying in among several",
        "q SELECT 1; COPY t FROM STDIN; SELECT count(*) FROM t; COPY t FROM STDIN; SELECT count(*) FROM t
         < G\nd 7\\t7\\ts\\n\nc\n< G\nd 8\\t8\\te\\n\nc\n< Z",
    ),
    (
        "cursors",
        "Q BEGIN\nQ DECLARE c SCROLL CURSOR FOR SELECT * FROM t ORDER BY id\nQ FETCH 2 FROM c\nQ MOVE BACKWARD 1 IN c
         Q FETCH ALL c\nQ CLOSE c\nQ FETCH c\nQ ROLLBACK\nQ DECLARE h CURSOR WITH HOLD FOR SELECT 1\nQ FETCH h\nQ CLOSE ALL",
    ),
    (
        "statements prepared in SQL",
        "Q PREPARE p (int) AS SELECT $1 + 1, s FROM t WHERE id = $1\nQ EXECUTE p(1)\nQ EXECUTE p('x')\nQ EXECUTE q
         Q DEALLOCATE p\nQ EXECUTE p(1)\nQ PREPARE w AS INSERT INTO t VALUES (7) RETURNING *\nQ EXECUTE w\nQ DEALLOCATE ALL",
    ),
    ("notifications", "Q LISTEN chan\n2 Q NOTIFY chan, 'hello'\n< A\nQ NOTIFY chan\nQ UNLISTEN *\n2 Q NOTIFY chan\nQ SELECT 1"),
    (
        "notifications of a transaction",
        "Q LISTEN chan\nQ BEGIN\n2 Q BEGIN; NOTIFY chan, 'a'; NOTIFY chan, 'b'; COMMIT\nQ SELECT 1\nQ COMMIT\nQ SELECT pg_notify('chan', 'c')",
    ),
    (
        "writes and what they return",
        "Q INSERT INTO t VALUES (7, 1), (8, 2) RETURNING id, v AS \"Wert\", *\nQ UPDATE t SET v = v + 1 WHERE id > 1 RETURNING *
         Q DELETE FROM t USING c WHERE c.t_id = t.id AND false RETURNING t.*\nQ INSERT INTO t SELECT id + 50, v FROM t
         Q INSERT INTO t VALUES (7, 5) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v RETURNING (xmax = 0)
         Q WITH x AS (DELETE FROM t WHERE id > 50 RETURNING id) SELECT sum(id) FROM x\nQ TRUNCATE c",
    ),
    (
        "merge",
        "Q MERGE INTO t USING (VALUES (1), (70)) AS n (id) ON t.id = n.id WHEN MATCHED THEN UPDATE SET v = 0 \
         WHEN NOT MATCHED THEN INSERT VALUES (n.id, 0)",
    ),
    (
        "definitions",
        "Q CREATE TEMP TABLE tt (a int)\nQ INSERT INTO tt VALUES (1)\nQ ALTER TABLE tt ADD b text DEFAULT 'x'\nQ TABLE tt
         Q CREATE TABLE made AS SELECT g FROM generate_series(1, 3) g\nQ SELECT 1 AS x INTO other\nQ DROP TABLE other, made
         Q CREATE INDEX i ON t (s)\nQ VACUUM t\nQ ANALYZE t\nQ CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'
         Q SELECT f()\nQ DROP FUNCTION f()\nQ BEGIN\nQ VACUUM t\nQ ROLLBACK\nQ REINDEX TABLE t",
    ),
    ("explain and show", "Q EXPLAIN (COSTS off) SELECT * FROM t WHERE id = 1\nQ SHOW server_encoding\nQ SHOW search_path"),
    ("a lock that is not free", "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\n2 Q SET lock_timeout = '100ms'\n2 Q UPDATE t SET v = 2 WHERE id = 1\n2 Q SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT\nQ COMMIT\n2 Q SELECT v FROM t WHERE id = 1 FOR UPDATE"),
    ("a statement that takes too long", "Q SET statement_timeout = '50ms'\nQ SELECT pg_sleep(30)\nQ SHOW statement_timeout\nQ BEGIN\nQ SELECT pg_sleep(30)\nQ ROLLBACK"),
    (
        "our names in strings",
        "Q SELECT 'atone_begin()' AS atone_begin\nQ SELECT \"atone_begin\" FROM (SELECT 1 AS atone_begin) z\nQ SELECT 1 -- atone_begin()
         Q SELECT $$SELECT atone_begin()$$, 'SET atone.xid = 1'\nQ SELECT atone_begin FROM (SELECT 1) z (atone_begin)",
    ),
    ("roles", "Q SET ROLE service\nQ SET SESSION AUTHORIZATION service\nQ SELECT current_user, session_user\nQ SET ROLE app\nQ RESET ROLE"),
    ("two phases", "Q BEGIN\nQ INSERT INTO t VALUES (7)\nQ PREPARE TRANSACTION 'x'\nQ SELECT count(*) FROM t\nQ COMMIT PREPARED 'x'"),
    ("goodbye", "Q SELECT 1\nX"),
    ("goodbye in a transaction", "Q BEGIN\nQ INSERT INTO t VALUES (7)\nX\n2 Q SELECT count(*) FROM t"),
    ("ended by the server", "Q SELECT 1\nq SELECT pg_terminate_backend(pg_backend_pid())\n<"),
    ("pipelined simple queries", "q SELECT 1\nq INSERT INTO t VALUES (7)\nq SELECT 1/0\nq SELECT count(*) FROM t\n< Z\n< Z\n< Z\n< Z"),
];
