//! Those who wait for each other, one in the database and one at the coordinator; and how long one waits.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::{PgRoom, Raw};
use atone_tests::servers::Kind;
use atone_tests::wait;
use std::time::Instant;

/// A session that has row 1 at the coordinator, and one that has row 2 in the database and now wants row 1: its COMMIT is under
/// way and waits.
async fn facing(room: &PgRoom<'_>, global: bool) -> (Raw, Raw, [String; 2]) {
    let (mut one, mut two) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
    let first = one.one("SELECT atone_begin('one')").await.unwrap();
    assert_eq!(error_of(&mut one, "UPDATE t SET v = 11 WHERE id = 1").await, Default::default());
    let second = match global {
        true => two.one("SELECT atone_begin('two')").await.unwrap(),
        false => String::new(),
    };
    for statement in [
        "SET atone.lock_wait = '3s'",
        "BEGIN",
        "UPDATE t SET v = 22 WHERE id = 2",
        "UPDATE t SET v = 12 WHERE id = 1",
    ] {
        assert_eq!(error_of(&mut two, statement).await, Default::default(), "{statement}");
    }
    two.send(&query("COMMIT")).await.unwrap();
    waited_for(room, &first).await;
    (one, two, [first, second])
}

/// Until somebody waits for a key of this transaction.
async fn waited_for(room: &PgRoom<'_>, xid: &str) {
    let api = room.world.api();
    wait::until("somebody waits", async || {
        let locks = api.locks(&format!("xid={xid}")).unwrap();
        if locks.iter().any(|lock| lock["waiting"] == 1) { Ok(()) } else { Err(locks) }
    })
    .await;
}

fn query(sql: &str) -> Vec<u8> {
    let mut frame = vec![b'Q'];
    frame.extend(u32::try_from(sql.len() + 5).unwrap().to_be_bytes());
    frame.extend(sql.as_bytes());
    frame.push(0);
    frame
}

#[tokio::test]
async fn he_who_waits_at_the_coordinator_yields_to_him_who_waits_for_him_in_the_database() {
    for kind in Kind::POSTGRES {
        for global in [true, false] {
            let room = room(kind, "deadlock_mixed", TABLE).await;
            let (mut one, mut two, [first, second]) = facing(&room, global).await;
            let begun = Instant::now();
            one.send(&query("UPDATE t SET v = 21 WHERE id = 2")).await.unwrap();
            let refused = two.until(b'Z').await.unwrap();
            let took = begun.elapsed();
            println!("{kind:?}, global {global}: {took:?}");
            let (state, message) = error_in(&refused);
            // Not 55P03: his time was not up.
            assert_eq!(state, "40P01", "{kind:?}, global {global}: {message}");
            let other = if global { second.as_str() } else { "connection " };
            assert!(
                message.contains(&format!("deadlock: {other}"))
                    && message.contains(&format!(" waits for {first}")),
                "{kind:?}, global {global}: {message}"
            );
            assert_eq!(error_in(&one.until(b'Z').await.unwrap()).0, "", "{kind:?}, global {global}");
            assert_eq!(one.one("SELECT atone_commit()").await.unwrap(), "committed");
            assert_eq!(
                one.one("SELECT string_agg(v::text, ',' ORDER BY id) FROM t").await.unwrap(),
                "11,21,30",
                "{kind:?}, global {global}"
            );
            if global {
                assert_eq!(two.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
            }
        }
    }
}

#[tokio::test]
async fn of_two_who_wait_at_the_coordinator_the_younger_is_told_the_circle() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "deadlock_global", TABLE).await;
        let (mut one, mut two) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        let first = one.one("SELECT atone_begin()").await.unwrap();
        let second = two.one("SELECT atone_begin()").await.unwrap();
        for (session, id) in [(&mut one, 1), (&mut two, 2)] {
            assert_eq!(error_of(session, "SET atone.lock_wait = '3s'").await, Default::default());
            let update = format!("UPDATE t SET v = v + 1 WHERE id = {id}");
            assert_eq!(error_of(session, &update).await, Default::default());
        }
        one.send(&query("UPDATE t SET v = v + 1 WHERE id = 2")).await.unwrap();
        waited_for(&room, &second).await;
        let (state, message) = error_of(&mut two, "UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(state, "40P01", "{kind:?}: {message}");
        let circle = format!("deadlock: {second} waits for {first} waits for {second}");
        assert!(message.contains(&circle), "{kind:?}: {message}");
        assert_eq!(two.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        // It fails when the other rolls back, or gets the row behind it.
        let (state, message) = error_in(&one.until(b'Z').await.unwrap());
        assert!(["", "40001"].contains(&state.as_str()), "{kind:?}: {state} {message}");
        assert_eq!(one.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
    }
}

#[tokio::test]
async fn a_session_says_how_long_it_waits() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "lock_wait", TABLE).await;
        let (mut one, mut two) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        let first = one.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut one, "UPDATE t SET v = 11 WHERE id = 1").await, Default::default());
        // Not at all: nobody is ever seen waiting.
        assert_eq!(error_of(&mut two, "SET atone.lock_wait = 0").await, Default::default());
        let (state, message) = error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 1").await;
        assert_eq!(state, "55P03", "{kind:?}: {message}");
        for (value, wrong) in [("5s", "'5s'"), ("soon", "'soon'")] {
            assert_eq!(
                error_of(&mut two, &format!("SET atone.lock_wait = '{value}'")).await,
                Default::default()
            );
            let (_, message) = error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 2").await;
            assert!(message.contains(wrong) && message.contains("3000"), "{kind:?}: {message}");
        }
        // Long enough for the first to end meanwhile.
        assert_eq!(error_of(&mut two, "SET atone.lock_wait TO '3s'").await, Default::default());
        two.send(&query("UPDATE t SET v = 12 WHERE id = 1")).await.unwrap();
        waited_for(&room, &first).await;
        assert_eq!(one.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(error_in(&two.until(b'Z').await.unwrap()), Default::default(), "{kind:?}");
        assert_eq!(two.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "12", "{kind:?}");
    }
}
