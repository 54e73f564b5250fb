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

/// A table that changed its shape in between is a person's matter, or is undone exactly; never something else.
#[tokio::test]
async fn a_table_that_changed_in_between() {
    let room = room("dirty_shape", TABLES).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        for (change, back, word) in [
            (
                "ALTER TABLE t ADD COLUMN extra INT DEFAULT 5",
                Some("ALTER TABLE t DROP COLUMN extra"),
                "extra",
            ),
            ("ALTER TABLE t DROP COLUMN v", None, "column v"),
            ("ALTER TABLE t RENAME COLUMN v TO w", Some("ALTER TABLE t RENAME COLUMN w TO v"), "column v"),
            ("ALTER TABLE t MODIFY v VARCHAR(20)", Some("ALTER TABLE t MODIFY v INT"), "column v"),
            ("RENAME TABLE t TO t2", Some("RENAME TABLE t2 TO t"), "is gone"),
            ("DROP TABLE t", None, "is gone"),
        ] {
            room.prepare(kind, TABLES).await.unwrap();
            let before = room.dump(kind).await;
            let mut app = room.app(kind).await;
            let xid = sql::begin(&mut app).await.unwrap();
            app.query_drop("BEGIN").await.unwrap();
            app.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
            app.query_drop("DELETE FROM t WHERE id = 2").await.unwrap();
            app.query_drop("COMMIT").await.unwrap();
            let mut stranger = room.direct(kind).await;
            stranger.query_drop(change).await.unwrap();
            let strange = room.dump(kind).await;
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?}: {change}");
            let (_, body) = api.transaction(&xid).unwrap();
            let branch = &body["branches"][0];
            assert!(branch["reason"].as_str().unwrap().contains(word), "{kind:?}: {change}: {body}");
            // Not even by force.
            let page =
                format!("/v1/transactions/{xid}/branches/{}/resolve", branch["branch"].as_str().unwrap());
            let force = serde_json::json!({ "how": "restore", "by": "anna", "reason": "it was so" });
            let (code, answer) = api.post(&page, &force).unwrap();
            assert!(code == 409 && answer.to_string().contains(word), "{kind:?}: {change}: {code} {answer}");
            assert_eq!(room.dump(kind).await, strange, "{kind:?}: {change}");
            let Some(back) = back else {
                let keep = serde_json::json!({ "how": "keep-current", "by": "anna", "reason": "it is gone" });
                assert_eq!(api.post(&page, &keep).unwrap().0, 200);
                assert_eq!(room.calm(&xid).await, "rolled_back");
                assert_eq!(room.dump(kind).await, strange, "{kind:?}: {change}");
                continue;
            };
            stranger.query_drop(back).await.unwrap();
            wait::until("the mended transaction is rolled back", async || {
                let (_, body) = api.rollback(&xid).map_err(|error| error.to_string())?;
                if body["status"] == "rolled_back" { Ok(()) } else { Err(format!("{change}: {body}")) }
            })
            .await;
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {change}");
        }
    }
}

/// The labels of ENUM and SET stand behind numbers, which mean others when labels were put into another order.
#[tokio::test]
async fn labels_in_another_order_are_another_type_and_more_labels_are_not() {
    const LABELLED: &str = "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('new','it''s \\\\ paid') NOT NULL, s SET('a','b'), v INT);
INSERT INTO t VALUES (1, 'new', 'a,b', 0), (2, 'it''s \\\\ paid', 'b', 0);
";
    let room = room("dirty_labels", LABELLED).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        for (change, blocks) in [
            ("ALTER TABLE t MODIFY e ENUM('it''s \\\\ paid','new') NOT NULL", true),
            ("ALTER TABLE t MODIFY s SET('b','a')", true),
            (
                "ALTER TABLE t MODIFY e ENUM('new','it''s \\\\ paid','sent') NOT NULL, MODIFY s SET('a','b','c')",
                false,
            ),
        ] {
            for write in ["DELETE FROM t", "UPDATE t SET v = 1"] {
                room.prepare(kind, LABELLED).await.unwrap();
                let before = room.dump(kind).await;
                let mut app = room.app(kind).await;
                let xid = sql::begin(&mut app).await.unwrap();
                app.query_drop(write).await.unwrap();
                room.direct(kind).await.query_drop(change).await.unwrap();
                let status = sql::rollback(&mut app).await.unwrap();
                assert_eq!(
                    status,
                    if blocks { "blocked" } else { "rolled_back" },
                    "{kind:?}: {change}: {write}"
                );
                if blocks {
                    let (_, body) = api.transaction(&xid).unwrap();
                    let branch = &body["branches"][0];
                    assert!(branch["reason"].as_str().unwrap().contains("was changed or dropped"), "{body}");
                    let page =
                        format!("/v1/transactions/{xid}/branches/{}", branch["branch"].as_str().unwrap());
                    // They are shown as they were called.
                    let (_, rows) = api.get(&format!("{page}/rows")).unwrap();
                    let columns = &rows["rows"][1]["columns"];
                    assert_eq!(columns[1]["before"], "'it's \\ paid'", "{kind:?}: {rows}");
                    assert_eq!(rows["rows"][0]["columns"][2]["before"], "'a,b'", "{kind:?}: {rows}");
                    let keep = serde_json::json!({ "how": "keep-current", "by": "anna", "reason": "a test" });
                    assert_eq!(api.post(&format!("{page}/resolve"), &keep).unwrap().0, 200);
                } else {
                    let now = room.dump(kind).await;
                    assert_eq!(
                        now.replace(",sent", ""),
                        before.replace(",sent", ""),
                        "{kind:?}: {change}: {write}"
                    );
                }
                room.calm(&xid).await;
            }
        }
    }
}

/// A row is known by how its key compares. When the key's collation is another one, it must not be taken for gone.
#[tokio::test]
async fn a_key_that_compares_otherwise_now_is_no_missing_row() {
    const KEYED: &str =
        "CREATE TABLE t (id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT);
INSERT INTO t VALUES ('One', 1);
";
    let room = room("dirty_collation", KEYED).await;
    let api = room.world.api();
    for kind in Kind::ALL {
        for write in [
            "INSERT INTO t VALUES ('Two', 2)",
            "UPDATE t SET v = 9 WHERE id = 'one'",
            "UPDATE t SET id = 'Zwei' WHERE id = 'one'",
        ] {
            room.prepare(kind, KEYED).await.unwrap();
            let before = room.dump(kind).await;
            let mut app = room.app(kind).await;
            let xid = sql::begin(&mut app).await.unwrap();
            app.query_drop(write).await.unwrap();
            let mut stranger = room.direct(kind).await;
            let change = |collation: &str| {
                format!("ALTER TABLE t MODIFY id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE {collation}")
            };
            stranger.query_drop(change("utf8mb4_bin")).await.unwrap();
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?}: {write}");
            let (_, body) = api.transaction(&xid).unwrap();
            let branch = &body["branches"][0];
            assert!(branch["reason"].as_str().unwrap().contains("compare"), "{kind:?}: {write}: {body}");
            let page = format!("/v1/transactions/{xid}/branches/{}/rows", branch["branch"].as_str().unwrap());
            let (_, rows) = api.get(&page).unwrap();
            assert!(rows["trouble"].as_str().unwrap().contains("compare"), "{kind:?}: {write}: {rows}");
            stranger.query_drop(change("utf8mb4_general_ci")).await.unwrap();
            assert_eq!(api.rollback(&xid).unwrap().1["status"], "rolled_back", "{kind:?}: {write}");
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {write}");
            room.calm(&xid).await;
        }
    }
}
