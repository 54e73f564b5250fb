//! Names that the proxy has lost sight of: what was prepared under them in a text too large to look at, or in SQL, is not
//! what it knew, and what it writes is captured or refused.

use crate::case::{TABLE, error_in, room};
use atone_tests::postgres::{Raw, message};
use atone_tests::servers::Kind;

const WRITE: &str = "UPDATE t SET v = 0";

fn padded(sql: &str) -> String {
    format!("{sql} /* {} */", "x".repeat(1 << 20))
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message::parse(name, sql, &[])
}

fn query(sql: &str) -> Vec<u8> {
    message::message(b'Q', &message::texts(&[sql]))
}

async fn synced(raw: &mut Raw, messages: &[Vec<u8>]) -> Vec<message::Message> {
    let all = [messages.concat(), message::message(b'S', b"")].concat();
    raw.send(&all).await.unwrap();
    raw.until(b'Z').await.unwrap()
}

/// What is known under the name `s` first, and what then prepares a write under it.
fn ways() -> Vec<(&'static str, Vec<Vec<u8>>, bool)> {
    let close = || message::name(b'C', b'S', "s");
    vec![
        ("a large Parse", vec![close(), parse("s", &padded(WRITE))], false),
        ("a large Parse behind DEALLOCATE", vec![query("DEALLOCATE s"), parse("s", &padded(WRITE))], false),
        ("PREPARE", vec![query(&format!("DEALLOCATE s; PREPARE s AS {WRITE}"))], false),
        (
            "PREPARE in a large text",
            vec![query(&padded(&format!("DEALLOCATE s; PREPARE s AS {WRITE}")))],
            false,
        ),
        ("PREPARE inside", vec![query("DEALLOCATE s"), query(&format!("PREPARE s AS {WRITE}"))], true),
        ("DEALLOCATE ALL", vec![query("DEALLOCATE ALL"), query(&format!("PREPARE \"s\" AS {WRITE}"))], true),
        (
            "PREPARE of an escaped name",
            vec![query("DEALLOCATE s"), query(&format!("PREPARE U&\"\\0073\" AS {WRITE}"))],
            true,
        ),
        (
            "PREPARE by DO",
            vec![query("DEALLOCATE s"), query(&format!("DO $$BEGIN EXECUTE 'PREPARE s AS {WRITE}'; END$$"))],
            false,
        ),
        (
            "DISCARD ALL",
            vec![query("DISCARD ALL"), query(&format!("SET search_path = @; PREPARE s AS {WRITE}"))],
            false,
        ),
    ]
}

#[tokio::test]
async fn no_older_text_is_taken_for_what_a_name_means_now() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "unseen_names", TABLE).await;
        let before = room.dump().await;
        // Reads, what only the session notices, another write, and one of Atone's own.
        for known in ["SELECT 1", "SET work_mem = '1MB'", "DELETE FROM c", "SELECT atone_xid()"] {
            for (how, messages, inside) in ways() {
                let place = format!("{kind:?}: {known}, then {how}");
                let mut raw = room.raw(true).await.unwrap();
                assert_eq!(error_in(&synced(&mut raw, &[parse("s", known)]).await).0, "", "{place}");
                let begin = "SELECT atone_begin()";
                let mut xid = if inside { Some(raw.one(begin).await.unwrap()) } else { None };
                for message in messages {
                    let text = String::from_utf8(message).unwrap();
                    let answer = if text.starts_with('Q') {
                        let sql = text[5..].trim_end_matches('\0').replace('@', &room.schema);
                        raw.query(&sql).await.unwrap()
                    } else {
                        synced(&mut raw, &[text.into_bytes()]).await
                    };
                    assert_eq!(error_in(&answer).0, "", "{place}: {}", message::line(&answer));
                }
                if xid.is_none() {
                    xid = Some(raw.one(begin).await.unwrap());
                }
                let run = [message::bind("", "s", &[], &[]), message::execute("", 0)];
                let answer = synced(&mut raw, &run).await;
                let (state, sentence) = error_in(&answer);
                assert!(["", "0A000"].contains(&state.as_str()), "{place}: {state} {sentence}");
                let after = room.dump().await;
                assert_eq!(after == before, !state.is_empty(), "{place}: {state} {sentence}\n{after}");
                let execute = raw.query("EXECUTE s").await.unwrap();
                let (state, sentence) = error_in(&execute);
                assert!(["", "0A000"].contains(&state.as_str()), "{place}: {state} {sentence}");
                assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{place}");
                assert_eq!(room.dump().await, before, "{place}");
                room.calm(&xid.unwrap()).await;
            }
        }
    }
}

/// The unnamed statement, which every driver uses.
#[tokio::test]
async fn a_large_unnamed_statement() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "unnamed_large", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        synced(&mut raw, &[parse("begin", "SELECT atone_begin()"), parse("", "SELECT 1")]).await;
        synced(&mut raw, &[parse("", &padded(WRITE))]).await;
        let enter = [message::bind("", "begin", &[], &[]), message::execute("", 0)];
        let answer = synced(&mut raw, &enter).await;
        let xid = answer.iter().find(|m| m.kind == b'D').map(|m| m.texts()[0].clone()).unwrap();
        let run = [message::bind("", "", &[], &[]), message::execute("", 0)];
        let (state, sentence) = error_in(&synced(&mut raw, &run).await);
        assert!(["", "0A000"].contains(&state.as_str()), "{kind:?}: {state} {sentence}");
        assert_eq!(room.dump().await == before, !state.is_empty(), "{kind:?}: {state} {sentence}");
        // Inside all of it is looked at, however large.
        let all = [vec![parse("", &padded(WRITE))], run.to_vec()].concat();
        assert_eq!(error_in(&synced(&mut raw, &all).await), Default::default(), "{kind:?}");
        assert_ne!(room.dump().await, before, "{kind:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}
