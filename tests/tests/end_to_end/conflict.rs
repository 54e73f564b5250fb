//! Two global transactions that want the same row.

use crate::case::{both, room};
use atone_tests::servers::Kind;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 0), (2, 0);
";

#[tokio::test]
async fn the_second_waits_fails_and_succeeds_once_the_first_has_committed() {
    let room = room("conflict", TABLES).await;
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        let holder = sql::begin(&mut first).await.unwrap();
        first.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        let locks = room.world.api().locks(&format!("xid={holder}")).unwrap();
        assert!(locks.iter().any(|lock| lock["resource"] == kind.resource()), "{locks:?}");
        sql::begin(&mut second).await.unwrap();
        let (code, message) = sql::error_of(&mut second, "UPDATE t SET v = 2 WHERE id = 1").await;
        assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
        second.query_drop("UPDATE t SET v = 5 WHERE id = 2").await.unwrap();
        assert_eq!(sql::commit(&mut first).await.unwrap(), "committed");
        second.query_drop("UPDATE t SET v = v + 2 WHERE id = 1").await.unwrap();
        assert_eq!(sql::commit(&mut second).await.unwrap(), "committed");
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [3, 5], "{kind:?}");
    }
}

#[tokio::test]
async fn the_row_is_free_after_a_rollback_too() {
    let room = room("conflict_rollback", TABLES).await;
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        sql::begin(&mut first).await.unwrap();
        first.query_drop("DELETE FROM t WHERE id = 1").await.unwrap();
        sql::begin(&mut second).await.unwrap();
        let (code, message) = sql::error_of(&mut second, "INSERT INTO t VALUES (1, 9)").await;
        assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
        assert_eq!(sql::rollback(&mut first).await.unwrap(), "rolled_back");
        second.query_drop("UPDATE t SET v = v + 2 WHERE id = 1").await.unwrap();
        assert_eq!(sql::commit(&mut second).await.unwrap(), "committed");
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [2, 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_wait_that_ends_in_time_succeeds() {
    let room = room("conflict_wait", TABLES).await;
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        let holder = sql::begin(&mut first).await.unwrap();
        first.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        sql::begin(&mut second).await.unwrap();
        let waiting = tokio::spawn(async move {
            let result = second.query_drop("UPDATE t SET v = 2 WHERE id = 1").await;
            (second, result)
        });
        // Lets the second get in line first if it can; either order is right.
        let api = room.world.api();
        let query = format!("xid={holder}");
        for _ in 0..8 {
            if api.locks(&query).unwrap().iter().any(|lock| lock["waiting"].as_u64() > Some(0)) {
                break;
            }
            tokio::time::sleep(wait::STEP).await;
        }
        assert_eq!(sql::commit(&mut first).await.unwrap(), "committed");
        let (mut second, result) = waiting.await.unwrap();
        result.unwrap();
        assert_eq!(sql::commit(&mut second).await.unwrap(), "committed");
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [2, 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_conflict_rolls_the_local_transaction_back() {
    let room = room("conflict_local", TABLES).await;
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        sql::begin(&mut first).await.unwrap();
        first.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        sql::begin(&mut second).await.unwrap();
        second.query_drop("BEGIN").await.unwrap();
        second.query_drop("UPDATE t SET v = 7 WHERE id = 2").await.unwrap();
        let update = second.query_drop("UPDATE t SET v = 2 WHERE id = 1").await;
        let commit = second.query_drop("COMMIT").await;
        // The conflict shows at the statement or at COMMIT, where the locks are taken.
        let codes = [sql::errno(&update), sql::errno(&commit)];
        assert!(codes.iter().any(|code| [1205, 1213].contains(code)), "{kind:?}: {update:?} {commit:?}");
        sql::rollback(&mut second).await.unwrap();
        sql::rollback(&mut first).await.unwrap();
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [0, 0], "{kind:?}");
    }
}

#[tokio::test]
async fn the_same_key_in_two_databases_is_two_rows() {
    let room = room("conflict_none", TABLES).await;
    let (mut orders, mut accounts) = both(&room).await;
    sql::begin(&mut orders).await.unwrap();
    sql::begin(&mut accounts).await.unwrap();
    orders.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    accounts.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
    assert_eq!(sql::commit(&mut orders).await.unwrap(), "committed");
    assert_eq!(sql::commit(&mut accounts).await.unwrap(), "committed");
}

#[tokio::test]
async fn keys_that_the_database_calls_equal_are_one_key() {
    let tables =
        "CREATE TABLE s (k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
        INSERT INTO s VALUES ('Straße', 0);\n";
    let room = room("conflict_collation", tables).await;
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        sql::begin(&mut first).await.unwrap();
        first.query_drop("DELETE FROM s WHERE k = 'STRASE'").await.unwrap();
        assert_eq!(first.affected_rows(), 1);
        sql::begin(&mut second).await.unwrap();
        let (code, message) = sql::error_of(&mut second, "INSERT INTO s VALUES ('STRASE', 1)").await;
        assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
        assert_eq!(sql::rollback(&mut first).await.unwrap(), "rolled_back");
        sql::rollback(&mut second).await.unwrap();
    }
}

#[tokio::test]
async fn a_unique_value_that_was_deleted_is_still_taken() {
    let tables = "CREATE TABLE u (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE);
        INSERT INTO u VALUES (1, 'dup');\n";
    let room = room("conflict_unique", tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        sql::begin(&mut first).await.unwrap();
        first.query_drop("DELETE FROM u WHERE id = 1").await.unwrap();
        sql::begin(&mut second).await.unwrap();
        let (code, message) = sql::error_of(&mut second, "INSERT INTO u VALUES (2, 'DUP')").await;
        assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
        assert_eq!(sql::rollback(&mut first).await.unwrap(), "rolled_back");
        sql::rollback(&mut second).await.unwrap();
        assert_eq!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn a_client_that_goes_leaves_the_queue() {
    let room = room("conflict_gone", TABLES).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        let holder = sql::begin(&mut first).await.unwrap();
        first.query_drop("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        let gone = sql::begin(&mut second).await.unwrap();
        let waiting = tokio::spawn(async move { second.query_drop("UPDATE t SET v = 2 WHERE id = 1").await });
        wait::until("it waits", async || {
            let locks = api.locks(&format!("xid={holder}")).unwrap();
            if locks.iter().any(|lock| lock["waiting"] == 1) { Ok(()) } else { Err(locks) }
        })
        .await;
        waiting.abort();
        // One whose time was over would not have been registered, and had no branch.
        wait::until("its branch is given up", async || {
            let (_, transaction) = api.transaction(&gone).unwrap();
            if transaction["branches"][0]["status"] == "failed" { Ok(()) } else { Err(transaction) }
        })
        .await;
        assert_eq!(sql::commit(&mut first).await.unwrap(), "committed");
        let told = sql::error_of(&mut first, "UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(told.0, 0, "{kind:?}: {told:?}");
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [2, 0], "{kind:?}");
    }
}
