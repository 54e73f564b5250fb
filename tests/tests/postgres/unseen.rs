//! Writers beside a write: what was recorded is what was written, whoever came in between.

use crate::case::{TABLE, error_of, room};
use atone_tests::postgres::{message, sql};
use atone_tests::servers::Kind;
use atone_tests::wait;

/// A statement waits for a row that a stranger holds; when it goes on, it sees another row than before. The undo must
/// be of the row as it was then.
#[tokio::test]
async fn a_row_that_changed_while_the_statement_waited() {
    for kind in Kind::POSTGRES {
        for write in [
            "UPDATE t SET v = v + 1 WHERE s = 'one'",
            "DELETE FROM c WHERE t_id = 1",
            "UPDATE t SET s = 'x' WHERE v < 50",
        ] {
            let room = room(kind, "unseen", TABLE).await;
            let (mut raw, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            stranger.query("BEGIN").await.unwrap();
            stranger.query("UPDATE t SET v = 40 WHERE id = 1").await.unwrap();
            stranger.query("UPDATE c SET id = 11").await.unwrap();
            raw.send(&message::message(b'Q', &message::texts(&[write]))).await.unwrap();
            let watcher = room.service().await.unwrap();
            wait::until("the statement waits", async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'";
                match sql::one(&watcher, sql).await.unwrap().as_deref() {
                    Some("0") => Err("nobody waits"),
                    _ => Ok(()),
                }
            })
            .await;
            stranger.query("COMMIT").await.unwrap();
            let answer = raw.until(b'Z').await.unwrap();
            assert!(!answer.iter().any(|message| message.kind == b'E'), "{kind:?}: {write}: {answer:?}");
            assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}: {write}");
            let left = room.dump().await;
            assert_eq!(
                left, "c\n  (11,1)\nt\n  (1,40,one)\n  (2,20,)\n  (3,30,\"drei ß\")\n",
                "{kind:?}: {write}"
            );
            room.calm(&xid).await;
        }
    }
}

#[tokio::test]
async fn an_insert_beside_an_update_of_all() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "unseen_insert", TABLE).await;
        let (mut raw, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("BEGIN").await.unwrap();
        assert_eq!(error_of(&mut raw, "UPDATE t SET v = 1").await, Default::default());
        stranger.query("INSERT INTO t VALUES (50, 50)").await.unwrap();
        assert_eq!(error_of(&mut raw, "UPDATE t SET v = v + 1 RETURNING id").await, Default::default());
        raw.query("COMMIT").await.unwrap();
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        let left = raw.one("SELECT string_agg(v::text, ',' ORDER BY id) FROM t").await.unwrap();
        assert_eq!(left, "10,20,30,50", "{kind:?}");
        room.calm(&xid).await;
    }
}

/// A table is searched for what the local transaction changed: what others did there since it began is theirs.
#[tokio::test]
async fn strangers_beside_a_search() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "unseen_search", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let (mut done, mut open) = (room.raw(false).await.unwrap(), room.raw(false).await.unwrap());
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("BEGIN").await.unwrap();
        for (who, text) in [
            (0, "WITH x AS (UPDATE t SET v = 1 WHERE id = 1) SELECT 1"),
            (1, "INSERT INTO t VALUES (50, 50)"),
            (1, "UPDATE t SET v = 21 WHERE id = 2"),
            (1, "DELETE FROM c"),
            (1, "INSERT INTO c VALUES (12, 2)"),
            (2, "BEGIN; UPDATE t SET v = 31 WHERE id = 3; INSERT INTO t VALUES (60, 60)"),
            (0, "SAVEPOINT a"),
            (0, "WITH x AS (INSERT INTO t VALUES (70, 70)) DELETE FROM c WHERE id = 0"),
            (0, "WITH x AS (INSERT INTO c VALUES (70, 1)) SELECT 1"),
            (0, "COMMIT"),
            (2, "COMMIT"),
        ] {
            let session = [&mut raw, &mut done, &mut open].into_iter().nth(who).unwrap();
            assert_eq!(error_of(session, text).await, Default::default(), "{kind:?}: {text}");
        }
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        let left = "c\n  (12,2)\nt\n  (1,10,one)\n  (2,21,)\n  (3,31,\"drei ß\")\n  (50,50,)\n  (60,60,)\n";
        assert_eq!(room.dump().await, left, "{kind:?}");
        room.calm(&xid).await;
    }
}

/// An application that may not do everything: the proxy must not need more of it, nor give it more.
#[tokio::test]
async fn an_account_with_few_rights() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "unseen_rights", "CREATE TABLE mine (id int PRIMARY KEY)").await;
        let service = room.service().await.unwrap();
        service
            .batch_execute(
                "SET search_path = shop_unseen_rights;
                 CREATE TABLE theirs (id int PRIMARY KEY, v int, secret text);
                 INSERT INTO theirs VALUES (1, 1, 'hidden'), (2, 2, 'hidden');
                 GRANT SELECT (id, v), UPDATE (v), DELETE ON theirs TO app;
                 CREATE TABLE box (id int PRIMARY KEY, v int); GRANT INSERT ON box TO app;
                 CREATE TABLE closed (id int PRIMARY KEY);
                 CREATE TABLE rls (id int PRIMARY KEY, who text);
                 INSERT INTO rls VALUES (1, 'app'), (2, 'else');
                 ALTER TABLE rls ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY own ON rls USING (who = current_user);
                 GRANT ALL ON rls TO app",
            )
            .await
            .unwrap();
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        for statement in [
            "UPDATE theirs SET v = v + 1 WHERE id = 1",
            "DELETE FROM theirs WHERE id = 2",
            "INSERT INTO box VALUES (1, 1)",
            "UPDATE rls SET who = 'app'",
            "DELETE FROM rls",
        ] {
            raw.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut raw, statement).await;
            // Done exactly, or refused: both are honest.
            assert!(
                ["", "0A000", "42501"].contains(&state.as_str()),
                "{kind:?}: {statement}: {state} {message}"
            );
            if state == "42501" {
                println!("{kind:?}: {statement}: {message}");
            }
            assert_eq!(
                raw.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {statement}"
            );
            assert_eq!(room.dump().await, before, "{kind:?}: {statement}");
        }
        raw.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut raw, "INSERT INTO closed VALUES (1)").await.0, "42501", "{kind:?}");
        assert_eq!(error_of(&mut raw, "UPDATE theirs SET secret = ''").await.0, "42501", "{kind:?}");
        raw.one("SELECT atone_rollback()").await.unwrap();
    }
}
