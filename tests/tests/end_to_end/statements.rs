//! Statements that are protected: every shape of single-table INSERT, UPDATE and DELETE.

use crate::case::{Mode, check, check_modes};

#[tokio::test]
async fn single_key() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(20));
        INSERT INTO t VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, NULL), (-4, 4, '');\n";
    let statements = [
        "INSERT INTO t VALUES (10, 10, 'ten')",
        "INSERT INTO t (v, id) VALUES (11, 11), (12, 12)",
        "INSERT INTO t SET id = 13, v = 13",
        "UPDATE t SET v = v + 100 WHERE id = 1",
        "UPDATE t SET s = CONCAT(IFNULL(s, ''), '!') WHERE v > 1 AND v < 5",
        "UPDATE t SET v = 0 WHERE id IN (11, 12, 99)",
        "UPDATE t SET v = 5 WHERE id = 99",
        "DELETE FROM t WHERE id = 2",
        "DELETE FROM t WHERE id = 99",
        "DELETE FROM t WHERE s IS NULL",
        "SELECT * FROM t ORDER BY id",
    ];
    check("single_key", tables, &statements).await;
}

#[tokio::test]
async fn composite_key() {
    let tables =
        "CREATE TABLE ur (role INT, user VARCHAR(9), at DATETIME(6), n INT, PRIMARY KEY (user, role));
        INSERT INTO ur VALUES (1, 'a', '2020-01-01 00:00:00.5', 1), (2, 'a', NULL, 2), (1, 'b', NULL, 3);\n";
    let statements = [
        "INSERT INTO ur VALUES (3, 'a', '2021-02-03 04:05:06.789', 0), (3, 'b', NULL, 0)",
        "UPDATE ur SET n = n + 1 WHERE user = 'a'",
        "UPDATE ur SET n = 9 WHERE user = 'b' AND role = 1",
        "DELETE FROM ur WHERE role = 2",
        "DELETE FROM ur WHERE user = 'b'",
        "INSERT INTO ur VALUES (1, 'b', NULL, 4)",
    ];
    check("composite_key", tables, &statements).await;
}

#[tokio::test]
async fn auto_increment() {
    let tables = "CREATE TABLE a (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), v INT);
        INSERT INTO a VALUES (3002, 'old', 1);
        CREATE TABLE mp (id INT AUTO_INCREMENT, user VARCHAR(32), m INT, PRIMARY KEY (id, user));\n";
    let statements = [
        "INSERT INTO a (name, v) VALUES ('one', 1)",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO a (name, v) VALUES ('two', 2), ('three', 3), ('four', 4)",
        "SELECT LAST_INSERT_ID(), @@last_insert_id",
        "INSERT INTO a VALUES (NULL, 'five', 5)",
        "INSERT INTO a VALUES (5000, 'given', 5)",
        "INSERT INTO a (name) VALUES ('after')",
        "UPDATE a SET v = 7 WHERE name = 'two'",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO mp (user, m) VALUES ('u', 1), ('v', 2)",
        "SELECT LAST_INSERT_ID()",
    ];
    check("auto_increment", tables, &statements).await;
}

#[tokio::test]
async fn order_and_limit() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
        INSERT INTO t VALUES (1, 5), (2, 4), (3, 3), (4, 2), (5, 1);\n";
    let statements = [
        "UPDATE t SET v = 90 WHERE v > 0 ORDER BY id DESC LIMIT 2",
        "UPDATE t SET v = v + 1 ORDER BY v, id LIMIT 1",
        "DELETE FROM t ORDER BY v DESC, id LIMIT 1",
        "DELETE FROM t WHERE v < 90 ORDER BY id LIMIT 2",
    ];
    check("order_and_limit", tables, &statements).await;
}

#[tokio::test]
async fn the_same_row_again_and_again() {
    let tables =
        "CREATE TABLE kv (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL UNIQUE, v INT,
          upd TIMESTAMP(6) NULL ON UPDATE CURRENT_TIMESTAMP(6));
        INSERT INTO kv (id, name, v) VALUES (3002, 'dup', 1), (3003, 'other', 2);\n";
    let statements = [
        "INSERT INTO kv (name, v) VALUES ('w', 1)",
        "UPDATE kv SET v = 2 WHERE name = 'w'",
        "UPDATE kv SET v = 3 WHERE name = 'w'",
        "DELETE FROM kv WHERE id = 3002",
        "INSERT INTO kv (id, name, v) VALUES (3002, 'dup', 9)",
        "UPDATE kv SET v = v + 1 WHERE id = 3002",
        "UPDATE kv SET v = 1 WHERE id = 3003",
        "DELETE FROM kv WHERE id = 3003",
        "INSERT INTO kv (id, name, v) VALUES (7, 'gone', 1)",
        "DELETE FROM kv WHERE id = 7",
    ];
    check("same_row_again", tables, &statements).await;
}

#[tokio::test]
async fn updates_that_change_nothing() {
    let tables = "CREATE TABLE kv (id INT PRIMARY KEY, v INT,
          upd TIMESTAMP(6) NULL DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP(6));
        INSERT INTO kv (id, v) VALUES (1, 1), (2, 2);\n";
    let statements = [
        "UPDATE kv SET v = v",
        "UPDATE kv SET v = 1 WHERE id = 1",
        "UPDATE kv SET v = 2",
        "UPDATE kv SET v = 3 WHERE id = 1",
        "UPDATE kv SET v = 2 WHERE id = 1",
    ];
    check("no_op", tables, &statements).await;
}

#[tokio::test]
async fn defaults_that_the_database_fills_in() {
    let tables = "CREATE TABLE d (id INT PRIMARY KEY, made DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3),
          changed TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, n INT DEFAULT 7, s VARCHAR(9) DEFAULT 'x''y');
        INSERT INTO d (id, made) VALUES (1, '2020-01-01 00:00:00.123');\n";
    let statements = [
        "INSERT INTO d (id) VALUES (2), (3)",
        "INSERT INTO d VALUES (4, DEFAULT, NOW(), DEFAULT, DEFAULT)",
        "UPDATE d SET n = 8 WHERE id IN (1, 2)",
        "UPDATE d SET n = DEFAULT WHERE id = 1",
        "INSERT INTO d (id, n) VALUES (5, 2 + 3 * 4)",
    ];
    check("defaults", tables, &statements).await;
}

#[tokio::test]
async fn names_that_need_quotes() {
    let tables = "CREATE TABLE `order` (`in` VARCHAR(45) PRIMARY KEY, `desc` VARCHAR(45), `add` INT,
          `current_ quantity` INT, `a``b` INT, `context` INT, Größe INT);
        INSERT INTO `order` VALUES ('k', 'd', 1, 2, 3, 4, 5), ('l', 'd', 1, 2, 3, 4, 5);\n";
    let statements = [
        "UPDATE `order` SET `current_ quantity` = 9, `a``b` = 10 WHERE `in` = 'k'",
        "UPDATE `order` o SET o.`CONTEXT` = o.`Add` + 1 WHERE o.`in` = 'l'",
        "INSERT INTO `order` (`IN`, `Desc`, größe) VALUES ('m', 'x', 1)",
        "DELETE FROM `order` WHERE `in` = 'k'",
    ];
    check("quoted_names", tables, &statements).await;
}

#[tokio::test]
async fn a_unique_key_stands_in_for_a_missing_primary_key() {
    let tables = "CREATE TABLE ukonly (a INT NOT NULL, b INT, UNIQUE (a));
        INSERT INTO ukonly VALUES (1, 1), (2, 2);\n";
    let statements = [
        "UPDATE ukonly SET b = 9 WHERE a = 1",
        "INSERT INTO ukonly VALUES (3, 3)",
        "DELETE FROM ukonly WHERE a = 2",
    ];
    check("ukonly", tables, &statements).await;
}

#[tokio::test]
async fn statements_that_fail_leave_nothing_to_undo() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL, u INT UNIQUE, CHECK (v < 1000));
        INSERT INTO t VALUES (1, 1, 1), (2, 2, 2);\n";
    let statements = [
        "UPDATE t SET v = 5 WHERE id = 1",
        "INSERT INTO t VALUES (1, 1, 9)",
        "INSERT INTO t VALUES (8, 1, 8), (9, 1, 1)",
        "UPDATE t SET u = 1 WHERE id = 2",
        "UPDATE t SET v = NULL WHERE id = 2",
        "UPDATE t SET nothing = 1",
        "INSERT INTO t VALUES (3, 5000, 3)",
        "UPDATE t SET v = 6 WHERE id = 2",
    ];
    check("failing", tables, &statements).await;
}

#[tokio::test]
async fn foreign_keys_without_cascades() {
    let tables = "CREATE TABLE tree (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES tree (id));
        INSERT INTO tree VALUES (1, NULL), (2, 1);\n";
    let statements = [
        "INSERT INTO tree VALUES (3, 2), (4, 3)",
        "UPDATE tree SET pid = 1 WHERE id = 4",
        "DELETE FROM tree WHERE id = 3",
        "DELETE FROM tree WHERE id = 1",
        "DELETE FROM tree WHERE id = 4",
        "INSERT INTO tree VALUES (5, 2)",
    ];
    check("foreign_keys", tables, &statements).await;
}

/// InnoDB does not delete such a row, so that its INSERT cannot be undone by a plain DELETE.
#[tokio::test]
async fn rows_that_point_at_themselves() {
    let tables = "CREATE TABLE root (id INT PRIMARY KEY, pid INT NOT NULL, FOREIGN KEY (pid) REFERENCES root (id));
        INSERT INTO root VALUES (1, 1);
        CREATE TABLE fall (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES fall (id) ON DELETE CASCADE);
        INSERT INTO fall VALUES (1, 1);
        CREATE TABLE word (w VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, p VARCHAR(9) CHARACTER SET utf8mb4
          COLLATE utf8mb4_general_ci, UNIQUE (w), PRIMARY KEY (w, p), FOREIGN KEY (p) REFERENCES word (w) ON UPDATE CASCADE);\n";
    let statements = [
        "INSERT INTO root VALUES (2, 2), (3, 2), (4, 1)",
        "INSERT INTO fall VALUES (2, 2), (3, 2), (4, 1)",
        "INSERT INTO word VALUES ('b ', 'B'), ('c', 'b')",
        "UPDATE root SET pid = id WHERE id = 3",
        "INSERT INTO root VALUES (5, 3)",
    ];
    check("self_references", tables, &statements).await;
}

#[tokio::test]
async fn rows_under_children_of_any_name() {
    let tables = "CREATE TABLE `größe` (id INT PRIMARY KEY, v INT);
        INSERT INTO `größe` VALUES (1, 1);
        CREATE TABLE `enfant à\"名\"/b-c` (id INT PRIMARY KEY, pid INT, FOREIGN KEY (pid) REFERENCES `größe` (id) ON DELETE CASCADE);
        INSERT INTO `enfant à\"名\"/b-c` VALUES (1, 1);\n";
    let statements =
        ["INSERT INTO `größe` VALUES (2, 2), (3, 3)", "INSERT INTO `enfant à\"名\"/b-c` VALUES (2, 2)"];
    check("children_names", tables, &statements).await;
}

#[tokio::test]
async fn updates_that_surely_match_nothing() {
    let tables =
        "CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL); INSERT INTO t VALUES (1, 1), (2, 2);\n";
    let tables = tables.replace("; INSERT", ";\nINSERT");
    let statements = [
        "UPDATE t SET v = 5 LIMIT 0",
        "UPDATE t SET v = 5 WHERE id = 1 ORDER BY id LIMIT 0",
        "UPDATE t SET v = 5 WHERE 1 = 0",
        "UPDATE t SET v = 5 WHERE v IS NULL",
        "UPDATE t SET v = 5 WHERE id = 1 AND id = 2",
        "UPDATE t SET v = 6 WHERE id = 2",
    ];
    check("match_nothing", &tables, &statements).await;
}

#[tokio::test]
async fn subqueries_and_functions_in_expressions() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT, s TEXT);
        INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y'), (3, 30, 'z');
        CREATE TABLE o (id INT PRIMARY KEY, w INT);
        INSERT INTO o VALUES (1, 7), (2, 8);\n";
    let statements = [
        "UPDATE t SET s = CASE WHEN v > 15 THEN UPPER(s) ELSE CONCAT(s, s) END WHERE v BETWEEN 5 AND 25",
        "UPDATE t SET v = GREATEST(v, 25) /* a remark */ WHERE s LIKE '%x%' -- the end",
        "DELETE FROM t WHERE MOD(v, 20) = 0 AND NOT s = 'q'",
        "UPDATE t SET s = \"double 'quoted' \\\" text\" WHERE id = 3",
    ];
    check("expressions", tables, &statements).await;
}

#[tokio::test]
async fn tables_named_with_their_schema() {
    let tables = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
        INSERT INTO t VALUES (1, 1), (2, 2);\n";
    let statements = [
        "UPDATE shop_with_schema.t SET v = 5 WHERE id = 1",
        "INSERT INTO `shop_with_schema`.`t` VALUES (3, 3)",
        "DELETE FROM shop_with_schema.t WHERE shop_with_schema.t.id = 2",
    ];
    check("with_schema", tables, &statements).await;
}

#[tokio::test]
async fn many_rows() {
    let values: Vec<String> = (1..=20_000).map(|id| format!("({id}, {})", id % 7)).collect();
    let tables =
        format!("CREATE TABLE t (id INT PRIMARY KEY, v INT);\nINSERT INTO t VALUES {};\n", values.join(","));
    let more: Vec<String> = (30_001..=31_000).map(|id| format!("({id}, 0)")).collect();
    let insert = format!("INSERT INTO t VALUES {}", more.join(","));
    let statements = ["UPDATE t SET v = v + 1", "DELETE FROM t WHERE v > 1", &insert];
    check_modes("many_rows", &tables, &statements, &[Mode::Local]).await;
}
