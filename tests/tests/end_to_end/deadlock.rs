//! Those who wait for each other, one in the database and one at the coordinator; and how long one waits.

use crate::case::room;
use atone_tests::servers::Kind;
use atone_tests::world::Room;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;
use std::time::Instant;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 20);
";

/// Until somebody waits for a key of this transaction.
async fn waited_for(room: &Room<'_>, xid: &str) {
    let api = room.world.api();
    wait::until("somebody waits", async || {
        let locks = api.locks(&format!("xid={xid}")).unwrap();
        if locks.iter().any(|lock| lock["waiting"] == 1) { Ok(()) } else { Err(locks) }
    })
    .await;
}

#[tokio::test]
async fn he_who_waits_at_the_coordinator_yields_to_him_who_waits_for_him_in_the_database() {
    for (kind, global) in Kind::ALL.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let room = room("deadlock_mixed", TABLES).await;
        let (mut one, mut two) = (room.app(kind).await, room.app(kind).await);
        let first = sql::begin(&mut one).await.unwrap();
        one.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        let second = if global { sql::begin(&mut two).await.unwrap() } else { "connection ".to_owned() };
        for statement in [
            "SET @atone_lock_wait_ms = 3000",
            "BEGIN",
            "UPDATE t SET v = 22 WHERE id = 2",
            "UPDATE t SET v = 12 WHERE id = 1",
        ] {
            two.query_drop(statement).await.unwrap();
        }
        let waiting = tokio::spawn(async move {
            let told = sql::error_of(&mut two, "COMMIT").await;
            (two, told, Instant::now())
        });
        waited_for(&room, &first).await;
        let begun = Instant::now();
        one.query_drop("UPDATE t SET v = 21 WHERE id = 2").await.unwrap();
        let (mut two, (code, message), told_at) = waiting.await.unwrap();
        println!("{kind:?}, global {global}: {:?}", told_at.duration_since(begun));
        // Not 1205: his time was not up.
        assert_eq!(code, 1213, "{kind:?}, global {global}: {message}");
        let circle = message.contains(&format!("deadlock: {second}"));
        assert!(circle && message.contains(&format!(" waits for {first}")), "{kind:?}: {message}");
        assert_eq!(sql::commit(&mut one).await.unwrap(), "committed");
        if global {
            assert_eq!(sql::rollback(&mut two).await.unwrap(), "rolled_back");
        }
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [11, 21], "{kind:?}, global {global}");
    }
}

#[tokio::test]
async fn a_session_says_how_long_it_waits() {
    let room = room("lock_wait", TABLES).await;
    for kind in Kind::ALL {
        let (mut one, mut two) = (room.app(kind).await, room.app(kind).await);
        let first = sql::begin(&mut one).await.unwrap();
        one.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        sql::begin(&mut two).await.unwrap();
        // Not at all: nobody is ever seen waiting.
        two.query_drop("SET @atone_lock_wait_ms = 0").await.unwrap();
        let (code, message) = sql::error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 1").await;
        assert_eq!(code, 1205, "{kind:?}: {message}");
        for wrong in ["'5s'", "'soon'"] {
            two.query_drop(format!("SET @atone_lock_wait_ms = {wrong}")).await.unwrap();
            let (_, message) = sql::error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 2").await;
            assert!(message.contains(wrong) && message.contains("3000"), "{kind:?}: {message}");
        }
        // Long enough for the first to end meanwhile.
        two.query_drop("SET @atone_lock_wait_ms = 3000").await.unwrap();
        let waiting = tokio::spawn(async move {
            two.query_drop("UPDATE t SET v = 12 WHERE id = 1").await.unwrap();
            two
        });
        waited_for(&room, &first).await;
        assert_eq!(sql::commit(&mut one).await.unwrap(), "committed");
        let mut two = waiting.await.unwrap();
        assert_eq!(sql::rollback(&mut two).await.unwrap(), "rolled_back");
        let values: Vec<i32> = room.direct(kind).await.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(values, [11, 20], "{kind:?}");
    }
}
