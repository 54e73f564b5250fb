//! Sessions that write outside global transactions, whose rows are asked about: nothing of that may show.

/// A name and what is said.
pub const GUARDED: &[(&str, &str)] = &[
    (
        "what writes leave to be asked for",
        "Q SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 1\nQ UPDATE t SET v = 11 WHERE id = 1\nQ SELECT FOUND_ROWS()\nQ SELECT id FROM t\nQ BEGIN
         Q UPDATE t SET v = 12 WHERE id = 1\nQ UPDATE t SET v = 13 WHERE id > 1\nQ SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()\nQ SELECT v FROM t\nQ DELETE FROM c WHERE id = 1\nQ COMMIT\nQ SELECT FOUND_ROWS()
         Q INSERT INTO t (v, s) VALUES (5, 'a'), (6, 'b')\nQ SELECT ROW_COUNT() AS r, LAST_INSERT_ID() l\nQ DELETE FROM t WHERE v = 5\nQ SELECT ROW_COUNT()\nQ SELECT ROW_COUNT()\nQ SELECT id FROM t\nQ DELETE FROM t WHERE v = 6\nQ SELECT FOUND_ROWS()\nQ UPDATE t SET v = v\nQ SELECT FOUND_ROWS()\nQ SELECT id FROM t\nQ REPLACE INTO t VALUES (1, 1, 'x')\nQ SELECT FOUND_ROWS()",
    ),
    (
        "writes that match nothing or change nothing",
        "Q UPDATE t SET v = 1 WHERE id = 99\nQ UPDATE t SET v = v\nQ DELETE FROM t WHERE id = 99\nQ BEGIN\nQ UPDATE t SET v = 1 WHERE id = 99\nQ SELECT ROW_COUNT()\nQ COMMIT\nQ INSERT INTO t SELECT id + 9, v, s FROM t WHERE FALSE",
    ),
    (
        "writes that warn",
        "Q SET sql_mode = ''\nQ UPDATE t SET v = 'x', s = REPEAT('y', 30) WHERE id = 1\nQ SHOW WARNINGS LIMIT 1\nQ SHOW WARNINGS\nQ SHOW COUNT(*) WARNINGS\nQ SHOW ERRORS
         Q UPDATE t SET v = 'x' WHERE id = 2\nQ SELECT @@warning_count, @@error_count\nQ INSERT IGNORE INTO t VALUES (1, 1, 'x'), (80, 1, 'x')\nQ SHOW WARNINGS\nQ REPLACE INTO t VALUES (80, 'y', 'y')\nQ SELECT @@warning_count AS w, ROW_COUNT()
         Q BEGIN\nQ INSERT INTO t (v) VALUES ('z')\nQ SHOW WARNINGS\nQ ROLLBACK",
    ),
    (
        "writes that fail",
        "Q INSERT INTO t VALUES (1, 1, 'x')\nQ SHOW ERRORS\nQ SHOW COUNT(*) ERRORS\nQ UPDATE t SET id = 1 WHERE id = 2\nQ SELECT @@error_count\nQ UPDATE t SET nope = 1\nQ SHOW WARNINGS\nQ UPDATE t SET v = 1 WHERE nope = 1\nQ UPDATE nothing SET v = 1
         Q DELETE FROM t WHERE id = 1\nQ SELECT ROW_COUNT()\nQ UPDATE t SET v = 99999999999 WHERE id = 1\nQ UPDATE t SET v = 1 WHERE id = 1 WHERE\nQ BEGIN\nQ UPDATE t SET id = 1 WHERE id = 2\nQ SHOW WARNINGS\nQ UPDATE t SET v = 3 WHERE id = 2\nQ COMMIT",
    ),
    (
        "keys that are taken, given, and replaced",
        "Q INSERT INTO t (id, v) VALUES (1, 7) ON DUPLICATE KEY UPDATE v = 7\nQ SELECT ROW_COUNT(), LAST_INSERT_ID()\nQ INSERT INTO t (v) VALUES (8) ON DUPLICATE KEY UPDATE v = 9\nQ SELECT LAST_INSERT_ID()\nQ REPLACE INTO t VALUES (2, 2, 'x')
         Q INSERT INTO t (id, v) VALUES (NULL, 1), (50, 2), (NULL, 3)\nQ SELECT LAST_INSERT_ID()\nQ INSERT INTO t (v) VALUES (LAST_INSERT_ID()), (12)\nQ UPDATE t SET id = id + 100 WHERE id > 2\nQ UPDATE t SET id = LAST_INSERT_ID(300) WHERE id = 2\nQ SELECT LAST_INSERT_ID()",
    ),
    (
        "local transactions and savepoints",
        "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nQ SAVEPOINT a\nQ DELETE FROM t WHERE id = 3\nQ ROLLBACK TO a\nQ RELEASE SAVEPOINT a\nQ ROLLBACK TO a\nQ COMMIT AND CHAIN\nQ UPDATE t SET v = 2 WHERE id = 2\nQ ROLLBACK AND CHAIN\nQ INSERT INTO t (v) VALUES (3)
         Q CREATE TABLE implied (a INT)\nQ ROLLBACK\nQ BEGIN\nQ UPDATE t SET v = 4 WHERE id = 1\nQ START TRANSACTION READ ONLY\nQ UPDATE t SET v = 5 WHERE id = 1\nQ COMMIT\nQ SELECT v FROM t ORDER BY id",
    ),
    (
        "without autocommit",
        "Q SET autocommit = 0\nQ UPDATE t SET v = 1 WHERE id = 1\nQ SELECT ROW_COUNT()\nQ INSERT INTO t VALUES (1, 1, 'x')\nQ SHOW WARNINGS\nQ ROLLBACK\nQ DELETE FROM c\nQ SET autocommit = 1\nQ SELECT COUNT(*) FROM c\nQ SET TRANSACTION READ ONLY\nQ UPDATE t SET v = 2 WHERE id = 1",
    ),
    (
        "several that write",
        "Q UPDATE t SET v = 1 WHERE id = 1; SELECT ROW_COUNT(); INSERT INTO t (v) VALUES (4), (5); SELECT LAST_INSERT_ID(), ROW_COUNT(); SHOW WARNINGS
         Q BEGIN; DELETE FROM t WHERE id = 2; SAVEPOINT s; DELETE FROM t WHERE id = 3; ROLLBACK TO s; COMMIT\nQ SELECT id FROM t ORDER BY id\nQ UPDATE t SET v = 2; UPDATE t SET id = 1; SELECT 3
         Q UPDATE t SET v = 3; SELEC 1; SELECT 2\nQ CALL two(); UPDATE t SET v = 6 WHERE id = 1; CALL fails(); SELECT 1\nQ UPDATE t SET v = 7 WHERE id = 1; -- end\nQ UPDATE t SET s = ';' WHERE id = 1;\nQ UPDATE t SET v = 8 WHERE id = 1;;SELECT 1",
    ),
    (
        "several that are not allowed",
        "opt 1\nQ UPDATE t SET v = 5 WHERE id = 1\nQ UPDATE t SET v = 6 WHERE id = 1; UPDATE t SET v = 7 WHERE id = 1\nQ UPDATE t SET v = 8 WHERE id = 1; -- end\nQ UPDATE t SET v = 9 WHERE id = 1;\nQ SELECT 1; SELECT 2\nQ SELECT v FROM t WHERE id = 1\nopt 0\nQ SELECT 1; SELECT 2",
    ),
    (
        "tables that are locked",
        "Q LOCK TABLES t WRITE\nQ UPDATE t SET v = 1 WHERE id = 1\nQ SELECT v FROM t WHERE id = 1\nQ UPDATE c SET t_id = 1\nQ INSERT INTO t (v) VALUES (4)\nQ UNLOCK TABLES\nQ UPDATE t SET v = 2 WHERE id = 1\nQ LOCK TABLES t READ\nQ UPDATE t SET v = 3\nQ BEGIN\nQ UPDATE t SET v = 4 WHERE id = 1\nQ UNLOCK TABLES\nQ ROLLBACK",
    ),
    (
        "other tables",
        "Q CREATE TEMPORARY TABLE x (id INT PRIMARY KEY, v INT)\nQ INSERT INTO x VALUES (1, 1), (2, 2)\nQ UPDATE x SET v = 3\nQ SELECT ROW_COUNT()\nQ CREATE TABLE m (id INT PRIMARY KEY) ENGINE = MyISAM\nQ INSERT INTO m VALUES (1), (2)\nQ DELETE FROM m WHERE id = 1
         Q CREATE TABLE n (a INT)\nQ INSERT INTO n VALUES (1), (2)\nQ UPDATE n SET a = 3\nQ UPDATE w SET s = 'seen' WHERE id = 1\nQ DELETE n, x FROM n JOIN x ON n.a = x.v",
    ),
    (
        "reads that lock",
        "Q SELECT id, v FROM t FOR UPDATE\nQ SELECT FOUND_ROWS(), ROW_COUNT()\nQ SELECT * FROM t ORDER BY id DESC LIMIT 2 FOR UPDATE\nQ SELECT COUNT(*), SUM(v) FROM t LOCK IN SHARE MODE\nQ SELECT t.id, c.id FROM t LEFT JOIN c ON c.t_id = t.id FOR UPDATE
         Q SELECT id FROM t WHERE id = 99 FOR UPDATE\nQ SELECT nope FROM t FOR UPDATE\nQ BEGIN\nQ SELECT s FROM t WHERE id = 1 FOR UPDATE\nQ SELECT FOUND_ROWS()\nQ UPDATE t SET v = 1 WHERE id = 1\nQ COMMIT\nQ SELECT 'x' + 1, id FROM t FOR UPDATE\nQ SHOW WARNINGS
         P a SELECT id, s FROM t WHERE id >= ? FOR UPDATE\nE a 2\nE a 99\nO a 1\nF a 9\nQ SELECT * FROM w FOR UPDATE",
    ),
    (
        "prepared",
        "Q SELECT id FROM t\nP a UPDATE t SET v = ? WHERE id = ?\nE a 5 | 1\nE a 5 | 1\nE a 6 | 99\nA a 7 | 2\nQ SELECT ROW_COUNT(), FOUND_ROWS()\nP i INSERT INTO t (v, s) VALUES (?, ?)\nE i 1 | 'x\nE i 1 | 'x\nQ SHOW WARNINGS\nE i NULL | NULL\nQ SELECT LAST_INSERT_ID()
         P d DELETE FROM t WHERE s = ?\nE d 'x\nL d 0 ten\nE d '\nQ BEGIN\nE a 8 | 3\nP c COMMIT\nE c\nP n SELECT ROW_COUNT(), LAST_INSERT_ID()\nE a 9 | 3\nE n\nP r REPLACE INTO t VALUES (?, 1, 'r')\nE r 3\nE r 4\nP x CALL two()\nE x",
    ),
];
