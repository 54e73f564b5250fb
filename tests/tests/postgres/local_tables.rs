//! Statements outside global transactions that empty, drop or reshape a table: they wait for, or fail at, a global
//! transaction that holds a row of it, whose undo would not find its rows there.

use crate::case::{TABLE, error_of, room};
use atone_tests::postgres::{PgRoom, Raw};
use atone_tests::servers::Kind;
use atone_tests::wait;

/// Tables with all that can stand between a statement and a table.
fn tables() -> String {
    format!(
        "{TABLE};
        CREATE TABLE part (id int, y int, v int, PRIMARY KEY (id, y)) PARTITION BY LIST (y);
        CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1); CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
        INSERT INTO part VALUES (1, 1, 0), (2, 2, 0);
        CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE m (id int PRIMARY KEY, m mood, v int); INSERT INTO m VALUES (1, 'sad', 0);
        CREATE TABLE other (id int PRIMARY KEY, v int); INSERT INTO other VALUES (1, 0)"
    )
}

/// A session that has run this inside a global transaction that is not decided yet, and its xid.
async fn holding(room: &PgRoom<'_>, write: &str) -> (Raw, String) {
    let mut raw = room.raw(true).await.unwrap();
    let xid = raw.one("SELECT atone_begin('holder')").await.unwrap();
    assert_eq!(error_of(&mut raw, write).await, Default::default(), "{write}");
    (raw, xid)
}

const HELD: &str = "UPDATE t SET v = 5 WHERE id = 1";

#[tokio::test]
async fn a_table_with_a_locked_row_is_not_emptied_dropped_or_reshaped() {
    for kind in Kind::POSTGRES {
        for (held, change, table) in [
            (HELD, "TRUNCATE t CASCADE", "t"),
            (HELD, "TRUNCATE TABLE ONLY other, c, t", "t"),
            (HELD, "ALTER TABLE t ADD extra int", "t"),
            (HELD, "alter table only t rename v to w", "t"),
            (HELD, "ALTER TABLE t RENAME TO t2", "t"),
            (HELD, "DROP TABLE IF EXISTS nothing, t CASCADE", "t"),
            (HELD, "DROP TABLE other; DROP TABLE t CASCADE", "t"),
            (HELD, "BEGIN; ALTER TABLE t DROP v; COMMIT", "t"),
            (HELD, "BEGIN; SAVEPOINT a; DROP TABLE other; ROLLBACK TO a; TRUNCATE t CASCADE; COMMIT", "t"),
            ("UPDATE c SET t_id = 2", "TRUNCATE t CASCADE", "c"),
            ("UPDATE part SET v = 1 WHERE id = 1", "TRUNCATE part1", "part"),
            ("UPDATE part1 SET v = 1", "TRUNCATE part", "part"),
            ("UPDATE part1 SET v = 1", "DROP TABLE part1", "part"),
            ("UPDATE m SET v = 1", "DROP TYPE mood CASCADE", "m"),
            (HELD, "DROP SCHEMA shop_local_tables CASCADE", "t"),
        ] {
            let room = room(kind, "local_tables", &tables()).await;
            let before = room.dump().await;
            let (mut holder, xid) = holding(&room, held).await;
            let left = room.dump().await;
            let mut app = room.raw(true).await.unwrap();
            let (state, sentence) = error_of(&mut app, change).await;
            assert_eq!(state, "55P03", "{kind:?}: {change}: {sentence}");
            for word in [format!("shop_local_tables.{table}."), xid.clone(), "rolled back".into()] {
                assert!(sentence.contains(&word), "{kind:?}: {change}: no '{word}' in: {sentence}");
            }
            assert_eq!(room.dump().await, left, "{kind:?}: {change}: nothing was done");
            assert_eq!(
                holder.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {change}"
            );
            assert_eq!(room.dump().await, before, "{kind:?}: {change}");
            assert_eq!(error_of(&mut app, change).await, Default::default(), "{kind:?}: {change}");
        }
    }
}

#[tokio::test]
async fn prepared_and_pipelined_statements_are_no_way_around() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_tables_prepared", &tables()).await;
        let (mut holder, _) = holding(&room, HELD).await;
        let app = room.app().await;
        let change = app.prepare("TRUNCATE t, c").await.unwrap();
        let refused = app.execute(&change, &[]).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("55P03"), "{kind:?}: {refused:?}");
        assert_eq!(holder.one("SELECT atone_commit()").await.unwrap(), "committed", "{kind:?}");
        app.execute(&change, &[]).await.unwrap();
        assert_eq!(app.query("TABLE t", &[]).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn it_waits_for_the_end_of_a_global_transaction() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_tables_waits", &tables()).await;
        // Others are not kept waiting.
        let (mut holder, xid) = holding(&room, HELD).await;
        let mut app = room.raw(true).await.unwrap();
        for change in
            ["TRUNCATE other", "ALTER TABLE m ADD extra int", "DROP TABLE part", "CREATE INDEX ON t (v)"]
        {
            assert_eq!(error_of(&mut app, change).await, Default::default(), "{kind:?}: {change}");
        }
        let altered = tokio::spawn(async move { error_of(&mut app, "ALTER TABLE t ADD extra int").await });
        let api = room.world.api();
        wait::until("it waits at the coordinator", async || {
            let locks = api.locks(&format!("xid={xid}")).map_err(|error| error.to_string())?;
            let waits = locks.iter().any(|lock| lock["waiting"] != 0) || altered.is_finished();
            if waits { Ok(()) } else { Err(format!("{locks:?}")) }
        })
        .await;
        assert_eq!(holder.one("SELECT atone_commit()").await.unwrap(), "committed", "{kind:?}");
        let (state, _) = altered.await.unwrap();
        // On a slow machine its time may have been up.
        assert!(["", "55P03"].contains(&state.as_str()), "{kind:?}: {state}");
        let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'shop_local_tables_waits' AND table_name = 't'";
        let now = room.raw(false).await.unwrap().one(columns).await.unwrap();
        assert_eq!(now, if state.is_empty() { "4" } else { "3" }, "{kind:?}");
    }
}

#[tokio::test]
async fn a_blocked_rollback_keeps_its_tables_until_a_person_has_decided() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_tables_blocked", &tables()).await;
        let (mut holder, xid) = holding(&room, HELD).await;
        room.raw(false).await.unwrap().query("UPDATE t SET v = 99 WHERE id = 1").await.unwrap();
        assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "blocked", "{kind:?}");
        let mut app = room.raw(true).await.unwrap();
        let (state, sentence) = error_of(&mut app, "DROP TABLE t CASCADE").await;
        assert!(
            state == "40001" && sentence.contains(&xid) && sentence.contains("blocked"),
            "{kind:?}: {sentence}"
        );
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        let branch = body["branches"][0]["branch"].as_str().unwrap();
        let page = format!("/v1/transactions/{xid}/branches/{branch}/resolve");
        let restore = serde_json::json!({ "how": "restore", "by": "anna", "reason": "it goes anyway" });
        assert_eq!(room.world.api().post(&page, &restore).unwrap().0, 200);
        assert_eq!(error_of(&mut app, "DROP TABLE t CASCADE").await, Default::default(), "{kind:?}");
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}
