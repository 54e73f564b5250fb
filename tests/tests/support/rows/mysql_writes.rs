//! Writes in MySQL's language.

use super::{Section, row, rows, section};

/// A key and a unique key, generated numbers, a column that changes by itself; and tables to join.
pub const KV: &str =
    "CREATE TABLE kv (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, v INT,
  upd TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6));
INSERT INTO kv (id, name, v) VALUES (3002, 'dup', 1), (3003, 'x', 2);
CREATE TABLE other (id INT PRIMARY KEY, v INT);
INSERT INTO other VALUES (1, 1), (2, 5), (3002, 7)";

pub fn sections() -> Vec<Section> {
    vec![
        section(
            "INSERT, REPLACE, LOAD DATA",
            KV,
            vec![
                row("generated key", "INSERT INTO kv (name, v) VALUES ('a', 1), ('b', 2)"),
                row("INSERT … SET", "INSERT INTO kv SET name = 'a', v = 1"),
                row("names in another case", "INSERT INTO kv (`ID`, `Name`, v) VALUES (60, 'q', 1)"),
                row("given and generated keys mixed", "INSERT INTO kv (id, name) VALUES (NULL, 'a'), (5000, 'b'), (0, 'c'), (DEFAULT, 'd')"),
                row("computed key", "INSERT INTO other VALUES (40 + 2, 1), (LENGTH('abcdefghi'), 1)"),
                rows("key from LAST_INSERT_ID()", &["INSERT INTO kv (name) VALUES ('a')", "INSERT INTO other VALUES (LAST_INSERT_ID() + 1, 1)"]),
                row("key from RAND()", "INSERT INTO other VALUES (FLOOR(RAND() * 1000) + 10, 1)"),
                row("key from a subquery", "INSERT INTO other VALUES ((SELECT MAX(id) + 1 FROM kv), 1)"),
                row("value from a subquery", "INSERT INTO kv (name, v) VALUES ('e', (SELECT MAX(v) FROM other))"),
                row("VALUES ROW()", "INSERT INTO kv (name, v) VALUES ROW('a', 1), ROW('b', 2)"),
                row("INSERT … SELECT", "INSERT INTO kv (name, v) SELECT CONCAT(name, '_c'), v FROM kv"),
                row("INSERT … SELECT of another table", "INSERT INTO other SELECT v + 100, v FROM kv"),
                row("INSERT … TABLE", "INSERT INTO other (id, v) TABLE numbers").on("CREATE TABLE numbers (id INT PRIMARY KEY, v INT);\nINSERT INTO numbers VALUES (70, 7)"),
                row("INSERT IGNORE", "INSERT IGNORE INTO kv (id, name, v) VALUES (3002, 'y', 9), (7, 'new', 9)"),
                row("ON DUPLICATE KEY UPDATE", "INSERT INTO kv (id, name, v) VALUES (1, 'dup', 5), (8, 'fresh', 5) ON DUPLICATE KEY UPDATE v = VALUES(v)"),
                row("ON DUPLICATE KEY UPDATE of the key to itself", "INSERT INTO kv (id, name, v) VALUES (3002, 'dup', 13) ON DUPLICATE KEY UPDATE id = VALUES(id), v = 13"),
                row("ON DUPLICATE KEY UPDATE with LAST_INSERT_ID(id)", "INSERT INTO kv (name, v) VALUES ('dup', 1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = v + 1"),
                row("REPLACE", "REPLACE INTO kv (id, name, v) VALUES (50, 'dup', 2)"),
                row("REPLACE … SET", "REPLACE INTO kv SET id = 50, name = 'dup'"),
                row("REPLACE … SELECT", "REPLACE INTO other SELECT id, v FROM kv"),
                row("INSERT … RETURNING", "INSERT INTO kv (name) VALUES ('r') RETURNING id"),
                row("REPLACE … RETURNING", "REPLACE INTO other VALUES (1, 9) RETURNING id"),
                row("INSERT LOW_PRIORITY", "INSERT LOW_PRIORITY INTO other VALUES (9, 9)"),
                row("LOAD DATA INFILE", "LOAD DATA INFILE '/tmp/rows' INTO TABLE other").unchecked(),
                row("LOAD DATA LOCAL INFILE", "LOAD DATA LOCAL INFILE '/tmp/rows' INTO TABLE other").unchecked(),
            ],
        ),
        section(
            "UPDATE",
            KV,
            vec![
                row("by key", "UPDATE kv SET v = 9 WHERE id = 3002"),
                row("all rows", "UPDATE kv SET v = 1"),
                row("some rows, others as they are", "UPDATE kv SET v = 2"),
                row("ORDER BY … LIMIT", "UPDATE kv SET v = 9 WHERE v > 0 ORDER BY id DESC LIMIT 1"),
                row("alias", "UPDATE kv t SET t.V = t.V + 10 WHERE t.ID = 3002"),
                row("rows found by RAND()", "UPDATE kv SET v = v + 1 WHERE RAND() < 2"),
                row("rows found by the time", "UPDATE kv SET v = 0 WHERE COALESCE(upd, '2000-01-01') < NOW(6)"),
                row("rows found by a subquery", "UPDATE kv SET v = v + 1 WHERE id IN (SELECT id FROM (SELECT id FROM kv WHERE v = 1) z)"),
                row("value from a subquery", "UPDATE kv SET v = (SELECT MAX(v) FROM other)"),
                rows("user variables", &["SET @n = 10", "UPDATE kv SET v = (@n := @n + 1) ORDER BY id"]),
                row("the key", "UPDATE kv SET id = 4000 WHERE name = 'dup' AND id = 3002"),
                row("the keys of all rows", "UPDATE kv SET id = id + 1 ORDER BY id DESC"),
                row("the key to itself", "UPDATE kv SET id = id, v = 8 WHERE id = 3002"),
                row("the key from a subquery", "UPDATE other SET id = (SELECT MAX(id) + 1 FROM kv) WHERE id = 1"),
                row("a unique key", "UPDATE kv SET name = CONCAT(name, '!')"),
                row("UPDATE IGNORE", "UPDATE IGNORE kv SET name = 'x'"),
                row("UPDATE LOW_PRIORITY", "UPDATE LOW_PRIORITY kv SET v = 9"),
                row("several tables", "UPDATE kv, other SET kv.v = 9, other.v = 9 WHERE other.id = kv.id"),
                row("JOIN", "UPDATE kv JOIN other ON kv.id = other.id SET kv.v = other.v"),
                row("LEFT JOIN", "UPDATE kv LEFT JOIN other ON kv.id = other.id SET kv.v = 1, other.v = 0"),
                row("JOIN with itself", "UPDATE kv a JOIN kv b ON a.id = b.id + 1 SET a.v = b.v + 7"),
                row("WITH before it", "WITH c AS (SELECT 3002 AS id) UPDATE kv SET v = 5 WHERE id IN (SELECT id FROM c)"),
                row("FOR PORTION OF", "UPDATE p FOR PORTION OF span FROM '2024-02-01' TO '2024-03-01' SET v = 2")
                    .on("CREATE TABLE p (id INT, a DATE, b DATE, v INT, PERIOD FOR span (a, b), PRIMARY KEY (id, span WITHOUT OVERLAPS));\nINSERT INTO p VALUES (1, '2024-01-01', '2024-12-31', 1)"),
            ],
        ),
        section(
            "DELETE",
            KV,
            vec![
                row("by key", "DELETE FROM kv WHERE id = 3002"),
                row("all rows", "DELETE FROM kv"),
                row("ORDER BY … LIMIT", "DELETE FROM kv ORDER BY v LIMIT 1"),
                row("rows found by a subquery", "DELETE FROM kv WHERE id IN (SELECT id FROM other)"),
                row("alias", "DELETE FROM kv AS a WHERE a.name = 'dup'"),
                row("DELETE a FROM … a", "DELETE a FROM kv a WHERE a.name = 'dup'"),
                row("JOIN", "DELETE kv FROM kv JOIN other ON kv.id = other.id"),
                row("USING", "DELETE FROM kv USING kv JOIN other ON kv.id = other.id"),
                row("several tables", "DELETE kv, other FROM kv JOIN other ON kv.id = other.id"),
                row("DELETE … RETURNING", "DELETE FROM kv WHERE id = 3002 RETURNING id"),
                row("DELETE QUICK", "DELETE QUICK FROM kv WHERE id = 3002"),
                row("DELETE IGNORE", "DELETE IGNORE FROM kv WHERE id = 3002"),
                row("WITH before it", "WITH c AS (SELECT 3002 AS id) DELETE FROM kv WHERE id IN (SELECT id FROM c)"),
                rows("and the same key again", &["DELETE FROM kv WHERE id = 3002", "INSERT INTO kv (id, name, v) VALUES (3002, 'dup', 1)", "UPDATE kv SET v = 3"]),
            ],
        ),
        section(
            "Local transactions",
            KV,
            vec![
                rows("BEGIN … COMMIT", &["BEGIN", "UPDATE kv SET v = 5", "INSERT INTO kv (name) VALUES ('a')", "DELETE FROM other", "COMMIT"]),
                rows("autocommit off", &["SET autocommit = 0", "UPDATE kv SET v = 5", "COMMIT", "SET autocommit = 1"]),
                rows(
                    "SAVEPOINT, ROLLBACK TO, RELEASE",
                    &["BEGIN", "UPDATE kv SET v = 5", "SAVEPOINT a", "DELETE FROM kv", "SAVEPOINT b", "DELETE FROM other", "ROLLBACK TO b", "RELEASE SAVEPOINT b", "ROLLBACK TO a", "UPDATE other SET v = 0", "COMMIT"],
                ),
                rows("COMMIT AND CHAIN", &["BEGIN", "UPDATE kv SET v = 5", "COMMIT AND CHAIN", "UPDATE kv SET v = 6", "COMMIT"]),
                rows("a local ROLLBACK", &["BEGIN", "UPDATE kv SET v = 5", "ROLLBACK"]),
                rows("SERIALIZABLE", &["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN", "UPDATE kv SET v = 5", "COMMIT"]),
                rows("READ COMMITTED", &["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN", "UPDATE kv SET v = 5", "COMMIT"]),
                row("several writes in one text", "UPDATE kv SET v = 5; DELETE FROM other WHERE id = 1"),
                rows("XA", &["XA START 'x'", "UPDATE kv SET v = 5", "XA END 'x'", "XA COMMIT 'x' ONE PHASE"]),
                rows("LOCK TABLES", &["LOCK TABLES kv WRITE", "UPDATE kv SET v = 5", "UNLOCK TABLES"]),
            ],
        ),
        section(
            "SQL in SQL",
            KV,
            vec![
                rows("PREPARE and EXECUTE of a write", &["PREPARE p FROM 'UPDATE kv SET v = 99'", "EXECUTE p"]),
                rows("PREPARE and EXECUTE of a read", &["PREPARE p FROM 'SELECT v FROM kv'", "EXECUTE p"]),
                row("EXECUTE of what was prepared before", "EXECUTE p").after(&["PREPARE p FROM 'UPDATE kv SET v = 99'"]),
                row("EXECUTE IMMEDIATE", "EXECUTE IMMEDIATE 'UPDATE kv SET v = 99'"),
                row("compound statement", "BEGIN NOT ATOMIC UPDATE kv SET v = 99; END"),
                row("SET STATEMENT … FOR", "SET STATEMENT max_statement_time = 9 FOR UPDATE kv SET v = 99"),
                row("version comment", "/*!50000 UPDATE kv SET v = 99 */"),
                row("optimizer hint", "UPDATE /*+ NO_MERGE() */ kv SET v = 99"),
                row("CALL of a procedure", "CALL bump()").on("CREATE PROCEDURE bump() UPDATE kv SET v = v + 1"),
                row("a function that writes, in a read", "SELECT bump()").on(FUNCTION),
                row("a function that writes, in a write", "UPDATE kv SET v = bump()").on(FUNCTION),
                row("a function that writes, in DO", "DO bump()").on(FUNCTION),
                row("a function that writes, in SET", "SET @x = bump()").on(FUNCTION),
                row("a function that writes, in SHOW", "SHOW TABLES WHERE bump() = 1").on(FUNCTION),
                row("a function that writes, in EXPLAIN", "EXPLAIN SELECT * FROM (SELECT bump() LIMIT 1) z").on(FUNCTION),
                row("a function that writes, in a view", "SELECT * FROM seen").on(&format!("{FUNCTION};\nCREATE VIEW seen AS SELECT bump()"))
                    // A view made behind the proxy's back is noticed within a second.
                    .after(&["SELECT SLEEP(1.1)"]),
                row("a function that only reads, in a read", "SELECT look()").on("CREATE FUNCTION look() RETURNS INT READS SQL DATA RETURN (SELECT MAX(v) FROM other)"),
            ],
        ),
    ]
}

const FUNCTION: &str =
    "CREATE FUNCTION bump() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE other SET v = v + 1; RETURN 1; END";
