//! Two global transactions that want the same row.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::Raw;
use atone_tests::servers::Kind;
use atone_tests::wait::until;

const CONFLICT: [&str; 3] = ["55P03", "40P01", "40001"];

#[tokio::test]
async fn the_second_is_told_to_try_again_and_may() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict", TABLE).await;
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        first.one("SELECT atone_begin('first')").await.unwrap();
        let answer = first.query("UPDATE t SET v = v + 1 WHERE id = 1").await.unwrap();
        assert_eq!(error_in(&answer).0, "", "{kind:?}");
        let xid = second.one("SELECT atone_begin('second')").await.unwrap();
        let (state, message) = error_of(&mut second, "UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(state, "55P03", "{kind:?}: {message}");
        assert!(message.starts_with("atone: "), "{kind:?}: {message}");
        // Another row is free.
        assert_eq!(
            error_of(&mut second, "UPDATE t SET v = 5 WHERE id = 2").await,
            Default::default(),
            "{kind:?}"
        );
        assert_eq!(first.one("SELECT atone_commit()").await.unwrap(), "committed");
        let again = error_of(&mut second, "UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(again, Default::default(), "{kind:?}: after the first has ended");
        assert_eq!(second.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(first.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "12", "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn it_rolls_the_local_transaction_back() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict_local", TABLE).await;
        let before = room.dump().await;
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        first.one("SELECT atone_begin()").await.unwrap();
        first.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        second.one("SELECT atone_begin()").await.unwrap();
        second.query("BEGIN").await.unwrap();
        second.query("UPDATE t SET v = 7 WHERE id = 2").await.unwrap();
        let update = second.query("UPDATE t SET v = 2 WHERE id = 1").await.unwrap();
        let commit = second.query("COMMIT").await.unwrap();
        let states = [error_in(&update).0, error_in(&commit).0];
        assert!(
            states.iter().any(|state| CONFLICT.contains(&state.as_str())),
            "{kind:?}: {update:?} {commit:?}"
        );
        assert_eq!(
            commit.last().map(|ready| ready.body.clone()),
            Some(b"I".to_vec()),
            "{kind:?}: {commit:?}"
        );
        assert_eq!(second.one("SELECT v FROM t WHERE id = 2").await.unwrap(), "20", "{kind:?}");
        second.one("SELECT atone_rollback()").await.unwrap();
        first.one("SELECT atone_rollback()").await.unwrap();
        assert_eq!(room.dump().await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn one_that_is_waited_for_in_time_is_got() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict_wait", TABLE).await;
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        first.one("SELECT atone_begin()").await.unwrap();
        first.query("UPDATE t SET v = v + 1 WHERE id = 1").await.unwrap();
        second.one("SELECT atone_begin()").await.unwrap();
        let waiting = tokio::spawn(async move {
            // The default patience is half a second; a busy machine may need more than one try.
            let mut told = error_of(&mut second, "UPDATE t SET v = v + 1 WHERE id = 1").await;
            for _ in 0..20 {
                if told.0 == "55P03" {
                    told = error_of(&mut second, "UPDATE t SET v = v + 1 WHERE id = 1").await;
                }
            }
            (second, told)
        });
        assert_eq!(first.one("SELECT atone_commit()").await.unwrap(), "committed");
        let (mut second, told) = waiting.await.unwrap();
        assert_eq!(told, Default::default(), "{kind:?}");
        assert_eq!(second.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(second.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "12", "{kind:?}");
    }
}

#[tokio::test]
async fn a_row_that_was_deleted_or_inserted_is_taken() {
    for kind in Kind::POSTGRES {
        let tables = "CREATE TABLE u (id int PRIMARY KEY, name text UNIQUE, v int);
            INSERT INTO u VALUES (1, 'dup', 0), (2, 'two', 0)";
        let room = room(kind, "conflict_gone", tables).await;
        let before = room.dump().await;
        for (write, then) in [
            ("DELETE FROM u WHERE id = 1", "INSERT INTO u VALUES (1, 'new', 1)"),
            ("DELETE FROM u WHERE id = 1", "INSERT INTO u VALUES (5, 'dup', 1)"),
            ("UPDATE u SET name = 'free' WHERE id = 1", "UPDATE u SET name = 'dup' WHERE id = 2"),
            ("UPDATE u SET name = 'free' WHERE id = 1", "INSERT INTO u VALUES (6, 'dup', 1)"),
            ("INSERT INTO u VALUES (7, 'seven', 0)", "DELETE FROM u WHERE id = 7"),
        ] {
            let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            first.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut first, write).await, Default::default(), "{kind:?}: {write}");
            second.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut second, then).await;
            assert!(CONFLICT.contains(&state.as_str()), "{kind:?}: {write}, {then}: {state} {message}");
            assert_eq!(
                first.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {write}, {then}"
            );
            second.one("SELECT atone_rollback()").await.unwrap();
            assert_eq!(room.dump().await, before, "{kind:?}: {write}, {then}");
        }
    }
}

#[tokio::test]
async fn keys_that_the_database_calls_equal_are_one_key() {
    let tables = "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE s (k text COLLATE loose PRIMARY KEY, v int); INSERT INTO s VALUES ('Ada', 0);
        CREATE TABLE n (k numeric PRIMARY KEY, v int); INSERT INTO n VALUES (1.50, 0);
        CREATE TABLE c (k char(5) PRIMARY KEY, v int); INSERT INTO c VALUES ('x', 0);
        CREATE TABLE f (k float8 PRIMARY KEY, v int); INSERT INTO f VALUES ('-0', 0)";
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict_equal", tables).await;
        let before = room.dump().await;
        for (write, then) in [
            ("DELETE FROM s", "INSERT INTO s VALUES ('ADA', 1)"),
            ("DELETE FROM n", "INSERT INTO n VALUES (1.5000, 1)"),
            ("DELETE FROM c", "INSERT INTO c VALUES ('x  ', 1)"),
            ("DELETE FROM f", "INSERT INTO f VALUES (0, 1)"),
        ] {
            let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            first.one("SELECT atone_begin()").await.unwrap();
            // A key whose equal values differ is either refused from the start, or one key in all its spellings.
            let (refused, _) = error_of(&mut first, write).await;
            assert!(["", "0A000"].contains(&refused.as_str()), "{kind:?}: {write}: {refused}");
            second.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut second, then).await;
            let stopped = CONFLICT.contains(&state.as_str()) || !refused.is_empty() && !state.is_empty();
            assert!(stopped, "{kind:?}: {write}, {then}: {state} {message}");
            assert_eq!(first.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
            second.one("SELECT atone_rollback()").await.unwrap();
            assert_eq!(room.dump().await, before, "{kind:?}: {write}, {then}");
        }
    }
}

/// Many clients add one to the same row; some take it back. What is left is what was committed.
/// Adds one to the row, in this client's way; whether it did, for good.
async fn one_more(raw: &mut Raw, client: usize, round: usize) -> bool {
    let mut told = Vec::new();
    match client % 10 {
        // They know nothing of global transactions.
        0 => told.push(error_of(raw, "UPDATE t SET v = v + 1 WHERE id = 1").await),
        1 => {
            raw.query("BEGIN").await.unwrap();
            let answer = raw.query("SELECT v FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
            told.push(error_in(&answer));
            if let Some(row) = answer.iter().find(|message| message.kind == b'D') {
                let v: i64 = row.texts()[0].parse().unwrap();
                told.push(error_of(raw, &format!("UPDATE t SET v = {} WHERE id = 1", v + 1)).await);
            }
            told.push(error_of(raw, "COMMIT").await);
        }
        _ => {
            raw.one("SELECT atone_begin()").await.unwrap();
            told.push(error_of(raw, "UPDATE t SET v = v + 1 WHERE id = 1").await);
            let done = told[0].0.is_empty();
            let end = if done && (client + round) % 10 != 9 { "commit" } else { "rollback" };
            let ended = raw.one(&format!("SELECT atone_{end}()")).await.unwrap();
            assert_eq!(ended, if end == "commit" { "committed" } else { "rolled_back" });
            return done && end == "commit";
        }
    }
    for (state, message) in &told {
        assert!(state.is_empty() || CONFLICT.contains(&state.as_str()), "{client}: {state} {message}");
    }
    told.iter().all(|(state, _)| state.is_empty())
}

#[tokio::test]
async fn two_hundred_clients_on_one_row() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict_many", TABLE).await;
        let clients: Vec<_> = (0..200)
            .map(|client| {
                tokio::spawn(async move {
                    let room = &crate::case::same_room(kind, "conflict_many");
                    let mut raw = room.raw(true).await.unwrap();
                    let mut done = [0, 0];
                    for round in 0..3 {
                        done[usize::from(client % 10 < 2)] +=
                            i64::from(one_more(&mut raw, client, round).await);
                    }
                    done
                })
            })
            .collect();
        let mut total = [0, 0];
        for client in clients {
            let done = client.await.unwrap();
            total = [total[0] + done[0], total[1] + done[1]];
        }
        assert!(total.iter().all(|done| *done > 0), "{kind:?}: nobody got on: {total:?}");
        let left = room.raw(false).await.unwrap().one("SELECT v FROM t WHERE id = 1").await.unwrap();
        assert_eq!(left, (10 + total[0] + total[1]).to_string(), "{kind:?}: {total:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_leaves_the_queue() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "conflict_leaves", TABLE).await;
        let api = room.world.api();
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        let holder = first.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut first, "UPDATE t SET v = 1 WHERE id = 1").await, Default::default());
        let gone = second.one("SELECT atone_begin()").await.unwrap();
        let waiting =
            tokio::spawn(async move { error_of(&mut second, "UPDATE t SET v = 2 WHERE id = 1").await });
        until("it waits", async || {
            let locks = api.locks(&format!("xid={holder}")).unwrap();
            if locks.iter().any(|lock| lock["waiting"] == 1) { Ok(()) } else { Err(locks) }
        })
        .await;
        waiting.abort();
        // One whose time was over would not have been registered, and had no branch.
        until("its branch is given up", async || {
            let (_, transaction) = api.transaction(&gone).unwrap();
            if transaction["branches"][0]["status"] == "failed" { Ok(()) } else { Err(transaction) }
        })
        .await;
        assert_eq!(first.one("SELECT atone_commit()").await.unwrap(), "committed");
        let told = error_of(&mut first, "UPDATE t SET v = v + 1 WHERE id = 1").await;
        assert_eq!(told, Default::default(), "{kind:?}");
        assert_eq!(first.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "2", "{kind:?}");
    }
}
