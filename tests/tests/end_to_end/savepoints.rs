//! SAVEPOINT, ROLLBACK TO and RELEASE inside a local transaction of a global one.

use crate::case::{Mode, check_modes};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4);
";

#[tokio::test]
async fn rolled_back_rows_are_not_undone_twice() {
    let statements = [
        "UPDATE t SET v = 10 WHERE id = 1",
        "SAVEPOINT a",
        "UPDATE t SET v = 20 WHERE id IN (1, 2)",
        "INSERT INTO t VALUES (9, 9)",
        "SAVEPOINT b",
        "DELETE FROM t WHERE id = 3",
        "ROLLBACK TO a",
        "UPDATE t SET v = 40 WHERE id = 4",
    ];
    check_modes("savepoints", TABLES, &statements, &[Mode::Local]).await;
}

#[tokio::test]
async fn names_are_reused_and_released() {
    let statements = [
        "SAVEPOINT s",
        "UPDATE t SET v = 10 WHERE id = 1",
        "SAVEPOINT S",
        "UPDATE t SET v = 20 WHERE id = 2",
        "ROLLBACK TO SAVEPOINT s",
        "SAVEPOINT `x y`",
        "DELETE FROM t WHERE id = 3",
        "RELEASE SAVEPOINT `x y`",
        "ROLLBACK TO nowhere",
        "ROLLBACK WORK TO SAVEPOINT s",
        "INSERT INTO t VALUES (5, 5)",
    ];
    check_modes("savepoint_names", TABLES, &statements, &[Mode::Local]).await;
}

#[tokio::test]
async fn all_of_a_branch_can_be_rolled_back_to_a_savepoint() {
    let statements = [
        "INSERT INTO t VALUES (6, 6)",
        "SAVEPOINT a",
        "UPDATE t SET v = v + 1",
        "ROLLBACK TO a",
        "ROLLBACK TO a",
        "DELETE FROM t WHERE id = 6",
        "INSERT INTO t VALUES (7, 7)",
    ];
    check_modes("savepoint_all", TABLES, &statements, &[Mode::Local]).await;
}
