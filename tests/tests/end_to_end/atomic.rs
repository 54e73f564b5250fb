//! One global transaction over two databases: wholly there or wholly undone, by any client, in any way it can end.

use crate::case::{both, room};
use atone_tests::servers::Kind;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(20), n INT);
INSERT INTO item VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30);
";

/// The values of `n` in order of `id`, in one database.
async fn numbers(room: &atone_tests::world::Room<'_>, kind: Kind) -> Vec<i64> {
    let mut conn = room.direct(kind).await;
    conn.query("SELECT n FROM item ORDER BY id").await.unwrap()
}

#[tokio::test]
async fn commit_changes_both() {
    let room = room("commit_both", TABLES).await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::begin(&mut orders).await.unwrap();
    sql::join(&mut accounts, &xid).await.unwrap();
    orders.query_drop("UPDATE item SET n = n + 1 WHERE id = 1").await.unwrap();
    accounts.query_drop("UPDATE item SET n = n - 1 WHERE id = 1").await.unwrap();
    accounts.query_drop("DELETE FROM item WHERE id = 3").await.unwrap();
    assert_eq!(sql::commit(&mut orders).await.unwrap(), "committed");
    assert_eq!(numbers(&room, Kind::MySql).await, [11, 20, 30]);
    assert_eq!(numbers(&room, Kind::Maria).await, [9, 20]);
    assert_eq!(room.calm(&xid).await, "committed");
}

#[tokio::test]
async fn rollback_restores_both() {
    let room = room("rollback_both", TABLES).await;
    let before = room.dump_both().await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::begin(&mut orders).await.unwrap();
    sql::join(&mut accounts, &xid).await.unwrap();
    for conn in [&mut orders, &mut accounts] {
        conn.query_drop("UPDATE item SET n = n * 2, name = UPPER(name)").await.unwrap();
        conn.query_drop("DELETE FROM item WHERE id = 2").await.unwrap();
        conn.query_drop("INSERT INTO item VALUES (9, 'nine', 90)").await.unwrap();
    }
    assert_ne!(room.dump_both().await, before);
    assert_eq!(sql::rollback(&mut accounts).await.unwrap(), "rolled_back");
    assert_eq!(room.dump_both().await, before);
    assert_eq!(room.calm(&xid).await, "rolled_back");
}

#[tokio::test]
async fn two_services_join_by_xid() {
    let room = room("services", TABLES).await;
    let before = room.dump_both().await;
    for ending in ["SELECT atone_commit('X')", "SELECT atone_rollback('X')"] {
        // The front holds no database connection of its own; it begins and ends the transaction over HTTP or anywhere.
        let xid = room.world.api().begin("order", 60_000).unwrap();
        let (mut order_service, mut account_service) = both(&room).await;
        order_service.query_drop(format!("SET @atone_xid = '{xid}'")).await.unwrap();
        order_service.query_drop("UPDATE item SET n = 1 WHERE id = 1").await.unwrap();
        sql::join(&mut account_service, &xid).await.unwrap();
        account_service.query_drop("UPDATE item SET n = 1 WHERE id = 2").await.unwrap();
        drop((order_service, account_service));
        let mut stranger = room.app(Kind::Maria).await;
        let status = sql::one(&mut stranger, &ending.replace('X', &xid)).await.unwrap().unwrap();
        assert_eq!(room.calm(&xid).await, status);
        if status == "rolled_back" {
            assert_eq!(numbers(&room, Kind::MySql).await, [1, 20, 30], "the first round's values stay");
        } else {
            assert_ne!(room.dump_both().await, before);
        }
    }
}

#[tokio::test]
async fn http_ends_transactions_too() {
    let room = room("by_http", TABLES).await;
    let api = room.world.api();
    for (commit, end) in [(true, 1), (false, 1)] {
        let xid = api.begin("by http", 30_000).unwrap();
        let (mut orders, mut accounts) = both(&room).await;
        for conn in [&mut orders, &mut accounts] {
            sql::join(conn, &xid).await.unwrap();
            conn.query_drop(format!("UPDATE item SET n = {} WHERE id = 1", if commit { 1 } else { 2 }))
                .await
                .unwrap();
        }
        let (code, body) = if commit { api.commit(&xid) } else { api.rollback(&xid) }.unwrap();
        assert_eq!(code, 200, "{body}");
        room.calm(&xid).await;
        for kind in Kind::ALL {
            assert_eq!(numbers(&room, kind).await, [end, 20, 30]);
        }
    }
}

#[tokio::test]
async fn the_timeout_undoes() {
    let room = room("timeout", TABLES).await;
    let before = room.dump_both().await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::one(&mut orders, "SELECT atone_begin('slow', 1500)").await.unwrap().unwrap();
    sql::join(&mut accounts, &xid).await.unwrap();
    orders.query_drop("UPDATE item SET n = 0").await.unwrap();
    accounts.query_drop("DELETE FROM item").await.unwrap();
    assert_eq!(room.calm(&xid).await, "rolled_back");
    assert_eq!(room.dump_both().await, before);
    let (code, message) = sql::error_of(&mut orders, "SELECT atone_commit()").await;
    assert!(code != 0 && message.starts_with("atone: "), "{code} {message}");
}

#[tokio::test]
async fn a_client_that_dies_is_undone_by_the_timeout() {
    let room = room("client_dies", TABLES).await;
    let before = room.dump_both().await;
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::one(&mut orders, "SELECT atone_begin('dies', 2000)").await.unwrap().unwrap();
    sql::join(&mut accounts, &xid).await.unwrap();
    orders.query_drop("UPDATE item SET n = 0").await.unwrap();
    accounts.query_drop("BEGIN").await.unwrap();
    accounts.query_drop("UPDATE item SET n = 0").await.unwrap();
    drop((orders, accounts));
    assert_eq!(room.calm(&xid).await, "rolled_back");
    assert_eq!(room.dump_both().await, before);
}

#[tokio::test]
async fn an_explicit_local_rollback_is_no_branch() {
    let room = room("local_rollback", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("START TRANSACTION").await.unwrap();
        conn.query_drop("UPDATE item SET n = 0").await.unwrap();
        conn.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(room.dump(kind).await, before);
        assert_eq!(sql::commit(&mut conn).await.unwrap(), "committed");
        assert_eq!(room.dump(kind).await, before);
        let (code, body) = room.world.api().transaction(&xid).unwrap();
        assert!(code == 404 || body["branches"].as_array().is_none_or(|all| all.is_empty()), "{code} {body}");
    }
}

#[tokio::test]
async fn autocommit_off_makes_one_branch_until_commit() {
    let room = room("autocommit_off", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("SET autocommit = 0").await.unwrap();
        conn.query_drop("UPDATE item SET n = 7 WHERE id = 1").await.unwrap();
        conn.query_drop("UPDATE item SET n = 7 WHERE id = 2").await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
        conn.query_drop("SET autocommit = 1").await.unwrap();
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        assert_eq!(body["branches"].as_array().unwrap().len(), 1, "{body}");
        assert_eq!(numbers(&room, kind).await, [7, 7, 30]);
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before);
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn several_branches_on_the_same_row_are_undone_newest_first() {
    let room = room("same_row", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let (mut first, mut second) = (room.app(kind).await, room.app(kind).await);
        let xid = sql::begin(&mut first).await.unwrap();
        sql::join(&mut second, &xid).await.unwrap();
        for _ in 0..3 {
            first.query_drop("UPDATE item SET n = n + 1 WHERE id = 1").await.unwrap();
            second.query_drop("UPDATE item SET n = n * 2 WHERE id = 1").await.unwrap();
        }
        second.query_drop("DELETE FROM item WHERE id = 1").await.unwrap();
        first.query_drop("INSERT INTO item VALUES (1, 'again', 5)").await.unwrap();
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        assert_eq!(body["branches"].as_array().unwrap().len(), 8, "{body}");
        assert_eq!(sql::rollback(&mut second).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before);
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn many_transactions_at_once_lose_no_money() {
    let room = room(
        "bank",
        "CREATE TABLE item (id INT PRIMARY KEY, n INT);\nINSERT INTO item VALUES (1,100),(2,100);\n",
    )
    .await;
    let clients = (0..6).map(|client| {
        let room = &room;
        async move {
            let (mut orders, mut accounts) = both(room).await;
            for round in 0..8 {
                let xid = sql::begin(&mut orders).await.unwrap();
                sql::join(&mut accounts, &xid).await.unwrap();
                let row = 1 + (client + round) % 2;
                let first = orders.query_drop(format!("UPDATE item SET n = n - 1 WHERE id = {row}")).await;
                let second = accounts.query_drop(format!("UPDATE item SET n = n + 1 WHERE id = {row}")).await;
                let good = first.is_ok() && second.is_ok() && round % 4 != 3;
                let ended =
                    if good { sql::commit(&mut orders).await } else { sql::rollback(&mut orders).await };
                if let Err(error) = ended {
                    panic!("{xid}: {error}");
                }
                // The other session is still bound; leaving is allowed whatever became of the transaction.
                sql::one(&mut accounts, "SELECT atone_leave()").await.unwrap();
            }
        }
    });
    futures_util::future::join_all(clients).await;
    wait::until("all is calm", async || {
        let list = room.world.api().locks("table=shop_bank.item").map_err(|error| error.to_string())?;
        if list.is_empty() { Ok(()) } else { Err(format!("{list:?}")) }
    })
    .await;
    let (orders, accounts) = (numbers(&room, Kind::MySql).await, numbers(&room, Kind::Maria).await);
    for (order, account) in orders.iter().zip(&accounts) {
        assert_eq!(order + account, 200, "orders {orders:?}, accounts {accounts:?}");
    }
}
