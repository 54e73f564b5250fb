//! What of the battery a global transaction answers otherwise: refusals, by how the lines begin.

/// Sessions, and how their refused lines begin, in order.
pub type Refused = &'static [(&'static str, &'static [&'static str])];

/// Of statements as text.
pub const TEXT: Refused = &[
    ("comments", &["Q /*! SELECT 1 */", "Q /*!99999 broken */ SELECT 2", "Q /*M! SELECT 3 */"]),
    ("errors of names", &["Q CALL nothing()", "Q DROP TABLE nothing"]),
    ("errors of constraints", &["Q INSERT INTO t VALUES (1)"]),
    ("wrong arguments", &["Q CALL sums(1)"]),
    ("warnings", &["Q DROP TABLE IF EXISTS nothing", "Q GET DIAGNOSTICS @n = NUMBER"]),
    (
        "loose mode",
        &["Q INSERT IGNORE INTO t VALUES (1, 1, 'x'), (", "Q UPDATE IGNORE t SET id = 1 WHERE id = 2"],
    ),
    (
        "info strings",
        &[
            "Q INSERT INTO t SELECT id + 50, v, s FROM t",
            "Q REPLACE INTO t VALUES (3, 5, 'n'), (90, 6,",
            "Q ALTER TABLE t ADD z INT",
            "Q INSERT INTO t (id, v) VALUES (1, 7) ON DUP",
            "Q CREATE TABLE made AS SELECT id FROM t",
            "Q TRUNCATE made",
        ],
    ),
    ("last ids and counts", &["Q UPDATE t SET id = LAST_INSERT_ID(id + 100)"]),
    ("several statements", &["Q SELECT 'a;b'; SELECT \";\"; SELECT `id` FR"]),
    (
        "procedures",
        &[
            "Q CALL two()",
            "Q CALL sums(3, @b, @s)",
            "Q CALL fails()",
            "Q CALL two(); SELECT 1; CALL sums(1, @b, @s)",
            "Q CALL two(); CALL fails(); SELECT 2",
        ],
    ),
    (
        "functions and triggers",
        &[
            "Q CREATE FUNCTION f(a INT) RETURNS INT DETER",
            "Q CREATE TRIGGER tr BEFORE INSERT ON t FOR E",
            "Q DROP TRIGGER tr",
            "Q DROP FUNCTION f",
        ],
    ),
    ("character sets", &["Q SELECT * FROM `{#e4}`", "Q SELECT '{#bf5c}'"]),
    (
        "utility statements",
        &[
            "Q CHECK TABLE t",
            "Q ANALYZE TABLE c",
            "Q CHECKSUM TABLE t",
            "Q FLUSH TABLES",
            "Q OPTIMIZE TABLE c",
        ],
    ),
    (
        "handlers",
        &[
            "Q HANDLER t OPEN",
            "Q HANDLER t READ FIRST",
            "Q HANDLER t READ `PRIMARY` NEXT",
            "Q HANDLER t READ `PRIMARY` = (3)",
            "Q HANDLER nothing READ FIRST",
            "Q HANDLER t CLOSE",
            "Q HANDLER t CLOSE",
        ],
    ),
    (
        "definitions",
        &[
            "Q CREATE TEMPORARY TABLE tt (a INT)",
            "Q ALTER TABLE tt ADD b VARCHAR(5) DEFAULT 'x",
            "Q DROP TEMPORARY TABLE tt",
            "Q CREATE TABLE IF NOT EXISTS t (a INT)",
            "Q CREATE TABLE t (a INT)",
            "Q CREATE TABLE n (a INT, b INT AS (a + 1))",
            "Q RENAME TABLE n TO m",
            "Q CREATE INDEX i ON m (b)",
            "Q DROP TABLE m",
            "Q CREATE DATABASE forbidden",
            "Q CREATE USER x",
        ],
    ),
    (
        "tracking the session",
        &["Q SET autocommit = 1, lock_wait_timeout = 5", "Q CREATE TEMPORARY TABLE x (a INT)"],
    ),
    (
        "loading a file",
        &["Q LOAD DATA LOCAL INFILE 'any' INTO TABLE t", "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE t"],
    ),
    ("loading a file among several", &["Q SELECT 1; LOAD DATA LOCAL INFILE 'any' INT"]),
    (
        "loading a file that the client refuses",
        &[
            "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE t",
            "Q LOAD DATA LOCAL INFILE 'any' INTO TABLE no",
            "Q LOAD DATA INFILE '/nowhere' INTO TABLE t",
        ],
    ),
    ("a large file", &["Q LOAD DATA LOCAL INFILE 'any' INTO TABLE l"]),
];

/// Of prepared statements.
pub const BINARY: Refused = &[
    ("unknown statements", &["E 999", "E a"]),
    ("too few parameters", &["E a 1", "E a", "A a 3"]),
    ("a time that is cut short", &["E a 12:0be80702"]),
    ("without types at first", &["A a 1"]),
    ("cursors and errors", &["O d"]),
    ("procedures", &["E a", "E a", "E b", "E c 3"]),
    ("procedures that give back", &["E a 3 | 4 | 'x", "E a 5 | 6 | NULL"]),
    ("statements prepared in text", &["Q EXECUTE p USING @a", "Q EXECUTE p", "Q EXECUTE p"]),
    (
        "a table that changes under a statement",
        &["Q ALTER TABLE t ADD z INT", "Q ALTER TABLE t DROP z, DROP s", "Q DROP TABLE c, t"],
    ),
    ("empty and short commands", &["x 17", "x 1700"]),
];

/// The same for MySQL, which does not prepare them itself.
pub const BINARY_BY_MYSQL: Refused = &[("warnings", &["E w"]), ("transactions", &["E b", "E s", "E r"])];

/// Of local transactions.
pub const TRANSACTIONS: Refused = &[
    // The other session is told of the global lock.
    ("a lock that is not free", &["Q SELECT v FROM t WHERE id = 1 FOR UPDATE"]),
    ("implicit commits", &["Q CREATE TABLE m (a INT)", "Q LOCK TABLES t READ", "Q UNLOCK TABLES"]),
    ("locked tables", &["Q LOCK TABLES t WRITE, c READ", "Q UNLOCK TABLES"]),
    (
        "two phases",
        &[
            "Q XA START 'battery'",
            "Q XA END 'battery'",
            "Q XA PREPARE 'battery'",
            "Q XA ROLLBACK 'battery'",
            "Q XA COMMIT 'nothing'",
        ],
    ),
    ("procedures inside", &["Q CALL two()", "Q CALL fails()", "Q CALL fails()"]),
];

/// Of writes that are only asked about outside.
pub const GUARDED: Refused = &[
    ("what writes leave to be asked for", &["Q REPLACE INTO t VALUES (1, 1, 'x')"]),
    (
        "writes that match nothing or change nothing",
        &["Q INSERT INTO t SELECT id + 9, v, s FROM t WHERE FAL"],
    ),
    (
        "writes that warn",
        &["Q INSERT IGNORE INTO t VALUES (1, 1, 'x'), (80", "Q REPLACE INTO t VALUES (80, 'y', 'y')"],
    ),
    (
        "keys that are taken, given, and replaced",
        &[
            "Q INSERT INTO t (id, v) VALUES (1, 7) ON DUPL",
            "Q INSERT INTO t (v) VALUES (8) ON DUPLICATE K",
            "Q REPLACE INTO t VALUES (2, 2, 'x')",
            "Q UPDATE t SET id = LAST_INSERT_ID(300) WHERE",
        ],
    ),
    ("local transactions and savepoints", &["Q CREATE TABLE implied (a INT)"]),
    (
        "tables that are locked",
        &["Q LOCK TABLES t WRITE", "Q UNLOCK TABLES", "Q LOCK TABLES t READ", "Q UNLOCK TABLES"],
    ),
    (
        "other tables",
        &[
            "Q CREATE TEMPORARY TABLE x (id INT PRIMARY KE",
            "Q CREATE TABLE m (id INT PRIMARY KEY) ENGINE ",
            "Q CREATE TABLE n (a INT)",
            "Q UPDATE w SET s = 'seen' WHERE id = 1",
            "Q DELETE n, x FROM n JOIN x ON n.a = x.v",
        ],
    ),
    ("prepared", &["E r 3", "E r 4", "E x"]),
    (
        "several that write",
        &["Q CALL two(); UPDATE t SET v = 6 WHERE id = 1", "Q UPDATE t SET v = 8 WHERE id = 1;;SELECT 1"],
    ),
    ("reads that lock", &["O a 1", "Q SELECT * FROM w FOR UPDATE"]),
];
