//! Local transactions inside a global one: what they answer, and what becomes of a branch.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::message::{self, line};
use atone_tests::servers::Kind;
use atone_tests::wait;

#[tokio::test]
async fn the_commit_of_a_failed_one_is_a_rollback() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_failed", TABLE).await;
        let before = room.dump().await;
        for prepared in [false, true] {
            let mut raw = room.raw(true).await.unwrap();
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            raw.query("BEGIN").await.unwrap();
            raw.query("INSERT INTO t VALUES (7, 7)").await.unwrap();
            assert_eq!(error_of(&mut raw, "INSERT INTO t VALUES (1, 1)").await.0, "23505");
            let answer =
                if prepared { raw.prepared("COMMIT", 0).await } else { raw.query("COMMIT").await }.unwrap();
            assert!(answer.iter().any(|message| message.body == b"ROLLBACK\0"), "{kind:?}: {answer:?}");
            let (_, body) = room.world.api().transaction(&xid).unwrap();
            assert_eq!(body["branches"].as_array().map(Vec::len), Some(0), "{kind:?}: {body}");
            assert_eq!(raw.one("SELECT atone_commit()").await.unwrap(), "committed", "{kind:?}");
            assert_eq!(room.dump().await, before, "{kind:?}");
            room.calm(&xid).await;
        }
    }
}

/// In one text, or one pipeline, no ReadyForQuery tells that a failed local transaction is over.
#[tokio::test]
async fn writes_right_behind_the_end_of_a_failed_one() {
    let texts = [
        "ROLLBACK; BEGIN; UPDATE t SET v = 1; COMMIT",
        "COMMIT; BEGIN; UPDATE t SET v = 1; COMMIT",
        "ROLLBACK TO a; UPDATE t SET v = 1; COMMIT",
        "ROLLBACK AND CHAIN; DELETE FROM c; COMMIT",
        "ROLLBACK; UPDATE t SET v = 1",
        "ROLLBACK; BEGIN; MERGE INTO t USING c ON t.id = c.t_id WHEN MATCHED THEN UPDATE SET v = 1; COMMIT",
    ];
    for kind in Kind::POSTGRES {
        let room = room(kind, "behind_failed", TABLE).await;
        let before = room.dump().await;
        for text in texts {
            for pipelined in [false, true] {
                let mut raw = room.raw(true).await.unwrap();
                let xid = raw.one("SELECT atone_begin()").await.unwrap();
                raw.query("BEGIN; SAVEPOINT a").await.unwrap();
                assert_eq!(error_of(&mut raw, "SELECT 1/0").await.0, "22012");
                if pipelined {
                    let run = |sql: &str| {
                        [
                            message::parse("", sql, &[]),
                            message::bind("", "", &[], &[]),
                            message::execute("", 0),
                        ]
                        .concat()
                    };
                    let mut all: Vec<u8> = text.split("; ").flat_map(run).collect();
                    all.extend(message::message(b'S', b""));
                    raw.send(&all).await.unwrap();
                    let answer = raw.until(b'Z').await.unwrap();
                    assert_eq!(error_in(&answer).0, "", "{kind:?}: {text}: {answer:?}");
                } else {
                    assert_eq!(error_of(&mut raw, text).await, Default::default(), "{kind:?}: {text}");
                }
                assert_ne!(room.dump().await, before, "{kind:?}: {text}");
                assert_eq!(
                    raw.one("SELECT atone_rollback()").await.unwrap(),
                    "rolled_back",
                    "{kind:?}: {text}"
                );
                assert_eq!(room.dump().await, before, "{kind:?}: {text}, pipelined {pipelined}");
                room.calm(&xid).await;
            }
        }
    }
}

#[tokio::test]
async fn a_deferred_constraint_that_fails_at_commit() {
    let tables =
        "CREATE TABLE late (id int PRIMARY KEY, pid int REFERENCES late DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)";
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_deferred", tables).await;
        let before = room.dump().await;
        for local in [false, true] {
            let mut raw = room.raw(true).await.unwrap();
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            let mut errors = Vec::new();
            let statements = ["BEGIN", "UPDATE t SET v = 2", "INSERT INTO late VALUES (1, 99)", "COMMIT"];
            for statement in if local { &statements[..] } else { &statements[2..3] } {
                let answer = raw.query(statement).await.unwrap();
                errors.push(error_in(&answer).0);
                let ready = answer.last().map(|ready| ready.body.clone());
                assert_eq!(
                    ready,
                    Some(if local && *statement != "COMMIT" { b"T".to_vec() } else { b"I".to_vec() })
                );
            }
            assert_eq!(
                errors.last().map(String::as_str),
                Some("23503"),
                "{kind:?}, local {local}: {errors:?}"
            );
            assert_eq!(room.dump().await, before, "{kind:?}, local {local}: nothing stays");
            // The branch may have been registered when its COMMIT failed: then part of the work is missing, and all
            // of it is undone.
            let (state, message) = error_of(&mut raw, "SELECT atone_commit()").await;
            assert!(["", "25006"].contains(&state.as_str()), "{kind:?}, local {local}: {state} {message}");
            assert_eq!(room.calm(&xid).await, if state.is_empty() { "committed" } else { "rolled_back" });
            assert_eq!(room.dump().await, before, "{kind:?}, local {local}");
        }
    }
}

#[tokio::test]
async fn several_local_transactions_are_undone_together() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_several", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for statement in [
            "UPDATE t SET v = v + 1",
            "BEGIN",
            "UPDATE t SET v = v + 1",
            "INSERT INTO t VALUES (7, 7)",
            "COMMIT AND CHAIN",
            "UPDATE t SET v = v + 1",
            "ROLLBACK AND CHAIN",
            "DELETE FROM t WHERE id = 2",
            "COMMIT",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "UPDATE t SET v = v * 2",
            "END",
            "BEGIN READ ONLY",
            "SELECT 1",
            "COMMIT",
        ] {
            assert_eq!(error_of(&mut raw, statement).await, Default::default(), "{kind:?}: {statement}");
        }
        assert_eq!(
            raw.one("SELECT sum(v) FROM t").await.unwrap(),
            ((12 + 32 + 7) * 2).to_string(),
            "{kind:?}"
        );
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        assert_eq!(body["branches"].as_array().map(Vec::len), Some(4), "{kind:?}: {body}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_gone", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin('gone', 2000)").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        raw.query("BEGIN").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 2").await.unwrap();
        drop(raw);
        assert_eq!(room.calm(&xid).await, "rolled_back", "{kind:?}: by its timeout");
        assert_eq!(room.dump().await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn a_cancel_inside_undoes_the_statement_only() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_cancel", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let watcher = room.service().await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        let slow = "UPDATE t SET v = 2 WHERE id = 2 AND pg_sleep(600) IS NOT NULL";
        raw.send(&message::message(b'Q', &message::texts(&[slow]))).await.unwrap();
        wait::until("the statement sleeps", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%id = 2 AND pg_sleep%'";
            match atone_tests::postgres::sql::one(&watcher, sql).await.unwrap().as_deref() {
                Some("1") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        raw.cancel().await.unwrap();
        let answer = raw.until(b'Z').await.unwrap();
        assert_eq!(error_in(&answer).0, "57014", "{kind:?}: {}", line(&answer));
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn serializable_failures_are_the_servers_own() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "local_ssi", TABLE).await;
        let before = room.dump().await;
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
        let xid = first.one("SELECT atone_begin()").await.unwrap();
        first.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        first.query("SELECT * FROM t").await.unwrap();
        second.query("UPDATE t SET v = 99 WHERE id = 2").await.unwrap();
        let (state, message) = error_of(&mut first, "UPDATE t SET v = 1 WHERE id = 2").await;
        assert_eq!(state, "40001", "{kind:?}: {message}");
        first.query("ROLLBACK").await.unwrap();
        second.query("UPDATE t SET v = 20 WHERE id = 2").await.unwrap();
        assert_eq!(first.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}
