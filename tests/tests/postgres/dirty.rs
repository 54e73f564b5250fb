//! A row that somebody changed behind the proxy: the rollback stops, keeps its locks and says so, until a person mends it.

use crate::case::{TABLE, error_of, room};
use atone_tests::api::atone;
use atone_tests::servers::Kind;
use atone_tests::wait;

#[tokio::test]
async fn a_dirty_row_blocks_and_is_shown_and_mended() {
    for kind in Kind::POSTGRES {
        for (write, behind, mend) in [
            (
                "UPDATE t SET v = 11 WHERE id = 2",
                "UPDATE t SET v = 99 WHERE id = 2",
                "UPDATE t SET v = 11 WHERE id = 2",
            ),
            (
                "UPDATE t SET v = 11 WHERE id = 2",
                "DELETE FROM t WHERE id = 2",
                "INSERT INTO t VALUES (2, 11)",
            ),
            ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (2, 21)", "DELETE FROM t WHERE id = 2"),
            (
                "INSERT INTO t VALUES (4, 30)",
                "UPDATE t SET v = 31 WHERE id = 4",
                "UPDATE t SET v = 30 WHERE id = 4",
            ),
        ] {
            let room = room(kind, "dirty", TABLE).await;
            let api = room.world.api();
            let before = room.dump().await;
            let (mut app, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
            let xid = app.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut app, write).await, Default::default(), "{kind:?}: {write}");
            stranger.query(behind).await.unwrap();
            let strange = room.dump().await;
            assert_eq!(
                app.one("SELECT atone_rollback()").await.unwrap(),
                "blocked",
                "{kind:?}: {write}, {behind}"
            );
            assert_eq!(room.dump().await, strange, "{kind:?}: the stranger's change stays");

            let (_, body) = api.transaction(&xid).unwrap();
            let branch = &body["branches"][0];
            assert_eq!(
                (&body["status"], &branch["status"]),
                (&"blocked".into(), &"blocked".into()),
                "{body}"
            );
            assert_eq!(branch["resource"], kind.resource());
            assert!(
                branch["reason"].as_str().is_some_and(|reason| reason.contains("shop_dirty.t")),
                "{body}"
            );
            assert!(!api.locks(&format!("xid={xid}")).unwrap().is_empty(), "{kind:?}: it keeps its locks");
            let (code, shown, _) = atone(&room.world.coordinator.url(), &["tx", "show", &xid]).unwrap();
            assert!(
                code == 0 && shown.contains("blocked") && shown.contains("shop_dirty.t"),
                "{code}\n{shown}"
            );

            stranger.query(mend).await.unwrap();
            wait::until("the mended transaction is rolled back", async || {
                let (_, body) = api.rollback(&xid).map_err(|error| error.to_string())?;
                if body["status"] == "rolled_back" { Ok(()) } else { Err(body.to_string()) }
            })
            .await;
            assert_eq!(room.dump().await, before, "{kind:?}: {write}, {behind}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
        }
    }
}

#[tokio::test]
async fn a_row_that_is_as_before_already_needs_nothing() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "dirty_undone", TABLE).await;
        let before = room.dump().await;
        let (mut app, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
        let xid = app.one("SELECT atone_begin()").await.unwrap();
        app.query("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        app.query("INSERT INTO t VALUES (4, 40)").await.unwrap();
        app.query("DELETE FROM t WHERE id = 2").await.unwrap();
        stranger.query("UPDATE t SET v = 10 WHERE id = 1").await.unwrap();
        stranger.query("DELETE FROM t WHERE id = 4").await.unwrap();
        stranger.query("INSERT INTO t VALUES (2, 20)").await.unwrap();
        assert_eq!(app.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

/// A table that changed its shape in between is a person's matter, or is undone exactly; never something else.
#[tokio::test]
async fn a_table_that_changed_in_between() {
    for kind in Kind::POSTGRES {
        for (change, back) in [
            ("ALTER TABLE t ADD extra int DEFAULT 5", Some("ALTER TABLE t DROP extra")),
            ("ALTER TABLE t DROP v", None),
            ("ALTER TABLE t RENAME v TO w", Some("ALTER TABLE t RENAME w TO v")),
            ("ALTER TABLE t ALTER v TYPE bigint", Some("ALTER TABLE t ALTER v TYPE int")),
            ("ALTER TABLE t RENAME TO t2", Some("ALTER TABLE t2 RENAME TO t")),
            ("DROP TABLE t CASCADE", None),
        ] {
            let room = room(kind, "dirty_shape", TABLE).await;
            let before = room.dump().await;
            let (mut app, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
            let xid = app.one("SELECT atone_begin()").await.unwrap();
            app.query("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
            app.query("DELETE FROM t WHERE id = 3").await.unwrap();
            assert_eq!(error_of(&mut stranger, change).await, Default::default(), "{kind:?}: {change}");
            let status = app.one("SELECT atone_rollback()").await.unwrap();
            assert!(["rolled_back", "blocked"].contains(&status.as_str()), "{kind:?}: {change}: {status}");
            let Some(back) = back else { continue };
            assert_eq!(error_of(&mut stranger, back).await, Default::default(), "{kind:?}: {back}");
            wait::until("the mended transaction is rolled back", async || {
                let (_, body) = room.world.api().rollback(&xid).map_err(|error| error.to_string())?;
                if body["status"] == "rolled_back" { Ok(()) } else { Err(format!("{change}: {body}")) }
            })
            .await;
            assert_eq!(room.dump().await, before, "{kind:?}: {change} ({status})");
        }
    }
}
