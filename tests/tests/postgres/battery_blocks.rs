//! Statements that the server runs outside transaction blocks only, or within them only: alone, among others of one text, in
//! blocks and in pipelines. In the language of `atone_tests::postgres::script`.

/// A name and what is said.
pub const BLOCKS: &[(&str, &str)] = &[
    (
        "what refuses blocks, behind a write",
        "Q UPDATE t SET v = 11; VACUUM t\nQ UPDATE t SET v = 12; VACUUM t; SELECT 1\nQ UPDATE t SET v = 13; CREATE DATABASE nowhere\nQ DELETE FROM c; CREATE INDEX CONCURRENTLY i ON t (s); SELECT 1\nQ INSERT INTO t VALUES (7); DROP INDEX CONCURRENTLY t_pkey
         Q UPDATE t SET v = 14; REINDEX TABLE CONCURRENTLY t\nQ UPDATE t SET v = 15; REINDEX (CONCURRENTLY) TABLE t\nQ UPDATE t SET v = 15; REINDEX SCHEMA public\nQ UPDATE t SET v = 15; REINDEX TABLE t\nQ UPDATE t SET v = 16; ALTER SYSTEM SET work_mem = 1\nQ UPDATE t SET v = 17; DROP DATABASE nowhere; UPDATE t SET v = 18
         Q UPDATE t SET v = 19; CLUSTER\nQ UPDATE t SET v = 20; DISCARD ALL\nQ UPDATE t SET v = 21; DISCARD PLANS\nQ UPDATE t SET v = 22; COMMIT PREPARED 'x'\nQ UPDATE t SET v = 22; ROLLBACK PREPARED 'x'\nQ UPDATE t SET v = 23; CREATE TABLESPACE x LOCATION '/'\nQ UPDATE t SET v = 24; CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p
         Q UPDATE t SET v = 25; VACUUM nothing\nQ UPDATE t SET v = 26; VACUUM (nothing) t\nQ UPDATE t SET v = 26; CHECKPOINT\nQ UPDATE t SET v = 27; ANALYZE t\nQ UPDATE t SET v = 28 RETURNING id; /* ä */ vacuum -- x\nQ TABLE t",
    ),
    (
        "what refuses blocks, before a write",
        "Q VACUUM t; UPDATE t SET v = 11\nQ VACUUM t; SELECT 1\nQ SELECT 1; VACUUM t\nQ CREATE DATABASE nowhere; UPDATE t SET v = 13\nQ CREATE INDEX CONCURRENTLY i ON t (s); DELETE FROM c\nQ REINDEX TABLE CONCURRENTLY t; UPDATE t SET v = 14; SELECT 1\nQ ALTER SYSTEM SET work_mem = 1; UPDATE t SET v = 16
         Q DISCARD ALL; UPDATE t SET v = 20\nQ DISCARD ALL; SELECT 1\nQ VACUUM t; VACUUM t; UPDATE t SET v = 1\nQ ANALYZE t; UPDATE t SET v = 27\nQ ; VACUUM t;\nQ VACUUM t; ; -- x\nQ CHECKPOINT; UPDATE t SET v = 11\nQ TABLE t",
    ),
    (
        "what refuses blocks, among local transactions of a text",
        "Q UPDATE t SET v = 11; COMMIT; VACUUM t\nQ BEGIN; UPDATE t SET v = 12; VACUUM t; COMMIT\nQ SELECT 1\nQ ROLLBACK\nQ BEGIN; UPDATE t SET v = 13; COMMIT; VACUUM t\nQ BEGIN; UPDATE t SET v = 14; COMMIT; VACUUM t; UPDATE t SET v = 15
         Q UPDATE t SET v = 16; BEGIN; VACUUM t\nQ ROLLBACK\nQ UPDATE t SET v = 17; VACUUM t; COMMIT\nQ UPDATE t SET v = 18; ROLLBACK; VACUUM t; SELECT 1\nQ VACUUM t; BEGIN; UPDATE t SET v = 19; COMMIT\nQ TABLE t",
    ),
    (
        "what refuses blocks, in blocks",
        "Q BEGIN\nQ UPDATE t SET v = 11\nQ VACUUM t\nQ VACUUM t\nQ ROLLBACK\nQ BEGIN\nQ UPDATE t SET v = 11; VACUUM t; SELECT 1\nQ COMMIT\nQ BEGIN\nQ UPDATE t SET v = 12\nP - CREATE INDEX CONCURRENTLY i ON t (s)\nB - -\nE -\nS\nQ COMMIT
         Q BEGIN\nQ SAVEPOINT a\nQ UPDATE t SET v = 13\nQ ALTER SYSTEM SET work_mem = 1\nQ ROLLBACK TO a\nQ UPDATE t SET v = 14 WHERE id = 1\nQ COMMIT\nQ TABLE t",
    ),
    (
        "what refuses blocks, in pipelines",
        "P u UPDATE t SET v = $1\nP v VACUUM t\nS\nB - u 11\nE -\nB - v\nE -\nS\nB - v\nE -\nB - u 12\nE -\nS\nB - v\nE -\nS\nB - v\nE -\nB - v\nE -\nS\nP - SELECT 1\nB - -\nE -\nB - v\nE -\nS\nB - u 13\nE -\nP - CREATE DATABASE nowhere\nB - -\nE -\nS
         B - u 14\nE -\nP - REINDEX TABLE CONCURRENTLY t\nB - -\nE -\nB - u 15\nE -\nS\nB - u 16\nE -\nP - ALTER SYSTEM SET work_mem = 1\nB - -\nD P -\nE -\nS\nB - v\nE -\nP - SELECT 1\nB - -\nE -\nS\nQ TABLE t",
    ),
    (
        "what needs blocks, among others of a text",
        "Q UPDATE t SET v = 11; LOCK TABLE t; SELECT 1\nQ LOCK TABLE t; UPDATE t SET v = 12\nQ UPDATE t SET v = 13; DECLARE x CURSOR FOR SELECT v FROM t; FETCH x; CLOSE x\nQ DECLARE x CURSOR FOR SELECT v FROM t; UPDATE t SET v = 14; FETCH x\nQ FETCH x
         Q UPDATE t SET v = 15; SET LOCAL work_mem = 1000; SHOW work_mem\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = 16; SHOW work_mem\nQ SHOW work_mem\nQ UPDATE t SET v = 17; SET CONSTRAINTS ALL DEFERRED\nQ SET CONSTRAINTS ALL DEFERRED; UPDATE t SET v = 17\nQ SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; UPDATE t SET v = 18; SHOW transaction_isolation
         Q UPDATE t SET v = 18; SET TRANSACTION READ ONLY; UPDATE t SET v = 19\nQ UPDATE t SET v = 19; SAVEPOINT a; UPDATE t SET v = 20\nQ UPDATE t SET v = 19; ROLLBACK TO a\nQ UPDATE t SET v = 19; RELEASE a\nQ SAVEPOINT a; UPDATE t SET v = 20\nQ SELECT 1; SAVEPOINT a\nQ TABLE t",
    ),
    (
        "procedures among others of a text",
        "Q CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$BEGIN UPDATE t SET v = v + 1 WHERE id = 1; COMMIT; UPDATE t SET v = v + 1 WHERE id = 1; END$$\nQ UPDATE t SET v = 1; CALL twice()\nQ CALL twice(); UPDATE t SET v = 2\nQ SELECT 1; CALL twice()\nQ CALL twice(); SELECT 1
         Q UPDATE t SET v = 3; DO $$BEGIN ROLLBACK; END$$\nQ DO $$BEGIN COMMIT; END$$; UPDATE t SET v = 4\nQ DO $$BEGIN UPDATE t SET v = 5; END$$; UPDATE t SET v = v + 1\nQ TABLE t\nP - UPDATE t SET v = 9 WHERE id = 1\nB - -\nE -\nP - CALL twice()\nB - -\nE -\nS\nQ TABLE t",
    ),
];

/// Nothing in it is refused inside a global transaction.
pub const WELCOME: &[(&str, &str)] = &[(
    "blocks of texts",
    "Q UPDATE t SET v = 11; LOCK TABLE t IN SHARE MODE; SELECT 1\nQ LOCK TABLE t IN SHARE MODE; UPDATE t SET v = 12\nQ UPDATE t SET v = 13; DECLARE x CURSOR FOR SELECT v FROM t; FETCH x; CLOSE x\nQ FETCH x\nQ UPDATE t SET v = 15; SET LOCAL work_mem = 1000; SHOW work_mem\nQ SHOW work_mem
     Q SET LOCAL work_mem = 1000; UPDATE t SET v = 16; COMMIT; SHOW work_mem\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = 17; ROLLBACK; UPDATE t SET v = 18 WHERE id = 1\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = 19; BEGIN; UPDATE t SET v = 20; COMMIT\nQ SHOW work_mem
     Q SET LOCAL work_mem = 1000; UPDATE t SET v = 21; BEGIN\nQ UPDATE t SET v = 22\nQ ROLLBACK\nQ TABLE t\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = -1; SELECT 1\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = 23; SAVEPOINT a\nQ SET LOCAL work_mem = 1000; UPDATE t SET v = 24; COMMIT AND CHAIN\nQ TABLE t
     Q UPDATE t SET v = 25; DO $$BEGIN UPDATE t SET v = v + 1 WHERE id = 1; END$$\nQ DO $$BEGIN UPDATE t SET v = v + 1 WHERE id = 2; END$$; SELECT v FROM t ORDER BY id\nQ UPDATE t SET v = 26; DO $$BEGIN COMMIT; END$$\nQ SELECT 1; SET LOCAL work_mem = 1000; SHOW work_mem\nQ TABLE t",
)];
