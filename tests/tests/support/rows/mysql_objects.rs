//! Tables of all sorts, reads, and what is no DML, in MySQL's language.

use super::mysql_writes::KV;
use super::{Section, row, rows, section};

const BUMP: &str = "FOR EACH ROW UPDATE other SET v = v + 1";

pub fn sections() -> Vec<Section> {
    vec![
        section(
            "Tables",
            "",
            vec![
                rows("composite key", &["INSERT INTO ur VALUES (3, 3)", "DELETE FROM ur WHERE role_id = 1", "INSERT INTO ur VALUES (1, 1)"])
                    .on("CREATE TABLE ur (user_id INT, role_id INT, PRIMARY KEY (user_id, role_id));\nINSERT INTO ur VALUES (1, 1), (2, 1), (1, 2)"),
                row("composite key, part of it generated", "INSERT INTO mp (user_id, m) VALUES ('u', 1), ('v', 2)")
                    .on("CREATE TABLE mp (id INT AUTO_INCREMENT, user_id VARCHAR(32), m INT, PRIMARY KEY (id, user_id))"),
                rows("unique key of NOT NULL columns instead of a primary key", &["UPDATE u SET b = 9", "DELETE FROM u WHERE a = 1", "INSERT INTO u VALUES (5, 5)"])
                    .on("CREATE TABLE u (a INT NOT NULL, b INT, UNIQUE (a));\nINSERT INTO u VALUES (1, 1), (2, 2)"),
                row("unique key with NULLs", "UPDATE u SET b = 9").on("CREATE TABLE u (a INT, b INT, UNIQUE (a));\nINSERT INTO u VALUES (1, 1)"),
                row("no key", "UPDATE u SET b = 9").on("CREATE TABLE u (a INT, b INT);\nINSERT INTO u VALUES (1, 1)"),
                row("key of a column's prefix", "UPDATE u SET b = 9").on("CREATE TABLE u (a VARCHAR(50), b INT, PRIMARY KEY (a(5)));\nINSERT INTO u VALUES ('abc', 1)"),
                row("assignment to a key that is a column's prefix", "UPDATE u SET a = 'z'").on("CREATE TABLE u (a VARCHAR(50), b INT, PRIMARY KEY (a(5)));\nINSERT INTO u VALUES ('abc', 1)"),
                rows("odd names", &["UPDATE `order` SET `desc` = 'x', `a``b` = 2", "DELETE FROM `order` WHERE `in` = 'k'"])
                    .on("CREATE TABLE `order` (`in` VARCHAR(45) PRIMARY KEY, `desc` VARCHAR(45), `current_ quantity` INT, `a``b` INT);\nINSERT INTO `order` VALUES ('k', 'd', 1, 1), ('l', 'd', 2, 2)"),
                rows("generated columns", &["UPDATE g SET c = 5", "DELETE FROM g"])
                    .on("CREATE TABLE g (id INT PRIMARY KEY, c INT, s INT GENERATED ALWAYS AS (c * 2) STORED, w INT GENERATED ALWAYS AS (c * 3) VIRTUAL);\nINSERT INTO g (id, c) VALUES (1, 1), (2, NULL)"),
                rows("invisible column", &["UPDATE g SET c = 5", "DELETE FROM g"]).on("CREATE TABLE g (id INT PRIMARY KEY, c INT, h INT DEFAULT 7 INVISIBLE);\nINSERT INTO g (id, c, h) VALUES (1, 1, 8)"),
                rows("CHECK constraint", &["UPDATE g SET c = 5"]).on("CREATE TABLE g (id INT PRIMARY KEY, c INT CHECK (c > 0));\nINSERT INTO g VALUES (1, 1)"),
                rows("partitioned; rows that move", &["UPDATE p SET a = a + 10", "INSERT INTO p VALUES (25, 1)"])
                    .on("CREATE TABLE p (a INT PRIMARY KEY, v INT) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE);\nINSERT INTO p VALUES (1, 1), (2, 2)"),
                row("one partition by name", "UPDATE p PARTITION (p0) SET v = 9").on("CREATE TABLE p (a INT PRIMARY KEY, v INT) PARTITION BY HASH (a) PARTITIONS 2;\nINSERT INTO p VALUES (1, 1), (2, 2)"),
                row("trigger", "UPDATE hot SET v = 9").on(&format!("CREATE TABLE hot (id INT PRIMARY KEY, v INT);\nINSERT INTO hot VALUES (1, 1);\nCREATE TABLE other (id INT PRIMARY KEY, v INT);\nCREATE TRIGGER tr AFTER UPDATE ON hot {BUMP}")),
                row("trigger of another event", "INSERT INTO hot VALUES (2, 2)").on(&format!("CREATE TABLE hot (id INT PRIMARY KEY, v INT);\nCREATE TABLE other (id INT PRIMARY KEY, v INT);\nCREATE TRIGGER tr AFTER UPDATE ON hot {BUMP}")),
                rows("foreign key that restricts, both sides", &["INSERT INTO child VALUES (9, 1)", "UPDATE parent SET v = 5", "DELETE FROM child", "DELETE FROM parent"]).on(&family("")),
                row("foreign key ON DELETE CASCADE", "DELETE FROM parent WHERE id = 1").on(&family("ON DELETE CASCADE")),
                row("foreign key ON DELETE SET NULL", "DELETE FROM parent WHERE id = 1").on(&family("ON DELETE SET NULL")),
                row("foreign key ON UPDATE CASCADE", "UPDATE parent SET id = 7 WHERE id = 1").on(&family("ON UPDATE CASCADE")),
                row("parent of a cascade, another column", "UPDATE parent SET v = 7").on(&family("ON DELETE CASCADE ON UPDATE CASCADE")),
                row("child of a cascade", "DELETE FROM child").on(&family("ON DELETE CASCADE")),
                rows("foreign key to itself", &["INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)", "UPDATE tree SET pid = 1 WHERE id = 3"]).on("CREATE TABLE tree (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES tree (id))"),
                row("updatable view", "UPDATE seen SET v = 9").on("CREATE TABLE base (id INT PRIMARY KEY, v INT);\nINSERT INTO base VALUES (1, 1);\nCREATE SQL SECURITY INVOKER VIEW seen AS SELECT id, v FROM base"),
                row("INSERT through a view", "INSERT INTO seen VALUES (9, 9)").on("CREATE TABLE base (id INT PRIMARY KEY, v INT);\nCREATE SQL SECURITY INVOKER VIEW seen AS SELECT id, v FROM base"),
                rows("foreign keys not checked", &["SET foreign_key_checks = 0", "DELETE FROM parent WHERE id = 1"]).on(&family("ON DELETE CASCADE")),
                row("JSON that holds a decimal", "UPDATE docs SET doc = '[]'").on("CREATE TABLE docs (id INT PRIMARY KEY, doc JSON);\nINSERT INTO docs VALUES (1, JSON_ARRAY(CAST(1.50 AS DECIMAL(5,2))))"),
                row("JSON that holds a date", "DELETE FROM docs").on("CREATE TABLE docs (id INT PRIMARY KEY, doc JSON);\nINSERT INTO docs VALUES (1, JSON_ARRAY(CAST('2024-01-01' AS DATE)))"),
                row("MyISAM", "UPDATE u SET b = 9").on("CREATE TABLE u (a INT PRIMARY KEY, b INT) ENGINE = MyISAM;\nINSERT INTO u VALUES (1, 1)"),
                row("MEMORY", "UPDATE u SET b = 9").on("CREATE TABLE u (a INT PRIMARY KEY, b INT) ENGINE = MEMORY;\nINSERT INTO u VALUES (1, 1)"),
                row("temporary table", "INSERT INTO mine VALUES (1)").after(&["CREATE TEMPORARY TABLE mine (id INT PRIMARY KEY)"]),
                row("system-versioned", "UPDATE u SET b = 9").on("CREATE TABLE u (a INT PRIMARY KEY, b INT) WITH SYSTEM VERSIONING;\nINSERT INTO u VALUES (1, 1)"),
                row("key from a SEQUENCE", "INSERT INTO u VALUES (NEXT VALUE FOR s, 1)").on("CREATE TABLE u (a INT PRIMARY KEY, b INT);\nCREATE SEQUENCE s"),
                row("column default from a SEQUENCE", "INSERT INTO u (b) VALUES (1)").on("CREATE SEQUENCE s;\nCREATE TABLE u (a INT PRIMARY KEY DEFAULT NEXT VALUE FOR s, b INT)"),
            ],
        ),
        section(
            "Reads",
            KV,
            vec![
                row("SELECT", "SELECT * FROM kv JOIN other USING (v)"),
                row("SELECT … FOR UPDATE", "SELECT * FROM kv FOR UPDATE"),
                row("SELECT … FOR UPDATE of a join", "SELECT * FROM kv JOIN other USING (v) WHERE kv.id > 1 FOR UPDATE"),
                row("SELECT … FOR UPDATE with LIMIT", "SELECT id, v FROM kv ORDER BY id LIMIT 1 FOR UPDATE"),
                row("SELECT … FOR UPDATE of a subquery", "SELECT * FROM (SELECT * FROM kv) x FOR UPDATE"),
                row("SELECT … FOR UPDATE with GROUP BY", "SELECT v FROM kv GROUP BY v FOR UPDATE"),
                row("SELECT … FOR UPDATE through a view", "SELECT * FROM seen FOR UPDATE").on("CREATE SQL SECURITY INVOKER VIEW seen AS SELECT id, v FROM other"),
                row("SELECT … LOCK IN SHARE MODE", "SELECT * FROM kv LOCK IN SHARE MODE"),
                row("WITH RECURSIVE", "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r"),
                row("window", "SELECT v, ROW_NUMBER() OVER w FROM kv WINDOW w AS (ORDER BY v)"),
                row("JSON_TABLE", "SELECT j.n FROM JSON_TABLE('[{\"n\": 1}]', '$[*]' COLUMNS (n VARCHAR(9) PATH '$.n')) j"),
                row("SELECT … INTO @variable", "SELECT v INTO @v FROM kv WHERE id = 3002"),
                row("SELECT … INTO OUTFILE", "SELECT * FROM kv INTO OUTFILE '/tmp/rows'").unchecked(),
                row("TABLE", "TABLE kv"),
                row("VALUES", "VALUES ROW(1, 2)"),
                row("through a view", "SELECT * FROM seen").on("CREATE SQL SECURITY INVOKER VIEW seen AS SELECT id, v FROM other"),
                row("several reads in one text", "SELECT 1; SELECT 2"),
                row("SHOW", "SHOW TABLES"),
                row("EXPLAIN of a write", "EXPLAIN UPDATE kv SET v = 9"),
                row("EXPLAIN ANALYZE of a write", "EXPLAIN ANALYZE DELETE FROM kv WHERE id = 3002").unchecked(),
                row("ANALYZE of a write", "ANALYZE DELETE FROM kv WHERE id = 3002"),
                row("HANDLER … READ", "HANDLER kv READ FIRST").after(&["HANDLER kv OPEN"]),
                row("HANDLER … OPEN", "HANDLER kv OPEN"),
                row("GET_LOCK()", "SELECT GET_LOCK('l', 0)"),
                row("NEXT VALUE FOR a SEQUENCE", "SELECT NEXT VALUE FOR s").on("CREATE SEQUENCE s"),
                row("SETVAL of a SEQUENCE", "SELECT SETVAL(s, 50)").on("CREATE SEQUENCE s"),
                row("DO", "DO SLEEP(0)"),
            ],
        ),
        section(
            "Settings of the session",
            KV,
            vec![
                rows("sql_mode ANSI_QUOTES, NO_BACKSLASH_ESCAPES", &["SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", r#"UPDATE "kv" SET name = 'back\' WHERE id = 3002"#]),
                rows("sql_mode ORACLE", &["SET sql_mode = 'ORACLE'", "UPDATE kv SET v = 9"]),
                rows("time_zone", &["SET time_zone = '+08:00'", "UPDATE kv SET upd = '2024-05-30 18:51:50.148381'"]),
                rows("NAMES latin1", &["SET NAMES latin1", "UPDATE kv SET name = 'plain' WHERE id = 3002"]),
                rows("NAMES gbk", &["SET NAMES gbk", "UPDATE kv SET v = 9"]),
                rows("sql_select_limit", &["SET sql_select_limit = 1", "UPDATE kv SET v = 9"]),
                rows("sql_safe_updates", &["SET sql_safe_updates = 1", "UPDATE kv SET v = 9 WHERE id = 3002"]),
                rows("unique_checks, foreign_key_checks off", &["SET unique_checks = 0, foreign_key_checks = 0", "UPDATE kv SET v = 9"]),
                rows("auto_increment_increment", &["SET auto_increment_increment = 5", "INSERT INTO kv (name) VALUES ('a'), ('b')"]),
                rows("insert_id", &["SET insert_id = 7000", "INSERT INTO kv (name) VALUES ('a')"]),
                rows("timestamp", &["SET timestamp = 1700000000", "UPDATE kv SET upd = NOW(6)"]),
                row("autocommit among other settings", "SET autocommit = 1, sql_mode = ''"),
                row("ROW_COUNT() in a write", "UPDATE kv SET v = ROW_COUNT() + 100"),
                row("FOUND_ROWS() in a write", "UPDATE kv SET v = FOUND_ROWS() + 100"),
                row("LAST_INSERT_ID() in a write", "UPDATE kv SET v = LAST_INSERT_ID() + 100"),
            ],
        ),
        section(
            "Definitions and administration",
            KV,
            vec![
                row("CREATE TABLE", "CREATE TABLE fresh (id INT PRIMARY KEY)"),
                row("CREATE TABLE … AS SELECT", "CREATE TABLE fresh AS SELECT * FROM kv"),
                row("CREATE TEMPORARY TABLE", "CREATE TEMPORARY TABLE fresh (id INT PRIMARY KEY)"),
                row("ALTER TABLE", "ALTER TABLE kv ADD extra INT DEFAULT 5"),
                row("DROP TABLE", "DROP TABLE other"),
                row("TRUNCATE", "TRUNCATE TABLE other"),
                row("RENAME TABLE", "RENAME TABLE other TO another"),
                row("CREATE INDEX", "CREATE INDEX more ON kv (v)"),
                row("CREATE VIEW", "CREATE VIEW seen AS SELECT id FROM kv"),
                row("CREATE TRIGGER", "CREATE TRIGGER tr AFTER INSERT ON kv FOR EACH ROW SET @n = 1"),
                row("CREATE PROCEDURE", "CREATE PROCEDURE p() SELECT 1"),
                row("CREATE EVENT", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1"),
                row("CREATE USER", "CREATE USER nobody").by_admin().cleaned_by(&["DROP USER IF EXISTS nobody"]),
                row("GRANT", "GRANT SELECT ON {schema}.* TO app").by_admin(),
                row("SET PASSWORD", "SET PASSWORD FOR service = 'secret'").by_admin().unchecked(),
                row("ANALYZE TABLE", "ANALYZE TABLE kv"),
                row("OPTIMIZE TABLE", "OPTIMIZE TABLE kv"),
                row("CHECK TABLE", "CHECK TABLE kv"),
                row("FLUSH TABLES", "FLUSH TABLES").by_admin(),
                row("FLUSH TABLES WITH READ LOCK", "FLUSH TABLES WITH READ LOCK").by_admin(),
                row("SET of the session", "SET SESSION sort_buffer_size = 300000"),
                row("SET GLOBAL", "SET GLOBAL sort_buffer_size = 300000").by_admin().cleaned_by(&["SET GLOBAL sort_buffer_size = DEFAULT"]),
                row("SET PERSIST", "SET PERSIST sort_buffer_size = 300000").by_admin().cleaned_by(&["SET GLOBAL sort_buffer_size = DEFAULT", "RESET PERSIST"]),
                row("USE", "USE {schema}"),
                row("INSTALL PLUGIN", "INSTALL PLUGIN nothing SONAME 'nothing.so'").by_admin().unchecked(),
                row("SHUTDOWN", "SHUTDOWN").by_admin().unchecked(),
                row("CHANGE REPLICATION", "STOP REPLICA").by_admin().unchecked(),
                row("PURGE BINARY LOGS", "PURGE BINARY LOGS TO 'x'").by_admin().unchecked(),
            ],
        ),
    ]
}

/// A parent and a child whose foreign key does this.
fn family(action: &str) -> String {
    format!(
        "CREATE TABLE parent (id INT PRIMARY KEY, v INT);\nINSERT INTO parent VALUES (1, 1), (2, 2);\n\
         CREATE TABLE child (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES parent (id) {action});\n\
         INSERT INTO child VALUES (1, 1)"
    )
}
