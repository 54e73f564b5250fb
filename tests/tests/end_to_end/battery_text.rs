//! Sessions of statements as text, in the language of `atone_tests::mysql::script`.

/// A name and what is said.
pub const TEXT: &[(&str, &str)] = &[
    ("values", "Q SELECT 1, 'x', NULL, '', 1.50, 1e300, x'00FF', b'101', TRUE, -9223372036854775808, DATE '2024-02-29'"),
    ("all types", "Q SELECT * FROM k ORDER BY id\nQ SELECT g, j, bits FROM k WHERE id = 2"),
    ("empty results", "Q SELECT * FROM t WHERE FALSE\nQ SELECT * FROM k LIMIT 0\nQ SHOW WARNINGS\nQ SHOW TABLES LIKE 'nothing'"),
    ("nothing", "Q\nQ ;\nQ -- a remark\nQ /* only */\nQ # a remark\nQ SELECT 1;\nQ SELECT 1; -- end\nQ SELECT 2;;"),
    (
        "comments",
        "Q SELECT /* in the middle */ 1 -- end\nQ /*! SELECT 1 */\nQ /*!99999 broken */ SELECT 2\nQ SELECT 1 /* open
         Q SELECT /*+ MAX_EXECUTION_TIME(60000) */ 1\nQ /*M! SELECT 3 */\nQ SELECT '/*', \"--\", `id` FROM t WHERE id = 1 # '",
    ),
    (
        "syntax errors",
        "Q SELEC 1\nQ SELECT FROM\nQ SELECT 'open\nQ INSERT INTO t VALUES\nQ SELECT 'ä€😀' nope FROM t WHERE\nQ \\n\\n SELECT ~~\nping",
    ),
    (
        "errors of names",
        "Q SELECT * FROM nothing\nQ SELECT nope FROM t\nQ SELECT nope(1)\nQ SELECT * FROM other.t\nQ USE nothing\nQ USE mysql
         Q CALL nothing()\nQ DROP TABLE nothing\nQ SELECT id FROM t JOIN c\nQ SET nonsense = 1\nQ SELECT @@nonsense",
    ),
    (
        "errors of constraints",
        "Q INSERT INTO t VALUES (1, 1, 'x')\nQ INSERT INTO t VALUES (9, 10, 'ten')\nQ INSERT INTO c VALUES (2, 99)\nQ DELETE FROM t
         Q INSERT INTO c VALUES (-1, 1)\nQ INSERT INTO c (id) VALUES (5)\nQ INSERT INTO t VALUES (1)\nQ INSERT INTO t (s) VALUES (REPEAT('x', 21))
         Q INSERT INTO t (v) VALUES (99999999999)\nQ INSERT INTO t (v) VALUES ('x')",
    ),
    (
        "wrong arguments",
        "Q SELECT CONCAT()\nQ SELECT SUBSTR('x')\nQ SELECT POW(1e300, 2)\nQ SELECT 9223372036854775807 + 1\nQ SELECT (SELECT id FROM t)
         Q SELECT (1, 2) = 3\nQ CALL sums(1)\nQ SELECT GROUP_CONCAT(id), s FROM t\nQ SELECT STR_TO_DATE('x', '%Y')",
    ),
    (
        "warnings",
        "Q SELECT 1 / 0\nQ SHOW WARNINGS\nQ SELECT CAST('12x' AS SIGNED), 'a' + 1\nQ SHOW WARNINGS LIMIT 1\nQ SHOW COUNT(*) WARNINGS
         Q SELECT @@warning_count, @@error_count\nQ DROP TABLE IF EXISTS nothing\nQ SHOW WARNINGS\nQ SELEC\nQ SHOW ERRORS
         Q GET DIAGNOSTICS @n = NUMBER\nQ SELECT @n\nQ SET max_error_count = 1\nQ SELECT 'a' + 1, 'b' + 1\nQ SHOW WARNINGS",
    ),
    (
        "an error asked for",
        "Q INSERT INTO t VALUES (1, 1, 'x')\nQ SHOW WARNINGS\nQ SHOW WARNINGS\nQ SELECT ROW_COUNT()\nQ UPDATE t SET v = 'x'\nQ SELECT ROW_COUNT()\nQ SHOW WARNINGS\nQ DELETE FROM t\nQ SELECT 1\nQ SHOW WARNINGS",
    ),
    (
        "loose mode",
        "Q SET sql_mode = ''\nQ INSERT INTO t (v, s) VALUES ('x', REPEAT('y', 30)), (99999999999, 'z')\nQ SHOW WARNINGS
         Q INSERT IGNORE INTO t VALUES (1, 1, 'x'), (70, 70, 'y')\nQ SHOW WARNINGS LIMIT 9\nQ UPDATE IGNORE t SET id = 1 WHERE id = 2\nQ UPDATE t SET v = 99999999999\nQ SHOW WARNINGS\nQ SHOW WARNINGS\nQ BEGIN\nQ UPDATE t SET v = 'y' WHERE id = 1\nQ SHOW WARNINGS\nQ COMMIT
         Q UPDATE t SET v = 'z' WHERE id = 1\nQ SELECT @@warning_count\nQ UPDATE t SET v = 'z' WHERE id = 1\nQ SHOW COUNT(*) WARNINGS\nQ BEGIN\nQ UPDATE t SET v = 'z' WHERE id = 1\nQ SELECT @@warning_count, @@error_count\nQ ROLLBACK",
    ),
    (
        "info strings",
        "Q INSERT INTO t (v) VALUES (30), (40)\nQ UPDATE t SET v = 99 WHERE id > 1\nQ UPDATE t SET v = v WHERE id = 1\nQ DELETE FROM t WHERE id = 2
         Q INSERT INTO t SELECT id + 50, v, s FROM t\nQ REPLACE INTO t VALUES (3, 5, 'n'), (90, 6, 'm')\nQ ALTER TABLE t ADD z INT
         Q INSERT INTO t (id, v) VALUES (1, 7) ON DUPLICATE KEY UPDATE v = 7\nQ CREATE TABLE made AS SELECT id FROM t\nQ TRUNCATE made",
    ),
    (
        "last ids and counts",
        "Q SELECT id FROM t ORDER BY id\nQ INSERT INTO t (v) VALUES (30), (40)\nQ SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()\nQ INSERT INTO t VALUES (77, 1, 'x')
         Q SELECT LAST_INSERT_ID()\nQ SELECT LAST_INSERT_ID(5)\nQ UPDATE t SET id = LAST_INSERT_ID(id + 100) WHERE id = 2\nQ SELECT LAST_INSERT_ID()
         Q SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 1\nQ SELECT FOUND_ROWS()\nQ UPDATE t SET v = 1\nQ SELECT ROW_COUNT()\nQ SELECT ROW_COUNT()
         Q DELETE FROM c\nQ SELECT LAST_INSERT_ID() AS l, ROW_COUNT() r\nQ DELETE FROM c WHERE id = 5\nQ SELECT ROW_COUNT(); BEGIN\nQ SELECT ROW_COUNT();\nQ INSERT INTO t (v) VALUES (8)\nQ UPDATE t SET v = 2\nQ SHOW WARNINGS\nQ SELECT ROW_COUNT()",
    ),
    // Not FOUND_ROWS(): before any SELECT it differs from one connection to MariaDB to the next.
    ("counts before anything", "Q SELECT ROW_COUNT(), LAST_INSERT_ID()"),
    (
        "several statements",
        "Q SELECT 1; INSERT INTO t (v) VALUES (4); SELECT COUNT(*) FROM t; UPDATE t SET v = 0 WHERE id = 1; DELETE FROM c; DO 1
         Q SELECT 'a;b'; SELECT \";\"; SELECT `id` FROM t WHERE id = 1 /* ; */; SET @a = 5; SELECT @a;",
    ),
    (
        "an error among several",
        "Q INSERT INTO t (v) VALUES (5); SELECT broken; INSERT INTO t (v) VALUES (6)\nQ SELECT COUNT(*) FROM t\nQ SELECT 1; SELEC 2; SELECT 3
         Q SELECT 1; INSERT INTO t VALUES (1, 1, 'x'); SELECT 2\nQ SELECT 1;;SELECT 2",
    ),
    (
        "several statements turned off and on",
        "Q SELECT 1; SELECT 2\nopt 1\nQ SELECT 1; SELECT 2\nQ INSERT INTO t (v) VALUES (4)\nQ SELECT 1; SELECT 2\nQ SELECT 1;\nopt 0\nQ SELECT 1; SELECT 2\nopt 7\nQ SELECT 3",
    ),
    (
        "procedures",
        "Q CALL two()\nQ SET @b = 5\nQ CALL sums(3, @b, @s)\nQ SELECT @b, @s\nQ CALL fails()\nQ SELECT v FROM t WHERE id = 1
         Q CALL two(); SELECT 1; CALL sums(1, @b, @s); SELECT @s\nQ CALL two(); CALL fails(); SELECT 2",
    ),
    (
        "functions and triggers",
        "Q CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1\nQ SELECT f(1), f(NULL)\nQ SELECT f()\nQ CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.s = 'trig'
         Q INSERT INTO t (v) VALUES (1)\nQ SELECT s FROM t WHERE v = 1\nQ DROP TRIGGER tr\nQ DROP FUNCTION f",
    ),
    (
        "user variables",
        "Q SET @a = 1, @b := 'x', @c = NULL, @d = 1.5, @e = x'00ff'\nQ SELECT @a, @b, @c, @d, @e, @nothing\nQ SELECT id, s INTO @x, @y FROM t WHERE id = 1
         Q SELECT @x, @y\nQ SELECT id INTO @x FROM t\nQ SELECT id INTO @x FROM t WHERE FALSE\nQ SHOW WARNINGS\nQ SELECT @x := @x + 1",
    ),
    (
        "character sets",
        "Q SELECT 'äß€'\nQ SET NAMES latin1\nQ SELECT '{#e4}', s FROM t WHERE id = 2\nQ SELECT s AS '{#e4}' FROM t WHERE id = 2\nQ SELECT * FROM `{#e4}`
         Q SET NAMES utf8mb4 COLLATE utf8mb4_bin\nQ SELECT '😀', _latin1'{#e4}', s FROM t\nQ SET character_set_results = NULL\nQ SELECT vc FROM k
         Q SET NAMES klingon\nQ SET NAMES gbk\nQ SELECT '{#bf5c}'\nQ SET NAMES binary\nQ SELECT vc, s FROM k, t WHERE k.id = 2 AND t.id = 2",
    ),
    ("quotes", "Q SELECT 'it''s', \"a\"\"b\", 'a\\\\b', 'x' 'y', N'n', `v` FROM t WHERE id = 1\nQ SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'\nQ SELECT \"v\", 'a\\' FROM t WHERE id = 1"),
    ("many rows", "Q WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) SELECT n, REPEAT('x', n % 50), NULL FROM n\nQ SELECT a.id FROM t a, t b, t c, k d, k e ORDER BY a.id"),
    ("large results", "Q SELECT REPEAT('x', 16777214)\nQ SELECT REPEAT('x', 16777211)\nQ SELECT REPEAT('x', 16777210), 1\nQ SELECT REPEAT('y', 40000000), 2\nQ SELECT 3"),
    (
        "large statements",
        "Q SELECT LENGTH('{x*17000000}')\nQ INSERT INTO l (b) VALUES ('{y*20000000}')\nQ SELECT LENGTH(b), b FROM l\nQ SELECT '{z*16777205}'\nQ SELECT 1",
    ),
    ("too large", "Q SELECT REPEAT('x', 70000000)\nQ SHOW WARNINGS\nQ SELECT LENGTH(REPEAT('x', 60000000))"),
    (
        "explain and show",
        "Q EXPLAIN SELECT * FROM t WHERE id = 1\nQ EXPLAIN SELECT 1\nQ SHOW WARNINGS\nQ DESCRIBE t\nQ SHOW TABLES\nQ SHOW FULL COLUMNS FROM c\nQ SHOW CREATE TABLE t
         Q SHOW CREATE VIEW w\nQ SHOW KEYS FROM c\nQ SHOW VARIABLES LIKE 'autocommit'\nQ SHOW COLLATION LIKE 'latin1_bin'\nQ SHOW DATABASES LIKE '$SCHEMA'
         Q SHOW CREATE PROCEDURE two\nQ SHOW GRANTS\nQ SHOW ENGINES",
    ),
    ("utility statements", "Q DO 1, SLEEP(0)\nQ CHECK TABLE t\nQ ANALYZE TABLE c\nQ CHECKSUM TABLE t\nQ HELP 'nothing at all'\nQ FLUSH TABLES t\nQ OPTIMIZE TABLE c"),
    (
        "handlers",
        "Q HANDLER t OPEN\nQ HANDLER t READ FIRST\nQ HANDLER t READ `PRIMARY` NEXT\nQ HANDLER t READ `PRIMARY` = (3)\nQ HANDLER nothing READ FIRST\nQ HANDLER t CLOSE\nQ HANDLER t CLOSE",
    ),
    (
        "definitions",
        "Q CREATE TEMPORARY TABLE tt (a INT)\nQ INSERT INTO tt VALUES (1)\nQ ALTER TABLE tt ADD b VARCHAR(5) DEFAULT 'x'\nQ SELECT * FROM tt\nQ DROP TEMPORARY TABLE tt
         Q SELECT * FROM tt\nQ CREATE TABLE IF NOT EXISTS t (a INT)\nQ CREATE TABLE t (a INT)\nQ CREATE TABLE n (a INT, b INT AS (a + 1))\nQ INSERT INTO n (a) VALUES (1)
         Q RENAME TABLE n TO m\nQ SELECT * FROM m\nQ CREATE INDEX i ON m (b)\nQ DROP TABLE m\nQ CREATE DATABASE forbidden\nQ CREATE USER x",
    ),
    (
        "schemas",
        "Q SELECT DATABASE()\nD $SCHEMA\nD nothing\nQ SELECT DATABASE()\nD information_schema\nQ SELECT DATABASE()\nQ SELECT * FROM t\nQ USE $SCHEMA\nQ SELECT COUNT(*) FROM t\nD mysql\nD ",
    ),
    (
        "tracking the session",
        "Q SET session_track_schema = OFF\nQ USE information_schema\nQ SET session_track_schema = ON\nQ USE $SCHEMA\nQ SET session_track_system_variables = 'autocommit,lock_wait_timeout,character_set_client'
         Q SET autocommit = 1, lock_wait_timeout = 5\nQ SET NAMES latin1\nQ SET @a = 1\nQ SET session_track_state_change = ON\nQ SET @a = 2\nQ CREATE TEMPORARY TABLE x (a INT)\nQ SET session_track_system_variables = 'sql_mode'
         Q SET sql_mode = ''\nQ USE $SCHEMA\nP s SELECT 1\nE s\nD $SCHEMA\nreset\nQ SELECT @@session_track_system_variables",
    ),
    ("loading a file", "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE t (id, v)\nfile 7\\t70\\n8\\t80\\n\nQ SELECT * FROM t ORDER BY id\nQ LOAD DATA LOCAL INFILE 'any' INTO TABLE t (id, v)\nfile 1\\t1\\nx\\ty\\n\nQ SHOW WARNINGS"),
    ("loading a file among several", "Q SELECT 1; LOAD DATA LOCAL INFILE 'any' INTO TABLE t (id, v); SELECT COUNT(*) FROM t\nfile 7\\t70\\n\nQ SELECT 1"),
    ("loading a file that the client refuses", "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE t\nfile\nQ SELECT COUNT(*) FROM t\nQ LOAD DATA LOCAL INFILE 'any' INTO TABLE nothing\nQ LOAD DATA INFILE '/nowhere' INTO TABLE t"),
    ("a large file", "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE l (b)\nfile {some text of a line\\n*40000}\nQ SELECT COUNT(*), SUM(LENGTH(b)) FROM l"),
    ("other commands", "ping\nstat\nreset\nx 0e\nx 05\nx 06\nx 1e\nx 55\nx fe\nQ SELECT 1\nfields t\nfields nothing\nx 08\nx 0d\nQ SELECT 2"),
    ("a reset", "Q SET @a = 1\nQ BEGIN\nQ INSERT INTO t (v) VALUES (9)\nQ SET NAMES latin1\nreset\nQ SELECT @a, COUNT(*) FROM t\nQ SELECT 'ä', @@character_set_client"),
    ("another user", "Q SET @a = 1\nuser app app-password $SCHEMA\nQ SELECT @a, DATABASE(), CURRENT_USER()\nuser app app-password nothing"),
    (
        "another user who may not",
        "Q SET @a = 1\nQ SET autocommit = 0\nQ INSERT INTO t (v) VALUES (9)\nP s SELECT 1\nuser app wrong $SCHEMA\nQ SELECT @a, DATABASE(), CURRENT_USER(), @@autocommit\nE s
         Q INSERT INTO t (v) VALUES (10)\nQ SELECT v FROM t ORDER BY id\nuser app app-password $SCHEMA\nQ SELECT 2",
    ),
    ("our names in strings", "Q SELECT 'atone_begin()' AS atone_begin\nQ SELECT 1 -- atone_begin()\nQ SELECT \"SELECT atone_begin()\", 'SET @atone_xid = 1'\nQ SELECT atone_begin FROM (SELECT 1 AS atone_begin) z"),
    ("goodbye", "Q SELECT 1\nX"),
    ("ended by itself", "Q SELECT 1\nQ KILL CONNECTION_ID()\n<"),
    ("a statement ended by itself", "Q KILL QUERY CONNECTION_ID()\nQ SELECT 1\nQ KILL 99999999\nQ SELECT 2"),
    ("pipelined", "q SELECT 1\nq INSERT INTO t (v) VALUES (7)\nq SELECT broken\nq SELECT COUNT(*) FROM t\n< results\n< results\n< results\n< results"),
    ("too long", "Q SET max_statement_time = 0.05\nQ SET max_execution_time = 50\nQ SELECT COUNT(*) FROM t WHERE SLEEP(20)\nQ SELECT 1"),
];
