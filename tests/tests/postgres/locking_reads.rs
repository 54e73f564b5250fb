//! SELECT … FOR UPDATE and its sisters: inside a global transaction they take the global locks, outside they wait until nobody
//! holds them; what they return is never undone later.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::{PgRoom, Raw, message};
use atone_tests::servers::Kind;

async fn inside(room: &PgRoom<'_>, sql: &str) -> Raw {
    let mut raw = room.raw(true).await.unwrap();
    raw.one("SELECT atone_begin('reader')").await.unwrap();
    assert_eq!(error_of(&mut raw, sql).await, Default::default(), "{sql}");
    raw
}

/// Reads that lock row 1 and no other.
const READS: [&str; 7] = [
    "SELECT * FROM t WHERE id = 1 FOR UPDATE",
    "SELECT s, v AS x FROM t AS y WHERE y.id = 1 FOR NO KEY UPDATE",
    "SELECT c.id, t.* FROM c JOIN t ON t.id = c.t_id FOR UPDATE OF t",
    "SELECT c.id FROM t LEFT JOIN c ON c.t_id = t.id WHERE t.id = 1 FOR UPDATE OF t",
    "SELECT FROM t WHERE v = 10 FOR UPDATE NOWAIT",
    "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
    "BEGIN; SELECT id FROM t WHERE id < 2 FOR UPDATE; COMMIT",
];

#[tokio::test]
async fn a_global_transaction_holds_what_it_has_read_for_update() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "read_holds", TABLE).await;
        let before = room.dump().await;
        for read in READS {
            let mut reader = inside(&room, read).await;
            let mut other = room.raw(true).await.unwrap();
            let (state, message) = error_of(&mut other, "DELETE FROM c; DELETE FROM t WHERE id = 1").await;
            assert_eq!(state, "55P03", "{kind:?}: {read}: {message}");
            assert_eq!(
                error_of(&mut other, "UPDATE t SET v = v WHERE id = 2").await,
                Default::default(),
                "{kind:?}: {read}"
            );
            let (state, _) = error_of(&mut other, "SELECT v FROM t WHERE id = 1 FOR SHARE NOWAIT").await;
            assert_eq!(state, "55P03", "{kind:?}: {read}");
            assert_eq!(other.one("SELECT v FROM t WHERE id = 1").await.unwrap(), "10", "{kind:?}: {read}");
            let xid = reader.one("SELECT atone_xid()").await.unwrap();
            let (end, ended) = match read.len() % 2 {
                0 => ("SELECT atone_commit()", "committed"),
                _ => ("SELECT atone_rollback()", "rolled_back"),
            };
            assert_eq!(reader.one(end).await.unwrap(), ended, "{kind:?}: {read}");
            room.calm(&xid).await;
            assert_eq!(room.dump().await, before, "{kind:?}: {read}");
            assert_eq!(
                error_of(&mut other, "UPDATE t SET v = v WHERE id = 1").await,
                Default::default(),
                "{kind:?}: {read}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_read_for_share_is_held_together_and_changed_by_nobody() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "read_shares", TABLE).await;
        for read in [
            "SELECT * FROM t WHERE id = 1 FOR SHARE",
            "BEGIN; SELECT c.id, t.* FROM c JOIN t ON t.id = c.t_id FOR KEY SHARE OF t; COMMIT",
        ] {
            let (mut one, mut two) = (inside(&room, read).await, inside(&room, read).await);
            // Readers outside may share it too.
            let mut other = room.raw(true).await.unwrap();
            assert_eq!(
                error_of(&mut other, "SELECT v FROM t WHERE id = 1 FOR SHARE").await,
                Default::default(),
                "{kind:?}: {read}"
            );
            let mut writer = inside(&room, "SELECT 1").await;
            for writes in [&mut other, &mut writer, &mut two] {
                let (state, message) = error_of(writes, "UPDATE t SET v = 11 WHERE id = 1").await;
                assert_eq!(state, "55P03", "{kind:?}: {read}: {message}");
            }
            assert_eq!(one.one("SELECT atone_commit()").await.unwrap(), "committed");
            let (state, message) = error_of(&mut other, "UPDATE t SET v = 11 WHERE id = 1").await;
            assert_eq!(state, "55P03", "{kind:?}: {read}: {message}");
            // The last who holds it may change it, and nobody can share it then.
            let update = error_of(&mut two, "UPDATE t SET v = 12 WHERE id = 1").await;
            assert_eq!(update, Default::default(), "{kind:?}: {read}");
            let (state, _) = error_of(&mut writer, "SELECT v FROM t WHERE id = 1 FOR SHARE").await;
            assert_eq!(state, "55P03", "{kind:?}: {read}");
            assert_eq!(two.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
            assert_eq!(
                writer.one("SELECT v FROM t WHERE id = 1 FOR SHARE").await.unwrap(),
                "10",
                "{kind:?}: {read}"
            );
            assert_eq!(writer.one("SELECT atone_commit()").await.unwrap(), "committed");
        }
    }
}

#[tokio::test]
async fn what_is_returned_is_never_undone() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "read_restored", TABLE).await;
        for (round, read) in READS.iter().chain(&["SELECT * FROM t WHERE id = 1 FOR SHARE"]).enumerate() {
            let mut holder = inside(&room, "UPDATE t SET v = 5 WHERE id = 1").await;
            let mut readers = Vec::new();
            for bound in [false, true] {
                let mut reader = room.raw(true).await.unwrap();
                if bound {
                    reader.one("SELECT atone_begin()").await.unwrap();
                }
                let read = read.replace("WHERE v = 10", "WHERE id = 1");
                readers.push(tokio::spawn(async move {
                    let answer = reader.query(&read).await.unwrap();
                    (reader, answer)
                }));
            }
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(
                holder.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {read}"
            );
            for reader in readers {
                let (mut reader, answer) = reader.await.unwrap();
                let (state, told) = error_in(&answer);
                let rows: Vec<_> =
                    answer.iter().filter(|m| m.kind == b'D').flat_map(message::Message::texts).collect();
                if state.is_empty() {
                    assert!(!rows.contains(&"5".to_owned()), "{kind:?}: {read}: {rows:?}");
                } else {
                    assert!(["55P03", "40001"].contains(&state.as_str()), "{kind:?}: {read}: {told}");
                    assert!(
                        !rows.contains(&"5".to_owned()),
                        "{kind:?}: {read}: rows before the error: {rows:?}"
                    );
                }
                reader.query("ROLLBACK").await.unwrap();
                let _ = reader.query("SELECT atone_rollback()").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_read_within_a_local_transaction_holds_until_its_end() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "read_block", TABLE).await;
        let mut reader = inside(&room, "BEGIN").await;
        assert_eq!(reader.one("SELECT v FROM t WHERE id = 1 FOR UPDATE").await.unwrap(), "10");
        assert_eq!(error_of(&mut reader, "SAVEPOINT s").await, Default::default());
        assert_eq!(reader.one("SELECT v FROM t WHERE id = 2 FOR UPDATE").await.unwrap(), "20");
        for sql in ["ROLLBACK TO s", "UPDATE t SET v = 31 WHERE id = 3", "COMMIT"] {
            assert_eq!(error_of(&mut reader, sql).await, Default::default(), "{kind:?}: {sql}");
        }
        let mut other = room.raw(true).await.unwrap();
        let (first, _) = error_of(&mut other, "UPDATE t SET v = 5 WHERE id = 1").await;
        let (second, told) = error_of(&mut other, "UPDATE t SET v = 21 WHERE id = 2").await;
        assert_eq!((first.as_str(), second.as_str()), ("55P03", ""), "{kind:?}: {told}");
        assert_eq!(reader.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(
            other.one("SELECT string_agg(v::text, ' ' ORDER BY id) FROM t").await.unwrap(),
            "10 21 30"
        );
    }
}

#[tokio::test]
async fn rows_that_cannot_be_told_are_refused_inside_and_passed_outside() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "read_unclear", &format!("{TABLE}; CREATE VIEW tv AS SELECT * FROM t")).await;
        let mut inside = inside(&room, "SELECT 1").await;
        let mut outside = room.raw(true).await.unwrap();
        for read in [
            "SELECT * FROM (SELECT * FROM t WHERE id = 1) x FOR UPDATE",
            "SELECT * FROM (SELECT * FROM t WHERE id = 1 FOR UPDATE) x",
            "SELECT * FROM t, c FOR UPDATE OF t FOR SHARE OF c",
            "SELECT * FROM tv FOR UPDATE",
        ] {
            let (state, told) = error_of(&mut inside, read).await;
            assert!(state == "0A000" && told.starts_with("atone: "), "{kind:?}: {read}: {state} {told}");
            assert_eq!(error_of(&mut outside, read).await, Default::default(), "{kind:?}: {read}");
        }
    }
}
