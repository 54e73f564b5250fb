//! A row that somebody changed behind the proxy: the rollback stops, keeps its locks and says so, until a person mends it.

use crate::case::room;
use atone_tests::api::atone;
use atone_tests::servers::Kind;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 20);
";

#[tokio::test]
async fn a_dirty_row_blocks_and_is_shown_and_mended() {
    let room = room("dirty", TABLES).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        let mut stranger = room.direct(kind).await;
        stranger.query_drop("UPDATE t SET v = 99 WHERE id = 1").await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "blocked", "{kind:?}");

        let (_, body) = api.transaction(&xid).unwrap();
        assert_eq!(body["status"], "blocked", "{body}");
        let branch = &body["branches"][0];
        assert_eq!(branch["status"], "blocked", "{body}");
        assert_eq!(branch["resource"], kind.resource());
        assert!(branch["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{body}");
        assert!(
            !api.locks(&format!("xid={xid}")).unwrap().is_empty(),
            "a blocked transaction keeps its locks"
        );
        let (code, shown, _) = atone(&room.world.coordinator.url(), &["tx", "show", &xid]).unwrap();
        assert!(code == 0 && shown.contains("blocked") && shown.contains(&xid), "{code}\n{shown}");
        let value: Option<i32> = stranger.query_first("SELECT v FROM t WHERE id = 1").await.unwrap();
        assert_eq!(value, Some(99), "the stranger's value stays");

        stranger.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        wait::until("the mended transaction is rolled back", async || {
            let (_, body) = api.rollback(&xid).map_err(|error| error.to_string())?;
            if body["status"] == "rolled_back" { Ok(()) } else { Err(body.to_string()) }
        })
        .await;
        assert_eq!(room.dump(kind).await, before);
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}

#[tokio::test]
async fn a_row_that_is_as_before_already_needs_nothing() {
    let room = room("dirty_undone", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (3, 30)").await.unwrap();
        conn.query_drop("DELETE FROM t WHERE id = 2").await.unwrap();
        let mut stranger = room.direct(kind).await;
        stranger.query_drop("UPDATE t SET v = 10 WHERE id = 1").await.unwrap();
        stranger.query_drop("DELETE FROM t WHERE id = 3").await.unwrap();
        stranger.query_drop("INSERT INTO t VALUES (2, 20)").await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump(kind).await, before);
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn a_deleted_and_a_reborn_row_are_dirty() {
    let room = room("dirty_gone", TABLES).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        for (write, behind, mend) in [
            (
                "UPDATE t SET v = 11 WHERE id = 1",
                "DELETE FROM t WHERE id = 1",
                "INSERT INTO t VALUES (1, 11)",
            ),
            ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (2, 21)", "DELETE FROM t WHERE id = 2"),
            (
                "INSERT INTO t VALUES (3, 30)",
                "UPDATE t SET v = 31 WHERE id = 3",
                "UPDATE t SET v = 30 WHERE id = 3",
            ),
        ] {
            let before = room.dump(kind).await;
            let mut conn = room.app(kind).await;
            let xid = sql::begin(&mut conn).await.unwrap();
            conn.query_drop(write).await.unwrap();
            let mut stranger = room.direct(kind).await;
            stranger.query_drop(behind).await.unwrap();
            assert_eq!(sql::rollback(&mut conn).await.unwrap(), "blocked", "{kind:?}: {write}, {behind}");
            stranger.query_drop(mend).await.unwrap();
            wait::until("the mended transaction is rolled back", async || {
                let (_, body) = api.rollback(&xid).map_err(|error| error.to_string())?;
                if body["status"] == "rolled_back" { Ok(()) } else { Err(body.to_string()) }
            })
            .await;
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {write}, {behind}");
        }
    }
}
