//! Sessions about local transactions and their flags in each status, in the language of `atone_tests::mysql::script`.

/// A name and what is said.
pub const TRANSACTIONS: &[(&str, &str)] = &[
    (
        "status flags",
        "Q BEGIN\nQ SELECT 1\nQ INSERT INTO t (v) VALUES (9)\nQ nonsense\nQ SELECT COUNT(*) FROM t\nping\nQ COMMIT\nping\nQ ROLLBACK",
    ),
    (
        "autocommit",
        "Q SET autocommit = 0\nQ SELECT 1\nQ SELECT id FROM t WHERE id = 1\nQ INSERT INTO t (v) VALUES (9)\nQ ROLLBACK\nQ INSERT INTO t (v) VALUES (8)\nQ SET autocommit = 1\nQ SELECT v FROM t ORDER BY id\nQ SET @@session.autocommit = OFF\nQ SELECT @@autocommit",
    ),
    (
        "kinds",
        "Q START TRANSACTION READ ONLY\nQ SELECT id FROM t WHERE id = 1\nQ INSERT INTO t (v) VALUES (9)\nQ COMMIT AND CHAIN\nQ DELETE FROM t\nQ ROLLBACK AND NO CHAIN\nQ START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE\nQ COMMIT WORK RELEASE\n<",
    ),
    (
        "levels",
        "Q SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY\nQ BEGIN\nQ SET TRANSACTION READ WRITE\nQ INSERT INTO t (v) VALUES (9)\nQ COMMIT\nQ SET SESSION TRANSACTION READ ONLY\nQ UPDATE t SET v = 1\nQ SET SESSION TRANSACTION READ WRITE\nQ UPDATE t SET v = 1 WHERE id = 1",
    ),
    (
        "savepoints",
        "Q SAVEPOINT a\nQ BEGIN\nQ SAVEPOINT a\nQ INSERT INTO t (v) VALUES (9)\nQ SAVEPOINT A\nQ INSERT INTO t VALUES (1, 1, 'x')\nQ ROLLBACK TO a\nQ RELEASE SAVEPOINT a\nQ ROLLBACK TO a\nQ SELECT COUNT(*) FROM t\nQ RELEASE SAVEPOINT nope\nQ COMMIT",
    ),
    (
        "implicit commits",
        "Q BEGIN\nQ INSERT INTO t (v) VALUES (9)\nQ CREATE TABLE m (a INT)\nQ ROLLBACK\nQ SELECT COUNT(*) FROM t\nQ BEGIN\nQ DELETE FROM c\nQ BEGIN\nQ ROLLBACK\nQ SELECT COUNT(*) FROM c\nQ BEGIN\nQ INSERT INTO t (v) VALUES (7)\nQ LOCK TABLES t READ\nQ ROLLBACK\nQ UNLOCK TABLES\nQ SELECT v FROM t ORDER BY id",
    ),
    (
        "locked tables",
        "Q LOCK TABLES t WRITE, c READ\nQ INSERT INTO t (v) VALUES (9)\nQ INSERT INTO c VALUES (9, 1)\nQ SELECT * FROM k\nQ BEGIN\nQ SELECT * FROM k LIMIT 0\nQ ROLLBACK\nQ UNLOCK TABLES",
    ),
    (
        "several at once",
        "Q BEGIN; INSERT INTO t (v) VALUES (5); SELECT broken; COMMIT\nQ SELECT 1\nQ ROLLBACK\nQ SELECT 1; BEGIN; SELECT 2; COMMIT; BEGIN; SELECT 3\nQ COMMIT",
    ),
    (
        "a lock that is not free",
        "Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\n2 Q SET innodb_lock_wait_timeout = 1\n2 Q UPDATE t SET v = 2 WHERE id = 1\n2 Q SELECT v FROM t WHERE id = 1 FOR UPDATE NOWAIT\n2 Q SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED\nQ COMMIT\n2 Q SELECT v FROM t WHERE id = 1 FOR UPDATE",
    ),
    (
        "a deadlock",
        "2 Q BEGIN\n2 Q INSERT INTO t (v) VALUES (4), (5), (6), (7), (8)\n2 Q UPDATE t SET v = 2 WHERE id = 2\nQ BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\nq UPDATE t SET v = 3 WHERE id = 2\n2 q UPDATE t SET v = 4 WHERE id = 1\n< results\n2 < results\nping\nQ ROLLBACK\n2 Q COMMIT",
    ),
    (
        "a lock that becomes free",
        "Q BEGIN\n2 Q BEGIN\nQ UPDATE t SET v = 1 WHERE id = 1\n2 Q UPDATE t SET v = 2 WHERE id = 2\n2 Q UPDATE t SET v = 3 WHERE id = 3\nq UPDATE t SET v = 4 WHERE id = 2\n2 Q ROLLBACK\n< results\nQ COMMIT",
    ),
    (
        "what others see",
        "Q BEGIN\nQ INSERT INTO t (v) VALUES (9)\n2 Q SELECT COUNT(*) FROM t\nQ COMMIT\n2 Q SELECT COUNT(*) FROM t\n2 Q SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED\nQ BEGIN\nQ DELETE FROM c\n2 Q SELECT COUNT(*) FROM c\nQ ROLLBACK",
    ),
    (
        "goodbye in a transaction",
        "Q BEGIN\nQ INSERT INTO t (v) VALUES (7)\nX\n2 Q SELECT id FROM t ORDER BY id FOR UPDATE",
    ),
    (
        "two phases",
        "Q XA START 'battery'\nQ INSERT INTO t (v) VALUES (7)\nQ COMMIT\nQ XA END 'battery'\nQ XA PREPARE 'battery'\nQ SELECT 1\nQ XA ROLLBACK 'battery'\nQ XA COMMIT 'nothing'\nQ SELECT COUNT(*) FROM t",
    ),
    (
        "tracked",
        "Q SET session_track_transaction_info = 'CHARACTERISTICS'\nQ BEGIN\nQ SELECT id FROM t WHERE id = 1\nQ INSERT INTO t (v) VALUES (7)\nQ COMMIT\nQ START TRANSACTION READ ONLY\nQ ROLLBACK\nQ SET session_track_transaction_info = 'STATE'\nQ SET autocommit = 0\nQ SELECT 1\nQ DELETE FROM c\nQ COMMIT",
    ),
    (
        "procedures inside",
        "Q BEGIN\nQ CALL two()\nQ CALL fails()\nQ ROLLBACK\nQ SELECT v FROM t WHERE id = 1\nQ SET autocommit = 0\nQ CALL fails()\nQ COMMIT",
    ),
];

/// Of clients that hear of every step of their local transactions.
pub const TRACKED: &[(&str, &str)] = &[
    (
        "tracked writes and reads",
        "Q SET session_track_transaction_info = 'STATE'\nQ UPDATE t SET v = 1 WHERE id = 1\nQ DELETE FROM t WHERE id = 99\nQ INSERT INTO t (v) VALUES (7)\nQ SELECT v FROM t WHERE id = 1 FOR UPDATE\nQ BEGIN\nQ UPDATE t SET v = 2 WHERE id = 1\nQ UPDATE t SET v = 3 WHERE id = 2\nping\nQ SET @a = 1\nQ SELECT 1\nQ SELECT v FROM t WHERE id = 1\nQ COMMIT
         Q BEGIN\nQ SELECT v FROM t WHERE id = 1 FOR UPDATE\nQ DELETE FROM t WHERE id = 3\nQ ROLLBACK\nQ SET autocommit = 0\nQ INSERT INTO t (v) VALUES (8)\nQ UPDATE t SET v = 'x' WHERE id = 1\nQ SHOW WARNINGS\nQ COMMIT\nQ SET autocommit = 1\nQ SELECT v FROM t\nQ INSERT INTO t VALUES (1, 1, 'x')\nping\nP a UPDATE t SET v = ? WHERE id = 1\nE a 5\nQ BEGIN\nE a 6\nE a 7\nQ COMMIT AND CHAIN\nE a 8\nQ ROLLBACK\nQ SET session_track_transaction_info = 'OFF'\nQ UPDATE t SET v = 9 WHERE id = 1",
    ),
];
